"""A connection that must be talked to: keys, subscriptions, refusals, heartbeats, and falling behind.

The venue's frames are words, and so are ours: "book X" means the book of X in what is confirmed and refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from engine.feed.dialogue import Message, Phase
from engine.feed.parser import Notice
from engine.live.connection import Connection, Hooks, Target, Timeouts
from engine.live.machine import BackOff, Machine, State
from engine.model.errors import VenueError
from tests.helpers.waiting import LIMIT_S, WaitingFrames

pytestmark = pytest.mark.usefixtures("transport")

QUICK = BackOff(base_s=0.01, cap_s=0.02)
BEGIN = ["connecting", "connected", "authenticated", "subscribed"]


class Wordy:
    """Keys, then two subscriptions."""

    def __init__(self) -> None:
        self.phase = Phase.AUTHENTICATING
        self._open = {"book X", "book Y"}

    def opened(self) -> list[Message]:
        """Nothing: the venue greets."""
        return []

    def heard(self, notice: Notice) -> list[Message]:
        """Keys on welcome, subscriptions once they are taken."""
        if notice.event == "welcome":
            return ["keys"]
        if notice.event == "authenticated":
            self.phase = Phase.SUBSCRIBING
            return [f"subscribe {what}" for what in sorted(self._open)]
        self._open.discard(f"{notice.channel} {' '.join(notice.symbols)}")
        if not self._open and self.phase is Phase.SUBSCRIBING:
            self.phase = Phase.STREAMING
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """Each anew."""
        return [f"subscribe book {symbol}" for symbol in symbols]

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """The same."""
        return [f"subscribe {channel} {symbol}" for symbol in symbols]

    def ping(self) -> list[Message]:
        """A word of our own."""
        return ["ping"]

    def unanswered(self) -> str:
        """In words."""
        return " and ".join(sorted(self._open))


def notices_of(frame: bytes) -> list[Notice]:
    """What a frame of words says of the connection."""
    word, *rest = frame.decode().split()
    if word in {"subscribed", "rejected"}:
        return [Notice(word, " ".join(rest), channel=rest[0], symbols=tuple(rest[1:]))]
    if word == "failed":
        return [Notice("failed", " ".join(rest), hint="do something", fatal="fatal" in rest)]
    return [Notice(word)] if word in {"welcome", "authenticated", "heartbeat"} else []


class Venue:
    """Answers what it hears by a table; says what the test tells it to."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        self.answers = answers
        self.heard: list[str] = []
        self.clients: list[ServerConnection] = []

    async def handle(self, client: ServerConnection) -> None:
        """Greet, answer."""
        self.clients.append(client)
        with contextlib.suppress(ConnectionClosed):
            for word in self.answers.get("", ["welcome"]):
                await client.send(word)
            async for message in client:
                self.heard.append(str(message))
                for word in self.answers.get(str(message), []):
                    await client.send(word)


GOOD = {
    "keys": ["authenticated"],
    "subscribe book X": ["subscribed book X"],
    "subscribe book Y": ["subscribed book Y"],
}


class Watched(WaitingFrames):
    """A connection whose rows can be waited for."""

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        super().__init__()
        self.connection = Connection(
            Target(url, Wordy, subscribed="X Y"),
            Machine("test", back_off=QUICK),
            Hooks(self.take_frame, self.take_status, self.take_loss),
            timeouts=timeouts,
        )

    def take_frame(self, frame: bytes) -> None:
        """Keep it, and say what it says."""
        self.frames.append(frame)
        self.connection.heard(notices_of(frame))
        self.changed.set()


Story = Callable[[Venue, Watched], Awaitable[None]]


def play(answers: dict[str, list[str]], story: Story, **timeouts: float) -> tuple[Watched, Venue]:
    """Run a story; the connection is stopped at its end, unless it has ended by itself."""

    async def run() -> tuple[Watched, Venue]:
        venue = Venue(answers)
        async with serve(venue.handle, "127.0.0.1", 0, ping_interval=None, close_timeout=0.2) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            patience = Timeouts(**{"message_gap_s": 0.001, "phase_s": 0.3, "close_s": 0.1, **timeouts})  # type: ignore[arg-type]
            watched = Watched(f"ws://127.0.0.1:{port}", patience)
            running = asyncio.ensure_future(watched.connection.run())
            try:
                if story is not _nothing:
                    await watched.until(lambda: bool(watched.frames))
                await story(venue, watched)
            finally:
                if story is not _nothing:
                    watched.connection.stop()
                async with asyncio.timeout(LIMIT_S):
                    await running
        return watched, venue

    return asyncio.run(run())


