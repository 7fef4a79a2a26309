"""What is no log, each with its own sentence: where, what stands there, and what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import file_start
from engine.model.errors import DamagedLog, InputError
from engine.model.kinds import encode_canonical
from tests.helpers.logs import make_log, trade

TABLE = pa.table({"time": [1, 2], "price": [1.5, 2.5]})


def _arrow_file(path: Path) -> None:
    with pa.ipc.new_file(path, TABLE.schema) as file:
        file.write_table(TABLE)


def _arrow_stream(path: Path) -> None:
    with pa.ipc.new_stream(path, TABLE.schema) as file:
        file.write_table(TABLE)


def _newer(path: Path) -> None:
    header = msgspec.structs.replace(LogHeader(engine="9.1.0"), format=7)
    path.write_bytes(file_start(encode_canonical(header)))


def _cut_header(path: Path) -> None:
    path.write_bytes(file_start(encode_canonical(LogHeader()))[:40])


@pytest.mark.parametrize(
    ("make", "message", "hint"),
    [
        (lambda _path: None, "no such file", ""),
        (lambda path: path.mkdir(), "is a folder", "/*.arrow'"),
        (lambda path: path.touch(), "the file is empty", "begins with a header"),
        (lambda path: path.write_text("time,price\n"), "not an Arrow file, not a log", "engine log import"),
        (lambda path: pq.write_table(TABLE, path), "a Parquet file, not a log", "engine log import"),
        (lambda path: path.write_bytes(gzip.compress(b"x")), "a gzip file, not a log", "engine log import"),
        (_arrow_stream, "an Arrow stream, not a log file of this engine", "engine log import"),
        (
            _arrow_file,
            "an Arrow file, but not a log of this engine (columns time, price…)",
            "engine log import",
        ),
        (_newer, "log format 7; this engine reads up to 1", "engine 9.1.0 wrote it"),
        (_cut_header, "cut off before the end of its header (40 bytes)", "there is no row in it"),
    ],
    ids=["missing", "folder", "empty", "csv", "parquet", "gzip", "stream", "other", "newer", "cut"],
)
def test_what_is_no_log_is_named(
    tmp_path: Path, make: Callable[[Path], object], message: str, hint: str
) -> None:
    """Each mistake has its message, which begins with the file, and its hint."""
    path = tmp_path / "a.arrow"
    make(path)
    with pytest.raises(InputError) as caught:
        LogReader(path)
    assert not isinstance(caught.value, DamagedLog)
    assert caught.value.message == f"{path}: {message}"
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("at", "offset"), [(0, 0), (5, 0), (7, 0), (9, 8), (200, 8), (400, 8)])
def test_a_damaged_header_is_damage_of_a_log(tmp_path: Path, at: int, offset: int) -> None:
    """A log whose beginning changed is not taken for another program's file."""
    path = make_log(tmp_path / "a.arrow", [trade(1)])
    content = bytearray(path.read_bytes())
    content[at] ^= 8
    path.write_bytes(content)
    with pytest.raises(DamagedLog) as caught:
        LogReader(path)
    assert (caught.value.offset, caught.value.exit_code) == (offset, 3)
    assert f"damaged at byte {offset}" in caught.value.message


def test_a_column_that_a_log_does_not_have_is_named(tmp_path: Path) -> None:
    """Asking for an unknown column lists the known ones."""
    path = make_log(tmp_path / "a.arrow", [trade(1)])
    with pytest.raises(InputError, match="a log has no column volume") as caught:
        LogReader(path, ("price", "volume"))
    assert "ts_venue" in caught.value.hint


@pytest.mark.parametrize("sealed", [False, True], ids=["unsealed", "sealed"])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_only_the_columns_asked_for_are_there(tmp_path: Path, sealed: bool, prefetch: int) -> None:  # noqa: FBT001
    """A projection has its columns, None for the others, and the same values as a full read."""
    path = make_log(tmp_path / "a.arrow", [trade(i, price=i) for i in range(1, 50)], sealed=sealed)
    whole = [batch.price.tolist() for batch in LogReader(path).batches()]
    batches = list(LogReader(path, ("price", "flags")).batches(prefetch=prefetch))
    assert [batch.price.tolist() for batch in batches] == whole
    left_out = {name: getattr(batch, name) for batch in batches for name in ("ts", "wire", "data")}
    assert left_out == {"ts": None, "wire": None, "data": None}


@pytest.mark.parametrize("join_rows", [0, 1, 10, 10**6])
def test_joining_changes_no_row(tmp_path: Path, join_rows: int) -> None:
    """However small batches are joined, rows and their seq are the same."""
    path = make_log(tmp_path / "a.arrow", [trade(i, price=i) for i in range(1, 50)])
    seqs: list[int] = []
    prices: list[int] = []
    for batch in LogReader(path).batches(join_rows=join_rows):
        seqs += range(batch.first_seq, batch.first_seq + batch.count)
        prices += batch.price.tolist()
    assert seqs == list(range(53))
    assert prices == [0, 0, 0, *range(1, 50), 0]


def test_reading_ahead_hands_on_errors_and_can_be_left(tmp_path: Path) -> None:
    """The thread's error arrives behind the good batches, and a reader that stops early leaves no thread."""
    path = make_log(tmp_path / "a.arrow", [trade(i) for i in range(1, 200)], sealed=True)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    batches = LogReader(path).batches(prefetch=2)
    assert next(batches).count == 203
    with pytest.raises(DamagedLog):
        next(batches)
    left = LogReader(path).batches(prefetch=1, join_rows=0)
    next(left)
    left.close()  # type: ignore[attr-defined]  # a generator; joins its thread
