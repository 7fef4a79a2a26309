"""What is read off an equity curve, held against small examples."""

from __future__ import annotations

import statistics
from math import sqrt
from typing import Any

import numpy as np
import pytest

from engine.report.curve import drawdown_of, sharpe_of

MINUTE_NS = 60_000_000_000


def curve(returns: list[float]) -> tuple[Any, Any]:
    """Times and equity of a curve with these returns: a beginning, each minute's end, one moment more."""
    equity = [1000.0]
    for change in returns:
        equity.append(equity[-1] * (1 + change))
    minutes = np.arange(len(equity), dtype=np.int64) * MINUTE_NS
    times = np.concatenate([[0], minutes[1:] - 1, minutes[-1:]])
    return times, np.array([*equity, equity[-1]])


RETURNS = [0.01, -0.005, 0.002, 0.0, 0.003, -0.001, 0.004, 0.001, -0.002, 0.006, 0.002]


def test_sharpe_is_that_of_one_minute_returns() -> None:
    """Mean over sample deviation, times the root of the minutes of a year."""
    wanted = statistics.mean(RETURNS) / statistics.stdev(RETURNS) * sqrt(525_600)
    ratio, count = sharpe_of(*curve(RETURNS))
    assert ratio == pytest.approx(wanted, rel=1e-9)
    assert count == len(RETURNS)


def test_the_last_equity_of_a_minute_counts() -> None:
    """What stood in the middle of a minute makes no return of its own."""
    times, equity = curve(RETURNS)
    middles = times[1:-1] - MINUTE_NS // 2
    order = np.argsort(np.concatenate([times, middles]), kind="stable")
    noisy = np.concatenate([equity, np.full(len(middles), 3.0)])[order]
    assert sharpe_of(np.concatenate([times, middles])[order], noisy) == sharpe_of(times, equity)


def test_the_minute_that_a_run_ends_in_is_no_whole_one() -> None:
    """Another moment within it changes nothing."""
    times, equity = curve(RETURNS)
    longer = np.append(times, times[-1] + 5), np.append(equity, 7.0)
    assert sharpe_of(*longer) == sharpe_of(times, equity)


def test_a_minute_without_a_row_has_a_return_of_zero() -> None:
    """A gap of three minutes is three returns of nothing and the next one whole."""
    times, equity = curve(RETURNS)
    later = times.copy()
    later[6:] += 3 * MINUTE_NS
    returns = [*RETURNS[:5], 0.0, 0.0, 0.0, *RETURNS[5:]]
    wanted = statistics.mean(returns) / statistics.stdev(returns) * sqrt(525_600)
    ratio, count = sharpe_of(later, equity)
    assert ratio == pytest.approx(wanted, rel=1e-9)
    assert count == len(returns)


@pytest.mark.parametrize(
    ("returns", "why"),
    [
        (RETURNS[:9], "nine returns"),
        ([], "one sample"),
        ([0.0] * 30, "flat"),
        ([0.01, *[-1.0] * 20], "nothing left"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nosharpe_of(returns: list[float], why: str) -> None:
    """Too short, flat or ruined: None, and the table says so rather than a number."""
    assert sharpe_of(*curve(returns))[0] is None, why


@pytest.mark.parametrize(
    ("equity", "fall", "percent"),
    [
        ([100.0], 0.0, 0.0),
        ([100.0, 110.0, 120.0], 0.0, 0.0),
        ([100.0, 90.0, 95.0], 10.0, 10.0),
        ([100.0, 120.0, 90.0, 130.0, 110.0], 30.0, 25.0),
        ([100.0, 50.0, 1000.0, 900.0], 100.0, 50.0),  # the deepest in money is not the deepest in percent
        ([-5.0, -10.0], 5.0, 0.0),  # there is no percentage of a debt
    ],
)
def testdrawdown_of(equity: list[float], fall: float, percent: float) -> None:
    """The deepest fall below the highest sample before it, in money and in percent of that."""
    assert drawdown_of(np.array(equity)) == pytest.approx((fall, percent))
