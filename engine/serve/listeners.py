"""Who listens to which stream of a local venue."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, KeysView, Sequence
from typing import Generic

from engine.serve.client import Client, S


class Listeners(Generic[S]):
    """Clients by stream, in the order in which they joined it. A stream without any is not `in` it."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[int, Client[S]]] = {}
        self._joined = asyncio.Event()

    def __contains__(self, stream: object) -> bool:
        return stream in self._streams

    def __len__(self) -> int:
        """How many clients listen to anything."""
        return len({number for clients in self._streams.values() for number in clients})

    def streams(self) -> KeysView[str]:
        """Streams that somebody listens to."""
        return self._streams.keys()

    def of(self, stream: str) -> Iterable[Client[S]]:
        """Who listens to a stream."""
        return self._streams.get(stream, {}).values()

    def join(self, client: Client[S], streams: Sequence[str]) -> None:
        """A client listens to these from now on."""
        for stream in streams:
            self._streams.setdefault(stream, {})[client.number] = client
        if streams:
            self._joined.set()

    def leave(self, client: Client[S], streams: Iterable[str]) -> None:
        """A client listens to these no more."""
        for stream in streams:
            clients = self._streams.get(stream, {})
            clients.pop(client.number, None)
            if not clients:
                self._streams.pop(stream, None)

    async def wait(self, count: int) -> None:
        """Wait until so many clients listen."""
        while len(self) < count:
            self._joined.clear()
            await self._joined.wait()
