"""The venue with a clock of its own: rows meet our orders at the venue's time, and reach us at ours.

The strategy is told of a row at its `ts`; orders of ours meet it when the venue stamped it. So a venue runs
ahead of the strategy in the same rows. Each venue of the run has a stream of its own: its rows in their
order, and beside them the times they happened at:

    stamped       ts_venue + shift, but not after `ts`, and no more than the look-ahead before it
    not stamped   ts - feed latency
    and never before the venue's row above; a message happens when its last row does

A venue's rows are the trades, quotes and depth of its instruments. A bar is known to nobody until it is over;
it meets orders when it is received (`loop.bar_rows`). A STATUS row that says that a book lacks something
comes to its venue as rows without a stamp, after its message, that put the book in doubt.

How far ahead rows are read is bounded by the look-ahead, hence memory is. Stamps that were held back to
`ts`, or up to the look-ahead, are counted: one after its receipt says that the clocks differ; `shift` is the
cure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from engine.config import RunConfig
from engine.execution.state import COLUMNS, STREAM
from engine.log.schema import Batch
from engine.loop import kernels
from engine.model.instruments import Instrument
from engine.model.kinds import Flag, Kind, SourceData, StatusData
from engine.model.units import NULL_TIME

_STARTED_BEFORE = -(2**62)


@dataclass
class _Venue:
    """One venue's rows that are still to come to it, and the columns that its stream looks at."""

    name: str
    shift_ns: int
    waiting: deque[Batch] = field(default_factory=deque)
    columns: tuple[npt.NDArray[Any], ...] = ()
    taken: deque[int] = field(default_factory=deque)  # rows of each batch that nobody was told of yet
    told: int = 0  # rows that the strategy has been told of
    given: int = 0  # rows given to its stream
    turn: int = 0  # batches given to its stream
    skip: int = 0  # rows still to come that have been run already, before a snapshot
    before: int = _STARTED_BEFORE  # time of the last row before the batch that its stream is at


