"""A `websockets` connection that hands frames on where they arrive, without a queue in between.

`recv` costs a queue, a coroutine and a wake-up of the event loop per burst: about a third of the time of
receiving a frame, and tens of microseconds of its way to the parser. `connect` takes a subclass of its
connection (`create_connection`), and this one looks at each event before the queue does: a data frame that
is a whole message goes straight to `take`.

Order is kept by counting. A message goes the short way only when everything that went into the queue has
been taken out of it: frames that came before anyone listened, and messages in fragments, which only the
queue can join. So `recv` must be served all the same, and if a later `websockets` calls its hook by another
name, every frame comes through `recv`: slower, not wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    WebSocketException,
)
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from engine.live.refusal import NotOpened, is_loopback
from engine.live.transport import FRAME_BYTES_MAX, broken_words, closed_words

_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY


class DirectConnection(ClientConnection):
    """See engine.live.transport.Socket; `listen` comes before `receive`."""

    close_s = 0.0
    _take: Callable[[bytes], None] | None = None
    _queued = 0  # messages that went into the queue, and
    _taken = 0  # those that came out of it
    _failure: BaseException | None = None  # what `take` raised; the connection is closed then

    def listen(self, take: Callable[[bytes], None]) -> None:
        """From now on messages may go straight to `take`."""
        self._take = take

    async def receive(self) -> str:
        """Serve the queue until the socket has ended."""
        try:
            while True:
                frame = await self.recv(decode=False)
                assert self._take is not None
                self._take(frame)
                self._taken += 1
        except ConnectionClosed as error:
            close = error.rcvd
            return broken_words(error.__cause__) if close is None else closed_words(close.code, close.reason)
        finally:
            if self._failure is not None:
                raise self._failure

    async def say(self, message: str | bytes) -> bool:
        """Send."""
        try:
            await self.send(message)
        except ConnectionClosed:
            return False  # the receiving side says why
        return True

    async def answers(self, pong_s: float) -> bool:
        """Ping, and wait for the pong."""
        try:
            async with asyncio.timeout(pong_s):
                await (await self.ping())
        except (TimeoutError, ConnectionClosed):
            return False
        return True

    async def leave(self, patience_s: float | None = None) -> None:
        """Close, or abort when that takes too long."""
        self.close_timeout = self.close_s = self.close_s if patience_s is None else patience_s
        try:
            async with asyncio.timeout(self.close_timeout):
                await self.close()
        except TimeoutError:
            self.transport.abort()

    def process_event(self, event: Request | Response | Frame) -> None:
        """As the library's, but for messages that need not wait."""
        if type(event) is Frame and ((opcode := event.opcode) is _TEXT or opcode is _BINARY):
            if self._take is not None and event.fin and self._queued == self._taken:
                try:
                    self._take(bytes(event.data))
                except Exception as error:  # noqa: BLE001  raised again by the receive loop
                    # asyncio would print it and call the connection lost.
                    self._take, self._failure = None, error
                    self.transport.abort()
                return
            self._queued += 1  # the first fragment counts for its message
        elif type(event) is Frame and event.opcode is Opcode.CLOSE:
            # Who closes and then does not hang up is not waited for.
            asyncio.get_running_loop().call_later(self.close_s, self.transport.abort)
        super().process_event(event)


async def open_socket(
    url: str, headers: dict[str, str], *, open_s: float, close_s: float
) -> DirectConnection:
    """One attempt to open a WebSocket; raises one of engine.live.refusal's `OPENING_ERRORS`."""
    try:
        # Awaited, `connect` makes one attempt: its own way of reconnecting would leave no rows.
        opened = await connect(
            url,
            additional_headers=headers,
            compression=None,
            max_size=FRAME_BYTES_MAX,  # the default, 1 MiB, kills a connection that brings a whole book
            max_queue=None,
            open_timeout=open_s,
            close_timeout=close_s,
            ping_interval=None,
            proxy=None if is_loopback(url) else True,
            create_connection=DirectConnection,
        )
    except InvalidStatus as error:
        raise NotOpened(status=error.response.status_code, headers=error.response.headers) from None
    except InvalidMessage as error:
        raise NotOpened(f"does not speak HTTP ({error})") from None
    except InvalidHandshake as error:
        raise NotOpened(f"refused the WebSocket ({error})") from None
    except InvalidProxy:  # a password may stand in it
        raise NotOpened("cannot be reached (the proxy that the environment names has no address)") from None
    except WebSocketException as error:
        raise NotOpened(f"cannot be reached ({error})") from None
    assert isinstance(opened, DirectConnection)
    opened.close_s = close_s
    return opened
