"""The strategy that every engine runs in these measurements: change sides when two averages cross."""

import engine


@engine.compiled
class Cross(engine.Strategy):
    """Long 0.01 while the 50-trade exponential average is above the 500-trade one, short below it."""

    fast: int = 50  # trades
    slow: int = 500  # trades
    size: float = 0.01  # base units

    def on_start(self, ctx):
        self.quick, self.calm = engine.Ema(self.fast), engine.Ema(self.slow)
        self.held = 0

    def on_trade(self, ctx, trade):
        gap = self.quick.update(trade.price) - self.calm.update(trade.price)
        if self.calm.ready:
            wanted = 1 if gap > 0 else -1
            if wanted != self.held:
                ctx.market(trade.instrument, self.size * (wanted - self.held))
                self.held = wanted
