"""Money: products through 128 bits agree with Python's integers, and say so when they do not fit."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.execution import money
from engine.execution.money import MAX_AMOUNT, OVERFLOW
from tests.helpers.kernels import kernel
from tests.reference import money as twin

# Helpers have no entry of their own from Python: these kernels call them.


@kernel("int64(int64, int64, int64)")
def scale_product(a: int, b: int, decimals: int) -> int:
    """A * b / 10**decimals."""
    return money.scale_product(a, b, decimals)


@kernel("int64(int64, int64, int64)")
def notional_of(price: int, size: int, decimals: int) -> int:
    """Money of a size at a price."""
    return money.notional_of(price, size, decimals)


@kernel("int64(int64, int64)")
def fee_of(notional: int, rate: int) -> int:
    """Fee on a notional."""
    return money.fee_of(notional, rate)


@kernel("int64(int64, int64, int64, int64)")
def cost_of(price: int, size: int, decimals: int, rate: int) -> int:
    """Notional and fee of a buy."""
    return money.cost_of(price, size, decimals, rate)


AMOUNTS = st.one_of(st.integers(0, 1000), st.integers(0, 2**40), st.integers(0, 2**63 - 1))
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def expected(a: int, b: int, decimals: int) -> int:
    """By Python's decimals, with all digits that there are."""
    value = EXACT.scaleb(Decimal(a * b), -decimals)
    rounded = int(EXACT.to_integral_value(value))
    return rounded if rounded < 2**63 else OVERFLOW


@settings(max_examples=600, deadline=None)
@given(AMOUNTS, AMOUNTS, st.integers(-18, 18))
@example(2**63 - 1, 2**63 - 1, 18)
@example(2**63 - 1, 1, 0)
@example(2**32, 2**31, 0)
@example(5, 1, 1)
@example(15, 1, 1)
@example(25, 1, 1)
@example(0, 2**63 - 1, -18)
@example(92_233_720_368_547_758, 10, -1)
def test_a_scaled_product_is_exact_or_rounded_once_half_to_even(a: int, b: int, decimals: int) -> None:
    """A * b / 10**decimals for every pair that an order can bring."""
    assert scale_product(a, b, decimals) == expected(a, b, decimals)


@pytest.mark.parametrize("decimals", [-19, 19, 28, 36])
def test_decimals_that_no_product_has_are_an_overflow(decimals: int) -> None:
    """Never a wrong number."""
    assert scale_product(7, 3, decimals) == OVERFLOW


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**50), 2**50), st.integers(1, 2**50), st.integers(0, 24))
def test_a_notional_agrees_with_the_twin(price: int, size: int, decimals: int) -> None:
    """Signs included: a sell at a negative price would pay."""
    try:
        wanted = twin.notional(price, size, decimals)
    except twin.DoesNotFitError:
        wanted = OVERFLOW
    assert notional_of(price, size, decimals) == wanted


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**62), 2**62), st.integers(-(10**9), 10**9))
def test_a_fee_agrees_with_the_twin(amount: int, rate: int) -> None:
    """On the size of the notional, whatever its sign; negative rates give back."""
    assert fee_of(amount, rate) == twin.fee(amount, rate)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 2**62), st.integers(1, 2**62), st.integers(0, 20), st.integers(0, 10**9))
def test_a_cost_fits_with_room_or_is_an_overflow(price: int, size: int, decimals: int, rate: int) -> None:
    """Notional and fee together never wrap."""
    cost = cost_of(price, size, decimals, rate)
    assert cost == OVERFLOW or 0 <= cost <= 2 * MAX_AMOUNT
