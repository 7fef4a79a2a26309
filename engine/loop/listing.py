"""Which rows of a batch are for the strategy, and for which of its handlers.

index          once a batch: all of them, for a strategy in Python or one whose venue has a clock of its own
list_message   of one message: for a compiled strategy, which is handed them as the rows go by
next_special   where the next message begins that Python has to read a row of
"""

from __future__ import annotations

from typing import Any

from engine.execution.state import (
    deliveries_at,
    instruments_at,
    int8_at,
    state_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.codes import (
    AGGREGATE,
    ANSWER,
    BAR,
    BOOK,
    COMMAND,
    CORPORATE,
    FINAL,
    H_BAR,
    H_BOOK,
    H_ENGINE,
    H_NEWS,
    H_QUOTE,
    H_STATUS,
    H_TRADE,
    IGNORED,
    INSTRUMENT,
    LAST,
    MAYBE_BAD,
    NEVER,
    NEWS,
    OPEN,
    QUOTE,
    REVISED,
    SESSION,
    SOURCE,
    STATUS,
    TRADE,
)
from engine.model import jit


@jit.helper
def list_message(s: Any, first_row: int, end: int, count: int) -> int:
    """Append the deliveries of rows first_row..end to the `count` in the list; how many stand in it then.

    What finds no room is counted and left out.
    """
    n = s.rows
    kinds = uint8_at(s.column_kind, n)
    flags = uint16_at(s.column_flags, n)
    numbers = uint32_at(s.column_instrument, n)
    sides = int8_at(s.column_side, n)
    sources = uint16_at(s.column_source, n)
    parts = uint8_at(s.column_part, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    out = deliveries_at(s.deliveries, s.delivery_capacity)
    j = first_row
    while j <= end:
        kind = kinds[j]
        handler = 0
        first = j
        if kind == TRADE:
            instrument = instruments[numbers[j]]
            if (
                (instrument.want >> H_TRADE) & 1
                and not flags[j] & (IGNORED | REVISED)
                and not (flags[j] & AGGREGATE and instrument.has_trades)
            ):
                handler = H_TRADE
        elif kind == BOOK:
            while j < end and kinds[j + 1] == BOOK and numbers[j + 1] == numbers[j]:
                j += 1
            # Source 0 is the engine itself, which only restates a book at the head of a segment.
            told = sources[j] != 0 and not flags[j] & (IGNORED | MAYBE_BAD)
            if (instruments[numbers[j]].want >> H_BOOK) & 1 and told:
                handler = H_BOOK
        elif kind == QUOTE:
            if j < end and kinds[j + 1] == QUOTE and numbers[j + 1] == numbers[j] and sides[j] > 0:
                j += 1
            if (instruments[numbers[j]].want >> H_QUOTE) & 1 and not flags[j] & IGNORED:
                handler = H_QUOTE
        elif kind == BAR:
            while j < end and kinds[j + 1] == BAR and numbers[j + 1] == numbers[j] and parts[j + 1] != OPEN:
                j += 1
            told = j == first + 3 and flags[j] & (FINAL | REVISED) and not flags[j] & IGNORED
            if (instruments[numbers[j]].want >> H_BAR) & 1 and told:
                handler = H_BAR
        elif kind == NEWS:
            handler = H_NEWS
        elif kind == STATUS:
            handler = H_STATUS
        elif kind == INSTRUMENT or kind == SOURCE or kind == COMMAND or kind == SESSION:
            handler = H_ENGINE
        if kind == CORPORATE or kind == ANSWER:
            handler = H_ENGINE
        if handler:
            if count < s.delivery_capacity:
                entry = out[count]
                entry.handler = handler
                entry.first = first
                entry.last = j
                entry.end = end
            count += 1
        j += 1
    return count


@jit.helper
def list_whole(s: Any, first: int, end: int) -> int:
    """List what of a message that ends with row `end`, if it does, is for the strategy; how many that is."""
    n = s.rows
    flags = uint16_at(s.column_flags, n)
    s.delivery_count = 0
    s.delivery_next = 0
    if end < n - 1 and not flags[end] & LAST:
        return 0  # rows are steps of their own here, and more of them come
    while first > 0 and not flags[first - 1] & LAST:
        first -= 1
    count = list_message(s, first, end, 0)
    s.delivery_count = count
    s.delivery_next = count
    s.out_first = 0
    s.out_last = count
    s.trigger = 0
    s.trigger_id = 0
    return count


@jit.helper
def next_special(s: Any, row: int) -> int:
    """Where the next message, from `row` on, begins that holds a row of no market data; NEVER: nowhere."""
    n = s.rows
    kinds = uint8_at(s.column_kind, n)
    flags = uint16_at(s.column_flags, n)
    while row < n and kinds[row] < NEWS:
        row += 1
    if row == n:
        return NEVER
    while row > 0 and not flags[row - 1] & LAST:
        row -= 1
    return row


@jit.entry("int64(int64)")
def index(address: int) -> int:
    """Begin with a batch: fill the delivery list where it is used; returns 0, or the capacity it needs."""
    s = state_at(address, 1)[0]
    n = s.rows
    s.delivery_next = 0
    s.delivery_count = 0
    s.bars_matched = -1
    s.special_row = NEVER
    if s.strategy != 0 and not s.own_clock:
        s.special_row = next_special(s, 0)
        return int(n) if n > s.delivery_capacity else 0
    flags = uint16_at(s.column_flags, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    wanted = False
    for k in range(s.instrument_count):
        wanted = wanted or instruments[k].want != 0
    count = 0
    i = 0
    while i < n:
        if not wanted:
            # Nothing of the market is: look for the few other rows, and for where their messages begin.
            i = next_special(s, i)
            if i == NEVER:
                break
        end = i
        while end < n - 1 and not flags[end] & LAST:
            end += 1
        count = list_message(s, i, end, count)
        i = end + 1
    s.delivery_count = count
    return int(count) if count > s.delivery_capacity else 0
