"""Decimal texts become mantissas exactly, or are refused by name."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed import decimals
from engine.feed.decimals import LEAST, REMEMBERED, SHARED, Mantissas, TooFine
from engine.model.errors import DecimalError
from engine.model.units import format_decimal, parse_decimal


@pytest.mark.parametrize(
    ("text", "decimals", "mantissa"),
    [
        ("61837.63000000", 2, 6183763),
        ("61837.63000000", 8, 6183763000000),
        ("61837.63000000", 10, 618376300000000),
        ("0.00000001", 8, 1),
        ("0.00000000", 0, 0),
        ("12", 3, 12000),
        ("12.5", 3, 12500),
        ("12.500", 1, 125),
        ("0000012.00000000", 0, 12),
        ("9223372036854775807", 0, 2**63 - 1),
        ("92233720368547758.07000000", 2, 2**63 - 1),
    ],
)
def test_a_text_becomes_its_mantissa(text: str, decimals: int, mantissa: int) -> None:
    """Once by parsing, and once from memory."""
    mantissas = Mantissas(decimals)
    assert mantissas[text] == mantissa
    assert mantissas[text] == mantissa


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a decimal number"),
        (".", "not a decimal number"),
        (".5", "not a decimal number"),
        ("5.", "not a decimal number"),
        ("1e5", "not a decimal number"),
        ("24,670.90", "not a decimal number"),
        ("+1.00000000", "not a decimal number"),
        ("-1.00000000", "is negative"),
        (" 1.00000000", "not a decimal number"),
        ("1_0.00000000", "not a decimal number"),
        ("1.2.00000000", "not a decimal number"),
        ("٣.00000000", "not a decimal number"),
        ("²", "not a decimal number"),
        ("nan", "not a decimal number"),
        ("9223372036854775808", "does not fit 64 bits"),
        ("92233720368547758080.00000000", "does not fit 64 bits"),
        ("1" * 5_000, "too long"),
        ("0." + "0" * 18 + "1", "more than 18 decimals"),
    ],
)
def test_a_text_that_is_no_price_is_refused(text: str, message: str) -> None:
    """Nothing is guessed, and nothing is remembered of it."""
    mantissas = Mantissas(0)
    with pytest.raises(DecimalError, match=message) as caught:
        mantissas[text]
    assert not isinstance(caught.value, TooFine)
    assert not mantissas


@pytest.mark.parametrize(("text", "needed"), [("0.123456", 6), ("1.00000100", 6), ("5.1", 1)])
def test_a_finer_text_says_how_many_decimals_it_needs(text: str, needed: int) -> None:
    """So that the definition can be widened; nothing is rounded."""
    with pytest.raises(TooFine) as caught:
        Mantissas(0)[text]
    assert caught.value.decimals == needed


@given(st.integers(0, 2**63 - 1), st.integers(0, 12), st.integers(0, 4))
def test_mantissa_to_text_and_back(mantissa: int, decimals: int, zeros: int) -> None:
    """Every mantissa's text gives the mantissa again, trailing zeros or not."""
    text = format_decimal(mantissa, decimals) + ("0" * zeros if decimals else "")
    assert Mantissas(decimals)[text] == mantissa


@given(st.text("0123456789.-+e ", max_size=24), st.integers(0, 10))
def test_the_short_cut_agrees_with_the_plain_parser(text: str, decimals: int) -> None:
    """What units.parse_decimal makes of a text, or both refuse; no sign and no bare point is taken here."""
    try:
        expected: int | None = parse_decimal(text, decimals)
    except DecimalError:
        expected = None
    try:
        found: int | None = Mantissas(decimals)[text]
    except DecimalError:
        found = None
    if text.startswith(("-", ".")) or text.endswith("."):
        assert found is None
    else:
        assert found == expected


def test_memory_is_bounded() -> None:
    """After very many texts it begins anew, and still answers."""
    mantissas = Mantissas(0)
    for number in range(REMEMBERED + 10):
        assert mantissas[str(number)] == number
    assert len(mantissas) <= REMEMBERED


def test_all_tables_share_one_bound() -> None:
    """Many instruments: each remembers less, and all answer right; those that are gone count no more."""
    gc.collect()
    before = decimals._tables[0]
    tables = [Mantissas(0) for _ in range(400)]
    assert decimals._tables[0] == before + 400
    for number in range(2_000):
        for table in tables:
            assert table[str(number)] == number
    assert sum(map(len, tables)) <= max(SHARED, LEAST * len(tables))
    del tables, table
    gc.collect()
    assert decimals._tables[0] == before
