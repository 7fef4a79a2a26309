"""Tickers, their windows and lists, and the average price, as they are pushed each second."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.serve.binance import MICROSECOND, MILLISECOND, encode_payload
from engine.serve.market import VenueMarket
from engine.serve.synthetic import model_of

SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_717_232_400 * SECOND  # a full hour
LISTS = ["!miniTicker@arr", "!ticker_1h@arr", "!ticker_4h@arr", "!ticker_1d@arr"]


def trade(symbol: str, number: int, price: str, time: int) -> tuple[int, str, dict[str, Any]]:
    payload = {
        "e": "trade",
        "E": time,
        "s": symbol,
        "t": number,
        "p": price,
        "q": "2.0",
        "T": time,
        "m": False,
    }
    return time, f"{symbol.lower()}@trade", payload


def market(*events: tuple[int, str, dict[str, Any]]) -> VenueMarket:
    """Two symbols, and what has happened to nobody's knowledge."""
    made = VenueMarket([model_of(name).instrument() for name in ("BTCUSDT", "ETHUSDT")])
    for event in events:
        made.apply(*event, ())
    return made


def tick(made: VenueMarket, time: int, *wanted: str) -> list[tuple[str, Any]]:
    """What a second that passes brings; the event that shows it is of no symbol."""
    return made.apply(time, "zzz@trade", {"e": "trade", "E": time}, set(wanted))


LONG_AGO = [
    trade("BTCUSDT", 1, "90.0", NOW - 23 * 60 * MINUTE),
    trade("BTCUSDT", 2, "95.0", NOW - 3 * 60 * MINUTE),
    trade("BTCUSDT", 3, "100.0", NOW - 30 * MINUTE),
    trade("BTCUSDT", 4, "110.0", NOW - 2 * MINUTE),
    trade("BTCUSDT", 5, "105.0", NOW - MINUTE),
]


@pytest.mark.parametrize(
    ("window", "hours", "opened", "count"), [("1h", 1, "100", 3), ("4h", 4, "95", 4), ("1d", 24, "90", 5)]
)
def test_a_window_sums_its_own_time_up(window: str, hours: int, opened: str, count: int) -> None:
    """First price, change, count and bounds are those of one, four and twenty-four hours."""
    stream = f"btcusdt@ticker_{window}"
    ((name, found),) = tick(market(*LONG_AGO), NOW + SECOND, stream)
    assert (name, found["e"], found["s"]) == (stream, f"{window}Ticker", "BTCUSDT")
    assert (found["o"], found["c"], found["n"]) == (f"{opened}.00000000", "105.00000000", count)
    assert float(found["p"]) == 105 - int(opened)
    assert (found["F"], found["L"]) == (6 - count, 5)
    assert (found["O"], found["C"]) == (NOW - hours * 60 * MINUTE + MINUTE, NOW + SECOND)
    assert set(found) == set("eEspPohlcwvqOCFLn")


def test_the_average_price_is_that_of_five_minutes() -> None:
    """It comes every second, traded or not, with the time of the last trade; before any trade it does not."""
    made = market(*LONG_AGO)
    wanted = "btcusdt@avgPrice", "ethusdt@avgPrice"
    sent = [tick(made, NOW + n * SECOND, *wanted) for n in (1, 2)]
    assert [[name for name, _ in each] for each in sent] == [[wanted[0]]] * 2
    assert sent[0][0][1] == {
        "e": "avgPrice",
        "E": NOW + SECOND,
        "s": "BTCUSDT",
        "i": "5m",
        "w": "107.50000000",
        "T": NOW - MINUTE,
    }


@pytest.mark.parametrize("stream", LISTS)
def test_a_list_holds_who_has_changed(stream: str) -> None:
    """Both at first, then the one that has traded since, then nothing comes."""
    made = market(trade("BTCUSDT", 1, "100.0", NOW), trade("ETHUSDT", 1, "10.0", NOW))
    ((_, both),) = tick(made, NOW + SECOND, stream)
    assert [each["s"] for each in both] == ["BTCUSDT", "ETHUSDT"]
    made.apply(*trade("ETHUSDT", 2, "11.0", NOW + SECOND + 5), {stream})
    ((name, one),) = tick(made, NOW + 2 * SECOND, stream)
    assert (name, [(each["s"], each["c"]) for each in one]) == (stream, [("ETHUSDT", "11.00000000")])
    assert tick(made, NOW + 3 * SECOND, stream) == []


def test_a_list_holds_what_the_single_streams_say() -> None:
    """Of one second, `!miniTicker@arr` is the `@miniTicker` of each symbol."""
    made = market(trade("BTCUSDT", 1, "100.0", NOW), trade("ETHUSDT", 1, "10.0", NOW))
    sent = dict(tick(made, NOW + SECOND, "!miniTicker@arr", "btcusdt@miniTicker", "ethusdt@miniTicker"))
    assert sent["!miniTicker@arr"] == [sent["btcusdt@miniTicker"], sent["ethusdt@miniTicker"]]


def test_the_list_that_the_venue_gave_up_stays_silent() -> None:
    """`!ticker@arr` is granted and brings nothing, as at the venue."""
    assert tick(market(*LONG_AGO), NOW + SECOND, "!ticker@arr") == []


@pytest.mark.parametrize(("unit", "divisor"), [(MILLISECOND, 1_000), (MICROSECOND, 1)])
def test_stamps_in_a_list_are_in_the_clients_unit(unit: str, divisor: int) -> None:
    """Each entry's time of event, of opening and of closing."""
    ((_, found),) = tick(market(*LONG_AGO), NOW + SECOND, "!ticker_1h@arr")
    (entry,) = json.loads(encode_payload(found, unit))
    assert (entry["E"], entry["C"]) == ((NOW + SECOND) // divisor,) * 2
    assert entry["O"] == found[0]["O"] // divisor
