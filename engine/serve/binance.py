"""Binance's spot stream protocol, the venue's side: names, control messages, frames. No sockets.

    /ws/<stream>  /ws/<a>/<b>  /ws  /ws/<any token>     raw payloads
    /stream?streams=<a>/<b>                              {"stream": name, "data": payload}
    ?timeUnit=MICROSECOND                                stamps in microseconds (default milliseconds)

A `StreamSession` is one connection's part: which streams it takes and in what form. It answers the five
control methods with the texts that the venue documents. A stream name that does not exist is accepted
and stays silent, as it does there. More than 1,024 streams are refused, in an address as in a message.

Whatever a client sends is answered: what Python would read and cannot say again (lone surrogates, integers
without end, brackets without end) is no JSON here, or no id.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from engine.serve.targets import path_and_query

MILLISECOND, MICROSECOND = "ms", "us"
MOST_STREAMS = 1_024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")

_UNKNOWN_PROPERTY, _WRONG_TYPE, _BAD_REQUEST, _BAD_JSON = range(4)
_TEXT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_INT64 = 2**63
_MOST_DIGITS = 20  # no integer that means anything here has more
_TOO_MANY = "Invalid request: too many parameters"
_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What one control message brings about."""

    reply: bytes
    added: list[str]
    removed: list[str]


