"""Binance's history pages: which page is next, what of it counts, and what is refused."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from engine.feed.binance_history import LIMIT, BarStream, TradeStream, end_of, interval_ns
from engine.feed.decimals import TooFine
from engine.feed.history import Placed, decimals_of_page
from engine.feed.parser import Malformed
from engine.model.errors import UsageError
from engine.model.kinds import Flag, Kind, StatusData
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS as MS
from engine.model.units import SECOND_NS
from tests.helpers.history_pages import DAY, HOUR, MINUTE, aggregate, asked, candle, give, ids, single
from tests.helpers.logs import BTC, START

PLACED = Placed(1, 1, BTC)
TRADES = ("aggtrade", "trade")


def status_rows(rows: RowBuffer) -> list[StatusData]:
    """What STATUS rows say."""
    import msgspec

    return [msgspec.json.decode(text, type=StatusData) for text in rows.data]


def test_trades_are_sought_hour_by_hour_and_then_followed_by_id() -> None:
    """Empty hours are passed over; from the first trade on ids lead; the first one behind the end ends it."""
    stream = TradeStream("BTCUSDT", START, START + DAY)
    assert asked(stream) == {
        "symbol": "BTCUSDT",
        "startTime": str(START // MS),
        "endTime": str((START + HOUR) // MS - 1),
        "limit": str(LIMIT),
    }
    for _ in range(2):
        assert ids(give(stream, [])) == []
    assert asked(stream)["startTime"] == str((START + HOUR) // MS)
    assert ids(give(stream, [aggregate(70, START + 2 * HOUR), aggregate(71, START + 2 * HOUR)])) == [70, 71]
    assert asked(stream) == {"symbol": "BTCUSDT", "fromId": "72", "limit": str(LIMIT)}
    page = give(stream, [aggregate(72, START + DAY - MS), aggregate(73, START + DAY)])
    assert (ids(page), page.holes, stream.next(), stream.carried) == ([72], [], None, "72")


def test_a_page_that_ends_early_is_asked_on() -> None:
    """A page of three where a thousand were asked for is no end: the next id is asked for."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="9")
    assert asked(stream)["fromId"] == "10"
    give(stream, [aggregate(n, START) for n in (10, 11, 12)])
    assert asked(stream)["fromId"] == "13"


def test_ids_that_jump_are_a_hole() -> None:
    """Missing ids are said before the trade behind them, also where they lie between two pages."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="9")
    rows = RowBuffer()
    stream.append(give(stream, [aggregate(10, START), aggregate(14, START + MS)]), PLACED, rows)
    stream.append(give(stream, [aggregate(20, START + 2 * MS)]), PLACED, rows)
    assert [(s.event, s.channel, s.first, s.last) for s in status_rows(rows)] == [
        ("gap", "aggtrade", 11, 13),
        ("gap", "aggtrade", 15, 19),
    ]
    kinds = [Kind(k) for k in rows.view()["kind"]]
    assert kinds == [Kind.TRADE, Kind.STATUS, Kind.TRADE, Kind.STATUS, Kind.TRADE]


def test_a_hole_up_to_the_end_is_said_once() -> None:
    """Ids missing before the first trade behind the end are a hole of this stream, not of the next."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="9")
    rows = RowBuffer()
    stream.append(give(stream, [aggregate(10, START), aggregate(15, START + DAY)]), PLACED, rows)
    assert [(s.first, s.last) for s in status_rows(rows)] == [(11, 14)]
    following = TradeStream("BTCUSDT", START + DAY, START + 2 * DAY, carried=stream.carried)
    page = give(following, [aggregate(15, START + DAY)])
    assert (ids(page), page.holes) == ([15], [])


