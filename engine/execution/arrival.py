"""Orders at the venue, from arrival to rest: waiting, arming, triggering, taking, resting, leaving.

    travelling --> waiting     the book is in doubt, or the next bar has not begun (engine.execution.bars)
               --> held        a bracket's child whose entry has not filled yet
               --> armed       a stop before its trigger
               --> working     in the book, or done at once

`arrive` is for what has just come, `start` for what may begin to work now, `enter` for what meets the market:
a market or limit order, or what a stop has become. An order leaves from wherever it is by `leave`. What a
fill or an end means for orders that are linked to it is left to engine.execution.links.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import push
from engine.execution.bar_list import SAME_CLOSE_NS, leave_bars, wait_for_bar
from engine.execution.codes import (
    E_ACCEPTED,
    E_CANCEL_REJECTED,
    E_CANCELLED,
    E_EXPIRED,
    E_REJECTED,
    E_TRIGGERED,
    K_STOP,
    K_TRAILING,
    R_COLLAR_AT_TRIGGER,
    R_EMPTY,
    R_FOK,
    R_FUNDS,
    R_IOC,
    R_LINKED,
    R_NO_LIQUIDITY,
    R_NONE,
    R_PARENT,
    R_POST_ONLY,
    R_REDUCE,
    R_REQUESTED,
    R_TIME,
    R_UNKNOWN,
    R_WOULD_TRIGGER,
    T_FOK,
    T_IOC,
)
from engine.execution.fills import finish, lock, market_of, report, side_of, unlock
from engine.execution.matching import available_within, can_pay, collar_of, has_limit, take, would_match
from engine.execution.resting import rest, unrest
from engine.execution.state import (
    ITEM_EXPIRY,
    MATCH_BARS,
    MATCH_BOOK,
    MATCH_TRADES,
    RANK_ARRIVAL,
    VENUE_ARMED,
    VENUE_DONE,
    VENUE_HELD,
    VENUE_TRAVELLING,
    VENUE_WAITING,
    VENUE_WORKING,
    instruments_at,
    orders_at,
    state_at,
)
from engine.execution.stops import arm, disarm, reached, source_price, trail, unlist, watch_all
from engine.market.book import LOWEST_KEY, best_key
from engine.model import jit

_enter, _stops = jit.function_at(2), jit.function_at(2)


@jit.inlined
def enter(s: Any, slot: int) -> None:
    """Call `enter_market` where it stands."""
    _enter(s.run_enter, s.here, slot)


@jit.inlined
def trigger_stops(s: Any, index: int) -> None:
    """Call `trigger` where it stands."""
    _stops(s.run_stops, s.here, index)


@jit.helper
def arrive(s: Any, slot: int) -> None:
    """An order reaches the venue."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if order.expires > 0:
        due = order.expires + s.feed_latency
        if instrument.match_on == MATCH_BARS:
            # A bar that ends with the order's time is still its own; it comes a moment after its end.
            due = order.expires + SAME_CLOSE_NS + 1
        if due <= s.now:
            finish(s, slot, E_EXPIRED, R_TIME)
            return
        item = push(s, due, RANK_ARRIVAL, ITEM_EXPIRY)
        item.slot = slot
        item.generation = order.generation
    if order.linked:
        if order.parent > 0:
            left = order.allowance - partner_filled(s, order)
            if left <= 0 and order.parent_over:
                finish(s, slot, E_CANCELLED, R_PARENT)
                return
            if left <= 0:
                order.venue_state = VENUE_HELD
                return
            order.venue_size = left
        partner = order.partner
        if partner >= 0 and orders[partner].venue_state == VENUE_DONE:
            finish(s, slot, E_CANCELLED, R_LINKED)
            return
    start(s, slot)


@jit.inlined
def partner_filled(s: Any, order: Any) -> int:
    """What the order's partner has filled; 0 when it has none."""
    if order.partner < 0:
        return 0
    return int(orders_at(s.orders, s.order_capacity)[order.partner].venue_filled)


@jit.helper
def start(s: Any, slot: int) -> None:
    """An order begins to work."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if instrument.match_on == MATCH_BARS:
        wait_for_bar(s, slot)
    elif instrument.match_on == MATCH_BOOK and market_of(s, order.instrument).book_bad:
        wait(s, slot)
    elif order.kind >= K_STOP and not order.triggered:
        await_trigger(s, slot)
    else:
        enter(s, slot)


@jit.helper
def accept(s: Any, slot: int) -> None:
    """Report that the order has been accepted, once."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if not order.accepted:
        order.accepted = 1
        report(s, slot, E_ACCEPTED, R_NONE)


