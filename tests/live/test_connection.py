"""The driver against real sockets on loopback: what it hands on, and which rows it writes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from engine.feed.dialogue import Spoken
from engine.live.connection import Connection, Hooks, Target, Timeouts
from engine.live.machine import BackOff, Machine, State
from engine.live.refusal import is_loopback
from engine.live.transport import VARIABLE
from engine.live.transport_websockets import DirectConnection
from engine.model.errors import VenueError
from tests.helpers.venue import FakeVenue
from tests.helpers.waiting import LIMIT_S, WaitingFrames

pytestmark = pytest.mark.usefixtures("transport")

QUICK = BackOff(base_s=0.01, cap_s=0.02)


class Watched(WaitingFrames):
    """A connection whose frames and rows are kept, and can be waited for."""

    def __init__(self, url: str, *, timeouts: Timeouts | None = None, back_off: BackOff = QUICK) -> None:
        super().__init__()
        self.connection = Connection(
            Target(f"{url}/stream?streams=btcusdt@trade"),
            Machine("test", back_off=back_off),
            Hooks(self.take_frame, self.take_status, self.take_loss),
            timeouts=timeouts,
        )


def play(
    story: Callable[[FakeVenue, Watched], Awaitable[None]],
    *,
    timeouts: Timeouts | None = None,
    back_off: BackOff = QUICK,
    answers_pings: bool = True,
) -> Watched:
    """Run a story with a venue and a connection to it; the connection is stopped at its end."""

    async def run() -> Watched:
        venue = FakeVenue()
        venue.answers_pings = answers_pings
        async with venue.running():
            watched = Watched(venue.url, timeouts=timeouts, back_off=back_off)
            running = asyncio.ensure_future(watched.connection.run())
            await venue.connected()
            await story(venue, watched)
            watched.connection.stop()
            async with asyncio.timeout(LIMIT_S):
                await running
        return watched

    return asyncio.run(run())


def test_every_frame_arrives_in_order_and_as_sent() -> None:
    """Hundreds of frames at once come through as the very bytes, in order, with the rows around them."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(500)))
        await watched.until(lambda: len(watched.frames) == 500)
        assert watched.frames == [frame.encode() for frame in venue.sent]

    watched = play(story)
    assert watched.events == ["connecting", "connected", "subscribed", "disconnected"]
    assert watched.connection.frames == 500
    assert watched.rows[-1].detail == "stopped"


def test_messages_in_fragments_keep_their_place() -> None:
    """Fragments are joined, and what is sent whole between them never overtakes."""
    expected: list[bytes] = []

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await watched.until(lambda: "subscribed" in watched.events)
        for number in range(30):
            whole, parts = f"whole {number}", [f"frag{number}", "", "ment"]
            await venue.send(whole, whole)
            await venue.send_in_fragments(parts)
            await venue.send(whole)
            expected.extend(text.encode() for text in (whole, whole, "".join(parts), whole))
        await watched.until(lambda: len(watched.frames) == len(expected))

    assert play(story).frames == expected


def test_frames_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library still calls the hook that spares frames its queue: nothing comes through `recv`."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await watched.until(lambda: "subscribed" in watched.events)
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(50)))
        await watched.until(lambda: len(watched.frames) == 50)
        life = watched.connection._life
        assert life is not None
        assert isinstance(life.socket, DirectConnection)
        assert life.socket._queued == 0

    monkeypatch.setenv(VARIABLE, "websockets")
    play(story)


def test_a_bug_behind_a_frame_is_not_a_lost_connection() -> None:
    """What `on_frame` raises ends the connection and comes out of `run`; nothing reconnects over it."""

    async def run() -> Watched:
        def broken(_frame: bytes) -> None:
            raise ZeroDivisionError("a bug")

        venue = FakeVenue()
        async with venue.running():
            watched = Watched(venue.url)
            watched.connection._hooks = Hooks(broken, watched.take_status, watched.take_loss)
            running = asyncio.ensure_future(watched.connection.run())
            await watched.until(lambda: "subscribed" in watched.events)
            await venue.send(venue.trade("BTCUSDT"))
            async with asyncio.timeout(LIMIT_S):
                with pytest.raises(ZeroDivisionError, match="a bug"):
                    await running
        return watched

    assert asyncio.run(run()).events == ["connecting", "connected", "subscribed"]


