"""Momentum with a stop: two moving averages give the direction, the stop gives the size.

The signal is the average price of the last 5 trades against that of the last 20. More than 0.1 % above
means long, more than 0.1 % below means short, and in between nothing changes. Twenty trades of a busy,
calm market do not move that far: `--set threshold=0.0001` makes it trade there.

The size follows from what may be lost. With a stop 2 % away from the price, a position of

    size = equity * risk / (price * stop)

loses `risk` (2 %) of the portfolio when the stop is hit, never more than 1,000 units. The stop is kept
here, not at the venue: it is looked at with each trade, so a gap can cost more than 2 %. After a stop the
strategy stays out until the signal turns to the other side.
"""

import engine


class Momentum(engine.Strategy):
    """Follows the average of the last 5 trades against 20, risks 2 % of the portfolio with a 2 % stop."""

    short: int = 5  # trades
    long: int = 20  # trades
    threshold: float = 0.001  # of the long average: 0.1 %
    risk: float = 0.02  # of the portfolio, lost when the stop is hit
    stop: float = 0.02  # of the entry price
    size_max: float = 1000.0  # base units

    def on_start(self, ctx):
        self.averages = {
            instrument: (engine.Sma(self.short), engine.Sma(self.long)) for instrument in ctx.instruments
        }
        self.direction = dict.fromkeys(ctx.instruments, 0)  # of the last signal: +1, -1, 0 none yet
        self.entry = dict.fromkeys(ctx.instruments, 0.0)  # price of the last fill that built the position

    def on_trade(self, ctx, trade):
        instrument, price = trade.instrument, trade.price
        short, long = self.averages[instrument]
        short.update(price)
        long.update(price)
        if not long.ready:
            return

        position = ctx.position(instrument)
        if position != 0 and self.is_stopped(position, self.entry[instrument], price):
            ctx.target(instrument, 0.0)
            return

        gap = short.value / long.value - 1.0
        direction = 1 if gap > self.threshold else -1 if gap < -self.threshold else 0
        if direction not in (0, self.direction[instrument]):
            self.direction[instrument] = direction
            size = min(ctx.equity() * self.risk / (price * self.stop), self.size_max)
            ctx.target(instrument, direction * ctx.round_size(instrument, max(size, 0.0)))

    def on_fill(self, ctx, fill):
        if fill.side * ctx.position(fill.instrument) > 0:  # it opened the position, or added to it
            self.entry[fill.instrument] = fill.price

    def is_stopped(self, position, entry, price):
        """Has the price moved against the position by the stop's distance?"""
        if position > 0:
            return price <= entry * (1.0 - self.stop)
        return price >= entry * (1.0 + self.stop)
