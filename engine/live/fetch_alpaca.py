"""Alpaca's history as a fetch sees it: stocks of IEX or of all exchanges (SIP), coins, and news.

The venue says nothing of a symbol but what was traded last, which also tells whether there is such a symbol.
What an instrument is, is what the streams take it for (engine.live.adapters.alpaca), so that fetched and
recorded logs of it fit together.

Keys go with every request, in headers, to the address that was named and to no other.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from engine.feed.alpaca_history import CRYPTO, STOCKS, AlpacaNewsStream, AlpacaStream, interval_of
from engine.feed.history import Stream
from engine.feed.parser import DECODE_FAILURES, malformed_of
from engine.live.adapters.alpaca import KEY_HEADER, SECRET_HEADER, Alpaca
from engine.live.fetch_client import Client
from engine.live.fetch_plan import Reference, Request, Span, Wanted, of_each_symbol
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData

BASE = "https://data.alpaca.markets"
NEWS, COINS = "alpaca-news", "alpaca-crypto"
FEEDS = {"alpaca": "iex", "alpaca-sip": "sip", COINS: "", NEWS: ""}


class _Latest(msgspec.Struct):
    trades: dict[str, msgspec.Raw] | None = None


class AlpacaHistory:
    """One of Alpaca's feeds."""

    own_base = BASE

    def __init__(self, name: str, key: str = "", secret: str = "") -> None:
        """Raises UsageError without keys, which only coins do not need."""
        self.name = name
        self.feed = FEEDS[name]
        self.channels: tuple[str, ...] = ("news",) if name == NEWS else ("trade", "quote", "bar")
        self.usual_channels: tuple[str, ...] = self.channels[:1]
        self.headers = {"Accept": "application/json"}
        if key and secret:
            self.headers |= {KEY_HEADER: key, SECRET_HEADER: secret}
        elif name != COINS:
            raise UsageError(
                f"{name} gives history to those with keys only",
                hint="set APCA_API_KEY_ID and APCA_API_SECRET_KEY in the environment, .env or the keyring",
            )
        self._adapter = Alpaca(name)

    def checked(self, request: Request) -> tuple[Request, list[str]]:
        """Symbols spelt as the venue does; nothing is to be said of it."""
        if "bar" in request.channels:
            interval_of(request.interval)
        symbols = self._adapter.checked_symbols(request.symbols)
        return msgspec.structs.replace(request, symbols=symbols, feed=self.feed), []

    async def reference(self, client: Client, request: Request) -> bytes:
        """What was traded last of each symbol. UsageError for symbols of which nothing ever was."""
        if self.name == NEWS:
            return b"{}"
        asked = {"symbols": ",".join(request.symbols)} | ({"feed": self.feed} if self.feed else {})
        path = f"{STOCKS}/trades/latest" if self.feed else f"{CRYPTO}/latest/trades"
        return await client.get(f"{path}?{urlencode(asked)}", _latest)

    def read(self, body: bytes, request: Request) -> Reference:
        """Definitions of the symbols. Raises Malformed, UsageError."""
        if self.name == NEWS:
            return Reference([], 0)
        known = _latest(body).trades or {}
        unknown = [symbol for symbol in request.symbols if symbol not in known]
        if unknown:
            raise UsageError(
                f"{self.name} knows nothing of {', '.join(unknown)}",
                hint="write symbols as the venue does: AAPL, or BTC/USD of alpaca-crypto",
            )
        found: list[InstrumentData] = [
            self._adapter.definition(symbol, request.channels) for symbol in request.symbols
        ]
        return Reference(found, 0)

    def streams(self, request: Request) -> list[Wanted]:
        """One for every symbol and channel; of news one alone, as an article may be about several."""
        return [("", "news")] if self.name == NEWS else of_each_symbol(request)

    def stream(self, request: Request, symbol: str, channel: str, span: Span, carried: str) -> Stream:
        """The stream of one symbol and channel in a span."""
        del carried  # each day is asked for by its times
        if channel == "news":
            symbols = [name for name in request.symbols if name != "*"]
            return AlpacaNewsStream(symbols, span.begin, span.end)
        if channel != "bar":
            return AlpacaStream(symbol, channel, span.begin, span.end, feed=self.feed)
        return AlpacaStream(
            symbol,
            channel,
            request.begin,
            request.end,
            feed=self.feed,
            interval=request.interval,
            first_end=0 if span.begin == request.begin else span.begin,
            last_end=0 if span.last else span.end,
        )

    def possible_bars(self, request: Request) -> int:
        """Nobody knows: exchanges close, and a minute without a trade has none."""
        del request
        return 0

    def weight(self, path: str) -> int:
        """Every request counts the same."""
        del path
        return 1


def _latest(body: bytes) -> _Latest:
    try:
        return msgspec.json.decode(body, type=_Latest)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
