"""How far to go on where the ids that the time names bring nothing: leaps over time, and back by id.

historicalTrades need not reach as far back as aggTrades does, and a cache may answer with nothing for all
it does not have. One id after the other would then be named and asked for in vain, thousands in an hour. So
after a few in a row (`IN_VAIN`) the fetch leaps: by 1, 2, 4 … seconds up to an hour, but never over more than
half of what is left, so that the last trade before the end is come to as well, in some twenty steps. Where
nobody traded behind a leap, its landing is the new end, and the next leap is shorter.

A leap that lands where trades are may have passed over others. Between the last id that brought nothing and
the one that did, the first that does is searched for by halves; the fetch follows from there, and what is
before is a hole. If the venue had some, nothing, and some again within one leap, the first of these are lost,
and said to be as part of that hole.

Every step either comes nearer to the end by a millisecond or draws the end nearer: no venue can hold it.
"""

from __future__ import annotations

from engine.model.units import MILLISECOND_NS, SECOND_NS

IN_VAIN = 4  # ids in a row before the first leap
HOUR_NS = 3_600 * SECOND_NS


class Leaps:
    """Where to look next. `end`: what is at this time or behind it need not be looked at."""

    def __init__(self, end: int) -> None:
        self.end = self._last_end = end
        self._vain = 0  # ids in a row that brought nothing
        self._from = 0  # time from which the last leap was made
        self._length = 0  # of the last leap; 0: none was made
        self._nothing = -1  # the last id that brought nothing
        self._something = -1  # an id that brought trades; -1: no search

    def found(self) -> None:
        """Trades have come: all begins anew."""
        self.end = self._last_end
        self._vain = self._length = 0
        self._something = -1

    def in_vain(self, first: int, behind: int) -> int:
        """The id `first` brought nothing, and `behind` is the time after it. Returns the time to go on at."""
        self._vain += 1
        self._nothing = first
        return self._leap(behind) if self._vain >= IN_VAIN else behind

    def _leap(self, behind: int) -> int:
        half = (self.end - behind) // 2 // MILLISECOND_NS * MILLISECOND_NS
        self._from = behind
        self._length = max(min(max(2 * self._length, SECOND_NS), HOUR_NS, half), 0)
        return behind + self._length

    def nobody_until(self, time: int) -> int:
        """From the last landing to `time` nobody traded. Returns the time to go on at."""
        if not self._length or time < self.end:
            return time
        self.end = self._from + self._length
        return self._leap(self._from)

    @property
    def landed(self) -> bool:
        """Whether trades that come now may not be the first."""
        return self._length > 0

    def halve(self, first: int, *, brought: bool) -> int | None:
        """The id `first` brought trades, or nothing. Returns the id to ask for next.

        None: it was the first one asked for after the leap, and in vain.
        """
        if brought:
            self._something = first
        elif self._something < 0:
            return None
        else:
            self._nothing = first
        if self._something - self._nothing > 1:
            return (self._something + self._nothing) // 2
        first = self._something
        self.found()
        return first
