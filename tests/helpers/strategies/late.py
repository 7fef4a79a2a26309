"""A strategy whose only order is sent by a timer, after the trade that set it."""

# mypy: allow-untyped-defs

import engine


class Late(engine.Strategy):
    """Buys once, a while after the first trade."""

    after_ms: int = 150

    def on_start(self, ctx):
        self.set = False

    def on_trade(self, ctx, trade):
        if not self.set:
            self.set = True
            self.who = trade.instrument
            ctx.at(trade.ts + self.after_ms * 1_000_000, "buy")

    def on_timer(self, ctx, name):
        ctx.log("the timer", name, "fired")
        ctx.market(self.who, 1.0)
