"""Follow the trend: long while a fast average of trade prices is above a slow one, short below it."""

import engine


class EmaCross(engine.Strategy):
    """Long while the fast average of trade prices is above the slow one, short below it.

    It is in the market all the time, on both sides: it needs an account that may go short. Trading
    begins when the slow average has seen its number of trades.
    """

    fast: int = 50  # trades
    slow: int = 500  # trades
    size: float = 0.01  # base units

    def on_start(self, ctx):
        self.averages = {
            instrument: (engine.Ema(self.fast), engine.Ema(self.slow)) for instrument in ctx.instruments
        }

    def on_trade(self, ctx, trade):
        quick, calm = self.averages[trade.instrument]
        gap = quick.update(trade.price) - calm.update(trade.price)
        if calm.ready:
            # target() does nothing while the position, with what is on its way, is the one asked for.
            ctx.target(trade.instrument, self.size if gap > 0 else -self.size)
