"""The local venue that speaks Binance's spot protocol: streams and REST on one port.

    source ──► StreamVenue ──► VenueMarket ──► payloads, encoded once per form ──► clients

Kline bounds follow the shown times, because the venue makes klines from the trades as it shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import msgspec
from websockets.http11 import Request

from engine.serve.binance import (
    StreamSession,
    encode_payload,
    refusal_of,
    restamp,
    shutdown_frame,
    wrap,
)
from engine.serve.client import Client
from engine.serve.market import VenueMarket
from engine.serve.packets import Packet
from engine.serve.rest import WEIGHT_LIMIT, Reply, RestApi
from engine.serve.source import Source
from engine.serve.synthetic import SNAPSHOT, Event
from engine.serve.venue import MAX_SPEED, Dials, Heard, StreamVenue

__all__ = ["MAX_SPEED", "LocalVenue", "ids_of"]

_JSON = ("Content-Type", "application/json;charset=UTF-8")
_TOO_MUCH = {"code": -1003, "msg": "Way too much request weight used; IP banned until the time given."}


Payload = dict[str, Any] | list[dict[str, Any]]


def ids_of(payload: Payload) -> tuple[int, int]:
    """First and last id of a payload: update ids, trade ids, or zeros."""
    if isinstance(payload, list):
        return 0, 0
    if "U" in payload:
        return payload["U"], payload["u"]
    last = payload.get("u") or payload.get("t") or payload.get("a") or payload.get("lastUpdateId") or 0
    return (last, last) if isinstance(last, int) else (0, 0)  # a ticker's "a" is a price


class LocalVenue(StreamVenue[StreamSession]):
    """A venue on this machine: `async with LocalVenue(source) as venue: venue.ws_url, venue.http_url`.

    Args:
        source: where its events come from.
        weight_limit: REST request weight per minute.
        dials: those of StreamVenue.
    """

    def __init__(self, source: Source, *, weight_limit: int = WEIGHT_LIMIT, **dials: Unpack[Dials]) -> None:
        super().__init__(source, **dials)
        self.market = VenueMarket(source.instruments, own_klines=not self.keep_times)
        self.rest = RestApi(self.market, weight_limit=weight_limit)

    def open_session(self, request: Request) -> StreamSession | None:
        """By the path; see engine.serve.binance."""
        session = StreamSession.open(request.path)
        return session if session is not None and not refusal_of(session) else None

    def hear(self, client: Client[StreamSession], message: str | bytes) -> Heard:
        """One of the five control methods, or an error that says what is wrong with it."""
        answer = client.session.answer(message)
        return Heard([Packet.of(answer.reply)], answer.added, answer.removed)

    def takes_ahead(self, event: Event) -> bool:
        """The first books."""
        return event.stream.endswith(SNAPSHOT)

    def take(self, event: Event, shown_us: int) -> None:
        """Into the market, and whatever follows from it to those who listen."""
        payload = event.payload if self.keep_times else restamp(event.payload, shown_us)
        for stream, message in self.market.apply(shown_us, event.stream, payload, self.wanted):
            first = message[0] if isinstance(message, list) else message
            self.publish(stream, ids_of(message), first.get("E", 0), _encoder(stream, message))

    def _join(self, client: Client[StreamSession], streams: Sequence[str]) -> None:
        for stream in streams:
            if stream not in self.wanted:
                self.market.begin(stream)
        super()._join(client, streams)

    def answer_http(self, request: Request) -> Reply:
        """REST market data; an address of too many streams has come here, too."""
        session = StreamSession.open(request.path)
        if session is not None and (refusal := refusal_of(session)):
            return Reply(400, [_JSON], refusal)
        return self.rest.answer(request.method, request.path, request.headers, self.shown_now_us())

    def refusal(self, status: int, wait_s: int) -> Reply:  # noqa: ARG002
        """The venue's own error object."""
        return Reply(status, [_JSON], msgspec.json.encode(_TOO_MUCH))

    def shutdown_notice(self, session: StreamSession) -> Packet:
        """serverShutdown, in the session's form."""
        return Packet.of(shutdown_frame(self.shown_now_us(), combined=session.combined, unit=session.unit))


def _encoder(stream: str, payload: Payload) -> Callable[[StreamSession], Packet]:
    def packet(session: StreamSession) -> Packet:
        body = encode_payload(payload, session.unit)
        return Packet.of(wrap(stream, body) if session.combined else body)

    return packet
