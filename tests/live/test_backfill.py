"""Trades that the stream left out come over REST, or are said to be missing; nothing waits for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.feed.parser import Sequenced
from engine.ingest.rebuild import rebuild
from engine.live import backfill, patient
from engine.live.adapter import FillsGaps
from engine.live.adapters.binance import binance, binanceus
from engine.live.recorder import Recorder, RecorderConfig
from engine.live.tap import TapConfig
from engine.log.reader import LogReader
from engine.model.kinds import STATUS_EVENTS, Flag, Kind
from engine.serve.faults import parse_faults
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.accounted import QUICK as TIMEOUTS
from tests.helpers.accounted import SYMBOLS, until
from tests.helpers.rows import Row, rows_of_batch, wires
from tests.helpers.venue import FakeVenue
from tests.helpers.waiting import LIMIT_S
from tests.live.test_tap import QUICK, SOCKET, Listening, play

KEY = "planted-key-1234567890"
BTC = 1
PATH = "/api/v3/trades?symbol=BTCUSDT"
HISTORY = "/api/v3/historicalTrades?symbol=BTCUSDT"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gaps are gathered for a moment only, and there is no key unless a test plants one."""
    monkeypatch.setattr(backfill, "GATHER_S", 0.01)
    monkeypatch.delenv("BINANCE_API_KEY", raising=False)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment."""
    monkeypatch.setenv("BINANCE_API_KEY", KEY)
    return KEY


def told(rows: list[Row], event: str) -> list[tuple[int, int, str]]:
    """First, last and detail of the rows of an event."""
    return [
        (row.data.get("first", 0), row.data.get("last", 0), row.data["detail"])
        for row in rows
        if row.event == event
    ]


def filled(rows: list[Row], instrument: int = BTC) -> list[int]:
    """Ids of the rows that were filled in."""
    return [row.id for row in rows if row.flags & Flag.BACKFILLED and row.instrument == instrument]


def asked(venue: FakeVenue) -> list[str]:
    """Requests for trades."""
    return [path for path in venue.requests if "rades?" in path]


async def concluded(listening: Listening, times: int = 1) -> None:
    """Wait until so many rounds have come to their end."""
    await listening.until(lambda: listening.events.count("backfilled") == times)


def gapped(*skips: int, channel: str = "trade") -> tuple[list[Row], FakeVenue]:
    """What comes of gaps one after the other, each after the one before has been dealt with."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        make = venue.trade if channel == "trade" else venue.aggregate
        await venue.send(make("BTCUSDT"))
        for times, skip in enumerate(skips, start=1):
            await venue.send(make("BTCUSDT", skip=skip))
            await concluded(listening, times)

    return play(story, channels=(channel,))


def test_a_gap_is_filled_from_the_latest_trades() -> None:
    """Without a key: one request, one message of BACKFILLED rows with the body, and two STATUS rows."""
    rows, venue = gapped(7)
    assert asked(venue) == [f"{PATH}&limit=208"]
    assert filled(rows) == list(range(502, 509))
    source = next(row for row in rows if row.kind is Kind.SOURCE and row.data.get("endpoint") == "trades")
    made = [row for row in rows if row.flags & Flag.BACKFILLED]
    assert {(row.source, row.kind, row.ts) for row in made} == {(source.source, Kind.TRADE, made[0].ts)}
    assert [row.wire is None for row in made] == [False] + [True] * 6
    assert told(rows, "backfill") == [(502, 508, "7 missing")]
    assert told(rows, "backfilled") == [(502, 508, "7 came")]
    assert {"backfill", "backfilled"} <= set(STATUS_EVENTS)
    assert venue.keys == [None]
    by_id = {trade["t"]: trade for trade in venue._trades["BTCUSDT"]}
    for row in made:
        trade = by_id[row.id]
        assert f"{row.price / 100:.8f}" == trade["p"]
        assert row.size == 2_000
        assert row.side == (-1 if trade["m"] else 1)


def test_aggregates_are_filled_by_id() -> None:
    """GET aggTrades needs no key and is asked for exactly what is missing."""
    rows, venue = gapped(3, channel="aggtrade")
    assert asked(venue) == ["/api/v3/aggTrades?symbol=BTCUSDT&fromId=2&limit=3"]
    assert filled(rows) == [2, 3, 4]
    assert all(row.flags & Flag.AGGREGATE for row in rows if row.flags & Flag.BACKFILLED)
    assert told(rows, "backfilled") == [(2, 4, "3 came")]


