"""The proof that a recording accounts for everything that a local venue made: rows against the venue's lists.

For every message of a stream that the recorder had subscribed to one of these holds, or the verdict names it:

    received    its id stands in a row of its stream (whatever the row's flags)
    in a gap    a "gap" row of its channel covers its ids; for channels whose ids count by one: trades,
                aggregate trades, depth updates
    in an outage
                quotes and bars, whose numbers only grow: between the rows that stand before and after it by
                number there is a "disconnected" row and a later "subscribed" one. Of a stream that has no row
                yet: it was made after the message in the last row before, and before "subscribed"
    at handover quotes and bars that were not sent to anybody, where the rows before and after stand on either
                side of a "renewed" row: a connection that lagged was closed with messages still on their way.
                (Trades and depth updates have gap rows then, too.)
    superseded  quotes and bars that the venue left out or garbled on a living connection. No number of their
                stream tells; but a later one stands in the log, and the change that a quote told of lies
                inside the ids of a depth update that is itself accounted for
    before      older than the first row of its stream, and hit by a fault: there the recording begins

The venue's lists decide about the last three; a message that the venue did send is never one of them. What
the log holds must be the venue's: a row with an id that was never made, or more rows of one id than were
sent, is found as well, and so is a MALFORMED row that is no garbled frame of the venue's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.kinds import BID, Flag, InstrumentData, Kind, Part, SourceData, StatusData
from engine.serve.account import Account, Made, Sent

STEADY = ("trade", "aggtrade", "book")  # ids count by one
_CHANNEL = {"trade": "trade", "aggTrade": "aggtrade", "bookTicker": "quote", "depth@100ms": "book"}
_MICROSECOND_NS = 1_000
Stream = tuple[str, str]  # symbol, channel


@dataclass
class Evidence:
    """What a log says of one stream."""

    places: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))  # number: rows
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def covers(self, first: int, last: int) -> bool:
        """Whether gap rows cover all of these ids."""
        at = first
        for low, high in sorted(self.gaps):
            if low <= at <= high:
                at = high + 1
        return at > last


class Outage(NamedTuple):
    """From row "disconnected" to row "subscribed", at time `until`. `after` is what had come last before."""

    lost: int
    back: int
    after: tuple[Stream, int] | None
    until: int


@dataclass
class Log:
    """The evidence in one log."""

    streams: dict[Stream, Evidence] = field(default_factory=lambda: defaultdict(Evidence))
    outages: list[Outage] = field(default_factory=list)
    handovers: list[int] = field(default_factory=list)  # rows "renewed"
    malformed: Counter[bytes] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)


@dataclass
class Verdict:
    """How many messages are accounted for in which way, and the first that is not."""

    received: int = 0
    in_gap: int = 0
    in_outage: int = 0
    at_handover: int = 0
    superseded: int = 0
    before: int = 0
    copies_missing: int = 0  # sent, as a second one, and not in the log
    malformed: int = 0
    unaccounted: str = ""

    def blame(self, words: str) -> None:
        """Something is not accounted for; the first counts."""
        self.unaccounted = self.unaccounted or words


def read_log(paths: list[Path]) -> Log:
    """The evidence in a recording's segments."""
    log = Log()
    reading = _Reading(log)
    for path in paths:
        with LogReader(path) as reader:
            for batch in reader.batches():
                reading.take(batch)
    return log


