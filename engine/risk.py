"""The limits an order passes before anything leaves, in a fixed order; the first that refuses wins.

Risk sees what the strategy could see: reported positions, open orders, the book of now. It refuses and
changes state; it never sends anything. A refusal is a decision like any other: journaled, delivered to
the strategy, counted. Orders that reduce a position pass the limits on exposure.

    trading state · tradable · increments · sizes · notional · price collar · price of the fee's asset ·
    position cap · cash or buying power
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import K_LIMIT, K_STOP, K_STOP_LIMIT, K_TRAILING
from engine.execution.fees import cost_to_buy, owned
from engine.execution.fills import resting_cost, seen_market_of
from engine.execution.matching import best_price, collar_of
from engine.execution.money import MAX_AMOUNT, MAX_BALANCE, OVERFLOW, notional_of, scale_product
from engine.execution.orders import Reason
from engine.execution.state import (
    ACCOUNT_CASH,
    ACCOUNT_MARGIN,
    FEE_IN_NAMED,
    MATCH_NONE,
    STOP_MARK,
    assets_at,
    instruments_at,
)
from engine.model import jit

FIRST_RISK_REASON = int(Reason.HALTED)  # reasons from here on are ours, those before it the venue's
R_HALTED, R_NOT_TRADABLE = int(Reason.HALTED), int(Reason.NOT_TRADABLE)
R_SIZE_INCREMENT, R_PRICE_INCREMENT = int(Reason.SIZE_INCREMENT), int(Reason.PRICE_INCREMENT)
R_MIN_SIZE, R_MAX_SIZE, R_MIN_NOTIONAL = (
    int(Reason.MIN_SIZE),
    int(Reason.MAX_SIZE),
    int(Reason.MIN_NOTIONAL),
)
R_COLLAR, R_NO_REFERENCE = int(Reason.PRICE_COLLAR), int(Reason.NO_REFERENCE_PRICE)
R_POSITION_CAP, R_CASH, R_OVERFLOW = int(Reason.POSITION_CAP), int(Reason.CASH), int(Reason.OVERFLOW)
R_NO_TRIGGER_PRICE = int(Reason.NO_TRIGGER_PRICE)
R_NO_FEE_PRICE, R_BUYING_POWER = int(Reason.NO_FEE_PRICE), int(Reason.BUYING_POWER)


@jit.helper
def check(
    s: Any,
    index: int,
    side: int,
    size: int,
    price: int,
    kind: int,
    stop: int,
    trail: int,
    own: int,
    locked: int,
) -> int:
    """0 when an order may leave, else the Reason of the limit that refuses it.

    Sizes are positive mantissas, `side` +1 or -1, `price` 0 for an order without a limit, `stop` and `trail`
    those of a stop. `own` and `locked` are what the order itself counts for already, when it is amended.
    """
    record = instruments_at(s.instruments, s.instrument_count)[index]
    refusal = check_terms(s, index, size, price, kind, stop, trail)
    if refusal != 0:
        return int(refusal)
    if kind == K_LIMIT and beyond_collar(s, price, side, reference_price(s, index)):
        return R_COLLAR
    pending = (record.open_buy if side > 0 else record.open_sell) - own
    if size > MAX_BALANCE - pending:
        return R_OVERFLOW
    reducing = record.position * side < 0 and pending + size <= abs(record.position)
    if record.position_cap > 0 and not reducing:
        if abs(record.position + side * (pending + size)) > record.position_cap:
            return R_POSITION_CAP
    if s.account_type == ACCOUNT_CASH:
        if side > 0:
            asset = assets_at(s.assets, s.asset_count)[record.asset]
            cost = lock_of(s, index, side, size, price if price > 0 else stop)
            if cost == OVERFLOW or asset.cash - asset.locked + locked < cost:
                return R_CASH
        elif owned_now(record) - pending < size:
            return R_CASH
    elif s.account_type == ACCOUNT_MARGIN and not reducing:
        if exposure(s, index, side, size, own) > buying_power(s):
            return R_BUYING_POWER
    return 0


@jit.inlined
def owned_now(record: Any) -> int:
    """A position as reported, less what fees have taken of it."""
    if record.fee_base == 0:
        return int(record.position)
    return int(owned(record.position, record.fee_base, record.size_decimals))


@jit.helper
def exposure(s: Any, index: int, side: int, size: int, own: int) -> int:
    """What positions come to, unsigned, once open orders and one of `size` more have filled: money.

    Of the buys and the sells of an instrument those count that leave more of a position; `own` of the open
    ones is counted by `size` already.
    """
    instruments = instruments_at(s.instruments, s.instrument_count)
    total = 0
    for i in range(s.instrument_count):
        record = instruments[i]
        up = record.position + record.open_buy
        down = record.position - record.open_sell
        if i == index:
            if side > 0:
                up += size - own
            else:
                down -= size - own
        most = max(up, -down)
        if most > 0:
            worth = notional_of(reference_price(s, i), most, record.decimals)
            if worth == OVERFLOW or worth > MAX_AMOUNT - total:
                return MAX_AMOUNT
            total += worth
    return int(total)


@jit.helper
def buying_power(s: Any) -> int:
    """Equity times leverage, money; nothing when the equity is gone."""
    equity = 0
    if s.asset_count > 0:
        equity = assets_at(s.assets, s.asset_count)[0].cash
    instruments = instruments_at(s.instruments, s.instrument_count)
    for i in range(s.instrument_count):
        record = instruments[i]
        if record.position != 0:
            worth = notional_of(reference_price(s, i), abs(record.position), record.decimals)
            if worth == OVERFLOW or worth > MAX_AMOUNT or abs(equity) > MAX_BALANCE:
                return 0
            equity += worth if record.position > 0 else -worth
    if equity <= 0:
        return 0
    power = scale_product(equity, s.leverage_millionths, 6)
    return int(MAX_AMOUNT if power == OVERFLOW or power > MAX_AMOUNT else power)


@jit.helper
def check_terms(s: Any, index: int, size: int, price: int, kind: int, stop: int, trail: int) -> int:
    """The limits that look at the order alone; all that a bracket's child has to pass, which only reduces."""
    record = instruments_at(s.instruments, s.instrument_count)[index]
    if s.trading_state != 0:
        return R_HALTED
    if not record.tradable or record.match_on == MATCH_NONE:
        return R_NOT_TRADABLE
    if size % record.lot != 0:
        return R_SIZE_INCREMENT
    limited = kind == K_LIMIT or kind == K_STOP_LIMIT
    if limited and (price <= 0 or price % record.tick != 0):
        return R_PRICE_INCREMENT
    if (kind == K_STOP or kind == K_STOP_LIMIT) and stop <= 0:
        return R_PRICE_INCREMENT
    if kind == K_TRAILING and trail <= 0:
        return R_PRICE_INCREMENT
    if stop < 0 or stop % record.tick != 0 or trail % record.tick != 0:
        return R_PRICE_INCREMENT
    if size <= 0 or size < record.min_size:
        return R_MIN_SIZE
    if record.max_size > 0 and size > record.max_size:
        return R_MAX_SIZE
    reference = reference_price(s, index)
    if reference == 0:
        return R_NO_REFERENCE
    if kind >= K_STOP and record.stop_source == STOP_MARK and seen_market_of(s, index).mark == 0:
        return R_NO_TRIGGER_PRICE
    worth = price
    if not limited:
        worth = stop if stop > 0 else reference
    worth = notional_of(worth, size, record.decimals)
    if worth == OVERFLOW:
        return R_OVERFLOW
    if worth < record.min_notional:
        return R_MIN_NOTIONAL
    if record.fee_mode >= FEE_IN_NAMED:
        if record.fee_priced_by < 0 or reference_price(s, record.fee_priced_by) == 0:
            return R_NO_FEE_PRICE
        if record.fee_price == 0:
            record.fee_price = reference_price(s, record.fee_priced_by)
    return 0


