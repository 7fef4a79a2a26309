"""What triggers a stop, and how one that trails follows the price."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reference.book import Market
    from tests.reference.orders import Order


def stop_source(rule: str, channels: tuple[str, ...]) -> str:
    """The price that stops of an instrument look at: what the rule says, or the nearest that its log has."""
    has_trades = "trade" in channels or "aggtrade" in channels
    has_sides = "book" in channels or "quote" in channels
    if rule == "bid_ask" and not has_sides and has_trades:
        return "last"
    if rule == "last" and not has_trades:
        return "bid_ask"
    return rule


def price_of(source: str, market: Market, side: int) -> int:
    """What a stop of that side looks at now; 0: there is none."""
    if source == "last":
        return market.last
    if source == "mark":
        return market.mark
    return market.sides[-side].best() or 0


def reached(side: int, stop: int, price: int) -> bool:
    """Whether a price triggers a stop."""
    if not price or not stop:
        return False
    return price >= stop if side > 0 else price <= stop


def follow(order: Order, price: int, tick: int) -> None:
    """A stop that trails comes after the price; never does it move away."""
    if not price:
        return
    level = max(tick, price + order.trail * order.side)
    if not order.stop:
        order.stop = level
    else:
        order.stop = min(order.stop, level) if order.side > 0 else max(order.stop, level)
