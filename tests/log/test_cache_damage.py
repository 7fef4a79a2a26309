"""A damaged cache: never a wrong row, nothing said, and whole again after the next reading."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.log import cache, cache_file, cache_folder
from engine.log.cache import open_log
from engine.log.reader import LogReader
from tests.helpers.logs import market
from tests.helpers.sealed import (
    KERNEL_COLUMNS,
    Read,
    columns_verified_one_by_one,
    decoded_columns,
    read,
    sealed_in_batches,
)

COLUMNS_READ = ("ts", "ts_venue", "flags", "price", "data")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, that takes the shortest log."""
    monkeypatch.setattr(cache_folder, "decoded_folder", lambda: tmp_path / "decoded")
    monkeypatch.setattr(cache, "LEAST_ROWS", 1)
    monkeypatch.delenv(cache_folder.VARIABLE, raising=False)
    return tmp_path / "decoded"


def kept_log(path: Path, seed: int, columns: tuple[str, ...] = COLUMNS_READ) -> tuple[Path, Read]:
    """A sealed log that is in the cache, and its rows."""
    sealed_in_batches(path, market(150, seed), rows=60)
    read(open_log(path, columns), prefetch=2)
    return path, read(LogReader(path, columns), prefetch=0)


def column_files(folder: Path) -> list[Path]:
    """All files of all logs."""
    return sorted(folder.glob("*/*"))


def flip(file: Path, at: int, bit: int) -> None:
    """Change one bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize("seed", [561, 562], ids=lambda s: f"seed{s}")
def test_a_flipped_bit_changes_no_row(tmp_path: Path, folder: Path, seed: int) -> None:
    """In any file: a reading decodes what does not fit, the next one writes it, the third finds all whole."""
    path, plain = kept_log(tmp_path / "a.arrow", seed)
    chance = random.Random(seed)
    noticed = 0
    for _ in range(120):
        file = chance.choice(column_files(folder))
        whole = file.read_bytes()
        flip(file, chance.randrange(len(whole)), chance.randrange(8))
        with decoded_columns() as decoded:
            assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain, file.name
        noticed += bool(decoded)
        assert set(decoded) <= {file.stem}
        assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain
        with decoded_columns() as decoded:
            assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain
        assert decoded == []
        if file.read_bytes() != whole:  # the bit was in the padding between blocks, which nobody reads
            file.write_bytes(whole)
    assert noticed > 60


@pytest.mark.parametrize("name", COLUMNS_READ)
def test_a_file_cut_anywhere_is_not_believed(tmp_path: Path, folder: Path, name: str) -> None:
    """At its beginning, inside a block, in its list of blocks, by one byte; empty; or longer than it was."""
    path, plain = kept_log(tmp_path / "a.arrow", 563)
    (file,) = folder.glob(f"*/{name}{cache_file.SUFFIX}")
    whole = file.read_bytes()
    some = random.Random(name).sample(range(len(whole)), 25)
    for size in [0, 1, 63, 64, len(whole) - 100, len(whole) - 1, *some]:
        file.write_bytes(whole[:size])
        with decoded_columns() as decoded:
            assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain, size
        assert set(decoded) == {name}
        assert file.read_bytes() == whole  # written again
    file.write_bytes(whole + bytes(64))
    assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain
    assert file.read_bytes() == whole


def test_files_of_another_log_or_column_are_not_believed(tmp_path: Path, folder: Path) -> None:
    """Whatever stands under a name: a file says what it is."""
    path, plain = kept_log(tmp_path / "a.arrow", 564)
    other, other_plain = kept_log(tmp_path / "b.arrow", 565)
    first, second = sorted(folder.iterdir())
    for name in ("ts", "price"):
        ours, theirs = (log / f"{name}{cache_file.SUFFIX}" for log in (first, second))
        a, b = ours.read_bytes(), theirs.read_bytes()
        ours.write_bytes(b)
        theirs.write_bytes(a)
    ts_venue = first / f"ts_venue{cache_file.SUFFIX}"
    ts_venue.write_bytes((first / f"ts{cache_file.SUFFIX}").read_bytes())
    for _ in range(2):
        assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain
        assert read(open_log(other, COLUMNS_READ), prefetch=2) == other_plain


@pytest.mark.parametrize("seed", [566, 567], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("columns", [KERNEL_COLUMNS, ("ts", "flags", "price")], ids=["all", "three"])
def test_a_damaged_log_is_damaged_with_a_cache_as_well(
    tmp_path: Path, seed: int, columns: tuple[str, ...]
) -> None:
    """The cache has what the log has lost, and does not hide it: the same offset, the same good rows."""
    path, _ = kept_log(tmp_path / "a.arrow", seed, columns)
    whole = bytearray(path.read_bytes())
    start = LogReader(path)._start
    chance = random.Random(seed)
    found = 0
    with columns_verified_one_by_one():
        for _ in range(120):
            at, bit = chance.randrange(start, len(whole)), chance.randrange(8)
            whole[at] ^= 1 << bit
            path.write_bytes(whole)
            whole[at] ^= 1 << bit
            plain = read(LogReader(path, columns), prefetch=0)
            kept = read(open_log(path, columns), prefetch=2)
            assert kept.rows == plain.rows, at
            assert kept.damage[0] == plain.damage[0], at
            found += plain.damage[0] is not None
    assert found > 30


KILLED = """
import os, signal, sys
from pathlib import Path
from engine.log import cache, cache_file, cache_folder
cache_folder.decoded_folder = lambda: Path(sys.argv[2])
cache.LEAST_ROWS = 1
step, count = sys.argv[3], int(sys.argv[4])
true = getattr(cache_file.ColumnWriter, step)
def deadly(self, *arguments):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    true(self, *arguments)
setattr(cache_file.ColumnWriter, step, deadly)
with cache.open_log(Path(sys.argv[1]), ("ts", "price")) as log:
    for batch in log.batches(prefetch=2):
        pass
