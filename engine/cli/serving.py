"""Runs a local endpoint in the foreground: it says where it is, and serves until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.serve.local_api import LocalApi


def serve_until_signal(api: LocalApi, say: Callable[[], None]) -> None:
    """`say` is called once it listens. Raises VenueError where it cannot."""
    asyncio.run(_serve(api, say))


async def _serve(api: LocalApi, say: Callable[[], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with api:
        say()
        await stopped.wait()
