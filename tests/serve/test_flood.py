"""The measuring sender: frames that a parser takes, all of them, at their times."""

from __future__ import annotations

import asyncio
import json
from itertools import islice, pairwise

import pytest
from websockets.asyncio.client import connect

from engine.model.errors import UsageError
from engine.serve.flood import FIRST_ID, FloodVenue, flood


def test_flood_frames_are_trades_of_one_tick_and_one_id_each() -> None:
    """Ids count by one, prices move by one tick at most, both sides occur."""
    trades = [json.loads(frame)["data"] for frame in islice(flood(50_000), 30_000)]
    assert [t["t"] for t in trades] == list(range(FIRST_ID, FIRST_ID + 30_000))
    ticks = [round(float(t["p"]) * 100) for t in trades]
    assert max(abs(b - a) for a, b in pairwise(ticks)) == 1
    assert {t["m"] for t in trades} == {True, False}
    assert min(float(t["q"]) for t in trades) > 0


@pytest.mark.parametrize("target", ["/ws/btcusdt@trade", "/stream?streams=btcusdt@trade"])
def test_every_frame_of_a_flood_arrives(target: str) -> None:
    """All of them, in order, in the client's form."""

    async def scene() -> None:
        async with FloodVenue(20_000, account=True) as venue, asyncio.timeout(15):
            async with connect(venue.ws_url + target, compression=None) as connection:
                frames = [json.loads(await connection.recv()) for _ in range(20_000)]
            trades = [frame.get("data", frame) for frame in frames]
            assert [t["t"] for t in trades] == list(range(FIRST_ID, FIRST_ID + 20_000))
            assert [s.first for s in venue.sent] == [t["t"] for t in trades]

    asyncio.run(scene())


@pytest.mark.parametrize("spin", [True, False])
def test_paced_frames_carry_their_schedule(*, spin: bool) -> None:
    """E and T are start + i / rate in microseconds, however late the sender was."""

    async def scene() -> None:
        async with FloodVenue(500, rate=2_000, spin=spin) as venue, asyncio.timeout(15):
            async with connect(f"{venue.ws_url}/ws/btcusdt@trade", compression=None) as connection:
                trades = [json.loads(await connection.recv()) for _ in range(500)]
            first = venue.first_due_ns
            assert [t["E"] for t in trades] == [(first + i * 500_000) // 1_000 for i in range(500)]
            assert {t["E"] - t["T"] for t in trades} == {0}

    asyncio.run(scene())


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 1, "rate": -1.0}])
def test_impossible_floods_are_refused(arguments: dict[str, float]) -> None:
    """No frames, or a negative rate, is a mistake."""
    with pytest.raises(UsageError):
        FloodVenue(**arguments)  # type: ignore[arg-type]
