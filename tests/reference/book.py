"""One instrument's market as dicts and lists: the twin of engine.market.book and of its book rows.

A level's size is None where the venue has never shown it. Orders of ours that rest at a price stand in
its level's list, in the order in which they came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.config import Rules
from tests.reference import queues

if TYPE_CHECKING:
    from engine.model.instruments import Instrument
    from tests.reference.orders import Order


@dataclass
class Level:
    """One price: what is displayed, what we took of it, who of us waits there."""

    size: int | None
    consumed: int = 0
    orders: list[Order] = field(default_factory=list)

    @property
    def left(self) -> int:
        """What is displayed and not consumed."""
        return max(0, (self.size or 0) - self.consumed)


class Side:
    """Bids (sign +1) or asks (-1) by price."""

    def __init__(self, sign: int, rules: Rules, who: Instrument) -> None:
        self.sign = sign
        self.rules = rules
        self.who = who
        self.levels: dict[int, Level] = {}
        self.known: int | None = None  # worst price that the venue has told us about; None: all of them

    def best_first(self) -> list[int]:
        """All prices, best first, displayed or not."""
        return sorted(self.levels, key=lambda price: -price * self.sign)

    def displayed(self) -> list[int]:
        """Prices with a displayed size, best first."""
        return [price for price in self.best_first() if self.levels[price].size]

    def best(self) -> int | None:
        """Best displayed price."""
        return next(iter(self.displayed()), None)

    def at_least(self, price: int, limit: int) -> bool:
        """Whether `price` is `limit` or better, seen from this side."""
        return price * self.sign >= limit * self.sign

    def knows(self, price: int) -> bool:
        """Whether the venue would have shown us a size at this price."""
        return self.known is None or self.at_least(price, self.known)

    def set(self, price: int, size: int, *, in_doubt: bool = False) -> None:
        """The venue says that `size` is displayed at `price` now; in doubt, no queue moves."""
        level = self.levels.get(price)
        if level is None:
            if size:
                self.levels[price] = Level(size)
            return
        before = level.size or 0
        if before == 0:
            level.consumed = 0
        elif size < before:
            level.consumed = max(0, level.consumed - (before - size))
        if not in_doubt:
            self.move_queue(level, size)
        level.size = size
        self.tidy(price)

    def move_queue(self, level: Level, size: int) -> None:
        """Every order of ours there learns of the change."""
        for order in level.orders:
            queues.depth(self.rules, self.who, order, level.size, size)

    def tidy(self, price: int) -> None:
        """Forget a level that nothing is displayed at and nobody of us waits at."""
        level = self.levels[price]
        if not level.size and not level.orders:
            del self.levels[price]

    def add(self, order: Order) -> None:
        """An order comes to rest, last at its price."""
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level(0 if self.knows(order.price) else None)
        unseen = 0 if self.rules.unseen_is_empty else None
        queues.accept(order, unseen if level.size is None else level.size)
        level.orders.append(order)

    def remove(self, order: Order) -> None:
        """An order leaves."""
        self.levels[order.price].orders.remove(order)
        self.tidy(order.price)


class Market:
    """What is known of an instrument's market."""

    def __init__(self, match_on: str, rules: Rules, who: Instrument) -> None:
        self.match_on = match_on  # "book", "quote", "trade", "bar" or ""
        self.rules = rules
        self.sides = {1: Side(1, rules, who), -1: Side(-1, rules, who)}
        self.bad = False
        self.last = 0
        self.mark = 0
        self.quote: dict[int, tuple[int, int]] = {1: (0, 0), -1: (0, 0)}
        self.quote_seen = False
        self.depth_ts_venue: int | None = None
        self._named: set[tuple[int, int]] = set()
        self.in_snapshot = False
        self.was_bad = False

    def begin_snapshot(self) -> None:
        """A full picture follows."""
        self.in_snapshot = True
        self.was_bad = self.bad
        self._named = set()
        if self.bad:
            for side in self.sides.values():
                for level in side.levels.values():
                    level.consumed = 0

    def set(self, sign: int, price: int, size: int) -> None:
        """A depth row."""
        self.sides[sign].set(price, size, in_doubt=self.bad)
        self._named.add((sign, price))

    def end_snapshot(self) -> None:
        """What the picture did not name is gone, or unknown beyond what it covers."""
        self.in_snapshot = False
        for sign, side in self.sides.items():
            named = [price for (s, price) in self._named if s == sign and price in side.levels]
            shown = [price * sign for price in named if side.levels[price].size]
            side.known = min(shown) * sign if shown else None
            for price in side.best_first():
                level = side.levels[price]
                if price not in named:
                    level.consumed = 0
                    if side.knows(price):
                        if not self.bad:
                            side.move_queue(level, 0)
                        level.size = 0
                    else:
                        level.size = None
                if self.was_bad and level.size is not None:
                    for order in level.orders:
                        queues.resynchronised(order, level.size)
                side.tidy(price)
        self.bad = False

    def set_best(self, sign: int, price: int, size: int) -> None:
        """A quote row: the one level that is displayed."""
        side = self.sides[sign]
        for other in side.best_first():
            level = side.levels[other]
            if size and other == price:
                continue
            level.consumed = 0
            if not size or side.at_least(other, price):
                if level.size != 0:
                    side.move_queue(level, 0)
                level.size = 0
            else:
                level.size = None
            side.tidy(other)
        side.known = price if size else None
        if size:
            side.set(price, size)

    def best(self, sign: int) -> int:
        """Best price as risk and marks see it; 0: none."""
        if self.match_on in ("trade", "bar"):
            return self.last
        if not self.match_on:
            return 0
        return self.sides[sign].best() or 0
