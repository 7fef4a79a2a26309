"""A market by order as lists and sets: the twin of engine.execution.order_rows and order_queue.

Every displayed order is an object; an order of ours keeps the set of those that stand before it. What a level
displays is summed up anew after each message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.config import Rules
from engine.model.kinds import Flag
from tests.reference.book import Level, Market, Side
from tests.reference.rows import stamp_of

if TYPE_CHECKING:
    from engine.model.instruments import Instrument
    from tests.helpers.logs import Row
    from tests.reference.orders import Order


@dataclass(eq=False)
class Displayed:
    """One order of somebody's."""

    side: int
    price: int
    size: int
    named: bool = True  # by the snapshot that is being applied


class OrderedSide(Side):
    """A side whose own orders know who stands before them."""

    def __init__(self, sign: int, rules: Rules, who: Instrument, market: OrderedMarket) -> None:
        super().__init__(sign, rules, who)
        self.market = market

    def move_queue(self, level: Level, size: int) -> None:
        """Nothing is believed here."""

    def add(self, order: Order) -> None:
        """An order of ours joins the queue at its price."""
        best = self.best()
        super().add(order)
        order.before = None if order.front is None else self.market.at(self.sign, order.price)
        order.blind = best is not None and not self.at_least(order.price, best)
        order.matched = 0
        order.joined_stamp = self.market.depth_ts_venue


class OrderedMarket(Market):
    """What is known of an instrument's market by order."""

    def __init__(self, match_on: str, rules: Rules, who: Instrument) -> None:
        super().__init__(match_on, rules, who)
        self.sides = {1: OrderedSide(1, rules, who, self), -1: OrderedSide(-1, rules, who, self)}
        self.orders: dict[int, Displayed] = {}
        self._touched: set[tuple[int, int]] = set()
        self.message = 0  # that is being applied
        self.strangers = 0

    def at(self, sign: int, price: int) -> set[int]:
        """Ids of the orders at a price."""
        return {i for i, o in self.orders.items() if (o.side, o.price) == (sign, price)}

    def take(self, row: Row) -> None:  # noqa: C901  one branch a rule
        """A row says what is left of an order."""
        if row.flags & Flag.CLEAR:
            self.begin_snapshot()
            for order in self.orders.values():
                order.named = False
        if stamp_of(row) is not None:
            self.depth_ts_venue = row.ts_venue
        if not row.side:
            return
        old = self.orders.get(row.id)
        if old is None and not row.size:
            self.strangers += 1
            return
        if row.size:
            self._touched.add((row.side, row.price))
        stays = old is not None and (old.side, old.price) == (row.side, row.price)
        if old is not None:
            self._touched.add((old.side, old.price))
            if stays and 0 < row.size <= old.size:
                self._shrunk(old, row.id, old.size - row.size, stamp_of(row))
                old.size, old.named = row.size, True
                return
            self._shrunk(old, row.id, old.size, stamp_of(row))
            self._forget(row.id)
        if row.size:
            self.orders[row.id] = Displayed(row.side, row.price, row.size)
            if old is None and row.flags & Flag.SNAPSHOT and not self.in_snapshot:
                for ours in self._ours(row.side, row.price):
                    if ours.blind and ours.before is not None:
                        assert ours.front is not None
                        ours.before.add(row.id)
                        ours.front += row.size

    def _ours(self, sign: int, price: int) -> list[Order]:
        level = self.sides[sign].levels.get(price)
        return level.orders if level else []

    def _forget(self, number: int) -> None:
        gone = self.orders.pop(number)
        for ours in self._ours(gone.side, gone.price):
            if ours.before is not None:
                ours.before.discard(number)

    def _shrunk(self, displayed: Displayed, number: int, size: int, stamp: int | None) -> None:
        """Some of a displayed order goes; those of ours behind it move up."""
        if not size:
            return
        for ours in self._ours(displayed.side, displayed.price):
            if ours.before is None or number not in ours.before:
                continue
            assert ours.front is not None
            left = sum(self.orders[i].size for i in ours.before) - size
            told = min(size, max(0, ours.matched))
            ours.matched -= told
            untold = ours.front - told
            ours.front = min(max(0, untold), left)
            untold -= ours.front
            if untold > 0 and ours.matched <= 0 and stamp is not None:
                earlier = ours.matched if ours.matched_stamp == stamp else 0
                ours.matched, ours.matched_stamp, ours.matched_message = earlier - int(untold), stamp, 0

    def end_snapshot(self) -> None:
        """What the picture has not named is gone, or out of sight beyond what it covers."""
        for sign, side in self.sides.items():
            shown = [o.price * sign for o in self.orders.values() if o.side == sign and o.named]
            side.known = min(shown) * sign if shown else None
        for number, order in list(self.orders.items()):
            if order.named:
                continue
            if self.sides[order.side].knows(order.price):
                self._shrunk(order, number, order.size, None)
                self._touched.add((order.side, order.price))
            self._forget(number)

    def end_message(self) -> None:  # noqa: C901  sums, what we took, who of us stands there
        """After all rows of a message: what each price displays now."""
        if self.in_snapshot:
            self.end_snapshot()
        for sign, side in self.sides.items():
            named = {o.price for o in self.orders.values() if o.side == sign}
            prices = {price for s, price in self._touched if s == sign} | named
            if self.in_snapshot:
                prices |= set(side.levels)
            for price in prices:
                size = sum(self.orders[i].size for i in self.at(sign, price))
                level = side.levels.get(price)
                if level is None:
                    if size:
                        side.levels[price] = Level(size)
                    continue
                before = level.size or 0
                unseen = self.in_snapshot and not size
                if before == 0 or unseen:
                    level.consumed = 0
                elif size < before:
                    level.consumed = max(0, level.consumed - (before - size))
                level.size = None if unseen and not side.knows(price) else size
                for ours in level.orders:
                    self._settle(ours, level.size)
                side.tidy(price)
        if self.in_snapshot:
            self.bad = False
        self.in_snapshot = False
        self._touched = set()

    def _settle(self, ours: Order, size: int | None) -> None:
        if size is None or (self.in_snapshot and self.was_bad):
            ours.matched = 0
        if size is None:
            ours.before = None
        elif ours.before is None:
            ours.front = size if ours.front is None else min(ours.front, size)
            ours.before = self.at(ours.side, ours.price)
            ours.matched = 0

    def beyond(self, ours: Order, size: int, stamp: int | None, *, own: bool) -> int:
        """How much of a trade at an order's price goes beyond its front."""
        assert ours.front is not None
        apart = self.rules.set_apart_late and not own and stamp is not None
        if apart and ours.joined_stamp is not None and stamp is not None and stamp <= ours.joined_stamp:
            return 0
        if ours.matched > 0:
            if ours.matched_message:
                settled = ours.matched_message != self.message
            else:
                known = ours.matched_stamp is not None and self.depth_ts_venue is not None
                settled = known and self.depth_ts_venue > ours.matched_stamp  # type: ignore[operator]
            if settled:
                ours.matched = 0
        if ours.matched < 0 and apart and stamp == ours.matched_stamp:
            explained = min(size, -ours.matched)
            ours.matched += explained
            size -= explained
        elif ours.matched < 0:
            ours.matched = 0
        if ours.before is None:
            front = int(ours.front)
            ours.front = max(0, front - size)
            return size - front
        front = max(0, int(ours.front) - max(0, ours.matched))
        if used := min(size, front):
            ours.matched = max(0, ours.matched) + used
            ours.matched_stamp, ours.matched_message = stamp, self.message if own else 0
        return size - front
