"""A venue with a past, for tests of `engine fetch`: Binance's REST answers from an invented market, no clock.

past = Past(minutes=4)                       two symbols, two minutes before and two after midnight
transport = Scripted(past)                   a fetch's transport without a socket, which can misbehave
async with past.serving() as url: …          the same over HTTP
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from engine.live.fetch import Fetch
from engine.live.fetch_binance import BinanceHistory
from engine.live.fetch_client import Answer, Client, Clock
from engine.live.fetch_plan import Request
from engine.model.units import SECOND_NS
from engine.serve.http import Exchange, HttpServer
from engine.serve.market import VenueMarket
from engine.serve.rest import WEIGHT_LIMIT, RestApi
from engine.serve.synthetic import SyntheticMarket

MIDNIGHT = 1_717_286_400 * SECOND_NS  # 2024-06-02T00:00:00Z
NOW_S = 1_717_632_000  # 2024-06-06T00:00:00Z
Answering = Callable[[str], Awaitable[Answer]]


class AnyCase(dict[str, str]):
    """Headers, looked up without regard to case."""

    def get(self, name: str, default: Any = None) -> Any:
        """A header."""
        return {key.lower(): value for key, value in self.items()}.get(name.lower(), default)


class Past:
    """Everything that happened, and the venue's REST side over it."""

    def __init__(
        self, *, minutes: float = 4.0, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"), seed: int = 7
    ) -> None:
        half = int(minutes * 30 * SECOND_NS)
        self.begin, self.end = MIDNIGHT - half, MIDNIGHT + half
        source = SyntheticMarket(seed, symbols, start_ns=self.begin)
        self.market = VenueMarket(source.instruments, trades_kept=None)
        self.trades: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in symbols}
        for event in source.events():
            if event.time_ns >= self.end:
                break
            self.market.apply(event.time_ns // 1_000, event.stream, event.payload, ())
            if event.stream.endswith("@trade"):
                self.trades[event.payload["s"]].append(event.payload)
        self.weight_limit = WEIGHT_LIMIT

    def aggregates(self, symbol: str, begin: int, end: int) -> list[dict[str, Any]]:
        """The aggregate trades in [begin, end), in ns."""
        return [a for a in self.market.aggregates(symbol) if begin <= a["T"] * 1_000 < end]

    def fetch(
        self,
        folder: Path,
        transport: Scripted,
        *,
        channels: tuple[str, ...] = ("aggtrade",),
        key: str = "",
        **changes: Any,
    ) -> Fetch:
        """A fetch of all of it."""
        venue = BinanceHistory("binance", key=key)
        request = Request(
            "binance",
            tuple(self.trades),
            channels,
            self.begin,
            self.end,
            "1m" if "bar" in channels else "",
            "http://venue.invalid",
        )
        request, _ = venue.checked(msgspec.structs.replace(request, **changes))
        return Fetch(request, venue, folder, transport.client(venue.weight))

    def api(self) -> RestApi:
        """The venue's REST side, with its own count of weight."""
        return RestApi(self.market, weight_limit=self.weight_limit)

    @asynccontextmanager
    async def serving(self, asked: Callable[[str], None] = lambda _target: None) -> AsyncIterator[str]:
        """The venue on a port of this machine; `asked` hears of every request before it is answered."""
        api = self.api()

        async def handle(exchange: Exchange) -> None:
            request = exchange.request
            target = f"{request.path}?{request.query}" if request.query else request.path
            asked(target)
            reply = api.answer(request.method, target, AnyCase(request.headers), NOW_S * 1_000_000)
            await exchange.send(reply)

        async with HttpServer(handle) as server:
            yield server.url


class Time:
    """A clock that only waiting moves."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Wait, at once."""
        self.waits.append(seconds)
        self.now_s += seconds

    def clock(self) -> Clock:
        """As a client takes it."""
        return Clock(lambda: self.now_s, self.sleep)


class Scripted:
    """A transport that asks a RestApi, with a script of misbehaviour.

    `spoil(path, answer)` may return another answer, or raise what a network raises.
    """

    def __init__(
        self,
        past: Past,
        time: Time,
        headers: Mapping[str, str] | None = None,
        spoil: Callable[[str, Answer], Answer] | None = None,
    ) -> None:
        self.api = past.api()
        self.time = time
        self.paths: list[str] = []
        self.headers = AnyCase(headers or {"X-MBX-TIME-UNIT": "MICROSECOND"})
        self.spoil = spoil

    async def __call__(self, path: str) -> Answer:
        """One request."""
        self.paths.append(path)
        reply = self.api.answer("GET", path, self.headers, int(self.time.now_s * 1_000_000))
        headers = {name.lower(): value for name, value in reply.headers}
        answer = Answer(reply.status, headers, reply.body)
        return self.spoil(path, answer) if self.spoil else answer

    def client(self, weight_of: Callable[[str], int] = lambda _path: 4) -> Client:
        """A client over this transport."""
        return Client(self, "http://venue.invalid", clock=self.time.clock(), weight_of=weight_of)

    def counted(self) -> Counter[str]:
        """How often each endpoint was asked."""
        return Counter(urlsplit(path).path.rsplit("/", 1)[-1] for path in self.paths)


def params(path: str) -> dict[str, str]:
    """The parameters of a request."""
    return dict(parse_qsl(urlsplit(path).query))


def replaced(answer: Answer, items: list[Any]) -> Answer:
    """The answer with other entries."""
    return Answer(answer.status, answer.headers, json.dumps(items).encode())