@jit.helper
def refuse(s: Any, slot: int, reason: int) -> None:
    """The venue will not have the order: rejected, or, accepted already, cancelled."""
    accepted = orders_at(s.orders, s.order_capacity)[slot].accepted
    finish(s, slot, E_CANCELLED if accepted else E_REJECTED, reason)


@jit.operation("int64(int64,int64)")
def enter_market(state: int, slot: int) -> int:
    """An order meets the market: it takes what it may, and rests if it has a limit and time."""
    s = state_at(state, 1)[0]
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_WORKING
    if order.reduce_only:
        position = instrument.venue_position * order.side
        if position >= 0:
            refuse(s, slot, R_REDUCE)
            return 0
        if order.venue_size - order.venue_filled > -position:
            order.venue_size = order.venue_filled - position
    opposite = side_of(s, order.instrument, -order.side)
    if instrument.match_on == MATCH_TRADES:
        empty = market_of(s, order.instrument).last_price == 0
    else:
        empty = best_key(opposite) == LOWEST_KEY
    if not has_limit(order):
        if empty:
            refuse(s, slot, R_EMPTY)
            return 0
        if order.tif == T_FOK:
            left = order.venue_size - order.venue_filled
            limitless = instrument.match_on != MATCH_BOOK or s.whole_fills
            if not limitless and available_within(s, opposite, LOWEST_KEY, left) < left:
                finish(s, slot, E_EXPIRED, R_FOK)
                return 0
            if not can_pay(s, slot, LOWEST_KEY):
                finish(s, slot, E_EXPIRED, R_FUNDS)
                return 0
        accept(s, slot)
        ended = take(s, slot, LOWEST_KEY)
        if order.venue_filled < order.venue_size:
            finish(s, slot, E_CANCELLED, ended if ended != 0 else R_NO_LIQUIDITY)
        return 0
    matches = not empty and would_match(s, slot)
    if matches and order.post_only:
        if s.post_only_expires:
            finish(s, slot, E_EXPIRED, R_POST_ONLY)
        else:
            refuse(s, slot, R_POST_ONLY)
        return 0
    limit_key = order.price * -order.side
    if order.tif == T_FOK:
        enough = matches
        if matches and instrument.match_on != MATCH_TRADES and not s.whole_fills:
            enough = available_within(s, opposite, limit_key, order.venue_size) >= order.venue_size
        if not enough:
            finish(s, slot, E_EXPIRED, R_FOK)
            return 0
        if not can_pay(s, slot, limit_key):
            finish(s, slot, E_EXPIRED, R_FUNDS)
            return 0
    accept(s, slot)
    ended = take(s, slot, limit_key) if matches else 0
    if ended != 0:
        finish(s, slot, E_CANCELLED, ended)
        return 0
    if order.venue_filled == order.venue_size:
        return 0
    if order.tif == T_IOC or order.tif == T_FOK:
        finish(s, slot, E_EXPIRED if s.remainder_expires else E_CANCELLED, R_IOC)
        return 0
    if not lock(s, slot):
        finish(s, slot, E_CANCELLED, R_FUNDS)
        return 0
    rest(s, slot)
    return 0


# --- stops ---


@jit.helper
def await_trigger(s: Any, slot: int) -> None:
    """A stop is accepted: it is armed, or triggered by the price of now."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    price = source_price(s, order.instrument, order.side)
    if reached(order, price):
        if s.stop_must_wait and not order.accepted:
            finish(s, slot, E_REJECTED, R_WOULD_TRIGGER)
            return
        accept(s, slot)
        fire(s, slot)
        return
    if order.kind == K_TRAILING and order.venue_stop == 0:
        trail(instrument, order, price)
    if not lock(s, slot):
        refuse(s, slot, R_FUNDS)
        return
    accept(s, slot)
    arm(s, slot)


@jit.helper
def would_trigger(s: Any, slot: int, stop: int) -> bool:
    """Whether an armed order with its stop there would trigger now; under a bad book it waits in any case."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if instrument.match_on == MATCH_BOOK and market_of(s, order.instrument).book_bad:
        return False
    price = source_price(s, order.instrument, order.side)
    return bool(price > 0 and stop > 0 and (price - stop) * order.side >= 0)


