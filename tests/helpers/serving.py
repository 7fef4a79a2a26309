"""A WebSocket server on a loopback port, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


@asynccontextmanager
async def serving(
    talk: Callable[[ServerConnection], Awaitable[None]],
    answer: Callable[[ServerConnection, Request], Response | None] | None = None,
    port: int = 0,
) -> AsyncIterator[int]:
    """Gives the port. `talk` has each connection; `answer` each request before it is one."""
    server = await serve(
        talk,
        "127.0.0.1",
        port,
        process_request=answer,
        compression=None,
        ping_interval=None,
        close_timeout=0.2,
    )
    try:
        yield next(iter(server.sockets)).getsockname()[1]
    finally:
        server.close(close_connections=True)
        await server.wait_closed()