class StreamSession:
    """One connection: its streams in the order of subscription, their form, its answers."""

    def __init__(self, streams: list[str], *, combined: bool, unit: str) -> None:
        self.streams: dict[str, None] = dict.fromkeys(streams)
        self.combined = combined
        self.unit = unit

    @property
    def form(self) -> tuple[bool, str]:
        """Clients of one form get the same bytes."""
        return self.combined, self.unit

    @classmethod
    def open(cls, target: str) -> StreamSession | None:
        """The session that a request target asks for; None when no stream lives there."""
        raw_path, raw_query = path_and_query(target)
        path = unquote(raw_path)
        query = parse_qs(raw_query.replace("+", "%2B"), keep_blank_values=True)  # @+08:00 means a plus
        unit = MICROSECOND if query.get("timeUnit", [""])[-1].lower() == "microsecond" else MILLISECOND
        if path == "/stream":
            names = "/".join(query.get("streams", []))
            return cls(_names(names), combined=True, unit=unit)
        if path == "/ws" or path.startswith("/ws/"):
            # A path segment without "@" is a client's own token: ccxt connects to /ws/0, /ws/1, …
            return cls([n for n in _names(path[4:]) if "@" in n], combined=False, unit=unit)
        return None

    def answer(self, message: str | bytes) -> Answer:
        """Carry out one control message."""
        request_id: object = ...
        try:
            request = _decode(message)
            request_id = _id_of(request)
            return Answer(*self._carry_out(request, request_id))
        except _Refused as refusal:
            body = refusal.body
            if request_id is not ...:
                body["id"] = request_id
            return Answer(_encode(body), [], [])

    def _carry_out(self, request: dict[str, Any], request_id: object) -> tuple[bytes, list[str], list[str]]:
        method = request.get("method")
        if method is None:
            raise _Refused(_BAD_REQUEST, "Invalid request: missing field `method` at line 1 column 1")
        if method not in METHODS:
            expected = ", ".join(f"`{m}`" for m in METHODS)
            raise _Refused(
                _BAD_REQUEST,
                f"Invalid request: unknown variant `{method}`, expected one of {expected} at line 1 column 1",
            )
        params = request.get("params", [])
        if not isinstance(params, list):
            raise _Refused(_BAD_REQUEST, "Invalid request: params must be an array")
        added: list[str] = []
        removed: list[str] = []
        result: object = None
        if method == "SUBSCRIBE":
            added = self._join(params)
        elif method == "UNSUBSCRIBE":
            removed = self._leave(params)
        elif method == "LIST_SUBSCRIPTIONS":
            if params:
                raise _Refused(_BAD_REQUEST, _TOO_MANY)
            result = list(self.streams)
        else:
            result = self._property(method, params)
        return _encode({"result": result, "id": request_id}), added, removed

    def _join(self, params: list[Any]) -> list[str]:
        added = [name for name in _stream_names(params) if name not in self.streams]
        if len(self.streams) + len(added) > MOST_STREAMS:
            raise _Refused(_BAD_REQUEST, _TOO_MANY)
        self.streams.update(dict.fromkeys(added))
        return added

    def _leave(self, params: list[Any]) -> list[str]:
        removed = [name for name in _stream_names(params) if name in self.streams]
        for name in removed:
            del self.streams[name]
        return removed

    def _property(self, method: str, params: list[Any]) -> object:
        sets = method == "SET_PROPERTY"
        if len(params) > 1 + sets:
            raise _Refused(_BAD_REQUEST, _TOO_MANY)
        if not params or not isinstance(params[0], str):
            raise _Refused(_BAD_REQUEST, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _Refused(_UNKNOWN_PROPERTY, "Unknown property")
        if not sets:
            return self.combined
        if not isinstance(params[-1], bool):
            raise _Refused(_WRONG_TYPE, "Invalid value type: expected Boolean")
        self.combined = params[-1]
        return None


class _Refused(Exception):
    """A control message that gets one of the venue's errors; never leaves this module."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.body: dict[str, object] = {"code": code, "msg": text}


def refusal_of(session: StreamSession) -> bytes:
    """What answers an address that names more streams than a connection may have; b"" when it does not."""
    if len(session.streams) <= MOST_STREAMS:
        return b""
    return _encode(_Refused(_BAD_REQUEST, _TOO_MANY).body)


def _decode(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message, parse_int=_integer)
        json.dumps(request, ensure_ascii=False).encode()  # a lone surrogate is no character
    except json.JSONDecodeError as error:
        text = f"Invalid JSON: expected value at line {error.lineno} column {error.colno}"
        raise _Refused(_BAD_JSON, text) from None
    except (UnicodeError, RecursionError):
        raise _Refused(_BAD_JSON, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise _Refused(_BAD_REQUEST, "Invalid request: expected an object")
    return request


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _MOST_DIGITS else float(text)


def _id_of(request: dict[str, Any]) -> object:
    value = request.get("id", ...)
    text = isinstance(value, str) and _TEXT_ID.fullmatch(value) is not None
    number = isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    if not (value is None or text or number):
        raise _Refused(_BAD_REQUEST, "Invalid request: request ID must be an unsigned integer")
    return value


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name for name in text.split("/") if name))


def _stream_names(params: list[Any]) -> list[str]:
    if not all(isinstance(name, str) for name in params):
        raise _Refused(_BAD_REQUEST, "Invalid request: stream names must be strings")
    return list(dict.fromkeys(map(unquote, params)))


def restamp(payload: dict[str, Any], now_us: int) -> dict[str, Any]:
    """The payload as if it happened now: E becomes `now_us`, T keeps its distance from E.

    A payload without E (bookTicker, partial books) is returned as it is; a kline's own bounds stay.
    """
    if "E" not in payload:
        return payload
    moved = dict(payload)
    if "T" in moved:
        moved["T"] = now_us - (moved["E"] - moved["T"])
    moved["E"] = now_us
    return moved


def to_microseconds(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload whose stamps are in milliseconds, in microseconds; one that has them is returned as is."""
    stamp = payload.get("E")
    if stamp is None or stamp >= 10**15:
        return payload
    moved = dict(payload)
    moved["E"] = stamp * 1_000
    if "T" in moved:
        moved["T"] *= 1_000
    if isinstance(moved.get("k"), dict):
        kline = dict(moved["k"])
        kline["t"] *= 1_000
        kline["T"] = kline["T"] * 1_000 + 999  # the interval's last microsecond
        moved["k"] = kline
    return moved


def _to_milliseconds(payload: dict[str, Any]) -> dict[str, Any]:
    if "E" not in payload:
        return payload
    moved = dict(payload)
    moved["E"] //= 1_000
    for name in ("T", "O", "C"):
        if name in moved:
            moved[name] //= 1_000
    if "k" in moved:
        moved["k"] = dict(moved["k"], t=moved["k"]["t"] // 1_000, T=moved["k"]["T"] // 1_000)
    return moved


def encode_payload(payload: dict[str, Any] | list[dict[str, Any]], unit: str) -> bytes:
    """The raw payload's bytes, its stamps (microseconds inside) in the client's unit."""
    if unit != MILLISECOND:
        return _encode(payload)
    if isinstance(payload, list):
        return _encode([_to_milliseconds(each) for each in payload])
    return _encode(_to_milliseconds(payload))


def wrap(stream: str, payload: bytes) -> bytes:
    """The combined form of a raw payload."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def shutdown_frame(now_us: int, *, combined: bool, unit: str) -> bytes:
    """The announcement that precedes a planned end."""
    body = encode_payload({"e": "serverShutdown", "E": now_us}, unit)
    return wrap("!serverShutdown", body) if combined else body
