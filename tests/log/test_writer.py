"""The writer: what it puts on disk, and when it refuses."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from engine.log.reader import LogReader
from engine.log.schema import Chain, LogHeader
from engine.log.writer import LogWriter
from engine.model.errors import InternalError, UsageError
from engine.model.kinds import Kind
from tests.helpers.logs import at, make_log, market, read_rows, rows_of, trade, write_log


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Rows come back as they were appended, texts, nulls and all."""
    path = tmp_path / "a.arrow"
    writer = LogWriter(path, LogHeader(note="n"))
    written = []
    for message in market(200, seed=1):
        message.append_to(writer.rows)
        written.append(writer.flush())
    writer.abandon()
    reader = LogReader(path)
    assert rows_of(reader.batches()) == rows_of([b for b in written if b])
    assert (reader.tail, reader.next_seq, reader.header.note) == ("", writer.seq, "n")


def test_what_takes_long_can_be_loaded_ahead(tmp_path: Path) -> None:
    """After `prepare` the first file imports nothing: by then a recorder has its sockets open."""
    code = (
        "import sys; from pathlib import Path; from engine.log.schema import LogHeader;"
        "from engine.log.writer import LogWriter, prepare; prepare(); before = set(sys.modules);"
        "writer = LogWriter(Path(sys.argv[1]), LogHeader(engine='x'));"
        "writer.rows.append(1, 50, flags=1); writer.flush(); writer.abandon();"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.arrow")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_other_arrow_programs_read_it(tmp_path: Path) -> None:
    """Arrow's own stream reader, behind the 8 magic bytes, sees the same rows and the batches' metadata."""
    path = make_log(tmp_path / "a.arrow", market(50, seed=2))
    with path.open("rb") as file:
        assert file.read(8) == b"ARROW1\0\0"
        table = pa.ipc.open_stream(file).read_all()
    table.validate(full=True)
    assert table["seq"].to_pylist() == list(range(table.num_rows))
    assert table["price"].to_pylist() == [row[8] for row in read_rows(path)]


@pytest.mark.parametrize("per_batch", [1, 7, 1000])
def test_the_chain_does_not_depend_on_batches(tmp_path: Path, per_batch: int) -> None:
    """The same rows in other batches have the same chain head."""
    one = write_log(tmp_path / "one.arrow", market(100, seed=3))
    other = write_log(tmp_path / "other.arrow", market(100, seed=3), per_batch=per_batch)
    assert other.chain_head == one.chain_head != Chain().head()
    one.abandon()
    other.abandon()


def test_a_file_has_its_header_from_the_first_moment(tmp_path: Path) -> None:
    """Killed before it has a name, a writer leaves no log; the next one of that name is not in its way."""
    program = (
        "import os, signal\nfrom pathlib import Path\nfrom tests.helpers.logs import make_log\n"
        "os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"make_log(Path({str(tmp_path)!r}) / 'a.arrow', [])"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not list(tmp_path.glob("*.arrow"))
    assert make_log(tmp_path / "a.arrow", [trade(1)]).exists()


def test_without_links_a_file_gets_its_name_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never that of another one."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    path = make_log(tmp_path / "a.arrow", [trade(1)])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(UsageError, match=r"a\.arrow: exists already"):
        make_log(path, [trade(2)])


def test_an_existing_file_is_never_touched(tmp_path: Path) -> None:
    """A writer on a file that exists is refused, and the file stays as it was."""
    path = make_log(tmp_path / "a.arrow", [trade(1)])
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"a\.arrow: exists already"):
        LogWriter(path, LogHeader())
    assert path.read_bytes() == before


def test_flush_of_nothing_writes_nothing(tmp_path: Path) -> None:
    """An empty flush returns None and leaves the file alone."""
    with LogWriter(tmp_path / "a.arrow", LogHeader()) as writer:
        size = writer.bytes_written
        assert writer.flush() is None
        assert (tmp_path / "a.arrow").stat().st_size == size == writer.bytes_written


def test_half_a_message_is_refused(tmp_path: Path) -> None:
    """A batch that does not end with LAST is a bug of the caller, and says so."""
    with LogWriter(tmp_path / "a.arrow", LogHeader()) as writer:
        writer.rows.append(at(1), Kind.TRADE)
        with pytest.raises(InternalError, match="row 0 has no LAST"):
            writer.flush()


def test_close_ends_with_an_end_row(tmp_path: Path) -> None:
    """The last row of a closed log is END with its reason; closing again changes nothing."""
    writer = write_log(tmp_path / "a.arrow", [trade(1)])
    writer.close(reason="operator", ts=at(2))
    writer.close(reason="again", ts=at(3))
    last = read_rows(tmp_path / "a.arrow")[-1]
    assert (last[3], last[11]) == (Kind.END, b'{"reason":"operator"}')
