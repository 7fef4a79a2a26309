"""Orders that concern each other: pairs that cancel each other, and brackets.

A pair: what one of them fills is taken off the other, and the end of one is the end of both. A bracket is an
entry with such a pair behind it, whose children are held back until the entry fills; from then on each of
them is good for what the entry has filled less what they have filled themselves.

A fill happens in the middle of a pass over the book, where no order may be moved. So `fill` only takes the
size off the partner and notes the order (engine.execution.fills); `settle_links` does the rest when the pass
is over, and whatever that brings about.
"""

from __future__ import annotations

from typing import Any

from engine.execution.arrival import arrive, leave, partner_filled, start
from engine.execution.codes import E_AMENDED, E_CANCELLED, R_FUNDS, R_LINKED, R_PARENT
from engine.execution.fills import finish, lock, report, resting_cost, unlock
from engine.execution.resting import rest, unrest
from engine.execution.state import (
    VENUE_DONE,
    VENUE_HELD,
    VENUE_TRAVELLING,
    instruments_at,
    orders_at,
    state_at,
)
from engine.model import jit

_links = jit.function_at(1)


@jit.inlined
def settle(s: Any) -> None:
    """See to the links of what has filled or ended; nothing, nearly always."""
    if s.link_head >= 0:
        _links(s.run_links, s.here)


@jit.inlined
def _allow(child: Any, filled: int, over: int) -> None:
    child.allowance = filled
    child.parent_over = over


@jit.helper
def resize(s: Any, slot: int) -> None:
    """Make a bracket's child good for what its entry has filled and its partner has not."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    if order.venue_state == VENUE_DONE or order.venue_state == VENUE_TRAVELLING:
        return
    size = order.allowance - partner_filled(s, order)
    if size <= order.venue_filled:
        if order.venue_state != VENUE_HELD:
            leave(s, slot)
            unlock(s, slot, 0)
        order.venue_state = VENUE_HELD
        order.reduced = 0
        if order.parent_over:
            finish(s, slot, E_CANCELLED, R_LINKED if order.allowance > 0 else R_PARENT)
        return
    if order.venue_state == VENUE_HELD:
        order.venue_size = size
        order.reduced = 0
        if order.accepted:
            tell_size(s, slot, R_PARENT)
        start(s, slot)
        return
    if size == order.venue_size and not order.reduced:
        return
    grown = size > order.venue_size
    order.venue_size = size
    if grown and order.resting:
        unrest(s, slot)
        unlock(s, slot, 0)
        if not lock(s, slot):
            finish(s, slot, E_CANCELLED, R_FUNDS)
            return
        rest(s, slot)
    tell_size(s, slot, R_PARENT if grown else R_LINKED)


@jit.helper
def tell_size(s: Any, slot: int, reason: int) -> None:
    """Report an order's size, and hold back no more than it may still cost."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.reduced = 0
    if order.venue_locked > 0:
        price = order.price if order.price > 0 else order.venue_stop
        keep = resting_cost(instrument, price, order.venue_size - order.venue_filled)
        if keep < order.venue_locked:
            unlock(s, slot, keep)
    tell_amended(s, slot, reason)


@jit.helper
def tell_amended(s: Any, slot: int, reason: int) -> None:
    """Report an order's price, stop and size as they are now."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    item = report(s, slot, E_AMENDED, reason)
    item.price = order.price
    item.id = order.venue_stop


@jit.operation("int64(int64)")
def settle_links(state: int) -> int:
    """Until none is left: tell children and partner of what an order has filled, or that it is over."""
    s = state_at(state, 1)[0]
    orders = orders_at(s.orders, s.order_capacity)
    while s.link_head >= 0:
        slot = s.link_head
        order = orders[slot]
        s.link_head = order.next_link
        if s.link_head < 0:
            s.link_tail = -1
        order.in_links = 0
        over = 1 if order.venue_state == VENUE_DONE else 0
        child = order.child
        if child >= 0 and orders[child].generation == order.child_generation:
            second = orders[child].partner
            _allow(orders[child], order.venue_filled, over)
            if second >= 0:
                _allow(orders[second], order.venue_filled, over)
            resize(s, child)
            if second >= 0:
                resize(s, second)
        partner = order.partner
        if partner < 0 or orders[partner].generation != order.partner_generation:
            continue
        other = orders[partner]
        if other.venue_state == VENUE_DONE or other.venue_state == VENUE_TRAVELLING:
            continue  # an arrival looks for itself
        # One that only waits for its entry to fill more has filled all of its size; its end is no fill's.
        ended_early = over and (order.venue_filled < order.venue_size or not order.parent_over)
        if order.parent > 0 and not ended_early:
            resize(s, partner)
        elif over:
            leave(s, partner)
            finish(s, partner, E_CANCELLED, R_LINKED)
        elif other.reduced:
            tell_size(s, partner, R_LINKED)
    return 0


@jit.helper
def release_waiting(s: Any, index: int) -> None:
    """The book is good again: what waited begins to work, in the order it came."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    while instrument.waiting_head >= 0:
        slot = instrument.waiting_head
        instrument.waiting_head = orders[slot].next
        if instrument.waiting_head < 0:
            instrument.waiting_tail = -1
        orders[slot].next = -1
        s.waiting_orders -= 1
        start(s, slot)
        settle(s)


@jit.helper
def arrive_and_settle(s: Any, slot: int) -> None:
    """An order reaches the venue, with all that follows."""
    arrive(s, slot)
    settle(s)
