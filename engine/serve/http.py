"""A small HTTP/1.1 server for local stand-ins: requests with bodies in, good or deliberately bad answers out.

The venue's REST side rides on its WebSocket server, which takes GET alone; an API that is posted to needs
this. One handler is called with every request, as an `Exchange`: it says how the answer goes out (`send`),
or how it goes wrong (`send_part`, `trickle`, `hang`). Connections are kept alive, and requests on one are
answered in their order.

Never does: TLS, chunked or compressed request bodies, any limit on idle connections. It is for loopback.

A body above `most_bytes` is read and thrown away, not kept: a client that is still writing would otherwise
meet a reset connection instead of the answer that tells it why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from engine.model.errors import VenueError
from engine.serve.rest import Reply

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

MOST_BYTES = 32 << 20
_MOST_HEAD_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10
_LENGTH_DIGITS = 18
_PHRASES = {529: "Overloaded"}


class HttpRequest(NamedTuple):
    """One request. Names of headers are in lower case; `too_large` has an empty body."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    too_large: bool = False


class Exchange:
    """One request and the way of its answer: exactly one of the four methods is called."""

    def __init__(
        self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.ends = request.headers.get("connection", "").lower() == "close"
        self._reader, self._writer = reader, writer

    async def send(self, reply: Reply) -> None:
        """The whole answer."""
        self._writer.write(self._head(reply) + reply.body)
        await self._writer.drain()

    async def send_part(self, reply: Reply, count: int) -> None:
        """The first `count` bytes of a body that was announced in full; then the connection ends."""
        self.ends = True
        self._writer.write(self._head(reply) + reply.body[:count])
        await self._writer.drain()

    async def trickle(self, reply: Reply, pause_s: float) -> None:
        """The body byte by byte, with a pause before each."""
        self._writer.write(self._head(reply))
        for at in range(len(reply.body)):
            await asyncio.sleep(pause_s)
            self._writer.write(reply.body[at : at + 1])
            await self._writer.drain()

    async def hang(self) -> None:
        """No answer: waits until the client has gone."""
        self.ends = True
        while await self._reader.read(_CHUNK_BYTES):
            pass

    def _head(self, reply: Reply) -> bytes:
        phrase = _PHRASES.get(reply.status) or HTTPStatus(reply.status).phrase
        lines = [f"HTTP/1.1 {reply.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        lines += [f"Content-Length: {len(reply.body)}"]
        lines += ["Connection: close"] if self.ends else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class HttpServer:
    """Listens while it is entered: `async with HttpServer(handler) as server: server.url`.

    Args:
        handler: called with every request that could be read.
        host, port: where to listen; port 0 takes a free one, then `port` says which.
        most_bytes: of a body; above it the handler gets `too_large`.
    """

    def __init__(
        self,
        handler: Callable[[Exchange], Awaitable[None]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.host, self.port = host, port
        self._handler = handler
        self._most_bytes = most_bytes
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """Where clients send requests, without a path."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(
                self._connected, self.host, self.port, limit=_MOST_HEAD_BYTES
            )
        except OSError as error:
            raise VenueError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}",
                hint="choose another --port; 0 takes a free one",
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and end every connection, answered or not. A handler that failed is raised here."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        if self._failure is not None:
            raise self._failure

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own, not one that asyncio makes of a coroutine: `close` cancels and awaits it.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and self._failure is None:
            self._failure = task.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Clients hang up in the middle of anything; that is their right and no news.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                while await self._one(reader, writer):
                    pass
            finally:
                writer.close()
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is at its end."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            request = await self._read(head, reader, writer)
        except asyncio.LimitOverrunError:
            await _refuse(writer, 431, f"the head of a request has at most {_MOST_HEAD_BYTES} bytes")
            return False
        except _Unreadable as reason:
            await _refuse(writer, reason.status, str(reason))
            return False
        exchange = Exchange(request, reader, writer)
        await self._handler(exchange)
        return not exchange.ends

    async def _read(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> HttpRequest:
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise _Unreadable(400, f'"{first[:80]}" is no request line of HTTP/1.1')
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise _Unreadable(400, f'"{line[:80]}" is no header')
            headers[name.lower()] = value.strip()
        if "transfer-encoding" in headers:
            raise _Unreadable(411, "a body needs a Content-Length; chunks are not read here")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > _LENGTH_DIGITS:
            raise _Unreadable(400, f'Content-Length: "{length[:80]}" is no number')
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        too_large = int(length) > self._most_bytes
        body = await _skip(reader, int(length)) if too_large else await reader.readexactly(int(length))
        try:
            url = urlsplit(words[1])
        except ValueError as error:
            raise _Unreadable(400, f'"{words[1][:80]}": {error}') from None
        return HttpRequest(words[0], url.path, url.query, headers, body, too_large)


class _Unreadable(Exception):
    """What was sent is no request that this server reads; never leaves this module."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def _skip(reader: asyncio.StreamReader, count: int) -> bytes:
    while count > 0:
        data = await reader.read(min(count, _CHUNK_BYTES))
        if not data:
            raise asyncio.IncompleteReadError(b"", count)
        count -= len(data)
    return b""


async def _refuse(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    writer.write(
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()
