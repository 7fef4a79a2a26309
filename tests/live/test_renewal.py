"""A connection that is renewed: a second one beside the first, nothing missed, nothing out of order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from engine.feed.dialogue import Dialogue, Spoken
from engine.feed.parser import Notice
from engine.live.connection import Connection, Hooks, Target, Timeouts
from engine.live.machine import BackOff, Event, Machine, State
from engine.model.kinds import StatusData
from tests.helpers.venue import FakeVenue
from tests.helpers.waiting import LIMIT_S, Waiting

pytestmark = pytest.mark.usefixtures("transport")

QUICK = BackOff(base_s=0.01, cap_s=0.02)


def notices_of(frame: bytes) -> list[Notice]:
    """What an acknowledgement says, or that the venue will close; nothing else."""
    if b"serverShutdown" in frame:
        return [Notice("shutdown", "serverShutdown")]
    return [Notice("subscribed")] if b'"result"' in frame else []


class Watched(Waiting):
    """A connection that can be renewed; its frames and rows in one list."""

    def __init__(
        self,
        venue: FakeVenue,
        *,
        dialogue: Callable[[], Dialogue] = Spoken,
        life_s: float = 0.0,
        overlap_s: float = 0.05,
        drain_s: float = 30.0,
        drain_idle_s: float = 3.0,
    ) -> None:
        super().__init__()
        self.story: list[bytes | StatusData] = []
        self.lost = 0
        self.connection = Connection(
            Target(f"{venue.url}/stream?streams=btcusdt@trade", dialogue, life_s=life_s),
            Machine("test", back_off=QUICK),
            Hooks(self._frame, self._status, self._lost, lambda: notices_of),
            timeouts=Timeouts(
                overlap_s=overlap_s,
                message_gap_s=0.001,
                phase_s=0.5,
                close_s=0.2,
                drain_s=drain_s,
                drain_idle_s=drain_idle_s,
            ),
            back_off=QUICK,
        )

    def _frame(self, frame: bytes) -> None:
        self.story.append(frame)
        self.connection.heard(notices_of(frame))
        self.changed.set()

    def _status(self, status: StatusData) -> None:
        self.story.append(status)
        self.changed.set()

    def _lost(self) -> None:
        self.lost += 1

    @property
    def events(self) -> list[str]:
        """The rows' events in order."""
        return [item.event for item in self.story if isinstance(item, StatusData)]

    @property
    def trades(self) -> list[int]:
        """Ids of trades in order of their frames."""
        return [
            json.loads(item)["data"]["t"]
            for item in self.story
            if isinstance(item, bytes) and b'"t":' in item
        ]


Story = Callable[[FakeVenue, Watched], Awaitable[None]]


def play(
    story: Story,
    *,
    dialogue: Callable[[], Dialogue] = Spoken,
    life_s: float = 0.0,
    **timeouts: float,
) -> Watched:
    """Run a story with a venue and a connection to it; the connection is stopped at its end."""

    async def run() -> Watched:
        venue = FakeVenue()
        async with venue.running():
            watched = Watched(venue, dialogue=dialogue, life_s=life_s, **timeouts)
            running = asyncio.ensure_future(watched.connection.run())
            await venue.connected()
            await watched.until(lambda: "subscribed" in watched.events)
            await story(venue, watched)
            watched.connection.stop()
            async with asyncio.timeout(LIMIT_S):
                await running
        return watched

    return asyncio.run(run())


