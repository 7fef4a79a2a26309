"""What every command shares: how results, errors and paths are shown.

A result is one object: with `--json` it is printed as such, alone on stdout; otherwise the command's own
text is printed. Paths are shown relative to where the user stands.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.model.units import format_time

_TIMES_FROM = 10**17  # ns: 1973; no venue has counted so far

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def emit(result: Any, *, as_json: bool, text: Callable[[], str] | str = "") -> None:
    """Print a result: the object itself with --json, else its text."""
    body = msgspec.json.encode(result).decode() if as_json else text if isinstance(text, str) else text()
    try:
        sys.stdout.write(body if body.endswith("\n") else body + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read it went away (| head): no error of ours, and nothing that changes the exit code. What is
        # still in the buffer goes nowhere, or the interpreter would complain of it at its own end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def note(message: str) -> None:
    """Say something to the user on stderr."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def warn(message: str) -> None:
    """A warning on stderr."""
    note(f"warning: {message}")


def relative(path: str | Path) -> str:
    """A path as seen from where the user stands; absolute only when it is not below."""
    absolute = Path(path).absolute()
    try:
        return str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return os.path.relpath(absolute)


def gap_span(first: int, last: int, between: str) -> str:
    """First and last of a gap: ids, or times of day where nothing is numbered."""
    edges = (f"{format_time(n)[11:23]}Z" if n >= _TIMES_FROM else str(n) for n in (first, last))
    return between.join(edges)


def printable(line: str) -> str:
    """A line without what moves a terminal's cursor or colours: headlines and answers are others' words."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def printable_text(text: str) -> str:
    """Lines, each of them printable."""
    return "\n".join(printable(line) for line in text.split("\n"))
