"""The local venue over real loopback: what clients see, what it does to those that misbehave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from engine.model.errors import UsageError, VenueError
from engine.serve.faults import Fault, parse_fault
from engine.serve.market import Book
from engine.serve.packets import text_frame
from engine.serve.server import MAX_SPEED, LocalVenue, ids_of
from engine.serve.synthetic import Event, SyntheticMarket

PATIENCE_S = 15.0
BTC = "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms"


class Script:
    """A source of given events."""

    description = "script"

    def __init__(self, events: list[Event] | Callable[[], Iterator[Event]]) -> None:
        self.instruments = SyntheticMarket(0).instruments
        self._events = events

    def events(self) -> Iterator[Event]:
        """The events, from the first on."""
        return iter(self._events if isinstance(self._events, list) else self._events())


def first_events(count: int, seed: int = 7) -> list[Event]:
    return list(islice(SyntheticMarket(seed, ["BTCUSDT"]).events(), count))


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def patiently() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene()

    asyncio.run(patiently())


@asynccontextmanager
async def client(venue: LocalVenue, target: str) -> AsyncIterator[ClientConnection]:
    async with connect(venue.ws_url + target, compression=None, max_queue=None) as connection:
        yield connection


async def read(connection: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(await connection.recv()) for _ in range(count)]


async def read_all(connection: ClientConnection) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        while True:
            found.append(json.loads(await connection.recv()))
    except ConnectionClosed:
        return found


async def get(venue: LocalVenue, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=venue.http_url) as http:
        return await http.get(path)


def test_every_event_arrives_once_and_in_order() -> None:
    """At full speed a combined client gets all of a source's events, verbatim with kept times."""
    events = first_events(3_000)
    shown = [e for e in events if not e.stream.endswith("snapshot")]

    async def scene() -> None:
        async with LocalVenue(Script(events), speed=MAX_SPEED, keep_times=True, account=True) as venue:
            async with client(venue, f"/stream?streams={BTC}&timeUnit=MICROSECOND") as connection:
                frames = await read(connection, len(shown))
            assert [(f["stream"], f["data"]) for f in frames] == [(e.stream, e.payload) for e in shown]
            assert [(s.stream, s.first, s.last) for s in venue.sent] == [
                (e.stream, *ids_of(e.payload)) for e in shown
            ]

    run(scene)


def test_raw_and_subscribed_clients_see_the_same_market() -> None:
    """/ws/<stream>, /ws/<token> + SUBSCRIBE and /stream give the same payloads, each in its form."""
    events = first_events(2_000)

    async def scene() -> None:
        async with (
            LocalVenue(Script(events), speed=MAX_SPEED, keep_times=True, wait_for=3) as venue,
            client(venue, "/ws/btcusdt@trade") as raw,
            client(venue, "/stream?streams=btcusdt@trade") as combined,
            client(venue, "/ws/0") as token,
        ):
            await token.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}')
            assert json.loads(await token.recv()) == {"result": None, "id": 1}
            count = sum(e.stream == "btcusdt@trade" for e in events)
            one, two, three = [await read(c, count) for c in (raw, combined, token)]
            assert one == [f["data"] for f in two] == three
            assert {f["stream"] for f in two} == {"btcusdt@trade"}

    run(scene)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_late_client_builds_the_book_by_binances_rules(seed: int) -> None:
    """Joined in the middle, snapshot over REST, diffs applied: the book shows the quotes' best prices."""

    async def scene() -> None:
        market = SyntheticMarket(seed, ["BTCUSDT"], rate=3)
        async with LocalVenue(market, speed=20) as venue, client(venue, "/ws/btcusdt@trade") as early:
            await read(early, 50)
            async with client(venue, f"/stream?streams={BTC}") as late:
                frames = await read(late, 20)
                snapshot = (await get(venue, "/api/v3/depth?symbol=BTCUSDT&limit=1000")).json()
                checked = 0
                book, quotes = Book(), dict[int, list[str]]()
                book.reset(snapshot)
                while checked < 30:
                    for frame in frames:
                        data = frame["data"]
                        if frame["stream"].endswith("bookTicker"):
                            quotes[data["u"]] = [data[k] for k in ("b", "B", "a", "A")]
                        elif frame["stream"].endswith("100ms"):
                            if data["u"] > snapshot["lastUpdateId"]:
                                assert data["U"] <= book.last_id + 1, "a gap"
                            if book.apply(data):
                                best = book.top(1)
                                newest = max(u for u in quotes if u <= data["u"])
                                assert [*best["bids"][0], *best["asks"][0]] == quotes[newest]
                                checked += 1
                    frames = await read(late, 20)

    run(scene)


