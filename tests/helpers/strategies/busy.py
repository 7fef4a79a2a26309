"""A strategy that uses every part of the context, so that a run has much in it that could differ."""

# mypy: allow-untyped-defs

import engine


class Busy(engine.Strategy):
    """Targets, resting orders, cancels, timers and seeded chance, on everything that comes."""

    size: float = 0.01
    beat: str = "200ms"

    def on_start(self, ctx):
        self.quick = {i: engine.Ema(5) for i in ctx.instruments}
        self.calm = {i: engine.Ema(20) for i in ctx.instruments}
        self.resting = {}
        ctx.every(self.beat, "beat")

    def on_trade(self, ctx, trade):
        who = trade.instrument
        gap = self.quick[who].update(trade.price) - self.calm[who].update(trade.price)
        if self.calm[who].ready and ctx.random.random() < 0.1:
            ctx.target(who, self.size if gap > 0 else -self.size)

    def on_book(self, ctx, update):
        if ctx.random.integers(0, 50) == 0:
            book = ctx.book(update.instrument, 1)
            if book is not None and book.asks:
                ctx.limit(update.instrument, self.size, book.asks[0][0], tif="ioc")

    def on_news(self, ctx, news):
        ctx.log("read", news.headline)

    def on_timer(self, ctx, name):
        who = ctx.random.choice(ctx.instruments)
        quote = ctx.quote(who)
        if quote is not None:
            if who not in self.resting or self.resting[who] == 0:
                # Half a percent away: it rests, and only a stop ends it.
                self.resting[who] = ctx.limit(who, self.size, ctx.round_price(who, quote.bid * 0.995))
            order = ctx.limit(who, -self.size, quote.ask, post_only=True)
            if ctx.random.random() < 0.5:
                ctx.cancel(order)

    def on_fill(self, ctx, fill):
        ctx.log("now at", fill.position)

    def on_order(self, ctx, update):
        who = update.instrument
        if update.state == "refused" and who in self.resting and self.resting[who] == update.order:
            self.resting[who] = 0  # there was no price yet, say: the next beat tries again
        if update.state == "accepted" and update.side < 0:
            ctx.at(update.ts + 700_000_000, "later")
