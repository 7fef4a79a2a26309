"""What one was told of when to come back holds for requests and handshakes alike."""

from __future__ import annotations

import asyncio

import pytest

from engine.live.ban import Ban
from engine.live.connection import Connection, Hooks, Target
from engine.live.machine import BackOff, Machine
from engine.live.rest import Refused, Rest
from engine.model.kinds import StatusData
from tests.helpers.venue import FakeVenue

SECOND_NS = 1_000_000_000


def test_the_longest_wait_counts() -> None:
    """Several of us are told; a shorter one later does not shorten it, none is none."""

    async def scene() -> None:
        ban = Ban()
        assert ban.left_s == 0
        await ban.over()
        for told_s in (0.0, 30.0, 5.0):
            ban.note(told_s)
        assert 29 < ban.left_s <= 31

    asyncio.run(scene())


def test_who_waits_gives_up_when_the_wait_grows() -> None:
    """Told of a moment first and of an hour then: whoever has patience for two minutes goes."""

    async def scene() -> tuple[bool, bool]:
        ban = Ban()
        ban.note(0.01)
        patient, short = asyncio.ensure_future(ban.over(120.0)), asyncio.ensure_future(Ban().over(120.0))
        await asyncio.wait((short,))
        ban.note(3_600.0)
        async with asyncio.timeout(15):
            return await patient, await short

    assert asyncio.run(scene()) == (False, True)


def test_a_connection_waits_for_what_a_request_was_told() -> None:
    """REST is told to come back in an hour; a connection that breaks then does not knock before that."""

    async def scene() -> list[StatusData]:
        rows: list[StatusData] = []
        lost = asyncio.Event()
        venue = FakeVenue()
        async with venue.running(), asyncio.timeout(15):
            rest = Rest(venue.url.replace("ws:", "http:"))
            connection = Connection(
                Target(f"{venue.url}/stream?streams=btcusdt@trade", ban=rest.ban),
                Machine("test", back_off=BackOff(base_s=0.01, cap_s=0.02)),
                Hooks(lambda _frame: None, rows.append, lost.set),
            )
            running = asyncio.ensure_future(connection.run())
            await venue.connected()
            venue.busy = ["3600"]
            with pytest.raises(Refused, match="HTTP 429"):
                await rest.get("/api/v3/exchangeInfo")
            await venue.drop()
            await lost.wait()
            connection.stop()
            await running
            await rest.close()
        return rows

    disconnected = next(row for row in asyncio.run(scene()) if row.event == "disconnected")
    assert 3_590 * SECOND_NS < disconnected.wait_ns <= 3_601 * SECOND_NS
