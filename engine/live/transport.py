"""A `websockets` connection that hands frames on where they arrive, without a queue in between.

`recv` costs a queue, a coroutine and a wake-up of the event loop per burst: about a third of the time of
receiving a frame, and tens of microseconds of its way to the parser. `connect` takes a subclass of its
connection (`create_connection`), and this one looks at each event before the queue does: a data frame that
is a whole message goes straight to `take`.

Order is kept by counting. A message goes the short way only when everything that went into the queue has
been taken out of it: frames that came before anyone listened, and messages in fragments, which only the
queue can join. So `recv` must be served all the same, and if a later `websockets` calls its hook by another
name, every frame comes through `recv`: slower, not wrong.

Imported when a socket is opened; importing `websockets` takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from engine.live.refusal import is_loopback

FRAME_BYTES_MAX = 64 << 20  # a whole book in one frame may be several MB; the default, 1 MiB, kills it
_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY


class DirectConnection(ClientConnection):
    """Call `listen` once; then take what `recv` brings, and say so with `taken`."""

    _take: Callable[[bytes], None] | None = None
    _queued = 0  # messages that went into the queue, and
    _taken = 0  # those that came out of it
    failure: BaseException | None = None  # what `take` raised; the connection is closed then

    def listen(self, take: Callable[[bytes], None]) -> None:
        """From now on messages may go straight to `take`."""
        self._take = take

    def taken(self) -> None:
        """One message has been taken from `recv` and worked on."""
        self._taken += 1

    def process_event(self, event: Request | Response | Frame) -> None:
        """As the library's, but for messages that need not wait."""
        if type(event) is Frame and ((opcode := event.opcode) is _TEXT or opcode is _BINARY):
            if self._take is not None and event.fin and self._queued == self._taken:
                try:
                    self._take(bytes(event.data))
                except Exception as error:  # noqa: BLE001  raised again by the receive loop
                    # asyncio would print it and call the connection lost.
                    self._take, self.failure = None, error
                    self.transport.abort()
                return
            self._queued += 1  # the first fragment counts for its message
        super().process_event(event)


async def open_socket(
    url: str, headers: dict[str, str], *, open_s: float, close_s: float
) -> DirectConnection:
    """One attempt to open a WebSocket; raises one of engine.live.refusal's `opening_errors`."""
    # Awaited, `connect` makes one attempt: its own way of reconnecting would leave no rows.
    opened = await connect(
        url,
        additional_headers=headers,
        compression=None,
        max_size=FRAME_BYTES_MAX,
        max_queue=None,
        open_timeout=open_s,
        close_timeout=close_s,
        ping_interval=None,
        proxy=None if is_loopback(url) else True,
        create_connection=DirectConnection,
    )
    assert isinstance(opened, DirectConnection)
    return opened
