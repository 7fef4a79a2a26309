"""The market maker of W3: every 100 ms a fresh bid and ask of 0.01 at the best prices."""

import engine


@engine.compiled
class Maker(engine.Strategy):
    """Cancels both orders every 100 ms and quotes again, as long as the position stays within a limit."""

    begin: int = 0  # ns: its 100 ms are counted from here; 0: from the first row's receipt
    size: float = 0.01
    limit: float = 0.0499

    def on_start(self, ctx):
        self.instrument = ctx.instruments[0]
        ctx.at((self.begin or ctx.now) + 100_000_000, "decide")

    def on_timer(self, ctx, name):
        ctx.at(ctx.now + 100_000_000, "decide")
        ctx.cancel_all(self.instrument)
        quote = ctx.quote(self.instrument)
        if quote is None:
            return
        position = ctx.position(self.instrument)
        if position < self.limit:
            ctx.limit(self.instrument, self.size, quote.bid, post_only=True)
        if position > -self.limit:
            ctx.limit(self.instrument, -self.size, quote.ask, post_only=True)
