"""Latencies read off a table of recorded orders: by straight lines between its rows; nothing overtakes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Latency, parse_latency_table
from engine.model.errors import UsageError
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import at
from tests.reference.drive import run_engine
from tests.reference.scenario import DEPTH, book, clock, settings

MS = MILLISECOND_NS
BOOK = book(0, bids={99: 5}, asks={101: 50})


class BuysAt(Strategy):
    """Buys one at each of the times."""

    times: tuple[str, ...] = ()

    def on_start(self, ctx: Any) -> None:
        """Set the timers."""
        for time in self.times:
            ctx.at(at(float(time)), time)

    def on_timer(self, ctx: Any, _name: str) -> None:
        """Buy."""
        ctx.market(ctx.instruments[0], 1)


def heard(table: tuple[tuple[float, float, float], ...], *times: str, feed_ms: int = 0) -> list[float]:
    """Ms from each decision to its fill's report, with a table in seconds."""
    rows = tuple((at(sent), at(venue), at(answered)) for sent, venue, answered in table)
    config = settings(latency=Latency(feed_ms * MS, 7, 7, rows))
    outcome = run_engine([BOOK, clock(20)], BuysAt(times=times), config, [DEPTH])
    fills = [d for d in outcome.journal if d.kind == "fill"]
    return [round((fill.ts - at(float(time))) / MS, 6) for fill, time in zip(fills, times, strict=True)]


# Entry 10 ms at 1 s and 30 ms at 3 s; response 5 ms at 1.01 s and 25 ms at 3.03 s.
TABLE = ((1.0, 1.01, 1.015), (3.0, 3.03, 3.055))


@pytest.mark.parametrize(
    ("time", "milliseconds"),
    [
        ("0.5", 10 + 5),  # before the first row: as it
        ("1", 10 + 5),
        ("2", 20 + 15),  # half-way; the match at 2.02 is half-way between 1.01 and 3.03, too
        ("3", 30 + 25),
        ("9", 30 + 25),  # after the last row: as it
    ],
)
def test_entry_and_response_lie_on_straight_lines_between_rows(time: str, milliseconds: float) -> None:
    """Entry by the time sent, response by the time at the venue."""
    assert heard(TABLE, time) == [milliseconds]


def test_a_received_row_is_as_old_as_the_feed() -> None:
    """The order meets the market that much later, and the answer's way has that much less to go."""
    assert heard(TABLE, "1", feed_ms=4) == [pytest.approx(4 + 10 + (5 + 0.04) - 4, abs=0.01)]


def test_no_report_overtakes_another() -> None:
    """Answered in 1 ms instead of 40, the second order's fill is heard with the first's."""
    table = ((1.0, 1.01, 1.05), (1.001, 1.011, 1.012))
    assert heard(table, "1", "1.001") == [50.0, 49.0]
    assert heard(table, "1.001") == [11.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 rows"),
        ("1,2", "line 1: 2 fields"),
        ("1,2,3\nx,3,4", 'line 2: sent: "x" is no time'),
        ("1,2,3\n2,1,4", "line 2: 2, 1, 4 do not follow each other"),
        ("1,2,3\n1,4,5", "line 2: not later than the row before"),
    ],
)
def test_a_table_that_cannot_be_is_named_by_its_line(text: str, message: str) -> None:
    """File, line, field and value."""
    with pytest.raises(UsageError, match=message):
        parse_latency_table(text, "--latency-table t.csv")


def test_a_header_is_passed_over() -> None:
    """As spreadsheets write it."""
    assert parse_latency_table("sent,venue,answered\n1,2,3\n\n4,5,6\n", "t") == ((1, 2, 3), (4, 5, 6))
