"""Work in the background whose bug is somebody's business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any


def in_background(
    work: Coroutine[Any, Any, None], on_failure: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """A task; what it raises goes to `on_failure` instead of being printed at the end of the program."""

    def finished(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            on_failure(error)

    task = asyncio.ensure_future(work)
    task.add_done_callback(finished)
    return task


async def to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await what must not be left half done; who cancels us waits for it as well."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them, and wait until they are over."""
    left = list(tasks)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
