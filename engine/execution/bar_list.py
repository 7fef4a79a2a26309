"""The orders of an instrument that has only bars: one list each, in the order of arrival.

`since` is when an order arrived; it meets the bars that begin from then on. What comes to be in the middle of
a bar, a bracket's child, is there since the bar began (`bar_begun` of the state record).

Logs hold no two messages of one time: bars that closed together are set a nanosecond apart, each time, and
what is decided upon the last of them is still decided at their close. SAME_CLOSE_NS is how far apart.
"""

from __future__ import annotations

from typing import Any

from engine.execution.state import VENUE_WAITING, instruments_at, orders_at
from engine.model import jit

SAME_CLOSE_NS = 10_000


@jit.helper
def wait_for_bar(s: Any, slot: int) -> None:
    """An order begins to work: it waits for the first bar that begins from now on."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    if order.since != 0:
        leave_bars(s, slot)
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_WAITING
    order.since = s.bar_begun if s.bar_begun != 0 else s.now
    order.next = -1
    order.previous = instrument.bar_tail
    if instrument.bar_tail < 0:
        instrument.bar_head = slot
    else:
        orders[instrument.bar_tail].next = slot
    instrument.bar_tail = slot
    s.bar_orders += 1


@jit.helper
def leave_bars(s: Any, slot: int) -> None:
    """Take an order out of its instrument's list."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if order.previous >= 0:
        orders[order.previous].next = order.next
    else:
        instrument.bar_head = order.next
    if order.next >= 0:
        orders[order.next].previous = order.previous
    else:
        instrument.bar_tail = order.previous
    order.next = -1
    order.previous = -1
    order.since = 0
    s.bar_orders -= 1
