"""How much is asked for when trades are missing: the share of request weight, and which ids."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.live import rest as rest_module
from engine.live.backfill import count, newest, overlap
from engine.live.rest import Rest


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now_s = 1_000_000 * 60 + 20.0  # the twentieth second of a minute
        self.waits: list[float] = []

    def time(self) -> float:
        """As of the wall."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Waits, and is over."""
        self.waits.append(seconds)
        self.now_s += seconds


@pytest.mark.parametrize(
    ("used", "share", "waits"),
    [(0, 0.5, []), (50, 0.5, []), (51, 0.5, [40.0]), (51, 0.8, []), (81, 0.8, [40.0])],
)
def test_requests_keep_to_their_share(
    used: int, share: float, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a minute's weight for trades, four fifths for books; then the next minute is waited for."""
    clock = Clock()
    monkeypatch.setattr(rest_module, "time", clock)
    monkeypatch.setattr(rest_module, "asyncio", clock)
    rest = Rest("http://127.0.0.1:1")
    rest.weight_per_minute, rest.weight_used = 100, used
    rest._minute = int(clock.now_s) // 60
    asyncio.run(rest.spare(share))
    assert clock.waits == waits


Spans = list[tuple[int, int]]


def spans_of(ids: set[int]) -> Spans:
    """The runs of consecutive ids."""
    firsts = sorted(n for n in ids if n - 1 not in ids)
    lasts = sorted(n for n in ids if n + 1 not in ids)
    return list(zip(firsts, lasts, strict=True))


SETS = st.sets(st.integers(0, 40))


@given(one=SETS, other=SETS, most=st.integers(0, 50))
def test_spans_are_sets_of_ids(one: set[int], other: set[int], most: int) -> None:
    """Overlap, count and the newest of them, against plain sets."""
    assert overlap(spans_of(one), spans_of(other)) == spans_of(one & other)
    assert count(spans_of(one)) == len(one)
    assert newest(spans_of(one), most) == spans_of(set(sorted(one, reverse=True)[:most]))
