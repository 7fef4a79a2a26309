"""Orders and cancels on their way out, for both forms of a strategy: from floats, and with room made.

`kernels.submit` and `kernels.cancel` say what room they lack; here it is asked for, through the function
that the runner has put into the state record, and the call is made again. What refused an order is noted for
the words (engine.loop.refusals).
"""

from __future__ import annotations

from typing import Any

from engine.execution.orders import OrderKind, Reason
from engine.execution.state import assets_at, instruments_at, orders_at
from engine.loop.codes import DRAIN_JOURNAL
from engine.loop.increments import FITS, NOT_FINITE, to_increments
from engine.loop.kernels import cancel, submit
from engine.loop.tables import refusals_at, tracks_at
from engine.model import jit

FAILED = -1

_LIMIT = int(OrderKind.LIMIT)
_NOT_FINITE = int(Reason.NOT_FINITE)
_SIZE, _PRICE = int(Reason.SIZE_INCREMENT), int(Reason.PRICE_INCREMENT)

_make_room = jit.function_at(2)


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
        slot = submit(address, instrument, side, size, price, kind, tif, options, refusal)
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
    entry.what = 0
    entry.problem = 0
    entry.below = 0
    entry.value = 0.0


@jit.helper
def send_floats(
    s: Any, address: int, instrument: int, size: float, price: float, kind: int, tif: int, options: int
) -> int:
    """Send an order from floats; off the increments, it is refused. Its number, or FAILED."""
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    side = 1 if size >= 0.0 else -1
    lots, problem = to_increments(abs(size), record.lot, record.size_decimals)
    refusal = 0
    what = 1
    wrong = size
    below = lots
    if problem != FITS:
        refusal = _NOT_FINITE if problem == NOT_FINITE else _SIZE
    mantissa = 0
    if kind == _LIMIT:
        mantissa, second = to_increments(price, record.tick, record.price_decimals)
        if second != FITS and refusal == 0:
            refusal = _NOT_FINITE if second == NOT_FINITE else _PRICE
            problem = second
            what = 2
            wrong = price
            below = mantissa
    number = send(s, address, instrument, side, lots, mantissa, kind, tif, options, refusal)
    if refusal != 0 and number >= 0:
        entry = refusals_at(s.refusals, s.refusal_capacity)[s.refusal_count - 1]
        entry.problem = problem
        entry.below = below
        entry.value = wrong
        entry.what = what
    return number


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
