"""The tap against a venue under the test's hand: every frame a row, every fault a row, books good again."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.http11 import Response

from engine.live.adapters.binance import URL_LENGTH_MAX
from engine.live.clock import Sequencer
from engine.live.connection import Timeouts
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.tap import TapConfig
from engine.model.errors import EngineError, UsageError, VenueError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from tests.helpers.rows import Row, books_of, texts_of, wires
from tests.helpers.venue import FakeVenue
from tests.helpers.waiting import LIMIT_S, WaitingRows

pytestmark = pytest.mark.usefixtures("transport")

SOCKET = 1
QUICK = BackOff(base_s=0.01, cap_s=0.02)
BOTH = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(autouse=True)
def _without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of missing trades depend on whether there is one."""
    monkeypatch.delenv("BINANCE_API_KEY", raising=False)


class Listening(WaitingRows):
    """A tap whose rows are kept in one buffer."""

    def __init__(self, url: str, *, symbols: tuple[str, ...] = BOTH, channels: tuple[str, ...]) -> None:
        super().__init__()
        self.turns = 0
        config = TapConfig(
            symbols=symbols, channels=channels, url=url, back_off=QUICK, timeouts=Timeouts(overlap_s=0.1)
        )
        self.symbols = symbols
        self.tap = Intake((config,), (), Sequencer(), self.buffer, self._turn)

    def _turn(self) -> None:
        self.turns += 1
        self.changed.set()

    async def in_step(self) -> None:
        """Wait until every book is synchronised."""
        await self.until(lambda: all(self.tap.synchronised(symbol) for symbol in self.symbols))

    async def received(self, venue: FakeVenue) -> None:
        """Wait until the last frame that the venue sent is a row."""
        await self.until(lambda: wires(self.rows, SOCKET)[-1:] == venue.sent[-1:])


def intake_of(config: TapConfig) -> Intake:
    return Intake((config,), (), Sequencer(), RowBuffer(), lambda: None)


Story = Callable[[FakeVenue, Listening], Awaitable[None]]


def play(
    story: Story, *, symbols: tuple[str, ...] = BOTH, channels: tuple[str, ...] = ("trade", "quote", "book")
) -> tuple[list[Row], FakeVenue]:
    """Run a story with a venue and a tap; the rows at its end, and the venue with its own list."""

    async def run() -> tuple[list[Row], FakeVenue]:
        venue = FakeVenue(seed=3)
        async with venue.running():
            listening = Listening(venue.url, symbols=symbols, channels=channels)
            await listening.tap.start()
            running = asyncio.ensure_future(listening.tap.run())
            await venue.connected()
            await story(venue, listening)
            await listening.tap.stop()
            async with asyncio.timeout(LIMIT_S):
                await running
        return listening.rows, venue

    return asyncio.run(run())


def assert_books_are_the_venues(rows: list[Row], venue: FakeVenue) -> None:
    books = books_of(rows)
    for number, symbol in enumerate(BOTH, start=1):
        for side, expected in zip(books[number], venue.book(symbol), strict=True):
            assert texts_of(side, 2, 5) == {float(p): float(s) for p, s in expected.items()}, symbol


@pytest.mark.parametrize(("busy", "begins"), [(1, True), (5, True), (6, False)])
def test_a_venue_that_limits_is_waited_for_at_the_start(busy: int, *, begins: bool) -> None:
    """A request that is told when to come back does so, five times in a row; then that is the error."""

    async def run() -> list[str]:
        venue = FakeVenue(seed=3)
        async with venue.running():
            venue.busy = ["0.01"] * busy
            listening = Listening(venue.url, channels=("trade",))
            await listening.tap.start()
            venue.busy = ["0.01"]
            await listening.tap.stop()
        return listening.events

    if begins:
        assert "subscribed" in asyncio.run(run())
    else:
        with pytest.raises(VenueError, match="HTTP 429"):
            asyncio.run(run())


@pytest.mark.parametrize("wait_s", ["61", "0", "soon"])
def test_a_long_wait_at_the_start_is_an_error(wait_s: str) -> None:
    """More than a minute, or nobody knows how long: whoever began it shall decide."""

    async def run() -> None:
        venue = FakeVenue(seed=3)
        async with venue.running():
            venue.busy = [wait_s]
            with pytest.raises(VenueError, match="HTTP 429"):
                await Listening(venue.url, channels=("trade",)).tap.start()

    asyncio.run(run())


