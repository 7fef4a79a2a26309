"""Numbers and times as Alpaca writes them, in JSON and in MessagePack, to exact integers.

Numbers. In JSON they are numbers without quotes; their digits are taken from the text on the wire
(`NumberText`), never through a float. In MessagePack they are float64 or integers: of a float the shortest
decimal that gives it back is taken, which is what was sent as long as that had 15 significant digits or
fewer. Exponents are written out. A price or size is never negative.

What the venue computed, prices and volume of bars (of crypto they hold middles and sums), may carry the
noise of its float arithmetic: 0.30000000000000004. Taken at its word it would ask for so many decimals that
an ordinary size no longer fits 64 bits. Such values are taken to the ninth decimal, the finest that the
venue trades in, half to even; nothing else is ever rounded.

Times. JSON has RFC 3339 with none to nine digits of a second; MessagePack the Timestamp extension (type -1)
in its three forms. Both are parsed here by hand, because datetime ends at microseconds. The zero time of
Go, the first of January of the year 1, is "no time".
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from msgspec.msgpack import Ext

from engine.feed.decimals import Mantissas
from engine.model.errors import DecimalError, InputError
from engine.model.units import (
    MAX_DECIMALS,
    MAX_INT64,
    NULL_TIME,
    POWERS_OF_TEN,
    SECOND_NS,
    decimals_of,
)

COMPUTED_DECIMALS = 9
REMEMBERED = 1 << 13  # numbers, of one symbol's prices or sizes
TIMESTAMP = -1  # MessagePack's extension type
_LAST_SECOND = MAX_INT64 // SECOND_NS - 1  # 2262
_ZERO_SECOND = -62_135_596_800  # 0001-01-01T00:00:00Z
_NINE = SECOND_NS - 1
_EXPONENT_MAX = 60
_SECONDS_REMEMBERED = 4_096


class NumberText(str):
    """A JSON number as it stands on the wire."""

    __slots__ = ()


class NotATime(InputError):
    """A value that is no time, or none that 64 bits of nanoseconds can hold."""


Number = NumberText | float | int
Stamp = Ext | str


_JSON_NAMES: dict[type, str] = {type(None): "null", list: "array", dict: "object"}


def number_of_json(_wanted: type, value: object) -> NumberText:
    """The decoder's hook for NumberText: integers come as such, other numbers as NumberText already."""
    if type(value) is NumberText:
        return value
    if type(value) is int:
        return NumberText(value)
    raise ValueError(f"Expected a number, got `{_JSON_NAMES.get(type(value), type(value).__name__)}`")


def plain_text(value: Number) -> str:
    """The number as a decimal text without an exponent. Raises DecimalError for what is no such number."""
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, float):
        text = repr(value)
    elif abs(value) <= MAX_INT64:
        text = str(value)
    else:
        raise DecimalError("the number does not fit 64 bits")
    if "e" in text or "E" in text:
        text = _written_out(text)
    if text[:1] == "-" and not text.strip("-0."):
        text = text[1:]  # minus zero is zero
    return text


def decimal_words(value: Number) -> str:
    """A price as it is put into words: no exponent, no zeros at its end. Raises DecimalError."""
    text = plain_text(value)
    decimals_of(text)
    if text[:1] == "-":
        raise DecimalError(f'"{text}" is negative')
    return text.rstrip("0").rstrip(".") if "." in text else text


_SCIENTIFIC = re.compile(r"(-?)(\d+)(?:\.(\d+))?[eE]([+-]?\d{1,6})", re.ASCII)


def _written_out(text: str) -> str:
    match = _SCIENTIFIC.fullmatch(text)
    if match is None:
        raise DecimalError(f'"{text}" is not a decimal number')
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", int(match[4])
    digits = whole + fraction
    if not digits.strip("0"):
        return "0"
    if exponent < -_EXPONENT_MAX:
        raise DecimalError(f'"{text}" has more than {MAX_DECIMALS} decimals')
    if exponent > _EXPONENT_MAX:
        raise DecimalError(f'"{text}" does not fit 64 bits')
    point = len(whole) + exponent
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    digits = digits.ljust(point, "0")
    rest = digits[point:]
    return f"{sign}{digits[:point]}.{rest}" if rest else sign + digits


