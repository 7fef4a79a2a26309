"""PCG64 (O'Neill's PCG XSL RR 128/64, as NumPy seeds and runs it), for streams in the state record."""

from __future__ import annotations

import numpy as np

from engine.execution.money import multiply_wide
from engine.model import jit

_FACTOR_HIGH = np.uint64(2549297995355413924)
_FACTOR_LOW = np.uint64(4865540595714422341)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_ROTATION_SHIFT = np.uint64(58)
_ROTATION_MASK = np.uint64(63)
_WORD = 2**64


@jit.exact_helper
def following(
    high: np.uint64, low: np.uint64, step_high: np.uint64, step_low: np.uint64
) -> tuple[np.uint64, np.uint64]:
    """The 128-bit state after this one."""
    carry, new_low = multiply_wide(low, _FACTOR_LOW)
    new_high = carry + high * _FACTOR_LOW + low * _FACTOR_HIGH
    sum_low = new_low + step_low
    return new_high + step_high + (_ONE if sum_low < new_low else _ZERO), sum_low


@jit.exact_helper
def word_of_state(high: np.uint64, low: np.uint64) -> np.uint64:
    """The 64-bit word that a state gives."""
    mixed = high ^ low
    rotation = high >> _ROTATION_SHIFT
    return (mixed >> rotation) | (mixed << ((_ZERO - rotation) & _ROTATION_MASK))


def words_of_seed(seed: int | tuple[int, ...]) -> tuple[int, int, int, int]:
    """State and step of a seed's stream as int64 words: high, low, high of the step, low of the step."""
    from numpy.random import PCG64

    inner = PCG64(seed).state["state"]
    state, step = int(inner["state"]), int(inner["inc"])
    return signed(state >> 64), signed(state % _WORD), signed(step >> 64), signed(step % _WORD)


def signed(word: int) -> int:
    """An unsigned 64-bit word as an int64 holds it."""
    return word - _WORD if word >= _WORD // 2 else word