def test_a_handshake_that_is_limited_at_the_start_comes_again() -> None:
    """The definitions came, the socket is refused once: a row says so, and the next attempt streams."""

    async def run() -> list[str]:
        venue = FakeVenue(seed=3)
        async with venue.running():
            listening = Listening(venue.url, channels=("trade",))
            asked = venue._exchange_info

            def then_busy(query: dict[str, list[str]]) -> Response:
                venue.busy = ["0.01"]
                return asked(query)

            venue._exchange_info = then_busy  # type: ignore[method-assign]
            await listening.tap.start()
            await listening.tap.stop()
        return listening.events

    events = asyncio.run(run())
    assert events[:4] == ["connecting", "disconnected", "connecting", "connected"]


async def some_market(venue: FakeVenue, count: int = 30) -> None:
    """Trades, quotes and depth updates of both symbols."""
    for _ in range(count):
        for symbol in BOTH:
            await venue.send(venue.trade(symbol), venue.depth(symbol), venue.quote(symbol))


async def synchronised(venue: FakeVenue, listening: Listening) -> None:
    """Depth updates until both books are in step."""
    for symbol in BOTH:
        await venue.send(venue.depth(symbol))
    await listening.in_step()


def test_rows_begin_with_sources_and_instruments() -> None:
    """The header explains every number: each source, then each instrument, then the answer they came from."""

    async def story(_venue: FakeVenue, _listening: Listening) -> None:
        return

    rows, venue = play(story)
    kinds = [row.kind for row in rows[:9]]
    assert kinds == [Kind.SOURCE] * 6 + [Kind.INSTRUMENT] * 2 + [Kind.CONTROL]
    assert [row.source for row in rows[:6]] == [1, 2, 3, 4, 5, 6]
    assert rows[0].data["url"].startswith(f"{venue.url}/stream?streams=btcusdt@trade/ethusdt@trade/")
    assert [(row.data["endpoint"], row.data.get("symbol")) for row in rows[1:6]] == [
        ("exchangeInfo", None),
        ("depth", "BTCUSDT"),
        ("depth", "ETHUSDT"),
        ("trades", "BTCUSDT"),
        ("trades", "ETHUSDT"),
    ]
    assert [(row.instrument, row.data["key"]) for row in rows[6:8]] == [
        (1, "BTCUSDT.binance"),
        (2, "ETHUSDT.binance"),
    ]
    assert rows[6].data["channels"] == ["trade", "quote", "book"]
    assert [row.event for row in rows[9:]] == ["connecting", "connected", "subscribed", "disconnected"]


def test_every_frame_of_the_venue_is_in_the_rows_in_order() -> None:
    """What the venue sent and what stands in `wire` are the same list; times strictly increase."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await some_market(venue)
        await listening.in_step()
        await listening.received(venue)

    rows, venue = play(story)
    assert wires(rows, SOCKET) == venue.sent
    last_rows = [row for row in rows if row.flags & Flag.LAST]
    assert all(a.ts < b.ts for a, b in itertools.pairwise(last_rows))
    assert len({row.ts for row in rows}) == len(last_rows)
    assert_books_are_the_venues(rows, venue)


def test_turns_are_fewer_than_messages() -> None:
    """Frames that arrive together are handed on together."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await venue.send(*(venue.trade("BTCUSDT") for _ in range(2_000)))
        await listening.received(venue)
        assert listening.turns < 1_000

    rows, _ = play(story, channels=("trade",))
    assert sum(row.kind is Kind.TRADE for row in rows) == 2_000


def test_a_disconnect_is_accounted_for_and_books_are_good_again() -> None:
    """Cut in the middle: rows say so, updates until the snapshot are marked, and the book ends right."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await synchronised(venue, listening)
        await some_market(venue, 5)
        await listening.received(venue)
        await venue.drop()
        await venue.connected(2)
        await venue.send(venue.trade("BTCUSDT", skip=7), venue.depth("BTCUSDT", skip=3))
        await listening.until(lambda: listening.events.count("synchronised") == 3)
        await synchronised(venue, listening)
        await some_market(venue, 5)
        await listening.received(venue)

    rows, venue = play(story)
    events = [row.event for row in rows if row.kind is Kind.STATUS]
    start = events.index("disconnected")
    assert events[start : start + 4] == ["disconnected", "connecting", "connected", "subscribed"]
    gaps = {row.data["channel"]: row.data for row in rows if row.event == "gap"}
    assert gaps["trade"]["last"] - gaps["trade"]["first"] + 1 == 7
    assert gaps["book"]["last"] - gaps["book"]["first"] + 1 >= 3
    assert wires(rows, SOCKET) == venue.sent
    assert_books_are_the_venues(rows, venue)
    marked = [row for row in rows if row.flags & Flag.MAYBE_BAD_BOOK]
    assert marked
    assert all(row.kind is Kind.BOOK for row in marked)


def test_a_gap_without_a_disconnect_is_repaired() -> None:
    """Updates that never arrive: a gap row with first and last, a resync, and the right book."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await synchronised(venue, listening)
        await venue.send(venue.depth("ETHUSDT", skip=11))
        await listening.until(lambda: listening.events.count("synchronised") == 3)
        await some_market(venue, 5)
        await listening.received(venue)

    rows, venue = play(story)
    (gap,) = [row for row in rows if row.event == "gap"]
    assert (gap.instrument, gap.data["last"] - gap.data["first"] + 1) == (2, 11)
    assert [row.data.get("detail") for row in rows if row.event == "resync"] == ["first", "first", "gap"]
    assert_books_are_the_venues(rows, venue)


