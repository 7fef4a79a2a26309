"""A report reaches us: the order's state, the account and the journal take what the venue has done.

What an order counts for (its open size, what it locks) is what the strategy could know of it; what the venue
has meanwhile done with it is in the next report.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import (
    E_ACCEPTED,
    E_AMEND_REJECTED,
    E_AMENDED,
    E_CANCEL_REJECTED,
    E_CANCELLED,
    E_EXPIRED,
    E_FILL,
    E_FILL_ALL,
    E_REJECTED,
    E_TRIGGERED,
    K_STOP,
    R_LINKED,
    R_PARENT,
    R_REQUESTED,
)
from engine.execution.orders import FIRST_FINAL
from engine.execution.state import FEE_BASE, FEE_QUOTE, assets_at, instruments_at, orders_at
from engine.loop.codes import (
    BROKEN,
    EV_REFUSED,
    J_ACCEPTED,
    J_AMEND_REJECTED,
    J_AMENDED,
    J_CANCEL_REJECTED,
    J_CANCELLED,
    J_EXPIRED,
    J_FILL,
    J_REJECTED,
    J_TRIGGERED,
    ORDER_TABLE,
    REPORT,
)
from engine.loop.recording import record, record_terms
from engine.loop.tables import untrack
from engine.model import jit
from engine.risk import FIRST_RISK_REASON, lock_of


@jit.inlined
def count_open(instrument: Any, order: Any, size: int) -> None:
    """Take `size` out of what the order adds to the instrument's open size."""
    size = min(size, order.counted)
    order.counted -= size
    if order.side > 0:
        instrument.open_buy -= size
    else:
        instrument.open_sell -= size


@jit.inlined
def lock_price(order: Any) -> int:
    """What an order is taken to cost a unit: its limit, else its stop; 0: what the market asks."""
    return int(order.known_price if order.known_price > 0 else order.stop)


@jit.helper
def recount(s: Any, slot: int) -> None:
    """What an order adds to the open size, and locks, after its size or price has changed.

    Of a pair that cancel each other only the first counts; an amendment on its way counts as the larger size.
    """
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    size = order.size
    if order.amendments > 0 and order.asked_size > size:
        size = order.asked_size
    left = size - order.filled
    if (order.group > 0 and order.group != order.number) or left < 0:
        left = 0
    change = left - order.counted
    order.counted = left
    if order.side > 0:
        instrument.open_buy += change
    else:
        instrument.open_sell += change
    if s.account_type == 1 and order.side > 0:
        cost = lock_of(s, order.instrument, order.side, left, lock_price(order)) if left > 0 else 0
        assets_at(s.assets, s.asset_count)[instrument.asset].locked += cost - order.locked
        order.locked = cost


@jit.helper
def hear(s: Any, item: Any) -> int:
    """A report reaches us: the order's state, the account, the journal; the rest is Python's."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[item.slot]
    if order.generation != item.generation:
        return 0  # of an order whose end we have heard already
    event = int(item.event)
    own = event != E_AMEND_REJECTED or item.reason < FIRST_RISK_REASON  # else our own risk refused it
    state = ORDER_TABLE[order.state, event]
    if state < 0:
        s.out_number = order.number
        s.out_state = order.state
        s.out_event = event
        return BROKEN
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    asset = assets_at(s.assets, s.asset_count)[instrument.asset]
    order.state = state
    # The end of an order whose partner has used it up says nothing new of its size, nor does our own refusal.
    if (
        own
        and event != EV_REFUSED
        and not (event == E_CANCELLED and (item.reason == R_LINKED or item.reason == R_PARENT))
    ):
        order.size = item.total
    if event == E_FILL or event == E_FILL_ALL:
        order.filled += item.size
        instrument.position += item.size * order.side
        asset.cash -= item.notional * order.side
        if item.fee_asset == FEE_QUOTE:
            asset.cash -= item.fee
            asset.fees += item.fee
        elif item.fee_asset == FEE_BASE:
            instrument.fee_base += item.fee
        else:
            named = assets_at(s.assets, s.asset_count)[instrument.fee_asset]
            named.cash -= item.fee
            named.fees += item.fee
        count_open(instrument, order, item.size)
        if order.locked > 0:
            left = order.size - order.filled
            lock = 0
            if left > 0:
                lock = lock_of(s, order.instrument, order.side, left, lock_price(order))
                lock = min(lock, order.locked)
            asset.locked -= order.locked - lock
            order.locked = lock
    elif event == E_AMENDED:
        order.known_price = item.price
        order.stop = item.id
        if item.reason == R_REQUESTED:
            order.amendments -= 1
        recount(s, item.slot)
    elif event == E_AMEND_REJECTED:
        if own:
            order.amendments -= 1
            recount(s, item.slot)
    elif event == E_ACCEPTED and order.parent > 0:
        recount(s, item.slot)  # it begins to count
    s.out_event = event
    s.out_slot = item.slot
    s.out_number = order.number
    s.out_instrument = order.instrument
    s.out_side = order.side
    s.out_size = item.size
    s.out_price = item.price
    s.out_fee = item.fee
    s.out_notional = item.notional
    s.out_reason = item.reason
    s.out_state = state
    s.out_filled = order.filled
    s.out_order_size = order.size
    s.out_maker = item.maker
    s.out_fee_asset = item.fee_asset
    s.trigger = 1
    s.trigger_id = order.number
    if event != EV_REFUSED and own:  # a refusal is in the journal since it was decided
        kind = J_ACCEPTED
        if event == E_FILL or event == E_FILL_ALL:
            kind = J_FILL
        elif event == E_CANCELLED:
            kind = J_CANCELLED
        elif event == E_REJECTED:
            kind = J_REJECTED
        elif event == E_EXPIRED:
            kind = J_EXPIRED
        elif event == E_CANCEL_REJECTED:
            kind = J_CANCEL_REJECTED
        elif event == E_TRIGGERED:
            kind = J_TRIGGERED
        elif event == E_AMENDED:
            kind = J_AMENDED
        elif event == E_AMEND_REJECTED:
            kind = J_AMEND_REJECTED
        entry = record(s, kind, item.slot)
        entry.reason = item.reason
        if kind == J_TRIGGERED:
            entry.price = item.price
        elif kind == J_AMENDED:
            record_terms(s, item.slot)
        if kind == J_FILL:
            entry.price = item.price
            entry.size = item.size
            entry.fee = item.fee
            entry.maker = item.maker
            entry.fee_asset = item.fee_asset
    if event == E_ACCEPTED and s.quiet_accepts and not order.reduce_only:
        return 0  # Python has nothing to learn of it: a reduce-only order may have been cut
    if state >= FIRST_FINAL:
        count_open(instrument, order, order.counted)
        asset.locked -= order.locked
        order.locked = 0
        untrack(s, item.slot)
        if order.linked:
            s.linked_orders -= 1
        if order.kind >= K_STOP:
            s.stop_orders -= 1
        order.generation += 1
        order.next = s.order_free
        s.order_free = item.slot
        s.live_orders -= 1
    return REPORT
