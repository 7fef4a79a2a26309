"""The sequencer: the one place where the engine's time is made.

`stamp()` gives every inbound message its `ts`: nanoseconds since 1970 UTC, each at least two greater than
the one before (one would do, but a parser may have to put a message of its own, such as a wider
definition, in front of the one that it is given). The time is the wall clock read once at the start plus
what the monotonic clock has counted since. A wall clock may be set back or forth by an hour while a session
runs; the engine's time must neither jump nor stand still, or timers would fire in a heap or never. So the
system clock is only a goal: about once a second its distance is measured, and the time is slewed towards it
by at most 500 parts per million.

How far the system clock is away is kept in levels: beyond 50 ms it is worth a STATUS row, beyond one
second new orders halt. The sequencer writes no rows itself; whoever stamps asks `take_notice()` once in a
while (once per turn of the event loop) and writes the row.

Nothing else in the engine reads a clock. Both clock functions are injected, so tests drive an hour
forward and back in no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import IntEnum

import msgspec

from engine.model.kinds import StatusData
from engine.model.units import MILLISECOND_NS, SECOND_NS

SLEW_PPM_MAX = 500
NOTED_OFFSET_NS = 50 * MILLISECOND_NS
HALTING_OFFSET_NS = SECOND_NS
STEP_NS = 2  # between two stamps at least
_PPB = 1_000_000_000


class OffsetLevel(IntEnum):
    """How far the engine's time is from the system clock."""

    GOOD = 0  # within 50 ms
    NOTED = 1  # beyond 50 ms: a STATUS row
    HALTING = 2  # beyond 1 s: no new orders


class ClockNotice(msgspec.Struct, frozen=True):
    """The offset's level changed; `offset_ns` is system clock minus engine time when it was seen."""

    level: OffsetLevel
    offset_ns: int

    def status(self) -> StatusData:
        """The STATUS row's data: event `clock_offset`, `first` the offset in ns, `last` the level."""
        words = {
            OffsetLevel.GOOD: "the system clock is near again",
            OffsetLevel.NOTED: "the system clock is more than 50 ms away",
            OffsetLevel.HALTING: "the system clock is more than 1 s away: no new orders",
        }
        detail = f"{words[self.level]} ({self.offset_ns / MILLISECOND_NS:+.3f} ms)"
        return StatusData(event="clock_offset", detail=detail, first=self.offset_ns, last=int(self.level))


class Sequencer:
    """Strictly increasing times for one log. Not for several threads."""

    __slots__ = (
        "_anchor_monotonic",
        "_anchor_time",
        "_interval",
        "_level",
        "_monotonic",
        "_notice",
        "_rate_ppb",
        "_wall",
        "last",
        "offset_ns",
    )

    def __init__(
        self,
        *,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
        after: int = 0,
        interval_ns: int = SECOND_NS,
    ) -> None:
        """`after`: every stamp is greater than this one (the last `ts` of the segment before)."""
        self._wall = wall
        self._monotonic = monotonic
        self._interval = interval_ns
        self._anchor_monotonic = monotonic()
        self._anchor_time = wall()
        self._rate_ppb = 0
        self._level = OffsetLevel.GOOD
        self._notice: ClockNotice | None = None
        self.last = after  # the latest time given out
        self.offset_ns = 0  # system clock minus engine time, at the last measurement

    def stamp(self) -> int:
        """The time of a message that has just arrived: greater than every one before."""
        elapsed = self._monotonic() - self._anchor_monotonic
        ts = self._anchor_time + elapsed
        if elapsed >= self._interval:
            ts = self._discipline(elapsed)
        elif self._rate_ppb:
            ts += elapsed * self._rate_ppb // _PPB
        last = self.last
        if ts < last + STEP_NS:  # noqa: PLR1730  max() takes twice as long, once per message
            ts = last + STEP_NS
        self.last = ts
        return ts

    def now(self) -> int:
        """What the time is, without giving it out; never before the last stamp."""
        elapsed = self._monotonic() - self._anchor_monotonic
        if elapsed >= self._interval:
            return max(self._discipline(elapsed), self.last)
        return max(self._anchor_time + elapsed + elapsed * self._rate_ppb // _PPB, self.last)

    def follow(self, ts: int) -> int:
        """The time of a row taken from another log: its own, or previous + 1 if that would not increase."""
        last = self.last
        if ts <= last:
            ts = last + 1
        self.last = ts
        return ts

    def take_notice(self) -> ClockNotice | None:
        """The latest change of the offset's level since the last call, or None."""
        notice = self._notice
        self._notice = None
        return notice

    @property
    def level(self) -> OffsetLevel:
        """How far the system clock was away when it was last measured."""
        return self._level

    def _discipline(self, elapsed: int) -> int:
        """Measure the system clock and set the slew of the next interval; returns the time now."""
        # A slew is set for one interval and ends with it, however late the next measurement comes.
        slewed = min(elapsed, self._interval) * self._rate_ppb // _PPB
        ts = self._anchor_time + elapsed + slewed
        offset = self._wall() - ts
        limit = SLEW_PPM_MAX * 1_000
        self._rate_ppb = max(-limit, min(limit, offset * _PPB // self._interval))
        self._anchor_time = ts
        self._anchor_monotonic += elapsed
        self.offset_ns = offset
        level = self._level_of(abs(offset))
        if level != self._level:
            self._level = level
            self._notice = ClockNotice(level, offset)
        return ts

    def _level_of(self, distance: int) -> OffsetLevel:
        # A level is left only at half its threshold, so that an offset near it makes no stream of rows.
        noted, halting = NOTED_OFFSET_NS, HALTING_OFFSET_NS
        if self._level >= OffsetLevel.NOTED:
            noted //= 2
        if self._level >= OffsetLevel.HALTING:
            halting //= 2
        if distance > halting:
            return OffsetLevel.HALTING
        return OffsetLevel.NOTED if distance > noted else OffsetLevel.GOOD
