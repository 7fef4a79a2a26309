"""Chance for strategies: seeded, the same on every machine, and part of the run's record.

The generator is PCG64 (engine.execution.pcg); its 128-bit state stands in the state record, so that both
forms of a strategy draw from one stream. What is made of its 64-bit words is
our own arithmetic, + − × ÷ only, so that no library's change of method changes a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from engine.execution.pcg import following, signed, word_of_state, words_of_seed
from engine.execution.state import state_at
from engine.model import jit

Item = TypeVar("Item")
_WORD = 2**64

_ZERO = np.uint64(0)
_MANTISSA_SHIFT = np.uint64(11)


@jit.helper
def _draw(s: Any) -> Any:
    """The next 64-bit word, unsigned."""
    high, low = np.uint64(s.random_high), np.uint64(s.random_low)
    high, low = following(high, low, np.uint64(s.random_step_high), np.uint64(s.random_step_low))
    s.random_high = np.int64(high)
    s.random_low = np.int64(low)
    return word_of_state(high, low)


@jit.helper
def draw_float(s: Any) -> float:
    """A float in [0, 1), 53 bits."""
    return float(_draw(s) >> _MANTISSA_SHIFT) / 9007199254740992.0


@jit.helper
def draw_below(s: Any, span: np.uint64) -> Any:
    """A whole number in [0, span), every one equally likely; span 0 stands for 2**64."""
    word = _draw(s)
    if span == _ZERO:
        return word
    over = (_ZERO - span) % span  # 2**64 % span
    while over != _ZERO and word >= _ZERO - over:
        word = _draw(s)
    return word % span


@jit.helper
def draw_normal(s: Any, mean: float, deviation: float) -> float:
    """The sum of twelve uniform draws, shifted and scaled."""
    total = 0.0
    for _ in range(12):
        total += draw_float(s)
    return mean + deviation * (total - 6.0)


@jit.operation("float64(int64)")
def random_float(address: int) -> float:
    """`ctx.random.random()`."""
    return draw_float(state_at(address, 1)[0])


@jit.operation("int64(int64,int64,int64)")
def random_integer(address: int, low: int, high: int) -> int:
    """`ctx.random.integers(low, high)`; high is greater than low."""
    drawn = draw_below(state_at(address, 1)[0], np.uint64(high) - np.uint64(low))
    # Signed: with an unsigned number it would be a float. The sum wraps into place.
    return low + np.int64(drawn)  # type: ignore[return-value]


@jit.operation("float64(int64,float64,float64)")
def random_normal(address: int, mean: float, deviation: float) -> float:
    """`ctx.random.normal(mean, deviation)`."""
    return draw_normal(state_at(address, 1)[0], mean, deviation)


@jit.entry("int64(int64,int64)")
def _below(address: int, span: int) -> int:
    return np.int64(draw_below(state_at(address, 1)[0], np.uint64(span)))  # type: ignore[return-value]


def seed(state: Any, number: int) -> None:
    """Begin the stream of a seed in a state record."""
    names = ("random_high", "random_low", "random_step_high", "random_step_low")
    for name, word in zip(names, words_of_seed(number), strict=True):
        state[name] = word


class SeededRandom:
    """Numbers drawn one after the other from one seed, out of the state record at an address."""

    def __init__(self, number: int, memory: Any = None) -> None:
        if memory is None:
            from engine.execution.state import STATE

            state = np.zeros(1, STATE)
            self._own = state
            self._address = int(state.ctypes.data)
            seed(state[0], number)
        else:
            self._address = memory.address
            seed(memory.state[0], number)

    def random(self) -> float:
        """A float in [0, 1), 53 bits."""
        return random_float(self._address)

    def integers(self, low: int, high: int) -> int:
        """A whole number in [low, high), every one equally likely; ValueError when there is none."""
        span = high - low
        if not 0 < span <= _WORD:
            raise ValueError(f"integers({low}, {high}): no number is in there")
        drawn = _below(self._address, signed(span % _WORD))
        return low + drawn % _WORD

    def choice(self, items: Sequence[Item]) -> Item:
        """One item of a non-empty sequence."""
        return items[self.integers(0, len(items))]

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """A normally distributed draw: the sum of twelve uniform ones, which needs no logarithm.

        Its tails end at six deviations; its kurtosis is 2.9.
        """
        return random_normal(self._address, float(mean), float(deviation))
