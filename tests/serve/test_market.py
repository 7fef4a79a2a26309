"""What the venue derives from a source's events: aggregates, slow diffs, partial books, klines."""

from __future__ import annotations

from typing import Any

import pytest

from engine.model.kinds import InstrumentData
from engine.serve.market import Message, VenueMarket
from engine.serve.synthetic import model_of

SECOND = 1_000_000
T0 = 1_717_232_400 * SECOND  # a full minute
BTC = model_of("BTCUSDT").instrument()


class Everything:
    """Somebody who listens to every stream."""

    def __contains__(self, stream: object) -> bool:
        return True


def trade(number: int, price: str, size: str, time: int, *, sells: bool = False) -> dict[str, Any]:
    return {
        "e": "trade",
        "E": time,
        "s": "BTCUSDT",
        "t": number,
        "p": price,
        "q": size,
        "T": time,
        "m": sells,
        "M": True,
    }


def diff(
    first: int, last: int, bids: list[list[str]], asks: list[list[str]], time: int = T0
) -> dict[str, Any]:
    return {"e": "depthUpdate", "E": time, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}


SNAPSHOT = {"lastUpdateId": 10, "bids": [["99.00", "1.0"], ["98.00", "2.0"]], "asks": [["101.00", "3.0"]]}


def run(
    events: list[tuple[int, str, dict[str, Any]]], wanted: object, *data: InstrumentData
) -> list[Message]:
    """Everything that a market sends for these events."""
    market = VenueMarket(data or (BTC,))
    return [m for event in events for m in market.apply(*event, wanted)]  # type: ignore[arg-type]


def only(messages: list[Message], stream: str) -> list[dict[str, Any]]:
    return [payload for name, payload in messages if name == stream]


def test_trades_of_one_taker_at_one_price_become_one_aggregate() -> None:
    """Same price, time and side: one aggTrade with the sum and the id range; anything else: another."""
    events = [
        (T0, "btcusdt@trade", trade(1, "100.00000000", "0.10000000", T0)),
        (T0, "btcusdt@trade", trade(2, "100.00000000", "0.20000000", T0)),
        (T0, "btcusdt@trade", trade(3, "100.01000000", "0.30000000", T0)),
        (T0 + 5, "btcusdt@trade", trade(4, "100.01000000", "0.40000000", T0 + 5)),
        (T0 + 6, "btcusdt@bookTicker", {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}),
    ]
    found = only(run(events, {"btcusdt@aggTrade"}), "btcusdt@aggTrade")
    assert [(a["a"], a["f"], a["l"], a["p"], a["q"]) for a in found] == [
        (1, 1, 2, "100.00000000", "0.30000000"),
        (2, 3, 3, "100.01000000", "0.30000000"),
        (3, 4, 4, "100.01000000", "0.40000000"),
    ]
    assert list(found[0]) == ["e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"]


def test_native_aggregates_are_passed_on_and_not_derived() -> None:
    """A source that has aggTrade itself is not contradicted."""
    data = InstrumentData("X", "BTCUSDT", "binance", 2, 5, "0.01", "0.00001", channels=("trade", "aggtrade"))
    native = {"e": "aggTrade", "E": T0, "s": "BTCUSDT", "a": 77}
    events = [
        (T0, "btcusdt@trade", trade(1, "100.0", "0.1", T0)),
        (T0 + 1, "btcusdt@aggTrade", native),
        (T0 + 2, "btcusdt@trade", trade(2, "101.0", "0.1", T0 + 2)),
    ]
    assert only(run(events, Everything(), data), "btcusdt@aggTrade") == [native]


def test_slow_diffs_hold_the_last_size_of_every_level_that_changed() -> None:
    """@depth is a second's @depth@100ms in one: first U, last u, absolute sizes, deletions kept."""
    events = [
        (T0, "btcusdt@snapshot", SNAPSHOT),
        (T0 + 1, "btcusdt@depth@100ms", diff(11, 12, [["99.00", "4.0"]], [["102.00", "1.0"]])),
        (T0 + 2, "btcusdt@depth@100ms", diff(13, 15, [["99.00", "0.0"]], [["103.00", "5.0"]])),
        (T0 + SECOND, "btcusdt@depth@100ms", diff(16, 16, [["97.00", "1.0"]], [])),
        (T0 + 2 * SECOND, "btcusdt@depth@100ms", diff(17, 17, [], [["102.00", "0.0"]])),
    ]
    first, second = only(run(events, {"btcusdt@depth"}), "btcusdt@depth")
    assert (first["U"], first["u"]) == (11, 15)
    assert first["b"] == [["99.00", "0.0"]]
    assert first["a"] == [["102.00", "1.0"], ["103.00", "5.0"]]
    assert (second["U"], second["u"], second["b"]) == (16, 16, [["97.00", "1.0"]])


