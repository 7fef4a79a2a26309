"""Trades that Alpaca made while nobody was connected come over REST, or are said to be missing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from engine.feed.alpaca_missed import MARGIN_NS
from engine.ingest.rebuild import rebuild
from engine.live import backfill_period, patient
from engine.live.adapter import FillsPeriods
from engine.live.adapters.alpaca import NAMES, Alpaca
from engine.live.clock import Sequencer
from engine.live.connection import Timeouts
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.recorder import Recorder, RecorderConfig
from engine.live.tap import TapConfig
from engine.log.reader import LogReader
from engine.model.kinds import Flag, Kind
from engine.model.units import SECOND_NS, format_time
from engine.serve.alpaca_server import LocalAlpaca
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.faults import parse_faults
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.accounted import until
from tests.helpers.alpaca import article, trade
from tests.helpers.alpaca_venue import KEY, SECRET, FakeAlpaca
from tests.helpers.rows import Row, rows_of_batch
from tests.helpers.waiting import LIMIT_S, WaitingRows

QUICK = BackOff(base_s=0.01, cap_s=0.02)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue's history is settled at once, and the keys are in the environment."""
    monkeypatch.setattr(backfill_period, "SETTLE_S", 0.01)
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)


class Listening(WaitingRows):
    """A tap on a fake venue, whose rows are kept."""

    def __init__(
        self, venue: FakeAlpaca, name: str, symbols: tuple[str, ...], channel: str = "trade"
    ) -> None:
        super().__init__()
        config = TapConfig(
            venue=name,
            url=venue.url,
            symbols=symbols,
            channels=(channel,),
            back_off=QUICK,
            timeouts=Timeouts(message_gap_s=0.0),
        )
        self.tap = Intake((config,), (), Sequencer(), self.buffer, self.changed.set)

    def told(self, event: str) -> list[str]:
        """Details of the rows of an event."""
        return [row.data.get("detail", "") for row in self.rows if row.event == event]


HISTORIES = dict.fromkeys(NAMES, "trade") | {"alpaca-news": "news", "alpaca-test": ""}
Scene = Callable[[FakeAlpaca, Listening], Awaitable[None]]


def play(scene: Scene, name: str = "alpaca", symbols: tuple[str, ...] = ("AAPL", "AMD")) -> list[Row]:
    """The rows of a scene after the venue dropped the connection and it came back."""

    async def story() -> list[Row]:
        async with FakeAlpaca().running() as venue:
            here = Listening(venue, name, symbols)
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await venue.send(trade(1, S=symbols[0]))
            await here.until(lambda: any(row.kind is Kind.TRADE for row in here.rows))
            await venue.drop()
            await scene(venue, here)
            await here.tap.stop()
            await running
            return here.rows

    return asyncio.run(story())


def page(venue_rows: Listening, *numbers: int, symbol: str = "AAPL", onward: str | None = None) -> bytes:
    """An answer with trades of the time that is missing."""
    since = next(row.ts for row in venue_rows.rows if row.kind is Kind.TRADE)
    entries = [{"t": format_time(since + n), "x": "K", "p": 9, "s": 1, "i": n} for n in numbers]
    return msgspec.json.encode({"trades": {symbol: entries}, "next_page_token": onward})


def filled(rows: list[Row]) -> list[tuple[int, int]]:
    """Instrument and id of the rows that were filled in."""
    return [(row.instrument, row.id) for row in rows if row.flags & Flag.BACKFILLED]


