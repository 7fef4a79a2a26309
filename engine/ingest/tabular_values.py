"""Columns of other people's files to the log's integers: whole arrays at a time, exactly or not at all.

A `Column` is one column of one chunk, with what an error has to name: file, column and row. Text and
decimal columns become mantissas exactly; a binary float is taken for the nearest multiple of the increment
when it is within max(1e-6 increments, 2 ulp) of it and is an error otherwise. Nothing is rounded silently.

Arrow's own casts do the work (64 ns a value for decimals); when one refuses, the first offending value is
found by halving, and only that one is looked at in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.model.errors import InputError
from engine.model.kinds import ASK, BID, NO_SIDE
from engine.model.units import MAX_DECIMALS, MAX_INT64, POWERS_OF_TEN

Integers = npt.NDArray[np.int64]
_DECIMAL_DIGITS = 38  # of Arrow's decimal128
_EXACT_FLOAT = 2.0**53


@dataclass(frozen=True)
class Column:
    """One column of a chunk. `rows` are the file's row numbers, from 1, header aside."""

    file: str
    name: str
    values: pa.Array
    rows: Integers

    def error(self, index: int, problem: str, hint: str = "") -> InputError:
        """An error about the value at `index` of this chunk."""
        value = self.values[index : index + 1]
        if pa.types.is_timestamp(value.type):
            value = pc.cast(value, pa.string())  # Python's own datetime has no nanoseconds
        shown = "(empty)" if value.null_count else f'"{value[0].as_py()}"'
        return InputError(
            f"{self.file}: row {self.rows[index]}, column {self.name}: {shown} {problem}", hint=hint
        )

    def take(self, index: npt.NDArray[Any]) -> Column:
        """The same column, only these positions of the chunk."""
        return Column(self.file, self.name, self.values.take(pa.array(index)), self.rows[index])

    @property
    def is_text(self) -> bool:
        """Whether the values are text, as all values of a CSV file are."""
        return bool(pa.types.is_string(self.values.type) or pa.types.is_large_string(self.values.type))

    def absent(self) -> npt.NDArray[np.bool_]:
        """Where there is no value: null, and NaN of a float column."""
        return np.asarray(self.values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))

    def require(self) -> None:
        """InputError at the first row without a value."""
        if self.values.null_count or pa.types.is_floating(self.values.type):
            absent = self.absent()
            if absent.any():
                raise self.error(int(absent.argmax()), "is no value", f"every row needs a {self.name}")


