"""The memory of books by order: for every instrument a table of the orders at the venue, and one as seen.

Kernels look orders up in these arrays and say when a table is about to be more than half full; this makes a
larger one. By the clock `received` both views are one, and the second table stays empty, as both do for
instruments that are not by order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.market.orders_book import ENTRY, SMALLEST, TABLE, refill
from engine.model.errors import EngineError


class OrderTables:
    """All tables of one run. `state` is the loop's STATE record."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self.tables = np.zeros(0, TABLE)
        self._entries: list[Any] = []  # arrays of ENTRY, kept alive for the kernels

    def add(self) -> None:
        """Make room for one more instrument's two tables; they hold nothing yet."""
        self.tables = np.append(self.tables, np.zeros(2, TABLE))
        self._entries += [np.zeros(0, ENTRY), np.zeros(0, ENTRY)]
        self._state["order_tables"] = self.tables.ctypes.data

    def entries(self, place: int) -> np.ndarray[Any, Any]:
        """The orders of a table, a copy as ENTRY, first come first."""
        entries = self._entries[place]
        there: np.ndarray[Any, Any] = entries[entries["sign"] != 0]
        return there[np.argsort(np.abs(there["arrival"]), kind="stable")]

    def fill(self, place: int, entries: Any) -> None:
        """Give an empty table these orders; `arrivals` and the like are for the caller to set."""
        if not len(entries):
            return
        self.grow(place, len(entries))
        table = self.tables[place : place + 1]
        refill(int(entries.ctypes.data), len(entries), int(table.ctypes.data))
        table["count"] = len(entries)

    def grow(self, place: int, need: int) -> None:
        """Give a table room for `need` orders, at most half of it used."""
        table, old = self.tables[place : place + 1], self._entries[place]
        capacity = max(SMALLEST, 2 * len(old))
        while capacity < 2 * need:
            capacity *= 2
        entries = np.zeros(capacity, ENTRY)
        table["entries"], table["capacity"] = entries.ctypes.data, capacity
        table["shift"] = 64 - (capacity.bit_length() - 1)
        refill(int(old.ctypes.data), len(old), int(table.ctypes.data))
        self._entries[place] = entries

    def rescale(self, index: int, price: int, size: int, name: str) -> None:
        """Multiply an instrument's prices and sizes up exactly; EngineError when they do not fit."""
        for entries in self._entries[2 * index : 2 * index + 2]:
            for field, factor in (("key", price), ("size", size)):
                if len(entries) and int(np.abs(entries[field]).max()) * factor >= 2**63:
                    raise EngineError(
                        f"instrument {name}: an order's {field} times {factor} does not fit 64 bits"
                    )
                entries[field] *= factor

    def orders(self, index: int) -> list[tuple[int, int, int, int]]:
        """Orders at an instrument's venue, first come first: id, side, price, what is left of it."""
        there = self.entries(2 * index)
        numbers = there["id"].astype(np.uint64).tolist()
        prices = (there["key"] * there["sign"]).tolist()
        return list(zip(numbers, there["sign"].tolist(), prices, there["size"].tolist(), strict=True))

    @property
    def strangers(self) -> int:
        """Rows that ended orders which nobody had shown."""
        return int(self.tables["strangers"][::2].sum())
