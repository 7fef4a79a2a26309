"""A log of Alpaca's frames, made again from its frames."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.ingest.rebuild import rebuild
from tests.helpers.alpaca import AAPL, AMD, BTC, Message, article, bar, book, later, quote, recorded, trade

FRAMES: list[list[Message]] = [
    [quote(), trade(1), trade(2, S="AMD")],
    [book([(10, 1)], [(11, 1)], reset=True)],
    [trade(3, 39.15825), book([(10.001, 1.23456)], t=later(1))],
    [bar(), bar("u", 134.7), article()],
    [article(), trade(1), trade(4, -1)],
    [{"T": "zz"}, trade(5, t=later(2)), trade(1)],
]


def test_rows_follow_from_the_frames(tmp_path: Path) -> None:
    """Definitions that became wider, repeats and a malformed frame included."""
    known = (AAPL, AMD, msgspec.structs.replace(BTC, venue="alpaca"))
    report = rebuild(recorded(tmp_path / "a.arrow", known, FRAMES))
    assert report.same, report.differences
    assert (report.frames, report.unparsed) == (len(FRAMES), 0)
