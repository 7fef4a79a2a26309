"""How old messages are when they arrive, how evenly they come, and where they stopped: source by source.

Two passes over seven columns of each file, batch by batch; nothing is kept but counts (`distribution`), the
corners of a hull (`envelope`), and one number for 8,192 messages (`raw_times`), so a day takes hardly more
memory than an hour.

    first pass    of each venue: the line below all (receive − venue time), its clock against ours; of each
                  source: a middle one of these, from which raw times are counted
    second pass   of each source, and of each instrument and kind in it: raw and corrected times, intervals,
                  the longest silence, gaps

A message's stamp is the latest that stands on its rows: before that it cannot have been sent. What has no
stamp that says when something was sent is left out, and counted by the reason: imported rows (their receive
time is derived from the stamp), bars (a bar's stamp is about its interval), what was fetched or repeated
later (BACKFILLED, SNAPSHOT, DUPLICATE), and rows without a stamp. A headline's time is when somebody
published it, by a clock that is no trading venue's: it is shown as it is and corrected by nothing.

Intervals are between messages of one source within one recording: a file, and the files after it that name
the one before in their headers. Silence is as well, and may be at a recording's beginning or end. The
engine's own rows are no messages of anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from engine.log.decoded import Definitions
from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.kinds import Flag, Kind, SourceData, StatusData
from engine.model.units import NULL_TIME, format_time
from engine.report.distribution import Distribution, Integers
from engine.report.envelope import Envelope, Line
from engine.report.latency_counts import GapRow, Key, Part, Recording, Source, SourceLatency
from engine.report.raw_times import Middle

_COLUMNS = ("ts", "ts_venue", "source", "kind", "flags", "instrument", "data")
_BATCH_ROWS = 1 << 17
_MINUTE_NS = 60_000_000_000
_SHIFT_STEP_NS = 1_000_000
_OUTLIER_NS, _OUTLIER_TIMES = 1_000_000_000, 10
GAPS_LISTED = 100
_STOPPED = "stopped"  # a recorder's word where it closes a connection itself

_CLOCKED = (Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.MARK)
_MARKET = (*_CLOCKED, Kind.BAR, Kind.FUNDING, Kind.NEWS)
_ARRIVING = np.array([*_MARKET, Kind.CONTROL, Kind.MALFORMED], dtype=np.uint8)
_CLOCKED_KINDS = np.array(_CLOCKED, dtype=np.uint8)
_MARKET_KINDS = np.array(_MARKET, dtype=np.uint8)
_NAMED = np.array([Kind.INSTRUMENT, Kind.SOURCE, Kind.STATUS], dtype=np.uint8)
# Why a message has no stamp that counts: the first that holds for its first market row.
_LEFT_OUT = (
    ("imported", int(Flag.IMPORTED)),
    ("backfilled", int(Flag.BACKFILLED)),
    ("snapshot", int(Flag.SNAPSHOT)),
    ("duplicate", int(Flag.DUPLICATE)),
)
_UNUSABLE = np.uint16(sum(flag for _, flag in _LEFT_OUT))

Progress = Callable[[str, int], None]


class ClockOffset(msgspec.Struct, frozen=True):
    """A venue's clock against ours in one file: receive − venue time of the fastest message, as a line.

    `offset_ns` stands at the first stamp; it holds the fastest trip as well. Negative: the venue's clock ran
    ahead by at least that much. `worst_minute_ns`: how far above the line the fastest message of the worst
    minute came. `shift_ns`: what `--venue-shift` would have to be so that no stamp lies ahead; 0: none.
    `outlier_ns`: how far the smallest difference is below the others when a wrong stamp made it, and then no
    shift is proposed; 0: it is like the others.
    """

    file: str
    venue: str
    method: str  # "line" or "minimum"
    measured: int
    offset_ns: int
    drift_ppm: float
    worst_minute_ns: int
    shift_ns: int
    outlier_ns: int


class LatencyReport(msgspec.Struct):
    """What `measure` found."""

    files: list[str]
    clocks: list[ClockOffset]
    sources: list[SourceLatency]
    warnings: list[str]


def measure(paths: Sequence[tuple[Path, str]], progress: Progress | None = None) -> LatencyReport:
    """Measure logs (path, and how messages call it), in the order given.

    Raises InputError for what is no log, DamagedLog for a damaged one.
    """
    report = LatencyReport([name for _, name in paths], [], [], [])
    sources: dict[Key, Source] = {}
    recording, chain = Recording(), ""
    for path, name in paths:
        with LogReader(path, _COLUMNS) as reader:
            if not chain or reader.header.previous_chain != chain:
                recording.close(sources)
                recording = Recording()
            work = _File(reader, name, sources, recording, progress or (lambda _name, _rows: None))
            clocks = work.run()
            report.clocks += clocks
            report.warnings += [_outlier_words(clock) for clock in clocks if clock.outlier_ns]
            chain = reader.chain_head
            if reader.tail:
                report.warnings.append(f"{name}: {reader.tail}")
    recording.close(sources)
    report.sources = [source.result() for source in sources.values() if source.messages or source.gap_count]
    return report


class _Messages:
    """One batch as messages: when each came, from whom, and the stamp that it is measured by."""

    def __init__(self, batch: Batch) -> None:
        ends = (batch.flags & np.uint16(Flag.LAST)) != 0
        self.starts = np.flatnonzero(np.concatenate(([True], ends[:-1])))
        self.number = np.cumsum(ends) - ends  # of the message that a row belongs to
        self.market = np.isin(batch.kind, _MARKET_KINDS)
        arriving = np.isin(batch.kind, _ARRIVING)
        self.clocked = np.isin(batch.kind, _CLOCKED_KINDS)
        self.usable = (
            (self.clocked | (batch.kind == Kind.NEWS))
            & (batch.ts_venue != NULL_TIME)
            & ((batch.flags & _UNUSABLE) == 0)
        )
        self.ts = batch.ts[self.starts]
        self.stamp = np.maximum.reduceat(np.where(self.usable, batch.ts_venue, NULL_TIME), self.starts)
        self.measured = self.stamp != NULL_TIME
        self.by_clock = np.logical_or.reduceat(self.usable & self.clocked, self.starts)
        first = _first_of(arriving, self.starts)
        self.arrived = first >= 0
        self.source = np.where(self.arrived, batch.source[first], 0)
        self.first_market = _first_of(self.market, self.starts)


def _first_of(rows: npt.NDArray[np.bool_], starts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Of each message, the position of its first row that is one of these; −1 where none is."""
    count = len(rows)
    found = np.minimum.reduceat(np.where(rows, np.arange(count), count), starts)
    return np.where(found == count, -1, found)


