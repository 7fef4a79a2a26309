"""Alpaca's numbers and times, exact: what is taken, and what is refused."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from engine.feed.alpaca_values import (
    Amounts,
    NotATime,
    NumberText,
    packed_time,
    plain_text,
    text_time,
)
from engine.feed.decimals import TooFine
from engine.model.errors import DecimalError
from engine.model.units import MAX_INT64, NULL_TIME, SECOND_NS
from tests.helpers.alpaca import timestamp

EPOCH = date(1970, 1, 1)

# a number of either wire, its mantissa at 4 decimals
NUMBERS: list[tuple[NumberText | float | int | None, int]] = [
    (NumberText("162.92"), 1_629_200),
    (NumberText("162.9200000000"), 1_629_200),
    (NumberText("3"), 30_000),
    (NumberText("0"), 0),
    (NumberText("-0.0"), 0),
    (NumberText("1e3"), 10_000_000),
    (NumberText("1.5E+2"), 1_500_000),
    (NumberText("12.5e-1"), 12_500),
    (NumberText("1e-4"), 1),
    (NumberText("0e-400"), 0),
    (162.92, 1_629_200),
    (-0.0, 0),
    (1e-4, 1),
    (1e16 / 1e8, 10**12),
    (3, 30_000),
    (None, 0),
]


@pytest.mark.parametrize(("number", "mantissa"), NUMBERS, ids=[repr(n) for n, _ in NUMBERS])
def test_numbers_are_exact_integers(number: NumberText | float | None, mantissa: int) -> None:
    """From text, float or integer, with an exponent or without."""
    assert Amounts(4)[number] == mantissa


REFUSED: list[NumberText | float | int] = [
    NumberText("-1"),
    -1,
    -0.5,
    NumberText("1e-19"),
    NumberText("1e-999999"),
    NumberText("1e999"),
    NumberText("1e99999999"),
    NumberText("9" * 80),
    2**64,
    float("nan"),
    float("inf"),
    1e300,
    NumberText("922337203685477.5808"),
]


@pytest.mark.parametrize("number", REFUSED, ids=repr)
def test_what_is_no_price_is_refused(number: NumberText | float) -> None:
    """Negative, too large for 64 bits, finer than 18 decimals, or not a number at all."""
    with pytest.raises(DecimalError):
        Amounts(4)[number]


@pytest.mark.parametrize(
    ("number", "decimals"), [(NumberText("0.12345"), 5), (1e-05, 5), (NumberText("15e-9"), 9)]
)
def test_a_finer_number_says_how_fine(number: NumberText | float, decimals: int) -> None:
    """So that the definition can become wider."""
    with pytest.raises(TooFine) as caught:
        Amounts(4)[number]
    assert caught.value.decimals == decimals


# what the venue computed; the mantissa at nine decimals
COMPUTED: list[tuple[NumberText | float, int]] = [
    (0.1 + 0.2, 300_000_000),
    (NumberText("0.30000000000000004"), 300_000_000),
    (3.227759152, 3_227_759_152),
    (NumberText("0.0000000005"), 0),
    (NumberText("0.0000000015"), 2),
    (NumberText("71856.1435"), 71_856_143_500_000),
]


@pytest.mark.parametrize(("number", "mantissa"), COMPUTED, ids=[repr(n) for n, _ in COMPUTED])
def test_the_noise_of_computed_values_is_cut_off(number: NumberText | float, mantissa: int) -> None:
    """Behind the ninth decimal, half to even; nothing before it changes."""
    assert Amounts(9, computed=True)[number] == mantissa


@given(st.integers(0, 10**15 - 1), st.integers(0, 12))
def test_a_float_of_fifteen_digits_gives_its_decimal_back(digits: int, decimals: int) -> None:
    """MessagePack's float64 loses nothing that the venue sends."""
    sent = Decimal(digits).scaleb(-decimals)
    assert Amounts(decimals)[float(sent)] == digits
    assert Amounts(decimals)[NumberText(format(sent, "f"))] == digits


@given(st.integers(0, 10**17), st.integers(-12, 12))
def test_an_exponent_is_written_out(digits: int, exponent: int) -> None:
    """As decimal arithmetic does it."""
    text = plain_text(NumberText(f"{digits}e{exponent}"))
    assert "e" not in text
    assert Decimal(text) == Decimal(digits).scaleb(exponent)


