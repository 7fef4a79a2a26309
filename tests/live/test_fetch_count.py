"""What a fetch says at its end: of all that was asked for, whichever run of it brought it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.fetch import _text
from engine.feed import binance_history
from engine.live.fetch import Report
from engine.live.fetch_binance import BinanceHistory
from engine.live.fetch_client import Answer
from engine.live.fetch_count import counted
from engine.live.fetch_plan import Request
from engine.log.check import check
from engine.model.units import SECOND_NS
from tests.helpers.history_venue import MIDNIGHT, Past, Scripted, Time, replaced

MINUTE, DAY = 60 * SECOND_NS, 86_400 * SECOND_NS
Spoil = Callable[[str, Answer], Answer]


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def past() -> Past:
    """Thirty minutes of one symbol around a midnight."""
    return Past(minutes=30, symbols=("BTCUSDT",))


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of five bars."""
    monkeypatch.setattr(binance_history, "LIMIT", 5)


def bars(past: Past, folder: Path, spoil: Spoil | None = None) -> Report:
    """Fetch the minutes."""
    return asyncio.run(past.fetch(folder, Scripted(past, Time(), spoil=spoil), channels=("bar",)).run())


def spoilt(kind: str) -> Spoil:
    """The third page of klines is empty, or the one before."""
    pages: list[Answer] = []

    def spoil(path: str, answer: Answer) -> Answer:
        if "klines" not in path:
            return answer
        pages.append(answer)
        if len(pages) != 3:
            return answer
        return replaced(answer, []) if kind == "empty" else pages[1]

    return spoil


@pytest.mark.parametrize("kind", ["empty", "the page before"])
def test_one_page_that_brings_nothing_costs_no_bar(past: Past, tmp_path: Path, kind: str) -> None:
    """All thirty bars are there, and nothing is said to be missing."""
    report = bars(past, tmp_path, spoilt(kind))
    assert (report.facts, report.bars_possible, report.bars_missing) == (30, 30, {})
    assert "did not come" not in _text(report)


@pytest.mark.parametrize("pages", range(2, 9))
def test_killed_where_pages_bring_nothing(past: Past, tmp_path: Path, pages: int) -> None:
    """Five empty pages in a row, a kill at any of them: the same bars as of a fetch that was left alone."""

    def run(folder: Path, kill_at: int) -> Report:
        count = 0

        def spoil(path: str, answer: Answer) -> Answer:
            nonlocal count
            if "klines" not in path or "startTime" not in path:
                return answer
            count += 1
            if count == kill_at:
                raise Killed
            asked = count - (0 < kill_at < count)
            return replaced(answer, []) if 3 <= asked < 8 else answer

        fetch = past.fetch(folder, Scripted(past, Time(), spoil=spoil), channels=("bar",))
        if kill_at:
            with pytest.raises(Killed):
                asyncio.run(fetch.run())
            fetch = past.fetch(folder, Scripted(past, Time(), spoil=spoil), channels=("bar",))
        return asyncio.run(fetch.run())

    whole, killed = run(tmp_path / "whole", 0), run(tmp_path / "killed", pages)
    assert whole.bars_missing == {"BTCUSDT": 1 + 2 + 4}
    chains = [check(Path(report.files[0])).chain for report in (whole, killed)]
    assert (killed.bars_missing, chains[0]) == (whole.bars_missing, chains[1])


def test_bars_that_did_not_come_are_said(past: Past, tmp_path: Path) -> None:
    """How many of how many, also when a finished fetch is started again."""

    def spoil(path: str, answer: Answer) -> Answer:
        if "klines" not in path:
            return answer
        items = [item for item in json.loads(answer.body) if not 4 <= item[0] // 60_000_000 % 60 < 12]
        return replaced(answer, items)

    report = bars(past, tmp_path, spoil)
    again = bars(past, tmp_path)
    for each in (report, again):
        assert (each.facts, each.bars_possible, each.bars_missing) == (22, 30, {"BTCUSDT": 8})
        assert "BTCUSDT: 8 of 30 bars did not come" in _text(each)
    assert "in this run" in _text(report)
    assert "finished already" in _text(again)


@pytest.mark.parametrize(
    ("interval", "begin", "end", "bars_there"),
    [
        ("1m", MIDNIGHT, MIDNIGHT + 3 * MINUTE, 3),
        ("1m", MIDNIGHT + SECOND_NS, MIDNIGHT + 3 * MINUTE - SECOND_NS, 1),
        ("1h", MIDNIGHT, MIDNIGHT + 3 * MINUTE, 0),
        ("1d", MIDNIGHT, MIDNIGHT + 2 * DAY, 2),
        ("1w", MIDNIGHT, MIDNIGHT + 30 * DAY, 0),
        ("1M", MIDNIGHT, MIDNIGHT + 90 * DAY, 0),
    ],
)
def test_how_many_bars_there_can_be(interval: str, begin: int, end: int, bars_there: int) -> None:
    """Whole ones, where it is known when they begin."""
    request = Request("binance", ("BTCUSDT",), ("bar",), begin, end, interval, "")
    assert BinanceHistory("binance").possible_bars(request) == bars_there


def test_a_fetch_that_goes_on_speaks_of_all_its_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the first day, which had a hole: the second run, which finds nothing, still says both."""
    monkeypatch.setattr(binance_history, "LIMIT", 300)
    past = Past(symbols=("BTCUSDT",))
    first_day = [item["a"] for item in past.aggregates("BTCUSDT", past.begin, MIDNIGHT)]
    lost = set(first_day[50:60])
    killing = True

    def spoil(path: str, answer: Answer) -> Answer:
        if killing and list(tmp_path.glob("*/2024-06-01.arrow")):
            raise Killed
        if "/aggTrades" not in path:
            return answer
        items = [each for each in json.loads(answer.body) if each["T"] * 1_000 < MIDNIGHT]
        return replaced(answer, [each for each in items if each["a"] not in lost])

    with pytest.raises(Killed):
        asyncio.run(past.fetch(tmp_path, Scripted(past, Time(), spoil=spoil)).run())
    killing = False
    report = asyncio.run(past.fetch(tmp_path, Scripted(past, Time(), spoil=spoil)).run())
    assert (report.facts, report.holes) == (len(first_day) - len(lost), 1)
    assert f"{report.facts:,} messages of aggtrade, 1 hole (" in _text(report)
    again = asyncio.run(past.fetch(tmp_path, Scripted(past, Time())).run())
    assert (again.facts, again.holes, again.rows) == (report.facts, report.holes, report.rows)


def test_nothing_is_counted_of_no_logs() -> None:
    """No logs, no facts, and two counts do not share their sums."""
    counted([]).bars[1] = 1
    assert (counted([]).facts, counted([]).bars) == (0, {})
