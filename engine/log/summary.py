"""What a person wants to know of a log: what is in it, from when to when, what is missing.

One pass over five columns; nothing but counts is kept, so a day takes no more memory than an hour.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from engine.log.decoded import Definitions
from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.errors import DamagedLog
from engine.model.kinds import EndData, Flag, InstrumentData, Kind, StatusData
from engine.model.rows import kind_name
from engine.model.units import format_time

COLUMNS = ("ts", "source", "kind", "flags", "instrument", "data")
_EXPLAINING = np.array([Kind.INSTRUMENT, Kind.SOURCE, Kind.STATUS, Kind.END], dtype=np.uint8)
_T = TypeVar("_T", EndData, StatusData)
MAX_GAPS = 1000  # listed; all are counted


class Gap(msgspec.Struct, frozen=True):
    """Something the venue sent and we did not get, or a book that cannot be trusted for a while."""

    seq: int
    ts: str
    channel: str
    instrument: str
    first: int
    last: int
    detail: str


class KindCount(msgspec.Struct):
    """How much there is of a kind. A message counts for each kind that has a row in it."""

    rows: int = 0
    messages: int = 0


class InstrumentSummary(msgspec.Struct, frozen=True):
    """One instrument of a file."""

    number: int
    key: str
    rows: int
    price_increment: str
    size_increment: str
    channels: tuple[str, ...]
    versions: int


class Summary(msgspec.Struct):
    """A file, in figures."""

    path: str
    bytes: int
    sealed: bool
    format: int
    engine: str
    created: str
    venues: tuple[str, ...]
    note: str
    segment: int
    previous_file: str
    chain: str = ""
    first_ts: str | None = None
    last_ts: str | None = None
    span_ns: int = 0
    rows: int = 0
    messages: int = 0
    kinds: dict[str, KindCount] = {}
    instruments: list[InstrumentSummary] = []
    sources: dict[int, str] = {}
    status: dict[str, int] = {}  # STATUS rows by event
    flags: dict[str, int] = {}  # rows by flag, LAST aside; those that no row has are left out
    gaps: list[Gap] = []
    gap_count: int = 0
    ended: str | None = None  # the END row's reason; None: the file was not ended on purpose
    tail: str = ""  # what stands behind the good rows, "" when nothing does
    damage_offset: int | None = None


def summarise(path: Path) -> Summary:
    """Read the file once. Damage ends it, and stands in `tail`; InputError when it is no log."""
    reader = LogReader(path, COLUMNS)
    header = reader.header
    summary = Summary(
        path=str(path),
        bytes=reader.size,
        sealed=reader.sealed,
        format=header.format,
        engine=header.engine,
        created=header.created,
        venues=header.venues,
        note=header.note,
        segment=header.segment,
        previous_file=header.previous_file,
    )
    counts = _Counts(summary)
    try:
        for batch in reader.batches():
            counts.take(batch)
    except DamagedLog:
        pass
    if reader.tail_damage is not None:
        summary.damage_offset = reader.tail_damage.offset
    summary.tail = reader.tail
    summary.chain = reader.chain_head
    counts.finish()
    return summary


class _Counts:
    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.definitions = Definitions()
        self._versions: dict[int, int] = {}
        self._rows_of: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._kinds: dict[int, KindCount] = {}
        self._flags: dict[Flag, int] = {}
        self._first: int | None = None
        self._last = 0

    def take(self, batch: Batch) -> None:
        summary = self.summary
        summary.rows += batch.count
        summary.ended = None
        ends = (batch.flags & np.uint16(Flag.LAST)) != 0
        summary.messages += int(ends.sum())
        self._count_flags(batch.flags)
        number = np.cumsum(ends) - ends  # of the message that a row belongs to, within the batch
        for code in np.flatnonzero(np.bincount(batch.kind, minlength=256)).tolist():
            of_kind = number[batch.kind == code]
            count = self._kinds.setdefault(code, KindCount())
            count.rows += len(of_kind)
            count.messages += 1 + int(np.count_nonzero(np.diff(of_kind)))
        self._first = int(batch.ts[0]) if self._first is None else self._first
        self._last = int(batch.ts[-1])
        rows_of = np.bincount(batch.instrument, minlength=len(self._rows_of))
        rows_of[: len(self._rows_of)] += self._rows_of
        self._rows_of = rows_of
        for row in np.flatnonzero(np.isin(batch.kind, _EXPLAINING)).tolist():
            self._row(batch, row, int(batch.kind[row]))

    def _count_flags(self, flags: npt.NDArray[np.uint16]) -> None:
        there = int(np.bitwise_or.reduce(flags))
        for flag in Flag:
            if there & flag and flag is not Flag.LAST:
                count = int(np.count_nonzero(flags & np.uint16(flag)))
                self._flags[flag] = self._flags.get(flag, 0) + count

    def _row(self, batch: Batch, row: int, kind: int) -> None:
        summary = self.summary
        self.definitions.take_row(batch, row)
        if kind == Kind.INSTRUMENT:
            number = int(batch.instrument[row])
            self._versions[number] = self._versions.get(number, 0) + 1
        elif kind == Kind.END:
            summary.ended = _decode(batch.data_at(row), EndData()).reason
        elif kind == Kind.STATUS:
            status = _decode(batch.data_at(row), StatusData(event="?"))
            summary.status[status.event] = summary.status.get(status.event, 0) + 1
            if status.event == "gap":
                self._gap(batch, row, status)

    def _gap(self, batch: Batch, row: int, status: StatusData) -> None:
        self.summary.gap_count += 1
        if len(self.summary.gaps) < MAX_GAPS:
            gap = Gap(
                seq=batch.first_seq + row,
                ts=format_time(int(batch.ts[row])),
                channel=status.channel,
                instrument=self.definitions.instrument_name(int(batch.instrument[row])),
                first=status.first,
                last=status.last,
                detail=status.detail,
            )
            self.summary.gaps.append(gap)

    def finish(self) -> None:
        summary = self.summary
        summary.kinds = {kind_name(code): self._kinds[code] for code in sorted(self._kinds)}
        summary.flags = {flag.name or "": self._flags[flag] for flag in Flag if flag in self._flags}
        summary.sources = {number: data.name for number, data in sorted(self.definitions.sources.items())}
        summary.instruments = [
            self._instrument(number, data) for number, data in sorted(self.definitions.instruments.items())
        ]
        if self._first is not None:
            summary.first_ts, summary.last_ts = format_time(self._first), format_time(self._last)
            summary.span_ns = self._last - self._first

    def _instrument(self, number: int, data: InstrumentData) -> InstrumentSummary:
        versions = self._versions.get(number, 0)
        return InstrumentSummary(
            number=number,
            key=data.key,
            rows=int(self._rows_of[number]) - versions,  # its definitions aside
            price_increment=data.price_increment,
            size_increment=data.size_increment,
            channels=data.channels,
            versions=versions,
        )


def _decode(text: bytes | None, default: _T) -> _T:
    try:
        return msgspec.json.decode(text or b"{}", type=type(default))
    except msgspec.DecodeError:
        return default
