"""Two clocks that nobody compared: what one of them is ahead, seen from one-way messages alone.

A message that the venue stamps at v and that we take in at r gives r − v = its trip + what our clock is
ahead. The trip is never negative, so the smallest differences come closest to the offset: those lie on the
lower edge of the cloud of points (r, r − v), and what a message lies above that edge is how much longer it
took than the fastest. Clocks also drift apart, steadily; so the edge is a line: of the lower convex hull the
side that stands below the middle of the time covered, which among all lines below every point has the
smallest sum of distances to points spread evenly over that time. (The hull's side solves the linear programme
by Moon, Skelly and Towsley, "Estimation and removal of clock skew from network delay measurements", 1999.)

What this cannot know: how long the fastest trip took. It goes into the offset, so corrected figures are
"longer than the fastest", not trips. Nor can one line follow a clock that was set in between; how far the
fastest message of the worst minute lies above the line says whether it did.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
_Point = tuple[int, int]

DRIFT_SPAN_NS = 60_000_000_000  # no drift is read out of less time than this,
DRIFT_POINTS = 1_000  # or fewer messages,
DRIFT_MOST = 500e-6  # and none is believed that no quartz has


class Line(msgspec.Struct, frozen=True):
    """The offset at a time: `offset_ns` at `origin`, and `drift` nanoseconds more for each that passes."""

    origin: int
    offset_ns: int
    drift: float

    def at(self, times: Integers) -> Integers:
        """The offset at each of these times."""
        if not self.drift:
            return np.full(len(times), self.offset_ns, dtype=np.int64)
        drifted: Integers = np.rint((times - self.origin) * self.drift).astype(np.int64)
        return self.offset_ns + drifted


class Envelope:
    """The lower edge of a cloud of points that come in order of time. Keeps the hull's corners only.

    `least` is the smallest difference of all.
    """

    def __init__(self) -> None:
        self.count = 0
        self._hull: list[_Point] = []
        self._first = 0
        self.least = 0

    def add(self, times: Integers, differences: Integers) -> None:
        """Take points, in order of time, none of them before those that were taken already."""
        if not len(times):
            return
        low = int(differences.min())
        self.least = min(self.least, low) if self.count else low
        self._first = self._first if self.count else int(times[0])
        self.count += len(times)
        for index in _corners(times, differences):
            self._push((int(times[index]), int(differences[index])))

    def line(self) -> Line:
        """The line below all points; flat where there is too little to see a drift in, or one too great."""
        last = self._hull[-1][0]
        span = last - self._first
        flat = Line(self._first, self.least, 0.0)
        if span < DRIFT_SPAN_NS or self.count < DRIFT_POINTS:
            return flat
        middle = self._first + span // 2
        for (t0, d0), (t1, d1) in zip(self._hull[:-1], self._hull[1:], strict=True):
            if t0 <= middle < t1:
                drift = (d1 - d0) / (t1 - t0)
                if abs(drift) > DRIFT_MOST:
                    return flat
                return Line(self._first, d0 - round(drift * (t0 - self._first)), drift)
        return flat

    def _push(self, point: _Point) -> None:
        hull = self._hull
        if hull and hull[-1][0] == point[0]:
            if hull[-1][1] <= point[1]:
                return
            hull.pop()
        while len(hull) > 1 and not _turns_up(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)


def _turns_up(a: _Point, b: _Point, c: _Point) -> bool:
    """Whether b lies below the line from a to c; in Python's integers, since the products exceed 64 bits."""
    return (b[1] - a[1]) * (c[0] - a[0]) < (c[1] - a[1]) * (b[0] - a[0])


def _corners(times: Integers, differences: Integers) -> list[int]:
    """Positions of the lower hull's corners, in order, found by halving: a few passes over the columns."""
    x = (times - times[0]).astype(np.float64)
    y = differences.astype(np.float64)
    found = [0]
    waiting = [(0, len(times) - 1)]
    while waiting:
        left, right = waiting.pop()
        if right - left > 1:
            slope = (y[right] - y[left]) / (x[right] - x[left]) if x[right] > x[left] else 0.0
            above = y[left + 1 : right] - (y[left] + slope * (x[left + 1 : right] - x[left]))
            lowest = int(above.argmin())
            if above[lowest] < 0:
                corner = left + 1 + lowest
                waiting += [(corner, right), (left, corner)]
                continue
        if right != found[-1]:
            found.append(right)
    return found
