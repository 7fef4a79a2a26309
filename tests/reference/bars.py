"""Orders on bars, in plain Python: what arrived, and what each final bar makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.execution.orders import Event, Reason
from engine.model.kinds import Flag, Kind, Part
from engine.model.units import NULL_TIME
from tests.helpers.logs import Row
from tests.reference.orders import Order

if TYPE_CHECKING:
    from tests.reference.venue import Venue

SAME_CLOSE_NS = 10_000
_DOUBTFUL = Flag.DUPLICATE | Flag.OUT_OF_ORDER | Flag.BACKFILLED | Flag.REJECTED_TICK | Flag.REVISED


@dataclass(frozen=True)
class BarOfLog:
    """Four rows of a log."""

    instrument: int  # the file's number
    start: int
    open: int
    high: int
    low: int
    close: int


def executing(rows: Sequence[Row]) -> list[BarOfLog]:
    """The bars of a message that fill orders and mark positions."""
    found = []
    for i, row in enumerate(rows):
        four = rows[i : i + 4]
        if [r.kind for r in four] != [Kind.BAR] * 4 or len({r.instrument for r in four}) > 1:
            continue
        whole = [r.part for r in four] == [Part.OPEN, Part.HIGH, Part.LOW, Part.CLOSE]
        flags = four[-1].flags
        if whole and row.source and flags & Flag.FINAL and not flags & _DOUBTFUL:
            found.append(BarOfLog(row.instrument, row.ts_venue, *(r.price for r in four)))
    return found


class OnBars:
    """The orders of all instruments that have only bars."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._orders: list[list[Order]] = [[] for _ in venue.instruments]

    def arrive(self, order: Order, now: int) -> None:
        """An order waits for its first bar."""
        order.at_venue, order.since = "waiting for a bar", now
        self._orders[order.instrument].append(order)

    def cancel(self, order: Order) -> None:
        """A cancel arrives; whether there is anything to cancel is the venue's to say."""
        if order in self._orders[order.instrument]:
            self._orders[order.instrument].remove(order)

    def has_orders(self, index: int) -> bool:
        """Whether a bar of this instrument concerns anybody."""
        return bool(self._orders[index])

    def bar(self, index: int, bar: BarOfLog) -> None:
        """Entries at the open; then limits that the bar went through."""
        if bar.start == NULL_TIME:
            return
        there = [o for o in self._orders[index] if o.since <= bar.start + SAME_CLOSE_NS]
        for order in there:
            if order.at_venue == "waiting for a bar":
                self._enter(order, bar.open)
        for order in there:
            if order.at_venue == "on bars":
                self._meet(order, bar)
        self._orders[index] = [o for o in self._orders[index] if o.at_venue != "done"]

    def _enter(self, order: Order, opened: int) -> None:
        venue = self._venue
        order.at_venue = "on bars"
        if order.reduce_only:
            reducible = -venue.positions[order.instrument] * order.side
            if reducible <= 0:
                venue.end(order, Event.REJECTED, Reason.REDUCE_ONLY)
                return
            order.size = min(order.size, reducible)
        if order.kind == "market":
            tick = venue.instruments[order.instrument].tick
            venue.report(order, Event.ACCEPTED, Reason.NONE, None)
            self._take(order, max(tick, opened + order.side * venue.config.slippage_ticks * tick))
            return
        gain = (order.price - opened) * order.side
        if order.post_only and gain >= 0:
            event = Event.EXPIRED if venue.rules.post_only_expires else Event.REJECTED
            venue.end(order, event, Reason.POST_ONLY_WOULD_MATCH)
        elif order.tif == "fok" and gain <= 0:
            venue.end(order, Event.EXPIRED, Reason.FOK_UNFILLABLE)
        elif order.tif == "fok" and venue.affordable(order, opened, order.size) < order.size:
            venue.end(order, Event.EXPIRED, Reason.INSUFFICIENT_FUNDS)
        else:
            venue.report(order, Event.ACCEPTED, Reason.NONE, None)
            if gain > 0:
                self._take(order, opened)
            elif order.tif == "ioc":
                event = Event.EXPIRED if venue.rules.remainder_expires else Event.CANCELLED
                venue.end(order, event, Reason.IOC_REMAINDER)
            else:
                venue.hold_back(order)

    def _take(self, order: Order, price: int) -> None:
        venue = self._venue
        most = venue.affordable(order, price, order.open)
        whole = most == order.open
        if most:
            venue.fill(order, venue.execution(order, price, most, maker=False), Reason.BAR)
        if not whole:
            venue.end(order, Event.CANCELLED, Reason.INSUFFICIENT_FUNDS)

    def _meet(self, order: Order, bar: BarOfLog) -> None:
        price = order.price
        if order.side > 0:
            filled_at = bar.open if bar.open < price else price if bar.low < price else 0
        else:
            filled_at = bar.open if bar.open > price else price if bar.high > price else 0
        if filled_at:
            self._venue.make(order, order.open, Reason.BAR, filled_at)