class _Reading:
    def __init__(self, log: Log) -> None:
        self.log = log
        self._symbols: dict[int, str] = {}
        self._answers: set[int] = set()  # sources that are REST answers
        self._row = 0
        # source: row "disconnected", and what had come last
        self._lost: dict[int, tuple[int, tuple[Stream, int] | None]] = {}
        self._latest: dict[int, tuple[Stream, int]] = {}  # source: its last message

    def take(self, batch: Batch) -> None:
        for n in range(batch.count):
            self._row += 1
            kind, source = int(batch.kind[n]), int(batch.source[n])
            if kind == Kind.SOURCE:
                if msgspec.json.decode(batch.data_at(n) or b"", type=SourceData).endpoint:
                    self._answers.add(source)
            elif kind == Kind.INSTRUMENT:
                data = msgspec.json.decode(batch.data_at(n) or b"", type=InstrumentData)
                self._symbols[int(batch.instrument[n])] = data.symbol
            elif kind == Kind.STATUS:
                self._status(msgspec.json.decode(batch.data_at(n) or b"", type=StatusData), batch, n, source)
            elif kind == Kind.MALFORMED:
                self.log.malformed[batch.wire_at(n) or b""] += 1
            elif source not in self._answers and source:
                self._market(batch, n, kind, source)

    def _status(self, data: StatusData, batch: Batch, n: int, source: int) -> None:
        self.log.events[data.event] += 1
        if data.event == "gap":
            stream = self._symbols[int(batch.instrument[n])], data.channel
            self.log.streams[stream].gaps.append((data.first, data.last))
        elif data.event == "renewed":
            self.log.handovers.append(self._row)
        elif data.event == "disconnected":
            self._lost.setdefault(source, (self._row, self._latest.get(source)))
        elif data.event == "subscribed" and source in self._lost:
            lost, after = self._lost.pop(source)
            self.log.outages.append(Outage(lost, self._row, after, int(batch.ts[n])))

    def _market(self, batch: Batch, n: int, kind: int, source: int) -> None:
        number, flags = int(batch.id[n]), int(batch.flags[n])
        if kind == Kind.TRADE:
            channel = "aggtrade" if flags & Flag.AGGREGATE else "trade"
        elif kind == Kind.QUOTE and int(batch.side[n]) == BID:
            channel = "quote"
        elif kind == Kind.BOOK and flags & Flag.LAST:
            channel = "book"
        elif kind == Kind.BAR and int(batch.part[n]) == Part.HIGH:
            channel, number = "bar", int(batch.ts_venue[n]) // _MICROSECOND_NS
        else:
            return
        stream = self._symbols[int(batch.instrument[n])], channel
        self._latest[source] = stream, number
        self.log.streams[stream].places[number].append(self._row)


def account_for(log: Log, venue: Account) -> Verdict:
    """Whether a log accounts for all that a venue made. Quotes and bars lean on the depth: it comes first."""
    verdict = Verdict()
    hit = {(f.stream, f.first, f.last, f.stamp) for f in venue.faults if f.fault in _HITTING}
    made: dict[str, list[Made]] = defaultdict(list)
    for message in venue.made:
        made[message.stream].append(message)
    away = _Away(venue, log)
    covered: dict[str, list[tuple[int, int]]] = {}  # symbol: ids of depth updates that are accounted for
    for stream in sorted(made, key=lambda name: "@depth" not in name):
        symbol, channel = stream_of(stream)
        evidence = log.streams[symbol, channel]
        if channel in STEADY:
            found = _steady(made[stream], evidence, away, hit, verdict)
            if channel == "book":
                covered[symbol] = found
        else:
            _growing(made[stream], evidence, away, hit, covered.get(symbol), verdict)
    _nothing_invented(log, made, venue, verdict)
    return verdict


class _Away:
    """Whether the recorder was not connected when the venue made a message, by the clock that both share."""

    def __init__(self, venue: Account, log: Log) -> None:
        outages = self.outages = log.outages
        self.handovers = [Outage(row, row, None, 0) for row in log.handovers]
        self._sent = {_key(sent) for sent in venue.sent}
        places = {(stream_of(m.stream), number_of(m)): n for n, m in enumerate(venue.made)}
        self._places = {id(m): n for n, m in enumerate(venue.made)}
        self._after = [-1 if o.after is None else places.get(o.after, -1) for o in outages]

    def when(self, message: Made) -> bool:
        place = self._places[id(message)]
        return any(
            after < place and message.at_ns <= outage.until
            for after, outage in zip(self._after, self.outages, strict=True)
        )

    def was_unsent(self, message: Made) -> bool:
        """Whether nobody was sent it."""
        return _key(message) not in self._sent