def test_a_key_reaches_further_back(key: str) -> None:
    """GET historicalTrades page by page; the key goes along in a header and stands in no row."""
    rows, venue = gapped(2_500)
    assert asked(venue) == [
        f"{HISTORY}&fromId=502&limit=1000",
        f"{HISTORY}&fromId=1502&limit=1000",
        f"{HISTORY}&fromId=2502&limit=500",
    ]
    assert venue.keys == [key] * 3
    assert filled(rows) == list(range(502, 3_002))
    assert told(rows, "backfilled") == [(502, 3_001, "2,500 came")]
    assert not any(key in str(row.data) or key.encode() in (row.wire or b"") for row in rows)


def test_the_latest_trades_may_not_reach_back_far_enough() -> None:
    """Without a key no more than a thousand: the rest is said to be missing, and why."""
    rows, venue = gapped(1_200)
    assert asked(venue) == [f"{PATH}&limit=1000"]
    assert filled(rows) == list(range(703, 1_702))
    assert told(rows, "backfill") == [(703, 1_701, "999 missing")]
    ((first, last, detail),) = told(rows, "backfilled")
    assert (first, last) == (703, 1_701)
    assert detail == (
        "999 came; 201 still missing: only the latest 1,000 can be had without BINANCE_API_KEY"
        "; engine fetch may bring them"
    )


@pytest.mark.usefixtures("key")
def test_a_venue_may_have_forgotten_them() -> None:
    """What its history does not give stays missing, and is not asked for for ever."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.oldest_trade = 506
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=7))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert len(asked(venue)) == 1
    assert filled(rows) == [506, 507, 508]
    ((_, _, detail),) = told(rows, "backfilled")
    assert detail.startswith("3 came; 4 still missing: the venue does not give them")


@pytest.mark.usefixtures("key")
def test_no_more_than_so_many_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest of them; the row says that there are more."""
    monkeypatch.setattr(backfill, "MOST", 1_500)
    rows, venue = gapped(4_000)
    assert asked(venue) == [f"{HISTORY}&fromId=3002&limit=1000", f"{HISTORY}&fromId=4002&limit=500"]
    assert filled(rows) == list(range(3_002, 4_502))
    ((_, _, detail),) = told(rows, "backfilled")
    assert detail.startswith("1,500 came; 2,500 still missing: no more than 1,500 in 100 gaps")


@pytest.mark.usefixtures("key")
def test_several_gaps_are_one_request() -> None:
    """Gaps that come together are asked for together; what lies between them is passed over."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await venue.send(venue.trade("BTCUSDT"), *(venue.trade("BTCUSDT", skip=2) for _ in range(3)))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert asked(venue) == [f"{HISTORY}&fromId=502&limit=8"]
    assert filled(rows) == [502, 503, 505, 506, 508, 509]
    assert told(rows, "backfill") == [(502, 509, "6 missing in 3 gaps")]


@pytest.mark.usefixtures("key")
def test_more_gaps_than_a_parser_remembers_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest hundred are asked for; the others are said to be missing, even those it has forgotten."""
    monkeypatch.setattr(backfill, "GATHER_S", 1.0)

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await venue.send(venue.trade("BTCUSDT"), *(venue.trade("BTCUSDT", skip=1) for _ in range(300)))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert asked(venue) == [f"{HISTORY}&fromId=902&limit=199"]
    assert filled(rows) == list(range(902, 1_101, 2))
    ((_, _, detail),) = told(rows, "backfilled")
    assert detail.startswith("100 came; 200 still missing: no more than 10,000 in 100 gaps")


def test_a_late_frame_needs_no_request() -> None:
    """What fills its gap by itself is not asked for, and no row says anything but the gap."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        early, late = venue.trade("BTCUSDT"), venue.trade("BTCUSDT")
        await venue.send(venue.trade("BTCUSDT"), late, venue.trade("BTCUSDT"), early)
        await venue.send(venue.trade("ETHUSDT"), venue.trade("ETHUSDT", skip=1))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert "gap" in [row.event for row in rows]
    assert [path for path in asked(venue) if "BTC" in path] == []
    assert filled(rows, 2) == [502]


@pytest.mark.parametrize(
    "refusals", [[429], [500, 418], ["<html>", 503], ["{", "[]x"], ['{"code":-1,"msg":"no"}']], ids=str
)
def test_a_refusal_that_passes_is_outlived(refusals: list[int | str]) -> None:
    """A row for each attempt with its wait; then the trades come."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_trades = list(refusals)
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=2))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert len(asked(venue)) == len(refusals) + 1
    attempts = [row.data for row in rows if row.event == "backfill"]
    assert [data.get("attempt", 0) for data in attempts] == list(range(len(refusals) + 1))
    assert all(data["wait_ns"] > 0 for data in attempts[1:])
    assert filled(rows) == [502, 503]


