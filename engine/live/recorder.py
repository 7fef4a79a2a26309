"""The recorder: what a venue and feeds bring, into log files, for as long as one lets it.

What it promises:

- every row that a flush has taken is with the operating system (with `fsync`: on the disk). Flushes are
  coalesced: at most `flush_ms` after a row, sooner when `FLUSH_ROWS` rows stand ready;
- a file explains itself: header rows first, then, in a later segment, the books as they stand
  (engine.live.carry);
- when 100 ms pass without a row, a CLOCK row says so;
- no file is begun before the venue and each feed have been reached;
- finished segments are sealed by a process of low priority, so recording never waits for it. What an earlier
  recorder left unsealed, because it was killed, is sealed as well, if nothing in it is torn;
- it ends cleanly before the disk is full: a warning row at 10 % free, the end at `FREE_BYTES_MIN`.

A recorder that is started again never appends: it begins the next segment, whose header names the chain
head of the one before and whose first STATUS row says since when nothing was recorded. Headlines of that one
that are still shown are not written again.

A rotation happens between two turns of the event loop, so a segment may hold a few rows of the first
milliseconds after its time was up. The rows' times are what counts, never the file's name.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine import __version__
from engine.live.carry import BookCarry
from engine.live.ccxt_feed import CcxtConfig
from engine.live.clock import Sequencer
from engine.live.intake import Intake
from engine.live.lags import Lags
from engine.live.poller import PollConfig
from engine.live.previous import Segment, last_segment
from engine.live.tally import Tally
from engine.live.tap import TapConfig
from engine.log.schema import LogHeader
from engine.log.seal import seal_in_background
from engine.log.segments import ROTATION, WARN_FREE, End, Rotation, following, next_path
from engine.log.writer import LogWriter
from engine.model.errors import EngineError
from engine.model.kinds import Flag, Kind, StatusData
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS, SECOND_NS, format_time

FLUSH_ROWS = 4_096
CLOCK_NS = 100 * MILLISECOND_NS
DISK_CHECK_S = 1.0
FREE_BYTES_MIN = 64 << 20


class RecorderConfig(msgspec.Struct, frozen=True):
    """What to record, where to, and how carefully."""

    folder: Path
    taps: tuple[TapConfig, ...] = ()  # venues' streams
    feeds: tuple[PollConfig | CcxtConfig, ...] = ()  # beside them, or alone
    rotate: str = "daily"
    flush_ms: float = 20.0  # 0: after every turn of the event loop
    fsync: bool = False
    seal: bool = True
    duration_s: float = 0.0  # 0: until stopped


class Summary(msgspec.Struct, frozen=True):
    """What a recording came to."""

    reason: str  # why it ended
    files: tuple[str, ...]
    rows: int
    messages: int
    frames: int
    seconds: float
    bytes: int
    kinds: dict[str, int]
    events: dict[str, int]
    gaps: int
    disconnects: int
    last_prices: dict[str, str]
    lag_p50_ns: int  # from a row's receipt until it is with the operating system, for each flush its oldest
    lag_p99_ns: int
    most_waiting_bytes: int  # received and unread, the most that was seen at a second's turn


class Recorder:
    """One recording, from the first contact to the last seal."""

    def __init__(
        self,
        config: RecorderConfig,
        *,
        sequencer: Sequencer | None = None,
        disk: Callable[[Path], tuple[int, int]] | None = None,
    ) -> None:
        """`disk`: total and free bytes of a folder's disk. Raises UsageError for what cannot be."""
        self.config = config
        self.rotation = Rotation.parse(config.rotate)
        self.tally = Tally()
        self.lags = Lags()
        self.files: list[Path] = []
        self._disk = disk or _disk
        self._rows = RowBuffer()
        self._sequencer = sequencer or Sequencer()
        self.intake = Intake(config.taps, config.feeds, self._sequencer, self._rows, self._on_rows)
        self._before = last_segment(config.folder, self.intake.names)
        if self._before is not None:
            self.intake.remember(self._before.end.path)
            if sequencer is None:
                self._sequencer.last = self._before.last_ts
        self._carry = BookCarry()
        self._writer: LogWriter | None = None
        self._segment_began = 0
        self._flush_timer: asyncio.TimerHandle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sealing: list[subprocess.Popen[bytes]] = []
        self._bytes_closed = 0
        self._began = 0
        self._reason = ""
        self._failure: Exception | None = None
        self._ended = asyncio.Event()
        self._warned = False

    @property
    def seconds(self) -> float:
        """How long it has been recording, by its own time."""
        return (self._sequencer.last - self._began) / SECOND_NS if self.files else 0.0

    @property
    def bytes_written(self) -> int:
        """Bytes of all files so far, before sealing."""
        return self._bytes_closed + (self._writer.bytes_written if self._writer else 0)

    def stop(self, reason: str) -> None:
        """End the recording; the first reason counts. Safe at any time, also before the start."""
        self._reason = self._reason or reason
        self._ended.set()

    async def record(self) -> Summary:
        """Record until `stop`, the end of `duration_s`, or an error.

        Raises VenueError and UsageError when nothing could be begun, EngineError when a file cannot be
        written or the disk runs full; by then everything that was taken is in the files.
        """
        if self._before is not None:
            self.intake.opening = (_interruption(self._before),)
        if not await self._start_intake():
            return self.summary()
        try:
            self._begin()
            await self._until_ended()
        except EngineError as error:
            self._failure = self._failure or error
        finally:
            await self._finish()
        if self._failure is not None:
            raise self._failure
        return self.summary()

    def summary(self) -> Summary:
        """What the recording has come to by now."""
        return Summary(
            reason=self._reason,
            files=tuple(str(path) for path in self.files),
            rows=self.tally.rows,
            messages=self.tally.messages,
            frames=self.intake.frames,
            seconds=round(self.seconds, 3),
            bytes=self.bytes_written,
            kinds=self.tally.kinds,
            events=dict(sorted(self.tally.events.items())),
            gaps=self.tally.events["gap"],
            disconnects=self.tally.disconnects,
            last_prices=self.tally.last_prices,
            lag_p50_ns=self.lags.quantile(0.50),
            lag_p99_ns=self.lags.quantile(0.99),
            most_waiting_bytes=self.intake.most_waiting_bytes,
        )

    async def sealed(self) -> bool:
        """Wait for the sealing processes; whether there were any and all of them succeeded."""
        codes = [await asyncio.to_thread(process.wait) for process in self._sealing]
        return bool(codes) and not any(codes)

    async def _start_intake(self) -> bool:
        """The first contact; False when a stop cut it short, before anything had been taken in."""
        starting = asyncio.ensure_future(self.intake.start())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
        if starting.cancelled():
            return False
        starting.result()
        return True

    def _begin(self) -> None:
        before = self._before
        self._began = self._sequencer.now()  # not before: how long a venue takes to answer is not ours
        self._open(None if before is None else before.end)
        if before is not None and not before.sealed and before.whole and self.config.seal:
            self._sealing.append(seal_in_background(before.end.path))
        self._every("clock", CLOCK_NS / SECOND_NS, self._clock)
        self._every("disk", 0.0, self._watch_disk)
        if self.config.duration_s:
            self._every("duration", self.config.duration_s, lambda: self.stop("--for"))
        self._on_rows()

    async def _until_ended(self) -> None:
        running = asyncio.ensure_future(self.intake.run())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        await self.intake.stop()
        await running

    async def _finish(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        await self.intake.stop()
        writer = self._writer
        if writer is None:
            return
        try:
            self._flush()
            self._close(self._reason or "error")
        except EngineError as error:
            self._failure = self._failure or error
            writer.abandon()

    def _on_rows(self) -> None:
        """Rows are ready: flush now, or soon."""
        writer = self._writer
        if writer is None or self._failure is not None:
            return
        if self.rotation.is_due(self._segment_began, self._sequencer.last, writer.bytes_written):
            self._guarded(self._rotate)
        elif self._rows.count >= FLUSH_ROWS or self.config.flush_ms <= 0:
            self._guarded(self._flush)
        elif self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(self.config.flush_ms / 1_000, self._guarded, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        assert self._writer is not None
        self.intake.judge()
        batch = self._writer.flush()
        if batch is not None:
            self.lags.take(self._sequencer.now() - int(batch.ts[0]))
            self.tally.take(batch)
            self._carry.take(batch)

    def _rotate(self) -> None:
        """End this segment and begin the next one, which can be run alone."""
        self._flush()
        ended = self._writer
        assert ended is not None
        self._close(ROTATION)
        self._open(End(ended.path, ended.header, ended.seq, ended.chain_head))
        self.intake.header()
        self._carry.append(self._rows, self._sequencer.stamp)
        self._flush()

    def _open(self, before: End | None) -> None:
        """Begin a segment, after `before` if there is one."""
        ts = self._sequencer.now()
        header = LogHeader(engine=__version__, created=format_time(ts), venues=self.intake.names)
        if before is not None:
            header = following(header, before)
        path = next_path(self.config.folder, ts, self.rotation)
        self._writer = LogWriter(path, header, fsync=self.config.fsync)
        self._writer.rows = self._rows  # one buffer for all segments: the parser's path stays bound to it
        self._segment_began = ts
        self.files.append(path)

    def _close(self, reason: str) -> None:
        writer = self._writer
        assert writer is not None
        writer.close(reason=reason, ts=self._sequencer.stamp())
        self._bytes_closed += writer.bytes_written
        self._writer = None
        self.tally.end()
        if self.config.seal and self._failure is None:  # sealing needs room, which may be what is missing
            for process in self._sealing:
                process.poll()  # who has ended stays a zombie until somebody asks
            self._sealing.append(seal_in_background(writer.path))

    def _clock(self) -> None:
        """Append CLOCK when nothing else has come for 100 ms."""
        waited = self._sequencer.now() - self._sequencer.last
        if waited >= CLOCK_NS:
            self._rows.append(self._sequencer.stamp(), Kind.CLOCK, flags=int(Flag.LAST))
            self.intake.note_clock()
            self._on_rows()
            waited = 0
        self._every("clock", (CLOCK_NS - waited) / SECOND_NS, self._clock)

    def _watch_disk_now(self) -> None:
        self._timers["disk"].cancel()
        self._guarded(self._watch_disk)

    def _watch_disk(self) -> None:
        total, free = self._disk(self.config.folder)
        if free < FREE_BYTES_MIN:
            raise EngineError(
                f"{self.config.folder}: {free >> 20} MB free of {total >> 30} GB: "
                "the recording ended before the disk was full",
                hint="make room and start it again; it goes on in a new segment",
            )
        if free < WARN_FREE * total and not self._warned:
            self._warned = True
            words = f"{free >> 20} MB of {total >> 20} MB free"
            self.intake.status(StatusData(event="disk_low", detail=words))
        self._every("disk", DISK_CHECK_S, self._watch_disk)

    def _every(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(seconds, self._guarded, work)

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run what the event loop calls: an error ends the recording instead of being printed and lost."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  kept, and raised by `record` when all is closed
            self._failure = self._failure or error
            self.stop("error")


def _interruption(before: Segment) -> StatusData:
    since = f"nothing was recorded since {format_time(before.last_ts)} ({before.end.path.name})"
    return StatusData(event="disconnected", detail=since, first=before.last_ts)


def _disk(folder: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free
