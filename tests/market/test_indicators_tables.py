"""Each indicator's numbers, written out: from its definition by hand, from the first update on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

import engine
from engine.model.errors import UsageError


def rows(indicator: Any, inputs: Sequence[tuple[float, ...]], *names: str) -> list[tuple[Any, ...]]:
    """After each update: whether it is ready, and some attributes. `update` returns `value`."""
    found = []
    for given in inputs:
        assert indicator.update(*given) == indicator.value
        found.append((indicator.ready, *(getattr(indicator, name) for name in names)))
    return found


def near(expected: list[tuple[Any, ...]]) -> list[Any]:
    """The table, its floats but for rounding."""
    return [
        tuple(cell if isinstance(cell, bool) else pytest.approx(cell) for cell in row) for row in expected
    ]


def test_rsi() -> None:
    """Moves +1, -0.5, +1.5 average 5/6 up and 1/6 down; then a third of the way to 0 up and 1 down."""
    strength = engine.Rsi(3)
    assert rows(
        strength, [(10.0,), (11.0,), (10.5,), (12.0,), (11.0,), (11.0,)], "value", "gain", "loss"
    ) == near(
        [
            (False, 50.0, 0.0, 0.0),
            (False, 100.0, 1.0, 0.0),
            (False, 200 / 3, 1 / 2, 1 / 4),
            (True, 250 / 3, 5 / 6, 1 / 6),
            (True, 500 / 9, 5 / 9, 4 / 9),
            (True, 500 / 9, 10 / 27, 8 / 27),
        ]
    )


@pytest.mark.parametrize(("step", "value"), [(0.5, 100.0), (-0.5, 0.0), (0.0, 50.0)])
def test_rsi_of_one_way_markets(step: float, value: float) -> None:
    """Only up is 100, only down is 0, no move at all is 50."""
    strength = engine.Rsi()
    for i in range(40):
        strength.update(100.0 + i * step)
    assert strength.ready
    assert strength.value == value


def test_macd() -> None:
    """Alphas 2/3 and 1/2, the signal 2/3: it begins with the third value, when the slow average is ready."""
    macd = engine.Macd(2, 3, 2)
    assert rows(macd, [(9.0,), (18.0,), (0.0,), (27.0,)], "value", "signal", "histogram") == near(
        [
            (False, 0.0, 0.0, 0.0),
            (False, 15 - 13.5, 0.0, 0.0),
            (False, 5 - 6.75, -1.75, 0.0),
            (True, 67 / 24, 23 / 18, 109 / 72),
        ]
    )


def test_atr() -> None:
    """Ranges 2, 3 (gap up from 9), 1, 3.5 (gap down from 10.5); averaged over two, then halfway each time."""
    bars = [(10.0, 8.0, 9.0), (12.0, 11.0, 11.0), (11.0, 10.0, 10.5), (8.0, 7.0, 7.5)]
    assert rows(engine.Atr(2), bars, "value") == [(False, 2.0), (True, 2.5), (True, 1.75), (True, 2.625)]


def test_bollinger() -> None:
    """Two deviations around the mean of two values: of 1 and 3, mean 2 and deviation 1."""
    assert rows(engine.Bollinger(2), [(1.0,), (3.0,), (3.0,), (9.0,)], "lower", "value", "upper") == [
        (False, 1.0, 1.0, 1.0),
        (True, 0.0, 2.0, 4.0),
        (True, 3.0, 3.0, 3.0),
        (True, 0.0, 6.0, 12.0),
    ]
    bands = engine.Bollinger(4, 1.5)
    rows(bands, [(1.0,), (1.0,), (5.0,), (5.0,)])
    assert (bands.lower, bands.value, bands.upper) == (0.0, 3.0, 6.0)


def test_standard_deviation() -> None:
    """Over n, not n - 1: of 1, 1, 5, 5 it is 2."""
    values = [(1.0,), (1.0,), (5.0,), (5.0,), (5.0,), (5.0,)]
    assert rows(engine.StandardDeviation(4), values, "mean", "variance", "value") == near(
        [
            (False, 1.0, 0.0, 0.0),
            (False, 1.0, 0.0, 0.0),
            (False, 7 / 3, 32 / 9, math.sqrt(32 / 9)),
            (True, 3.0, 4.0, 2.0),
            (True, 4.0, 3.0, math.sqrt(3.0)),
            (True, 5.0, 0.0, 0.0),
        ]
    )


def test_z_score() -> None:
    """One of two is one deviation from their mean; one of four that stands out, root 3."""
    values = [(1.0,), (3.0,), (3.0,), (1.0,)]
    assert rows(engine.ZScore(2), values, "value") == [(False, 0.0), (True, 1.0), (True, 0.0), (True, -1.0)]
    score = engine.ZScore(4)
    rows(score, [(1.0,), (1.0,), (1.0,), (5.0,)])
    assert score.value == pytest.approx(math.sqrt(3.0))


def test_realised_volatility() -> None:
    """Returns of 3 % and 4 % make 5 %; then 0 % instead of the 3 %, then a fall by half."""
    values = [(100.0,), (103.0,), (107.12,), (107.12,), (53.56,)]
    assert rows(engine.RealisedVolatility(2), values, "value") == near(
        [(False, 0.0), (False, 0.03), (True, 0.05), (True, 0.04), (True, 0.5)]
    )


def test_vwap() -> None:
    """(10 x 1 + 20 x 3) / 4; a size of 0 changes nothing; `reset` begins anew at the next trade."""
    vwap = engine.Vwap()
    trades = [(9.0, 0.0), (10.0, 1.0), (20.0, 3.0), (5.0, 0.0), (13.5, 4.0)]
    assert rows(vwap, trades, "value", "volume") == [
        (False, 0.0, 0.0),
        (True, 10.0, 1.0),
        (True, 17.5, 4.0),
        (True, 17.5, 4.0),
        (True, 15.5, 8.0),
    ]
    vwap.reset()
    assert (vwap.ready, vwap.value, vwap.volume) == (False, 15.5, 0.0)
    assert rows(vwap, [(7.0, 2.0)], "value", "volume") == [(True, 7.0, 2.0)]


def test_rolling_vwap() -> None:
    """Of the last two trades; with no size in them, the price stays."""
    trades = [(10.0, 1.0), (20.0, 3.0), (8.0, 1.0), (8.0, 0.0), (9.0, 0.0)]
    assert rows(engine.RollingVwap(2), trades, "value") == [
        (False, 10.0),
        (True, 17.5),
        (True, 17.0),
        (True, 8.0),
        (True, 8.0),
    ]


OFI_TABLE = [
    # bid, size, ask, size            event  sum of two  what happened
    (10.0, 5.0, 11.0, 7.0, False, 0.0, 0.0),  # nothing to compare with
    (10.0, 8.0, 11.0, 7.0, False, 3.0, 3.0),  # 3 more bid
    (10.0, 8.0, 11.0, 4.0, True, 3.0, 6.0),  # 3 fewer offered
    (10.5, 2.0, 11.0, 4.0, True, 2.0, 5.0),  # a better bid: its whole size
    (10.0, 9.0, 11.0, 4.0, True, -2.0, 0.0),  # the bid is gone: the size that was there
    (10.0, 9.0, 10.5, 6.0, True, -6.0, -8.0),  # a better ask: its whole size
    (10.0, 9.0, 11.0, 3.0, True, 6.0, 0.0),  # the ask is gone: the size that was there
    (10.5, 1.0, 12.0, 2.0, True, 4.0, 10.0),  # both up: 1 new bid, 3 asks gone
    (10.0, 2.0, 11.0, 5.0, True, -6.0, -2.0),  # both down: 1 bid gone, 5 new asks
    (10.0, 1.0, 11.0, 6.0, True, -2.0, -8.0),  # 1 fewer bid, 1 more offered
]


def test_order_flow_imbalance() -> None:
    """Every case of Cont, Kukanov and Stoikov's definition, one state of the best prices a row."""
    states = [row[:4] for row in OFI_TABLE]
    assert rows(engine.OrderFlowImbalance(2), states, "event", "value") == [row[4:] for row in OFI_TABLE]