def test_what_follows_a_silent_end_is_sought_by_time() -> None:
    """When no id follows, asked twice, the rest is sought by time; what is found shows the hole before it."""
    stream = TradeStream("BTCUSDT", START, START + 2 * HOUR, carried="9")
    give(stream, [aggregate(10, START + 5 * MS)])
    give(stream, [])
    assert asked(stream)["fromId"] == "11"
    give(stream, [])
    assert asked(stream)["startTime"] == str(START // MS + 5)
    page = give(stream, [aggregate(10, START + 5 * MS), aggregate(90, START + 9 * MS)])
    assert (ids(page), [(h.first, h.last) for h in page.holes]) == ([90], [(11, 89)])
    for _ in range(2):
        assert asked(stream)["fromId"] == "91"
        give(stream, [])
    give(stream, [aggregate(90, START + 9 * MS)])
    for hour in (0, 0, 1, 1):
        assert asked(stream)["startTime"] == str((START + hour * HOUR) // MS + 10)
        give(stream, [])
    assert stream.next() is None
    assert stream.carried == "90"


def test_pages_that_overlap_count_once() -> None:
    """What was there before is passed over."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="9")
    give(stream, [aggregate(10, START), aggregate(11, START)])
    assert ids(give(stream, [aggregate(11, START), aggregate(12, START)])) == [12]


def test_a_venue_that_never_moves_on_does_not_hold_a_stream_for_ever() -> None:
    """A venue that repeats one page whatever it is asked ends the stream, with each trade once."""
    for aggregates in (True, False):
        stream = TradeStream("BTCUSDT", START, START + DAY, aggregate=aggregates)
        found = []
        for _ in range(200):
            if stream.next() is None:
                break
            of_aggregates = "aggTrades" in (stream.next() or "")
            make = aggregate if of_aggregates else single
            found += ids(give(stream, [make(5, START + HOUR), make(6, START + HOUR)]))
        assert stream.next() is None
        assert found == [5, 6]


def test_single_trades_begin_where_the_first_aggregate_does() -> None:
    """HistoricalTrades knows no times: the aggregate trade at the time says the first id."""
    stream = TradeStream("BTCUSDT", START, START + DAY, aggregate=False)
    assert "/aggTrades?" in (stream.next() or "")
    assert ids(give(stream, [aggregate(7, START + MS, first=700)])) == []
    path = stream.next()
    assert path is not None
    assert path.startswith("/api/v3/historicalTrades?")
    assert asked(stream)["fromId"] == "700"
    rows = RowBuffer()
    stream.append(give(stream, [single(700, START + MS), single(701, START + DAY)]), PLACED, rows)
    assert stream.next() is None
    assert rows.view()["id"].tolist() == [700]


@pytest.mark.parametrize("unit", [1, 1_000], ids=["milliseconds", "microseconds"])
def test_trade_rows_are_exact(unit: int) -> None:
    """Prices and sizes as they stand, the aggressor's side, times in either unit, flagged as imported."""
    items = [aggregate(4, START + 7 * MS), aggregate(5, START + 9 * MS, price="59999.99")]
    for item in items:
        item["T"] *= unit
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="3")
    rows = RowBuffer()
    placed = Placed(3, 2, BTC, feed_latency_ns=20 * MS)
    stream.append(give(stream, items), placed, rows)
    view = rows.view()
    assert view["price"].tolist() == [6_000_001, 5_999_999]
    assert view["size"].tolist() == [10_000, 10_000]
    assert view["side"].tolist() == [-1, 1]
    assert view["ts_venue"].tolist() == [START + 7 * MS, START + 9 * MS]
    assert view["ts"].tolist() == [START + 27 * MS, START + 29 * MS]
    assert set(view["flags"].tolist()) == {int(Flag.IMPORTED | Flag.LAST | Flag.AGGREGATE)}
    assert (set(view["source"].tolist()), set(view["instrument"].tolist())) == ({3}, {2})


def test_entries_of_nothing_are_kept_from_strategies() -> None:
    """Trades of no size at no price, which old years have, are rows, flagged as rejected; others are not."""
    nothing = {**aggregate(4, START), "p": "0.00000000", "q": "0.00000000", "f": -1, "l": -1}
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="3")
    rows = RowBuffer()
    stream.append(give(stream, [nothing, aggregate(5, START)]), PLACED, rows)
    rejected = (rows.view()["flags"] & int(Flag.REJECTED_TICK)) != 0
    assert rejected.tolist() == [True, False]
    single_trades = TradeStream("BTCUSDT", START, START + DAY, aggregate=False)
    give(single_trades, [nothing, aggregate(5, START, first=50)])
    assert asked(single_trades)["fromId"] == "50"


def test_stamps_that_go_back_do_not_turn_the_order() -> None:
    """Ids decide the order: a stamp that goes back keeps its place and its own venue time."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="3")
    rows = RowBuffer()
    stream.append(give(stream, [aggregate(4, START + 9 * MS), aggregate(5, START + 7 * MS)]), PLACED, rows)
    assert rows.view()["ts"].tolist() == [START + 9 * MS, START + 9 * MS]
    assert rows.view()["ts_venue"].tolist() == [START + 9 * MS, START + 7 * MS]


def test_more_decimals_than_the_definition_has() -> None:
    """A finer price is refused by the definition's units, and the page says how many decimals it needs."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="3")
    page = give(stream, [aggregate(4, START, price="60000.01230000")])
    with pytest.raises(TooFine):
        stream.append(page, PLACED, RowBuffer())
    assert decimals_of_page(page) == (4, 1)


