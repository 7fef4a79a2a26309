"""The source behind a strategy's functions: syntax trees with their files and lines, and refusals."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from engine.model.errors import StrategyError
from engine.strategy import sandbox

INTERPRETED = "without @engine.compiled it runs interpreted"


class Source(NamedTuple):
    """One function as its author wrote it."""

    function: Any
    node: ast.FunctionDef
    file: str  # as its code object names it
    shown: str  # as people do; "" for the engine's own

    @property
    def name(self) -> str:
        """What it is called."""
        return self.node.name


class Refused(StrategyError):
    """A construct that a compiled strategy cannot have."""


@cache
def _functions_of(file: str, _stamp: tuple[int, int]) -> dict[tuple[str, int], ast.FunctionDef]:
    tree = ast.parse(Path(file).read_bytes(), filename=file)
    found: dict[tuple[str, int], ast.FunctionDef] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name, first] = node
    return found


def source_of(function: Callable[..., Any]) -> Source:
    """Source of a plain function; raises StrategyError when there is none."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    file = code.co_filename
    try:
        stat = Path(file).stat()
        node = _functions_of(file, (stat.st_mtime_ns, stat.st_size)).get((code.co_name, code.co_firstlineno))
    except (OSError, SyntaxError):
        node = None
    shown = sandbox.shown_name(file)
    if node is None:
        raise Refused(
            f"{shown or file}:{code.co_firstlineno}: the source of {code.co_name} cannot be found",
            hint=f"a compiled strategy stands in a file; {INTERPRETED}",
        )
    if not shown and not _is_engine(file):
        shown = Path(file).name
    return Source(function, node, file, shown)


def _is_engine(file: str) -> bool:
    import engine

    return file.startswith(str(Path(engine.__file__).parent))


def refusal(source: Source, node: ast.AST, what: str, way_out: str = "") -> Refused:
    """The error for a construct: where it stands, what it is, and what to do instead."""
    line = getattr(node, "lineno", source.node.lineno)
    hint = f"{way_out}; {INTERPRETED}" if way_out else INTERPRETED
    return Refused(f"{source.shown or source.file}:{line}: {what}", hint=hint)
