"""Logarithm and power whose bits are the same on every machine, in Python and in kernels.

The C library's log and pow differ in the last bit between CPUs and versions, so nothing that decides may
call them. These are made of + - * / on float64 and of `frexp` and `ldexp`, which only take floats apart and
put them together: IEEE 754 leaves no freedom in any of these. Each function here is one source with two
uses: Python runs it as it stands, a kernel that names it gets it compiled.

How: a number is 2**k * m with m between sqrt(1/2) and sqrt(2); a table holds for every 1/128 a short
factor c near 1/m, so that m * c - 1 is small and comes out exactly; then

    ln x = k ln 2 - ln c + ln(1 + r),    |r| < 1/128

with a short series for the last term. Everything is kept as the sum of two floats (a "high" that is the
result, and a "low" that it lacks; Dekker 1971), good to about 67 bits, hence a rounded logarithm is within
0.51 units in the last place. The power is exp(y ln x), reduced by a table of 2**(j/64) in the same way: 0.52
(1 below the normal floats). `decimal` computes the tables at import; it rounds correctly, everywhere.

Never raises: what has no real result is nan, as documented at each function. Signed zeros are not kept.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from engine.model import jit

_EXACT = Context(prec=60)
_FIRST = 90  # of the table's index: 128 * sqrt(1/2), rounded down
_LAST = 181  # 128 * sqrt(2), rounded
_HALF_ROOT = 0.7071067811865476
_SPLIT = 134217729.0  # 2**27 + 1: halves a float's digits
_TO_26_BITS = 1.5 * 2.0**26  # adding and taking away rounds to multiples of 2**-26
_MAX = 2**63 - 1
_MIN = -(2**63)
_TINY = 2.0**-30  # below, three terms of the series of ln(1 + x) are enough
_TOO_LARGE = 709.79  # exp of it is above the greatest float
_TOO_SMALL = -745.14  # exp of it is below half the smallest


def _in_parts(value: Decimal, bits: int = 53) -> tuple[float, float]:
    """A decimal as high + low; `high` holds `bits` bits at most, so that its product with an int is exact."""
    exact = Fraction(value)
    exponent = math.frexp(float(exact))[1]
    high = float(Fraction(round(exact * Fraction(2) ** (bits - exponent))) / Fraction(2) ** (bits - exponent))
    return high, float(exact - Fraction(high))


_FACTORS = [round(512 * 128 / i) / 512 for i in range(_FIRST, _LAST + 1)]
_FACTOR_PARTS = [_in_parts(-_EXACT.ln(Decimal(factor))) for factor in _FACTORS]
_FACTOR = np.array(_FACTORS)
_LN_HIGH = np.array([high for high, _ in _FACTOR_PARTS])
_LN_LOW = np.array([low for _, low in _FACTOR_PARTS])
_LN2 = _EXACT.ln(Decimal(2))
_LN2_HIGH, _LN2_LOW = _in_parts(_LN2, 40)
_STEP_HIGH, _STEP_LOW = _in_parts(_EXACT.divide(_LN2, Decimal(64)), 34)
_STEPS = float(_EXACT.divide(Decimal(64), _LN2))
_EXP_PARTS = [_in_parts(_EXACT.power(Decimal(2), _EXACT.divide(Decimal(j), Decimal(64)))) for j in range(64)]
_EXP_HIGH = np.array([high for high, _ in _EXP_PARTS])
_EXP_LOW = np.array([low for _, low in _EXP_PARTS])


@jit.shared
def round_half_away(x: float) -> int:
    """The nearest whole number, halves away from zero; nan gives 0, beyond int64 it is the nearest end."""
    if math.isnan(x):
        return 0
    if x >= 2.0**63:
        return _MAX
    if x <= -(2.0**63):
        return _MIN
    whole = int(x)
    rest = x - float(whole)  # exact, which x + 0.5 is not
    if rest >= 0.5:
        return whole + 1
    if rest <= -0.5:
        return whole - 1
    return whole


@jit.shared
def _product_error(a: float, b: float, product: float) -> float:
    """What the rounded product a * b lacks, exactly."""
    t = _SPLIT * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = _SPLIT * b
    b_high = t - (t - b)
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@jit.shared
def _sum_error(a: float, b: float, total: float) -> float:
    """What the rounded sum a + b lacks, exactly."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