@pytest.mark.parametrize("how", ["cut", "closed"])
def test_a_lost_connection_comes_back(how: str) -> None:
    """Cut off or closed by the venue: a row with the reason, a wait, and a new life with all frames."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await venue.send(venue.trade("BTCUSDT"))
        await watched.until(lambda: len(watched.frames) == 1)
        await (venue.drop() if how == "cut" else venue.close(1001, "going away"))
        await venue.connected(2)
        await venue.send(venue.trade("BTCUSDT"))
        await watched.until(lambda: len(watched.frames) == 2)

    watched = play(story)
    life = ["connecting", "connected", "subscribed", "disconnected"]
    assert watched.events == life + life
    assert watched.lost == 2
    row = watched.rows[3]
    assert row.wait_ns > 0
    words = "the connection broke off" if how == "cut" else "the venue closed: 1001 going away"
    assert row.detail.startswith(words)


def test_an_announced_shutdown_reconnects_at_once() -> None:
    """Where two connections cannot run side by side: leave, come back without waiting, and say why."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await watched.until(lambda: "subscribed" in watched.events)
        watched.connection.renew("serverShutdown")
        await venue.connected(2)
        await watched.until(lambda: watched.events.count("subscribed") == 2)

    watched = play(story, back_off=BackOff(base_s=3_600, cap_s=3_600))
    assert (watched.rows[3].detail, watched.rows[3].wait_ns) == ("serverShutdown", 0)


def test_a_dead_socket_is_given_up() -> None:
    """Open, silent, and no pong: a silence row, then a reconnect that names the silence."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await venue.connected(2)
        await watched.until(lambda: watched.events.count("connected") == 2)

    watched = play(story, timeouts=Timeouts(silence_s=0.05, pong_s=0.05, close_s=0.05), answers_pings=False)
    assert watched.events[:5] == ["connecting", "connected", "subscribed", "silence", "disconnected"]
    assert "no answer to a ping" in watched.rows[4].detail


def test_a_silent_socket_that_answers_is_left_alone_for_a_while() -> None:
    """Nobody trades: one silence row; a frame ends it, and only a second long silence gives it up."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await watched.until(lambda: "silence" in watched.events)
        await venue.send(venue.trade("BTCUSDT"))
        await watched.until(lambda: len(watched.frames) == 1)
        await watched.until(lambda: watched.connection.machine.state is State.STREAMING or watched.lost > 0)
        await watched.until(lambda: "disconnected" in watched.events)

    watched = play(story, timeouts=Timeouts(silence_s=0.05, patience=4))
    assert watched.events.count("silence") >= 1
    assert watched.rows[watched.events.index("disconnected")].detail == "silence: no frame for 0.2 s"


@pytest.mark.parametrize(
    ("refusal", "words", "hint"),
    [
        ((404, "application/json", "{}"), "answered HTTP 404 instead", "the address is not this venue's"),
        ((200, "text/html", "<html>"), "answered HTTP 200 (an HTML page)", "login page"),
        ((429, "text/plain", "slow down"), "answered HTTP 429", "wait"),
        ((451, "text/plain", "no"), "answered HTTP 451", "refuses this machine's address"),
        ((503, "text/plain", "sorry"), "answered HTTP 503", "in trouble"),
    ],
)
def test_a_first_refusal_is_an_error_that_says_what_to_do(
    refusal: tuple[int, str, str], words: str, hint: str
) -> None:
    """An HTTP answer instead of a WebSocket, at the start: VenueError with status and hint."""

    async def run() -> VenueError:
        venue = FakeVenue()
        venue.refuse_websocket = refusal
        async with venue.running():
            watched = Watched(venue.url)
            with pytest.raises(VenueError) as caught:
                await watched.connection.run()
        return caught.value

    error = asyncio.run(run())
    assert words in error.message
    assert "ws://127.0.0.1:" in error.message
    assert hint in error.hint
    assert error.exit_code == 4


