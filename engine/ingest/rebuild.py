"""Wires into rows again: does today's parser make of the kept frames what the log says?

Rows are a pure function of the frames, their times, the reference rows and the STATUS rows that say when
a connection was lost. `rebuild` computes that function again (see replay) and compares every row, column
by column. Differences are what a parser's new version would change, or a bug in one of the two.

A file that goes on from another one begins in the middle of the venue's sequences; its carried books
stand in it, its last trade ids do not. Give the segments together, in order, to compare all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

import engine
from engine.ingest.replay import CONTENT, Cells, Replay, Row
from engine.log.reader import LogReader
from engine.log.schema import batch_of_buffer
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import UsageError
from engine.model.rows import RowBuffer, kind_name
from engine.model.units import NULL_TIME

LISTED = 10_000  # differences kept in a report; all are counted
_SHOWN = 200  # characters of a text that a difference repeats

Cell = int | str | None


class Difference(msgspec.Struct, frozen=True):
    """One cell that today's parser makes differently; or a whole row, then `column` is "row".

    `seq` is the row's in the log; a row that the log does not have would stand there.
    """

    seq: int
    column: str
    was: Cell
    now: Cell = msgspec.field(name="is")


class RebuildReport(msgspec.Struct, frozen=True):
    """What comparing a log with its own frames came to."""

    paths: tuple[str, ...]
    rows: int
    frames: int  # messages made again from their wire
    carried: int  # rows taken as they are
    unparsed: int  # messages with a wire of a source that no parser here understands
    count: int  # differing cells and rows
    columns: dict[str, int]  # the same, by column
    differences: tuple[Difference, ...]  # the first LISTED
    out: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether every row came out as it is in the log."""
        return self.count == 0


def rebuild(path: Path | Sequence[Path], out: Path | None = None) -> RebuildReport:
    """Make a log's rows again from its frames, and compare; write them to the new log `out` if it is named.

    Several paths are segments of one recording, in order. Raises UsageError for `out` with several
    segments, or when it exists; InputError and DamagedLog as the reader does.
    """
    paths = (path,) if isinstance(path, Path) else tuple(path)
    if out is not None and len(paths) != 1:
        raise UsageError(
            f"{out}: {len(paths)} segments cannot be written to one log", hint="name one of them"
        )
    work = _Rebuild()
    for segment in paths:
        with LogReader(segment) as reader:
            work.segment(reader, out)
    return work.report(paths, out)


class _Rebuild:
    """One comparison on its way."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._columns: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._warnings: list[str] = []
        self._before: Replay | None = None
        self._previous = ""  # the file that was gone through last

    def segment(self, reader: LogReader, out: Path | None) -> None:
        """Go through one file."""
        header = reader.header
        # After an interruption a recorder knows nothing of the segment before it either.
        if header.previous_file and header.previous_file != self._previous:
            self._warnings.append(
                f"{reader.path} goes on from {header.previous_file}: the trades before it are not known "
                "here; name both, in order, to compare its first rows, and what REST filled in, too"
            )
        if out is None:
            self._compare(reader, None)
        else:
            fresh = msgspec.structs.replace(header, engine=engine.__version__, sealed_rows=0, sealed_chain="")
            with LogWriter(out, fresh) as writer:
                self._compare(reader, writer)
            seal(out)
        if reader.tail:
            self._warnings.append(f"{reader.path}: {reader.tail}")
        self._previous = reader.path.name

    def report(self, paths: Sequence[Path], out: Path | None) -> RebuildReport:
        """What has been found."""
        return RebuildReport(
            paths=tuple(str(path) for path in paths),
            rows=self._counts["rows"],
            frames=self._counts["frames"],
            carried=self._counts["carried"],
            unparsed=self._counts["unparsed"],
            count=sum(self._columns.values()),
            columns=dict(self._columns),
            differences=tuple(self._differences),
            out="" if out is None else str(out),
            warnings=tuple(self._warnings),
        )

    def _compare(self, reader: LogReader, writer: LogWriter | None) -> None:
        rows = RowBuffer() if writer is None else writer.rows
        replay = Replay(rows, self._before)
        open_rows: list[tuple[int, Row]] = []  # definitions whose frame is in the next batch
        for batch in reader.batches():
            old = Cells(batch)
            spans, rest = replay.batch(old)
            new = Cells(batch_of_buffer(rows, 0))
            if open_rows or rest < batch.count or not old.same(new):
                for span in spans:
                    made = [row for _, row in new.rows(span.new, span.new_end)]
                    self._differ(open_rows + old.rows(span.old, span.old_end), made)
                    open_rows = []
            open_rows += old.rows(rest, batch.count)
            self._counts["rows"] += batch.count
            if writer is None:
                rows.clear()
            else:
                writer.flush()
        self._differ(open_rows, [])
        self._counts.update(replay.counts)
        self._before = replay if replay.rotated else None

    def _differ(self, old: list[tuple[int, Row]], now: list[Row]) -> None:
        """Compare one message: rows that state the same are paired, and what lies between them in order."""
        was = [row for _, row in old]
        if was == now:
            return
        matcher = SequenceMatcher(None, [_fact(r) for r in was], [_fact(r) for r in now], autojunk=False)
        for _, start, end, now_start, now_end in matcher.get_opcodes():
            for before, after in zip_longest(range(start, end), range(now_start, now_end)):
                if after is None:
                    self._add(old[before][0], "row", _row_text(was[before]), None)
                elif before is None:
                    seq = old[end][0] if end < len(old) else old[-1][0] + 1
                    self._add(seq, "row", None, _row_text(now[after]))
                else:
                    self._cells(old[before][0], was[before], now[after])

    def _cells(self, seq: int, was: Row, now: Row) -> None:
        for column, before, after in zip(CONTENT, was, now, strict=True):
            if before != after:
                self._add(seq, column, _cell(before), _cell(after))

    def _add(self, seq: int, column: str, was: Cell, now: Cell) -> None:
        self._columns[column] += 1
        if len(self._differences) < LISTED:
            self._differences.append(Difference(seq, column, was, now))


_FACT = itemgetter(*(CONTENT.index(name) for name in ("kind", "part", "side", "price", "size", "id")))


def _fact(row: Row) -> Row:
    """What makes two rows of one message the same fact, though other columns may differ."""
    fact: Row = _FACT(row)
    return fact


def _cell(value: Any) -> Cell:
    if isinstance(value, bytes):
        text = value.decode("utf-8", "replace")
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return None if value == NULL_TIME else value


def _row_text(row: Row) -> str:
    """A whole row, for people: its kind, then what is not empty."""
    cells = dict(zip(CONTENT, row, strict=True))
    kind = kind_name(cells.pop("kind"))
    shown = [f"{name}={_cell(value)}" for name, value in cells.items() if value not in (0, None, NULL_TIME)]
    return " ".join([kind, *shown])
