"""The recorder into real files: nothing lost, nothing half, every segment complete in itself."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.live.clock import Sequencer
from engine.live.machine import BackOff
from engine.live.previous import last_segment
from engine.live.recorder import FREE_BYTES_MIN, Recorder, RecorderConfig, Summary
from engine.live.tap import TapConfig
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.errors import EngineError, VenueError
from engine.model.kinds import Flag, Kind
from engine.model.units import SECOND_NS
from tests.helpers.rows import Row, books_of, rows_of_batch, texts_of, wires
from tests.helpers.venue import FakeVenue

SOCKET = 1
LIMIT_S = 15.0
HOUR_NS = 3_600 * SECOND_NS
BOTH = ("BTCUSDT", "ETHUSDT")
Story = Callable[[FakeVenue, Recorder], Awaitable[None]]


def read(path: Path) -> list[Row]:
    """Every good row of a file, sealed or not."""
    with LogReader(path) as reader:
        return [row for batch in reader.batches() for row in rows_of_batch(batch)]


def config_of(venue: FakeVenue, folder: Path, **options: Any) -> RecorderConfig:
    options.setdefault("seal", False)
    options.setdefault("flush_ms", 1.0)
    tap = TapConfig(symbols=BOTH, url=venue.url, back_off=BackOff(base_s=0.01, cap_s=0.02))
    return RecorderConfig(taps=(tap,), folder=folder, **options)


def play(
    story: Story,
    folder: Path,
    *,
    sequencer: Sequencer | None = None,
    disk: Callable[[Path], tuple[int, int]] | None = None,
    venue: FakeVenue | None = None,
    **options: Any,
) -> tuple[Summary, FakeVenue, Recorder]:
    """Run a story with a venue and a recorder, stop it, and wait for what it started."""
    venue = venue or FakeVenue(seed=5)

    async def run() -> tuple[Summary, Recorder]:
        async with venue.running():
            recorder = Recorder(config_of(venue, folder, **options), sequencer=sequencer, disk=disk)
            recording = asyncio.ensure_future(recorder.record())
            try:
                await until(lambda: bool(recorder.files) or recording.done())
                await story(venue, recorder)
            finally:
                recorder.stop("SIGINT")
                async with asyncio.timeout(LIMIT_S):
                    await asyncio.wait((recording,))
                    await recorder.sealed()
            return recording.result(), recorder

    summary, recorder = asyncio.run(run())
    return summary, venue, recorder


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, giving the event loop its turns."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  conditions on files have no event
            await asyncio.sleep(0.001)


async def in_step(venue: FakeVenue, recorder: Recorder) -> None:
    """Send depth updates until both books are synchronised."""
    await until(lambda: recorder.tally.events["subscribed"] > 0)
    for symbol in BOTH:
        await venue.send(venue.depth(symbol))
    await until(lambda: all(recorder.intake.synchronised(symbol) for symbol in BOTH))


async def market(venue: FakeVenue, recorder: Recorder, count: int = 20) -> None:
    """Some of everything, and wait until it has been received."""
    for _ in range(count):
        for symbol in BOTH:
            await venue.send(venue.trade(symbol), venue.depth(symbol), venue.quote(symbol))
    await until(lambda: recorder.intake.frames == len(venue.sent))


def assert_book_is(rows: list[Row], venue: FakeVenue) -> None:
    books = books_of(rows)
    for number, symbol in enumerate(BOTH, start=1):
        for side, expected in zip(books[number], venue.book(symbol), strict=True):
            assert texts_of(side, 2, 5) == {float(p): float(s) for p, s in expected.items()}, symbol


def test_a_recording_holds_everything_that_was_sent(tmp_path: Path) -> None:
    """The file's frames are the venue's list; header first, END last, times strictly increasing."""

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await in_step(venue, recorder)
        await market(venue, recorder)

    summary, venue, recorder = play(story, tmp_path / "new" / "folder", seal=True)
    (path,) = recorder.files
    rows = read(path)
    assert wires(rows, SOCKET) == venue.sent
    assert rows[0].kind is Kind.SOURCE
    assert (rows[-1].kind, rows[-1].data) == (Kind.END, {"reason": "SIGINT"})
    lasts = [row.ts for row in rows if row.flags & Flag.LAST]
    assert all(a < b for a, b in itertools.pairwise(lasts))
    assert_book_is(rows, venue)
    assert (summary.rows, summary.messages) == (len(rows), len(lasts))
    assert summary.kinds["trade"] == 40
    assert summary.reason == "SIGINT"
    with LogReader(path) as reader:
        assert reader.sealed
        assert (reader.header.venues, reader.header.segment) == (("binance",), 1)


def test_rows_are_in_the_file_soon_after_they_arrive(tmp_path: Path) -> None:
    """While the recording runs, another reader finds the rows without anybody stopping it."""

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await venue.send(venue.trade("BTCUSDT"))
        await until(lambda: wires(read(recorder.files[0]), SOCKET) == venue.sent)

    play(story, tmp_path)


def test_silence_is_written_as_clock_rows(tmp_path: Path) -> None:
    """When nothing arrives for 100 ms a CLOCK row says how late it is, again and again."""

    async def story(_venue: FakeVenue, recorder: Recorder) -> None:
        await until(lambda: recorder.tally.kinds.get("clock", 0) >= 2)

    _, _, recorder = play(story, tmp_path)
    rows = read(recorder.files[0])
    for before, row in itertools.pairwise(rows):
        if row.kind is Kind.CLOCK:
            assert row.ts - before.ts >= 100_000_000
            assert (row.source, row.data, row.wire) == (0, {}, None)


def test_a_disconnect_in_the_middle_is_accounted_for(tmp_path: Path) -> None:
    """Connection cut: rows for it, a resync, and the file's frames and book are still the venue's."""

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await in_step(venue, recorder)
        await market(venue, recorder)
        await venue.drop()
        await venue.connected(2)
        await until(lambda: recorder.tally.events["subscribed"] == 2)
        for symbol in BOTH:
            await venue.send(venue.depth(symbol, skip=5))
        await until(lambda: all(recorder.intake.synchronised(symbol) for symbol in BOTH))
        await market(venue, recorder)

    summary, venue, recorder = play(story, tmp_path)
    rows = read(recorder.files[0])
    assert wires(rows, SOCKET) == venue.sent
    assert_book_is(rows, venue)
    assert summary.events["disconnected"] == 2, "the cut, and its own end"
    assert (summary.disconnects, summary.gaps) == (1, 2)
    assert summary.events["synchronised"] == 4


def strip(rows: list[Row]) -> list[Row]:
    """Without what a rotation adds: header, carried books, END."""
    return [
        row
        for row in rows
        if row.kind not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END, Kind.CLOCK}
        and not (row.kind is Kind.BOOK and row.source == 0)
    ]


def test_segments_are_complete_alone_and_together(tmp_path: Path) -> None:
    """Rotated by size: each segment alone gives the book at its end; all together hold every frame once."""

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await in_step(venue, recorder)
        while len(recorder.files) < 4:
            await market(venue, recorder, 10)

    _, venue, recorder = play(story, tmp_path, rotate="20KB")
    assert len(recorder.files) >= 4
    whole: list[Row] = []
    previous: LogReader | None = None
    for number, path in enumerate(recorder.files, start=1):
        rows = read(path)
        reader = LogReader(path)
        assert reader.header.segment == number
        if previous is not None:
            assert reader.header.previous_file == previous.path.name
            assert reader.header.previous_chain == previous.chain_head
            assert [row.kind for row in rows[:8]] == [Kind.SOURCE] * 6 + [Kind.INSTRUMENT] * 2
            assert books_of(rows[:6] + [row for row in rows[6:] if row.source == 0]) == books_of(whole)
        assert all(a.ts <= b.ts for a, b in itertools.pairwise(rows))
        assert not whole or whole[-1].ts < rows[0].ts
        whole += strip(rows)
        assert books_of(rows) == books_of(whole)
        for _ in reader.batches():
            pass
        previous = reader
    assert wires(whole, SOCKET) == venue.sent
    assert_book_is(whole, venue)


def test_sealers_that_have_ended_are_taken_leave_of(tmp_path: Path) -> None:
    """A recorder that rotates for months leaves no zombie for each of its files."""
    first: subprocess.Popen[bytes]

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        nonlocal first
        await in_step(venue, recorder)
        while len(recorder.files) < 2:
            await market(venue, recorder, 10)
        first = recorder._sealing[0]
        await asyncio.to_thread(os.waitid, os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        assert first.returncode is None
        while len(recorder.files) < 3:
            await market(venue, recorder, 10)
        assert first.returncode == 0

    play(story, tmp_path, rotate="20KB", seal=True)


def test_a_book_out_of_step_is_not_carried(tmp_path: Path) -> None:
    """Rotated while a snapshot is outstanding: the next segment holds no picture until it arrives."""
    blocked = FakeVenue(seed=6)
    blocked.refuse_depth = [500] * 1_000

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await venue.send(venue.depth("BTCUSDT"), venue.depth("ETHUSDT"))
        while len(recorder.files) < 2:
            await market(venue, recorder, 5)
        rows = read(recorder.files[1])
        assert not any(row.kind is Kind.BOOK and row.source == 0 for row in rows)
        venue.refuse_depth = []
        await until(lambda: all(recorder.intake.synchronised(symbol) for symbol in BOTH))

    _, venue, recorder = play(story, tmp_path, rotate="20KB", venue=blocked)
    assert_book_is([row for path in recorder.files for row in read(path)], venue)


class Clocks:
    """A wall clock that a test sets, and a monotonic one that follows the event loop."""

    def __init__(self, wall_ns: int) -> None:
        self.wall_ns = wall_ns
        self.passed_ns = 0

    def wall(self) -> int:
        """The system clock."""
        return self.wall_ns

    def monotonic(self) -> int:
        """The clock that nobody sets; a microsecond passes with every look at it."""
        self.passed_ns += 1_000
        return self.passed_ns


def test_midnight_begins_a_new_file(tmp_path: Path) -> None:
    """Daily: a row that arrives after midnight UTC ends the day's file; each is named by its day."""
    clocks = Clocks(1_717_199_999 * SECOND_NS)  # 2024-05-31T23:59:59Z
    sequencer = Sequencer(wall=clocks.wall, monotonic=clocks.monotonic)

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await in_step(venue, recorder)
        clocks.passed_ns += SECOND_NS
        await market(venue, recorder)
        await until(lambda: len(recorder.files) == 2)

    _, _, recorder = play(story, tmp_path, sequencer=sequencer)
    assert [path.name for path in recorder.files] == ["2024-05-31.arrow", "2024-06-01.arrow"]
    assert read(recorder.files[0])[-1].data == {"reason": "rotation"}


