"""What was acknowledged is there: after SIGKILL, and when the disk is full."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.recover import recover
from engine.log.schema import LogHeader
from engine.log.segments import following, next_path
from engine.log.writer import LogWriter
from engine.model.errors import EngineError
from tests.helpers.logs import START, at, market, read_rows, trade, write_log
from tests.helpers.segment_writer import end_of, latest_end

# Writes a segment for ever, and says after each flush how many rows are safe.
WRITER = """
import os, sys
from itertools import count
from pathlib import Path
from engine.log.schema import LogHeader
from engine.log.segments import following, next_path
from engine.log.writer import LogWriter
from tests.helpers.logs import START, Message, definitions, market
from tests.helpers.segment_writer import latest_end

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
before = latest_end(folder)
header = LogHeader() if before is None else following(LogHeader(), before)
writer = LogWriter(next_path(folder, START), header)
messages = [*definitions(), *market(500, seed)]
for number in count():
    message = messages[number % len(messages)]
    Message(START + number, message.rows).append_to(writer.rows)
    if number % 3 == 0:
        writer.flush()
        os.write(1, b"%d\\n" % writer.seq)
"""


def _kill_writers(folder: Path, seed: int, times: int) -> None:
    chance = random.Random(seed)
    acknowledged = []
    for run in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(seed + run)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 400)):
                safe = int(process.stdout.readline())
            process.kill()
            acknowledged.append(max([safe, *map(int, process.stdout.read().split())]))
    paths = sorted(folder.glob("*.arrow"), key=lambda path: LogReader(path).header.segment)
    assert len(paths) == times
    assert latest_end(folder) == end_of(paths[-1])
    for path, safe in zip(paths, acknowledged, strict=True):
        rows = read_rows(path)
        assert len(rows) >= safe
        report = check(path)
        assert (report.rows, report.broken_rules) == (len(rows), [])
        assert recover(path).rows == len(rows)
    for before, after in pairwise(paths):
        assert LogReader(after).header.previous_chain == end_of(before).chain


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """SIGKILL at random moments: every acknowledged row is in the file, and the next segment fits on."""
    _kill_writers(tmp_path, seed=71, times=8)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1100, 25))
def test_many_killed_writers_lose_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    """The same, twenty-five times for each seed."""
    _kill_writers(tmp_path, seed, times=25)


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """As if the disk were full: no file may grow beyond `size` bytes (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 7, 8, 100, 1000, 1500])
def test_a_full_disk_acknowledges_nothing_half(tmp_path: Path, room: int) -> None:
    """With room for a part of a batch, the error names file, byte and rows; all before stays good."""
    path = tmp_path / "a.arrow"
    writer = write_log(path, market(20, seed=72))
    rows, safe, head = read_rows(path), writer.bytes_written, writer.chain_head
    for message in market(10, seed=73, start=50):
        message.append_to(writer.rows)
    waiting = writer.rows.count
    with _largest_file(safe + room):
        for _ in range(2):  # a second attempt writes no garbage behind the torn bytes
            with pytest.raises(EngineError) as caught:
                writer.flush()
            where = f"{path}: File too large at byte {safe}; "
            assert caught.value.message == f"{where}{waiting} rows from {len(rows)} on are not in the log"
            assert "go on in a new segment" in caught.value.hint
            assert path.stat().st_size == safe + room
    with pytest.raises(EngineError):  # nor does an attempt when there is room again
        writer.flush()
    writer.close(reason="disk full", ts=at(100))
    assert path.stat().st_size == safe + room
    assert (writer.seq, writer.chain_head, writer.rows.count) == (len(rows), head, waiting)
    assert read_rows(path) == rows
    assert end_of(path).chain == head


def test_a_full_disk_is_survived_in_the_next_segment(tmp_path: Path) -> None:
    """The rows that were refused can be written to the next segment, which follows the last good batch."""
    first = next_path(tmp_path, START)
    writer = write_log(first, [trade(1)])
    trade(2, price=123).append_to(writer.rows)
    with _largest_file(writer.bytes_written + 10), pytest.raises(EngineError):
        writer.flush()
    writer.abandon()
    with LogWriter(next_path(tmp_path, START), following(LogHeader(), end_of(first))) as second:
        second.rows = writer.rows
        batch = second.flush()
    assert batch is not None
    assert batch.price.tolist() == [123]
    assert LogReader(second.path).header.previous_chain == end_of(first).chain


def test_no_room_for_the_header_is_an_error(tmp_path: Path) -> None:
    """A log that cannot even begin says so."""
    with _largest_file(10), pytest.raises(EngineError, match="File too large at byte 0"):
        LogWriter(tmp_path / "a.arrow", LogHeader())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where no file can be made, the error says where and why."""
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"a\.arrow: cannot be created: "):
        LogWriter(tmp_path / "file" / "a.arrow", LogHeader())
