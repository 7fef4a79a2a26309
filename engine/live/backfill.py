"""Trades that a stream left out are asked for over REST, in the background: nothing waits for them.

A parser says in `wants` which ids are missing. The answer's body goes through the same parser, which makes
BACKFILLED rows of what is missing and passes over the rest; so the rows follow from the frames, and `rebuild`
makes them again. Rows of ours beside them: "backfill" when something is asked for, once more with `attempt`
for each refusal, and "backfilled" with what came and, in words, what is still missing and why.

Gaps of one symbol and channel are gathered for a moment: a frame that is only late fills its gap itself, and
one request serves several. What a request brings is bounded (`MOST` trades for a round of gaps, the latest of
them; `GAPS_AT_ONCE` gaps), and so are the attempts (engine.live.patient); what is left can be had with
`engine fetch`. Where a venue does not number its trades, engine.live.backfill_period asks by time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from engine.feed.parser import BackfillWanted, Parser, Sequence, Sequenced
from engine.live.adapter import Backfill, FillsGaps
from engine.live.patient import GaveUp, Patient
from engine.live.tasks import ended, in_background
from engine.live.turn import Turn
from engine.model.kinds import Kind, SourceData, StatusData
from engine.model.units import SECOND_NS

GATHER_S = 0.25  # how long gaps are gathered before they are asked for
MOST = 10_000
GAPS_AT_ONCE = 100  # of one symbol and channel; a parser remembers 256 holes (Sequence)
SLACK = 200  # trades that may be made before an answer is
_TRADE, _MALFORMED, _STATUS = int(Kind.TRADE), int(Kind.MALFORMED), int(Kind.STATUS)

_ENDED = "the recording ended"

Span = tuple[int, int]  # first and last id


class _Job(msgspec.Struct):
    """Gaps of one symbol and channel: those to come, and the ids that are asked for now."""

    symbol: str
    parser: Parser
    number: int  # of the REST source
    source: SourceData
    way: Backfill
    pending: list[Span] = []
    missing: list[Span] = []  # what this round is about
    asked: list[Span] = []  # what of it can be asked for
    came: list[int] = []  # ids, as they came


class Backfills:
    """Fills the gaps of one venue's trades."""

    def __init__(
        self,
        adapter: object,
        patient: Patient,
        turn: Turn,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """`on_failure` hears of a bug in one of the tasks."""
        self._adapter = adapter if isinstance(adapter, FillsGaps) else None
        self._patient = patient
        self._turn = turn
        self._on_failure = on_failure
        self._ways: dict[tuple[str, str], tuple[int, SourceData, Backfill]] = {}  # by symbol and channel
        self._jobs: dict[tuple[str, str], tuple[_Job, asyncio.Task[None]]] = {}

    def sources(
        self, name: str, venue: str, symbols: Iterable[str], channels: Iterable[str], first: int
    ) -> list[SourceData]:
        """The sources of all answers that may come, from number `first` on. Raises what credentials raise."""
        made: list[SourceData] = []
        if self._adapter is None:
            return made
        ways = [(channel, way) for channel in channels if (way := self._adapter.backfill(channel))]
        for symbol in symbols:
            for channel, way in ways:
                data = SourceData(
                    name=name, venue=venue, url=self._patient.base, endpoint=way.endpoint, symbol=symbol
                )
                self._ways[symbol, channel] = (first + len(made), data, way)
                made.append(data)
        return made

    def wanted(self, parser: Parser, want: BackfillWanted) -> None:
        """Ask for it soon, where there is a way."""
        key = (want.symbol, want.channel)
        if key not in self._ways:
            return
        if key in self._jobs:
            self._jobs[key][0].pending.append((want.first, want.last))
            return
        job = _Job(want.symbol, parser, *self._ways[key], pending=[(want.first, want.last)])
        self._jobs[key] = job, in_background(self._work(job), self._on_failure)

    async def end(self) -> None:
        """Leave what is on its way; what had been asked for is said to be missing."""
        jobs = list(self._jobs.values())
        await ended(task for _, task in jobs)
        for job, _ in jobs:
            job.missing, job.pending, job.came = _still(job, job.pending), [], []
            if job.missing:  # not even asked for
                self._conclude(job, _ENDED)

    # --- one symbol and channel ---

    async def _work(self, job: _Job) -> None:
        try:
            while job.pending:
                await asyncio.sleep(GATHER_S)
                await self._round(job)
        finally:
            del self._jobs[job.symbol, job.way.channel]

    async def _round(self, job: _Job) -> None:
        """Ask for what has been gathered and has not come by itself meanwhile."""
        job.missing = _still(job, job.pending)
        job.pending, job.came = [], []
        if not job.missing:
            return
        words = ""
        job.asked = newest(overlap(_holes(job), job.missing)[-GAPS_AT_ONCE:], MOST)
        if job.asked != job.missing:
            words = f"no more than {MOST:,} in {GAPS_AT_ONCE} gaps are asked for at a time"
        if not job.way.by_id:
            reached = overlap(job.asked, [(_sequence(job).last - job.way.limit + 1, _sequence(job).last)])
            words = words if reached == job.asked else job.way.words
            job.asked = reached
        if not job.asked:
            self._conclude(job, words)
            return
        gaps = f" in {len(job.asked)} gaps" if len(job.asked) > 1 else ""
        self._asking(job, f"{count(job.asked):,} missing{gaps}")
        try:
            await (self._by_id(job) if job.way.by_id else self._latest(job))
        except GaveUp as trouble:
            words = str(trouble)
        except asyncio.CancelledError:
            self._conclude(job, _ENDED)
            raise
        self._conclude(job, words)

    def _conclude(self, job: _Job, words: str) -> None:
        """Say what came of it."""
        still = _still(job, job.missing)
        came = [(number, number) for number in sorted(job.came)]  # before the parser forgot its hole
        missing = count(still) - count(overlap(still, came))
        detail = f"{len(job.came):,} came"
        if missing:
            why = words or job.way.words or "the venue does not give them"
            detail += f"; {missing:,} still missing: {why}; engine fetch may bring them"
        first, last = min(job.came, default=0), max(job.came, default=0)
        self._say(job, StatusData("backfilled", job.way.channel, detail, first, last))

    async def _by_id(self, job: _Job) -> None:
        """Page after page, from the first id that is missing on; what a page did not bring is not there."""
        limit, wanted = job.way.limit, job.asked
        while wanted:
            first = wanted[0][0]
            here = overlap(wanted, [(first, first + limit - 1)])
            await self._page(job, first, here[-1][1] - first + 1)
            beyond = [(max(low, first + limit), high) for low, high in wanted if high >= first + limit]
            wanted = overlap(_holes(job), beyond)

    async def _latest(self, job: _Job) -> None:
        """As many of the latest as should reach back to the first that is missing; if they do not, all."""
        limit = min(_sequence(job).last - job.asked[0][0] + 1 + SLACK, job.way.limit)
        await self._page(job, 0, limit)
        if limit < job.way.limit and overlap(_holes(job), job.asked):
            await self._page(job, 0, job.way.limit)

    async def _page(self, job: _Job, first: int, limit: int) -> None:
        """One answer, asked for until it comes. Raises GaveUp."""
        assert self._adapter is not None

        def take(body: bytes) -> bool:
            return self._feed(job, body)

        def refused(words: str, attempt: int, wait_s: float) -> None:
            self._asking(job, words, attempt, wait_s)

        path = self._adapter.backfill_path(job.way, job.symbol, first, limit)
        await self._patient.get(path, job.way.headers(), take, refused)

    def _feed(self, job: _Job, body: bytes) -> bool:
        """Have the answer parsed, and note which trades it brought; whether it was one."""
        rows, start = self._turn.rows, self._turn.rows.count
        job.parser.feed_rest(job.source, body, self._turn.sequencer.stamp(), rows, job.number)
        made = rows.view()[start:]
        job.came += made["id"][made["kind"] == _TRADE].tolist()
        is_one = not {_MALFORMED, _STATUS} & set(made["kind"].tolist())
        self._turn.arm()
        return is_one

    def _asking(self, job: _Job, words: str, attempt: int = 0, wait_s: float = 0.0) -> None:
        first, last = job.asked[0][0], job.asked[-1][1]
        channel, wait_ns = job.way.channel, int(wait_s * SECOND_NS)
        self._say(job, StatusData("backfill", channel, words, first, last, attempt, wait_ns))

    def _say(self, job: _Job, data: StatusData) -> None:
        instrument = job.parser.instruments[job.symbol][0]
        self._turn.status(data, source=job.number, instrument=instrument)
        self._turn.arm()


def _sequence(job: _Job) -> Sequence:
    assert isinstance(job.parser, Sequenced)
    return job.parser.sequence(job.symbol, job.way.channel)


def _holes(job: _Job) -> list[Span]:
    """What the parser knows to be missing, sorted."""
    sequence = _sequence(job)
    return sorted(hole for hole in sequence.holes if hole[0] > sequence.forgotten)


def _still(job: _Job, spans: list[Span]) -> list[Span]:
    """What is missing of some gaps; what the parser has forgotten of them counts as missing."""
    forgotten = _sequence(job).forgotten
    lost = [(low, min(high, forgotten)) for low, high in spans if low <= forgotten]
    return lost + overlap(_holes(job), spans)


def overlap(spans: list[Span], others: list[Span]) -> list[Span]:
    """Ids that are in both. Either list is sorted and has no id twice, and so is the result."""
    found: list[Span] = []
    at = 0
    for low, high in spans:
        while at < len(others) and others[at][1] < low:
            at += 1
        for first, last in others[at:]:
            if first > high:
                break
            found.append((max(low, first), min(high, last)))
    return found


def count(spans: list[Span]) -> int:
    """How many ids."""
    return sum(last - first + 1 for first, last in spans)


def newest(spans: list[Span], most: int) -> list[Span]:
    """The latest of them, no more than `most`."""
    kept: list[Span] = []
    for first, last in reversed(spans):
        if most <= 0:
            break
        kept.append((max(first, last - most + 1), last))
        most -= last - first + 1
    return kept[::-1]
