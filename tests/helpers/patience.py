"""A scene played to its end, or given up when it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE_S = 180.0  # a hang, on a machine with other work


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Play a scene; TimeoutError when it takes too long."""

    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene()

    asyncio.run(patiently())