class Amounts(dict[Number | None, int]):
    """Numbers of the wire to mantissas at `decimals`; each is parsed once.

    None, a field that was left out, is 0. Raises DecimalError, or TooFine when the number needs more
    decimals. With `computed`, what lies behind the ninth decimal is rounded.
    """

    __slots__ = ("_computed", "_texts", "decimals")

    def __init__(self, decimals: int, *, computed: bool = False) -> None:
        super().__init__()
        self.decimals = decimals
        self._texts = Mantissas(decimals)
        self._computed = computed

    def __missing__(self, value: Number | None) -> int:
        text = "0" if value is None else plain_text(value)
        if self._computed:
            text = _without_noise(text)
        mantissa = self._texts[text]
        self._texts.clear()  # once is enough to remember a number
        if len(self) >= REMEMBERED:
            self.clear()
        self[value] = mantissa
        return mantissa


_FINEST = Decimal(1).scaleb(-COMPUTED_DECIMALS)
_PLAIN = re.compile(r"\d{1,18}\.\d{1,40}", re.ASCII)


def _without_noise(text: str) -> str:
    if len(text.partition(".")[2]) <= COMPUTED_DECIMALS or not _PLAIN.fullmatch(text):
        return text
    return format(Decimal(text).quantize(_FINEST, ROUND_HALF_EVEN), "f")


def packed_time(stamp: Stamp) -> int:
    """Nanoseconds of a MessagePack Timestamp, or of a text in its place; raises NotATime."""
    if type(stamp) is not Ext:
        return text_time(stamp)
    data: bytes = stamp.data  # type: ignore[assignment]  # of a decoded one
    size = len(data)
    if size == 8:
        value = int.from_bytes(data, "big")
        seconds, nanoseconds = value & 0x3_FFFF_FFFF, value >> 34
    elif size == 4:
        seconds, nanoseconds = int.from_bytes(data, "big"), 0
    elif size == 12:
        seconds, nanoseconds = int.from_bytes(data[4:], "big", signed=True), int.from_bytes(data[:4], "big")
    else:
        raise NotATime(f"a Timestamp of {size} bytes: there are those of 4, 8 and 12")
    if stamp.code != TIMESTAMP:
        raise NotATime(f"extension {stamp.code} is no Timestamp")
    if nanoseconds > _NINE:
        raise NotATime(f"a Timestamp with {nanoseconds} nanoseconds")
    if 0 <= seconds <= _LAST_SECOND:
        return seconds * SECOND_NS + nanoseconds
    return _outside(seconds, f"{seconds} s since 1970")


def text_time(text: str) -> int:
    """Nanoseconds of an RFC 3339 time; raises NotATime."""
    if text[-1:] == "Z":
        second = _seconds.get(text[:19])
        if len(text) <= 20:
            return _any_time(text) if second is None or len(text) < 20 else second * SECOND_NS
        fraction = text[20:-1]
        digits = len(fraction)
        plain = text[19] == "." and digits <= 9 and fraction.isascii() and fraction.isdigit()
        if plain and second is not None:
            return second * SECOND_NS + int(fraction) * POWERS_OF_TEN[9 - digits]
    return _any_time(text)


_seconds: dict[str, int] = {}  # facts about texts; forgetting them changes nothing
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def _any_time(text: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise NotATime(f'"{text[:60]}" is not a time as 2024-07-24T07:56:53.639713735Z')
    day, clock, fraction, sign, hours, minutes = match.groups()
    try:
        second = timegm(datetime.fromisoformat(f"{day}T{clock}").timetuple())
    except ValueError:
        raise NotATime(f'"{text}" is not a time: there is no such day or hour') from None
    if sign:
        offset = int(hours) * 3_600 + int(minutes) * 60
        second += offset if sign == "-" else -offset
    elif 0 <= second <= _LAST_SECOND:
        if len(_seconds) >= _SECONDS_REMEMBERED:
            _seconds.clear()
        _seconds[f"{day}T{clock}"] = second
    if 0 <= second <= _LAST_SECOND:
        return second * SECOND_NS + int((fraction or "0").ljust(9, "0"))
    return _outside(second, text)


def _outside(seconds: int, shown: str) -> int:
    if seconds == _ZERO_SECOND:
        return NULL_TIME
    raise NotATime(f"{shown} is not between the years 1970 and 2262")
