"""A venue under a test's hand: Binance's streams and REST calls on one loopback port.

It sends what the test tells it to, keeps a list of every frame it sent, and misbehaves on request. Nothing
is sent by itself and nothing waits, so a test decides the order of everything.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.helpers.serving import serving

CHANNEL_OF_STREAM = {"trade": "trade", "bookTicker": "quote", "depth@100ms": "book"}


class FakeVenue:
    """Symbols with a trade counter and a book each; `sent` holds every frame in order of sending."""

    def __init__(self, symbols: Iterable[str] = ("BTCUSDT", "ETHUSDT"), *, seed: int = 1) -> None:
        self.symbols = tuple(symbols)
        self.chance = random.Random(seed)
        self.port = 0
        self.sent: list[str] = []
        self.connects = 0
        self.subscriptions: list[list[str]] = []  # of each connection
        self.requests: list[str] = []  # REST paths asked for
        self.refuse_websocket: tuple[int, str, str] | None = None  # status, content type, body
        self.answer_all: tuple[int, str] | None = None  # status and body of every request
        self.busy: list[str] = []  # Retry-After of the next requests and handshakes, which get a 429
        self.refuse_depth: list[int] = []  # statuses for the next depth requests
        self.refuse_trades: list[int | str] = []  # of the next requests for trades: statuses, or bodies
        self.oldest_trade = 0  # what is older, REST does not have
        self.keys: list[str | None] = []  # that came with requests for trades
        self.html = False  # REST answers are HTML pages
        self.answers_pings = True
        self.mute = False  # subscribing messages are not answered
        self.in_order: list[ServerConnection] = []  # everybody who ever connected
        self._clients: set[ServerConnection] = set()
        self._changed = asyncio.Condition()
        self._asked = asyncio.Event()
        self._update_id = dict.fromkeys(self.symbols, 1_000)
        self._trade_id = dict.fromkeys(self.symbols, 500)
        self._trades: dict[str, list[dict[str, object]]] = {symbol: [] for symbol in self.symbols}
        self._aggregates: dict[str, list[dict[str, object]]] = {symbol: [] for symbol in self.symbols}
        self._book: dict[str, tuple[dict[str, str], dict[str, str]]] = {
            symbol: (
                {f"{100 - n * 0.01:.2f}": f"{n}.00000000" for n in range(1, 21)},
                {f"{100 + n * 0.01:.2f}": f"{n}.00000000" for n in range(1, 21)},
            )
            for symbol in self.symbols
        }

    @property
    def url(self) -> str:
        """What a user gives as --url."""
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[FakeVenue]:
        """Serve until the block ends."""
        async with serving(self._stream, self._http, port) as self.port:
            yield self

    async def connected(self, count: int = 1, *, timeout_s: float = 10.0) -> None:
        """Wait until `count` connections have been opened in all, and one is open."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self.connects >= count and bool(self._clients))

    async def asked(self, path: str, count: int, *, timeout_s: float = 10.0) -> None:
        """Wait until a REST path has been asked for so often."""
        async with asyncio.timeout(timeout_s):
            while sum(request.startswith(path) for request in self.requests) < count:
                self._asked.clear()
                await self._asked.wait()

    async def disconnected(self, *, timeout_s: float = 10.0) -> None:
        """Wait until nobody is connected."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: not self._clients)

    async def send(self, *frames: str) -> None:
        """Send frames to everyone who is connected."""
        for frame in frames:
            self.sent.append(frame)
            for client in tuple(self._clients):
                with suppress(ConnectionClosed):  # it went away; the frame counts as sent
                    await client.send(frame)

    async def send_in_fragments(self, parts: list[str]) -> None:
        """Send one message in pieces."""
        self.sent.append("".join(parts))
        for client in tuple(self._clients):
            await client.send(parts)

    async def drop(self) -> None:
        """Cut every connection without a word."""
        for client in tuple(self._clients):
            client.transport.abort()
        await self.disconnected()

    async def close(self, code: int, reason: str) -> None:
        """Close every connection politely."""
        for client in tuple(self._clients):
            await client.close(code, reason)
        await self.disconnected()

    def trade(self, symbol: str, *, skip: int = 0) -> str:
        """The next trade; `skip` ids are left out before it."""
        for _ in range(skip + 1):
            self._trade_id[symbol] += 1
            number = self._trade_id[symbol]
            made: dict[str, object] = {
                "e": "trade", "E": 1_717_200_000_000 + number, "s": symbol, "t": number,
                "p": f"{100 + self.chance.randrange(-50, 50) / 100:.8f}", "q": "0.02000000",
                "T": 1_717_200_000_000 + number, "m": self.chance.random() < 0.5, "M": True,
            }  # fmt: skip
            self._trades[symbol].append(made)
        return _frame(f"{symbol.lower()}@trade", made)

    def aggregate(self, symbol: str, *, skip: int = 0) -> str:
        """The next aggregate trade; `skip` ids are left out before it."""
        for _ in range(skip + 1):
            number = len(self._aggregates[symbol]) + 1
            made: dict[str, object] = {
                "e": "aggTrade", "E": 1_717_200_000_000, "s": symbol, "a": number, "p": "100.25000000",
                "q": f"{number}.00000000", "f": number * 2, "l": number * 2 + 1,
                "T": 1_717_200_000_000 + number, "m": number % 2 == 0, "M": True,
            }  # fmt: skip
            self._aggregates[symbol].append(made)
        return _frame(f"{symbol.lower()}@aggTrade", made)

    def quote(self, symbol: str) -> str:
        """The book's best prices."""
        bids, asks = self._book[symbol]
        bid, ask = max(bids, key=float), min(asks, key=float)
        return _frame(
            f"{symbol.lower()}@bookTicker",
            {"u": self._update_id[symbol], "s": symbol, "b": bid, "B": bids[bid], "a": ask, "A": asks[ask]},
        )

    def depth(self, symbol: str, *, skip: int = 0) -> str:
        """Some levels change; `skip` updates before it never reach anybody."""
        for _ in range(skip):
            self._change(symbol)
        first = self._update_id[symbol] + 1
        changes = [self._change(symbol) for _ in range(self.chance.randrange(1, 6))]
        return _frame(
            f"{symbol.lower()}@depth@100ms",
            {
                "e": "depthUpdate", "E": 1_717_200_000_000, "s": symbol, "U": first,
                "u": self._update_id[symbol],
                "b": [[price, size] for side, price, size in changes if side == 0],
                "a": [[price, size] for side, price, size in changes if side == 1],
            },
        )  # fmt: skip

    def book(self, symbol: str) -> tuple[dict[str, str], dict[str, str]]:
        """Bids and asks as they are, price text to size text."""
        return self._book[symbol]

    def _change(self, symbol: str) -> tuple[int, str, str]:
        self._update_id[symbol] += 1
        side = self.chance.randrange(2)
        step = self.chance.randrange(1, 30) / 100
        price = f"{100 - step if side == 0 else 100 + step:.2f}"
        book = self._book[symbol][side]
        if price in book and len(book) > 5 and self.chance.random() < 0.3:
            del book[price]
            return side, price, "0.00000000"
        size = f"{self.chance.randrange(1, 1_000) / 100:.8f}"
        book[price] = size
        return side, price, size

    async def _stream(self, client: ServerConnection) -> None:
        assert client.request is not None
        query = parse_qs(urlsplit(client.request.path).query)
        self.subscriptions.append(query.get("streams", [""])[0].split("/"))
        if not self.answers_pings:  # nor anything else: it reads no more
            client.transport.pause_reading()
        async with self._changed:
            self._clients.add(client)
            self.in_order.append(client)
            self.connects += 1
            self._changed.notify_all()
        try:
            async for message in client:
                request = json.loads(message)
                if self.mute:
                    continue
                await client.send(json.dumps({"result": None, "id": request["id"]}))
        except ConnectionClosed:
            pass
        finally:
            async with self._changed:
                self._clients.discard(client)
                self._changed.notify_all()

    def _http(  # noqa: PLR0911  one a kind of answer
        self, _client: ServerConnection, request: Request
    ) -> Response | None:
        parts = urlsplit(request.path)
        if self.answer_all is not None:
            return _response(self.answer_all[0], "application/json", self.answer_all[1])
        if self.busy:
            return _json(429, {"code": -1003, "msg": "Way too much."}, {"Retry-After": self.busy.pop(0)})
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None if self.refuse_websocket is None else _response(*self.refuse_websocket)
        self.requests.append(request.path)
        self._asked.set()
        if self.html:
            return _response(200, "text/html", "<!doctype html><title>Welcome</title>")
        query = parse_qs(parts.query)
        if parts.path == "/api/v3/exchangeInfo":
            return self._exchange_info(query)
        if parts.path == "/api/v3/depth":
            return self._depth(query["symbol"][0])
        return self._history(parts.path, query, request.headers.get("X-MBX-APIKEY"))

    def _history(self, path: str, query: dict[str, list[str]], api_key: str | None) -> Response:
        if path not in {"/api/v3/trades", "/api/v3/historicalTrades", "/api/v3/aggTrades"}:
            return _json(404, {"code": -1, "msg": "no such path"})
        self.keys.append(api_key)
        if self.refuse_trades:
            refusal = self.refuse_trades.pop(0)
            if isinstance(refusal, str):
                return _response(200, "application/json", refusal)
            return _json(refusal, {"code": -1003, "msg": "Too much."}, {"Retry-After": "0"})
        symbol, limit = query["symbol"][0], int(query["limit"][0])
        first = int(query["fromId"][0]) if "fromId" in query else None
        if path == "/api/v3/aggTrades":
            made, key, names = self._aggregates[symbol], "a", {name: name for name in "apqflTmM"}
        else:
            made, key = self._trades[symbol], "t"
            names = {"t": "id", "p": "price", "q": "qty", "T": "time", "m": "isBuyerMaker"}
        found = [
            {new: trade[old] for old, new in names.items()}
            for trade in made
            if int(str(trade[key])) >= max(self.oldest_trade, first or 0)
        ]
        return _json(200, found[-limit:] if first is None else found[:limit])

    def _exchange_info(self, query: dict[str, list[str]]) -> Response:
        asked = json.loads(query["symbols"][0]) if "symbols" in query else query["symbol"]
        if any(symbol not in self.symbols for symbol in asked):
            return _json(400, {"code": -1121, "msg": "Invalid symbol."})
        return _json(
            200,
            {
                "timezone": "UTC",
                "symbols": [
                    {
                        "symbol": symbol, "status": "TRADING",
                        "baseAsset": symbol[:-4], "quoteAsset": symbol[-4:],
                        "filters": [
                            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000",
                             "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
                            {"filterType": "LOT_SIZE", "minQty": "0.00001000",
                             "maxQty": "9000.00000000", "stepSize": "0.00001000"},
                            {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
                        ],
                    }
                    for symbol in asked
                ],
            },
        )  # fmt: skip

    def _depth(self, symbol: str) -> Response:
        if self.refuse_depth:
            status = self.refuse_depth.pop(0)
            return _json(
                status, {"code": -1003, "msg": "Too much request weight used."}, {"Retry-After": "0"}
            )
        bids, asks = self._book[symbol]
        return _json(
            200,
            {
                "lastUpdateId": self._update_id[symbol],
                "bids": sorted(([p, s] for p, s in bids.items()), key=lambda level: -float(level[0])),
                "asks": sorted(([p, s] for p, s in asks.items()), key=lambda level: float(level[0])),
            },
        )


def _frame(stream: str, data: object) -> str:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> Response:
    return _response(status, "application/json", json.dumps(body), headers)


def _response(status: int, kind: str, body: str, headers: dict[str, str] | None = None) -> Response:
    content = body.encode()
    fields = {"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close"}
    return Response(status, "x", Headers({**fields, **(headers or {})}), content)