@pytest.mark.parametrize(("refusals", "requests"), [([503] * 9, patient.ATTEMPTS), ([401], 1), ([400], 1)])
def test_a_refusal_that_lasts_is_left(refusals: list[int | str], requests: int) -> None:
    """A few attempts, one where asking again cannot help; the row says what is missing and why."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_trades = list(refusals)
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=2))
        await concluded(listening)
        venue.refuse_trades = []
        await venue.send(venue.trade("BTCUSDT", skip=1))
        await concluded(listening, 2)

    rows, venue = play(story, channels=("trade",))
    assert len(asked(venue)) == requests + 1
    first, second = told(rows, "backfilled")
    assert first[:2] == (0, 0)
    assert first[2].startswith("0 came; 2 still missing: http://127.0.0.1")
    assert f"answered HTTP {refusals[0]}" in first[2]
    assert second == (502, 505, "3 came")
    # The second answer had what the first should have brought: it was missing still.
    assert filled(rows) == [502, 503, 505]


def test_a_gap_over_a_disconnect_is_filled() -> None:
    """What was traded while nobody was connected: a gap after the reconnect, filled like any other."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await venue.send(venue.trade("BTCUSDT"))
        await listening.received(venue)
        await venue.drop()
        await venue.connected(2)
        await venue.send(venue.trade("BTCUSDT", skip=5))
        await concluded(listening)

    rows, _ = play(story, channels=("trade",))
    assert filled(rows) == list(range(502, 507))


def test_a_request_outlives_its_connection() -> None:
    """A gap whose connection is lost before the answer comes is filled all the same."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_trades = [503, 503, 503]
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=5))
        await venue.asked(PATH, 1)
        await venue.drop()
        await venue.connected(2)
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert len(asked(venue)) == 4
    assert filled(rows) == list(range(502, 507))


def test_the_end_says_what_was_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in the middle of the wait for another attempt."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        monkeypatch.setattr(type(QUICK), "wait_s", lambda *_: 60.0)
        venue.refuse_trades = [503]
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=5))
        await listening.until(lambda: listening.events.count("backfill") == 2)

    rows, _ = play(story, channels=("trade",))
    ((_, _, detail),) = told(rows, "backfilled")
    assert detail.startswith("0 came; 5 still missing: the recording ended")


def test_the_end_of_a_recording_does_not_wait_for_late_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap that was still being gathered is said to be missing."""
    monkeypatch.setattr(backfill, "GATHER_S", 60.0)

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=5))
        await listening.until(lambda: "gap" in listening.events)

    rows, venue = play(story, channels=("trade",))
    assert asked(venue) == []
    ((_, _, detail),) = told(rows, "backfilled")
    assert detail == "0 came; 5 still missing: the recording ended; engine fetch may bring them"


def test_a_long_ban_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue asks for more patience than the trades are worth."""
    monkeypatch.setattr(patient, "PATIENCE_S", 0.0)

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_trades = [429]
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=5))
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert len(asked(venue)) == 1
    assert "HTTP 429" in told(rows, "backfilled")[0][2]


def test_nothing_waits_for_it() -> None:
    """While an answer does not come, frames go on into rows."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_trades = [503, 503, 503]
        await venue.send(venue.trade("BTCUSDT"), venue.trade("BTCUSDT", skip=5))
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(200)))
        await listening.received(venue)
        assert "backfilled" not in listening.events
        await concluded(listening)

    rows, venue = play(story, channels=("trade",))
    assert wires(rows, SOCKET) == venue.sent
    assert filled(rows) == list(range(502, 507))


