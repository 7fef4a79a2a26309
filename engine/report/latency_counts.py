"""What is counted of one source of logs, and the figures that come of it. Fed by engine.report.latency."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from engine.model.kinds import Kind
from engine.model.units import format_time
from engine.report.distribution import Bar, Distribution, Integers
from engine.report.raw_times import Raw

HISTOGRAM_BARS = 16


class Figures(msgspec.Struct, frozen=True):
    """Percentiles of lengths of time; the ends are exact, what lies between within 0.4 %.

    That is of the value itself; of raw ones, of their distance from one between the quartiles.
    """

    min_ns: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


class Silence(msgspec.Struct, frozen=True):
    """The longest time without a message, within one recording; also before the first, and after the last."""

    began: str
    ns: int


class GapRow(msgspec.Struct, frozen=True):
    """A STATUS row that says what is missing."""

    ts: str
    instrument: str
    channel: str
    first: int
    last: int
    detail: str


class PartLatency(msgspec.Struct, frozen=True):
    """One instrument's rows of one kind within a source; `corrected` is None where nothing was measured."""

    instrument: str
    kind: str
    messages: int
    measured: int
    corrected: Figures | None
    silence: Silence | None


class SourceLatency(msgspec.Struct, frozen=True):
    """One source."""

    source: str
    venue: str
    messages: int
    measured: int
    left_out: dict[str, int]
    raw: Figures | None
    corrected: Figures | None
    arrival_p50_ns: int
    arrival_p99_ns: int
    arrival_max_ns: int
    silence: Silence | None
    gap_count: int
    gaps: list[GapRow]
    disconnects: int
    histogram: list[Bar]  # of the corrected times; of the raw ones where nothing is corrected
    parts: list[PartLatency]


class Key(NamedTuple):
    """What makes a source the same one in another file."""

    venue: str
    name: str
    endpoint: str
    symbol: str
    symbols: tuple[str, ...]
    url: str


class Recording:
    """Files of which each names the one before: one stretch of time, in which who is silent is missed.

    `begun` and `ended`: its first and last row; a recorder that hears nothing goes on to write CLOCK rows.
    """

    def __init__(self) -> None:
        self.begun: int | None = None
        self.ended = 0
        self.sources: dict[Key, int] = {}  # when each was defined first
        self.instruments: dict[str, int] = {}

    def take(self, times: Integers) -> None:
        """Further rows of it."""
        if self.begun is None:
            self.begun = int(times[0])
        self.ended = max(self.ended, int(times[-1]))

    def expected(self, key: Key, instrument: str = "") -> int | None:
        """From when on a source's messages could have come; None of one that has to be asked."""
        if key.endpoint:
            return None
        begun = self.begun or 0
        return max(self.sources.get(key, begun), self.instruments.get(instrument, begun))

    def close(self, sources: dict[Key, Source]) -> None:
        """Nothing follows: whoever was silent at the end was so until then, or all the time."""
        for key, source in sources.items():
            if key in self.sources and source.spacing.recording is None:
                source.spacing.begin(self, self.expected(key))
            for spacing in (source.spacing, *(part.spacing for part in source.parts.values())):
                if spacing.recording is not None:
                    spacing.end(None if key.endpoint else self.ended)


class Spacing:
    """Times of one stream of messages: intervals, and the longest silence."""

    def __init__(self, *, intervals: bool) -> None:
        self.messages = 0
        self.intervals = Distribution() if intervals else None
        self.longest_ns = 0
        self.longest_from = 0
        self.recording: Recording | None = None  # that it is in
        self._heard: int | None = None  # the last message of this recording
        self._quiet_from: int | None = None  # that, or where the recording begins

    def begin(self, recording: Recording, expected: int | None) -> None:
        """A recording begins, in which messages could have come from `expected` on; None: nobody knows."""
        self.recording, self._heard, self._quiet_from = recording, None, expected

    def add(self, times: Integers) -> None:
        """Take the times of further messages of this recording, in order."""
        self._quiet_until(int(times[0]))
        # Where time runs backwards between files it is no interval.
        heard = self._heard
        whole = times if heard is None or heard > times[0] else np.concatenate(([heard], times))
        self.messages += len(times)
        self._heard = self._quiet_from = int(times[-1])
        lengths = np.diff(whole)
        if not len(lengths):
            return
        if self.intervals is not None:
            self.intervals.add(lengths)
        longest = int(lengths.argmax())
        if int(lengths[longest]) > self.longest_ns:
            self.longest_ns, self.longest_from = int(lengths[longest]), int(whole[longest])

    def end(self, ts: int | None) -> None:
        """The recording ends, at `ts` if messages could have come until then."""
        if ts is not None:
            self._quiet_until(ts)
        self.recording = None

    def _quiet_until(self, ts: int) -> None:
        if self._quiet_from is not None and ts - self._quiet_from > self.longest_ns:
            self.longest_ns, self.longest_from = ts - self._quiet_from, self._quiet_from

    def silence(self) -> Silence | None:
        """The longest silence; None where there was none."""
        return Silence(format_time(self.longest_from), self.longest_ns) if self.longest_ns else None


class Part:
    """What is counted of one instrument and kind."""

    def __init__(self) -> None:
        self.spacing = Spacing(intervals=False)
        self.corrected = Distribution()


class Source:
    """What is counted of one source, over all files."""

    def __init__(self, label: str, key: Key) -> None:
        self.label, self.key, self.venue = label, key, key.venue
        self.spacing = Spacing(intervals=True)
        self.raw = Raw()
        self.corrected = Distribution()
        self.left_out: dict[str, int] = {}
        self.gap_count = self.disconnects = 0
        self.gaps: list[GapRow] = []
        self.parts: dict[tuple[str, int], Part] = {}

    @property
    def messages(self) -> int:
        """How many have come."""
        return self.spacing.messages

    def result(self) -> SourceLatency:
        """All figures of this source."""
        intervals = self.spacing.intervals or Distribution()
        parts = [
            PartLatency(
                instrument,
                Kind(kind).name.lower(),
                part.spacing.messages,
                part.corrected.count,
                figures_of(part.corrected),
                part.spacing.silence(),
            )
            for (instrument, kind), part in sorted(self.parts.items())
        ]
        return SourceLatency(
            self.label,
            self.venue,
            self.messages,
            self.raw.count,
            self.left_out,
            figures_of(self.raw),
            figures_of(self.corrected),
            intervals.quantile(0.5),
            intervals.quantile(0.99),
            intervals.most,
            self.spacing.silence(),
            self.gap_count,
            self.gaps,
            self.disconnects,
            self.corrected.bars(HISTOGRAM_BARS) or self.raw.bars(HISTOGRAM_BARS),
            parts,
        )


def figures_of(counted: Distribution | Raw) -> Figures | None:
    """Percentiles of what was counted; None of nothing."""
    if not counted.count:
        return None
    half, most, nearly_all = (counted.quantile(share) for share in (0.5, 0.9, 0.99))
    return Figures(counted.least, half, most, nearly_all, counted.most)