class _File:
    """One file: both passes."""

    def __init__(
        self,
        reader: LogReader,
        name: str,
        sources: dict[Key, Source],
        recording: Recording,
        progress: Progress,
    ) -> None:
        self.reader, self.name = reader, name
        self.recording = recording
        self.definitions = Definitions()
        self.venues: dict[str, Envelope] = {}
        self.lines: dict[str, Line] = {}
        self._sources = sources
        self._numbers: dict[int, Source] = {}
        self._middles: dict[Key, Middle] = {}  # of raw differences
        self._minutes: dict[str, dict[int, int]] = {}  # venue: minute: least above the line
        self._above: dict[str, Distribution] = {}  # venue: raw differences, counted from the smallest
        self._progress = progress

    def run(self) -> list[ClockOffset]:
        for batch, messages in self._batches():
            self._look(batch, messages)
        self.lines = {venue: envelope.line() for venue, envelope in self.venues.items()}
        self.definitions = Definitions()
        for key, middle in self._middles.items():
            self._source_of(key).raw.begin(middle.value())
        for batch, messages in self._batches():
            self._count(batch, messages)
        return [self._clock(venue) for venue in sorted(self.venues)]

    def _batches(self) -> Iterator[tuple[Batch, _Messages]]:
        rows = 0
        for batch in self.reader.batches(prefetch=2, join_rows=_BATCH_ROWS):
            rows += batch.count
            self._progress(self.name, rows)
            yield batch, _Messages(batch)

    def _look(self, batch: Batch, messages: _Messages) -> None:
        self.definitions.take(batch)
        difference = messages.ts - messages.stamp
        keys: dict[Key, list[int]] = {}
        venues: dict[str, list[int]] = {}
        for number in np.unique(messages.source[messages.measured]).tolist():
            key = self._key(number)
            keys.setdefault(key, []).append(number)
            venues.setdefault(key.venue, []).append(number)
        for key, numbers in keys.items():
            own = messages.measured & np.isin(messages.source, numbers)
            self._middles.setdefault(key, Middle()).add(difference[own])
        for venue, numbers in venues.items():  # sources of one venue share its clock
            clocked = messages.by_clock & np.isin(messages.source, numbers)
            if clocked.any():
                self.venues.setdefault(venue, Envelope()).add(messages.ts[clocked], difference[clocked])

    def _key(self, number: int) -> Key:
        data = self.definitions.sources.get(number, SourceData(name=f"#{number}"))
        return Key(data.venue or data.name, data.name, data.endpoint, data.symbol, data.symbols, data.url)

    def _source(self, number: int) -> Source:
        """Who a number is; the same connection of another file is the same source."""
        known = self._numbers.get(number)
        if known is None:
            known = self._numbers[number] = self._source_of(self._key(number))
        return known

    def _source_of(self, key: Key) -> Source:
        known = self._sources.get(key)
        if known is None:
            same = sum(other[:4] == key[:4] for other in self._sources)
            label = " ".join(word for word in (key.name, key.endpoint, key.symbol) if word)
            known = Source(f"{label} ({same + 1})" if same else label, key)
            self._sources[key] = known
        return known

    def _count(self, batch: Batch, messages: _Messages) -> None:
        self.recording.take(messages.ts)
        for row in np.flatnonzero(np.isin(batch.kind, _NAMED)).tolist():
            self._named(batch, row)
        difference = messages.ts - messages.stamp
        numbers: dict[Source, list[int]] = {}
        for number in np.unique(messages.source[messages.arrived]).tolist():
            numbers.setdefault(self._source(number), []).append(number)
        for source, own in numbers.items():  # a connection that came again may have another number
            of_source = messages.arrived & np.isin(messages.source, own)
            if source.spacing.recording is not self.recording:
                source.spacing.begin(self.recording, self.recording.expected(source.key))
            source.spacing.add(messages.ts[of_source])
            measured = of_source & messages.measured
            if measured.any():
                source.raw.add(difference[measured])
            clocked = measured & messages.by_clock
            if clocked.any():
                line = self.lines[source.venue]
                corrected = np.maximum(difference[clocked] - line.at(messages.ts[clocked]), 0)
                source.corrected.add(corrected)
                self._by_minute(source.venue, messages.ts[clocked], corrected)
                above = self._above.setdefault(source.venue, Distribution())
                above.add(difference[clocked] - self.venues[source.venue].least)
            self._leave_out(source, batch, messages.first_market[of_source & ~messages.measured])
        self._parts(batch, messages)

    def _by_minute(self, venue: str, times: Integers, corrected: Integers) -> None:
        minutes = times // _MINUTE_NS
        begin = np.flatnonzero(np.concatenate(([True], minutes[1:] != minutes[:-1])))
        least = np.minimum.reduceat(corrected, begin)
        known = self._minutes.setdefault(venue, {})
        for minute, value in zip(minutes[begin].tolist(), least.tolist(), strict=True):
            known[minute] = min(known.get(minute, value), value)

    def _leave_out(self, source: Source, batch: Batch, rows: npt.NDArray[np.intp]) -> None:
        rows = rows[rows >= 0]  # acknowledgements and the like are no news of the market
        if not len(rows):
            return
        flags, kinds = batch.flags[rows], batch.kind[rows]
        rest = np.ones(len(rows), dtype=bool)
        reasons = [(name, (flags & np.uint16(flag)) != 0) for name, flag in _LEFT_OUT]
        for name, holds in (*reasons, ("bar", kinds == Kind.BAR), ("no venue time", rest.copy())):
            count = int((rest & holds).sum())
            if count:
                source.left_out[name] = source.left_out.get(name, 0) + count
            rest &= ~holds

    def _parts(self, batch: Batch, messages: _Messages) -> None:
        """Each instrument and kind: the first row of every run of them within a message stands for it."""
        same = np.zeros(batch.count, dtype=bool)
        same[1:] = (
            (messages.number[1:] == messages.number[:-1])
            & (batch.instrument[1:] == batch.instrument[:-1])
            & (batch.kind[1:] == batch.kind[:-1])
        )
        rows = np.flatnonzero(messages.market & ~same & (batch.source != 0))
        if not len(rows):
            return
        code = (
            (batch.source[rows].astype(np.int64) << 40)
            | (batch.instrument[rows].astype(np.int64) << 8)
            | batch.kind[rows]
        )
        order = np.argsort(code, kind="stable")
        bounds = np.flatnonzero(np.diff(code[order])) + 1
        for chosen in np.split(rows[order], bounds):
            number, kind = int(batch.source[chosen[0]]), int(batch.kind[chosen[0]])
            source = self._source(number)
            name = self.definitions.instrument_name(int(batch.instrument[chosen[0]]))
            part = source.parts.setdefault((name, kind), Part())
            if part.spacing.recording is not self.recording:
                part.spacing.begin(self.recording, self.recording.expected(source.key, name))
            part.spacing.add(batch.ts[chosen])
            clocked = chosen[(messages.usable & messages.clocked)[chosen]]
            if len(clocked):
                difference = batch.ts[clocked] - batch.ts_venue[clocked]
                line = self.lines[source.venue]
                part.corrected.add(np.maximum(difference - line.at(batch.ts[clocked]), 0))

    def _named(self, batch: Batch, row: int) -> None:
        self.definitions.take_row(batch, row)
        number, kind = int(batch.source[row]), int(batch.kind[row])
        if kind == Kind.SOURCE:
            self.recording.sources.setdefault(self._key(number), int(batch.ts[row]))
        elif kind == Kind.INSTRUMENT:
            name = self.definitions.instrument_name(int(batch.instrument[row]))
            self.recording.instruments.setdefault(name, int(batch.ts[row]))
        if kind != Kind.STATUS or not number:
            return
        try:
            status = msgspec.json.decode(batch.data_at(row) or b"{}", type=StatusData)
        except msgspec.DecodeError:
            return  # `check` names it
        source = self._source(number)
        if status.event == "disconnected":
            # Neither an end that was wanted nor a break between two recordings is the connection's.
            source.disconnects += status.detail != _STOPPED and not status.first
        elif status.event == "gap":
            source.gap_count += 1
            if len(source.gaps) < GAPS_LISTED:
                instrument = self.definitions.instrument_name(int(batch.instrument[row]))
                source.gaps.append(
                    GapRow(
                        format_time(int(batch.ts[row])),
                        instrument,
                        status.channel,
                        status.first,
                        status.last,
                        status.detail,
                    )
                )

    def _clock(self, venue: str) -> ClockOffset:
        envelope, line = self.venues[venue], self.lines[venue]
        outlier = _outlier(self._above[venue])
        return ClockOffset(
            self.name,
            venue,
            "line" if line.drift else "minimum",
            envelope.count,
            line.offset_ns,
            round(line.drift * 1e6, 3),
            max(self._minutes[venue].values()),
            0 if outlier else min(envelope.least // _SHIFT_STEP_NS * _SHIFT_STEP_NS, 0),
            outlier,
        )


def _outlier(above: Distribution) -> int:
    """How far the smallest difference lies below all but a tenth, if no clock and no network explains it.

    That is more than a second, and ten times as far as from there to the middle one: those lie together, and
    the smallest is of few messages that were stamped wrong. A clock that drifts, or a venue that is asked now
    and then, spreads all of them. 0: it is none.
    """
    low, half = above.quantile(0.1), above.quantile(0.5)
    return low if low > _OUTLIER_NS and low > _OUTLIER_TIMES * (half - low) else 0


def _outlier_words(clock: ClockOffset) -> str:
    """What is wrong with a clock that follows an outlier."""
    return (
        f"{clock.file}: {clock.venue}: the smallest receive - venue time is {clock.outlier_ns / 1e9:,.3f} s "
        "below those of nine in ten messages: a few were stamped wrong, or a clock was set. The offset is "
        "theirs, corrected figures are above it, and no --venue-shift is proposed"
    )
