"""A paper session: live rows into the very loop that a backtest runs, with the simulated venue inside.

Each turn: what has arrived is appended to the session's own log and flushed; only then the loop steps
over it, so that no decision is made on a row that is not in the log. When something on the loop's agenda
falls due and nothing has arrived, a CLOCK row is appended first. A stop (Ctrl-C, SIGTERM, `--for`) is a
COMMAND row: new orders are refused, open ones cancelled, and when their ends have been heard, or a patience
is over, the log ends.

So the log says everything: `engine verify`, or a backtest over it with `--with-commands`, makes the same
decisions again.

Rows come from an intake (a venue's streams and feeds beside them), or from a log that a recorder beside us
is writing, whatever that one takes in. A session that follows a log lives on that log's time: its timers
wait for its rows, and its own rows stand one nanosecond after the last of them. Commands that were given to
another session are not followed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from engine import __version__
from engine.answers.requests import Request
from engine.config import RunConfig
from engine.live.ccxt_feed import CcxtConfig
from engine.live.clock import OffsetLevel, Sequencer
from engine.live.intake import Intake
from engine.live.poller import PollConfig
from engine.live.tally import Tally
from engine.live.tap import TapConfig
from engine.log.journal import Journal
from engine.log.schema import FIXED, Batch, LogHeader
from engine.log.segments import free_space
from engine.log.tail import LogTail
from engine.log.writer import LogWriter
from engine.loop.run import Runner
from engine.loop.source import Numbering
from engine.model.errors import EngineError
from engine.model.kinds import AnswerData, CommandData, EndData, Flag, Kind, StatusData, encode_canonical
from engine.model.rows import ROW, RowBuffer
from engine.model.units import SECOND_NS, format_time
from engine.strategy.loader import LoadedStrategy

LOG_FILE = "log.arrow"
LAST = int(Flag.LAST)
POLL_S = 0.005  # how often a followed log is looked at when it had nothing
PATIENCE_S = 2.0  # how long a stop waits for the ends of open orders
DISK_CHECK_S = 1.0
LAGS_KEPT = 4096


class SessionConfig(msgspec.Struct, frozen=True):
    """Where rows come from (venues and feeds, or a log to follow) and where the session's files go."""

    folder: Path
    run: RunConfig
    taps: tuple[TapConfig, ...] = ()
    tail: Path | None = None
    feeds: tuple[PollConfig | CcxtConfig, ...] = ()
    duration_s: float = 0.0
    fsync: bool = False


Deliver = Callable[[AnswerData, bytes | None], None]


class Answerer(Protocol):
    """Whoever asks Claude for the session, and delivers what came of each question, sooner or later."""

    def ask(self, ticket: int, request: Request, loop_time_ns: int) -> None:
        """Take a question; never waits, and delivers nothing within this call."""

    def hurry(self) -> None:
        """Let `aclose` wait for nobody any more."""

    async def aclose(self) -> None:
        """Stop; what is still being asked is delivered as failed before this returns."""


