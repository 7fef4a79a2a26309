"""Every indicator in a compiled strategy gives the bits that it gives in Python."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest

import engine
from tests.compiled.harness import Bench, load
from tests.market.test_indicators_compiled import INDICATORS

TEXT = """import engine

@engine.compiled
class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.a, self.b, self.c, self.d, self.result = 0.0, 0.0, 0.0, 0.0, 0.0
        self.ready = False
        self.indicator = None

    def on_timer(self, ctx, name):
        self.result = self.indicator.update({arguments})
        self.ready = self.indicator.ready
"""


@pytest.mark.parametrize("name", INDICATORS)
def test_it_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    """Three hundred values, some of them equal, some zero."""
    make, count = INDICATORS[name]
    strategy: Any = load(
        tmp_path, TEXT.replace("{arguments}", ", ".join(f"self.{x}" for x in "abcd"[:count]))
    )
    strategy.on_start(None)
    strategy.indicator, expected = make(), make()
    bench = Bench(strategy)
    chance = random.Random(name)
    for _ in range(300):
        values = [chance.choice((0.0, 1.0, chance.uniform(90, 110))) for _ in range(count)]
        strategy.a, strategy.b, strategy.c, strategy.d = [*values, 0.0, 0.0, 0.0][:4]
        assert not bench.timer()
        result = expected.update(*values)
        assert struct.pack("<d", strategy.result) == struct.pack("<d", result)
        assert strategy.ready == expected.ready


def test_the_microprice_of_four_numbers_can_be_called(tmp_path: Path) -> None:
    """A function of the engine's, as against a class."""
    text = TEXT.replace(
        "self.indicator.update({arguments})", "engine.microprice(self.a, self.b, self.c, self.d)"
    )
    strategy: Any = load(tmp_path, text.replace("self.indicator.ready", "True"))
    strategy.on_start(None)
    strategy.a, strategy.b, strategy.c, strategy.d = 99.5, 3.0, 100.5, 1.0
    assert not Bench(strategy).timer()
    assert strategy.result == engine.microprice(99.5, 3.0, 100.5, 1.0)
