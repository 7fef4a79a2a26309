"""What a finished bar does to orders, for an instrument of which nothing finer than bars is known.

A bar says four prices of an interval and not their order, and it is known only when the interval is over.
So an order meets the first final bar that *begins* no earlier than the order arrived
(engine.execution.bar_list), and then every one that follows, whole, in stages:

    entries   what has just arrived, at the open: markets with the slippage, limits that the open is better
              than; post-only, immediate-or-cancel and fill-or-kill are settled by the open alone
    stops     against high and low: at an open beyond the trigger, else at the trigger and the slippage
    limits    when the price was gone *through*: at the limit, or at an open that is already better
    trails    trailing stops follow the bar's extreme, after they have been tested

So where a stop and a target lie inside one bar, the stop is the one that was reached first. Nor is anything
else assumed that helps: a stop-limit that triggers inside a bar takes at its trigger or waits for the next
bar, and of a bracket whose entry fills inside a bar, the stop meets this bar and the target the next one.
Bars display no size, hence a fill is never limited by one. Every fill has the reason BAR.

Each stage goes through the list in the order of arrival. What one order's fill or end does to those that it
is linked to is seen to at once, which may take orders out of the list: then the stage begins anew, and finds
those done that are.
"""

from __future__ import annotations

from typing import Any

from engine.execution.arrival import accept, refuse
from engine.execution.bar_list import SAME_CLOSE_NS, leave_bars
from engine.execution.codes import (
    E_CANCELLED,
    E_EXPIRED,
    E_TRIGGERED,
    K_STOP,
    K_TRAILING,
    R_BAR,
    R_COLLAR_AT_TRIGGER,
    R_FOK,
    R_FUNDS,
    R_IOC,
    R_NONE,
    R_OVERFLOW,
    R_POST_ONLY,
    R_REDUCE,
    R_WOULD_TRIGGER,
    T_FOK,
    T_IOC,
)
from engine.execution.fees import cost_to_buy, sale_pays
from engine.execution.fills import fill, finish, free_cash, lock, market_of, report, unlock
from engine.execution.links import settle
from engine.execution.matching import affordable, collar_of, has_limit, limited_price
from engine.execution.money import OVERFLOW
from engine.execution.state import (
    VENUE_DONE,
    VENUE_HELD,
    VENUE_WAITING,
    VENUE_WORKING,
    instruments_at,
    orders_at,
)
from engine.execution.stops import reached, trail
from engine.market.book import LOWEST_KEY
from engine.model import jit

ENTRIES, STOPS, LIMITS, LATE, TRAILS = range(5)


@jit.helper
def match_bar(s: Any, index: int, start: int, opened: int, high: int, low: int) -> None:
    """A final bar of an instrument: everything that it brings about, in its stages."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    latest = start + SAME_CLOSE_NS
    s.bar_begun = start
    for stage in range(TRAILS + 1):
        slot = instrument.bar_head
        while slot >= 0:
            if orders[slot].since <= latest:
                meet(s, slot, stage, latest, opened, high, low)
                settle(s)
            # An order that has gone leads nowhere: from the beginning, and nothing is done twice.
            slot = orders[slot].next if orders[slot].since != 0 else instrument.bar_head
    s.bar_begun = 0
    slot = instrument.bar_head
    while slot >= 0:
        following = orders[slot].next
        if orders[slot].venue_state == VENUE_DONE or orders[slot].venue_state == VENUE_HELD:
            leave_bars(s, slot)
        slot = following


@jit.helper
def meet(  # noqa: C901, PLR0912  stages and kinds
    s: Any, slot: int, stage: int, latest: int, opened: int, high: int, low: int
) -> None:
    """What one stage of a bar does to one order."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    waiting = order.venue_state == VENUE_WAITING
    stop = order.kind >= K_STOP and not order.triggered
    if stage == ENTRIES and waiting:
        if stop:
            await_trigger(s, slot, opened)
        else:
            enter(s, slot, opened, 0 if has_limit(order) else 1)
    elif stage == LATE and waiting:
        # It came to be inside this bar: a stop is tested against all of it, a limit against none.
        if stop:
            await_trigger(s, slot, 0)
            if order.venue_state == VENUE_WORKING and not order.triggered:
                test_stop(s, slot, latest, 0, high, low)
        if order.venue_state != VENUE_DONE:
            order.since = latest + 1
    elif order.venue_state != VENUE_WORKING:
        return
    elif stage == STOPS and stop:
        test_stop(s, slot, latest, opened, high, low)
    elif stage == LIMITS and not stop and has_limit(order):
        reached_at = low if order.side > 0 else high
        if opened * order.side < order.price * order.side:
            make_at(s, slot, opened)
        elif reached_at * order.side < order.price * order.side:
            make_at(s, slot, order.price)
    elif stage == TRAILS and stop and order.kind == K_TRAILING:
        instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
        trail(instrument, order, low if order.side > 0 else high)


