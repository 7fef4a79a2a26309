"""One WebSocket: the thin driver that does what the connection's table says.

It opens the socket, subscribes, hands every data frame on as bytes, notices silence, and tells the
`Machine` what happened; the machine says what is next and which rows it is worth. What this never does:
look into a frame, or keep one back.

Silence: a WebSocket may be open and dead. No frame for `silence` seconds makes the stream quiet: a row
and a ping. No pong, or still no frame after five times as long: the connection is given up. (An instrument
that nobody trades is silent and well; its socket answers, so it is left alone for a while.) Pings of the
venue are answered by `websockets` itself.

The way of a frame is as short as it can be (see engine.live.transport): all frames that one read of the
socket brought are worked on before the event loop goes on, and work that a frame schedules with
`loop.call_soon` runs after the last of them. `max_queue=None` because frames never stay in a queue; the
back-pressure is the kernel's, since nothing is read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from engine.live.machine import STOPPED, Event, Machine, State
from engine.model.errors import VenueError
from engine.model.kinds import StatusData

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed

    from engine.live.transport import DirectConnection

FRAME_BYTES_MAX = 64 << 20  # a whole book in one frame may be several MB; the default, 1 MiB, kills it
MOST_RETRY_AFTER_S = 3600.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Timeouts(msgspec.Struct, frozen=True):
    """How long a connection waits for what, in seconds."""

    open_s: float = 10.0
    silence_s: float = 60.0  # without a frame: a row and a ping
    pong_s: float = 10.0
    patience: int = 5  # silences after which a socket that still answers is given up
    message_gap_s: float = 0.25  # between subscribing messages: venues take about five a second
    close_s: float = 1.0


class Hooks(msgspec.Struct, frozen=True):
    """What a connection tells its owner."""

    on_frame: Callable[[bytes], None]  # every data frame, in order
    on_status: Callable[[StatusData], None]  # a row to write
    on_lost: Callable[[], None]  # this life of the socket is over; no frame of it follows


class Refusal(msgspec.Struct, frozen=True):
    """Why an attempt failed, in words for a row and for a person."""

    detail: str
    hint: str
    retry_after_s: float = 0.0


class Connection:
    """One WebSocket over all its lives. `run` ends after `stop`, or when the first attempt fails."""

    def __init__(
        self,
        url: str,
        machine: Machine,
        hooks: Hooks,
        *,
        messages: Sequence[str] = (),
        subscribed: str = "",
        timeouts: Timeouts | None = None,
    ) -> None:
        """`messages` subscribe to what the URL does not; `subscribed` is the row's words for it all."""
        self.url = url
        self.machine = machine
        self.frames = 0  # data frames received, over all lives
        self.opened = asyncio.Event()  # set when the first attempt has succeeded
        self._hooks = hooks
        self._messages = messages
        self._subscribed = subscribed
        self._timeouts = timeouts or Timeouts()
        self._websocket: DirectConnection | None = None
        self._leaving: tuple[Event, str] | None = None  # why we close the socket ourselves
        self._closing: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Connect, stream and reconnect until `stop`.

        Raises VenueError when the very first attempt fails; later ones are repeated for ever.
        """
        self._tell(Event.START, self.url)
        while True:
            websocket = await self._open()
            if websocket is not None:
                await self._live(websocket)
            if self.machine.state is State.STOPPED:
                return
            await self._wait(self.machine.wait_s)
            if self._stopping.is_set():
                self._tell(Event.STOP)
                return
            self._tell(Event.WAITED, self.url)

    def stop(self) -> None:
        """End the connection; `run` returns soon after, with the last frames handed on."""
        self._stopping.set()
        self._leave(Event.STOP, STOPPED)

    def shut_down(self, detail: str) -> None:
        """The venue announced that it will close: leave, and come back at once."""
        self._leave(Event.SHUTDOWN, detail)

    def _tell(self, event: Event, detail: str = "", *, retry_after_s: float = 0.0) -> None:
        now_s = asyncio.get_running_loop().time()
        for status in self.machine.on(event, now_s, detail, retry_after_s=retry_after_s):
            self._hooks.on_status(status)

    async def _open(self) -> DirectConnection | None:
        """The open socket, or None when the attempt failed or was stopped; the machine knows which."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidURI

        from engine.live.transport import DirectConnection

        timeouts = self._timeouts

        async def attempt() -> DirectConnection:
            # Awaited, `connect` makes one attempt: its own way of reconnecting would leave no rows.
            opened = await connect(
                self.url,
                compression=None,
                max_size=FRAME_BYTES_MAX,
                max_queue=None,
                open_timeout=timeouts.open_s,
                close_timeout=timeouts.close_s,
                ping_interval=None,
                proxy=None if is_loopback(self.url) else True,
                create_connection=DirectConnection,
            )
            assert isinstance(opened, DirectConnection)
            return opened

        opening = asyncio.ensure_future(attempt())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
        if opening.cancelled():
            self._tell(Event.STOP)
            return None
        try:
            websocket = opening.result()
        except (OSError, TimeoutError, EOFError, ValueError, InvalidHandshake, InvalidURI) as error:
            refusal = refusal_of(error, self.url)
            if not self.opened.is_set():
                raise VenueError(refusal.detail, hint=refusal.hint) from None
            self._tell(Event.REFUSED, refusal.detail, retry_after_s=refusal.retry_after_s)
            return None
        self.opened.set()
        return websocket

    async def _live(self, websocket: DirectConnection) -> None:
        """One life of the socket, from opened to closed."""
        from websockets.exceptions import ConnectionClosed

        self._leaving = None
        self._websocket = websocket
        watch: asyncio.Task[None] | None = None
        words = ""
        self._tell(Event.OPENED, self.url)
        try:
            for number, message in enumerate(self._messages):
                if number:
                    await self._wait(self._timeouts.message_gap_s)
                await websocket.send(message)
            self._tell(Event.SUBSCRIBED, self._subscribed)
            if self._stopping.is_set():
                self._leave(Event.STOP, STOPPED)
            watch = asyncio.ensure_future(self._watch(websocket))
            await self._receive(websocket)
        except ConnectionClosed as error:
            words = closed_words(error)
        finally:
            if watch is not None:
                watch.cancel()
            self._websocket = None
            await websocket.close()  # at once where it is closed already
            self._hooks.on_lost()
        event, words = self._leaving or (Event.LOST, words)
        self._tell(event, words)

    async def _receive(self, websocket: DirectConnection) -> None:
        on_frame = self._hooks.on_frame

        def take(frame: bytes) -> None:
            self.frames += 1
            on_frame(frame)

        websocket.listen(take)
        try:
            while True:
                take(await websocket.recv(decode=False))
                websocket.taken()
        finally:
            if websocket.failure is not None:
                raise websocket.failure

    async def _watch(self, websocket: DirectConnection) -> None:
        """Notice a stream that has gone silent, and give up one that stays so."""
        seen = self.frames
        silences = 0
        while True:
            await asyncio.sleep(self._timeouts.silence_s)
            if self.frames != seen:
                if self.machine.state is State.QUIET:
                    self._tell(Event.FRAME)
                seen, silences = self.frames, 0
                continue
            silences += 1
            words = f"no frame for {self._timeouts.silence_s * silences:g} s"
            if self.machine.state is State.STREAMING:
                self._tell(Event.SILENT, words)
            answers = await self._answers(websocket)
            if self.frames == seen and (silences >= self._timeouts.patience or not answers):
                suffix = "" if answers else ", and no answer to a ping"
                self._leave(Event.DEAD, f"silence: {words}{suffix}")
                return

    async def _answers(self, websocket: DirectConnection) -> bool:
        """Whether the other side answers a ping in time."""
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(self._timeouts.pong_s):
                await (await websocket.ping())
        except (TimeoutError, ConnectionClosed):
            return False
        return True

    def _leave(self, event: Event, detail: str) -> None:
        if self._websocket is not None and self._leaving is None:
            self._leaving = (event, detail)
            # The receive loop goes on until the socket is closed: what has arrived is not lost.
            self._closing = asyncio.ensure_future(self._websocket.close())

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def closed_words(error: ConnectionClosed) -> str:
    """Why a socket closed: the venue's code and reason, or that it went without a word."""
    frame = error.rcvd
    if frame is None:
        cause = error.__cause__
        return f"the connection broke off ({cause})" if cause else "the connection broke off"
    return f"the venue closed: {frame.code} {frame.reason}".rstrip()


