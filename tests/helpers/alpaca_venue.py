"""Alpaca's side of a connection under a test's hand: the handshake, lists, frames and answers of a test's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.helpers.alpaca import Message, book, json_frame, packed_frame
from tests.helpers.serving import serving

KEY, SECRET = "PKTESTTESTTEST", "a-secret-that-is-planted"


class FakeAlpaca:
    """Lets in who has KEY and SECRET, grants what `known` has, and keeps what it was asked."""

    def __init__(self, known: tuple[str, ...] = ("AAPL", "AMD", "BTC/USD"), refused: str = "") -> None:
        self.known = known
        self.refused = refused  # a list that no subscription may name
        self.paths: list[str] = []
        self.asked: list[dict[str, Any]] = []  # without the keys
        self.sent: list[bytes] = []
        self.answers: list[int | bytes] = []  # of REST requests, in order: refused with a status, or a body
        self.retry_after = ""  # that refusals of them come with
        self.requests: list[str] = []  # path and query of each
        self.keys: list[tuple[str | None, str | None]] = []  # that came with it
        self.port = 0
        self._lists: dict[str, list[str]] = {}
        self._clients: list[tuple[ServerConnection, bool]] = []

    @property
    def url(self) -> str:
        """What a user gives as --url."""
        return f"ws://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeAlpaca]:
        """Serve until the block ends."""
        async with serving(self._talk, self._answer_rest) as self.port:
            yield self

    async def send(self, *messages: Message) -> None:
        """One frame to everybody who is let in."""
        for client, packed in self._clients:
            await self._say(client, packed, *messages)

    async def drop(self) -> None:
        """Close every connection, as the venue does at night."""
        clients, self._clients = self._clients, []
        for client, _ in clients:
            await client.close()

    async def _say(self, client: ServerConnection, packed: bool, *messages: Message) -> None:  # noqa: FBT001
        frame = (packed_frame if packed else json_frame)(*messages)
        self.sent.append(frame)
        await client.send(frame if packed else frame.decode())

    def _answer_rest(self, _client: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        self.requests.append(request.path)
        self.keys.append((request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")))
        answer = self.answers.pop(0) if self.answers else b'{"trades":{},"next_page_token":null}'
        status, body = (200, answer) if isinstance(answer, bytes) else (answer, b'{"message":"refused"}')
        headers = Headers({"Content-Type": "application/json", "Connection": "close"})
        if status != 200 and self.retry_after:
            headers["Retry-After"] = self.retry_after
        return Response(status, "", headers, body)

    async def _talk(self, client: ServerConnection) -> None:
        assert client.request is not None
        self.paths.append(client.request.path)
        packed = client.request.headers.get("Content-Type") == "application/msgpack"
        self._lists = {}
        await self._say(client, packed, {"T": "success", "msg": "connected"})
        with suppress(ConnectionClosed):
            async for text in client:
                if packed:
                    assert isinstance(text, bytes)
                    await self._answer(client, packed, msgspec.msgpack.decode(text))
                else:
                    assert isinstance(text, str)
                    await self._answer(client, packed, msgspec.json.decode(text))
        self._clients = [each for each in self._clients if each[0] is not client]

    async def _answer(self, client: ServerConnection, packed: bool, said: dict[str, Any]) -> None:  # noqa: FBT001
        action = said.pop("action")
        if action == "auth":
            if (said["key"], said["secret"]) != (KEY, SECRET):
                await self._say(client, packed, {"T": "error", "code": 402, "msg": "auth failed"})
                return
            self._clients.append((client, packed))
            await self._say(client, packed, {"T": "success", "msg": "authenticated"})
            return
        self.asked.append({"action": action, **said})
        if self.refused in said:
            words = "invalid subscribe action for this feed"
            await self._say(client, packed, {"T": "error", "code": 410, "msg": words})
            return
        for name, symbols in said.items():
            there = [each for each in self._lists.get(name, []) if each not in symbols]
            granted = [each for each in symbols if each in self.known]
            self._lists[name] = there + granted if action == "subscribe" else there
        await self._say(client, packed, {"T": "subscription", **self._lists})
        if action == "subscribe" and "orderbooks" in said:
            for symbol in said["orderbooks"]:
                await self._say(client, packed, book([(10, 1)], [(11, 1)], reset=True, S=symbol))
