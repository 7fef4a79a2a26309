"""The kernels' file: found, built where it is missing or damaged, and what it hands to Python."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.model import building, image, jit, machine_code
from engine.model.errors import EngineError, InternalError

CODE = """
define i64 @"tests.take"(i64 %a, i64 %b) { %r = sub i64 %a, %b  ret i64 %r }
define double @"tests.half"(i64 %a, double %x) { %r = fmul double %x, 0.5  ret double %r }
"""


def content() -> bytes:
    """A file of two kernels; the second leaves the interpreter's lock to others."""
    doors = [
        building.door_text("tests.take", ["i64", "i64"], "i64", long=False),
        building.door_text("tests.half", ["i64", "double"], "double", long=True),
    ]
    bodies = [line for line in "\n".join(doors).splitlines() if 'declare i64 @"tests' not in line]
    bodies = [line for line in bodies if 'declare double @"tests' not in line]
    module = machine_code.parse("\n".join([building.COMMON, CODE, *bodies]))
    machine_code.optimise(module)
    return image.joined([(["tests.take", "tests.half"], machine_code.emit(module))])


@pytest.fixture(scope="module")
def made() -> image.Image:
    """It, in memory."""
    return image.Image(content())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("name", "given", "answer"),
    [
        ("take", (7, 9), -2),
        ("take", (2**63 - 1, 0), 2**63 - 1),
        ("take", (-1, -1), 0),  # -1 is also what a failed conversion gives
        ("take", (True, 0), 1),
        ("half", (0, 3.0), 1.5),
        ("half", (0, -1.0), -0.5),
        ("half", (0, 3), 1.5),
    ],
)
def test_python_calls_a_kernel_through_its_door(
    made: image.Image, name: str, given: tuple[Any, ...], answer: float
) -> None:
    """Whole numbers and floats go in, one comes out, also where a value looks like a failure."""
    result = made.function(f"tests.{name}")(*given)
    assert (type(result), result) == (type(answer), answer)


@pytest.mark.parametrize(
    ("name", "given", "error"),
    [
        ("take", (1,), TypeError),
        ("take", (1, 2, 3), TypeError),
        ("take", (1, 2.0), TypeError),
        ("take", (1, "2"), TypeError),
        ("take", (2**63, 0), OverflowError),
        ("half", (1, None), TypeError),
        ("half", (1, 10**400), OverflowError),
    ],
)
def test_what_a_kernel_cannot_take_is_an_error(
    made: image.Image, name: str, given: tuple[Any, ...], error: type[Exception]
) -> None:
    """Too few, too many, of another kind, too large: Python's own errors, and no call."""
    with pytest.raises(error):
        made.function(f"tests.{name}")(*given)


def test_a_kernel_has_a_name_and_an_address(made: image.Image) -> None:
    """The address is its own, not that of its door; what is not in the file is an internal error."""
    take, half = made.function("tests.take"), made.function("tests.half")
    assert (take.__name__, take.__module__) == ("take", "tests")
    assert take.__self__ not in {0, half.__self__}
    with pytest.raises(InternalError, match=r"lacks tests\.third"):
        made.function("tests.third")


@pytest.mark.parametrize(
    "damage", [None, b"", b"short", b"x" * 4000], ids=["none", "empty", "short", "other"]
)
def test_a_missing_or_damaged_file_is_built(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes | None
) -> None:
    """Never executed, never an error; the next process finds the new one."""
    monkeypatch.setattr(image, "_built", lambda _progress: b"new")
    if damage is not None:
        image.image_file().parent.mkdir(parents=True)
        image.image_file().write_bytes(damage)
    assert image.build() == b"new"
    assert machine_code.read(image.image_file()) == b"new"
    assert image.image_file().is_relative_to(own_cache)


def test_of_many_at_once_one_builds(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for it, and have the same."""
    built: list[int] = []
    start = threading.Barrier(4)
    found: list[bytes] = []

    def once(_progress: image.Progress | None) -> bytes:
        built.append(1)
        return b"content"

    def want() -> None:
        start.wait()
        found.append(image.build())

    monkeypatch.setattr(image, "_built", once)
    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(built), found) == (1, [b"content"] * 4)
    assert own_cache.exists()


def test_a_cache_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder, the reason, and the setting."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ENGINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"cannot be kept in .*file: Not a directory") as refused:
        image.build()
    assert refused.value.hint == "set ENGINE_CACHE to a folder that can be written"


def test_a_builder_that_fails_is_quoted(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last is in the error, and nothing is kept."""
    monkeypatch.setattr(image, "_BUILDER", "engine.model.no_such_module")
    with pytest.raises(InternalError, match=r"could not be compiled: .*no_such_module"):
        image.build()
    assert not list(own_cache.rglob("*.image"))


def test_progress_counts_the_kernels(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From none to all of them, in the order in which they come."""
    fake = tmp_path / "fake_builder.py"
    fake.write_text(
        "import json, os, pathlib, sys\nfolder, part = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "if part == '0': os.write(1, b'of 2\\n')\n"
        "if part in '01': os.write(1, b'some.kernel\\n')\n"
        "(folder / f'{part}.json').write_text('[]')\n(folder / f'{part}.o').write_bytes(b'')\n"
    )
    monkeypatch.setattr(image, "_BUILDER", "fake_builder")
    monkeypatch.setattr(image, "_processors", lambda: 2)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    seen: list[tuple[int, int]] = []
    image.build(lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)
    assert len(seen) == 3
    assert own_cache.exists()


def test_entry_points_are_dealt_out_whole() -> None:
    """Each goes to one builder; the heaviest to different ones."""
    program = (
        "from engine.model import building\n"
        "entries = building.all_entries()\n"
        "for parts in (1, 2, 3):\n"
        "    dealt = building.shares(entries, parts)\n"
        "    names = sorted(entry.name for share in dealt for entry in share)\n"
        "    assert names == [entry.name for entry in entries], parts\n"
        "    assert all(dealt), parts\n"
        "print(len(entries))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.environ[{image.BUILDING!r}] = '1'\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 50


def test_code_that_needs_numba_where_it_runs_is_refused() -> None:
    """The builder names what would be missing."""
    text = "declare i64 @numba_unheard_of()\ndefine i64 @f() { %r = call i64 @numba_unheard_of() ret i64 %r }"
    module = machine_code.parse(text)
    with pytest.raises(SystemExit, match="not there without Numba: numba_unheard_of"):
        building.refuse_what_is_not_there(module)


def test_before_there_is_a_file_importing_builds_nothing(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call does, and the first look at the address; both are the kernel's own."""
    late = jit.operation("int64(int64,int64)")(_take)
    assert not own_cache.exists()
    monkeypatch.setattr(image, "image", lambda: image.Image(content()))
    monkeypatch.setattr(late, "_name", "tests.take")
    assert late(9, 4) == 5
    assert jit.address_of(late) not in {0, id(late)}


def _take(a: int, b: int) -> int:
    return a - b


def test_a_run_never_imports_numba() -> None:
    """A third of a second of every start was Numba's."""
    program = "import sys\nimport engine.cli.backtest, engine.loop.run\nprint('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
