"""CSV and Parquet files into one sealed log.

    look    every file once: kind, times, order, symbols, decimals      (tabular_columns, _files, _survey)
    settle  increments, numbers of sources and instruments               (tabular_units)
    write   chunks → rows → order → messages → log, then seal            (tabular_rows, _order)

The log appears under its name when it is whole and sealed; until then, and after any failure, there is
nothing. The same files and options give the same rows, and so the same chain. No clock is read, and of the
files only the names (not the folders) are kept, in their SOURCE rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from engine import __version__
from engine.ingest.tabular_blocks import Block
from engine.ingest.tabular_files import open_table
from engine.ingest.tabular_order import Blocks, StrictTimes, book_messages, merged, sorted_blocks
from engine.ingest.tabular_rows import FilePlan, Placed, block_of
from engine.ingest.tabular_survey import Survey, TableOptions, plan_of, survey
from engine.ingest.tabular_units import GUESSED, Definition, UnitsBook, UnitsWanted
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.segments import next_path
from engine.log.writer import LogWriter
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.units import format_time, parse_decimal

_CHANNELS = {"trades": "trade", "quotes": "quote", "book": "book", "bars": "bar"}
_ROWS_PER_LINE = {"quotes": 2, "bars": 4}
_FLUSHED_ROWS = 65_536
_DEFINED = int(Flag.LAST | Flag.IMPORTED)


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

    Raises UsageError for options that do not fit, InputError naming file, row, column and value for data
    that cannot be taken; nothing is left behind then.
    """
    job = _Import(options, units, progress or Progress())
    job.look(paths)
    job.settle()
    return job.write(to)


