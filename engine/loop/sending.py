"""Orders and cancels on their way out, for both forms of a strategy: from floats, and with room made.

`deciding` says what room it lacks; here it is asked for, through the function
that the runner has put into the state record, and the call is made again. What refused an order is noted for
the words (engine.loop.refusals).
"""

from __future__ import annotations

from math import isnan
from typing import Any

from engine.execution.codes import K_LIMIT, K_STOP, K_STOP_LIMIT, T_GTC
from engine.execution.orders import Reason
from engine.execution.state import assets_at, instruments_at, orders_at
from engine.loop.codes import DRAIN_JOURNAL
from engine.loop.deciding import cancel, note_limits
from engine.loop.increments import FITS, NOT_FINITE, to_increments
from engine.loop.tables import refusals_at, slot_of, tracks_at
from engine.model import jit
from engine.risk import (
    R_BUYING_POWER,
    R_CASH,
    beyond_collar,
    buying_power,
    check_terms,
    owned_now,
    reference_price,
)

FAILED = -1

_NOT_FINITE = int(Reason.NOT_FINITE)
_ENTRY_REFUSED, _LEGS_CROSSED = int(Reason.ENTRY_REFUSED), int(Reason.LEGS_CROSSED)
_COLLAR = int(Reason.PRICE_COLLAR)
_SIZE, _PRICE = int(Reason.SIZE_INCREMENT), int(Reason.PRICE_INCREMENT)

_make_room = jit.function_at(2)
_submit, _amend = jit.function_at(9), jit.function_at(6)


@jit.helper
def make_room(s: Any, address: int, code: int) -> bool:
    """Ask the runner for what `code` says; False when it could not help."""
    return bool(s.make_room != 0 and _make_room(s.make_room, address, code) == 0)


@jit.helper
def send(
    s: Any,
    address: int,
    instrument: int,
    side: int,
    size: int,
    price: int,
    kind: int,
    tif: int,
    options: int,
    refusal: int,
) -> int:
    """Send an order from mantissas; its number, or FAILED."""
    if s.refusal_count == s.refusal_capacity and not make_room(s, address, -DRAIN_JOURNAL):
        return FAILED
    while True:
        slot = _submit(s.run_submit, address, instrument, side, size, price, kind, tif, options, refusal)
        if slot >= 0:
            break
        if not make_room(s, address, slot):
            return FAILED
    number = s.order_number
    if refusal != 0 or s.out_reason != 0:
        _note(s, instrument, side, size, price, refusal if refusal != 0 else s.out_reason)
    return int(number)


@jit.helper
def _note(s: Any, instrument: int, side: int, size: int, price: int, reason: int) -> None:
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    asset = assets_at(s.assets, s.asset_count)[record.asset]
    entry = refusals_at(s.refusals, s.refusal_capacity)[s.refusal_count]
    s.refusal_count += 1
    entry.order = s.order_number
    entry.decision = s.decisions
    entry.reason = reason
    entry.instrument = instrument
    entry.side = side
    entry.size = size
    entry.price = price
    entry.reference = s.out_price
    entry.notional = s.out_notional
    entry.open = record.open_buy if side > 0 else record.open_sell
    entry.position = record.position
    entry.free = asset.cash - asset.locked
    if reason == R_CASH:
        entry.position = owned_now(record)
    elif reason == R_BUYING_POWER:
        entry.free = buying_power(s)
    entry.what = 0
    entry.problem = 0
    entry.below = 0
    entry.value = 0.0


@jit.helper
def _say_float(s: Any, what: int, problem: int, below: int, value: float) -> None:
    """Beside the last refusal: which float lay off the increments."""
    entry = refusals_at(s.refusals, s.refusal_capacity)[s.refusal_count - 1]
    entry.what = what
    entry.problem = problem
    entry.below = below
    entry.value = value


@jit.helper
def to_price(s: Any, instrument: int, price: float) -> Any:
    """A price or a distance in increments, and what is wrong with it."""
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    return to_increments(price, record.tick, record.price_decimals)