def test_stamps_are_now_unless_kept() -> None:
    """Rewritten stamps rise from the moment of serving; microseconds have 16 digits, milliseconds 13."""
    events = first_events(300)

    async def scene() -> None:
        async with LocalVenue(Script(events), speed=MAX_SPEED, wait_for=2) as venue:
            server_time = (await get(venue, "/api/v3/time")).json()["serverTime"]
            async with (
                client(venue, "/ws/btcusdt@trade") as plain,
                client(venue, "/ws/btcusdt@trade?timeUnit=MICROSECOND") as micro,
            ):
                (a,), (b,) = await read(plain, 1), await read(micro, 1)
            assert server_time <= a["E"] < server_time + PATIENCE_S * 1_000
            assert b["E"] // 1_000 == a["E"]
            assert b["E"] - b["T"] == 400

    run(scene)


def test_time_stands_still_until_somebody_listens() -> None:
    """REST answers from the first book before any event; the first subscriber starts time."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7), speed=MAX_SPEED) as venue:
            first = (await get(venue, "/api/v3/depth?symbol=BTCUSDT")).json()
            assert len(first["bids"]) == 40
            assert not venue.started.is_set()
            async with client(venue, "/ws") as connection:
                assert (await get(venue, "/api/v3/depth?symbol=BTCUSDT")).json() == first
                await connection.send('{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":1}')
                frames = await read(connection, 3)
                assert frames[1]["U"] == first["lastUpdateId"] + 1
            assert venue.started.is_set()

    run(scene)


def test_a_pace_is_kept() -> None:
    """At a pace, events come no sooner than due: half a second of market at speed 5 takes a tenth."""
    events = [e for e in first_events(200) if e.time_ns <= SyntheticMarket(7).start_ns + 500_000_000]

    async def scene() -> None:
        async with (
            LocalVenue(Script(events), speed=5) as venue,
            client(venue, f"/stream?streams={BTC}") as connection,
        ):
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await venue.wait_ended()
            assert loop.time() - begun >= 0.09
            assert len(await read(connection, len(events) - 1)) == len(events) - 1

    run(scene)


def test_derived_streams_are_served() -> None:
    """Aggregates, partial books and one-second klines of the rewritten times reach a client."""

    async def scene() -> None:
        names = "btcusdt@aggTrade/btcusdt@depth5@100ms/btcusdt@kline_1s/btcusdt@depth/btcusdt@depth20"
        async with (
            LocalVenue(SyntheticMarket(7, rate=3), speed=2, keep_times=True) as venue,
            client(venue, f"/stream?streams={names}") as connection,
        ):
            seen: dict[str, dict[str, Any]] = {}
            while len(seen) < 5:
                (frame,) = await read(connection, 1)
                seen.setdefault(frame["stream"], frame["data"])
            assert seen["btcusdt@aggTrade"]["e"] == "aggTrade"
            assert len(seen["btcusdt@depth5@100ms"]["bids"]) == 5
            assert seen["btcusdt@kline_1s"]["k"]["i"] == "1s"

    run(scene)


def test_unsubscribed_streams_stop() -> None:
    """After UNSUBSCRIBE's answer no frame of the stream comes any more."""

    async def scene() -> None:
        async with (
            LocalVenue(SyntheticMarket(7), speed=20) as venue,
            client(venue, "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker") as connection,
        ):
            await read(connection, 10)
            await connection.send('{"method":"UNSUBSCRIBE","params":["btcusdt@bookTicker"],"id":9}')
            while "id" not in (await read(connection, 1))[0]:
                pass
            assert {f["stream"] for f in await read(connection, 50)} == {"ethusdt@bookTicker"}

    run(scene)