def test_what_was_missed_is_asked_for_once_all_are_listened_to_again() -> None:
    """Every page of all symbols together; what came is a message for each, between two rows of ours."""
    seen: list[FakeAlpaca] = []

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [page(here, 5, 6, onward="more"), page(here, 7, symbol="AMD")]
        seen.append(venue)
        await here.until(lambda: "backfilled" in here.events)

    rows = play(scene)
    (venue,) = seen
    assert filled(rows) == [(1, 5), (1, 6), (2, 7)]
    queries = [parse_qs(urlsplit(path).query) for path in venue.requests]
    assert [urlsplit(path).path for path in venue.requests] == ["/v2/stocks/trades"] * 2
    assert [query.get("page_token") for query in queries] == [None, ["more"]]
    assert {(query["symbols"][0], query["feed"][0]) for query in queries} == {("AAPL,AMD", "iex")}
    assert venue.keys == [(KEY, SECRET)] * 2
    (gap,) = [row.data for row in rows if row.event == "gap"]
    (asked,) = [row.data for row in rows if row.event == "backfill"]
    (came,) = [row for row in rows if row.event == "backfilled"]
    assert (asked["first"], asked["last"]) == (gap["first"], gap["last"])
    assert asked["detail"] == "trade of AAPL, AMD"
    assert queries[0]["start"] == [format_time(gap["first"] - MARGIN_NS)]
    made = [row for row in rows if row.flags & Flag.BACKFILLED]
    assert (came.data["detail"], came.data["first"], came.data["last"]) == (
        "3 came",
        made[0].ts_venue,
        made[2].ts_venue,
    )
    assert {came.source} == {row.source for row in made}
    (source,) = [row.data for row in rows if row.kind is Kind.SOURCE and row.source == came.source]
    assert (source["name"], source["endpoint"]) == ("alpaca-rest", "trades")
    assert source["symbols"] == ["AAPL", "AMD"]
    everything = msgspec.json.encode([row.data for row in rows]) + b"".join(row.wire or b"" for row in rows)
    assert SECRET.encode() not in everything


@pytest.mark.parametrize("refusals", [[429], [500, 503], [b"{}x"], [b"[]"]], ids=str)
def test_a_refusal_that_passes_is_outlived(refusals: list[int | bytes]) -> None:
    """A row for each attempt with its wait; then the trades come."""

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [*refusals, page(here, 5)]
        await here.until(lambda: "backfilled" in here.events)

    rows = play(scene)
    attempts = [row.data for row in rows if row.event == "backfill"]
    assert [data.get("attempt", 0) for data in attempts] == list(range(len(refusals) + 1))
    assert filled(rows) == [(1, 5)]


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (503, patient.ATTEMPTS)])
def test_what_does_not_come_is_said(status: int, requests: int) -> None:
    """Why, and what to do; the recording goes on."""

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [status] * patient.ATTEMPTS
        await here.until(lambda: "backfilled" in here.events)
        assert len(venue.requests) == requests
        await venue.send(trade(9))
        await here.until(lambda: any(row.id == 9 for row in here.rows))

    rows = play(scene)
    (detail,) = [row.data["detail"] for row in rows if row.event == "backfilled"]
    assert detail.startswith("0 came; more may be missing: http://127.0.0.1")
    assert f"HTTP {status}" in detail
    assert detail.endswith("; engine fetch may bring them")


