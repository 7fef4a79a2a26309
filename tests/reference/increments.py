"""Floats of strategies as mantissas, by fractions."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite

from engine.execution.orders import Reason
from engine.model.instruments import Instrument


def increments(value: float, increment: int, decimals: int, reason: Reason) -> tuple[int, Reason | None]:
    """The mantissa of a value that lies on an increment; else the one below, and why it is refused."""
    if not isfinite(value):
        return 0, Reason.NOT_FINITE
    exact = Fraction(value)
    step = Fraction(increment, 10**decimals)
    nearest = round(exact / step)
    distance = abs(nearest * step - exact)
    if distance <= max(step / 10**6, abs(exact) / 2**51):
        return nearest * increment, None
    return exact // step * increment, reason


def in_units(mantissa: int, decimals: int) -> float:
    """The float64 nearest to the decimal."""
    return float(Fraction(mantissa, 10**decimals))


def off(who: Instrument, *prices: float | None) -> Reason | None:
    """What is wrong with the first of some prices that lies off the increments, or is none."""
    for price in prices:
        if price is not None:
            ticks, wrong = increments(price, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)
            if wrong or ticks <= 0:
                return wrong or Reason.PRICE_INCREMENT
    return None
