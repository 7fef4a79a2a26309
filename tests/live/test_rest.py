"""REST requests to a venue: what one is told of when to come back holds for all."""

from __future__ import annotations

import asyncio

import pytest

from engine.live.rest import Refused, Rest
from tests.helpers.venue import FakeVenue

INFO = '/api/v3/exchangeInfo?symbols=["BTCUSDT"]'


def test_one_refusal_holds_all_requests_back() -> None:
    """A 429 with Retry-After: until then nothing is sent any more, whoever asks."""

    async def run() -> list[str]:
        venue = FakeVenue(seed=3)
        async with venue.running():
            rest = Rest(venue.url.replace("ws:", "http:"))
            venue.busy = ["3600"]
            with pytest.raises(Refused, match="HTTP 429"):
                await rest.get(INFO)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await rest.get(INFO)
            await rest.close()
        return venue.requests

    assert asyncio.run(run()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"code":-1121,"msg":"Invalid symbol."}', "HTTP 404: Invalid symbol. (code -1121)"),
        ('{"message":"endpoint not found."}', 'HTTP 404: {"message":"endpoint not found."}'),
        ("{}", "HTTP 404: {}"),
        ("no such page", "HTTP 404: no such page"),
        ("", "HTTP 404: (nothing)"),
    ],
)
def test_an_answer_that_is_none_is_said_in_the_venues_words(body: str, words: str) -> None:
    """The venue's own error object where it is one; whatever came, where it is another's."""

    async def run() -> str:
        venue = FakeVenue(seed=3)
        venue.answer_all = (404, body)
        async with venue.running():
            rest = Rest(venue.url.replace("ws:", "http:"))
            with pytest.raises(Refused) as refused:
                await rest.get(INFO)
            await rest.close()
        return refused.value.message

    assert asyncio.run(run()).endswith(words)


def test_a_refusal_without_a_time_holds_nobody_back() -> None:
    """Without Retry-After whoever asks decides how long to wait."""

    async def run() -> None:
        venue = FakeVenue(seed=3)
        async with venue.running():
            rest = Rest(venue.url.replace("ws:", "http:"))
            venue.busy = ["soon"]
            with pytest.raises(Refused, match="HTTP 429"):
                await rest.get(INFO)
            async with asyncio.timeout(10):
                assert b"BTCUSDT" in await rest.get(INFO)
            await rest.close()

    asyncio.run(run())
