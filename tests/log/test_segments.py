"""Segments: names, rotation, and what belongs together."""

from __future__ import annotations

import shutil
from itertools import count, pairwise
from pathlib import Path

import pytest

from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.segments import Rotation, expand, free_space, next_path
from engine.log.writer import LogWriter
from engine.model.errors import InputError, UsageError
from engine.model.rows import RowBuffer
from engine.model.units import parse_time
from tests.helpers.logs import definitions, make_log, read_rows, trade
from tests.helpers.segment_writer import SegmentWriter, end_of, latest_end

NOON = parse_time("2024-06-01T13:45:30Z")


@pytest.mark.parametrize(
    ("rotation", "name"),
    [
        ("daily", "2024-06-01.arrow"),
        ("1d", "2024-06-01.arrow"),
        ("1GB", "2024-06-01.arrow"),
        ("1h", "2024-06-01T13.arrow"),
        ("hourly", "2024-06-01T13.arrow"),
        ("6h", "2024-06-01T12.arrow"),
        ("30m", "2024-06-01T1330.arrow"),
        ("10s,1MB", "2024-06-01T134530.arrow"),
    ],
)
def test_a_segment_is_named_after_its_period(tmp_path: Path, rotation: str, name: str) -> None:
    """The name says the period in UTC; a size alone keeps the day."""
    assert next_path(tmp_path, NOON, Rotation.parse(rotation)).name == name


@pytest.mark.parametrize("text", ["", "often", "0h", "7h", "1 fortnight", "-1h", "1.5h", "GB"])
def test_no_rotation_is_named(text: str) -> None:
    """What is no rotation is refused, with how to write one."""
    with pytest.raises(UsageError) as caught:
        Rotation.parse(text)
    assert caught.value.hint


def test_names_count_up_and_never_reuse(tmp_path: Path) -> None:
    """A restart goes behind the highest number, also when a lower one is missing or unfinished."""
    for name, expected in (
        ("2024-06-01.arrow", "2024-06-01.2.arrow"),
        ("2024-06-01.9.arrow", "2024-06-01.10.arrow"),
        ("2024-06-01.10.arrow.tmp", "2024-06-01.11.arrow"),
        ("2024-06-01T13.arrow", "2024-06-01.11.arrow"),
        ("2024-06-02.arrow", "2024-06-01.11.arrow"),
        ("2024-06-01.recovered.arrow", "2024-06-01.11.arrow"),
    ):
        (tmp_path / name).touch()
        assert next_path(tmp_path, NOON).name == expected, name


@pytest.mark.parametrize(
    ("rotation", "after", "size", "due"),
    [
        ("1h", "2024-06-01T13:59:59.999999999Z", 0, False),
        ("1h", "2024-06-01T14:00:00Z", 0, True),
        ("daily", "2024-06-01T23:59:59Z", 10**12, False),
        ("daily", "2024-06-02T00:00:00Z", 0, True),
        ("1MB", "2024-06-01T13:46:00Z", 999_999, False),
        ("1MB", "2024-06-01T13:46:00Z", 1_000_000, True),
        ("1h,1MB", "2024-06-01T13:46:00Z", 1_000_000, True),
    ],
)
def test_a_file_ends_with_its_period_or_its_size(rotation: str, after: str, size: int, due: bool) -> None:  # noqa: FBT001
    """The next file begins at the period's end or when the size is reached, whichever comes first."""
    assert Rotation.parse(rotation).is_due(NOON, parse_time(after), size) is due


def _recording(folder: Path, **options: object) -> SegmentWriter:
    clock = count(NOON, 1000)

    def define(rows: RowBuffer) -> None:
        for message in definitions():
            type(message)(next(clock), message.rows).append_to(rows)

    header = LogHeader(venues=("binance",))
    return SegmentWriter(folder, header, stamp=lambda: next(clock), define=define, **options)  # type: ignore[arg-type]


def _append(recording: SegmentWriter, number: int) -> None:
    message = trade(0, price=number)
    type(message)(recording._stamp(), message.rows).append_to(recording.rows)