def test_the_wall_clock_steps_an_hour_forward_and_back(tmp_path: Path) -> None:
    """While it records, somebody sets the system clock: ts strictly increases and the rows say so."""
    clocks = Clocks(1_717_200_000 * SECOND_NS)
    sequencer = Sequencer(wall=clocks.wall, monotonic=clocks.monotonic)

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        for step in (HOUR_NS, -2 * HOUR_NS, HOUR_NS):
            clocks.wall_ns += step
            clocks.passed_ns += SECOND_NS
            clocks.wall_ns += SECOND_NS
            await market(venue, recorder, 5)

    _, venue, recorder = play(story, tmp_path, sequencer=sequencer)
    rows = read(recorder.files[0])
    lasts = [row.ts for row in rows if row.flags & Flag.LAST]
    assert all(a < b for a, b in itertools.pairwise(lasts))
    assert max(b - a for a, b in itertools.pairwise(lasts)) < 2 * SECOND_NS
    assert [row.data.get("last", 0) for row in rows if row.event == "clock_offset"] == [2, 0]
    assert wires(rows, SOCKET) == venue.sent


def test_a_restart_continues_in_a_new_segment(tmp_path: Path) -> None:
    """The second recording of a day is .2, names the first's chain head, and says what was missed."""

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await market(venue, recorder, 3)

    _, _, first = play(story, tmp_path)
    assert not LogReader(first.files[0]).sealed
    _, _, second = play(story, tmp_path, seal=True)
    assert second.files[0].name == first.files[0].name.replace(".arrow", ".2.arrow")
    rows = read(second.files[0])
    header = LogReader(second.files[0]).header
    reader = LogReader(first.files[0])
    last_ts = [row.ts for batch in reader.batches() for row in rows_of_batch(batch)][-1]
    assert (header.segment, header.previous_file) == (2, first.files[0].name)
    assert header.previous_chain == reader.chain_head
    assert reader.sealed, "what the first left unsealed is sealed by the second"
    assert rows[0].ts > last_ts
    interruption = next(row for row in rows if row.kind is Kind.STATUS)
    assert (interruption.event, interruption.data["first"]) == ("disconnected", last_ts)


