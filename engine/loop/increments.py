"""Floats of a strategy onto an instrument's increments, for both forms of a strategy.

On an increment is: within max(1e-6 increments, 2 ulp) of one. What is not is refused, with both
neighbours named (engine.loop.refusals).
"""

from __future__ import annotations

from math import floor
from typing import Any

import numpy as np

from engine.execution.money import divide_exactly
from engine.model import jit

# What is wrong with a float.
FITS, NOT_FINITE, TOO_LARGE, BETWEEN = range(4)

_TOLERANCE = 1e-6
_LARGEST = 2.0**62
_EXACT = 2**53
POWERS = np.array([10**n for n in range(19)], dtype=np.int64)
_FLOAT_POWERS = np.array([float(10**n) for n in range(19)])


@jit.inlined
def half_even(value: float) -> float:
    """The nearest whole number, ties to the even one; any float is one from 2**52 on."""
    if abs(value) >= 4503599627370496.0:
        return value
    below = float(floor(value))
    rest = value - below
    if rest > 0.5 or (rest == 0.5 and below % 2.0 == 1.0):
        below += 1.0
    return below


@jit.helper
def to_increments(value: float, increment: int, decimals: int) -> Any:
    """Mantissa of a float that lies on an increment, and FITS; else the one below, and what is wrong."""
    if not abs(value) < np.inf:
        return 0, NOT_FINITE
    scale = _FLOAT_POWERS[decimals]
    if abs(value) * scale >= _LARGEST:
        return 0, TOO_LARGE
    steps = half_even(value * scale / float(increment))
    nearest = int(steps) * increment
    exact = divide_exactly(nearest, POWERS[decimals])
    if exact == value:
        return nearest, FITS
    ulp = abs(value) * 2.220446049250313e-16
    near = _TOLERANCE * float(increment) / scale
    near = max(near, 2.0 * ulp)
    if abs(exact - value) <= near:
        return nearest, FITS
    return (nearest if exact < value else nearest - increment), BETWEEN


@jit.helper
def rounded_price(value: float, increment: int, decimals: int) -> float:
    """The nearest increment, as a float; not finite when it does not fit."""
    scale = _FLOAT_POWERS[decimals]
    steps = half_even(value * scale / float(increment))
    if not abs(steps) * float(increment) < _LARGEST:
        return np.nan
    return divide_exactly(int(steps) * increment, POWERS[decimals])


@jit.helper
def rounded_size(value: float, increment: int, decimals: int) -> float:
    """The nearest increment towards zero, but for float noise; not finite when it does not fit."""
    size = abs(value)
    lots, problem = to_increments(size, increment, decimals)
    if problem == NOT_FINITE or problem == TOO_LARGE:
        return np.nan
    if problem == BETWEEN:
        lots = int(size * _FLOAT_POWERS[decimals] / float(increment)) * increment
    rounded = divide_exactly(lots, POWERS[decimals])
    return rounded if value >= 0.0 else -rounded
