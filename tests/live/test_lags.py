"""Quantiles from buckets, against sorting."""

from __future__ import annotations

import random

import pytest

from engine.live.lags import Lags


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_true_to_a_sixteenth(seed: int, share: float) -> None:
    """Never above the true one, and less than a sixteenth below."""
    chance = random.Random(seed)
    times = [int(chance.lognormvariate(10, 3)) for _ in range(5_000)]
    lags = Lags()
    for time in times:
        lags.take(time)
    true = sorted(times)[max(-(-int(share * 10_000) * len(times) // 10_000) - 1, 0)]
    assert true * 15 / 16 - 1 < lags.quantile(share) <= true
    assert (lags.count, lags.most) == (5_000, max(times))


def test_none_and_the_impossible() -> None:
    """Nothing counted is 0; a clock that went back counts as no time at all."""
    lags = Lags()
    assert lags.quantile(0.99) == 0
    lags.take(-5)
    assert (lags.quantile(1.0), lags.most) == (0, 0)
