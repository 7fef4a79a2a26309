"""Decimals and mantissas: exact there and back, or an error."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.execution.orders import Reason
from engine.loop.increments import FITS, to_increments
from engine.model.errors import DecimalError
from engine.model.units import (
    MAX_INT64,
    decimals_of,
    format_decimal,
    format_time,
    parse_decimal,
    parse_time,
    to_float,
    trim_decimal,
)
from tests.helpers.kernels import kernel
from tests.reference import increments as twin


@kernel("Tuple((int64,int64))(float64,int64,int64)")
def increments_of(value: float, increment: int, decimals: int) -> tuple[int, int]:
    """As kernels call it."""
    answer: tuple[int, int] = to_increments(value, increment, decimals)
    return answer


MANTISSAS = st.integers(-MAX_INT64, MAX_INT64)
DECIMALS = st.integers(0, 18)


@settings(max_examples=500, deadline=None)
@given(MANTISSAS, DECIMALS)
def test_a_mantissa_survives_text(mantissa: int, decimals: int) -> None:
    """As all places, and without trailing zeros."""
    assert parse_decimal(format_decimal(mantissa, decimals), decimals) == mantissa
    assert parse_decimal(trim_decimal(mantissa, decimals), decimals) == mantissa


@settings(max_examples=500, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**9), max_value=10**9))
def test_a_text_survives_its_mantissa(value: Decimal) -> None:
    """Whatever plain decimal a venue writes."""
    text = f"{value:f}"
    assert Decimal(format_decimal(parse_decimal(text, 9), 9)) == value
    assert decimals_of(text) == max(0, -int(value.normalize().as_tuple().exponent))


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("", 2), ("-", 2), (".", 2), ("1.", 2), (".5", 2), ("+1", 2), ("1e5", 2), ("1,000", 2), ("0x10", 2),
        (" 1", 2), ("1 ", 2), ("nan", 2), ("inf", 2), ("--1", 2), ("1.2.3", 2), ("1_000", 2),
        ("\N{ARABIC-INDIC DIGIT ONE}", 2), ("1.-5", 2),
        ("0.001", 2), ("9223372036854775808", 0), ("92233720368547758.08", 2), ("-9223372036854775808", 0),
    ],
)  # fmt: skip
def test_what_is_no_decimal_or_does_not_fit_is_an_error(text: str, decimals: int) -> None:
    """Never a guess."""
    with pytest.raises(DecimalError):
        parse_decimal(text, decimals)


@settings(max_examples=500, deadline=None)
@given(st.integers(-(10**15), 10**15), DECIMALS)
def test_a_float_given_by_a_strategy_finds_its_increment_again(mantissa: int, decimals: int) -> None:
    """The float nearest to a decimal of fifteen digits is taken for that decimal."""
    value = to_float(mantissa, decimals)
    assert increments_of(value, 1, decimals) == (mantissa, FITS)


@settings(max_examples=500, deadline=None)
@given(st.integers(1, 10**6), st.integers(0, 6), st.integers(0, 10**6), st.floats(-0.49, 0.49))
def test_on_and_off_increments_are_told_apart_as_the_twin_does(
    increment: int, decimals: int, steps: int, away: float
) -> None:
    """Within a millionth of an increment it is taken, else the one below is named; exact fractions agree."""
    if 1e-7 < abs(away) < 1e-5:
        return  # at the border itself floats and fractions may differ in the last bit
    value = (steps + away) * increment / 10**decimals
    mantissa, problem = increments_of(value, increment, decimals)
    expected, reason = twin.increments(value, increment, decimals, Reason.SIZE_INCREMENT)
    assert (mantissa, problem != FITS) == (expected, reason is not None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_a_float_that_is_no_amount_is_told(value: float) -> None:
    """Not finite, or beyond 64 bits."""
    mantissa, problem = increments_of(value, 1, 2)
    assert mantissa == 0
    assert problem != FITS


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 4 * 10**18))
def test_a_time_survives_text(ts: int) -> None:
    """To the nanosecond."""
    assert parse_time(format_time(ts)) == ts
