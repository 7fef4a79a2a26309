"""Following a log that another process writes: whole batches, each once, across files."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.segments import ROTATION, following
from engine.log.tail import LogTail
from engine.model.errors import DamagedLog, InputError
from tests.helpers.logs import at, make_log, market, read_rows, rows_of, trade, write_log
from tests.helpers.segment_writer import end_of

Rows = list[tuple[object, ...]]


def _poll_all(tail: LogTail, *, seconds: float = 30) -> Rows:
    """Every row up to `done`; fails when that takes longer than `seconds`."""
    rows: Rows = []
    deadline = time.monotonic() + seconds
    while True:
        rows += rows_of(batches := tail.poll())
        if tail.done and not batches:
            return rows
        assert time.monotonic() < deadline, tail.waiting


def test_a_growing_file_is_read_batch_by_batch(tmp_path: Path) -> None:
    """Each flush is seen by the next poll, once."""
    path = tmp_path / "a.arrow"
    writer = write_log(path, [])
    tail = LogTail(path)
    rows = rows_of(tail.poll())
    assert rows == read_rows(path)
    for message in market(50, seed=51):
        assert tail.poll() == []
        message.append_to(writer.rows)
        batch = writer.flush()
        assert batch is not None
        assert rows_of(tail.poll()) == rows_of([batch])
        assert (tail.next_seq, tail.chain_head, tail.done) == (writer.seq, writer.chain_head, False)
    writer.close(reason="test", ts=at(100))
    assert [row[3] for row in rows_of(tail.poll())] == [55]
    assert tail.done
    assert tail.end_reason == "test"


@pytest.mark.parametrize("seed", range(52, 55))
def test_bytes_that_arrive_in_pieces_make_whole_batches(tmp_path: Path, seed: int) -> None:
    """However the file grows, header included, only whole batches come out, and all of them."""
    source = make_log(tmp_path / "source.arrow", market(40, seed), per_batch=3)
    content, rows = source.read_bytes(), read_rows(source)
    chance = random.Random(seed)
    path = tmp_path / "grown.arrow"
    path.touch()
    tail = LogTail(path)
    found: Rows = []
    written = 0
    while written < len(content):
        step = chance.choice((1, 7, 300, 5000))
        with path.open("ab") as file:
            file.write(content[written : written + step])
        written += step
        found += rows_of(tail.poll())
        assert found == rows[: len(found)]
    assert found == rows
    assert tail.done


def test_sealing_under_the_tail_repeats_nothing(tmp_path: Path) -> None:
    """A file sealed after it was read to the end brings no row again; the next segment still follows."""
    first = make_log(tmp_path / "2024-06-01.arrow", market(100, seed=56))
    tail = LogTail(first)
    rows = _poll_all(tail)
    seal(first)
    assert tail.poll() == []
    assert tail.done
    end = end_of(first)
    second = make_log(
        tmp_path / "2024-06-01.2.arrow", [trade(5000)], header=following(LogHeader(), end), sealed=True
    )
    rows += _poll_all(tail)
    assert tail.path == second
    assert rows == read_rows(first) + read_rows(second)


def test_a_tail_behind_goes_on_by_seq_in_the_sealed_file(tmp_path: Path) -> None:
    """When sealing overtakes the tail, it continues in the sealed file's large batch, at its next row."""
    path = tmp_path / "a.arrow"
    writer = write_log(path, market(20, seed=57))
    tail = LogTail(path)
    rows = rows_of(tail.poll())
    for message in market(30, seed=58, start=100):
        message.append_to(writer.rows)
    writer.close(reason="test", ts=at(1000))
    # As if the rest had been written and sealed between the tail's look at the old file and at its name.
    sealed = tmp_path / "sealed.arrow"
    sealed.write_bytes(path.read_bytes())
    with path.open("r+b") as file:
        file.truncate(tail._offset)
    seal(sealed)
    sealed.replace(path)
    rows += _poll_all(tail)
    assert rows == read_rows(path)


