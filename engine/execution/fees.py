"""What a fill is charged, and in which asset.

A fill's fee is the sum of a maker or taker rate and a surcharge on one side's notional, an amount a base unit
and an amount a fill. Each part is rounded once, half to even, to 1e-8 of the asset that it is charged in:

    quote      the quote currency
    received   what the fill brings: the base asset of a buy, the quote currency of a sell
    named      another asset, worth its last price in the log when the venue fills

A fee in the base asset leaves the position as it was traded and is kept beside it, because it is finer than
a lot; it lowers what may be sold and what the account is worth. Rates follow the notional traded so far
where there are tiers. Nothing here looks at what kind of account pays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.execution.money import (
    MAX_AMOUNT,
    MAX_BALANCE,
    MONEY_DECIMALS,
    OVERFLOW,
    RATE_DECIMALS,
    cost_of,
    divide_wide,
    fee_of,
    multiply_wide,
    notional_of,
    scale_product,
)
from engine.execution.state import (
    FEE_BASE,
    FEE_IN_BASE,
    FEE_IN_NAMED,
    FEE_IN_RECEIVED,
    FEE_NAMED,
    FEE_QUOTE,
    SIDES_EACH,
    assets_at,
    fee_tables_at,
    fee_tiers_at,
    instruments_at,
    markets_at,
)
from engine.market.book import LOWEST_KEY, best_key, sides_at
from engine.model import jit

_FINER = RATE_DECIMALS - MONEY_DECIMALS
_POWERS = np.array([10**n for n in range(19)], dtype=np.int64)
_MAX = np.uint64(2**63 - 1)
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)


@jit.inlined
def fee_asset_of(instrument: Any, side: int) -> int:
    """FEE_QUOTE, FEE_BASE or FEE_NAMED: what a fill of this side is charged in."""
    mode = instrument.fee_mode
    if mode == FEE_IN_NAMED:
        return FEE_NAMED
    if mode == FEE_IN_BASE or (mode == FEE_IN_RECEIVED and side > 0):
        return FEE_BASE
    return FEE_QUOTE


@jit.helper
def multiply_divide(a: int, b: int, divisor: int) -> int:
    """The product a * b / divisor through 128 bits, half to even; none is negative, the divisor above 0.

    OVERFLOW when it does not fit.
    """
    high, low = multiply_wide(np.uint64(a), np.uint64(b))
    by = np.uint64(divisor)
    if high >= by:
        return OVERFLOW
    quotient, remainder = divide_wide(high, low, by)
    rest = by - remainder
    if remainder > rest or (remainder == rest and (quotient & _ONE) == _ONE):
        quotient = quotient + _ONE
    if quotient > _MAX:
        return OVERFLOW
    return np.int64(quotient)  # type: ignore[return-value]  # int() would stay unsigned


@jit.helper
def fee_in_quote(instrument: Any, notional: int, size: int, side: int, rate: int) -> int:
    """All parts of a fee in money of the quote currency; OVERFLOW when it does not fit."""
    fee = fee_of(notional, rate + (instrument.buy_rate if side > 0 else instrument.sell_rate))
    if fee == OVERFLOW or abs(fee) > MAX_AMOUNT:
        return OVERFLOW
    unit = instrument.buy_unit_fee if side > 0 else instrument.sell_unit_fee
    if unit != 0:
        units = scale_product(size, abs(unit), instrument.size_decimals)
        if units == OVERFLOW or units > MAX_AMOUNT:
            return OVERFLOW
        if instrument.most_unit_fee > 0 and units > instrument.most_unit_fee:
            units = instrument.most_unit_fee
        fee += units if unit > 0 else -units
    fee += instrument.fill_fee
    return int(fee) if abs(fee) <= MAX_AMOUNT else OVERFLOW


@jit.helper
def fee_charged(s: Any, instrument: Any, notional: int, size: int, side: int, rate: int) -> int:
    """A fill's fee in units of 1e-8 of the asset that it is charged in; OVERFLOW when it does not fit."""
    code = fee_asset_of(instrument, side)
    if code == FEE_BASE and instrument.fee_mode == FEE_IN_RECEIVED:
        total = rate + (instrument.buy_rate if side > 0 else instrument.sell_rate)
        fee = scale_product(size, abs(total), instrument.size_decimals + _FINER)
        return int(fee if fee == OVERFLOW or total >= 0 else -fee)
    fee = fee_in_quote(instrument, notional, size, side, rate)
    if code == FEE_QUOTE or fee == OVERFLOW:
        return int(fee)
    price = price_at_venue(s, instrument.fee_priced_by) if instrument.fee_priced_by >= 0 else 0
    if price > 0:
        instrument.fee_price = price
    else:
        price = instrument.fee_price  # a quote that is gone: risk has seen one
    if price <= 0:
        return OVERFLOW
    decimals = instruments_at(s.instruments, s.instrument_count)[instrument.fee_priced_by].price_decimals
    value = multiply_divide(abs(fee), _POWERS[decimals], price)
    return int(value if value == OVERFLOW or fee >= 0 else -value)


