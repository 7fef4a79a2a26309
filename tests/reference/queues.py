"""What stands before an order of ours in its queue, as the docs say it: one order, one event at a time.

An order's `front` is None while nobody knows it. The prob models count in float64, in the order in which the
formulas are written, so that the engine has to give the same bits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.market.arithmetic import ln

if TYPE_CHECKING:
    from engine.config import Rules
    from engine.model.instruments import Instrument
    from tests.reference.orders import Order


def accept(order: Order, displayed: int | None) -> None:
    """The order is accepted behind what is displayed."""
    order.front = displayed
    order.traded = 0.0


def depth(rules: Rules, who: Instrument, order: Order, before: int | None, now: int) -> None:
    """The venue says that `now` is displayed at the order's price, where it said `before`."""
    if order.front is None:
        accept(order, now)
    elif rules.queue == "risk_averse":
        order.front = min(order.front, now)
    else:
        order.front = believed(rules, who, float(order.front), order.traded, float(before or 0), float(now))
        order.traded = 0.0


def believed(rules: Rules, who: Instrument, front: float, traded: float, before: float, now: float) -> float:
    """The front of a prob model after a change of what is displayed."""
    change = before - now
    change -= traded
    if change < 0:
        return min(front, now)
    back = before - front
    p = probability(rules, front, back, float(10**who.size_decimals))
    if math.isinf(p):
        p = 1.0
    estimate = front - (1.0 - p) * change + min(back - p * change, 0.0)
    return now if math.isnan(estimate) else min(estimate, now)


def resynchronised(order: Order, now: int) -> None:
    """Old and new book are compared once."""
    order.front = now if order.front is None else min(order.front, now)
    order.traded = 0.0


def trade(rules: Rules, who: Instrument, order: Order, size: int) -> int:
    """A trade at the order's price; how much of it goes beyond the front."""
    assert order.front is not None
    if rules.queue == "risk_averse":
        beyond = size - int(order.front)
        order.front = max(0, order.front - size)
        return max(0, beyond)
    order.front = float(order.front) - float(size)
    order.traded += float(size)
    lots = -order.front / float(who.lot)
    whole = math.floor(lots + 0.5) if lots >= 0.5 else 0
    if whole:
        order.front = 0.0
    return min(size, whole * who.lot)  # nobody gives us more than was traded


def probability(rules: Rules, front: float, back: float, unit: float) -> float:
    """That a size which left without a trade had stood behind us."""
    n = rules.queue_power
    if rules.queue == "power":
        return divided(raised(back, n), raised(back, n) + raised(front, n))
    if rules.queue == "power2":
        return divided(raised(back, n), raised(back + front, n))
    if rules.queue == "power3":
        return 1.0 - raised(divided(front, front + back), n)
    f, b = front / unit, back / unit
    if rules.queue == "log":
        return divided(ln(1.0 + b), ln(1.0 + b) + ln(1.0 + f))
    return divided(ln(1.0 + b), ln(1.0 + (b + f)))


def raised(x: float, n: int) -> float:
    """The product of n times x, from the left."""
    product = x
    for _ in range(n - 1):
        product *= x
    return product


def divided(a: float, b: float) -> float:
    """As IEEE 754 divides, by zero too."""
    if b != 0.0:  # also when it is no number
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)
