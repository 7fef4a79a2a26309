"""Pages of Binance's history that bring nothing, or what was there before: what is asked and lost then."""

from __future__ import annotations

import random
from typing import Any

import pytest

from engine.feed.binance_history import BarStream, TradeStream
from engine.model.units import MILLISECOND_NS as MS
from engine.model.units import SECOND_NS
from tests.helpers.history_pages import DAY, HOUR, MINUTE, aggregate, asked, candle, give, ids, single
from tests.helpers.logs import START


@pytest.mark.parametrize("kind", ["empty", "the page before"])
@pytest.mark.parametrize("times", [1, 2])
def test_one_page_that_brings_nothing_loses_no_trade(times: int, kind: str) -> None:
    """Four trades of one millisecond, cut in two: a page without news between them makes no hole."""
    trades = [aggregate(n, START + 5 * MS) for n in range(10, 14)] + [aggregate(14, START + DAY)]
    stream = TradeStream("BTCUSDT", START, START + DAY, carried="9")
    found = ids(give(stream, trades[:2]))
    for _ in range(times):
        give(stream, trades[:2] if kind == "the page before" else [])
    wanted = asked(stream)
    assert ("startTime" in wanted) == (times == 2)
    since = int(wanted.get("startTime", 0))
    page = give(stream, [t for t in trades if t["T"] >= since and t["a"] >= int(wanted.get("fromId", 0))])
    assert (found + ids(page), page.holes, stream.next()) == ([10, 11, 12, 13], [], None)


def answers_of(trades: list[dict[str, Any]], wanted: dict[str, str], *, aggregates: bool) -> list[Any]:
    """What a venue of these aggregate trades, each of two single ones, answers; five a page."""
    if "startTime" in wanted:
        return [t for t in trades if int(wanted["startTime"]) <= t["T"] <= int(wanted["endTime"])][:5]
    first = int(wanted["fromId"])
    if aggregates:
        return [t for t in trades if t["a"] >= first][:5]
    singles = [single(t["f"] + more, t["T"] * MS) for t in trades for more in (0, 1)]
    return [s for s in singles if s["id"] >= first][:5]