@jit.helper
def fire(s: Any, slot: int) -> None:
    """A stop's trigger has been reached: it becomes a market or limit order, here and now."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.triggered = 1
    unlock(s, slot, 0)
    partner = order.partner
    if partner >= 0 and orders[partner].generation == order.partner_generation:
        unlock(s, partner, 0)  # both are never bought: what one held back is there for the other
    item = report(s, slot, E_TRIGGERED, R_NONE)
    item.price = order.venue_stop
    if instrument.match_on == MATCH_BOOK and market_of(s, order.instrument).book_bad:
        wait(s, slot)
        return
    if has_limit(order) and s.collar_millionths > 0:
        reference = venue_reference(s, order.instrument)
        beyond = (order.price - reference) * order.side
        if reference > 0 and beyond > collar_of(s, reference):
            finish(s, slot, E_CANCELLED, R_COLLAR_AT_TRIGGER)
            return
    enter(s, slot)


@jit.helper
def venue_reference(s: Any, index: int) -> int:
    """Mid at the venue, else the last trade, else the one side there is; 0 when there is nothing."""
    bid = best_key(side_of(s, index, 1))
    ask = best_key(side_of(s, index, -1))
    if bid != LOWEST_KEY and ask != LOWEST_KEY:
        return (bid - ask) // 2
    last = market_of(s, index).last_price
    if last > 0:
        return int(last)
    if bid != LOWEST_KEY:
        return int(bid)
    return -ask if ask != LOWEST_KEY else 0


# --- under a bad book ---


@jit.helper
def wait(s: Any, slot: int) -> None:
    """Nothing matches under a bad book: the order queues until the snapshot."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_WAITING
    order.next = -1
    s.waiting_orders += 1
    if instrument.waiting_head < 0:
        instrument.waiting_head = slot
    else:
        orders[instrument.waiting_tail].next = slot
    instrument.waiting_tail = slot


@jit.helper
def stop_waiting(s: Any, slot: int) -> None:
    """Take an order out of the waiting list: its slot may be another order's before the list is used."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[orders[slot].instrument]
    before = -1
    i = instrument.waiting_head
    while i >= 0 and i != slot:
        before = i
        i = orders[i].next
    if i < 0:
        return
    s.waiting_orders -= 1
    if before < 0:
        instrument.waiting_head = orders[slot].next
    else:
        orders[before].next = orders[slot].next
    if instrument.waiting_tail == slot:
        instrument.waiting_tail = before
    orders[slot].next = -1


# --- leaving ---


@jit.helper
def leave(s: Any, slot: int) -> None:
    """Take an order out of wherever it is at the venue; its end is the caller's to say."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.since != 0:
        leave_bars(s, slot)
    elif order.venue_state == VENUE_WAITING:
        stop_waiting(s, slot)
    elif order.venue_state == VENUE_ARMED:
        disarm(s, slot)
    elif order.resting:
        unrest(s, slot)


@jit.helper
def arrive_cancel(s: Any, slot: int, generation: int) -> None:
    """A cancel reaches the venue; it always passes, also under a bad book."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.generation != generation:
        return  # the order's end has been reported already
    if order.venue_state == VENUE_DONE or order.venue_state == VENUE_TRAVELLING:
        report(s, slot, E_CANCEL_REJECTED, R_UNKNOWN)
        return
    leave(s, slot)
    finish(s, slot, E_CANCELLED, R_REQUESTED)


@jit.helper
def expire(s: Any, slot: int, generation: int) -> None:
    """An order's time is over."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.generation != generation or order.venue_state == VENUE_DONE:
        return
    leave(s, slot)
    finish(s, slot, E_EXPIRED, R_TIME)


@jit.operation("int64(int64,int64)")
def trigger(state: int, index: int) -> int:
    """The price that stops look at may have moved: trigger what it has reached, move what trails."""
    s = state_at(state, 1)[0]
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    for_buys = source_price(s, index, 1)
    for_sells = source_price(s, index, -1)
    concerned = for_buys >= instrument.watch_above or 0 < for_buys <= instrument.watch_below
    if not concerned and not (for_sells >= instrument.watch_above or 0 < for_sells <= instrument.watch_below):
        return 0
    slot = instrument.stop_head
    last = instrument.stop_tail  # what is armed from here on has seen this price already
    while slot >= 0:
        order = orders[slot]
        following = order.next if slot != last else -1
        price = for_buys if order.side > 0 else for_sells
        if reached(order, price):
            unlist(s, slot)
            fire(s, slot)
        elif order.kind == K_TRAILING:
            trail(instrument, order, price)
        slot = following
    watch_all(s, instrument)
    return 0