@pytest.mark.parametrize(
    ("bid_size", "ask_size", "price"),
    [
        (1.0, 1.0, 10.5),
        (3.0, 1.0, 10.75),
        (1.0, 3.0, 10.25),
        (5.0, 0.0, 11.0),
        (0.0, 5.0, 10.0),
        (0.0, 0.0, 10.5),
    ],
)
def test_microprice(bid_size: float, ask_size: float, price: float) -> None:
    """The mid of 10 and 11, drawn to the ask by what is bid; as an indicator and as a function."""
    assert engine.microprice(10.0, bid_size, 11.0, ask_size) == price
    assert rows(engine.Microprice(), [(10.0, bid_size, 11.0, ask_size)], "value") == [(True, price)]


@pytest.mark.parametrize(
    ("indicator", "values"),
    [
        (engine.RollingSum(3), [4.0, 5.0, 13.0, 12.0, 10.0, 3.0, 8.0]),
        (engine.RollingMin(3), [4.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0]),
        (engine.RollingMax(3), [4.0, 4.0, 8.0, 8.0, 8.0, 3.0, 8.0]),
    ],
    ids=["sum", "least", "greatest"],
)
def test_rolling_windows(indicator: Any, values: list[float]) -> None:
    """Of 4; of 4 and 1; then of three each: 4 1 8, 1 8 3, 8 3 -1, 3 -1 1, -1 1 8."""
    inputs = [(4.0,), (1.0,), (8.0,), (3.0,), (-1.0,), (1.0,), (8.0,)]
    assert rows(indicator, inputs, "value") == [(i >= 2, value) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    "make",
    [
        engine.Rsi,
        engine.Atr,
        engine.Bollinger,
        engine.ZScore,
        engine.RealisedVolatility,
        engine.RollingVwap,
        engine.OrderFlowImbalance,
        engine.RollingSum,
        engine.RollingMin,
        engine.RollingMax,
        engine.StandardDeviation,
    ],
)
@pytest.mark.parametrize("n", [0, -1, 2.5, True, "5", None])
def test_a_length_that_is_none_is_refused(make: Any, n: object) -> None:
    """The error names the indicator that the author wrote, not one inside it, and the value."""
    with pytest.raises(UsageError, match=f"^{make.__name__}\\({n!r}\\): the length"):
        make(n)


@pytest.mark.parametrize(("fast", "slow"), [(26, 12), (5, 5)])
def test_a_macd_whose_fast_average_is_not_the_shorter_is_refused(fast: int, slow: int) -> None:
    """Its sign would be turned round, or it would be 0 for ever."""
    with pytest.raises(UsageError, match="fast average must be shorter"):
        engine.Macd(fast, slow)


@pytest.mark.parametrize("width", [0.0, -2.0, math.nan, math.inf, "2"])
def test_bands_without_a_width_are_refused(width: Any) -> None:
    """A width is a positive number."""
    with pytest.raises(UsageError, match="the width must be a positive number"):
        engine.Bollinger(20, width)
