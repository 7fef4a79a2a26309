"""Sealing: the same rows in a smaller, closed file, or the original untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.seal import seal, seal_in_background
from engine.model.errors import DamagedLog, EngineError, InputError, UsageError
from tests.helpers.logs import make_log, market, read_rows, trade, write_log


@pytest.mark.parametrize("per_batch", [1, 7, 10_000])
def test_sealing_keeps_rows_and_chain(tmp_path: Path, per_batch: int) -> None:
    """Whatever the batches were, the sealed file has the same rows and the same chain head."""
    path = make_log(tmp_path / "a.arrow", market(300, seed=41), per_batch=per_batch)
    rows, before = read_rows(path), check(path)
    report = seal(path)
    after = check(path)
    assert read_rows(path) == rows
    assert (after.ok, after.sealed, after.rows, after.batches) == (True, True, len(rows), 1)
    assert after.chain == before.chain == report.chain == LogReader(path).header.sealed_chain
    assert [p.name for p in tmp_path.iterdir()] == ["a.arrow"]


def test_batches_of_a_sealed_file_are_large_and_end_with_messages(tmp_path: Path) -> None:
    """Sealed batches hold at least 65,536 rows, but for the last, and never half a message."""
    path = make_log(tmp_path / "a.arrow", market(60_000, seed=42), per_batch=500)
    seal(path)
    counts = [batch.count for batch in LogReader(path).batches(join_rows=0)]
    assert len(counts) > 1
    assert all(count >= 65_536 for count in counts[:-1])
    assert all(int(batch.flags[-1]) & 1 for batch in LogReader(path).batches(join_rows=0))


def test_one_huge_batch_is_divided(tmp_path: Path) -> None:
    """A batch far larger than needed is cut between messages, so that readers stay small."""
    path = make_log(tmp_path / "a.arrow", market(120_000, seed=43), per_batch=10**9)
    original = LogReader(path)
    assert next(original.batches()).count > 4 * 65_536
    chain = check(path).chain
    assert seal(path).chain == chain
    counts = [batch.count for batch in LogReader(path).batches(join_rows=0)]
    assert max(counts) < 65_536 + 10


def test_other_programs_read_a_sealed_log(tmp_path: Path) -> None:
    """Arrow's file reader and polars open it as it is; the header stands in its metadata."""
    path = make_log(tmp_path / "a.arrow", market(200, seed=44), sealed=True)
    prices = [row[8] for row in read_rows(path)]
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        table = file.read_all()
        assert b'"note":"made by a test"' in file.schema.metadata[b"engine.header"]
        assert f'"sealed_rows":{len(prices)}'.encode() in file.schema.metadata[b"engine.header"]
    table.validate(full=True)
    assert table["price"].to_pylist() == prices
    assert pl.scan_ipc(path).select("price").collect()["price"].to_list() == prices


def test_sealing_twice_changes_nothing(tmp_path: Path) -> None:
    """A sealed file is left as it is, and the report says so."""
    path = make_log(tmp_path / "a.arrow", [trade(1)], sealed=True)
    before = (path.read_bytes(), path.stat().st_ino)
    assert seal(path).already_sealed
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_a_log_without_rows_can_be_sealed(tmp_path: Path) -> None:
    """A header and nothing else is a log too."""
    path = make_log(tmp_path / "a.arrow", [], end=False, with_definitions=False)
    assert seal(path).rows == 0
    assert (read_rows(path), check(path).ok) == ([], True)


def test_a_file_that_is_being_written_is_refused(tmp_path: Path) -> None:
    """While a writer has it, sealing would take the file from under it."""
    path = tmp_path / "a.arrow"
    writer = write_log(path, [trade(1)])
    with pytest.raises(UsageError, match="is being written or sealed by another process"):
        seal(path)
    writer.abandon()
    assert seal(path).rows == writer.seq


def test_a_torn_tail_is_not_thrown_away(tmp_path: Path) -> None:
    """Sealing replaces a file, so one with torn bytes is refused with the way to save it."""
    path = make_log(tmp_path / "a.arrow", [trade(1), trade(2)])
    content = path.read_bytes()[:-5]
    path.write_bytes(content)
    with pytest.raises(DamagedLog, match=r"from byte \d+ on are not used") as caught:
        seal(path)
    assert "engine log recover" in caught.value.hint
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["a.arrow"]


def test_a_full_disk_leaves_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for the sealed file, the original stays and the temporary one goes."""
    path = make_log(tmp_path / "a.arrow", market(100, seed=45))
    content = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match=r"No space left on device; .*a\.arrow is untouched"):
        seal(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["a.arrow"]


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """What is no file is said to be none."""
    with pytest.raises(InputError, match="no such file"):
        seal(tmp_path / "none.arrow")
    with pytest.raises(InputError, match="is a folder"):
        seal(tmp_path)


def test_the_background_process_seals(tmp_path: Path) -> None:
    """seal_in_background seals in a process of its own, at low priority."""
    path = make_log(tmp_path / "a.arrow", market(50, seed=46))
    rows = read_rows(path)
    assert seal_in_background(path).wait(timeout=60) == 0
    assert LogReader(path).sealed
    assert read_rows(path) == rows


def test_a_killed_seal_leaves_the_original(tmp_path: Path) -> None:
    """SIGKILL at several stages of sealing: the original is intact, and sealing again works."""
    path = make_log(tmp_path / "a.arrow", market(2000, seed=47), per_batch=10)
    content, rows = path.read_bytes(), read_rows(path)
    # The process stops itself for good at the nth call of a step that every seal takes.
    program = """
import os, signal, sys
from pathlib import Path
import engine.log.seal as seal, engine.log.compressed as compressed
module, name = sys.argv[2].rsplit(".", 1)
target = {"writer": compressed.SealedWriter, "seal": seal, "os": os}[module]
def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(target, name, die)
seal.seal(Path(sys.argv[1]))
"""
    for step in (
        "writer.append",
        "writer._write_batch",
        "writer.finish",
        "os.fsync",
        "seal._verify",
        "seal.put_in_place",
    ):
        done = subprocess.run([sys.executable, "-c", program, str(path), step], check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, step
        assert path.read_bytes() == content, step
    seal(path)
    assert read_rows(path) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["a.arrow"]
