"""The orders of one book by their ids: a hash table, and when each of them came.

A log by order says what is left of an order. What it says nothing of is where the order stood before, which
level it leaves, and who came first; that is kept here. An order's `arrival` is its place in the sequence of
all that came to rest in this book: of two at one price the smaller stands before the other.

The table is open addressing with linear probing, at most half full, so a row costs a look or two. What goes
leaves no tombstone: the entries behind it move up, and a table in which orders come and go for a day does not
get slower. Room is made by the loop (`engine.loop.order_tables`), never here. Which slot an order has decides
nothing.

Prices and sizes of levels are the ladder's business (engine.market.book), queues of our own the venue's
(engine.execution.order_queue).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.model import jit

ENTRY = np.dtype(
    [
        ("id", "<i8"),
        ("key", "<i8"),  # price times sign, as in engine.market.book
        ("size", "<i8"),  # what is left
        ("arrival", "<i8"),  # negative: it was there before it was shown, nobody knows since when
        ("sign", "<i4"),  # +1 bid, -1 ask, 0: a free slot
        ("picture", "<i4"),  # the snapshot that named it last
    ]
)
TABLE = np.dtype(
    [
        (name, "<i8")
        for name in (
            "entries",  # address of ENTRY[capacity]
            "capacity",  # a power of two
            "shift",  # 64 - log2(capacity)
            "count",
            "arrivals",  # how many have come so far
            "picture",  # number of the last snapshot
            "in_picture",  # 1 while one is being applied
            "touched",  # 1: the message has changed a level with a note of ours
            "strangers",  # rows so far that ended an order which nobody had shown
        )
    ]
)
SMALLEST = 64  # entries of a new table

entries_at = jit.records_at(ENTRY)
tables_at = jit.records_at(TABLE)

_GOLDEN = -7046029254386353131  # 2**64 / golden ratio, as an int64


@jit.inlined
def home_of(table: Any, number: int) -> int:
    """The slot that an id would have if it were alone: the top bits of its product with an odd constant."""
    return int(((number * _GOLDEN) >> table.shift) & (table.capacity - 1))


@jit.inlined
def find_order(table: Any, number: int) -> int:
    """Slot of an order, or -1 - the free slot it would take. The table has been made and is never full."""
    entries = entries_at(table.entries, table.capacity)
    mask = table.capacity - 1
    slot = home_of(table, number)
    while entries[slot].sign != 0:
        if entries[slot].id == number:
            return slot
        slot = (slot + 1) & mask
    return -1 - slot


@jit.helper
def remove_order(table: Any, slot: int) -> None:
    """Free a slot; entries that were pushed past it by their neighbours move up."""
    entries = entries_at(table.entries, table.capacity)
    mask = table.capacity - 1
    hole = slot
    at = slot
    while True:
        at = (at + 1) & mask
        if entries[at].sign == 0:
            break
        # It may move when its home does not lie between the hole and where it stands.
        if ((at - home_of(table, entries[at].id)) & mask) >= ((at - hole) & mask):
            entries[hole] = entries[at]
            hole = at
    entries[hole].sign = 0
    table.count -= 1


@jit.inlined
def next_arrival(table: Any) -> int:
    """The place of who comes now."""
    table.arrivals += 1
    return int(table.arrivals)


@jit.entry("int64(int64,int64,int64)")
def refill(old: int, capacity: int, table_address: int) -> int:
    """Copy the entries of an old array of `capacity` into the table's new and empty one."""
    table = tables_at(table_address, 1)[0]
    before = entries_at(old, capacity)
    entries = entries_at(table.entries, table.capacity)
    for i in range(capacity):
        if before[i].sign != 0:
            slot = -1 - find_order(table, before[i].id)
            entries[slot] = before[i]
    return 0
