"""What the simulated venue tells us and charges us: reports, fills, and the money that they lock or move."""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import push
from engine.execution.codes import E_FILL, E_FILL_ALL
from engine.execution.fees import cost_to_buy, fee_asset_of, fee_charged, fee_fits, owned, settle_fee
from engine.execution.latency import heard_at
from engine.execution.money import MAX_AMOUNT, MAX_BALANCE, OVERFLOW, fee_of, notional_of
from engine.execution.state import (
    ITEM_REPORT,
    RANK_REPORT,
    SIDES_EACH,
    VENUE_DONE,
    VENUE_HELD,
    VENUE_TRAVELLING,
    assets_at,
    instruments_at,
    markets_at,
    orders_at,
    state_at,
)
from engine.market.book import sides_at
from engine.model import jit


@jit.inlined
def side_of(s: Any, instrument: int, sign: int) -> Any:
    """The SIDE record of an instrument's bids (sign +1) or asks (-1)."""
    return sides_at(s.sides, SIDES_EACH * s.instrument_count)[SIDES_EACH * instrument + (sign < 0)]


@jit.inlined
def market_of(s: Any, instrument: int) -> Any:
    """The MARKET record of an instrument at the venue."""
    return markets_at(s.markets, 2 * s.instrument_count)[2 * instrument]


@jit.inlined
def seen_market_of(s: Any, instrument: int) -> Any:
    """The same as the strategy sees it."""
    return markets_at(s.markets, 2 * s.instrument_count)[2 * instrument + (s.seen >> 1)]


@jit.inlined
def seen_side_of(s: Any, instrument: int, sign: int) -> Any:
    """The same as the strategy sees it: behind the venue's own where that has a clock of its own."""
    k = SIDES_EACH * instrument + s.seen + (sign < 0)
    return sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]


@jit.helper
def report(s: Any, slot: int, event: int, reason: int) -> Any:
    """Put a report on the agenda; due when it can have reached us."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    item = push(s, heard_at(s, order.instrument), RANK_REPORT, ITEM_REPORT)
    item.slot = slot
    item.generation = order.generation
    item.total = order.venue_size
    item.event = event
    item.reason = reason
    return item


@jit.helper
def finish(s: Any, slot: int, event: int, reason: int) -> None:
    """The order is over at the venue, without a (further) fill."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    order.venue_state = VENUE_DONE
    unlock(s, slot, 0)
    report(s, slot, event, reason)
    if order.linked:
        note_link(s, slot)


@jit.helper
def note_link(s: Any, slot: int) -> None:
    """The order has filled or ended: what it is linked to is seen to when the pass is over."""
    orders = orders_at(s.orders, s.order_capacity)
    if orders[slot].in_links:
        return
    orders[slot].in_links = 1
    orders[slot].next_link = -1
    if s.link_head < 0:
        s.link_head = slot
    else:
        orders[s.link_tail].next_link = slot
    s.link_tail = slot


@jit.helper
def _take_off_partner(s: Any, slot: int, size: int) -> None:
    """What one of a pair fills, the other cannot fill any more."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    if order.partner < 0 or orders[order.partner].generation != order.partner_generation:
        return
    other = orders[order.partner]
    if other.venue_state == VENUE_DONE or other.venue_state == VENUE_HELD:
        return
    if other.parent > 0 and other.venue_state == VENUE_TRAVELLING:
        return  # gets its size when it arrives
    other.venue_size -= size
    if other.venue_size < other.venue_filled:
        other.venue_size = other.venue_filled
    other.reduced = 1


@jit.helper
def unlock(s: Any, slot: int, keep: int) -> None:
    """What a resting order holds back becomes `keep`."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    assets_at(s.assets, s.asset_count)[instrument.asset].venue_locked -= order.venue_locked - keep
    order.venue_locked = keep


_execute = jit.function_at(6)