def test_pages_that_do_not_end_are_left() -> None:
    """A page that leads back to itself, and more than anybody asked for."""

    async def circle(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [page(here, 5, onward="a"), page(here, 6, onward="a")]
        await here.until(lambda: "backfilled" in here.events)
        (detail,) = here.told("backfilled")
        assert detail.startswith("2 came; more may be missing: a page of the answer leads back to itself")

    assert filled(play(circle)) == [(1, 5), (1, 6)]


def test_pages_that_bring_nothing_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue may lead on for ever with what nobody asked for."""
    monkeypatch.setattr(backfill_period, "PAGES", 3)
    requests: list[str] = []

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [page(here, symbol="NVDA", onward=str(number)) for number in range(9)]
        await here.until(lambda: "backfilled" in here.events)
        requests.extend(venue.requests)
        (detail,) = here.told("backfilled")
        assert detail.startswith("0 came; more may be missing: no more than 3 pages are asked for at a time")

    play(scene)
    assert len(requests) == 3


def test_what_the_history_limits_is_not_the_stream() -> None:
    """Come back in an hour, says REST; a connection that is lost then is opened again as ever."""

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers, venue.retry_after = [429], "3600"
        await here.until(lambda: "backfilled" in here.events)
        await venue.drop()
        await here.until(lambda: here.events.count("subscribed") == 3)

    rows = play(scene)
    waits = [row.data["wait_ns"] for row in rows if row.event == "disconnected" and "wait_ns" in row.data]
    assert max(waits) < SECOND_NS


def test_a_long_ban_is_not_waited_for() -> None:
    """Who is told to come back in an hour says so at once, the next time as well."""

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers, venue.retry_after = [429], "3600"
        await here.until(lambda: "backfilled" in here.events)
        await venue.drop()
        await here.until(lambda: here.events.count("backfilled") == 2)
        assert len(venue.requests) == 1
        assert "the venue asks to wait for 3,6" in here.told("backfilled")[1]

    play(scene)


def test_many_symbols_are_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address has no room for thousands."""
    monkeypatch.setattr(backfill_period, "SYMBOLS_AT_ONCE", 1)
    asked: list[str] = []

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        venue.answers = [page(here, 5), page(here, 5, symbol="AMD")]
        await here.until(lambda: "backfilled" in here.events)
        asked.extend(parse_qs(urlsplit(path).query)["symbols"][0] for path in venue.requests)

    assert filled(play(scene)) == [(1, 5), (2, 5)]
    assert asked == ["AAPL", "AMD"]


def test_the_end_of_a_recording_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for and has not come is said to be missing."""

    async def for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    async def scene(_venue: FakeAlpaca, here: Listening) -> None:
        monkeypatch.setattr(patient.Patient, "get", for_ever)
        await here.until(lambda: "backfill" in here.events)

    rows = play(scene)
    (detail,) = [row.data["detail"] for row in rows if row.event == "backfilled"]
    assert detail == "0 came; more may be missing: the recording ended; engine fetch may bring them"


def test_the_end_of_a_recording_does_not_wait_for_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not even asked for is said to be missing, once."""
    monkeypatch.setattr(backfill_period, "SETTLE_S", 60.0)

    async def scene(_venue: FakeAlpaca, here: Listening) -> None:
        await here.until(lambda: "gap" in here.events)

    rows = play(scene)
    details = [row.data["detail"] for row in rows if row.event in {"backfill", "backfilled"}]
    assert details == ["0 came; more may be missing: the recording ended; engine fetch may bring them"]


def test_a_second_loss_is_a_second_round() -> None:
    """Each has its rows; what came in the first is not written again."""

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        both = page(here, 5, 6)
        venue.answers = [page(here, 5), both]
        await here.until(lambda: "backfilled" in here.events)
        await venue.drop()
        await here.until(lambda: here.events.count("backfilled") == 2)

    rows = play(scene)
    assert filled(rows) == [(1, 5), (1, 6)]
    assert [row.data["detail"] for row in rows if row.event == "backfilled"] == ["1 came", "1 came"]


def articles(*numbers: int) -> bytes:
    """An answer with headlines."""
    return msgspec.json.encode(
        {"news": [article(number, f"Headline {number}") for number in numbers], "next_page_token": None}
    )


def test_headlines_that_were_missed_are_told_when_they_come() -> None:
    """What is known is passed over; the others are rows like any, of the answer's source."""
    asked: list[str] = []

    async def story() -> list[Row]:
        async with FakeAlpaca(known=("*",)).running() as venue:
            here = Listening(venue, "alpaca-news", ("*",), "news")
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await venue.send(article(1, "Headline 1"))
            await here.until(lambda: any(row.kind is Kind.NEWS for row in here.rows))
            venue.answers = [articles(1, 2, 3)]
            await venue.drop()
            await here.until(lambda: "backfilled" in here.events)
            await venue.send(article(3, "Headline 3"), article(4, "Headline 4"))
            await here.until(lambda: sum(row.kind is Kind.NEWS for row in here.rows) == 5)
            await here.tap.stop()
            await running
            asked.extend(venue.requests)
            return here.rows

    rows = asyncio.run(story())
    (path,) = asked
    assert urlsplit(path).path == "/v1beta1/news"
    query = parse_qs(urlsplit(path).query)
    assert "symbols" not in query
    news = [row for row in rows if row.kind is Kind.NEWS]
    assert [(row.data["headline"], row.flags & ~Flag.LAST) for row in news] == [
        ("Headline 1", Flag(0)),
        ("Headline 2", Flag(0)),
        ("Headline 3", Flag(0)),
        ("Headline 3", Flag.DUPLICATE),
        ("Headline 4", Flag(0)),
    ]
    assert query["start"] == [format_time(news[0].ts_venue - MARGIN_NS)]
    (gap,) = [row.data for row in rows if row.event == "gap"]
    assert (gap["channel"], gap["detail"], gap["first"]) == (
        "news",
        "all headlines about *",
        news[0].ts_venue,
    )
    (came,) = [row for row in rows if row.event == "backfilled"]
    assert came.data["detail"] == "2 came"
    assert {came.source} == {row.source for row in news[1:3]} != {news[0].source}


def test_coins_are_asked_for_where_coins_are() -> None:
    """Another path, and no feed."""
    asked: list[str] = []

    async def scene(venue: FakeAlpaca, here: Listening) -> None:
        await here.until(lambda: "backfilled" in here.events)
        asked.extend(venue.requests)

    play(scene, "alpaca-crypto", ("BTC/USD",))
    assert [urlsplit(path).path for path in asked] == ["/v1beta3/crypto/us/trades"]
    assert "feed" not in parse_qs(urlsplit(asked[0]).query)


@pytest.mark.parametrize(("name", "channel"), HISTORIES.items())
def test_every_stream_but_the_invented_one_has_a_history(name: str, channel: str) -> None:
    """Of trades or of headlines; who has none has no source for it."""
    adapter = Alpaca(name)
    assert isinstance(adapter, FillsPeriods)
    assert adapter.period_channel == channel


@pytest.mark.parametrize(
    "fault",
    [
        "disconnect:400ms",
        "garbage:0.05",
        "slow:40000,disconnect:500ms",
        "disconnect:400ms,garbage:0.02,duplicate:0.05,reorder:0.05,stall:50ms:every200ms",
    ],
)
def test_a_recording_under_faults_has_every_trade(fault: str, tmp_path: Path) -> None:
    """Of a venue that hangs up and sends rubbish: each trade once, and rebuild makes the same rows."""
    symbols = ("AAPL", "MSFT")

    async def story() -> tuple[list[Path], Counter[tuple[str, int, int]]]:
        market = SyntheticMarket(5, symbols, rate=20.0, model=alpaca_model)
        source = AlpacaSource(market, test_symbol=False)
        faults = parse_faults([fault])
        async with LocalAlpaca(source, faults=faults, fault_seed=5, account=True, wait_for=1) as venue:
            account = venue.account
            assert account is not None
            tap = TapConfig(
                venue="alpaca", url=venue.ws_url, symbols=symbols, channels=("trade",), back_off=QUICK
            )
            recorder = Recorder(RecorderConfig(taps=(tap,), folder=tmp_path, seal=False, flush_ms=5.0))
            recording = asyncio.ensure_future(recorder.record())
            events = recorder.tally.events
            async with asyncio.timeout(4 * LIMIT_S):
                await until(lambda: recording.done() or events["backfilled"] >= 3)
                venue.calm()
                tap_here = recorder.intake._taps[0]
                heard = tap_here.frames
                await until(lambda: recording.done() or tap_here.frames > heard + 20)
                venue.halt()
                await venue.wait_ended()
                await until(lambda: all(client.behind == 0 for client in venue.clients.values()))
                await until(lambda: recording.done() or not tap_here._periods._jobs)
            recorder.stop("SIGINT")
            await recording
            made = Counter(
                (m.stream.partition("@")[2], m.first, m.stamp)
                for m in account.made
                if m.stream[:6] == "trades"
            )
            return recorder.files, made

    files, made = asyncio.run(story())
    rows: list[Row] = []
    for path in files:
        with LogReader(path) as reader:
            rows += [row for batch in reader.batches() for row in rows_of_batch(batch)]
    names = dict(enumerate(symbols, start=1))
    plain = [
        row for row in rows if row.kind is Kind.TRADE and not row.flags & (Flag.DUPLICATE | Flag.REVISED)
    ]
    kept = Counter((names[row.instrument], row.id, row.ts_venue) for row in plain)
    assert made - kept == Counter(), "some are lost"
    assert max(kept.values()) == 1, "none stands twice"
    assert any(row.flags & Flag.BACKFILLED for row in plain)
    (path,) = files
    assert rebuild([path]).count == 0
