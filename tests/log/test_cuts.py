"""A log cut off anywhere: what was written completely is there, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.recover import recover
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.errors import DamagedLog, InputError
from tests.helpers.logs import make_log, market, read_rows, rows_of


def _log_with_ends(path: Path, messages: int, seed: int) -> tuple[int, list[tuple[int, int]]]:
    """Write a log of one batch per message; where its header ends, and (end, rows) after each batch."""
    ends = []
    with LogWriter(path, LogHeader(note="cut me")) as writer:
        header_end = writer.bytes_written
        for message in market(messages, seed):
            message.append_to(writer.rows)
            writer.flush()
            ends.append((writer.bytes_written, writer.seq))
    return header_end, ends


def test_every_cut_of_an_unsealed_log_reads_to_the_last_whole_batch(tmp_path: Path) -> None:
    """At each byte: exactly the batches that end before the cut, and a tail unless the cut is at an end."""
    path = tmp_path / "a.arrow"
    header_end, ends = _log_with_ends(path, messages=3, seed=11)
    whole, rows = path.read_bytes(), read_rows(path)
    cut_file = tmp_path / "cut.arrow"
    for cut in range(len(whole) + 1):
        cut_file.write_bytes(whole[:cut])
        if cut < header_end:
            with pytest.raises(InputError, match=r"cut\.arrow: "):
                LogReader(cut_file)
            continue
        reader = LogReader(cut_file)
        found = rows_of(reader.batches())
        expected = max((n for end, n in ends if end <= cut), default=0)
        assert found == rows[:expected], cut
        at_an_end = cut in {header_end, *(end for end, _ in ends)}
        assert (reader.tail == "") == at_an_end, cut
        if not at_an_end:
            good = max((end for end, _ in ends if end <= cut), default=header_end)
            assert f"{cut - good} bytes from byte {good} on" in reader.tail


def test_recover_of_every_cut_holds_the_complete_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recover at each byte writes exactly the complete batches, sealed, and says how much was cut."""
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # thousands of files that nobody keeps
    path = tmp_path / "a.arrow"
    header_end, ends = _log_with_ends(path, messages=2, seed=12)
    whole, rows = path.read_bytes(), read_rows(path)
    cut_file, out = tmp_path / "cut.arrow", tmp_path / "cut.recovered.arrow"
    for cut in range(header_end, len(whole) + 1):
        cut_file.write_bytes(whole[:cut])
        report = recover(cut_file)
        expected = max((n for end, n in ends if end <= cut), default=0)
        good = max((end for end, _ in ends if end <= cut), default=header_end)
        assert (report.rows, report.lost_bytes) == (expected, cut - good), cut
        assert cut_file.read_bytes() == whole[:cut]
        reader = LogReader(out)
        assert (rows_of(reader.batches()), reader.sealed) == (rows[:expected], True)
        out.unlink()


def test_every_cut_of_a_sealed_log_is_damage_with_its_offset(tmp_path: Path) -> None:
    """A sealed log without its end is named as damaged, and still gives the whole batches before."""
    path = make_log(tmp_path / "a.arrow", market(40, seed=13), sealed=True)
    whole, rows = path.read_bytes(), read_rows(path)
    header_end = LogReader(path).good_bytes
    batch_end = next(LogReader(path).messages()).end
    cut_file = tmp_path / "cut.arrow"
    for cut in range(header_end, len(whole), 3):
        cut_file.write_bytes(whole[:cut])
        batches = LogReader(cut_file).batches()
        # One batch holds all of this small log: it comes first when it is whole, and then the error.
        found = rows_of([next(batches)]) if cut >= batch_end else []
        assert found in ([], rows), cut
        with pytest.raises(DamagedLog) as caught:
            next(batches)
        assert caught.value.offset is not None
        assert header_end <= caught.value.offset <= cut
        assert f"damaged at byte {caught.value.offset}" in caught.value.message
        assert "engine log recover" in caught.value.hint


def test_a_tail_of_zeros_is_no_row(tmp_path: Path) -> None:
    """What a file system may leave after a crash, zero bytes at the end, is a tail and not a clean end."""
    path = make_log(tmp_path / "a.arrow", market(5, seed=14), end=False)
    rows = read_rows(path)
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes(4096))
    reader = LogReader(path)
    assert rows_of(reader.batches()) == rows
    assert (
        reader.tail == f"4096 bytes from byte {size} on are not used: zero bytes where a message should begin"
    )
    report = check(path)
    assert (report.ok, report.damage_offset, report.rows) == (False, size, len(rows))


def test_recover_of_a_good_log_loses_nothing(tmp_path: Path) -> None:
    """An intact unsealed log becomes a sealed one with the same rows and chain."""
    path = make_log(tmp_path / "a.arrow", market(30, seed=15))
    report = recover(path, tmp_path / "out.arrow")
    assert (report.offset, report.lost_bytes, report.reason) == (None, 0, "")
    assert read_rows(tmp_path / "out.arrow") == read_rows(path)
    assert check(tmp_path / "out.arrow").chain == check(path).chain


def test_recover_counts_what_stands_behind_the_damage(tmp_path: Path) -> None:
    """Whole batches behind a hole are not taken over, but the report says that they are there."""
    path = tmp_path / "a.arrow"
    _header_end, ends = _log_with_ends(path, messages=10, seed=16)
    content = bytearray(path.read_bytes())
    content[ends[3][0] + 700] ^= 4  # inside the fifth batch
    path.write_bytes(content)
    report = recover(path)
    assert (report.rows, report.offset, report.later_batches) == (ends[3][1], ends[3][0], 5)
    assert report.later_first_seq == ends[4][1]


def test_recover_reads_batches_behind_a_damaged_header(tmp_path: Path) -> None:
    """With the header gone, all rows are still saved, and the new file says that its header was lost."""
    path = make_log(tmp_path / "a.arrow", market(20, seed=17), sealed=True)
    rows = read_rows(path)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedLog, match="header cannot be trusted"):
        LogReader(path)
    report = recover(path)
    assert report.header_lost
    recovered = LogReader(Path(report.out))
    assert rows_of(recovered.batches()) == rows
    assert "header was lost" in recovered.header.note
