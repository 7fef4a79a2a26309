"""A recording accounts for everything that a venue made, whatever the venue did wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.log.reader import LogReader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, Kind
from engine.serve.sample import write_sample
from engine.serve.source import RecordingSource
from tests.helpers.accounted import SYMBOLS, Recorded, joined, record_under, struck, struck_all
from tests.helpers.accounting import Log, Verdict, account_for, read_log
from tests.helpers.logs import read_rows
from tests.helpers.rows import books_of, rows_of_batch, texts_of

FRAMES_NAMES = ("gap", "duplicate", "reorder", "garbage")
FRAMES = "gap,duplicate,reorder,garbage:0.02"
MIXED = {  # a connection has one end: the announced one, or the other
    f"{FRAMES},stall:100ms:every150ms,disconnect:300ms,429:1s:every30": {
        *FRAMES_NAMES,
        "stall",
        "disconnect",
    },
    f"{FRAMES},slow:400000,shutdown:300ms": {*FRAMES_NAMES, "shutdown"},
}
KIND, FLAGS, DATA, WIRE = 3, 5, 11, 12  # places in a row of read_rows


def verdict_of(recorded: Recorded) -> tuple[Verdict, Log]:
    """The verdict over the files that were recorded."""
    log = read_log(recorded.files)
    return account_for(log, recorded.account), log


def assert_books_agree(recorded: Recorded) -> None:
    """After a calm end the book that the rows give is the venue's."""
    rows = []
    for path in recorded.files:
        with LogReader(path) as reader:
            rows += [row for batch in reader.batches() for row in rows_of_batch(batch)]
    books = books_of(rows)
    decimals = {1: (2, 5), 2: (2, 4)}
    for number, symbol in enumerate(SYMBOLS, start=1):
        venue = recorded.venue.market.depth(symbol, 5_000)
        for side, levels in zip(books[number], (venue["bids"], venue["asks"]), strict=True):
            assert texts_of(side, *decimals[number]) == {float(p): float(s) for p, s in levels}, symbol


@dataclass(frozen=True)
class Case:
    """One fault, and what must have come of it so that the test has shown something."""

    faults: str
    committed: str = ""
    events: tuple[str, ...] = ()  # STATUS rows that the log must have
    counts: tuple[str, ...] = ()  # parts of the verdict that must not be empty
    times: int = 3  # how often it must have been committed
    clients: int = 1  # how many clients there must have been, the recorder's next lives
    lossless: bool = False  # every message is received, every copy too
    dials: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("", lossless=True),
    Case("gap:0.02", "gap", ("gap", "resync"), ("in_gap", "superseded")),
    Case("gap:5:every150", "gap", ("gap", "resync"), ("in_gap", "superseded")),
    Case("duplicate:0.05", "duplicate", lossless=True),
    Case("reorder:0.05", "reorder", ("gap",), lossless=True),
    Case("garbage:0.03", "garbage", ("gap",), ("in_gap", "superseded", "malformed")),
    Case("stall:300ms:every200ms", "stall", ("silence", "resumed"), lossless=True),
    Case("slow:60000", lossless=True),
    Case(
        "slow:30000",
        "",
        ("disconnected", "gap"),
        ("in_gap", "in_outage"),
        clients=4,
        dials={"queue_bytes": 30_000},
    ),
    Case("disconnect:250ms", "disconnect", ("disconnected", "gap"), ("in_gap", "in_outage")),
    Case("disconnect:150", "disconnect", ("disconnected", "gap"), ("in_gap", "in_outage")),
    Case("silence:400", "silence", ("silence", "disconnected", "gap"), ("in_gap",), clients=2),
    # Long enough for a successor on any machine: what is asked is that nothing is lost, not how fast.
    Case("shutdown:250ms", "shutdown", ("server_shutdown", "renewing", "renewed"), dials={"grace_s": 20.0}),
    Case("shutdown:400", "shutdown", ("server_shutdown", "renewing", "renewed"), dials={"grace_s": 20.0}),
    Case("429:1s:every4", "429", ("resync",), times=1, lossless=True),
]


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.faults} {case.dials}".strip(" {}") or "none" for case in CASES]
)
def test_every_message_is_accounted_for_under_each_fault(case: Case, tmp_path: Path) -> None:
    """Received, or inside a gap or an outage that a row names; and the book is right in the end."""
    struck_enough = struck(case.committed, case.times) if case.committed else joined(1)
    came_back = joined(case.clients)
    recorded = record_under(
        case.faults, tmp_path, seed=11, enough=lambda v: struck_enough(v) and came_back(v), **case.dials
    )
    verdict, log = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert_books_agree(recorded)
    for event in case.events:
        assert log.events[event] > (event == "disconnected"), event
    for part in case.counts:
        assert getattr(verdict, part) > 0, part
    if case.lossless:
        assert (verdict.received, verdict.copies_missing) == (len(recorded.account.made), 0)
    if "shutdown" in case.faults:
        assert verdict.received == len(recorded.account.made), "a planned end costs nothing"
        assert log.events["disconnected"] == 1, "its own end"


