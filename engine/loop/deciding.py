"""What the strategy asks for becomes a decision: risk, journal, agenda. Called by engine.loop.sending.

    submit    an order         cancel    its end         amend    another size, price or stop of it

What lacks room says so before anything is done, and is called again.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import push
from engine.execution.codes import E_AMEND_REJECTED, K_STOP, T_DAY, T_GTD
from engine.execution.latency import arrival
from engine.execution.money import notional_of
from engine.execution.orders import Reason
from engine.execution.state import (
    ITEM_AMEND,
    ITEM_CANCEL,
    ITEM_ORDER,
    ITEM_REPORT,
    RANK_ARRIVAL,
    RANK_REPORT,
    VENUE_DONE,
    VENUE_TRAVELLING,
    instruments_at,
    int64_at,
    orders_at,
    state_at,
)
from engine.loop.codes import (
    DRAIN_JOURNAL,
    EV_CANCEL_SENT,
    EV_REFUSED,
    GROW_ITEMS,
    GROW_ORDERS,
    J_AMEND,
    J_AMEND_REJECTED,
    J_CANCEL,
    J_REFUSED,
    J_SUBMIT,
    ORDER_TABLE,
    S_CANCELLING,
    S_SUBMITTED,
)
from engine.loop.hearing import lock_price, recount
from engine.loop.recording import record, record_terms
from engine.loop.tables import track
from engine.model import jit
from engine.risk import (
    R_BUYING_POWER,
    R_MIN_NOTIONAL,
    check,
    check_terms,
    exposure,
    lock_of,
    reference_price,
)

R_TIME_PASSED, R_NO_SESSION, R_LINKED_SIZE = (
    int(Reason.TIME_PASSED),
    int(Reason.NO_SESSION),
    int(Reason.LINKED_SIZE),
)


@jit.helper
def note_limits(s: Any, refusal: int, instrument: int, side: int, size: int, costs: int, own: int) -> None:
    """What risk said of an order, and what the words for it need beside the state; `own` as for `check`."""
    s.out_reason = refusal
    if refusal == 0:
        return
    s.out_price = reference_price(s, instrument)
    if refusal == R_MIN_NOTIONAL:
        decimals = instruments_at(s.instruments, s.instrument_count)[instrument].decimals
        worth = costs if costs > 0 else s.out_price
        s.out_notional = notional_of(worth, size, decimals)
    elif refusal == R_BUYING_POWER:
        s.out_notional = exposure(s, instrument, side, size, own)
    else:
        s.out_notional = lock_of(s, instrument, side, size, costs)


@jit.helper
def session_end(instrument: Any, now: int) -> int:
    """When the session that goes on at `now`, or else the next one, ends; 0 when none is known."""
    times = int64_at(instrument.sessions, 2 * instrument.session_count)
    for i in range(instrument.session_count):
        if times[2 * i + 1] > now:
            return int(times[2 * i + 1])
    return 0


@jit.operation("int64(int64,int64,int64,int64,int64,int64,int64,int64,int64)")
def submit(
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
    """Decide an order: risk, journal, agenda. Returns its slot, or GROW_ORDERS / -DRAIN_… to be retried.

    `options`: bit 0 post-only, bit 1 reduce-only. `refusal`: a Reason found before this call, or 0. What else
    it is sent with stands in the state record's `next_` fields, which are zero again afterwards.
    """
    s = state_at(address, 1)[0]
    if s.order_free < 0:
        return GROW_ORDERS
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    slot = s.order_free
    order = orders_at(s.orders, s.order_capacity)[slot]
    target = instruments_at(s.instruments, s.instrument_count)[instrument]
    s.order_free = order.next
    s.live_orders += 1
    s.order_number += 1
    if kind >= K_STOP:
        s.stop_orders += 1
    order.number = s.order_number
    order.price = price
    order.known_price = price
    order.size = size
    order.venue_size = size
    order.venue_filled = 0
    order.filled = 0
    order.front = 0
    order.locked = 0
    order.venue_locked = 0
    order.counted = 0
    order.stop = s.next_stop
    order.venue_stop = s.next_stop
    order.trail = s.next_trail
    order.expires = s.next_expires
    order.parent = s.next_parent
    order.group = s.next_group
    order.allowance = 0
    order.asked_size = 0
    order.since = 0
    order.instrument = instrument
    order.next = -1
    order.previous = -1
    order.partner = -1
    order.child = -1
    order.amendments = 0
    order.kind = kind
    order.tif = tif
    order.post_only = options & 1
    order.reduce_only = (options >> 1) & 1
    order.state = S_SUBMITTED
    order.venue_state = VENUE_TRAVELLING
    order.resting = 0
    order.side = side
    order.accepted = 0
    order.triggered = 0
    order.linked = 0
    order.in_links = 0
    order.reduced = 0
    order.parent_over = 0
    order.refused = 0
    s.next_stop = 0
    s.next_trail = 0
    s.next_expires = 0
    s.next_parent = 0
    s.next_group = 0
    track(s, slot)
    s.out_reason = 0
    if tif == T_DAY:
        order.expires = session_end(target, s.now)
        if order.expires == 0 and refusal == 0:
            refusal = R_NO_SESSION
            s.out_reason = refusal
    elif tif == T_GTD and order.expires <= s.now and refusal == 0:
        refusal = R_TIME_PASSED
        s.out_reason = refusal
    own = 0
    if refusal == 0:
        if order.parent > 0:
            refusal = check_terms(s, instrument, size, price, kind, order.stop, order.trail)
        else:
            pair = order.group > 0 and order.group != order.number  # only the first of a pair counts
            own = size if pair else 0
            freed = lock_of(s, instrument, side, size, lock_price(order)) if pair else 0
            refusal = check(s, instrument, side, size, price, kind, order.stop, order.trail, own, freed)
        note_limits(s, refusal, instrument, side, size, lock_price(order), own)
    if refusal != 0:
        order.refused = 1
        order.venue_state = VENUE_DONE
        entry = record(s, J_REFUSED, slot)
        entry.reason = refusal
        record_terms(s, slot)
        item = push(s, s.now, RANK_REPORT, ITEM_REPORT)
        item.slot = slot
        item.generation = order.generation
        item.event = EV_REFUSED
        item.reason = refusal
        return int(slot)
    record(s, J_SUBMIT, slot)
    record_terms(s, slot)
    if order.parent == 0:
        recount(s, slot)
    item = push(s, arrival(s, instrument), RANK_ARRIVAL, ITEM_ORDER)
    item.slot = slot
    item.generation = order.generation
    return int(slot)


@jit.operation("int64(int64,int64,int64,int64,int64,int64)")
def amend(address: int, slot: int, size: int, price: int, stop: int, refusal: int) -> int:
    """Send an amendment of the live order in `slot`; 0, 1 when it is too late, or -DRAIN_… to be retried.

    Size (what is filled included) and limit as they shall be; `stop` 0 leaves it where the venue has it,
    which for one that trails is not known here. `refusal`: a Reason found before, or 0.
    """
    s = state_at(address, 1)[0]
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.state == S_CANCELLING or order.refused:
        return 1
    s.out_reason = refusal
    left = size - order.filled
    if left <= 0 and order.linked:
        left = order.size  # a bracket's child that is done, but may work again
    trigger = stop if stop > 0 else order.stop
    if refusal == 0 and order.linked and size != order.size:
        refusal = R_LINKED_SIZE
        s.out_reason = refusal
    elif refusal == 0 and left > 0:
        costs = price if price > 0 else trigger
        if order.counted == 0 and order.linked:  # counted with its partner or, a child, not at all
            refusal = check_terms(s, order.instrument, left, price, order.kind, trigger, order.trail)
        else:
            refusal = check(
                s,
                order.instrument,
                order.side,
                left,
                price,
                order.kind,
                trigger,
                order.trail,
                order.counted,
                order.locked,
            )
        note_limits(s, refusal, order.instrument, order.side, left, costs, order.counted)
    entry = record(s, J_AMEND if refusal == 0 else J_AMEND_REJECTED, slot)
    entry.price = price
    entry.size = size
    if trigger != order.stop:
        before = order.stop
        order.stop = trigger
        record_terms(s, slot)
        order.stop = before
    if refusal != 0:
        entry.reason = refusal
        item = push(s, s.now, RANK_REPORT, ITEM_REPORT)
        item.slot = slot
        item.generation = order.generation
        item.event = E_AMEND_REJECTED
        item.reason = refusal
        item.total = order.size
        return 0
    if order.amendments == 0 or size > order.asked_size:
        order.asked_size = size
    order.amendments += 1
    recount(s, slot)
    item = push(s, arrival(s, order.instrument), RANK_ARRIVAL, ITEM_AMEND)
    item.slot = slot
    item.generation = order.generation
    item.size = size
    item.price = price
    item.id = stop
    return 0


@jit.entry("int64(int64,int64)")
def cancel(address: int, slot: int) -> int:
    """Send a cancel for the live order in `slot`; 0, 1 when one is on its way, or -DRAIN_… to be retried."""
    s = state_at(address, 1)[0]
    if s.journal_count + 2 > s.journal_capacity:
        return -DRAIN_JOURNAL
    if s.item_free_count < 4:
        s.out_need = 64
        return -GROW_ITEMS
    order = orders_at(s.orders, s.order_capacity)[slot]
    # What the venue has done with it meanwhile must not be asked here.
    if order.state == S_CANCELLING or order.refused:
        return 1
    state = ORDER_TABLE[order.state, EV_CANCEL_SENT]
    if state < 0:
        return 1
    order.state = state
    record(s, J_CANCEL, slot)
    item = push(s, arrival(s, order.instrument), RANK_ARRIVAL, ITEM_CANCEL)
    item.slot = slot
    item.generation = order.generation
    return 0
