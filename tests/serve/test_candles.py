"""Klines: where intervals begin, what they sum up, and the texts that Binance writes."""

from __future__ import annotations

import pytest

from engine.model.units import parse_time
from engine.serve.candles import CandleSeries, interval_end, interval_start, kline_payload, kline_row, scaled

# interval, moment, its start, its end (exclusive)
BOUNDS = [
    ("1s", "2024-06-01T09:00:59.5Z", "2024-06-01T09:00:59Z", "2024-06-01T09:01:00Z"),
    ("1m", "2024-06-01T09:00:59Z", "2024-06-01T09:00:00Z", "2024-06-01T09:01:00Z"),
    ("3m", "2024-06-01T09:05:00Z", "2024-06-01T09:03:00Z", "2024-06-01T09:06:00Z"),
    ("4h", "2024-06-01T09:05:00Z", "2024-06-01T08:00:00Z", "2024-06-01T12:00:00Z"),
    ("1d", "2024-06-01T23:59:59Z", "2024-06-01T00:00:00Z", "2024-06-02T00:00:00Z"),
    ("1w", "2024-06-01T09:00:00Z", "2024-05-27T00:00:00Z", "2024-06-03T00:00:00Z"),  # from Monday
    ("1M", "2024-02-29T09:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
    ("1M", "2024-12-31T09:00:00Z", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
]


def seconds(text: str) -> int:
    return parse_time(text) // 1_000_000_000


@pytest.mark.parametrize(("interval", "moment", "start", "end"), BOUNDS)
def test_intervals_begin_and_end_as_on_the_venue(interval: str, moment: str, start: str, end: str) -> None:
    """Each interval of the table holds the moment between its start and its end."""
    assert interval_start(seconds(moment), interval) == seconds(start)
    assert interval_end(seconds(start), interval) == seconds(end)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 10**8), ("0.00000001", 1), ("61837.63000000", 6183763 * 10**6), ("0.5", 5 * 10**7)],
)
def test_texts_become_integers_at_eight_decimals(text: str, value: int) -> None:
    """A venue's decimal text is exact at eight decimals."""
    assert scaled(text) == value


def series() -> CandleSeries:
    """Three trades in one minute, one in the next."""
    made = CandleSeries()
    base = seconds("2024-06-01T09:00:00Z") * 1_000_000
    made.take(base + 1_000_000, "100.00000000", "2.00000000", 11, buyer_takes=True)
    made.take(base + 2_000_000, "90.00000000", "1.00000000", 12, buyer_takes=False)
    made.take(base + 59_999_999, "110.00000000", "0.50000000", 13, buyer_takes=True)
    made.take(base + 60_000_000, "105.00000000", "4.00000000", 14, buyer_takes=False)
    return made


def test_a_minute_sums_its_trades() -> None:
    """Open, high, low, close, volumes and ids of a minute, worked out by hand."""
    start = seconds("2024-06-01T09:00:00Z")
    candle = series().at("1m", start)
    assert candle is not None
    k = kline_payload(candle, "BTCUSDT", "1m", 7, closed=True)["k"]
    assert k == {
        "t": start * 1_000_000,
        "T": (start + 60) * 1_000_000 - 1,
        "s": "BTCUSDT",
        "i": "1m",
        "f": 11,
        "L": 13,
        "o": "100.00000000",
        "c": "110.00000000",
        "h": "110.00000000",
        "l": "90.00000000",
        "v": "3.50000000",
        "n": 3,
        "x": True,
        "q": "345.00000000",  # 200 + 90 + 55
        "V": "2.50000000",
        "Q": "255.00000000",
        "B": "0",
    }


def test_longer_intervals_are_made_of_minutes() -> None:
    """Five minutes hold what their minutes hold; the REST row has Binance's twelve fields."""
    made = series()
    (five,) = made.candles("5m")
    row = kline_row(five, "5m")
    assert row[1:6] == ["100.00000000", "110.00000000", "90.00000000", "105.00000000", "7.50000000"]
    assert row[8] == 4
    assert len(row) == 12
    assert [c.count for c in made.candles("1m")] == [3, 1]
    assert [c.count for c in made.candles("1s")] == [1, 1, 1, 1]


def test_a_late_trade_counts_for_the_open_candle() -> None:
    """A closed candle never changes: a trade stamped before the open candle is added to the open one."""
    made = series()
    base = seconds("2024-06-01T09:00:00Z") * 1_000_000
    made.take(base + 3_000_000, "80.00000000", "1.00000000", 15, buyer_takes=True)
    assert [c.count for c in made.candles("1m")] == [3, 2]


def test_an_interval_without_trades_is_none() -> None:
    """Nothing is invented for a minute in which nothing traded."""
    assert series().at("1m", seconds("2024-06-01T10:00:00Z")) is None
