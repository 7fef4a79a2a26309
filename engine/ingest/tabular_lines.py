"""Lines of a table on their way to rows: a file's plan, its times, and one chunk of it column by column.

Times: `ts` is when the fact could have been known. It is the file's receive time if it has one, else the
venue's time + the feed latency; of a bar, its start + its interval. `ts_venue` is the venue's own time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from engine.ingest.depth_window import DepthWindow
from engine.ingest.tabular_blocks import Packed
from engine.ingest.tabular_columns import Layout
from engine.ingest.tabular_files import Chunk, TableFile
from engine.ingest.tabular_times import TimeReader
from engine.ingest.tabular_values import (
    SWITCH_WORDS,
    Column,
    Integers,
    coded,
    mantissas,
    whole_numbers,
)
from engine.model.kinds import Flag, Kind
from engine.model.rows import ROW
from engine.model.units import NULL_TIME

IMPORTED = int(Flag.IMPORTED)
LAST = int(Flag.LAST)
# What an import takes over from our own exports: LAST and SNAPSHOT have columns there, FINAL every bar has.
KEPT_FLAGS = int(
    Flag.CLEAR
    | Flag.REVISED
    | Flag.MAYBE_BAD_BOOK
    | Flag.DUPLICATE
    | Flag.OUT_OF_ORDER
    | Flag.BACKFILLED
    | Flag.REJECTED_TICK
    | Flag.LOSSY
    | Flag.AGGREGATE
    | Flag.BY_ORDER
    | Flag.UNUSUAL
    | Flag.EXTREME
)
_WHOLE_NUMBER = r"^\d{1,19}$"
_TEXTUAL = "ids are texts, for which the log has no column: they were left out"


@dataclass(frozen=True)
class Placed:
    """An instrument in the log being made: its number there, and the units of its prices and sizes."""

    number: int
    price_decimals: int
    size_decimals: int
    tick: int
    lot: int


@dataclass
class Tally:
    """What an import counts on its way, by symbol: values that were kept though they look wrong."""

    off_increment: dict[str, int] = field(default_factory=dict)  # no multiple of the increment
    negative: dict[str, int] = field(default_factory=dict)  # prices below zero
    crossed: dict[str, int] = field(default_factory=dict)  # a bid at or above the ask
    notes: dict[str, int] = field(default_factory=dict)  # anything else, by what is to be said of it

    @staticmethod
    def add(counts: dict[str, int], key: str, count: int) -> None:
        """Count, if there is something to count."""
        if count:
            counts[key] = counts.get(key, 0) + count


@dataclass
class FilePlan:
    """One file and everything that was settled about it."""

    file: TableFile
    layout: Layout
    times: dict[str, TimeReader]
    symbols: tuple[str, ...]  # of a file without a symbol column, the one; else those to keep (): all
    feed_latency_ns: int = 0
    interval_ns: int = 0
    source: int = 0
    placed: dict[str, Placed] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    windows: dict[str, DepthWindow] = field(default_factory=dict)  # of files of book states

    def columns(self, fields: tuple[str, ...] | None = None) -> list[str]:
        """The file's columns behind these fields (None: all), in the file's order."""
        wanted = {c for f, c in self.layout.fields.items() if fields is None or f in fields}
        return [c for c in self.file.columns if c in wanted]

    def column(self, chunk: Chunk, name: str) -> Column | None:
        """A field's column in a chunk, None when the file has none."""
        column = self.layout.fields.get(name)
        return None if column is None else chunk.column(column)

    def selected(self, chunk: Chunk) -> tuple[Chunk, list[tuple[str, npt.NDArray[np.bool_] | None]]]:
        """The chunk without symbols not asked for, and per symbol where its rows are (None: all)."""
        column = self.column(chunk, "symbol")
        if column is None or self.layout.kind == "news":
            return chunk, [(self.symbols[0] if self.symbols else "", None)]
        column.require()
        coded_symbols = column.values.dictionary_encode()
        names = [str(name).strip() for name in coded_symbols.dictionary.to_pylist()]
        codes = coded_symbols.indices.to_numpy(zero_copy_only=False)
        if self.symbols and not set(names) <= set(self.symbols):
            keep = np.array([name in self.symbols for name in names], dtype=bool)[codes]
            chunk, codes = chunk.take(np.flatnonzero(keep)), codes[keep]
        present = [(name, codes == code) for code, name in enumerate(names) if (codes == code).any()]
        if len(present) == 1:
            return chunk, [(present[0][0], None)]
        return chunk, present