# a time, its nanoseconds
TIMES: list[tuple[str, int]] = [
    ("1970-01-01T00:00:00Z", 0),
    ("2021-02-22T15:51:44.208Z", 1_614_009_104_208_000_000),
    ("2021-02-22T15:51:44.24613221Z", 1_614_009_104_246_132_210),
    ("2024-07-24T07:56:53.639713735Z", 1_721_807_813_639_713_735),
    ("2024-07-24T07:56:53Z", 1_721_807_813_000_000_000),
    ("2024-07-24T07:56:53.000000001Z", 1_721_807_813_000_000_001),
    ("2024-07-24T09:56:53.5+02:00", 1_721_807_813_500_000_000),
    ("2024-07-24T02:56:53.5-05:00", 1_721_807_813_500_000_000),
    ("0001-01-01T00:00:00Z", NULL_TIME),
]


@pytest.mark.parametrize(("text", "ns"), TIMES)
def test_times_are_kept_to_the_nanosecond(text: str, ns: int) -> None:
    """None to nine digits of a second, before and after the second is known."""
    assert [text_time(text), text_time(text)] == [ns, ns]


NO_TIMES = [
    "",
    "Z",
    "2024-07-24",
    "2024-07-24T07:56:53",
    "2024-07-24T07:56:53.Z",
    "2024-07-24T07:56:53.1234567890Z",
    "2024-07-24T07:56:53.12٣Z",
    "2024-07-24T07:56:53.-12Z",
    "2024-07-24T07:56:53 639Z",
    "2024-02-30T07:56:53Z",
    "2024-07-24T25:56:53Z",
    "1969-12-31T23:59:59Z",
    "2262-12-31T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Also right after a good time of the same second."""
    text_time("2024-07-24T07:56:53Z")
    with pytest.raises(NotATime):
        text_time(text)


LATEST = MAX_INT64 // SECOND_NS * SECOND_NS - 1


@given(st.integers(0, LATEST))
def test_a_timestamp_comes_back_to_the_nanosecond(ns: int) -> None:
    """In the form that fits, through MessagePack itself, and in the longest one."""
    sent = msgspec.msgpack.encode(timestamp(ns))
    assert packed_time(msgspec.msgpack.decode(sent, type=Ext)) == ns
    seconds, nanoseconds = divmod(ns, SECOND_NS)
    longest = Ext(-1, nanoseconds.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True))
    assert packed_time(longest) == ns


def test_every_form_of_a_timestamp_was_met() -> None:
    """The helper above makes all three: 32 bits without a fraction, 64 with one, 96 beyond the year 2514."""
    forms = [len(bytes(timestamp(ns).data)) for ns in (SECOND_NS, SECOND_NS + 1, (1 << 34) * SECOND_NS)]
    assert forms == [4, 8, 12]


@pytest.mark.parametrize(
    "stamp",
    [
        Ext(-1, b""),
        Ext(-1, b"\x00" * 5),
        Ext(5, b"\x00" * 8),
        Ext(-1, b"\xff" * 4 + b"\x00" * 8),
        Ext(-1, (SECOND_NS << 34).to_bytes(8, "big")),
        Ext(-1, b"\x00" * 4 + b"\x7f" + b"\xff" * 7),
        Ext(-1, b"\x00" * 4 + b"\xff" * 8),
        timestamp((1 << 34) * SECOND_NS),
        "tomorrow",
    ],
    ids=lambda stamp: bytes(stamp.data).hex() if isinstance(stamp, Ext) else stamp,
)
def test_what_is_no_timestamp_is_refused(stamp: Ext | str) -> None:
    """Another length, another type, more than a second of nanoseconds, beyond 1970 to 2262."""
    with pytest.raises(NotATime):
        packed_time(stamp)


def test_no_time_is_none() -> None:
    """Go's zero time, which needs the longest form."""
    assert packed_time(timestamp(-62_135_596_800 * SECOND_NS)) == NULL_TIME


def test_a_time_may_be_text_in_messagepack_too() -> None:
    """Nothing says that it cannot be."""
    assert packed_time("2024-07-24T07:56:53.639713735Z") == 1_721_807_813_639_713_735


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_remembered_of_seconds_changes_nothing(seed: int) -> None:
    """Many times in any order, some of them again: the same answers."""
    chance = random.Random(seed)
    stamps = [chance.randrange(0, 2_000_000_000) * SECOND_NS + chance.randrange(SECOND_NS) for _ in range(40)]
    for ns in (chance.choice(stamps) for _ in range(400)):
        day, rest = divmod(ns // SECOND_NS, 86_400)
        clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        text = f"{EPOCH + timedelta(days=day)}T{clock}.{ns % SECOND_NS:09d}Z"
        assert text_time(text) == ns
