"""Numbers of other people's JSON as plain decimal texts, with the same value to the last digit.

A library or a server that has been through floats writes `1e-05`; an instrument's mantissas are made of plain
decimals. No float is made here: the digits are those of the text.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.model.errors import DecimalError
from engine.model.units import MAX_DECIMALS, decimals_of

_LONGEST = 60  # characters of a number


def plain(text: str) -> str:
    """A number that is not negative as digits with at most one point, 18 decimals at the most.

    Raises DecimalError, whose words go on after the number: "is …".
    """
    try:
        number = Decimal(text) if len(text) <= _LONGEST else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or "_" in text or not text.isascii():
        raise DecimalError("is no number")
    if number < 0:
        raise DecimalError("is negative")
    if number and not -2 * MAX_DECIMALS <= number.adjusted() <= MAX_DECIMALS:
        raise DecimalError("is too large or too small for a price or size")
    found = f"{number:f}" if number else "0"
    if decimals_of(found) > MAX_DECIMALS:
        raise DecimalError(f"has more than {MAX_DECIMALS} decimals")
    return found
