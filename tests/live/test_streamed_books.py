"""The tap against venues that send books over the stream: a lost book comes back, by name and by --url."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine.live.books import Books, Snapshots
from engine.live.clock import Sequencer
from engine.live.connection import Timeouts
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.tap import TapConfig
from engine.model.errors import VenueError
from engine.model.kinds import Flag, Kind
from tests.helpers import coinbase, kraken
from tests.helpers.scripted_venue import ScriptedVenue
from tests.helpers.waiting import WaitingRows

pytestmark = pytest.mark.usefixtures("transport")

QUICK = BackOff(base_s=0.01, cap_s=0.02)


class Listening(WaitingRows):
    """A tap whose rows are kept in one buffer."""

    def __init__(self, venue: ScriptedVenue, config: TapConfig, *, message_gap_s: float = 0.0) -> None:
        super().__init__()
        timeouts = Timeouts(message_gap_s=message_gap_s, phase_s=1.0)
        here = msgspec.structs.replace(config, url=venue.url, back_off=QUICK, timeouts=timeouts)
        self.tap = Intake((here,), (), Sequencer(), self.buffer, self.changed.set)


PAIRS = msgspec.json.encode(
    {
        "error": [],
        "result": {
            "XXBTZUSD": {
                "wsname": "XBT/USD",
                "pair_decimals": 1,
                "lot_decimals": 8,
                "tick_size": "0.1",
                "status": "online",
            }
        },
    }
)


class Kraken:
    """What Kraken answers: an acknowledgement for each symbol, and the book."""

    def __init__(self) -> None:
        self.refuse = ""  # a channel

    def venue(self) -> ScriptedVenue:
        """Under the test's hand."""
        return ScriptedVenue({"/0/public/AssetPairs": PAIRS}, self.answer, (kraken.STATUS,))

    def answer(self, message: dict[str, Any]) -> list[bytes]:
        """To one message."""
        if message["method"] == "ping":
            return [kraken.PONG]
        channel = message["params"]["channel"]
        if channel == self.refuse:
            return [kraken.refusal("Subscription depth not supported", req_id=message["req_id"])]
        acks = [
            kraken.ack(channel, symbol, message["method"], depth=message["params"].get("depth", 0))
            for symbol in message["params"]["symbol"]
        ]
        follows = channel == "book" and message["method"] == "subscribe"
        return [*acks, kraken.SNAPSHOT] if follows else acks


CONFIG = TapConfig(symbols=("BTC/USD",), venue="kraken", channels=("trade", "book"))


def test_a_book_of_kraken_comes_back() -> None:
    """A wrong checksum: the book is left and subscribed to anew on the same connection, and is good again."""

    async def run() -> None:
        async with Kraken().venue().running() as venue:
            listening = Listening(venue, CONFIG)
            await listening.tap.start()
            running = asyncio.ensure_future(listening.tap.run())
            await listening.until(lambda: listening.tap.synchronised("BTC/USD"))
            await venue.send(kraken.book("update", [("45283.5", "0.20000000")], [], 1))
            await listening.until(lambda: "synchronised" in listening.events)
            await listening.tap.stop()
            await running
            events = listening.events
            assert venue.connects == 1
            assert [message["method"] for message in venue.said] == [
                "subscribe",
                "subscribe",
                "unsubscribe",
                "subscribe",
            ]
            assert events[events.index("gap") :][:3] == ["gap", "resync", "degraded"]
            assert {"recovered", "synchronised"} <= set(events)
            books = [row for row in listening.rows if row.kind is Kind.BOOK]
            assert [bool(row.flags & Flag.MAYBE_BAD_BOOK) for row in books] == [False] * 20 + [True] + [
                False
            ] * 20

    asyncio.run(run())


def test_a_channel_that_kraken_refuses_is_missing_and_said() -> None:
    """The socket lives on without a book: the stream is degraded, in the venue's words."""

    async def run() -> None:
        script = Kraken()
        script.refuse = "book"
        async with script.venue().running() as venue:
            listening = Listening(venue, CONFIG)
            await listening.tap.start()
            running = asyncio.ensure_future(listening.tap.run())
            await listening.until(lambda: "degraded" in listening.events)
            await venue.send(kraken.numbered(1))
            await listening.until(lambda: any(row.kind is Kind.TRADE for row in listening.rows))
            await listening.tap.stop()
            await running
            assert "rejected" in listening.events
            (degraded,) = [row for row in listening.rows if row.event == "degraded"]
            assert degraded.data["detail"] == "refused: book"
            (rejected,) = [row for row in listening.rows if row.event == "rejected"]
            assert rejected.data["detail"] == "subscribe Subscription depth not supported"

    asyncio.run(run())


