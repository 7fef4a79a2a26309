"""`engine` as a user runs it: in a process of its own, or, where a fresh one proves nothing, in this one."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.cli.main import main

ENGINE = (sys.executable, "-m", "engine")
PATIENCE_S = 60.0
NO_TERMINAL = {"COLUMNS": "200"}


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        assert self.out.count("\n") == 1, self.out
        return msgspec.json.decode(self.out)

    def ok(self) -> Done:
        """Itself, when the command succeeded without a traceback."""
        assert self.code == 0, self
        assert "Traceback" not in self.err, self.err
        return self


@functools.cache
def warm() -> None:
    """Compile the kernels before the first process that needs them, so that no patience is spent on it."""
    from engine.cli.options import prepare_kernels

    with contextlib.redirect_stderr(io.StringIO()):
        prepare_kernels()


def call(*arguments: str | Path, cwd: Path) -> Done:
    """Run a command in this process, standing in `cwd`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def engine(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Done:
    """Run a command in a fresh process; `before` stands in front of it (`prlimit …`)."""
    warm()
    done = subprocess.run(
        [*before, *ENGINE, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **NO_TERMINAL, **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """A command that runs beside the test."""

    def __init__(
        self, *arguments: str | Path, cwd: Path, before: Sequence[str] = (), stderr: int = subprocess.PIPE
    ) -> None:
        warm()
        self.process = subprocess.Popen(
            [*before, *ENGINE, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **NO_TERMINAL},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def line(self) -> str:
        """The next line on stdout, waited for."""
        stdout = self.process.stdout
        assert stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            assert selector.select(PATIENCE_S), "it printed nothing"
        return stdout.readline()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> Done:
        """Wait until it has ended by itself."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return Done(self.process.returncode, out, err or "")

    def kill(self) -> None:
        """SIGKILL; nothing happens when it has ended."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def running(
    *arguments: str | Path, cwd: Path, before: Sequence[str] = (), stderr: int = subprocess.PIPE
) -> Iterator[Running]:
    """A command beside the test, killed at the end of the block if it still runs."""
    command = Running(*arguments, cwd=cwd, before=before, stderr=stderr)
    try:
        yield command
    finally:
        command.kill()


@contextmanager
def local_venue(cwd: Path, *arguments: str, speed: str = "20") -> Iterator[str]:
    """`engine serve --synthetic` in a process of its own; the address for --url."""
    options = ("--synthetic", "--port", "0", "--speed", speed, "--json")
    with running("serve", *options, *arguments, cwd=cwd) as venue:
        yield str(msgspec.json.decode(venue.line())["http"])
        venue.send(signal.SIGTERM)
        venue.end()


def run_folders(cwd: Path) -> list[Path]:
    """The run folders below `cwd`/runs, oldest first."""
    return sorted((cwd / "runs").glob("*"), key=lambda folder: folder.stat().st_mtime_ns)


def until(condition: Callable[[], object], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds; `what` is what did not happen otherwise."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came to this: {what}"
        time.sleep(0.005)
