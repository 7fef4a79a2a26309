"""Alpaca's market data streams, the venue's side: names, control messages, sessions. No sockets.

    /v2/iex  /v2/sip  /v2/delayed_sip  /v2/test   stocks; the test stream has FAKEPACA alone
    /v1beta3/crypto/us                             coins
    /v1beta1/news                                  headlines

Every frame is an array. A connection is welcomed, has ten seconds to authenticate (or has done so by
headers), then subscribes and unsubscribes, and is told its whole lists each time. `Content-Type:
application/msgpack` at the handshake makes it MessagePack in both directions.

An `AlpacaSession` is one connection's part. It answers with what the venue documents, code by code; a
refused subscription changes nothing. Symbols that do not trade here are accepted and stay silent, as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from engine.serve.alpaca_keys import FREE_SYMBOLS, Keys
from engine.serve.alpaca_symbols import CRYPTO, NEWS, STOCKS, TEST, is_symbol
from engine.serve.alpaca_wire import JSON, MSGPACK, decode

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
_FEEDS = {
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
_OAUTH = "oauth"


class Answer(NamedTuple):
    """What one control message brings about."""

    reply: list[dict[str, Any]]
    added: Sequence[str] = ()  # streams: "trades@AAPL", "trades@*"
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

    Attributes:
        streams: what it listens to, by name ("trades@AAPL"; "trades@*" stands for all symbols of the feed).
    """

    def __init__(self, path: str, keys: Keys, *, encoding: str = JSON) -> None:
        self.path = path
        self.kind = _FEEDS[path]
        self.encoding = encoding
        self.authenticated = False
        self.streams: dict[str, None] = {}
        self._keys = keys

    @classmethod
    def open(cls, target: str, headers: Mapping[str, str], keys: Keys) -> AlpacaSession | None:
        """The session that a handshake asks for; None when no stream lives there."""
        path = urlsplit(target).path.rstrip("/")
        if path not in _FEEDS:
            return None
        packed = "msgpack" in headers.get("Content-Type", "").lower()
        return cls(path, keys, encoding=MSGPACK if packed else JSON)

    @property
    def form(self) -> str:
        """Clients of one encoding get the same bytes."""
        return self.encoding

    def welcome(self, headers: Mapping[str, str]) -> Answer:
        """What is said at once; headers with a key authenticate without being asked."""
        reply = [{"T": "success", "msg": "connected"}]
        key, secret = headers.get("APCA-API-KEY-ID", ""), headers.get("APCA-API-SECRET-KEY", "")
        if not (key or secret):
            return Answer(reply)
        try:
            return Answer(reply + self._authenticate(key, secret))
        except _Refused as refusal:
            return Answer(reply + error(refusal.code), ends=refusal.ends)

    def time_out(self) -> list[dict[str, Any]]:
        """What is said to a connection that has not authenticated in time; nothing to one that has."""
        return [] if self.authenticated else error(404)

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
        if action not in {"subscribe", "unsubscribe"}:
            raise _Refused(400)
        if not self.authenticated:
            raise _Refused(401)
        named = self._named(request)
        before = dict(self.streams)
        if action == "subscribe":
            self._join(named)
        else:
            for name in named:
                self.streams.pop(name, None)
        added = [name for name in self.streams if name not in before]
        removed = [name for name in before if name not in self.streams]
        return Answer([self._lists()], added, removed)

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
        self.authenticated = True
        return [{"T": "success", "msg": "authenticated"}]

    def _named(self, request: dict[str, Any]) -> dict[str, None]:
        """The streams that a request names, what follows from them included."""
        named: dict[str, None] = {}
        for channel, symbols in request.items():
            if channel not in _ALL_CHANNELS:
                continue  # the action, and whatever the venue does not know
            if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
                raise _Refused(400)
            if symbols and channel not in CHANNELS[self.kind]:
                raise _Refused(410)
            if not all(symbol == "*" or is_symbol(symbol) for symbol in symbols):
                raise _Refused(400)
            if channel in _FOLLOWING:
                continue  # they come and go with trades
            for channel_named in (channel, *(_FOLLOWING if self._follows(channel) else ())):
                named.update(dict.fromkeys(f"{channel_named}@{symbol}" for symbol in symbols))
        return named

    def _follows(self, channel: str) -> bool:
        return channel == "trades" and self.kind == STOCKS

    def _join(self, named: dict[str, None]) -> None:
        joined = self.streams | named
        limited = {name for name in joined if name.partition("@")[0] in _LIMITED}
        if self._keys.is_free and self.kind == STOCKS:
            symbols = {name.partition("@")[2] for name in limited}
            if "*" in symbols or len(limited) > FREE_SYMBOLS:
                raise _Refused(405)
        self.streams.update(named)

    def _lists(self) -> dict[str, Any]:
        lists: dict[str, Any] = {"T": "subscription"}
        for channel in CHANNELS[self.kind]:
            prefix = channel + "@"
            lists[channel] = [name[len(prefix) :] for name in self.streams if name.startswith(prefix)]
        return lists
