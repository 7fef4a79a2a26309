"""Money by Python's own integers: what engine.execution.money does through 128 bits."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import Fees
    from engine.model.instruments import Instrument

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


def charge(fees: Fees, rate: int, who: Instrument, amount: int, size: int, side: int) -> tuple[int, str]:
    """What a fill is charged at its maker or taker rate, units of 1e-8, and of what: "quote" or "base"."""
    rate += fees.buy if side > 0 else fees.sell
    if fees.asset == "received" and side > 0:
        return rounded(size * rate * 10**8, 10 ** (9 + who.size_decimals)), "base"
    unit = Fraction(fees.per_unit) + (Fraction(fees.sell_per_unit) if side < 0 else 0)
    units = rounded(size * int(unit * 10**8), 10**who.size_decimals)
    most = int(Fraction(fees.most_per_unit) * 10**8)
    if most:
        units = min(units, most)
    return fee(amount, rate) + units + int(Fraction(fees.per_fill) * 10**8), "quote"


def owned(position: int, fees: int, who: Instrument) -> int:
    """A position less fees in the base asset, as a size mantissa, rounded down."""
    one = 10**who.size_decimals
    left: int = floor((Fraction(position, one) - Fraction(fees, 10**8)) * one)
    return left