@pytest.mark.usefixtures("key")
def test_a_recording_with_filled_gaps_is_rebuilt_the_same(tmp_path: Path) -> None:
    """Over two connections of one venue, segments and a reconnect; and each id once without a flag."""

    async def run() -> list[Path]:
        venue = FakeVenue(("BTCUSDT", "ETHUSDT"), seed=3)
        async with venue.running(), asyncio.timeout(LIMIT_S):
            taps = tuple(
                TapConfig((symbol,), "binance", ("trade", "aggtrade", "book"), venue.url, back_off=QUICK)
                for symbol in venue.symbols
            )
            recorder = Recorder(
                RecorderConfig(folder=tmp_path, taps=taps, flush_ms=1.0, rotate="20KB", seal=False)
            )
            recording = asyncio.ensure_future(recorder.record())
            await venue.connected(2)
            for times in range(1, 9):
                for symbol in venue.symbols:
                    await venue.send(
                        venue.trade(symbol),
                        venue.depth(symbol, skip=times % 2),
                        venue.trade(symbol, skip=times * 3),
                        venue.aggregate(symbol, skip=times),
                    )
                if times == 4:
                    await venue.drop()
                    await venue.connected(4)
                while recorder.tally.events["backfilled"] < times * 4 - 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            recorder.stop("SIGINT")
            await recording
        return recorder.files

    paths = asyncio.run(run())
    assert len(paths) > 2
    report = rebuild(paths)
    assert (report.count, report.unparsed, report.warnings) == (0, 0, ())
    rows = []
    for path in paths:
        with LogReader(path) as reader:
            rows += [row for batch in reader.batches() for row in rows_of_batch(batch)]
    for instrument in (1, 2):
        for kind in (Flag(0), Flag.AGGREGATE):
            ids = [
                row.id
                for row in rows
                if row.kind is Kind.TRADE
                and row.instrument == instrument
                and row.flags & Flag.AGGREGATE == kind
                and not row.flags & Flag.DUPLICATE
            ]
            assert sorted(ids) == list(range(min(ids), max(ids) + 1))
            assert len(filled(rows, instrument)) > 100


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("key", "gap:3:0.02,disconnect:200ms,429:1s:every9"),
        ("latest", "gap:3:0.02,disconnect:200ms"),  # a ban would outlast the latest thousand
    ],
)
def test_what_a_local_venue_left_out_is_brought_by_its_rest(
    source: str, faults: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gaps, lost connections and refusals: in the end every trade that was made since the first is a row."""
    if source == "key":
        monkeypatch.setenv("BINANCE_API_KEY", KEY)

    async def run() -> tuple[list[Path], LocalVenue]:
        planned = parse_faults([faults])
        market = SyntheticMarket(5, SYMBOLS)
        async with LocalVenue(market, faults=planned, fault_seed=5, account=True, speed=40.0) as venue:
            tap = TapConfig(
                SYMBOLS, channels=("trade", "aggtrade"), url=venue.ws_url, back_off=QUICK, timeouts=TIMEOUTS
            )
            recorder = Recorder(RecorderConfig(folder=tmp_path, taps=(tap,), flush_ms=5.0, seal=False))
            recording = asyncio.ensure_future(recorder.record())
            assert venue.account is not None
            made, committed = venue.account.made, venue.account.faults
            try:
                async with asyncio.timeout(60.0):
                    await until(lambda: recording.done() or (len(made) > 800 and len(committed) > 12))
                    venue.calm()
                    begun = len(made)
                    (wire,) = recorder.intake._taps[0]._wires
                    assert isinstance(wire.parser, Sequenced)
                    known = [
                        wire.parser.sequence(symbol, channel)
                        for symbol in SYMBOLS
                        for channel in ("trade", "aggtrade")
                    ]
                    await until(
                        lambda: (
                            recording.done()
                            or (len(made) > begun + 100 and not any(sequence.holes for sequence in known))
                        )
                    )
            finally:
                recorder.stop("SIGINT")
                await asyncio.wait((recording,))
            recording.result()
        return recorder.files, venue

    files, venue = asyncio.run(run())
    rows = []
    for path in files:
        with LogReader(path) as reader:
            rows += [row for batch in reader.batches() for row in rows_of_batch(batch)]
    assert venue.account is not None
    for instrument, symbol in enumerate(SYMBOLS, start=1):
        for stream, flag in (("trade", Flag(0)), ("aggTrade", Flag.AGGREGATE)):
            trades = [
                row
                for row in rows
                if (row.kind, row.instrument, row.flags & Flag.AGGREGATE) == (Kind.TRADE, instrument, flag)
            ]
            got = {row.id for row in trades}
            made = {m.last for m in venue.account.made if m.stream == f"{symbol.lower()}@{stream}"}
            assert got == {number for number in made if min(got) <= number <= max(got)}
            assert any(row.flags & Flag.BACKFILLED for row in trades)
    assert rebuild(files).count == 0


def test_keys_stay_where_they_belong(key: str) -> None:
    """Binance.US gets no key of Binance's, and neither does another machine without encryption."""
    ways = [
        (binance(), "historicalTrades"),
        (binance("ws://127.0.0.1:8080"), "historicalTrades"),
        (binance("wss://example.com"), "historicalTrades"),
        (binance("ws://example.com"), "trades"),
        (binanceus(), "trades"),
    ]
    for adapter, endpoint in ways:
        assert isinstance(adapter, FillsGaps)
        way = adapter.backfill("trade")
        assert way is not None
        assert way.endpoint == endpoint
        assert key not in repr(way)
        assert ("X-MBX-APIKEY" in way.headers()) == (endpoint == "historicalTrades")
        assert adapter.backfill("quote") is None
    assert binance().backfill("aggtrade").headers() == {"X-MBX-TIME-UNIT": "MICROSECOND"}  # type: ignore[union-attr]
    assert binanceus().backfill("aggtrade").headers() == {}  # type: ignore[union-attr]