def test_a_refused_successor_comes_back_when_the_venue_says(tmp_path: Path) -> None:
    """The handshake of a renewal is refused with Retry-After: a few refusals, not one for each back-off."""
    recorded = record_under("shutdown:200ms,429:1s:every3", tmp_path, seed=4, messages=2_500)
    verdict, log = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert log.events["renewing"] > 0
    assert 1 <= sum(fault.fault == "429" for fault in recorded.account.faults) <= 8


def test_every_garbled_frame_is_a_malformed_row(tmp_path: Path) -> None:
    """As many MALFORMED rows as garbled frames, byte for byte, and none else."""
    recorded = record_under("garbage:0.1", tmp_path, seed=3, messages=1_000)
    _, log = verdict_of(recorded)
    garbled = Counter(fault.wire for fault in recorded.account.faults if fault.fault == "garbage")
    assert garbled.total() > 50
    assert log.malformed == garbled


def test_a_copy_is_a_row_with_a_flag(tmp_path: Path) -> None:
    """Each trade that came twice stands twice in the log, the second time as a DUPLICATE."""
    recorded = record_under("duplicate:0.2", tmp_path, seed=4, messages=1_000)
    rows = [row for row in read_rows(recorded.files[0]) if row[KIND] == Kind.TRADE]
    doubled = [f for f in recorded.account.faults if f.stream.endswith("@trade")]
    assert doubled
    assert sum(bool(int(str(row[FLAGS])) & Flag.DUPLICATE) for row in rows) == len(doubled)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("faults", MIXED)
def test_mixed_faults_are_accounted_for(faults: str, seed: int, tmp_path: Path) -> None:
    """Many of them at once, drawn from a seed."""
    recorded = record_under(faults, tmp_path, seed=seed, messages=1_500, enough=struck_all(MIXED[faults]))
    verdict, _ = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert_books_agree(recorded)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_minute_of_mixed_faults_is_accounted_for(seed: int, tmp_path: Path) -> None:
    """The same for a minute each, with longer lives and rarer troubles."""
    faults = (
        "gap:2:0.003,duplicate:0.005,reorder:0.005,garbage:0.005,stall:1s:every7s,disconnect:9s,"
        "shutdown:5s,slow:600000"
    )
    recorded = record_under(faults, tmp_path, seed=seed, messages=110_000, limit_s=240.0)
    verdict, _ = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert_books_agree(recorded)


def test_streams_without_ids_are_accounted_for_by_outages(tmp_path: Path) -> None:
    """Bars have times only, and aggregate trades ids of their own."""
    recorded = record_under(
        "disconnect:200ms,duplicate:0.05",
        tmp_path,
        seed=5,
        messages=400,
        channels=("trade", "aggtrade", "bar"),
        speed=60.0,
        keep_times=True,
        enough=struck("disconnect", 3),
    )
    verdict, log = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert log.events["disconnected"] >= 3
    assert log.streams["BTCUSDT", "bar"].places
    assert log.streams["BTCUSDT", "aggtrade"].places


def test_segments_together_are_accounted_for(tmp_path: Path) -> None:
    """A recording that was rotated many times while the venue was in trouble."""
    recorded = record_under(
        "gap:0.02,disconnect:250ms,garbage:0.01",
        tmp_path,
        seed=7,
        rotate="100KB",
        enough=struck("disconnect", 3),
    )
    assert len(recorded.files) > 3
    verdict, _ = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert verdict.in_gap > 0


def test_a_recording_as_source_is_accounted_for(tmp_path: Path) -> None:
    """A recording that is served again with its own times, recorded again under faults."""
    sample = tmp_path / "sample.arrow"
    write_sample(sample, minutes=1.0)
    recorded = record_under(
        "gap:0.02,disconnect:200ms,reorder:0.02",
        tmp_path / "again",
        seed=6,
        messages=600,
        source=RecordingSource(sample),
        speed=30.0,
        keep_times=True,
    )
    verdict, _ = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    assert verdict.in_gap > 0


