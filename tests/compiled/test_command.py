"""Compiled strategies from the command line: backtest, verify, paper over a followed log, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import call
from tests.helpers.logs import make_log, market

MAKER = Path(__file__).parents[2] / "bench" / "strategies" / "maker.py"
BUSY = Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log and compiled strategies in a folder."""
    make_log(tmp_path / "market.arrow", market(1_000, seed=9), sealed=True)
    (tmp_path / "maker.py").write_text(MAKER.read_text())
    busy = BUSY.read_text().replace("class ", "@engine.compiled\nclass ", 1)
    busy = busy.replace("self.resting = {}", "self.resting = dict.fromkeys(ctx.instruments, 0)")
    busy = busy.replace("who not in self.resting", "self.resting[who] == 0")
    (tmp_path / "busy.py").write_text(busy)
    return tmp_path


@pytest.mark.parametrize("name", ["maker.py", "busy.py"])
def test_a_run_can_be_interpreted_and_verified(folder: Path, name: str) -> None:
    """One hash: compiled, interpreted, verified."""
    run = ("backtest", "market.arrow", "--strategy", name, "--json")
    compiled = call(*run, cwd=folder).ok().json
    interpreted = call(*run, "--interpreted", cwd=folder).ok().json
    assert compiled["journal_hash"] == interpreted["journal_hash"]
    assert compiled["orders"] == interpreted["orders"] > 10
    for key in ("fees", "pnl", "position", "fills_by_reason", "ends_by_reason", "turnover", "equity"):
        assert compiled[key] == interpreted[key]
    assert "same" in call("verify", compiled["run_dir"], cwd=folder).ok().out.lower()


def test_paper_over_a_followed_log_decides_as_the_backtest(folder: Path) -> None:
    """A session takes a compiled strategy as it takes any."""
    paper = call(
        "live", "--paper", "--tail", "market.arrow", "--strategy", "maker.py", "--json", cwd=folder
    ).ok()
    backtest = call("backtest", "market.arrow", "--strategy", "maker.py", "--json", cwd=folder).ok()
    assert paper.json["orders"] == backtest.json["orders"] > 10
    assert call("verify", paper.json["run_dir"], cwd=folder).ok()


def test_a_refused_construct_is_an_error_with_its_line_and_no_traceback(folder: Path) -> None:
    """As everything that a user did."""
    text = (folder / "maker.py").read_text().replace("quote is None:", "quote is None or quote.bid ** 2 < 1:")
    (folder / "maker.py").write_text(text)
    line = text.split("\n").index("        if quote is None or quote.bid ** 2 < 1:") + 1
    done = call("backtest", "market.arrow", "--strategy", "maker.py", cwd=folder)
    assert done.code == 2
    assert f"maker.py:{line}: float ** int may differ in the last bit" in done.err
    assert "without @engine.compiled it runs interpreted" in done.err
    assert "Traceback" not in done.err
    assert call("backtest", "market.arrow", "--strategy", "maker.py", "--interpreted", cwd=folder).code == 0
