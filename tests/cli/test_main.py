"""`engine` itself: its help is light, every command explains itself, and interruptions have their codes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from engine import __version__
from engine.cli import main as module
from engine.cli.answers import COMMANDS as ANSWERS_COMMANDS
from engine.cli.log import COMMANDS as LOG_COMMANDS
from engine.cli.main import COMMANDS, cli, main
from engine.live.redact import Redactor
from engine.model.errors import (
    CheckFailed,
    DamagedLog,
    EngineError,
    InputError,
    InternalError,
    StrategyError,
    UsageError,
    VenueError,
)
from tests.helpers.command import ENGINE, call

HEAVY = ("numpy", "pyarrow", "numba", "polars", "duckdb", "websockets", "httpx2", "rich", "asyncio")
TABLES: dict[tuple[str, ...], tuple[str, str, str]] = {(name,): entry for name, entry in COMMANDS.items()}
TABLES |= {("log", name): entry for name, entry in LOG_COMMANDS.items()}
TABLES |= {("answers", name): entry for name, entry in ANSWERS_COMMANDS.items()}
GROUPS = (("log",), ("answers",))


def test_help_imports_nothing_heavy() -> None:
    """`engine --help` and `engine --version`, in a fresh process, load none of the large packages."""
    code = (
        "import sys\n"
        "from engine.cli.main import main\n"
        "main(['--help']), main(['--version'])\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    for name, (_, _, line) in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert line in done.stdout
    assert __version__ in done.stdout


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...], tmp_path: Path) -> None:
    """--help: usage, a first sentence, and a text for every option; exit 0."""
    done = call(*words, "--help", cwd=tmp_path).ok()
    assert done.out.startswith(f"Usage: engine {' '.join(words)} ")
    path, name, _ = TABLES[words]
    command = getattr(importlib.import_module(path), name)
    assert command.help
    assert command.help.strip().splitlines()[0].endswith((".", ":")) or "\n\n" in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in done.out


@pytest.mark.parametrize("words", [words for words in TABLES if words not in GROUPS], ids=" ".join)
def test_every_command_has_json(words: tuple[str, ...]) -> None:
    """Each command that reports takes --json."""
    path, name, _ = TABLES[words]
    command = getattr(importlib.import_module(path), name)
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


def test_a_command_that_is_none(tmp_path: Path) -> None:
    """Exit 2, and the word."""
    done = call("bactest", cwd=tmp_path)
    assert done.code == 2
    assert "No such command 'bactest'" in done.err
    assert done.out == ""


CODES: list[tuple[Exception | type[BaseException], int, str]] = [
    (UsageError("a", hint="b"), 2, "error: a\nhint: b\n"),
    (InputError("a"), 2, "error: a\n"),
    (StrategyError("a"), 2, "error: a\n"),
    (DamagedLog("a", offset=3), 3, "error: a\n"),
    (VenueError("a"), 4, "error: a\n"),
    (CheckFailed("a"), 1, "error: a\n"),
    (InternalError("a"), 1, "error: a\n"),
    (EngineError("a"), 1, "error: a\n"),
    (KeyboardInterrupt, 130, "interrupted\n"),
    (click.exceptions.Abort, 130, ""),
]


@pytest.mark.parametrize(("error", "code", "text"), CODES, ids=[repr(case[0]) for case in CODES])
def test_every_error_has_its_code(
    error: Exception | type[BaseException],
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The tree of errors, interruption included: message on stderr, nothing on stdout."""

    def fail(*_args: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(module.cli, "main", fail)
    assert main(["anything"]) == code
    assert capsys.readouterr() == ("", text)


def test_debug_shows_a_traceback_without_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--debug anywhere: the error itself, of which a key may be part, and its own exit code."""
    known = Redactor("PKPLANTED123")
    monkeypatch.setattr("engine.live.redact.KNOWN", known)

    def fail(args: list[str], **_named: object) -> None:
        assert args == ["--debug", "anything", "more"]
        raise InputError("bad PKPLANTED123")

    monkeypatch.setattr(module.cli, "main", fail)
    assert main(["anything", "--debug", "more"]) == InputError.exit_code
    _, words = capsys.readouterr()
    assert words.startswith("Traceback")
    assert words.endswith("InputError: bad ***\n")


def test_a_bug_shows_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody expected may repeat one as well."""

    def fail() -> int:
        raise LookupError("PKPLANTED123")

    monkeypatch.setattr("engine.live.redact.KNOWN", Redactor("PKPLANTED123"))
    monkeypatch.setattr(module, "main", fail)
    with pytest.raises(SystemExit, match="1"):
        module.run()
    assert capsys.readouterr().err.endswith("LookupError: ***\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`engine --help | true`: exit 0 and nothing on stderr."""
    with subprocess.Popen(
        [*ENGINE, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


def test_the_list_is_that_of_the_table() -> None:
    """No command is hidden, none is listed twice."""
    assert cli.list_commands(click.Context(cli)) == list(COMMANDS)