@jit.helper
def price_at_venue(s: Any, index: int) -> int:
    """The last price of an instrument at its venue, else its mid, else the one side there is; 0: none."""
    last = markets_at(s.markets, 2 * s.instrument_count)[2 * index].last_price
    if last > 0:
        return int(last)
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    bid = best_key(sides[SIDES_EACH * index])
    ask = best_key(sides[SIDES_EACH * index + 1])
    if LOWEST_KEY not in (bid, ask):
        return int((bid - ask) // 2)
    if bid != LOWEST_KEY:
        return int(bid)
    return int(-ask) if ask != LOWEST_KEY else 0


@jit.helper
def fee_fits(s: Any, instrument: Any, code: int, fee: int) -> bool:
    """Whether the venue can count a fee that is not in the quote currency."""
    if code == FEE_BASE:
        return bool(abs(fee) <= MAX_AMOUNT and abs(instrument.venue_fee_base + fee) <= MAX_BALANCE)
    if code == FEE_NAMED:
        asset = assets_at(s.assets, s.asset_count)[instrument.fee_asset]
        return bool(abs(fee) <= MAX_AMOUNT and abs(asset.venue_cash - fee) <= MAX_BALANCE)
    return True


@jit.helper
def settle_fee(s: Any, instrument: Any, code: int, fee: int, notional: int) -> None:
    """Take a fee that is not in the quote currency at the venue, and count the notional towards a tier."""
    if code == FEE_BASE:
        instrument.venue_fee_base += fee
    elif code == FEE_NAMED:
        assets_at(s.assets, s.asset_count)[instrument.fee_asset].venue_cash -= fee
    if instrument.asset != 0:
        return  # thresholds are amounts of the run's currency
    table = fee_tables_at(s.fee_tables, s.fee_table_count)[instrument.fee_table]
    table.turnover = min(table.turnover + abs(notional), MAX_BALANCE)
    tiers = fee_tiers_at(s.fee_tiers, s.fee_tier_count)
    tier = table.tier
    while tier + 1 < table.tier_end and table.turnover >= tiers[tier + 1].least:
        tier += 1
    if tier != table.tier:
        table.tier = tier
        instruments = instruments_at(s.instruments, s.instrument_count)
        for i in range(s.instrument_count):
            if instruments[i].fee_table == instrument.fee_table:
                instruments[i].maker_rate = tiers[tier].maker
                instruments[i].taker_rate = tiers[tier].taker


@jit.helper
def cost_to_buy(instrument: Any, price: int, size: int, rate: int) -> int:
    """What buying `size` at `price` takes of the quote currency; OVERFLOW when that does not fit."""
    if instrument.fee_plan == 0:
        return int(cost_of(price, size, instrument.decimals, rate))
    notional = notional_of(price, size, instrument.decimals)
    if notional == OVERFLOW or notional > MAX_AMOUNT:
        return OVERFLOW
    if fee_asset_of(instrument, 1) != FEE_QUOTE:
        return int(notional)
    fee = fee_in_quote(instrument, notional, size, 1, rate)
    return OVERFLOW if fee == OVERFLOW else int(notional + fee)


@jit.helper
def sale_pays(instrument: Any, price: int, size: int, rate: int, free: int) -> bool:
    """Whether what a sale brings, and the cash that is free, cover its fee."""
    if instrument.fee_plan == 0:
        return True  # no rate is more than the notional
    notional = notional_of(price, size, instrument.decimals)
    if notional == OVERFLOW or fee_asset_of(instrument, -1) != FEE_QUOTE:
        return True
    fee = fee_in_quote(instrument, notional, size, -1, rate)
    return bool(fee == OVERFLOW or fee <= notional or fee - notional <= free)


@jit.helper
def owned(position: int, fee: int, size_decimals: int) -> int:
    """A position less fees in 1e-8 of the base asset, as a size mantissa, rounded down."""
    if fee == 0:
        return position
    if size_decimals <= MONEY_DECIMALS:
        return int(position - -(-fee // _POWERS[MONEY_DECIMALS - size_decimals]))
    factor = _POWERS[size_decimals - MONEY_DECIMALS]
    most = MAX_BALANCE // factor
    if fee > most:
        return int(position - MAX_BALANCE)
    return int(position - fee * factor) if fee >= -most else int(position + MAX_BALANCE)