def written(path: Path, header: LogHeader) -> LogWriter:
    writer = LogWriter(path, header)
    writer.rows.append(7, Kind.CLOCK, flags=int(Flag.LAST))
    writer.flush()
    return writer


def test_only_ones_own_segments_are_continued(tmp_path: Path) -> None:
    """Another venue's, a synthetic one, one that is being written, and no log at all are passed over."""
    own = LogHeader(venues=("binance",), created="2024-06-01T00:00:00Z")
    for name in ("2024-06-01.arrow", "2024-06-01.2.arrow", "2024-06-01.10.arrow"):
        written(tmp_path / name, own).close(reason="test", ts=8)
    written(tmp_path / "2024-06-02.arrow", LogHeader(venues=("kraken",), created=own.created)).close(
        reason="test", ts=8
    )
    written(tmp_path / "2024-06-03.arrow", msgspec.structs.replace(own, note="synthetic")).close(
        reason="test", ts=8
    )
    (tmp_path / "2024-06-04.arrow").write_bytes(b"no log")
    busy = written(tmp_path / "2024-06-05.arrow", own)
    written(tmp_path / "other.arrow", own).close(reason="test", ts=8)
    segment = last_segment(tmp_path, ("binance",))
    busy.abandon()
    assert segment is not None
    assert (segment.end.path.name, segment.last_ts, segment.whole, segment.sealed) == (
        "2024-06-01.10.arrow",
        8,
        True,
        False,
    )
    assert last_segment(tmp_path / "absent", ("binance",)) is None


