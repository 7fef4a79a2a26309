"""The layers under the lint: with the lint switched off, what do the imports and the audit hook catch?"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.model.errors import StrategyError
from engine.strategy import sandbox
from engine.strategy.loader import LoadedStrategy, load_strategy
from tests.strategy.write import write_strategy

# What a determined author might write to reach the real modules.
REAL = "real = engine.Ema.update.__globals__['__builtins__']"


@pytest.fixture
def load_unlinted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedStrategy]:
    """Loads a strategy whose lint findings are ignored."""

    def load(body: str = "", top: str = "") -> LoadedStrategy:
        with monkeypatch.context() as patch:
            patch.setattr(sandbox, "refuse_findings", lambda _shown, _findings: None)
            return load_strategy(str(write_strategy(tmp_path, body, top=top)))

    return load


def on_trade(loaded: LoadedStrategy, argument: Any = None) -> None:
    """Call the handler as the loop does, inside a guard."""
    handler: Any = loaded.strategy
    with sandbox.guard():
        handler.on_trade(argument, None)


@pytest.mark.parametrize(
    ("body", "what", "instead"),
    [
        ("import time", "import time", "ctx.now"),
        ("from time import time as t", "import time", "ctx.now"),
        ("import random", "import random", "ctx.random"),
        ("from random import random", "import random", "ctx.random"),
        ("import uuid", "import uuid", "ctx.random"),
        ("import os; os.environ", "import os", "--set"),
        ("import socket", "import socket", "events"),
        ("import threading", "import threading", "ctx.every"),
        ("import asyncio", "import asyncio", "ctx.every"),
        ("__import__('ti' + 'me')", "import time", "ctx.now"),
        ("__import__('time', fromlist=[]).time()", "module 'time' has no attribute 'time'", ""),
        ("import numpy as np; np.random", "numpy.random", "ctx.random"),
        ("import numpy as np; getattr(np, 'ran' + 'dom')", "numpy.random", "ctx.random"),
        ("from numpy import random", "numpy.random", "ctx.random"),
        ("import numpy.random", "import numpy.random", "ctx.random"),
        ("import numpy; vars(numpy).get('random').normal", "'NoneType' object", ""),
        ("import numpy; numpy.empty(3)", "numpy.empty", "numpy.zeros"),
        ("import numpy; numpy.loadtxt('x')", "numpy.loadtxt", "--set"),
        ("import datetime; datetime.datetime.now()", "datetime.datetime.now", "ctx.now"),
        ("import datetime; getattr(datetime.datetime, 'to' + 'day')()", "datetime.datetime.today", "ctx.now"),
        ("import datetime; datetime.date.today()", "datetime.date.today", "ctx.now"),
        ("import datetime; datetime.datetime.fromtimestamp(0)", "without a zone", "timezone.utc"),
        ("import datetime; datetime.datetime(2024, 1, 1).timestamp()", "without a zone", "timezone.utc"),
        ("import datetime; datetime.datetime(2024, 1, 1).astimezone()", "without a zone", "timezone.utc"),
        ("import statistics; statistics.random.random()", "serves no 'random'", ""),
        ("import dataclasses; dataclasses.sys.modules", "serves no 'sys'", ""),
        ("import contextlib; contextlib.os", "serves no 'os'", ""),
        ("from collections import _sys", "cannot import name '_sys'", ""),
        ("engine.cli", "serves no 'cli'", ""),
        ("import engine.live", "import engine.live", "engine itself"),
        ("open('x')", "open()", "ctx.log"),
        ("globals()['__builtins__']['open']('x')", "open()", "ctx.log"),
        ("input()", "input()", "--set"),
        ("id(self)", "id()", "instrument.index"),
        ("hash('a')", "hash()", "instrument.index"),
        ("eval('1')", "eval()", "plain code"),
        ("exec('1')", "exec()", "plain code"),
        ("breakpoint()", "breakpoint()", "plain code"),
    ],
)
def test_imports_and_builtins_are_refused_at_run_time(
    load_unlinted: Callable[..., LoadedStrategy], body: str, what: str, instead: str
) -> None:
    """Without the lint, the second layer still stops each of them, whatever the name is made of."""
    loaded = load_unlinted(body)
    with pytest.raises((StrategyError, AttributeError, ImportError)) as caught:
        on_trade(loaded)
    assert what in str(caught.value)
    if instead:
        assert isinstance(caught.value, StrategyError)
        assert "mine.py:6: " in caught.value.message
        assert instead in caught.value.hint


def test_a_refused_import_at_module_level_names_its_line(
    load_unlinted: Callable[..., LoadedStrategy],
) -> None:
    """The file's own lines run under the same rules as its handlers."""
    with pytest.raises(StrategyError, match=r"mine.py:3: import time reads the machine's clock"):
        load_unlinted(top="x = 1\nimport time")


@pytest.mark.parametrize(
    ("body", "what", "instead"),
    [
        ("real['open']('/etc/hostname')", "open ('/etc/hostname')", "ctx.log"),
        ("real['__import__']('socket').socket()", "socket.__new__", "events"),
        ("real['__import__']('os').system('true')", "os.system", "--set"),
        ("real['__import__']('os').listdir('.')", "os.listdir", "--set"),
        ("real['__import__']('subprocess').run(['true'])", "subprocess.Popen", "ctx.every"),
        ("real['__import__']('pathlib').Path('/etc/hostname').read_text()", "open", "ctx.log"),
        ("real['__import__']('ctypes').CDLL(None)", "ctypes.dlopen", "plain code"),
    ],
)
def test_the_audit_hook_sees_through_every_disguise(
    load_unlinted: Callable[..., LoadedStrategy], body: str, what: str, instead: str
) -> None:
    """Whoever gets hold of the real modules is stopped at the act itself."""
    __import__("ctypes"), __import__("subprocess")  # loading them is not the act
    loaded = load_unlinted(f"{REAL}\n{body}")
    with pytest.raises(StrategyError) as caught:
        on_trade(loaded)
    assert "mine.py:7: " in caught.value.message
    assert what in caught.value.message
    assert instead in caught.value.hint


