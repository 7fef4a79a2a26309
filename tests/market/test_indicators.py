"""Ema and Sma: their numbers, written out; their rounding, bounded; the same bits every time."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

import engine
from engine.model.errors import UsageError

SEEDS = (1, 2, 3)


def prices(seed: int, count: int) -> list[float]:
    """A seeded random walk of prices with two decimals."""
    chance = random.Random(seed)
    price, walk = 6_000_000, []
    for _ in range(count):
        price += chance.randint(-500, 500)
        walk.append(price / 100)
    return walk


def test_the_ema_is_seeded_by_its_first_value_and_moves_by_alpha() -> None:
    """Ema(3) has alpha 1/2: 10, then halfway to each value; ready from the third on."""
    ema = engine.Ema(3)
    assert (ema.alpha, ema.value, ema.count, ema.ready) == (0.5, 0.0, 0, False)
    assert [(ema.update(x), ema.value, ema.count, ema.ready) for x in (10.0, 20.0, 20.0, 0.0)] == [
        (10.0, 10.0, 1, False),
        (15.0, 15.0, 2, False),
        (17.5, 17.5, 3, True),
        (8.75, 8.75, 4, True),
    ]


def test_the_sma_averages_what_it_has_and_then_the_last_n() -> None:
    """Sma(3): of one value, of two, of three; then the oldest leaves."""
    sma = engine.Sma(3)
    assert (sma.value, sma.count, sma.ready) == (0.0, 0, False)
    assert [(sma.update(x), sma.value, sma.count, sma.ready) for x in (3.0, 5.0, 10.0, 0.0, 2.0, 1.0)] == [
        (3.0, 3.0, 1, False),
        (4.0, 4.0, 2, False),
        (6.0, 6.0, 3, True),
        (5.0, 5.0, 4, True),
        (4.0, 4.0, 5, True),
        (1.0, 1.0, 6, True),
    ]


@pytest.mark.parametrize("average", [engine.Ema, engine.Sma])
def test_an_average_over_one_value_is_the_value(average: type[engine.Ema | engine.Sma]) -> None:
    """Length 1 is allowed, ready at once and forgets everything else."""
    one = average(1)
    assert [one.update(x) for x in (0.1, 0.2, 0.3)] == [0.1, 0.2, 0.3]
    assert one.ready


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "5"])
@pytest.mark.parametrize("average", [engine.Ema, engine.Sma])
def test_a_length_that_is_none_is_refused(average: type[engine.Ema | engine.Sma], n: object) -> None:
    """The error names the indicator and the value."""
    with pytest.raises(UsageError, match=f"{average.__name__}\\({n!r}\\): the length"):
        average(n)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 7, 20, 500])
def test_the_sma_stays_within_rounding_of_the_exact_mean(n: int, seed: int) -> None:
    """Against exact fractions over 5,000 prices: no drift, the error is that of n additions at most."""
    walk = prices(seed, 5_000)
    sma = engine.Sma(n)
    exact = Fraction(0)
    worst = 0.0
    for i, price in enumerate(walk):
        exact += Fraction(price) - (Fraction(walk[i - n]) if i >= n else 0)
        mean = exact / min(i + 1, n)
        worst = max(worst, abs(float(Fraction(sma.update(price)) - mean)))
    assert worst <= 3 * n * math.ulp(60_000.0)


def test_a_huge_value_leaves_no_trace_in_the_sma() -> None:
    """The ring is added up anew each time round, so what a huge value rounded away comes back."""
    sma = engine.Sma(4)
    for x in (0.1, 0.2, 1e17, 0.3, *[0.1] * 8):
        sma.update(x)
    assert sma.value == (0.1 + 0.1 + 0.1 + 0.1) / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_the_ema_is_the_plain_recurrence_bit_for_bit(seed: int) -> None:
    """The recurrence value += alpha * (x - value), and nothing else, in this order."""
    ema = engine.Ema(50)
    value = None
    for price in prices(seed, 2_000):
        value = price if value is None else value + (2.0 / 51.0) * (price - value)
        assert ema.update(price) == value


@pytest.mark.parametrize("seed", SEEDS)
def test_an_average_that_is_updated_elsewhere_gives_the_same_bits(seed: int) -> None:
    """State is in the attributes alone: copying them in mid-run continues identically."""
    walk = prices(seed, 300)
    whole, first, second = engine.Sma(20), engine.Sma(20), engine.Sma(20)
    values = [whole.update(x) for x in walk]
    for x in walk[:133]:
        first.update(x)
    for name in engine.Sma.__slots__:
        value = getattr(first, name)
        setattr(second, name, list(value) if name == "ring" else value)
    assert [second.update(x) for x in walk[133:]] == values[133:]
