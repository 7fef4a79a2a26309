"""Other people's files into one sealed log.

    look    every file once: kind, times, order, symbols, decimals      (sources: tables, LOBSTER, …)
    settle  increments, numbers of sources and instruments, sessions     (tabular_units, sessions)
    write   rows → order → messages → log, then seal                     (sources, tabular_order)

The log appears under its name when it is whole and sealed; until then, and after any failure, there is
nothing. The same files and options give the same rows, and so the same chain. No clock is read, and of the
files only the names (not the folders) are kept, in their SOURCE rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from engine import __version__
from engine.ingest.corporate import CorporateSource, settle_actions
from engine.ingest.recognise import open_sources
from engine.ingest.sessions import Calendar, day_of
from engine.ingest.sources import Source
from engine.ingest.tabular_lines import Placed
from engine.ingest.tabular_order import Blocks, StrictTimes, merged
from engine.ingest.tabular_survey import Survey, TableOptions
from engine.ingest.tabular_units import GUESSED, Definition, UnitsBook, UnitsWanted
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.segments import next_path
from engine.log.writer import LogWriter
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, SessionData, SourceData, encode_canonical
from engine.model.units import format_time, parse_decimal, parse_time

_FLUSHED_ROWS = 65_536
_DEFINED = int(Flag.LAST | Flag.IMPORTED)
# Endings that say that a file was meant, and no folder for logs.
_NO_LOG = frozenset(
    (".csv", ".parquet", ".json", ".txt", ".npz", ".npy", ".zip", ".gz", ".zst", ".bz2", ".feather", ".ipc")
)
_Key = tuple[str, str]  # venue, symbol


class FileReport(msgspec.Struct):
    """What was made of one file."""

    file: str
    kind: str
    rows: int
    skipped: int  # rows of other symbols
    out_of_order: int  # rows that stood after a later one, and were sorted
    unused_columns: tuple[str, ...]


class InstrumentReport(msgspec.Struct):
    """One instrument, its increments and where they are from."""

    key: str
    price_increment: str
    size_increment: str
    origin: str
    off_increment: int  # prices and sizes that are no multiple of them
    negative: int = 0  # prices below zero
    crossed: int = 0  # quotes and book states whose bid is not below their ask


class ImportReport(msgspec.Struct):
    """What an import did; the object that `--json` prints."""

    path: str
    files: list[FileReport]
    instruments: list[InstrumentReport]
    rows: int  # of the log
    messages: int
    first: str  # time of the first and the last fact
    last: str
    moved: int  # messages at the time of the one before, put 1 ns after it
    chain: str
    bytes: int
    warnings: list[str]
    sessions: int = 0  # SESSION rows written


@dataclass(frozen=True)
class Progress:
    """Told how far an import is: phase, rows done, rows in all (0: not known yet)."""

    report: Callable[[str, int, int], None] = lambda _phase, _done, _total: None


def import_tables(
    paths: Iterable[tuple[Path, str]],
    to: Path,
    options: TableOptions,
    units: UnitsWanted,
    progress: Progress | None = None,
) -> ImportReport:
    """Import files (path, and how messages call it) into the log `to`, a file or a folder.

    With a calendar and no files, the log holds its sessions from `since` to `until`. Raises UsageError for
    options that do not fit, InputError naming file, row, column and value for data that cannot be taken;
    nothing is left behind then.
    """
    check_target(to)
    job = _Import(options, units, progress or Progress())
    job.look(paths)
    job.settle()
    return job.write(to)


def check_target(to: Path) -> None:
    """UsageError when `to` is named like a file that is no log."""
    if to.suffix.lower() in _NO_LOG and not to.is_dir():
        raise UsageError(
            f"{to}: an import writes a log", hint=f"name it {to.with_suffix('.arrow').name}, or name a folder"
        )


class _Import:
    """One import on its way; its three steps are its methods."""

    def __init__(self, options: TableOptions, units: UnitsWanted, progress: Progress) -> None:
        self.options = options
        self.units = units
        self.progress = progress
        self.warnings: list[str] = []
        self.sources: list[Source] = []
        self.surveys: list[Survey] = []
        self.definitions: dict[_Key, Definition] = {}
        self.sessions: list[SessionData] = []
        self.calendar = Calendar(options.calendar) if options.calendar else None
        self.books: dict[str, UnitsBook] = {}

    def look(self, paths: Iterable[tuple[Path, str]]) -> None:
        """Open and survey every file."""
        self.sources = open_sources(paths, self.options, self.warnings.append)
        if not self.sources and not self.calendar:
            raise UsageError("no file to import")
        if self.sources and (self.options.since or self.options.until):
            raise UsageError(
                "--from and --until say which sessions to write without files",
                hint="the sessions of the files' own days are written with --calendar alone",
            )
        said = {source.venue for source in self.sources if source.venue}
        for source in self.sources:
            # Splits belong to the one venue that the other files are of; news to none.
            other = next(iter(said)) if len(said) == 1 and source.kind in {"corporate", "news"} else ""
            source.venue = self.options.venue or source.venue or other
            if source.needs_venue and not source.venue:
                raise UsageError("whose data are these?", hint="name the venue: --venue binance")
            if source.venue not in self.books:
                self.books[source.venue] = UnitsBook(self.units, source.venue)
        seen = 0

        def count(rows: int) -> None:
            nonlocal seen
            seen += rows
            self.progress.report("look", seen, 0)

        for source in self.sources:
            find = self.books[source.venue].find
            undefined: Callable[[str], bool] = partial(_is_undefined, find)
            if isinstance(source, CorporateSource):
                source.calendar = self.calendar
            self.surveys.append(source.look(undefined, count))
        settle_actions(self.sources, self.surveys)

    def settle(self) -> None:
        """Give sources and instruments their numbers, and instruments their units; find the sessions."""
        widest: dict[_Key, tuple[int, int]] = {}
        finest: dict[_Key, int] = {}
        channels: dict[_Key, tuple[str, ...]] = {}
        currencies: dict[_Key, str] = {}
        for number, (source, found) in enumerate(zip(self.sources, self.surveys, strict=True), start=1):
            source.number = number
            source.feed_latency_ns = self.options.feed_latency_ns
            for symbol, decimals in found.decimals.items() if source.kind != "news" else ():
                key = (source.venue, symbol)
                before = widest.get(key, (0, 0))
                widest[key] = (max(before[0], decimals[0]), max(before[1], decimals[1]))
                finest[key] = max(finest.get(key, 0), found.finest.get(symbol, 0))
                new = tuple(c for c in found.channels.get(symbol, ()) if c not in channels.get(key, ()))
                channels[key] = channels.get(key, ()) + new
                currencies[key] = currencies.get(key, "") or source.currency
        placed: dict[_Key, Placed] = {}
        for number, (key, decimals) in enumerate(widest.items(), start=1):
            venue, symbol = key
            definition = self.books[venue].find(symbol) or self.books[venue].define(symbol, *decimals)
            data = definition.data
            data = msgspec.structs.replace(
                data,
                channels=channels[key],
                version=1,
                price_decimals=max(data.price_decimals, finest[key]),
                quote=data.quote or currencies[key],
            )
            self.definitions[key] = Definition(data, definition.origin)
            placed[key] = _placed(number, data)
            if definition.origin == GUESSED:
                self._guessed(data)
        for source, found in zip(self.sources, self.surveys, strict=True):
            source.placed = {
                s: placed[source.venue, s] for s in found.decimals if (source.venue, s) in placed
            }
        if self.calendar:
            self.sessions = self._sessions(self.calendar)

    def _guessed(self, data: InstrumentData) -> None:
        if not data.channels:
            raise UsageError(
                f"{data.key}: nothing says what its increments are",
                hint="import it together with market data, or give --price-increment and --size-increment",
            )
        self.warnings.append(
            f"{data.key}: increments {data.price_increment} and {data.size_increment} are the widest "
            "decimals in the files; --price-increment, --size-increment or --exchange-info say it "
            "for certain"
        )

    def _sessions(self, calendar: Calendar) -> list[SessionData]:
        venues = {source.venue for source in self.sources if source.venue} or {self.options.venue}
        venue = next(iter(venues)) if len(venues) == 1 else ""
        if not self.sources:
            first, last = (
                day_of(text, option)
                for text, option in ((self.options.since, "--from"), (self.options.until, "--until"))
            )
            sessions = calendar.sessions(first, last, venue)
        else:
            spans = [(f.first_ts, f.last_ts) for f in self.surveys]
            sessions = calendar.touched(min(s[0] for s in spans), max(s[1] for s in spans), venue)
        if not sessions:
            raise UsageError(f"{calendar.name} has no session in that time")
        return sessions

    def write(self, to: Path) -> ImportReport:
        """Make the log in a folder of its own beside its place, seal it, and move it there."""
        # Sessions alone stand before anything of their first day.
        first_ts = min([f.first_ts for f in self.surveys] or [_begin_of(self.sessions[0])])
        target = to if to.suffix == ".arrow" else next_path(to, first_ts)
        if target.exists():
            raise UsageError(
                f"{target}: exists already", hint="a log is never overwritten: name another file"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".import-", dir=target.parent) as work:
                report = self._write_in(Path(work), target, first_ts)
                (Path(work) / target.name).rename(target)
        except OSError as error:
            raise EngineError(f"{target}: cannot be written: {error.strerror or error}") from None
        return report

    def _write_in(self, work: Path, target: Path, first_ts: int) -> ImportReport:
        path = work / target.name
        total = sum(f.rows * s.rows_per_line for s, f in zip(self.sources, self.surveys, strict=True))
        strict = StrictTimes()
        messages = 0
        venues = tuple(dict.fromkeys(source.venue for source in self.sources if source.venue))
        with LogWriter(path, LogHeader(engine=__version__, venues=venues)) as writer:
            strict.last_ts = self._define(writer, first_ts)
            for unordered in merged(self._streams(work)):
                block = strict.apply(unordered)
                writer.rows.extend(block.packed, block.texts(), [])
                messages += int((block.packed["flags"] & int(Flag.LAST)).sum())
                self.progress.report("write", min(writer.seq + writer.rows.count, total), total)
                if writer.rows.count >= _FLUSHED_ROWS:
                    writer.flush()
            writer.close(reason="imported", ts=strict.last_ts + 1)
            rows, chain = writer.seq, writer.chain_head
        self.progress.report("seal", total, total)
        seal(path)
        instruments = [self._instrument_report(key) for key in self.definitions]
        for source in self.sources:
            self.warnings += [f"{source.name}: {n:,} {what}" for what, n in source.tally.notes.items()]
        return ImportReport(
            path=str(target),
            files=[_file_report(s, f) for s, f in zip(self.sources, self.surveys, strict=True)],
            instruments=instruments,
            rows=rows,
            messages=messages + len(self.sources) + len(self.definitions) + len(self.sessions) + 1,
            first=format_time(first_ts),
            last=format_time(max(strict.last_ts, first_ts)),
            moved=strict.moved,
            chain=chain,
            bytes=path.stat().st_size,
            warnings=self.warnings,
            sessions=len(self.sessions),
        )

    def _define(self, writer: LogWriter, first_ts: int) -> int:
        """SOURCE, INSTRUMENT and SESSION rows, just before the first fact; returns the time of the last."""
        count = len(self.sources) + len(self.definitions) + len(self.sessions)
        ts = max(first_ts - count, 1)
        for source in self.sources:
            data = SourceData(
                name="import",
                venue=source.venue,
                detail={"file": source.path.name, "kind": source.kind},
            )
            writer.rows.append(
                ts, Kind.SOURCE, source=source.number, flags=_DEFINED, data=encode_canonical(data)
            )
            ts += 1
        for number, definition in enumerate(self.definitions.values(), start=1):
            writer.rows.append(
                ts, Kind.INSTRUMENT, instrument=number, flags=_DEFINED, data=encode_canonical(definition.data)
            )
            ts += 1
        for session in self.sessions:
            writer.rows.append(ts, Kind.SESSION, flags=_DEFINED, data=encode_canonical(session))
            ts += 1
        return ts - 1

    def _streams(self, work: Path) -> list[tuple[int, Blocks]]:
        """In the order that decides between equal times: what happens to a company before what is traded."""
        pairs = zip(self.sources, self.surveys, strict=True)
        ordered = sorted(pairs, key=lambda pair: pair[0].kind != "corporate")
        return [(found.first_ts, partial(source.blocks, work)) for source, found in ordered]

    def _instrument_report(self, key: _Key) -> InstrumentReport:
        definition = self.definitions[key]
        tallies = [source.tally for source in self.sources if source.venue == key[0]]
        off, negative, crossed = (
            sum(counts.get(key[1], 0) for counts in found)
            for found in (
                [t.off_increment for t in tallies],
                [t.negative for t in tallies],
                [t.crossed for t in tallies],
            )
        )
        data = definition.data
        if off:
            self.warnings.append(
                f"{data.key}: {off} prices and sizes are no multiple of {data.price_increment} and "
                f"{data.size_increment} ({definition.origin}); they were kept as they are"
            )
        if negative:
            self.warnings.append(f"{data.key}: {negative} prices are negative; they were kept as they are")
        if crossed:
            self.warnings.append(
                f"{data.key}: in {crossed} quotes or book states the bid is not below the ask; "
                "they were kept as they are"
            )
        return InstrumentReport(
            data.key, data.price_increment, data.size_increment, definition.origin, off, negative, crossed
        )


def _begin_of(session: SessionData) -> int:
    return min(session.opens, parse_time(f"{session.day}T00:00:00Z"))


def _is_undefined(find: Callable[[str], Definition | None], symbol: str) -> bool:
    return find(symbol) is None


def _placed(number: int, data: InstrumentData) -> Placed:
    return Placed(
        number,
        data.price_decimals,
        data.size_decimals,
        parse_decimal(data.price_increment, data.price_decimals),
        parse_decimal(data.size_increment, data.size_decimals),
    )


def _file_report(source: Source, found: Survey) -> FileReport:
    return FileReport(
        file=source.name,
        kind=source.kind,
        rows=found.rows,
        skipped=found.skipped,
        out_of_order=found.out_of_order,
        unused_columns=source.unused,
    )