def test_a_refusal_that_the_strategy_swallows_is_raised_all_the_same(
    load_unlinted: Callable[..., LoadedStrategy],
) -> None:
    """`except Exception` does not hide it: check() says it at once, the end of the guard at last."""
    loaded = load_unlinted("try:\n    import time\nexcept Exception:\n    pass")
    handler: Any = loaded.strategy
    sandbox.enter()
    handler.on_trade(None, None)
    with pytest.raises(StrategyError, match="import time"):
        sandbox.check()
    with pytest.raises(StrategyError, match="import time"):
        sandbox.leave()
    sandbox.check()  # and the next run begins without it


def test_the_engine_may_work_while_a_handler_waits(
    load_unlinted: Callable[..., LoadedStrategy], tmp_path: Path
) -> None:
    """A file that the engine opens for it (a journal, in ctx.log) is no act of the strategy."""
    import engine.strategy.loader as part_of_the_engine

    target = tmp_path / "journal"
    namespace: dict[str, Any] = {"target": target}
    # A function whose code stands in the engine's folder, called by the strategy's handler.
    code = compile("def log():\n    open(target, 'w').close()\n", part_of_the_engine.__file__, "exec")
    exec(code, namespace)  # noqa: S102
    on_trade(load_unlinted("ctx()"), namespace["log"])
    assert target.exists()


def test_outside_a_guard_and_outside_a_strategy_nothing_is_watched(tmp_path: Path) -> None:
    """The hook minds the strategy's code alone: ours may use files and sockets inside a guard."""
    with sandbox.guard():
        (tmp_path / "x").write_text("ours")
        with socket.socket():
            pass
        thread = threading.Thread(target=lambda: (tmp_path / "y").write_text("ours"))
        thread.start()
        thread.join(10)
    assert (tmp_path / "y").read_text() == "ours"


def test_guards_nest_and_end() -> None:
    """The inner guard's end does not end the outer one; an error inside ends both."""
    from engine.strategy import audit

    with sandbox.guard():
        with sandbox.guard():
            assert audit._depth == 2
        assert audit._depth == 1
    with pytest.raises(ZeroDivisionError), sandbox.guard():
        raise ZeroDivisionError
    assert audit._depth == 0


def test_ordinary_modules_work_inside(tmp_path: Path) -> None:
    """Dataclasses, enums, named tuples, numpy and the like behave as everywhere."""
    top = """
    import datetime as dt, decimal, enum, json, math, re, statistics, typing
    import collections.abc
    import numpy as np
    import numpy.linalg
    from collections import deque, namedtuple
    from dataclasses import dataclass, field

    @dataclass(frozen=True)
    class Key:
        name: str
        items: list[int] = field(default_factory=list, hash=False)

    class Side(enum.Enum):
        BUY = 1

    Pair = namedtuple("Pair", "a b")

    class Typed(typing.NamedTuple):
        a: int = 1
    """
    body = """
    table = {Key("a"): Side.BUY, Pair(1, 2): Typed().a}
    assert table[Key("a")] is Side.BUY
    assert statistics.mean([1, 2]) == 1.5
    assert float(np.sqrt(np.arange(5.0)).sum()) > 6
    assert np.linalg.norm([3.0, 4.0]) == numpy.linalg.norm([3.0, 4.0])
    assert isinstance([], collections.abc.Sequence)
    when = dt.datetime.fromtimestamp(86400.0, dt.timezone.utc)
    assert (when + dt.timedelta(days=1)).timestamp() == 172800.0
    assert when.astimezone(dt.timezone.utc).hour == 0
    assert dt.datetime.fromisoformat("2024-06-01T00:00:00+00:00").timestamp() == 1717200000.0
    assert dt.datetime.strptime("2024-06", "%Y-%m").strftime("%d.%m.%Y") == "01.06.2024"
    assert when.isoformat() == "1970-01-02T00:00:00+00:00"
    assert str(decimal.Decimal("0.1") * 3) == "0.3"
    assert json.loads(json.dumps({"a": [1]})) == {"a": [1]}
    assert re.sub("a+", "b", "caat") == "cbt"
    assert np.array([3.0, 1.0]).std() == 1.0
    assert float(np.median(np.array([3.0, 1.0, 2.0]))) == 2.0
    assert deque([1, 2], maxlen=1)[0] == 2
    print("to", "stderr", sep="-")
    """
    path = write_strategy(tmp_path, body, top=top)
    on_trade(load_strategy(str(path)))
    path.write_text(f"from __future__ import annotations\n{path.read_text()}")
    on_trade(load_strategy(str(path)))


def test_print_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout belongs to the command's result, which may be one JSON object."""
    on_trade(load_strategy(str(write_strategy(tmp_path, "print('hello', 2)"))))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello 2\n")


@pytest.mark.parametrize("body", ["self.seen = repr(object())", "self.seen = [*ctx]"], ids=["address", "set"])
def test_what_no_layer_sees_is_left_to_verify(tmp_path: Path, body: str) -> None:
    """Known misses, kept here so that nobody believes otherwise: an object's address, an unrecognised set."""
    loaded = load_strategy(str(write_strategy(tmp_path, body)))
    on_trade(loaded, {"a", "b"})
    assert loaded.strategy.seen  # type: ignore[attr-defined]
