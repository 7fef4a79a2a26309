"""The demo's steps are commands of their own: one that fails, or that says nothing, ends the demo by name."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from engine.cli import demo as module
from engine.model.errors import EngineError
from tests.helpers.command import call


def answering(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Every command prints an object and ends with this code."""

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, code, b'{"same": false}\n', b"error: no\n")

    monkeypatch.setattr(subprocess, "run", run)


def test_a_step_that_fails_after_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object on stdout is no success: the exit code counts, but for the verdict of verify."""
    answering(monkeypatch, 1)
    with pytest.raises(EngineError, match=r"engine backtest a.arrow failed:\nerror: no"):
        module._engine("backtest", "a.arrow")
    assert module._engine("verify", "a", codes=(0, 1)) == {"same": False}


@pytest.mark.parametrize(
    ("code", "patience_s"), [("import time; time.sleep(600)", 0.05), ("", 60.0)], ids=["silent", "ended"]
)
def test_a_venue_that_does_not_start(
    code: str, patience_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not waited for without end; what it said is in the error."""
    monkeypatch.setattr(module, "STARTS_WITHIN_S", patience_s)
    (tmp_path / "serve.log").write_text("error: the port is taken\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        with pytest.raises(EngineError, match="did not start: error: the port is taken"):
            module._first_line(process, tmp_path / "serve.log")
    finally:
        process.kill()
        process.communicate()


def test_without_the_library_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other steps are shown, and what was left out is said with how to have it."""
    run = {"events": 1, "orders": 0, "fills": 0, "pnl": 0.0, "currency": "USDT", "run_dir": "runs/a"}
    made: list[tuple[str, ...]] = []

    def command(*arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, object]:  # noqa: ARG001
        made.append(arguments)
        return {**run, "files": ["a.arrow"], "rows": 1, "same": True}

    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setattr(module, "_engine", command)
    monkeypatch.setattr(module, "_serving", lambda *_: nullcontext({"http": "http://x", "ws": "ws://x"}))
    done = call("demo", "--seconds", "2", cwd=tmp_path).ok()
    assert (
        '5/6 left out: asking Claude needs the package anthropic (pip install "engine[claude]")' in done.err
    )
    assert [line.split()[0] for line in done.out.splitlines()[1:4]] == ["recording", "backtest", "paper"]
    assert not any("momentum_sentiment" in arguments for arguments in made)