def first_failing(values: pa.Array, convert: Callable[[pa.Array], object]) -> int:
    """Index of the first value that `convert` refuses with ArrowInvalid; it must refuse the whole."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            convert(values[low:middle])
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low


# ------------------------------------------------------------------------------------------ decimals


def mantissas(
    column: Column, decimals: int, increment: int = 1, option: str = "--price-increment"
) -> Integers:
    """Mantissas at `decimals` places; 0 where there is no value. Exact.

    `increment` (a mantissa) is what binary floats are taken to a multiple of. Raises InputError for what
    is no number, has more decimals, or does not fit 64 bits; `option` is what its hint proposes.
    """
    kind = column.values.type
    if pa.types.is_floating(kind):
        return _mantissas_of_floats(column, decimals, increment, option)
    if pa.types.is_integer(kind):
        return _mantissas_of_integers(column, decimals, option)
    if not (column.is_text or pa.types.is_decimal(kind)):
        raise InputError(
            f"{column.file}: column {column.name} holds {kind}, not numbers",
            hint="name the right column with --column FIELD=NAME",
        )
    target = pa.decimal128(_DECIMAL_DIGITS, decimals)

    def convert(values: pa.Array) -> pa.Array:
        return pc.cast(values, target)

    try:
        exact = convert(column.values)
    except pa.ArrowInvalid:
        column = trimmed(column)
        try:
            exact = convert(column.values)
        except pa.ArrowInvalid:
            raise _no_decimal(column, first_failing(column.values, convert), decimals, option) from None
    return _low_words(column, exact, decimals, option)


def trimmed(column: Column) -> Column:
    """The column without blanks around its texts."""
    if not column.is_text:
        return column
    values = pc.utf8_trim_whitespace(column.values)
    return Column(column.file, column.name, values, column.rows)


def _low_words(column: Column, exact: pa.Array, decimals: int, option: str) -> Integers:
    words = np.frombuffer(exact.buffers()[1], dtype="<i8").reshape(-1, 2)[
        exact.offset : exact.offset + len(exact)
    ]
    low = words[:, 0].copy()
    fits = words[:, 1] == low >> 63
    fits &= low != -MAX_INT64 - 1
    if exact.null_count:
        valid = np.asarray(exact.is_valid().to_numpy(zero_copy_only=False))
        low[~valid] = 0
        fits |= ~valid
    if not fits.all():
        raise _no_decimal(column, int(fits.argmin()), decimals, option)
    return low


def _no_decimal(column: Column, index: int, decimals: int, option: str) -> InputError:
    text = str(column.values[index].as_py())
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        return column.error(
            index, "is not a decimal number", "write it like 61250.10, with a point and no separators"
        )
    if -int(number.normalize().as_tuple().exponent) > decimals:
        finer = number.normalize().as_tuple().exponent
        return column.error(
            index,
            f"has more than {decimals} decimals",
            f"give a finer increment: {option} {Decimal(1).scaleb(int(finer)):f}",
        )
    return column.error(index, f"at {decimals} decimals does not fit 64 bits", f"give a coarser {option}")


def _mantissas_of_integers(column: Column, decimals: int, option: str) -> Integers:
    factor = POWERS_OF_TEN[decimals]
    values = column.values.fill_null(0)
    if pa.types.is_uint64(values.type):
        raw = values.to_numpy(zero_copy_only=False)
        too_large = raw > MAX_INT64 // factor
    else:
        raw = pc.cast(values, pa.int64()).to_numpy(zero_copy_only=False)
        too_large = (raw > MAX_INT64 // factor) | (raw < -(MAX_INT64 // factor))
    if too_large.any():
        raise _no_decimal(column, int(too_large.argmax()), decimals, option)
    exact: Integers = raw.astype(np.int64) * np.int64(factor)
    return exact


def _mantissas_of_floats(column: Column, decimals: int, increment: int, option: str) -> Integers:
    floats, ulp = _floats(column)
    absent = np.isnan(floats)
    floats = np.where(absent, 0.0, floats)
    scale = float(POWERS_OF_TEN[decimals])
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = np.rint(floats * scale / increment) * increment
        too_large = ~(np.abs(nearest) < float(MAX_INT64))
        step = increment / scale
        allowed = np.maximum(1e-6 * step, 2 * ulp)
        off = np.abs(floats - nearest / scale) > allowed
    bad = too_large | off
    if bad.any():
        index = int(bad.argmax())
        if too_large[index]:
            raise column.error(index, f"at {decimals} decimals does not fit 64 bits")
        low = int(np.floor(floats[index] * scale / increment)) * increment
        raise column.error(
            index,
            f"is no multiple of the increment; next to it are {Decimal(low).scaleb(-decimals):f} "
            f"and {Decimal(low + increment).scaleb(-decimals):f}",
            f"give a finer {option}, or store the column as decimals or text",
        )
    return nearest.astype(np.int64)


def _floats(column: Column) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The values as float64, NaN for null, and the spacing of the column's own floats at each."""
    raw = column.values.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):
        ulp = np.spacing(np.abs(raw)).astype(np.float64)
    return raw.astype(np.float64), ulp


def decimals_needed(column: Column) -> int:
    """The most decimals any value has, trailing zeros aside; of floats, what their shortest form shows."""
    kind = column.values.type
    if pa.types.is_integer(kind):
        return 0
    if pa.types.is_floating(kind):
        return _decimals_of_floats(column)
    if pa.types.is_decimal(kind):
        column = Column(column.file, column.name, pc.cast(column.values, pa.string()), column.rows)
    if not column.is_text:
        raise InputError(f"{column.file}: column {column.name} holds {kind}, not numbers")
    if bool(pc.any(pc.match_substring_regex(column.values, "[eE]")).as_py()):
        plain = [None if v is None else _plain(v) for v in column.values.to_pylist()]
        column = Column(column.file, column.name, pa.array(plain, pa.string()), column.rows)
    text = pc.ascii_rtrim(pc.utf8_trim_whitespace(column.values), characters="0")
    point = pc.find_substring(text, ".")
    places = pc.subtract(pc.subtract(pc.binary_length(text), point), 1)
    most = pc.max(pc.if_else(pc.less(point, 0), 0, places)).as_py() or 0
    if most > MAX_DECIMALS:
        raise column.error(int(pc.index(places, most).as_py()), f"has more than {MAX_DECIMALS} decimals")
    return int(most)


