"""A venue and feeds into one log: numbers, order, rotation, and one of them that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.live.address import Address
from engine.live.clock import Sequencer
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.poller import PollConfig, Poller
from engine.live.previous import headlines_of
from engine.live.recorder import Recorder, RecorderConfig, Summary
from engine.live.tap import TapConfig
from engine.log.reader import LogReader
from engine.log.segments import segment_order
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.serve.rest import Reply
from tests.helpers.endpoint import LIMIT_S, Endpoint, fails, item, shows
from tests.helpers.rows import Row, rows_of_batch
from tests.helpers.venue import FakeVenue

QUICK = BackOff(base_s=0.01, cap_s=0.02)


def read(path: Path) -> list[Row]:
    """Every row of a file, without those that only tell the time."""
    with LogReader(path) as reader:
        rows = [row for batch in reader.batches() for row in rows_of_batch(batch)]
    return [row for row in rows if row.kind is not Kind.CLOCK]


def feed(url: str, **options: Any) -> PollConfig:
    return PollConfig(Address(url), every_s=0.01, back_off=QUICK, **options)


def record(
    folder: Path,
    story: Callable[[Recorder, FakeVenue], Awaitable[None]],
    *endpoints: Endpoint,
    venue: bool = True,
    **options: Any,
) -> Summary:
    """Record a venue, if it is wanted, and endpoints, as long as the story goes."""

    async def run() -> Summary:
        fake = FakeVenue(("BTCUSDT",), seed=3)
        async with fake.running(), asyncio.timeout(LIMIT_S):
            for endpoint in endpoints:
                await endpoint.server.__aenter__()
            feeds = tuple(feed(endpoint.server.url) for endpoint in endpoints)
            tap = TapConfig(symbols=fake.symbols, channels=("trade", "quote"), url=fake.url)
            recorder = Recorder(
                RecorderConfig(
                    folder=folder,
                    taps=(tap,) if venue else (),
                    feeds=feeds,
                    flush_ms=1.0,
                    seal=False,
                    **options,
                )
            )
            recording = asyncio.ensure_future(recorder.record())
            try:
                await until(lambda: bool(recorder.files) or recording.done())
                if not recording.done():
                    await story(recorder, fake)
            finally:
                recorder.stop("SIGINT")
                await asyncio.wait((recording,))
                for endpoint in endpoints:
                    await endpoint.server.close()
            return recording.result()

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, giving the event loop its turns."""
    while not condition():  # noqa: ASYNC110  conditions on counts have no event
        await asyncio.sleep(0.001)


def news(rows: list[Row]) -> list[str]:
    return [row.data["headline"] for row in rows if row.kind is Kind.NEWS]


def test_a_venue_and_two_feeds_in_one_log(tmp_path: Path) -> None:
    """Sources are numbered one after the other; every row names its own; times increase over all."""

    async def story(recorder: Recorder, venue: FakeVenue) -> None:
        await venue.connected()
        for _ in range(20):
            await venue.send(venue.trade("BTCUSDT"))
        await until(lambda: recorder.tally.kinds.get("news", 0) == 5 and recorder.intake.frames >= 20)

    summary = record(
        tmp_path, story, Endpoint(shows(1), shows(2, 1), shows(3, 2, 1)), Endpoint(shows(11), shows(12, 11))
    )
    (path,) = [Path(name) for name in summary.files]
    rows = read(path)
    sources = {row.source: row.data["name"] for row in rows if row.kind is Kind.SOURCE}
    assert sources == {1: "binance", 2: "binance-rest", 3: "binance-rest", 4: "news", 5: "news"}
    assert [row.kind for row in rows[:6]] == [Kind.SOURCE] * 5 + [Kind.INSTRUMENT]
    assert {row.source for row in rows if row.kind is Kind.TRADE} == {1}
    for number, texts in ((4, ["1", "2", "3"]), (5, ["11", "12"])):
        own = [row for row in rows if row.source == number]
        assert news(own) == [f"Headline {text}" for text in texts]
        assert [row.event for row in own if row.event] == [
            "connecting",
            "connected",
            "subscribed",
            "disconnected",
        ]
    stamps = [row.ts for row in rows]
    assert stamps == sorted(stamps)
    assert summary.kinds["news"] == 5
    with LogReader(path) as reader:
        assert reader.header.venues == ("binance",)


