"""Binance spot and Binance.US: addresses, limits, and how their streams are subscribed to.

Streams are named in the address where it does not become too long, which needs no answer; what does not fit
is subscribed by messages. All streams of a symbol go over one connection, so that they keep their order among
each other. Binance.com is asked for microseconds; Binance.US is another deployment of an older interface and
is asked for nothing that it may not know.

Source: binance-spot-api-docs, web-socket-streams.md and rest-api.md (2026-07).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from engine.feed import binance_reference
from engine.feed.binance import BinanceParser
from engine.feed.binance_backfill import LATEST
from engine.feed.binance_history import AGGREGATES, LIMIT, TRADES
from engine.feed.dialogue import Dialogue, Spoken
from engine.feed.parser import Malformed
from engine.live.adapter import Backfill, Definitions, Get, Instruments, Line, at
from engine.live.credentials import find
from engine.live.fetch_binance import KEY_HEADER
from engine.live.refusal import is_loopback
from engine.live.rest import Refused
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import InstrumentData, SourceData

URL_LENGTH_MAX = 4_096  # longer request lines are refused by many servers
STREAMS_PER_MESSAGE = 200
SYMBOLS_PER_REQUEST = 150  # of definitions: they stand in the address
STREAMS_PER_CONNECTION = 1_024
LIFE_S = 23.5 * 3_600  # the venue ends every connection after 24 hours
KEY_NAME = "BINANCE_API_KEY"  # for the history of single trades
UNIT_HEADER = "X-MBX-TIME-UNIT"
_UNKNOWN_SYMBOL = -1121
_EXCHANGE_INFO = "/api/v3/exchangeInfo"


class Binance:
    """One of the two deployments; see engine.live.adapter."""

    channels = tuple(binance_reference.STREAM_OF)
    usual_channels = ("trade", "quote", "book")
    overlapping = True
    address_gap_s = 0.0
    life_s = LIFE_S

    def __init__(self, name: str, stream_base: str, rest_base: str, *, microseconds: bool) -> None:
        self.name = name
        self.stream_base = stream_base
        self.rest_base = rest_base
        self._unit = "timeUnit=MICROSECOND" if microseconds else ""

    def checked_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Upper case; whether they exist is asked of the venue."""
        return tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))

    def lines(self, symbols: Sequence[str], channels: Sequence[str]) -> tuple[Line, ...]:
        """As few connections as the limit of streams allows, filled evenly."""
        most = STREAMS_PER_CONNECTION // len(channels)
        count = -(-len(symbols) // most)
        size = -(-len(symbols) // count)
        parts = [tuple(symbols[start : start + size]) for start in range(0, len(symbols), size)]
        return tuple(self._line(part, tuple(channels)) for part in parts)

    def _line(self, symbols: tuple[str, ...], channels: tuple[str, ...]) -> Line:
        streams = tuple(binance_reference.stream_names(symbols, channels))
        # The venue takes encoded paths, and some symbols are not ASCII; "@" and "/" are its own marks.
        url = f"{self.stream_base}/stream?streams={quote('/'.join(streams), safe='@/')}"
        if self._unit:
            url += f"&{self._unit}"
        if len(url) > URL_LENGTH_MAX:
            url = f"{self.stream_base}/stream" + (f"?{self._unit}" if self._unit else "")
        return Line(url, symbols, channels, streams)

    def parser(self, instruments: Instruments, source: int, channels: Sequence[str]) -> BinanceParser:
        """One for a line."""
        return BinanceParser(instruments, source, channels)

    def dialogue(self, line: Line) -> Dialogue:
        """Messages for the streams that the address does not name."""
        if "?streams=" in line.url:
            return Spoken()
        parts = range(0, len(line.streams), STREAMS_PER_MESSAGE)
        return Spoken(
            [
                binance_reference.subscribe_request(
                    line.streams[start : start + STREAMS_PER_MESSAGE], number
                ).decode()
                for number, start in enumerate(parts, start=1)
            ]
        )

    def snapshot_path(self, symbol: str, levels: int) -> str:
        """GET depth."""
        return binance_reference.depth_path(quote(symbol), levels)

    def backfill(self, channel: str) -> Backfill | None:
        """AggTrades and, with a key, historicalTrades go back as far as one likes; else the last thousand.

        The key is Binance.com's, and does not travel without encryption to another machine.
        """
        unit = {UNIT_HEADER: "MICROSECOND"} if self._unit else {}
        if channel == "aggtrade":
            return Backfill(channel, AGGREGATES, LIMIT, headers=lambda: dict(unit))
        if channel != "trade":
            return None
        safe = self.rest_base.startswith("https:") or is_loopback(self.rest_base)
        key = find(KEY_NAME) if self.name == "binance" and safe else None
        if key is None:
            words = f"only the latest {LIMIT:,} can be had" + (
                f" without {KEY_NAME}" if self.name == "binance" else ""
            )
            return Backfill(channel, LATEST, LIMIT, by_id=False, words=words, headers=lambda: dict(unit))
        return Backfill(channel, TRADES, LIMIT, headers=lambda: {**unit, KEY_HEADER: key.reveal()})

    def backfill_path(self, way: Backfill, symbol: str, first: int, limit: int) -> str:
        """GET trades, historicalTrades or aggTrades."""
        begin = f"&fromId={first}" if way.by_id else ""
        return f"/api/v3/{way.endpoint}?symbol={quote(symbol)}{begin}&limit={limit}"

    async def definitions(self, get: Get, symbols: Sequence[str], channels: Sequence[str]) -> Definitions:
        """Of GET exchangeInfo; raises UsageError for a symbol that the venue does not have."""
        source = SourceData(
            name=f"{self.name}-rest", venue=self.name, url=self.rest_base, endpoint="exchangeInfo"
        )
        found: dict[str, InstrumentData] = {}
        answers, weight = [], 0
        for start in range(0, len(symbols), SYMBOLS_PER_REQUEST):
            part = symbols[start : start + SYMBOLS_PER_REQUEST]
            body = await self._exchange_info(get, part)
            try:
                found |= binance_reference.definitions(body, part, venue=self.name)
                weight = binance_reference.weight_per_minute(body)
            except Malformed as problem:
                raise VenueError(
                    f"{self.rest_base}{_EXCHANGE_INFO} answered what is no exchangeInfo: {problem} "
                    f"{problem.data.field}".rstrip(),
                    hint="the address is not that of this venue's REST interface",
                ) from None
            answers.append((source, body))
        for symbol in symbols:
            if symbol not in found:
                raise self._unknown(symbol)
        carried = tuple(channels)
        instruments: dict[str, InstrumentData] = {
            symbol: msgspec.structs.replace(found[symbol], channels=carried) for symbol in symbols
        }
        return Definitions(instruments, tuple(answers), weight)

    async def _exchange_info(self, get: Get, symbols: Sequence[str]) -> bytes:
        try:
            return await get(_exchange_info_path(symbols))
        except Refused as refusal:
            if refusal.code == _UNKNOWN_SYMBOL:
                await self._name_unknown(get, symbols)
            raise

    async def _name_unknown(self, get: Get, symbols: Sequence[str]) -> None:
        """The venue says that one of several symbols is unknown, not which: ask for each."""
        for symbol in symbols:
            try:
                await get(_exchange_info_path([symbol]))
            except Refused as refusal:
                if refusal.code == _UNKNOWN_SYMBOL:
                    raise self._unknown(symbol) from None
                raise

    def _unknown(self, symbol: str) -> UsageError:
        return UsageError(
            f'{self.name} has no symbol "{symbol}"',
            hint="symbols are written without a separator, as BTCUSDT",
        )


def binance(url: str = "") -> Binance:
    """Binance spot, at `url` instead of its own addresses if there is one."""
    stream, rest = at(url, "wss://stream.binance.com:9443", "https://api.binance.com")
    return Binance("binance", stream, rest, microseconds=True)


def binanceus(url: str = "") -> Binance:
    """Binance.US."""
    stream, rest = at(url, "wss://stream.binance.us:9443", "https://api.binance.us")
    return Binance("binanceus", stream, rest, microseconds=False)


def _exchange_info_path(symbols: Sequence[str]) -> str:
    return f"{_EXCHANGE_INFO}?symbols={quote(msgspec.json.encode(list(symbols)))}"
