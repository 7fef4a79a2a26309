"""Compiled arithmetic is Python's: the same bits, the same errors, or an error where Python has no limit."""

# ruff: noqa: C901, PLR0911, S307  a case after the other; the expressions are ours

from __future__ import annotations

import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest

from engine.strategy.compiled.arithmetic import TOO_LARGE
from tests.compiled.harness import Bench, load

INTEGERS = (0, 1, -1, 2, 3, -7, 10, 63, 64, 1000, -1000, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**62,
            2**63 - 1, -(2**63) + 1, 1_717_200_000_000_000_000, 10**18)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.1, 1e-9, 3.3, -7.25, 1e16, 9007199254740993.0, 1e300,
          -1e300, 5e-324, 9.223372036854776e18, -9.223372036854776e18, math.inf, -math.inf,
          math.nan)  # fmt: skip


class Maker:
    """Random expressions over the fields i j k (int), x y z (float), p q (bool)."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def integer(self, depth: int) -> str:
        """A whole number."""
        pick = self.chance.random()
        if depth == 0 or pick < 0.2:
            return self.chance.choice(["self.i", "self.j", "self.k", "0", "1", "2", "-3", "17"])
        a, b = self.integer(depth - 1), self.integer(depth - 1)
        if pick < 0.6:
            return f"({a} {self.chance.choice(['+', '-', '*', '//', '%', '&', '|', '^'])} {b})"
        if pick < 0.65:
            return f"({a} {self.chance.choice(['<<', '>>'])} ({b} % 70))"
        if pick < 0.7:
            return f"(-{a})" if self.chance.random() < 0.5 else f"(~{a})"
        if pick < 0.75:
            return f"{self.chance.choice(['min', 'max'])}({a}, {b})"
        if pick < 0.78:
            return f"abs({a})"
        if pick < 0.88:
            of = self.chance.choice(["int", "round", "math.floor", "math.ceil", "math.trunc"])
            return f"{of}({self.floating(depth - 1)})"
        if pick < 0.92:
            return f"({self.truth(depth - 1)} + {a})"
        if pick < 0.94:
            return f"({a} ** {self.chance.choice([0, 1, 2, 3])})"
        return f"({a} if {self.truth(depth - 1)} else {b})"

    def floating(self, depth: int) -> str:
        """A float."""
        pick = self.chance.random()
        if depth == 0 or pick < 0.2:
            return self.chance.choice(["self.x", "self.y", "self.z", "0.0", "1.5", "-2.0", "1e-3"])
        a, b = self.floating(depth - 1), self.floating(depth - 1)
        if pick < 0.5:
            return f"({a} {self.chance.choice(['+', '-', '*', '/', '//', '%'])} {b})"
        if pick < 0.6:
            return f"({a} {self.chance.choice(['+', '-', '*', '/', '//', '%'])} {self.integer(depth - 1)})"
        if pick < 0.7:
            return f"({self.integer(depth - 1)} / {self.integer(depth - 1)})"
        if pick < 0.75:
            return f"{self.chance.choice(['min', 'max'])}({a}, {b})"
        if pick < 0.8:
            return f"abs({a})"
        if pick < 0.85:
            return f"math.sqrt({a})"
        if pick < 0.9:
            return f"float({self.integer(depth - 1)})"
        if pick < 0.93:
            return f"(-{a})"
        if pick < 0.95:
            return f"math.copysign({a}, {b})"
        return f"({a} if {self.truth(depth - 1)} else {b})"

    def truth(self, depth: int) -> str:
        """A truth."""
        pick = self.chance.random()
        if depth == 0 or pick < 0.1:
            return self.chance.choice(["self.p", "self.q", "True", "False"])
        operator = self.chance.choice(["<", "<=", ">", ">=", "==", "!="])
        some = (self.integer, self.floating)
        a, b = self.chance.choice(some)(depth - 1), self.chance.choice(some)(depth - 1)
        if pick < 0.5:
            return f"({a} {operator} {b})"
        if pick < 0.6:
            return f"({a} {operator} {b} {self.chance.choice(['<', '>='])} {self.floating(depth - 1)})"
        if pick < 0.7:
            return f"(not {self.truth(depth - 1)})"
        if pick < 0.8:
            return f"bool({a})"
        if pick < 0.85:
            return f"({self.integer(depth - 1)} in (1, 2, {self.integer(depth - 1)}))"
        return f"({self.truth(depth - 1)} {self.chance.choice(['and', 'or'])} {self.truth(depth - 1)})"


def source_of(cases: list[tuple[str, str]]) -> str:
    """A strategy that evaluates the case asked for."""
    lines = [
        "import math", "import engine", "", "@engine.compiled", "class Cases(engine.Strategy):",
        "    def on_start(self, ctx):",
        "        self.case = 0",
        "        self.i = self.j = self.k = 0",
        "        self.x = self.y = self.z = 0.0",
        "        self.p = self.q = False",
        "        self.whole, self.real, self.bit = 0, 0.0, False",
        "    def on_timer(self, ctx, name):",
        "        case = self.case",
    ]  # fmt: skip
    for number, (target, text) in enumerate(cases):
        lines += [f"        if case == {number}:", f"            self.{target} = {text}"]
    return "\n".join(lines) + "\n"


def bits(value: Any) -> Any:
    """What two equal results have in common, to the bit."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return type(value), value


@pytest.mark.parametrize("seed", range(6), ids=lambda s: f"seed{s}")
def test_random_expressions_give_the_same_bits_and_errors(tmp_path: Path, seed: int) -> None:
    """Forty expressions a seed, each over many numbers, among them the edges of what 64 bits hold."""
    maker, chance = Maker(seed), random.Random(seed)
    kinds = {"whole": maker.integer, "real": maker.floating, "bit": maker.truth}
    targets = [chance.choice(list(kinds)) for _ in range(40)]
    cases = [(target, kinds[target](3)) for target in targets]
    strategy: Any = load(tmp_path, source_of(cases))
    strategy.on_start(None)
    bench = Bench(strategy)
    compared = 0
    for number, (target, text) in enumerate(cases):
        for _ in range(60):
            values: dict[str, Any] = {name: chance.choice(INTEGERS) for name in "ijk"}
            values |= {name: chance.choice(FLOATS) for name in "xyz"}
            values |= {name: chance.random() < 0.5 for name in "pq"}
            for name, value in values.items():
                setattr(strategy, name, value)
            strategy.case = number
            where = f"seed {seed}: {text} with {values}"
            try:
                expected = eval(text, {"math": math, "self": strategy})
                error = ""
            except (ArithmeticError, ValueError) as failure:
                expected, error = None, f"{type(failure).__name__}: {failure}"
            got = bench.timer()
            if TOO_LARGE in got:
                assert _beyond(text, strategy), where
                continue
            assert got == error, where
            compared += 1
            if not error:
                assert bits(getattr(strategy, target)) == bits(expected), where
    assert compared > 1000


def _beyond(text: str, strategy: Any) -> bool:
    """Whether some whole number on the way does not fit 64 bits: every part is looked at by itself."""
    import ast

    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.expr):
            try:
                value = eval(compile(ast.Expression(node), "", "eval"), {"math": math, "self": strategy})
            except (ArithmeticError, ValueError):
                continue
            if type(value) is int and not -(2**63) < value < 2**63:
                return True
    return False
