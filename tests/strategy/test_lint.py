"""The lint, by table: what it refuses, in which words, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model.errors import StrategyError
from engine.strategy.loader import load_strategy
from tests.strategy.write import write_strategy

# (name, module level, in on_trade, line of the finding, what it is called, what to use instead)
REFUSED = [
    ("time", "import time", "time.time()", 2, "import time", "ctx.now"),
    ("time alias", "from time import time as t", "t()", 2, "time.time", "ctx.now"),
    ("monotonic", "from time import monotonic", "monotonic()", 2, "time.monotonic", "ctx.now"),
    ("inside", "", "import time as clock\nclock.time()", 6, "import time", "ctx.now"),
    ("datetime", "import datetime", "datetime.datetime.now()", 6, "datetime.datetime.now", "ctx.now"),
    (
        "datetime alias",
        "from datetime import datetime as d",
        "d.utcnow()",
        6,
        "datetime.datetime.utcnow",
        "ctx.now",
    ),
    ("today", "from datetime import date", "f = date.today", 6, "datetime.date.today", "ctx.now"),
    ("random", "import random", "random.random()", 2, "import random", "ctx.random"),
    ("random names", "from random import gauss as g, seed", "g()", 2, "random.gauss", "ctx.random"),
    ("np.random", "import numpy as np", "np.random.normal()", 6, "numpy.random", "ctx.random"),
    ("numpy.random", "import numpy.random", "pass", 2, "import numpy.random", "ctx.random"),
    ("from numpy", "from numpy import random as r", "r.normal()", 2, "numpy.random", "ctx.random"),
    ("from numpy.random", "from numpy.random import default_rng", "pass", 2, "numpy.random", "ctx.random"),
    ("getattr", "import numpy as np", "getattr(np, 'random').normal()", 6, "numpy.random", "ctx.random"),
    ("computed", "import numpy", "getattr(numpy, 'ran' + 'dom')", 6, "getattr on numpy", "plain code"),
    ("renamed", "import numpy", "n = numpy\nn.random.normal()", 7, "numpy.random", "ctx.random"),
    ("now64", "import numpy as np", "np.datetime64('now')", 6, "numpy.datetime64", "ctx.now"),
    ("empty", "import numpy as np", "np.empty(3)", 6, "numpy.empty", "numpy.zeros"),
    ("uuid", "import uuid", "uuid.uuid4()", 2, "import uuid", "ctx.random"),
    ("secrets", "import secrets", "pass", 2, "import secrets", "ctx.random"),
    ("environment", "import os", "os.environ['X']", 2, "import os", "--set"),
    ("environment names", "from os import environ, getenv", "pass", 2, "os.environ", "--set"),
    ("socket", "import socket", "socket.socket()", 2, "import socket", "events"),
    ("http", "from urllib.request import urlopen", "pass", 2, "urllib.request.urlopen", "events"),
    ("requests", "import requests", "pass", 2, "import requests", "events"),
    ("open", "", "open('x')", 6, "open()", "ctx.log"),
    ("open alias", "o = open", "o('x')", 2, "open()", "ctx.log"),
    ("path", "from pathlib import Path", "pass", 2, "pathlib.Path", "ctx.log"),
    ("np.load", "import numpy as np", "np.loadtxt('x')", 6, "numpy.loadtxt", "--config"),
    ("thread", "import threading", "threading.Thread()", 2, "import threading", "ctx.every"),
    ("asyncio", "import asyncio", "pass", 2, "import asyncio", "ctx.every"),
    (
        "pool",
        "from concurrent.futures import ThreadPoolExecutor",
        "pass",
        2,
        "concurrent.futures",
        "ctx.every",
    ),
    ("subprocess", "import subprocess", "pass", 2, "import subprocess", "ctx.every"),
    ("async def", "async def later(): ...", "pass", 2, "async def later", "ctx.every"),
    ("logging", "import logging", "pass", 2, "import logging", "ctx.log"),
    ("id", "", "x = id(trade)", 6, "id()", "instrument.index"),
    ("hash", "", "x = hash('a')", 6, "hash()", "instrument.index"),
    ("key=id", "", "sorted([trade], key=id)", 6, "key=id", "instrument.index"),
    ("eval", "", "eval('1')", 6, "eval()", "plain code"),
    ("exec", "", "exec('1')", 6, "exec()", "plain code"),
    ("__import__", "", "__import__('time').time()", 6, "__import__()", "plain code"),
    ("builtins", "", "__builtins__['open']('x')", 6, "__builtins__", "plain code"),
    ("globals of", "", "engine.Ema.__init__.__globals__", 6, "__globals__", "plain code"),
    ("subclasses", "", "object.__subclasses__()", 6, "__subclasses__", "plain code"),
    ("innards", "", "getattr(engine.Ema.update, '__globals__')", 6, "__globals__", "plain code"),
    ("importlib", "import importlib", "pass", 2, "import importlib", "plain code"),
    ("sys", "import sys", "sys.modules", 2, "import sys", "--set"),
    ("pandas", "import pandas as pd", "pass", 2, "import pandas", "import engine, numpy"),
    ("engine parts", "from engine.log import schema", "pass", 2, "engine.log", "stand in engine itself"),
    ("star", "from math import *", "pass", 2, "from math import *", "name it"),
    ("__del__", "class A:\n    def __del__(self): ...", "pass", 3, "__del__", "on_stop"),
    ("for literal", "", "for x in {'a', 'b'}: pass", 6, "for over a set", "sorted"),
    ("for set()", "", "for x in set(ctx.names): pass", 6, "for over a set", "sorted"),
    ("for name", "", "s = {'a'}\nfor x in s: pass", 7, "for over a set", "sorted"),
    ("for union", "", "s = {'a'}\nfor x in s | {'b'}: pass", 7, "for over a set", "sorted"),
    ("for method", "", "s = {'a'}\nfor x in s.union('b'): pass", 7, "for over a set", "sorted"),
    ("for keys", "", "a = {}\nfor x in a.keys() & a.keys(): pass", 7, "for over a set", "sorted"),
    ("for field", "", "self.s = set()\nfor x in self.s: pass", 7, "for over a set", "sorted"),
    ("for annotated", "", "s: set[str] = ctx.names\nfor x in s: pass", 7, "for over a set", "sorted"),
    ("for argument", "def f(s: set):\n    for x in s: pass", "pass", 3, "for over a set", "sorted"),
    ("list of", "", "list({'a', 'b'})", 6, "list() of a set", "sorted"),
    ("sum of", "", "sum({0.1, 0.2})", 6, "sum() of a set", "sorted"),
    ("next of", "", "next(iter({'a'}))", 6, "iter() of a set", "sorted"),
    ("join", "", "','.join({'a', 'b'})", 6, "join() of a set", "sorted"),
    ("pop", "", "s = {'a'}\ns.pop()", 7, "pop() of a set", "sorted"),
    ("comprehension", "", "[x for x in {'a', 'b'}]", 6, "a comprehension over a set", "sorted"),
    ("generator", "", "sum(x for x in {0.1, 0.2})", 6, "a comprehension over a set", "sorted"),
    ("star of", "", "print(*{'a', 'b'})", 6, "* of a set", "sorted"),
    ("unpack", "", "a, b = {'a', 'b'}", 6, "unpacking a set", "sorted"),
    ("text", "", "ctx.log(f'{ {1} | {2} }')", 6, "the text of a set", "sorted"),
    ("min key", "", "min({'a', 'b'}, key=len)", 6, "min() of a set", "sorted"),
    ("fromkeys", "", "dict.fromkeys({'a', 'b'})", 6, "fromkeys() of a set", "sorted"),
]


@pytest.mark.parametrize(
    ("top", "body", "line", "what", "instead"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_makes_two_runs_differ_is_refused_with_its_line(
    tmp_path: Path, top: str, body: str, line: int, what: str, instead: str
) -> None:
    """The error names file, line, the call and what to use instead, before anything has run."""
    path = write_strategy(tmp_path, body, top=top)
    with pytest.raises(StrategyError) as caught:
        load_strategy(str(path))
    first = caught.value.message.splitlines()[0]
    assert f"mine.py:{line}: " in first
    assert what in first
    assert instead in caught.value.hint


ALLOWED = [
    ("sorted set", "", "for x in sorted({'b', 'a'}): pass"),
    ("set reassigned", "", "s = {'b'}\ns = sorted(s)\nfor x in s: pass"),
    ("set membership", "", "s = {'b'}\nif 'b' in s and len(s) == 1 and max(s) == 'b': pass"),
    ("set from set", "", "s = {x for x in {'b'}}\nany(s)"),
    ("dict", "", "d = {'b': 1}\nfor k, v in d.items(): pass\nfor k in d.keys(): pass\nlist(d)"),
    ("own hash function", "def hash(x): return 1", "hash(trade)"),
    ("own variable id", "", "id = trade.id\nid = id + 1"),
    ("__hash__", "class A:\n    def __hash__(self): return hash(1)", "{A(): 1}"),
    ("getattr on self", "", "getattr(self, 'size', None)"),
    ("attribute named time", "", "self.time = trade.ts\nself.random = 1\nx = self.time"),
    ("a name like a module", "", "time = trade.ts\nrandom = time + 1\nos = random"),
    ("numpy", "import numpy as np\nfrom numpy import zeros", "np.sqrt(np.zeros(3)).sum()"),
    (
        "pure modules",
        "import math, statistics, itertools, functools, collections.abc, re, json",
        "math.sqrt(4)",
    ),
    ("datetime", "from datetime import datetime, timezone", "datetime.fromtimestamp(1, timezone.utc).hour"),
]


@pytest.mark.parametrize(("top", "body"), [a[1:] for a in ALLOWED], ids=[a[0] for a in ALLOWED])
def test_ordinary_code_is_left_alone(tmp_path: Path, top: str, body: str) -> None:
    """No false alarm on code that always gives the same, though it looks like what is refused."""
    loaded = load_strategy(str(write_strategy(tmp_path, body, top=top)))
    assert loaded.handlers == ("on_trade",)


def test_all_findings_are_listed_at_once(tmp_path: Path) -> None:
    """An author sees every line to change, in order, and each piece of advice once."""
    path = write_strategy(tmp_path, "time.time()\nopen('x')\nopen('y')", top="import time\nimport random")
    with pytest.raises(StrategyError) as caught:
        load_strategy(str(path))
    lines = caught.value.message.splitlines()
    assert [line.split("mine.py:")[1].split(" ")[0] for line in lines] == ["2:", "3:", "7:", "8:", "9:"]
    assert caught.value.hint.count("ctx.log") == 1
    assert "ctx.random" in caught.value.hint


@pytest.mark.parametrize(
    ("top", "body", "expected"),
    [
        ("import math", "math.exp(1) + math.sqrt(2)", ("math.exp (line 6)",)),
        ("from math import log as ln", "ln(2)", ("math.log (line 2)",)),
        ("import numpy as np", "np.linalg.solve(1, 2)", ("numpy.linalg.solve (line 6)",)),
        ("import numpy as np", "np.zeros(2) @ np.zeros(2)", ("the @ operator (line 6)",)),
        ("", "x = trade.price ** 0.5", ("the ** operator (line 6)",)),
        ("", "x = 10 ** 9 + trade.price * trade.price", ()),
    ],
)
def test_what_differs_between_cpus_is_recorded(
    tmp_path: Path, top: str, body: str, expected: tuple[str, ...]
) -> None:
    """Calls whose last bit depends on the CPU are allowed, and stand in the load result with their line."""
    assert load_strategy(str(write_strategy(tmp_path, body, top=top))).cpu_dependent == expected