_HITTING = ("gap", "garbage", "reorder", "silence")


def stream_of(name: str) -> Stream:
    """Symbol and channel of a venue's stream."""
    prefix, _, rest = name.partition("@")
    return prefix.upper(), "bar" if rest.startswith("kline_") else _CHANNEL[rest]


def number_of(message: Made) -> int:
    """What tells a message of a stream from the others: its last id, or the venue's stamp."""
    return message.last or message.stamp


def _steady(
    made: list[Made],
    evidence: Evidence,
    away: _Away,
    hit: set[tuple[str, int, int, int]],
    verdict: Verdict,
) -> list[tuple[int, int]]:
    accounted: list[tuple[int, int]] = []
    begins = min(evidence.places, default=0)
    for message in made:
        if message.last in evidence.places:
            verdict.received += 1
        elif evidence.covers(message.first, message.last):
            verdict.in_gap += 1
        elif message.last < begins and away.when(message):
            verdict.in_outage += 1
        elif message.last < begins and _key(message) in hit:
            verdict.before += 1
        else:
            verdict.blame(f"{message}: neither received nor in a gap row")
            continue
        accounted.append((message.first, message.last))
    return accounted


def _growing(
    made: list[Made],
    evidence: Evidence,
    away: _Away,
    hit: set[tuple[str, int, int, int]],
    covered: list[tuple[int, int]] | None,
    verdict: Verdict,
) -> None:
    numbers = sorted(evidence.places)
    for message in made:
        number = number_of(message)
        if number in evidence.places:
            verdict.received += 1
            continue
        at = bisect_left(numbers, number)
        if at == len(numbers):
            verdict.blame(f"{message}: not received, and nothing of its stream comes after it")
        elif _interrupted(numbers, at, evidence, away.outages) or (at == 0 and away.when(message)):
            verdict.in_outage += 1
        elif away.was_unsent(message) and _interrupted(numbers, at, evidence, away.handovers):
            verdict.at_handover += 1
        elif _key(message) not in hit:
            verdict.blame(f"{message}: was sent on a living connection, and is not in the log")
        elif at == 0:
            verdict.before += 1
        elif covered is not None and message.last and not _within(message.last, covered):
            verdict.blame(f"{message}: left out, and no depth update that is accounted for has its change")
        else:
            verdict.superseded += 1


def _key(message: Made | Sent) -> tuple[str, int, int, int]:
    return message.stream, message.first, message.last, message.stamp


def _interrupted(numbers: list[int], at: int, evidence: Evidence, outages: list[Outage]) -> bool:
    """Whether the stream was interrupted between the rows of `numbers[at - 1]` and those of `numbers[at]`."""
    if not at:
        return False
    before, after = min(evidence.places[numbers[at - 1]]), max(evidence.places[numbers[at]])
    return any(before < outage.lost and outage.back < after for outage in outages)


def _within(number: int, spans: list[tuple[int, int]]) -> bool:
    at = bisect_left(spans, (number + 1,)) - 1
    return at >= 0 and spans[at][0] <= number <= spans[at][1]


def _nothing_invented(log: Log, made: dict[str, list[Made]], venue: Account, verdict: Verdict) -> None:
    sent = Counter((stream_of(s.stream), s.last or s.stamp) for s in venue.sent)
    known = {(stream_of(name), number_of(message)) for name, found in made.items() for message in found}
    for stream, evidence in log.streams.items():
        for number, rows in evidence.places.items():
            if (stream, number) not in known:
                verdict.blame(f"{stream} {number}: is in the log, and the venue never made it")
            elif len(rows) > sent[stream, number]:
                verdict.blame(f"{stream} {number}: {len(rows)} rows, sent {sent[stream, number]} times")
            verdict.copies_missing += max(0, sent[stream, number] - len(rows))
    garbled = Counter(f.wire for f in venue.faults if f.fault == "garbage")
    verdict.malformed = log.malformed.total()
    for wire in log.malformed - garbled:
        verdict.blame(f"a MALFORMED row of what the venue never garbled: {wire[:120]!r}")
