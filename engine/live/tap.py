"""The tap: a venue's frames, stamped and parsed, as rows in a buffer.

    WebSocket ──frame──► stamp ──► parser ──rows──► RowBuffer ──on_rows, once per turn──► owner
        ▲                            │ wants
        └── connection's table       ▼
                           REST snapshot ──body──► parser

The recorder and the paper session both stand behind one: it knows nothing of files or strategies. The
owner gives it the buffer and takes the rows out of it, as whole messages, whenever `on_rows` calls; that is
once after all frames of one read of the socket have been drained, never inside a message.

First come the header's rows: each source and each instrument under its number, so that a log explains
itself. `header()` writes them again, as they are by then, for the next segment of a log. What happens to
the connection, to a book and to the clock becomes STATUS rows. A book that lost its step is asked for
again over REST, with back-off, for as long as it takes; a refusal is a row, never an error. Only the very
first contact may fail: then nothing has begun, and `start` says what is wrong.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import msgspec

from engine.feed import binance_reference
from engine.feed.binance import BinanceParser
from engine.feed.parser import Malformed, SnapshotWanted
from engine.live.clock import Sequencer
from engine.live.connection import Connection, Hooks, Timeouts
from engine.live.machine import BackOff, Machine
from engine.live.rest import Refused, Rest
from engine.live.venues import checked_channels, checked_symbols, subscription, venue_of
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer

LAST = int(Flag.LAST)
SOCKET, REFERENCE = 1, 2  # numbers of the first sources; the snapshots' come after
SNAPSHOTS_AT_ONCE = 4
_UNKNOWN_SYMBOL = -1121
_SHUTDOWN = b"serverShutdown"
_SHUTDOWN_BYTES_MAX = 128  # longer frames are not looked through for it


class TapConfig(msgspec.Struct, frozen=True):
    """What to listen to."""

    symbols: tuple[str, ...]
    venue: str = "binance"
    channels: tuple[str, ...] = ("trade", "quote", "book")
    url: str = ""  # another address for all of the venue's
    snapshot_levels: int = 1_000
    timeouts: Timeouts = Timeouts()
    back_off: BackOff = BackOff()


class Tap:
    """One venue's market data into `rows`. Start, run, stop; one life only."""

    def __init__(
        self,
        config: TapConfig,
        sequencer: Sequencer,
        rows: RowBuffer,
        on_rows: Callable[[], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Raises UsageError for a venue, symbol list, channel or address that cannot be."""
        self.venue = venue_of(config.venue, config.url)
        self.symbols = checked_symbols(config.symbols)
        self.channels = checked_channels(self.venue, config.channels)
        self.rows = rows
        self.sequencer = sequencer
        self.sources: list[SourceData] = []
        self.beside: tuple[SourceData, ...] = ()  # sources of others in this log, numbered after ours
        self.opening: tuple[StatusData, ...] = ()  # rows to write between the header and the first contact
        self._config = config
        self._on_rows = on_rows
        self._chance = chance
        self._rest = Rest(self.venue.rest_base)
        self._parser = BinanceParser({}, SOCKET)
        self._connection: Connection | None = None
        self._running: asyncio.Task[None] | None = None
        self._snapshots: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)
        self._misses = dict.fromkeys(self.symbols, 0)  # snapshots in a row that came to nothing
        self._failure: BaseException | None = None
        self._armed = False

    @property
    def instruments(self) -> dict[str, tuple[int, InstrumentData]]:
        """Symbol to number and definition, as they are now."""
        return self._parser.instruments

    @property
    def frames(self) -> int:
        """Data frames received so far."""
        return 0 if self._connection is None else self._connection.frames

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return self._parser.synchronised(symbol)

    async def start(self) -> None:
        """Ask for the definitions, write the header's rows, open the stream.

        Raises UsageError for a symbol that the venue does not know, VenueError when it cannot be reached
        or answers what it should not. After an error nothing is open any more.
        """
        try:
            definitions, body = await self._definitions()
            numbered = {symbol: (n, d) for n, (symbol, d) in enumerate(definitions.items(), start=1)}
            self._parser = BinanceParser(numbered, SOCKET, self.channels)
            url, messages = subscription(self.venue, self._parser.streams())
            self.sources = self._sources_of(url)
            self.header()
            for status in self.opening:
                self.status(status, source=SOCKET)
            reference = self.sources[REFERENCE - 1]
            self._parser.feed_rest(reference, body, self.sequencer.stamp(), self.rows, REFERENCE)
            self._connection = Connection(
                url,
                Machine(self.venue.name, back_off=self._config.back_off, chance=self._chance),
                Hooks(self._frame_taker(), self._connection_status, self._lost),
                messages=messages,
                subscribed=" ".join(self._parser.streams()),
                timeouts=self._config.timeouts,
            )
            self._running = asyncio.ensure_future(self._connection.run())
            opened = asyncio.ensure_future(self._connection.opened.wait())
            await asyncio.wait((self._running, opened), return_when=asyncio.FIRST_COMPLETED)
            opened.cancel()
            if self._running.done():
                self._running.result()
        except BaseException:
            await self._close()
            raise

    def header(self) -> None:
        """Append the SOURCE and INSTRUMENT rows that a file begins with, as they are now."""
        stamp, rows = self.sequencer.stamp, self.rows
        for number, source in enumerate((*self.sources, *self.beside), start=1):
            rows.append(stamp(), Kind.SOURCE, source=number, flags=LAST, data=encode_canonical(source))
        for number, definition in self.instruments.values():
            rows.append(
                stamp(),
                Kind.INSTRUMENT,
                source=REFERENCE,
                instrument=number,
                flags=LAST,
                data=encode_canonical(definition),
            )
        self._arm()

    async def run(self) -> None:
        """Stream until `stop`; raises whatever ended it otherwise."""
        assert self._running is not None, "start first"
        await self._running
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Leave the venue; the last rows are in the buffer when this returns."""
        await self._close()
        self._turn()

    def status(self, data: StatusData, *, source: int = 0, instrument: int = 0) -> None:
        """Append a STATUS row."""
        self.rows.append(
            self.sequencer.stamp(),
            Kind.STATUS,
            source=source,
            instrument=instrument,
            flags=LAST,
            data=encode_canonical(data),
        )
        self._arm()

    def note_clock(self) -> None:
        """Write a STATUS row if the system clock has gone away, or come back."""
        notice = self.sequencer.take_notice()
        if notice is not None:
            self.status(notice.status())

    async def _close(self) -> None:
        if self._connection is not None and self._running is not None:
            self._connection.stop()
            await asyncio.wait((self._running,))
        self._forget_snapshots()
        if self._snapshots:
            await asyncio.wait(self._snapshots)
        await self._rest.close()

    def _frame_taker(self) -> Callable[[bytes], None]:
        """What every frame goes through; bound names, because it runs a hundred thousand times a second."""
        feed, stamp, rows, wants = self._parser.feed, self.sequencer.stamp, self.rows, self._parser.wants

        def take(frame: bytes) -> None:
            feed(frame, stamp(), rows)
            if wants:
                self._ask_for_snapshots()
            if not self._armed:
                self._arm()
            if len(frame) < _SHUTDOWN_BYTES_MAX and _SHUTDOWN in frame:
                assert self._connection is not None
                self._connection.shut_down(_SHUTDOWN.decode())

        return take

    def _arm(self) -> None:
        """Call the owner when everything that is ready now has been drained."""
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self.note_clock()
        self._armed = False
        if self.rows.count:
            self._on_rows()

    def _connection_status(self, data: StatusData) -> None:
        self.status(data, source=SOCKET)

    def _lost(self) -> None:
        self._parser.connection_lost()
        self._parser.wants.clear()
        self._forget_snapshots()

    def _forget_snapshots(self) -> None:
        # What they would bring belongs to a stream that is over.
        for task in self._snapshots:
            task.cancel()

    def _ask_for_snapshots(self) -> None:
        for want in self._parser.wants:
            self._in_background(self._snapshot(want))
        self._parser.wants.clear()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._snapshots.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._snapshots.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
            if self._connection is not None:
                self._connection.stop()

    async def _snapshot(self, want: SnapshotWanted) -> None:
        """Ask until the book is in step, or another snapshot is wanted (a new task then)."""
        symbol = want.symbol
        instrument = self.instruments[symbol][0]
        number, source = next(
            (n, s)
            for n, s in enumerate(self.sources, start=1)
            if s.endpoint == "depth" and s.symbol == symbol
        )
        self._say(StatusData(event="resync", channel="book", detail=want.reason), number, instrument)
        if want.reason in {"stale", "failed"}:
            # The last answer was no use; asking again at once would bring the same.
            self._misses[symbol] += 1
            await asyncio.sleep(self._config.back_off.wait_s(self._misses[symbol], self._chance()))
        attempt = 0
        while True:
            try:
                async with self._asking:
                    body = await self._rest.get(
                        binance_reference.depth_path(quote(symbol), self._config.snapshot_levels)
                    )
                break
            except Refused as refusal:
                attempt += 1
                wait_s = max(self._config.back_off.wait_s(attempt, self._chance()), refusal.retry_after_s)
                refused = StatusData(
                    event="resync",
                    channel="book",
                    detail=refusal.message,
                    attempt=attempt,
                    wait_ns=int(wait_s * 1e9),
                )
                self._say(refused, number, instrument)
                await asyncio.sleep(wait_s)
        self._parser.feed_rest(source, body, self.sequencer.stamp(), self.rows, number)
        self._arm()
        if self._parser.synchronised(symbol):
            self._misses[symbol] = 0
            self._say(StatusData(event="synchronised", channel="book"), number, instrument)
        self._ask_for_snapshots()

    def _say(self, data: StatusData, source: int, instrument: int) -> None:
        self.status(data, source=source, instrument=instrument)

    def _sources_of(self, url: str) -> list[SourceData]:
        venue, base = self.venue.name, self.venue.rest_base
        rest = f"{venue}-rest"
        sources = [
            SourceData(name=venue, venue=venue, url=url),
            SourceData(name=rest, venue=venue, url=base, endpoint="exchangeInfo"),
        ]
        if "book" in self.channels:
            sources += [
                SourceData(name=rest, venue=venue, url=base, endpoint="depth", symbol=symbol)
                for symbol in self.symbols
            ]
        return sources

    async def _definitions(self) -> tuple[dict[str, InstrumentData], bytes]:
        """Definitions in the order of the symbols, and the answer that they came in."""
        try:
            body = await self._rest.get(_exchange_info_path(self.symbols))
        except Refused as refusal:
            if refusal.code == _UNKNOWN_SYMBOL:
                await self._name_unknown_symbol()
            raise
        try:
            found = binance_reference.definitions(body, self.symbols)
        except Malformed as problem:
            raise VenueError(
                f"{self.venue.rest_base}{_EXCHANGE_INFO} answered what is no exchangeInfo: {problem} "
                f"{problem.data.field}".rstrip(),
                hint="the address is not that of this venue's REST interface",
            ) from None
        for symbol in self.symbols:
            if symbol not in found:
                raise self._unknown_symbol(symbol)
        return {
            symbol: msgspec.structs.replace(found[symbol], channels=self.channels) for symbol in self.symbols
        }, body

    async def _name_unknown_symbol(self) -> None:
        """The venue says that one of several symbols is unknown, not which: ask for each."""
        for symbol in self.symbols:
            try:
                await self._rest.get(_exchange_info_path([symbol]))
            except Refused as refusal:
                if refusal.code == _UNKNOWN_SYMBOL:
                    raise self._unknown_symbol(symbol) from None
                raise

    def _unknown_symbol(self, symbol: str) -> UsageError:
        return UsageError(
            f'{self.venue.name} has no symbol "{symbol}"',
            hint="symbols are written without a separator, as BTCUSDT",
        )


_EXCHANGE_INFO = "/api/v3/exchangeInfo"


def _exchange_info_path(symbols: list[str] | tuple[str, ...]) -> str:
    return f"{_EXCHANGE_INFO}?symbols={quote(msgspec.json.encode(list(symbols)))}"
