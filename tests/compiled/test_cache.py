"""Compiled code is kept: found again by every process, and never stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.model import image
from engine.strategy.compiled import build
from tests.compiled.harness import Bench, load

MINE = (
    "import engine\nimport helping\n\n@engine.compiled\nclass Mine(engine.Strategy):\n"
    "    size: float = 0.5\n\n"
    "    def on_start(self, ctx):\n        self.x = 1.0\n\n"
    "    def on_timer(self, ctx, name):\n        self.x = helping.grow(self.x) + self.size\n"
)
HELPING = "BY = 2.0\n\ndef grow(x):\n    return x * BY\n"
RUN = (
    "import sys\nfrom pathlib import Path\nfrom tests.compiled.harness import Bench\n"
    "from engine.strategy.compiled import build\nfrom engine.strategy.loader import load_strategy\n"
    "strategy = load_strategy(sys.argv[1]).strategy\nstrategy.on_start(None)\nbench = Bench(strategy)\n"
    "bench.timer()\nprint(build.compilations, strategy.x)\n"
)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of strategies that is empty; the kernels' stays."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(image, "cache_root", lambda: folder)
    monkeypatch.setattr(build, "_loaded", {})
    return folder


def run(strategy: object) -> tuple[int, float]:
    """How often it was compiled, and what it came to."""
    before = build.compilations
    build._loaded.clear()  # as a fresh process has it
    strategy.on_start(None)  # type: ignore[attr-defined]
    bench = Bench(strategy)
    assert bench.timer() == ""
    return build.compilations - before, strategy.x  # type: ignore[attr-defined]


def test_the_second_time_nothing_is_compiled(tmp_path: Path, own_cache: Path) -> None:
    """The file in the cache is enough, also with other parameters."""
    (tmp_path / "helping.py").write_text(HELPING)
    assert run(load(tmp_path, MINE)) == (1, 2.5)
    assert run(load(tmp_path, MINE)) == (0, 2.5)
    strategy = load(tmp_path, MINE)
    strategy.size = 3.0  # type: ignore[attr-defined]
    assert run(strategy) == (0, 5.0)
    assert len(list((own_cache / "strategies").iterdir())) == 1


@pytest.mark.parametrize(
    "edited",
    [HELPING.replace("2.0", "3.0"), HELPING.replace("x * BY", "x * BY * 1.5")],
    ids=["number", "line"],
)
def test_an_edited_helper_is_not_served_as_it_was(tmp_path: Path, own_cache: Path, edited: str) -> None:
    """A number or a line of an imported file changes, and so does the result."""
    (tmp_path / "helping.py").write_text(HELPING)
    assert run(load(tmp_path, MINE)) == (1, 2.5)
    (tmp_path / "helping.py").write_text(edited)
    assert run(load(tmp_path, MINE)) == (1, 3.5)
    assert own_cache.exists()


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 4000], ids=["empty", "short", "other"])
def test_a_damaged_file_of_the_cache_is_made_again(tmp_path: Path, own_cache: Path, damage: bytes) -> None:
    """Never executed, never an error."""
    (tmp_path / "helping.py").write_text(HELPING)
    assert run(load(tmp_path, MINE)) == (1, 2.5)
    (file,) = (own_cache / "strategies").iterdir()
    file.write_bytes(damage)
    assert run(load(tmp_path, MINE)) == (1, 2.5)
    assert run(load(tmp_path, MINE)) == (0, 2.5)


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compiled each time."""
    (tmp_path / "helping.py").write_text(HELPING)
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setattr(image, "cache_root", lambda: blocked)
    monkeypatch.setattr(build, "_loaded", {})
    assert run(load(tmp_path, MINE)) == (1, 2.5)
    assert run(load(tmp_path, MINE)) == (1, 2.5)


def test_another_process_finds_what_this_one_made(tmp_path: Path) -> None:
    """In whatever order the words were met, and under another hash seed."""
    # A number of its own, so that no earlier run of this test has it in the cache.
    unique = int.from_bytes(os.urandom(6), "little")
    (tmp_path / "helping.py").write_text(HELPING + f"\nUNIQUE = {unique}\n")
    (tmp_path / "mine.py").write_text(MINE.replace("+ self.size", "+ self.size + 0.0 * helping.UNIQUE"))
    said = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(tmp_path / "mine.py")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.split())
    assert said == [["1", "2.5"], ["0", "2.5"]]
