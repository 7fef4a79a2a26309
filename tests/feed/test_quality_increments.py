"""Prices of few increments: what moves by one or a few of them is neither rejected nor called extreme."""

from __future__ import annotations

import random

import pytest

from engine.model.kinds import Flag, Kind
from tests.helpers.ticks import LAST, Judged, judged, trade, trades
from tests.reference.quality import Fact, Said

CALM = [10_000, 10_001] * 10
GOOD, REJECTED = Flag(0), Flag.REJECTED_TICK
EXTREME = Flag.UNUSUAL | Flag.EXTREME


def earned(result: Judged, row: int = -1) -> Flag:
    """What a row was given, LAST aside."""
    return result.flags[row] & ~LAST


# A text, and its mantissa at two decimals.
INCREMENTS = [("0.01", 1), ("0.05", 5)]


def coarse(increment: str, prices: list[int], mode: str = "strict") -> Judged:
    """Prices of an instrument with this increment; the definition comes late, as the first row."""
    facts = [Fact(Kind.INSTRUMENT, decimals=2, increment=increment), *trades(prices)]
    result = judged(facts, mode)
    del result.flags[0]
    return result


@pytest.mark.parametrize(("increment", "step"), INCREMENTS)
@pytest.mark.parametrize("seldom", [2, 3, 20, 97])
@pytest.mark.parametrize("low", [1, 2, 3, 10, 19])
def test_a_bounce_of_one_increment_is_no_outlier(low: int, seldom: int, increment: str, step: int) -> None:
    """Between two prices next to each other, however few increments they have, and to both sides of them."""
    prices = [step * (low + (n % seldom == 0)) for n in range(1, 1_000)]
    for following in (low - 1, low + 2):
        result = coarse(increment, [*prices, step * following])
        assert result.said == ([] if following else [Said(1_000, "price")])
        assert not any(flags & Flag.EXTREME for flags in result.flags)
        assert not any(flags & Flag.UNUSUAL for flags in result.flags[:-1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("often", [0.01, 0.05, 0.2])
def test_a_slow_walk_of_few_increments_is_not_rejected(often: float, seed: int) -> None:
    """One increment at a time between 8 and 19, and trades at bid and ask: the median is a while behind."""
    chance = random.Random(seed)
    level, prices = 12, []
    for _ in range(5_000):
        if chance.random() < often:
            level = max(8, min(18, level + chance.choice((-1, 1))))
        prices.append(level + chance.randrange(2))
    assert coarse("0.01", prices, "warn").said == []


@pytest.mark.parametrize(("increment", "step"), INCREMENTS)
def test_ten_increments_are_no_distance(increment: str, step: int) -> None:
    """From a median of 15 increments the 25th is still near, the 26th is far: however calm it was."""
    calm = [15 * step] * 19 + [16 * step] * 2
    for near in (5, 25):
        assert coarse(increment, [*calm, near * step], "warn").said == []
    (detail,) = coarse(increment, [*calm, 26 * step], "warn").details
    assert (
        detail
        == {
            1: "price 0.26 is 0.11 away from 0.15, the median of 21 prices; "
            "the limit is 0.1 (10 x the price increment 0.01)",
            5: "price 1.3 is 0.55 away from 0.75, the median of 21 prices; "
            "the limit is 0.5 (10 x the price increment 0.05)",
        }[step]
    )


@pytest.mark.parametrize(("increment", "step"), INCREMENTS)
def test_a_score_needs_increments(increment: str, step: int) -> None:
    """One from the mean of a standstill is nothing, two are extreme: half a one is the least deviation."""
    calm = [15 * step] * 50 + [14 * step, 16 * step]  # the mean is 15, the deviation a fifth of an increment
    earned_by = {1: GOOD, 2: EXTREME, 3: EXTREME}
    for away, flags in earned_by.items():
        assert earned(coarse(increment, [*calm, (15 + away) * step], "warn")) == flags
        assert earned(coarse(increment, [*calm, (15 - away) * step], "warn")) == flags
    (detail,) = coarse(increment, [*calm, 17 * step]).details
    assert "has the z-score 4.00 beside" in detail


def test_a_market_of_few_increments_is_found_again() -> None:
    """Rejected prices agree within ten increments, too: a fall to a handful of increments is a new window."""
    fallen = [12 + n % 3 for n in range(20)]
    result = coarse("0.01", [*CALM, *fallen, 13, 14, 9], "warn")
    assert [earned(result, row) for row in (39, 40, 41, 42)] == [REJECTED, GOOD, GOOD, GOOD]
    assert result.said[-1] == Said(40, "", 21, 40)


@pytest.mark.parametrize("increment", ["0", "-1", "", "x", "0.001", "1e9", "9" * 30])
def test_an_increment_that_cannot_be_is_one_unit(increment: str) -> None:
    """Whoever reads the definition refuses it; here a unit of the last decimal is the step."""
    calm = [15] * 30
    assert coarse(increment, [*calm, 25], "warn").said == []
    assert coarse(increment, [*calm, 26], "warn").said == [Said(31, "far")]


def test_an_increment_may_change() -> None:
    """A new definition counts for the windows that are there: 16 and 30 are 14 apart, then 14 increments."""
    at_first = Fact(Kind.INSTRUMENT, decimals=2, increment="0.02")
    finer = Fact(Kind.INSTRUMENT, decimals=2, increment="0.01")
    calm = trades([16] * 30)
    assert judged([at_first, *calm, trade(30)]).said == []
    assert judged([at_first, *calm, finer, trade(30)]).said == [Said(32, "far")]
    assert judged([finer, *calm, at_first, trade(30)]).said == []


def test_the_largest_increment_is_no_overflow() -> None:
    """An increment of almost 64 bits: ten of it are more than any distance, and nothing is far."""
    huge = "90000000000000000.00"
    assert coarse(huge, [*CALM, 2**63 - 1, 1], "warn").said == []
