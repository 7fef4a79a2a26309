"""Binance's history where little of what is asked for is there: what that costs, and that nothing is lost."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from engine.feed.binance_history import BarStream, TradeStream
from engine.model.units import MILLISECOND_NS as MS
from engine.model.units import SECOND_NS
from tests.helpers.history_pages import DAY, HOUR, aggregate, candle, single
from tests.helpers.logs import START

PAGE = 50  # entries of a page of the venue below
Past = list[tuple[int, int]]  # ids and times in ns of single trades, each an aggregate trade of its own


def past_of(chance: random.Random, count: int, span: int) -> Past:
    """So many trades at random times, some of them at one time."""
    times = sorted(chance.randrange(span // MS // 10) * 10 * MS for _ in range(count))
    return [(1_000 + i, START + time) for i, time in enumerate(times)]


def fetched(
    past: Past, answers: Callable[[int], bool], stream: TradeStream
) -> tuple[list[int], list[tuple[int, int]], int]:
    """The ids that a stream takes, its holes, and how often it asks.

    answers: whether historicalTrades has something from this id on; aggTrades has all of `past`.
    """
    taken: list[int] = []
    holes: list[tuple[int, int]] = []
    for number in range(5_000):
        path = stream.next()
        if path is None:
            return taken, holes, number
        wanted = dict(parse_qsl(urlsplit(path).query))
        items: list[Any] = []
        if "fromId" not in wanted:
            begin, end = int(wanted["startTime"]), int(wanted["endTime"])
            there = [(i, ns) for i, ns in past if begin <= ns // MS <= end]
            items = [aggregate(i, ns) for i, ns in there[: min(PAGE, int(wanted["limit"]))]]
        elif answers(int(wanted["fromId"])):
            there = [(i, ns) for i, ns in past if i >= int(wanted["fromId"]) and answers(i)]
            items = [single(i, ns) for i, ns in there[:PAGE]]
        page = stream.take(json.dumps(items).encode())
        taken += [item.id for item in page.items]
        holes += [(hole.first, hole.last) for hole in page.holes]
    raise AssertionError


@pytest.mark.parametrize(("count", "span", "most"), [(5_000, HOUR, 110), (20_000, DAY, 220), (3, HOUR, 30)])
def test_trades_that_are_not_there_cost_few_requests(count: int, span: int, most: int) -> None:
    """Where aggregate trades are known and no single one, the fetch comes to the end in leaps."""
    past = past_of(random.Random(1), count, span)
    taken, holes, requests = fetched(
        past, lambda _id: False, TradeStream("X", START, START + span, aggregate=False)
    )
    assert (taken, holes) == ([], [])
    assert requests <= most


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("part", [0.0001, 0.01, 0.5, 0.9, 0.999, 0.9999])
def test_a_leap_loses_no_trade_that_is_there(seed: int, part: float) -> None:
    """A history that begins anywhere is taken from its first trade on; what is before it is one hole."""
    chance = random.Random(seed)
    past = past_of(chance, 10_000, 6 * HOUR)
    oldest = 1_000 + int(part * len(past))
    stream = TradeStream("X", START, START + 6 * HOUR, aggregate=False)
    taken, holes, requests = fetched(past, lambda i: i >= oldest, stream)
    assert taken == list(range(oldest, 11_000))
    assert (holes, stream.carried) == ([(1_000, oldest - 1)] if oldest > 1_000 else [], "10999")
    assert requests <= len(taken) // PAGE + 200


def test_trades_are_found_behind_hours_in_which_nobody_traded() -> None:
    """The last trades before the end are come to although a leap would go over them."""
    crowd = [(1_000 + i, START + i * 20 * MS) for i in range(1_000)]
    late = [(2_000 + i, START + 20 * SECOND_NS + i * SECOND_NS) for i in range(5)]
    for first in (2_000, 2_004):
        stream = TradeStream("X", START, START + 12 * HOUR, aggregate=False)
        taken, holes, _ = fetched(crowd + late, lambda i: i >= first, stream)  # noqa: B023
        assert (taken, holes) == (list(range(first, 2_005)), [(1_000, first - 1)])


@pytest.mark.parametrize("seed", range(6))
def test_a_history_in_pieces_is_taken_or_said_to_be_missing(seed: int) -> None:
    """Of pieces with nothing between them, every id up to the last trade is taken or in a hole."""
    chance = random.Random(seed)
    past = past_of(chance, 8_000, 6 * HOUR)
    cuts = sorted(chance.sample(range(1_000, 9_000), 6))
    pieces = [range(*cuts[i : i + 2]) for i in (0, 2, 4)]
    stream = TradeStream("X", START, START + 6 * HOUR, aggregate=False)
    taken, holes, requests = fetched(past, lambda i: any(i in piece for piece in pieces), stream)
    missing = [i for first, last in holes for i in range(first, last + 1)]
    assert sorted(taken + missing) == list(range(1_000, taken[-1] + 1))
    assert requests < 1_000


@pytest.mark.parametrize("seed", range(20))
def test_no_answers_whatever_hold_a_fetch_for_ever(seed: int) -> None:
    """A venue that answers each request at random, out of its time and its ids, comes to an end."""
    chance = random.Random(seed)
    stream = TradeStream("X", START, START + HOUR, aggregate=False)
    much = chance.choice([0.0, 0.02, 0.3])
    for _ in range(20_000):
        path = stream.next()
        if path is None:
            break
        number, time = chance.randrange(500), START + chance.randrange(-HOUR, 2 * HOUR)
        make = aggregate if "/aggTrades?" in path else single
        there = make is aggregate or chance.random() < much
        stream.take(json.dumps([make(number, time)] if there else []).encode())
    assert stream.next() is None


def months(first: int, last: int) -> list[list[Any]]:
    """Bars of months, counted from January 2020."""
    starts = [dt.datetime(2020 + i // 12, i % 12 + 1, 1, tzinfo=dt.UTC) for i in range(last + 1)]
    ns = [int(start.timestamp()) * SECOND_NS for start in starts]
    return [candle(ns[i], ns[i + 1] - ns[i]) for i in range(first, last)]


def bars_by_day(bars: list[list[Any]], interval: str, begin: int, days: int) -> tuple[list[int], int]:
    """Starts (ms) of the bars that a fetch of so many days takes, a stream for each, and its requests."""
    taken, requests = [], 0
    for day in range(days):
        stream = BarStream(
            "X",
            begin,
            begin + days * DAY,
            interval,
            first_end=begin + day * DAY if day else 0,
            last_end=begin + (day + 1) * DAY if day < days - 1 else 0,
        )
        while (path := stream.next()) is not None:
            requests += 1
            wanted = dict(parse_qsl(urlsplit(path).query))
            since, until = int(wanted.get("startTime", 0)), int(wanted["endTime"])
            there = [bar for bar in bars if since <= bar[0] <= until]
            items = there[:1000] if "startTime" in wanted else there[-1:]
            taken += [int(item.start) for item in stream.take(json.dumps(items).encode()).items]
    return taken, requests


@pytest.mark.parametrize("offset", [0, 1, 14, 30])
def test_months_cut_into_days_cost_a_request_a_day(offset: int) -> None:
    """Whole months are taken once each, on the day of their end; no day asks twice."""
    bars = months(0, 40)
    begin, days = bars[3][0] * MS + offset * DAY, 1_000
    taken, requests = bars_by_day(bars, "1M", begin, days)
    end = (begin + days * DAY) // MS
    assert taken == [bar[0] for bar in bars if bar[0] >= begin // MS and bar[6] < end]
    assert requests <= days


def test_days_in_which_no_month_can_end_are_not_asked_for() -> None:
    """A fetch of less than the shortest month asks nobody for bars of months."""
    bars = months(0, 12)
    assert bars_by_day(bars, "1M", bars[0][0] * MS, 27) == ([], 0)