async def _nothing(_venue: Venue, _watched: Watched) -> None:
    """It ends by itself."""


async def _streaming(_venue: Venue, watched: Watched) -> None:
    await watched.until(lambda: "subscribed" in watched.events)


def test_keys_come_first_then_subscriptions() -> None:
    """Each phase is a row, and what we say follows what we hear."""
    watched, venue = play(GOOD, _streaming)
    assert watched.events == [*BEGIN, "disconnected"]
    assert venue.heard == ["keys", "subscribe book X", "subscribe book Y"]
    assert watched.rows[3].detail == "X Y"


@pytest.mark.parametrize(
    ("answers", "words", "hint"),
    [
        ({"keys": ["failed not authenticated fatal"]}, "not authenticated", "do something"),
        ({"": []}, "no answer within 0.3 s: book X and book Y", "check the address"),
        ({"keys": []}, "no answer within 0.3 s", "check the address"),
        ({**GOOD, "subscribe book Y": []}, "no answer within 0.3 s: book Y", "check the address"),
    ],
    ids=["refused keys", "no greeting", "no word on the keys", "one subscription unanswered"],
)
def test_the_first_contact_must_come_to_a_stream(
    answers: dict[str, list[str]], words: str, hint: str
) -> None:
    """Whatever the venue keeps from us at the start is an error that says what and what to do."""
    with pytest.raises(VenueError) as caught:
        play(answers, _nothing)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_refused_book_degrades_the_stream_and_is_asked_for_again() -> None:
    """The socket lives on: a row names the book; when it is granted, another row says so."""
    answers = {**GOOD, "subscribe book Y": ["rejected book Y"]}

    async def story(venue: Venue, watched: Watched) -> None:
        await watched.until(lambda: "degraded" in watched.events)
        await watched.until(lambda: sum(b"rejected" in frame for frame in watched.frames) >= 2)
        venue.answers = GOOD
        await watched.until(lambda: "recovered" in watched.events)

    watched, venue = play(answers, story, refused_s=0.01)
    assert watched.events == [*BEGIN, "degraded", "recovered", "disconnected"]
    assert next(row for row in watched.rows if row.event == "degraded").detail == "refused: Y book"
    assert venue.heard.count("subscribe book Y") >= 3


def test_keys_that_are_refused_later_are_tried_again_after_the_longest_wait() -> None:
    """A session whose keys stop working is not ended, but nor does it hammer the venue."""

    async def story(venue: Venue, watched: Watched) -> None:
        await _streaming(venue, watched)
        venue.answers = {"keys": ["failed not authenticated fatal"]}
        venue.clients[-1].transport.abort()
        await watched.until(lambda: watched.events.count("disconnected") >= 2)

    watched, _ = play(GOOD, story)
    refused = [row for row in watched.rows if row.event == "disconnected"][1]
    assert (refused.detail, refused.wait_ns) == ("not authenticated fatal", 60_000_000_000)


def test_heartbeats_prove_the_socket_and_not_the_data() -> None:
    """With nothing but heartbeats the stream is quiet, which is a row, and is not given up."""

    async def story(venue: Venue, watched: Watched) -> None:
        await _streaming(venue, watched)
        while watched.events.count("silence") < 1 or venue.heard.count("ping") < 8:
            await venue.clients[-1].send("heartbeat")
            await asyncio.sleep(0.005)
        await venue.clients[-1].send("data")
        await watched.until(lambda: "resumed" in watched.events)

    watched, _ = play(GOOD, story, silence_s=0.05)
    assert watched.events[:6] == [*BEGIN, "silence", "resumed"]
    assert watched.connection.machine.state is State.STOPPED


def test_falling_behind_is_a_row() -> None:
    """When frames come faster than they are taken, they wait in the kernel: degraded, until they are read."""

    async def story(venue: Venue, watched: Watched) -> None:
        await _streaming(venue, watched)
        life = watched.connection._life
        assert life is not None
        life.socket.transport.pause_reading()
        for _ in range(200):
            await venue.clients[-1].send("data " * 1_000)
        await watched.until(lambda: "degraded" in watched.events)
        life.socket.transport.resume_reading()
        await watched.until(lambda: "recovered" in watched.events)

    watched, _ = play(GOOD, story, queue_s=0.02, behind_bytes=100_000)
    degraded = next(row for row in watched.rows if row.event == "degraded")
    assert degraded.detail.endswith("bytes have arrived and wait to be read")
    assert watched.connection.most_waiting_bytes >= 100_000
    assert sum(frame.startswith(b"data") for frame in watched.frames) == 200
