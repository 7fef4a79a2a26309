"""The layer under lint and imports: an audit hook that sees what the strategy's code really does.

Python announces sockets, files, processes and the like to audit hooks wherever they come from, native
code of the standard library included. A hook cannot be removed, so there is one per process and it looks
only while a guard is on. It walks up the stack: when the strategy's own code is met before any of the
engine's, the strategy caused the event, and it is refused; so the engine may write its journal while a
handler waits in `ctx.market`, and may keep recording around the strategy.

A refusal that the strategy swallows (`except Exception`) is kept, and raised when the guard ends.

Not seen by it, and therefore left to the other layers: clocks, chance, environment variables and, in
Python 3.11, thread starts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import engine
from engine.model.errors import StrategyError
from engine.strategy.rules import Refusal, audit_refusal

_ENGINE = str(Path(engine.__file__).parent) + "/"
_SHIPPED = _ENGINE + "shipped/"
_strategy_files: dict[str, str] = {}  # as code objects name them -> as people do

_depth = 0
_installed = False
_refused: list[StrategyError] = []


def watch(files: Mapping[str, str]) -> None:
    """Regard these source files (as their code objects name them -> as shown) as a strategy's."""
    _strategy_files.update(files)


def refuse(what: str, refusal: Refusal, *, where: str = "") -> StrategyError:
    """The error for a refused act, kept until the guard ends; the caller raises it.

    `where` is found on the stack when it is not given.
    """
    place = where or strategy_line(sys._getframe(1)) or "the strategy"  # noqa: SLF001  the only way to the stack
    error = StrategyError(f"{place}: {what} {refusal.why}", hint=refusal.instead)
    if _depth and len(_refused) < 16:
        _refused.append(error)
    return error


def strategy_line(frame: FrameType | None) -> str:
    """Where the innermost strategy code on a stack stands, as "file:line"; "" when there is none."""
    while frame is not None:
        shown = _strategy_files.get(frame.f_code.co_filename)
        if shown is not None:
            return f"{shown}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def shown_name(file: str) -> str:
    """How people name a strategy's source file; "" when it is none."""
    return _strategy_files.get(file, "")


def enter() -> None:
    """Watch from now on. Installs the hook at the first call; calls nest."""
    global _depth, _installed  # noqa: PLW0603  one hook per process, as Python has it
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)
    if _depth == 0:
        _refused.clear()
    _depth += 1


def leave() -> None:
    """Stop watching; raises the first refusal, if there was one, so that none can be swallowed."""
    global _depth  # noqa: PLW0603
    _depth = max(0, _depth - 1)
    if _depth == 0 and _refused:
        error = _refused[0]
        _refused.clear()
        raise error


def check() -> None:
    """Raise a refusal that the strategy swallowed. Cheap: for once per message or batch."""
    if _refused:
        raise _refused[0]


@contextmanager
def guard() -> Iterator[None]:
    """Watch during a block; see enter and leave."""
    enter()
    try:
        yield
    except BaseException:
        # The block's own error is the one to show; usually it is the refusal itself.
        global _depth  # noqa: PLW0603
        _depth = max(0, _depth - 1)
        if _depth == 0:
            _refused.clear()
        raise
    leave()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _depth:
        return
    refusal = audit_refusal(event)
    if refusal is None:
        return
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  the only way to the stack
    while frame is not None:
        name = frame.f_code.co_filename
        if name in _strategy_files:
            break
        if name.startswith("<frozen importlib") or (
            name.startswith(_ENGINE) and not name.startswith(_SHIPPED)
        ):
            return
        frame = frame.f_back
    if frame is None:
        return
    raise refuse(_shown(event, arguments), refusal, where=strategy_line(frame))


def _shown(event: str, arguments: tuple[Any, ...]) -> str:
    first = next((a for a in arguments if isinstance(a, str | bytes | int | tuple | list)), None)
    return f"{event} ({first!r})" if first is not None else event
