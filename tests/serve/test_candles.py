"""Klines: where intervals begin, what they sum up, and the texts that Binance writes."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from engine.model.units import parse_time
from engine.serve.candles import (
    Candle,
    CandleSeries,
    interval_end,
    interval_start,
    kline_payload,
    kline_row,
    scaled,
)

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


def test_an_interval_without_trades_is_flat() -> None:
    """It stands at the last price, has no volume and the ids -1; before the first trade there is none."""
    made = series()
    start = seconds("2024-06-01T10:00:00Z")
    candle = made.at("1m", start)
    assert candle is not None
    k = kline_payload(candle, "BTCUSDT", "1m", 7, closed=True)["k"]
    assert {k[name] for name in "ohlc"} == {"105.00000000"}
    assert (k["t"], k["v"], k["q"], k["n"], k["f"], k["L"]) == (
        start * 1_000_000,
        "0.00000000",
        "0.00000000",
        0,
        -1,
        -1,
    )
    assert made.at("1m", seconds("2024-06-01T08:59:00Z")) is None


def test_the_gaps_between_candles_are_filled() -> None:
    """Every minute from the first trade to now is told, each once; without trades there is none."""
    made = series()
    base = seconds("2024-06-01T09:00:00Z")
    made.take((base + 240) * 1_000_000, "99.00000000", "1.00000000", 15, buyer_takes=True)
    told = made.filled("1m", base + 360)
    assert [(c.start - base, c.count) for c in told] == [
        *((0, 3), (60, 1), (120, 0), (180, 0), (240, 1), (300, 0), (360, 0))
    ]
    assert [c.open for c in told[2:4]] == [105 * 10**8] * 2
    assert CandleSeries().filled("1m", base) == []


@pytest.mark.parametrize(("interval", "most"), [("1s", 1_000), ("1m", 10_080), ("1M", 121)])
def test_of_a_long_silence_the_last_candles_are_told(interval: str, most: int) -> None:
    """After ten years without a trade there are as many candles as are kept, contiguous to now."""
    now = seconds("2034-06-01T09:00:00Z")
    told = series().filled(interval, now)
    assert len(told) == most
    assert told[-1].start == interval_start(now, interval)
    assert all(interval_end(a.start, interval) == b.start for a, b in pairwise(told))


def test_what_is_closed_never_changes() -> None:
    """A trade that comes after its minute was closed counts for the minute that is open."""
    made = CandleSeries()
    base = seconds("2024-06-01T09:00:00Z")
    made.take(base * 1_000_000, "100.00000000", "1.00000000", 1, buyer_takes=True)
    made.close(base + 60)
    made.take((base + 59) * 1_000_000, "101.00000000", "1.00000000", 2, buyer_takes=True)
    assert [(c.start - base, c.count) for c in made.candles("1m")] == [(0, 1), (60, 1)]


@pytest.mark.parametrize(
    ("interval", "start"),
    [
        ("1m", "2024-06-01T17:05:00Z"),
        ("4h", "2024-06-01T16:00:00Z"),
        ("1d", "2024-06-01T16:00:00Z"),
        ("1w", "2024-05-26T16:00:00Z"),
        ("1M", "2024-05-31T16:00:00Z"),
    ],
)
def test_a_clock_that_is_ahead_moves_the_bounds(interval: str, start: str) -> None:
    """By a clock eight hours ahead, days, weeks and months begin at 16:00 UTC, and follow each other."""
    ahead_s = 8 * 3_600
    began = interval_start(seconds("2024-06-01T17:05:30Z"), interval, ahead_s)
    ended = interval_end(began, interval, ahead_s)
    assert began == seconds(start)
    assert interval_start(ended, interval, ahead_s) == ended
    assert interval_start(ended - 1, interval, ahead_s) == began


@pytest.mark.parametrize("zone_s", [0, 8 * 3_600])
@pytest.mark.parametrize("interval", ["1s", "1m", "5m", "4h", "1d", "1w", "1M"])
def test_a_candle_that_is_asked_for_again_has_what_came_meanwhile(interval: str, zone_s: int) -> None:
    """Asked after every trade or at the end alone, an interval's candle is the same."""
    draw, asked = random.Random(7), CandleSeries()
    at_s = seconds("2024-05-30T22:00:00Z")
    trades = []
    for number in range(400):
        at_s += draw.choice((0, 1, 20, 70, 900))
        trades.append((at_s * 1_000_000, f"{draw.randint(1, 500)}", "0.5", number))
        asked.take(*trades[-1], buyer_takes=number % 2 == 0)
        start = interval_start(at_s, interval, zone_s)
        told = asked.at(interval, start, zone_s)
        assert told is not None
        told.count = -1  # whoever was given it may do with it what he likes
    unasked = CandleSeries()
    for trade in trades:
        unasked.take(*trade, buyer_takes=trade[3] % 2 == 0)
    for back in range(3):
        start = interval_start(at_s - back * 600, interval, zone_s)
        assert asked.at(interval, start, zone_s) == unasked.at(interval, start, zone_s)


def test_a_push_of_a_long_candle_puts_few_minutes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month is put together once; after that a trade in it costs one sum, and a new minute two."""
    made, base = CandleSeries(), seconds("2024-06-01T00:00:00Z")
    for minute in range(5_000):
        made.take((base + 60 * minute) * 1_000_000, "100", "1", minute, buyer_takes=True)
    sums: list[Candle] = []
    absorb = Candle.absorb

    def counted(candle: Candle, later: Candle) -> None:
        sums.append(later)
        absorb(candle, later)

    monkeypatch.setattr(Candle, "absorb", counted)
    for at_s, most in [(299_940, 5_000), (299_950, 1), (300_000, 2), (300_001, 1)]:
        made.take((base + at_s) * 1_000_000, "100", "1", 1, buyer_takes=True)
        sums.clear()
        whole = made.at("1M", base)
        assert whole is not None
        assert len(sums) <= most
    assert whole is not None
    assert (whole.start, whole.count, whole.volume) == (base, 5_004, 5_004 * 10**8)
