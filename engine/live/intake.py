"""Everything that one log takes in: venues' streams, and feeds beside them, through one Sequencer.

    Tap (a venue) ──────────┐
    Tap (another one) ──────┼──► RowBuffer ──turn──► recorder or session
    Poller (a feed) ────────┤
    CcxtFeed (by ccxt) ─────┘

The recorder and the paper session stand behind one, and need not know what is in it. Times come from one
sequencer, so rows of all sources stand in the order in which they were received. Numbers of sources and
instruments are given here: those of the venues first, then the feeds, each in the order in which they were
named. The header's rows, by which a log explains its numbers, are written here too, and again for each
segment with definitions as they are by then.

First contacts come before anything is written: each feed is asked once, then each venue; whoever cannot be
reached ends the start, and nothing is left open. Later troubles are rows.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from engine.feed.news_json import REMEMBERED
from engine.feed.quality import Quality
from engine.feed.quality import prepare as prepare_quality
from engine.live.ccxt_feed import CcxtConfig, CcxtFeed
from engine.live.clock import Sequencer
from engine.live.poller import PollConfig, Poller
from engine.live.previous import headlines_of
from engine.live.tap import Tap, TapConfig
from engine.live.turn import Turn
from engine.log.writer import prepare as prepare_log
from engine.model.errors import UsageError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer

_LAST = int(Flag.LAST)


class Intake:
    """Start, run, stop; one life only, like that of its parts."""

    def __init__(
        self,
        taps: tuple[TapConfig, ...],
        feeds: tuple[PollConfig | CcxtConfig, ...],
        sequencer: Sequencer,
        rows: RowBuffer,
        on_rows: Callable[[], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises UsageError when there is nothing to listen to, and what Tap raises."""
        if not taps and not feeds:
            raise UsageError("there is nothing to listen to", hint="name --symbols, a --feed, or both")
        self.opening: tuple[StatusData, ...] = ()  # rows to write between the header and the first contact
        self._turn = Turn(rows, sequencer, on_rows)
        self._quality = Quality()
        self._taps = [Tap(tap, self._turn, chance=chance) for tap in taps]
        self._feeds: list[Poller | CcxtFeed] = [
            CcxtFeed(feed, sequencer, rows, self._turn.now, chance=chance)
            if isinstance(feed, CcxtConfig)
            else Poller(feed, sequencer, rows, self._turn.now, chance=chance)
            for feed in feeds
        ]
        libraries = [feed for feed in self._feeds if isinstance(feed, CcxtFeed)]
        _nothing_twice([*self._taps, *libraries])

    @property
    def names(self) -> tuple[str, ...]:
        """What the log's header calls its venues: of a log without one, the first feed."""
        libraries = (feed.name for feed in self._feeds if isinstance(feed, CcxtFeed))
        names = tuple(dict.fromkeys((*(tap.name for tap in self._taps), *libraries)))
        return names or (self._feeds[0].name,)

    @property
    def frames(self) -> int:
        """Frames received so far; of a feed, answers with a body."""
        return sum(tap.frames for tap in self._taps) + sum(feed.frames for feed in self._feeds)

    @property
    def most_waiting_bytes(self) -> int:
        """The most that one connection left unread for a moment."""
        return max((tap.most_waiting_bytes for tap in self._taps), default=0)

    @property
    def instruments(self) -> dict[int, InstrumentData]:
        """Every instrument's definition as it is now, by number."""
        parts: list[Tap | Poller | CcxtFeed] = [*self._taps, *self._feeds]
        found = dict(numbered for part in parts for numbered in part.instruments.values())
        return dict(sorted(found.items()))

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with its venue's."""
        return any(part.synchronised(symbol) for part in (*self._taps, *self._feeds))

    def remember(self, path: Path) -> None:
        """Know the headlines of the segment that is continued, so that none is written twice."""
        if self._feeds:
            before = headlines_of(path, REMEMBERED)
            for feed in self._feeds:
                feed.remember(before.get(feed.source.url, ()))

    async def start(self) -> None:
        """Reach everybody, write the header's rows, begin. Raises VenueError and UsageError."""
        try:
            # What takes long the first time comes first: a frame is stamped when it is read, and who
            # imports or compiles with open sockets reads late.
            prepare_log()
            if any(part.judged for part in (*self._taps, *self._feeds)):
                prepare_quality()
            for feed in self._feeds:
                await feed.contact()
            for tap in self._taps:
                await tap.contact()
            self._number()
            self.header()
            for status in self.opening:
                for number in self._connections():
                    self._turn.status(status, source=number)
            for tap in self._taps:
                tap.begin()
            for tap in self._taps:
                await tap.open()
        except BaseException:
            await self._close()
            raise
        for feed in self._feeds:
            feed.begin()
        self._turn.now()

    def header(self) -> None:
        """Append the SOURCE and INSTRUMENT rows that a file begins with, as they are now."""
        stamp, rows = self._turn.sequencer.stamp, self._turn.rows
        for number, source in enumerate(self._sources(), start=1):
            rows.append(stamp(), Kind.SOURCE, source=number, flags=_LAST, data=encode_canonical(source))
        for tap in self._taps:
            for number, definition in sorted(tap.instruments.values()):
                rows.append(
                    stamp(),
                    Kind.INSTRUMENT,
                    source=tap.definition_source,
                    instrument=number,
                    flags=_LAST,
                    data=encode_canonical(definition),
                )
        for feed in self._feeds:
            feed.define()

    async def run(self) -> None:
        """Take in until `stop`; raises whatever ended a part otherwise, when the others have ended too."""
        parts: list[Tap | Poller | CcxtFeed] = [*self._taps, *self._feeds]
        running = [asyncio.ensure_future(part.run()) for part in parts]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # Only a stop ends a part, or an error of the engine's own: then nobody goes on alone.
        await self.stop()
        await asyncio.wait(running)
        for part in running:
            part.result()

    async def stop(self) -> None:
        """Leave everybody; the last rows are in the buffer when this returns."""
        await self._close()
        self._turn.now()

    def judge(self) -> None:
        """Flag what cannot be right among the rows that are about to be written; once for each of them."""
        self._quality.take(self._turn.rows)

    def status(self, data: StatusData) -> None:
        """Append a STATUS row of the engine's own."""
        self._turn.status(data)
        self._turn.arm()

    def note_clock(self) -> None:
        """Write a STATUS row if the system clock has gone away, or come back."""
        self._turn.note_clock()

    def _sources(self) -> list[SourceData]:
        """Everything that rows may come from, by number from 1."""
        sources = [source for tap in self._taps for source in tap.sources]
        return sources + [source for feed in self._feeds for source in feed.sources]

    def _connections(self) -> list[int]:
        """Numbers of the sources that bring instruments; of a log without one, the first source's."""
        numbered = enumerate(self._sources(), start=1)
        return [number for number, source in numbered if not source.endpoint] or [1]

    def _number(self) -> None:
        """Give every part its numbers."""
        source = instrument = 1
        venues = Counter(tap.name for tap in self._taps)
        for tap in self._taps:
            tap.number(source, instrument, alone=venues[tap.name] == 1)
            source += len(tap.sources)
            instrument += tap.instrument_count
        for feed in self._feeds:
            feed.number(source, instrument)
            source += len(feed.sources)
            instrument += len(feed.instruments)

    async def _close(self) -> None:
        parts: list[Tap | Poller | CcxtFeed] = [*self._feeds, *self._taps]
        outcomes = await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True)
        for outcome in outcomes:  # nobody stays open because another one failed
            if isinstance(outcome, BaseException):
                raise outcome


def _nothing_twice(venues: list[Tap | CcxtFeed]) -> None:
    seen: set[tuple[str, str]] = set()
    for tap in venues:
        for symbol in tap.symbols:
            if (tap.name, symbol) in seen:
                raise UsageError(f"{tap.name}:{symbol} is named twice", hint="once is enough")
            seen.add((tap.name, symbol))
