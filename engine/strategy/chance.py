"""Chance as strategies have it: seeded, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Random(Protocol):
    """Seeded chance: the same run draws the same numbers, everywhere and in every replay."""

    def random(self) -> float:
        """A float in [0, 1)."""

    def integers(self, low: int, high: int) -> int:
        """A whole number in [low, high)."""

    def choice(self, items: Sequence[Item]) -> Item:
        """One item of a non-empty sequence."""

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """A normally distributed draw."""
