"""Clocks that are wrong while a recording runs: the system's, set by hand, and the venue's, ahead of ours."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.live.clock import Sequencer
from engine.model.kinds import Flag, Kind
from engine.model.units import MILLISECOND_NS, NULL_TIME, SECOND_NS
from engine.serve.server import LocalVenue
from tests.helpers.accounted import Recorded, record_under
from tests.helpers.accounting import account_for, read_log
from tests.helpers.logs import read_rows

HOUR_NS = 3_600 * SECOND_NS
AHEAD_NS = 1_270 * MILLISECOND_NS
TS, TS_VENUE, KIND, FLAGS, DATA = 0, 1, 3, 5, 11  # places in a row of read_rows


class SetClock:
    """The system clock, which somebody sets while it runs; and when enough has been recorded after that."""

    def __init__(self, steps_ns: list[int]) -> None:
        self._steps = list(steps_ns)
        self._shift_ns = 0
        self._made = 0

    def wall(self) -> int:
        """What it shows."""
        return time.time_ns() + self._shift_ns

    def enough(self, venue: LocalVenue) -> bool:
        """Set it by the next step each 600 messages; enough when all steps are done."""
        assert venue.account is not None
        if len(venue.account.made) < self._made:
            return False
        if not self._steps:
            return True
        self._made = len(venue.account.made) + 600
        self._shift_ns += self._steps.pop(0)
        return False

    def sequencer(self) -> Sequencer:
        """One that looks at it ten times a second."""
        return Sequencer(wall=self.wall, interval_ns=100 * MILLISECOND_NS)


def times_of(rows: list[tuple[Any, ...]]) -> list[int]:
    """The messages' times, in the order of the file."""
    return [row[TS] for row in rows if row[FLAGS] & Flag.LAST]


def notices_of(rows: list[tuple[Any, ...]]) -> list[tuple[int, int]]:
    """Offset and level of each clock_offset row."""
    statuses = [msgspec.json.decode(row[DATA]) for row in rows if row[KIND] == Kind.STATUS]
    return [(s.get("first", 0), s.get("last", 0)) for s in statuses if s["event"] == "clock_offset"]


def assert_accounted(recorded: Recorded) -> None:
    verdict = account_for(read_log(recorded.files), recorded.account)
    assert not verdict.unaccounted, verdict
    assert verdict.received == len(recorded.account.made)


STEPS: dict[str, tuple[list[int], list[int]]] = {  # by how much it is set; levels of the rows
    "back by an hour": ([-HOUR_NS], [2]),
    "forth by an hour": ([HOUR_NS], [2]),
    "back by 70 ms": ([-70 * MILLISECOND_NS], [1]),
    "forth and back": ([HOUR_NS, -HOUR_NS], [2, 0]),
    "back and back again": ([-2 * SECOND_NS, -HOUR_NS], [2]),
}


@pytest.mark.parametrize("step", STEPS)
def test_times_increase_whatever_the_system_clock_does(step: str, tmp_path: Path) -> None:
    """Strictly, by the time that has really passed; rows name the offset; and nothing is lost."""
    steps_ns, levels = STEPS[step]
    clock = SetClock(steps_ns)
    begun = time.time_ns()
    recorded = record_under(
        "", tmp_path, seed=9, messages=300, sequencer=clock.sequencer(), enough=clock.enough
    )
    ended = time.time_ns()
    rows = read_rows(recorded.files[0])
    times = times_of(rows)
    assert all(a < b for a, b in itertools.pairwise(times))
    assert begun - SECOND_NS < times[0] < times[-1] < ended + SECOND_NS, "it follows by 500 ppm at most"
    notices = notices_of(rows)
    assert [level for _, level in notices] == levels
    # A step is seen whole, but for what has been slewed of it meanwhile.
    assert abs(notices[0][0] - steps_ns[0]) < 20 * MILLISECOND_NS
    assert_accounted(recorded)


def test_a_venue_clock_ahead_of_ours_is_kept_beside_ours(tmp_path: Path) -> None:
    """1.27 s ahead: events lie after their receipt, rows are ordered by receipt, nothing is corrected."""
    recorded = record_under("", tmp_path, seed=9, clock=lambda: time.time_ns() + AHEAD_NS)
    rows: list[tuple[Any, ...]] = read_rows(recorded.files[0])
    assert all(a < b for a, b in itertools.pairwise(times_of(rows)))
    trades = [row for row in rows if row[KIND] == Kind.TRADE]
    assert len(trades) > 20
    assert all(row[TS_VENUE] != NULL_TIME for row in trades)
    assert max(int(row[TS_VENUE]) - int(row[TS]) for row in trades) > SECOND_NS
    assert notices_of(rows) == [], "the system clock was never wrong"
    assert_accounted(recorded)