def test_partial_books_are_the_top_of_the_book() -> None:
    """@depth5@100ms comes with each diff, best prices first, sorted as numbers and not as texts."""
    events = [
        (T0, "btcusdt@snapshot", SNAPSHOT),
        (T0, "btcusdt@depth@100ms", diff(11, 11, [["100.00", "9.0"]], [["100.50", "7.0"]])),
    ]
    (top,) = only(run(events, {"btcusdt@depth5@100ms"}), "btcusdt@depth5@100ms")
    assert top == {
        "lastUpdateId": 11,
        "bids": [["100.00", "9.0"], ["99.00", "1.0"], ["98.00", "2.0"]],
        "asks": [["100.50", "7.0"], ["101.00", "3.0"]],
    }


def test_a_diff_that_the_snapshot_holds_changes_nothing() -> None:
    """The source gives the first snapshot early: older diffs are passed on, the book stays."""
    market = VenueMarket([BTC])
    market.apply(T0, "btcusdt@snapshot", SNAPSHOT, ())
    old = diff(5, 10, [["99.00", "0.0"]], [])
    assert market.apply(T0, "btcusdt@depth@100ms", old, {"btcusdt@depth@100ms"}) == [
        ("btcusdt@depth@100ms", old)
    ]
    assert market.depth("BTCUSDT", 100)["bids"][0] == ["99.00", "1.0"]


def test_klines_are_pushed_every_two_seconds_and_once_when_they_close() -> None:
    """An open kline is pushed while it changes; the complete one once, with x true."""
    events = [
        (T0 + i * SECOND, "btcusdt@trade", trade(i + 1, f"{100 + i}.00000000", "1.00000000", T0 + i * SECOND))
        for i in range(70)
    ]
    pushed = only(run(events, {"btcusdt@kline_1m"}), "btcusdt@kline_1m")
    closed = [p["k"] for p in pushed if p["k"]["x"]]
    assert [(k["t"], k["n"], k["o"], k["c"]) for k in closed] == [(T0, 60, "100.00000000", "159.00000000")]
    assert 30 <= len(pushed) <= 37
    assert pushed[-1]["k"]["t"] == T0 + 60 * SECOND


