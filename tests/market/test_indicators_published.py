"""The indicators agree with a published library, talipp, on seeded random markets, to a billionth.

Where the library begins differently, the comparison begins when what is left of that is below the tolerance:
its Ema starts with a simple average (ours with the first value), its Rsi averages the first n - 1 changes
(Wilder, and ours, n). What it does not have (z-score, realised volatility, order-flow imbalance, microprice)
stands in tables and against exact fractions in the other files.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest
from talipp import indicators as published
from talipp.ohlcv import OHLCV

import engine

SEEDS = (11, 12, 13)
COUNT = 1500
TOLERANCE = 1e-9  # relative; of differences and oscillators relative to the price they are made of


def bars(seed: int) -> list[OHLCV]:
    """A random walk of bars around 100, with sizes."""
    chance = random.Random(seed)
    close, rows = 100.0, []
    for _ in range(COUNT):
        opened = close
        close = round(max(opened + chance.gauss(0.0, 0.8), 20.0), 2)
        high = round(max(opened, close) + abs(chance.gauss(0.0, 0.3)), 2)
        low = round(min(opened, close) - abs(chance.gauss(0.0, 0.3)), 2)
        rows.append(OHLCV(opened, high, low, close, chance.randint(1, 10**6) / 1000))
    return rows


def closes(seed: int) -> list[float]:
    """The closes of those bars."""
    return [bar.close for bar in bars(seed)]


def compare(
    ours: Iterable[tuple[bool, float]], theirs: Iterable[float | None], skip: int = 0, scale: float = 0.0
) -> None:
    """Each value that ours calls ready, after the first `skip`, is theirs; they have one wherever we have."""
    compared = 0
    for i, ((ready, value), other) in enumerate(zip(ours, theirs, strict=True)):
        if ready and i >= skip:
            assert other is not None, f"row {i}"
            assert value == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE * scale), f"row {i}"
            compared += 1
    assert compared >= COUNT - max(skip, 210)


def updated(
    indicator: engine.Ema | engine.Sma | engine.Rsi, values: Iterable[float]
) -> Iterator[tuple[bool, float]]:
    """(ready, value) after each value."""
    for x in values:
        value = indicator.update(x)
        yield indicator.ready, value


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 20, 200])
def test_sma(n: int, seed: int) -> None:
    """From the n-th value on."""
    compare(updated(engine.Sma(n), closes(seed)), published.SMA(n, closes(seed)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 9, 26, 50])
def test_ema(n: int, seed: int) -> None:
    """After 15 n values, when the other seed's share is 1e-13."""
    compare(updated(engine.Ema(n), closes(seed)), published.EMA(n, closes(seed)), skip=15 * n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 7, 14])
def test_rsi(n: int, seed: int) -> None:
    """After 30 n values, when the other start's share is 1e-13."""
    compare(updated(engine.Rsi(n), closes(seed)), published.RSI(n, closes(seed)), skip=30 * n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("fast", "slow", "signal"), [(12, 26, 9), (3, 10, 16)])
def test_macd(fast: int, slow: int, signal: int, seed: int) -> None:
    """Difference, signal and histogram, after 400 values."""
    macd = engine.Macd(fast, slow, signal)
    found: dict[str, list[tuple[bool, float]]] = {"macd": [], "signal": [], "histogram": []}
    for x in closes(seed):
        macd.update(x)
        for name, value in (("macd", macd.value), ("signal", macd.signal), ("histogram", macd.histogram)):
            found[name].append((macd.ready, value))
    theirs = published.MACD(fast, slow, signal, closes(seed))
    for name, ours in found.items():
        compare(ours, [getattr(value, name, None) for value in theirs], skip=400, scale=100.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 14, 50])
def test_atr(n: int, seed: int) -> None:
    """From the n-th bar on."""
    atr = engine.Atr(n)
    ours = []
    for bar in bars(seed):
        atr.update(bar.high, bar.low, bar.close)
        ours.append((atr.ready, atr.value))
    compare(ours, published.ATR(n, bars(seed)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("n", "width"), [(20, 2.0), (5, 1.5), (100, 3.0)])
def test_bollinger(n: int, width: float, seed: int) -> None:
    """All three bands, from the n-th value on."""
    bands = engine.Bollinger(n, width)
    found: dict[str, list[tuple[bool, float]]] = {"lb": [], "cb": [], "ub": []}
    for x in closes(seed):
        bands.update(x)
        for name, value in (("lb", bands.lower), ("cb", bands.value), ("ub", bands.upper)):
            found[name].append((bands.ready, value))
    theirs = published.BB(n, width, closes(seed))
    for name, ours in found.items():
        compare(ours, [getattr(value, name, None) for value in theirs])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [2, 20, 200])
def test_standard_deviation(n: int, seed: int) -> None:
    """From the n-th value on; over n in both."""
    deviation = engine.StandardDeviation(n)
    ours = []
    for x in closes(seed):
        deviation.update(x)
        ours.append((deviation.ready, deviation.value))
    compare(ours, published.StdDev(n, closes(seed)))


@pytest.mark.parametrize("seed", SEEDS)
def test_vwap(seed: int) -> None:
    """Of trades at the bars' typical prices, which is what the library takes."""
    vwap = engine.Vwap()
    ours = []
    for bar in bars(seed):
        vwap.update((bar.high + bar.low + bar.close) / 3.0, bar.volume)
        ours.append((vwap.ready, vwap.value))
    compare(ours, published.VWAP(bars(seed)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 10, 100])
def test_rolling_vwap(n: int, seed: int) -> None:
    """Their volume-weighted moving average, from the n-th trade on."""
    vwap = engine.RollingVwap(n)
    ours = []
    for bar in bars(seed):
        vwap.update(bar.close, bar.volume)
        ours.append((vwap.ready, vwap.value))
    compare(ours, published.VWMA(n, bars(seed)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 20, 200])
def test_rolling_least_and_greatest(n: int, seed: int) -> None:
    """Their Donchian channel: the greatest high and the least low of n bars."""
    least, greatest = engine.RollingMin(n), engine.RollingMax(n)
    lows, highs = [], []
    for bar in bars(seed):
        least.update(bar.low)
        greatest.update(bar.high)
        lows.append((least.ready, least.value))
        highs.append((greatest.ready, greatest.value))
    theirs = published.DonchianChannels(n, bars(seed))
    compare(lows, [getattr(value, "lb", None) for value in theirs])
    compare(highs, [getattr(value, "ub", None) for value in theirs])
