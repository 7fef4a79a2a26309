"""Windows of N levels to changes: a level that leaves the window is unknown, never empty."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from engine.ingest.depth_window import Changes, DepthWindow
from engine.model.kinds import Flag
from tests.helpers.books import PlainBook

Side = list[tuple[int, int]]


def arrays(states: list[Side], levels: int) -> tuple[Any, Any]:
    """States of one side, best level first, as prices and sizes; what is missing has size 0."""
    full = [side + [(0, 0)] * (levels - len(side)) for side in states]
    table = np.array(full, dtype=np.int64).reshape(len(states), levels, 2)
    return table[:, :, 0], table[:, :, 1]


def rows_of(changes: Changes, state: int) -> list[dict[str, Any]]:
    """One state's rows as a reader of a log sees them; the first of a snapshot clears."""
    rows = [
        {"side": int(side), "price": int(price), "size": int(size), "flags": 0}
        for at, side, price, size in zip(
            changes.state, changes.side, changes.price, changes.size, strict=True
        )
        if at == state
    ]
    if changes.snapshot[state]:
        rows = rows or [{"side": 0, "price": 0, "size": 0, "flags": 0}]
        rows[0]["flags"] = int(Flag.CLEAR)
    return rows


ASK: Side = [(110, 1)]
FIRST: Side = [(100, 5), (99, 6)]


@pytest.mark.parametrize(
    ("then", "snapshot", "rows"),
    [
        pytest.param([(100, 7), (99, 6)], False, [(100, 7)], id="another size"),
        pytest.param([(100, 5), (99, 6)], False, [], id="nothing"),
        pytest.param([(99, 6), (97, 2)], False, [(100, 0), (97, 2)], id="gone, and one comes into view"),
        pytest.param([(99, 6)], False, [(100, 0)], id="gone, and the side is shown whole"),
        pytest.param([(101, 3), (100, 5)], True, [(101, 3), (100, 5)], id="pushed out of view"),
        pytest.param([(98, 1), (97, 2)], True, [(98, 1), (97, 2)], id="the best leaves what was covered"),
        pytest.param([], False, [(100, 0), (99, 0)], id="the side is empty"),
    ],
)
def test_a_change_is_rows_or_the_whole_window(then: Side, snapshot: object, rows: Side) -> None:
    """Two levels are in view: what the second state makes of 100 × 5 and 99 × 6."""
    window = DepthWindow(2)
    changes = window.apply(arrays([FIRST, then], 2), arrays([ASK, ASK], 2))
    assert changes.snapshot.tolist() == [True, snapshot]
    bids = [(row["price"], row["size"]) for row in rows_of(changes, 1) if row["side"] > 0]
    assert sorted(bids) == sorted(rows)


def test_a_side_that_slides_away_level_by_level_is_given_whole_in_the_end() -> None:
    """Each best level goes and a deeper one comes: known is what the last snapshot covered, and no more."""
    states = [[(100 - i, 1), (99 - i, 1)] for i in range(4)]
    changes = DepthWindow(2).apply(arrays(states, 2), arrays([ASK] * 4, 2))
    assert changes.snapshot.tolist() == [True, False, True, False]


def test_a_window_that_covers_less_than_the_last_snapshot_is_given_whole() -> None:
    """A side that was shown whole fills up with better levels: what is beyond the new edge is unknown."""
    states = [[(100, 1), (90, 1)], [(100, 1)], [(100, 1), (99, 1)]]
    changes = DepthWindow(2).apply(arrays(states, 2), arrays([ASK] * 3, 2))
    assert changes.snapshot.tolist() == [True, False, True]


def test_bids_at_or_above_asks_are_counted() -> None:
    """A crossed state is kept as it is."""
    states = [[(110, 1)], [(111, 1)], [(109, 1)], []]
    assert DepthWindow(1).apply(arrays(states, 1), arrays([ASK] * 4, 1)).crossed == 2


@pytest.mark.parametrize("pieces", [1, 7, 400])
@pytest.mark.parametrize("levels", [1, 2, 5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_reader_of_the_rows_knows_the_window_and_claims_nothing_else(
    seed: int, levels: int, pieces: int
) -> None:
    """A random deep book: after each state the reader has its levels, and all it holds known is true."""
    chance = random.Random(seed)
    truth: dict[int, dict[int, int]] = {1: {}, -1: {}}
    states: list[tuple[dict[int, dict[int, int]], Side, Side]] = []
    for _ in range(400):
        for _ in range(chance.choice((0, 1, 1, 3))):
            side = chance.choice((1, -1))
            price = chance.randrange(90, 100) if side > 0 else chance.randrange(100, 110)
            truth[side][price] = chance.choice((0, 0, 1, 2, 3))
            if not truth[side][price]:
                del truth[side][price]
        bids = sorted(truth[1].items(), reverse=True)[:levels]
        asks = sorted(truth[-1].items())[:levels]
        states.append(({s: dict(of) for s, of in truth.items()}, bids, asks))
    window, book = DepthWindow(levels), PlainBook()
    for start in range(0, len(states), pieces):
        piece = states[start : start + pieces]
        changes = window.apply(
            arrays([bids for _, bids, _ in piece], levels), arrays([asks for _, _, asks in piece], levels)
        )
        for i, (real, bids, asks) in enumerate(piece):
            book.apply(rows_of(changes, i))
            assert (book.levels[1], book.levels[-1]) == (dict(bids), dict(asks))
            for side, of in real.items():
                known = {price: size for price, size in of.items() if price * side >= book.known[side]}
                assert known.items() <= book.levels[side].items()
