"""Loading: how a strategy is found, what is wrong with a file, and what its fingerprint covers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.model.errors import StrategyError, UsageError
from engine.strategy import loader
from engine.strategy.loader import explain_failure, load_strategy, shipped_names
from tests.strategy.write import write_strategy

ROOT = Path(__file__).parents[2]


def test_a_shipped_strategy_is_found_by_name_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--strategy ema_cross` works in any folder, and is recorded by that name."""
    monkeypatch.chdir(tmp_path)
    loaded = load_strategy("ema_cross", ["fast=20"])
    assert (loaded.name, loaded.reference) == ("ema_cross", "ema_cross")
    assert loaded.parameters == {"symbols": (), "fast": 20, "slow": 500, "size": 0.01}
    assert loaded.handlers == ("on_start", "on_trade")
    assert vars(loaded.strategy) == loaded.parameters


def test_an_installed_package_brings_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a wheel the strategies stand below the package, and win over a folder beside it."""
    shutil.copytree(ROOT / "strategies", tmp_path / "engine" / "shipped" / "strategies")
    monkeypatch.setattr(loader, "engine", SimpleNamespace(__file__=str(tmp_path / "engine" / "__init__.py")))
    loaded = load_strategy("ema_cross")
    assert loaded.path == tmp_path / "engine" / "shipped" / "strategies" / "ema_cross.py"
    assert loaded.reference == "ema_cross"


def test_by_path_and_by_name_one_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint is of the content, not of the place."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "strategies" / "ema_cross.py", tmp_path / "other.py")
    by_path = load_strategy("other.py")
    assert by_path.fingerprint == load_strategy("ema_cross").fingerprint
    assert (by_path.name, by_path.reference) == ("other", "other.py")


def test_a_class_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with two strategies needs file.py:Class, and says so; a base class with _ does not count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(
        "import engine\n"
        "class _Base(engine.Strategy):\n    size: float = 1.0\n    def on_trade(self, ctx, trade): ...\n"
        "class One(_Base): ...\n"
        "class Two(_Base): ...\n"
    )
    with pytest.raises(StrategyError) as caught:
        load_strategy("two.py")
    assert caught.value.message == "two.py has 2 strategies: One, Two"
    assert caught.value.hint == "write --strategy two.py:One or --strategy two.py:Two"
    loaded = load_strategy("two.py:Two", ["size=2"])
    assert (type(loaded.strategy).__name__, loaded.name, loaded.reference) == ("Two", "two:Two", "two.py:Two")
    with pytest.raises(StrategyError, match=r"two\.py has no strategy Three"):
        load_strategy("two.py:Three")


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("", "mine.py has no strategy", "extends engine.Strategy"),
        ("import engine\nclass A(engine.Strategy): ...", "mine.py: A has no handler", "on_start, on_trade"),
        ("x = (\n", "mine.py:1: '(' was never closed: x = (", "cannot read"),
        ("def f(:\n  pass", "mine.py:1: invalid syntax: def f(:", "cannot read"),
        ("x = 1\n\0", "mine.py: source code string cannot contain null bytes", "cannot read this file"),
        ("# coding: utf-8\nx = '\xe9'", "mine.py:2: (unicode error)", "cannot read this line"),
        ("x = 1\nreturn x", "mine.py:2: 'return' outside function: return x", "cannot read this line"),
        ("import engine\n1 / 0", "mine.py:2 in <module>: ZeroDivisionError: division by zero", "before any"),
        ("import engine\nengine.Strateggy", "mine.py:2 in <module>: AttributeError", "before any event"),
        (
            "from engine import Nothing",
            "mine.py:1 in <module>: ImportError: cannot import name",
            "before any",
        ),
        ("import nowhere", "mine.py:1: import nowhere is not among", "a file beside"),
        ("from .nowhere import x", "nowhere.py: no such file", "beside itself"),
        ("from ..up import x", "mine.py:1: import ..up leaves the strategy's folder", "beside the strategy"),
        (
            "import engine\nclass A(engine.Strategy):\n  def on_trades(self, ctx, t): ...",
            'mine.py:3: A has a handler "on_trades" that nothing calls',
            'did you mean "on_trade"',
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  def on_trade(self, trade): ...",
            "mine.py:3: A.on_trade(self, trade) does not take 3 arguments",
            "def on_trade(self, ctx, trade):",
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  def on_start(self): ...",
            "mine.py:3: A.on_start(self) does not take 2 arguments",
            "def on_start(self, ctx):",
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  def on_trade(self, ctx, trade): yield",
            "mine.py:3: A.on_trade is no plain method",
            "def on_trade(self, ctx, trade):",
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  def __init__(s): ...\n  def on_stop(s, c): ...",
            "mine.py:3: A has an __init__",
            "on_start(self, ctx)",
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  x: dict = {}\n  def on_stop(self, ctx): ...",
            'A: parameter "x" has type dict',
            "possible are int, float, bool, str",
        ),
        (
            "import engine\nclass A(engine.Strategy):\n  x: Unknown = 1\n  def on_stop(self, ctx): ...",
            "mine.py:3 in A: NameError: name 'Unknown' is not defined",
            "before any event",
        ),
    ],
)
def test_a_file_that_is_no_strategy_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str, hint: str
) -> None:
    """Each way to get it wrong has its message, with the line where there is one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(content, encoding="latin-1")
    with pytest.raises(StrategyError) as caught:
        load_strategy("mine.py")
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("gone.py", "gone.py: no such strategy file", "ema_cross"),
        ("ema_crss", "ema_crss: no shipped strategy and no file", 'did you mean "ema_cross"'),
        ("strategies/ema_cros.py", "no such strategy file", 'did you mean "ema_cross"'),
        (".", ". is a folder", "a strategy's file"),
    ],
)
def test_a_strategy_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, message: str, hint: str
) -> None:
    """The error names what was asked for and what there is."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StrategyError) as caught:
        load_strategy(reference)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_wrong_parameter_is_the_users_error_not_the_files() -> None:
    """`--set` mistakes are UsageErrors with the list of parameters."""
    with pytest.raises(UsageError, match='EmaCross has no parameter "quick"'):
        load_strategy("ema_cross", ["quick=3"])


def test_files_beside_it_belong_to_the_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sibling is imported, linted and fingerprinted, also one that a handler or a sibling imports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signals.py").write_text("import depth\ndef signal(): return depth.DEPTH\n")
    (tmp_path / "depth.py").write_text("DEPTH = 3\n")
    (tmp_path / "unrelated.py").write_text("import time\n")
    write_strategy(tmp_path, "from signals import signal\nself.seen = signal()")
    loaded = load_strategy("mine.py")
    assert list(loaded.files) == ["mine.py", "signals.py", "depth.py"]
    strategy = loaded.strategy
    strategy.on_trade(None, None)  # type: ignore[attr-defined]
    assert strategy.seen == 3  # type: ignore[attr-defined]

    (tmp_path / "unrelated.py").write_text("import random\n")
    assert load_strategy("mine.py").fingerprint == loaded.fingerprint
    (tmp_path / "depth.py").write_text("DEPTH = 4\n")
    changed = load_strategy("mine.py")
    assert changed.fingerprint != loaded.fingerprint
    changed.strategy.on_trade(None, None)  # type: ignore[attr-defined]
    assert changed.strategy.seen == 4  # type: ignore[attr-defined]

    (tmp_path / "depth.py").write_text("import time\nDEPTH = time.time()\n")
    with pytest.raises(StrategyError, match=r"depth.py:1: import time"):
        load_strategy("mine.py")


def test_two_loads_share_nothing(tmp_path: Path) -> None:
    """Module state of one run is not seen by the next in the same process."""
    path = write_strategy(tmp_path, "seen.append(1)", top="seen = []")
    first, second = load_strategy(str(path)), load_strategy(str(path))
    first.strategy.on_trade(None, None)  # type: ignore[attr-defined]
    second.strategy.on_trade(None, None)  # type: ignore[attr-defined]
    seen = [type(loaded.strategy).on_trade.__globals__["seen"] for loaded in (first, second)]  # type: ignore[attr-defined]
    assert seen == [[1], [1]]
    assert first.new() is not first.strategy


def test_a_failing_handler_is_placed_in_the_authors_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The innermost line of the author's own is named, also when the exception rose deeper."""
    monkeypatch.chdir(tmp_path)
    write_strategy(tmp_path, "import statistics\nstatistics.mean([])")
    loaded = load_strategy("mine.py")
    with pytest.raises(ValueError, match="mean") as caught:
        loaded.strategy.on_trade(None, None)  # type: ignore[attr-defined]
    assert explain_failure(caught.value).startswith("mine.py:7 in on_trade: StatisticsError: mean requires")