@jit.inlined
def fill(s: Any, slot: int, price: int, size: int, reason: int, maker: int) -> bool:
    """Call `execute` where it stands."""
    return bool(_execute(s.run_fill, s.here, slot, price, size, reason, maker) != 0)


@jit.operation("int64(int64,int64,int64,int64,int64,int64)")
def execute(state: int, slot: int, price: int, size: int, reason: int, maker: int) -> int:
    """Fill `size` at `price`: money, the venue's account, the report. 0 when it does not fit."""
    s = state_at(state, 1)[0]
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    asset = assets_at(s.assets, s.asset_count)[instrument.asset]
    notional = notional_of(price, size, instrument.decimals)
    if notional == OVERFLOW or abs(notional) > MAX_AMOUNT:
        return 0
    rate = instrument.maker_rate if maker else instrument.taker_rate
    fee_asset = 0
    if instrument.fee_plan == 0:
        fee = fee_of(notional, rate)
    else:
        fee = fee_charged(s, instrument, notional, size, order.side, rate)
        fee_asset = fee_asset_of(instrument, order.side)
    if fee == OVERFLOW or abs(fee) > MAX_AMOUNT:
        return 0
    cash = asset.venue_cash - (notional * order.side + (fee if fee_asset == 0 else 0))
    position = instrument.venue_position + size * order.side
    if abs(cash) > MAX_BALANCE or abs(position) > MAX_BALANCE:
        return 0
    if instrument.fee_plan != 0:
        if not fee_fits(s, instrument, fee_asset, fee):
            return 0
        settle_fee(s, instrument, fee_asset, fee, notional)
    asset.venue_cash = cash
    instrument.venue_position = position
    order.venue_filled += size
    done = order.venue_filled == order.venue_size
    if done:
        order.venue_state = VENUE_DONE
        unlock(s, slot, 0)
    if order.linked:
        if done and order.parent > 0 and not order.parent_over:
            order.venue_state = VENUE_HELD  # its entry may fill more
            done = False
        _take_off_partner(s, slot, size)
        note_link(s, slot)
    item = report(s, slot, E_FILL_ALL if done else E_FILL, reason)
    item.price = price
    item.size = size
    item.fee = fee
    item.notional = notional
    item.maker = maker
    item.fee_asset = fee_asset
    return 1


@jit.helper
def free_cash(s: Any, slot: int) -> int:
    """Cash of the order's account at the venue that no resting order holds back."""
    index = orders_at(s.orders, s.order_capacity)[slot].instrument
    asset = instruments_at(s.instruments, s.instrument_count)[index].asset
    record = assets_at(s.assets, s.asset_count)[asset]
    return int(record.venue_cash - record.venue_locked)


@jit.helper
def resting_cost(instrument: Any, price: int, size: int) -> int:
    """What a resting buy holds back: its notional and the dearer of the two fees."""
    rate = instrument.maker_rate if instrument.maker_rate > instrument.taker_rate else instrument.taker_rate
    return int(cost_to_buy(instrument, price, size, rate if rate > 0 else 0))


@jit.inlined
def venue_owned(instrument: Any) -> int:
    """What a cash account may sell at the venue: the position, less what fees have taken of it."""
    if instrument.venue_fee_base == 0:
        return int(instrument.venue_position)
    return int(owned(instrument.venue_position, instrument.venue_fee_base, instrument.size_decimals))


@jit.helper
def lock(s: Any, slot: int) -> bool:
    """In a cash account, hold back what a waiting buy may cost; False when there is not as much.

    Of a pair that cancel each other, the second holds nothing back.
    """
    order = orders_at(s.orders, s.order_capacity)[slot]
    if s.account_type != 1 or order.side < 0 or (order.group > 0 and order.group != order.number):
        return True
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    price = order.price if order.price > 0 else order.venue_stop
    cost = resting_cost(instrument, price, order.venue_size - order.venue_filled)
    if cost == OVERFLOW or cost > free_cash(s, slot):
        return False
    unlock(s, slot, cost)
    return True
