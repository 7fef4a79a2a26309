"""Trades and headlines that were missed while nobody listened, asked for by time, as nothing numbers them.

A parser (Alpaca's) says in `wants` since when what of which symbols is missing. After a moment, in which the
venue's history catches up with its stream, it is asked for page by page; the same parser makes rows of what
had not come (engine.feed.alpaca_missed), so `rebuild` makes them again. Rows of ours beside
them: "backfill" when something is asked for, once more with `attempt` for each refusal, and "backfilled"
with the times of what came and, in words, what may still be missing.

Nothing waits for it. What is missing together is asked for together, and when something is missing again and
again, ever less often. A question brings no more than `PAGES` pages; what is left can be had with `engine
fetch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from engine.feed.parser import Parser, PeriodWanted
from engine.live.adapter import FillsPeriods
from engine.live.patient import GaveUp, Patient
from engine.live.tasks import ended, in_background
from engine.live.turn import Turn
from engine.model.kinds import Kind, SourceData, StatusData
from engine.model.units import SECOND_NS

SETTLE_S = 5.0  # until the venue's history has caught up with its stream
DOUBLINGS = 6  # of that time, while rounds follow each other
PAGES = 100  # of one question, whether or not they bring anything
SYMBOLS_AT_ONCE = 100  # in one request, for the length of its address
_ENDED = "the recording ended"
_FOUND, _MALFORMED = (int(Kind.TRADE), int(Kind.NEWS)), int(Kind.MALFORMED)


class _Job(msgspec.Struct):
    """What is missing of one connection."""

    parser: Parser
    number: int  # of the REST source
    source: SourceData
    channel: str
    pending: PeriodWanted | None = None  # one, however often something is missing meanwhile
    first: int = 0  # of this round
    last: int = 0
    came: list[int] = []  # the venue's times


class PeriodBackfills:
    """Fills what one venue's connections missed."""

    def __init__(
        self, adapter: object, patient: Patient, turn: Turn, on_failure: Callable[[BaseException], None]
    ) -> None:
        """`on_failure` hears of a bug in one of the tasks."""
        self._adapter = adapter if isinstance(adapter, FillsPeriods) else None
        self._patient = patient
        self._turn = turn
        self._on_failure = on_failure
        self._sources: dict[str, tuple[int, SourceData]] = {}  # by symbol
        self._jobs: dict[int, tuple[_Job, asyncio.Task[None]]] = {}  # by number of the source

    def sources(
        self, name: str, venue: str, lines: Sequence[tuple[str, ...]], channels: Sequence[str], first: int
    ) -> list[SourceData]:
        """One source of answers for each connection, from number `first` on; `lines` are their symbols."""
        made: list[SourceData] = []
        if self._adapter is None or self._adapter.period_channel not in channels:
            return made
        for symbols in lines:
            data = SourceData(
                name=name,
                venue=venue,
                url=self._patient.base,
                endpoint=self._adapter.period_endpoint,
                symbols=symbols,
            )
            self._sources |= dict.fromkeys(symbols, (first + len(made), data))
            made.append(data)
        return made

    def wanted(self, parser: Parser, want: PeriodWanted) -> None:
        """Ask for it soon, where there is a way."""
        if want.symbols[0] not in self._sources:
            return
        number, source = self._sources[want.symbols[0]]
        if number in self._jobs:
            job = self._jobs[number][0]
            job.pending = want if job.pending is None else job.pending.joined(want)
            return
        job = _Job(parser, number, source, want.channel, want)
        self._jobs[number] = job, in_background(self._work(job), self._on_failure)

    async def end(self) -> None:
        """Leave what is on its way; what was not waited for is said to be missing."""
        jobs = list(self._jobs.values())
        await ended(task for _, task in jobs)
        for job, _ in jobs:
            if job.pending is not None:  # not even asked for
                job.pending, job.came = None, []
                self._conclude(job, _ENDED)

    # --- one connection ---

    async def _work(self, job: _Job) -> None:
        try:
            rounds = 0
            while job.pending is not None:
                await asyncio.sleep(SETTLE_S * 2 ** min(rounds, DOUBLINGS))
                rounds += 1
                want, job.pending = job.pending, None
                await self._round(job, want)
        finally:
            del self._jobs[job.number]

    async def _round(self, job: _Job, want: PeriodWanted) -> None:
        symbols = want.symbols
        job.first, job.last, job.came = want.first, want.last, []
        whose = ", ".join(symbols) if len(symbols) < 4 else f"{len(symbols)} symbols"
        self._asking(job, f"{want.channel} of {whose}")
        words = ""
        try:
            for start in range(0, len(symbols), SYMBOLS_AT_ONCE):
                await self._pages(job, symbols[start : start + SYMBOLS_AT_ONCE])
        except GaveUp as trouble:
            words = str(trouble)
        except asyncio.CancelledError:
            self._conclude(job, _ENDED)
            raise
        self._conclude(job, words)

    async def _pages(self, job: _Job, symbols: Sequence[str]) -> None:
        """Page after page. Raises GaveUp."""
        assert self._adapter is not None
        adapter, token, seen = self._adapter, "", set[str]()
        after = ""

        def take(body: bytes) -> bool:
            nonlocal after
            if not self._feed(job, body):
                return False
            after = adapter.next_page(body)
            return True

        def refused(words: str, attempt: int, wait_s: float) -> None:
            self._asking(job, words, attempt, wait_s)

        while True:
            path = adapter.period_path(symbols, job.first, token)
            await self._patient.get(path, adapter.period_headers(), take, refused)
            if not after:
                return
            if after in seen:
                raise GaveUp("a page of the answer leads back to itself")
            seen.add(after)
            if len(seen) >= PAGES:
                raise GaveUp(f"no more than {PAGES} pages are asked for at a time")
            token = after

    def _feed(self, job: _Job, body: bytes) -> bool:
        """Have the answer parsed, and note what it brought; whether it was one."""
        rows, start = self._turn.rows, self._turn.rows.count
        job.parser.feed_rest(job.source, body, self._turn.sequencer.stamp(), rows, job.number)
        made = rows.view()[start:]
        job.came += made["ts_venue"][np.isin(made["kind"], _FOUND)].tolist()
        is_one = _MALFORMED not in made["kind"].tolist()
        self._turn.arm()
        return is_one

    def _conclude(self, job: _Job, words: str) -> None:
        """Say what came of it."""
        detail = f"{len(job.came):,} came"
        if words:
            detail += f"; more may be missing: {words}; engine fetch may bring them"
        first, last = min(job.came, default=0), max(job.came, default=0)
        self._say(job, StatusData("backfilled", job.channel, detail, first, last))

    def _asking(self, job: _Job, words: str, attempt: int = 0, wait_s: float = 0.0) -> None:
        wait_ns = int(wait_s * SECOND_NS)
        self._say(job, StatusData("backfill", job.channel, words, job.first, job.last, attempt, wait_ns))

    def _say(self, job: _Job, data: StatusData) -> None:
        self._turn.status(data, source=job.number)
        self._turn.arm()
