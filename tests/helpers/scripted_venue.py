"""A venue whose books come over the stream, on one loopback port, under a test's hand.

REST answers are given by path; each message of a client is answered by a function of the test's, and the test
sends what it likes in between. What clients said is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.helpers.serving import serving

Answer = Callable[[dict[str, Any]], list[bytes]]


class ScriptedVenue:
    """`greeting` goes to everybody who connects; `answer` says what a message is answered with."""

    def __init__(self, rest: dict[str, bytes], answer: Answer, greeting: tuple[bytes, ...] = ()) -> None:
        self.said: list[dict[str, Any]] = []
        self.connects = 0
        self.port = 0
        self._rest = rest
        self._answer = answer
        self._greeting = greeting
        self._client: ServerConnection | None = None

    @property
    def url(self) -> str:
        """What a user gives as --url."""
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedVenue]:
        """Serve until the block ends."""
        async with serving(self._stream, self._http) as self.port:
            yield self

    async def send(self, *frames: bytes) -> None:
        """Send frames to who connected last."""
        assert self._client is not None
        for frame in frames:
            await self._client.send(frame, text=True)

    def _http(self, _client: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        body = self._rest.get(request.path.partition("?")[0])
        status, reason = (200, "OK") if body is not None else (404, "Not Found")
        headers = Headers({"Content-Type": "application/json", "Connection": "close"})
        return Response(status, reason, headers, body or b'{"msg":"no such path"}')

    async def _stream(self, client: ServerConnection) -> None:
        self.connects += 1
        self._client = client
        try:
            for frame in self._greeting:
                await client.send(frame, text=True)
            async for message in client:
                decoded = msgspec.json.decode(message)
                self.said.append(decoded)
                for frame in self._answer(decoded):
                    await client.send(frame, text=True)
        except ConnectionClosed:
            await asyncio.sleep(0)  # the test, or the client, has had enough