def test_venues_beside_each_other_in_one_log(tmp_path: Path) -> None:
    """Each has its numbers, books and troubles; when one is cut off, the other's book stays in step."""

    async def run() -> tuple[list[Row], Summary]:
        com, us = FakeVenue(("BTCUSDT", "ETHUSDT"), seed=3), FakeVenue(("BTCUSDT",), seed=4)
        async with com.running(), us.running(), asyncio.timeout(LIMIT_S):
            taps = (
                TapConfig(("BTCUSDT",), "binance", ("trade", "book"), com.url, back_off=QUICK),
                TapConfig(("BTCUSDT",), "binanceus", ("trade", "book"), us.url, back_off=QUICK),
                TapConfig(("ETHUSDT",), "binance", ("trade", "book"), com.url, back_off=QUICK),
            )
            recorder = Recorder(RecorderConfig(folder=tmp_path, taps=taps, flush_ms=1.0, seal=False))
            recording = asyncio.ensure_future(recorder.record())
            await com.connected(2)
            await us.connected()
            books = [tap.instruments["BTCUSDT"] for tap in recorder.intake._taps[:2]]
            assert [number for number, _ in books] == [1, 2]
            for venue in (com, us):
                for symbol in venue.symbols:
                    await venue.send(venue.depth(symbol), venue.trade(symbol))
            taps_now = recorder.intake._taps
            await until(lambda: all(tap.synchronised(tap.symbols[0]) for tap in taps_now))
            await us.drop()
            await us.connected(2)
            await us.send(us.depth("BTCUSDT"))
            await until(lambda: recorder.tally.events["synchronised"] == 4)
            recorder.stop("SIGINT")
            summary = await recording
        return read(Path(summary.files[0])), summary

    rows, summary = asyncio.run(run())
    sources = [
        (row.source, row.data["name"], row.data.get("symbols")) for row in rows if row.kind is Kind.SOURCE
    ]
    assert sources == [
        (1, "binance", ["BTCUSDT"]),
        (2, "binance-rest", None),
        (3, "binance-rest", None),
        (4, "binance-rest", None),
        (5, "binanceus", None),
        (6, "binanceus-rest", None),
        (7, "binanceus-rest", None),
        (8, "binanceus-rest", None),
        (9, "binance", ["ETHUSDT"]),
        (10, "binance-rest", None),
        (11, "binance-rest", None),
        (12, "binance-rest", None),
    ]
    keys = {row.instrument: row.data["key"] for row in rows if row.kind is Kind.INSTRUMENT}
    assert keys == {1: "BTCUSDT.binance", 2: "BTCUSDT.binanceus", 3: "ETHUSDT.binance"}
    assert [row.source for row in rows if row.event == "disconnected"] == [5, 1, 5, 9]
    assert (summary.disconnects, summary.kinds["trade"]) == (1, 3)
    for kind in (Kind.TRADE, Kind.BOOK):
        lines = {(row.instrument, row.source) for row in rows if row.kind is kind}
        assert lines <= {(1, 1), (1, 3), (2, 5), (2, 7), (3, 9), (3, 11)}
    with LogReader(Path(summary.files[0])) as reader:
        assert reader.header.venues == ("binance", "binanceus")


def test_an_interruption_is_one_of_every_connection(tmp_path: Path) -> None:
    """A recorder that is started again says of each connection that it was gone: its books are old."""

    async def run() -> str:
        com, us = FakeVenue(("BTCUSDT",), seed=3), FakeVenue(("BTCUSDT",), seed=4)
        taps = (("binance", com), ("binanceus", us))
        async with com.running(), us.running(), asyncio.timeout(LIMIT_S):
            for _ in range(2):
                config = RecorderConfig(
                    folder=tmp_path,
                    taps=tuple(TapConfig(("BTCUSDT",), name, ("book",), fake.url) for name, fake in taps),
                    seal=False,
                )
                recorder = Recorder(config)
                recording = asyncio.ensure_future(recorder.record())
                await until(lambda recorder=recorder: bool(recorder.files))  # type: ignore[misc]
                recorder.stop("SIGINT")
                summary = await recording
        return summary.files[0]

    rows = read(Path(asyncio.run(run())))
    names = {row.source: row.data["name"] for row in rows if row.kind is Kind.SOURCE}
    gone = [row for row in rows if row.event == "disconnected" and row.data.get("first")]
    assert [names[row.source] for row in gone] == ["binance", "binanceus"]