def test_later_refusals_are_rows_and_are_repeated() -> None:
    """A venue that refuses for a while after a disconnect: one row per attempt, then it goes on."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.refuse_websocket = (503, "text/plain", "sorry")
        await venue.drop()
        await watched.until(lambda: sum("HTTP 503" in row.detail for row in watched.rows) >= 3)
        venue.refuse_websocket = None
        await venue.connected(2)
        await watched.until(lambda: watched.events.count("subscribed") == 2)

    watched = play(story)
    attempts = [row.attempt for row in watched.rows if row.event == "connecting"]
    assert attempts == list(range(1, len(attempts) + 1))


def test_an_unreachable_venue_is_an_error() -> None:
    """Nobody listens: VenueError with the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def run() -> None:
        await Watched(f"ws://127.0.0.1:{port}").connection.run()

    with pytest.raises(VenueError, match=rf"ws://127.0.0.1:{port}/stream\S* cannot be reached"):
        asyncio.run(run())


def test_one_that_listens_and_says_nothing_times_out() -> None:
    """A socket that accepts and never answers: VenueError after the open timeout."""

    async def run() -> None:
        async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _reader.read()
            writer.close()

        server = await asyncio.start_server(hold, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            watched = Watched(f"ws://127.0.0.1:{port}", timeouts=Timeouts(open_s=0.1))
            await watched.connection.run()

    with pytest.raises(VenueError, match="did not answer in time"):
        asyncio.run(run())


@pytest.mark.parametrize("when", ["waiting", "connecting"])
def test_stop_needs_no_patience(when: str) -> None:
    """A stop during an hour's back-off, or while the venue does not answer, ends the connection at once."""

    async def run() -> None:
        venue = FakeVenue()
        async with venue.running():
            watched = Watched(venue.url, back_off=BackOff(base_s=3_600, cap_s=3_600))
            running = asyncio.ensure_future(watched.connection.run())
            if when == "waiting":
                await venue.connected()
                await venue.drop()
                await watched.until(lambda: watched.connection.machine.state is State.WAITING)
            watched.connection.stop()
            async with asyncio.timeout(LIMIT_S):
                await running
            assert watched.connection.machine.state is State.STOPPED

    asyncio.run(run())


def test_subscribing_messages_are_sent_and_answered() -> None:
    """What the address does not subscribe is subscribed by messages; the replies are frames like others."""

    async def run() -> list[bytes]:
        venue = FakeVenue()
        frames: list[bytes] = []
        done = asyncio.Event()

        def keep(frame: bytes) -> None:
            frames.append(frame)
            if len(frames) == 2:
                done.set()

        async with venue.running():
            connection = Connection(
                Target(f"{venue.url}/stream", lambda: Spoken(['{"id":1}', '{"id":2}'])),
                Machine("test"),
                Hooks(keep, lambda _status: None, lambda: None),
                timeouts=Timeouts(message_gap_s=0.01),
            )
            running = asyncio.ensure_future(connection.run())
            async with asyncio.timeout(LIMIT_S):
                await done.wait()
                connection.stop()
                await running
        return frames

    assert asyncio.run(run()) == [b'{"result": null, "id": 1}', b'{"result": null, "id": 2}']


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:8080", True),
        ("http://localhost/x", True),
        ("ws://[::1]:9", True),
        ("wss://stream.binance.com:9443", False),
    ],
)
def test_loopback_is_known(url: str, expected: bool) -> None:  # noqa: FBT001  a table's column
    """Addresses that no proxy can reach."""
    assert is_loopback(url) is expected
