"""How much of what venues sent is rejected or flagged; `pytest -s` shows the table of docs/quality.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from engine.feed.quality import Quality
from engine.model.kinds import ASK, Flag, Kind
from engine.model.rows import RowBuffer
from tests.helpers.real_ticks import datasets
from tests.helpers.ticks import head, put
from tests.reference.quality import Fact

MOST_REJECTED = 1 / 100_000
Shares = dict[
    tuple[str, str], tuple[int, int, int, int]
]  # capture, stream: ticks, rejected, unusual, extreme


@pytest.fixture(scope="module")
def captures(real_data: Path) -> dict[str, list[Fact]]:
    """All ticks of all captures, read once."""
    return datasets(real_data)


def shares(captures: dict[str, list[Fact]], mode: str) -> Shares:
    """What becomes of the ticks of every capture, each in one batch."""
    found: Shares = {}
    for name, facts in captures.items():
        rows = RowBuffer()
        head(rows, mode)
        put(rows, facts)
        Quality().take(rows)
        view = rows.view()
        last_rows = {
            "trades": view["kind"] == int(Kind.TRADE),
            "quotes": (view["kind"] == int(Kind.QUOTE)) & (view["side"] == ASK),
        }
        for stream, chosen in last_rows.items():
            flags = view["flags"][chosen]
            rejected, unusual, extreme = (
                int(np.count_nonzero(flags & np.uint16(flag)))
                for flag in (Flag.REJECTED_TICK, Flag.UNUSUAL, Flag.EXTREME)
            )
            found[name, stream] = (len(flags), rejected, unusual, extreme)
    return found


def test_real_ticks_are_not_rejected(captures: dict[str, list[Fact]]) -> None:
    """Fewer than one in 100,000 by default: of more than 160,000 ticks not one, though many are unusual."""
    warn, strict = shares(captures, "warn"), shares(captures, "strict")
    for (name, stream), (count, rejected, unusual, extreme) in warn.items():
        refused = strict[name, stream][1]
        sys.stdout.write(
            f"| {name} | {stream} | {count:,} | {rejected} | {unusual / count:.2%} | {extreme / count:.2%} "
            f"| {refused / count:.2%} |\n"
        )
    total = sum(count for count, *_ in warn.values())
    assert total > 160_000
    assert sum(rejected for _, rejected, *_ in warn.values()) < MOST_REJECTED * total
    assert warn["Binance spot, BTCUSDT, 2024-08-08 and 09", "trades"] == (19_904, 0, 1_450, 83)
    assert warn["LOBSTER, GOOG, 2012-06-21", "trades"] == (11_678, 0, 616, 5)


def test_strict_refuses_good_trades(captures: dict[str, list[Fact]]) -> None:
    """Between 0.2 and 8 % of the trades of a busy hour or day: all of them happened."""
    refused = [
        rejected / count
        for (_, stream), (count, rejected, *_) in shares(captures, "strict").items()
        if stream == "trades" and count > 1_000
    ]
    assert len(refused) == 3
    assert 0.002 < min(refused) < max(refused) < 0.08