class _Import:
    """One import on its way; its three steps are its methods."""

    def __init__(self, options: TableOptions, units: UnitsWanted, progress: Progress) -> None:
        self.options = options
        self.units = units
        self.progress = progress
        self.warnings: list[str] = []
        self.plans: list[FilePlan] = []
        self.surveys: list[Survey] = []
        self.definitions: dict[str, Definition] = {}
        self.venue = options.venue

    def look(self, paths: Iterable[tuple[Path, str]]) -> None:
        """Open and survey every file."""
        self.plans = [
            plan_of(open_table(path, name), self.options, self.warnings.append) for path, name in paths
        ]
        if not self.plans:
            raise UsageError("no file to import")
        if not self.venue and all(plan.file.dump for plan in self.plans if plan.layout.kind != "news"):
            self.venue = "binance"
        if not self.venue:
            raise UsageError("whose data are these?", hint="name the venue: --venue binance")
        self.book = UnitsBook(self.units, self.venue)
        seen = 0

        def count(rows: int) -> None:
            nonlocal seen
            seen += rows
            self.progress.report("look", seen, 0)

        self.surveys = [survey(plan, self._undefined, count) for plan in self.plans]

    def _undefined(self, symbol: str) -> bool:
        return self.book.find(symbol) is None

    def settle(self) -> None:
        """Give sources and instruments their numbers, and instruments their units."""
        widest: dict[str, tuple[int, int]] = {}
        channels: dict[str, list[str]] = {}
        for source, (plan, found) in enumerate(zip(self.plans, self.surveys, strict=True), start=1):
            plan.source = source
            if plan.layout.kind == "news":
                continue
            channel = "aggtrade" if plan.layout.aggregate else _CHANNELS[plan.layout.kind]
            for symbol, decimals in found.decimals.items():
                before = widest.get(symbol, (0, 0))
                widest[symbol] = (max(before[0], decimals[0]), max(before[1], decimals[1]))
                if channel not in channels.setdefault(symbol, []):
                    channels[symbol].append(channel)
        placed: dict[str, Placed] = {}
        for number, (symbol, decimals) in enumerate(widest.items(), start=1):
            definition = self.book.find(symbol) or self.book.define(symbol, *decimals)
            data = msgspec.structs.replace(definition.data, channels=tuple(channels[symbol]), version=1)
            self.definitions[symbol] = Definition(data, definition.origin)
            placed[symbol] = _placed(number, data)
            if definition.origin == GUESSED:
                self.warnings.append(
                    f"{data.key}: increments {data.price_increment} and {data.size_increment} are the widest "
                    "decimals in the files; --price-increment, --size-increment or --exchange-info say it "
                    "for certain"
                )
        for plan in self.plans:
            plan.placed = placed

    def write(self, to: Path) -> ImportReport:
        """Make the log in a folder of its own beside its place, seal it, and move it there."""
        first_ts = min(found.first_ts for found in self.surveys)
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
        per_line = [_ROWS_PER_LINE.get(plan.layout.kind, 1) for plan in self.plans]
        total = sum(s.rows * n for s, n in zip(self.surveys, per_line, strict=True))
        strict = StrictTimes()
        messages = 0
        with LogWriter(path, LogHeader(engine=__version__, venues=(self.venue,))) as writer:
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
        return ImportReport(
            path=str(target),
            files=[_file_report(p, s) for p, s in zip(self.plans, self.surveys, strict=True)],
            instruments=[self._instrument_report(symbol) for symbol in self.definitions],
            rows=rows,
            messages=messages + len(self.plans) + len(self.definitions) + 1,
            first=format_time(first_ts),
            last=format_time(strict.last_ts),
            moved=strict.moved,
            chain=chain,
            bytes=path.stat().st_size,
            warnings=self.warnings,
        )

    def _define(self, writer: LogWriter, first_ts: int) -> int:
        """SOURCE and INSTRUMENT rows, just before the first fact; returns the time of the last."""
        count = len(self.plans) + len(self.definitions)
        ts = max(first_ts - count, 1)
        for plan in self.plans:
            data = SourceData(
                name="import",
                venue=self.venue,
                detail={"file": plan.file.path.name, "kind": plan.layout.kind},
            )
            writer.rows.append(
                ts, Kind.SOURCE, source=plan.source, flags=_DEFINED, data=encode_canonical(data)
            )
            ts += 1
        for number, definition in enumerate(self.definitions.values(), start=1):
            writer.rows.append(
                ts, Kind.INSTRUMENT, instrument=number, flags=_DEFINED, data=encode_canonical(definition.data)
            )
            ts += 1
        return ts - 1

    def _streams(self, work: Path) -> list[tuple[int, Blocks]]:
        return [
            (found.first_ts, partial(_stream, plan, found, work))
            for plan, found in zip(self.plans, self.surveys, strict=True)
        ]

    def _instrument_report(self, symbol: str) -> InstrumentReport:
        definition = self.definitions[symbol]
        off = sum(plan.off_increment.get(symbol, 0) for plan in self.plans)
        data = definition.data
        if off:
            self.warnings.append(
                f"{data.key}: {off} prices and sizes are no multiple of {data.price_increment} and "
                f"{data.size_increment} ({definition.origin}); they were kept as they are"
            )
        return InstrumentReport(data.key, data.price_increment, data.size_increment, definition.origin, off)


def _stream(plan: FilePlan, found: Survey, work: Path) -> Iterator[Block]:
    """A file's rows in order of time, as whole messages."""
    blocks: Iterator[Block] = (block_of(chunk, plan) for chunk in plan.file.chunks(plan.columns()))
    if found.out_of_order:
        folder = work / f"sort-{plan.source}"
        folder.mkdir()
        blocks = sorted_blocks(blocks, folder)
    if plan.layout.kind == "book":
        blocks = book_messages(blocks, marked="last" in plan.layout.fields, name=plan.file.name)
    yield from blocks
    with suppress(OSError):
        (work / f"sort-{plan.source}").rmdir()


def _placed(number: int, data: InstrumentData) -> Placed:
    return Placed(
        number,
        data.price_decimals,
        data.size_decimals,
        parse_decimal(data.price_increment, data.price_decimals),
        parse_decimal(data.size_increment, data.size_decimals),
    )


def _file_report(plan: FilePlan, found: Survey) -> FileReport:
    return FileReport(
        file=plan.file.name,
        kind=plan.layout.kind,
        rows=found.rows,
        skipped=found.skipped,
        out_of_order=found.out_of_order,
        unused_columns=plan.layout.unused,
    )