def refusal_of(error: BaseException, url: str) -> Refusal:
    """What a failed attempt to open `url` means, and what to do about it."""
    from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus

    reach = "check the address and the network; --url points a venue at another address"
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        status = error.response.status_code
        page = " (an HTML page)" if "html" in headers.get("Content-Type", "") else ""
        detail = f"{url} answered HTTP {status}{page} instead of opening a WebSocket"
        return Refusal(detail, hint_of_status(status), retry_after_of(headers.get("Retry-After")))
    if isinstance(error, TimeoutError):
        return Refusal(f"{url} did not answer in time", reach)
    if isinstance(error, InvalidMessage):
        return Refusal(f"{url} does not speak HTTP ({error})", reach)
    if isinstance(error, InvalidHandshake):
        return Refusal(f"{url} refused the WebSocket ({error})", reach)
    return Refusal(f"{url} cannot be reached ({error or type(error).__name__})", reach)


def hint_of_status(status: int) -> str:
    """What a person can do about an HTTP status that a venue answered."""
    if status in {418, 429}:
        return "the venue limits how often one may ask: wait, and ask for less"
    if status in {401, 403, 451}:
        return "the venue refuses this machine's address, country or credentials"
    if status >= 500:
        return "the venue is in trouble: try again later"
    return "the address is not this venue's, or a proxy or login page stands between"


def retry_after_of(text: str | None) -> float:
    """Seconds of a Retry-After header, an hour at most; 0 for none and for a date."""
    try:
        return min(max(0.0, float(text or 0)), MOST_RETRY_AFTER_S)
    except ValueError:
        return 0.0
