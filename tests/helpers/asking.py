"""An edge in front of a scripted server, with clocks that only its own waits move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

import msgspec

from engine.answers.models import most_cost_of
from engine.answers.prompts import Prompt
from engine.answers.requests import Request, request_of
from engine.live.asking import Clocks, Edge
from engine.live.asking_client import AskingConfig
from engine.model.kinds import AnswerData
from engine.model.units import MILLISECOND_NS, SECOND_NS, parse_time
from tests.helpers.scripted_api import (
    Act,
    ScriptedApi,
    message,
    text,
)

NOON = parse_time("2026-11-21T12:00:00Z")
WELL = message(text('{"score":0.5}'))
COST = 100 * 100 + 10 * 500  # of WELL: Haiku, nano-USD a token


class Sentiment(msgspec.Struct):
    """What the prompt of these tests asks for."""

    score: Annotated[float, msgspec.Meta(ge=-1, le=1)]


PROMPT = Prompt("sentiment", 1, "Headline: {headline}", Sentiment, system="Be brief.", max_tokens=64)


def question(headline: str = "Rates fall", sample: int = 0) -> Request:
    return request_of(PROMPT, {"headline": headline}, sample=sample)


MOST = most_cost_of(question())


class Desk:
    """An edge with clocks that only its waits move, and what it has delivered."""

    def __init__(self) -> None:
        self.time_ns = NOON
        self.waits: list[float] = []
        self.limits: list[asyncio.Timeout] = []
        self.delivered: list[tuple[AnswerData, bytes | None]] = []
        self.edge: Edge
        self._changed = asyncio.Event()

    def clock(self) -> int:
        """All three clocks: ns."""
        return self.time_ns

    async def sleep(self, seconds: float) -> None:
        """Wait for nothing, and let the time be later."""
        self.waits.append(seconds)
        self.time_ns += int(seconds * SECOND_NS)
        await asyncio.sleep(0)

    def limit(self, _: float) -> asyncio.Timeout:
        """A limit that ends when `run_out` says so."""
        self.limits.append(asyncio.timeout(None))
        return self.limits[-1]

    def run_out(self) -> None:
        """The limit of the question that was asked last is over now."""
        self.limits[-1].reschedule(asyncio.get_running_loop().time())

    def deliver(self, answer: AnswerData, wire: bytes | None) -> None:
        """Keep what is delivered."""
        self.delivered.append((answer, wire))
        self._changed.set()

    async def until(self, count: int) -> list[AnswerData]:
        """The answers, once there are so many."""
        async with asyncio.timeout(20):
            while len(self.delivered) < count:
                self._changed.clear()
                await self._changed.wait()
        return [answer for answer, _ in self.delivered]

    async def ask(self, request: Request | None = None, ticket: int = 1) -> AnswerData:
        """Ask one question, and its answer."""
        self.edge.ask(ticket, request or question(), self.time_ns - 7 * MILLISECOND_NS)
        return (await self.until(len(self.delivered) + 1))[-1]

    @property
    def taken(self) -> int:
        """Spent and reserved."""
        return self.edge.budget.spent + self.edge.budget.reserved


Story = Callable[[Desk, ScriptedApi], Coroutine[Any, Any, None]]


def play(acts: Sequence[Act] | Callable[[Desk], Sequence[Act]], story: Story, **settings: Any) -> Desk:
    """Tell a story with an edge in front of a server that does these acts; nothing is left reserved."""

    async def main() -> Desk:
        desk = Desk()
        async with ScriptedApi(acts(desk) if callable(acts) else acts) as api:
            clocks = Clocks(desk.clock, desk.clock, desk.clock, desk.sleep, desk.limit)
            config = AskingConfig(**{"base_url": api.url, "attempts": 3, **settings})
            desk.edge = Edge(config, desk.deliver, clocks=clocks)
            try:
                await story(desk, api)
            finally:
                await desk.edge.aclose()
        assert desk.edge.budget.reserved == 0
        assert desk.edge.budget.spent == sum(answer.cost_nano_usd for answer, _ in desk.delivered)
        return desk

    return asyncio.run(main())
