"""Imports point down, network and clock stay at the edge: the architecture page as tests."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EDGE = ("live", "serve", "cli")
# What reaches outside the process, or says what time it is; `log` writes files through os alone.
OUTSIDE = {
    "asyncio",
    "httpx2",
    "random",
    "requests",
    "secrets",
    "signal",
    "socket",
    "ssl",
    "time",
    "urllib.request",
    "uuid",
    "websockets",
}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter's contract over the package in `folder`."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {program}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def imported(file: Path) -> set[str]:
    """Modules that a file imports, anywhere in it, type-checking blocks aside."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def below_the_edge() -> list[Path]:
    """Every module of the engine that is neither live, nor serve, nor cli."""
    package = ROOT / "engine"
    return sorted(f for f in package.rglob("*.py") if f.relative_to(package).parts[0] not in EDGE)


def test_imports_point_down() -> None:
    """The layers contract of pyproject.toml holds."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_that_points_up_is_found(tmp_path: Path) -> None:
    """The contract can fail, and then names the file and line that break it."""
    shutil.copytree(ROOT / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "engine" / "model" / "wrong.py").write_text('"""Points up."""\n\nimport engine.cli.main\n')
    result = lint_imports(tmp_path)
    assert result.returncode != 0
    assert "engine.model.wrong -> engine.cli.main (l.3)" in result.stdout


@pytest.mark.parametrize("file", below_the_edge(), ids=lambda f: str(f.relative_to(ROOT)))
def test_network_and_clock_stay_at_the_edge(file: Path) -> None:
    """Nothing below live, serve and cli imports a socket, an event loop, a clock or chance."""
    reached = {name for name in imported(file) if name in OUTSIDE or name.split(".")[0] in OUTSIDE}
    assert not reached


@pytest.mark.parametrize("file", sorted((ROOT / "strategies").glob("*.py")), ids=lambda f: f.name)
def test_shipped_strategies_import_only_the_engine(file: Path) -> None:
    """A strategy that ships imports `engine`, and pure modules of the standard library at most."""
    assert imported(file) <= {"engine", "math", "dataclasses", "collections", "enum", "typing"}
