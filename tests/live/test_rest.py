"""REST requests to a venue that limits them."""

from __future__ import annotations

import asyncio

import pytest

from engine.live.rest import Refused, Rest
from engine.serve.faults import parse_faults
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket


def test_nobody_asks_before_the_venue_wants_to_be_asked() -> None:
    """After one refusal all requests wait for as long as it said: the venue has no reason for a ban."""

    async def scene() -> None:
        venue = LocalVenue(SyntheticMarket(7), faults=parse_faults(["429:1s:first1"]), account=True)
        async with venue, asyncio.timeout(15):
            rest = Rest(venue.http_url)
            with pytest.raises(Refused) as caught:
                await rest.get("/api/v3/time")
            assert (caught.value.status, caught.value.retry_after_s) == (429, 1.0)
            paths = ("/api/v3/time", "/api/v3/ping", "/api/v3/depth?symbol=BTCUSDT")
            bodies = await asyncio.gather(*map(rest.get, paths))
            assert b"serverTime" in bodies[0]
            assert b"lastUpdateId" in bodies[2]
            await rest.close()
        assert venue.account is not None
        assert [fault.fault for fault in venue.account.faults] == ["429"]

    asyncio.run(scene())


def test_who_asks_sooner_is_banned() -> None:
    """The same venue, asked by one who does not know of the other's refusal."""

    async def scene() -> None:
        venue = LocalVenue(SyntheticMarket(7), faults=parse_faults(["429:1s:first1"]))
        async with venue, asyncio.timeout(15):
            for status in (429, 418):
                rest = Rest(venue.http_url)
                with pytest.raises(Refused) as caught:
                    await rest.get("/api/v3/time")
                assert caught.value.status == status
                await rest.close()
            assert caught.value.retry_after_s == 2.0
            assert "wait" in caught.value.hint

    asyncio.run(scene())
