"""Logarithm and power: as near as they say, at every edge what they say, the same bits in both speeds."""

from __future__ import annotations

import math
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from decimal import Context, Decimal
from hashlib import blake2b
from pathlib import Path

import pytest

from engine.market import arithmetic
from tests.helpers.kernels import kernel

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3)
COUNT = 1500
EXACT = Context(prec=60, Emin=-(10**9), Emax=10**9)
LONG = Context(prec=700, Emin=-(10**9), Emax=10**9)  # holds 1 + x for the smallest x here
INFINITY = math.inf
NAN = math.nan


@kernel("float64(float64)")
def kernel_ln(x: float) -> float:
    """As a kernel calls it."""
    return arithmetic.ln(x)


@kernel("float64(float64)")
def kernel_ln1p(x: float) -> float:
    """As a kernel calls it."""
    return arithmetic.ln1p(x)


@kernel("float64(float64, float64)")
def kernel_power(x: float, y: float) -> float:
    """As a kernel calls it."""
    return arithmetic.power(x, y)


@kernel("float64(float64, int64)")
def kernel_power_int(x: float, y: int) -> float:
    """With an integer exponent, as the queue models call it."""
    return arithmetic.power(x, y)


@kernel("int64(float64)")
def kernel_round_half_away(x: float) -> int:
    """As a kernel calls it."""
    return arithmetic.round_half_away(x)


def bits(x: float) -> bytes:
    """A float's bytes: nan equals nan, and 0.0 is not -0.0."""
    return b"nan" if math.isnan(x) else struct.pack("<d", x)


def units_off(value: float, exact: Decimal) -> float:
    """Distance in units in the last place of the exact value."""
    return abs(float(EXACT.divide(EXACT.subtract(Decimal(value), exact), Decimal(math.ulp(float(exact))))))


def positive_numbers(seed: int) -> list[float]:
    """Around 1, near 1 from both sides, whole, of every size, and below the normal floats."""
    chance = random.Random(seed)
    shapes: list[Callable[[], float]] = [
        lambda: chance.uniform(0.5, 2.0),
        lambda: 1.0 + chance.uniform(-1.0, 1.0) * 2.0 ** -chance.randint(1, 52),
        lambda: float(chance.randint(2, 10**9)),
        lambda: math.ldexp(chance.uniform(0.5, 1.0), chance.randint(-1060, 1023)),
    ]
    return [shapes[i % len(shapes)]() for i in range(COUNT)]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_logarithm_is_within_one_unit_in_the_last_place(seed: int) -> None:
    """Against 60 digits; in fact it is within 0.51, and the kernel gives the same bits."""
    worst = 0.0
    for x in positive_numbers(seed):
        value = arithmetic.ln(x)
        assert bits(kernel_ln(x)) == bits(value), f"seed {seed}: ln({x!r})"
        if x == 1.0:
            assert value == 0.0
        else:
            worst = max(worst, units_off(value, EXACT.ln(Decimal(x))))
    assert worst <= 0.51, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_logarithm_of_one_more_is_as_good_for_the_smallest_numbers(seed: int) -> None:
    """Where 1 + x rounds x away, ln1p does not."""
    chance = random.Random(seed)
    worst = 0.0
    for x in positive_numbers(seed):
        for small in (
            x,
            chance.uniform(-0.99, 0.0),
            chance.uniform(-1.0, 1.0) * 2.0 ** -chance.randint(1, 300),
        ):
            value = arithmetic.ln1p(small)
            assert bits(kernel_ln1p(small)) == bits(value), f"seed {seed}: ln1p({small!r})"
            if 1e-300 < abs(small) < 1e300:
                exact = (
                    EXACT.ln(LONG.add(Decimal(1), Decimal(small))) if abs(small) > 1e-30 else Decimal(small)
                )
                worst = max(worst, units_off(value, exact))
    assert worst <= 0.51, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_power_is_within_two_units_in_the_last_place(seed: int) -> None:
    """Whole, broken, negative and huge exponents, results over the whole range of normal floats."""
    chance = random.Random(seed)
    worst, tried = 0.0, 0
    for x in positive_numbers(seed):
        logarithm = abs(math.log(x)) or 1.0
        for y in (
            float(chance.randint(-9, 9)),
            chance.uniform(-3.0, 3.0),
            chance.uniform(-708, 708) / logarithm,
        ):
            value = arithmetic.power(x, y)
            assert bits(kernel_power(x, y)) == bits(value), f"seed {seed}: power({x!r}, {y!r})"
            if 1e-300 < value < 1e300:
                tried += 1
                worst = max(worst, units_off(value, EXACT.power(Decimal(x), Decimal(y))))
    assert tried > 2 * COUNT
    assert worst <= 0.52, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_small_whole_powers_are_exact_where_floats_are(seed: int) -> None:
    """Powers of whole numbers that a float holds come out without any error, by either type of exponent."""
    chance = random.Random(seed)
    for _ in range(500):
        n = chance.randint(0, 6)
        x = float(chance.randint(1, int(2.0 ** (53 / max(n, 2))) - 1))
        assert arithmetic.power(x, n) == int(x) ** n, f"seed {seed}: {x}**{n}"
        assert kernel_power_int(x, n) == int(x) ** n, f"seed {seed}: {x}**{n}"


