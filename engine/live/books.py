"""Books that lost their step are asked for again, for as long as it takes.

A parser says in `wants` which book needs a snapshot. Where REST brings it (Binance) one asks for the body and
feeds it to the same parser; where the stream brings it (Kraken) one subscribes to the book anew. Either is a
"resync" row, and a book that is in step again is a "synchronised" row. A refusal is a row, never an error:
one asks again with back-off, and no sooner than the venue says (Retry-After). Requests are also slowed down
before the venue has to say so, where it weighs them and tells how much of a minute's weight has been used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from engine.feed.parser import Missing, Parser, SnapshotWanted
from engine.live.adapter import Adapter, BooksByRest
from engine.live.connection import Connection
from engine.live.machine import BackOff
from engine.live.rest import Refused, Rest
from engine.live.tasks import in_background
from engine.live.turn import Turn
from engine.model.kinds import SourceData, StatusData

SNAPSHOTS_AT_ONCE = 4
ASK_AGAIN_S = 10.0  # a book that the stream was to bring, and did not
_ENOUGH = 0.8  # of a minute's request weight


class Books(msgspec.Struct):
    """The books of one connection: who wants one, who waits for one."""

    parser: Parser
    source: int  # the connection's number
    connection: Connection | None = None  # set once, when it has been made
    waiting: dict[str, asyncio.TimerHandle] = {}  # asked of the stream, not in step yet
    tasks: set[asyncio.Task[None]] = set()


class Snapshots:
    """Brings the books of one venue's connections back into step."""

    def __init__(
        self,
        adapter: Adapter,
        rest: Rest,
        turn: Turn,
        back_off: BackOff,
        levels: int,
        on_missing: Callable[[Parser, Missing], None],
        chance: Callable[[], float],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`on_missing` hears of missing trades; `on_failure` hears of a bug in one of the tasks."""
        self._rest = rest
        self._turn = turn
        self._back_off = back_off
        self._levels = levels
        self._by_path = adapter if isinstance(adapter, BooksByRest) else None
        self._on_missing = on_missing
        self._chance = chance
        self._on_failure = on_failure
        self._sources: dict[str, tuple[int, SourceData]] = {}  # of REST snapshots, by symbol
        self._misses: dict[str, int] = {}  # snapshots in a row that came to nothing
        self._at_once = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)

    def number(self, number: int, source: SourceData) -> None:
        """The source of one symbol's snapshots."""
        self._sources[source.symbol] = (number, source)

    def wanted(self, books: Books) -> None:
        """Drain the parser's wants."""
        wants, books.parser.wants[:] = list(books.parser.wants), []
        for want in wants:
            if not isinstance(want, SnapshotWanted):
                self._on_missing(books.parser, want)
            elif self._by_path is not None:
                self._in_background(books, self._by_rest(books, want))
            else:
                self._in_background(books, self._by_stream(books, want))

    def look(self, books: Books) -> None:
        """Whether a book that the stream was to bring is there."""
        for symbol in [symbol for symbol in books.waiting if books.parser.synchronised(symbol)]:
            books.waiting.pop(symbol).cancel()
            self._misses.pop(symbol, None)
            self._say(StatusData(event="synchronised", channel="book"), books, symbol)

    def forget(self, books: Books) -> None:
        """The stream is interrupted: what was on its way belongs to a stream that is over."""
        books.parser.wants[:] = [w for w in books.parser.wants if not isinstance(w, SnapshotWanted)]
        for handle in books.waiting.values():
            handle.cancel()
        books.waiting.clear()
        for task in books.tasks:
            task.cancel()

    async def end(self, books: Books) -> None:
        """Forget, and wait until nothing is on its way."""
        self.forget(books)
        if books.tasks:
            await asyncio.wait(books.tasks)

    def _in_background(self, books: Books, work: Coroutine[Any, Any, None]) -> None:
        task = in_background(work, self._on_failure)
        books.tasks.add(task)
        task.add_done_callback(books.tasks.discard)

    async def _patience(self, want: SnapshotWanted) -> None:
        """The last answer was no use: asking again at once would bring the same."""
        if want.reason in {"stale", "failed"}:
            self._misses[want.symbol] = misses = self._misses.get(want.symbol, 0) + 1
            await asyncio.sleep(self._back_off.wait_s(misses, self._chance()))

    async def _by_stream(self, books: Books, want: SnapshotWanted) -> None:
        symbol = want.symbol
        self._say(StatusData(event="resync", channel="book", detail=want.reason), books, symbol)
        await self._patience(want)
        self._ask_stream(books, symbol)

    def _ask_stream(self, books: Books, symbol: str) -> None:
        assert books.connection is not None
        books.connection.ask_again([symbol])
        self._wait_for(books, symbol)

    def _wait_for(self, books: Books, symbol: str) -> None:
        handle = asyncio.get_running_loop().call_later(ASK_AGAIN_S, self._not_there, books, symbol)
        if (before := books.waiting.get(symbol)) is not None:
            before.cancel()
        books.waiting[symbol] = handle

    def _not_there(self, books: Books, symbol: str) -> None:
        if books.connection is not None and books.connection.talking:
            # What was asked for, of many books at once, may not even have been said: do not repeat it yet.
            self._wait_for(books, symbol)
            return
        self._misses[symbol] = attempt = self._misses.get(symbol, 0) + 1
        words = f"no book within {ASK_AGAIN_S:g} s"
        self._say(StatusData(event="resync", channel="book", detail=words, attempt=attempt), books, symbol)
        self._ask_stream(books, symbol)

    async def _by_rest(self, books: Books, want: SnapshotWanted) -> None:
        """Ask until the book is in step, or another snapshot is wanted (a new task then)."""
        symbol = want.symbol
        number, source = self._sources[symbol]
        instrument = books.parser.instruments[symbol][0]
        say = self._turn.status
        say(
            StatusData(event="resync", channel="book", detail=want.reason),
            source=number,
            instrument=instrument,
        )
        self._turn.arm()
        await self._patience(want)
        body = await self._body(symbol, number, instrument)
        books.parser.feed_rest(source, body, self._turn.sequencer.stamp(), self._turn.rows, number)
        self._turn.arm()
        if books.parser.synchronised(symbol):
            self._misses.pop(symbol, None)
            say(StatusData(event="synchronised", channel="book"), source=number, instrument=instrument)
        self.wanted(books)

    async def _body(self, symbol: str, number: int, instrument: int) -> bytes:
        assert self._by_path is not None
        path, attempt = self._by_path.snapshot_path(symbol, self._levels), 0
        while True:
            try:
                async with self._at_once:
                    await self._rest.spare(_ENOUGH)
                    return await self._rest.get(path)
            except Refused as refusal:
                attempt += 1
                wait_s = max(self._back_off.wait_s(attempt, self._chance()), refusal.retry_after_s)
                refused = StatusData(
                    event="resync",
                    channel="book",
                    detail=refusal.message,
                    attempt=attempt,
                    wait_ns=int(wait_s * 1e9),
                )
                self._turn.status(refused, source=number, instrument=instrument)
                self._turn.arm()
                await asyncio.sleep(wait_s)

    def _say(self, data: StatusData, books: Books, symbol: str) -> None:
        self._turn.status(data, source=books.source, instrument=books.parser.instruments[symbol][0])
        self._turn.arm()
