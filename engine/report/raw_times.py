"""How often which raw difference occurs (receive - venue time, which may be negative), in bounded memory.

Raw differences lie around what two clocks are apart, by far less than that: 1.27 s, say, and 3 ms around it.
So they are counted by their distance from a middle one, to each side in a histogram whose buckets grow with
the distance (engine.report.distribution): a percentile is right within 0.4 % of its distance from the middle.
One stamp that is wrong by an hour is one count far out; it takes nothing from the precision of the others,
which it would if all were counted from the smallest or from zero.

The middle has to be known before anything is counted: `Middle` finds it in a first pass. It is the median of
the medians of every 8,192 differences, so a quarter of all at least do not lie above it, and a quarter not
below; how a log was cut into batches does not matter. Another file has another middle, and nothing is counted
anew: percentiles are read off all buckets of all files, in the order of their values.
"""

from __future__ import annotations

import numpy as np

from engine.report.distribution import Bar, Distribution, Integers, rank_of

_CHUNK = 1 << 13


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
    """Raw differences of one source, file by file."""

    def __init__(self) -> None:
        self._files: list[tuple[int, Distribution, Distribution]] = []  # middle, below it, from it on

    @property
    def count(self) -> int:
        """How many differences there are."""
        return sum(below.count + above.count for _, below, above in self._files)

    @property
    def least(self) -> int:
        """The smallest of them, exactly; 0 of none."""
        return min((min(_ends(*file)) for file in self._counted()), default=0)

    @property
    def most(self) -> int:
        """The greatest of them, exactly; 0 of none."""
        return max((max(_ends(*file)) for file in self._counted()), default=0)

    def begin(self, middle: int) -> None:
        """Another file follows, whose differences lie around this one."""
        self._files.append((middle, Distribution(), Distribution()))

    def add(self, differences: Integers) -> None:
        """Count differences of this file."""
        middle, below, above = self._files[-1]
        away = differences - middle
        below.add(-away[away < 0])
        above.add(away[away >= 0])

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

    def _counted(self) -> list[tuple[int, Distribution, Distribution]]:
        return [file for file in self._files if file[1].count or file[2].count]

    def _values(self) -> tuple[Integers, Integers]:
        """The middle of every bucket that holds some, and how many."""
        values, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for middle, below, above in self._counted():
            for sign, part in ((-1, below), (1, above)):
                distances, own = part.filled()
                values.append(middle + sign * distances)
                counts.append(own)
        return np.concatenate(values), np.concatenate(counts)


def _ends(middle: int, below: Distribution, above: Distribution) -> list[int]:
    ends = [middle - below.most, middle - below.least] if below.count else []
    return [*ends, middle + above.least, middle + above.most] if above.count else ends


def _lower_median(values: Integers) -> int:
    middle = (len(values) - 1) // 2
    return int(np.partition(values, middle)[middle])
