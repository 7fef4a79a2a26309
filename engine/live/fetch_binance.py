"""Binance's history as a fetch sees it: what may be asked for, what a symbol is, which streams bring it.

Binance.US is the same protocol of an earlier vintage under another address, and another venue: its
instruments have keys of their own, and it is not asked for microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from engine.feed.binance_history import BarStream, TradeStream, interval_ns, server_time
from engine.feed.binance_reference import definitions, weight_per_minute
from engine.feed.history import Stream
from engine.live.fetch_client import Client
from engine.live.fetch_plan import Reference, Request, Span, Wanted, of_each_symbol
from engine.live.rest import Refused
from engine.log.segments import DAY_NS
from engine.model.errors import UsageError

BASES = {"binance": "https://api.binance.com", "binanceus": "https://api.binance.us"}
CHANNELS = ("trade", "aggtrade", "bar")
KEY_HEADER = "X-MBX-APIKEY"
_UNKNOWN_SYMBOL = -1121
_BAD_SYMBOL = -1100
_WEIGHTS = (("/historicalTrades", 25), ("/aggTrades", 4), ("/klines", 2), ("/exchangeInfo", 20))


class BinanceHistory:
    """One of Binance's deployments."""

    channels: tuple[str, ...] = CHANNELS
    usual_channels: tuple[str, ...] = ("trade",)

    def __init__(self, name: str, *, key: str = "") -> None:
        """`key`: of the user, for historicalTrades."""
        self.name = name
        self.own_base = BASES[name]
        self.headers = {"Accept": "application/json"}
        if name == "binance":
            self.headers["X-MBX-TIME-UNIT"] = "MICROSECOND"
        if key:
            self.headers[KEY_HEADER] = key
        self.has_key = bool(key)

    def checked(self, request: Request) -> tuple[Request, list[str]]:
        """The request as the venue can take it, and what is to be said of that."""
        notes = []
        symbols = tuple(dict.fromkeys(symbol.upper() for symbol in request.symbols))
        channels = request.channels
        if "trade" in channels and not self.has_key:
            # One row for each taker's order and price in place of one for each trade: as good for most uses.
            channels = tuple(dict.fromkeys("aggtrade" if c == "trade" else c for c in channels))
            notes.append(
                "single trades need an API key (BINANCE_API_KEY); aggregate trades are fetched in their place"
            )
        if "bar" in channels:
            interval_ns(request.interval)
        return msgspec.structs.replace(request, symbols=symbols, channels=channels), notes

    async def reference(self, client: Client, request: Request) -> bytes:
        """The answer that says what the symbols are. UsageError names those that do not exist."""
        listed = quote(msgspec.json.encode(list(request.symbols)).decode())
        try:
            return await client.get(f"/api/v3/exchangeInfo?symbols={listed}", self._understood(request))
        except Refused as error:
            if error.code not in {_UNKNOWN_SYMBOL, _BAD_SYMBOL}:
                raise
        unknown = [symbol for symbol in request.symbols if not await _exists(client, symbol)]
        raise UsageError(
            f"{self.name} has no symbol {', '.join(unknown or request.symbols)}",
            hint="write symbols as the venue does: BTCUSDT",
        )

    def read(self, body: bytes, request: Request) -> Reference:
        """What the answer says. Raises Malformed."""
        found = definitions(body, request.symbols, venue=self.name)
        missing = [symbol for symbol in request.symbols if symbol not in found]
        if missing:
            raise UsageError(f"{self.name} does not know {', '.join(missing)}")
        ordered = [
            msgspec.structs.replace(found[symbol], channels=request.channels) for symbol in request.symbols
        ]
        return Reference(ordered, server_time(body), weight_per_minute(body))

    def _understood(self, request: Request) -> Callable[[bytes], object]:
        return lambda body: self.read(body, request)

    def streams(self, request: Request) -> list[Wanted]:
        """One for every symbol and channel."""
        return of_each_symbol(request)

    def stream(self, request: Request, symbol: str, channel: str, span: Span, carried: str) -> Stream:
        """The stream of one symbol and channel in a span."""
        if channel == "bar":
            last_end = 0 if span.last else span.end
            first_end = 0 if span.begin == request.begin else span.begin
            return BarStream(
                symbol,
                request.begin,
                request.end,
                request.interval,
                first_end=first_end,
                last_end=last_end,
            )
        return TradeStream(symbol, span.begin, span.end, aggregate=channel == "aggtrade", carried=carried)

    def possible_bars(self, request: Request) -> int:
        """Whole bars between the two times; the venue never closes. Longer ones than a day begin anywhere."""
        length = interval_ns(request.interval)
        if not 0 < length <= DAY_NS:
            return 0
        return max(request.end // length - -(-request.begin // length), 0)

    def weight(self, path: str) -> int:
        """What a request will probably cost; what it did cost, the answer says."""
        return next((weight for part, weight in _WEIGHTS if part in path), 1)


async def _exists(client: Client, symbol: str) -> bool:
    try:
        await client.get(f"/api/v3/exchangeInfo?symbol={quote(symbol)}", lambda _body: None)
    except Refused as error:
        if error.code in {_UNKNOWN_SYMBOL, _BAD_SYMBOL}:
            return False
        raise
    return True
