"""A venue that does nothing but send: Binance trade frames, made before the clock starts.

    python -m bench.sender flood COUNT            as fast as the socket takes them
    python -m bench.sender pace COUNT PER_SECOND [FIRST]
                                                  each at its scheduled time, whatever happened before; the
                                                  first replies have a percentile of their own

It answers the one REST request that a recorder asks (exchangeInfo), sends the frames to whoever opens
`/stream` or `/ws`, and in `pace` takes replies on `/orders`: one message of one or several trade ids, each
timed against the moment its frame was *scheduled*, so that a stall counts in full for every frame behind it.
First line printed: the port. Last line: one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from bench.common import percentile

FRAMES_PER_WRITE = 64
PAUSE_BEFORE_S = 0.3  # the receiver may finish opening
IDLE_END_S = 2.0  # after the last frame, how long replies are waited for
FIRST_ID = 1_000_000
EXCHANGE_INFO = {
    "timezone": "UTC",
    "serverTime": 1_717_200_000_000,
    "rateLimits": [],
    "exchangeFilters": [],
    "symbols": [
        {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": "0.01",
                    "maxPrice": "1000000.00",
                    "tickSize": "0.01",
                },
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
                {"filterType": "NOTIONAL", "minNotional": "5.0", "applyMinToMarket": True},
            ],
        }
    ],
}


def frames(count: int) -> list[bytes]:
    """Combined-stream trade frames as they stand on the wire, WebSocket header included."""
    encoded = []
    now_ms = int(time.time() * 1000)
    for number in range(count):
        trade = {
            "e": "trade",
            "E": now_ms + number // 5,
            "s": "BTCUSDT",
            "t": FIRST_ID + number,
            "p": f"{60_000 + (number * 7) % 997 / 100:.2f}000000",
            "q": f"{0.001 + number % 50 / 1000:.8f}",
            "T": now_ms + number // 5,
            "m": number % 2 == 0,
            "M": True,
        }
        payload = json.dumps({"stream": "btcusdt@trade", "data": trade}, separators=(",", ":")).encode()
        encoded.append(Frame(Opcode.TEXT, payload).serialize(mask=False))
    return encoded


class Sender:
    """One flood or one paced series to one receiver, and the replies to it."""

    def __init__(self, count: int, per_second: float) -> None:
        self.frames = frames(count)
        self.interval_s = 1.0 / per_second if per_second else 0.0
        self.scheduled: list[float] = []
        self.latencies_s: list[float] = []
        self.warm_up = 0  # replies at the beginning that have a percentile of their own
        self.sending_s = 0.0
        self.finished = asyncio.Event()

    async def handle(self, socket: ServerConnection) -> None:
        """A client: the receiver of frames, or the sender of orders."""
        assert socket.request is not None
        try:
            if socket.request.path.startswith("/orders"):
                await self._take_orders(socket)
            else:
                await self._send(socket)
                await socket.wait_closed()
        except ConnectionClosed:
            pass  # a receiver that has what it wants
        finally:
            if not socket.request.path.startswith("/orders"):
                self.finished.set()

    async def _take_orders(self, socket: ServerConnection) -> None:
        clock = time.perf_counter
        while True:
            message = await socket.recv(decode=False)
            now = clock()
            for text in message.split(b","):
                self.latencies_s.append(now - self.scheduled[int(text) - FIRST_ID])

    async def _send(self, socket: ServerConnection) -> None:
        await asyncio.sleep(PAUSE_BEFORE_S)
        began = time.perf_counter()
        if self.interval_s:
            await self._pace(socket, began)
        else:
            for start in range(0, len(self.frames), FRAMES_PER_WRITE):
                socket.transport.write(b"".join(self.frames[start : start + FRAMES_PER_WRITE]))
                await socket.drain()
            self._sent(began)

    def _sent(self, began: float) -> None:
        self.sending_s = time.perf_counter() - began
        print("sent", flush=True)

    async def _pace(self, socket: ServerConnection, began: float) -> None:
        self.scheduled = [began + number * self.interval_s for number in range(len(self.frames))]
        clock, write = time.perf_counter, socket.transport.write
        for when, frame in zip(self.scheduled, self.frames, strict=True):
            # Sleeping is too coarse for 200 us; yielding lets the replies in.
            while clock() < when:  # noqa: ASYNC110  the wait is for a time, and shorter than any timer
                await asyncio.sleep(0)
            write(frame)
        self._sent(began)
        last = -1
        while len(self.latencies_s) != last:
            last = len(self.latencies_s)
            await asyncio.sleep(IDLE_END_S)
        await socket.close()

    def result(self) -> dict[str, Any]:
        """What was sent, and how long replies took, in microseconds."""
        ordered = sorted(self.latencies_s[self.warm_up :])
        result: dict[str, Any] = {
            "sent": len(self.frames),
            "sending_seconds": self.sending_s,
            "replies": len(self.latencies_s),
        }
        if self.warm_up:
            result["first_p99_us"] = percentile(sorted(self.latencies_s[: self.warm_up]), 0.99) * 1e6
        if ordered:
            result |= {
                "p50_us": percentile(ordered, 0.50) * 1e6,
                "p99_us": percentile(ordered, 0.99) * 1e6,
                "max_us": ordered[-1] * 1e6,
            }
        return result


def answer_rest(_socket: ServerConnection, request: Request) -> Response | None:
    """exchangeInfo, and 404 for what else a plain GET may ask; None for a WebSocket."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return None
    known = request.path.startswith("/api/v3/exchangeInfo")
    body = json.dumps(EXCHANGE_INFO if known else {"code": -1, "msg": "not here"}).encode()
    status = HTTPStatus.OK if known else HTTPStatus.NOT_FOUND
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return Response(status.value, status.phrase, headers, body)


async def main() -> None:
    """Serve one receiver, then say what happened."""
    mode, count = sys.argv[1], int(sys.argv[2])
    sender = Sender(count, float(sys.argv[3]) if mode == "pace" else 0.0)
    sender.warm_up = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    async with serve(
        sender.handle, "127.0.0.1", 0, process_request=answer_rest, compression=None, ping_interval=None
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await sender.finished.wait()
        print(json.dumps(sender.result()), flush=True)
        server.close(close_connections=True)


if __name__ == "__main__":
    asyncio.run(main())
