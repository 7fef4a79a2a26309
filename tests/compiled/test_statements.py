"""Statements and functions: each piece of code leaves the same fields behind, compiled and in Python."""

# ruff: noqa: E501  a piece of code is a line here

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.compiled.harness import Bench, load
from tests.compiled.test_forms import fields_of

HEAD = """import math
import numpy as np
import engine

LIMIT = 7
NAMES = ("a", "b", "")
STEP = (0.5, 1.5)

def clamp(x, low=0.0, high=10.0):
    if x < low:
        return low
    return min(x, high)

def first_above(items, level):
    for i, item in enumerate(items):
        if item > level:
            return i
    return None

def both(a, b):
    return a + b, a - b

class Counter:
    step = 2

    def __init__(self, start):
        self.value = start
        self.inner = None

    def up(self, by=1):
        self.value += by * self.step
        return self.value

    @property
    def even(self):
        return self.value % 2 == 0

    @staticmethod
    def twice(x):
        return x * 2

@engine.compiled
class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.i, self.j, self.x, self.p, self.word = 3, 0, 2.5, True, "a"
        self.items, self.whole = [1.0, 2.0, 4.0, 8.0], [5, 6, 7]
        self.array, self.counts, self.flags = np.zeros(4), np.zeros(3, np.int64), np.zeros(2, bool)
        self.one, self.two = Counter(1), Counter(10)
        self.pair, self.row = (self.one, self.two), (1, 2.5, "a", self.two)
        self.many = [Counter(n) for n in range(4)]
        self.matrix = [[1.0, 2.0], [3.0, 4.0]]
        self.same = self.one
        self.maybe, self.nothing = None, None
        self.last = 1.0
        self.truths = [True, False, True]

    def helper(self, x):
        self.j += 1
        return x if x > 1 else None

"""
PIECES = {
    "a while loop with break and continue": "n = 0\nwhile True:\n    n += 1\n    if n % 2:\n        continue\n"
    "    if n > 10:\n        break\n    self.i += n",
    "a while loop with a condition": "while self.i < 50 and self.p:\n    self.i *= 2\n    self.p = self.i < 20",
    "nested loops": "for a in range(4):\n    for b in range(a, 10, 3):\n        if b == 6:\n            break\n"
    "        self.j += a * b\n    self.x += a",
    "ranges that go down": "for a in range(10, -5, -4):\n    self.j = self.j * 3 + a",
    "a range that is empty": "for a in range(5, 5):\n    self.j = 99\nfor b in range(0):\n    self.j = 98",
    "the loop's variable afterwards": "for a in range(4):\n    pass\nself.j = a",
    "enumerate, zip and reversed": "for k, (a, b) in enumerate(zip(self.items, self.whole), 10):\n"
    "    self.x += a * b + k\nfor c in reversed(self.whole):\n    self.j = self.j * 10 + c",
    "items by negative index": "self.items[-1] = self.items[-2] + self.items[0]\nself.whole[-3] += 4",
    "augmented items": "self.items[1] *= 3.0\nself.items[2] -= 0.5\nself.whole[0] //= 2\nself.whole[1] %= 4",
    "arrays": "self.array[1] = self.x\nself.array[2] += 1.5\nself.counts[0] += 3\nself.counts[2] = self.i\n"
    "self.flags[1] = self.x > 1.0\nself.array[3] = self.i\nfor v in self.array:\n    self.x += float(v)\n"
    "if self.flags[1]:\n    self.j = int(self.counts[0]) + 1",
    "lists of lists": "for line in self.matrix:\n    for k in range(len(line)):\n        line[k] *= 2.0\n"
    "self.x = self.matrix[1][0]",
    "objects and aliases": "self.one.up()\nself.same.up(3)\nself.x = self.pair[0].value + self.pair[1].up(by=2) * 1.0\n"
    "self.j = self.row[3].value\na, b = self.pair\na.value += b.value",
    "objects in a list": "for c in self.many:\n    if c.even:\n        c.up()\nself.many[-1].value = 100\n"
    "self.j = self.many[self.i].twice(4)",
    "class constants and properties": "self.j = Counter.step + self.one.step if self.two.even else Counter.twice(4)",
    "functions with defaults": "self.x = clamp(-3.0) + clamp(99.0) + clamp(5.0, high=4.0) + clamp(2.0, 3.0)",
    "what may be None": "found = first_above(self.items, 3.0)\nif found is not None:\n    self.j = found\n"
    "gone = first_above(self.items, 99.0)\nself.p = gone is None\nself.maybe = found\nself.nothing = gone",
    "a field that becomes None": "self.last = None\nif self.last is None:\n    self.x = -1.0",
    "a field that was None": "if self.maybe is None:\n    self.maybe = 5\nelse:\n    self.maybe = None\nself.j += 1",
    "None compared": "a = self.helper(self.i)\nb = self.helper(0)\nself.p = a == 3 and b != 3 and a != b and b == None",
    "several results": "s, d = both(self.x, 1.5)\nself.x = s * d\nm, n = both(7, 2)\nself.j = m * n",
    "tuples": "t = (1, 2.5, self.i)\nself.x = t[1] + t[-1]\na, (b, c) = 1, (2.0, 3)\nself.j = a + c\nself.last = b",
    "swapping": "a, b = 1.0, 2.0\na, b = b, a\nself.x = a * 10 + b\nself.items[0], self.items[1] = self.items[1], 0.5",
    "several targets": "self.x = self.last = a = 4.5\nself.items[0] = a",
    "order of and and or": "self.p = self.helper(5) is None or self.helper(0) is None\n"
    "if self.helper(0) is not None and self.helper(5) is not None:\n    self.x = 99.0",
    "values of and and or": "a = self.i and 7\nb = 0 or self.i\nc = False or self.p\nself.j = a * 100 + b\nself.p = c",
    "chained comparisons": "self.p = 1 < self.i <= 3 != 4 < 5\nif 0.0 < self.x < 1.0:\n    self.j = 1",
    "conditional expressions": "self.x = 1.5 if self.p else -1.5\na = None if self.i > 100 else self.x\n"
    "self.last = a if a is not None else 0.0\nself.j = 1 if self.x > 0 else -1 if self.x < 0 else 0",
    "texts": "if self.word == 'a' and name != 'b':\n    self.word = 'other'\nif name in NAMES:\n    self.j = 5\n"
    "if name:\n    self.i = 0\nif not NAMES[2]:\n    self.x = 0.0",
    "constants of the module": "self.j = LIMIT * 2\nself.x = STEP[1] + math.pi\nself.word = NAMES[1]",
    "in": "self.p = self.i in (1, 2, 3) and 6 in self.whole and self.j not in (5, 6) and True in self.truths",
    "truth of many things": "if self.items and self.one and self.x and not 0 and not 0.0 and self.row:\n    self.j = 9",
    "an early return": "if self.i == 3:\n    self.j = 1\n    return\nself.j = 2",
    "assert and pass": "assert self.i == 3, 'three'\npass\nself.j = 4",
    "annotations": "a: float = 2.5\nb: int\nb = 4\nself.x = a\nself.j = b",
    "numbers of all kinds": "self.i = 7 // 2 + -7 // 2 + 7 % -3 + -7 % 3 + 2 ** 5 + (5 & 3) + (5 | 3) + (5 ^ 3) + ~5\n"
    "self.x = 7 / 2 + -7.5 // 2 + -7.5 % 2 + abs(-2) + abs(-2.5) + float(True)\nself.j = True + True",
    "local names like those outside": "LIMIT = 3\nhelper = 4\nself.j = LIMIT + helper",
}  # fmt: skip


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.replace(" ", "_"))
def test_it_leaves_the_same_fields(tmp_path: Path, piece: str) -> None:
    """Run twice, so that what the first run left is what the second begins with."""
    body = "".join(f"        {line}\n" for line in PIECES[piece].split("\n"))
    strategy: Any = load(tmp_path, f"{HEAD}    def on_timer(self, ctx, name):\n{body}")
    strategy.on_start(None)
    expected = copy.deepcopy(strategy)
    bench = Bench(strategy)
    for name in ("a", "c"):
        failed = bench.timer(name)
        try:
            expected.on_timer(None, name)
        except AssertionError as error:
            assert failed == f"AssertionError: {error}"  # noqa: PT017  the second run of some pieces
            return
        assert not failed
        assert fields_of(strategy) == fields_of(expected)
