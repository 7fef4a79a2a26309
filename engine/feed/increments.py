"""Increments and limits of instrument definitions: venues' decimal texts in one form."""

from __future__ import annotations

from engine.model.errors import DecimalError
from engine.model.units import MAX_DECIMALS, decimals_of, parse_decimal, trim_decimal

_LONGEST = 60  # characters


def trimmed(text: str) -> str:
    """The decimal without trailing zeros; "" for zero and "". Raises DecimalError, for a negative as well."""
    if not text:
        return ""
    if len(text) > _LONGEST:
        raise DecimalError(f'"{text[:_LONGEST]}…" is too long for an increment or a limit')
    decimals = decimals_of(text)
    if decimals > MAX_DECIMALS:
        raise DecimalError(f'"{text}" has more than {MAX_DECIMALS} decimals')
    mantissa = parse_decimal(text, decimals)
    if mantissa < 0:
        raise DecimalError(f'"{text}" is negative')
    return trim_decimal(mantissa, decimals) if mantissa else ""
