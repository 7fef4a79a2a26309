"""Lean with the order book: more size on the bid than on the ask, and the price tends to go up.

The imbalance of the best levels is (bid size - ask size) / (bid size + ask size), from -1 to +1. Above
the threshold the strategy wants to be long, below minus the threshold short; in between it keeps what it
has, and takes its waiting order back.

It joins the best price on its own side with a post-only order and moves when that price moves, one order
per instrument at a time; `--set passive=false` takes what the market offers instead and pays the spread.
"""

import engine


class Imbalance(engine.Strategy):
    """Long when the bids of the level-2 book outweigh the asks, short when the asks outweigh the bids."""

    levels: int = 5  # of each side
    threshold: float = 0.6  # 0 to 1
    size: float = 0.01  # base units
    passive: bool = True  # post-only at the best price; false: market orders

    def on_book(self, ctx, update):
        instrument = update.instrument
        book = ctx.book(instrument, self.levels)
        if update.doubtful or book is None or book.mid is None:
            return  # updates are missing, or a side is empty: know nothing, do nothing
        imbalance = book.imbalance(self.levels)
        wanted = None
        if imbalance > self.threshold:
            wanted = self.size
        elif imbalance < -self.threshold:
            wanted = -self.size

        if self.passive:
            self.quote(ctx, instrument, book, wanted)
        elif wanted is not None:
            ctx.target(instrument, wanted)

    def quote(self, ctx, instrument, book, wanted):
        """Bring the one order of an instrument to where it should be; the next update goes on from there."""
        missing = 0.0 if wanted is None else ctx.round_size(instrument, wanted - ctx.position(instrument))
        price = book.bid if missing > 0 else book.ask
        working = ctx.orders(instrument)
        if not working:
            if missing != 0.0:
                ctx.limit(instrument, missing, price, post_only=True)
            return
        order = working[0]
        in_place = missing * order.side > 0 and order.price == price
        if not in_place and order.state != "cancelling":
            ctx.cancel(order.order)