def test_bars_are_paged_by_time() -> None:
    """The page after the last bar is asked for until the end is reached; only whole bars are taken."""
    stream = BarStream("BTCUSDT", START, START + 5 * MINUTE, "1m")
    assert asked(stream) == {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "startTime": str(START // MS),
        "endTime": str((START + 5 * MINUTE) // MS - 1),
        "limit": str(LIMIT),
    }
    assert len(give(stream, [candle(START + i * MINUTE) for i in range(2)]).items) == 2
    assert asked(stream)["startTime"] == str((START + 2 * MINUTE) // MS)
    assert len(give(stream, [candle(START + i * MINUTE) for i in (2, 4)]).items) == 2
    assert stream.next() is None
    part = BarStream("BTCUSDT", START + SECOND_NS, START + 2 * MINUTE + SECOND_NS, "1m")
    assert len(give(part, [candle(START + i * MINUTE) for i in range(3)]).items) == 1


def test_bar_rows() -> None:
    """A bar is four rows at its end, the start as its venue time; the close carries volume and trades."""
    stream = BarStream("BTCUSDT", START, START + MINUTE, "1m")
    rows = RowBuffer()
    stream.append(give(stream, [candle(START)]), PLACED, rows)
    view = rows.view()
    assert view["price"].tolist() == [100, 300, 50, 200]
    assert view["part"].tolist() == [1, 2, 3, 4]
    assert view["size"].tolist() == [0, 0, 0, 750_000]
    assert view["id"].tolist() == [0, 0, 0, 4]
    assert set(view["ts"].tolist()) == {START + MINUTE}
    assert set(view["ts_venue"].tolist()) == {START}
    assert [bool(f & Flag.LAST) for f in view["flags"].tolist()] == [False, False, False, True]
    assert json.loads(rows.data[0]) == {"interval_ns": MINUTE, "close_time": START + MINUTE - MS}


def test_days_share_bars_without_a_double() -> None:
    """Cut at midnight, the bar that ends there belongs to the day that begins there, and to no other."""
    bars = [candle(START + i * MINUTE) for i in range(-3, 3)]
    begin, end = START - 3 * MINUTE, START + 3 * MINUTE
    first = BarStream("BTCUSDT", begin, end, "1m", last_end=START)
    second = BarStream("BTCUSDT", begin, end, "1m", first_end=START)
    taken = [[end_of(item) for item in give(stream, bars).items] for stream in (first, second)]
    assert [len(part) for part in taken] == [2, 4]
    assert sorted(taken[0] + taken[1]) == [begin + i * MINUTE for i in range(1, 7)]


def test_unknown_intervals_are_refused() -> None:
    """An interval that the venue does not have is named with those it has."""
    with pytest.raises(UsageError, match="7m"):
        interval_ns("7m")


@pytest.mark.parametrize(
    ("items", "field"),
    [
        ([aggregate(4, START), aggregate(4, START)], "id"),
        ([aggregate(4, START, price="1e5")], "price"),
        ([aggregate(4, START, price="-1")], "price"),
        ([{"a": 4}], ""),
        ([{**aggregate(4, START), "T": -1}], ""),
        ({"code": -1121, "msg": "Invalid symbol."}, ""),
    ],
)
def test_bad_pages_change_nothing(items: Any, field: str) -> None:
    """What breaks the protocol is refused, named by field, and the same page is asked for again."""
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="3")
    before = stream.next()
    with pytest.raises(Malformed) as refused:
        stream.take(json.dumps(items).encode())
    assert refused.value.data.field.endswith(field)
    assert (stream.next(), stream.carried) == (before, "3")


@pytest.mark.parametrize(
    "bars", [[candle(START), candle(START)], [candle(START, -MINUTE)], [candle(START, close="x")], [[1, 2]]]
)
def test_bad_bars_change_nothing(bars: list[Any]) -> None:
    """The same of bars."""
    stream = BarStream("BTCUSDT", START, START + DAY, "1m")
    before = stream.next()
    with pytest.raises(Malformed):
        stream.take(json.dumps(bars).encode())
    assert stream.next() == before


@pytest.mark.parametrize("seed", range(3))
def test_cut_and_random_bytes_are_malformed(seed: int) -> None:
    """A page cut at any byte, or with bytes exchanged, is taken or refused as malformed."""
    chance = random.Random(seed)
    bodies = {
        "trade": json.dumps([aggregate(n, START + n) for n in range(4, 9)]).encode(),
        "bar": json.dumps([candle(START + n * MINUTE) for n in range(3)]).encode(),
    }
    refused = 0
    for name, body in bodies.items():
        for cut in range(len(body)):
            altered = bytearray(body)
            altered[cut] = chance.randrange(256)
            for broken in (body[:cut], bytes(altered), chance.randbytes(cut % 64)):
                stream = (
                    TradeStream("BTCUSDT", START, START + DAY)
                    if name == "trade"
                    else BarStream("BTCUSDT", START, START + DAY, "1m")
                )
                try:
                    stream.take(broken)
                except Malformed:
                    refused += 1
    assert refused > sum(map(len, bodies.values()))
