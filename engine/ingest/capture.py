"""Capture files into a log: the frames in `wire`, the rows as a recorder would have written them.

Two passes, both streaming: the first finds the instruments, channels and REST answers that the log's
header must name; the second feeds every frame, with its receive time, to the venue's parser. The rows carry
no IMPORTED flag, because these are real receive times. Several files are merged by receive time, files in
the order given where times are equal; a time that does not increase becomes the one before plus 1 ns,
and is counted.

The same input gives the same log, byte for byte: nothing of the machine, the path or the day goes in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

import engine
from engine.feed.binance import BinanceParser
from engine.feed.parser import SnapshotWanted
from engine.ingest.capture_lines import Line, read_lines
from engine.ingest.capture_scan import Scan
from engine.ingest.instruments import known_instruments, read_exchange_info
from engine.log.schema import Batch, LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import kind_name
from engine.model.units import format_time

Progress = Callable[[int, int], None]  # frames done, frames in all
_FLUSH_ROWS = 16_384
_STREAM = 1  # number of the source that stands for the connection
_LAST = int(Flag.LAST)
_status = msgspec.json.Decoder(StatusData)


class CaptureReport(msgspec.Struct, frozen=True):
    """What an import came to."""

    path: str
    files: tuple[str, ...]
    frames: int
    rows: int
    messages: int
    kinds: dict[str, int]  # rows by kind
    instruments: tuple[str, ...]
    first: str  # time of the first and the last frame
    last: str
    gaps: int
    malformed: int
    unknown: dict[str, int]  # CONTROL rows of types that nobody knows
    moved: int  # receive times that did not increase
    untimed: int  # lines without a receive time
    bytes: int
    chain: str
    warnings: tuple[str, ...] = ()


def import_capture(
    files: Sequence[Path],
    out: Path,
    *,
    venue: str = "binance",
    time_unit: str = "auto",
    exchange_info: Path | None = None,
    instruments: Mapping[str, InstrumentData] | None = None,
    symbol: str = "",
    progress: Progress | None = None,
) -> CaptureReport:
    """Import captures into one new, sealed log.

    instruments: definitions by symbol, before those of `exchange_info`, before data/instruments. symbol:
    whose the book snapshots are that do not say so. Raises UsageError and InputError, naming file and
    line; `out` is then not there.
    """
    if venue != "binance":
        raise UsageError(f'captures of venue "{venue}" cannot be read', hint="binance can")
    if not files:
        raise UsageError("no capture file given")
    if out.exists():
        raise UsageError(f"{out}: exists already", hint="an import makes a new log: name another file")
    known = known_instruments(venue)
    if exchange_info is not None:
        known |= read_exchange_info(exchange_info, known=known)
    known |= instruments or {}
    scan = Scan(known)
    for path in files:
        scan.read(read_lines(path, time_unit), str(path))
    if not scan.frames:
        raise InputError(f"{files[0]}: no frame in it", hint="a capture has lines of <receive time> <frame>")
    importer = _Importer(files, out, scan, known, scan.settle(symbol.upper()))
    try:
        importer.run(heapq.merge(*(read_lines(path, time_unit) for path in files), key=_time), progress)
        importer.close()
        sealed = seal(out)
    except BaseException:
        importer.writer.abandon()
        with suppress(OSError):
            out.unlink()
        raise
    return importer.report(sealed.bytes_after, sealed.chain)


def _time(line: Line) -> int:
    return line.ts


class _Importer:
    """One import on its way."""

    def __init__(
        self,
        files: Sequence[Path],
        out: Path,
        scan: Scan,
        known: Mapping[str, InstrumentData],
        bare_symbol: str,
    ) -> None:
        self._files = tuple(path.name for path in files)
        self._scan = scan
        self._bare_symbol = bare_symbol
        self._guessed: list[InstrumentData] = []
        self._definitions = self._define(known)
        detail = {"files": " ".join(self._files)}
        self._sources = [SourceData(name="binance", venue="binance", url=scan.url, detail=detail)]
        self._sources += [
            SourceData(name="binance-rest", venue="binance", endpoint=endpoint, symbol=symbol)
            for endpoint, symbol in scan.endpoints
        ]
        self._number_of = {
            (source.endpoint, source.symbol): number for number, source in enumerate(self._sources, start=1)
        }
        self._parser = BinanceParser(
            {d.symbol: (number, d) for number, d in enumerate(self._definitions, start=1)}, _STREAM
        )
        self._ts = 0  # of the last message
        self._moved = self._untimed = self._frames = self._messages = self._gaps = 0
        self._kinds = np.zeros(256, dtype=np.int64)
        header = LogHeader(
            engine=engine.__version__,
            created=format_time(scan.first_ts),
            venues=("binance",),
            note=f"imported from {', '.join(self._files)}",
        )
        self.writer = LogWriter(out, header)

    def run(self, lines: Iterator[Line], progress: Progress | None) -> None:
        """Write the header rows and every frame."""
        self._write_header()
        for line in lines:
            if not line.url or line.endpoint:
                self._feed(line)
            if self.writer.rows.count >= _FLUSH_ROWS:
                self._flush()
                if progress is not None:
                    progress(self._frames, self._scan.frames)
        self._flush()
        if progress is not None:
            progress(self._frames, self._scan.frames)

    def close(self) -> None:
        """Write END."""
        self.writer.close(reason="import", ts=self._ts + 1)
        self._kinds[Kind.END] += 1
        self._messages += 1

    def report(self, size: int, chain: str) -> CaptureReport:
        """What has been done."""
        kinds = {kind_name(code): count for code, count in enumerate(self._kinds.tolist()) if count}
        return CaptureReport(
            path=str(self.writer.path),
            files=self._files,
            frames=self._frames,
            rows=self.writer.seq,
            messages=self._messages,
            kinds=kinds,
            instruments=tuple(d.key for d in self._definitions),
            first=format_time(self._scan.first_ts),
            last=format_time(self._ts),
            gaps=self._gaps,
            malformed=int(self._kinds[Kind.MALFORMED]),
            unknown=dict(self._parser.unknown),
            moved=self._moved,
            untimed=self._untimed,
            bytes=size,
            chain=chain,
            warnings=tuple(self._warnings()),
        )

    def _define(self, known: Mapping[str, InstrumentData]) -> list[InstrumentData]:
        definitions = []
        for symbol in sorted(self._scan.channels):
            definition = known.get(symbol)
            if definition is None:
                definition = self._scan.widest[symbol].guess(symbol, "binance")
                self._guessed.append(definition)
            channels = self._scan.channels_of(symbol)
            definitions.append(msgspec.structs.replace(definition, channels=channels))
        return definitions

    def _write_header(self) -> None:
        # One message each, just before the first frame; the nanosecond before it is left to the parser,
        # which puts a wider definition there.
        ts = self._scan.first_ts - len(self._sources) - len(self._definitions) - 1
        rows = self.writer.rows
        for number, source in enumerate(self._sources, start=1):
            rows.append(ts, Kind.SOURCE, source=number, flags=_LAST, data=encode_canonical(source))
            ts += 1
        for number, definition in enumerate(self._definitions, start=1):
            rows.append(
                ts, Kind.INSTRUMENT, instrument=number, flags=_LAST, data=encode_canonical(definition)
            )
            ts += 1

    def _feed(self, line: Line) -> None:
        ts = line.ts
        if ts <= self._ts:
            ts = self._ts + 1
            self._moved += 1
        self._ts = ts
        self._frames += 1
        self._untimed += not line.timed
        if not line.endpoint:
            self._parser.feed(line.frame, ts, self.writer.rows)
            return
        symbol = line.symbol or (self._bare_symbol if line.endpoint == "depth" else "")
        number = self._number_of[line.endpoint, symbol]
        self._parser.feed_rest(self._sources[number - 1], line.frame, ts, self.writer.rows, number)

    def _flush(self) -> None:
        batch = self.writer.flush()
        if batch is not None:
            self._kinds += np.bincount(batch.kind, minlength=256)
            self._messages += int((batch.flags & _LAST).sum())
            self._gaps += _gaps(batch)

    def _warnings(self) -> Iterator[str]:
        for definition in self._guessed:
            yield (
                f"{definition.key}: increments {definition.price_increment} and "
                f"{definition.size_increment} are guessed from the widest decimals seen; "
                "name the venue's own with --exchange-info"
            )
        wanting = {want.symbol for want in self._parser.wants if isinstance(want, SnapshotWanted)}
        for definition in self._definitions:
            if definition.symbol in wanting and not self._parser.synchronised(definition.symbol):
                yield (
                    f"{definition.key}: the book is out of step with the venue's at the end; "
                    "its updates since are flagged MAYBE_BAD_BOOK and not applied"
                )
        if self._moved:
            yield f"{self._moved} receive times did not increase and were moved by a nanosecond or more"
        if self._untimed:
            yield f"{self._untimed} lines begin with no receive time and took that of the line before"
        malformed = int(self._kinds[Kind.MALFORMED])
        if malformed:
            yield f"{malformed} frames are not what the protocol says; they are kept as MALFORMED rows"


def _gaps(batch: Batch) -> int:
    return sum(
        _status.decode(batch.data_at(int(row)) or b"{}").event == "gap"
        for row in np.flatnonzero(batch.kind == Kind.STATUS)
    )
