"""What a strategy does and reads, one operation each: Python's context and compiled strategies call the same.

Compiled strategies reach them by address, through the table that `table` makes; the names and signatures
there are engine.strategy.compiled.operations'. FAILED (-1) means that no room could be made; the runner
knows why.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.execution.money import divide_exactly
from engine.execution.state import instruments_at, int64_at, orders_at, state_at
from engine.loop import random, target, timers, views
from engine.loop.codes import GROW_ITEMS, GROW_TIMERS
from engine.loop.increments import rounded_price, rounded_size
from engine.loop.sending import (
    FAILED,
    make_room,
    send_amend,
    send_bracket,
    send_cancel,
    send_floats,
    send_pair,
)
from engine.loop.tables import slot_of, tracks_at
from engine.model import jit
from engine.risk import owned_now
from engine.strategy.compiled.operations import OPERATIONS

NO_SUCH_ORDER = 1


@jit.operation("int64(int64,int64,float64,float64,int64,int64,int64)")
def order(address: int, instrument: int, size: float, price: float, kind: int, tif: int, options: int) -> int:
    """Send an order from floats; its number."""
    s = state_at(address, 1)[0]
    return send_floats(s, address, instrument, size, price, kind, tif, options, 0.0, 0.0, 0, 0)


@jit.operation("int64(int64,int64,float64,float64,int64,int64,int64,float64,float64,int64)")
def order_with(
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
) -> int:
    """The same for a stop, or an order with a time at which it ends."""
    s = state_at(address, 1)[0]
    return send_floats(s, address, instrument, size, price, kind, tif, options, stop, distance, expires, 0)


@jit.operation("int64(int64,int64,float64,float64,float64,float64,int64,int64,int64)")
def pair(
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
    """Send a limit order and a stop of which one cancels the other; the first one's number."""
    s = state_at(address, 1)[0]
    return send_pair(s, address, instrument, size, price, stop, stop_limit, tif, options, expires)