PRODUCTS = msgspec.json.encode(
    {"products": [{"product_id": "BTC-USD", "price_increment": "0.01", "base_increment": "0.00000001"}]}
)


class Coinbase:
    """What Coinbase answers: all that is subscribed so far, and the book before it."""

    def __init__(self) -> None:
        self.number = 0
        self.subscribed: dict[str, list[str]] = {}
        self.error = False

    def venue(self) -> ScriptedVenue:
        """Under the test's hand."""
        return ScriptedVenue({"/api/v3/brokerage/market/products": PRODUCTS}, self.answer)

    def next(self) -> int:
        """The connection's next number."""
        self.number += 1
        return self.number - 1

    def answer(self, message: dict[str, Any]) -> list[bytes]:
        """To one message; heartbeats are the first thing said on a connection."""
        channel = message["channel"]
        if self.error:
            return [coinbase.ERROR]
        if channel == "heartbeats":
            self.number, self.subscribed = 0, {}
        self.subscribed[channel] = message.get("product_ids", ["heartbeats"])
        frames = []
        if channel == "level2":
            frames.append(coinbase.book(self.next(), "snapshot", [("10.00", "1")], [("11.00", "1")]))
        return [*frames, coinbase.subscriptions(self.next(), **self.subscribed)]


def test_a_missing_message_of_coinbase_costs_the_connection() -> None:
    """Only a new one begins to count anew; its snapshot makes the book good again."""

    async def run() -> None:
        script = Coinbase()
        async with script.venue().running() as venue:
            config = msgspec.structs.replace(CONFIG, venue="coinbase", symbols=("BTC-USD",))
            listening = Listening(venue, config)
            await listening.tap.start()
            running = asyncio.ensure_future(listening.tap.run())
            await listening.until(lambda: listening.tap.synchronised("BTC-USD"))
            await venue.send(coinbase.heartbeat(script.number + 3))
            await listening.until(lambda: "disconnected" in listening.events)
            await listening.until(lambda: listening.tap.synchronised("BTC-USD"))
            await venue.send(coinbase.book(script.next(), "update", [("10.00", "2")]))
            await listening.until(
                lambda: any(row.kind is Kind.BOOK and row.size == 200_000_000 for row in listening.rows)
            )
            await listening.tap.stop()
            await running
            assert venue.connects == 2
            gap = next(row for row in listening.rows if row.event == "gap")
            assert gap.data["last"] - gap.data["first"] == 2
            assert not any(row.flags & Flag.MAYBE_BAD_BOOK for row in listening.rows)
            lost = next(row for row in listening.rows if row.event == "disconnected")
            assert "are missing" in lost.data["detail"]

    asyncio.run(run())


def test_a_first_contact_that_coinbase_refuses() -> None:
    """Nothing has begun, so it is an error that says what the venue said."""

    async def run() -> None:
        script = Coinbase()
        script.error = True
        async with script.venue().running() as venue:
            config = msgspec.structs.replace(CONFIG, venue="coinbase", symbols=("BTC-USD",))
            listening = Listening(venue, config)
            with pytest.raises(VenueError) as caught:
                await listening.tap.start()
            assert caught.value.hint

    asyncio.run(run())


def test_what_has_not_been_said_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many books are asked for with pauses between, patience begins when all has been said."""
    looks = 0
    wait_for = Snapshots._wait_for

    def counted(self: Snapshots, books: Books, symbol: str) -> None:
        nonlocal looks
        looks += 1
        wait_for(self, books, symbol)
        listening.changed.set()

    monkeypatch.setattr("engine.live.books.ASK_AGAIN_S", 0.001)
    monkeypatch.setattr(Snapshots, "_wait_for", counted)
    listening: Listening

    async def run() -> None:
        nonlocal listening
        async with Kraken().venue().running() as venue:
            config = msgspec.structs.replace(CONFIG, channels=("book",))
            listening = Listening(venue, config, message_gap_s=3_600.0)
            await listening.tap.start()
            running = asyncio.ensure_future(listening.tap.run())
            await listening.until(lambda: listening.tap.synchronised("BTC/USD"))
            await venue.send(kraken.book("update", [("45283.5", "0.20000000")], [], 1))
            await listening.until(lambda: looks >= 10)
            life = listening.tap._taps[0]._wires[0].connection._life
            assert life is not None
            assert len(life._outbox) == 2, "one request, which waits for its turn"
            assert listening.events.count("resync") == 1
            await listening.tap.stop()
            await running

    asyncio.run(run())
