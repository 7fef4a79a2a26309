"""The displayed orders of a book by order as plain values, and put back.

A table is kept as its orders in the sequence in which they came to rest, which is what decides; where they
stand in the hash table, and how large it is, decides nothing. They are kept as bytes: a book by order has
thousands of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.loop.order_tables import OrderTables
from engine.loop.snapshots.fields import kept_fields, rows_of
from engine.market.orders_book import ENTRY

DISPLAYED = np.dtype([(name, ENTRY.fields[name][0]) for name in kept_fields("ENTRY")])  # type: ignore[index]


def tables_of(tables: OrderTables, index: int, views: int) -> list[dict[str, Any]]:
    """The orders of an instrument at the venue, and with two views as the strategy sees them."""
    found = []
    for place in range(2 * index, 2 * index + views):
        entries = tables.entries(place)
        orders = np.empty(len(entries), DISPLAYED)
        for name in DISPLAYED.names or ():
            orders[name] = entries[name]
        row = rows_of("TABLE", tables.tables[place : place + 1])[0]
        found.append({**row, "orders": orders.tobytes()})
    return found


def put_tables(tables: OrderTables, index: int, kept: list[dict[str, Any]]) -> None:
    """Fill an instrument's tables, which are empty, with what `tables_of` gave."""
    for place, table in enumerate(kept, 2 * index):
        orders = np.frombuffer(table["orders"], DISPLAYED)
        entries = np.zeros(len(orders), ENTRY)
        for name in DISPLAYED.names or ():
            entries[name] = orders[name]
        tables.fill(place, entries)
        for name in kept_fields("TABLE"):
            tables.tables[place][name] = table[name]
