"""Quotes one instrument after the other, and keeps any number of orders far from the market."""

import engine


@engine.compiled
class Turns(engine.Strategy):
    """At each turn the next instrument's orders near the market are replaced by a fresh bid and ask.

    At the first turn `resting` orders are laid on `prices` prices of the first instrument, half of them on
    either side, from `away` increments behind its best price on.
    """

    interval_ns: int = 100_000_000  # between turns
    resting: int = 0
    prices: int = 1_000
    away: int = 2_000
    size: float = 0.01

    def on_start(self, ctx):
        self.turns = 0
        self.bid = [0 for _ in ctx.instruments]
        self.ask = [0 for _ in ctx.instruments]
        ctx.every(self.interval_ns, "turn")

    def on_timer(self, ctx, name):
        at = self.turns % len(self.bid)
        who = ctx.instruments[at]
        quote = ctx.quote(who)
        if quote is None:
            return
        if self.turns == 0:
            self.lay(ctx, who, quote)
        self.turns += 1
        if self.bid[at]:
            ctx.cancel(self.bid[at])
            ctx.cancel(self.ask[at])
        self.bid[at] = ctx.limit(who, self.size, quote.bid, post_only=True)
        self.ask[at] = ctx.limit(who, -self.size, quote.ask, post_only=True)

    def lay(self, ctx, who, quote):
        half = self.prices // 2
        for number in range(self.resting):
            far = (self.away + number // 2 % half) * who.price_increment
            if number % 2:
                ctx.limit(who, -self.size, ctx.round_price(who, quote.ask + far))
            else:
                ctx.limit(who, self.size, ctx.round_price(who, quote.bid - far))
