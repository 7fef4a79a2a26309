"""Polls one address, for as long as one lets it, and writes what is new.

    ask ──200──► parser ──rows──► RowBuffer        wait `every_s`, ask again
     │ 304: nothing                │ more of it: ask for that at once
     └ anything else: a STATUS row with the reason, a longer wait, a STATUS row for the next attempt

What is asked, and what an answer says, is the business of the format's parser (engine.feed.polled): headlines
as JSON or XML, prices. A format whose bodies are slow to read is read in a thread beside the event loop.

It is a connection like that of a venue's stream, and keeps the same machine (engine.live.machine): the
first good answer is "connected", a failed request "disconnected" with its reason and the wait before the
next one. The wait begins at the interval (a second at least) and doubles up to a cap, half of it is chance,
and it is never shorter than what the server asks for (Retry-After). `silence_s` without anything new is a
row as well: an endpoint can answer for hours from a cache.

The very first answer is asked for before anything is written (`contact`): an address that is wrong ends the
command instead of beginning a recording.

Rows are appended as soon as an answer is complete, all of them at once; nothing is read ahead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from engine.feed.news_json import NewsParser
from engine.feed.parser import Malformed
from engine.feed.polled import PolledParser, Taken
from engine.live.address import Address
from engine.live.clock import Sequencer
from engine.live.credentials import Secret
from engine.live.feed_part import FeedPart
from engine.live.machine import BackOff, Event, Machine, State
from engine.live.polling import Answer, Conditional
from engine.live.rest import Refused
from engine.model.errors import VenueError
from engine.model.kinds import SourceData, StatusData
from engine.model.rows import RowBuffer

EVERY_S = 5.0
MOST_BYTES = 8 << 20
PAGES_MOST = 20  # of one poll: the rest is asked for after the interval
BASE_S, CAP_S = 1.0, 300.0  # of the waits after trouble


class Format(msgspec.Struct, frozen=True):
    """What an address answers, and who reads it. `channel` is what its STATUS rows are of."""

    parser: Callable[[], PolledParser]
    channel: str = "news"
    endpoint: str = "news"  # of the SOURCE row
    venue: str = ""  # likewise; trouble of the source is trouble of this venue's books
    accept: str = "application/json"
    expected: str = "list of headlines"  # what it is not, if it cannot be read
    hint: str = "it must answer a JSON list of objects with a headline: docs/news.md"
    slow: bool = False  # to read


JSON_NEWS = Format(NewsParser)


class PollConfig(msgspec.Struct, frozen=True):
    """What to poll, and how patiently. `name` is the feed's, as of SOURCE rows."""

    address: Address
    name: str = "news"
    every_s: float = EVERY_S
    timeout_s: float = 10.0
    silence_s: float = 3_600.0  # without anything new: a row
    most_bytes: int = MOST_BYTES
    back_off: BackOff | None = None  # None: from the interval on
    format: Format = JSON_NEWS
    headers: dict[str, Secret] = {}  # credentials


def _patience(config: PollConfig) -> BackOff:
    """Asking again after trouble is not asking more often; two good answers end the trouble."""
    return BackOff(
        base_s=max(BASE_S, config.every_s), cap_s=max(CAP_S, config.every_s), stable_s=2 * config.every_s
    )