def test_all_shipped_strategies_load_and_depend_on_no_cpu() -> None:
    """Each can be found, has a docstring, and uses nothing that differs between machines."""
    trend, quoting, two = (
        {"ema_cross", "ma_band", "momentum", "momentum_sentiment"},
        {"imbalance", "market_maker", "grid"},
        {"pairs"},
    )
    assert set(shipped_names()) == trend | quoting | two | {"arbitrage"}
    for name in shipped_names():
        loaded = load_strategy(name)
        assert loaded.strategy.__doc__
        assert loaded.cpu_dependent == ()


def test_every_process_sees_the_same(tmp_path: Path) -> None:
    """Fingerprint, parameters and errors do not depend on hash seed, time zone or folder."""
    script = (
        "import sys; from engine.strategy.loader import load_strategy\n"
        "loaded = load_strategy('momentum', ['short=7'])\n"
        "print(loaded.fingerprint, loaded.parameters, loaded.handlers)\n"
        "try: load_strategy('momentum', ['shrt=7'])\n"
        "except Exception as error: print(error)\n"
    )
    seen = set()
    for seed, zone, folder in (
        ("0", "UTC", ROOT),
        ("1", "Asia/Kolkata", tmp_path),
        ("4711", "UTC", tmp_path),
    ):
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen.add(done.stdout)
    assert len(seen) == 1
    assert 'did you mean "short"' in seen.pop()
