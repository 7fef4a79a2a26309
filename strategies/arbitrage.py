"""Arbitrage: one symbol on two venues, bought where it is cheap and sold where it is dear, at once.

The signal is what a unit leaves after both fees: the dear venue's bid less its fee, minus the cheap
venue's ask and its fee. Above `edge_bp` both legs leave together, as limits at just these prices that take
what is there and expire (IOC), for no more than both venues show. Between signal and arrival the market
moves: a leg may fill in part or not at all. When both legs are final, what one filled beyond the other is
taken back at once by market, on the venue where it was filled; after a leg that failed, and after orders
that were turned down, it waits for `cooldown_ms`.

So what it holds on one venue it owes on the other: the sum is zero but for the moment between legs and
their repair. Either venue's holdings stay within `limit`; the other direction, when it comes, unwinds
them. A price that it has taken is not taken again before both venues have shown new ones. Moving money
and coins between venues is not its business.

    idle ── edge ──► legs sent ── both final, equal ──► idle
                         └── both final, unequal ──► repair by market ──► cooldown ──► idle

Tell it the fees that you pay: `--set first_fee_bp=7.5`. The run's own fees are another setting.
"""

import engine

BASIS_POINT = 0.0001
IDLE, LEGS, REPAIR = 0, 1, 2


class Leg:
    """One order that is under way, and what has become of it."""

    def __init__(self) -> None:
        self.order = 0  # its number
        self.side = 0
        self.wanted = 0.0
        self.filled = 0.0
        self.final = True

    def take(self, order, filled, final):
        """Note a report about an order if it is this one; whether it is."""
        if order != self.order or self.final:
            return False
        self.filled = filled
        self.final = final
        return True