@jit.shared
def _ln_parts(x: float) -> tuple[float, float]:
    """High and low part of the logarithm of a positive, finite x."""
    mantissa, exponent = math.frexp(x)
    power_of_two = float(exponent)
    if mantissa < _HALF_ROOT:
        mantissa = mantissa * 2.0
        power_of_two = power_of_two - 1.0
    i = int(mantissa * 128.0 + 0.5) - _FIRST
    factor = float(_FACTOR[i])
    coarse = (mantissa + _TO_26_BITS) - _TO_26_BITS
    above = coarse * factor - 1.0  # exact, the factor being short
    below = (mantissa - coarse) * factor  # exact
    r = above + below
    r_low = _sum_error(above, below, r)

    square = r * r
    square_low = _product_error(r, r, square) + 2.0 * r * r_low
    half = -0.5 * square
    series = 1.0 / 7.0 - r * (1.0 / 8.0 - r * (1.0 / 9.0 - r * (1.0 / 10.0)))
    series = 1.0 / 3.0 - r * (1.0 / 4.0 - r * (1.0 / 5.0 - r * (1.0 / 6.0 - r * series)))

    whole = power_of_two * _LN2_HIGH  # exact
    table = float(_LN_HIGH[i])
    first = whole + table
    second = first + r
    third = second + half
    low = _sum_error(whole, table, first) + _sum_error(first, r, second) + _sum_error(second, half, third)
    low = low + (power_of_two * _LN2_LOW + float(_LN_LOW[i])) + (r_low - 0.5 * square_low)
    low = low + square * r * series
    high = third + low
    return high, low - (high - third)


@jit.shared
def ln(x: float) -> float:
    """Natural logarithm: -inf of 0, inf of inf; nan of nan and of what is negative."""
    if not x > 0.0:
        return -math.inf if x == 0.0 else math.nan
    if x == math.inf:
        return math.inf
    return _ln_parts(x)[0]


@jit.shared
def ln1p(x: float) -> float:
    """Natural logarithm of 1 + x, as good for small x: -inf at -1, nan below it."""
    if not x > -1.0:
        return -math.inf if x == -1.0 else math.nan
    if x == math.inf:
        return math.inf
    if -_TINY < x < _TINY:
        return x - x * x * (0.5 - x / 3.0)
    total = 1.0 + x
    high, low = _ln_parts(total)
    return high + (low + _sum_error(1.0, x, total) / total)


@jit.shared
def _exp(high: float, low: float) -> float:
    """The exponential of high + low, for a high between _TOO_SMALL and _TOO_LARGE."""
    steps = round_half_away(high * _STEPS)
    above = high - float(steps) * _STEP_HIGH  # exact
    below = low - float(steps) * _STEP_LOW
    r = above + below
    r_low = _sum_error(above, below, r)
    series = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0)))
    growth = r + (r_low + r * r * (0.5 + r * (1.0 / 6.0 + r * series)))
    power_of_two = steps // 64
    j = steps - 64 * power_of_two
    table = float(_EXP_HIGH[j])
    value = table + (table * growth + float(_EXP_LOW[j]) * (1.0 + growth))
    # Two factors: one alone would leave the range of floats near either end.
    first = power_of_two // 2
    return value * math.ldexp(1.0, first) * math.ldexp(1.0, power_of_two - first)


@jit.shared
def _power_at_the_edge(base: float, exponent: float) -> float:
    """The power of a base of 0, 1 or inf, or with an infinite exponent."""
    if base == 1.0:
        return 1.0
    if (base > 1.0) == (exponent > 0.0):
        return math.inf
    return 0.0


@jit.shared
def power(x: float, y: float) -> float:
    """The power x**y.

    x**0 and 1**y are 1, whatever the other is. 0**y is 0, and inf for a negative y. A negative x has powers
    with a whole y only, else nan. What is too large is inf, what is too small 0. Any other nan gives nan.
    """
    base = float(x)
    exponent = float(y)
    if exponent == 0.0 or base == 1.0:
        return 1.0
    if math.isnan(base) or math.isnan(exponent):
        return math.nan
    if exponent == 1.0:
        return base
    if exponent == 2.0:
        return base * base
    sign = 1.0
    if base < 0.0:
        base = -base
        if -(2.0**53) < exponent < 2.0**53:  # beyond, every float is even
            whole = int(exponent)
            if float(whole) != exponent:
                return math.nan
            if whole % 2 != 0:
                sign = -1.0
    if base == 0.0 or base == 1.0 or math.isinf(base) or math.isinf(exponent):
        return sign * _power_at_the_edge(base, exponent)
    high, low = _ln_parts(base)
    total = exponent * high
    if total > _TOO_LARGE:
        return sign * math.inf
    if total < _TOO_SMALL:
        return 0.0
    return sign * _exp(total, _product_error(exponent, high, total) + exponent * low)