def test_a_slow_consumer_is_cut_off_and_nobody_else_waits() -> None:
    """Who does not read is disconnected with the reason; the other client gets every frame."""

    async def scene() -> None:
        events = first_events(30_000)
        venue = LocalVenue(Script(events), speed=10_000, wait_for=2, queue_bytes=200_000)
        async with venue, client(venue, f"/stream?streams={BTC}") as quick:
            reader, writer = await asyncio.open_connection("127.0.0.1", venue.port, limit=1_024)
            writer.write(
                f"GET /stream?streams={BTC} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b"101" in await reader.readline()
            count = sum(not e.stream.endswith("snapshot") for e in events)
            assert len(await read(quick, count)) == count
            await venue.wait_ended()
            ((number, reason),) = venue.dropped
            assert number == 2
            assert reason.startswith("slow consumer: ")
            writer.close()

    run(scene)


def test_at_full_speed_the_venue_waits_for_its_readers() -> None:
    """A client that pauses loses nothing at MAX_SPEED, although its queue is small."""

    async def scene() -> None:
        events = first_events(20_000)
        venue = LocalVenue(Script(events), speed=MAX_SPEED, queue_bytes=200_000)
        async with venue, connect(f"{venue.ws_url}/stream?streams={BTC}", compression=None) as connection:
            count = sum(not e.stream.endswith("snapshot") for e in events)
            first = await read(connection, 10)
            for _ in range(200):
                await asyncio.sleep(0)  # turns in which this client reads nothing
            rest = await read(connection, count - 10)
            assert len(first) + len(rest) == count
            assert venue.dropped == []

    run(scene)


def test_too_many_messages_in_a_second_end_the_connection() -> None:
    """The sixth message within a second gets a close frame that says why."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue, client(venue, "/ws") as connection:
            for number in range(6):
                await connection.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
            replies = await read_all(connection)
            assert [r["id"] for r in replies] == [0, 1, 2, 3, 4]
            assert connection.close_code == 1008
            assert "too many messages" in (connection.close_reason or "")

    run(scene)


def test_a_disconnect_fault_sends_so_many_frames_and_hangs_up() -> None:
    """After N data frames the connection ends without a close frame; the venue's list has those N."""

    async def scene() -> None:
        faults = [Fault("disconnect", 25)]
        async with LocalVenue(SyntheticMarket(7), speed=50, faults=faults, account=True) as venue:
            for number in (1, 2):
                async with client(venue, "/ws/btcusdt@bookTicker") as connection:
                    frames = await read_all(connection)
                    assert connection.close_code == 1006
                sent = [s for s in venue.sent if s.client == number]
                assert [f["u"] for f in frames] == [s.first for s in sent]
                assert len(frames) == 25
            assert {reason for _, reason in venue.dropped} == {"fault: disconnect after 25 frames"}

    run(scene)


def test_a_silence_fault_keeps_the_connection_open() -> None:
    """After N data frames nothing more is sent, while control messages are still answered."""

    async def scene() -> None:
        faults = [Fault("silence", 5)]
        async with (
            LocalVenue(Script(first_events(500)), speed=MAX_SPEED, faults=faults, account=True) as venue,
            client(venue, "/ws/btcusdt@bookTicker") as connection,
        ):
            await read(connection, 5)
            await venue.wait_ended()
            await connection.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            assert json.loads(await connection.recv()) == {"result": ["btcusdt@bookTicker"], "id": 1}
            assert len(venue.sent) == 5

    run(scene)


def test_a_venue_that_answers_html() -> None:
    """REST and handshakes get a web page."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7), faults=[parse_fault("html")]) as venue:
            reply = await get(venue, "/api/v3/exchangeInfo")
            assert reply.headers["content-type"].startswith("text/html")
            assert "<html>" in reply.text
            with pytest.raises(InvalidStatus):
                await connect(venue.ws_url + "/ws/btcusdt@trade")

    run(scene)


def test_http_answers_carry_weight_and_close() -> None:
    """Over the network: JSON, the weight header, and errors with their status."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            good = await get(venue, "/api/v3/ping")
            assert (good.status_code, good.json()) == (200, {})
            assert good.headers["x-mbx-used-weight-1m"] == "1"
            bad = await get(venue, "/api/v3/depth?symbol=NOPE")
            assert (bad.status_code, bad.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
            assert (await get(venue, "/nowhere")).status_code == 404
            assert (await get(venue, "/ws/btcusdt@trade")).status_code == 426

    run(scene)


def test_every_symbol_has_its_book_before_time_runs() -> None:
    """Nobody has subscribed: REST has each symbol's book and best prices, and no event is lost by that."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            best = (await get(venue, "/api/v3/ticker/bookTicker")).json()
            assert [each["symbol"] for each in best] == ["BTCUSDT", "ETHUSDT"]
            assert all(0 < float(each["bidPrice"]) < float(each["askPrice"]) for each in best)
            for symbol in ("BTCUSDT", "ETHUSDT"):
                depth = (await get(venue, f"/api/v3/depth?symbol={symbol}")).json()
                assert len(depth["bids"]) == len(depth["asks"]) == 40
            async with client(venue, "/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker") as connection:
                first = await read(connection, 2)
            events = [e for e in islice(SyntheticMarket(7).events(), 9) if e.stream.endswith("@bookTicker")]
            assert [frame["data"] for frame in first] == [event.payload for event in events[:2]]

    run(scene)


def test_pings_are_sent_and_their_answers_expected() -> None:
    """The venue pings; a client that answers stays connected."""

    async def scene() -> None:
        async with (
            LocalVenue(SyntheticMarket(7), speed=1, ping_s=0.02, pong_s=5) as venue,
            client(venue, "/ws/btcusdt@bookTicker") as connection,
        ):
            await read(connection, 20)
            (served,) = venue.clients.values()
            assert served.connection.latency > 0
            assert connection.close_code is None

    run(scene)


def test_the_shutdown_notice_reaches_every_client() -> None:
    """Each form gets its serverShutdown, then 1001."""

    async def scene() -> None:
        async with (
            LocalVenue(Script(first_events(10)), speed=MAX_SPEED, wait_for=2) as venue,
            client(venue, "/ws/btcusdt@trade") as raw,
            client(venue, "/stream?streams=btcusdt@trade") as combined,
        ):
            await venue.wait_ended()
            venue.announce_shutdown()
            await venue.close()
            assert (await read_all(raw))[-1]["e"] == "serverShutdown"
            assert (await read_all(combined))[-1]["stream"] == "!serverShutdown"
            assert raw.close_code == combined.close_code == 1001

    run(scene)


def test_a_source_that_fails_is_not_swallowed() -> None:
    """What a source raises comes out of wait_ended and of close."""

    def broken() -> Iterator[Event]:
        yield from first_events(5)
        raise UsageError("this source is broken")

    async def scene() -> None:
        venue = await LocalVenue(Script(broken), speed=MAX_SPEED).__aenter__()
        async with client(venue, "/ws/btcusdt@trade"):
            with pytest.raises(UsageError, match="this source is broken"):
                await venue.wait_ended()
        with pytest.raises(UsageError, match="this source is broken"):
            await venue.close()

    run(scene)


def test_an_address_in_use_is_named() -> None:
    """Two venues cannot have one port: the error names it and what to do."""

    async def scene() -> None:
        async with LocalVenue(SyntheticMarket(7)) as venue:
            with pytest.raises(VenueError, match=f"cannot listen on 127.0.0.1:{venue.port}"):
                await LocalVenue(SyntheticMarket(7), port=venue.port).__aenter__()

    run(scene)


def test_a_negative_speed_is_refused() -> None:
    """Speed is 0 (as fast as clients read) or more."""
    with pytest.raises(UsageError, match="speed -1"):
        LocalVenue(SyntheticMarket(7), speed=-1)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_frames_have_the_servers_form(length: int) -> None:
    """A text frame: FIN and opcode 1, no mask, the shortest length that fits."""
    frame = text_frame(b"x" * length)
    head = 2 if length < 126 else 4 if length < 65_536 else 10
    assert frame[0] == 0x81
    assert len(frame) == head + length
    assert frame[1] < 128
