"""Kraken's bare JSON numbers, exactly: text in, mantissas and checksum digits out.

JSON numbers become floats in most readers, and a float has forgotten the zeros at the end: every checksum
would fail. msgspec's `float_hook` gets the text of each number with a point or an exponent instead; what it
returns here is that very text, one object per text, so that the dictionaries behind find it by identity and
a remembered hash. A number without a point arrives as an int, which is its own text. Nothing else is a number
(true, null, a list); a text in quotes is taken for what it says.

Exponents (1e-08, in instrument data) are written out.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from engine.feed import kraken_checksum
from engine.feed.decimals import REMEMBERED, Mantissas
from engine.model.errors import DecimalError
from engine.model.units import MAX_DECIMALS

_LONGEST = 60  # characters of a number; longer ones are none of a market
_DIGITS_MAX = 40  # of a number with an exponent, written out


class Texts(dict[str, str]):
    """text -> the one object with this text; for `float_hook`."""

    __slots__ = ()

    def __missing__(self, text: str) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        if len(text) <= _LONGEST:
            self[text] = text
        return text


def plain(number: Any) -> str:
    """The number as a plain decimal text, trailing zeros as they are. Raises DecimalError."""
    if type(number) is int:
        if abs(number) >= 10**_DIGITS_MAX:
            raise DecimalError("the number does not fit 64 bits")
        return str(number)
    if type(number) is not str:
        raise DecimalError("not a number")
    if "e" not in number and "E" not in number:
        return number
    try:
        value = Decimal(number) if len(number) <= _LONGEST else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise DecimalError(f'"{number[:_LONGEST]}" is not a decimal number')
    if not -MAX_DECIMALS - _DIGITS_MAX < value.adjusted() < _DIGITS_MAX:
        raise DecimalError(f'"{number}" is too large or too fine for a price or size')
    return f"{value:f}"


class Numbers(Mantissas):
    """A JSON number (its text, or an int) -> mantissa. Raises DecimalError, TooFine; TypeError for a list."""

    __slots__ = ()

    def __missing__(self, text: Any) -> int:
        if type(text) is str and "e" not in text and "E" not in text:
            return super().__missing__(text)
        # Found again under its text: an int of its own would answer for `true` as well.
        return self[plain(text)]


class Digits(dict[Any, bytes]):
    """A JSON number that `Numbers` has taken -> its digits in the checksum."""

    __slots__ = ()

    def __missing__(self, number: Any) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        self[number] = found = kraken_checksum.digits(plain(number))
        return found
