"""How often which length of time occurs, in bounded memory: a histogram of buckets that grow with the value.

A bucket is as wide as a 128th of the power of two below it, so a percentile is read off with an error of less
than 0.4 % of its value, whatever the values are; smallest and greatest are kept exactly. The bucket is the
upper bits of the value as a float64, which a column finds in one pass; 8,193 counters serve one nanosecond as
well as three hundred years. Below 128 ns each value has a bucket of its own.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

_SUB_BITS = 7  # 128 buckets for each power of two
_SHIFT = 52 - _SUB_BITS
_BASE = (1023 << _SUB_BITS) - 1  # 1.0 goes into bucket 1; bucket 0 is zero's own
_BUCKETS = (63 << _SUB_BITS) + 2
_STEPS = (1, 2, 5)

Integers = npt.NDArray[np.int64]


class Bar(msgspec.Struct, frozen=True):
    """How many values lie in [low_ns, high_ns)."""

    low_ns: int
    high_ns: int
    count: int


class Distribution:
    """Counts of non-negative int64 values. `least` and `most` are exact; what lies between, within 0.4 %."""

    def __init__(self) -> None:
        self.count = 0
        self.least = 0
        self.most = 0
        self._counts: Integers = np.zeros(_BUCKETS, dtype=np.int64)

    def add(self, values: Integers) -> None:
        """Count a column of values, none of them negative."""
        if not len(values):
            return
        low, high = int(values.min()), int(values.max())
        self.least = low if not self.count else min(self.least, low)
        self.most = max(self.most, high)
        self.count += len(values)
        self._counts += np.bincount(_bucket(values), minlength=_BUCKETS)

    def filled(self) -> tuple[Integers, Integers]:
        """Of each bucket that is not empty a value of it, in order, and how many it holds."""
        filled = np.flatnonzero(self._counts)
        middles = [(low + high - 1) // 2 for low, high in map(_bounds, filled.tolist())]
        return np.clip(np.array(middles, dtype=np.int64), self.least, self.most), self._counts[filled]

    def absorb(self, values: Integers, counts: Integers, least: int, most: int) -> None:
        """Count values that occur so often, and are from `least` to `most`; none of them negative."""
        np.add.at(self._counts, _bucket(values), counts)
        self.least = least if not self.count else min(self.least, least)
        self.most = max(self.most, most)
        self.count += int(counts.sum())

    def quantile(self, share: float) -> int:
        """The smallest value that at least this share of all values does not exceed; 0 of nothing."""
        if not self.count:
            return 0
        rank = rank_of(share, self.count)
        if rank == self.count:
            return self.most
        if rank == 1:
            return self.least
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        low, high = _bounds(bucket)
        return min(max((low + high - 1) // 2, self.least), self.most)

    def bars(self, most: int) -> list[Bar]:
        """The counts in at most `most` bars whose bounds go 1, 2, 5, 10, … (by tens, where that were more).

        The first bar begins at zero and takes whatever lies below the lowest hundredth.
        """
        if not self.count:
            return []
        low, high = max(self.quantile(0.01), 1), max(self.most, 1)
        edges = _edges(low, high, _STEPS)
        if len(edges) > most:
            edges = _edges(low, high, (1,))[-most:]
        edges = [0, *edges]
        # A bucket is counted where its middle lies; bounds that people read are seldom bounds of buckets.
        filled = np.flatnonzero(self._counts)
        middles = np.array([sum(_bounds(b)) / 2 for b in filled.tolist()])
        placed = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(edges) - 2)
        counts = np.bincount(placed, weights=self._counts[filled], minlength=len(edges) - 1)
        return [
            Bar(below, above, int(count))
            for below, above, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
        ]


def rank_of(share: float, count: int) -> int:
    """Which of so many values in order, from 1 on, is the first that this share of them does not exceed."""
    return max(1, int(np.ceil(share * count - 1e-9)))


def _bucket(values: Integers) -> Integers:
    bits = values.astype(np.float64).view(np.int64)
    found: Integers = np.maximum((bits >> _SHIFT) - _BASE, 0)
    return found


def _bounds(bucket: int) -> tuple[int, int]:
    """The values of a bucket: from the first on, below the second."""
    if bucket == 0:
        return 0, 1
    exponent, part = divmod(bucket - 1, 1 << _SUB_BITS)
    unit = 1 << _SUB_BITS
    low = -(-((unit + part) << exponent) // unit)
    high = -(-((unit + part + 1) << exponent) // unit)
    return low, max(high, low + 1)


def _edges(low: int, high: int, steps: tuple[int, ...]) -> list[int]:
    """Round numbers from the one at or below `low` to the one above `high`."""
    edges = [step * 10**power for power in range(20) for step in steps]
    first = max(i for i, edge in enumerate(edges) if edge <= low)
    last = min((i for i, edge in enumerate(edges) if edge > high), default=len(edges) - 1)
    return edges[first : last + 1]
