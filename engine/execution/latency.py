"""When what is sent arrives: at the venue, and back at us.

Two ways, both first in, first out: nothing overtakes what was sent before it the same way.

    entry      from a decision to the venue
    response   from the venue to what we hear

Each is constant, or read off a table of recorded orders (sent, at the venue, answered): between two rows
by a straight line, before the first and after the last as theirs. Rows are looked up by the time sent for
an entry, by the time at the venue for a response (hftbacktest's interpolated order latency does the same).

Where only bars are known, nothing of this is asked for unless a run says so (`bar_latency`): an order that is
decided at a close is there at the next open, and what a bar did is known with the bar.

Without a clock of the venue's own, what we act on is `feed` old when we get it: an order meets the market
that much later, and of the answer's way the feed's has been counted already.
"""

from __future__ import annotations

from typing import Any

from engine.execution.state import MATCH_BARS, instruments_at, int64_at
from engine.model import jit


@jit.helper
def _interpolated(s: Any, time: int, start: int) -> int:
    """Delay at `time`: column `start` + 1 minus column `start` of the table, along column `start`."""
    n = s.latency_rows
    table = int64_at(s.latency_table, 3 * n)
    low = 0
    high = n
    while low < high:  # rows that began at or before `time`
        middle = (low + high) >> 1
        if table[3 * middle + start] <= time:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return int(table[start + 1] - table[start])
    x1 = table[3 * (low - 1) + start]
    y1 = table[3 * (low - 1) + start + 1] - x1
    if low == n:
        return int(y1)
    x2 = table[3 * low + start]
    y2 = table[3 * low + start + 1] - x2
    return int(int(float(y2 - y1) / float(x2 - x1) * float(time - x1)) + y1)


@jit.inlined
def _at_once(s: Any, instrument: int) -> bool:
    """Whether what concerns an instrument travels in no time."""
    if s.bar_latency != 0:
        return False
    return bool(instruments_at(s.instruments, s.instrument_count)[instrument].match_on == MATCH_BARS)


@jit.helper
def arrival(s: Any, instrument: int) -> int:
    """When what is sent now about an instrument arrives at the venue."""
    if _at_once(s, instrument):
        return int(s.now)
    entry = s.entry_latency if s.latency_rows == 0 else _interpolated(s, s.now, 0)
    due = s.now + s.feed_latency + entry
    due = max(due, s.last_arrival)
    s.last_arrival = due
    return int(due)


@jit.helper
def heard_at(s: Any, instrument: int) -> int:
    """When we hear of what happens at the venue now to an order of an instrument."""
    if _at_once(s, instrument):
        return int(s.now)
    response = s.response_latency if s.latency_rows == 0 else _interpolated(s, s.now, 1)
    due = s.now
    if response > s.feed_latency:
        due += response - s.feed_latency
    due = max(due, s.last_heard)
    s.last_heard = due
    return int(due)
