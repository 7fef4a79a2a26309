"""One client of a local venue: its session, its frames on the way out, and the faults that they meet.

    queue(packet, messages) ──► fault? ──► pending ──flush──► socket, and the venue's list of what was sent

Frames are gathered and written once per turn of the venue, straight to the transport, because every
client of one form gets the same bytes: they are framed once for all. (Without compression a server's
frames are the same for everybody.) What is pending, and what the transport still holds, is the client's
queue, and it is bounded: who lets more than that pile up is cut off, with the reason, and nobody else waits.

Faults are this side's doing alone: a stalled or slow client's frames stay pending, and others go on. A slow
one gets its frames as WebSocket fragments, so that pings and close frames may stand between them. A message
counts as sent when the last byte of its frame has been given to the transport.

Knows no venue's protocol: a packet is bytes, a session is whatever the venue makes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from websockets.protocol import OPEN

from engine.serve.account import Account, Committed, Sent
from engine.serve.faults import ClientFaults, Fault
from engine.serve.packets import Packet

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

POLICY_VIOLATION = 1008
SERVICE_RESTART = 1012
_CLOSING_S = 1.0
_NAP_S = 0.005  # a slow client's sender sleeps when it is so much ahead
_Pending = tuple[Packet, Sequence[Sent]]


class Session(Protocol):
    """What one connection has agreed on with its venue."""

    streams: dict[str, None]  # what it listens to, by the venue's names

    @property
    def form(self) -> Hashable:
        """Clients of one form get the same bytes."""
        ...


S = TypeVar("S", bound=Session)


class Client(Generic[S]):
    """A connected client. `queue` and `say` frames, `flush` writes them.

    Args:
        queue_bytes: how far it may fall behind before it is cut off.
        faults: what it meets.
        account: where to write down what is sent and done wrong; None: nowhere.
        on_cut: called once, when this side ends the connection.
    """

    def __init__(
        self,
        number: int,
        connection: ServerConnection,
        session: S,
        *,
        queue_bytes: int,
        faults: ClientFaults | None = None,
        account: Account | None = None,
        on_cut: Callable[[Client[S]], None] = lambda _: None,
    ) -> None:
        self.number = number
        self.connection = connection
        self.session = session
        self.frames_sent = 0  # data frames taken for sending, garbled ones and copies included
        self.dropped = ""  # why the venue cut it off
        self._queue_bytes = queue_bytes
        self._faults = faults or ClientFaults()
        self._account = account
        self._on_cut = on_cut
        self._pending: deque[_Pending] = deque()
        self._pending_bytes = 0
        self._calm = False
        self._skip = 0  # frames that a gap still takes
        self._held: dict[str, _Pending] = {}  # by stream: what comes after its next frame
        self._stalled = False
        self._dripping = False
        self._announce: Callable[[], None] = lambda: None
        self._announced = False
        self._timers: set[asyncio.TimerHandle] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> bool:
        """Whether frames can still go out."""
        return not self.dropped and self.connection.protocol.state is OPEN

    @property
    def backlog(self) -> int:
        """Bytes that the client has not read yet, as far as this side knows; not what a fault keeps back."""
        return self.connection.transport.get_write_buffer_size()

    @property
    def behind(self) -> int:
        """Bytes that have not left this side, whoever keeps them back."""
        return self.backlog + self._pending_bytes

    def begin(self, announce: Callable[[], None], grace_s: float) -> None:
        """Start the faults that go by time. `announce` says that the venue ends, `grace_s` before it does."""

        def announce_and_go() -> None:
            announce()
            self.later(grace_s, lambda: self.cut("fault: shutdown", code=SERVICE_RESTART))

        self._announce = announce_and_go
        if (fault := self._faults.disconnect) and fault.duration_s:
            self.later(fault.duration_s, self._disconnect)
        if (fault := self._faults.shutdown) and fault.duration_s:
            self.later(fault.duration_s, self._shut_down)

    def end(self) -> None:
        """The connection is over: no timer of it fires any more."""
        for timer in self._timers:
            timer.cancel()
        self._clear()

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` after a time, unless the connection has ended by then."""

        def fire() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    def say(self, packet: Packet) -> None:
        """Send what is no market data, such as an answer. No fault hits it, but a stall delays it."""
        self._append(packet, ())
        self.flush()

    def queue(self, packet: Packet, messages: Sequence[Sent] = ()) -> None:
        """Take a data frame, and the messages in it, for the next flush."""
        faults = self._faults
        if self._calm or not faults.any:
            self._take(packet, messages)
            return
        if self._is_over(messages):
            return
        fault = faults.frame()
        name = fault.name if fault else ""
        if fault and name == "gap" and not self._skip:
            self._skip = fault.count
        stream = messages[0].stream if messages else ""
        if self._skip:
            self._skip -= 1
            self._commit("gap", messages)
            return
        if name == "reorder" and stream not in self._held:
            self._held[stream] = (packet, messages)
            self._commit(name, messages)
            return
        if name == "garbage":
            garbled = packet.garbled(faults.chance)
            self._commit(name, messages, garbled.body)
            self._take(garbled, ())
        else:
            self._take(packet, messages)
        if name == "duplicate":
            self._commit(name, messages)
            self._take(packet, messages)
        elif fault and name == "stall" and not self._stalled:
            self._commit(name, messages)
            self._stalled = True
            self.later(fault.duration_s, self._go_on)
        if held := self._held.pop(stream, None):
            self._take(*held)

    def write(self, frames: bytes, count: int) -> None:
        """Write ready frames at once, whole ones only, past all faults; what is queued goes first."""
        self.flush()
        if self.open:
            self.connection.transport.write(frames)
            self.frames_sent += count

    def flush(self) -> None:
        """Write what was queued; cut off a client that does not keep up, or whose fault is due."""
        if not self.open:
            self._clear()
        if not self._pending:
            return
        if not self._stalled and not self._dripping:
            if self._faults.slow is not None and not self._calm:
                self._dripping = True
                self._start(self._drip(self._faults.slow.count))
            else:
                self._write_all()
        if self.behind > self._queue_bytes:
            self.cut(f"slow consumer: {self.behind} bytes behind")
        elif _is_reached(self._faults.disconnect, self.frames_sent):
            self._disconnect()
        elif _is_reached(self._faults.shutdown, self.frames_sent):
            self._shut_down()

    def calm(self) -> None:
        """From now on nothing is done wrong; what a fault kept back goes out."""
        self._calm = True
        for held in self._held.values():
            self._take(*held)
        self._held.clear()
        self._go_on()

    def cut(self, reason: str, *, abruptly: bool = False, code: int = POLICY_VIOLATION) -> None:
        """End the connection: with a close frame that says why, or at once."""
        if self.dropped:
            return
        self.dropped = reason
        self._clear()
        if abruptly:
            # What was written is sent (close, not abort); what follows is not. One who never reads is left.
            self.connection.transport.close()
            asyncio.get_running_loop().call_later(_CLOSING_S, self.connection.transport.abort)
        else:
            self._start(self._close(reason, code))
        self._on_cut(self)

    # Faults.

    def _is_over(self, messages: Sequence[Sent]) -> bool:
        """Whether the connection has had all the data frames that it gets."""
        if _is_reached(self._faults.silence, self.frames_sent):
            self._commit("silence", messages)
            return True
        return _is_reached(self._faults.disconnect, self.frames_sent)

    def _disconnect(self) -> None:
        fault = self._faults.disconnect
        if fault is None or self._calm:
            return
        self._commit("disconnect", ())
        after = f"{fault.count} frames" if fault.count else f"{fault.duration_s:g} s"
        self.cut(f"fault: disconnect after {after}", abruptly=True)

    def _shut_down(self) -> None:
        if not self._announced and not self._calm:
            self._announced = True
            self._commit("shutdown", ())
            self._announce()

    def _go_on(self) -> None:
        self._stalled = False
        self.flush()

    def _commit(self, fault: str, messages: Sequence[Sent], wire: bytes = b"") -> None:
        if self._account is None:
            return
        for message in messages or (Sent(self.number, "", 0, 0),):
            _, stream, first, last, stamp = message
            self._account.faults.append(Committed(self.number, fault, stream, first, last, stamp, wire))

    # Out.

    def _take(self, packet: Packet, messages: Sequence[Sent]) -> None:
        """A data frame that is going to be sent."""
        self._append(packet, messages)
        self.frames_sent += 1

    def _append(self, packet: Packet, messages: Sequence[Sent]) -> None:
        self._pending.append((packet, messages))
        self._pending_bytes += len(packet.frame)

    def _clear(self) -> None:
        self._pending.clear()
        self._held.clear()
        self._pending_bytes = 0

    def _write_all(self) -> None:
        self.connection.transport.write(b"".join([packet.frame for packet, _ in self._pending]))
        for _, messages in self._pending:
            self._note_sent(messages)
        self._pending.clear()
        self._pending_bytes = 0

    def _note_sent(self, messages: Sequence[Sent]) -> None:
        if self._account is not None:
            self._account.sent.extend(messages)

    async def _drip(self, rate: int) -> None:
        """Send what is pending piece by piece, at most `rate` bytes a second; all at once when calm."""
        ahead_s = 0.0
        try:
            while self._pending and self._goes_on():
                packet, messages = self._pending[0]
                pieces = packet.fragments()
                for left, piece in zip(range(len(pieces) - 1, -1, -1), pieces, strict=True):
                    self.connection.transport.write(piece)
                    if not left:
                        self._pending.popleft()
                        self._pending_bytes -= len(packet.frame)
                        self._note_sent(messages)
                    ahead_s += len(piece) / rate
                    if ahead_s > _NAP_S and not self._calm:
                        await asyncio.sleep(ahead_s)
                        ahead_s = 0.0
                    if not self._goes_on():
                        return
                if self._stalled:
                    return
        finally:
            self._dripping = False

    def _goes_on(self) -> bool:
        return self.open  # asked anew after every pause

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self, reason: str, code: int) -> None:
        # A client that does not read will not see the close frame either: then the transport goes.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self.connection.close(code, reason)
        self.connection.transport.abort()


def _is_reached(fault: Fault | None, frames: int) -> bool:
    return fault is not None and bool(fault.count) and frames >= fault.count