class Poller(FeedPart[PolledParser]):
    """One address into `rows`: `contact`, `begin`, `run`, `stop`; one life only."""

    def __init__(
        self,
        config: PollConfig,
        sequencer: Sequencer,
        rows: RowBuffer,
        on_rows: Callable[[], None],
        *,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`sleep` and `clock` (monotonic, in seconds) are the event loop's unless a test has its own."""
        super().__init__(
            SourceData(
                name=config.name,
                venue=config.format.venue,
                url=config.address.shown,
                endpoint=config.format.endpoint,
            ),
            Machine(config.name, back_off=config.back_off or _patience(config), chance=chance),
            config.format.parser(),
            sequencer,
            rows,
        )
        self.config = config
        self.answers = 0  # with a body, so far
        self._on_rows = on_rows
        self._sleep = sleep
        self._clock = clock
        self._asking = Conditional(
            config.address,
            timeout_s=config.timeout_s,
            most_bytes=config.most_bytes,
            accept=config.format.accept,
            headers=config.headers,
        )
        self._first: tuple[Answer, Any] | None = None  # and what it says
        self._asked_s = 0.0  # when the latest request began, and
        self._news_s = 0.0  # when the latest news came

    @property
    def name(self) -> str:
        """The feed's, as users write it."""
        return self.config.name

    @property
    def judged(self) -> bool:
        """Never: what is polled are headlines, and prices that somebody else has averaged."""
        return False

    @property
    def frames(self) -> int:
        """Answers with a body so far."""
        return self.answers

    def synchronised(self, symbol: str) -> bool:  # noqa: ARG002  as of every part of an intake
        """Never: there is no book."""
        return False

    def remember(self, headlines: Iterable[tuple[int, bytes]]) -> None:
        """Know what was written before: publication times and data of NEWS rows, oldest first."""
        for ts_venue, data in headlines:
            self._parser.remember(data, ts_venue)

    async def contact(self) -> None:
        """Ask for the first time. Raises VenueError when that brings nothing that can be read, UsageError."""
        self._asked_s = self._now_s()
        try:
            answer = await self._asking.ask(self._parser.query())
            read = await self._read(answer.body or b"")
            self._parser.contact(read)
        except Malformed as problem:
            await self._asking.close()
            raise VenueError(
                f"{self._no_answer()} ({self.config.address.clean(str(problem))})",
                hint=self.config.format.hint,
            ) from None
        except BaseException:
            await self._asking.close()
            raise
        self._first = answer, read

    def number(self, source: int, instrument: int = 1) -> None:
        """Take the number of our source, and the first one of our instruments; before `header`."""
        self._parser.number(source, instrument)

    def begin(self, number: int = 0, instrument: int = 1) -> None:
        """Append the rows of the first contact; our SOURCE and INSTRUMENT rows stand already.

        `number` and `instrument` are as of `number`, where that was not called.
        """
        assert self._first is not None, "contact first"
        if number:
            self.number(number, instrument)
        self._tell(Event.START, self.config.address.shown)
        self._open()
        self._take(*self._first)
        self._first = None

    async def _close(self) -> None:
        await self._asking.close()

    async def _work(self) -> None:
        while True:
            if self.machine.state is State.WAITING:
                await self._sleep(self.machine.wait_s)
                self._tell(Event.WAITED, self.config.address.shown)
                self._on_rows()
            else:
                await self._sleep(max(0.0, self._asked_s + self.config.every_s - self._now_s()))
            self._asked_s = self._now_s()
            try:
                await self._poll()
            except Refused as refusal:
                self._fail(refusal.message, refusal.retry_after_s)
            self._on_rows()

    async def _poll(self) -> None:
        """Ask, and for the rest of the answer where there is one. Raises Refused."""
        for _ in range(PAGES_MOST):
            answer = await self._asking.ask(self._parser.query())
            try:
                read = None if answer.body is None else await self._read(answer.body)
            except Malformed as problem:
                self._open()
                self.answers += 1
                assert answer.body is not None, "what is not there is not read"
                self._parser.refuse(problem, answer.body, self._sequencer.stamp, self._rows)
                self._fail(self._no_answer())
                return
            self._open()
            if not self._take(answer, read).more:
                return
            self._on_rows()

    async def _read(self, body: bytes) -> Any:
        """What a body says. Raises Malformed."""
        if self.config.format.slow:
            return await asyncio.to_thread(self._parser.read, body)
        return self._parser.read(body)

    def _open(self) -> None:
        """There is an answer: if we waited for one, that is a connection."""
        if self.machine.state is State.CONNECTING:
            self._tell(Event.OPENED, self.config.address.shown)
            self._tell(Event.SUBSCRIBED, f"asked every {self.config.every_s:g} s")
            self._news_s = self._now_s()

    def _take(self, answer: Answer, read: Any) -> Taken:
        """A good answer: its rows, and what they say of the connection."""
        taken = Taken()
        if answer.body is not None:
            self.answers += 1
            taken = self._parser.take(read, answer.body, self._sequencer.stamp, self._rows)
            self._asking.keep(answer)
        self._listen(fresh=taken.rows > 0)
        return taken

    def _no_answer(self) -> str:
        return f"{self.config.address.shown} answered what is no {self.config.format.expected}"

    def _listen(self, *, fresh: bool) -> None:
        """Notice an endpoint that has gone silent, and one that speaks again."""
        now_s, silence_s = self._now_s(), self.config.silence_s
        if fresh:
            self._news_s = now_s
            if self.machine.state is State.QUIET:
                self._tell(Event.FRAME)
        elif self.machine.state is State.STREAMING and now_s - self._news_s >= silence_s:
            self._tell(Event.SILENT, f"nothing new for {silence_s:g} s")

    def _fail(self, detail: str, retry_after_s: float = 0.0) -> None:
        self._parser.lost()
        event = Event.REFUSED if self.machine.state is State.CONNECTING else Event.LOST
        self._tell(event, detail, retry_after_s)

    def _status(self, data: StatusData, instrument: int = 0) -> None:
        # The channel tells a strategy that this is no trouble of a venue.
        super()._status(msgspec.structs.replace(data, channel=self.config.format.channel), instrument)

    def _now_s(self) -> float:
        return self._clock() if self._clock is not None else super()._now_s()
