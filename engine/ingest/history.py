"""Pages of a venue's REST history into one sealed log.

    pages of each stream ──► rows ──► merged by time ──► strictly increasing times ──► log ──► seal

As of an imported table, `ts` is derived: the fact's own time at the venue (of a bar: its end) and an assumed
feed latency, 0 unless told otherwise; every row is flagged IMPORTED and nothing is kept in `wire`. The same
pages give the same rows, and so the same chain: no clock is read. A page is in memory while it becomes rows,
and one of each stream at a time.

A definition is that of today; where the history has finer prices or sizes, its decimals are widened before
the first row, and the increments stay as the venue states them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa

from engine import __version__
from engine.feed.decimals import TooFine
from engine.feed.history import IMPORTED, LAST, Placed, Stream, decimals_of_page
from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_order import Blocks, StrictTimes, merged
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import DecimalError, InputError
from engine.model.kinds import InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer

_FLUSHED_ROWS = 65_536
_NONE = InstrumentData("", "", "", 0, 0, "1", "1")  # of rows that belong to no instrument

Pages = Callable[[], Iterable[bytes]]  # the bodies of a stream's pages, in order; may be called again


class Part(msgspec.Struct, frozen=True):
    """One stream of a log: its pages, what makes rows of them, and who says so."""

    make: Callable[[], Stream]  # a stream that has taken nothing yet
    pages: Pages
    source: SourceData
    symbol: str  # "": of rows that belong to no instrument


class Written(msgspec.Struct, frozen=True):
    """What came of it."""

    rows: int
    facts: int  # messages of the market
    holes: int
    chain: str
    last_ts: int


def write_history(
    path: Path,
    parts: Sequence[Part],
    definitions: Sequence[InstrumentData],
    *,
    begin: int,
    feed_latency_ns: int = 0,
    previous: Path | None = None,
) -> Written:
    """Make the log `path` (which must not exist) and seal it.

    begin: a time that no fact is before; the definitions stand just before it. previous: the sealed log that
    this one goes on with. Raises InputError for a price that no definition can hold, EngineError for a full
    disk; what was begun is left behind then.
    """
    wide = list(definitions)
    while True:
        try:
            written = _write(path, parts, wide, begin, feed_latency_ns, previous)
            break
        except _Widen as needed:
            # Before anything of the finer decimals was written: begin again with room for them.
            path.unlink()
            wide = [needed.widened(each) for each in wide]
    seal(path)
    return written


class _Widen(Exception):
    """An instrument needs more decimals. Never leaves this module."""

    def __init__(self, key: str, decimals: tuple[int, int]) -> None:
        super().__init__(key)
        self.key, self.decimals = key, decimals

    def widened(self, data: InstrumentData) -> InstrumentData:
        """A definition with room for it, if it is this instrument's."""
        if data.key != self.key:
            return data
        price, size = self.decimals
        return msgspec.structs.replace(
            data,
            price_decimals=max(data.price_decimals, price),
            size_decimals=max(data.size_decimals, size),
        )


def _write(
    path: Path,
    parts: Sequence[Part],
    definitions: Sequence[InstrumentData],
    begin: int,
    feed_latency_ns: int,
    previous: Path | None,
) -> Written:
    numbers = {data.symbol: number for number, data in enumerate(definitions, start=1)}
    strict = StrictTimes()
    facts = holes = 0
    first_ts = begin + feed_latency_ns
    header = LogHeader(engine=__version__, venues=tuple(dict.fromkeys(part.source.venue for part in parts)))
    with LogWriter(path, _continued(header, previous)) as writer:
        strict.last_ts = _define(writer, parts, definitions, first_ts)
        streams: list[tuple[int, Blocks]] = []
        for number, part in enumerate(parts, start=1):
            place = numbers.get(part.symbol, 0)
            definition = definitions[place - 1] if place else _NONE
            placed = Placed(number, place, definition, feed_latency_ns)
            streams.append((first_ts, partial(_blocks, part, placed)))
        for unordered in merged(streams):
            block = strict.apply(unordered)
            status = int((block.packed["kind"] == Kind.STATUS).sum())
            holes += status
            facts += int((block.packed["flags"] & LAST != 0).sum()) - status
            writer.rows.extend(block.packed, block.texts(), [])
            if writer.rows.count >= _FLUSHED_ROWS:
                writer.flush()
        writer.close(reason="fetched", ts=strict.last_ts + 1)
        return Written(writer.seq, facts, holes, writer.chain_head, strict.last_ts)


def _continued(header: LogHeader, previous: Path | None) -> LogHeader:
    if previous is None:
        return header
    with LogReader(previous, ()) as reader:
        before = reader.header
    return msgspec.structs.replace(
        header,
        segment=before.segment + 1,
        previous_file=previous.name,
        previous_chain=before.sealed_chain,
    )


def _define(
    writer: LogWriter, parts: Sequence[Part], definitions: Sequence[InstrumentData], first_ts: int
) -> int:
    """SOURCE and INSTRUMENT rows, just before the first fact; returns the time of the last."""
    ts = first_ts - len(parts) - len(definitions)
    for number, part in enumerate(parts, start=1):
        data = encode_canonical(part.source)
        writer.rows.append(ts, Kind.SOURCE, source=number, flags=IMPORTED | LAST, data=data)
        ts += 1
    for number, definition in enumerate(definitions, start=1):
        data = encode_canonical(definition)
        writer.rows.append(ts, Kind.INSTRUMENT, instrument=number, flags=IMPORTED | LAST, data=data)
        ts += 1
    return ts - 1


def _blocks(part: Part, placed: Placed) -> Iterator[Block]:
    stream = part.make()
    for body in part.pages():
        rows = RowBuffer()
        page = stream.take(body)
        try:
            stream.append(page, placed, rows)
        except TooFine:
            raise _Widen(placed.definition.key, decimals_of_page(page)) from None
        except DecimalError as error:
            raise InputError(f"{placed.definition.key}: {error.message}") from None
        if rows.count:
            yield _block(rows)


def _block(rows: RowBuffer) -> Block:
    packed = rows.view().copy()
    if not rows.data:
        return Block(packed)
    texts = iter(rows.data)
    present = (packed["data_length"] >= 0).tolist()
    return Block(
        packed, pa.array([next(texts).decode() if there else None for there in present], pa.string())
    )
