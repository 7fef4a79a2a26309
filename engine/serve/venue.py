"""A local venue on the network, whatever protocol it speaks: one port, any number of clients, one time.

    source ──► time line (speed, stamps) ──► the venue's own part ──► publish ──► clients, with faults

The venue waits for its first subscriber, then time runs for everybody: at `speed` times the source's
own pace, or, at `max`, as fast as the clients read (then it stands still while nobody is subscribed).
At a pace, a client that does not keep up is cut off; at `max` the venue waits for it, up to a limit.

Stamps are rewritten to now unless `keep_times`: what happened at source time t is shown at
start + (t - first) / speed.

What a venue's own class adds, all of it below "The venue's own": which requests open a stream and with
which session, what is said to a new client, how its messages are answered, what an event of the source
becomes (it calls `publish` for each message, or `queue`s packets at clients itself), plain HTTP answers,
and the words of refusals and of an announced end. `engine.serve.server` is one.

Plain HTTP comes through websockets' `process_request`, one request per connection: all that market data
needs. A request with a body is answered too (engine.serve.wire), and its body is not read.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Generic, NamedTuple, TypedDict

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from engine.model.errors import UsageError, VenueError
from engine.serve.account import Account, Committed, Made, Sent
from engine.serve.client import Client, S
from engine.serve.faults import HTML_PAGE, LIMIT, Fault, FaultPlan
from engine.serve.listeners import Listeners
from engine.serve.packets import Packet
from engine.serve.rest import Reply
from engine.serve.wire import VenueConnection, quiet_logger, response

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from engine.serve.source import Source
    from engine.serve.synthetic import Event

MAX_SPEED = 0.0  # as fast as the clients read
_EVENTS_PER_TURN = 256
_LAG_NS = 1_000_000_000  # later than this, the venue's time line is moved to now
_CONTROL_WINDOW_S = 1.0


class Heard(NamedTuple):
    """What a client's message brings about, in this order: streams left, answers, streams joined, an end."""

    replies: Sequence[Packet] = ()
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    close: tuple[int, str] | None = None  # code and reason


class Dials(TypedDict, total=False):
    """What may be set of every venue; see StreamVenue."""

    host: str
    port: int
    speed: float
    keep_times: bool
    faults: Iterable[Fault]
    fault_seed: int
    wait_for: int
    account: bool
    queue_bytes: int
    stall_s: float
    control_per_second: int
    ping_s: float
    pong_s: float
    grace_s: float
    past_s: float
    clock: Callable[[], int]


