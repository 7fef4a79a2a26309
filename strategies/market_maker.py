"""Make a market: a bid and an ask around what the book says the price is, leaning against the position.

The price is the microprice, the mid weighted by the size on the other side. The quotes stand half a
spread to either side of it; both are moved down while the strategy is long and up while it is short, by
`skew_bp` at the position limit, so that the side which brings the position back is the nearer one.

A quote is replaced when it would stand elsewhere by more than `tolerance_bp` (0: by a tick), and on the
timer wherever it is off by a tick. The old order is cancelled before the new one is sent, and there is
never more than one order a side beside those being cancelled. What may still fill, those included,
counts towards the limit: no sequence of fills leads beyond it.

It takes its quotes back when the book has a gap or the prices have gone silent. It earns half a spread
less the maker's fee each way: with fees above `half_spread_bp` it loses with every fill.
"""

import engine

BASIS_POINT = 0.0001


@engine.compiled
class MarketMaker(engine.Strategy):
    """Post-only quotes around the microprice, skewed by the inventory, within a position limit."""

    size: float = 0.01  # base units of each quote
    limit: float = 0.05  # base units, long and short
    half_spread_bp: float = 5.0  # from the price to either quote
    skew_bp: float = 5.0  # by which both quotes move at a position of `limit`
    tolerance_bp: float = 1.0  # a quote that is off by no more waits for the timer
    interval: str = "1s"  # of the timer
    silence_ms: int = 5000  # without a price for so long: no quotes

    def on_start(self, ctx):
        if min(self.size, self.limit, self.half_spread_bp) <= 0.0:
            raise ValueError("size, limit and half_spread_bp must be positive")
        if not 0.0 <= self.tolerance_bp < self.half_spread_bp:
            raise ValueError("tolerance_bp must be less than half_spread_bp, or the own quotes could cross")
        self.booked = dict.fromkeys(ctx.instruments, False)  # there is a book
        self.doubtful = dict.fromkeys(ctx.instruments, False)  # updates of it are missing
        self.waiting = dict.fromkeys(ctx.instruments, False)  # for the timer: an order was turned down
        self.quoted = dict.fromkeys(ctx.instruments, False)  # there is a quote stream
        self.heard = dict.fromkeys(ctx.instruments, 0)  # when the last price came, ns
        ctx.every(self.interval, "requote")

    def on_quote(self, ctx, quote):
        self.quoted[quote.instrument] = True
        self.heard[quote.instrument] = ctx.now
        self.follow(ctx, quote.instrument)

    def on_book(self, ctx, update):
        self.booked[update.instrument] = True
        self.doubtful[update.instrument] = update.doubtful
        if not self.quoted[update.instrument]:  # then the book's best prices are the quote
            self.heard[update.instrument] = ctx.now
        self.follow(ctx, update.instrument)

    def on_status(self, ctx, status):
        if status.channel == "news":
            return  # quotes do not hang on it
        if status.event == "gap" or status.event == "disconnected":
            for instrument in ctx.instruments:
                if status.instrument is None or status.instrument == instrument:
                    self.doubtful[instrument] = self.booked[instrument]  # until the book is told again
                    self.heard[instrument] = 0
                    ctx.cancel_all(instrument)

    def on_order(self, ctx, update):
        if update.state == "rejected" or update.state == "refused":  # the same again would meet the same
            self.waiting[update.instrument] = True

    def on_timer(self, ctx, name):
        for instrument in ctx.instruments:
            self.waiting[instrument] = False
            self.requote(ctx, instrument, 0.0)

    def follow(self, ctx, instrument):
        if not self.waiting[instrument]:
            self.requote(ctx, instrument, self.tolerance_bp)

    def requote(self, ctx, instrument, tolerance_bp):
        """Bring both quotes to where they belong."""
        quote = ctx.quote(instrument)
        silent = ctx.now - self.heard[instrument] > self.silence_ms * 1_000_000
        if quote is None or silent or self.doubtful[instrument] or not 0.0 < quote.bid < quote.ask:
            ctx.cancel_all(instrument)
            return
        price = engine.microprice(quote.bid, quote.bid_size, quote.ask, quote.ask_size)
        tick = instrument.price_increment
        lean = ctx.position(instrument) / self.limit * self.skew_bp
        low = price * (1.0 - (lean + self.half_spread_bp) * BASIS_POINT)
        high = price * (1.0 - (lean - self.half_spread_bp) * BASIS_POINT)
        bid = ctx.round_price(instrument, min(low, quote.ask - tick))  # never into the other side
        ask = ctx.round_price(instrument, max(high, quote.bid + tick))
        if ask <= bid:
            ask = ctx.round_price(instrument, bid + tick)
        tolerance = max(tolerance_bp * BASIS_POINT * price, 0.5 * tick)
        # First what has to go, on both sides: a new bid must not meet an old ask.
        bid_stands = self.clear(ctx, instrument, 1, bid, tolerance)
        ask_stands = self.clear(ctx, instrument, -1, ask, tolerance)
        if not bid_stands:
            self.place(ctx, instrument, 1, bid)
        if not ask_stands:
            self.place(ctx, instrument, -1, ask)

    def clear(self, ctx, instrument, side, price, tolerance):
        """Cancel a side's order that does not stand within the tolerance of a price; does one stand?"""
        standing, misplaced = False, 0
        for order in ctx.orders(instrument):
            where = order.price
            if order.side == side and order.state != "cancelling" and where is not None:
                if abs(where - price) < tolerance:
                    standing = True
                else:
                    misplaced = order.order
        if misplaced:
            ctx.cancel(misplaced)
        return standing

    def place(self, ctx, instrument, side, price):
        """A new order, as large as what may still fill leaves room for."""
        exposed = ctx.position(instrument) * side  # if everything fills that still may
        for order in ctx.orders(instrument):
            if order.side == side:
                exposed += order.size - order.filled
        size = ctx.round_size(instrument, max(min(self.size, self.limit - exposed), 0.0))
        if size * 2.0 > self.size:  # smaller ones are not worth their place in the queue
            ctx.limit(instrument, size * side, price, post_only=True)
