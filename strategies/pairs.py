"""Pairs: two prices that usually keep their ratio; when it strays, bet on its coming back.

Every second the ratio of the two mids goes into a rolling z-score: by how many standard deviations is it
off its mean of the last `window` samples? Beyond `enter` the dear one is sold and the cheap one bought,
for the same amount of money each, so that a move of both together costs nothing. Back within `leave` both
are closed. Between, nothing changes; sizes stay as they were when it entered.

Both legs are watched: if one of them is not where it should be after `patience` samples (refused,
rejected, nothing to trade with), the other one is a bet on its own, and both are closed. It then waits
until the ratio has been back at its mean.

It says nothing about whether the two belong together: that is for whoever chooses them.
"""

import engine


class Pairs(engine.Strategy):
    """Sells the dear one of two instruments and buys the cheap one, by the z-score of their ratio."""

    window: int = 600  # samples
    enter: float = 2.5  # deviations
    leave: float = 0.5  # deviations
    notional: float = 1000.0  # of each leg, in the quote currency
    interval: str = "1s"  # between two samples
    patience: int = 10  # samples until a leg that lags is given up

    def on_start(self, ctx):
        if len(ctx.instruments) != 2:
            raise ValueError(
                f"a pair is two instruments, here are {len(ctx.instruments)}: --set symbols=BTCUSDT,ETHUSDT"
            )
        if not 0.0 <= self.leave < self.enter or self.notional <= 0.0:
            raise ValueError("leave must be less than enter, and notional positive")
        self.first, self.second = ctx.instruments
        self.score = engine.ZScore(self.window)
        self.side = 0  # of the ratio: +1 long (first bought, second sold), -1 short
        self.legs = {self.first: 0.0, self.second: 0.0}  # wanted positions
        self.lagging = 0  # samples since both legs last were where they should be
        self.barred = False  # given up; no entry until the ratio is back at its mean
        ctx.every(self.interval, "sample")

    def on_timer(self, ctx, name):
        first, second = self.price(ctx, self.first), self.price(ctx, self.second)
        if first > 0.0 and second > 0.0:
            score = self.score.update(first / second)
            if self.score.ready:
                self.decide(ctx, score, first, second)
        self.pursue(ctx)

    def decide(self, ctx, score, first, second):
        """Enter or leave."""
        if abs(score) <= self.leave:
            self.barred = False
        if self.side != 0:
            if score * self.side >= -self.leave:  # back at the mean, or beyond
                self.close()
        elif abs(score) >= self.enter and not self.barred:
            side = -1 if score > 0.0 else 1
            one = ctx.round_size(self.first, side * self.notional / first)
            other = ctx.round_size(self.second, -side * self.notional / second)
            if one != 0.0 and other != 0.0 and self.lagging == 0:
                self.side = side
                self.legs[self.first] = one
                self.legs[self.second] = other

    def pursue(self, ctx):
        """Bring both positions to where they should be; give up if one cannot get there."""
        missing = 0
        for instrument in ctx.instruments:
            if abs(ctx.position(instrument) - self.legs[instrument]) > 0.5 * instrument.size_increment:
                missing += 1
        self.lagging = self.lagging + 1 if missing else 0
        if self.lagging > self.patience and self.side != 0:
            ctx.log("given up:", missing, "of two legs not filled")
            self.barred = True
            self.close()
        for instrument in ctx.instruments:
            ctx.target(instrument, self.legs[instrument])

    def close(self):
        """Both legs to nothing."""
        self.side = 0
        self.legs[self.first] = 0.0
        self.legs[self.second] = 0.0

    def price(self, ctx, instrument):
        """The mid, else the last price, else 0."""
        quote = ctx.quote(instrument)
        if quote is not None and 0.0 < quote.bid < quote.ask:
            return quote.mid
        last = ctx.last(instrument)
        return last if last is not None else 0.0