class StreamVenue(ABC, Generic[S]):
    """`async with` it, and it listens at `ws_url` and `http_url`.

    Args:
        source: where its events come from; `events` is called once, when the venue is entered.
        host, port: where to listen; port 0 takes a free one, then `port` says which.
        speed: how many times faster than the source's own time; MAX_SPEED as fast as clients read.
        keep_times: leave the source's stamps alone.
        faults, fault_seed: misbehave on purpose (engine.serve.faults).
        wait_for: how many clients must have subscribed before time runs (0: it runs at once).
        account: keep `account`, the lists of what was made, sent and done wrong (they grow for ever).
        queue_bytes: how far a client may fall behind before it is cut off.
        stall_s: at MAX_SPEED, how long one client may hold up all others.
        control_per_second: how many messages a client may send in a second (0: any number).
        ping_s, pong_s: the venue's pings, and how long it waits for the answer.
        grace_s: from the announcement of an end to the end.
        past_s: how much of the source's time has gone by when the venue opens: REST's history.
        clock: the venue's own clock, ns.
    """

    control_limit = "too many messages: the limit is {limit} in a second"

    def __init__(  # noqa: PLR0913  each is one of the venue's dials
        self,
        source: Source,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        keep_times: bool = False,
        faults: Iterable[Fault] = (),
        fault_seed: int = 0,
        wait_for: int = 1,
        account: bool = False,
        queue_bytes: int = 16 << 20,
        stall_s: float = 5.0,
        control_per_second: int = 5,
        ping_s: float = 20.0,
        pong_s: float = 60.0,
        grace_s: float = 1.0,
        past_s: float = 0.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if speed < 0:
            raise UsageError(f"speed {speed} is negative", hint="write 1, 10, 0.5 or max")
        self.source = source
        self.host, self.port = host, port
        self.speed = speed
        self.keep_times = keep_times
        self.account = Account() if account else None
        self.dropped: list[tuple[int, str]] = []  # client's number, why it was cut off
        self.started = asyncio.Event()  # time runs
        self.ended = asyncio.Event()  # no more events, and everything was written
        self.clients: dict[int, Client[S]] = {}
        self.listeners: Listeners[S] = Listeners()
        self.faults = FaultPlan(faults, seed=fault_seed)
        self._wait_for = wait_for
        self._queue_bytes, self._stall_s = queue_bytes, stall_s
        self._control_per_second = control_per_second
        self._ping_s, self._pong_s, self._grace_s = ping_s, pong_s, grace_s
        self._past_s = past_s
        self._clock = clock
        self._accounted: set[str] = set()  # streams whose messages are in the account
        self._halted = False
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

    @property
    def sent(self) -> list[Sent]:
        """The account's list of what was handed to sockets; empty without an account."""
        return self.account.sent if self.account is not None else []

    async def __aenter__(self) -> Self:
        try:
            self._server = await serve(
                self._handle,
                self.host,
                self.port,
                process_request=self._request,
                create_connection=VenueConnection,
                compression=None,
                ping_interval=self._ping_s or None,
                ping_timeout=self._pong_s or None,
                close_timeout=1.0,
                max_size=1 << 20,
                logger=quiet_logger(),
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
        for client in list(self.clients.values()):
            self._announce(client)

    def calm(self) -> None:
        """From now on nothing is done wrong, to nobody; what faults kept back goes out."""
        self.faults.calm = True
        for client in list(self.clients.values()):
            client.calm()

    def halt(self) -> None:
        """No event any more, from now on; clients stay."""
        self._halted = True

    # The venue's own.

    @abstractmethod
    def open_session(self, request: Request) -> S | None:
        """The session that a request asks for; None when no stream lives there."""

    def greet(self, client: Client[S]) -> None:
        """A client has connected: what is said to it (`client.say`), and by when it must act (`later`)."""

    @abstractmethod
    def hear(self, client: Client[S], message: str | bytes) -> Heard:
        """Carry out a client's message. The venue itself joins and leaves the streams that are named."""

    @abstractmethod
    def take(self, event: Event, shown_us: int) -> None:
        """Turn an event of the source, shown at a time, into messages: `publish`, or `queue` at clients."""

    def takes_ahead(self, event: Event) -> bool:  # noqa: ARG002
        """Whether an event belongs to the opening picture, which is taken before time runs."""
        return False

    @abstractmethod
    def answer_http(self, request: Request) -> Reply:
        """The answer to a request that opens no stream."""

    @abstractmethod
    def refusal(self, status: int, wait_s: int) -> Reply:
        """The answer 429 or 418; Retry-After is added."""

    def shutdown_notice(self, session: S) -> Packet | None:
        """What announces that the venue is about to go; None where its protocol has nothing for it."""

    # For the venue's own part.

    @property
    def wanted(self) -> Container[str]:
        """Streams whose messages are to be made: somebody listens, or the account wants them."""
        return self.listeners if self.account is None else self._accounted

    def made(self, stream: str, first: int, last: int, stamp: int) -> None:
        """Write a message into the account, once, whoever gets it. `publish` does it by itself."""
        if self.account is not None and stream in self._accounted:
            self.account.made.append(Made(stream, first, last, stamp, self._clock()))

    def publish(self, stream: str, ids: tuple[int, int], stamp: int, packet: Callable[[S], Packet]) -> None:
        """Send one message to everybody who listens; `packet` makes it, once for each form."""
        self.made(stream, *ids, stamp)
        forms: dict[Hashable, Packet] = {}
        named = self.account is not None or bool(self.faults.faults)
        for client in self.listeners.of(stream):
            form = client.session.form
            ready = forms.get(form)
            if ready is None:
                ready = forms[form] = packet(client.session)
            client.queue(ready, (Sent(client.number, stream, *ids, stamp),) if named else ())

    def shown_now_us(self) -> int:
        """What the venue's clock shows."""
        now_ns = self._source_ns if self.keep_times and self._source_ns else self._clock()
        return now_ns // 1_000

    # Time.

    def _open_source(self) -> Iterator[Event]:
        """Begin the source: its first books count at once, so that REST answers before time runs.

        Other events of the first moment may stand between them; those wait.
        """
        events = iter(self.source.events())
        waiting: list[Event] = []
        opening_ns: int | None = None
        for event in events:
            opening_ns = event.time_ns if opening_ns is None else opening_ns
            if self.takes_ahead(event) and (not waiting or event.time_ns == opening_ns):
                self._take(event, event.time_ns // 1_000)
                continue
            waiting.append(event)
            if event.time_ns > opening_ns or len(waiting) == _EVENTS_PER_TURN:
                break
        return self._pass_over(waiting[0], chain(waiting[1:], events)) if waiting else events

    def _pass_over(self, first: Event, events: Iterator[Event]) -> Iterator[Event]:
        """Take what belongs to the past, shown as if it had just happened; the rest is to come."""
        now_ns, end_ns = self._clock(), first.time_ns + round(self._past_s * 1e9)
        for event in chain((first,), events):
            if event.time_ns >= end_ns:
                return chain((event,), events)
            ago_ns = (end_ns - event.time_ns) / (self.speed or 1.0)
            self._take(event, (now_ns - round(ago_ns)) // 1_000)
        return events

    async def _run(self) -> None:
        await self.listeners.wait(self._wait_for)
        self.started.set()
        if self.speed:
            await self._run_paced()
        else:
            await self._run_fast()
        self.ended.set()

    async def _run_paced(self) -> None:
        origin_ns = first_ns = turn = 0
        for event in self._events:
            now_ns = self._clock()
            if not origin_ns:
                origin_ns, first_ns = now_ns, event.time_ns
            due_ns = origin_ns + round((event.time_ns - first_ns) / self.speed)
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
            if self._halted:
                break
            self._take(event, due_ns // 1_000)
        self._flush()

    async def _run_fast(self) -> None:
        turn = 0
        shown_us = last_ns = 0
        for event in self._events:
            if self._halted:
                break
            if event.time_ns != last_ns:
                last_ns, shown_us = event.time_ns, self._clock() // 1_000
            self._take(event, shown_us)
            turn += 1
            if turn == _EVENTS_PER_TURN:
                turn = 0
                self._flush()
                await self._wait_for_readers()
        self._flush()

    async def _wait_for_readers(self) -> None:
        """At MAX_SPEED: until every client has room again; one that makes no progress is cut off."""
        await asyncio.sleep(0)
        await self.listeners.wait(min(1, self._wait_for))
        limit = self._queue_bytes // 4
        for client in list(self.clients.values()):
            backlog, since = client.backlog, time.monotonic()
            while client.open and client.backlog > limit:
                await asyncio.sleep(0.001)
                if client.backlog < backlog:
                    backlog, since = client.backlog, time.monotonic()
                elif time.monotonic() - since > self._stall_s:
                    client.cut(f"slow consumer: {client.backlog} bytes behind and not reading")

    def _take(self, event: Event, shown_us: int) -> None:
        self._source_ns = event.time_ns
        self.take(event, event.time_ns // 1_000 if self.keep_times else shown_us)

    # Out.

    def _flush(self) -> None:
        for client in list(self.clients.values()):
            client.flush()

    def _announce(self, client: Client[S]) -> None:
        notice = self.shutdown_notice(client.session)
        if notice is not None:
            client.say(notice)

    def _cut(self, client: Client[S]) -> None:
        if self.clients.pop(client.number, None) is not None:
            self.dropped.append((client.number, client.dropped))
            self.listeners.leave(client, list(client.session.streams))

    # In.

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before a handshake: None lets it go on, a response answers plain HTTP."""
        if self.faults.html:
            return response(Reply(200, [("Content-Type", "text/html; charset=utf-8")], HTML_PAGE))
        if refused := self.faults.refusal(str((connection.remote_address or ("",))[0])):
            if self.account is not None:
                self.account.faults.append(Committed(0, LIMIT, request.path))
            status, wait_s = refused
            reply = self.refusal(status, wait_s)
            return response(reply._replace(headers=[*reply.headers, ("Retry-After", str(wait_s))]))
        bodied = isinstance(connection, VenueConnection) and connection.has_body
        session = None if bodied else self.open_session(request)
        if session is not None:
            connection.session = session  # type: ignore[attr-defined]  # ours, for _handle
            return None
        return response(self.answer_http(request))

    async def _handle(self, connection: ServerConnection) -> None:
        self._numbers += 1
        session: S = connection.session  # type: ignore[attr-defined]  # set in _request
        client = Client(
            self._numbers,
            connection,
            session,
            queue_bytes=self._queue_bytes,
            faults=self.faults.client(self._numbers),
            account=self.account,
            on_cut=self._cut,
        )
        self.clients[client.number] = client
        client.begin(lambda: self._announce(client), self._grace_s)
        self.greet(client)
        self._join(client, list(session.streams))
        allowed = self._counter(client)
        if isinstance(connection, VenueConnection):
            connection.on_control = allowed
        try:
            async for message in connection:
                if not allowed():
                    return
                self._heard(client, self.hear(client, message))
        except ConnectionClosed:
            pass  # the client has gone, as clients do
        finally:
            self.clients.pop(client.number, None)
            self.listeners.leave(client, list(session.streams))
            client.end()
            if client.dropped:
                await connection.wait_closed()

    def _heard(self, client: Client[S], heard: Heard) -> None:
        client.flush()
        self.listeners.leave(client, heard.removed)
        self._accounted.difference_update(heard.removed)
        self._accounted.update(self.listeners.streams() & set(heard.removed))  # others listen still
        for reply in heard.replies:
            client.say(reply)
        self._join(client, heard.added)
        if heard.close is not None:
            code, reason = heard.close
            client.cut(reason, code=code)

    def _counter(self, client: Client[S]) -> Callable[[], bool]:
        """Counts one message of a client's, and says whether it may have it; who may not is cut off."""
        limit = self._control_per_second
        times: deque[float] = deque(maxlen=limit or 1)

        def allowed() -> bool:
            now = time.monotonic()
            if limit and len(times) == limit and now - times[0] < _CONTROL_WINDOW_S:
                client.cut(self.control_limit.format(limit=limit))
            times.append(now)
            return not client.dropped

        return allowed

    def _join(self, client: Client[S], streams: Sequence[str]) -> None:
        self.listeners.join(client, streams)
        self._accounted.update(streams)
