"""Money by Python's own integers: what engine.execution.money does through 128 bits."""

from __future__ import annotations

MAX_INT64 = 2**63 - 1
MAX_BALANCE = 2**62  # no cash, no position and no single amount may go beyond


class DoesNotFitError(Exception):
    """An amount that 64 bits do not hold."""


def rounded(numerator: int, denominator: int) -> int:
    """The quotient of two integers, denominator > 0, rounded half to even."""
    quotient, remainder = divmod(abs(numerator), denominator)
    if 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2 == 1):
        quotient += 1
    if quotient > MAX_INT64:
        raise DoesNotFitError
    return quotient if numerator >= 0 else -quotient


def notional(price: int, size: int, decimals: int) -> int:
    """Money (8 decimals) of `size` at `price`, whose decimals add up to `decimals`."""
    if decimals >= 8:
        return rounded(price * size, 10 ** (decimals - 8))
    return rounded(price * size * 10 ** (8 - decimals), 1)


def fee(amount: int, rate: int) -> int:
    """Fee on a notional at a rate in 1e-9; negative is a rebate."""
    return rounded(abs(amount) * rate, 10**9)
