"""What every local HTTP endpoint of this folder is beside its answers: a server that counts who came."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from engine.serve.http import HttpServer


class LocalApi:
    """`async with` it, and it listens. Whoever extends it answers, and calls `_count` for what counts.

    Attributes:
        requests: what came and counts, however it ended.
    """

    def __init__(self, http: HttpServer) -> None:
        self.requests = 0
        self._http = http
        self._came = asyncio.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._http.port

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    def _count(self) -> None:
        """One request more; who waits goes on when the caller waits for something itself."""
        self.requests += 1
        self._came.set()

    async def wait_requests(self, count: int) -> None:
        """Wait until so many requests have come."""
        while self.requests < count:
            self._came.clear()
            await self._came.wait()