def _plain(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return f"{number:f}" if number.is_finite() else text


def _decimals_of_floats(column: Column) -> int:
    floats, ulp = _floats(column)
    rest = np.isfinite(floats)
    floats, ulp = floats[rest], ulp[rest]
    for decimals in range(MAX_DECIMALS + 1):
        scale = float(POWERS_OF_TEN[decimals])
        scaled = np.rint(floats * scale)
        unexplained = (np.abs(floats - scaled / scale) > 2 * ulp) & (np.abs(scaled) < _EXACT_FLOAT)
        floats, ulp = floats[unexplained], ulp[unexplained]
        if not len(floats):
            return decimals
    return MAX_DECIMALS


# ------------------------------------------------------------------------------- ids, sides, switches


def whole_numbers(column: Column) -> npt.NDArray[np.uint64]:
    """Non-negative whole numbers, 0 where there is none; InputError for anything else."""

    def convert(values: pa.Array) -> pa.Array:
        return pc.cast(values, pa.uint64())

    try:
        numbers = convert(column.values)
    except pa.ArrowInvalid:
        column = trimmed(column)
        try:
            numbers = convert(column.values)
        except pa.ArrowInvalid:
            raise column.error(
                first_failing(column.values, convert),
                "is not a whole number from 0 to 18446744073709551615",
                f"leave the column out with --column {column.name}=-" if column.is_text else "",
            ) from None
    except pa.ArrowNotImplementedError:
        raise InputError(
            f"{column.file}: column {column.name} holds {column.values.type}, not whole numbers",
            hint="name the right column with --column FIELD=NAME",
        ) from None
    return np.asarray(numbers.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.uint64)


SIDE_WORDS: dict[str, int] = {
    **dict.fromkeys(("buy", "b", "bid", "bids", "buyer", "1", "+1"), BID),
    **dict.fromkeys(("sell", "s", "ask", "asks", "offer", "a", "seller", "-1", "2"), ASK),
    **dict.fromkeys(("", "n", "none", "unknown", "0", "-"), NO_SIDE),
}
SWITCH_WORDS: dict[str, int] = {
    **dict.fromkeys(("true", "t", "1", "yes", "y"), 1),
    **dict.fromkeys(("false", "f", "0", "no", "n", ""), 0),
}
ACTION_WORDS: dict[str, int] = {
    **dict.fromkeys(("snapshot", "partial", "s", "clear"), 2),
    **dict.fromkeys(("delete", "remove", "d"), 1),
    **dict.fromkeys(("update", "change", "set", "new", "add", "insert", "modify", "u", "a", "m", ""), 0),
}
SNAPSHOT_ACTION, DELETE_ACTION = 2, 1


def coded(column: Column, words: dict[str, int], what: str) -> npt.NDArray[np.int8]:
    """Each value's code by `words` (lower case); 0 where there is none; InputError for other words."""
    text = column.values
    if not column.is_text:
        # Integers, booleans and dictionaries read as their own texts: 1, true, buy.
        text = pc.cast(text, pa.string())
    vocabulary = pa.array(list(words))
    found = pc.index_in(pc.utf8_lower(text), vocabulary)
    if found.null_count > text.null_count:
        found = pc.index_in(pc.utf8_lower(pc.utf8_trim_whitespace(text)), vocabulary)
    if found.null_count > text.null_count:
        unknown = pc.and_(pc.is_null(found), pc.is_valid(text))
        index = int(pc.index(unknown, True).as_py())
        known = ", ".join(sorted({w for w in words if w}))
        raise column.error(index, f"is no {what}", f"known are {known}")
    codes = np.array([*words.values(), 0], dtype=np.int8)
    result: npt.NDArray[np.int8] = codes[np.asarray(found.fill_null(len(words)))]
    return result


Meaning = Literal["side", "buyer_is_maker"]


def sides(column: Column, meaning: Meaning) -> npt.NDArray[np.int8]:
    """+1 for a buyer (aggressor or bid), -1 for a seller, 0 for neither."""
    if meaning == "side":
        return coded(column, SIDE_WORDS, "side")
    maker = coded(column, SWITCH_WORDS, "yes or no")
    absent = column.absent()
    return np.where(absent, NO_SIDE, np.where(maker == 1, ASK, BID)).astype(np.int8)
