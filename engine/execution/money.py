"""Money as integers: products of price and size through 128 bits, rounded once, half to even.

An amount of money is an integer count of 10**-MONEY_DECIMALS of its asset. A product that needs more
places is rounded by one named rule ("half_even") and says so; one that does not fit 64 bits is reported
as OVERFLOW, never wrapped.
"""

from __future__ import annotations

import numpy as np

from engine.model import jit

MONEY_DECIMALS = 8
RATE_DECIMALS = 9  # fee rates are integers of 1e-9: 1 basis point is 100_000
RATE_UNIT = 10**RATE_DECIMALS
OVERFLOW = -(2**63)
MAX_BALANCE = 2**62  # of cash or a position
MAX_AMOUNT = 2**61  # of a notional or a fee: one of each more cannot wrap a balance

_EXACT = 2**53  # every whole number up to it is a float64 ...
_EXACT_POWER = 1024  # ... and every int64 that this divides

_POWERS = np.array([10**n for n in range(19)], dtype=np.uint64)
_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_MAX = np.uint64(2**63 - 1)


@jit.exact_helper
def multiply_wide(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """High and low 64 bits of the product of two uint64."""
    a_low = a & _MASK
    a_high = a >> _HALF
    b_low = b & _MASK
    b_high = b >> _HALF
    low = a_low * b_low
    middle = a_high * b_low + (low >> _HALF)
    cross = a_low * b_high + (middle & _MASK)
    high = a_high * b_high + (middle >> _HALF) + (cross >> _HALF)
    return high, (cross << _HALF) | (low & _MASK)


@jit.exact_helper
def divide_wide(high: np.uint64, low: np.uint64, divisor: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Quotient and remainder of a 128-bit by a 64-bit number below 2**63; needs high < divisor."""
    if high == _ZERO:
        return low // divisor, low % divisor
    quotient = _ZERO
    remainder = high
    for i in range(64):
        bit = (low >> np.uint64(63 - i)) & _ONE
        remainder = (remainder << _ONE) | bit
        quotient = quotient << _ONE
        if remainder >= divisor:
            remainder = remainder - divisor
            quotient = quotient | _ONE
    return quotient, remainder


@jit.helper
def scale_product(a: int, b: int, decimals: int) -> int:
    """Product a * b / 10**decimals of non-negative a and b, half to even.

    OVERFLOW when it does not fit, or decimals are not in -18..18.
    """
    x = np.uint64(a)
    y = np.uint64(b)
    if x == _ZERO or y == _ZERO:
        return 0
    high, low = multiply_wide(x, y)
    if decimals <= 0:
        if decimals < -18 or high != _ZERO:
            return OVERFLOW
        high, low = multiply_wide(low, _POWERS[-decimals])
        if high != _ZERO or low > _MAX:
            return OVERFLOW
        return np.int64(low)  # type: ignore[return-value]  # int() would stay unsigned, and unify to a float
    first = decimals if decimals <= 18 else 18
    divisor = _POWERS[first]
    if decimals > 18:
        # Two steps would round twice; only a product that is divisible, or huge, gets here.
        return OVERFLOW
    if high >= divisor:
        return OVERFLOW
    quotient, remainder = divide_wide(high, low, divisor)
    half = divisor // np.uint64(2)
    if remainder > half or (remainder == half and (quotient & _ONE) == _ONE):
        quotient = quotient + _ONE
    if quotient > _MAX:
        return OVERFLOW
    return np.int64(quotient)  # type: ignore[return-value]  # as above


@jit.inlined
def _bits(value: np.uint64) -> int:
    """How many bits a number has."""
    count = 0
    while value != _ZERO:
        value = value >> _ONE
        count += 1
    return count


@jit.helper
def divide_exactly(a: int, b: int) -> float:
    """The float64 nearest to a / b, as Python's division of integers gives it; b is not zero.

    Both must be greater than -(2**63).
    """
    if -_EXACT <= a <= _EXACT and (-_EXACT <= b <= _EXACT or b % _EXACT_POWER == 0):
        return float(a) / float(b)
    x = np.uint64(a if a >= 0 else -a)
    y = np.uint64(b if b >= 0 else -b)
    # 63 or 64 bits of the quotient, the last one set when anything is left: converting rounds once.
    shift = 63 + _bits(y) - _bits(x)
    if shift >= 64:
        high, low = x << np.uint64(shift - 64), _ZERO
    else:
        high, low = x >> np.uint64(64 - shift), x << np.uint64(shift)
    quotient, remainder = divide_wide(high, low, y)
    if remainder != _ZERO:
        quotient = quotient | _ONE
    result = float(quotient)
    for _ in range(shift):
        result *= 0.5
    return result if (a < 0) == (b < 0) else -result


@jit.inlined
def notional_of(price: int, size: int, decimals: int) -> int:
    """Money of `size` at `price`, whose decimals add up to `decimals`."""
    if price < 0:
        value = scale_product(-price, size, decimals - MONEY_DECIMALS)
        return value if value == OVERFLOW else -value
    return scale_product(price, size, decimals - MONEY_DECIMALS)


@jit.inlined
def fee_of(notional: int, rate: int) -> int:
    """Fee on a notional at `rate` (1e-9 units; negative is a rebate)."""
    amount = notional if notional >= 0 else -notional
    if rate < 0:
        value = scale_product(amount, -rate, RATE_DECIMALS)
        return value if value == OVERFLOW else -value
    return scale_product(amount, rate, RATE_DECIMALS)


@jit.inlined
def cost_of(price: int, size: int, decimals: int, rate: int) -> int:
    """What buying `size` at `price` costs with its fee; OVERFLOW when that does not fit."""
    notional = notional_of(price, size, decimals)
    if notional == OVERFLOW or notional > MAX_AMOUNT:
        return OVERFLOW
    fee = fee_of(notional, rate)
    if fee == OVERFLOW or fee > MAX_AMOUNT:
        return OVERFLOW
    return notional + fee
