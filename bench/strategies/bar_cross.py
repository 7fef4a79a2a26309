"""The strategy that every engine runs over bars: long while the mean of 20 closes is above that of 100."""

import engine


@engine.compiled
class BarCross(engine.Strategy):
    """Always in the market once the slow mean is whole, on the side of the fast one."""

    fast: int = 20  # bars
    slow: int = 100  # bars
    size: float = 0.01  # base units

    def on_start(self, ctx):
        self.quick, self.calm = engine.Sma(self.fast), engine.Sma(self.slow)
        self.held = 0

    def on_bar(self, ctx, bar):
        gap = self.quick.update(bar.close) - self.calm.update(bar.close)
        if self.calm.ready:
            wanted = 1 if gap > 0.0 else -1
            if wanted != self.held:
                ctx.market(bar.instrument, self.size * (wanted - self.held))
                self.held = wanted
