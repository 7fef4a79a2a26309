"""An HTTP endpoint that answers by a script, and a poller on a clock that a test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from engine.live.address import Address
from engine.live.clock import Sequencer
from engine.live.poller import PollConfig, Poller
from engine.model.rows import RowBuffer
from engine.serve.http import Exchange, HttpRequest, HttpServer
from engine.serve.rest import Reply
from tests.helpers.rows import Row, rows_of_buffer

LIMIT_S = 20.0
Answerer = Callable[[HttpRequest], Reply]


def item(number: int, **changes: Any) -> dict[str, Any]:
    """A headline as an endpoint shows it."""
    return {
        "datetime": 1_717_200_000_000 + number,
        "headline": f"Headline {number}",
        "url": f"https://news.example/{number}",
        **changes,
    }


def shows(*numbers: int, headers: dict[str, str] | None = None) -> Reply:
    """A good answer with these headlines."""
    body = msgspec.json.encode([item(number) for number in numbers])
    return Reply(200, [("Content-Type", "application/json"), *(headers or {}).items()], body)


def fails(status: int, headers: dict[str, str] | None = None, body: bytes = b"no") -> Reply:
    """An answer that is none."""
    return Reply(status, list((headers or {}).items()), body)


class Endpoint:
    """Answers each request with the next of the script; the last one for ever."""

    def __init__(self, *script: Reply | Answerer | None) -> None:
        """None: no answer at all."""
        self.script = script
        self.requests: list[HttpRequest] = []
        self.server = HttpServer(self._handle)

    async def _handle(self, exchange: Exchange) -> None:
        step = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(exchange.request)
        if step is None:
            await exchange.hang()
        else:
            await exchange.send(step if isinstance(step, Reply) else step(exchange.request))


class Polled:
    """A poller whose waits end at once, and are written down."""

    def __init__(self, url: str, polls: int, **options: Any) -> None:
        self.config = PollConfig(Address(url), **options)
        self.polls = polls
        self.waits: list[float] = []
        self.now_s = 100.0
        self.turns = 0
        self.buffer = RowBuffer()
        self.done = asyncio.Event()
        self.poller = Poller(
            self.config,
            Sequencer(),
            self.buffer,
            self._turn,
            chance=lambda: 1.0,
            sleep=self._sleep,
            clock=lambda: self.now_s,
        )

    @property
    def rows(self) -> list[Row]:
        """All rows so far."""
        return rows_of_buffer(self.buffer)

    @property
    def story(self) -> list[str]:
        """What the rows say: events, and headlines by their numbers."""
        return [
            row.event or row.data.get("headline", row.kind.name).removeprefix("Headline ")
            for row in self.rows
        ]

    async def _sleep(self, seconds: float) -> None:
        if len(self.waits) == self.polls:
            self.done.set()
            await asyncio.Event().wait()
        self.waits.append(round(seconds, 6))
        self.now_s += seconds
        await asyncio.sleep(0)

    def _turn(self) -> None:
        self.turns += 1


def poll(endpoint: Endpoint, polls: int, path: str = "/news", **options: Any) -> Polled:
    """First contact, then so many polls, then stop."""

    async def run() -> Polled:
        async with endpoint.server:
            polled = Polled(endpoint.server.url + path, polls, **options)
            async with asyncio.timeout(LIMIT_S):
                await polled.poller.contact()
                polled.poller.begin(3)
                running = asyncio.ensure_future(polled.poller.run())
                await asyncio.wait(
                    (running, asyncio.ensure_future(polled.done.wait())), return_when="FIRST_COMPLETED"
                )
                await polled.poller.stop()
                await running
        return polled

    return asyncio.run(run())
