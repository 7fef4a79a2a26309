"""Rows by order: what each says of the orders of a book, of its levels, and of the queues that ours stand in.

A row states what is left of one order. Of an order that is known it is

    smaller, or as large   it keeps its place
    larger, or elsewhere   it goes to the back of the price that it has now
    0                      it is gone

and of one that is not: a new order, last at its price. A row that ends an order which nobody has shown
changes nothing, and is counted. A row that leaves some of it is an order like any other from then on: what
the log does not show cannot stand before anybody.

The levels of the ladder are sums of these orders, so that whatever reads levels (taking, crossing, the
strategy's book) needs to know nothing of orders. What we took of a level shrinks with it once a message, by
the level's sizes before and after it: in between it may be empty for a row.

A snapshot is one message. What it names keeps its place by the same rules; what it does not name is gone, or,
beyond the prices that it covers, out of sight.
"""

from __future__ import annotations

from typing import Any

from engine.execution.order_queue import settle_level, shrink_before, stood_before
from engine.execution.resting import begin_snapshot, drop_note, end_snapshot, worst_named
from engine.execution.state import SIDES_EACH, int8_at, uint16_at, uint32_at
from engine.market.book import (
    ABSENT,
    FIRST_FAR,
    HIGHEST_KEY,
    UNKNOWN,
    bit_at_or_below,
    clear_bit,
    display,
    find,
    has_bit,
    hold,
    int32_at,
    int64_at,
    let_go,
    levels_at,
    note_of,
    notes_at,
    set_bit,
    settle,
    shrink_consumed,
    sides_at,
    size_of,
    slot_of,
)
from engine.market.orders_book import entries_at, find_order, next_arrival, remove_order, tables_at
from engine.model import jit
from engine.model.kinds import Flag
from engine.model.units import NULL_TIME

_CLEAR, _SNAPSHOT = int(Flag.CLEAR), int(Flag.SNAPSHOT)


@jit.inlined
def table_at(s: Any, number: int, offset: int) -> Any:
    """The TABLE record of an instrument's orders in the sides at `offset`."""
    return tables_at(s.order_tables, 2 * s.instrument_count)[2 * number + (offset >> 1)]


@jit.helper
def table_room(s: Any, number: int, offset: int, rows: int) -> int:
    """0 when a table has room for as many orders more as a message has rows, else how many it needs."""
    table = table_at(s, number, offset)
    need = table.count + rows
    return int(need) if 2 * need > table.capacity else 0


@jit.inlined
def is_stale(side: Any, handle: int) -> bool:
    """Whether the snapshot that is being applied has not named a level yet."""
    if handle >= 0:
        return has_bit(int64_at(side.stale, side.width >> 6), handle)
    return bool(levels_at(side.far, side.far_capacity)[FIRST_FAR - handle].stale != 0)


@jit.inlined
def mark(s: Any, note: Any, size: int) -> None:
    """A level with a note of ours changes in this message, from `size` on."""
    if note.message != s.message_number:
        note.message = s.message_number
        note.before = size


