"""House style that no linter knows: sentences, sizes, and nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500
MODULES = sorted(
    file
    for folder in ("engine", "strategies", "bench", "tests")
    for file in (ROOT / folder).rglob("*.py")
    if not {".cache", "__pycache__"} & set(file.parts)
)
TEST_FILES = [file for file in MODULES if file.name.startswith("test_")]
# Written so that this file does not match itself.
NOT_OURS = re.compile(
    "|".join([r"/wor" + "k/", r"/ro" + "ot/", r"index" + r"-url", r"files\.python" + "hosted"])
)


def shown(file: Path) -> str:
    """A file's name in a test's id."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", TEST_FILES, ids=shown)
def test_every_test_says_what_it_shows(file: Path) -> None:
    """Each test function has a docstring that begins a sentence and ends it."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").rstrip().endswith((".", "!", "?"))
    ]
    assert not silent


@pytest.mark.parametrize("file", MODULES, ids=shown)
def test_every_module_is_one_idea(file: Path) -> None:
    """A module says in its docstring what it is, and is no longer than 500 lines."""
    text = file.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= MAX_LINES


def test_nothing_of_this_machine_is_kept() -> None:
    """No tracked text names a folder of a developer's machine or a package registry."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout: nothing is tracked")
    found = []
    for name in tracked.stdout.split("\0"):
        file = ROOT / name
        if not name or not file.is_file() or file.suffix in {".arrow", ".parquet", ".gz"}:
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {match.group()}" for match in NOT_OURS.finditer(text)]
    assert not found
