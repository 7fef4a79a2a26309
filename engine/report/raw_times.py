"""How often which raw difference occurs (receive - venue time, which may be negative), in bounded memory.

Raw differences lie around what two clocks are apart, by far less than that: 1.27 s, say, and 3 ms around it.
So they are counted by their distance from a middle one, to each side in a histogram whose buckets grow with
the distance (engine.report.distribution): a percentile is right within 0.4 % of its distance from the middle.
One stamp that is wrong by an hour is one count far out; it takes nothing from the precision of the others,
which it would if all were counted from the smallest or from zero.

The middle has to be known before anything is counted: `Middle` finds it in a first pass. It is the median of
the medians of every 8,192 differences, so a quarter of all at least do not lie above it, and a quarter not
below; how a log was cut into batches does not matter.

Another file has another middle. When it begins, the buckets of the one before go into a table of values and
counts: that of a source has at most 32,768 entries between two files, however many those are. Entries of one
value become one; when that does not suffice, those of a cell do. Cells are powers of two that nest: half as
wide as an entry's bucket was, or wider, for all alike, by so much that the table is half empty again. So what
lies far out takes nothing from the precision of what is near here either; and as cells nest, nothing is
rounded twice: beside the 0.4 %, an entry is wrong by a quarter of a bucket (0.2 %) or half of the cell.
"""

from __future__ import annotations

import numpy as np

from engine.report.distribution import Bar, Distribution, Integers, rank_of

_CHUNK = 1 << 13
_MOST_ENTRIES = 1 << 15
_CELL_BITS = 9  # a distance below 2**n has buckets of 2**(n - 8)


class Middle:
    """Some value between the quartiles of a column that comes in pieces. Keeps 8 bytes for 8,192 values."""

    def __init__(self) -> None:
        self._medians: list[int] = []
        self._waiting: list[Integers] = []
        self._count = 0  # of what waits

    def add(self, values: Integers) -> None:
        """Take the next piece."""
        while self._count + len(values) >= _CHUNK:
            taken = _CHUNK - self._count
            self._medians.append(_lower_median(np.concatenate((*self._waiting, values[:taken]))))
            self._waiting, self._count, values = [], 0, values[taken:]
        if len(values):
            self._waiting.append(values.copy())
            self._count += len(values)

    def value(self) -> int:
        """The middle: the median of all medians, each for as many values as it is of."""
        medians = np.array(self._medians, dtype=np.int64)
        weights = np.full(len(medians), _CHUNK, dtype=np.int64)
        if self._count:
            medians = np.append(medians, _lower_median(np.concatenate(self._waiting)))
            weights = np.append(weights, self._count)
        order = np.argsort(medians, kind="stable")
        below = np.cumsum(weights[order])
        return int(medians[order][np.searchsorted(2 * below, below[-1])])


class Raw:
    """Raw differences of one source, file by file. `least` and `most` are exact; 0 of none."""

    def __init__(self) -> None:
        self.count = 0
        self.least = 0
        self.most = 0
        self._table = _Table()  # of the files before
        self._middle = 0
        self._below, self._above = Distribution(), Distribution()  # by distance from the middle

    def begin(self, middle: int) -> None:
        """Another file follows, whose differences lie around this one."""
        self._table.add(*self._entries())
        self._middle = middle
        self._below, self._above = Distribution(), Distribution()

    def add(self, differences: Integers) -> None:
        """Count differences of this file."""
        if not len(differences):
            return
        low, high = int(differences.min()), int(differences.max())
        self.least = min(self.least, low) if self.count else low
        self.most = max(self.most, high) if self.count else high
        self.count += len(differences)
        away = differences - self._middle
        self._below.add(-away[away < 0])
        self._above.add(away[away >= 0])

    def quantile(self, share: float) -> int:
        """The smallest difference that at least this share of all does not exceed; 0 of none."""
        rank = rank_of(share, self.count)
        if rank >= self.count:
            return self.most
        if rank == 1:
            return self.least
        values, counts = self._values()
        order = np.argsort(values, kind="stable")
        found = np.searchsorted(np.cumsum(counts[order]), rank)
        return int(np.clip(values[order][found], self.least, self.most))

    def bars(self, most: int) -> list[Bar]:
        """A histogram, unless some are negative: logarithmic bars have no place for those."""
        if self.least < 0:
            return []
        shown = Distribution()
        values, counts = self._values()
        shown.absorb(np.clip(values, self.least, self.most), counts, self.least, self.most)
        return shown.bars(most)

    def _values(self) -> tuple[Integers, Integers]:
        """A value of every bucket that holds some, and how many; in no order."""
        values, counts, _ = self._entries()
        return np.concatenate((self._table.values, values)), np.concatenate((self._table.counts, counts))

    def _entries(self) -> tuple[Integers, Integers, Integers]:
        """Of this file: a value of every bucket that holds some, how many, and how wide its cell may be."""
        below, own_below = self._below.filled()
        above, own_above = self._above.filled()
        distances = np.concatenate((below, above))
        values = self._middle + np.concatenate((-below, above))
        return values, np.concatenate((own_below, own_above)), _bits(distances)


class _Table:
    """Values with their counts, in bounded memory."""

    def __init__(self) -> None:
        self.values, self.counts, self._widths = (np.zeros(0, dtype=np.int64) for _ in range(3))
        self._narrowest = 0  # of the cells, once there are some; like all widths, as a power of two

    def add(self, values: Integers, counts: Integers, widths: Integers) -> None:
        """Take a file's values, and how wide the cell of each may be."""
        self.values = np.concatenate((self.values, values))
        self.counts = np.concatenate((self.counts, counts))
        self._widths = np.concatenate((self._widths, widths))
        if len(self.values) <= _MOST_ENTRIES:
            return
        self._join()
        narrowest = self._narrowest
        while len(self.values) > _MOST_ENTRIES // 2:
            self._narrowest = narrowest
            self._widths = np.maximum(self._widths, narrowest)
            self.values = (self.values >> self._widths << self._widths) + (1 << self._widths >> 1)
            self._join()
            narrowest += 1

    def _join(self) -> None:
        """Make one entry of all that have the same value and width."""
        order = np.lexsort((self._widths, self.values))
        values, widths = self.values[order], self._widths[order]
        differ = (values[1:] != values[:-1]) | (widths[1:] != widths[:-1])
        first = np.flatnonzero(np.concatenate(([True], differ)))
        self.values, self._widths = values[first], widths[first]
        self.counts = np.add.reduceat(self.counts[order], first)


def _bits(distances: Integers) -> Integers:
    """The power of two that is half as wide as the bucket of each distance, or a little less; 0 at least."""
    _, exponents = np.frexp(distances.astype(np.float64))
    return np.maximum(exponents.astype(np.int64) - _CELL_BITS, 0)


def _lower_median(values: Integers) -> int:
    middle = (len(values) - 1) // 2
    return int(np.partition(values, middle)[middle])
