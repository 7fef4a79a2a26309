"""Orders that wait for a trigger: their list at the venue, and which prices concern them.

A buy triggers when the price that it looks at is at its stop or above, a sell at or below. It looks at
the instrument's `stop_source`: the last trade, the side of the book that it would take, or the venue's mark.
A trailing stop is tested first and moved then, so that one price never does both.

An instrument keeps two prices, `watch_above` and `watch_below`: only one at or beyond them triggers or moves
anything. So a market without stops nearby pays two comparisons a price. Stops that trigger together go in
the order in which they were armed.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import K_TRAILING
from engine.execution.fills import market_of, side_of
from engine.execution.state import (
    STOP_BID_ASK,
    STOP_LAST,
    STOP_MARK,
    VENUE_ARMED,
    instruments_at,
    orders_at,
)
from engine.market.book import LOWEST_KEY, best_key
from engine.model import jit

NEVER_ABOVE = 2**62
NEVER_BELOW = -1  # prices are positive


@jit.helper
def source_price(s: Any, index: int, side: int) -> int:
    """The price that a stop of that side looks at; 0 when there is none."""
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    if instrument.stop_source == STOP_LAST:
        return int(market_of(s, index).last_price)
    if instrument.stop_source == STOP_MARK:
        return int(market_of(s, index).mark)
    if instrument.stop_source == STOP_BID_ASK:
        best = best_key(side_of(s, index, -side))
        return int(best * -side) if best != LOWEST_KEY else 0
    return 0


@jit.inlined
def reached(order: Any, price: int) -> bool:
    """Whether a price triggers the order; 0 is no price."""
    return bool(price > 0 and order.venue_stop > 0 and (price - order.venue_stop) * order.side >= 0)


@jit.helper
def trail(instrument: Any, order: Any, price: int) -> None:
    """Move a trailing stop after the price, never away from it."""
    if price == 0:
        return
    level = price + order.side * order.trail
    if level < instrument.tick:
        level = instrument.tick
    if order.venue_stop == 0 or (order.venue_stop - level) * order.side > 0:
        order.venue_stop = level


@jit.helper
def _watch(instrument: Any, order: Any) -> None:
    above = order.venue_stop
    below = order.venue_stop
    if order.venue_stop == 0:  # the first price makes it
        above = 0
        below = NEVER_ABOVE
    elif order.side > 0:
        below = order.venue_stop - order.trail - 1 if order.kind == K_TRAILING else NEVER_BELOW
    else:
        above = order.venue_stop + order.trail + 1 if order.kind == K_TRAILING else NEVER_ABOVE
    if above < instrument.watch_above:
        instrument.watch_above = above
    if below > instrument.watch_below:
        instrument.watch_below = below


@jit.helper
def watch_all(s: Any, instrument: Any) -> None:
    """Find out anew which prices concern the instrument's stops."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument.watch_above = NEVER_ABOVE
    instrument.watch_below = NEVER_BELOW
    slot = instrument.stop_head
    while slot >= 0:
        _watch(instrument, orders[slot])
        slot = orders[slot].next


@jit.helper
def arm(s: Any, slot: int) -> None:
    """An order begins to wait for its trigger, behind those that do."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_ARMED
    order.next = -1
    order.previous = instrument.stop_tail
    if instrument.stop_head < 0:
        instrument.stop_head = slot
    else:
        orders[instrument.stop_tail].next = slot
    instrument.stop_tail = slot
    instrument.stops += 1
    _watch(instrument, order)


@jit.helper
def unlist(s: Any, slot: int) -> None:
    """Take an order off the list; the caller sees to what is watched."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if order.previous >= 0:
        orders[order.previous].next = order.next
    else:
        instrument.stop_head = order.next
    if order.next >= 0:
        orders[order.next].previous = order.previous
    else:
        instrument.stop_tail = order.previous
    order.next = -1
    order.previous = -1
    instrument.stops -= 1


@jit.helper
def disarm(s: Any, slot: int) -> None:
    """Take an order off the list."""
    instrument = instruments_at(s.instruments, s.instrument_count)[
        orders_at(s.orders, s.order_capacity)[slot].instrument
    ]
    unlist(s, slot)
    watch_all(s, instrument)


@jit.inlined
def concerns_stops(instrument: Any, price: int) -> bool:
    """Whether a trade's price triggers or moves a stop of ours."""
    return bool(price >= instrument.watch_above or price <= instrument.watch_below)
