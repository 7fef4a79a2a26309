"""Amendments at the venue: another size, price or stop for an order that is there.

A smaller size at the same price keeps the place in the queue. Everything else gives it up: the order leaves
the book and meets the market anew, with what it has filled already. What the venue will not do (post-only
that would match, a cost that is not there) leaves the order as it was.
"""

from __future__ import annotations

from typing import Any

from engine.execution.arrival import leave, start, would_trigger
from engine.execution.codes import (
    E_AMEND_REJECTED,
    E_CANCELLED,
    R_FUNDS,
    R_POST_ONLY,
    R_REQUESTED,
    R_UNKNOWN,
    R_WOULD_TRIGGER,
)
from engine.execution.fills import finish, free_cash, report, resting_cost, unlock
from engine.execution.links import tell_amended
from engine.execution.matching import has_limit, would_match
from engine.execution.money import OVERFLOW
from engine.execution.state import (
    VENUE_ARMED,
    VENUE_DONE,
    VENUE_HELD,
    VENUE_TRAVELLING,
    VENUE_WAITING,
    instruments_at,
    orders_at,
)
from engine.model import jit


@jit.helper
def _affords(s: Any, slot: int, price: int, size: int) -> bool:
    """Whether what the order may still cost is there, with what it holds back itself."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if s.account_type != 1 or order.side < 0 or order.venue_locked == 0:
        return True
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    cost = resting_cost(instrument, price, size - order.venue_filled)
    return bool(cost != OVERFLOW and cost <= free_cash(s, slot) + order.venue_locked)


@jit.helper
def arrive_amend(s: Any, slot: int, generation: int, size: int, price: int, stop: int) -> None:
    """An amendment reaches the venue: the order's size (filled parts included), limit, stop (0: as it is)."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.generation != generation:
        return  # the order's end has been reported already
    if order.venue_state == VENUE_DONE or order.venue_state == VENUE_TRAVELLING:
        report(s, slot, E_AMEND_REJECTED, R_UNKNOWN)
        return
    if stop == 0:
        stop = order.venue_stop
    if order.linked and order.venue_state != VENUE_HELD:
        size = order.venue_size  # which follows the fills of those that it is linked to
    if size <= order.venue_filled and order.venue_state != VENUE_HELD:
        leave(s, slot)
        finish(s, slot, E_CANCELLED, R_REQUESTED)
        return
    if order.venue_state == VENUE_HELD:
        order.price = price
        order.venue_stop = stop
        tell_amended(s, slot, R_REQUESTED)
        return
    limit = price if price > 0 else stop
    if not _affords(s, slot, limit, size):
        report(s, slot, E_AMEND_REJECTED, R_FUNDS)
        return
    if order.resting and price == order.price and size <= order.venue_size:
        order.venue_size = size
        order.venue_stop = stop
        _hold_less(s, slot)
        tell_amended(s, slot, R_REQUESTED)
        return
    if order.venue_state == VENUE_ARMED and s.stop_must_wait and would_trigger(s, slot, stop):
        report(s, slot, E_AMEND_REJECTED, R_WOULD_TRIGGER)
        return
    before = order.price
    order.price = price
    if order.post_only and order.resting and has_limit(order) and would_match(s, slot):
        order.price = before
        report(s, slot, E_AMEND_REJECTED, R_POST_ONLY)
        return
    if order.venue_state == VENUE_WAITING:
        order.venue_size = size
        order.venue_stop = stop
        tell_amended(s, slot, R_REQUESTED)
        return
    order.price = before  # under which it stands where it is to leave
    armed = order.venue_state == VENUE_ARMED
    leave(s, slot)
    unlock(s, slot, 0)
    order.price = price
    order.venue_size = size
    if armed or not order.triggered:
        order.venue_stop = stop
    tell_amended(s, slot, R_REQUESTED)
    start(s, slot)


@jit.helper
def _hold_less(s: Any, slot: int) -> None:
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.venue_locked == 0:
        return
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    keep = resting_cost(instrument, order.price, order.venue_size - order.venue_filled)
    if keep < order.venue_locked:
        unlock(s, slot, keep)