@jit.helper
def to_size(s: Any, instrument: int, size: float) -> Any:
    """An unsigned size in increments, and what is wrong with it."""
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    return to_increments(abs(size), record.lot, record.size_decimals)


@jit.inlined
def _refusal_of(problem: int, reason: int) -> int:
    if problem == FITS:
        return 0
    return _NOT_FINITE if problem == NOT_FINITE else reason


@jit.helper
def send_floats(
    s: Any,
    address: int,
    instrument: int,
    size: float,
    price: float,
    kind: int,
    tif: int,
    options: int,
    stop: float,
    distance: float,
    expires: int,
    refusal: int,
) -> int:
    """Send an order from floats; off the increments, it is refused. Its number, or FAILED.

    Of `price`, `stop` and `distance` (how far a trailing stop keeps) only those are read that the kind has; a
    trailing stop's `stop` of 0 is made by the first price. `refusal`: a Reason found before, or 0.
    """
    side = 1 if size >= 0.0 else -1
    lots, problem = to_size(s, instrument, size)
    what = 0
    wrong = 0.0
    below = 0
    found = 0
    if problem != FITS:
        refusal = _refusal_of(problem, _SIZE)
        what = 1
        wrong = size
        below = lots
        found = problem
    mantissa = 0
    if kind == K_LIMIT or kind == K_STOP_LIMIT:
        mantissa, problem = to_price(s, instrument, price)
        if problem != FITS and refusal == 0:
            refusal = _refusal_of(problem, _PRICE)
            what = 2
            wrong = price
            below = mantissa
            found = problem
    if kind >= K_STOP:
        s.next_stop, problem = to_price(s, instrument, stop)
        if problem != FITS and refusal == 0:
            refusal = _refusal_of(problem, _PRICE)
            what = 3
            wrong = stop
            below = s.next_stop
            found = problem
        s.next_trail, problem = to_price(s, instrument, distance)
        if problem != FITS and refusal == 0:
            refusal = _refusal_of(problem, _PRICE)
            what = 4
            wrong = distance
            below = s.next_trail
            found = problem
    s.next_expires = expires
    number = send(s, address, instrument, side, lots, mantissa, kind, tif, options, refusal)
    if what != 0 and number >= 0:
        _say_float(s, what, found, below, wrong)
    return number


@jit.helper
def _is_refused(s: Any, number: int) -> bool:
    slot = slot_of(s, number)
    return bool(slot < 0 or orders_at(s.orders, s.order_capacity)[slot].refused)


@jit.helper
def _pair(s: Any, first: int, second: int) -> None:
    """Let two orders that have just been sent cancel each other."""
    orders = orders_at(s.orders, s.order_capacity)
    one = slot_of(s, first)
    other = slot_of(s, second)
    orders[one].partner = other
    orders[one].partner_generation = orders[other].generation
    orders[other].partner = one
    orders[other].partner_generation = orders[one].generation


@jit.helper
def _link(s: Any, number: int) -> None:
    orders_at(s.orders, s.order_capacity)[slot_of(s, number)].linked = 1
    s.linked_orders += 1


@jit.helper
def _off(s: Any, instrument: int, value: float) -> int:
    """Why a leg cannot have this price; 0 when it can."""
    mantissa, problem = to_price(s, instrument, value)
    if problem != FITS:
        return int(_refusal_of(problem, _PRICE))
    return _PRICE if mantissa <= 0 else 0


@jit.helper
def _say_leg(s: Any, instrument: int, what: int, value: float) -> None:
    """Beside the last refusal: which leg's price lay off the increments, unless it is about the size."""
    below, problem = to_price(s, instrument, value)
    if problem != FITS and refusals_at(s.refusals, s.refusal_capacity)[s.refusal_count - 1].what == 0:
        _say_float(s, what, problem, below, value)


