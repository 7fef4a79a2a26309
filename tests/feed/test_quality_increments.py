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
    huge, price = "90000000000000000.00", 9 * 10**18
    for following in (2**63 - 1, 1):
        assert coarse(huge, [price] * 25 + [following], "warn").said == []


def cents(prices: list[int]) -> list[Fact]:
    """Trades with four decimals of what is said to move by cents."""
    return [Fact(Kind.INSTRUMENT, decimals=4, increment="0.01"), *trades(prices)]


@pytest.mark.parametrize("wrong", [1, 600, 1_000, 1_400])
@pytest.mark.parametrize("seed", range(3))
def test_a_share_below_a_dollar_is_judged_by_its_own_steps(seed: int, wrong: int) -> None:
    """Its definition says cents and it moves by hundredths of them: 0.05 to 0.06 is far, 0.0505 is not."""
    chance = random.Random(seed)
    calm = [500 + chance.randint(-3, 3) for _ in range(200)]
    result = judged(cents([*calm, 505, wrong]))
    assert [earned(result, row) & REJECTED for row in (-2, -1)] == [GOOD, REJECTED]
    if wrong == 600:
        (detail,) = result.details
        assert detail.startswith("price 0.06 is 0.01 away from 0.05, the median of 200 prices; the limit is ")


def test_a_step_that_was_seen_is_remembered() -> None:
    """Prices that stand at 0.05 show no step: the definition's counts until one has been seen."""
    assert judged(cents([500] * 200 + [1_000])).said == []
    assert judged(cents([503] + [500] * 300 + [1_000])).said == [Said(302, "far")]
    assert judged(cents([550] + [500] * 300 + [1_000])).said == []  # half cents: ten are no less than 0.05
    assert judged(cents([550] + [500] * 300 + [1_001])).said == [Said(302, "far")]
    (detail,) = judged(cents([550] + [500] * 300 + [1_001])).details
    assert detail.endswith("the limit is 0.05 (10 x the finest step seen, 0.005)")


def test_a_rejected_price_shows_no_step() -> None:
    """What is wrong says nothing of how prices move, and each instrument speaks for itself."""
    calm = [1_500, 1_600] * 100
    assert judged(cents([*calm, 9_999, 2_500])).said == [Said(201, "far")]
    other = [fact._replace(instrument=2) for fact in cents([1_501] * 50)]
    assert judged([*other, *cents([*calm, 2_500])]).said == []


def test_a_seen_step_has_more_digits_when_the_prices_have() -> None:
    """0.05 at two decimals is a step of five units, at four of five hundred; it is the same step."""
    whole = Fact(Kind.INSTRUMENT, decimals=2, increment="1")
    finer = Fact(Kind.INSTRUMENT, decimals=4, increment="1")
    calm = trades([100, 105] * 30)
    assert judged([whole, *calm, trade(150), finer, trade(15_000)]).said == []
    assert judged([whole, *calm, trade(155), finer, trade(15_500)]).said == [Said(61, "far"), Said(63, "far")]
