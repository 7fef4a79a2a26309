"""Any venue that ccxt knows, as rows: `--venue ccxt:okx`. Convenient, and lossy; native venues are better.

    ccxt.pro ──what it returns──► canonical JSON ──► CcxtParser ──rows──► RowBuffer
      one task for each symbol and channel

The library keeps the connection and the books. We see what it hands over: trades that came since we last
asked, the book as it is by then, a ticker. Two updates between two questions are one; so every row is flagged
LOSSY, and its `wire` is what was handed over, not what the venue sent. A book is copied at once, for the
library goes on writing into it; after the first whole one, only levels that differ go into the log.

It keeps the machine of any connection (engine.live.machine). The library says nothing of its connects and
reconnects but the errors that they end in: any error of a channel is "disconnected" with its words, all
channels are left, and begun again after the wait, with whole books. A book that the library finds out of step
(a checksum, a nonce) is a "gap" row without numbers, since it names none, and a new whole book.

As with every part of an intake: `contact`, then `number`, `header`, `begin`, `run`, `stop`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from engine.feed.ccxt_rows import CcxtParser
from engine.feed.quality import DEFAULT_MODE, MODES, with_mode
from engine.live.ccxt_library import (
    PREFIX,
    definition_of,
    exchange_of,
    method_of,
    refusal_of,
    words_of,
)
from engine.live.clock import Sequencer
from engine.live.feed_part import FeedPart
from engine.live.machine import BackOff, Event, Machine, State
from engine.live.redact import KNOWN
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import SourceData, StatusData
from engine.model.rows import RowBuffer

CHANNELS = ("trade", "quote", "book")
SILENCE_S = 60.0
CLOSE_S = 5.0  # for the library to close what it holds
PATIENCE = 5  # silences after which everything is begun again
_encode = msgspec.json.Encoder(order="sorted", enc_hook=repr).encode
_CALLS = {
    "watchTrades": "watch_trades",
    "watchOrderBook": "watch_order_book",
    "watchTicker": "watch_ticker",
    "watchBidsAsks": "watch_bids_asks",
}


class CcxtConfig(msgspec.Struct, frozen=True):
    """What to listen to. `venue` is the library's name of it, without "ccxt:"."""

    venue: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...] = CHANNELS
    url: str = ""  # another host for all of the venue's addresses
    quality: str = DEFAULT_MODE  # what becomes of ticks that cannot be right: engine.feed.quality
    silence_s: float = SILENCE_S
    back_off: BackOff = BackOff()

    @property
    def name(self) -> str:
        """The venue's, as users write it."""
        return f"{PREFIX}{self.venue}"


