"""Chunks of a file to rows of the log: one function a kind, whole columns at a time.

A trade is one row; a quote its bid row and its ask row; a bar its OPEN, HIGH, LOW and CLOSE row; a line of
a book file is one row, and which lines are one message is decided later, when they stand in order
(`tabular_order`), unless the file marks each message's last line. Every row is flagged IMPORTED.

Times: `ts` is when the fact could have been known. It is the file's receive time if it has one, else the
venue's time + the feed latency; of a bar, its start + its interval. `ts_venue` is the venue's own time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.ingest.tabular_blocks import Block, Packed
from engine.ingest.tabular_columns import Layout
from engine.ingest.tabular_files import Chunk, TableFile
from engine.ingest.tabular_times import TimeReader
from engine.ingest.tabular_values import (
    ACTION_WORDS,
    DELETE_ACTION,
    SNAPSHOT_ACTION,
    SWITCH_WORDS,
    Column,
    Integers,
    Meaning,
    coded,
    mantissas,
    sides,
    whole_numbers,
)
from engine.model.kinds import ASK, BID, BarData, Flag, Kind, NewsData, Part, encode_canonical
from engine.model.rows import ROW
from engine.model.units import NULL_TIME

_IMPORTED = int(Flag.IMPORTED)
_LAST = int(Flag.LAST)


@dataclass(frozen=True)
class Placed:
    """An instrument in the log being made: its number there, and the units of its prices and sizes."""

    number: int
    price_decimals: int
    size_decimals: int
    tick: int
    lot: int


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
    off_increment: dict[str, int] = field(default_factory=dict)  # symbol -> values that are no multiple

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


class _Lines:
    """One chunk while it is converted: its lines, their instruments and units."""

    def __init__(self, chunk: Chunk, plan: FilePlan) -> None:
        self.chunk, self.groups = plan.selected(chunk)
        self.plan = plan
        self.count = len(self.chunk)

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
        if increment > 1 and (off := int((values % increment != 0).sum())):
            self.plan.off_increment[symbol] = self.plan.off_increment.get(symbol, 0) + off
        return values

    def ids(self, name: str = "id") -> npt.NDArray[np.uint64]:
        """An id field."""
        column = self.plan.column(self.chunk, name)
        return np.zeros(self.count, dtype=np.uint64) if column is None else whole_numbers(column)

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
        packed["flags"] = _IMPORTED
        packed["flags"][per_line - 1 :: per_line] |= _LAST
        packed["wire_length"] = packed["data_length"] = -1
        if kind != Kind.NEWS:
            packed["instrument"] = np.repeat(self.numbers(), per_line)
        return packed


def _trades(lines: _Lines) -> Block:
    packed = lines.rows(Kind.TRADE, 1)
    packed["price"] = lines.mantissas("price")
    packed["size"] = lines.mantissas("size")
    packed["id"] = lines.ids()
    meanings: tuple[Meaning, ...] = ("side", "buyer_is_maker")
    for meaning in meanings:
        column = lines.plan.column(lines.chunk, meaning)
        if column is not None:
            packed["side"] = sides(column, meaning)
            break
    if lines.plan.layout.aggregate:
        packed["flags"] |= int(Flag.AGGREGATE)
    return Block(packed)


def _quotes(lines: _Lines) -> Block:
    packed = lines.rows(Kind.QUOTE, 2)
    packed["id"] = np.repeat(lines.ids(), 2)
    for first, side, name in ((0, BID, "bid"), (1, ASK, "ask")):
        rows = packed[first::2]
        price = lines.plan.column(lines.chunk, name)
        assert price is not None
        rows["side"] = side
        rows["price"] = lines.mantissas(name, required=False)
        rows["size"] = np.where(price.absent(), 0, lines.mantissas(f"{name}_size", required=False))
    return Block(packed)


def _book(lines: _Lines) -> Block:
    packed = lines.rows(Kind.BOOK, 1)
    packed["id"] = lines.ids()
    packed["price"] = lines.mantissas("price")
    side = lines.plan.column(lines.chunk, "side")
    assert side is not None
    packed["side"] = sides(side, "side")
    if (packed["side"] == 0).any():
        raise side.error(int((packed["side"] == 0).argmax()), "is no side", "a level is a bid or an ask")
    snapshot = lines.switch("snapshot")
    action = lines.plan.column(lines.chunk, "action")
    deleted = np.zeros(lines.count, dtype=bool)
    if action is not None:
        codes = coded(action, ACTION_WORDS, "action")
        snapshot |= codes == SNAPSHOT_ACTION
        deleted = codes == DELETE_ACTION
    sizes = lines.mantissas("size", required=False)
    size = lines.plan.column(lines.chunk, "size")
    assert size is not None
    unknown = size.absent() & ~deleted
    if unknown.any():
        raise size.error(int(unknown.argmax()), "is no value", "only a deleted level needs none")
    packed["size"] = np.where(deleted, 0, sizes)
    packed["flags"] = np.where(snapshot, _IMPORTED | int(Flag.SNAPSHOT), _IMPORTED)
    if "last" in lines.plan.layout.fields:
        packed["flags"] |= np.where(lines.switch("last"), _LAST, 0).astype(np.uint16)
    return Block(packed)


def _bars(lines: _Lines) -> Block:
    interval = lines.plan.column(lines.chunk, "interval_ns")
    if interval is not None:
        other = whole_numbers(interval) != lines.plan.interval_ns
        if other.any():
            raise interval.error(
                int(other.argmax()), f"is not {lines.plan.interval_ns}, the interval of the rows before it"
            )
    packed = lines.rows(Kind.BAR, 4)
    packed["flags"] |= int(Flag.FINAL)
    parts = ((Part.OPEN, "open"), (Part.HIGH, "high"), (Part.LOW, "low"), (Part.CLOSE, "close"))
    for first, (part, name) in enumerate(parts):
        packed["part"][first::4] = int(part)
        packed["price"][first::4] = lines.mantissas(name)
    packed["size"][3::4] = lines.mantissas("volume", required=False)
    packed["id"][3::4] = lines.ids("trades")
    text = encode_canonical(BarData(interval_ns=lines.plan.interval_ns)).decode()
    packed["data_length"][0::4] = len(text)
    index = np.zeros(len(packed), dtype=np.int32)
    none = np.ones(len(packed), dtype=bool)
    none[0::4] = False
    data = pa.DictionaryArray.from_arrays(pa.array(index, mask=none), pa.array([text])).dictionary_decode()
    return Block(packed, data)


_SEPARATORS = re.compile(r"[,;|\s]+")


def _news(lines: _Lines) -> Block:
    packed = lines.rows(Kind.NEWS, 1)

    def texts(name: str) -> list[str]:
        column = lines.plan.column(lines.chunk, name)
        if column is None:
            return [""] * lines.count
        return ["" if v is None else str(v).strip() for v in column.values.to_pylist()]

    headline = lines.plan.column(lines.chunk, "headline")
    assert headline is not None
    headline.require()
    data = []
    fields = zip(
        *(texts(n) for n in ("headline", "summary", "source", "url", "id")), _symbols(lines), strict=True
    )
    for ts_venue, (title, summary, source, url, given, symbols) in zip(
        packed["ts_venue"], fields, strict=True
    ):
        key = given or blake2b(f"{title}\n{url}\n{ts_venue}".encode(), digest_size=8).hexdigest()
        news = NewsData(id=key, headline=title, summary=summary, source=source, url=url, symbols=symbols)
        data.append(encode_canonical(news))
    packed["data_length"] = [len(text) for text in data]
    return Block(packed, pa.array([text.decode() for text in data], pa.string()))


def _symbols(lines: _Lines) -> list[tuple[str, ...]]:
    column = lines.plan.column(lines.chunk, "symbols")
    if column is None:
        return [()] * lines.count
    return [
        tuple(s for s in (_SEPARATORS.split(v) if isinstance(v, str) else map(str, v or ())) if s)
        for v in column.values.to_pylist()
    ]


_CONVERT: dict[str, Callable[[_Lines], Block]] = {
    "trades": _trades,
    "quotes": _quotes,
    "book": _book,
    "bars": _bars,
    "news": _news,
}


def block_of(chunk: Chunk, plan: FilePlan) -> Block:
    """The rows of a chunk. InputError names file, row, column and value of the first that cannot be one."""
    lines = _Lines(chunk, plan)
    if not lines.count:
        return Block(np.zeros(0, dtype=ROW))
    return _CONVERT[plan.layout.kind](lines)
