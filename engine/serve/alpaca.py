"""Alpaca's market data streams, the venue's side: names, control messages, sessions. No sockets.

    /v2/iex  /v2/sip  /v2/delayed_sip  /v2/test   stocks; the test stream has FAKEPACA alone
    /v1beta3/crypto/us                             coins
    /v1beta1/news                                  headlines

Every frame is an array. A connection is welcomed, has ten seconds to authenticate (or has done so by
headers), then subscribes and unsubscribes, and is told its whole lists each time. `Content-Type:
application/msgpack` at the handshake makes it MessagePack in both directions.

An `AlpacaSession` is one connection's part. It answers with what the venue documents, code by code; a
refused subscription changes nothing. Symbols that do not trade here are accepted and stay silent, as there;
what has not the form of the feed's symbols (a coin among stocks, BTCUSD among coins) is invalid syntax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from engine.serve.alpaca_keys import FREE_SYMBOLS, KEY_HEADER, SECRET_HEADER, Keys
from engine.serve.alpaca_symbols import CRYPTO, NEWS, STOCKS, TEST, is_symbol
from engine.serve.alpaca_wire import JSON, MSGPACK, decode
from engine.serve.targets import path_and_query

AUTHENTICATE_S = 10.0
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}
FEEDS = {
    "/v2/iex": STOCKS,
    "/v2/sip": STOCKS,
    "/v2/delayed_sip": STOCKS,
    "/v2/test": TEST,
    "/v1beta3/crypto/us": CRYPTO,
    "/v1beta1/news": NEWS,
}
_BARS = ("bars", "updatedBars", "dailyBars")
_FOLLOWING = ("corrections", "cancelErrors")  # of stocks: they come with trades, unasked
CHANNELS = {
    STOCKS: ("trades", "quotes", *_BARS, "statuses", "lulds", *_FOLLOWING),
    TEST: ("trades", "quotes", "bars"),
    CRYPTO: ("trades", "quotes", "orderbooks", *_BARS),
    NEWS: ("news",),
}
_ALL_CHANNELS = frozenset(channel for channels in CHANNELS.values() for channel in channels) | {"imbalances"}
_LIMITED = ("trades", "quotes")


class Waiting(NamedTuple):
    """A message that waits for its client's next frame: its bytes, and what tells it apart."""

    body: bytes
    stream: str
    id: int
    stamp_ns: int


class Answer(NamedTuple):
    """What one control message brings about."""

    reply: list[dict[str, Any]]
    added: Sequence[str] = ()  # streams: "trades@AAPL"
    removed: Sequence[str] = ()
    ends: bool = False  # the connection is over after the reply