@jit.helper
def beyond_collar(s: Any, price: int, side: int, reference: int) -> bool:
    """Whether a limit lies beyond the collar around a price.

    On the aggressive side only: far passive orders harm nobody. A stop's limit waits for its trigger, and a
    bracket's target is measured against its entry.
    """
    beyond = (price - reference) * side
    return bool(s.collar_millionths > 0 and beyond > 0 and beyond > collar_of(s, reference))


@jit.helper
def reference_price(s: Any, index: int) -> int:
    """What the collar measures from: the mid, else the last trade, else the one side there is; 0: none.

    Where no book has come yet, the quote stream is asked, as `ctx.quote` does: a strategy that has seen
    a quote is not told that there is no price.
    """
    bid = best_price(s, index, 1)
    ask = best_price(s, index, -1)
    record = instruments_at(s.instruments, s.instrument_count)[index]
    if bid == 0 and ask == 0 and record.quote_seen != 0:
        bid = record.quote_bid if record.quote_bid_size > 0 else 0
        ask = record.quote_ask if record.quote_ask_size > 0 else 0
    if bid > 0 and ask > 0:
        return int((bid + ask) // 2)
    last = seen_market_of(s, index).last_price
    if last > 0:
        return int(last)
    return int(bid + ask)


@jit.helper
def lock_of(s: Any, index: int, side: int, size: int, price: int) -> int:
    """Money that an open order locks in a cash account: its notional and fee; nothing for sells.

    `price` is its limit, else its stop; one without either (0) is counted at the far side of the collar.
    """
    if side < 0:
        return 0
    record = instruments_at(s.instruments, s.instrument_count)[index]
    if price > 0:
        return int(resting_cost(record, price, size))
    price = best_price(s, index, -1)
    if price == 0:
        price = reference_price(s, index)
    price += collar_of(s, price)
    return int(cost_to_buy(record, price, size, record.taker_rate if record.taker_rate > 0 else 0))
