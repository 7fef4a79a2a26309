"""The limits before an order leaves, in their order, in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.execution.orders import Reason
from tests.reference import money, stops
from tests.reference.orders import STOPS

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.model.instruments import Instrument
    from tests.reference.book import Market

MILLION = 1_000_000


def reference(market: Market) -> int:
    """Mid (of the book, else of the quotes), else the last trade, else the one side there is; 0: none."""
    bid, ask = market.best(1), market.best(-1)
    if not bid and not ask and market.quote_seen:
        bid, ask = (price if size else 0 for price, size in (market.quote[1], market.quote[-1]))
    if bid > 0 and ask > 0:
        return (bid + ask) // 2
    return market.last or bid or ask


def beyond_collar(config: RunConfig, price: int, side: int, around: int) -> bool:
    """Whether a limit lies beyond the collar, on the aggressive side, around a price."""
    share = config.risk.collar_millionths
    return bool(share and around) and (price - around) * side > around * share // MILLION


def lock(config: RunConfig, who: Instrument, market: Market, side: int, size: int, price: int) -> int:
    """Money that an open order holds back in a cash account, by its limit, its stop, or (0) the market."""
    if side < 0 or config.account.type != "cash":
        return 0
    rate = config.fees.taker
    if not price:
        price = market.best(-1) or reference(market)
        price += price * config.risk.collar_millionths // MILLION
    else:
        rate = max(rate, config.fees.maker)
    amount = money.notional(price, size, who.price_decimals + who.size_decimals)
    fee, asset = money.charge(config.fees, max(rate, 0), who, amount, size, 1)
    return amount + (fee if asset == "quote" else 0)


def terms(  # noqa: C901, PLR0911  one line a limit, in the order of the limits
    config: RunConfig,
    who: Instrument,
    market: Market,
    *,
    size: int,
    price: int,
    stop: int,
    trail: int,
    kind: str,
    halted: bool,
) -> Reason | None:
    """Why an order may not leave for what it is alone; all that a bracket's child is asked."""
    if halted:
        return Reason.HALTED
    if who.status != "TRADING" or not market.match_on:
        return Reason.NOT_TRADABLE
    if size % who.lot:
        return Reason.SIZE_INCREMENT
    limited, needs_stop = kind in ("limit", "stop_limit"), kind in ("stop", "stop_limit")
    must_be = [price] * limited + [stop] * needs_stop + [trail] * (kind == "trailing")
    if any(number <= 0 for number in must_be) or stop < 0:
        return Reason.PRICE_INCREMENT
    if (limited and price % who.tick) or stop % who.tick or trail % who.tick:
        return Reason.PRICE_INCREMENT
    if size <= 0 or size < who.min_size:
        return Reason.MIN_SIZE
    if who.max_size and size > who.max_size:
        return Reason.MAX_SIZE
    around = reference(market)
    if not around:
        return Reason.NO_REFERENCE_PRICE
    source = stops.stop_source(config.rules.stop_source, who.channels)
    if kind in STOPS and source == "mark" and not market.mark:
        return Reason.NO_TRIGGER_PRICE
    worth_at = price if limited else stop or around
    worth = money.notional(worth_at, size, who.price_decimals + who.size_decimals)
    if worth < money.notional(*_decimal(who.min_notional)):
        return Reason.MIN_NOTIONAL
    return None


def check(
    config: RunConfig,
    who: Instrument,
    market: Market,
    *,
    side: int,
    size: int,
    price: int,
    stop: int,
    trail: int,
    kind: str,
    position: int,
    base_fees: int,
    open_buy: int,
    open_sell: int,
    free: int,
    cap: int,
    halted: bool,
) -> Reason | None:
    """Why the order may not leave, or None; what is open and free is so without the order itself."""
    refusal = terms(
        config, who, market, size=size, price=price, stop=stop, trail=trail, kind=kind, halted=halted
    )
    if refusal is not None:
        return refusal
    if kind == "limit" and beyond_collar(config, price, side, reference(market)):
        return Reason.PRICE_COLLAR
    pending = open_buy if side > 0 else open_sell
    reducing = position * side < 0 and pending + size <= abs(position)
    if cap and not reducing and abs(position + side * (pending + size)) > cap:
        return Reason.POSITION_CAP
    if config.account.type == "cash":
        if side > 0 and free < lock(config, who, market, side, size, price or stop):
            return Reason.CASH
        if side < 0 and money.owned(position, base_fees, who) - pending < size:
            return Reason.CASH
    return None


def _decimal(text: str) -> tuple[int, int, int]:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction), 1, len(fraction)