async def trading_until(venue: FakeVenue, condition: Callable[[], bool]) -> None:
    """Send trades to whoever is connected until the condition holds."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await venue.send(venue.trade("BTCUSDT"))
            await asyncio.sleep(0)


def assert_nothing_is_missing(watched: Watched, venue_trades: list[int]) -> None:
    """Ids never jump ahead, and every one of them has come."""
    last = venue_trades[0] - 1
    for number in watched.trades:
        assert number <= last + 1, "a gap"
        last = max(last, number)
    assert sorted(set(watched.trades)) == venue_trades


def sent_trades(venue: FakeVenue) -> list[int]:
    return [json.loads(frame)["data"]["t"] for frame in venue.sent]


def test_a_connection_is_renewed_when_its_time_is_up() -> None:
    """Every frame comes, in an order without jumps; what both connections brought comes twice."""
    ids: list[int] = []

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await trading_until(venue, lambda: watched.events.count("renewed") == 2)
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(10)))
        await watched.until(lambda: watched.trades[-1] == sent_trades(venue)[-1])
        ids.extend(sent_trades(venue))

    watched = play(story, life_s=0.2)
    assert_nothing_is_missing(watched, ids)
    assert len(watched.trades) > len(ids), "the two ran side by side"
    assert watched.events[:5] == ["connecting", "connected", "subscribed", "renewing", "renewed"]
    assert watched.lost == 1, "its end; a renewal is no loss"


def test_the_first_may_die_while_both_stream() -> None:
    """The successor takes over at once with what it holds, and no row speaks of a loss."""
    ids: list[int] = []

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await trading_until(venue, lambda: watched.connection._next is not None)
        first = venue.in_order[0]
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(5)))
        first.transport.abort()
        await watched.until(lambda: "renewed" in watched.events)
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(5)))
        await watched.until(lambda: watched.trades[-1] == sent_trades(venue)[-1])
        ids.extend(sent_trades(venue))

    watched = play(story, overlap_s=3_600)
    assert_nothing_is_missing(watched, ids)
    assert "disconnected" not in watched.events[:-1]


def test_a_successor_that_is_refused_leaves_the_first_alone() -> None:
    """Each failed attempt is a row with its reason; the stream goes on, and one day it is renewed."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.refuse_websocket = (503, "text/plain", "sorry")
        watched.connection.renew("test")
        await watched.until(lambda: watched.events.count("kept") >= 2)
        await venue.send(venue.trade("BTCUSDT"))
        await watched.until(lambda: len(watched.trades) == 1)
        venue.refuse_websocket = None
        await watched.until(lambda: "renewed" in watched.events)

    watched = play(story)
    rows = [item for item in watched.story if isinstance(item, StatusData) and item.event == "kept"]
    assert "HTTP 503" in rows[0].detail
    assert watched.events[3:6] == ["renewing", "kept", "renewing"]
    assert watched.connection.machine.state is State.STOPPED


def test_a_loss_before_the_successor_is_there_is_a_loss() -> None:
    """The first dies while the second is refused: disconnected, and a new life."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.refuse_websocket = (503, "text/plain", "sorry")
        watched.connection.renew("test")
        await watched.until(lambda: "kept" in watched.events)
        await venue.drop()
        await watched.until(lambda: "disconnected" in watched.events)
        venue.refuse_websocket = None
        await watched.until(lambda: watched.events.count("subscribed") == 2)

    watched = play(story)
    assert watched.lost == 2
    assert "renewed" not in watched.events


def test_a_successor_subscribes_before_it_takes_over() -> None:
    """Where messages subscribe, the second connection's are answered while its frames are held."""
    ids: list[int] = []

    async def story(venue: FakeVenue, watched: Watched) -> None:
        await venue.send(venue.trade("BTCUSDT"))
        watched.connection.renew("test")
        await trading_until(venue, lambda: "renewed" in watched.events)
        await watched.until(lambda: watched.trades[-1] == sent_trades(venue)[-1])
        ids.extend(sent_trades(venue))

    watched = play(story, dialogue=lambda: Spoken(['{"id":1}', '{"id":2}']))
    assert_nothing_is_missing(watched, ids)
    acks = [item for item in watched.story if isinstance(item, bytes) and b'"result"' in item]
    assert len(acks) == 4, "held ones are handed on as well"


def test_a_successor_that_is_not_answered_is_given_up() -> None:
    """A venue that never confirms the second one: a row that says so, and the first goes on."""
    lives = iter([Spoken(), Spoken(['{"mute":true}']), Spoken()])

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.mute = True
        watched.connection.renew("test")
        await watched.until(lambda: "kept" in watched.events)
        await watched.until(lambda: "renewed" in watched.events)

    watched = play(story, dialogue=lambda: next(lives))
    (kept,) = [item for item in watched.story if isinstance(item, StatusData) and item.event == "kept"]
    assert "no answer within 0.5 s" in kept.detail


def test_a_successor_that_nobody_needs_any_more_leaves_nothing_behind() -> None:
    """The first dies while the second is still subscribing: no task goes on waiting for its answer."""
    lives = iter([Spoken(), Spoken(['{"mute":true}']), Spoken()])

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.mute = True
        before = len(asyncio.all_tasks())
        watched.connection.renew("test")
        await venue.connected(2)
        venue.in_order[0].transport.abort()
        await watched.until(lambda: watched.events.count("subscribed") == 2)
        await comes_true(lambda: len(asyncio.all_tasks()) <= before)

    watched = play(story, dialogue=lambda: next(lives))
    assert watched.events.count("disconnected") == 2


