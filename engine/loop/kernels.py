"""The loop's kernels: the entry points that Python calls with the address of the state.

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
    int64_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
)
from engine.loop.bar_rows import NOTHING, first_to_match, match_bars
from engine.loop.codes import (
    DELIVER,
    DRAIN_JOURNAL,
    END,
    LAST,
    NEED_ROWS,
    NEED_VENUE,
    NEVER,
    SNAPSHOT,
)
from engine.loop.listing import list_whole, next_special
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
    inline = s.strategy != 0 and not s.own_clock  # a compiled strategy is handed its events as rows go by
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
        elif inline:
            before = min(before, s.special_row)
        elif s.delivery_next < s.delivery_count:
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
            code = run_plain(s, told, before, horizon, address if inline else 0)
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
        first = s.row
        code = step(s, told, end)
        if code:
            return code
        if inline:
            if end >= s.special_row:
                s.special_row = next_special(s, end + 1)
            if list_whole(s, first, end) > 0:
                return DELIVER
        elif not catching_up and s.delivery_next < s.delivery_count:
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