@jit.operation("int64(int64,int64,float64,float64,int64,int64,int64,int64,float64,float64,float64)")
def bracket(
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
    """Send an entry with a target and a stop behind it; the entry's number."""
    s = state_at(address, 1)[0]
    return send_bracket(
        s, address, instrument, size, price, kind, tif, options, expires, target, stop, stop_limit
    )


@jit.operation("int64(int64,int64,float64,float64,float64,int64)")
def amend(address: int, number: int, size: float, price: float, stop: float, given: int) -> int:
    """Send an amendment; nothing happens when the order is final or being cancelled."""
    s = state_at(address, 1)[0]
    slot = slot_of(s, number) if number > 0 else -1
    if slot >= 0:
        return send_amend(s, address, slot, size, price, stop, given)
    return 0 if 1 <= number <= s.order_number else NO_SUCH_ORDER


@jit.operation("int64(int64,int64)")
def cancel(address: int, number: int) -> int:
    """Send a cancel; nothing happens when the order is final or being cancelled already."""
    s = state_at(address, 1)[0]
    slot = slot_of(s, number) if number > 0 else -1
    if slot >= 0:
        return send_cancel(s, address, slot)
    return 0 if 1 <= number <= s.order_number else NO_SUCH_ORDER


@jit.operation("int64(int64,int64)")
def cancel_all(address: int, instrument: int) -> int:
    """Cancel every open order, oldest first, or those of one instrument (-1: all)."""
    s = state_at(address, 1)[0]
    slot = s.live_head
    while slot >= 0:
        concerned = instrument < 0 or orders_at(s.orders, s.order_capacity)[slot].instrument == instrument
        if concerned and send_cancel(s, address, slot) < 0:
            return FAILED
        slot = tracks_at(s.tracks, s.order_capacity)[slot].next
    return 0


@jit.operation("int64(int64,int64,float64,float64,int64)")
def aim(address: int, instrument: int, size: float, price: float, priced: int) -> int:
    """`ctx.target`: see engine.loop.target."""
    return target.aim(state_at(address, 1)[0], address, instrument, size, price, priced)


@jit.entry("int64(int64,int64,int64,int64,int64,int64)")
def heard(address: int, instrument: int, number: int, event: int, state: int, reason: int) -> int:
    """A report is coming to the handlers."""
    s = state_at(address, 1)[0]
    s.told_order_price = orders_at(s.orders, s.order_capacity)[s.out_slot].known_price
    target.heard(s, instrument, number, event, state, reason)
    return 0


@jit.entry("int64(int64,int64)")
def after_report(address: int, instrument: int) -> int:
    """The handlers of a report have run."""
    return target.after_report(state_at(address, 1)[0], address, instrument)


@jit.operation("int64(int64,int64,int64,int64)")
def add_timer(address: int, due: int, interval: int, word: int) -> int:
    """Call on_timer at `due`, and every `interval` ns from there unless that is 0."""
    s = state_at(address, 1)[0]
    if s.item_free_count < 4:
        s.out_need = 64
        if not make_room(s, address, -GROW_ITEMS):
            return FAILED
    if s.timer_free < 0 and not make_room(s, address, -GROW_TIMERS):
        return FAILED
    timers.add(s, max(s.now, due), interval, word)
    return 0


@jit.operation("int64(int64,int64)")
def cancel_timer(address: int, word: int) -> int:
    """Forget the timers of a name."""
    timers.forget_named(state_at(address, 1)[0], word)
    return 0


@jit.operation("int64(int64,int64,int64)")
def quote(address: int, instrument: int, out: int) -> int:
    """Bid, bid size, ask, ask size to `out`; 0 when there is no quote."""
    return views.quote(state_at(address, 1)[0], instrument, out)


@jit.operation("int64(int64,int64,int64)")
def book(address: int, instrument: int, depth: int) -> int:
    """1 when there is a book to be seen."""
    return views.book_is_there(state_at(address, 1)[0], instrument, depth)


@jit.operation("int64(int64,int64,int64,int64,int64)")
def levels(address: int, instrument: int, sign: int, depth: int, out: int) -> int:
    """Price and size of the best `depth` levels to `out`; how many there are."""
    return views.read_levels(state_at(address, 1)[0], instrument, sign, depth, out)


@jit.operation("int64(int64,int64,int64,int64,int64)")
def level(address: int, instrument: int, sign: int, number: int, out: int) -> int:
    """Price and size of one level to `out`; 0 when there is none."""
    from_best = views.level(state_at(address, 1)[0], instrument, sign, number)
    found = int64_at(out, 2)
    found[0] = from_best[0]
    found[1] = from_best[1]
    return 1 if from_best[1] > 0 else 0


@jit.operation("int64(int64,int64,int64,int64)")
def level_count(address: int, instrument: int, sign: int, depth: int) -> int:
    """How many levels a side shows, up to `depth`."""
    return views.level_count(state_at(address, 1)[0], instrument, sign, depth)


@jit.operation("float64(int64,int64,int64)")
def imbalance(address: int, instrument: int, depth: int) -> float:
    """Of the best `depth` levels."""
    return views.imbalance(state_at(address, 1)[0], instrument, depth)


@jit.operation("int64(int64,int64)")
def owned(address: int, instrument: int) -> int:
    """The position less fees that were charged in it, a mantissa."""
    s = state_at(address, 1)[0]
    return owned_now(instruments_at(s.instruments, s.instrument_count)[instrument])


@jit.operation("float64(int64)")
def equity(address: int) -> float:
    """Cash plus every position at its mark."""
    return views.equity(state_at(address, 1)[0])


@jit.operation("float64(int64,int64,float64)")
def round_price(address: int, instrument: int, price: float) -> float:
    """The nearest valid price; not finite when there is none."""
    s = state_at(address, 1)[0]
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    return rounded_price(price, record.tick, record.price_decimals)


@jit.operation("float64(int64,int64,float64)")
def round_size(address: int, instrument: int, size: float) -> float:
    """The nearest valid size towards zero; not finite when there is none."""
    s = state_at(address, 1)[0]
    record = instruments_at(s.instruments, s.instrument_count)[instrument]
    return rounded_size(size, record.lot, record.size_decimals)


@jit.operation("float64(int64,int64)")
def divide(a: int, b: int) -> float:
    """Python's division of two integers."""
    return divide_exactly(a, b)


@jit.operation("int64(int64,int64,int64,int64)")
def next_order(address: int, slot: int, instrument: int, last: int) -> int:
    """The live order after `slot` (-1: the oldest) up to number `last`, of an instrument or any (-1)."""
    s = state_at(address, 1)[0]
    tracks = tracks_at(s.tracks, s.order_capacity)
    orders = orders_at(s.orders, s.order_capacity)
    slot = s.live_head if slot < 0 else tracks[slot].next
    while slot >= 0:
        if orders[slot].number > last:
            return -1
        if instrument < 0 or orders[slot].instrument == instrument:
            return int(slot)
        slot = tracks[slot].next
    return -1


@jit.operation("int64(int64,int64,int64)")
def order_count(address: int, instrument: int, last: int) -> int:
    """How many live orders `next_order` would give."""
    count = 0
    slot = next_order(address, -1, instrument, last)
    while slot >= 0:
        count += 1
        slot = next_order(address, slot, instrument, last)
    return count


@jit.operation("int64(int64,int64,int64)")
def order_state(address: int, slot: int, decisions: int) -> int:
    """State of a live order as it was when `decisions` had been made, in the handler that runs."""
    s = state_at(address, 1)[0]
    entry = tracks_at(s.tracks, s.order_capacity)[slot]
    if entry.cancel_decision > decisions:
        return int(entry.state_before)
    return int(orders_at(s.orders, s.order_capacity)[slot].state)


_FUNCTIONS = {
    "order": order,
    "order_with": order_with,
    "pair": pair,
    "bracket": bracket,
    "amend": amend,
    "cancel": cancel,
    "cancel_all": cancel_all,
    "aim": aim,
    "add_timer": add_timer,
    "cancel_timer": cancel_timer,
    "quote": quote,
    "book": book,
    "level": level,
    "level_count": level_count,
    "imbalance": imbalance,
    "equity": equity,
    "owned": owned,
    "round_price": round_price,
    "round_size": round_size,
    "divide": divide,
    "next_order": next_order,
    "order_count": order_count,
    "order_state": order_state,
    "random_float": random.random_float,
    "random_integer": random.random_integer,
    "random_normal": random.random_normal,
}


def table() -> npt.NDArray[np.int64]:
    """The operations' addresses in this process, in the order of OPERATIONS."""
    return np.array([jit.address_of(_FUNCTIONS[name]) for name in OPERATIONS], dtype=np.int64)
