"""`ctx.target`: a wished-for position, pursued with one order at a time.

It compares the wish with the position and its own unfilled target order, cancels when the wish has changed,
waits until that is final, then sends one order for the rest. A target whose order was refused, rejected or
ended by the venue is not tried again before a second of loop time has passed or another size is asked for;
one whose order the strategy itself cancelled, not before it is asked for again.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import E_FILL_ALL
from engine.execution.orders import FIRST_FINAL, OrderKind, Reason, TimeInForce
from engine.execution.state import instruments_at, orders_at
from engine.loop.increments import FITS, to_increments
from engine.loop.sending import send, send_cancel, send_floats
from engine.loop.tables import slot_of, wishes_at
from engine.model import jit
from engine.model.units import SECOND_NS

RETRY_NS = SECOND_NS
_MARKET, _LIMIT = int(OrderKind.MARKET), int(OrderKind.LIMIT)
_GTC, _IOC = int(TimeInForce.GTC), int(TimeInForce.IOC)
_REQUESTED = int(Reason.REQUESTED)
FAILED = -1


@jit.inlined
def _wish_of(s: Any, instrument: int) -> Any:
    return wishes_at(s.wishes, s.instrument_count)[instrument]


@jit.helper
def aim(s: Any, address: int, instrument: int, size: float, price: float, priced: int) -> int:
    """Bring the position to `size`; 1 when asking again can do nothing until a report, 0 when it can.

    FAILED when there was no room and none could be made.
    """
    wish = _wish_of(s, instrument)
    if wish.settled == 1 + priced and wish.asked == size and (priced == 0 or wish.asked_price == price):
        return 1
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    lots, problem = to_increments(abs(size), record.lot, record.size_decimals)
    mantissa = 0
    if priced != 0 and problem == FITS:
        mantissa, problem = to_increments(price, record.tick, record.price_decimals)
    if problem != FITS:
        # The order call words the refusal, journals and delivers it.
        same = (
            wish.unfit_known == 1 + priced
            and wish.unfit == size
            and (priced == 0 or wish.unfit_price == price)
        )
        if not same or s.now >= wish.unfit_at + RETRY_NS:
            wish.unfit_known = 1 + priced
            wish.unfit = size
            wish.unfit_price = price
            wish.unfit_at = s.now
            kind = _LIMIT if priced != 0 else _MARKET
            if send_floats(s, address, instrument, size, price, kind, _GTC, 0, 0.0, 0.0, 0, 0) < 0:
                return FAILED
        return 0
    wanted = lots if size >= 0.0 else -lots
    if wish.known == 0 or wish.size != wanted or wish.price != mantissa:
        wish.known = 1
        wish.size = wanted
        wish.price = mantissa
        wish.failed = 0
    done = _pursue(s, address, instrument)
    if done == 1:
        wish = _wish_of(s, instrument)
        wish.settled = 1 + priced
        wish.asked = size
        wish.asked_price = price
    return done


@jit.helper
def _pursue(s: Any, address: int, instrument: int) -> int:
    """Do what the wish needs now; as `aim`."""
    wish = _wish_of(s, instrument)
    if wish.known == 0:
        return 1
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    position = record.position
    slot = slot_of(s, wish.order) if wish.order != 0 else -1
    if slot < 0:
        wish.order = 0
        rest = wish.size - position
        least = max(record.lot, record.min_size)
        if abs(rest) < least:
            return 1
        if wish.failed != 0 and s.now < wish.failed_at + RETRY_NS:
            return 0
        kind = _LIMIT if wish.price != 0 else _MARKET
        tif = _GTC if wish.price != 0 else _IOC
        wish.changing = 0
        side = 1 if rest > 0 else -1
        number = send(s, address, instrument, side, abs(rest), wish.price, kind, tif, 0, 0)
        if number < 0:
            return FAILED
        _wish_of(s, instrument).order = number
        return 1
    order = orders_at(s.orders, s.order_capacity)[slot]
    pending = order.side * (order.size - order.filled)
    same = abs(position + pending - wish.size) < record.lot and order.known_price == wish.price
    if not same:
        wish.changing = 1
        if send_cancel(s, address, slot) < 0:  # nothing happens when a cancel is on its way already
            return FAILED
    return 1


@jit.helper
def heard(s: Any, instrument: int, number: int, event: int, state: int, reason: int) -> None:
    """A report is coming to the handlers: what was settled may not be any more, and a failure counts."""
    wish = _wish_of(s, instrument)
    wish.settled = 0
    if number != wish.order or state < FIRST_FINAL:
        return
    wish.order = 0
    if wish.changing != 0 or event == E_FILL_ALL:
        wish.changing = 0
        wish.due = 1
    elif reason != _REQUESTED:
        wish.failed = 1
        wish.failed_at = s.now


@jit.helper
def after_report(s: Any, address: int, instrument: int) -> int:
    """The handlers have had their say: send for the rest, where the end of an order left one."""
    wish = _wish_of(s, instrument)
    if wish.due != 0:
        wish.due = 0
        wish.settled = 0
        if s.stopped == 0:
            return _pursue(s, address, instrument)
    return 0
