"""Answers every trade with a market order, buying and selling in turn: one decision per message."""

import engine


class Echo(engine.Strategy):
    """A market order of 0.001 on every trade."""

    size: float = 0.001  # base units

    def on_start(self, ctx):
        self.sign = 1

    def on_trade(self, ctx, trade):
        ctx.market(trade.instrument, self.size * self.sign)
        self.sign = -self.sign