def test_low_space_is_a_row_and_the_last_of_it_ends_the_recording(tmp_path: Path) -> None:
    """Under 10 % free: one STATUS row. Under the minimum: END, whole file, and an error that says why."""
    free = [5 << 30]

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await market(venue, recorder, 3)
        await until(lambda: recorder.tally.events["disk_low"] == 1)
        free[0] = FREE_BYTES_MIN - 1
        recorder._watch_disk_now()
        async with asyncio.timeout(LIMIT_S):
            await recorder._ended.wait()

    with pytest.raises(EngineError, match="63 MB free of 100 GB: the recording ended before") as caught:
        play(story, tmp_path, disk=lambda _folder: (100 << 30, free[0]), seal=True)
    assert "make room" in caught.value.hint
    (path,) = tmp_path.glob("*.arrow")
    rows = read(path)
    assert (rows[-1].kind, rows[-1].data) == (Kind.END, {"reason": "error"})
    assert [row.event for row in rows].count("disk_low") == 1
    assert not LogReader(path).sealed, "sealing needs room as well"


def test_a_full_disk_is_named_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes half of a batch and then no more: the error names file and byte, the rest is good."""
    real_write = os.write
    room = [0]

    def write(handle: int, content: bytes) -> int:
        if len(content) <= room[0] or not room[0]:
            return real_write(handle, content)
        if room[0] < 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real_write(handle, bytes(content)[: room[0]])
        room[0] = 1
        return taken

    async def story(venue: FakeVenue, recorder: Recorder) -> None:
        await market(venue, recorder, 3)
        await until(lambda: not recorder._rows.count)
        room[0] = 100
        await venue.send(venue.trade("BTCUSDT"))
        async with asyncio.timeout(LIMIT_S):
            await recorder._ended.wait()

    monkeypatch.setattr("engine.log.writer.os.write", write)
    with pytest.raises(EngineError, match=r"\.arrow: No space left on device at byte \d+") as caught:
        play(story, tmp_path)
    monkeypatch.undo()
    assert caught.value.exit_code == 1
    (path,) = tmp_path.glob("*.arrow")
    assert sum(row.kind is Kind.TRADE for row in read(path)) == 6


def test_it_ends_by_itself_when_asked_to(tmp_path: Path) -> None:
    """`--for`: the END row names it."""

    async def story(_venue: FakeVenue, recorder: Recorder) -> None:
        async with asyncio.timeout(LIMIT_S):
            await recorder._ended.wait()

    summary, _, recorder = play(story, tmp_path, duration_s=0.05)
    assert summary.reason == "--for"
    assert read(recorder.files[0])[-1].data == {"reason": "--for"}


def test_no_file_is_begun_before_the_venue_is_reached(tmp_path: Path) -> None:
    """An unreachable venue leaves nothing behind, not even the folder."""
    folder = tmp_path / "recordings"
    config = RecorderConfig(taps=(TapConfig(symbols=BOTH, url="ws://127.0.0.1:1"),), folder=folder)
    with pytest.raises(VenueError, match=r"127\.0\.0\.1:1/"):
        asyncio.run(Recorder(config).record())
    assert not folder.exists()


def test_a_stop_before_the_first_contact_is_no_error(tmp_path: Path) -> None:
    """Ctrl-C while the venue has not answered: an empty summary, no file."""

    async def run() -> Summary:
        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            tap = TapConfig(symbols=BOTH, url=f"ws://127.0.0.1:{port}")
            recorder = Recorder(RecorderConfig(taps=(tap,), folder=tmp_path))
            recording = asyncio.ensure_future(recorder.record())
            asyncio.get_running_loop().call_later(0.05, recorder.stop, "SIGINT")
            async with asyncio.timeout(LIMIT_S):
                return await recording

    summary = asyncio.run(run())
    assert (summary.files, summary.rows, summary.reason) == ((), 0, "SIGINT")
