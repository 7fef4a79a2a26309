"""What a compiled strategy cannot have is refused before the run: the line, the construct, the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model.errors import StrategyError
from engine.strategy.compiled.layout import Layout
from engine.strategy.compiled.program import Program
from tests.compiled.harness import load

HEAD = """import math
import numpy as np
import engine

WORDS = ["a"]

def helper(x):
    return x + 1

def again(n):
    return again(n - 1)

class Thing:
    def __init__(self):
        self.x = 1.0

@engine.compiled
class Mine(engine.Strategy):
    def on_start(self, ctx):
        self.count, self.price, self.up, self.name = 0, 0.0, False, "none"
        self.items, self.mixed = [1.0, 2.0], [1, "a"]
        self.array = np.zeros(3)
        self.numbers = np.zeros(3, dtype=np.int64)
        self.thing = Thing()
        self.by_name = {"a": 1}
        self.stop = None

    def helped(self, x):
        return x

    def on_trade(self, ctx, trade):
"""
LINE = HEAD.count("\n") + 1

# A handler's lines, the line that is named (from 0), and what is said of it and of the way out.
REFUSED = [
    ("try:\n    self.count = 1\nexcept ValueError:\n    pass", 0, "no try", "let nothing fail"),
    ("with trade:\n    pass", 0, "no with", "runs interpreted"),
    ("global WORDS", 0, "no global", "keep it in a field"),
    ("f = lambda x: x", 0, "no lambda", "write a method"),
    ("def f(x):\n    return x", 0, "function inside a function", "write a method"),
    ("a = [x for x in self.items]", 0, "a list comprehension", "loop over it"),
    ("a = {x: 1 for x in self.items}", 0, "a dict comprehension", "in on_start"),
    ("a = sum(x for x in self.items)", 0, "sum()", "add in a loop"),
    ("a = {1, 2}", 0, "a set", "flags in on_start"),
    ("a = [1, 2]", 0, "making a list", "in on_start"),
    ("a = {}", 0, "making a dict", "in on_start"),
    ("del self.count", 0, "no del", "another value"),
    ("import math", 0, "import inside a function", "top of the file"),
    ("if (n := 3) > 2:\n    pass", 0, "assignment inside an expression", "line of its own"),
    ("match trade.side:\n    case 1:\n        pass", 0, "no match", "if and elif"),
    ("self.name = f'{trade.price}'", 0, "making a text", "ctx.log"),
    ("a = self.items[0:1]", 0, "a slice", "range"),
    ("helper(*self.items)", 0, "*arguments", "one by one"),
    ("self.count = 1\nself.fresh = 1", 1, "Mine has no field fresh after on_start", "declare it there"),
    ("a = self.misspelt", 0, "Mine has no field misspelt", "self.misspelt = 0.0"),
    ("self.count = trade.price", 0, "self.count is int, and float here", "int(...)"),
    ("self.price = 1", 0, "self.price is float, and int here", "write 0.0"),
    ("self.price = True", 0, "self.price is float, and bool here", "float everywhere"),
    ("a = 0\na = 0.5", 1, '"a" (line', "write 0.0"),
    ("a = 1 if self.up else 0.5", 0, "this is int, and float here", "write 0.0"),
    ("a = missing + 1", 0, '"missing" is used before it has a value', "runs interpreted"),
    ("a = trade.price ** 2", 0, "float ** int may differ in the last bit", "multiply"),
    ("a = 2 ** self.count", 0, "int ** int", "multiply"),
    ("a = round(trade.price, 2)", 0, "round() to a number of digits", "ctx.round_price"),
    ("a = math.exp(1.0)", 0, "math.exp()", "math.sqrt"),
    ("a = math.log(trade.price)", 0, "math.log()", "differs from CPU to CPU"),
    ("a = np.sum(self.array)", 0, "np.sum()", "write the loop"),
    ("a = self.array.mean()", 0, "numpy.ndarray.mean()", "runs interpreted"),
    ("a = self.array[0] / 2.0", 0, "numpy.float64 / float follows NumPy's rules", "float(...)"),
    ("self.price = self.array[0]", 0, "self.price is float, and numpy.float64 here", "float(...)"),
    ("self.numbers[0] = 1.5", 0, "an array's item is int, and float here", "int(...)"),
    ("a = sum(self.items)", 0, "sum()", "add in a loop"),
    ("a = sorted(self.items)", 0, "sorted() has no compiled form", "loops"),
    ("a = min(self.count, 0.5)", 0, "min() of int and float", "one kind"),
    ("print(trade.price)", 0, "print()", "ctx.log"),
    ("self.items.append(1.0)", 0, "list.append()", "keeps the length"),
    ("self.items = [1.0, 3.0]", 0, "making a list", "in on_start"),
    ("self.thing = Thing()", 0, "making a Thing", "in on_start"),
    (
        "self.thing = self.thing",
        0,
        "self.thing holds a Thing that a handler replaces",
        "change what is in it",
    ),
    ("a = engine.Ema(3)", 0, "making a Ema", "in on_start"),
    ("a = self.mixed[0]", 0, "self.mixed mixes int and str", "a field holds"),
    (
        "a = self.by_name['a']",
        0,
        "self.by_name is a dict whose keys are not all instruments",
        "by instrument",
    ),
    ("a = WORDS[0]", 0, "WORDS is a list outside the strategy", "field that on_start makes"),
    ("self.name = self.name + 'x'", 0, "str + str", "ctx.log"),
    ("if trade.instrument.symbol == 'BTC':\n    pass", 0, "Instrument.symbol", "compare instruments"),
    ("if trade.price == 'x':\n    pass", 0, "float == str is never true", "one kind"),
    ("if trade.price is self.price:\n    pass", 0, '"is" between values', "write =="),
    ("if trade.price in (1.0, 2.0):\n    pass", 0, '"in" with a float', "=="),
    ("ctx.markt(trade.instrument, 1.0)", 0, "ctx has no markt()", 'did you mean "market"'),
    ("ctx.ask(1, trade.instrument)", 0, "ctx.ask() has no compiled form", "which run in Python"),
    ("a = ctx.noww", 0, "ctx has no noww", 'did you mean "now"'),
    ("self.helpd(1)", 0, "Mine has no method helpd", 'did you mean "helped"'),
    ("ctx.market('BTCUSDT', 1.0)", 0, "an instrument by its name", "look it up in on_start"),
    ("a = ctx.instrument('BTCUSDT')", 0, "ctx.instrument()", "look it up in on_start"),
    ("ctx.limit(trade.instrument, 1.0, 2.0, tif='gtx')", 0, 'limit(tif="gtx"): no such', "gtc, ioc, fok"),
    ("ctx.limit(trade.instrument, 1.0, 2.0, tif='gtd')", 0, 'only "gtd" has an end', "until=ctx.now"),
    ("ctx.market(trade.instrument)", 0, "ctx.market() lacks size", "runs interpreted"),
    ("ctx.market(trade.instrument, amount=1.0)", 0, "ctx.market(amount=...)", "signature"),
    ("ctx.every('soon', 'x')", 0, '"soon" is no duration', "write 20ms"),
    ("ctx.log(trade)", 0, "ctx.log() of a Trade", "its numbers"),
    ("a = again(3)", 0, "again", "loop"),
    ("raise trade", 0, "raise", "ValueError"),
    ("for x in range(3):\n    pass\nelse:\n    pass", 0, "for with else", "flag"),
    ("a, b = 1, 2, 3", 0, "unpacking 3 values into 2", "runs interpreted"),
    ("a = trade.price and 1", 0, '"and" or "or" between float and int', "if condition else"),
    ("trade.price = 1.0", 0, "assigning to Trade.price", "events"),
    ("a = 99999999999999999999", 0, "the value 99999999999999999999", "64 bits"),
    ("a = self.price @ self.price", 0, "operator @", "loop"),
    ("self.name = update.reason", 0, "self.name is str, and reason of an update here", "str everywhere"),
    ("self.stop = trade", 0, "self.stop = a Trade", "its numbers"),
]


@pytest.mark.parametrize(("lines", "at", "what", "way_out"), REFUSED, ids=[case[0][:40] for case in REFUSED])
def test_it_is_refused_with_its_line_and_the_way_out(
    tmp_path: Path, lines: str, at: int, what: str, way_out: str
) -> None:
    """Each by the line that it stands in, and without having run."""
    head = (
        HEAD.replace("on_trade(self, ctx, trade)", "on_order(self, ctx, update)")
        if "update" in lines
        else HEAD
    )
    text = head + "".join(f"        {line}\n" for line in lines.split("\n"))
    strategy = load(tmp_path, text)
    strategy.on_start(None)  # type: ignore[attr-defined]
    with pytest.raises(StrategyError) as caught:
        Program(strategy, Layout(strategy)).write()
    said = caught.value
    expected = LINE + at
    if "again(" in lines:
        expected = HEAD.split("\n").index("    return again(n - 1)") + 1  # where it calls itself
    assert f"mine.py:{expected}: " in said.message
    assert what in said.message + said.hint
    assert way_out in said.message + said.hint
    assert "without @engine.compiled it runs interpreted" in said.hint


def test_an_object_that_on_start_does_not_keep_is_nobody_s_business(tmp_path: Path) -> None:
    """Fields that no compiled handler uses may hold anything."""
    text = HEAD + "        self.count += 1\n"
    strategy = load(tmp_path, text)
    strategy.on_start(None)  # type: ignore[attr-defined]
    strategy.anything = {"x": object()}  # type: ignore[attr-defined]
    assert Program(strategy, Layout(strategy)).write().handlers