# --- The accounting itself can fail. ---


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A recording with gaps and outages, whose account is in order."""
    recorded = record_under(
        "gap:0.02,garbage:0.01,disconnect:400ms",
        tmp_path_factory.mktemp("troubled"),
        seed=8,
        enough=struck("disconnect", 3),
    )
    verdict, _ = verdict_of(recorded)
    assert not verdict.unaccounted, verdict
    return recorded


def without(path: Path, target: Path, is_doomed: Callable[[tuple[Any, ...]], bool]) -> Path:
    """A copy of a log that lacks one row: the one in the middle of those that the condition names."""
    rows: list[tuple[Any, ...]] = read_rows(path)
    places = [n for n, row in enumerate(rows) if is_doomed(row)]
    doomed = places[len(places) // 2]
    with LogReader(path) as reader:
        writer = LogWriter(target, reader.header)
    for n, row in enumerate(rows):
        if n != doomed and row[KIND] != Kind.END:
            writer.rows.append_fast(*row)
    writer.flush()
    writer.abandon()
    return target


def event_of(row: tuple[Any, ...]) -> str:
    if row[KIND] != Kind.STATUS:
        return ""
    return str(msgspec.json.decode(row[DATA])["event"])


def _is_alone(row: tuple[Any, ...]) -> bool:
    return row[WIRE] is not None and bool(row[FLAGS] & Flag.LAST)


TAKEN_AWAY: list[tuple[str, Callable[[tuple[Any, ...]], bool], str]] = [
    ("a trade", lambda row: row[KIND] == Kind.TRADE and _is_alone(row), "@trade"),
    ("a gap of trades", lambda row: event_of(row) == "gap" and b'"trade"' in row[DATA], "@trade"),
    ("a gap of the book", lambda row: event_of(row) == "gap" and b'"book"' in row[DATA], "@depth@100ms"),
    ("an end", lambda row: event_of(row) == "disconnected" and b"broke off" in row[DATA], "@bookTicker"),
]


@pytest.mark.parametrize(("what", "is_doomed", "stream"), TAKEN_AWAY, ids=[t[0] for t in TAKEN_AWAY])
def test_a_row_that_was_taken_away_is_missed(
    what: str,
    is_doomed: Callable[[tuple[Any, ...]], bool],
    stream: str,
    troubled: Recorded,
    tmp_path: Path,
) -> None:
    """The verdict names a message of the stream whose row, or whose explanation, is gone."""
    copy = without(troubled.files[0], tmp_path / "less.arrow", is_doomed)
    verdict = account_for(read_log([copy]), troubled.account)
    assert stream in verdict.unaccounted, what


def test_an_undamaged_copy_is_in_order(troubled: Recorded, tmp_path: Path) -> None:
    """The copying itself takes nothing away but the END row."""
    copy = without(troubled.files[0], tmp_path / "same.arrow", lambda row: row[KIND] == Kind.END)
    assert account_for(read_log([copy]), troubled.account) == verdict_of(troubled)[0]


def test_a_row_that_the_venue_never_sent_is_found(troubled: Recorded) -> None:
    """A message in the log that is not in the venue's list, and one that it sent less often."""
    made = troubled.account.made
    trade = next(n for n, message in enumerate(made) if message.stream.endswith("@trade"))
    taken = made.pop(trade)
    try:
        assert "the venue never made it" in verdict_of(troubled)[0].unaccounted
    finally:
        made.insert(trade, taken)
    place = next(n for n, sent in enumerate(troubled.account.sent) if sent.stream.endswith("@bookTicker"))
    sent = troubled.account.sent.pop(place)
    try:
        assert "1 rows, sent 0 times" in verdict_of(troubled)[0].unaccounted
    finally:
        troubled.account.sent.insert(place, sent)


def test_a_quote_that_was_sent_and_not_received_is_found(troubled: Recorded) -> None:
    """Only what the venue itself left out may be superseded."""
    log = read_log(troubled.files)
    places = log.streams["BTCUSDT", "quote"].places
    del places[sorted(places)[5]]
    verdict = account_for(log, troubled.account)
    assert "was sent on a living connection" in verdict.unaccounted
