"""Random markets by order: everything that rows by order may say, whether it makes sense or not.

Orders come, shrink, grow, move and go; trades hit them in the same message, before it or after it; snapshots
state some of them, in another size or at another price; ids appear that nobody added.
"""

from __future__ import annotations

from dataclasses import replace

from engine.model.kinds import Flag, Kind
from tests.helpers.logs import Row
from tests.reference.markets import TICK, RandomMarket, instrument

ORDERED = instrument("ORDERED", "trade", "orders")
BOTH = instrument("BOTH", "trade", "book", "orders")
FAR_ORDERED = instrument("FARORDERED", "trade", "orders", venue="kraken")


class RandomOrderMarket(RandomMarket):
    """As RandomMarket, and by order where an instrument's channels say so."""

    _last_id = 0

    def _book_of(self, number: int) -> dict[int, tuple[int, int, int]]:
        """The orders of an instrument: id -> side, price, size."""
        books: dict[int, dict[int, tuple[int, int, int]]] = self.__dict__.setdefault("books", {})
        return books.setdefault(number, {})

    def _rows(self, number: int) -> list[Row]:
        rows = super()._rows(number)
        channels = self.instruments[number - 1].channels
        if "orders" not in channels or self.chance.random() < 0.25:
            return rows  # a trade by itself, a gap, a headline, rows by price that are ignored
        return self._by_order(number)

    def _by_order(self, number: int) -> list[Row]:
        chance = self.chance
        if chance.random() < (0.3 if number in self.bad else 0.03):
            self.bad.discard(number)
            return self._picture(number)
        flags = Flag.MAYBE_BAD_BOOK if number in self.bad and chance.random() < 0.7 else 0
        stamp = self._stamp()
        rows: list[Row] = []
        for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
            rows += self._change(number, stamp, flags)
        return rows

    def _change(self, number: int, stamp: int, flags: int) -> list[Row]:
        chance, orders = self.chance, self._book_of(number)
        dice = chance.random()
        if len(orders) < 4 or (dice < 0.35 and len(orders) < 60):
            side = chance.choice((1, -1))
            away = chance.choice((0, 1, 1, 2, 2, 3, 4, 7))
            self._last_id += chance.choice((1, 1, 1000, 2**40))
            order, price, size = self._last_id, self.mid[number] - side * TICK * away, self._size()
            if chance.random() < 0.1:
                flags |= Flag.SNAPSHOT
            orders[order] = (side, price, size)
            return [self._row(number, order, stamp, flags)]
        if dice < 0.42:
            self._last_id += 1
            gone = replace(self._row(number, next(iter(orders)), stamp, flags), id=self._last_id, size=0)
            return [gone]  # an order that nobody has added
        order = chance.choice(sorted(orders))
        side, price, size = orders[order]
        rows: list[Row] = []
        if dice < 0.62:  # somebody hits it, as far as the data go
            part = chance.choice((size, max(1, size // 2)))
            orders[order] = (side, price, size - part)
            times = chance.choice((1, 1, 1, 0, 2))
            trade = Row(Kind.TRADE, stamp, 1, 0, 0, number, -side, price, part, id=order)
            rows = [trade] * times
            if rows and chance.random() < 0.3:
                rows = [replace(rows[0], ts_venue=self._stamp())]
        elif dice < 0.75:
            orders[order] = (side, price, 0)
        elif dice < 0.85:
            orders[order] = (side, price, self._size(size // 100 + 2))
        else:
            orders[order] = (
                chance.choice((side, side, -side)),
                price + TICK * chance.choice((-1, 0, 1)),
                size,
            )
        rows.append(self._row(number, order, stamp, flags))
        if orders[order][2] == 0:
            del orders[order]
        if chance.random() < 0.2:
            rows.reverse()
        return rows

    def _row(self, number: int, order: int, stamp: int, flags: int) -> Row:
        side, price, size = self._book_of(number)[order]
        flags |= Flag.BY_ORDER
        return Row(Kind.BOOK, stamp, 1, 0, flags, number, side, price, size, id=order)

    def _picture(self, number: int) -> list[Row]:
        """A snapshot, in which some orders are missing and others are not as they were."""
        chance, orders = self.chance, self._book_of(number)
        reach = TICK * chance.choice((1, 3, 6, 20))
        for order, (side, price, size) in list(orders.items()):
            if abs(price - self.mid[number]) > reach or chance.random() < 0.2:
                del orders[order]
            elif chance.random() < 0.3:
                orders[order] = (side, price, self._size(size // 100 + 2))
        rows = [self._row(number, order, self._stamp(), Flag.SNAPSHOT) for order in orders]
        if not rows:
            rows = [Row(Kind.BOOK, flags=Flag.SNAPSHOT | Flag.BY_ORDER, instrument=number)]
        return [replace(rows[0], flags=rows[0].flags | Flag.CLEAR), *rows[1:]]
