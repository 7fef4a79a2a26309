"""The local venue that speaks Alpaca's market data protocol: streams and REST on one port.

    source ──► StreamVenue ──► AlpacaMarket ──► messages, encoded once per encoding ──► frames ──► clients

Each client's messages are gathered over a turn of the venue and sent as arrays, several to a frame and of
whatever types come together, as the venue itself does. What the account holds is messages, not frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from websockets.http11 import Request

from engine.serve.account import Sent
from engine.serve.alpaca import AUTHENTICATE_S, FEEDS, AlpacaSession, Waiting, encoding_of, error, feed_of
from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_market import AlpacaMarket, Message
from engine.serve.alpaca_rest import REQUEST_LIMIT, AlpacaRest
from engine.serve.alpaca_wire import JSON, MSGPACK, array, encode
from engine.serve.client import POLICY_VIOLATION
from engine.serve.packets import Packet
from engine.serve.rest import Reply
from engine.serve.synthetic import SNAPSHOT
from engine.serve.venue import Dials, Heard, StreamVenue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from websockets.datastructures import Headers

    from engine.serve.client import Client
    from engine.serve.source import Source
    from engine.serve.synthetic import Event

_MOST_PER_FRAME = 50
_SLOW = "slow consumer"  # how a client's end is explained when it did not keep up


class LocalAlpaca(StreamVenue[AlpacaSession]):
    """`async with LocalAlpaca(source) as venue: venue.ws_url + "/v2/iex", venue.http_url`.

    Args:
        source: where its events come from; engine.serve.alpaca_source puts one together.
        keys: who is let in; anybody with any key and secret by default.
        seed: of what happens seldom (late trades, corrections, halts); None: nothing of the sort.
        request_limit: REST requests per key and minute.
        authenticate_s: how long a client has for it.
        dials: those of StreamVenue.
    """

    def __init__(
        self,
        source: Source,
        *,
        keys: Keys | None = None,
        seed: int | None = 7,
        request_limit: int = REQUEST_LIMIT,
        authenticate_s: float = AUTHENTICATE_S,
        **dials: Unpack[Dials],
    ) -> None:
        dials.setdefault("control_per_second", 0)  # it documents no such limit
        super().__init__(source, **dials)
        self.keys = keys or Keys()
        self.market = AlpacaMarket(source.instruments, seed=seed, keep_times=self.keep_times)
        self.rest = AlpacaRest(self.market, self.keys, request_limit=request_limit)
        self._authenticate_s = authenticate_s

    def open_session(self, request: Request) -> AlpacaSession | None:
        """By the path, and the Content-Type for the encoding."""
        feed, headers = feed_of(request.path), _plain(request.headers)
        if (
            not feed or headers.get("upgrade", "").lower() != "websocket"
        ):  # REST's news have the stream's path
            return None
        return AlpacaSession(feed, self.keys, self.market.symbols(FEEDS[feed]), encoding=encoding_of(headers))

    def greet(self, client: Client[AlpacaSession]) -> None:
        """Welcome, and the clock for authentication starts."""
        session = client.session
        session.crowded = lambda: self._is_crowded(client)
        request = client.connection.request
        for answer in session.welcome(_plain(request.headers) if request is not None else {}):
            client.say(_packet(answer.reply, session))
            if answer.ends:
                client.cut(answer.reply[0]["msg"])
        client.later(self._authenticate_s, lambda: self._time_out(client))

    def hear(self, client: Client[AlpacaSession], message: str | bytes) -> Heard:
        """Authentication, or a change of the lists, or an error by its code."""
        session = client.session
        self._pack(client)  # what waits comes before the answer
        answer = session.hear(message)
        replies = [_packet(answer.reply, session)]
        for stream in answer.added:
            channel, _, symbol = stream.partition("@")
            if channel == "orderbooks" and self.market.kind(symbol):
                replies.append(_packet([self.market.book_reset(symbol).body], session))
        close = (POLICY_VIOLATION, answer.reply[0]["msg"]) if answer.ends else None
        return Heard(replies, answer.added, answer.removed, close)

    def takes_ahead(self, event: Event) -> bool:
        """The first books."""
        return event.stream.endswith(SNAPSHOT)

    def take(self, event: Event, shown_us: int) -> None:
        """Into the market, and whatever follows from it to those who listen, with their next frames."""
        if self.takes_ahead(event) and not self.keep_times:
            shown_us = self._clock() // 1_000
        for message in self.market.apply(shown_us * 1_000 + event.time_ns % 1_000, event):
            self._gather(message)

    def answer_http(self, request: Request) -> Reply:
        """Historical market data."""
        now_ns = self._source_ns if self.keep_times and self._source_ns else self._clock()
        return self.rest.answer(request.method, request.path, _plain(request.headers), now_ns)

    def refusal(self, status: int, wait_s: int) -> Reply:  # noqa: ARG002
        """As REST says it."""
        headers = [("Content-Type", "application/json; charset=UTF-8")]
        return Reply(status, headers, encode({"message": "too many requests."}, JSON))

    def _gather(self, message: Message) -> None:
        streams = [stream for stream in (message.stream, *message.also) if stream in self.wanted]
        if not streams:
            return
        self.made(streams[0], message.id, message.id, message.stamp_ns)
        clients = {client.number: client for stream in streams for client in self.listeners.of(stream)}
        ready: dict[str, Waiting] = {}
        for client in clients.values():
            encoding = client.session.encoding
            if encoding not in ready:
                body = encode(message.body, encoding)
                ready[encoding] = Waiting(body, streams[0], message.id, message.stamp_ns)
            client.session.waiting.append(ready[encoding])

    def _flush(self) -> None:
        for client in list(self.clients.values()):
            self._pack(client)
        super()._flush()

    def _pack(self, client: Client[AlpacaSession]) -> None:
        """Put what waits into frames."""
        session = client.session
        waiting, session.waiting = session.waiting, []
        for at in range(0, len(waiting), _MOST_PER_FRAME):
            part = waiting[at : at + _MOST_PER_FRAME]
            body = array([each.body for each in part], session.encoding)
            sent = [Sent(client.number, each.stream, each.id, each.id, each.stamp_ns) for each in part]
            client.queue(Packet.of(body, binary=session.encoding == MSGPACK), sent)

    def _time_out(self, client: Client[AlpacaSession]) -> None:
        if not client.session.authenticated:
            client.say(_packet(error(404), client.session))
            client.cut(error(404)[0]["msg"])

    def _cut(self, client: Client[AlpacaSession]) -> None:
        dripping = any(fault.name == "slow" for fault in self.faults.faults)  # perhaps within a message
        if client.dropped.startswith(_SLOW) and not dripping:
            # Before the close frame, and past the queue: that is what it has not read.
            client.connection.transport.write(_packet(error(407), client.session).frame)
        super()._cut(client)

    def _is_crowded(self, client: Client[AlpacaSession]) -> bool:
        others = (other for other in self.clients.values() if other.number != client.number)
        return any(
            other.session.authenticated and other.session.path == client.session.path for other in others
        )


def _packet(content: Sequence[Mapping[str, Any]], session: AlpacaSession) -> Packet:
    return Packet.of(encode(content, session.encoding), binary=session.encoding == MSGPACK)


def _plain(headers: Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.raw_items()}