class _Refused(Exception):
    """A control message that gets one of the venue's errors; never leaves this module."""

    def __init__(self, code: int, *, ends: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.ends = ends


def error(code: int) -> list[dict[str, Any]]:
    """An error frame's content."""
    return [{"T": "error", "code": code, "msg": ERRORS[code]}]


class AlpacaSession:
    """One connection: its feed, its encoding, whether it is authenticated, its lists.

    Args:
        path: of the feed.
        keys: who is let in.
        symbols: all of the feed; "*" stands for them, but for news, where it stands for itself.
        encoding: of both directions.

    Attributes:
        streams: what it listens to, by name ("trades@AAPL").
        waiting: encoded messages for its next frame; the venue's business.
    """

    def __init__(self, path: str, keys: Keys, symbols: Sequence[str] = (), *, encoding: str = JSON) -> None:
        self.path = path
        self.kind = FEEDS[path]
        self.encoding = encoding
        self.authenticated = False
        self.streams: dict[str, None] = {}
        self.waiting: list[Waiting] = []
        self.crowded: Callable[[], bool] = lambda: False  # whether its feed has all connections it may have
        self._keys = keys
        self._symbols = symbols
        self._lists: dict[str, dict[str, None]] = {channel: {} for channel in CHANNELS[self.kind]}

    @property
    def form(self) -> str:
        """Clients of one encoding get the same bytes."""
        return self.encoding

    def welcome(self, headers: Mapping[str, str]) -> list[Answer]:
        """What is said at once, frame by frame; headers (in lower case) may hold the keys."""
        connected = Answer([{"T": "success", "msg": "connected"}])
        key, secret = headers.get(KEY_HEADER, ""), headers.get(SECRET_HEADER, "")
        if not (key or secret):
            return [connected]
        try:
            return [connected, Answer(self._authenticate(key, secret))]
        except _Refused as refusal:
            return [connected, Answer(error(refusal.code), ends=refusal.ends)]

    def hear(self, message: str | bytes) -> Answer:
        """Carry out one control message."""
        try:
            return self._carry_out(message)
        except _Refused as refusal:
            return Answer(error(refusal.code), ends=refusal.ends)

    def _carry_out(self, message: str | bytes) -> Answer:
        try:
            request = decode(message, self.encoding)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _Refused(400) from None
        if not isinstance(request, dict):
            raise _Refused(400)
        action = request.get("action")
        if action == "auth":
            return Answer(self._hear_auth(request))
        if action not in ("subscribe", "unsubscribe"):  # which may be anything, a list too
            raise _Refused(400)
        if not self.authenticated:
            raise _Refused(401)
        named = self._named(request)
        before = self.streams
        self._lists = self._joined(named) if action == "subscribe" else self._left(named)
        self.streams = self._expanded()
        added = [name for name in self.streams if name not in before]
        removed = [name for name in before if name not in self.streams]
        lists = {channel: list(symbols) for channel, symbols in self._lists.items()}
        return Answer([{"T": "subscription", **lists}], added, removed)

    def _hear_auth(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if self.authenticated:
            raise _Refused(403)
        key, secret = request.get("key"), request.get("secret")
        if not isinstance(key, str) or not isinstance(secret, str):
            raise _Refused(400)
        return self._authenticate(key, secret)

    def _authenticate(self, key: str, secret: str) -> list[dict[str, Any]]:
        if not self._keys.knows(key, secret):
            raise _Refused(402)
        if self._keys.is_free and self.path == "/v2/sip":
            raise _Refused(409, ends=True)
        if self._keys.is_free and self.crowded():
            raise _Refused(406, ends=True)
        self.authenticated = True
        return [{"T": "success", "msg": "authenticated"}]

    def _named(self, request: dict[str, Any]) -> dict[str, list[str]]:
        """The channels and symbols that a request names, with the channels that come along."""
        named: dict[str, list[str]] = {}
        for channel, symbols in request.items():
            if channel not in _ALL_CHANNELS:
                continue  # the action, and whatever the venue does not know
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                raise _Refused(400)
            if symbols and channel not in self._lists:
                raise _Refused(410)
            if not all(map(self._may_name, symbols)):
                raise _Refused(400)
            if symbols and channel not in _FOLLOWING:  # those come and go with trades
                named[channel] = symbols
        if self.kind == STOCKS and "trades" in named:
            named |= dict.fromkeys(_FOLLOWING, named["trades"])
        return named

    def _may_name(self, symbol: str) -> bool:
        return symbol == "*" or symbol in self._symbols or is_symbol(symbol, self.kind)

    def _joined(self, named: dict[str, list[str]]) -> dict[str, dict[str, None]]:
        joined = {
            channel: have | dict.fromkeys(named.get(channel, ())) for channel, have in self._lists.items()
        }
        if self._keys.is_free and self.kind == STOCKS:
            limited = [symbol for channel in _LIMITED for symbol in joined[channel]]
            if "*" in limited or len(limited) > FREE_SYMBOLS:
                raise _Refused(405)
        return joined

    def _left(self, named: dict[str, list[str]]) -> dict[str, dict[str, None]]:
        return {
            channel: {symbol: None for symbol in have if symbol not in named.get(channel, ())}
            for channel, have in self._lists.items()
        }

    def _expanded(self) -> dict[str, None]:
        streams: dict[str, None] = {}
        for channel, symbols in self._lists.items():
            everything = "*" in symbols and self.kind != NEWS
            names = dict.fromkeys(self._symbols) | symbols if everything else symbols
            streams |= {f"{channel}@{symbol}": None for symbol in names if symbol != "*" or not everything}
        return streams


def encoding_of(headers: Mapping[str, str]) -> str:
    """The encoding that a handshake asks for; names of headers in lower case."""
    return MSGPACK if "msgpack" in headers.get("content-type", "").lower() else JSON


def feed_of(target: str) -> str:
    """The path of the feed that a request target names; "" where no stream lives."""
    path = path_and_query(target)[0].rstrip("/")
    return path if path in FEEDS else ""
