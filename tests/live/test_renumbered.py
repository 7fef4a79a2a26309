"""A venue that was started anew counts from its beginning: the recording follows it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

from engine.live.recorder import Recorder, RecorderConfig
from engine.live.tap import TapConfig
from engine.model.kinds import Flag, Kind
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.accounted import BACK_OFF, LIMIT_S, QUICK, SYMBOLS, until
from tests.helpers.logs import read_rows

KIND, FLAGS, DATA = 3, 5, 11  # places in a row of read_rows


def venue_at(port: int, after_s: float = 0.0) -> LocalVenue:
    """The same invented market from its beginning, so much later."""
    return LocalVenue(
        SyntheticMarket(1, SYMBOLS),
        port=port,
        speed=20.0,
        clock=lambda: time.time_ns() + round(after_s * 1e9),
    )


def test_a_venue_that_begins_anew_is_followed(tmp_path: Path) -> None:
    """Books are in step again, trades are new ones, and rows say where the numbering begins."""

    async def run() -> Recorder:
        async with asyncio.timeout(LIMIT_S):
            async with venue_at(0) as first:
                url, port = first.ws_url, int(first.ws_url.rpartition(":")[2])
                tap = TapConfig(symbols=SYMBOLS, url=url, back_off=BACK_OFF, timeouts=QUICK)
                recorder = Recorder(RecorderConfig(taps=(tap,), folder=tmp_path, seal=False))
                recording = asyncio.ensure_future(recorder.record())
                await until(lambda: recording.done() or recorder.tally.kinds.get("trade", 0) > 50)
            async with venue_at(port, after_s=60.0):
                await until(
                    lambda: (
                        recording.done()
                        or (
                            recorder.tally.events["renumbered"] >= 4
                            and all(map(recorder.intake.synchronised, SYMBOLS))
                        )
                    )
                )
                recorder.stop("SIGINT")
                await recording
        return recorder

    recorder = asyncio.run(run())
    rows: list[tuple[Any, ...]] = read_rows(recorder.files[0])
    said = [(n, row[DATA] or b"") for n, row in enumerate(rows)]
    marks = [(n, msgspec.json.decode(data)) for n, data in said if b'"renumbered"' in data]
    assert sorted(data["channel"] for _, data in marks) == ["book", "book", "trade", "trade"]
    assert all(data["first"] <= data["last"] for _, data in marks)
    last = max(n for n, data in marks if data["channel"] == "trade")
    trades = [row for row in rows[last:] if row[KIND] == Kind.TRADE]
    assert trades
    assert not any(row[FLAGS] & (Flag.DUPLICATE | Flag.OUT_OF_ORDER) for row in trades)