def test_a_rotation_is_not_the_end(tmp_path: Path) -> None:
    """After an END row of a rotation the tail waits for the next segment, however late it comes."""
    path = tmp_path / "2024-06-01T13.arrow"
    writer = write_log(path, [trade(1)])
    writer.close(reason=ROTATION, ts=at(2))
    tail = LogTail(path)
    rows = rows_of(tail.poll())
    assert tail.poll() == []
    assert not tail.done
    unrelated = make_log(tmp_path / "2024-06-01T12.arrow", [trade(1)])
    assert unrelated.exists()
    assert tail.poll() == []
    make_log(tmp_path / "2024-06-01T14.arrow", [trade(3)], header=following(LogHeader(), end_of(path)))
    rows += _poll_all(tail)
    assert [row[8] for row in rows if row[3] == 1] == [6_000_000, 6_000_000]
    assert tail.path.name == "2024-06-01T14.arrow"


def test_a_killed_writers_torn_tail_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """The segment after a kill follows the last whole batch; what was torn is never seen."""
    path = make_log(tmp_path / "2024-06-01.arrow", [trade(1), trade(2)], end=False)
    end = end_of(path)
    whole = read_rows(path)
    torn = make_log(tmp_path / "torn", [trade(1), trade(2), trade(3)], end=False).read_bytes()
    path.write_bytes(torn[:-10])
    tail = LogTail(path)
    assert rows_of(tail.poll()) == whole
    assert tail.poll() == []
    assert (tail.done, tail.writer_is_gone) == (False, True)
    assert "of which" in tail.waiting
    second = make_log(tmp_path / "2024-06-01.2.arrow", [trade(4)], header=following(LogHeader(), end))
    assert _poll_all(tail) == read_rows(second)


def test_damage_is_named_and_never_read(tmp_path: Path) -> None:
    """Bytes that are no batch in the making raise with their offset, after the good batches before."""
    path = tmp_path / "a.arrow"
    writer = write_log(path, market(10, seed=59))
    offset = writer.bytes_written
    trade(500).append_to(writer.rows)
    writer.flush()
    writer.abandon()
    rows = read_rows(path)
    content = bytearray(path.read_bytes())
    content[offset + 900] ^= 16
    path.write_bytes(content)
    tail = LogTail(path)
    assert rows_of(tail.poll()) == rows[:-1]
    with pytest.raises(DamagedLog, match=f"damaged at byte {offset}") as caught:
        tail.poll()
    assert caught.value.offset == offset


def test_a_batch_larger_than_one_read_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads are limited, batches are not."""
    monkeypatch.setattr("engine.log.tail.READ_BYTES", 1000)
    path = make_log(tmp_path / "a.arrow", market(200, seed=60), per_batch=50)
    assert _poll_all(LogTail(path)) == read_rows(path)


def test_what_cannot_be_followed_is_named(tmp_path: Path) -> None:
    """A missing file, and a file that is no log, are refused at once."""
    with pytest.raises(InputError, match="no such file"):
        LogTail(tmp_path / "none.arrow")
    (tmp_path / "x.arrow").write_text("time,price\n1,2\n")
    with pytest.raises(InputError, match="not an Arrow file"):
        LogTail(tmp_path / "x.arrow")


WRITER = """
import sys
from itertools import count
from pathlib import Path
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.segments import Rotation
from tests.helpers.logs import START, Message, definitions, market
from tests.helpers.segment_writer import SegmentWriter

clock = count(START, 1000)
def define(rows):
    for message in definitions():
        Message(next(clock), message.rows).append_to(rows)
recording = SegmentWriter(
    Path(sys.argv[1]), LogHeader(), stamp=lambda: next(clock), define=define,
    rotation=Rotation.parse("60KB"), closed=seal,
)
print(recording.path, flush=True)
for message in market(int(sys.argv[2]), seed=61):
    Message(next(clock), message.rows).append_to(recording.rows)
    recording.flush()
    recording.rotate_if_due(next(clock))
recording.close(reason="test", ts=next(clock))
"""


def test_another_process_is_followed_across_rotation_and_sealing(tmp_path: Path) -> None:
    """While another process writes, rotates and seals, each row comes once and in order."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "700"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = Path(process.stdout.readline().strip())
        rows = _poll_all(LogTail(first))
        assert process.wait(timeout=30) == 0
    files = sorted(tmp_path.glob("*.arrow"), key=lambda path: end_of(path).header.segment)
    assert len(files) > 5
    assert [row for path in files for row in read_rows(path)] == rows
    expected = [
        (row.kind, row.price, row.size, row.id, row.wire) for m in market(700, seed=61) for row in m.rows
    ]
    market_rows = [(row[3], row[8], row[9], row[10], row[12]) for row in rows if row[3] in {1, 2, 3, 20}]
    assert market_rows == expected
