"""Strategies that must not be: most are refused by name; one slips through, and verify sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import Done, call, engine
from tests.helpers.logs import make_log, market
from tests.strategy.write import write_strategy


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of trades, quotes and book changes."""
    return make_log(tmp_path_factory.mktemp("log") / "market.arrow", market(300, seed=3), sealed=True)


def backtest(log: Path, strategy: Path) -> Done:
    """A backtest of the strategy, in this process."""
    return call("backtest", log, "--strategy", strategy.name, cwd=strategy.parent)


FORBIDDEN: list[tuple[str, str, str, str]] = [
    # what it does, top, body; what the error names; what the hint offers
    ("time.time", "import time", "time.time()", "time"),
    ("time.time in the handler", "", "import time\ntime.time()", "time"),
    ("time.monotonic", "from time import monotonic", "monotonic()", "time"),
    ("random", "import random", "random.random()", "random"),
    ("random by name", "from random import choice", "choice([1, 2])", "random"),
    ("numpy.random", "import numpy as np", "np.random.normal()", "numpy.random"),
    ("datetime.now", "import datetime", "datetime.datetime.now()", "datetime.datetime.now"),
    ("a set's order", "", "for name in {'a', 'b'}:\n    ctx.log(name)", "set"),
    ("a socket", "import socket", "socket.create_connection(('localhost', 80))", "socket"),
    ("a file", "", "open('notes.txt', 'w').write('x')", "open"),
    ("the environment", "import os", "os.environ['HOME']", "os"),
    ("a thread", "import threading", "threading.Thread(target=print).start()", "threading"),
    ("an object's address", "", "id(trade)", "id"),
    ("a hash", "", "hash('a')", "hash"),
]


@pytest.mark.parametrize(
    ("top", "body", "named"), [case[1:] for case in FORBIDDEN], ids=[case[0] for case in FORBIDDEN]
)
def test_what_a_strategy_must_not_reach_is_named(
    top: str, body: str, named: str, log: Path, tmp_path: Path
) -> None:
    """Exit 2, the line and the call, what to use instead, no traceback, and no run is left behind."""
    done = backtest(log, write_strategy(tmp_path, body, top=top))
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: mine.py:")
    assert named in done.err.splitlines()[0]
    assert "hint: " in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "notes.txt").exists()


def test_what_only_shows_when_it_runs_is_named_too(log: Path, tmp_path: Path) -> None:
    """A module that hides behind an argument is stopped at the act."""
    top = "import numpy as np\ndef draw(source):\n    return source.random.normal()"
    disguised = write_strategy(tmp_path, "draw(np)", top=top)
    done = backtest(log, disguised)
    assert done.code == 2
    assert "mine.py:4: numpy.random" in done.err
    assert "ctx.random" in done.err
    assert "Traceback" not in done.err


SLIPS_THROUGH = """
NAMES = frozenset(["ab", "cd", "ef", "gh", "ij", "kl", "mn", "op", "qr", "st"])
SIZES = {name: 0.01 * (n + 1) for n, name in enumerate(sorted(NAMES))}

def spread(items):
    return [*items]
"""


def test_one_that_slips_through_is_caught_by_verify(log: Path, tmp_path: Path) -> None:
    """A set's order that reaches the decision through an argument: another process decides otherwise."""
    body = "for name in spread(NAMES):\n    ctx.market(trade.instrument, SIZES[name])"
    strategy = write_strategy(tmp_path, body, top=SLIPS_THROUGH)
    run = engine(
        "backtest", log, "--strategy", strategy.name, "--json", cwd=tmp_path, env={"PYTHONHASHSEED": "1"}
    )
    folder = run.ok().json["run_dir"]
    assert run.json["orders"] > 100
    verified = engine("verify", folder, "--json", cwd=tmp_path, env={"PYTHONHASHSEED": "2"})
    assert verified.code == 1
    assert "Traceback" not in verified.err
    found = verified.json
    assert not found["same"]
    assert found["replayed_hash"] != found["recorded_hash"]
    # The code, the strategy and the log are those of the run; only the states are others.
    assert {note.partition(":")[0] for note in found["notes"]} <= {
        "the engine's state",
        "the strategy's fields",
    }
    assert found["notes"][0].startswith(
        "the engine's state: different from the first snapshot on, at the end"
    )
    divergence = found["divergence"]
    assert divergence["fields"] == ["size"]
    assert divergence["decision"] <= 10  # within the first trade's orders
    assert divergence["causes"][0]["rows"]
    same = engine("verify", folder, "--json", cwd=tmp_path, env={"PYTHONHASHSEED": "1"})
    assert same.code == 0, "with the same hash seed it decides the same: nothing else differed"
