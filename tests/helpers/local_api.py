"""The local Messages API in a thread of its own, for code that waits for its answers in this one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.serve.messages import LocalMessages

PATIENCE_S = 20.0


@contextmanager
def local_api(**dials: Any) -> Iterator[LocalMessages]:
    """A server with these dials, while the block runs; its counters may be read meanwhile."""
    ready = threading.Event()
    api = LocalMessages(**dials)
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with api:
            stop.append((asyncio.get_running_loop(), asyncio.Event()))
            ready.set()
            await stop[0][1].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S), "the local API did not start"
    try:
        yield api
    finally:
        loop, event = stop[0]
        loop.call_soon_threadsafe(event.set)
        thread.join(PATIENCE_S)
