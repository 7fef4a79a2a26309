"""A book by order from LOBSTER's messages, held against the states that its other file shows.

Messages name orders; the opening book is not among them, and an order given outside the N levels of the file
is not either. So at every price in sight there is, besides the orders that are known, a *rest*: what the file
displays there and no known order explains. The rest is an order of its own in the log, with the id
`REST + 2 × price` (+ 1 on the ask side; price in 1/10,000), and stands before the known ones, as the
opening book does in fact. A message that names an order nobody added takes from the rest, because what is
displayed becomes less. So the orders at each price in sight always add up to what the file displays.

An order that grew would lose its place; a rest that grows is therefore another rest, the next `_STEP` up,
last at its price. An execution of an unknown order takes from the oldest, a cancellation from the youngest.

What happens out of sight is not in the file. Orders there stay as they were last seen; when their price
comes into sight again and less is displayed than they were, the youngest have gone, and all of them where
nothing is displayed. If more is displayed, the new rest is stated as part of a picture: it may have stood
there for long.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from engine.ingest.lobster_files import ADDED, EXECUTED
from engine.model.kinds import ASK, BID

REST = 2**62
_STEP = 2**44  # between the rests of one price
_LOWEST = -(2**63)
Row = tuple[int, int, int, int, bool]  # side, price, size, id, whether it is part of a picture


class _Level:
    """The orders at one price, oldest first, and what of the displayed size they do not explain."""

    __slots__ = ("known", "made", "orders", "rest", "rests")

    def __init__(self) -> None:
        self.orders: dict[int, int] = {}
        self.known = 0
        self.rests: dict[int, int] = {}  # oldest first; `rest` is their sum
        self.rest = 0
        self.made = 0  # rests so far


class _Side:
    """One side: levels by key (price times sign: greater is better), and the keys in order."""

    __slots__ = ("edge", "keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.edge = _LOWEST  # the worst key in sight after the message before
        self.levels: dict[int, _Level] = {}
        self.keys: list[int] = []

    def level(self, key: int) -> _Level:
        """The level at a key, made when it is not there."""
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = _Level()
            insort(self.keys, key)
        return level

    def drop(self, key: int) -> None:
        """Forget a level."""
        del self.levels[key]
        del self.keys[bisect_left(self.keys, key)]


class OrderBook:
    """The book by order, message after message. `unknown` and `vanished` are what it counts."""

    def __init__(self, levels: int) -> None:
        self.unknown = 0  # messages that name an order which was never added
        self.vanished = 0  # known orders that went while their price was out of sight
        self._levels = levels
        self._sides = {BID: _Side(BID), ASK: _Side(ASK)}
        self._where: dict[int, tuple[int, int]] = {}  # order -> side, key
        self._rows: dict[int, Row] = {}  # of the message in hand, by order
        self._oldest_first = False  # it takes from the oldest rest

    def apply(
        self,
        message: tuple[int, int, int, int, int],
        bids: tuple[list[int], list[int]],
        asks: tuple[list[int], list[int]],
    ) -> list[Row]:
        """One message (type, id, size, price, direction) and the state after it; the orders that changed."""
        kind, order, size, price, direction = message
        self._rows = {}
        self._oldest_first = kind == EXECUTED
        if kind == ADDED:
            self._take_away(order, None)  # an id that was given twice counts by its last
            self._add(order, direction, price * direction, size)
        elif kind <= EXECUTED:
            if order in self._where:
                self._take_away(order, None if kind == ADDED + 2 else size)
            else:
                self.unknown += 1
        for side, (prices, sizes) in ((self._sides[BID], bids), (self._sides[ASK], asks)):
            self._match(side, prices, sizes)
        # What was there before anyone we know of comes first, where both are new.
        return sorted(self._rows.values(), key=lambda row: row[3] < REST)

    def _add(self, order: int, sign: int, key: int, size: int) -> None:
        level = self._sides[sign].level(key)
        level.orders[order] = size
        level.known += size
        self._where[order] = (sign, key)
        self._rows[order] = (sign, key * sign, size, order, False)

    def _take_away(self, order: int, size: int | None) -> None:
        """Make an order smaller, or remove it (None, or all of it)."""
        if order not in self._where:
            return
        sign, key = self._where[order]
        level = self._sides[sign].levels[key]
        before = level.orders[order]
        left = 0 if size is None else max(before - size, 0)
        level.known -= before - left
        if left:
            level.orders[order] = left
        else:
            del level.orders[order], self._where[order]
        self._rows[order] = (sign, key * sign, left, order, False)
        if not level.orders and not level.rest:
            self._sides[sign].drop(key)

    def _match(self, side: _Side, prices: list[int], sizes: list[int]) -> None:
        """Bring one side to what is displayed."""
        sign = side.sign
        shown = {price * sign: size for price, size in zip(prices, sizes, strict=True) if size > 0}
        edge = min(shown) if len(shown) == self._levels else _LOWEST
        if len(side.keys) - bisect_left(side.keys, edge) > len(shown) or not all(
            key in side.levels for key in shown
        ):
            for key in side.keys[bisect_left(side.keys, edge) :]:
                if key not in shown:
                    self._settle(side, key, 0)
        for key, size in shown.items():
            level = side.levels.get(key)
            if level is None or level.known + level.rest != size:
                self._settle(side, key, size)
        side.edge = edge

    def _settle(self, side: _Side, key: int, size: int) -> None:
        """Make the level's orders add up to `size`: the rest gives and takes, then the youngest go."""
        level, sign = side.level(key), side.sign
        while level.known > size:
            order = next(reversed(level.orders))
            level.known -= level.orders.pop(order)
            del self._where[order]
            self._rows[order] = (sign, key * sign, 0, order, False)
            self.vanished += 1
        surplus = level.rest - (size - level.known)
        while surplus > 0:
            number = next(iter(level.rests) if self._oldest_first else reversed(level.rests))
            left = max(0, level.rests[number] - surplus)
            surplus -= level.rests.pop(number) - left
            if left:
                level.rests = (
                    {number: left} | level.rests if self._oldest_first else level.rests | {number: left}
                )
            self._rows[number] = (sign, key * sign, left, number, False)
        if surplus < 0:
            number = REST + level.made * _STEP + 2 * key * sign + (sign == ASK)
            level.made += 1
            level.rests[number] = -surplus
            self._rows[number] = (sign, key * sign, -surplus, number, key < side.edge)
        level.rest = size - level.known
        if not level.orders and not level.rest:
            side.drop(key)
