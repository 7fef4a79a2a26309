"""How fast is a receiver that only decodes, or that only replies? The other side of the two network figures.

    python -m bench.bare_receiver decode PORT COUNT   websockets + msgspec, nothing kept
    python -m bench.bare_receiver reply PORT COUNT    the same, and the trade's id back on /orders

Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import msgspec
from websockets.asyncio.client import connect


class Trade(msgspec.Struct):
    """The fields of a trade frame that anyone would use."""

    t: int
    p: str
    q: str
    T: int
    m: bool


class Combined(msgspec.Struct):
    """A frame of a combined stream."""

    stream: str
    data: Trade


async def decode(port: str, count: int) -> dict[str, float]:
    """Seconds from the first decoded frame to the last."""
    decode_frame = msgspec.json.Decoder(Combined).decode
    clock = time.perf_counter
    first = last = 0.0
    url = f"ws://127.0.0.1:{port}/stream?streams=btcusdt@trade"
    async with connect(url, compression=None, max_queue=None, ping_interval=None, proxy=None) as socket:
        receive = socket.recv
        for _ in range(count):
            frame = decode_frame(await receive(False))
            last = clock()
            first = first or last
        assert frame.data.p
    return {"events": count, "seconds": last - first}


async def reply(port: str, count: int) -> dict[str, float]:
    """Every trade's id, sent back as soon as its frame is decoded."""
    decode_frame = msgspec.json.Decoder(Combined).decode
    base = f"ws://127.0.0.1:{port}"
    options: dict[str, Any] = {"compression": None, "max_queue": None, "ping_interval": None, "proxy": None}
    async with (
        connect(f"{base}/orders", **options) as orders,
        connect(f"{base}/stream?streams=btcusdt@trade", **options) as socket,
    ):
        receive, send = socket.recv, orders.send
        for _ in range(count):
            frame = decode_frame(await receive(False))
            await send(b"%d" % frame.data.t)
    return {"events": count}


if __name__ == "__main__":
    run = {"decode": decode, "reply": reply}[sys.argv[1]]
    print(json.dumps(asyncio.run(run(sys.argv[2], int(sys.argv[3])))))