"""


@pytest.mark.parametrize(("step", "count"), [("append", 0), ("append", 5), ("finish", 0), ("finish", 1)])
def test_a_process_killed_while_it_writes_leaves_nothing_wrong(
    tmp_path: Path, folder: Path, step: str, count: int
) -> None:
    """What it began has no name; what it finished is whole; a day later the beginnings are removed."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(150, seed=568), rows=60)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(folder), step, str(count)], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    begun = list(folder.glob("*/.*.tmp"))
    assert begun
    plain = read(LogReader(path, ("ts", "price")), prefetch=0)
    assert read(open_log(path, ("ts", "price")), prefetch=2) == plain
    assert all(file.exists() for file in begun)  # they might be another process's
    for file in begun:
        os.utime(file, (1e9, 1e9))
    assert len(read(open_log(path, ("ts", "price", "size")), prefetch=2).rows) == len(plain.rows)
    names = [file.name for file in column_files(folder)]
    assert names == ["price.column", "size.column", "ts.column"]


def test_blocks_that_do_not_belong_to_this_log_are_replaced(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two logs that claim one key: each reading decodes its own rows, and keeps those."""
    monkeypatch.setattr(cache_folder, "key_of", lambda _tail: "0" * 32)
    logs = []
    for name, start in (("a.arrow", 1.0), ("b.arrow", 2.0)):
        path = tmp_path / name
        sealed_in_batches(path, market(150, seed=569, start=start), rows=60)
        logs.append((path, read(LogReader(path, COLUMNS_READ), prefetch=0)))
    assert len(logs[0][1].rows) == len(logs[1][1].rows)
    for _ in range(3):
        for path, plain in logs:
            assert read(open_log(path, COLUMNS_READ), prefetch=2) == plain
    assert len(list(folder.iterdir())) == 1
