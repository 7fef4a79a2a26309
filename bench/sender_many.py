"""A venue of many symbols and several connections that sends trades on schedule, and accounts for them.

    python -m bench.sender_many SYMBOLS CONNECTIONS PER_SECOND SECONDS [QUEUE_MB]

It answers exchangeInfo, waits until so many connections are open, then sends PER_SECOND trades, shared out
evenly and in turn over the symbols of each connection, every frame stamped (microseconds) with the time when
it was due. With QUEUE_MB a connection that lets more than that pile up is closed (1008), as venues do, and
what it misses until it is back is counted; without, the sender waits for the reader. First line printed: the
port. Last line: one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from bench.sender import EXCHANGE_INFO

TICK_S = 0.004
_TRADE = (
    b'{"stream":"%b@trade","data":{"e":"trade","E":%d,"s":"%b","t":%d,"p":"%d.%02d000000",'
    b'"q":"0.%05d000","T":%d,"m":%b,"M":true}}'
)
SYMBOL: dict[str, Any] = EXCHANGE_INFO["symbols"][0]  # type: ignore[index]


def symbols_of(count: int) -> list[str]:
    """SYM000USDT and so on."""
    return [f"SYM{number:03d}USDT" for number in range(count)]


class Many:
    """The schedule, who listens, and what became of each trade."""

    def __init__(self, symbols: int, connections: int, per_second: float, seconds: float, queue: int) -> None:
        self.symbols = symbols_of(symbols)
        self.connections = connections
        self.per_second = per_second
        self.total = int(per_second * seconds)
        self.queue = queue
        self.next_id = dict.fromkeys(self.symbols, 1)
        self.sent = 0
        self.unsent = 0  # of symbols that nobody listened to at the moment
        self.closed = 0
        self.late_s = 0.0  # the most that a tick was late
        self.listeners: dict[str, ServerConnection] = {}
        self.opened = 0
        self.changed = asyncio.Event()
        self.cutting: list[asyncio.Task[None]] = []

    async def handle(self, socket: ServerConnection) -> None:
        """A connection, for as long as it is open."""
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        streams = unquote(query.get("streams", [""])[0])
        try:
            if not streams:
                streams = await self._subscribed(socket)
            for stream in streams.split("/"):
                self.listeners[stream.partition("@")[0].upper()] = socket
            self.opened += 1
            self.changed.set()
            async for _ in socket:
                pass
        except ConnectionClosed:
            pass
        finally:
            for symbol in [symbol for symbol, one in self.listeners.items() if one is socket]:
                del self.listeners[symbol]

    async def _subscribed(self, socket: ServerConnection) -> str:
        request = json.loads(await socket.recv())
        await socket.send(json.dumps({"result": None, "id": request["id"]}))
        return "/".join(request["params"])

    async def run(self) -> None:
        """Wait for everybody, then send on schedule."""
        while self.opened < self.connections:
            self.changed.clear()
            await self.changed.wait()
        await asyncio.sleep(0.5)
        began_ns = time.time_ns()
        period_ns = 1e9 / self.per_second
        done = 0
        while done < self.total:
            now_ns = time.time_ns()
            due = min(self.total, int((now_ns - began_ns) / period_ns) + 1)
            if due > done:
                self.late_s = max(self.late_s, (now_ns - began_ns - done * period_ns) / 1e9)
                await self._send(done, due, began_ns, period_ns)
                done = due
            await asyncio.sleep(TICK_S)
        if self.closed:  # one more of each, when everybody is back: what was missed before has an end then
            while len(self.listeners) < len(self.symbols):  # noqa: ASYNC110  has no event
                await asyncio.sleep(TICK_S)
            await self._send(done, done + len(self.symbols), began_ns, period_ns)

    async def _send(self, start: int, end: int, began_ns: int, period_ns: float) -> None:
        parts: dict[ServerConnection, list[bytes]] = {}
        count = len(self.symbols)
        for index in range(start, end):
            symbol = self.symbols[index % count]
            number = self.next_id[symbol]
            self.next_id[symbol] = number + 1
            socket = self.listeners.get(symbol)
            if socket is None:
                self.unsent += 1
                continue
            stamp = (began_ns + round(index * period_ns)) // 1_000
            ticks = 6_700_000 + index * 7 % 9_973
            payload = _TRADE % (
                symbol.lower().encode(),
                stamp,
                symbol.encode(),
                number,
                ticks // 100,
                ticks % 100,
                1 + index % 9_999,
                stamp,
                b"true" if index % 3 else b"false",
            )
            parts.setdefault(socket, []).append(b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload)
            self.sent += 1
        for socket, frames in parts.items():
            if not socket.transport.is_closing():
                socket.transport.write(b"".join(frames))
            if self.queue and socket.transport.get_write_buffer_size() > self.queue:
                self.closed += 1
                for symbol in [symbol for symbol, one in self.listeners.items() if one is socket]:
                    del self.listeners[symbol]
                self.cutting.append(asyncio.ensure_future(_cut(socket)))
            elif not self.queue:
                while socket.transport.get_write_buffer_size() > 8 << 20:  # noqa: ASYNC110  has no event
                    await asyncio.sleep(TICK_S)


async def _cut(socket: ServerConnection) -> None:
    await socket.close(1008, "slow consumer")


def answer_rest(symbols: list[str], request: Request) -> Response | None:
    """ExchangeInfo of the symbols; None for a WebSocket."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return None
    info = {**EXCHANGE_INFO, "symbols": [{**SYMBOL, "symbol": symbol} for symbol in symbols]}
    body = json.dumps(info).encode()
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, headers, body)


async def main() -> None:
    """Serve, send, say what happened."""
    symbols, connections = int(sys.argv[1]), int(sys.argv[2])
    queue = int(float(sys.argv[5]) * (1 << 20)) if len(sys.argv) > 5 else 0
    many = Many(symbols, connections, float(sys.argv[3]), float(sys.argv[4]), queue)
    async with serve(
        many.handle,
        "127.0.0.1",
        0,
        process_request=lambda _socket, request: answer_rest(many.symbols, request),
        compression=None,
        ping_interval=None,
        close_timeout=5.0,
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await many.run()
        result = {
            "sent": many.sent,
            "unsent": many.unsent,
            "closed": many.closed,
            "late_s": round(many.late_s, 3),
            "ids": [many.next_id[symbol] - 1 for symbol in many.symbols],
        }
        print(json.dumps(result), flush=True)
        await asyncio.sleep(3_600)  # whoever started us takes us down: readers may still be reading


if __name__ == "__main__":
    asyncio.run(main())
