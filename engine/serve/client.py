"""One client of the local venue: its session, its frames on the way out, and what was sent to it.

Frames are gathered and written once per turn of the venue, straight to the transport, because every
client of one form gets the same bytes: they are framed once for all. (Without compression a server's
frames are the same for everybody.) The transport's buffer is the client's queue, and it is bounded: who
lets more than that pile up is cut off, with the reason, and nobody else waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from engine.serve.binance import StreamSession
    from engine.serve.faults import Fault

_POLICY_VIOLATION = 1008
_CLOSING_S = 1.0


class Sent(NamedTuple):
    """One data frame handed to a client's socket: which, and the ids it covers (0: it has none)."""

    client: int
    stream: str
    first: int
    last: int


def ids_of(payload: dict[str, Any]) -> tuple[int, int]:
    """First and last id of a payload: update ids, trade ids, or zeros."""
    if "U" in payload:
        return payload["U"], payload["u"]
    last = payload.get("u") or payload.get("t") or payload.get("a") or payload.get("lastUpdateId") or 0
    return last, last


def text_frame(body: bytes) -> bytes:
    """A whole WebSocket text frame as a server sends it."""
    return Frame(Opcode.TEXT, body).serialize(mask=False)


class Client:
    """A connected client. `queue` frames, `flush` writes them."""

    def __init__(
        self,
        number: int,
        connection: ServerConnection,
        session: StreamSession,
        *,
        queue_bytes: int,
        fault: Fault,
    ) -> None:
        self.number = number
        self.connection = connection
        self.session = session
        self.frames_sent = 0
        self.dropped = ""  # why the venue cut it off
        self._pending: list[bytes] = []
        self._queue_bytes = queue_bytes
        self._fault = fault
        self._closing: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        """Whether frames can still go out."""
        return not self.dropped and self.connection.protocol.state is OPEN

    @property
    def backlog(self) -> int:
        """Bytes that the client has not read yet, as far as this side knows."""
        return self.connection.transport.get_write_buffer_size()

    def queue(self, frame: bytes) -> bool:
        """Take a data frame for the next flush; False when it is not going to be sent."""
        if self._fault.count and self.frames_sent >= self._fault.count:
            return False
        self._pending.append(frame)
        self.frames_sent += 1
        return True

    def write(self, frames: bytes, count: int) -> None:
        """Write ready frames at once, whole ones only; what is queued goes first."""
        self.flush()
        if self.open:
            self.connection.transport.write(frames)
            self.frames_sent += count

    def flush(self) -> None:
        """Write what was queued; cut off a client that does not keep up, or whose fault is due."""
        if not self._pending:
            return
        if self.open:
            self.connection.transport.write(b"".join(self._pending))
        self._pending.clear()
        if self._fault.name == "disconnect" and self.frames_sent >= self._fault.count:
            self.cut(f"fault: disconnect after {self._fault.count} frames", abruptly=True)
        elif self.backlog > self._queue_bytes:
            self.cut(f"slow consumer: {self.backlog} bytes behind")

    def cut(self, reason: str, *, abruptly: bool = False) -> None:
        """End the connection: with a close frame that says why, or at once."""
        if self.dropped:
            return
        self.dropped = reason
        if abruptly:
            # What was written is sent (close, not abort); what follows is not.
            self.connection.transport.close()
        else:
            self._closing = asyncio.get_running_loop().create_task(self._close(reason))

    async def _close(self, reason: str) -> None:
        # A client that does not read will not see the close frame either: then the transport goes.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self.connection.close(_POLICY_VIOLATION, reason)
        self.connection.transport.abort()
