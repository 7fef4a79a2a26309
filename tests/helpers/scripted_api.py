"""A server on loopback that answers each POST with the next act of a script, and keeps what it was sent.

It is for tests of the edge alone, which need acts in an exact order; nothing here reads a question.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

Act = Callable[[asyncio.StreamWriter], Awaitable[bool]]  # True: the connection stays open


def message(*blocks: dict[str, Any], stop_reason: str = "end_turn", **usage: int) -> bytes:
    """A body as the Messages API gives it; 100 tokens in and 10 out unless said otherwise."""
    counts = {"input_tokens": 100, "output_tokens": 10, **usage}
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "content": list(blocks),
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": counts,
        }
    ).encode()


def text(words: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": words}


def error(kind: str, words: str, **details: str) -> bytes:
    """An error's body."""
    said: dict[str, Any] = {"type": kind, "message": words}
    if details:
        said["details"] = details
    return json.dumps({"type": "error", "error": said, "request_id": "req_e"}).encode()


def answers(body: bytes, status: int = 200, **headers: str) -> Act:
    """An act that answers with these bytes; underscores in header names become hyphens."""

    async def act(writer: asyncio.StreamWriter) -> bool:
        lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", "content-type: application/json"]
        named = {"request_id": "req_1", **headers}
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return True

    return act


async def drops(writer: asyncio.StreamWriter) -> bool:
    """An act that closes the connection in the middle of the headers."""
    writer.write(b"HTTP/1.1 200 Said\r\ncontent-le")
    await writer.drain()
    return False


def trickles(then: Callable[[], None]) -> Act:
    """An act that sends the first bytes of a body, calls `then`, and never sends the rest."""

    async def act(writer: asyncio.StreamWriter) -> bool:
        writer.write(b'HTTP/1.1 200 Said\r\ncontent-length: 999\r\n\r\n{"id')
        await writer.drain()
        then()
        await asyncio.Event().wait()
        return False

    return act


def waits_for(gate: asyncio.Event, act: Act) -> Act:
    """The same act, once the gate is open."""

    async def later(writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await act(writer)

    return later


class ScriptedApi:
    """`async with ScriptedApi(acts) as api`: `api.url`; `api.heard` has (headers, body) of every request.

    The last act is repeated for ever.
    """

    def __init__(self, acts: Sequence[Act]) -> None:
        self.heard: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.most_at_once = 0
        self.url = ""
        self._at_once = 0
        self._arrival = asyncio.Event()
        self._acts = list(acts)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def arrived(self, count: int) -> None:
        """Return once so many requests have come."""
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                self._arrival.clear()
                await self._arrival.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client went, or the test is over
        finally:
            self._connections.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        assert first.startswith("POST /v1/messages ")
        act = self._acts[min(len(self.heard), len(self._acts) - 1)]
        self.heard.append((headers, json.loads(body)))
        self._arrival.set()
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return await act(writer)
        finally:
            self._at_once -= 1