def quote(number: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    return {"u": number, "s": symbol, "b": "1", "B": "1", "a": "2", "A": "1"}


def told(messages: list[Message], stream: str) -> list[tuple[int, bool, int]]:
    """Of each kline: its start in seconds after T0, whether it is closed, its trades."""
    found = [payload["k"] for payload in only(messages, stream)]
    return [((k["t"] - T0) // SECOND, k["x"], k["n"]) for k in found]


def test_minutes_without_trades_close_too() -> None:
    """Each minute closes once, on the venue's time alone, though only another symbol's events tell of it."""
    btc, eth = (model_of(name).instrument() for name in ("BTCUSDT", "ETHUSDT"))
    events: list[tuple[int, str, dict[str, Any]]] = [
        (T0 + SECOND, "btcusdt@trade", trade(1, "100.0", "1.0", T0 + SECOND))
    ]
    events += [(T0 + i * SECOND, "ethusdt@bookTicker", quote(i, "ETHUSDT")) for i in range(2, 200)]
    sent = run(events, {"btcusdt@kline_1m"}, btc, eth)
    assert told(sent, "btcusdt@kline_1m") == [(0, False, 1), (0, True, 1), (60, True, 0), (120, True, 0)]
    flat = only(sent, "btcusdt@kline_1m")[2]["k"]
    assert (flat["o"], flat["c"], flat["v"], flat["f"], flat["L"]) == (
        *("100.00000000", "100.00000000", "0.00000000"),
        *(-1, -1),
    )


def test_a_bar_closes_with_its_last_trades() -> None:
    """A trade that comes just after its minute is in the bar that closes; a later one is in the next."""
    end = T0 + 60 * SECOND
    events = [
        (T0, "btcusdt@trade", trade(1, "100.0", "1.0", T0)),
        (end + 200_000, "btcusdt@trade", trade(2, "101.0", "1.0", end - 1) | {"E": end + 200_000}),
        (end + 260_000, "btcusdt@trade", trade(3, "102.0", "1.0", end - 1) | {"E": end + 260_000}),
        (end + 62 * SECOND, "btcusdt@bookTicker", quote(1)),
        (end + 64 * SECOND, "btcusdt@bookTicker", quote(2)),
    ]
    sent = told(run(events, {"btcusdt@kline_1m"}), "btcusdt@kline_1m")
    assert [bar for bar in sent if bar[1]] == [(0, True, 2), (60, True, 1)]


@pytest.mark.parametrize("told_of", [True, False])
def test_who_comes_back_begins_with_the_open_bar(*, told_of: bool) -> None:
    """No bar of the time of leaving is sent to a later listener, whether or not time went on meanwhile."""
    market, stream = VenueMarket([BTC]), "btcusdt@kline_1m"
    market.apply(T0, "btcusdt@trade", trade(1, "100.0", "1.0", T0), {stream})
    assert told(market.apply(T0 + 3 * SECOND, "btcusdt@bookTicker", quote(1), {stream}), stream)
    back = T0 + 3_602 * SECOND
    if told_of:
        market.begin(stream)
    for number in (2, 3):
        market.apply(back + 3 * (number - 4) * SECOND, "btcusdt@bookTicker", quote(number), ())
    sent = market.apply(back + SECOND // 2, "btcusdt@bookTicker", quote(4), {stream})
    assert told(sent, stream) == [(3_600, False, 0)]


def test_a_leap_of_the_time_closes_the_last_bars_only() -> None:
    """Ten years later a thousand seconds close, and not three hundred million."""
    leap = T0 + 10 * 365 * 86_400 * SECOND
    events = [
        (T0, "btcusdt@trade", trade(1, "100.0", "1.0", T0)),
        (T0 + 2 * SECOND, "btcusdt@bookTicker", quote(1)),
        (leap - 2 * SECOND, "btcusdt@bookTicker", quote(2)),
        (leap, "btcusdt@bookTicker", quote(3)),
    ]
    closed = [bar for bar in told(run(events, {"btcusdt@kline_1s"}), "btcusdt@kline_1s") if bar[1]]
    assert (closed[0], len(closed)) == ((0, True, 1), 1 + 1_000)
    assert closed[-1][0] == (leap - T0) // SECOND - 2  # a second more has its quarter of a second to wait


def test_bars_go_by_the_stamps_where_the_recorders_clock_was_wrong() -> None:
    """Received an hour early by its own clock, a minute's trades are still one minute's bar."""
    early = 3_600 * SECOND
    events = [
        (T0 + i * SECOND - early, "btcusdt@trade", trade(i + 1, "100.0", "1.0", T0 + i * SECOND))
        for i in range(70)
    ]
    sent = told(run(events, {"btcusdt@kline_1m"}), "btcusdt@kline_1m")
    assert [bar for bar in sent if bar[1]] == [(0, True, 60)]


@pytest.mark.parametrize("at", [0, 20, 100, 239])
@pytest.mark.parametrize("off_s", [3_600, 86_400 * 400, -3_600])
@pytest.mark.parametrize("copies", [1, 2])
def test_one_wrong_stamp_moves_no_bar(at: int, off_s: int, copies: int) -> None:
    """Every minute closes once with its own trades, though a trade, or it and its copy, has a wrong time."""
    market, sent = VenueMarket([BTC]), []
    for number in range(600):
        now = T0 + number * SECOND // 2
        stamp = now + off_s * SECOND if number == at else now
        for _ in range(copies if number == at else 1):
            told_now = market.apply(
                now, "btcusdt@trade", trade(number, "100.0", "1.0", stamp), {"btcusdt@kline_1m"}
            )
            sent += told(told_now, "btcusdt@kline_1m")
    counts = [120 + (copies - 1) * (minute == at // 120) for minute in range(5)]
    closed = [bar for bar in sent if bar[1]]
    assert closed == [(60 * minute, True, counts[minute]) for minute in range(4)]
    minutes = market.candles("BTCUSDT").candles("1m")
    assert [(c.start - T0 // SECOND, c.count) for c in minutes] == [(60 * n, counts[n]) for n in range(5)]


def test_no_bar_closes_twice_when_the_time_was_set_back() -> None:
    """Two wrong stamps that agree are believed; when they are not, bars go on after the last closed one."""
    market, sent = VenueMarket([BTC]), []
    for number in range(1_000):
        now = T0 + number * SECOND
        stamp = now + 600 * SECOND if number in {100, 101} else now
        told_now = market.apply(
            now, "btcusdt@trade", trade(number, "100.0", "1.0", stamp), {"btcusdt@kline_1m"}
        )
        sent += told(told_now, "btcusdt@kline_1m")
    assert [start for start, is_closed, _ in sent if is_closed] == [60 * minute for minute in range(16)]


@pytest.mark.parametrize("begins", [0, 1])
def test_an_open_bar_is_pushed_whatever_seconds_events_fall_on(begins: int) -> None:
    """A trade each two seconds, on even seconds or on odd ones, is a push each two seconds."""
    times = [T0 + begins * SECOND + SECOND // 2 + 2 * SECOND * i for i in range(20)]
    events = [(at, "btcusdt@trade", trade(i, "100.0", "1.0", at)) for i, at in enumerate(times)]
    sent = told(run(events, {"btcusdt@kline_1m"}), "btcusdt@kline_1m")
    assert sent == [(0, False, count) for count in range(1, 20)]


def test_a_clock_that_was_set_does_not_hold_up_the_bars() -> None:
    """An hour too late by its own clock, an unstamped quote; trades after it are in their own minutes."""
    market = VenueMarket([BTC])
    market.apply(T0, "btcusdt@trade", trade(1, "100.0", "1.0", T0), ())
    late = 3_600 * SECOND
    market.apply(T0 + 61 * SECOND + late, "btcusdt@bookTicker", quote(1), ())
    for number in (2, 3):
        at = T0 + 31 * number * SECOND
        market.apply(at + late, "btcusdt@trade", trade(number, "100.0", "1.0", at), ())
    minutes = market.candles("BTCUSDT").candles("1m")
    assert [(minute.start * SECOND - T0, minute.count) for minute in minutes] == [(0, 1), (60 * SECOND, 2)]


def test_a_day_by_a_clock_that_is_ahead_begins_earlier() -> None:
    """@kline_1d@+08:00 begins at 16:00 UTC and lasts a day; its interval has the plain name."""
    stream = "btcusdt@kline_1d@+08:00"
    events = [
        (T0, "btcusdt@trade", trade(1, "100.0", "1.0", T0)),
        (T0 + 3 * SECOND, "btcusdt@bookTicker", quote(1)),
    ]
    (sent,) = only(run(events, {stream}), stream)
    assert (sent["k"]["i"], sent["k"]["t"] // SECOND % 86_400) == ("1d", 16 * 3_600)
    assert sent["k"]["T"] - sent["k"]["t"] == 86_400 * SECOND - 1


def test_sums_of_tiny_sizes_have_no_exponent() -> None:
    """An aggregate's size is written out, as the venue writes all decimals."""
    events = [
        (T0, "btcusdt@trade", trade(1, "1.0", "0.00000005", T0)),
        (T0, "btcusdt@trade", trade(2, "1.0", "0.00000005", T0)),
        (T0 + 1, "btcusdt@bookTicker", quote(1)),
    ]
    (found,) = only(run(events, {"btcusdt@aggTrade"}), "btcusdt@aggTrade")
    assert found["q"] == "0.00000010"


@pytest.mark.parametrize(("own", "expected"), [(True, 0), (False, 1)])
def test_native_klines_pass_only_where_times_are_kept(*, own: bool, expected: int) -> None:
    """With rewritten times the venue's klines come from its trades; the source's would contradict them."""
    data = InstrumentData("X", "BTCUSDT", "binance", 2, 5, "0.01", "0.00001", channels=("trade", "bar"))
    market = VenueMarket([data], own_klines=own)
    native = {"e": "kline", "E": T0, "s": "BTCUSDT", "k": {"t": T0, "T": T0 + 59_999_999, "i": "1m"}}
    assert len(market.apply(T0, "btcusdt@kline_1m", native, Everything())) == expected


def test_without_depth_the_best_prices_answer() -> None:
    """A recording of quotes alone answers a depth request with one level of each side."""
    market = VenueMarket([BTC])
    market.apply(
        T0, "btcusdt@bookTicker", {"u": 9, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}, ()
    )
    assert market.depth("BTCUSDT", 5) == {"lastUpdateId": 9, "bids": [["1", "2"]], "asks": [["3", "4"]]}


def test_streams_of_unknown_symbols_are_passed_on() -> None:
    """What the venue has no definition of is sent to who asks for it, and otherwise left alone."""
    payload = {"e": "trade", "s": "ZZZ"}
    assert run([(T0, "zzz@trade", payload)], {"zzz@trade"}) == [("zzz@trade", payload)]
