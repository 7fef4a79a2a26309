"""The local venue on the network: one port for WebSocket streams and REST, any number of clients.

    source ──► clock (speed, stamps) ──► VenueMarket ──► frames, made once per form ──► clients

The venue waits for its first subscriber, then time runs for everybody: at `speed` times the source's
own pace, or, at `max`, as fast as the clients read (then it stands still while nobody is subscribed).
At a pace, a client that does not keep up is cut off; at `max` the venue waits for it, up to a limit.

Stamps are rewritten to now unless `keep_times`: what happened at source time t is shown at
start + (t - first) / speed. Kline bounds then follow the shown times, because the venue makes klines
from the trades as it shows them.

Plain HTTP comes through websockets' `process_request`, which answers GET without a body, one request per
connection: all that market data needs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from engine.model.errors import UsageError, VenueError
from engine.serve.binance import StreamSession, encode_payload, restamp, shutdown_frame, wrap
from engine.serve.client import Client, Sent, ids_of, text_frame
from engine.serve.faults import HTML_PAGE, Fault
from engine.serve.market import VenueMarket
from engine.serve.rest import WEIGHT_LIMIT, Reply, RestApi
from engine.serve.synthetic import SNAPSHOT, Event

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from engine.serve.source import Source

MAX_SPEED = 0.0  # as fast as the clients read
_EVENTS_PER_TURN = 256
_LAG_NS = 1_000_000_000  # later than this, the venue's time line is moved to now
_CONTROL_WINDOW_S = 1.0


class LocalVenue:
    """A venue on this machine: `async with LocalVenue(source) as venue: venue.ws_url, venue.http_url`.

    Args:
        source: where its events come from; `events` is called once, when the first client subscribes.
        host, port: where to listen; port 0 takes a free one, then `port` says which.
        speed: how many times faster than the source's own time; MAX_SPEED as fast as clients read.
        keep_times: leave the source's stamps alone.
        fault: misbehave on purpose.
        wait_for: how many clients must have subscribed before time runs (0: it runs at once).
        account: keep `sent`, the list of every data frame handed to a socket (grows for ever).
        queue_bytes: how far a client may fall behind before it is cut off.
        stall_s: at MAX_SPEED, how long one client may hold up all others.
        control_per_second: how many messages a client may send in a second (0: any number).
        ping_s, pong_s: the venue's pings, and how long it waits for the answer.
        weight_limit: REST request weight per minute.
    """

    def __init__(  # noqa: PLR0913  each is one of the venue's dials
        self,
        source: Source,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        keep_times: bool = False,
        fault: Fault | None = None,
        wait_for: int = 1,
        account: bool = False,
        queue_bytes: int = 16 << 20,
        stall_s: float = 5.0,
        control_per_second: int = 5,
        ping_s: float = 20.0,
        pong_s: float = 60.0,
        weight_limit: int = WEIGHT_LIMIT,
    ) -> None:
        if speed < 0:
            raise UsageError(f"speed {speed} is negative", hint="write 1, 10, 0.5 or max")
        self.source = source
        self.host, self.port = host, port
        self.speed = speed
        self.keep_times = keep_times
        self.account = account
        self.sent: list[Sent] = []
        self.dropped: list[tuple[int, str]] = []  # client's number, why it was cut off
        self.market = VenueMarket(source.instruments, own_klines=not keep_times)
        self.rest = RestApi(self.market, weight_limit=weight_limit)
        self.started = asyncio.Event()  # time runs
        self.ended = asyncio.Event()  # the source has no more, and everything was written
        self.clients: dict[int, Client] = {}
        self._fault = fault or Fault()
        self._wait_for = wait_for
        self._queue_bytes, self._stall_s = queue_bytes, stall_s
        self._control_per_second = control_per_second
        self._ping_s, self._pong_s = ping_s, pong_s
        self._streams: dict[str, dict[int, Client]] = {}  # who listens
        self._listening = asyncio.Event()
        self._numbers = 0
        self._source_ns = 0
        self._server: Server | None = None
        self._pump: asyncio.Task[None] | None = None
        self._events: Iterator[Event] = iter(())

    @property
    def ws_url(self) -> str:
        """Where clients connect for streams, without a path."""
        return f"ws://{self.host}:{self.port}"

    @property
    def http_url(self) -> str:
        """Where clients send REST requests, without a path."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        try:
            self._server = await serve(
                self._handle,
                self.host,
                self.port,
                process_request=self._request,
                compression=None,
                ping_interval=self._ping_s or None,
                ping_timeout=self._pong_s or None,
                close_timeout=1.0,
                max_size=1 << 20,
                logger=_quiet_logger(),
            )
        except OSError as error:
            raise VenueError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}",
                hint="choose another --port; 0 takes a free one",
            ) from None
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self._events = self._open_source()
        self._pump = asyncio.get_running_loop().create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop time, close every connection (1001), stop listening. A failed source is raised here."""
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._pump is not None:
            (outcome,) = await asyncio.gather(self._pump, return_exceptions=True)
            if isinstance(outcome, Exception):
                raise outcome

    async def wait_ended(self) -> None:
        """Wait until the source has ended; a source that fails is raised here."""
        assert self._pump is not None, "the venue is not running"
        ended = asyncio.ensure_future(self.ended.wait())
        await asyncio.wait((ended, self._pump), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if self._pump.done():
            self._pump.result()

    def announce_shutdown(self) -> None:
        """Send every client the venue's notice that it is about to go."""
        for client in self.clients.values():
            session = client.session
            body = shutdown_frame(self._shown_now_us(), combined=session.combined, unit=session.unit)
            client.queue(text_frame(body))
            client.flush()

    # Time.

    def _open_source(self) -> Iterator[Event]:
        """Begin the source: its first books count at once, so that REST answers before time runs."""
        events = iter(self.source.events())
        for event in events:
            if not event.stream.endswith(SNAPSHOT):
                return chain((event,), events)
            self._take(event.time_ns, event.time_ns // 1_000, event.stream, event.payload)
        return events

    async def _run(self) -> None:
        await self._wait_for_clients()
        self.started.set()
        if self.speed:
            await self._run_paced()
        else:
            await self._run_fast()
        self.ended.set()

    async def _run_paced(self) -> None:
        origin_ns = first_ns = turn = 0
        for event_ns, stream, payload in self._events:
            now_ns = time.time_ns()
            if not origin_ns:
                origin_ns, first_ns = now_ns, event_ns
            due_ns = origin_ns + round((event_ns - first_ns) / self.speed)
            if due_ns > now_ns:
                self._flush()
                await asyncio.sleep((due_ns - now_ns) / 1e9)
                turn = 0
            elif now_ns - due_ns > _LAG_NS:
                origin_ns += now_ns - due_ns
                due_ns = now_ns
            turn += 1
            if turn == _EVENTS_PER_TURN:
                self._flush()
                await asyncio.sleep(0)
                turn = 0
            self._take(event_ns, due_ns // 1_000, stream, payload)
        self._flush()

    async def _run_fast(self) -> None:
        turn = 0
        shown_us = last_ns = 0
        for event_ns, stream, payload in self._events:
            if event_ns != last_ns:
                last_ns, shown_us = event_ns, time.time_ns() // 1_000
            self._take(event_ns, shown_us, stream, payload)
            turn += 1
            if turn == _EVENTS_PER_TURN:
                turn = 0
                self._flush()
                await self._wait_for_readers()
        self._flush()

    async def _wait_for_clients(self) -> None:
        while len(self._listeners()) < self._wait_for:
            self._listening.clear()
            await self._listening.wait()

    async def _wait_for_readers(self) -> None:
        """At MAX_SPEED: until every client has room again; one that makes no progress is cut off."""
        await asyncio.sleep(0)
        if self._wait_for:
            while not self._listeners():
                self._listening.clear()
                await self._listening.wait()
        limit = self._queue_bytes // 4
        for client in list(self.clients.values()):
            backlog, since = client.backlog, time.monotonic()
            while client.open and client.backlog > limit:
                await asyncio.sleep(0.001)
                if client.backlog < backlog:
                    backlog, since = client.backlog, time.monotonic()
                elif time.monotonic() - since > self._stall_s:
                    self._drop(client, f"slow consumer: {client.backlog} bytes behind and not reading")

    def _take(self, event_ns: int, shown_us: int, stream: str, payload: dict[str, Any]) -> None:
        self._source_ns = event_ns
        if self.keep_times:
            shown_us = event_ns // 1_000
        else:
            payload = restamp(payload, shown_us)
        for message in self.market.apply(shown_us, stream, payload, self._streams):
            self._publish(*message)

    def _shown_now_us(self) -> int:
        now_ns = self._source_ns if self.keep_times and self._source_ns else time.time_ns()
        return now_ns // 1_000

    # Out.

    def _publish(self, stream: str, payload: dict[str, Any]) -> None:
        forms: dict[tuple[bool, str], bytes] = {}
        for client in self._streams.get(stream, {}).values():
            form = (client.session.combined, client.session.unit)
            frame = forms.get(form)
            if frame is None:
                body = encode_payload(payload, form[1])
                frame = forms[form] = text_frame(wrap(stream, body) if form[0] else body)
            if client.queue(frame) and self.account:
                self.sent.append(Sent(client.number, stream, *ids_of(payload)))

    def _flush(self) -> None:
        for client in list(self.clients.values()):
            client.flush()
            if client.dropped:
                self._drop(client, client.dropped)

    def _drop(self, client: Client, reason: str) -> None:
        client.cut(reason)
        if self.clients.pop(client.number, None) is not None:
            self.dropped.append((client.number, reason))
            self._forget(client, list(client.session.streams))

    # In.

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before a handshake: None lets it go on, a response answers plain HTTP."""
        if self._fault.name == "html":
            return _response(Reply(200, [("Content-Type", "text/html; charset=utf-8")], HTML_PAGE))
        session = StreamSession.open(request.path)
        if session is not None:
            connection.session = session  # type: ignore[attr-defined]  # ours, for _handle
            return None
        reply = self.rest.answer(request.method, request.path, request.headers, self._shown_now_us())
        return _response(reply)

    async def _handle(self, connection: ServerConnection) -> None:
        self._numbers += 1
        session: StreamSession = connection.session  # type: ignore[attr-defined]  # set in _request
        client = Client(self._numbers, connection, session, queue_bytes=self._queue_bytes, fault=self._fault)
        self.clients[client.number] = client
        self._listen(client, list(session.streams))
        times: deque[float] = deque(maxlen=self._control_per_second or None)
        try:
            async for message in connection:
                if self._too_many(times):
                    self._drop(client, "too many messages: the limit is 5 in a second")
                    return
                answer = session.answer(message)
                client.flush()
                self._forget(client, answer.removed)
                await connection.send(answer.reply, text=True)
                self._listen(client, answer.added)
        except ConnectionClosed:
            pass  # the client has gone, as clients do
        finally:
            self.clients.pop(client.number, None)
            self._forget(client, list(session.streams))
            if client.dropped:
                await connection.wait_closed()

    def _too_many(self, times: deque[float]) -> bool:
        if not self._control_per_second:
            return False
        now = time.monotonic()
        full = len(times) == self._control_per_second and now - times[0] < _CONTROL_WINDOW_S
        times.append(now)
        return full

    def _listen(self, client: Client, streams: list[str]) -> None:
        for stream in streams:
            self._streams.setdefault(stream, {})[client.number] = client
        if streams:
            self._listening.set()

    def _forget(self, client: Client, streams: list[str]) -> None:
        for stream in streams:
            listeners = self._streams.get(stream, {})
            listeners.pop(client.number, None)
            if not listeners:
                self._streams.pop(stream, None)

    def _listeners(self) -> set[int]:
        return {number for listeners in self._streams.values() for number in listeners}


def _response(reply: Reply) -> Response:
    headers = Headers([*reply.headers, ("Content-Length", str(len(reply.body))), ("Connection", "close")])
    return Response(reply.status, HTTPStatus(reply.status).phrase, headers, reply.body)


def _quiet_logger() -> logging.Logger:
    """Clients that hang up in the middle of a handshake are no news; anything graver is."""
    logger = logging.getLogger("engine.serve")
    logger.setLevel(logging.CRITICAL)
    return logger
