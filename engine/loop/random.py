"""Chance for strategies: seeded, the same on every machine, and part of the run's record.

The generator is PCG64 of NumPy, whose stream for a seed is fixed; what is made of its 64-bit words is our
own arithmetic, + − × ÷ only, so that no library's change of method changes a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import PCG64

Item = TypeVar("Item")
_WORD = 2**64


class SeededRandom:
    """Numbers drawn one after the other from one seed."""

    def __init__(self, seed: int) -> None:
        self._generator = PCG64(seed)

    def _word(self) -> int:
        return int(self._generator.random_raw())

    def random(self) -> float:
        """A float in [0, 1), 53 bits."""
        return (self._word() >> 11) / 2**53

    def integers(self, low: int, high: int) -> int:
        """A whole number in [low, high), every one equally likely; ValueError when there is none."""
        span = high - low
        if not 0 < span <= _WORD:
            raise ValueError(f"integers({low}, {high}): no number is in there")
        limit = _WORD - _WORD % span
        while True:
            word = self._word()
            if word < limit:
                return low + word % span

    def choice(self, items: Sequence[Item]) -> Item:
        """One item of a non-empty sequence."""
        return items[self.integers(0, len(items))]

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """A normally distributed draw: the sum of twelve uniform ones, which needs no logarithm.

        Its tails end at six deviations; its kurtosis is 2.9.
        """
        total = 0.0
        for _ in range(12):
            total += self.random()
        return mean + deviation * (total - 6.0)
