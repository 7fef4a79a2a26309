"""Our orders in the book, and what each row of depth or quotes does to them.

An order of ours stands in its price level's list, in the order of time. Its `front` is what stands before it
(engine.execution.queues says what moves it).
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import E_CANCELLED, R_FUNDS, R_OVERFLOW
from engine.execution.fees import cost_to_buy, sale_pays
from engine.execution.fills import fill, finish, free_cash, resting_cost, side_of, unlock, venue_owned
from engine.execution.money import OVERFLOW
from engine.execution.order_queue import join
from engine.execution.queues import begin, on_depth, resynchronise
from engine.execution.state import SIDES_EACH, VENUE_WORKING, instruments_at, orders_at
from engine.market.book import (
    ABSENT,
    FIRST_FAR,
    LOWEST_KEY,
    UNKNOWN,
    attach,
    best_key,
    bit_at_or_below,
    display,
    find,
    hold,
    int32_at,
    int64_at,
    key_of,
    let_go,
    levels_at,
    next_own,
    note_of,
    notes_at,
    settle,
    shrink_consumed,
    sides_at,
    size_of,
)
from engine.model import jit


@jit.helper
def take_note(s: Any, side: Any, handle: int) -> Any:
    """The note of a held level, made if it has none; the caller has made sure of room."""
    notes = notes_at(s.notes, s.note_capacity)
    index = note_of(side, handle)
    if index < 0:
        index = s.note_free
        s.note_free = notes[index].next
        s.note_free_count -= 1
        note = notes[index]
        note.consumed = 0
        note.head = -1
        note.tail = -1
        note.message = 0
        attach(side, handle, index)
    return notes[index]


@jit.helper
def drop_note(s: Any, side: Any, handle: int) -> None:
    """Give a level's note back when nothing stands in it, and forget a level that has nothing else."""
    notes = notes_at(s.notes, s.note_capacity)
    index = note_of(side, handle)
    if index >= 0:
        note = notes[index]
        if note.consumed > 0 or note.head >= 0:
            return
        attach(side, handle, -1)
        note.next = s.note_free
        s.note_free = index
        s.note_free_count += 1
    let_go(side, handle)


@jit.helper
def rest(s: Any, slot: int) -> None:
    """Put what is left of a limit order into the book, last at its price."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    side = side_of(s, order.instrument, order.side)
    key = order.price * order.side
    handle = hold(side, key)
    if size_of(side, handle) == 0 and note_of(side, handle) < 0:
        display(side, handle, 0 if key >= side.known_key or s.unseen_is_empty else UNKNOWN)
    note = take_note(s, side, handle)
    displayed = size_of(side, handle)
    if displayed == UNKNOWN and s.unseen_is_empty:
        displayed = 0
    begin(order, displayed)
    if instruments_at(s.instruments, s.instrument_count)[order.instrument].by_order:
        join(s, slot, displayed)
    order.next = -1
    order.previous = note.tail
    if note.head < 0:
        note.head = slot
    else:
        orders[note.tail].next = slot
    note.tail = slot
    if key > side.own_key:
        side.own_key = key
    order.resting = 1
    order.venue_state = VENUE_WORKING
    instruments_at(s.instruments, s.instrument_count)[order.instrument].resting += 1


@jit.helper
def unrest(s: Any, slot: int) -> None:
    """Take an order out of the book."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    side = side_of(s, order.instrument, order.side)
    key = order.price * order.side
    handle = find(side, key)
    notes = notes_at(s.notes, s.note_capacity)
    note = notes[note_of(side, handle)]
    if order.previous >= 0:
        orders[order.previous].next = order.next
    else:
        note.head = order.next
    if order.next >= 0:
        orders[order.next].previous = order.previous
    else:
        note.tail = order.previous
    if note.head < 0:
        if key == side.own_key:
            side.own_key = next_own(notes, side, key)
        drop_note(s, side, handle)
    order.next = -1
    order.previous = -1
    order.resting = 0
    instruments_at(s.instruments, s.instrument_count)[order.instrument].resting -= 1


