"""Pairs and brackets at the twin's venue: what a fill or an end means for the orders behind it.

A pass over the book only takes sizes off; what has filled or ended is noted, in that order, and seen to
when the pass is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.execution.orders import Event, Reason

if TYPE_CHECKING:
    from tests.reference.orders import Order
    from tests.reference.venue import Venue


class Links:
    """The orders of one venue whose links are to be seen to."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.noted: list[Order] = []

    def note(self, order: Order) -> None:
        """It has filled or ended."""
        if order.linked and order not in self.noted:
            self.noted.append(order)

    def take_off(self, order: Order, size: int) -> None:
        """What it has just filled, its partner cannot fill any more."""
        other = order.partner
        if other is None or other.at_venue in ("done", "held"):
            return
        if other.entry is not None and other.at_venue == "travelling":
            return  # is given its size when it arrives
        other.size = max(other.done, other.size - size)
        other.reduced = True

    def settle(self) -> None:
        """See to all that is noted, and to what comes of it."""
        while self.noted:
            order = self.noted.pop(0)
            over = order.at_venue == "done"
            for child in order.children:
                child.allowance, child.entry_over = order.done, over
            for child in order.children:
                self.resize(child)
            other = order.partner
            if other is None or other.at_venue in ("done", "travelling"):
                continue
            ended_early = over and (order.open > 0 or not order.entry_over)
            if order.entry is not None and not ended_early:
                self.resize(other)
            elif over:
                self.venue.end(other, Event.CANCELLED, Reason.LINKED)
            elif other.reduced:
                self.tell_size(other, Reason.LINKED)

    def due(self, child: Order) -> int:
        """What a bracket's child is good for: what the entry has filled less what its partner has."""
        return child.allowance - (child.partner.done if child.partner is not None else 0)

    def resize(self, child: Order) -> None:
        """Give a bracket's child its size, work or rest."""
        if child.at_venue in ("done", "travelling"):
            return
        size = self.due(child)
        if size <= child.done:
            self.venue.leave(child)
            child.at_venue, child.reduced = "held", False
            if child.entry_over:
                self.venue.end(child, Event.CANCELLED, Reason.LINKED if child.allowance else Reason.PARENT)
            return
        if child.at_venue == "held":
            child.size, child.reduced = size, False
            if child.accepted:
                self.tell_size(child, Reason.PARENT)
            self.venue.start(child)
            return
        if size == child.size and not child.reduced:
            return
        grown = size > child.size
        child.size = size
        if grown and child.at_venue == "resting":  # behind those that were there
            self.venue.leave(child)
            if not self.venue.rest(child):
                return
        self.tell_size(child, Reason.PARENT if grown else Reason.LINKED)

    def tell_size(self, order: Order, reason: Reason) -> None:
        """Report the size, and hold back no more than that may cost."""
        order.reduced = False
        self.venue.hold_at_most(order)
        self.venue.report(order, Event.AMENDED, reason, None)
