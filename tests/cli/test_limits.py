"""Options beyond every measure: each is refused by its name, before anything is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import call, run_folders
from tests.helpers.logs import make_log, trade

BEYOND = [
    ("--latency", "99999999999h"),
    ("--latency", "20ms,20ms,3601s"),
    ("--collar", "9999999999"),
    ("--collar", "100.0001"),
    ("--collar", "1e999999"),
    ("--collar", "nan"),
    ("--slippage", str(10**20)),
    ("--slippage", "-1"),
    ("--maker-fee-bp", "nan"),
    ("--maker-fee-bp", "sNaN"),
    ("--taker-fee-bp", "Infinity"),
    ("--taker-fee-bp", "-1e999999"),
    ("--taker-fee-bp", "10000.00001"),
    ("--maker-fee-bp", "0.000001"),
    ("--capital", "1e15"),
    ("--capital", "Infinity"),
    ("--max-position", "1e400"),
    ("--seed", str(2**63)),
]

LARGEST = [
    ("--latency", "1h"),
    ("--latency", "0,0,3600s"),
    ("--collar", "100"),
    ("--slippage", "1000000"),
    ("--maker-fee-bp", "-10000"),
    ("--taker-fee-bp", "10000"),
    ("--capital", "90000000000"),
    ("--max-position", "1000000"),
    ("--seed", str(2**63 - 1)),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few trades."""
    trades = [trade(n / 2, 6_000_000 + n * (-1) ** n, id=n) for n in range(1, 40)]
    return make_log(tmp_path_factory.mktemp("log") / "a.arrow", trades, sealed=True)


@pytest.mark.parametrize(("option", "value"), BEYOND, ids=lambda text: text[:24])
def test_too_much_is_refused(option: str, value: str, log: Path, tmp_path: Path) -> None:
    """Exit 2, the option in the message, no traceback, no run."""
    done = call("backtest", log, f"{option}={value}", cwd=tmp_path)
    assert done.code == 2, done
    assert done.err.startswith(f"error: {option}")
    assert "Traceback" not in done.err
    assert not run_folders(tmp_path)


@pytest.mark.parametrize(("option", "value"), LARGEST, ids=lambda text: text[:24])
def test_the_largest_is_taken(option: str, value: str, log: Path, tmp_path: Path) -> None:
    """At the very limit it runs, to the same figures as ever."""
    fast = ("--set", "fast=2", "--set", "slow=4")
    done = call("backtest", log, *fast, f"{option}={value}", "--json", cwd=tmp_path).ok()
    assert done.json["orders"] > 0
