"""Decimal texts to mantissas, fast: most texts of a market repeat, so each is parsed once.

A dict that parses on a miss costs a tenth of parsing when it hits, and a busy market's prices and sizes hit
nearly always. What it holds are pure facts about texts, so forgetting them changes nothing. All tables of a
process share one bound: the more instruments, the less is remembered of each.
"""

from __future__ import annotations

from engine.model.errors import DecimalError
from engine.model.units import MAX_DECIMALS, MAX_INT64, POWERS_OF_TEN

REMEMBERED = 1 << 15  # texts of one table, at about 120 bytes each,
SHARED = 1 << 18  # of all of them: some 30 MB,
LEAST = 1 << 9  # but so many of each
_tables = [0]  # how many there are now
_WRITTEN = 8
_LONGEST = 60  # characters; int() of a very long text is slow, and beyond 4,300 digits an error


class TooFine(DecimalError):
    """A plain decimal with more decimals than the definition has; `decimals` are needed."""

    def __init__(self, text: str, decimals: int) -> None:
        super().__init__(f'"{text}" has {decimals} decimals')
        self.decimals = decimals


class Mantissas(dict[str, int]):
    """text -> mantissa at `decimals`; `mantissas[text]` parses what it has not seen.

    Takes digits with at most one point between them and nothing else: no sign, since no venue sends a
    negative price or size. Raises DecimalError, or TooFine when the text needs more decimals.
    """

    __slots__ = ("_end", "_zeros", "decimals")

    def __init__(self, decimals: int) -> None:
        super().__init__()
        _tables[0] += 1
        self.decimals = decimals
        # Most venues write eight decimals whatever the increment: the zeros at the end are cut off as text.
        surplus = max(_WRITTEN - decimals, 0)
        self._zeros = "0" * surplus
        self._end = -surplus if surplus else _LONGEST

    def __del__(
        self, tables: list[int] = _tables
    ) -> None:  # a default: at the program's end globals are gone
        tables[0] -= 1

    def _remember(self, text: str, mantissa: int) -> None:
        if len(self) >= min(REMEMBERED, max(LEAST, SHARED // _tables[0])):
            self.clear()
        self[text] = mantissa

    def __missing__(self, text: str) -> int:
        if text[-_WRITTEN - 1 : -_WRITTEN] == "." and text.endswith(self._zeros):
            digits = text[: -_WRITTEN - 1] + text[-_WRITTEN : self._end]
            if digits.isdigit() and digits.isascii() and self.decimals <= _WRITTEN < len(text) - 1 < 18:
                mantissa = int(digits)
                self._remember(text, mantissa)
                return mantissa
        return self._parse(text)

    def _parse(self, text: str) -> int:
        whole, point, fraction = text.partition(".")
        digits = whole + fraction
        if not (digits.isdigit() and digits.isascii() and whole and (fraction or not point)):
            negative = text[:1] == "-" and text[1:2].isdigit()
            raise DecimalError(f'"{text}" is ' + ("negative" if negative else "not a decimal number"))
        if len(text) > _LONGEST:
            raise DecimalError(f'"{text}" is too long for a price or size')
        excess = len(fraction) - self.decimals
        if excess > 0:
            if digits[-excess:].strip("0"):
                needed = len(fraction.rstrip("0"))
                if needed > MAX_DECIMALS:
                    raise DecimalError(f'"{text}" has more than {MAX_DECIMALS} decimals')
                raise TooFine(text, needed)
            mantissa = int(digits[:-excess])
        else:
            mantissa = int(digits) * POWERS_OF_TEN[-excess]
        if mantissa > MAX_INT64:
            raise DecimalError(f'"{text}" at {self.decimals} decimals does not fit 64 bits')
        self._remember(text, mantissa)
        return mantissa
