"""A grid: buys below a reference price and sells above it, each fill answered one step away.

There are `levels` lines to either side of the reference, and the reference itself. One line is empty, at
first the reference; every line below it holds a buy, every line above it a sell, all of one size. A buy
that has filled makes its own line the empty one, so that the line above gets a sell: that is the answer,
and with it the round trip that earns one step less two fees. A sale mirrors it. With the fees of the
default profile (10 bp each way) a step of less than 20 bp loses.

The position is never beyond `levels` orders: what may still fill is counted before an order is sent.
When the price is more than a step beyond the outermost line, the grid is given up: orders are cancelled,
the position is closed by market (that is where a grid loses), and a new one is laid around the price.
"""

import engine

BASIS_POINT = 0.0001


class Ladder:
    """The grid of one instrument. Lines are counted from the lowest, 0, to the highest, 2 * levels."""

    def __init__(self, levels: int) -> None:
        self.base = 0.0  # price of the middle line, 0.0 while there is no grid
        self.step = 0.0  # price between two lines
        self.empty = levels  # the line that holds no order
        self.leaving = False  # orders are being cancelled and the position closed
        self.orders = [0] * (2 * levels + 1)  # number of the order on each line, 0 for none
        self.sides = [0] * (2 * levels + 1)


@engine.compiled
class Grid(engine.Strategy):
    """Resting limits on both sides of a reference price; each fill is answered one step away."""

    levels: int = 5  # lines to either side
    step_bp: float = 25.0  # between two lines, of the reference price
    size: float = 0.01  # base units of each order
    interval: str = "1s"  # at which the price is looked at

    def on_start(self, ctx):
        if self.levels < 1 or min(self.step_bp, self.size) <= 0.0:
            raise ValueError("levels, step_bp and size must be positive")
        self.ladders = {instrument: Ladder(self.levels) for instrument in ctx.instruments}
        ctx.every(self.interval, "look")

    def on_timer(self, ctx, name):
        for instrument in ctx.instruments:
            ladder = self.ladders[instrument]
            if ladder.leaving:
                self.settle(ctx, instrument)
            price = self.price(ctx, instrument)
            if price > 0.0 and not ladder.leaving:
                if ladder.base == 0.0:
                    self.lay(ctx, instrument, price)
                elif abs(price - ladder.base) > (self.levels + 1) * ladder.step:
                    ladder.leaving = True
                    ctx.cancel_all(instrument)
                else:
                    self.arrange(ctx, instrument)  # what was turned down is tried again

    def on_order(self, ctx, update):
        ladder = self.ladders[update.instrument]
        if update.state == "accepted":
            return
        for line in range(2 * self.levels + 1):
            if ladder.orders[line] == update.order:
                ladder.orders[line] = 0
                ladder.sides[line] = 0
                if update.state == "filled" and not ladder.leaving:
                    ladder.empty -= update.side
                    self.arrange(ctx, update.instrument)

    def price(self, ctx, instrument):
        """The mid, else the last price, else 0."""
        quote = ctx.quote(instrument)
        if quote is not None and 0.0 < quote.bid < quote.ask:
            return quote.mid
        last = ctx.last(instrument)
        return last if last is not None else 0.0

    def settle(self, ctx, instrument):
        """Leave a grid: no order any more, then no position, then ready for another."""
        if len(ctx.orders(instrument)) > 0:
            return
        if ctx.position(instrument) != 0.0:
            ctx.target(instrument, 0.0)
            return
        ladder = self.ladders[instrument]
        ladder.leaving = False
        ladder.base = 0.0

    def lay(self, ctx, instrument, price):
        """A new grid around a price."""
        ladder = self.ladders[instrument]
        ladder.base = ctx.round_price(instrument, price)
        step = ctx.round_price(instrument, price * self.step_bp * BASIS_POINT)
        ladder.step = max(step, instrument.price_increment)
        ladder.empty = self.levels
        self.arrange(ctx, instrument)

    def arrange(self, ctx, instrument):
        """Every line gets the order that belongs there."""
        ladder = self.ladders[instrument]
        most = self.levels * self.size
        bought = ctx.position(instrument)  # if all buys fill; and sold, if all sells do
        sold = -bought
        for order in ctx.orders(instrument):
            if order.side > 0:
                bought += order.size - order.filled
            else:
                sold += order.size - order.filled
        # From the empty line outwards: where room is short, the lines next to the price come first.
        for away in range(1, 2 * self.levels + 1):
            for side in (1, -1):
                line = ladder.empty - side * away
                if line < 0 or line > 2 * self.levels or ladder.sides[line] == side:
                    continue
                exposed = bought if side > 0 else sold
                if ladder.orders[line] != 0:
                    ctx.cancel(ladder.orders[line])  # it belongs to the other side; replaced when it is gone
                elif exposed + self.size < most + 0.5 * instrument.size_increment:
                    price = ctx.round_price(instrument, ladder.base + (line - self.levels) * ladder.step)
                    ladder.sides[line] = side
                    ladder.orders[line] = ctx.limit(instrument, side * self.size, price, post_only=True)
                    if side > 0:
                        bought += self.size
                    else:
                        sold += self.size
        if 0 <= ladder.empty <= 2 * self.levels and ladder.orders[ladder.empty] != 0:
            ctx.cancel(ladder.orders[ladder.empty])
