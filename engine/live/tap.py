"""The tap: one venue's frames, stamped and parsed, as rows in a buffer.

    connections ──frame──► stamp ──► parser ──rows──► RowBuffer ──turn──► owner
        ▲  ▲                           │ notices, wants
        │  └── the table, the dialogue ┤
        └───────────────────────────── snapshots (REST, or subscribed to anew), missing trades (REST)

The recorder and the paper session stand behind taps (engine.live.intake): it knows nothing of files or
strategies. What the venue is, an adapter says; what is done is the same for all of them. A venue needs more
than one connection where its limits ask for it; each is a source with a parser of its own.

Its life: `contact` asks for the definitions, `number` gives sources and instruments their numbers in the log,
`begin` writes what the definitions came in, `open` opens the connections, then `run` until `stop`. Only the
first contacts may fail: then nothing has begun. Later troubles are rows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec

from engine.feed.parser import Missing, Notice, Parser, PeriodWanted
from engine.feed.quality import DEFAULT_MODE, MODES, checked_mode, with_mode
from engine.live.adapter import BooksByRest, Definitions, FillsPeriods, Line
from engine.live.backfill import Backfills
from engine.live.backfill_period import PeriodBackfills
from engine.live.ban import Ban
from engine.live.books import Books, Snapshots
from engine.live.connection import Connection, Hooks, Target, Timeouts
from engine.live.machine import BackOff, Machine
from engine.live.pace import Pace
from engine.live.patient import Patient
from engine.live.redact import KNOWN
from engine.live.rest import Rest
from engine.live.turn import ROWS_MAX, Turn
from engine.live.venues import adapter_of, checked_channels, checked_symbols
from engine.model.kinds import InstrumentData, SourceData, StatusData
from engine.model.rows import RowBuffer


class TapConfig(msgspec.Struct, frozen=True):
    """What to listen to at one venue."""

    symbols: tuple[str, ...]
    venue: str = "binance"
    channels: tuple[str, ...] | None = None  # None: the venue's usual ones
    url: str = ""  # another address for all of the venue's
    snapshot_levels: int = 1_000
    quality: str = DEFAULT_MODE  # what becomes of ticks that cannot be right: engine.feed.quality
    timeouts: Timeouts = Timeouts()
    back_off: BackOff = BackOff()


class _Wire(msgspec.Struct):
    """One connection of the venue, and what belongs to it."""

    parser: Parser
    connection: Connection
    books: Books
    running: asyncio.Task[None] | None = None


class Tap:
    """One venue's market data into the rows of `turn`; one life only."""

    def __init__(self, config: TapConfig, turn: Turn, *, chance: Callable[[], float] = random.random) -> None:
        """Raises UsageError for a venue, symbol list, channel or address that cannot be."""
        self.adapter = adapter_of(config.venue, config.url)
        self.name = self.adapter.name
        self.symbols = checked_symbols(self.adapter, config.symbols)
        self.channels = checked_channels(self.adapter, config.channels)
        checked_mode(config.quality)
        self.sources: list[SourceData] = []
        self.definition_source = 0  # the number of the answer that the definitions came in; 0: of none
        self._config = config
        self._turn = turn
        self._chance = chance
        self._rest = Rest(self.adapter.rest_base)
        # Where REST is a history with limits of its own, its "come back in an hour" is not the stream's.
        self._ban = Ban() if isinstance(self.adapter, FillsPeriods) else self._rest.ban
        self._pace = Pace(self.adapter.address_gap_s) if self.adapter.address_gap_s else None
        self._definitions = Definitions({})
        self._wires: list[_Wire] = []
        patient = Patient(self._rest, config.back_off, chance)
        self._backfills = Backfills(self.adapter, patient, turn, self._fail)
        self._periods = PeriodBackfills(self.adapter, patient, turn, self._fail)
        self._snapshots = Snapshots(
            self.adapter,
            self._rest,
            turn,
            config.back_off,
            config.snapshot_levels,
            self._missing,
            chance,
            self._fail,
        )
        self._failure: BaseException | None = None

    @property
    def instruments(self) -> dict[str, tuple[int, InstrumentData]]:
        """Symbol to number and definition, as they are now."""
        return {
            symbol: numbered for wire in self._wires for symbol, numbered in wire.parser.instruments.items()
        }

    @property
    def judged(self) -> bool:
        """Whether its ticks are looked at."""
        return self._config.quality != MODES[0]

    @property
    def instrument_count(self) -> int:
        """How many numbers the instruments take."""
        return len(self._definitions.instruments)

    @property
    def frames(self) -> int:
        """Frames received so far."""
        return sum(wire.connection.frames for wire in self._wires)

    @property
    def most_waiting_bytes(self) -> int:
        """The most that one connection left unread for a moment."""
        return max((wire.connection.most_waiting_bytes for wire in self._wires), default=0)

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""
        return any(
            wire.parser.synchronised(symbol) for wire in self._wires if symbol in wire.parser.instruments
        )

    async def contact(self) -> None:
        """Ask what the symbols are.

        Raises UsageError for a symbol that the venue does not know, VenueError when it cannot be reached
        or answers what it should not. After an error nothing is open any more.
        """
        try:
            self._definitions = await self.adapter.definitions(
                self._rest.get_patiently, self.symbols, self.channels
            )
        except BaseException:
            await self._rest.close()
            raise
        self._rest.weight_per_minute = self._definitions.weight_per_minute

    def number(self, first_source: int, first_instrument: int, *, alone: bool) -> None:
        """Give everything its number; `alone`: nobody else listens to this venue."""
        defined = self._definitions.instruments
        numbers = {symbol: n for n, symbol in enumerate(defined, start=first_instrument)}
        lines = self.adapter.lines(self.symbols, self.channels)
        for source, line in enumerate(lines, start=first_source):
            part = line.symbols if len(lines) > 1 or not alone else ()
            data = SourceData(name=self.name, venue=self.name, url=line.url, symbols=part)
            self.sources.append(with_mode(data, self._config.quality))
            instruments = {
                symbol: (numbers[symbol], definition)
                for symbol, definition in defined.items()
                if symbol in line.symbols
            }
            parser = self.adapter.parser(instruments, source, self.channels)
            self._wires.append(self._wire(line, source, parser))
        if self._definitions.answers:
            self.definition_source = first_source + len(self.sources)
            self.sources += [source for source, _ in self._definitions.answers]
        if isinstance(self.adapter, BooksByRest) and "book" in self.channels:
            for symbol in self.symbols:
                data = SourceData(
                    name=f"{self.name}-rest",
                    venue=self.name,
                    url=self.adapter.rest_base,
                    endpoint="depth",
                    symbol=symbol,
                )
                self._snapshots.number(first_source + len(self.sources), data)
                self.sources.append(data)
        name = f"{self.name}-rest"
        self.sources += self._backfills.sources(
            name, self.name, self.symbols, self.channels, first_source + len(self.sources)
        )
        self.sources += self._periods.sources(
            name,
            self.name,
            [line.symbols for line in lines],
            self.channels,
            first_source + len(self.sources),
        )

    def begin(self) -> None:
        """Append what the definitions came in; the header's rows stand already."""
        number = self.definition_source
        for source, body in self._definitions.answers:
            wire = self._wires[0]
            stamp = self._turn.sequencer.stamp()
            wire.parser.feed_rest(source, body, stamp, self._turn.rows, number)
            number += 1

    async def open(self) -> None:
        """Open every connection. Raises VenueError when one cannot be opened or is refused."""
        for wire in self._wires:
            wire.running = asyncio.ensure_future(wire.connection.run())
        running = [wire.running for wire in self._wires if wire.running is not None]
        opened = asyncio.ensure_future(self._all_opened())
        await asyncio.wait((opened, *running), return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        for task in running:
            if task.done():
                task.result()

    async def _all_opened(self) -> None:
        for wire in self._wires:
            await wire.connection.opened.wait()

    async def run(self) -> None:
        """Stream until `stop`; raises whatever ended it otherwise."""
        running = [wire.running for wire in self._wires if wire.running is not None]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # Only a stop ends a connection, or an error of our own: then nobody goes on alone.
        for wire in self._wires:
            wire.connection.stop()
        await asyncio.wait(running)
        if self._failure is not None:
            raise self._failure
        for task in running:
            task.result()

    async def stop(self) -> None:
        """Leave the venue; the last rows are in the buffer when this returns."""
        for wire in self._wires:
            if wire.running is not None:
                wire.connection.stop()
        running = [wire.running for wire in self._wires if wire.running is not None]
        if running:
            await asyncio.wait(running)
        for task in running:
            if not task.cancelled():
                task.exception()  # `open` and `run` raise the first; the others say the same
        for wire in self._wires:
            await self._snapshots.end(wire.books)
        await self._backfills.end()
        await self._periods.end()
        await self._rest.close()

    def _wire(self, line: Line, source: int, parser: Parser) -> _Wire:
        adapter, config = self.adapter, self._config
        machine = Machine(f"{self.name}:{source}", back_off=config.back_off, chance=self._chance)
        books = Books(parser, source)
        hooks = Hooks(
            self._taker(books),
            lambda status: self._status(status, source),
            lambda: self._lost(books),
            (lambda: self._rehearsal(line, source)) if adapter.overlapping else None,
        )
        target = Target(
            line.url,
            lambda: adapter.dialogue(line),
            line.headers,
            " ".join(line.streams),
            adapter.life_s * (1 - 0.05 * self._chance()),  # not all of them at once
            self._ban,
            self._pace,
        )
        connection = Connection(target, machine, hooks, timeouts=config.timeouts, back_off=config.back_off)
        books.connection = connection
        return _Wire(parser, connection, books)

    def _taker(self, books: Books) -> Callable[[bytes], None]:
        """What every frame goes through; bound names, because it runs a hundred thousand times a second."""
        turn, snapshots, parser = self._turn, self._snapshots, books.parser
        feed, stamp, rows = parser.feed, turn.sequencer.stamp, turn.rows
        wants, notices, waiting = parser.wants, parser.notices, books.waiting
        known, clean = KNOWN, KNOWN.body  # a venue may repeat the key that it was given

        def take(frame: bytes) -> None:
            if known.in_bytes:
                frame = clean(frame)
            feed(frame, stamp(), rows)
            if wants:
                snapshots.wanted(books)
            if waiting:
                snapshots.look(books)
            if not turn.armed:
                turn.arm()
            elif rows.count >= ROWS_MAX:
                turn.now()
            if notices:
                heard = notices.copy()
                notices.clear()
                assert books.connection is not None
                books.connection.heard(heard)

        return take

    def _rehearsal(self, line: Line, source: int) -> Callable[[bytes], list[Notice]]:
        """A reader of frames that leaves no trace: another parser, and rows that nobody sees."""
        instruments = {s: n for s, n in self.instruments.items() if s in line.symbols}
        parser, rows = self.adapter.parser(instruments, source, self.channels), RowBuffer(64)

        def notices_of(frame: bytes) -> list[Notice]:
            rows.clear()
            parser.feed(frame, 0, rows)
            heard, parser.notices[:] = list(parser.notices), []
            return heard

        return notices_of

    def _status(self, data: StatusData, source: int) -> None:
        self._turn.status(data, source=source)
        self._turn.arm()

    def _lost(self, books: Books) -> None:
        books.parser.connection_lost()
        books.parser.notices.clear()
        self._snapshots.forget(books)

    def _missing(self, parser: Parser, want: Missing) -> None:
        if isinstance(want, PeriodWanted):
            self._periods.wanted(parser, want)
        else:
            self._backfills.wanted(parser, want)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        for wire in self._wires:
            wire.connection.stop()
