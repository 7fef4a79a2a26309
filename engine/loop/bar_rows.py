"""Bars in a log's rows: which of them execute, and what they do before the strategy is told of them.

A bar is four rows of one message, OPEN (`ts_venue`: when it began), HIGH, LOW, CLOSE. It executes when it is
final, no revision of an earlier one, not flagged as doubtful, and the log's own: what the engine makes of
trades (source 0) is for strategies to see.

All that happened inside it was before its message, so it comes first: `match_bars` runs ahead of the step
that applies the message, the reports that it causes are heard, then the bar is applied and delivered. That
is so under either clock: at its venue a bar is as unknown as here, until it is over.
"""

from __future__ import annotations

from typing import Any

from engine.execution.bars import match_bar
from engine.execution.state import (
    MATCH_BARS,
    instruments_at,
    int64_at,
    markets_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.codes import (
    BAR,
    CLOSE,
    FINAL,
    HIGH,
    LAST,
    LOW,
    NEVER_MATCH,
    OPEN,
    REVISED,
)
from engine.model import jit
from engine.model.units import NULL_TIME

NOTHING = -1  # no bar of the message executes anything


@jit.inlined
def seq_at(v: Any, row: int) -> int:
    """The log's number of a row; of one that the engine put in, the number of the row that caused it."""
    if v.seqs == 0:
        return int(v.first_seq + row)
    return int(int64_at(v.seqs, v.rows)[row])


@jit.inlined
def executes(v: Any, row: int) -> bool:
    """Whether a bar of four rows begins at `row` that may fill orders and mark positions."""
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    numbers = uint32_at(v.column_instrument, n)
    if row + 3 >= n:
        return False
    for i in range(row, row + 4):
        if kinds[i] != BAR or numbers[i] != numbers[row]:
            return False
    return is_final(v, row)


@jit.inlined
def is_final(v: Any, row: int) -> bool:
    """Of four BAR rows of one instrument: whether they are a bar that executes."""
    n = v.rows
    parts = uint8_at(v.column_part, n)
    flags = uint16_at(v.column_flags, n)[row + 3]
    return bool(
        flags & FINAL
        and not flags & (REVISED | NEVER_MATCH)
        and uint16_at(v.column_source, n)[row] != 0
        and parts[row] == OPEN
        and parts[row + 1] == HIGH
        and parts[row + 2] == LOW
        and parts[row + 3] == CLOSE
    )


@jit.helper
def mark(s: Any, v: Any, row: int) -> None:
    """A bar begins at `row`: if it executes, its close is what is known of the price."""
    if executes(v, row):
        number = int(uint32_at(v.column_instrument, v.rows)[row])
        if instruments_at(s.instruments, s.instrument_count)[number].match_on == MATCH_BARS:
            close = int64_at(v.column_price, v.rows)[row + 3]
            markets_at(s.markets, 2 * s.instrument_count)[2 * number].last_price = close
            markets_at(s.markets, 2 * s.instrument_count)[2 * number + (v.offset >> 1)].last_price = close


@jit.helper
def first_to_match(s: Any, v: Any) -> int:
    """Row of the next message's first bar that concerns an order of ours; NOTHING, and that is remembered."""
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    row = v.row
    while True:
        if kinds[row] == BAR:
            instrument = instruments[numbers[row]]
            if instrument.bar_head >= 0 and instrument.match_on == MATCH_BARS and executes(v, row):
                return int(row)
        if flags[row] & LAST or row == n - 1:
            break
        row += 1
    s.bars_matched = row
    return NOTHING


_bars = jit.function_at(3)


@jit.inlined
def match_bars(s: Any, v: Any, row: int) -> None:
    """Call `meet_bars` where it stands."""
    _bars(s.run_bars, s.here, v.here, row)


@jit.operation("int64(int64,int64,int64)")
def meet_bars(state: int, stream: int, row: int) -> int:
    """Let the next message's bars, from `row` on, meet the orders that wait for them, and remember it."""
    s = state_at(state, 1)[0]
    v = stream_at(stream, 1)[0]
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    stamps = int64_at(v.column_ts_venue, n)
    prices = int64_at(v.column_price, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    end = row
    while end < n - 1 and not flags[end] & LAST:
        end += 1
    s.bars_matched = end
    s.cause_seq = seq_at(v, end)
    while row + 3 <= end:
        # One that does not say when it began may have begun before any order.
        if kinds[row] == BAR and stamps[row] != NULL_TIME and executes(v, row):
            if instruments[numbers[row]].match_on == MATCH_BARS:
                match_bar(s, numbers[row], stamps[row], prices[row], prices[row + 1], prices[row + 2])
            row += 3
        row += 1
    return 0
