"""A strategy's own lines and the journal's checksums: few writes, and no changed byte goes unnoticed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.execution.state import JOURNAL
from engine.log.journal import JOURNAL_SCHEMA, Journal, read_journal
from engine.model.errors import DamagedLog, InputError

KEYS = ["BTCUSDT.binance"]


def records(first: int, count: int = 3) -> np.ndarray[Any, Any]:
    """Records numbered from `first`."""
    made = np.zeros(count, dtype=JOURNAL)
    made["kind"] = 1
    made["number"] = np.arange(first, first + count)
    return made


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each write to a journal."""
    made: list[int] = []
    real = os.write

    def counted(file: int, content: Any) -> int:
        made.append(real(file, content))
        return made[-1]

    monkeypatch.setattr("engine.log.journal.os.write", counted)
    return made


def test_lines_share_a_write(tmp_path: Path, writes: list[int]) -> None:
    """A line per message and no decision: the lines wait, and are written by the thousand, in order."""
    journal = Journal(tmp_path / "a.arrow")
    start = len(writes)
    for number in range(5_000):
        journal.line(number, 0, number, str(number))
        journal.append(records(1, 0), KEYS)  # what a turn without a decision does
    assert len(writes) == start + 1
    journal.append(records(1), KEYS)
    assert len(writes) == start + 3  # the lines that waited stand before the decisions
    journal.close()
    table = read_journal(tmp_path / "a.arrow")
    assert table["text"].to_pylist() == [*(str(n) for n in range(5_000)), None, None, None]


def test_a_flush_writes_the_lines_that_wait(tmp_path: Path) -> None:
    """What a live session does at the end of a turn: another process can read them at once."""
    journal = Journal(tmp_path / "a.arrow")
    journal.line(1, 0, 1, "hello")
    assert read_journal(tmp_path / "a.arrow").num_rows == 0
    journal.flush()
    assert read_journal(tmp_path / "a.arrow")["text"].to_pylist() == ["hello"]
    journal.flush()
    journal.close()
    assert read_journal(tmp_path / "a.arrow").num_rows == 1


def damaged_journal(path: Path) -> tuple[bytes, list[int]]:
    """A closed journal's bytes, and where each of its batches ends."""
    journal = Journal(path)
    ends = [path.stat().st_size]
    for first in range(1, 13, 3):
        journal.append(records(first), KEYS)
        ends.append(path.stat().st_size)
    journal.close()
    return path.read_bytes(), ends


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Any byte, another value: an error with its batch's place, or an end before it; no other records."""
    path = tmp_path / "a.arrow"
    content, ends = damaged_journal(path)
    words: set[str] = set()
    for at in range(ends[0], ends[-1], 7):
        changed = bytearray(content)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        batch = sum(end <= at for end in ends) - 1
        # A length that points behind the file's end looks like a write that was cut short.
        places, found = [ends[batch]], list(range(1, 1 + 3 * batch))
        try:
            found = read_journal(path)["number"].to_pylist()
        except DamagedLog as error:
            places.append(error.offset or 0)
            words.add(error.message.rpartition("; ")[2])
        assert places[0] == places[-1], at
        assert found == list(range(1, 1 + 3 * batch)), at
    assert words == {f"the {3 * batch} records before are good" for batch in range(4)}


def test_a_changed_beginning_is_no_journal(tmp_path: Path) -> None:
    """A byte of the schema: refused, or read as what it was; never other records."""
    path = tmp_path / "a.arrow"
    content, ends = damaged_journal(path)
    for at in range(0, ends[0], 13):
        changed = bytearray(content)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        try:
            found = read_journal(path)["number"].to_pylist()
        except InputError:
            continue
        assert found == list(range(1, 13)), at


def test_a_batch_that_reached_the_disk_in_part(tmp_path: Path) -> None:
    """The machine went down: the last batch has its length but not its bytes; what is before is read."""
    path = tmp_path / "a.arrow"
    content, ends = damaged_journal(path)
    path.write_bytes(content[: ends[-1] - 300] + bytes(300))
    assert read_journal(path)["number"].to_pylist() == list(range(1, 10))


def test_a_journal_without_checksums_is_read(tmp_path: Path) -> None:
    """Another program wrote it again, as plain Arrow."""
    path = tmp_path / "a.arrow"
    damaged_journal(path)
    table = read_journal(path)
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), JOURNAL_SCHEMA) as writer:
        writer.write_table(table)
    assert read_journal(tmp_path / "b.arrow") == table
