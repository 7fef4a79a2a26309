"""When rows happen at their venue: the twin of engine.loop.venue_clock, over a whole list of messages.

A venue's rows are the market rows of its instruments, and what says that one of its books is in doubt. A
stamped one happens at its stamp, shifted, though not after it was received nor longer than the look-ahead
before; an unstamped one a feed latency before it was received; none before the venue's row above. What is
applied together happens when its last row does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from engine.model.kinds import Flag, Kind, Part, StatusData
from engine.model.units import NULL_TIME
from tests.helpers.logs import Message, Row

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.model.instruments import Instrument

_MARKET = (Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.MARK)


@dataclass
class VenueStep:
    """Rows that a venue applies together, or books that it is in doubt about from now on."""

    ts: int
    rows: Sequence[Row] = ()
    doubted: Sequence[int] = ()


def steps(rows: Sequence[Row], *, row_by_row: bool) -> list[list[Row]]:
    """A message as what is applied together: all of it, or row by row (a bar at once) up to a snapshot."""
    if not row_by_row:
        return [list(rows)]
    made: list[list[Row]] = []
    for i, row in enumerate(rows):
        if row.flags & Flag.SNAPSHOT:
            return [*made, list(rows[i:])]
        if row.kind == Kind.BAR and row.part != Part.OPEN and made:
            made[-1].append(row)
        else:
            made.append([row])
    return made


def doubts(row: Row) -> bool:
    """Whether a STATUS row says that books lack something."""
    if row.kind != Kind.STATUS:
        return False
    data = msgspec.json.decode(row.data or b"{}", type=StatusData)
    return data.event == "disconnected" or (data.event == "gap" and data.channel in ("book", "orders"))


class VenueTimes:
    """The steps of all venues of a run."""

    def __init__(self, config: RunConfig, instruments: Sequence[Instrument]) -> None:
        self.config = config
        self.instruments = instruments
        self.venues = list(dict.fromkeys(i.venue for i in instruments))
        self.last = dict.fromkeys(self.venues, -(2**62))
        self.ahead = 0
        self.behind = 0

    def steps(self, messages: Sequence[Message]) -> list[VenueStep]:
        """All of them in the order of time; at one time, the venue that was defined first comes first."""
        made = [step for venue in self.venues for step in self._of_venue(venue, messages)]
        return sorted(made, key=lambda step: step.ts)  # stable

    def _of_venue(self, venue: str, messages: Sequence[Message]) -> list[VenueStep]:
        made = []
        for message in messages:
            mine = [row for row in message.rows if row.kind in _MARKET and self._venue_of(row) == venue]
            for rows in steps(mine, row_by_row=self.config.rules.row_by_row) if mine else []:
                times = [self._time(venue, row, message.ts) for row in rows]
                made.append(VenueStep(times[-1], rows))
            for row in message.rows:
                doubted = self._doubted(row, venue)
                if doubted:
                    unstamped = Row(Kind.STATUS)
                    made.append(VenueStep(self._time(venue, unstamped, message.ts), (), doubted))
        return made

    def _venue_of(self, row: Row) -> str:
        return self.instruments[row.instrument - 1].venue

    def _doubted(self, row: Row, venue: str) -> list[int]:
        if not doubts(row):
            return []
        of_venue = [i.index for i in self.instruments if i.venue == venue]
        if row.instrument:
            return [row.instrument - 1] if row.instrument - 1 in of_venue else []
        return of_venue if self.venues[row.source - 1 : row.source] == [venue] else []

    def _time(self, venue: str, row: Row, received: int) -> int:
        config = self.config
        if row.ts_venue == NULL_TIME:
            at = received - config.latency.feed_ns
        else:
            at = row.ts_venue + config.venue_shift_ns.get(venue, 0)
            self.ahead += at > received
            self.behind += at < received - config.lookahead_ns
            at = max(min(at, received), received - config.lookahead_ns)
        self.last[venue] = max(self.last[venue], at)
        return self.last[venue]
