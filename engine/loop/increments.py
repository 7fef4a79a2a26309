"""Floats of a strategy onto an instrument's increments, or the words for why not."""

from __future__ import annotations

from math import isfinite

from engine.execution.orders import Reason, reason_name
from engine.model.units import POWERS_OF_TEN, format_decimal

_TOLERANCE = 1e-6


def to_increments(value: float, increment: int, decimals: int) -> tuple[int, str]:
    """Mantissa of a float that lies on an increment, and "" ; else the one below, and both neighbours.

    On an increment is: within max(1e-6 increments, 2 ulp) of one.
    """
    if not isfinite(value):
        return 0, "not a finite number"
    scale = POWERS_OF_TEN[decimals]
    if abs(value) * scale >= 2**62:
        return 0, "more than 64 bits hold"
    nearest = round(value * scale / increment) * increment
    exact = nearest / scale
    if exact == value:
        return nearest, ""
    ulp = abs(value) * 2.220446049250313e-16
    if abs(exact - value) <= max(_TOLERANCE * increment / scale, 2.0 * ulp):
        return nearest, ""
    below = nearest if exact < value else nearest - increment
    return below, (
        f"{format_decimal(below, decimals)} and {format_decimal(below + increment, decimals)} are the nearest"
    )


def increment_refusal(what: str, value: float, problem: str, reason: Reason) -> tuple[int, str]:
    """The Reason code and the words of a refusal for what `to_increments` found."""
    code = Reason.NOT_FINITE if problem.startswith("not a finite") else reason
    return int(code), f"{reason_name(code)}: {what} {value!r}: {problem}"
