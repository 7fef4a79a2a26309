"""One side of a price-level book, as a sorted array with the best level at its end.

Most changes of a real book happen near its best price, so a search starts there and an insertion or
removal moves a handful of records; far levels are found by bisection. The array is sparse-friendly, has
no window that could be left, and is its own canonical form.

A level is kept while it has a displayed size or an order of ours in it. Its size is UNKNOWN where the
venue has never shown us that price (outside a limited snapshot, or behind the best quote): unknown is
not zero. `consumed` is what our own taking has used up of the displayed size since it was displayed:
what is left for us is `size - consumed`.

Keys: price times sign (+1 bids, -1 asks), so that on both sides a greater key is a better price.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.model import jit

LEVEL = np.dtype(
    [
        ("price", "<i8"),
        ("size", "<i8"),
        ("consumed", "<i8"),
        ("head", "<i4"),  # first of our orders resting here, -1: none
        ("stale", "<i4"),  # 1 while a snapshot is being applied and has not named the level yet
    ]
)
SIDE = np.dtype(
    [
        ("levels", "<i8"),  # address of LEVEL[capacity]
        ("count", "<i8"),
        ("capacity", "<i8"),
        ("known_key", "<i8"),  # worst key that the venue has told us about; beyond it sizes are unknown
    ]
)
UNKNOWN = -1
LOWEST_KEY = -(2**62)
HIGHEST_KEY = 2**62

levels_at = jit.records_at(LEVEL)
sides_at = jit.records_at(SIDE)


@jit.helper
def position_of(levels: Any, count: int, sign: int, price: int) -> int:
    """Index of the level at `price`, or where it would be inserted."""
    key = price * sign
    i = count
    stop = count - 8
    if stop < 0:
        stop = 0
    while i > stop and levels[i - 1].price * sign > key:
        i -= 1
    if i > stop:
        if levels[i - 1].price == price:
            return i - 1
        return i
    low = 0
    high = stop
    while low < high:
        middle = (low + high) >> 1
        if levels[middle].price * sign < key:
            low = middle + 1
        else:
            high = middle
    return low


@jit.inlined
def best_of(levels: Any, count: int) -> int:
    """Index of the best level with a displayed size, or -1."""
    i = count - 1
    while i >= 0 and levels[i].size <= 0:
        i -= 1
    return i


@jit.helper
def insert_level(side: Any, position: int, price: int, size: int) -> None:
    """Make room at `position`; the caller has made sure of capacity."""
    levels = levels_at(side.levels, side.capacity)
    for i in range(side.count, position, -1):
        levels[i] = levels[i - 1]
    level = levels[position]
    level.price = price
    level.size = size
    level.consumed = 0
    level.head = -1
    level.stale = 0
    side.count += 1


@jit.helper
def remove_level(side: Any, position: int) -> None:
    """Close the gap at `position`."""
    levels = levels_at(side.levels, side.capacity)
    last = side.count - 1
    for i in range(position, last):
        levels[i] = levels[i + 1]
    side.count = last


@jit.inlined
def shrink_consumed(level: Any, old: int, new: int) -> None:
    """What we consumed shrinks with the displayed decrease and is forgotten when the level was empty."""
    if old <= 0:
        level.consumed = 0
    elif new < old:
        left = level.consumed - (old - new)
        level.consumed = left if left > 0 else 0


@jit.helper
def available_within(side: Any, sign: int, limit: int, enough: int) -> int:
    """Displayed and not consumed size at `limit` or better, counted up to `enough`."""
    levels = levels_at(side.levels, side.capacity)
    total = 0
    i = side.count - 1
    while i >= 0 and levels[i].price * sign >= limit * sign and total < enough:
        level = levels[i]
        if level.size > level.consumed:
            total += level.size - level.consumed
        i -= 1
    return total
