"""The prompt files that a strategy uses: read when it is loaded, and part of its fingerprint.

A prompt decides what is asked, so a run's record has to say which one it was, and no file may be read while a
run goes on. Hence names are looked for in the strategy's source before it runs: `engine.prompt("sentiment")`,
wherever it stands. What the module's top level asks for besides, by a name that it makes up, is read then.
After that the shelf is closed: a handler gets what is on it.
"""

from __future__ import annotations

import ast
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from engine.answers.prompt_files import PromptFile, find_prompt
from engine.answers.prompts import Prompt
from engine.model.errors import StrategyError, UsageError
from engine.strategy.audit import strategy_line

if TYPE_CHECKING:
    from types import FrameType

_NAME = "prompt"


class Shelf:
    """One strategy's prompt files, by name. Looked for under `home` first, then where the user stands."""

    def __init__(self, home: Path | None = None) -> None:
        self.files: dict[str, PromptFile] = {}
        self._home = home
        self._closed = False

    def read(self, tree: ast.Module, shown: str) -> None:
        """Read the files that a source names. StrategyError for a wrong name, InputError for a file."""
        for name, line in named_in(tree):
            self._take(name, f"{shown}:{line}")

    def close(self) -> None:
        """No file is read from now on."""
        self._closed = True

    def prompt(self, name: str) -> Prompt:
        """The prompt of `data/prompts/NAME.toml`, one's own or a shipped one; `.answer` is its answer."""
        found = self.files.get(name) if isinstance(name, str) else None
        if found is not None:
            return found.prompt
        place = strategy_line(_caller()) or "the strategy"
        if self._closed:
            raise StrategyError(
                f"{place}: engine.prompt({name!r}): its file was not read when the strategy was loaded",
                hint='write names out, engine.prompt("sentiment"), or get prompts at the top of the file: '
                "what is asked belongs to the run's record",
            )
        return self._take(name, place).prompt

    def digests(self) -> dict[str, str]:
        """The files as shown, and the BLAKE2b of their bytes, hex."""
        return {self.files[name].shown: self.files[name].digest for name in sorted(self.files)}

    def sign(self, fingerprint: blake2b) -> None:
        """Take the files into a fingerprint; without any, it stays what it was."""
        for name in sorted(self.files):
            fingerprint.update(f"prompt {name}\0{self.files[name].digest}\0".encode())

    def _take(self, name: str, place: str) -> PromptFile:
        if name not in self.files:
            try:
                self.files[name] = find_prompt(name, self._home)
            except UsageError as error:
                raise StrategyError(f"{place}: {error.message}", hint=error.hint) from None
        return self.files[name]


def _caller() -> FrameType:
    import sys

    return sys._getframe(2)  # noqa: SLF001  the only way to the line that asked


def named_in(tree: ast.Module) -> list[tuple[str, int]]:
    """The names that a source gives to `engine.prompt`, written out, and their lines."""
    modules, functions = {"engine"}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {one.asname for one in node.names if one.name == "engine" and one.asname}
        elif isinstance(node, ast.ImportFrom) and node.module == "engine" and not node.level:
            functions |= {one.asname or one.name for one in node.names if one.name == _NAME}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) + len(node.keywords) != 1:
            continue
        asked = node.func
        called = (
            isinstance(asked, ast.Attribute)
            and asked.attr == _NAME
            and isinstance(asked.value, ast.Name)
            and asked.value.id in modules
        ) or (isinstance(asked, ast.Name) and asked.id in functions)
        name = node.args[0] if node.args else node.keywords[0].value
        if called and isinstance(name, ast.Constant) and isinstance(name.value, str):
            found.append((name.value, node.lineno))
    return sorted(found, key=lambda one: one[1])