@jit.helper
def make(s: Any, slot: int, size: int, reason: int) -> None:
    """Fill a resting order at its own limit; what cannot be counted, or paid, is cancelled."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    refusal = R_OVERFLOW
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if s.account_type == 1 and order.side > 0:
        cost = cost_to_buy(instrument, order.price, size, instrument.maker_rate)
        # Parts are rounded each by itself: they may cost a hair more than was held back for the whole.
        if cost > free_cash(s, slot) + order.venue_locked:
            refusal = R_FUNDS
        elif cost != OVERFLOW:
            left = order.venue_size - order.venue_filled - size
            keep = resting_cost(instrument, order.price, left) if left > 0 else 0
            if keep > order.venue_locked - cost:
                keep = order.venue_locked - cost
            unlock(s, slot, keep if keep > 0 else 0)
    elif s.account_type == 1:
        # A bracket's exits do not count before they are accepted: what they are to sell may be sold by then.
        if venue_owned(instrument) < size or not sale_pays(
            instrument, order.price, size, instrument.maker_rate, free_cash(s, slot)
        ):
            refusal = R_FUNDS
    if refusal == R_FUNDS or not fill(s, slot, order.price, size, reason, 1):
        finish(s, slot, E_CANCELLED, refusal)
    if order.venue_state != VENUE_WORKING:
        unrest(s, slot)


@jit.helper
def set_level(s: Any, side: Any, key: int, size: int) -> None:
    """A depth row: the level at `key` now displays `size` (0: gone). Capacity has been made sure of."""
    handle = find(side, key)
    if handle == ABSENT:
        if size == 0:
            return
        handle = hold(side, key)
    elif handle >= 0 and size > 0:
        handle = hold(side, key)  # counts a slot that was empty
    index = note_of(side, handle)
    if index >= 0:
        note = notes_at(s.notes, s.note_capacity)[index]
        before = size_of(side, handle)
        shrink_consumed(note, before, size)
        display(side, handle, size)
        if note.head >= 0:
            on_depth(s, note.head, before, size)
        else:
            drop_note(s, side, handle)
    elif size > 0 or size_of(side, handle) != 0:
        display(side, handle, size)
        if size <= 0:
            let_go(side, handle)
    if size == 0:
        settle(side)


@jit.helper
def begin_snapshot(s: Any, market: Any, first_side: int) -> None:
    """A CLEAR row: every level is stale until the snapshot names it."""
    market.resynchronise = market.book_bad
    notes = notes_at(s.notes, s.note_capacity)
    for k in (first_side, first_side + 1):
        side = sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]
        words = side.width >> 6
        stale = int64_at(side.stale, words)
        shown = int64_at(side.shown, words)
        noted = int64_at(side.noted, words)
        for word in range(words):
            stale[word] = shown[word] | noted[word]
        levels = levels_at(side.far, side.far_capacity)
        for i in range(side.far_count):
            levels[i].stale = 1
            if market.book_bad and levels[i].note >= 0:
                notes[levels[i].note].consumed = 0
        if market.book_bad:
            slot = bit_at_or_below(noted, side.width - 1)
            while slot >= 0:
                notes[int32_at(side.notes, side.width)[slot]].consumed = 0
                slot = bit_at_or_below(noted, slot - 1)


@jit.helper
def worst_named(side: Any) -> int:
    """Key of the worst displayed level that the snapshot being applied has named; LOWEST_KEY: none."""
    levels = levels_at(side.far, side.far_capacity)
    for i in range(side.far_count):
        if levels[i].stale == 0 and levels[i].size > 0:
            return int(levels[i].key)
    words = side.width >> 6
    shown = int64_at(side.shown, words)
    stale = int64_at(side.stale, words)
    for word in range(words):
        bits = shown[word] & ~stale[word]
        if bits != 0:
            bit = 0
            while not (bits >> bit) & 1:
                bit += 1
            return key_of(side, word * 64 + bit)
    return LOWEST_KEY


@jit.helper
def end_snapshot(s: Any, market: Any, first_side: int) -> None:
    """After a snapshot's rows: what it did not name is gone, or unknown beyond what it covers."""
    for k in (first_side, first_side + 1):
        side = sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]
        side.known_key = worst_named(side)
        i = side.far_count - 1
        while i >= 0:  # backwards: what goes makes those above it move
            if levels_at(side.far, side.far_capacity)[i].stale:
                forget(s, side, FIRST_FAR - i)
            i -= 1
        stale = int64_at(side.stale, side.width >> 6)
        slot = bit_at_or_below(stale, side.width - 1)
        while slot >= 0:
            forget(s, side, slot)
            slot = bit_at_or_below(stale, slot - 1)
        settle(side)
        if market.resynchronise:
            notes = notes_at(s.notes, s.note_capacity)
            key = side.own_key
            while key != LOWEST_KEY:
                handle = find(side, key)
                if size_of(side, handle) != UNKNOWN:
                    resynchronise(s, notes[note_of(side, handle)].head, size_of(side, handle))
                key = next_own(notes, side, key)
    market.book_bad = 0


@jit.helper
def forget(s: Any, side: Any, handle: int) -> None:
    """A level that a snapshot did not name."""
    key = key_of(side, handle)
    if handle < 0:
        key = levels_at(side.far, side.far_capacity)[FIRST_FAR - handle].key
    index = note_of(side, handle)
    known = key >= side.known_key
    before = size_of(side, handle)
    display(side, handle, 0 if known or index < 0 else UNKNOWN)
    if index >= 0:
        note = notes_at(s.notes, s.note_capacity)[index]
        note.consumed = 0
        if note.head >= 0 and known:
            on_depth(s, note.head, before, 0)
    drop_note(s, side, handle)


@jit.helper
def set_best(s: Any, side: Any, key: int, size: int) -> None:
    """A quote row: the one displayed level of this side. Levels behind it are unknown, not empty."""
    if size <= 0:
        key = LOWEST_KEY
    before = side.known_key
    # Levels that lie between the two best prices change what is known of them; all others stay.
    high = key if key > before else before
    low = key if key < before else before
    at = best_key(side)
    if at != LOWEST_KEY and at != key:
        withdraw(s, side, at, key)
    notes = notes_at(s.notes, s.note_capacity)
    at = side.own_key if side.own_key <= high else next_own(notes, side, high + 1)
    while at != LOWEST_KEY and at >= low:
        if at != key:
            withdraw(s, side, at, key)
        at = next_own(notes, side, at)
    side.known_key = key
    if size > 0:
        set_level(s, side, key, size)


@jit.helper
def withdraw(s: Any, side: Any, key: int, best: int) -> None:
    """A level that is not the quoted one: nothing stands there when it is better, unknown when worse."""
    handle = find(side, key)
    index = note_of(side, handle)
    if index < 0:
        display(side, handle, 0)
        let_go(side, handle)
        return
    note = notes_at(s.notes, s.note_capacity)[index]
    note.consumed = 0
    before = size_of(side, handle)
    display(side, handle, 0 if key > best else UNKNOWN)
    if note.head >= 0 and key > best:
        on_depth(s, note.head, before, 0)
    drop_note(s, side, handle)