def test_a_refused_snapshot_is_asked_for_again() -> None:
    """429 and 500 on the way to the book: a row for each, then the snapshot."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        venue.refuse_depth = [429, 500, 418]
        await venue.send(venue.depth("BTCUSDT"))
        await listening.until(lambda: listening.tap.synchronised("BTCUSDT"))

    rows, _ = play(story)
    details = [row.data["detail"] for row in rows if row.event == "resync"]
    assert details[0] == "first"
    assert [detail.split(": ")[0][-3:] for detail in details[1:]] == ["429", "500", "418"]
    assert [row.data["attempt"] for row in rows if row.event == "resync" and "attempt" in row.data] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    "frame",
    ["", "{", "not json", '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":"x"}}', "\x00"],
)
def test_a_malformed_frame_is_one_row_and_nothing_else(frame: str) -> None:
    """Bytes that break the protocol give one MALFORMED row that keeps them; the stream goes on."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await synchronised(venue, listening)
        await venue.send(frame)
        await some_market(venue, 2)
        await listening.received(venue)

    rows, venue = play(story)
    (malformed,) = [row for row in rows if row.kind is Kind.MALFORMED]
    assert malformed.wire == frame.encode()
    assert "disconnected" not in [row.event for row in rows[:-1]]
    assert_books_are_the_venues(rows, venue)


