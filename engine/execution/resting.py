"""Our orders in the book, and what each row of depth or quotes does to them.

An order of ours stands in its price level's list, in the order of time. Its `front` is the displayed size
before it; a change of the level moves it (risk-averse: nobody behind us is assumed to have left).
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import E_CANCELLED, R_FUNDS, R_OVERFLOW
from engine.execution.fills import fill, finish, free_cash, resting_cost, side_of, unlock
from engine.execution.money import OVERFLOW, cost_of
from engine.execution.state import VENUE_DONE, VENUE_WORKING, instruments_at, orders_at
from engine.market.book import (
    HIGHEST_KEY,
    LOWEST_KEY,
    UNKNOWN,
    insert_level,
    levels_at,
    position_of,
    remove_level,
    shrink_consumed,
)
from engine.model import jit


@jit.helper
def rest(s: Any, slot: int) -> None:
    """Put what is left of a limit order into the book, last at its price."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    sign = order.side
    side = side_of(s, order.instrument, sign)
    levels = levels_at(side.levels, side.capacity)
    position = position_of(levels, side.count, sign, order.price)
    if position == side.count or levels[position].price != order.price:
        known = order.price * sign >= side.known_key
        insert_level(side, position, order.price, 0 if known else UNKNOWN)
    level = levels[position]
    order.front = level.size
    order.next = -1
    order.previous = -1
    if level.head < 0:
        level.head = slot
    else:
        tail = level.head
        while orders[tail].next >= 0:
            tail = orders[tail].next
        orders[tail].next = slot
        order.previous = tail
    order.resting = 1
    order.venue_state = VENUE_WORKING
    instruments_at(s.instruments, s.instrument_count)[order.instrument].resting += 1


@jit.helper
def unrest(s: Any, slot: int) -> None:
    """Take an order out of the book."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    sign = order.side
    side = side_of(s, order.instrument, sign)
    levels = levels_at(side.levels, side.capacity)
    if order.previous >= 0:
        orders[order.previous].next = order.next
    else:
        position = position_of(levels, side.count, sign, order.price)
        levels[position].head = order.next
        if order.next < 0 and levels[position].size <= 0:
            remove_level(side, position)
    if order.next >= 0:
        orders[order.next].previous = order.previous
    order.next = -1
    order.previous = -1
    order.resting = 0
    instruments_at(s.instruments, s.instrument_count)[order.instrument].resting -= 1


@jit.helper
def make(s: Any, slot: int, size: int, reason: int) -> None:
    """Fill a resting order at its own limit; what cannot be counted, or paid, is cancelled."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    refusal = R_OVERFLOW
    if s.account_type == 1 and order.side > 0:
        instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
        cost = cost_of(order.price, size, instrument.decimals, instrument.maker_rate)
        # Parts are rounded each by itself: they may cost a hair more than was held back for the whole.
        if cost > free_cash(s, slot) + order.venue_locked:
            refusal = R_FUNDS
        elif cost != OVERFLOW:
            left = order.venue_size - order.venue_filled - size
            keep = resting_cost(instrument, order.price, left) if left > 0 else 0
            if keep > order.venue_locked - cost:
                keep = order.venue_locked - cost
            unlock(s, slot, keep if keep > 0 else 0)
    if refusal == R_FUNDS or not fill(s, slot, order.price, size, reason, 1):
        finish(s, slot, E_CANCELLED, refusal)
    if order.venue_state == VENUE_DONE:
        unrest(s, slot)


@jit.helper
def advance_fronts(s: Any, head: int, size: int) -> None:
    """The displayed size at a level is now `size`: risk-averse, nobody behind us has left."""
    orders = orders_at(s.orders, s.order_capacity)
    slot = head
    while slot >= 0:
        order = orders[slot]
        if order.front == UNKNOWN or order.front > size:
            order.front = size
        slot = order.next


@jit.helper
def set_level(s: Any, instrument: int, sign: int, price: int, size: int) -> None:
    """A depth row: the level at `price` now displays `size` (0: gone). Capacity has been made sure of."""
    side = side_of(s, instrument, sign)
    levels = levels_at(side.levels, side.capacity)
    position = position_of(levels, side.count, sign, price)
    if position < side.count and levels[position].price == price:
        level = levels[position]
        shrink_consumed(level, level.size, size)
        level.size = size
        level.stale = 0
        if level.head >= 0:
            advance_fronts(s, level.head, size)
        elif size == 0:
            remove_level(side, position)
    elif size > 0:
        insert_level(side, position, price, size)


@jit.helper
def begin_snapshot(s: Any, instrument: int) -> None:
    """A CLEAR row: every level is stale until the snapshot names it."""
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    record.resynchronise = record.book_bad
    for sign in (1, -1):
        side = side_of(s, instrument, sign)
        levels = levels_at(side.levels, side.capacity)
        for i in range(side.count):
            levels[i].stale = 1
            if record.book_bad:
                levels[i].consumed = 0


@jit.helper
def end_snapshot(s: Any, instrument: int) -> None:
    """After a snapshot's rows: what it did not name is gone, or unknown beyond what it covers."""
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    for sign in (1, -1):
        side = side_of(s, instrument, sign)
        levels = levels_at(side.levels, side.capacity)
        known = HIGHEST_KEY
        for i in range(side.count):
            if levels[i].stale == 0 and levels[i].size > 0:
                known = levels[i].price * sign
                break
        if known == HIGHEST_KEY:
            known = LOWEST_KEY
        side.known_key = known
        kept = 0
        for i in range(side.count):
            level = levels[i]
            if level.stale == 1:
                level.stale = 0
                level.consumed = 0
                if level.head < 0:
                    continue
                if level.price * sign >= known:
                    level.size = 0
                    advance_fronts(s, level.head, 0)
                else:
                    level.size = UNKNOWN
            if kept != i:
                levels[kept] = levels[i]
            kept += 1
        side.count = kept
    record.book_bad = 0


@jit.helper
def set_best(s: Any, instrument: int, sign: int, price: int, size: int) -> None:
    """A quote row: the one displayed level of this side. Levels behind it are unknown, not empty."""
    side = side_of(s, instrument, sign)
    levels = levels_at(side.levels, side.capacity)
    key = price * sign if size > 0 else LOWEST_KEY
    kept = 0
    for i in range(side.count):
        level = levels[i]
        level_key = level.price * sign
        if level_key != key:
            if level_key > key:
                # Better than the best price: nothing stands before our orders there any more.
                if level.head >= 0:
                    level.size = 0
                    advance_fronts(s, level.head, 0)
            else:
                level.size = UNKNOWN
            level.consumed = 0
            if level.head < 0:
                continue
        if kept != i:
            levels[kept] = levels[i]
        kept += 1
    side.count = kept
    side.known_key = key
    if size > 0:
        set_level(s, instrument, sign, price, size)
