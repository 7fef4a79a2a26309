"""Rolling windows against exact fractions: no drift, no cancellation, no trace of what has left."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

import engine

SEEDS = (5, 6, 7)
EPSILON = Fraction(1, 2**53)


def prices(seed: int, count: int) -> list[float]:
    """Prices around 60,000 in cents, with a jump to ten times as much and back, seen from afar."""
    chance = random.Random(seed)
    level, walk = 6_000_000, []
    for i in range(count):
        level += chance.randint(-500, 500)
        walk.append(level / 100 * (10.0 if count // 3 <= i < count // 2 else 1.0))
    return walk


def moments(window: list[float]) -> tuple[Fraction, Fraction]:
    """Exact mean and variance."""
    values = [Fraction(x) for x in window]
    mean = sum(values, Fraction(0)) / len(values)
    return mean, sum(((x - mean) ** 2 for x in values), Fraction(0)) / len(values)


def relative(value: float, exact: Fraction) -> Fraction:
    """Relative error; of 0 none is allowed."""
    if exact == 0:
        assert value == 0.0
        return Fraction(0)
    return abs(Fraction(value) / exact - 1)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_rolling_sum_has_the_error_of_adding_its_values_up(n: int, seed: int) -> None:
    """Within n half units of rounding of positive values, at every step of 4,000; the ready flag counts n."""
    rolling, walk = engine.RollingSum(n), prices(seed, 4_000)
    for i, x in enumerate(walk):
        value = rolling.update(x)
        exact = sum((Fraction(kept) for kept in walk[max(0, i - n + 1) : i + 1]), Fraction(0))
        assert relative(value, exact) <= n * EPSILON, f"seed {seed}, row {i}"
        assert rolling.ready == (i + 1 >= n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_rolling_least_and_greatest_are_those_of_the_window(n: int, seed: int) -> None:
    """Exactly, at every step of 4,000."""
    least, greatest, walk = engine.RollingMin(n), engine.RollingMax(n), prices(seed, 4_000)
    for i, x in enumerate(walk):
        window = walk[max(0, i - n + 1) : i + 1]
        assert least.update(x) == min(window)
        assert greatest.update(x) == max(window)
        assert least.ready == greatest.ready == (i + 1 >= n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_rolling_deviation_loses_no_more_than_the_values_conditioning(n: int, seed: int) -> None:
    """The variance's error is within 2 n roundings, each enlarged by mean / deviation; never negative.

    The difference of sums of squares would enlarge them by the square of that, here up to a billion.
    """
    rolling, walk = engine.StandardDeviation(n), prices(seed, 3_000)
    for i, x in enumerate(walk):
        rolling.update(x)
        mean, variance = moments(walk[max(0, i - n + 1) : i + 1])
        assert relative(rolling.mean, mean) <= 2 * n * EPSILON, f"seed {seed}, row {i}"
        conditioning = 1 + (math.sqrt(mean**2 / variance) if variance else 0.0)
        assert rolling.variance >= 0.0
        assert relative(rolling.variance, variance) <= 2 * n * EPSILON * Fraction(conditioning), f"row {i}"
        assert rolling.value == math.sqrt(rolling.variance)


def test_equal_values_have_no_deviation_at_all() -> None:
    """After noise has left the window, a constant price has variance 0, not something near it."""
    deviation, score, bands = engine.StandardDeviation(20), engine.ZScore(20), engine.Bollinger(20)
    chance = random.Random(1)
    for x in [*(chance.uniform(0.0, 1e6) for _ in range(33)), *[0.1] * 20]:
        deviation.update(x)
        score.update(x)
        bands.update(x)
    assert (deviation.mean, deviation.variance, score.value) == (0.1, 0.0, 0.0)
    assert (bands.lower, bands.value, bands.upper) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("bad", [1e300, math.inf, math.nan])
@pytest.mark.parametrize("before", [0, 1, 4, 5, 8])
def test_a_bad_value_is_gone_without_a_trace_after_n_values(bad: float, before: int) -> None:
    """Wherever in its block it stood: afterwards each window has the bits of one that never saw it."""
    n = 5
    seen: list[Any] = [
        engine.RollingSum(n),
        engine.StandardDeviation(n),
        engine.RollingMin(n),
        engine.RollingMax(n),
    ]
    spared: list[Any] = [
        engine.RollingSum(n),
        engine.StandardDeviation(n),
        engine.RollingMin(n),
        engine.RollingMax(n),
    ]
    for i in range(before + 1 + n):
        x = 0.1 * (i + 1)
        for one, other in zip(seen, spared, strict=True):
            one.update(bad if i == before else x)
            other.update(x)
    assert [one.value for one in seen] == [other.value for other in spared]


def test_the_volume_weighted_average_is_as_good_after_many_trades_as_after_few() -> None:
    """200,000 trades of awkward sizes after a huge one, against exact fractions: within two roundings."""
    chance = random.Random(3)
    vwap = engine.Vwap()
    notional = volume = Fraction(0)
    for i in range(200_000):
        price = chance.randint(1_000, 9_999) / 100
        size = 1e9 if i == 0 else chance.randint(1, 999) / 1e7
        vwap.update(price, size)
        notional += Fraction(price * size)
        volume += Fraction(size)
    assert relative(vwap.value, notional / volume) <= 3 * EPSILON


@pytest.mark.parametrize("seed", SEEDS)
def test_volatility_and_score_follow_from_the_exact_window(seed: int) -> None:
    """The root of the sum of squared simple returns; a score is (x - mean) / deviation."""
    n, walk = 12, prices(seed, 2_000)
    volatility, score = engine.RealisedVolatility(n), engine.ZScore(n)
    for i, x in enumerate(walk):
        volatility.update(x)
        score.update(x)
        window = [Fraction(kept) for kept in walk[max(0, i - n) : i + 1]]
        changes = [(b - a) / a for a, b in pairwise(window)]
        assert volatility.value == pytest.approx(math.sqrt(sum(change**2 for change in changes)), rel=1e-9)
        assert volatility.ready == (i >= n)
        mean, variance = moments(walk[max(0, i - n + 1) : i + 1])
        exact = float(Fraction(x) - mean) / math.sqrt(variance) if variance else 0.0
        assert score.value == pytest.approx(exact, rel=1e-9, abs=1e-9)
        assert score.ready == (i + 1 >= n)


def test_prices_of_zero_divide_nothing() -> None:
    """A return from 0 counts as 0, an index without moves is 50, a price without volume stays what it was."""
    volatility, strength, vwap = engine.RealisedVolatility(3), engine.Rsi(3), engine.RollingVwap(3)
    for _ in range(10):
        assert volatility.update(0.0) == 0.0
        assert strength.update(0.0) == 50.0
        assert vwap.update(7.0, 0.0) == 0.0
    assert engine.microprice(10.0, 0.0, 12.0, 0.0) == 11.0
