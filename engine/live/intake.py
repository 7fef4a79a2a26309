"""Everything that one log takes in: a venue's streams, and feeds beside them, through one Sequencer.

    Tap (a venue, if there is one) ──┐
    Poller (a feed) ─────────────────┼──► RowBuffer ──on_rows──► recorder or session
    Poller (another)  ───────────────┘

The recorder and the paper session stand behind one, and need not know what is in it. Times come from one
sequencer, so rows of all sources stand in the order in which they were received; numbers of sources are given
here: those of the venue first, then the feeds in the order in which they were named.

First contacts come before anything is written: each feed is asked once, then the venue; whoever cannot be
reached ends the start, and nothing is left open. Later troubles are rows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from engine.feed.news_json import REMEMBERED
from engine.live.clock import Sequencer
from engine.live.poller import PollConfig, Poller
from engine.live.previous import headlines_of
from engine.live.tap import Tap, TapConfig
from engine.model.errors import UsageError
from engine.model.kinds import Flag, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer

_LAST = int(Flag.LAST)


class Intake:
    """Start, run, stop; one life only, like that of its parts."""

    def __init__(
        self,
        tap: TapConfig | None,
        feeds: tuple[PollConfig, ...],
        sequencer: Sequencer,
        rows: RowBuffer,
        on_rows: Callable[[], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises UsageError when there is nothing to listen to, and what Tap raises."""
        if tap is None and not feeds:
            raise UsageError("there is nothing to listen to", hint="name --symbols, a --feed, or both")
        self.opening: tuple[StatusData, ...] = ()  # rows to write between the header and the first contact
        self._tap = None if tap is None else Tap(tap, sequencer, rows, on_rows, chance=chance)
        self._feeds = [Poller(feed, sequencer, rows, on_rows, chance=chance) for feed in feeds]
        self._sequencer = sequencer
        self._rows = rows
        self._on_rows = on_rows

    @property
    def name(self) -> str:
        """What the log's header calls its venue: of a log without one, the first feed."""
        return self._feeds[0].config.name if self._tap is None else self._tap.venue.name

    @property
    def frames(self) -> int:
        """Data frames received so far; of a feed, answers with a body."""
        return (self._tap.frames if self._tap is not None else 0) + sum(feed.answers for feed in self._feeds)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self._tap is not None and self._tap.synchronised(symbol)

    def remember(self, path: Path) -> None:
        """Know the headlines of the segment that is continued, so that none is written twice."""
        if self._feeds:
            before = headlines_of(path, REMEMBERED)
            for feed in self._feeds:
                feed.remember(before.get(feed.source.url, ()))

    async def start(self) -> None:
        """Reach everybody, write the header's rows, begin. Raises VenueError and UsageError."""
        try:
            for feed in self._feeds:
                await feed.contact()
            if self._tap is not None:
                self._tap.beside = self._sources()
                self._tap.opening = self.opening
                await self._tap.start()
            else:
                self._number(1, 1)
                self.header()
                for status in self.opening:
                    self._append(status, source=1)
        except BaseException:
            await self._close_feeds()
            raise
        if self._tap is not None:
            self._number(1 + len(self._tap.sources), 1 + len(self._tap.instruments))
            for feed in self._feeds:
                feed.define()
        for feed in self._feeds:
            feed.begin()
        self._on_rows()

    def header(self) -> None:
        """Append the SOURCE and INSTRUMENT rows that a file begins with, as they are now."""
        if self._tap is not None:
            self._tap.header()
        else:
            for number, source in enumerate(self._sources(), start=1):
                data = encode_canonical(source)
                self._rows.append(self._sequencer.stamp(), Kind.SOURCE, source=number, flags=_LAST, data=data)
        for feed in self._feeds:
            feed.define()

    async def run(self) -> None:
        """Take in until `stop`; raises whatever ended a part otherwise, when the others have ended too."""
        parts = [part for part in (self._tap, *self._feeds) if part is not None]
        running = [asyncio.ensure_future(part.run()) for part in parts]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # Only a stop ends a part, or an error of the engine's own: then nobody goes on alone.
        await self.stop()
        await asyncio.wait(running)
        for part in running:
            part.result()

    async def stop(self) -> None:
        """Leave everybody; the last rows are in the buffer when this returns."""
        await self._close_feeds()
        if self._tap is not None:
            await self._tap.stop()
        elif self._rows.count:
            self._on_rows()

    def status(self, data: StatusData) -> None:
        """Append a STATUS row of the engine's own."""
        if self._tap is not None:
            self._tap.status(data)
        else:
            self._append(data)
            self._on_rows()

    def note_clock(self) -> None:
        """Write a STATUS row if the system clock has gone away, or come back."""
        if self._tap is not None:
            self._tap.note_clock()
        elif (notice := self._sequencer.take_notice()) is not None:
            self._append(notice.status())

    def _append(self, data: StatusData, *, source: int = 0) -> None:
        self._rows.append(
            self._sequencer.stamp(), Kind.STATUS, source=source, flags=_LAST, data=encode_canonical(data)
        )

    def _number(self, source: int, instrument: int) -> None:
        """Give the feeds' sources and instruments their numbers, from these on."""
        for number, feed in enumerate(self._feeds, start=source):
            feed.number(number, instrument)
            instrument += len(feed.instruments)

    def _sources(self) -> tuple[SourceData, ...]:
        return tuple(feed.source for feed in self._feeds)

    async def _close_feeds(self) -> None:
        for feed in self._feeds:
            await feed.stop()
