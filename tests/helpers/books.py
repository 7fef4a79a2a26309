"""A reader of BOOK rows in plain Python: what a log says of a book, and how deep it knows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.model.kinds import Flag

LOWEST = -(2**63)


class PlainBook:
    """Levels by side, and the worst key (price × side) up to which the last snapshot covers each side."""

    def __init__(self) -> None:
        self.levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.known = {1: LOWEST, -1: LOWEST}

    def apply(self, message: Iterable[dict[str, Any]]) -> None:
        """One message's rows."""
        snapshot = False
        for row in message:
            if row["flags"] & Flag.CLEAR:
                snapshot = True
                self.levels = {1: {}, -1: {}}
            if not row["side"]:
                continue
            if row["size"]:
                self.levels[row["side"]][row["price"]] = row["size"]
            else:
                del self.levels[row["side"]][row["price"]]
        if snapshot:
            self.known = {s: min((p * s for p in of), default=LOWEST) for s, of in self.levels.items()}

    def best(self, side: int, count: int) -> list[tuple[int, int]]:
        """The best levels of a side, best first."""
        return sorted(self.levels[side].items(), key=lambda level: -level[0] * side)[:count]


class OrderedBook:
    """Orders by id: side, price, what is left. A price's orders add up to its displayed size."""

    def __init__(self) -> None:
        self.orders: dict[int, tuple[int, int, int]] = {}

    def apply(self, message: Iterable[dict[str, Any]]) -> None:
        """One message's rows."""
        for row in message:
            assert row["flags"] & Flag.BY_ORDER
            if row["flags"] & Flag.CLEAR:
                self.orders.clear()
            if row["size"]:
                self.orders[row["id"]] = (row["side"], row["price"], row["size"])
            else:
                del self.orders[row["id"]]

    def best(self, side: int, count: int) -> list[tuple[int, int]]:
        """The best prices of a side with the sum of their orders, best first."""
        levels: dict[int, int] = {}
        for mine, price, size in self.orders.values():
            if mine == side:
                levels[price] = levels.get(price, 0) + size
        return sorted(levels.items(), key=lambda level: -level[0] * side)[:count]


def messages_of(rows: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Rows gathered to messages."""
    message: list[dict[str, Any]] = []
    for row in rows:
        message.append(row)
        if row["flags"] & Flag.LAST:
            yield message
            message = []
    assert not message, "the last message has no end"