def test_nothing_is_listened_to_twice() -> None:
    """One symbol of one venue, named twice."""
    taps = (TapConfig(("BTCUSDT", "ETHUSDT")), TapConfig(("ethusdt",)))
    with pytest.raises(UsageError, match="binance:ETHUSDT is named twice"):
        Intake(taps, (), Sequencer(), RowBuffer(), lambda: None)


def test_each_segment_names_all_sources(tmp_path: Path) -> None:
    """After a rotation the feed's SOURCE row stands in the next file, and no headline comes twice."""
    endpoint = Endpoint(*(shows(*range(number, 0, -1)) for number in range(1, 40)))

    async def story(recorder: Recorder, venue: FakeVenue) -> None:
        await venue.connected()
        while recorder.tally.kinds.get("news", 0) < 39 or len(recorder.files) < 3:
            await venue.send(*(venue.trade("BTCUSDT") for _ in range(40)))
            await asyncio.sleep(0.001)

    summary = record(tmp_path, story, endpoint, rotate="20KB")
    segments = [read(Path(name)) for name in summary.files]
    for rows in segments:
        assert [row.data["name"] for row in rows if row.kind is Kind.SOURCE] == [
            "binance",
            "binance-rest",
            "binance-rest",
            "news",
        ]
    together = [text for rows in segments for text in news(rows)]
    assert together == [f"Headline {number}" for number in range(1, 40)]


def test_news_alone(tmp_path: Path) -> None:
    """Without a venue: a log of one source, CLOCK rows in the quiet, continued by the next recording."""

    async def story(recorder: Recorder, _venue: FakeVenue) -> None:
        await until(lambda: recorder.tally.kinds.get("news", 0) == 2 and "clock" in recorder.tally.kinds)

    first = record(tmp_path, story, Endpoint(shows(1), shows(2, 1)), venue=False)
    second = record(tmp_path, story, Endpoint(shows(2, 1)), venue=False)  # its port is another
    files = sorted(tmp_path.glob("*.arrow"), key=segment_order)
    assert [str(path) for path in files] == [*first.files, *second.files]
    before, after = (read(path) for path in files)
    assert [row.kind for row in before[:3]] == [Kind.SOURCE, Kind.STATUS, Kind.STATUS]
    assert news(before) == ["Headline 1", "Headline 2"]
    assert (after[1].event, after[1].source) == ("disconnected", 1)
    assert "nothing was recorded since" in after[1].data["detail"]
    assert before[-1].ts < after[0].ts
    assert (first.disconnects, second.disconnects) == (0, 0)
    with LogReader(files[1]) as reader:
        assert (reader.header.venues, reader.header.previous_file) == (("news",), files[0].name)


def test_a_recorder_that_is_started_again_remembers(tmp_path: Path) -> None:
    """What the segment before holds is not written again; an edit meanwhile is; another address is new."""

    async def run() -> list[list[tuple[str, Flag]]]:
        edited = msgspec.json.encode([item(3), item(2, summary="more"), item(1)])
        endpoint = Endpoint(shows(2, 1), Reply(200, [], edited))
        written = []
        async with endpoint.server, asyncio.timeout(LIMIT_S):
            for path in ("/news", "/news", "/other"):
                feeds = (PollConfig(Address(endpoint.server.url + path), every_s=60.0),)
                recorder = Recorder(RecorderConfig(folder=tmp_path, feeds=feeds, seal=False))
                recording = asyncio.ensure_future(recorder.record())
                await until(lambda made=recorder: bool(made.files))  # type: ignore[misc]
                recorder.stop("SIGINT")
                rows = read(Path((await recording).files[0]))
                written.append([(row.data["headline"], row.flags) for row in rows if row.kind is Kind.NEWS])
        return written

    first, second, third = asyncio.run(run())
    assert [text for text, _ in first] == ["Headline 1", "Headline 2"]
    assert second == [("Headline 2", Flag.LAST | Flag.REVISED), ("Headline 3", Flag.LAST)]
    assert [text for text, _ in third] == ["Headline 1", "Headline 2", "Headline 3"]