@pytest.mark.parametrize("aggregates", [True, False], ids=["aggtrade", "trade"])
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_pages_that_bring_nothing_anywhere(seed: int, most: int, aggregates: bool) -> None:  # noqa: FBT001
    """So many in a row, at random: one never costs a trade; with more, what is lost is said as a hole."""
    chance = random.Random(seed)
    times = sorted(chance.randrange(2 * HOUR // MS) for _ in range(60))
    times = [time for time in times for _ in range(chance.randrange(1, 4))]
    trades = []
    for number, time in enumerate(times, start=20):
        entry = aggregate(number, START + time * MS, first=2 * number)
        trades.append({**entry, "l": 2 * number + 1})
    stream = TradeStream("BTCUSDT", START, START + 2 * HOUR, aggregate=aggregates)
    found: list[int] = []
    lost: list[int] = []
    before: list[Any] = []
    row = 0
    while (path := stream.next()) is not None:
        of_aggregates = "aggTrades" in path
        items = answers_of(trades, asked(stream), aggregates=of_aggregates)
        row = row + 1 if row < most and chance.random() < 0.4 else 0
        same_kind = [item for item in before if ("a" in item) == of_aggregates]
        page = give(stream, chance.choice([[], same_kind]) if row else items)
        before = before if row else items
        found += ids(page)
        lost += [number for hole in page.holes for number in range(hole.first, hole.last + 1)]
    known = [t["a"] for t in trades] if aggregates else [t["f"] + more for t in trades for more in (0, 1)]
    if most == 1:
        assert (found, lost) == (known, [])
    said = sorted(found + lost)
    assert said == [number for number in known if said[0] <= number <= said[-1]]


def test_one_empty_hour_is_no_reason_to_pass_over_it() -> None:
    """An hour without a trade is asked for twice before the next one, as nothing else would show them."""
    for aggregates in (True, False):
        stream = TradeStream("BTCUSDT", START, START + DAY, aggregate=aggregates)
        give(stream, [])
        assert asked(stream)["startTime"] == str(START // MS)
        give(stream, [aggregate(70, START + 2 * MS)])
        assert asked(stream)["fromId"] == ("71" if aggregates else "70")


def test_single_trades_that_an_aggregate_names_are_not_lost_in_silence() -> None:
    """Where the ids that an aggregate trade names bring nothing, what comes later shows the hole."""
    stream = TradeStream("BTCUSDT", START, START + DAY, aggregate=False)
    give(stream, [aggregate(7, START + MS, first=700)])
    for _ in range(2):
        assert asked(stream)["fromId"] == "700"
        give(stream, [])
    assert asked(stream)["startTime"] == str(START // MS + 2)
    give(stream, [aggregate(8, START + 3 * MS, first=701)])
    page = give(stream, [single(701, START + 3 * MS)])
    assert (ids(page), [(h.first, h.last) for h in page.holes]) == ([701], [(700, 700)])


def bars_of(bars: list[list[Any]], stream: BarStream, spoilt: dict[int, list[Any]]) -> tuple[list[int], int]:
    """Which bars a stream takes of a venue that has `bars`, five a page, and how often it asks.

    spoilt: what the requests of these numbers are answered in place of the truth.
    """
    taken: list[int] = []
    for number in range(200):
        if stream.next() is None:
            return taken, number
        wanted = asked(stream)
        begin, end, limit = int(wanted.get("startTime", 0)), int(wanted["endTime"]), int(wanted["limit"])
        found = [bar for bar in bars if begin <= bar[0] <= end]
        truth = found[: min(limit, 5)] if "startTime" in wanted else found[-limit:]
        page = give(stream, spoilt.get(number, truth))
        taken += [(int(item.start) * MS - START) // MINUTE for item in page.items]
    raise AssertionError


@pytest.mark.parametrize("kind", ["empty", "the page before"])
@pytest.mark.parametrize("times", range(5))
def test_pages_that_bring_nothing_do_not_end_the_bars(times: int, kind: str) -> None:
    """Up to two such pages cost nothing, the fourth is believed where the others are; few bars are lost."""
    bars = [candle(START + i * MINUTE) for i in range(30)]
    page = [] if kind == "empty" else bars[5:10]
    spoilt = {2 + i: page for i in range(times)}
    taken, requests = bars_of(bars, BarStream("BTCUSDT", START, START + 30 * MINUTE, "1m"), spoilt)
    if times < 3:
        lost = 0
    elif times == 3:
        lost = 1  # who was asked for the last bar said that there are more: on by one
    else:
        lost = 20  # it said that there are none
    assert taken == [*range(10), *range(10 + lost, 30)]
    assert requests == {0: 6, 1: 7, 2: 8, 3: 10}.get(times, 6)


def test_bars_that_cannot_be_reached_are_passed_over_further_and_further() -> None:
    """Where the venue says that bars follow but gives none, the fetch asks ahead, and takes up the rest."""
    bars = [candle(START + i * MINUTE) for i in range(30)]
    spoilt: dict[int, list[Any]] = {number: [] for number in (2, 3, 4, 6, 7, 8)}  # 5: which is the last?
    taken, _ = bars_of(bars, BarStream("BTCUSDT", START, START + 30 * MINUTE, "1m"), spoilt)
    assert taken == [*range(10), *range(10 + 1 + 2 + 4 + 8, 30)]
    for number in range(9, 20):
        spoilt[number] = []
    taken, requests = bars_of(bars, BarStream("BTCUSDT", START, START + 30 * MINUTE, "1m"), spoilt)
    assert (taken, requests) == ([*range(10)], 11)


@pytest.mark.parametrize("there", [range(0), range(7), range(25, 30), range(10, 12), range(30)])
def test_bars_end_where_the_venue_has_no_more(there: range) -> None:
    """Before a listing, after a delisting, between both: what is there is taken, with few requests more."""
    bars = [candle(START + i * MINUTE) for i in there]
    taken, requests = bars_of(bars, BarStream("BTCUSDT", START, START + 30 * MINUTE, "1m"), {})
    assert taken == list(there)
    assert requests <= len(there) // 5 + 5


def test_no_bar_is_asked_for_that_cannot_be_whole() -> None:
    """An end within a bar is reached with the bar before."""
    stream = BarStream("BTCUSDT", START, START + 2 * MINUTE + SECOND_NS, "1m")
    give(stream, [candle(START + i * MINUTE) for i in range(2)])
    assert stream.next() is None


def test_months_end_where_the_venue_has_no_more() -> None:
    """Bars whose length is not known are sought ahead as well."""
    months = [candle(START + 31 * i * DAY, 31 * DAY) for i in range(12)]
    stream = BarStream("BTCUSDT", START, START + 12 * 31 * DAY, "1M")
    taken, _ = bars_of(months, stream, {n: [] for n in range(1, 4)})
    assert [minute // 1_440 // 31 for minute in taken] == list(range(12))
