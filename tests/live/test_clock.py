"""The sequencer: time that never jumps and never stands still."""

from __future__ import annotations

import random

import pytest

from engine.live.clock import OffsetLevel, Sequencer
from engine.model.units import MILLISECOND_NS, SECOND_NS

START = 1_717_200_000 * SECOND_NS
HOUR = 3_600 * SECOND_NS


class Clocks:
    """A wall clock and a monotonic clock under the test's hand."""

    def __init__(self) -> None:
        self.wall_ns = START
        self.monotonic_ns = 77

    def wall(self) -> int:
        """The system clock."""
        return self.wall_ns

    def monotonic(self) -> int:
        """The clock that nobody sets."""
        return self.monotonic_ns

    def pass_time(self, ns: int, *, drift_ppm: int = 0) -> None:
        """Both clocks move on, the system clock a little faster or slower."""
        self.monotonic_ns += ns
        self.wall_ns += ns + ns * drift_ppm // 1_000_000


def sequencer_of(clocks: Clocks, after: int = 0) -> Sequencer:
    return Sequencer(wall=clocks.wall, monotonic=clocks.monotonic, after=after)


def test_time_starts_at_the_wall_clock_and_moves_with_the_monotonic_one() -> None:
    """The first stamp is the wall clock's; later ones add what the monotonic clock counted."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    assert sequencer.stamp() == START
    clocks.pass_time(5 * MILLISECOND_NS)
    assert sequencer.stamp() == START + 5 * MILLISECOND_NS


def test_stamps_differ_when_the_clock_stands_still() -> None:
    """Frames that are drained within one tick of the clock are two nanoseconds apart."""
    sequencer = sequencer_of(Clocks())
    assert [sequencer.stamp() for _ in range(4)] == [START, START + 2, START + 4, START + 6]


def test_now_gives_nothing_out() -> None:
    """Asking for the time changes no later stamp, and is never before the last one."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    stamps = [sequencer.stamp() for _ in range(3)]
    assert sequencer.now() == stamps[-1]
    assert sequencer.now() == stamps[-1]
    assert sequencer.stamp() == stamps[-1] + 2


def test_a_restart_continues_after_the_segment_before() -> None:
    """A clock that was set back between two segments keeps them in order."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks, after=START + HOUR)
    assert sequencer.stamp() == START + HOUR + 2


@pytest.mark.parametrize(
    ("step_ns", "toward"),
    [(HOUR, 1), (-HOUR, -1), (70 * MILLISECOND_NS, 1), (-70 * MILLISECOND_NS, -1)],
)
def test_a_step_of_the_wall_clock_is_followed_by_at_most_500_ppm(step_ns: int, toward: int) -> None:
    """Over a minute after a step, time gains or loses at most 500 ppm, and does so towards the clock."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    sequencer.stamp()
    clocks.wall_ns += step_ns
    for _ in range(60_000):
        clocks.pass_time(MILLISECOND_NS)
        sequencer.stamp()
    gained = sequencer.last - (START + 60 * SECOND_NS)
    assert abs(gained) <= 60 * SECOND_NS * 500 // 1_000_000
    # The step is noticed at the first measurement, one second on; from there the slew is full.
    assert gained * toward > 58 * SECOND_NS * 500 // 1_000_000


def test_an_hour_forward_and_back_never_stops_or_reverses_time() -> None:
    """The wall clock wanders by hours (seed 7): stamps strictly increase and none is far from real time."""
    chance = random.Random(7)
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    last = sequencer.stamp()
    passed = 0
    for _ in range(20_000):
        if chance.random() < 0.01:
            clocks.wall_ns += chance.choice((HOUR, -HOUR))
        step = chance.choice((0, 1, 1_000, 40 * MILLISECOND_NS, 3 * SECOND_NS))
        clocks.pass_time(step)
        passed += step
        ts = sequencer.stamp()
        assert ts > last
        assert ts - last <= max(2, step + step * 500 // 1_000_000 + 1)
        last = ts
    assert abs(last - START - passed) <= passed * 500 // 1_000_000 + 2 * 20_000


def test_a_drifting_clock_is_followed_closely() -> None:
    """A system clock that runs 100 ppm fast is followed within a millisecond."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    for _ in range(10_000):
        clocks.pass_time(100 * MILLISECOND_NS, drift_ppm=100)
        sequencer.stamp()
    assert abs(clocks.wall_ns - sequencer.now()) < MILLISECOND_NS
    assert sequencer.take_notice() is None


def test_a_long_silence_does_not_overshoot() -> None:
    """A correction set before an hour without a message is applied once, not for an hour."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    clocks.wall_ns += MILLISECOND_NS // 4
    clocks.pass_time(SECOND_NS)
    sequencer.stamp()
    clocks.pass_time(HOUR)
    assert sequencer.stamp() == clocks.wall_ns


@pytest.mark.parametrize(
    ("offset_ms", "level"),
    [
        (0, OffsetLevel.GOOD),
        (50, OffsetLevel.GOOD),
        (51, OffsetLevel.NOTED),
        (-51, OffsetLevel.NOTED),
        (1_000, OffsetLevel.NOTED),
        (1_001, OffsetLevel.HALTING),
        (-3_600_000, OffsetLevel.HALTING),
    ],
)
def test_offsets_have_levels(offset_ms: int, level: OffsetLevel) -> None:
    """Beyond 50 ms an offset is noted, beyond a second it halts; the notice is given once."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    clocks.wall_ns += offset_ms * MILLISECOND_NS
    clocks.pass_time(SECOND_NS)
    sequencer.stamp()
    assert sequencer.level is level
    notice = sequencer.take_notice()
    assert (None if notice is None else notice.level) == (None if level is OffsetLevel.GOOD else level)
    assert sequencer.take_notice() is None


def test_a_notice_becomes_a_status_row() -> None:
    """The row names the event, the offset in nanoseconds and the level."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    clocks.wall_ns += 2 * SECOND_NS
    clocks.pass_time(SECOND_NS)
    sequencer.stamp()
    notice = sequencer.take_notice()
    assert notice is not None
    status = notice.status()
    assert (status.event, status.first, status.last) == ("clock_offset", 2 * SECOND_NS, 2)
    assert "no new orders" in status.detail
    assert "+2000.000 ms" in status.detail


def test_an_offset_near_a_threshold_gives_no_stream_of_notices() -> None:
    """A level is left only at half its threshold."""
    clocks = Clocks()
    sequencer = sequencer_of(clocks)
    notices = []
    for turn in range(20):
        offset = (51 if turn % 2 else 49) * MILLISECOND_NS
        clocks.pass_time(SECOND_NS)
        clocks.wall_ns = sequencer.now() + offset
        clocks.pass_time(SECOND_NS)
        sequencer.stamp()
        notice = sequencer.take_notice()
        if notice is not None:
            notices.append(notice.level)
    assert notices == [OffsetLevel.NOTED]


def test_followed_rows_keep_their_time_when_it_increases() -> None:
    """A row of another log keeps its ts, or takes previous + 1; own stamps come after it."""
    sequencer = sequencer_of(Clocks())
    assert sequencer.follow(START + 10) == START + 10
    assert sequencer.follow(START + 4) == START + 11
    assert sequencer.stamp() == START + 13