@jit.helper
def change_level(s: Any, table: Any, side: Any, key: int, change: int) -> None:
    """The orders at a price add up to `change` more than before, in a snapshot than what it has named."""
    slot = slot_of(side, key)
    words = side.width >> 6
    if slot >= 0 and not has_bit(int64_at(side.noted, words), slot):
        shown = int64_at(side.shown, words)
        sizes = int64_at(side.sizes, side.width)
        was_shown = has_bit(shown, slot)
        now = change
        if was_shown:
            if table.in_picture != 0:
                stale = int64_at(side.stale, words)
                if has_bit(stale, slot):
                    clear_bit(stale, slot)
                else:
                    now += sizes[slot]
            else:
                now += sizes[slot]
        if now < 0 and change > 0:
            now = HIGHEST_KEY  # more than can be counted
        if now > 0:
            sizes[slot] = now
            if not was_shown:
                set_bit(shown, slot)
                if slot > side.best:
                    side.best = slot
        elif was_shown:
            sizes[slot] = 0
            clear_bit(shown, slot)
            if slot == side.best:
                side.best = bit_at_or_below(shown, slot - 1)
                if side.best < side.width >> 3:
                    settle(side)
        return
    handle = find(side, key)
    if handle == ABSENT:
        if change <= 0:
            return
        handle = hold(side, key)
    before = size_of(side, handle)
    index = note_of(side, handle)
    if index >= 0:
        table.touched = 1
        mark(s, notes_at(s.notes, s.note_capacity)[index], before)
    if before < 0 or (table.in_picture != 0 and is_stale(side, handle)):
        before = 0
    now = before + change
    if now < 0:
        now = HIGHEST_KEY if change > 0 else 0
    display(side, handle, now)
    if now == 0:
        if index < 0:
            let_go(side, handle)
        settle(side)


@jit.inlined
def leave(s: Any, side: Any, key: int, arrival: int, size: int, stamp: int) -> None:
    """Orders of ours at a price learn that a displayed one has become smaller, or has left."""
    index = note_of(side, find(side, key))
    if index >= 0:
        head = notes_at(s.notes, s.note_capacity)[index].head
        if head >= 0:
            shrink_before(s, head, arrival, size, stamp)


@jit.helper
def order_row(s: Any, v: Any, market: Any, row: int) -> None:
    """A row by order that is to be applied. Capacity of sides and table has been made sure of."""
    index = int(uint32_at(v.column_instrument, v.rows)[row])
    flags = int(uint16_at(v.column_flags, v.rows)[row])
    stamp = int64_at(v.column_ts_venue, v.rows)[row]
    sign = int(int8_at(v.column_side, v.rows)[row])
    table = table_at(s, index, v.offset)
    first_side = SIDES_EACH * index + v.offset
    if flags & _CLEAR:
        begin_picture(s, table, market, first_side)
        market.touched = 2
    if stamp != NULL_TIME:
        market.depth_ts_venue = stamp
    if sign == 0:
        return
    size = int64_at(v.column_size, v.rows)[row]
    number = int64_at(v.column_id, v.rows)[row]
    key = int64_at(v.column_price, v.rows)[row] * sign
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    entries = entries_at(table.entries, table.capacity)
    side = sides[first_side + (sign < 0)]
    slot = find_order(table, number)
    if slot < 0:
        if size <= 0:
            table.strangers += 1
            return
        slot = -1 - slot
        arrival = next_arrival(table)
        if flags & _SNAPSHOT and table.in_picture == 0:
            arrival = -arrival
            note = note_of(side, find(side, key))
            if note >= 0 and notes_at(s.notes, s.note_capacity)[note].head >= 0:
                stood_before(s, notes_at(s.notes, s.note_capacity)[note].head, size)
        entry = entries[slot]
        entry.id = number
        entry.key = key
        entry.size = size
        entry.arrival = arrival
        entry.sign = sign
        entry.picture = table.picture
        table.count += 1
        change_level(s, table, side, key, size)
        return
    entry = entries[slot]
    before = entry.size
    # The levels of a snapshot count only what it has named.
    counted = before if table.in_picture == 0 or entry.picture == table.picture else 0
    entry.picture = table.picture
    if entry.sign == sign and entry.key == key and size > 0:
        entry.size = size
        if size > before:  # the larger one is a new one, at the back
            leave(s, side, key, entry.arrival, before, stamp)
            entry.arrival = next_arrival(table)
        elif size < before:
            leave(s, side, key, entry.arrival, before - size, stamp)
        if size != counted:
            change_level(s, table, side, key, size - counted)
        return
    old_side = sides[first_side + (entry.sign < 0)]
    leave(s, old_side, entry.key, entry.arrival, before, stamp)
    if counted > 0:
        change_level(s, table, old_side, entry.key, -counted)
    if size <= 0:
        remove_order(table, slot)
        return
    entry.key = key
    entry.sign = sign
    entry.size = size
    entry.arrival = next_arrival(table)
    change_level(s, table, side, key, size)


