"""A venue that repeats a credential in frames, in the reason of a close, over REST: nowhere is it written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest

from engine.live import redact
from engine.live.clock import Sequencer
from engine.live.credentials import Secret
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.rest import Refused, Rest
from engine.live.tap import TapConfig
from engine.live.turn import Turn
from engine.model.kinds import Kind, StatusData
from engine.model.rows import RowBuffer
from engine.serve.rest import Reply
from tests.helpers.endpoint import LIMIT_S, Endpoint
from tests.helpers.rows import Row, rows_of_buffer
from tests.helpers.venue import FakeVenue

KEY = "planted-key-of-a-venue"


@pytest.fixture(autouse=True)
def known() -> str:
    """The key is one that was found."""
    return Secret(KEY).reveal()


def test_frames_and_closes_of_a_stream() -> None:
    """A refusal, a frame that is none, a close: rows without it, as long as what came."""

    async def run() -> list[Row]:
        buffer = RowBuffer()
        changed = asyncio.Event()
        venue = FakeVenue(("BTCUSDT",))

        async def until(condition: Callable[[list[Row]], bool]) -> None:
            while not condition(rows_of_buffer(buffer)):
                changed.clear()
                await changed.wait()

        async with venue.running(), asyncio.timeout(LIMIT_S):
            config = TapConfig(("BTCUSDT",), channels=("trade",), url=venue.url, back_off=BackOff(0.01, 0.02))
            intake = Intake((config,), (), Sequencer(), buffer, changed.set)
            await intake.start()
            running = asyncio.ensure_future(intake.run())
            await venue.connected()
            refusal = json.dumps({"error": {"code": 2, "msg": f"key {KEY} is no good"}, "id": 1})
            await venue.send(refusal, f"no JSON: {KEY}")
            await until(lambda rows: any(row.kind is Kind.MALFORMED for row in rows))
            await venue.close(1008, f"key {KEY}")
            await until(lambda rows: any(row.event == "disconnected" for row in rows))
            await intake.stop()
            await running
        return rows_of_buffer(buffer)

    rows = asyncio.run(run())
    assert KEY not in repr(rows)
    stars = "*" * len(KEY)
    assert [row.wire for row in rows if row.kind is Kind.MALFORMED] == [f"no JSON: {stars}".encode()]
    assert any("key *** " in f"{row.data.get('detail', '')} " for row in rows if row.event == "disconnected")


def test_answers_and_refusals_over_rest() -> None:
    """Bodies as long as they were, errors with stars."""

    async def run() -> tuple[bytes, Refused]:
        body = json.dumps({"key": KEY}).encode()
        endpoint = Endpoint(
            Reply(200, [], body), Reply(401, [], b'{"code":-2015,"msg":"bad key ' + KEY.encode() + b'"}')
        )
        async with endpoint.server:
            rest = Rest(endpoint.server.url)
            good = await rest.get("/a")
            with pytest.raises(Refused) as caught:
                await rest.get(f"/b?key={KEY}")
            await rest.close()
        return good, caught.value

    good, refusal = asyncio.run(run())
    assert msgspec.json.decode(good) == {"key": "*" * len(KEY)}
    assert KEY not in str(refusal)
    assert "/b?key=*** answered HTTP 401" in refusal.message
    assert "bad key *" in refusal.message


def test_words_of_a_status_row() -> None:
    """Whoever says it."""
    buffer = RowBuffer()
    turn = Turn(buffer, Sequencer(), lambda: None)
    turn.status(StatusData(event="rejected", detail=f"key {KEY}"))
    assert rows_of_buffer(buffer)[0].data["detail"] == "key ***"


def test_without_credentials_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has found none pays nothing for it."""
    monkeypatch.setattr(redact, "KNOWN", redact.Redactor())
    assert not redact.KNOWN
    body = b"x" * 100
    assert redact.KNOWN.body(body) is body
