"""Bars that a strategy asked for, made of the trades as they come (engine.market.aggregate).

A batch's rows are gone through before they are run, and every bar that they finish becomes four BAR rows
among them, of source 0: from there on it is delivered like a bar of the log, in either gear, to either form
of strategy. Source 0 says that it executes nothing and marks nothing. Its OPEN row's `id` is the number of
the series, its HIGH row's the interval.

    time bars                    at their end, as a message of its own, before the first message that is not
                                 earlier; like a timer, they need a row (or CLOCK) to get there
    tick, volume, money bars     after the message of the trade that filled them, at its time

So the moment depends on the rows and on nothing else. An END row is no time: what is open then is no bar.
Trades that match nothing (flags), and aggregates of trades that the log has one by one, are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.execution.state import (
    instruments_at,
    int64_at,
    state_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.codes import AGGREGATE, END, LAST, NEVER, NEVER_MATCH, TRADE
from engine.market.aggregate import TIME, add_trade, aggregates_at, finish_due
from engine.model import jit

_FIELDS = (
    "before",  # the row that it comes before
    "series",  # from 1 on
    "instrument",
    "ts",
    "start",
    "interval",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trades",
)
MADE = np.dtype([(name, "<i8") for name in _FIELDS])
made_at = jit.records_at(MADE)


@jit.helper
def _note(record: Any, entry: Any, before: int, number: int, instrument: int, ts: int) -> None:
    """Write down a series' last finished bar."""
    entry.before = before
    entry.series = number + 1
    entry.instrument = instrument
    entry.ts = ts
    entry.start = record.last_start
    entry.interval = record.last_end - record.last_start
    if record.kind != TIME:
        entry.interval += 1  # the last trade lies in it
    entry.open = record.last_open
    entry.high = record.last_high
    entry.low = record.last_low
    entry.close = record.last_close
    entry.volume = record.last_volume
    entry.trades = record.last_trades


@jit.inlined
def _is_before(records: Any, a: int, b: int) -> bool:
    """Whether a series' bar ends before another's; of one time, the series that was asked for first."""
    return bool(records[a].due < records[b].due or (records[a].due == records[b].due and a < b))


@jit.helper
def first_due(records: Any, count: int) -> int:
    """The series whose open bar ends first; -1: none has an end."""
    found = -1
    for k in range(count):
        if records[k].due < NEVER and (found < 0 or _is_before(records, k, found)):
            found = k
    return found


@jit.entry("int64(int64,int64,int64,int64,int64,int64,int64)")
def make_bars(  # noqa: C901  messages, rows, series
    address: int, series: int, count: int, owners: int, heads: int, nexts: int, out: int
) -> int:
    """Go through the batch's rows; how many bars they finish, or -1 - series when one's values do not fit.

    `series` is AGGREGATE[count], `owners` their instruments; `heads` the first series of each instrument,
    `nexts` the next one of the same, -1: none. `out` is MADE[], (rows + 1) * count of them.
    """
    s = state_at(address, 1)[0]
    n = s.rows
    kinds = uint8_at(s.column_kind, n)
    flags = uint16_at(s.column_flags, n)
    numbers = uint32_at(s.column_instrument, n)
    times = int64_at(s.column_ts, n)
    prices = int64_at(s.column_price, n)
    sizes = int64_at(s.column_size, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    records = aggregates_at(series, count)
    owner = int64_at(owners, count)
    head = int64_at(heads, s.instrument_count)
    following = int64_at(nexts, count)
    made = made_at(out, (n + 1) * count)
    found = 0
    earliest = first_due(records, count)
    first = 0
    while first < n:
        end = first
        while end < n - 1 and not flags[end] & LAST:
            end += 1
        time = times[first]
        if kinds[first] != END:
            while earliest >= 0 and records[earliest].due <= time:
                due = records[earliest].due
                finish_due(records[earliest], time)
                _note(records[earliest], made[found], first, earliest, owner[earliest], due)
                found += 1
                earliest = first_due(records, count)
        for row in range(first, end + 1):
            if kinds[row] != TRADE or flags[row] & NEVER_MATCH:
                continue
            number = numbers[row]
            if flags[row] & AGGREGATE and instruments[number].has_trades:
                continue
            k = head[number]
            while k >= 0:
                finished = add_trade(records[k], time, prices[row], sizes[row])
                if finished < 0:
                    return int(-1 - k)
                if finished > 0:
                    _note(records[k], made[found], end + 1, k, number, time)
                    found += 1
                if records[k].due < NEVER and (earliest < 0 or _is_before(records, k, earliest)):
                    earliest = k
                k = following[k]
        first = end + 1
    return found