@pytest.mark.parametrize("when", ["opening", "holding"])
def test_a_stop_ends_both(when: str) -> None:
    """A stop in the middle of a renewal: nobody is left connected, and the end is one row."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        if when == "holding":
            await watched.until(lambda: watched.connection.machine.state is State.RENEWING)
            await venue.connected(2)
        watched.connection.stop()
        await venue.disconnected()

    watched = play(story, overlap_s=3_600)
    assert watched.events[-1] == "disconnected"
    assert watched.events.count("disconnected") == 1


@pytest.mark.parametrize("end", ["a stop", "a failure"])
def test_what_was_held_is_handed_on_whatever_ends_the_first(end: str) -> None:
    """Frames that only the successor has brought are taken when the first is left before its time."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await in_overlap(watched)
        await venue.connected(2)
        holder = watched.connection._next
        assert holder is not None
        frame = venue.trade("BTCUSDT")
        await venue.in_order[1].send(frame)
        await comes_true(lambda: bool(holder[1].frames))
        if end == "a stop":
            watched.connection.stop()
        else:
            watched.connection.heard([Notice("failed", "go away")])
        await watched.until(lambda: watched.trades == [json.loads(frame)["data"]["t"]])

    watched = play(story, overlap_s=3_600)
    assert watched.events[3:] == ["renewing", "renewed", "disconnected"]
    assert watched.lost == 1
    renewed, ended = (item for item in watched.story[-3:] if isinstance(item, StatusData))
    assert "1 frames of the new connection were held" in renewed.detail
    assert ended.detail == "stopped"


async def comes_true(condition: Callable[[], bool]) -> None:
    """Wait for what no frame and no row tells of."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  nobody sets an event for it
            await asyncio.sleep(0)


async def in_overlap(watched: Watched) -> None:
    """Wait until a successor is subscribed beside the first connection."""
    await comes_true(lambda: watched.connection._next is not None)


def test_the_first_streams_on_when_its_successor_dies_beside_it() -> None:
    """A connection is not closed in favour of one that has broken off: a row, and another successor."""
    ids: list[int] = []

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await in_overlap(watched)
        await venue.connected(2)
        await venue.send(venue.trade("BTCUSDT"))
        venue.in_order[1].transport.abort()
        await trading_until(venue, lambda: "renewed" in watched.events)
        await watched.until(lambda: watched.trades[-1] == sent_trades(venue)[-1])
        ids.extend(sent_trades(venue))

    watched = play(story, overlap_s=0.5)
    assert_nothing_is_missing(watched, ids)
    assert watched.events[3:7] == ["renewing", "kept", "renewing", "renewed"]
    assert watched.events.count("disconnected") == 1, "its end"
    (kept,) = [item for item in watched.story if isinstance(item, StatusData) and item.event == "kept"]
    assert "the new connection ended" in kept.detail


def test_a_held_frame_may_announce_the_next_renewal() -> None:
    """The venue tells the successor that it will close while its frames are held: that is heard as well."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await in_overlap(watched)
        await venue.connected(2)
        await venue.in_order[1].send('{"e":"serverShutdown"}')
        await watched.until(lambda: watched.events.count("renewed") == 2)

    watched = play(story)
    renewals = [item for item in watched.story if isinstance(item, StatusData) and item.event == "renewing"]
    assert [row.detail for row in renewals] == ["test", "serverShutdown"]


def test_a_silent_end_while_a_renewal_is_tried_again_and_again() -> None:
    """A connection that is given up for its silence opens no successor any more, and comes back."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        venue.refuse_websocket = (503, "text/plain", "sorry")
        connection = watched.connection
        connection.renew("test")
        await watched.until(lambda: connection.machine.state is State.STREAMING and "kept" in watched.events)
        connection._tell(Event.SILENT, "no frame for 60 s")
        venue.in_order[0].transport.pause_reading()  # closing it takes a while
        connection._leave(Event.DEAD, "silence")
        await watched.until(lambda: "disconnected" in watched.events)
        venue.refuse_websocket = None
        await watched.until(lambda: watched.events.count("subscribed") == 2)

    watched = play(story)
    assert watched.events[watched.events.index("silence") + 1] == "disconnected"


def test_a_first_connection_that_does_not_close_is_not_waited_for() -> None:
    """Nothing more comes of it, and its successor's frames become old: they are handed on soon."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await in_overlap(watched)
        venue.in_order[0].transport.pause_reading()
        await watched.until(lambda: "renewed" in watched.events)

    watched = play(story, drain_s=3_600.0, drain_idle_s=0.05)
    assert watched.lost == 1, "its end"


def test_a_stop_does_not_wait_for_the_last_frames_of_a_renewal() -> None:
    """Once it is to end, a connection whose close goes unanswered gets no more time than any other."""

    async def story(venue: FakeVenue, watched: Watched) -> None:
        watched.connection.renew("test")
        await in_overlap(watched)
        venue.in_order[0].transport.pause_reading()
        life = watched.connection._life
        assert life is not None
        await comes_true(lambda: life.socket.close_s == 3_600.0)
        watched.connection.stop()

    watched = play(story, drain_s=3_600.0, drain_idle_s=3_600.0)
    assert watched.events[-1] == "disconnected"
