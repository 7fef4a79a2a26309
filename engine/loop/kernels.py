"""The loop's kernels: the entry points that Python calls with the address of the state.

    index     which rows of a batch will be delivered, to which handler
    advance   messages and agenda, in their order, until Python is wanted; or messages only, up to a row:
              while nothing is working and nothing due, Python runs ahead on the columns and brings the
              state up to date when somebody looks at it
    submit, cancel    what the strategy asks for (called by engine.loop.sending)

Compiled when this module is imported the first time, loaded from the cache afterwards.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import first_due
from engine.execution.state import (
    deliveries_at,
    instruments_at,
    int8_at,
    int64_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.bar_rows import NOTHING, first_to_match, match_bars
from engine.loop.codes import (
    AGGREGATE,
    BAR,
    BOOK,
    COMMAND,
    CORPORATE,
    DELIVER,
    DRAIN_JOURNAL,
    END,
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
    NEED_ROWS,
    NEED_VENUE,
    NEVER,
    NEWS,
    OPEN,
    QUOTE,
    REVISED,
    SESSION,
    SNAPSHOT,
    SOURCE,
    STATUS,
    TRADE,
)
from engine.loop.plain import run_plain
from engine.loop.steps import (
    message_end,
    room_for,
    room_for_bars,
    run_item,
    step,
)
from engine.loop.valuing import sample_equity
from engine.model import jit
from engine.model.units import NULL_TIME


@jit.entry("int64(int64)")
def index(address: int) -> int:
    """Fill the delivery list for this batch; returns 0, or the capacity it needs."""
    s = state_at(address, 1)[0]
    n = s.rows
    kinds = uint8_at(s.column_kind, n)
    flags = uint16_at(s.column_flags, n)
    numbers = uint32_at(s.column_instrument, n)
    sides = int8_at(s.column_side, n)
    sources = uint16_at(s.column_source, n)
    parts = uint8_at(s.column_part, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    out = deliveries_at(s.deliveries, s.delivery_capacity)
    wanted = False
    for k in range(s.instrument_count):
        wanted = wanted or instruments[k].want != 0
    count = 0
    i = 0
    while i < n:
        if not wanted:
            # Nothing of the market is: look for the few other rows, and for where their messages begin.
            j = i
            while j < n and kinds[j] < NEWS:
                j += 1
            if j == n:
                break
            i = j
            while i > 0 and not flags[i - 1] & LAST:
                i -= 1
        end = i
        while end < n - 1 and not flags[end] & LAST:
            end += 1
        j = i
        while j <= end:
            kind = kinds[j]
            handler = 0
            first = j
            if kind == TRADE:
                instrument = instruments[numbers[j]]
                if (
                    (instrument.want >> H_TRADE) & 1
                    and not flags[j] & IGNORED
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
                while (
                    j < end and kinds[j + 1] == BAR and numbers[j + 1] == numbers[j] and parts[j + 1] != OPEN
                ):
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
            if kind == CORPORATE:
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
        i = end + 1
    s.delivery_count = count
    s.delivery_next = 0
    s.bars_matched = -1
    return count if count > s.delivery_capacity else 0


@jit.helper
def next_time(v: Any) -> int:
    """When a stream's next row happens; NEVER when it has none."""
    return int(int64_at(v.column_time, v.rows)[v.row]) if v.row < v.rows else NEVER


@jit.helper
def run_venues(s: Any, until: int) -> int:
    """Let the venues' own streams run, up to the time `until` or to a match; 0, or what is needed first."""
    streams = stream_at(s.venue_streams, s.venue_stream_count)
    now = s.now
    items = s.agenda_count
    while s.agenda_count == items:
        first = 0
        time = NEVER
        other = until
        for k in range(s.venue_stream_count):
            at = next_time(streams[k])
            if at == NEVER and not streams[k].ended and streams[k].known_until < until:
                s.out_slot = k
                s.now = now
                return NEED_VENUE
            if at < time:
                if time < other:
                    other = time
                time = at
                first = k
            elif at < other:
                other = at
        if time >= until:
            break
        v = streams[first]
        came = v.row
        run_plain(s, v, v.rows, other if other > time else time + 1, 0)
        if v.row > came:
            continue
        code = 0
        end = message_end(s, v, v.row)
        if end < 0:
            code = -end
        if code == 0:
            code = room_for(s, s.message_trades)
        if code == 0:
            code = step(s, v, end)
        if code != 0:
            s.now = now
            return code
    s.now = now
    return 0


