"""The limits before an order leaves, in their order, in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.execution.orders import Reason
from tests.reference import money

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.model.instruments import Instrument
    from tests.reference.book import Market

MILLION = 1_000_000


def reference(market: Market) -> int:
    """Mid, else the last trade, else the one side there is; 0: none."""
    bid, ask = market.best(1), market.best(-1)
    if bid > 0 and ask > 0:
        return (bid + ask) // 2
    return market.last or bid or ask


def lock(
    config: RunConfig, who: Instrument, market: Market, side: int, size: int, price: int, kind: str
) -> int:
    """Money that an open order holds back in a cash account."""
    if side < 0 or config.account.type != "cash":
        return 0
    rate = config.fees.taker
    if kind == "market":
        price = market.best(-1) or reference(market)
        price += price * config.risk.collar_millionths // MILLION
    else:
        rate = max(rate, config.fees.maker)
    amount = money.notional(price, size, who.price_decimals + who.size_decimals)
    fee, asset = money.charge(config.fees, max(rate, 0), who, amount, size, 1)
    return amount + (fee if asset == "quote" else 0)


def check(  # noqa: C901, PLR0911, PLR0912  one line a limit, in the order of the limits
    config: RunConfig,
    who: Instrument,
    market: Market,
    *,
    side: int,
    size: int,
    price: int,
    kind: str,
    position: int,
    base_fees: int,
    open_buy: int,
    open_sell: int,
    free: int,
    cap: int,
    halted: bool,
) -> Reason | None:
    """Why the order may not leave, or None."""
    if halted:
        return Reason.HALTED
    if who.status != "TRADING" or not market.match_on:
        return Reason.NOT_TRADABLE
    if size % who.lot:
        return Reason.SIZE_INCREMENT
    if kind == "limit" and (price <= 0 or price % who.tick):
        return Reason.PRICE_INCREMENT
    if size <= 0 or size < who.min_size:
        return Reason.MIN_SIZE
    if who.max_size and size > who.max_size:
        return Reason.MAX_SIZE
    around = reference(market)
    if not around:
        return Reason.NO_REFERENCE_PRICE
    worth = money.notional(price if kind == "limit" else around, size, who.price_decimals + who.size_decimals)
    if worth < money.notional(*_decimal(who.min_notional)):
        return Reason.MIN_NOTIONAL
    collar = config.risk.collar_millionths
    if kind == "limit" and collar and (price - around) * side > around * collar // MILLION:
        return Reason.PRICE_COLLAR
    pending = open_buy if side > 0 else open_sell
    reducing = position * side < 0 and pending + size <= abs(position)
    if cap and not reducing and abs(position + side * (pending + size)) > cap:
        return Reason.POSITION_CAP
    if config.account.type == "cash":
        if side > 0 and free < lock(config, who, market, side, size, price, kind):
            return Reason.CASH
        if side < 0 and money.owned(position, base_fees, who) - open_sell < size:
            return Reason.CASH
    return None


def _decimal(text: str) -> tuple[int, int, int]:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction), 1, len(fraction)
