"""The decoded cache: rows as without it, made by the first reading, there for the next, bounded."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.log import cache, cache_folder
from engine.log.cache import open_log
from engine.log.cache_file import ColumnWriter
from engine.log.reader import LogReader
from engine.log.schema import COLUMNS, FIXED
from engine.model.errors import UsageError
from engine.model.units import NULL_TIME
from tests.helpers.logs import Message, Row, at, make_log, market
from tests.helpers.sealed import KERNEL_COLUMNS, decoded_columns, read, sealed_in_batches

SAMPLE = Path(__file__).resolve().parents[2] / "recordings" / "2024-06-01.arrow"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, that takes the shortest log."""
    monkeypatch.setattr(cache_folder, "decoded_folder", lambda: tmp_path / "decoded")
    monkeypatch.setattr(cache, "LEAST_ROWS", 1)
    monkeypatch.delenv(cache_folder.VARIABLE, raising=False)
    return tmp_path / "decoded"


def files_in(folder: Path) -> list[str]:
    """Names of all files of all logs, temporary ones too."""
    return sorted(file.name for file in folder.glob("*/*"))


def extremes(seed: int) -> list[Message]:
    """Rows of every value that a column can hold: least and most, all alike for a while, null and not."""
    chance = random.Random(seed)
    steady = Row(7, data=None)
    messages = []
    for i in range(400):
        if i % 100 == 0:
            steady = Row(
                chance.randrange(60),
                chance.choice((NULL_TIME, 0, 2**62)),
                chance.choice((0, 2**16 - 1)),
                chance.choice((0, 255)),
                chance.choice((0, 2**15)),
                chance.choice((0, 2**32 - 1)),
                chance.choice((-1, 0, 1)),
                chance.choice((-(2**63), 2**63 - 1, 0)),
                chance.choice((-(2**63), 2**63 - 1, 0)),
                chance.choice((2**64 - 1, 2**63, 0)),
                chance.choice((None, b"", "“quoted”".encode())),
            )
        row = steady
        if (i // 50) % 2:
            row = Row(
                chance.randrange(256),
                chance.choice((NULL_TIME, chance.randrange(-(2**62), 2**62))),
                chance.randrange(2**16),
                chance.randrange(256),
                chance.randrange(2**15) << 1,
                chance.randrange(2**32),
                chance.choice((-1, 0, 1)),
                chance.randrange(-(2**63), 2**63),
                chance.randrange(-(2**63), 2**63),
                chance.randrange(2**64),
                chance.choice((None, b"", b"{}", "é".encode() * chance.randrange(40))),
            )
        messages.append(Message(at(i + 1), (row,) * chance.randrange(1, 4)))
    return messages


@pytest.mark.parametrize("seed", [541, 542, 543], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("make", [market, extremes], ids=["market", "extremes"])
def test_every_column_is_the_same_both_ways(tmp_path: Path, seed: int, make: Any) -> None:
    """While the cache is made, and from it: rows, batches and what the reader says, nothing decoded."""
    messages = market(400, seed) if make is market else extremes(seed)
    path = sealed_in_batches(tmp_path / "a.arrow", messages)
    plain = read(LogReader(path, KERNEL_COLUMNS), prefetch=0)
    assert len(plain.batches) > 5
    assert read(open_log(path, KERNEL_COLUMNS), prefetch=2) == plain
    with decoded_columns() as decoded:
        assert read(open_log(path, KERNEL_COLUMNS), prefetch=2) == plain
        for name in KERNEL_COLUMNS:
            alone = read(open_log(path, (name,)), prefetch=1)
            assert alone == read(LogReader(path, (name,)), prefetch=0), name
    assert decoded == []


def test_the_shipped_sample_is_the_same_both_ways() -> None:
    """315,663 rows as they ship, in the batches that sealing made."""
    plain = read(LogReader(SAMPLE, KERNEL_COLUMNS), prefetch=0)
    assert read(open_log(SAMPLE, KERNEL_COLUMNS), prefetch=2) == plain
    with decoded_columns() as decoded:
        assert read(open_log(SAMPLE, KERNEL_COLUMNS), prefetch=2) == plain
    assert (decoded, len(plain.rows)) == ([], 315_663)


def test_small_batches_are_joined_as_without_a_cache(tmp_path: Path) -> None:
    """`join_rows` means the same."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(300, seed=544), rows=30)
    for join_rows in (0, 100, 10_000):
        plain = read(LogReader(path, ("ts", "data")), prefetch=0, join_rows=join_rows)
        for _ in range(2):
            assert read(open_log(path, ("ts", "data")), prefetch=2, join_rows=join_rows) == plain


def test_a_column_that_is_not_there_is_decoded_and_added(tmp_path: Path, folder: Path) -> None:
    """A run decodes what no run has read before, and nothing else."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(200, seed=545))
    read(open_log(path, ("ts", "price")), prefetch=2)
    assert files_in(folder) == ["price.column", "ts.column"]
    with decoded_columns() as decoded:
        found = read(open_log(path, ("ts", "price", "size")), prefetch=2)
    assert set(decoded) == {"size"}
    assert found == read(LogReader(path, ("ts", "price", "size")), prefetch=0)
    assert files_in(folder) == ["price.column", "size.column", "ts.column"]


def test_a_copy_of_a_log_has_the_same_cache_and_another_log_has_not(tmp_path: Path, folder: Path) -> None:
    """The key is what stands in the file, not where it lies."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(200, seed=546))
    read(open_log(path, ("ts",)), prefetch=2)
    copy = tmp_path / "copy.arrow"
    shutil.copy(path, copy)
    with decoded_columns() as decoded:
        read(open_log(copy, ("ts",)), prefetch=2)
    assert decoded == []
    others = [
        sealed_in_batches(tmp_path / "b.arrow", market(200, seed=547)),
        sealed_in_batches(
            tmp_path / "c.arrow", market(200, seed=546), rows=70
        ),  # the same rows, cut otherwise
    ]
    for other in others:
        assert read(open_log(other, ("ts",)), prefetch=2) == read(LogReader(other, ("ts",)), prefetch=0)
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    "why", ["unsealed", "short", "with wire", "nothing ahead", "left early", "limit 0", "limit too low"]
)
def test_what_is_not_kept(tmp_path: Path, folder: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that still grows, one that is short, frames, a reading that ended early, or no room for it."""
    messages = market(200, seed=548)
    columns = COLUMNS[1:] if why == "with wire" else KERNEL_COLUMNS
    if why == "unsealed":
        path = make_log(tmp_path / "a.arrow", messages, per_batch=20)
    else:
        path = sealed_in_batches(tmp_path / "a.arrow", messages)
    if why == "short":
        monkeypatch.setattr(cache, "LEAST_ROWS", 10_000)
    if why.startswith("limit"):
        monkeypatch.setenv(cache_folder.VARIABLE, "0" if why == "limit 0" else "5000")
    log = open_log(path, columns)
    if why == "left early":
        with log:
            next(log.batches(prefetch=2, join_rows=0))
    else:
        plain = read(LogReader(path, columns), prefetch=0)
        assert read(log, prefetch=0 if why == "nothing ahead" else 2) == plain
    assert files_in(folder) == []


def test_a_limit_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in the environment is said, not guessed around."""
    monkeypatch.setenv(cache_folder.VARIABLE, "20 GB")
    path = sealed_in_batches(tmp_path / "a.arrow", market(20, seed=549))
    with pytest.raises(UsageError, match='ENGINE_CACHE_BYTES="20 GB" is no number of bytes'):
        open_log(path)


def test_the_log_not_read_for_longest_goes_first(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit for three logs: reading one again keeps it, and the fourth takes the place of the oldest."""
    paths = [sealed_in_batches(tmp_path / f"{i}.arrow", market(400, seed=550 + i)) for i in range(4)]
    monkeypatch.setattr(os, "utime", _stamps(os.utime))
    keys = []
    for path in paths[:3]:
        log = open_log(path, FIXED)
        assert log.cache is not None
        keys.append(log.cache.key)
        read(log, prefetch=2)
        cache_folder.touch(folder / keys[-1])
    read(open_log(paths[0], FIXED), prefetch=2)  # now the second is the oldest
    there = cache_folder.usage(folder)
    assert [log.name for log in there.logs] == [keys[1], keys[2], keys[0]]
    rows = LogReader(paths[3]).header.sealed_rows
    monkeypatch.setenv(cache_folder.VARIABLE, str(there.total_bytes + rows * 51 - there.sizes[0]))
    read(open_log(paths[3], FIXED), prefetch=2)
    left = {log.name for log in cache_folder.usage(folder).logs}
    assert {keys[0], keys[2]} < left
    assert len(left) == 3
    assert keys[1] not in left


def _stamps(utime: Any) -> Any:
    """os.utime with times that grow by a second from call to call, whatever the clock does meanwhile."""
    count = 0

    def stamped(path: Path) -> None:
        nonlocal count
        count += 1
        utime(path, (2e9 + count, 2e9 + count))

    return stamped


def test_a_default_limit_is_a_share_of_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 GB, or a tenth of what would be free without the cache."""

    def free(gigabytes: int) -> None:
        usage = shutil._ntuple_diskusage(10**15, 0, gigabytes * 10**9)
        monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)

    free(1000)
    assert cache_folder.limit_bytes(folder, 0) == 20 * 10**9
    free(90)
    assert cache_folder.limit_bytes(folder, 10 * 10**9) == 10 * 10**9


def test_files_are_let_go_when_the_last_row_has_been_read(tmp_path: Path, folder: Path) -> None:
    """A run over hundreds of logs, one after the other, holds the columns of one of them."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(200, seed=554))
    read(open_log(path, KERNEL_COLUMNS), prefetch=2)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list what a process has mapped")
    log = open_log(path, KERNEL_COLUMNS)
    batches = log.batches(prefetch=2, join_rows=0)
    batch = next(batches)
    assert str(folder) in maps.read_text()
    for batch in batches:
        assert batch.count
    del batch
    assert str(folder) not in maps.read_text()
    log.close()


def test_deleting_the_cache_while_it_is_read_or_written_harms_nobody(tmp_path: Path, folder: Path) -> None:
    """What is mapped stays; what was to be written is not."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(300, seed=555))
    plain = read(LogReader(path, KERNEL_COLUMNS), prefetch=0)
    for _ in range(2):
        log = open_log(path, KERNEL_COLUMNS)
        with log:
            batches = log.batches(prefetch=2, join_rows=0)
            rows = next(batches).count
            shutil.rmtree(folder)
            rows += sum(batch.count for batch in batches)
        assert rows == len(plain.rows)
        assert files_in(folder) == []
        assert read(open_log(path, KERNEL_COLUMNS), prefetch=2) == plain  # written again
        assert len(files_in(folder)) == len(KERNEL_COLUMNS)


def test_a_folder_that_cannot_be_used_costs_nothing_but_time(tmp_path: Path, folder: Path) -> None:
    """A file stands where the folder should be: every reading decodes, and the reader has a note of it."""
    folder.write_text("in the way")
    path = sealed_in_batches(tmp_path / "a.arrow", market(100, seed=556))
    log = open_log(path, ("ts",))
    kept = log.cache
    assert kept is not None
    assert read(log, prefetch=2) == read(LogReader(path, ("ts",)), prefetch=0)
    assert kept.note.endswith(("File exists", "Not a directory"))
    assert folder.read_text() == "in the way"


def test_a_full_disk_ends_the_writing_and_not_the_run(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room for the next block: the files begun are removed, the rows are all there."""

    def full(*_anything: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ColumnWriter, "append", full)
    path = sealed_in_batches(tmp_path / "a.arrow", market(200, seed=557))
    log = open_log(path, ("ts", "price"))
    kept = log.cache
    assert kept is not None
    assert read(log, prefetch=2) == read(LogReader(path, ("ts", "price")), prefetch=0)
    assert kept.note.endswith("No space left on device")
    assert files_in(folder) == []


def test_a_slow_disk_is_given_up(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes nothing for a while is not waited for a second time."""
    go_on = threading.Event()
    append = ColumnWriter.append

    def stuck(self: ColumnWriter, *arguments: Any) -> None:
        go_on.wait(30)
        append(self, *arguments)

    monkeypatch.setattr(ColumnWriter, "append", stuck)
    monkeypatch.setattr(cache, "PATIENCE_S", 0.01)
    path = sealed_in_batches(tmp_path / "a.arrow", market(400, seed=558), rows=30)
    log = open_log(path, ("ts",))
    kept = log.cache
    assert kept is not None
    rows = 0
    for batch in log.batches(prefetch=2, join_rows=0):
        rows += batch.count
        if "slower than the run" in kept.note:
            go_on.set()
    assert go_on.is_set()
    log.close()
    assert rows == log.header.sealed_rows
    assert files_in(folder) == []


READING = """
import hashlib, sys
from pathlib import Path
from engine.log import cache
from engine.log.schema import COLUMNS
cache.LEAST_ROWS = 1
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
for _ in range(4):
    digest = hashlib.blake2b()
    with cache.open_log(Path(sys.argv[1]), COLUMNS[1:13]) as log:
        for batch in log.batches(prefetch=2):
            for name in COLUMNS[1:13]:
                digest.update(repr(getattr(batch, name).tolist()).encode())
    sys.stdout.write(digest.hexdigest() + "\\n")
"""


def test_processes_that_read_one_log_at_once_agree(tmp_path: Path) -> None:
    """Three that begin together and write the same files: the same rows in each, and one set of files."""
    path = sealed_in_batches(tmp_path / "a.arrow", market(1500, seed=559), rows=200)
    base = tmp_path / "root"
    program = f"""
from engine.log import cache_folder
from pathlib import Path
cache_folder.decoded_folder = lambda: Path({str(base)!r})
{READING}"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({line for lines in said for line in lines}) == 1
    assert [len(lines) for lines in said] == [4, 4, 4]
    assert files_in(base) == sorted(f"{name}.column" for name in KERNEL_COLUMNS)