@pytest.mark.parametrize(
    ("x", "value"),
    [
        (1.0, 0.0),
        (0.0, -INFINITY),
        (-0.0, -INFINITY),
        (INFINITY, INFINITY),
        (-1.0, NAN),
        (-INFINITY, NAN),
        (NAN, NAN),
        (5e-324, -744.4400719213812),
        (1.7976931348623157e308, 709.782712893384),
        (2.0, 0.6931471805599453),
        (10.0, 2.302585092994046),
    ],
)
def test_the_edges_of_the_logarithm(x: float, value: float) -> None:
    """Zero, infinity, what has none, the smallest and the greatest float."""
    assert bits(arithmetic.ln(x)) == bits(value)
    assert bits(kernel_ln(x)) == bits(value)


@pytest.mark.parametrize(
    ("x", "value"),
    [
        (0.0, 0.0),
        (-1.0, -INFINITY),
        (-1.0000000000000002, NAN),
        (NAN, NAN),
        (INFINITY, INFINITY),
        (1e-20, 1e-20),
        (5e-324, 5e-324),
        (1.0, 0.6931471805599453),
        (9.0, 2.302585092994046),
    ],
)
def test_the_edges_of_the_logarithm_of_one_more(x: float, value: float) -> None:
    """The pole at -1, what lies beyond it, and numbers that vanish beside 1."""
    assert bits(arithmetic.ln1p(x)) == bits(value)
    assert bits(kernel_ln1p(x)) == bits(value)


@pytest.mark.parametrize(
    ("x", "y", "value"),
    [
        (0.0, 0.0, 1.0),
        (NAN, 0.0, 1.0),
        (1.0, NAN, 1.0),
        (1.0, INFINITY, 1.0),
        (-1.0, INFINITY, 1.0),
        (-1.0, 3.0, -1.0),
        (-1.0, 1e300, 1.0),
        (0.0, 3.0, 0.0),
        (0.0, -3.0, INFINITY),
        (INFINITY, 0.5, INFINITY),
        (INFINITY, -0.5, 0.0),
        (-INFINITY, 3.0, -INFINITY),
        (2.0, INFINITY, INFINITY),
        (0.5, INFINITY, 0.0),
        (2.0, -INFINITY, 0.0),
        (0.5, -INFINITY, INFINITY),
        (-2.0, 3.0, -8.0),
        (-2.0, -2.0, 0.25),
        (-2.0, 0.5, NAN),
        (2.0, NAN, NAN),
        (NAN, 2.0, NAN),
        (2.0, 1024.0, INFINITY),
        (-2.0, 1025.0, -INFINITY),
        (2.0, 1023.0, 8.98846567431158e307),
        (2.0, -1074.0, 5e-324),
        (2.0, -1076.0, 0.0),
        (1e200, 1e200, INFINITY),
        (1e-200, 1e200, 0.0),
        (7.5, 1.0, 7.5),
        (1e160, 2.0, INFINITY),
        (9.0, 0.5, 3.0),
        (8.0, 1.0 / 3.0, 2.0),
    ],
)
def test_the_edges_of_the_power(x: float, y: float, value: float) -> None:
    """What has no power, what leaves the range of floats, and the rules for 0, 1 and infinity."""
    assert bits(arithmetic.power(x, y)) == bits(value)
    assert bits(kernel_power(x, y)) == bits(value)


@pytest.mark.parametrize(
    ("x", "whole"),
    [
        (0.5, 1),
        (-0.5, -1),
        (1.5, 2),
        (2.5, 3),
        (-2.5, -3),
        (0.49999999999999994, 0),  # adding a half would give 1
        (-0.49999999999999994, 0),
        (4503599627370495.5, 4503599627370496),
        (4503599627370497.0, 4503599627370497),  # adding a half would give 4503599627370498
        (-0.0, 0),
        (NAN, 0),
        (1e300, 2**63 - 1),
        (-INFINITY, -(2**63)),
        (9223372036854774784.0, 9223372036854774784),
    ],
)
def test_halves_are_rounded_away_from_zero(x: float, whole: int) -> None:
    """Also where x + 0.5 has no float, and at the ends of int64."""
    assert arithmetic.round_half_away(x) == whole
    assert kernel_round_half_away(x) == whole


def digest() -> str:
    """Hash of many kernel results: what a machine computes."""
    hashed = blake2b(digest_size=8)
    for x in positive_numbers(7):
        for value in (kernel_ln(x), kernel_ln1p(x), kernel_power(x, 3.0), kernel_power(x, -0.37)):
            hashed.update(bits(value))
    return hashed.hexdigest()


def test_another_cpu_computes_the_same_bits() -> None:
    """Compiled for a processor without fused multiplication and wide vectors: not one bit differs."""
    program = "from tests.market.test_arithmetic import digest; print(digest())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest()
