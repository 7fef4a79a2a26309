"""Our side of a WebSocket against a server that a test writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import ServerConnection

from engine.live.transport import Socket, open_socket
from tests.helpers.serving import serving
from tests.helpers.waiting import LIMIT_S

Talk = Callable[[ServerConnection], Awaitable[None]]


def meet(talk: Talk, story: Callable[[Socket], Awaitable[None]]) -> str:
    """A socket to a server that talks; the words for its end."""

    async def run() -> str:
        async with serving(talk) as port, asyncio.timeout(LIMIT_S):
            opened = await open_socket(f"ws://127.0.0.1:{port}", {}, open_s=5.0, close_s=1.0)
            opened.listen(lambda _frame: None)
            receiving = asyncio.ensure_future(opened.receive())
            try:
                await story(opened)
            finally:
                await opened.leave()
            return await receiving

    return asyncio.run(run())


async def stay(client: ServerConnection) -> None:
    """A server that waits for the other side's close."""
    await client.wait_closed()


async def until_closed(opened: Socket) -> None:
    """Wait until the other side has closed."""
    while await opened.say("still there?"):  # noqa: ASYNC110  neither library has an event for it
        await asyncio.sleep(0.005)