@engine.compiled
class Arbitrage(engine.Strategy):
    """Takes the difference between two venues' prices of one symbol when it exceeds both fees."""

    size: float = 0.05  # base units of one leg, at most
    limit: float = 0.2  # base units held or owed on a venue, at most
    edge_bp: float = 1.0  # of the price, to be left after both fees
    first_fee_bp: float = 10.0  # the taker's, on the first of the two venues
    second_fee_bp: float = 10.0
    cooldown_ms: int = 1000  # after a leg that failed

    def on_start(self, ctx):
        pair = self.pair(ctx.instruments)
        if len(pair) != 2:
            raise ValueError(
                "arbitrage needs one symbol on two venues; the instruments are "
                + ", ".join(instrument.key for instrument in ctx.instruments)
            )
        self.first, self.second = pair
        self.legs = [Leg(), Leg()]  # on the first and on the second venue
        self.repair = Leg()
        self.stage = IDLE
        self.mending = 0  # the venue, 0 or 1, that the repair goes to
        self.unhedged = [0.0, 0.0]  # signed, by venue: to be closed there
        self.fresh = [False, False]  # by venue: a price that has not been taken yet
        self.least_size = [i.min_size / i.lot * i.size_increment for i in pair]
        self.least_notional = [float(i.min_notional) for i in pair]
        self.not_before = 0  # ns

    def pair(self, instruments):
        """The first symbol that exactly two venues have, in their order."""
        for one in instruments:
            same = [other for other in instruments if other.symbol == one.symbol]
            if len(same) == 2:
                return same
        return []

    def on_quote(self, ctx, quote):
        self.look(ctx, quote.instrument)

    def on_book(self, ctx, update):
        if not update.doubtful:
            self.look(ctx, update.instrument)

    def look(self, ctx, instrument):
        """Mend what is open, else compare the venues; `instrument` has a new price."""
        if self.stage == REPAIR and self.repair.final and ctx.now >= self.not_before:
            self.mend(ctx)
        if self.stage != IDLE:
            return
        if instrument == self.first:
            self.fresh[0] = True
        elif instrument == self.second:
            self.fresh[1] = True
        if ctx.now < self.not_before or not (self.fresh[0] and self.fresh[1]):
            return
        one, two = ctx.quote(self.first), ctx.quote(self.second)
        if one is None or two is None:
            return
        if not (0.0 < one.bid < one.ask and 0.0 < two.bid < two.ask):
            return
        first_fee, second_fee = self.first_fee_bp * BASIS_POINT, self.second_fee_bp * BASIS_POINT
        edge = self.edge_bp * BASIS_POINT * one.ask
        if two.bid * (1.0 - second_fee) - one.ask * (1.0 + first_fee) > edge:
            self.send(ctx, 1, one.ask, two.bid, min(one.ask_size, two.bid_size))
        elif one.bid * (1.0 - first_fee) - two.ask * (1.0 + second_fee) > edge:
            self.send(ctx, -1, one.bid, two.ask, min(one.bid_size, two.ask_size))

    def send(self, ctx, side, first_price, second_price, shown):
        """Both legs: `side` on the first venue, the opposite on the second."""
        room = min(
            self.limit - side * ctx.position(self.first), self.limit + side * ctx.position(self.second)
        )
        size = ctx.round_size(self.first, max(min(self.size, shown, room), 0.0))
        size = ctx.round_size(self.second, size)  # the coarser of the two increments decides
        if not (self.tradable(0, size, first_price) and self.tradable(1, size, second_price)):
            return
        self.stage = LEGS
        self.fresh[0] = False
        self.fresh[1] = False
        self.arm(self.legs[0], side, size)
        self.arm(self.legs[1], -side, size)
        self.legs[0].order = ctx.limit(self.first, side * size, first_price, tif="ioc")
        self.legs[1].order = ctx.limit(self.second, -side * size, second_price, tif="ioc")

    def tradable(self, place, size, price):
        """Does the venue take an order as small as this?"""
        return size > 0.0 and size >= self.least_size[place] and size * price >= self.least_notional[place]

    def arm(self, leg, side, size):
        """A leg that is about to be sent."""
        leg.side = side
        leg.wanted = size
        leg.filled = 0.0
        leg.final = False

    def on_order(self, ctx, update):
        final = update.state != "accepted"
        if self.repair.take(update.order, update.filled, final):
            if final:
                self.settle(ctx)
            return
        known = self.legs[0].take(update.order, update.filled, final)
        if not known:
            known = self.legs[1].take(update.order, update.filled, final)
        if known and self.stage == LEGS and self.legs[0].final and self.legs[1].final:
            self.compare(ctx)

    def compare(self, ctx):
        """Both legs are final: equal, or one has filled more than the other."""
        one, two = self.legs[0], self.legs[1]
        if one.filled < one.wanted or two.filled < two.wanted:
            self.not_before = ctx.now + self.cooldown_ms * 1_000_000
            ctx.log("a leg failed:", one.filled, "and", two.filled, "of", one.wanted)
        self.unhedged[0] += one.side * max(one.filled - two.filled, 0.0)
        self.unhedged[1] += two.side * max(two.filled - one.filled, 0.0)
        self.mend(ctx)

    def mend(self, ctx):
        """Close by market what is not hedged; idle when nothing is, or less than a venue takes."""
        self.stage = IDLE
        for place in range(2):
            instrument = self.first if place == 0 else self.second
            size = ctx.round_size(instrument, self.unhedged[place])
            quote = ctx.quote(instrument)
            if quote is not None and self.tradable(place, abs(size), quote.bid):
                self.stage = REPAIR
                self.mending = place
                self.arm(self.repair, 1 if size < 0.0 else -1, abs(size))
                self.repair.order = ctx.market(instrument, -size)
                return

    def settle(self, ctx):
        """The repair is final; what it left is tried again after the cooldown."""
        self.unhedged[self.mending] += self.repair.side * self.repair.filled
        if self.repair.filled < self.repair.wanted:
            self.not_before = ctx.now + self.cooldown_ms * 1_000_000
        else:
            self.mend(ctx)
