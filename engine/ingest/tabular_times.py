"""Times of other people's files to integer nanoseconds: numbers in a unit, and ISO 8601 texts with a zone.

The unit of numbers is told by their size (10 digits are seconds, 13 milliseconds, 16 microseconds, 19
nanoseconds) unless it was given, and is then held to: a file that changes its unit half-way is an error,
never a jump of a thousand years. A time without a zone is refused unless a zone was given. Fractions of
numbers are decimals and stay exact.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.ingest.tabular_values import Column, Integers, first_failing, trimmed
from engine.model.errors import InputError, UsageError
from engine.model.units import MAX_INT64, NULL_TIME

Unit = Literal["auto", "s", "ms", "us", "ns"]
UNITS: tuple[Unit, ...] = ("auto", "s", "ms", "us", "ns")
_DIGITS: dict[str, int] = {"s": 9, "ms": 6, "us": 3, "ns": 0}  # decimals of the unit down to nanoseconds
# From here on a number is in this unit: 1973 in the unit itself is 5138 in the one before.
_FIRST = {"s": 10**8, "ms": 10**11, "us": 10**14, "ns": 10**17}
_STAMP = pa.timestamp("ns", tz="UTC")
_UNIT_HINT = "say the unit with --time-unit s, ms, us or ns"


class TimeReader:
    """One time column of one file, chunk after chunk: what the first chunk shows holds for the rest."""

    def __init__(self, unit: Unit = "auto", zone: str = "") -> None:
        """`zone` is that of times which name none ("America/New_York"); without it they are refused."""
        self.unit: Unit = unit
        self._zone = zone
        if zone:
            _check_zone(zone)
        self._given = unit != "auto"
        self._as_number: bool | None = None

    def read(self, column: Column, *, required: bool) -> Integers:
        """Nanoseconds since 1970 UTC; NULL_TIME where there is none, which `required` makes an error."""
        if required:
            column.require()
        absent = column.absent()
        if absent.all():
            return np.full(len(absent), NULL_TIME, dtype=np.int64)
        kind = column.values.type
        if pa.types.is_temporal(kind):
            times = self._of_stamps(column)
        elif pa.types.is_floating(kind):
            times = self._of_floats(column)
        elif pa.types.is_integer(kind):
            times = self._of_numbers(column, pc.cast(column.values, pa.int64(), safe=False))
        elif column.is_text or pa.types.is_decimal(kind):
            times = self._of_texts(column)
        else:
            raise InputError(
                f"{column.file}: column {column.name} holds {kind}, not times",
                hint="name the right column with --column FIELD=NAME",
            )
        if absent.any():
            times = np.where(absent, NULL_TIME, times)
        return times

    def _of_texts(self, column: Column) -> Integers:
        if self._as_number is None:
            first = str(column.values.drop_null()[0].as_py()).strip()
            self._as_number = first.lstrip("-").replace(".", "", 1).isdigit()
        if not self._as_number:
            return self._of_iso(column)
        try:
            numbers = pc.cast(column.values, pa.int64())
        except pa.ArrowInvalid:
            return self._of_decimals(trimmed(column))
        return self._of_numbers(column, numbers)

    def _of_numbers(self, column: Column, numbers: pa.Array) -> Integers:
        raw = numbers.fill_null(0).to_numpy(zero_copy_only=False)
        valid = numbers.is_valid().to_numpy(zero_copy_only=False) if numbers.null_count else None
        self._check_unit(column, raw, valid)
        factor = 10 ** _DIGITS[self.unit]
        too_large = np.abs(raw) > MAX_INT64 // factor
        if too_large.any():
            raise column.error(int(too_large.argmax()), f"{self.unit} is not a time before 2262", _UNIT_HINT)
        times: Integers = raw * np.int64(factor)
        return times

    def _of_decimals(self, column: Column) -> Integers:
        def convert(values: pa.Array) -> pa.Array:
            return pc.cast(values, pa.decimal128(38, 9))

        try:
            exact = convert(column.values)
        except pa.ArrowInvalid:
            index = first_failing(column.values, convert)
            raise column.error(index, "is not a time like those before it", _UNIT_HINT) from None
        whole = pc.cast(pc.floor(exact), pa.int64(), safe=False)
        raw = whole.fill_null(0).to_numpy(zero_copy_only=False)
        self._check_unit(column, raw, exact.is_valid().to_numpy(zero_copy_only=False))
        digits = _DIGITS[self.unit]

        def scale(values: pa.Array) -> pa.Array:
            return pc.cast(values, pa.decimal128(38, digits))

        try:
            scaled = scale(exact)
        except pa.ArrowInvalid:
            index = first_failing(exact, scale)
            raise column.error(index, f"{self.unit} is finer than a nanosecond", _UNIT_HINT) from None
        words = np.frombuffer(scaled.buffers()[1], dtype="<i8").reshape(-1, 2)
        low = words[scaled.offset : scaled.offset + len(scaled), 0].copy()
        low[column.absent()] = 0
        return low

    def _of_floats(self, column: Column) -> Integers:
        # A float64 of seconds resolves 0.2 us: what it shows below a microsecond is noise, and is cut.
        raw = np.nan_to_num(column.values.to_numpy(zero_copy_only=False).astype(np.float64))
        self._check_unit(column, np.floor(raw).astype(np.int64), ~column.absent())
        digits = _DIGITS[self.unit]
        whole = np.floor(raw)
        kept = min(digits, 6) if self.unit == "s" else digits
        fraction = np.rint((raw - whole) * 10.0**kept).astype(np.int64) * 10 ** (digits - kept)
        times: Integers = whole.astype(np.int64) * np.int64(10**digits) + fraction
        return times

    def _of_stamps(self, column: Column) -> Integers:
        values = column.values
        if pa.types.is_date(values.type):
            values = pc.cast(values, pa.timestamp("ms"))
        if not pa.types.is_timestamp(values.type):
            raise InputError(f"{column.file}: column {column.name} holds {values.type}, not times")
        try:
            if values.type.tz is None:
                values = self._in_zone(column, pc.cast(values, pa.timestamp("ns")))
            stamps = pc.cast(values, _STAMP)
        except pa.ArrowInvalid as error:
            raise InputError(f"{column.file}: column {column.name}: {error}") from None
        return np.asarray(pc.cast(stamps, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))

    def _of_iso(self, column: Column) -> Integers:
        column = trimmed(column)
        target = pa.timestamp("ns") if self._zone else _STAMP

        def convert(values: pa.Array) -> pa.Array:
            return pc.cast(values, target)

        try:
            stamps = convert(column.values)
        except pa.ArrowInvalid:
            raise self._no_time(column, first_failing(column.values, convert)) from None
        if self._zone:
            stamps = self._in_zone(column, stamps)
        return np.asarray(pc.cast(stamps, pa.int64()).fill_null(0).to_numpy(zero_copy_only=False))

    def _no_time(self, column: Column, index: int) -> InputError:
        text = column.values[index : index + 1]
        example = "write 2024-06-01T12:00:00.5Z, or a number of s, ms, us or ns"
        try:
            pc.cast(text, _STAMP if self._zone else pa.timestamp("ns"))
        except pa.ArrowInvalid:
            return column.error(index, "is not a time", example)
        if self._zone:
            return column.error(index, "names its own zone, though --zone was given", "leave --zone away")
        return column.error(
            index, "is a time without a zone", "say which with --zone UTC or --zone America/New_York"
        )

    def _in_zone(self, column: Column, stamps: pa.Array) -> pa.Array:
        if not self._zone:
            index = int(np.argmin(column.absent()))
            raise column.error(
                index, "is a time without a zone", "say which with --zone UTC or --zone America/New_York"
            )

        def convert(values: pa.Array) -> pa.Array:
            return pc.cast(pc.assume_timezone(values, self._zone), _STAMP)

        try:
            return convert(stamps)
        except pa.ArrowInvalid:
            index = first_failing(stamps, convert)
            raise column.error(
                index,
                f"does not exist in {self._zone}, or twice (the clock was changed)",
                "convert it to UTC",
            ) from None

    def _check_unit(self, column: Column, raw: Integers, valid: npt.NDArray[np.bool_] | None) -> None:
        """Settle the unit, and hold every number to it."""
        if self._given:
            return
        if self.unit == "auto":
            first = int(raw[0] if valid is None else raw[int(valid.argmax())])
            index = 0 if valid is None else int(valid.argmax())
            self.unit = unit_of(first)
            if self.unit == "auto":
                raise column.error(index, "is too small for a time: its unit cannot be told", _UNIT_HINT)
        low = _FIRST[self.unit]
        high = low * 1000 if self.unit != "ns" else MAX_INT64
        outside = (raw < low) | (raw >= high)
        if valid is not None:
            outside &= valid
        if outside.any():
            raise column.error(
                int(outside.argmax()),
                f"is not in {self.unit}, the unit of the rows before it",
                f"{_UNIT_HINT}, or split the file where the unit changes",
            )


def _check_zone(zone: str) -> None:
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("ns")), zone)
    except pa.ArrowInvalid:
        raise UsageError(f'--zone "{zone}" is no time zone', hint="write UTC or America/New_York") from None


def unit_of(number: int) -> Unit:
    """The unit a time of this size is in, for times from 1973 on; "auto" when none fits."""
    units: tuple[Unit, ...] = ("ns", "us", "ms", "s")
    for unit in units:
        if number >= _FIRST[unit]:
            return unit
    return "auto"