@jit.operation("int64(int64,int64)")
def advance(address: int, stop: int) -> int:
    """Run agenda and messages in their order until Python is wanted; says for what.

    With `stop` of 0 or more: messages only, until row `stop` is the next (nothing is due before it).
    """
    s = state_at(address, 1)[0]
    told = stream_at(address, 1)[0]
    n = s.rows
    times = int64_at(s.column_time, n)
    kinds = uint8_at(s.column_kind, n)
    catching_up = stop >= 0
    deliveries = deliveries_at(s.deliveries, s.delivery_capacity)
    while True:
        if catching_up and s.row >= stop:
            return NEED_ROWS
        code = room_for(s, 1)
        if code:
            return code
        more = s.row < n
        # As far as the next message that is delivered, without looking back.
        before = n
        if catching_up:
            before = stop
        elif s.delivery_next < s.delivery_count and (s.strategy == 0 or s.own_clock):
            before = deliveries[s.delivery_next].first
        if s.own_clock and not catching_up and n > 0:
            # Whatever the venues do until we can act again; what they tell us comes back by the agenda.
            until = times[before] + 1 if before < n else times[n - 1] + 1
            if s.agenda_count > 0 and first_due(s) < until:
                until = first_due(s)
            count = s.agenda_count
            code = run_venues(s, until)
            if code:
                return code
            if s.agenda_count != count:
                continue
        if s.agenda_count > 0 and not catching_up:
            due = first_due(s)
            if due <= s.now or (more and kinds[s.row] != END and due <= times[s.row]):
                if s.journal_count + 2 > s.journal_capacity:
                    return DRAIN_JOURNAL
                code = run_item(s)
                if code:
                    return code
                continue
        if not more:
            return NEED_ROWS
        if s.bar_orders > 0 and s.row > s.bars_matched and not catching_up:
            row = first_to_match(s, told)
            if row != NOTHING:
                code = room_for_bars(s)
                if code:
                    return code
                if times[s.row] >= s.next_sample:
                    sample_equity(s, times[s.row])
                s.now = times[s.row]
                match_bars(s, told, row)
                continue  # what it has done to our orders is heard before the bar
        if s.row < before:
            came = s.row
            horizon = first_due(s) if s.agenda_count > 0 else NEVER
            code = run_plain(s, told, before, horizon, address if s.strategy != 0 and not s.own_clock else 0)
            if code != 0:
                return code
            if s.row > came:
                continue
        end = message_end(s, told, s.row)
        if end < 0:
            return -end
        code = room_for(s, s.message_trades)
        if code:
            return code
        code = step(s, told, end)
        if code:
            return code
        if not catching_up and s.delivery_next < s.delivery_count:
            if deliveries[s.delivery_next].end == end:
                s.out_first = s.delivery_next
                d = s.delivery_next + 1
                while d < s.delivery_count and deliveries[d].end == end:
                    d += 1
                s.delivery_next = d
                s.out_last = d
                s.trigger = 0
                s.trigger_id = 0
                return DELIVER


@jit.entry("int64(int64,int64,int64,int64,int64,int64)")
def venue_times(
    address: int, feed_latency: int, shift: int, lookahead: int, row_by_row: int, marks: int
) -> int:
    """Write when each row of a stream happened at its venue; `marks`: how many stamps were held back, up."""
    v = stream_at(address, 1)[0]
    n = v.rows
    times = int64_at(v.column_time, n)
    received = int64_at(v.column_ts, n)
    stamps = int64_at(v.column_ts_venue, n)
    flags = uint16_at(v.column_flags, n)
    counts = int64_at(marks, 2)
    last = v.last_time
    begin = -1
    for i in range(n):
        ts = received[i]
        at = ts - feed_latency
        if stamps[i] != NULL_TIME:
            at = stamps[i] + shift
            if at > ts:
                at = ts
                counts[0] += 1
            elif at < ts - lookahead:
                at = ts - lookahead
                counts[1] += 1
        if at < last:
            at = last
        last = at
        times[i] = at
        if begin < 0 and (not row_by_row or flags[i] & SNAPSHOT):
            begin = i
        if flags[i] & LAST:
            while begin >= 0 and begin < i:  # what is applied together happens with its last row
                times[begin] = at
                begin += 1
            begin = -1
    v.last_time = last
    return 0


@jit.entry("int64(int64)")
def next_due(address: int) -> int:
    """When the first item of the agenda is due, or NULL_TIME when there is none."""
    s = state_at(address, 1)[0]
    return int(first_due(s)) if s.agenda_count > 0 else NULL_TIME
