"""Mean reversion: prices that stray from their average are expected to come back.

The band runs 2 % above and 2 % below the average price of the last 20 trades (the trade itself
included). A trade below the band: buy. A trade above it: sell. Back on the other side of the average:
the position is closed. Between, nothing changes.

Only a jump leaves a band this wide within 20 trades; on a quiet market the strategy does nothing. Try
`--set band=0.0005`.
"""

import engine


class MaBand(engine.Strategy):
    """Buys 2 % below the average of the last 20 trades, sells 2 % above, closes at the average."""

    length: int = 20  # trades
    band: float = 0.02  # of the average: 2 %
    size: float = 0.01  # base units

    def on_start(self, ctx):
        self.averages = {instrument: engine.Sma(self.length) for instrument in ctx.instruments}
        self.wanted = dict.fromkeys(ctx.instruments, 0.0)  # signed position

    def on_trade(self, ctx, trade):
        instrument, price = trade.instrument, trade.price
        average = self.averages[instrument]
        mean = average.update(price)
        if not average.ready:
            return

        wanted = self.wanted[instrument]
        if price < mean * (1.0 - self.band):
            wanted = self.size
        elif price > mean * (1.0 + self.band):
            wanted = -self.size
        elif (wanted > 0 and price >= mean) or (wanted < 0 and price <= mean):
            wanted = 0.0

        if wanted != self.wanted[instrument]:
            self.wanted[instrument] = wanted
            ctx.target(instrument, wanted)
