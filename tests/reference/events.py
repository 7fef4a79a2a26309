"""What the strategy is given for rows of the market, and for reports of its orders."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.execution.orders import Reason
from engine.model.instruments import Instrument
from engine.model.kinds import BarData, Flag, Kind
from engine.model.units import NULL_TIME
from engine.strategy.api import Bar, BookUpdate, Fill, OrderUpdate, Quote, Trade
from tests.helpers.logs import Row
from tests.reference.accounts import Execution
from tests.reference.orders import Order
from tests.reference.rows import stamp_of

Event = Trade | Quote | BookUpdate | Bar


def event_of(kind: Kind, who: Instrument, rows: Sequence[Row], ts: int) -> Event | None:
    """The event that rows make; None when nobody is told of them."""
    first, last = rows[0], rows[-1]
    prices, sizes = 10**who.price_decimals, 10**who.size_decimals
    stamp, flags = stamp_of(first), int(first.flags)
    if kind == Kind.BAR:
        return _bar(who, rows, ts)
    if kind == Kind.BOOK:
        doubtful = last.flags & Flag.MAYBE_BAD_BOOK
        return None if doubtful else BookUpdate(who, ts, stamp_of(last), last.id, int(last.flags))
    if kind == Kind.QUOTE:
        bid, ask = (first.price / prices, first.size / sizes), (last.price / prices, last.size / sizes)
        return Quote(who, *bid, *ask, ts, stamp, first.id, flags)
    return Trade(who, first.price / prices, first.size / sizes, first.side, ts, stamp, first.id, flags)


def _bar(who: Instrument, rows: Sequence[Row], ts: int) -> Bar | None:
    first, last = rows[0], rows[-1]
    if len(rows) != 4 or not last.flags & (Flag.FINAL | Flag.REVISED):
        return None
    interval = msgspec.json.decode(first.data, type=BarData).interval_ns if first.data else 0
    start = 0 if first.ts_venue == NULL_TIME else first.ts_venue
    opened, high, low, close = (row.price / 10**who.price_decimals for row in rows)
    volume = last.size / 10**who.size_decimals
    return Bar(who, start, interval, opened, high, low, close, volume, last.id, ts, int(first.flags))


def fill_of(order: Order, who: Instrument, fill: Execution, reason: Reason, position: int, ts: int) -> Fill:
    """An execution, and the position that it has led to."""
    prices, sizes = 10**who.price_decimals, 10**who.size_decimals
    return Fill(
        order.number,
        who,
        order.side,
        fill.price / prices,
        fill.size / sizes,
        fill.fee / 1e8,
        fill.maker,
        reason.name,
        position / sizes,
        ts,
        fill.asset,
    )


def update_of(order: Order, who: Instrument, state: str, why: str, ts: int) -> OrderUpdate:
    """An order's new state."""
    sizes = 10**who.size_decimals
    price = order.known_price / 10**who.price_decimals if order.known_price else None
    size, filled = order.known_size / sizes, order.filled / sizes
    return OrderUpdate(order.number, who, state, order.side, size, filled, price, why, ts)