class VenueClock:
    """The streams of a run whose venues have clocks of their own; `state` is its STATE record."""

    def __init__(self, config: RunConfig, state: Any) -> None:
        self._config = config
        self._state = state
        self._venues: list[_Venue] = []
        self.streams = np.zeros(0, STREAM)
        self._groups = np.zeros(0, np.int64)  # of each instrument
        self._symbols: list[str] = []  # likewise
        self._sources: dict[tuple[int, int], SourceData] = {}  # the sources of each file
        self._reach_ns = max(config.lookahead_ns, config.latency.feed_ns)  # no row is older when received
        self.ahead = 0  # rows stamped after their receipt
        self.behind = 0  # rows stamped before the look-ahead
        self._ended = False
        self._taken = 0  # batches
        self._told = 0  # of them, batches that the strategy has been told of
        self._marks: list[tuple[int, int, int]] = []  # batch that it was not told of, and what was held back
        self._add("")

    def _add(self, name: str) -> int:
        shifts = self._config.venue_shift_ns
        untold = deque([0] * (self._taken - self._told))
        self._venues.append(_Venue(name, shifts.get(name, 0), taken=untold, turn=self._taken))
        self.streams = np.append(self.streams, np.zeros(1, STREAM))
        stream = self.streams[-1]
        stream["matches"] = 1
        stream["last_time"] = stream["known_until"] = _STARTED_BEFORE
        for k in range(len(self.streams)):
            self.streams[k]["here"] = self.streams.ctypes.data + k * STREAM.itemsize
        self._state["venue_streams"] = self.streams.ctypes.data
        self._state["venue_stream_count"] = len(self.streams)
        return len(self._venues) - 1

    def define(self, instrument: Instrument) -> None:
        """An instrument is known: its rows go to its venue's stream."""
        if instrument.index < len(self._groups):
            return
        names = [venue.name for venue in self._venues]
        if names == [""]:
            self._venues[0].name = instrument.venue  # the first venue takes the stream that is there
            self._venues[0].shift_ns = self._config.venue_shift_ns.get(instrument.venue, 0)
            group = 0
        elif instrument.venue in names:
            group = names.index(instrument.venue)
        else:
            group = self._add(instrument.venue)
            # It knows of no rows yet, and all that have come so far are another's.
            self.streams[group]["known_until"] = self.streams[0]["known_until"]
        self._groups = np.append(self._groups, group)
        self._symbols.append(instrument.symbol)

    def take(self, batch: Batch, file: int) -> None:
        """Rows have come: keep them for the venues they are of."""
        doubts = self._doubts(batch, file)
        kinds = (batch.kind < int(Kind.BAR)) | (batch.kind == int(Kind.MARK))
        market = kinds & (batch.instrument < len(self._groups))
        groups = np.full(batch.count, -1, np.int64)
        groups[market] = self._groups[batch.instrument[market]]
        for number, venue in enumerate(self._venues):
            rows = np.flatnonzero(groups == number)
            mine = [(row, index) for row, index in doubts if self._groups[index] == number]
            whole = len(rows) == batch.count and not mine
            venue.waiting.append(batch if whole else _selected(batch, rows, mine))
            venue.taken.append(venue.waiting[-1].count)
        self._taken += 1

    def tell(self) -> None:
        """The strategy is about to be told of the next of the batches that were taken."""
        self._told += 1
        for venue in self._venues:
            venue.told += venue.taken.popleft()
        if self._marks:
            self._marks = [mark for mark in self._marks if mark[0] > self._told]

    def kept(self) -> dict[str, Any]:
        """Where the streams stand, as plain values: how far ahead of what the strategy has been told of.

        They have run all rows up to its time, and of later ones those that the venues had stamped before.
        """
        venues = {}
        for venue, stream in zip(self._venues, self.streams, strict=True):
            row = int(stream["row"])
            run = venue.given - int(stream["rows"]) + row
            time = int(venue.columns[-1][row - 1]) if row else venue.before
            venues[venue.name] = {"ahead": run - venue.told, "time": time}
        sources = [[*place, msgspec.to_builtins(data)] for place, data in sorted(self._sources.items())]
        ahead = self.ahead - sum(mark[1] for mark in self._marks)
        behind = self.behind - sum(mark[2] for mark in self._marks)
        return {"venues": venues, "sources": sources, "stamps": [ahead, behind]}

    def put_back(self, kept: dict[str, Any]) -> None:
        """Take what `kept` gave in another process; the instruments have been defined."""
        for venue, stream in zip(self._venues, self.streams, strict=True):
            place = kept["venues"].get(venue.name)
            if place is not None:
                venue.skip = place["ahead"]
                venue.before = stream["last_time"] = place["time"]
        for file, source, data in kept["sources"]:
            self._sources[file, source] = msgspec.convert(data, SourceData)
        self.ahead, self.behind = kept["stamps"]

    def _doubts(self, batch: Batch, file: int) -> list[tuple[int, int]]:
        """Rows that put a book in doubt, and the instruments whose book it is."""
        found: list[tuple[int, int]] = []
        for row in np.flatnonzero((batch.kind == Kind.STATUS) | (batch.kind == Kind.SOURCE)).tolist():
            text, source = batch.data_at(row) or b"{}", (file, int(batch.source[row]))
            try:
                if batch.kind[row] == Kind.SOURCE:
                    self._sources[source] = msgspec.json.decode(text, type=SourceData)
                    continue
                data = msgspec.json.decode(text, type=StatusData)
            except msgspec.DecodeError:
                continue  # an error where the strategy comes to the row, which knows its place
            of_book = data.event == "gap" and data.channel in ("book", "orders")
            if data.event != "disconnected" and not of_book:
                continue
            index = int(batch.instrument[row])
            if index < len(self._groups):
                found.append((row, index))
                continue
            lost = self._sources.get(source)
            for index, group in enumerate(self._groups.tolist()):
                if lost is not None and lost.brings(self._venues[group].name, self._symbols[index]):
                    found.append((row, index))
        return found

    def feed(self, number: int, last_ts: int) -> bool:
        """Give a stream its next rows; False when none have come. `last_ts`: of all rows that have."""
        venue, stream = self._venues[number], self.streams[number]
        if not venue.waiting:
            stream["ended"] = self._ended
            return self._ended
        batch = venue.waiting.popleft()
        columns = tuple(np.ascontiguousarray(getattr(batch, name)) for name in COLUMNS)
        times = np.empty(batch.count, np.int64)
        for name, column in zip(COLUMNS, columns, strict=True):
            stream[f"column_{name}"] = column.ctypes.data
        stream["column_time"] = times.ctypes.data
        skipped = min(venue.skip, batch.count)
        venue.skip -= skipped
        venue.given += batch.count
        venue.turn += 1
        venue.before = int(stream["last_time"])
        stream["rows"], stream["row"] = batch.count, skipped
        venue.columns = (*columns, times)
        latency, address = self._config.latency, int(self.streams[number : number + 1].ctypes.data)
        marks = np.zeros(2, np.int64)
        kernels.venue_times(
            address,
            latency.feed_ns,
            venue.shift_ns,
            self._config.lookahead_ns,
            int(self._config.rules.row_by_row),
            marks.ctypes.data,
        )
        if marks.any():
            self.ahead += int(marks[0])
            self.behind += int(marks[1])
            if venue.turn > self._told:
                self._marks.append((venue.turn, int(marks[0]), int(marks[1])))
        if not venue.waiting:
            stream["known_until"] = last_ts - self._reach_ns
        else:
            stream["known_until"] = _first_ts(venue.waiting) - self._reach_ns
        return True

    def end(self, *, ended: bool) -> None:
        """Whether no more rows will come; the streams still take what waits for them."""
        self._ended = ended
        if not ended:
            self.streams["ended"] = 0


def _first_ts(waiting: Sequence[Batch]) -> int:
    for batch in waiting:
        if batch.count:
            return int(batch.ts[0])
    return _STARTED_BEFORE


def _selected(batch: Batch, rows: npt.NDArray[np.int64], doubts: Sequence[tuple[int, int]]) -> Batch:
    """Some rows of a batch, whole messages still, and after a message's rows what puts books in doubt."""
    ends = (batch.flags & int(Flag.LAST)) != 0
    message = np.cumsum(ends) - ends
    added = np.array([row for row, _ in doubts], np.int64)
    taken = np.concatenate((rows, added))
    extra = np.arange(len(taken)) >= len(rows)
    order = np.lexsort((taken, extra, message[taken]))
    part = Batch()
    part.count = len(taken)
    part.first_seq = batch.first_seq
    for name in COLUMNS:
        setattr(part, name, getattr(batch, name)[taken])
    part.kind[len(rows) :] = int(Kind.BOOK)
    part.flags[len(rows) :] = int(Flag.MAYBE_BAD_BOOK)
    part.side[len(rows) :] = 0
    part.ts_venue[len(rows) :] = NULL_TIME
    part.instrument[len(rows) :] = [index for _, index in doubts]
    for name in COLUMNS:
        setattr(part, name, getattr(part, name)[order])
    group = 2 * message[taken][order] + extra[order]
    last = np.append(group[1:] != group[:-1], True)[: len(taken)]
    part.flags &= np.uint16(0xFFFF ^ int(Flag.LAST))
    part.flags |= last.astype(np.uint16) * np.uint16(Flag.LAST)
    return part
