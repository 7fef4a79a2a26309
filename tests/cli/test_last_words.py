"""The last step of a command: a summary that cannot be written, a reader that went away."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from engine.cli import main as module
from engine.log.segments import expand
from engine.model.errors import EngineError, InputError
from engine.report import runs
from tests.helpers.command import ENGINE, call, engine, run_folders
from tests.helpers.logs import make_log, market, write_log


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A sealed log of an invented market."""
    return make_log(tmp_path / "a.arrow", market(200, seed=8), sealed=True)


@pytest.mark.usefixtures("log")
def test_a_summary_that_cannot_be_written_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are on stdout, the error names the file, exit 1, and nothing half is left."""

    def full(self: Path, _target: Path) -> Path:
        if self.name.startswith("summary"):
            raise OSError(28, "No space left on device")
        return self

    monkeypatch.setattr(Path, "replace", full)
    done = call("backtest", "a.arrow", "--json", cwd=tmp_path)
    assert done.code == 1
    assert json.loads(done.out)["events"] > 200
    assert "summary.json: cannot be written: No space left on device" in done.err
    (folder,) = run_folders(tmp_path)
    assert not (folder / "summary.json").exists()
    assert not (folder / "summary.tmp").exists()


def test_what_stood_there_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the file of before, and no other."""
    path = tmp_path / "run.json"
    runs._write(path, b"before\n")

    def full(_self: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EngineError, match=r"run.json: cannot be written: No space left"):
        runs._write(path, b"after\n")
    assert path.read_bytes() == b"before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_system_has_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever nobody foresaw: file and reason, exit 1."""

    def refuse(**_arguments: object) -> int:
        raise PermissionError(13, "Permission denied", "/somewhere/else")

    monkeypatch.setattr(module.cli, "main", refuse)
    done = call("doctor", cwd=tmp_path)
    assert (done.code, done.err) == (1, "error: /somewhere/else: Permission denied\n")


@pytest.mark.parametrize(("command", "code"), [("verify", 1), ("backtest", 0)])
@pytest.mark.usefixtures("log")
def test_a_reader_that_went_away_changes_no_exit_code(command: str, code: int, tmp_path: Path) -> None:
    """`| true`: no message; a verification that found a difference still says so by its exit code."""
    run = call("backtest", "a.arrow", "--json", cwd=tmp_path).ok().json["run_dir"]
    summary = tmp_path / run / "summary.json"
    summary.write_text(re.sub('"journal_hash":"[0-9a-f]+"', '"journal_hash":"another"', summary.read_text()))
    reading, writing = os.pipe()
    os.close(reading)
    argument = run if command == "verify" else "a.arrow"
    done = subprocess.run(
        [*ENGINE, command, argument],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert done.returncode == code
    assert [line for line in done.stderr.splitlines() if not line.startswith(b"warning: ")] == []


def test_a_log_under_two_names(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative and absolute, or by a link: it is one log."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.arrow").symlink_to(log)
    for other in (str(log), "./a.arrow", "b.arrow", f"../{tmp_path.name}/a.arrow"):
        with pytest.raises(InputError, match="named twice"):
            expand(["a.arrow", other])
    assert expand(["a.arrow"]) == [Path("a.arrow")]


def test_a_session_that_nothing_reached_prints_one_object(tmp_path: Path) -> None:
    """--json: one object even then, and no folder."""
    writer = write_log(tmp_path / "quiet.arrow", [], with_definitions=False)
    live = ("live", "--paper", "--tail", "quiet.arrow", "--for", "100ms", "--json")
    done = engine(*live, cwd=tmp_path).ok()
    writer.abandon()
    assert done.json["stopped_by"] == "--for"
    assert done.json["events"] == 0
    assert "before anything arrived" in done.err
    assert not run_folders(tmp_path)