@jit.helper
def begin_picture(s: Any, table: Any, market: Any, first_side: int) -> None:
    """A CLEAR row: every level is stale, and every order unnamed, until the snapshot names it."""
    begin_snapshot(s, market, first_side)
    table.picture += 1
    table.in_picture = 1
    table.touched = 1
    notes = notes_at(s.notes, s.note_capacity)
    for k in (first_side, first_side + 1):
        side = sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]
        levels = levels_at(side.far, side.far_capacity)
        for i in range(side.far_count):
            if levels[i].note >= 0:
                mark(s, notes[levels[i].note], levels[i].size)
        noted = int64_at(side.noted, side.width >> 6)
        indexes = int32_at(side.notes, side.width)
        sizes = int64_at(side.sizes, side.width)
        slot = bit_at_or_below(noted, side.width - 1)
        while slot >= 0:
            mark(s, notes[indexes[slot]], sizes[slot])
            slot = bit_at_or_below(noted, slot - 1)


@jit.helper
def end_picture(s: Any, table: Any, first_side: int) -> None:
    """After a snapshot's rows: orders that it has not named are gone; of those out of its sight nobody knows.

    Their levels are stale still, and are for `end_snapshot` to forget.
    """
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    entries = entries_at(table.entries, table.capacity)
    worst_bid = worst_named(sides[first_side])
    worst_ask = worst_named(sides[first_side + 1])
    slot = 0
    while slot < table.capacity:
        entry = entries[slot]
        if entry.sign == 0 or entry.picture == table.picture:
            slot += 1
            continue
        worst = worst_bid if entry.sign > 0 else worst_ask
        if entry.key >= worst:
            leave(s, sides[first_side + (entry.sign < 0)], entry.key, entry.arrival, entry.size, NULL_TIME)
        remove_order(table, slot)  # another may have moved up into the slot
    table.in_picture = 0


@jit.helper
def close_level(s: Any, side: Any, handle: int, index: int, snapshot: int, resynchronised: int) -> None:
    """A level with a note of ours at the end of a message: what we took of it, who of us stands there."""
    note = notes_at(s.notes, s.note_capacity)[index]
    if note.message != s.message_number:
        return
    size = size_of(side, handle)
    if size == UNKNOWN:
        note.consumed = 0
    else:
        shrink_consumed(note, note.before, size)
    if note.head >= 0:
        settle_level(s, note.head, size, snapshot, resynchronised)
    else:
        drop_note(s, side, handle)


@jit.helper
def end_orders(s: Any, v: Any, market: Any, number: int) -> None:
    """At the end of a message's rows: close a snapshot, and all levels with a note that it has changed."""
    table = table_at(s, number, v.offset)
    first_side = SIDES_EACH * number + v.offset
    snapshot = market.touched == 2
    resynchronised = snapshot and market.resynchronise != 0
    if snapshot:
        end_picture(s, table, first_side)
        end_snapshot(s, market, first_side)
    if table.touched == 0:
        return
    table.touched = 0
    for k in (first_side, first_side + 1):
        side = sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]
        i = side.far_count - 1
        while i >= 0:  # backwards: what goes makes those above it move
            index = levels_at(side.far, side.far_capacity)[i].note
            if index >= 0:
                close_level(s, side, FIRST_FAR - i, index, snapshot, resynchronised)
            i -= 1
        noted = int64_at(side.noted, side.width >> 6)
        indexes = int32_at(side.notes, side.width)
        slot = bit_at_or_below(noted, side.width - 1)
        while slot >= 0:
            close_level(s, side, slot, indexes[slot], snapshot, resynchronised)
            slot = bit_at_or_below(noted, slot - 1)
