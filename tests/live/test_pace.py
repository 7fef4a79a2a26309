"""Messages to a venue go out one after the other, whoever sends them and however they come."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from engine.live.pace import Pace

GAP_S = 0.01


async def together(turn: Callable[[], Awaitable[None]]) -> None:
    """Five at the same time."""
    await asyncio.gather(*(turn() for _ in range(5)))


async def one_by_one(turn: Callable[[], Awaitable[None]]) -> None:
    """Five, each when the one before has gone: between two of them nobody waits for a turn."""
    for _ in range(5):
        await turn()


@pytest.mark.parametrize("how", [together, one_by_one])
def test_turns_are_apart(how: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
    """By the gap at least, also when nothing was waiting in between."""

    async def run() -> list[float]:
        loop, pace = asyncio.get_running_loop(), Pace(GAP_S)
        times: list[float] = []

        async def turn() -> None:
            await pace.turn()
            times.append(loop.time())

        await how(turn)
        return times

    times = asyncio.run(run())
    # A turn is given by the clock of the loop, which may be a tick early.
    assert times[-1] - times[0] > 3.5 * GAP_S
    assert len(times) == 5
    assert all(a <= b for a, b in itertools.pairwise(times))


def test_the_first_turn_is_free() -> None:
    """And turns are given in the order in which they were asked for."""

    async def run() -> list[int]:
        pace, order = Pace(0.001), list[int]()

        async def turn(number: int) -> None:
            await pace.turn()
            order.append(number)

        await Pace(3_600.0).turn()
        await asyncio.gather(*(turn(number) for number in range(8)))
        return order

    assert asyncio.run(run()) == list(range(8))