@jit.helper
def _leg_refusal(
    s: Any, instrument: int, size: float, price: float, kind: int, stop: float, entry_price: float
) -> int:
    """What risk has against a leg whose prices are on the increments, before the first of them leaves; 0.

    A limit order (a bracket's target) is measured against `entry_price`, 0: what an entry at the market pays.
    """
    side = 1 if size >= 0.0 else -1
    lots, problem = to_size(s, instrument, size)
    if problem != FITS:
        return 0  # as with the first of them, which says so
    limit = 0
    trigger = 0
    if kind == K_LIMIT or kind == K_STOP_LIMIT:
        limit, problem = to_price(s, instrument, price)
    if kind >= K_STOP:
        trigger, problem = to_price(s, instrument, stop)
    refusal = check_terms(s, instrument, lots, limit, kind, trigger, 0)
    reference = reference_price(s, instrument)
    if entry_price > 0.0:
        reference, problem = to_price(s, instrument, entry_price)
        if problem != FITS:
            return 0  # as with the entry
    if refusal == 0 and kind == K_LIMIT and beyond_collar(s, limit, side, reference):
        refusal = _COLLAR
    note_limits(s, refusal, instrument, side, lots, limit if limit > 0 else trigger, 0)
    return int(refusal)


@jit.helper
def send_pair(
    s: Any,
    address: int,
    instrument: int,
    size: float,
    price: float,
    stop: float,
    stop_limit: float,
    tif: int,
    options: int,
    expires: int,
) -> int:
    """Send a limit order and a stop (with a limit unless that is no number) of which one cancels the other.

    The limit order's number, the stop's is the next; FAILED. Refused together, if either is.
    """
    side = 1.0 if size >= 0.0 else -1.0
    refusal = _LEGS_CROSSED if (price - stop) * side >= 0.0 else 0
    first = int(s.order_number + 1)
    kind = K_STOP if isnan(stop_limit) else K_STOP_LIMIT
    what = 0
    wrong = stop
    if refusal == 0:
        what = 6
        refusal = _off(s, instrument, stop)
        if refusal == 0 and kind == K_STOP_LIMIT:
            what = 7
            wrong = stop_limit
            refusal = _off(s, instrument, stop_limit)
        if refusal == 0:
            what = 0
            refusal = _leg_refusal(s, instrument, size, stop_limit, kind, stop, 0.0)
    s.next_group = first
    if (
        send_floats(s, address, instrument, size, price, K_LIMIT, tif, options, 0.0, 0.0, expires, refusal)
        < 0
    ):
        return FAILED
    if what != 0:
        _say_leg(s, instrument, what, wrong)
    if _is_refused(s, first):
        refusal = _ENTRY_REFUSED
    s.next_group = first
    options &= 2  # post-only is for the limit order
    number = send_floats(
        s, address, instrument, size, stop_limit, kind, tif, options, stop, 0.0, expires, refusal
    )
    if number < 0:
        return FAILED
    if not _is_refused(s, first):
        if _is_refused(s, number):
            if send_cancel(s, address, slot_of(s, first)) < 0:
                return FAILED
        else:
            _pair(s, first, number)
            _link(s, first)
            _link(s, number)
    return first