def test_rotation_goes_on_with_the_chain(tmp_path: Path) -> None:
    """Each segment names the one before and its chain head, begins with definitions and loses no row."""
    closed: list[Path] = []
    recording = _recording(tmp_path, rotation=Rotation.parse("10KB"), closed=closed.append)
    for number in range(60):
        _append(recording, number)
        if number % 3:  # rotation may find rows that were not flushed yet
            recording.flush()
        recording.rotate_if_due(recording._stamp())
    recording.close(reason="test", ts=recording._stamp())
    paths = expand([str(tmp_path / "*.arrow")])
    assert len(paths) > 3
    assert closed == paths[:-1]
    prices = [row[8] for path in paths for row in read_rows(path) if row[3] == 1]
    assert prices == list(range(60))
    for before, after in pairwise(paths):
        header = LogReader(after).header
        assert (header.previous_file, header.previous_chain) == (before.name, end_of(before).chain)
        assert header.segment == LogReader(before).header.segment + 1
    assert all(check(path).ok and check(path).ended for path in paths)


def test_a_restart_goes_on_behind_a_torn_file(tmp_path: Path) -> None:
    """After a kill the next segment names the chain of the last whole batch, not of the torn one."""
    path = make_log(tmp_path / "2024-06-01.arrow", [trade(1), trade(2)], end=False)
    good = end_of(path)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x00")
    end = latest_end(tmp_path)
    assert end == good
    recording = _recording(tmp_path, previous=end)
    assert recording.path.name == "2024-06-01.2.arrow"
    header = LogReader(recording.path).header
    assert (header.previous_file, header.previous_chain, header.segment) == (path.name, good.chain, 2)
    recording.close(reason="test", ts=recording._stamp())
    assert check(recording.path).ok


def test_a_file_without_header_has_no_successor(tmp_path: Path) -> None:
    """A writer killed before its header was written leaves a file that a restart passes over."""
    assert latest_end(tmp_path) is None
    path = make_log(tmp_path / "2024-06-01.arrow", [trade(1)])
    (tmp_path / "2024-06-01.2.arrow").touch()
    assert latest_end(tmp_path) == end_of(path)
    assert next_path(tmp_path, NOON).name == "2024-06-01.3.arrow"


def test_the_chain_head_of_a_segment_depends_on_the_one_before(tmp_path: Path) -> None:
    """The same rows behind another predecessor are another chain."""
    heads = set()
    for i, previous in enumerate(("", "00" * 32, "01" * 32)):
        with LogWriter(tmp_path / f"{i}.arrow", LogHeader(previous_chain=previous)) as writer:
            trade(1).append_to(writer.rows)
            writer.flush()
            heads.add(writer.chain_head)
    assert len(heads) == 3


def test_patterns_expand_in_the_order_of_segments(tmp_path: Path) -> None:
    """9 comes before 10, days in order, other files are left out."""
    names = ["2024-06-01.arrow", "2024-06-01.2.arrow", "2024-06-01.10.arrow", "2024-06-02.arrow"]
    for name in (*reversed(names), "notes.txt", "2024-06-02.arrow.tmp"):
        (tmp_path / name).touch()
    assert [path.name for path in expand([str(tmp_path / "*")])] == names
    assert expand(["none.arrow"]) == [Path("none.arrow")]


def test_a_recording_named_twice_is_refused(tmp_path: Path) -> None:
    """The same rows twice, as a file and its pattern or as a recovered copy, would count double."""
    path = tmp_path / "2024-06-01.arrow"
    path.touch()
    with pytest.raises(InputError, match="named twice"):
        expand([str(path), str(tmp_path / "*.arrow")])
    (tmp_path / "2024-06-01.recovered.arrow").touch()
    with pytest.raises(InputError, match=r"recovered\.arrow: its rows are named twice"):
        expand([str(tmp_path / "*.arrow")])


def test_a_pattern_without_match_is_named(tmp_path: Path) -> None:
    """A pattern that finds nothing says so instead of running on nothing."""
    with pytest.raises(InputError, match="matches no log"):
        expand([str(tmp_path / "*.arrow")])


@pytest.mark.parametrize(("free", "level"), [(50, "ok"), (10, "ok"), (9, "warn"), (2, "warn"), (1, "stop")])
def test_free_space_has_two_thresholds(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    """A warning below 10 % of the disk, a stop below 2 %."""
    usage = type("usage", (), {"total": 100, "free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    assert free_space(Path()).level == level