def test_an_announced_shutdown_is_outlived_without_a_gap() -> None:
    """serverShutdown: the row, a second connection beside the first, nothing missed, books in step."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        await synchronised(venue, listening)
        await venue.send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1717200000000}}')
        await venue.connected(2)
        while "renewed" not in listening.events:
            await some_market(venue, 1)
            await asyncio.sleep(0)
        await some_market(venue, 5)
        await listening.received(venue)

    rows, venue = play(story)
    events = [row.event for row in rows if row.kind is Kind.STATUS]
    at = events.index("server_shutdown")
    assert events[at + 1 : at + 3] == ["renewing", "renewed"]
    assert "disconnected" not in events[:-1]
    assert "gap" not in events
    assert not any(row.flags & Flag.MAYBE_BAD_BOOK for row in rows[-200:])
    seen = set(wires(rows, SOCKET))
    assert seen == set(venue.sent)
    assert_books_are_the_venues(rows, venue)


def test_a_header_for_the_next_segment_repeats_all_numbers() -> None:
    """`header` writes the same sources and instruments again, with definitions as they are by then."""

    async def story(venue: FakeVenue, listening: Listening) -> None:
        wide = venue.trade("BTCUSDT").replace('"q":"0.02000000"', '"q":"0.0200000001"')
        await venue.send(wide)
        await listening.until(lambda: any(row.kind is Kind.TRADE for row in listening.rows))
        listening.tap.header()

    rows, _ = play(story)
    sources = [(row.source, row.data) for row in rows if row.kind is Kind.SOURCE]
    assert sources[:6] == sources[6:]
    instruments = [row for row in rows if row.kind is Kind.INSTRUMENT]
    assert [row.instrument for row in instruments] == [1, 2, 1, 1, 2]
    assert instruments[2].data == instruments[3].data
    assert instruments[3].data["version"] == 2


@pytest.mark.parametrize(
    ("change", "kind", "words", "code"),
    [
        ({"symbols": ("BTCUSDT", "NOSUCH")}, UsageError, 'binance has no symbol "NOSUCH"', 2),
        ({"symbols": ()}, UsageError, "no symbol given", 2),
        ({"channels": ("trade", "news")}, UsageError, 'binance has no channel "news"', 2),
        ({"channels": ()}, UsageError, "no channel given", 2),
        ({"venue": "nyse"}, UsageError, 'unknown venue "nyse"', 2),
        ({"url": "127.0.0.1:9"}, UsageError, "is not an address", 2),
        ({"url": "ws://[::1"}, UsageError, "is not an address", 2),
        ({"url": "ws://127.0.0.1:99999"}, UsageError, "is not an address", 2),
        ({"url": "ws://me:words@127.0.0.1:9"}, UsageError, "a user or a password", 2),
        ({"symbols": ("\udcff",)}, UsageError, "is no symbol", 2),
        ({"url": "ws://127.0.0.1:1"}, VenueError, "http://127.0.0.1:1/api/v3/exchangeInfo", 4),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, (dict, str)) else "",
)
def test_bad_wishes_are_named(
    change: dict[str, object], kind: type[EngineError], words: str, code: int
) -> None:
    """Each mistake in what to listen to has its message and exit code."""

    async def run() -> None:
        venue = FakeVenue()
        async with venue.running():
            wish = {"symbols": BOTH, "url": venue.url, **change}
            await intake_of(TapConfig(**wish)).start()  # type: ignore[arg-type]

    with pytest.raises(kind) as caught:
        asyncio.run(run())
    assert words in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == code


@pytest.mark.parametrize("where", ["rest", "stream"])
def test_a_venue_that_answers_html_is_named(where: str) -> None:
    """A login page instead of the venue, over REST or instead of the WebSocket: VenueError, both named."""

    async def run() -> None:
        venue = FakeVenue()
        venue.html = where == "rest"
        if where == "stream":
            venue.refuse_websocket = (200, "text/html", "<html>")
        async with venue.running():
            await intake_of(TapConfig(symbols=BOTH, url=venue.url)).start()

    with pytest.raises(VenueError, match="HTML page") as caught:
        asyncio.run(run())
    assert "login page" in caught.value.hint
    assert caught.value.exit_code == 4


def test_each_of_several_connections_may_be_refused() -> None:
    """One error names the reason, and no other task leaves its own for the end of the program."""
    symbols = tuple(f"S{number}USDT" for number in range(400))
    unheard: list[dict[str, Any]] = []

    async def run() -> int:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
        venue = FakeVenue(symbols)
        venue.refuse_websocket = (503, "text/plain", "sorry")
        async with venue.running():
            intake = intake_of(TapConfig(symbols, url=venue.url))
            with pytest.raises(VenueError, match="HTTP 503"):
                await intake.start()
            connections = len(intake._taps[0]._wires)
            del intake
        gc.collect()
        await asyncio.sleep(0)
        return connections

    assert asyncio.run(run()) == 2
    assert not unheard


def test_definitions_of_many_symbols_are_asked_for_in_parts() -> None:
    """No address becomes longer than servers take, and an unknown symbol is still found."""
    symbols = tuple(f"S{number}USDT" for number in range(400))

    async def run() -> tuple[list[str], int]:
        venue = FakeVenue(symbols)
        async with venue.running():
            tap = intake_of(TapConfig(symbols, url=venue.url))._taps[0]
            await tap.contact()
            with pytest.raises(UsageError, match='no symbol "NOSUCH"'):
                await intake_of(TapConfig((*symbols, "NOSUCH"), url=venue.url)).start()
        await tap.stop()
        return venue.requests[:3], tap.instrument_count

    requests, count = asyncio.run(run())
    assert count == 400
    assert all(request.startswith("/api/v3/exchangeInfo") for request in requests)
    assert max(len(request) for request in requests) < URL_LENGTH_MAX


def test_symbols_are_taken_as_people_write_them() -> None:
    """Lower case and repeats are no mistake."""
    (tap,) = intake_of(TapConfig(symbols=("btcusdt", "BTCUSDT ", "")))._taps
    assert tap.symbols == ("BTCUSDT",)


def test_what_piled_up_is_handed_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One read that brings more than a turn should hold is several turns; the owner here clears no rows."""
    monkeypatch.setattr("engine.live.tap.ROWS_MAX", 8)
    turns = 0

    async def story(venue: FakeVenue, listening: Listening) -> None:
        nonlocal turns
        (wire,) = listening.tap._taps[0]._wires
        life = wire.connection._life
        assert life is not None
        transport = life.socket.transport
        transport.pause_reading()
        for _ in range(40):
            await venue.send(venue.trade("BTCUSDT"))
        turns = listening.turns
        transport.resume_reading()
        await listening.received(venue)
        turns = listening.turns - turns

    rows, _ = play(story, channels=("trade",))
    assert sum(row.kind == Kind.TRADE for row in rows) == 40
    assert turns >= 32