def test_a_torn_segment_is_remembered_as_far_as_it_goes(tmp_path: Path) -> None:
    """What a killed recorder left behind serves as well, and what is no log is nothing."""

    async def story(recorder: Recorder, _venue: FakeVenue) -> None:
        await until(lambda: recorder.tally.kinds.get("news", 0) == 2)

    summary = record(tmp_path, story, Endpoint(shows(2, 1)), venue=False)
    path = Path(summary.files[0])
    whole = path.read_bytes()
    counts = []
    for length in (len(whole), len(whole) - 700, 40, 0):
        path.write_bytes(whole[:length])
        counts.append(sum(len(found) for found in headlines_of(path, 10).values()))
    assert counts[0] == 2
    assert counts[-2:] == [0, 0]
    path.write_bytes(whole)
    assert [len(found) for found in headlines_of(path, 1).values()] == [1]


def test_trouble_of_a_feed_is_its_own(tmp_path: Path) -> None:
    """The venue goes on while the endpoint is away, and the feed comes back by itself."""

    async def story(recorder: Recorder, venue: FakeVenue) -> None:
        await venue.connected()
        while recorder.tally.kinds.get("news", 0) < 2:
            await venue.send(venue.trade("BTCUSDT"))
            await asyncio.sleep(0.001)

    summary = record(tmp_path, story, Endpoint(shows(1), *[fails(500)] * 3, shows(2, 1)))
    assert summary.disconnects == 3
    rows = read(Path(summary.files[0]))
    away = [row.source for row in rows if row.event == "disconnected"]
    assert away == [4, 4, 4, 4, 1]
    assert [row.event for row in rows if row.source == 1 and row.event] == [
        "connecting", "connected", "subscribed", "disconnected",
    ]  # fmt: skip


async def _nothing(_recorder: Recorder, _venue: FakeVenue) -> None:
    """The recording ends at once."""


def test_a_feed_that_cannot_be_reached_begins_nothing(tmp_path: Path) -> None:
    """The error names it; there is no file, and the venue is not asked for anything."""
    folder = tmp_path / "new"
    with pytest.raises(VenueError, match="answered HTTP 404"):
        record(folder, _nothing, Endpoint(shows(1)), Endpoint(fails(404)))
    assert not folder.exists()


def test_a_stop_before_the_first_answer(tmp_path: Path) -> None:
    """An endpoint that does not answer can be left at once; nothing was begun, and that is no error."""

    async def run() -> Summary:
        endpoint = Endpoint(None)
        async with endpoint.server, asyncio.timeout(LIMIT_S):
            recorder = Recorder(RecorderConfig(folder=tmp_path, feeds=(feed(endpoint.server.url),)))
            recording = asyncio.ensure_future(recorder.record())
            await until(lambda: bool(endpoint.requests))
            recorder.stop("SIGINT")
            return await recording

    summary = asyncio.run(run())
    assert (summary.reason, summary.files) == ("SIGINT", ())


def test_a_venue_that_cannot_be_reached_closes_the_feeds() -> None:
    """What the feed has answered is written nowhere, and its connection is closed."""

    async def run() -> tuple[int, object]:
        rows, endpoint = RowBuffer(), Endpoint(shows(1))
        async with endpoint.server:
            tap = TapConfig(symbols=("BTCUSDT",), url="ws://127.0.0.1:1")
            intake = Intake((tap,), (feed(endpoint.server.url),), Sequencer(), rows, lambda: None)
            with pytest.raises(VenueError, match="exchangeInfo"):
                await intake.start()
            (poller,) = intake._feeds
            assert isinstance(poller, Poller)
            return rows.count, poller._asking._client

    assert asyncio.run(run()) == (0, None)


def test_a_bug_in_a_feed_ends_everything() -> None:
    """An exception that is no trouble of the network is raised, and nobody goes on alone."""

    async def run() -> None:
        endpoint = Endpoint(shows(1), shows(2))
        async with endpoint.server, asyncio.timeout(LIMIT_S):
            feeds = (feed(endpoint.server.url), feed(endpoint.server.url + "/other"))
            intake = Intake((), feeds, Sequencer(), RowBuffer(), lambda: None)
            await intake.start()
            intake._feeds[1]._take = None  # type: ignore[assignment,method-assign]
            await intake.run()

    with pytest.raises(TypeError, match="not callable"):
        asyncio.run(run())


def test_there_must_be_something_to_listen_to() -> None:
    """Neither a venue nor a feed is a mistake."""
    with pytest.raises(UsageError, match="nothing to listen to"):
        Intake((), (), Sequencer(), RowBuffer(), lambda: None)