class Session:
    """One paper session, from the first row to the END row."""

    def __init__(
        self,
        config: SessionConfig,
        loaded: LoadedStrategy,
        journal: Journal,
        *,
        sequencer: Sequencer | None = None,
        on_decided: Callable[[], None] | None = None,
        answerer: Callable[[Deliver], Answerer] | None = None,
    ) -> None:
        """`on_decided` is called after each turn of the loop, when its decisions are in the journal.

        `answerer` makes, of where answers go, whoever gets the strategy's questions, after that; without
        one they all end at their deadlines.
        """
        self.config = config
        self.tally = Tally()
        self.runner = Runner(config.run, loaded, journal)
        self.sequencer = sequencer or Sequencer()
        self.lags: deque[int] = deque(maxlen=LAGS_KEPT)  # ns from a row's stamp to the end of its turn
        self.reason = ""
        self.log_path = config.folder / LOG_FILE
        self._on_decided = on_decided
        self._answerer = None if answerer is None else answerer(self._answered)
        self._asked: dict[int, int] = {}  # by ticket: when, ns
        self._intake: Intake | None = None  # None: a log is followed, and its rows were judged there
        self._rows = RowBuffer()
        self._writer: LogWriter | None = None
        self._numbering = Numbering(str(self.log_path), self.runner.define)
        self._stopping = asyncio.Event()
        self._commanded = False  # the loop has the stop, or gets it in this turn
        self._drained = asyncio.Event()
        self._impatient = asyncio.Event()
        self.asking_failure: EngineError | None = None  # of whoever asked: the session went on without it
        self._failure: BaseException | None = None
        self._due_timer: asyncio.TimerHandle | None = None
        self._disk_level = "ok"
        self._closing = False
        self._duration: asyncio.TimerHandle | None = None
        self.ended = False  # the log is closed

    # --- what it came to ---

    @property
    def log_header(self) -> LogHeader | None:
        """The header of the session's log; None before anything has arrived."""
        return None if self._writer is None else self._writer.header

    @property
    def rows(self) -> int:
        """Rows in the session's log."""
        return 0 if self._writer is None else self._writer.seq

    @property
    def chain_head(self) -> str:
        """The chain over the rows of the session's log; sealing does not change it."""
        return "" if self._writer is None else self._writer.chain_head

    # --- control ---

    def stop(self, reason: str) -> None:
        """Stop; a second call stops without waiting for the ends of open orders."""
        if self._stopping.is_set():
            self._impatient.set()
            if self._answerer is not None:
                self._answerer.hurry()
            return
        self.reason = reason
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped, or until the followed log ends.

        Raises VenueError and UsageError when nothing could be begun, and StrategyError or EngineError after
        the log has been closed. What became of the one who asks stands in `asking_failure`.
        """
        disk = asyncio.ensure_future(self._watch_disk())
        try:
            if self.config.tail is None:
                await self._run_intake()
            else:
                self._count_down()  # a quiet log may bring no first row to count from
                await self._run_tail()
        except EngineError as error:
            self._failure = self._failure or error
        finally:
            if self._duration is not None:
                self._duration.cancel()
            disk.cancel()
            if self._answerer is not None:
                try:
                    await self._answerer.aclose()
                except EngineError as error:
                    self.asking_failure = error
            self._close()
            self.ended = True
        if self._failure is not None:
            raise self._failure

    def _count_down(self) -> None:
        """Let `--for` run: from the first row on, for how long a venue takes to answer is not ours."""
        if self.config.duration_s and self._duration is None:
            loop = asyncio.get_running_loop()
            self._duration = loop.call_later(self.config.duration_s, self.stop, "--for")

    # --- rows from a venue, and from feeds ---

    async def _run_intake(self) -> None:
        intake = Intake(self.config.taps, self.config.feeds, self.sequencer, self._rows, self._turn)
        self._intake = intake
        starting = asyncio.ensure_future(intake.start())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            stopping.cancel()
            if not starting.cancelled() and starting.exception() is None:
                await intake.stop()  # it was quicker than the cancellation
            return
        running: asyncio.Future[None] | None = None
        try:
            starting.result()  # after an error nothing is open
            try:
                self._open(LogHeader(venues=intake.names))
                self._turn()
                running = asyncio.ensure_future(intake.run())
                await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
                if self._stopping.is_set() and self._failure is None:
                    self._command_stop()
                    await self._wait_for_ends()
            finally:
                await intake.stop()
            await running
        finally:
            stopping.cancel()

    # --- rows from a log that is being written ---

    async def _run_tail(self) -> None:
        assert self.config.tail is not None
        now = asyncio.get_running_loop().time
        with LogTail(self.config.tail) as tail:
            patience_ends: float | None = None
            while self._failure is None:
                batches = tail.poll()
                for batch in batches:
                    self._follow(batch, tail.header)
                if self._stopping.is_set():
                    if patience_ends is None:
                        if self._writer is not None:
                            self._command_stop()
                        patience_ends = now() + PATIENCE_S
                    if not self.runner.context.live or now() >= patience_ends or self._impatient.is_set():
                        return
                if not batches:
                    if tail.done:
                        self.reason = self.reason or "the followed log ended"
                        return
                    await asyncio.sleep(POLL_S)
                else:
                    await asyncio.sleep(0)

    def _follow(self, batch: Batch, header: LogHeader | None) -> None:
        """Append a followed batch to our own log, all but its END and COMMAND rows, and step over it."""
        keep = (batch.kind != Kind.END) & (batch.kind != Kind.COMMAND)
        if not keep.any():
            return
        if self._writer is None and header is not None:
            self._open(LogHeader(venues=header.venues, note=header.note))
        packed = np.zeros(batch.count, dtype=ROW)
        for name in FIXED:
            packed[name] = getattr(batch, name)
        (data_lengths, data), (wire_lengths, wire) = batch.texts()
        packed["data_length"] = data_lengths
        packed["wire_length"] = wire_lengths
        self._retime(packed)
        if keep.all():
            self._rows.extend(packed, _pieces(data_lengths, data), _pieces(wire_lengths, wire))
        else:
            self._rows.extend(
                packed[keep],
                [text for text, kept in _with_nulls(data_lengths, data, keep) if kept],
                [text for text, kept in _with_nulls(wire_lengths, wire, keep) if kept],
            )
        self._turn()

    def _retime(self, packed: Any) -> None:
        """Followed rows keep their times, unless those would not increase."""
        stamps = packed["ts"]
        if int(stamps[0]) > self.sequencer.last:
            self.sequencer.last = int(stamps[-1])
            return
        follow = self.sequencer.follow
        ends = (packed["flags"] & LAST) != 0
        ts = 0
        fresh = True
        for i in range(len(stamps)):
            if fresh:
                ts = follow(int(stamps[i]))
            stamps[i] = ts
            fresh = bool(ends[i])

    # --- one turn ---

    def _turn(self) -> None:
        """Log what has arrived, then run the loop over it."""
        writer = self._writer
        if writer is None or self._failure is not None:
            return
        try:
            if self._intake is not None:
                self._intake.judge()
            batch = writer.flush()
            if batch is None:
                return
            self.tally.take(batch)
            for part in self._numbering.split(batch):
                self.runner.feed(part)
            self.runner.flush_journal()
            if self._on_decided is not None:
                self._on_decided()
            self._ask()
        except Exception as error:  # noqa: BLE001  raised by `run` once the log is closed
            self._fail(error)
            return
        if self.config.tail is None:
            self.lags.append(self.sequencer.now() - int(batch.ts[0]))
            self._watch_agenda()
        if self._commanded and not self.runner.context.live:
            self._drained.set()

    def _ask(self) -> None:
        """Let the questions of this turn leave; that they were asked is in the journal by now."""
        outbox = self.runner.asking.outbox
        if self._answerer is not None:
            for question in outbox:
                self._asked[question.ticket] = question.asked_ns
                self._answerer.ask(question.ticket, question.request, question.asked_ns)
        outbox.clear()

    def _answered(self, data: AnswerData, wire: bytes | None) -> None:
        """An answer becomes a row like any other."""
        if self.ended:
            return
        ts = self._stamp()
        asked_ns = self._asked.pop(data.ticket, ts)
        data = msgspec.structs.replace(data, latency_ns=ts - asked_ns)
        self._rows.append(ts, Kind.ANSWER, flags=LAST, data=encode_canonical(data), wire=wire)
        self._turn()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopping.set()
        self._drained.set()

    def _watch_agenda(self) -> None:
        """Wake up when the next thing falls due."""
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        due = None if self._closing else self.runner.next_due()
        if due is not None:
            wait_s = max(0, due - self.sequencer.now()) / SECOND_NS
            self._due_timer = asyncio.get_running_loop().call_later(wait_s, self._fall_due, due)

    def _fall_due(self, due: int) -> None:
        self._due_timer = None
        now = self.sequencer.now()
        if now < due:
            # The event loop's clock runs a little ahead of ours.
            wait_s = (due - now) / SECOND_NS
            self._due_timer = asyncio.get_running_loop().call_later(wait_s, self._fall_due, due)
            return
        notice = self.sequencer.take_notice()
        if notice is not None:  # the tap would say it with the next frame, which may be long in coming
            self._rows.append(
                self.sequencer.stamp(), Kind.STATUS, flags=LAST, data=encode_canonical(notice.status())
            )
        self._rows.append(self.sequencer.stamp(), Kind.CLOCK, flags=LAST)
        self._turn()

    # --- beginning and end ---

    def _open(self, header: LogHeader) -> None:
        header = msgspec.structs.replace(
            header, engine=__version__, created=format_time(self.sequencer.now())
        )
        self._writer = LogWriter(self.log_path, header, fsync=self.config.fsync)
        self._writer.rows = self._rows
        self._count_down()

    def _stamp(self) -> int:
        """The time of a row of our own."""
        if self.config.tail is None:
            return self.sequencer.stamp()
        return self.sequencer.follow(self.sequencer.last + 1)

    def _command_stop(self) -> None:
        data = encode_canonical(CommandData("stop", self.reason))
        self._rows.append(self._stamp(), Kind.COMMAND, flags=LAST, data=data)
        # Not before: what was open when the stop was asked for says nothing of what the loop sent since.
        self._commanded = True
        self._turn()

    async def _wait_for_ends(self) -> None:
        if not self.runner.context.live:
            return
        ends = asyncio.ensure_future(self._drained.wait())
        impatient = asyncio.ensure_future(self._impatient.wait())
        await asyncio.wait((ends, impatient), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        ends.cancel()
        impatient.cancel()

    def _close(self) -> None:
        """The END row, the strategy's on_stop, the journal's last decisions."""
        self._closing = True
        if self._due_timer is not None:
            self._due_timer.cancel()
        writer = self._writer
        if writer is None:
            return
        if self._failure is None:
            self._turn()
        rows = writer.seq
        try:
            if self._failure is None:
                data = encode_canonical(EndData(self.reason))
                self._rows.append(self.sequencer.last + 1, Kind.END, flags=LAST, data=data)
                self._turn()
            if self._failure is None:
                self.runner.finish()
        except Exception as error:  # noqa: BLE001  raised by `run`
            self._fail(error)
        try:
            self.runner.flush_journal()
            # A strategy that failed on the END row, or in on_stop: the log has its end already.
            if self._failure is not None and not isinstance(self._failure, OSError) and writer.seq == rows:
                if self._intake is not None:
                    self._intake.judge()
                writer.close(reason="error", ts=self.sequencer.last + 2)
        except EngineError as error:
            self._failure = self._failure or error
        finally:
            writer.abandon()

    async def _watch_disk(self) -> None:
        """Below a tenth of the disk a row warns; below a fiftieth a row halts new orders."""
        while True:
            await asyncio.sleep(DISK_CHECK_S)
            try:
                space = free_space(self.config.folder)
            except OSError as error:
                folder = self.config.folder
                self._fail(EngineError(f"{folder}: what is free there cannot be read: {error.strerror}"))
                return
            if space.level == self._disk_level or self._writer is None:
                continue
            self._disk_level = space.level
            level = {"ok": OffsetLevel.GOOD, "warn": OffsetLevel.NOTED, "stop": OffsetLevel.HALTING}
            status = StatusData(
                event="disk_low",
                detail=f"{space.free_bytes >> 20} MB free: {space.level}",
                last=int(level[space.level]),
            )
            self._rows.append(self._stamp(), Kind.STATUS, flags=LAST, data=encode_canonical(status))
            self._turn()


def _pieces(lengths: Any, content: Any) -> list[bytes]:
    """The non-null texts of a column, one by one."""
    return [text for text, _ in _with_nulls(lengths, content, None)]


def _with_nulls(lengths: Any, content: Any, keep: Any) -> Iterator[tuple[bytes, bool]]:
    at = 0
    raw = bytes(content)
    for row, length in enumerate(lengths.tolist()):
        if length >= 0:
            yield raw[at : at + length], keep is None or bool(keep[row])
            at += length
