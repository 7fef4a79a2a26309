"""Where a run says that its strategy is: found again, and nobody's name given away."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.helpers.command import call
from tests.helpers.logs import make_log, market
from tests.strategy.write import write_strategy


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a log, beside somebody's own."""
    (tmp_path / "alice").mkdir()
    (tmp_path / "project" / "strategies").mkdir(parents=True)
    make_log(tmp_path / "project" / "market.arrow", market(60, seed=2), sealed=True)
    return tmp_path / "project"


def backtest(project: Path, strategy: str, *, cwd: Path | None = None) -> Path:
    """A run in the project; its folder."""
    cwd = cwd or project
    options = ("--strategy", strategy, "--runs", project / "runs", "--json")
    done = call("backtest", project / "market.arrow", *options, cwd=cwd).ok()
    return cwd / str(done.json["run_dir"])


def reference(run: Path) -> str:
    """What run.json says."""
    return str(msgspec.json.decode((run / "run.json").read_bytes())["strategy"]["reference"])


def test_a_strategy_of_the_project_is_found_from_anywhere(project: Path) -> None:
    """Relative to the run's folder, wherever the user stood, and stands."""
    write_strategy(project / "strategies", "ctx.market(trade.instrument, 0.01)")
    for cwd, name in ((project, "strategies/mine.py"), (project / "strategies", "mine.py:Mine")):
        run = backtest(project, name, cwd=cwd)
        assert reference(run) == "../../strategies/mine.py" + (":Mine" if ":" in name else "")
        assert call("verify", run, "--json", cwd=Path("/")).ok().json["same"]


def test_a_strategy_beside_the_user_is_named_relatively(project: Path) -> None:
    """Runs in a folder of their own, below where the user stands: nothing above that is named."""
    (project / "deep").mkdir()
    write_strategy(project, "ctx.market(trade.instrument, 0.01)")
    options = ("--strategy", "mine.py", "--runs", "deep/er/runs", "--json")
    run = project / call("backtest", "market.arrow", *options, cwd=project).ok().json["run_dir"]
    assert reference(run) == "../../../../mine.py"
    assert call("verify", run, "--json", cwd=Path("/")).ok().json["same"]


def test_a_strategy_from_elsewhere_is_named_only(project: Path) -> None:
    """No folder of somebody's is in run.json; verify takes the file beside the user, or says what to do."""
    home = project.parent / "alice"
    write_strategy(home, "ctx.market(trade.instrument, 0.01)")
    run = backtest(project, "../alice/mine.py:Mine")
    assert reference(run) == "mine.py:Mine"
    assert b"alice" not in (run / "run.json").read_bytes()
    lost = call("verify", run, cwd=project)
    assert lost.code == 2
    assert "run.json: its strategy mine.py stood outside the project, and none is here" in lost.err
    assert "--strategy FILE" in lost.err
    assert "Traceback" not in lost.err
    for more, cwd in (((), home), (("--strategy", "../alice/mine.py"), project)):
        found = call("verify", run, *more, "--json", cwd=cwd).ok().json
        assert found["same"]
        assert found["decisions"] > 0
        assert found["notes"] == []


def test_another_strategy_in_its_place_is_noted(project: Path) -> None:
    """--strategy names a file that is not the run's: said, and the decisions differ."""
    write_strategy(project, "ctx.market(trade.instrument, 0.01)")
    run = backtest(project, "mine.py")
    write_strategy(project, "ctx.market(trade.instrument, 0.02)", name="other")
    found = call("verify", run, "--strategy", "other.py", "--json", cwd=project)
    assert found.code == 1
    assert "has changed since the run" in found.json["notes"][0]
