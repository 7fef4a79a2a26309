"""Amendments as they reach the twin's venue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.execution.orders import Event, Reason
from tests.reference import stops

if TYPE_CHECKING:
    from tests.reference.orders import Order
    from tests.reference.venue import Venue


def arrive(venue: Venue, order: Order, size: int, price: int, stop: int) -> None:
    """Another size, limit and stop (0: as it is) for an order, or a reason why it stays as it was."""
    if order.at_venue == "done":
        venue.report(order, Event.AMEND_REJECTED, Reason.UNKNOWN_ORDER, None)
        return
    stop = stop or order.stop
    if order.at_venue == "held":
        order.price, order.stop = price, stop
        venue.report(order, Event.AMENDED, Reason.REQUESTED, None)
        return
    if order.linked:
        size = order.size  # which follows the fills of others
    if size <= order.done:
        venue.end(order, Event.CANCELLED, Reason.REQUESTED)
        return
    objection = _objection(venue, order, size, price, stop)
    if objection is not None:
        venue.report(order, Event.AMEND_REJECTED, objection, None)
        return
    keeps_place = order.at_venue == "resting" and price == order.price and size <= order.size
    if keeps_place or order.at_venue == "waiting":
        order.size, order.price, order.stop = size, price, stop
        venue.hold_at_most(order)
        venue.report(order, Event.AMENDED, Reason.REQUESTED, None)
        return
    venue.leave(order)
    order.size, order.price = size, price
    if not order.triggered:
        order.stop = stop
    venue.report(order, Event.AMENDED, Reason.REQUESTED, None)
    venue.start(order)


def _objection(venue: Venue, order: Order, size: int, price: int, stop: int) -> Reason | None:
    """What the venue will not do."""
    if order.venue_lock:
        free = venue.free(order) + order.venue_lock
        if venue.cost(order, price or stop, size - order.done) > free:
            return Reason.INSUFFICIENT_FUNDS
    market = venue.markets[order.instrument]
    if order.at_venue == "armed" and venue.rules.stop_must_wait and not venue.in_doubt(order):
        seen = stops.price_of(venue.sources[order.instrument], market, order.side)
        if stops.reached(order.side, stop, seen):
            return Reason.WOULD_TRIGGER
    moved = price != order.price or size > order.size
    if order.post_only and order.at_venue == "resting" and moved:
        best = venue.opposite(order)
        if best and best * order.side <= price * order.side:
            return Reason.POST_ONLY_WOULD_MATCH
    return None