@jit.helper
def enter(s: Any, slot: int, price: int, slips: int) -> None:  # noqa: C901, PLR0912  a branch a rule
    """An order meets the market at a price, at the open or at its trigger; with `slips`, a worse one."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_WORKING
    if order.reduce_only:
        position = instrument.venue_position * order.side
        if position >= 0:
            refuse(s, slot, R_REDUCE)
            return
        if order.venue_size - order.venue_filled > -position:
            order.venue_size = order.venue_filled - position
    limited = has_limit(order)
    at = price
    if slips != 0:
        at = limited_price(
            s, instrument, price, order.side, order.price * -order.side if limited else LOWEST_KEY
        )
    if not limited:
        accept(s, slot)
        take_at(s, slot, at)
        return
    if order.post_only and price * order.side <= order.price * order.side:
        if s.post_only_expires:
            finish(s, slot, E_EXPIRED, R_POST_ONLY)
        else:
            refuse(s, slot, R_POST_ONLY)
        return
    better = price * order.side < order.price * order.side
    if order.tif == T_FOK:
        wanted = order.venue_size - order.venue_filled
        if not better:
            finish(s, slot, E_EXPIRED, R_FOK)
            return
        if affordable(s, slot, at, wanted) < wanted:
            finish(s, slot, E_EXPIRED, R_FUNDS)
            return
    accept(s, slot)
    if better:
        take_at(s, slot, at)
    elif order.tif == T_IOC:
        finish(s, slot, E_EXPIRED if s.remainder_expires else E_CANCELLED, R_IOC)
    elif not lock(s, slot):
        finish(s, slot, E_CANCELLED, R_FUNDS)


@jit.helper
def take_at(s: Any, slot: int, price: int) -> None:
    """Fill all that is left at one price, as taker; what the account cannot pay for is cancelled."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    wanted = order.venue_size - order.venue_filled
    most = affordable(s, slot, price, wanted)
    if most > 0 and not fill(s, slot, price, most, R_BAR, 0):
        finish(s, slot, E_CANCELLED, R_OVERFLOW)
    elif most < wanted:
        finish(s, slot, E_CANCELLED, R_FUNDS)


@jit.helper
def make_at(s: Any, slot: int, price: int) -> None:
    """Fill all that is left of a resting order at one price, as maker; what cannot be paid is cancelled."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    wanted = order.venue_size - order.venue_filled
    refusal = R_OVERFLOW
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if s.account_type == 1 and order.side > 0:
        cost = cost_to_buy(instrument, price, wanted, instrument.maker_rate)
        if cost > free_cash(s, slot) + order.venue_locked:
            refusal = R_FUNDS
        elif cost != OVERFLOW:
            unlock(s, slot, 0)
    elif s.account_type == 1 and not sale_pays(
        instrument, price, wanted, instrument.maker_rate, free_cash(s, slot)
    ):
        refusal = R_FUNDS
    if refusal == R_FUNDS or not fill(s, slot, price, wanted, R_BAR, 1):
        finish(s, slot, E_CANCELLED, refusal)


# --- stops ---


@jit.helper
def await_trigger(s: Any, slot: int, opened: int) -> None:
    """A stop's first bar: it is armed, or triggered by the open (0: it came to be after the open)."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if reached(order, opened):
        if s.stop_must_wait and not order.accepted:
            refuse(s, slot, R_WOULD_TRIGGER)
            return
        accept(s, slot)
        fire(s, slot, opened, 0)
        return
    if order.kind == K_TRAILING and order.venue_stop == 0:
        trail(instrument, order, opened if opened > 0 else market_of(s, order.instrument).last_price)
    if not lock(s, slot):
        refuse(s, slot, R_FUNDS)
        return
    accept(s, slot)
    order.venue_state = VENUE_WORKING


@jit.helper
def test_stop(s: Any, slot: int, latest: int, opened: int, high: int, low: int) -> None:
    """A bar against an armed stop: a gap fills at the open, anything else at the trigger and the slippage."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if reached(order, opened):
        fire(s, slot, opened, 0)
    elif reached(order, high if order.side > 0 else low):
        fire(s, slot, order.venue_stop, 1)
        if order.venue_state == VENUE_WORKING:
            order.since = latest + 1  # what of the bar came after the trigger, nobody knows


@jit.helper
def fire(s: Any, slot: int, price: int, slips: int) -> None:
    """A stop's trigger has been reached: it becomes a market or limit order at that price."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    order.triggered = 1
    unlock(s, slot, 0)
    partner = order.partner
    if partner >= 0 and orders[partner].generation == order.partner_generation:
        unlock(s, partner, 0)  # both are never bought: what one held back is there for the other
    item = report(s, slot, E_TRIGGERED, R_NONE)
    item.price = order.venue_stop
    if has_limit(order) and s.collar_millionths > 0:
        beyond = (order.price - price) * order.side
        if beyond > collar_of(s, price):
            finish(s, slot, E_CANCELLED, R_COLLAR_AT_TRIGGER)
            return
    enter(s, slot, price, slips)