def times_of(chunk: Chunk, plan: FilePlan) -> tuple[Integers, Integers]:
    """`ts` and `ts_venue` of every line. InputError where a line has no time at all."""
    venue_field = "start" if plan.layout.kind == "bars" else "ts_venue"
    received = plan.column(chunk, "ts")
    venue = plan.column(chunk, venue_field)
    delay = plan.interval_ns if plan.layout.kind == "bars" else plan.feed_latency_ns
    if venue is None:
        assert received is not None
        ts = plan.times["ts"].read(received, required=True)
        ts_venue = ts - delay if plan.layout.kind == "bars" else np.full(len(ts), NULL_TIME, dtype=np.int64)
    else:
        ts_venue = plan.times[venue_field].read(
            venue, required=received is None or plan.layout.kind == "bars"
        )
        ts = ts_venue + delay
        if received is not None:
            taken = plan.times["ts"].read(received, required=False)
            ts = np.where(taken == NULL_TIME, ts, taken)
            nothing = (taken == NULL_TIME) & (ts_venue == NULL_TIME)
            if nothing.any():
                raise received.error(int(nothing.argmax()), "is no value, nor has the row another time")
    if len(ts) and int(ts.min()) <= 0:
        column = received or venue
        assert column is not None
        raise column.error(int(ts.argmin()), "is a time before 1970")
    return ts, ts_venue


class Lines:
    """One chunk while it is converted: its lines, their instruments and units."""

    def __init__(self, chunk: Chunk, plan: FilePlan) -> None:
        self.chunk, self.groups = plan.selected(chunk)
        self.plan = plan
        self.count = len(self.chunk)
        self.on_increments = True  # a mark price need not be a multiple

    def numbers(self) -> npt.NDArray[np.uint32]:
        """The instrument number of every line."""
        numbers = np.zeros(self.count, dtype=np.uint32)
        for symbol, where in self.groups:
            numbers[slice(None) if where is None else where] = self.plan.placed[symbol].number
        return numbers

    def mantissas(self, name: str, *, required: bool = True) -> Integers:
        """A price or size field as mantissas in each instrument's decimals."""
        column = self.plan.column(self.chunk, name)
        if column is None:
            return np.zeros(self.count, dtype=np.int64)
        if required:
            column.require()
        is_size = "size" in name or name == "volume"

        if self.groups[0][1] is None:
            values = self._convert(column, self.groups[0][0], is_size=is_size)
        else:
            values = np.zeros(self.count, dtype=np.int64)
            for symbol, where in self.groups:
                assert where is not None
                index = np.flatnonzero(where)
                values[index] = self._convert(column.take(index), symbol, is_size=is_size)
        if is_size and (values < 0).any():
            raise column.error(
                int((values < 0).argmax()), "is negative", "a size is not; the side says who sold"
            )
        return values

    def _convert(self, column: Column, symbol: str, *, is_size: bool) -> Integers:
        units = self.plan.placed[symbol]
        if is_size:
            decimals, increment, option = units.size_decimals, units.lot, "--size-increment"
        else:
            decimals, increment, option = units.price_decimals, units.tick, "--price-increment"
        values = mantissas(column, decimals, increment, option)
        tally = self.plan.tally
        if increment > 1 and self.on_increments:
            tally.add(tally.off_increment, symbol, int((values % increment != 0).sum()))
        if not is_size:
            tally.add(tally.negative, symbol, int((values < 0).sum()))
        return values

    def ids(self, name: str = "id") -> npt.NDArray[np.uint64]:
        """An id field."""
        column = self.plan.column(self.chunk, name)
        if column is None:
            return np.zeros(self.count, dtype=np.uint64)
        if self.plan.layout.textual_ids:
            number = pc.match_substring_regex(column.values, _WHOLE_NUMBER)
            tally = self.plan.tally
            tally.add(tally.notes, _TEXTUAL, int(pc.sum(pc.invert(number)).as_py() or 0))
            kept = pc.if_else(number, column.values, None)
            column = Column(column.file, column.name, kept, column.rows)
        return whole_numbers(column)

    def kept_flags(self, name: str = "flags") -> npt.NDArray[np.uint16]:
        """The flags of an export of ours that say something of the fact itself; 0 where there are none."""
        column = self.plan.column(self.chunk, name)
        if column is None:
            return np.zeros(self.count, dtype=np.uint16)
        given = whole_numbers(column)
        unknown = given > int(max(Flag)) * 2 - 1
        if unknown.any():
            raise column.error(int(unknown.argmax()), "is no combination of flags")
        return (given & np.uint64(KEPT_FLAGS)).astype(np.uint16)

    def switch(self, name: str) -> npt.NDArray[np.bool_]:
        """A yes-or-no field, False where the file has none."""
        column = self.plan.column(self.chunk, name)
        if column is None:
            return np.zeros(self.count, dtype=bool)
        return np.equal(coded(column, SWITCH_WORDS, "yes or no"), 1)

    def rows(self, kind: Kind, per_line: int) -> Packed:
        """Rows with what all kinds have: times, source, kind, flags, instrument. LAST ends each line."""
        ts, ts_venue = times_of(self.chunk, self.plan)
        packed = np.zeros(self.count * per_line, dtype=ROW)
        packed["ts"] = np.repeat(ts, per_line)
        packed["ts_venue"] = np.repeat(ts_venue, per_line)
        packed["source"] = self.plan.source
        packed["kind"] = int(kind)
        packed["flags"] = np.repeat(IMPORTED | self.kept_flags(), per_line)
        packed["flags"][per_line - 1 :: per_line] |= LAST
        packed["wire_length"] = packed["data_length"] = -1
        if kind != Kind.NEWS:
            packed["instrument"] = np.repeat(self.numbers(), per_line)
        return packed
