"""One log, one hash: fresh processes in other surroundings, and however the input was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.log.seal import seal
from engine.serve.sample import write_sample
from tests.helpers.command import Done, engine

BUSY = Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"


class Market(NamedTuple):
    """A recording and what a first run over it came to."""

    log: Path
    result: dict[str, Any]


def backtest(log: Path, cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> Done:
    """A backtest in a fresh process."""
    return engine("backtest", log, "--strategy", BUSY, *arguments, "--json", cwd=cwd, env=env)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """A minute and a half of the invented market, sealed, and run once."""
    folder = tmp_path_factory.mktemp("market")
    log = folder / "market.arrow"
    write_sample(log, minutes=1.5)
    seal(log)
    return Market(log, backtest(log, folder).ok().json)


SURROUNDINGS: list[tuple[str, dict[str, str], tuple[str, ...], str]] = [
    ("another hash seed", {"PYTHONHASHSEED": "1"}, (), "."),
    ("a random hash seed, rows one by one", {"PYTHONHASHSEED": "random"}, ("--batch-rows", "1"), "."),
    ("far in the east, seven rows", {"TZ": "Pacific/Kiritimati"}, ("--batch-rows", "7"), "."),
    ("half hours in the west", {"TZ": "America/St_Johns"}, ("--batch-rows", "64"), "."),
    ("another locale, large batches", {"LC_ALL": "tr_TR.UTF-8"}, ("--batch-rows", "65536"), "."),
    ("no locale, another folder", {"LC_ALL": "C", "PYTHONHASHSEED": "4711"}, (), "elsewhere/deep"),
    ("a zone that is none", {"TZ": ":/nowhere"}, ("--batch-rows", "999"), "."),
]


@pytest.mark.parametrize(
    ("env", "arguments", "folder"),
    [case[1:] for case in SURROUNDINGS],
    ids=[case[0] for case in SURROUNDINGS],
)
def test_every_process_comes_to_the_same_hash(
    market: Market, tmp_path: Path, env: dict[str, str], arguments: tuple[str, ...], folder: str
) -> None:
    """Hash seed, time zone, locale, folder, moment and batch size: the same decisions and figures."""
    cwd = tmp_path / folder
    cwd.mkdir(parents=True, exist_ok=True)
    again = backtest(market.log, cwd, *arguments, env=env).ok().json
    assert market.result["decisions"] > 300, "the run has too little in it that could differ"
    different = {"seconds", "events_per_second", "run_dir", "inputs", "warnings"}
    assert {k: v for k, v in again.items() if k not in different} == {
        k: v for k, v in market.result.items() if k not in different
    }


def test_verify_agrees_in_other_surroundings(market: Market) -> None:
    """The replay of `engine verify`, cut otherwise, under another hash seed and zone."""
    surroundings = {"PYTHONHASHSEED": "99", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    run = market.result["run_dir"]
    options = ("--strategy", BUSY, "--batch-rows", "13", "--json")
    done = engine("verify", run, *options, cwd=market.log.parent, env=surroundings)
    result = done.ok().json
    assert result["same"]
    assert result["replayed_hash"] == market.result["journal_hash"]


def test_another_seed_is_another_run(market: Market) -> None:
    """The hash does notice: `ctx.random` seeded otherwise decides otherwise."""
    other = backtest(market.log, market.log.parent, "--seed", "1").ok().json
    assert other["journal_hash"] != market.result["journal_hash"]
