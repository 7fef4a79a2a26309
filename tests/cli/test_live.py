"""`engine live --paper` as a user meets it: processes, signals, and the same decisions afterwards."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import TimeInForce
from engine.log.journal import read_journal
from engine.log.reader import LogReader
from engine.log.segments import segment_order
from engine.model.kinds import Kind
from tests.helpers.command import call, local_venue, run_folders, running, until
from tests.helpers.rows import Row, rows_of_batch

BUSY = ("--strategy", str(Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"))
BOTH = ("--symbols", "BTCUSDT,ETHUSDT")
ENDED = {JournalKind.FILL, JournalKind.CANCELLED, JournalKind.EXPIRED}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A local venue with an invented market, for all tests of this file."""
    with local_venue(tmp_path_factory.mktemp("venue")) as address:
        yield address


def decided(cwd: Path) -> list[dict[str, Any]]:
    """What the newest run below `cwd` has in its journal by now."""
    folders = run_folders(cwd)
    if not folders or not (folders[-1] / "journal.arrow").exists():
        return []
    return list(read_journal(folders[-1] / "journal.arrow").to_pylist())


def resting(records: list[dict[str, Any]]) -> set[int]:
    """Accepted limits far below the market that nothing has ended: the strategy only cancels sales."""
    ended = {r["order"] for r in records if r["kind"] in ENDED}
    return {
        r["order"]
        for r in records
        if r["kind"] == JournalKind.ACCEPTED and r["side"] > 0 and r["tif"] == TimeInForce.GTC and r["price"]
    } - ended


def read(path: Path) -> list[Row]:
    """Every row of a log."""
    with LogReader(path) as reader:
        return [row for batch in reader.batches() for row in rows_of_batch(batch)]


def assert_same_again(cwd: Path, result: dict[str, Any]) -> None:
    """`verify` says the same, and a backtest over the session's own log gives the same hash."""
    log = f"{result['run_dir']}/log.arrow"
    verified = call("verify", result["run_dir"], *BUSY, "--json", cwd=cwd).ok().json
    assert verified["same"]
    assert verified["finished"]
    assert verified["notes"] == []
    again = call("backtest", log, *BUSY, "--with-commands", "--runs", "again", "--json", cwd=cwd).ok().json
    assert again["journal_hash"] == result["journal_hash"] == verified["replayed_hash"]
    assert again["events"] == result["events"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_cleanly_and_its_log_gives_the_same_hash(
    number: signal.Signals, venue: str, tmp_path: Path
) -> None:
    """With orders open: they are cancelled, journaled, the log is sealed, exit 0, and a replay agrees."""
    with running("live", "--paper", *BOTH, "--url", venue, *BUSY, "--json", cwd=tmp_path) as session:
        until(
            lambda: len(decided(tmp_path)) > 60 and resting(decided(tmp_path)), "it decides, an order rests"
        )
        session.send(number)
        result = session.end().ok().json
    assert result["stopped_by"] == number.name
    assert result["orders"] > 10
    records = decided(tmp_path)
    log = tmp_path / result["run_dir"] / "log.arrow"
    rows = read(log)
    stop = next(row for row in rows if row.kind is Kind.COMMAND)
    assert stop.data == {"command": "stop", "reason": number.name}
    assert rows[-1].kind is Kind.END
    assert rows[-1].data == {"reason": number.name}
    at_the_stop = {r["order"] for r in records if r["kind"] == JournalKind.CANCEL and r["ts"] == stop.ts}
    ended = {r["order"] for r in records if r["kind"] == JournalKind.CANCELLED and r["ts"] > stop.ts}
    assert at_the_stop & ended, "a resting order was open"
    assert not [r for r in records if r["kind"] == JournalKind.SUBMIT and r["ts"] > stop.ts]
    with LogReader(log) as reader:
        assert reader.sealed
    assert_same_again(tmp_path, result)


@pytest.mark.parametrize("ended_by", ["recorder", "SIGINT"])
def test_a_session_that_follows_a_recording(ended_by: str, venue: str, tmp_path: Path) -> None:
    """Across rotations, its log has the recorder's rows in their order, and gives the same hash."""
    rotation = ("--rotate", "150KB", "--to", "recordings", "--json")
    with running("record", *BOTH, "--url", venue, *rotation, cwd=tmp_path) as recorder:
        until(lambda: segments(tmp_path), "it records")
        first = segments(tmp_path)[0]
        live = ("live", "--paper", "--tail", first, *BUSY, "--json")
        with running(*live, cwd=tmp_path) as session:
            until(lambda: len(decided(tmp_path)) > 60 and len(segments(tmp_path)) > 3, "it follows")
            (session if ended_by == "SIGINT" else recorder).send(signal.SIGINT)
            result = session.end().ok().json
        recorder.send(signal.SIGINT)
        recorded = recorder.end().ok().json
    assert result["stopped_by"] == ("SIGINT" if ended_by == "SIGINT" else "the followed log ended")
    followed = [row for row in read(tmp_path / result["run_dir"] / "log.arrow") if not of_the_session(row)]
    original = [
        row for name in recorded["files"] for row in read(tmp_path / name) if row.kind is not Kind.END
    ]
    assert followed == original[: len(followed)]
    if ended_by == "recorder":
        assert len(followed) == len(original)
    assert_same_again(tmp_path, result)


def segments(cwd: Path) -> list[Path]:
    """The recording's files that hold something, in order."""
    files = [file for file in (cwd / "recordings").glob("*.arrow") if file.stat().st_size > 2_000]
    return sorted(files, key=segment_order)


def of_the_session(row: Row) -> bool:
    """Rows that a session adds to those that it follows."""
    return row.kind in {Kind.COMMAND, Kind.END}


def test_a_session_ends_by_itself(venue: str, tmp_path: Path) -> None:
    """`--for` is a stop like any other; the text names what ended it and what to do next."""
    live = ("live", "--paper", "--symbols", "BTCUSDT", "--url", venue, *BUSY, "--for", "500ms")
    done = call(*live, cwd=tmp_path).ok()
    (folder,) = run_folders(tmp_path)
    assert "stopped by   --for" in done.out
    assert done.out.endswith(f"next: engine verify runs/{folder.name}\n")
    assert sorted(file.name for file in folder.iterdir()) == [
        "journal.arrow",
        "log.arrow",
        "run.json",
        "summary.json",
    ]
    assert call("verify", folder, *BUSY, cwd=tmp_path).ok().out.startswith(f"runs/{folder.name}: the same")


def test_a_terminal_shows_one_line_that_goes_on(venue: str, tmp_path: Path) -> None:
    """Prices, position, P&L, lag, rate and gaps, rewritten in place on stderr."""
    ours, theirs = pty.openpty()
    command = ("live", "--paper", "--symbols", "BTCUSDT", "--url", venue)
    with running(*command, cwd=tmp_path, stderr=theirs) as session:
        os.close(theirs)
        shown = b""
        while shown.partition(b"BTCUSDT ")[2].count(b"messages/s") < 2:
            shown += os.read(ours, 4096)
        session.send(signal.SIGINT)
        done = session.end()
    os.close(ours)
    assert done.code == 0
    line = next(each for each in shown.split(b"\r\x1b[K") if b"BTCUSDT " in each).decode()
    for part in ("BTCUSDT ", "flat", "P&L ", "lag ", "messages/s", "gaps"):
        assert part in line