class CcxtFeed(FeedPart[CcxtParser]):
    """One venue's market data into `rows`, through the library; one life only."""

    def __init__(
        self,
        config: CcxtConfig,
        sequencer: Sequencer,
        rows: RowBuffer,
        on_rows: Callable[[], None],
        *,
        chance: Callable[[], float] = random.random,
        make: Callable[[str, str], Awaitable[Any]] = exchange_of,
    ) -> None:
        """`make` gives the exchange of a name, at an address. Raises UsageError for what cannot be."""
        self.config = msgspec.structs.replace(
            config,
            symbols=_each(config.symbols, str, "symbol", "BTC/USDT"),
            channels=_each(config.channels, str.lower, "channel", ",".join(CHANNELS)),
        )
        self.name = name = config.name
        source = SourceData(name=name, venue=name, url=config.url, detail={"lossy": "ccxt"})
        super().__init__(
            with_mode(source, config.quality),
            Machine(name, back_off=config.back_off, chance=chance),
            CcxtParser({}, 0),
            sequencer,
            rows,
        )
        self.symbols = self.config.symbols
        self.frames = 0  # things handed over so far
        self._on_rows = on_rows
        self._make = make
        self._exchange: Any = None
        self._calls: dict[str, str] = {}  # by channel
        self._books: dict[str, tuple[dict[Any, Any], dict[Any, Any]]] = {}
        self._armed = False

    @property
    def judged(self) -> bool:
        """Whether its ticks are looked at."""
        return self.config.quality != MODES[0]

    def remember(self, headlines: Iterable[tuple[int, bytes]]) -> None:
        """Nothing: it has none."""

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the library's."""
        return self._parser.synchronised(symbol)

    async def contact(self) -> None:
        """Ask what the symbols are. Raises UsageError and VenueError; then nothing is open."""
        try:
            self._exchange = await self._make(self.config.venue, self.config.url)
            self._calls = {
                channel: _CALLS[method_of(self._exchange, channel)] for channel in self.config.channels
            }
            await self._exchange.load_markets()
            self._spell()
            definitions = [
                definition_of(self._exchange, symbol, self.config.channels) for symbol in self.config.symbols
            ]
        except EngineError:
            await self._close()
            raise
        except Exception as error:  # noqa: BLE001  its own, and what its parsing comes upon
            await self._close()
            raise refusal_of(error, self.config.venue) from None
        except BaseException:
            await self._close()
            raise
        for number, definition in enumerate(definitions, start=1):
            self._parser.define(number, definition)

    def _spell(self) -> None:
        """Symbols as the library has them; most are in capitals, but not all."""
        markets = self._exchange.markets or {}
        spelt = (symbol if symbol in markets else symbol.upper() for symbol in self.config.symbols)
        self.symbols = tuple(dict.fromkeys(spelt))
        self.config = msgspec.structs.replace(self.config, symbols=self.symbols)

    def number(self, source: int, instrument: int = 1) -> None:
        """Take the number of our source, and the first one of our instruments; before `header`."""
        self._parser.source = source
        for number, (_, definition) in enumerate(list(self.instruments.values()), start=instrument):
            self._parser.define(number, definition)

    def begin(self, number: int = 0, instrument: int = 1) -> None:
        """Append the first STATUS row; our SOURCE and INSTRUMENT rows stand already."""
        assert self._exchange is not None, "contact first"
        if number:
            self.number(number, instrument)
        self._tell(Event.START, self.name)

    async def _work(self) -> None:
        while True:
            watchers = [
                asyncio.ensure_future(self._watch(channel, symbol))
                for channel in self.config.channels
                for symbol in self.config.symbols
            ]
            try:
                detail = await self._until_lost(watchers)
            finally:
                for watcher in watchers:
                    watcher.cancel()
                await asyncio.gather(*watchers, return_exceptions=True)
            self._lose()
            event = Event.REFUSED if self.machine.state is State.CONNECTING else Event.LOST
            self._tell(event, detail)
            await self._close()  # what is left of its sockets: the next life begins with new ones
            await asyncio.sleep(self.machine.wait_s)
            self._tell(Event.WAITED, self.name)

    async def _until_lost(self, watchers: list[asyncio.Task[None]]) -> str:
        """Wait for the first watcher that ends, or for too long a silence; why, in words."""
        silences, frames = 0, self.frames
        while True:
            done, _ = await asyncio.wait(
                watchers, timeout=self.config.silence_s, return_when=asyncio.FIRST_COMPLETED
            )
            for watcher in done:
                error = watcher.exception()
                assert error is not None, "watchers end by errors alone"
                return words_of(error)
            if self.frames != frames:
                silences, frames = 0, self.frames
                continue
            silences += 1
            if self.machine.state is State.STREAMING:
                self._tell(Event.SILENT, f"nothing for {self.config.silence_s:g} s")
            if silences >= PATIENCE or self.machine.state is State.CONNECTING:
                return f"nothing for {silences * self.config.silence_s:g} s"

    async def _watch(self, channel: str, symbol: str) -> None:
        """One channel of one symbol, for ever; raises what the library raises."""
        call = getattr(self._exchange, self._calls[channel])
        argument = [symbol] if self._calls[channel] == "watch_bids_asks" else symbol
        while True:
            try:
                found = await call(argument)
            except Exception as error:
                if channel != "book" or not _out_of_step(error):
                    raise
                self._step(symbol, words_of(error))
                await asyncio.sleep(self.config.back_off.wait_s(1, 0.0))
                continue
            frame = self._frame(channel, symbol, found)
            if frame is not None:
                self._take(frame)
            else:
                await asyncio.sleep(0)  # a library that answers at once, with nothing, must not keep the loop

    def _take(self, frame: bytes) -> None:
        if self.machine.state is State.CONNECTING:
            self._tell(Event.OPENED, self.name)
            words = f"{' '.join(self.config.channels)} of {' '.join(self.config.symbols)}"
            self._tell(Event.SUBSCRIBED, words)
        elif self.machine.state is State.QUIET:
            self._tell(Event.FRAME)
        self.frames += 1
        self._parser.feed(KNOWN.body(frame), self._sequencer.stamp(), self._rows)
        self._arm()

    def _frame(self, channel: str, symbol: str, found: Any) -> bytes | None:
        """Canonical JSON of what was handed over; None where there is nothing new in it."""
        if channel == "trade":
            return _encode({"channel": channel, "symbol": symbol, "trades": list(found)}) if found else None
        if channel == "quote":
            ticker = found.get(symbol, found)
            return _encode({"channel": channel, "symbol": symbol, "ticker": dict(ticker)})
        before = self._books.get(symbol)
        # At once and as a whole: the library goes on writing into its own.
        book = tuple({level[0]: level[1] for level in found[side]} for side in ("bids", "asks"))
        bids, asks = book
        self._books[symbol] = bids, asks
        changes = [_changes(*pair) for pair in zip(before or ({}, {}), book, strict=True)]
        if before is not None and not any(changes):
            return None
        return _encode(
            {
                "channel": channel,
                "symbol": symbol,
                "whole": before is None,
                "bids": changes[0],
                "asks": changes[1],
                "nonce": found.get("nonce"),
                "timestamp": found.get("timestamp"),
            }
        )

    def _step(self, symbol: str, detail: str) -> None:
        """The library's book of a symbol is out of step: it begins a new one."""
        self._books.pop(symbol, None)
        self._parser.connection_lost(symbol)
        instrument = self.instruments[symbol][0]
        self._status(StatusData(event="gap", channel="book", detail=detail), instrument)
        self._status(StatusData(event="resync", channel="book"), instrument)
        self._arm()

    def _lose(self) -> None:
        self._books.clear()
        self._parser.connection_lost()

    async def _close(self) -> None:
        if self._exchange is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._exchange.close()
        except Exception as error:  # noqa: BLE001  of sockets that are gone anyway
            if self.machine.state is not State.IDLE:
                self._status(StatusData(event="disconnected", detail=f"while closing: {words_of(error)}"))

    def _tell(self, event: Event, detail: str = "", retry_after_s: float = 0.0) -> None:
        super()._tell(event, detail, retry_after_s)
        self._arm()

    def _arm(self) -> None:
        """Call the owner when everything that is ready now has been taken."""
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False
        if self._rows.count:
            self._on_rows()


def _changes(before: dict[Any, Any], after: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """Levels that differ, those that went with size 0."""
    changed = [(price, size) for price, size in after.items() if before.get(price) != size]
    return changed + [(price, "0") for price in before if price not in after]


def _out_of_step(error: Exception) -> bool:
    """Whether the library says that a book is not the venue's any more."""
    import ccxt

    return isinstance(error, ccxt.InvalidNonce)  # ChecksumError is one


def _each(texts: tuple[str, ...], spelt: Callable[[str], str], what: str, example: str) -> tuple[str, ...]:
    """Texts as they are spelt, each once; UsageError for none."""
    found = tuple(dict.fromkeys(spelt(text.strip()) for text in texts if text.strip()))
    if not found:
        raise UsageError(f"no {what} given", hint=f"--{what}s {example}")
    return found
