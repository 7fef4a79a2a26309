"""`engine serve --as messages`: the local Messages API until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from engine.cli.common import emit

if TYPE_CHECKING:
    from engine.serve.messages import LocalMessages

DEFAULT_PORT = 9444


def serve_messages(*, host: str, port: int | None, faults: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Serve until a signal. Raises UsageError for a fault that is none, VenueError where it cannot listen."""
    from engine.serve.messages import LocalMessages

    api = LocalMessages(host=host, port=DEFAULT_PORT if port is None else port, faults=faults, seed=seed)
    asyncio.run(_serve(api, faults, as_json=as_json))


async def _serve(api: LocalMessages, faults: tuple[str, ...], *, as_json: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with api:
        export = f"export ANTHROPIC_BASE_URL={api.url}"
        result = {
            "http": api.url,
            "port": api.port,
            "as": "messages",
            "source": "a fixed word list, no model",
            "faults": list(faults),
            "export": export,
        }
        told = f" · faults: {', '.join(faults)}" if faults else ""
        text = f"{api.url}  speaks messages · answers by a fixed word list, no model{told}\n{export}"
        emit(result, as_json=as_json, text=text)
        await stopped.wait()