@jit.helper
def send_bracket(
    s: Any,
    address: int,
    instrument: int,
    size: float,
    price: float,
    kind: int,
    tif: int,
    options: int,
    expires: int,
    target: float,
    stop: float,
    stop_limit: float,
) -> int:
    """Send an entry with a limit order (`target`) and a stop behind it, which wait for its fills.

    The entry's number, the target's and the stop's are the next two; FAILED. What is wrong with one of them
    refuses all three.
    """
    side = 1.0 if size >= 0.0 else -1.0
    refusal = _LEGS_CROSSED if (target - stop) * side <= 0.0 else 0
    behind = K_STOP if isnan(stop_limit) else K_STOP_LIMIT
    what = 0
    wrong = target
    for i in range(2 if behind == K_STOP else 3):
        value = target
        if i == 1:
            value = stop
        elif i == 2:
            value = stop_limit
        if refusal == 0:
            refusal = _off(s, instrument, value)
            if refusal != 0:
                what = 5 + i
                wrong = value
    if refusal == 0:
        refusal = _leg_refusal(s, instrument, -size, target, K_LIMIT, 0.0, price if kind == K_LIMIT else 0.0)
    if refusal == 0:
        refusal = _leg_refusal(s, instrument, -size, stop_limit, behind, stop, 0.0)
    entry = send_floats(s, address, instrument, size, price, kind, tif, options, 0.0, 0.0, expires, refusal)
    if entry < 0:
        return FAILED
    if what != 0:
        _say_leg(s, instrument, what, wrong)
    refusal = _ENTRY_REFUSED if _is_refused(s, entry) else 0
    s.next_parent = entry
    s.next_group = entry + 1
    if send_floats(s, address, instrument, -size, target, K_LIMIT, T_GTC, 0, 0.0, 0.0, 0, refusal) < 0:
        return FAILED
    s.next_parent = entry
    s.next_group = entry + 1
    last = send_floats(s, address, instrument, -size, stop_limit, behind, T_GTC, 0, stop, 0.0, 0, refusal)
    if last < 0:
        return FAILED
    if refusal != 0:
        return int(entry)
    if _is_refused(s, entry + 1) or _is_refused(s, last):
        # Nobody enters without the way out that was asked for.
        for number in range(entry, last + 1):
            if not _is_refused(s, number) and send_cancel(s, address, slot_of(s, number)) < 0:
                return FAILED
        return int(entry)
    _pair(s, entry + 1, last)
    orders = orders_at(s.orders, s.order_capacity)
    parent = orders[slot_of(s, entry)]
    parent.child = slot_of(s, entry + 1)
    parent.child_generation = orders[parent.child].generation
    for number in range(entry, last + 1):
        _link(s, number)
    return int(entry)


@jit.helper
def send_amend(s: Any, address: int, slot: int, size: float, price: float, stop: float, given: int) -> int:
    """Send an amendment of the live order in `slot`; 0, or FAILED. Too late, nothing happens.

    `given` bit 0 for a new size (unsigned, what is filled included), 1 a new limit, 2 a new stop.
    """
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = order.instrument
    lots = order.size
    limit = order.known_price
    trigger = 0
    refusal = 0
    what = 0
    wrong = 0.0
    below = 0
    found = FITS
    if given & 1:
        lots, found = to_size(s, instrument, size)
        if found != FITS:
            refusal = _refusal_of(found, _SIZE)
            what = 1
            wrong = size
            below = lots
    if given & 2 and refusal == 0:
        limit, found = to_price(s, instrument, price)
        if found != FITS:
            refusal = _refusal_of(found, _PRICE)
            what = 2
            wrong = price
            below = limit
        elif not (order.kind == K_LIMIT or order.kind == K_STOP_LIMIT):
            refusal = _PRICE
    if given & 4 and refusal == 0:
        trigger, found = to_price(s, instrument, stop)
        if found != FITS:
            refusal = _refusal_of(found, _PRICE)
            what = 3
            wrong = stop
            below = trigger
        elif order.kind < K_STOP or trigger <= 0:
            refusal = _PRICE
    if s.refusal_count == s.refusal_capacity and not make_room(s, address, -DRAIN_JOURNAL):
        return FAILED
    while True:
        code = _amend(s.run_amend, address, slot, lots, limit, trigger, refusal)
        if code >= 0:
            break
        if not make_room(s, address, code):
            return FAILED
    if code == 0 and s.out_reason != 0:
        order = orders_at(s.orders, s.order_capacity)[slot]
        _note(s, instrument, order.side, lots, limit, s.out_reason)
        refusals_at(s.refusals, s.refusal_capacity)[s.refusal_count - 1].order = order.number
        if what != 0:
            _say_float(s, what, found, below, wrong)
    return 0


@jit.helper
def send_cancel(s: Any, address: int, slot: int) -> int:
    """Send a cancel for the live order in `slot`; 0, or FAILED. One that is on its way changes nothing."""
    while True:
        state = orders_at(s.orders, s.order_capacity)[slot].state
        code = cancel(address, slot)
        if code == 0:
            entry = tracks_at(s.tracks, s.order_capacity)[slot]
            entry.cancel_decision = s.decisions
            entry.state_before = state
        if code >= 0:
            return 0
        if not make_room(s, address, code):
            return FAILED
