"""A handler that fails: the same words in both forms, and what was decided before stands in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.config import Latency, RunConfig
from engine.model.errors import StrategyError
from tests.compiled.harness import load
from tests.helpers.logs import BTC, ETH, market
from tests.reference.drive import ListedJournal, run_engine

HEAD = """import math
import engine

class Holder:
    def __init__(self):
        self.value = 1.5

    def half(self, by):
        return self.value / by

@engine.compiled
class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.count, self.zero, self.big, self.none = 0, 0, 2**62, None
        self.items = [1.0, 2.0, 3.0]
        self.by_instrument = {ctx.instruments[0]: 1.0}
        self.holder = Holder()
        self.average = engine.Ema(3)
        self.flag = True
        ctx.every("500ms", "tick")

    def divide(self, by):
        return 1 / by

    def on_trade(self, ctx, trade):
        self.count += 1
        if self.count % 5 == 0:
            ctx.market(trade.instrument, 0.01)
        if self.count < 9:
            return
"""

FAILING = [
    ("self.count // self.zero", "ZeroDivisionError"),
    ("trade.price / self.zero", "ZeroDivisionError: float division by zero"),
    ("trade.price % 0.0", "ZeroDivisionError"),
    ("self.count % self.zero", "ZeroDivisionError"),
    ("self.divide(self.zero)", "in divide: ZeroDivisionError: division by zero"),
    ("self.holder.half(0.0)", "in half: ZeroDivisionError"),
    ("self.items[3]", "IndexError: list index out of range"),
    ("self.items[-4] = 1.0", "IndexError: list assignment index out of range"),
    ("ctx.instruments[7]", "IndexError: tuple index out of range"),
    ("self.by_instrument[ctx.instruments[1]]", "KeyError: <ETHUSDT.binance>"),
    ("math.sqrt(-1.0)", "ValueError: math domain error"),
    ("int(math.inf)", "OverflowError: cannot convert float infinity to integer"),
    ("int(math.nan)", "ValueError: cannot convert float NaN to integer"),
    ("1 << (self.zero - 1)", "ValueError: negative shift count"),
    ("n = 0\n        for i in range(0, 3, self.zero):\n            n += i", "ValueError: range()"),
    ("a, b = self.items", "ValueError: too many values to unpack (expected 2)"),
    ("a, b, c, d = self.items", "ValueError: not enough values to unpack (expected 4, got 3)"),
    ("if self.count > 100:\n            late = 1\n        self.count += late", "UnboundLocalError"),
    ("price = None\n        if not self.flag:\n            price = 1.0\n        price += 1.0",
     "TypeError: unsupported operand type(s) for +=: 'NoneType' and 'float'"),
    ("price = None\n        if self.count > 100:\n            price = 1.0\n        self.flag = price < 1.0",
     "TypeError: '<' not supported between instances of 'NoneType' and 'float'"),
    ("ctx.quote(ctx.instruments[0]).bid + ctx.book(ctx.instruments[0], 0).mid",
     "AttributeError: 'NoneType' object has no attribute 'mid'"),
    ("ctx.cancel(999)", "UsageError: cancel(999): no such order"),
    ("ctx.cancel(self.zero)", "UsageError: cancel(0): no such order"),
    ("ctx.every(self.zero, 'again')", "UsageError: every(0, 'again'): the interval must be positive"),
    ("ctx.random.integers(3, self.zero)", "ValueError: integers(3, 0): no number is in there"),
    ("ctx.round_size(trade.instrument, math.inf)", "ValueError: round_size: inf has no valid size near it"),
    ("assert self.count < 9, 'too many'", "AssertionError: too many"),
    ("raise RuntimeError('by hand')", "RuntimeError: by hand"),
]  # fmt: skip


def fail(folder: Path, text: str, *, interpreted: bool) -> tuple[StrategyError, Any]:
    """Run until the strategy fails; its error and its journal."""
    journals: list[ListedJournal] = []
    init = ListedJournal.__init__

    def noted(self: ListedJournal) -> None:
        init(self)
        journals.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ListedJournal, "__init__", noted)
        with pytest.raises(StrategyError) as caught:
            run_engine(
                market(400, 5),
                load(folder, text),
                RunConfig(latency=Latency(0, 0, 0)),
                (BTC, ETH),
                interpreted=interpreted,
            )
    return caught.value, journals[0].decisions


@pytest.mark.parametrize(("line", "said"), FAILING, ids=[case[0][:40].split("\n")[0] for case in FAILING])
def test_both_forms_fail_with_the_same_words(tmp_path: Path, line: str, said: str) -> None:
    """File, line, function, error, and the event that it was given."""
    text = f"{HEAD}        {line}\n"
    slow, decided = fail(tmp_path, text, interpreted=True)
    quick, journal = fail(tmp_path, text, interpreted=False)
    assert said in slow.message
    assert (quick.message, quick.hint) == (slow.message, slow.hint)
    assert journal == decided
    assert any(d.kind == "submit" for d in journal)


@pytest.mark.parametrize(
    ("handler", "line"),
    [("on_fill", "fill.price / self.zero"), ("on_order", "update.size / self.zero"),
     ("on_timer", "self.count // self.zero"), ("on_quote", "quote.bid / self.zero"),
     ("on_book", "update.ts // self.zero")],
)  # fmt: skip
def test_every_handler_names_what_it_was_given(tmp_path: Path, handler: str, line: str) -> None:
    """Fills, updates, quotes, books and timers' names."""
    argument = line.split(".", maxsplit=1)[0] if "." in line and not line.startswith("self") else "name"
    text = HEAD.replace("        if self.count < 9:\n            return\n", "") + (
        f"\n    def {handler}(self, ctx, {argument}):\n        {line}\n"
    )
    slow, _ = fail(tmp_path, text, interpreted=True)
    quick, _ = fail(tmp_path, text, interpreted=False)
    assert f"in {handler}: " in slow.message
    assert " It was given " in slow.message
    assert quick.message == slow.message


def test_a_whole_number_beyond_64_bits_stops_the_run_and_never_wraps(tmp_path: Path) -> None:
    """Python would go on: the error says so."""
    quick, _ = fail(tmp_path, f"{HEAD}        self.big = self.big * 2\n", interpreted=False)
    line = HEAD.count("\n") + 1
    assert f"mine.py:{line} in on_trade: OverflowError: a whole number that 64 bits" in quick.message
    assert "with --interpreted any size" in quick.hint


def test_a_dict_keeps_its_keys(tmp_path: Path) -> None:
    """Where Python would take a new key, the compiled form stops."""
    quick, _ = fail(
        tmp_path, f"{HEAD}        self.by_instrument[ctx.instruments[1]] = 2.0\n", interpreted=False
    )
    assert "keeps the keys that on_start gave it" in quick.message


def test_answering_each_report_at_once_is_stopped(tmp_path: Path) -> None:
    """Without latency, an order on every update never lets time move."""
    text = (
        "import engine\n\n@engine.compiled\nclass Mine(engine.Strategy):\n"
        "    def on_trade(self, ctx, trade):\n        ctx.market(trade.instrument, 0.00001)\n\n"
        "    def on_order(self, ctx, update):\n        ctx.market(update.instrument, 0.00001)\n"
    )
    quick, _ = fail(tmp_path, text, interpreted=False)
    assert "200,000 times without time moving" in quick.message
