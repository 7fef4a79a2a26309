"""Alpaca's streams on the live side: symbols, addresses, what our side says, connections over loopback."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed.alpaca_dialogue import SYMBOLS_PER_MESSAGE, AlpacaDialogue
from engine.feed.dialogue import Message, Phase
from engine.feed.parser import Notice
from engine.live import tap as tap_module
from engine.live.adapter import BooksByRest
from engine.live.adapters import alpaca as module
from engine.live.adapters.alpaca import NAMES, Alpaca, Keys
from engine.live.clock import Sequencer
from engine.live.connection import Timeouts
from engine.live.intake import Intake
from engine.live.machine import BackOff
from engine.live.tap import TapConfig
from engine.model.errors import UsageError, VenueError
from engine.model.instruments import from_data
from engine.model.kinds import Flag, Kind
from tests.helpers.alpaca import article, book, later, quote, trade
from tests.helpers.alpaca_venue import KEY, SECRET, FakeAlpaca
from tests.helpers.rows import Row
from tests.helpers.waiting import WaitingRows

pytestmark = pytest.mark.usefixtures("transport")


class Held:
    """A secret as the live side keeps it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text


KEYS = Keys(Held(KEY), Held(SECRET))
WELCOME, LET_IN, COMPLETE = Notice("welcome"), Notice("authenticated"), Notice("subscribed")


def dialogue(*, packed: bool = False, **wanted: tuple[str, ...]) -> AlpacaDialogue:
    return AlpacaDialogue(wanted, KEYS.key, KEYS.secret, packed=packed)


def said(messages: list[Message]) -> list[Any]:
    """What was sent, decoded; a text frame is JSON and a binary one MessagePack."""
    return [
        msgspec.json.decode(each) if isinstance(each, str) else msgspec.msgpack.decode(each)
        for each in messages
    ]


def granted(**lists: tuple[str, ...]) -> list[Notice]:
    """The notices of one subscription frame."""
    return [Notice("subscribed", channel=name, symbols=each) for name, each in lists.items()] + [COMPLETE]


def hear(target: AlpacaDialogue, *notices: Notice) -> list[Any]:
    """Everything that is said because of some notices."""
    return said([message for notice in notices for message in target.heard(notice)])


# --- what our side says ---


@pytest.mark.parametrize("packed", [False, True])
def test_we_say_who_we_are_and_then_what_we_want(*, packed: bool) -> None:
    """One channel after the other, each when the one before has been answered; in the encoding asked for."""
    target = dialogue(packed=packed, trade=("AAPL", "AMD"), bar=("AAPL",))
    assert (target.opened(), target.phase) == ([], Phase.AUTHENTICATING)
    (auth,) = target.heard(WELCOME)
    assert isinstance(auth, bytes if packed else str)
    assert said([auth]) == [{"action": "auth", "key": KEY, "secret": SECRET}]
    assert target.unanswered() == "authentication"
    assert hear(target, LET_IN) == [{"action": "subscribe", "trades": ["AAPL", "AMD"]}]
    assert (target.phase, target.unanswered()) == (
        Phase.SUBSCRIBING,
        "not granted: trade AAPL AMD, bar AAPL",
    )
    lists = {"trade": ("AAPL", "AMD"), "correction": ("AAPL", "AMD")}
    assert hear(target, *granted(**lists)) == [{"action": "subscribe", "bars": ["AAPL"]}]
    assert hear(target, *granted(**lists, bar=("AAPL",))) == []
    assert (target.phase, target.unanswered()) == (Phase.STREAMING, "")
    assert target.ping() == []


def test_the_keys_are_sent_once() -> None:
    """A second greeting, or one after we are in, is no reason; being in already goes on."""
    target = dialogue(trade=("AAPL",))
    assert len(hear(target, WELCOME)) == 1
    assert hear(target, WELCOME) == []
    assert len(hear(target, LET_IN)) == 1
    assert hear(target, LET_IN, WELCOME) == []


def test_symbols_that_were_not_granted_are_named() -> None:
    """What is missing in the venue's full lists; a list with a star has everything."""
    target = dialogue(trade=("AAPL", "XYZ"), quote=("XYZ",), news=("AAPL",))
    hear(target, WELCOME, LET_IN)
    hear(target, *granted(trade=("AAPL",)))
    hear(target, *granted(trade=("AAPL",)))
    hear(target, *granted(trade=("AAPL",), news=("*",)))
    assert target.phase is Phase.STREAMING
    assert target.unanswered() == "not granted: trade XYZ, quote XYZ"


def test_a_refusal_is_that_of_the_channel_that_was_asked_for() -> None:
    """It names the venue's words and what to do; the next channel is asked for all the same."""
    target = dialogue(trade=("AAPL",), luld=("AAPL",), bar=("AAPL",))
    hear(target, WELCOME, LET_IN)
    hear(target, *granted(trade=("AAPL",)))
    refusal = Notice("rejected", "410 invalid subscribe action", code=410, hint="leave it out", fatal=True)
    assert hear(target, refusal) == [{"action": "subscribe", "bars": ["AAPL"]}]
    hear(target, *granted(trade=("AAPL",), bar=("AAPL",)))
    assert target.phase is Phase.STREAMING
    assert target.unanswered() == "refused: luld AAPL: 410 invalid subscribe action, leave it out"


def test_many_symbols_are_asked_for_in_parts() -> None:
    """And each part is looked for in the lists, which are whole."""
    names = tuple(f"S{number}" for number in range(SYMBOLS_PER_MESSAGE + 2))
    target = dialogue(bar=names)
    hear(target, WELCOME)
    (first,) = hear(target, LET_IN)
    (second,) = hear(target, *granted(bar=names[:SYMBOLS_PER_MESSAGE]))
    assert (len(first["bars"]), second["bars"]) == (SYMBOLS_PER_MESSAGE, list(names[-2:]))
    hear(target, *granted(bar=names[:-1]))
    assert target.unanswered() == f"not granted: bar {names[-1]}"


def test_a_book_is_left_and_asked_for_anew() -> None:
    """Only ours, only once all is subscribed; the answers in between are no refusals."""
    target = dialogue(book=("BTC/USD", "ETH/USD"))
    assert target.again(["BTC/USD"]) == []
    hear(target, WELCOME, LET_IN, *granted(book=("BTC/USD", "ETH/USD")))
    assert said(target.again(["BTC/USD", "XRP/USD", "BTC/USD"])) == [
        {"action": "unsubscribe", "orderbooks": ["BTC/USD"]},
        {"action": "subscribe", "orderbooks": ["BTC/USD"]},
    ]
    assert target.again(["XRP/USD"]) == []
    assert hear(target, *granted(book=("ETH/USD",))) == []
    assert (target.phase, target.unanswered()) == (Phase.STREAMING, "")
    assert hear(target, *granted(book=("ETH/USD",))) == []
    assert target.unanswered() == "not granted: book BTC/USD"
    target.again(["BTC/USD"])
    hear(target, *granted(book=("ETH/USD",)), *granted(book=("ETH/USD", "BTC/USD")))
    assert target.unanswered() == ""


def test_what_nobody_asked_for_is_no_matter() -> None:
    """Lists and refusals without a request, and notices that concern others."""
    target = dialogue(trade=("AAPL",))
    assert (
        hear(
            target, *granted(trade=("AAPL",)), Notice("rejected", "x"), Notice("failed"), Notice("heartbeat")
        )
        == []
    )
    assert target.phase is Phase.AUTHENTICATING


# --- addresses, symbols, definitions ---

ADDRESSES = [
    ("alpaca", "wss://stream.data.alpaca.markets/v2/iex"),
    ("alpaca-sip", "wss://stream.data.alpaca.markets/v2/sip"),
    ("alpaca-crypto", "wss://stream.data.alpaca.markets/v1beta3/crypto/us"),
    ("alpaca-news", "wss://stream.data.alpaca.markets/v1beta1/news"),
    ("alpaca-test", "wss://stream.data.alpaca.markets/v2/test"),
]


@pytest.mark.parametrize(("name", "address"), ADDRESSES)
def test_every_stream_has_its_address(name: str, address: str) -> None:
    """One connection, MessagePack, nothing secret in the header; another host with `url`."""
    adapter: Alpaca = getattr(module, name.replace("-", "_"))(keys=KEYS)
    assert (adapter.name, name in NAMES, adapter.overlapping) == (name, True, False)
    assert not isinstance(adapter, BooksByRest)
    (line,) = adapter.lines(("AAPL",), adapter.usual_channels)
    assert (line.url, line.headers) == (address, {"Content-Type": "application/msgpack"})
    assert set(adapter.usual_channels) <= set(adapter.channels)
    (there,) = Alpaca(name, "ws://127.0.0.1:8080/", KEYS).lines(("AAPL",), adapter.usual_channels)
    assert there.url == address.replace("wss://stream.data.alpaca.markets", "ws://127.0.0.1:8080")


# stream, what a user writes, what comes of it
SPELT: list[tuple[str, list[str], tuple[str, ...]]] = [
    ("alpaca", ["aapl", " BRK.B ", "AAPL", ""], ("AAPL", "BRK.B")),
    ("alpaca-sip", ["BF-B", "PSA.PR.H"], ("BF-B", "PSA.PR.H")),
    ("alpaca-test", ["fakepaca"], ("FAKEPACA",)),
    ("alpaca-crypto", ["btc/usd", "1INCH/USD"], ("BTC/USD", "1INCH/USD")),
    ("alpaca-news", ["AAPL", "BTCUSD"], ("AAPL", "BTCUSD")),
    ("alpaca-news", ["AAPL", "*"], ("*",)),
    ("alpaca", [], ()),
]


@pytest.mark.parametrize(("name", "written", "symbols"), SPELT)
def test_symbols_are_spelt_as_the_venue_does(name: str, written: list[str], symbols: tuple[str, ...]) -> None:
    """Upper case, each once; a star stands for all news."""
    assert Alpaca(name, keys=KEYS).checked_symbols(written) == symbols


@pytest.mark.parametrize(
    ("name", "symbol", "hint"),
    [
        ("alpaca", "*", "only alpaca-news takes *"),
        ("alpaca", "AA PL", "write it as AAPL"),
        ("alpaca", "ÄPL", "write it as AAPL"),
        ("alpaca-crypto", "BTCUSD", "write it as BTC/USD"),
        ("alpaca-crypto", "*", "only alpaca-news takes *"),
        ("alpaca-news", "A;B", "* for all"),
    ],
)
def test_what_is_no_symbol_is_refused(name: str, symbol: str, hint: str) -> None:
    """With how one is written."""
    with pytest.raises(UsageError) as caught:
        Alpaca(name, keys=KEYS).checked_symbols([symbol])
    assert hint in caught.value.hint


async def _nothing(path: str) -> bytes:
    raise AssertionError(f"{path} was asked for")


@pytest.mark.parametrize("name", NAMES)
def test_definitions_need_no_request(name: str) -> None:
    """They are consistent, and carry the channels; news have none."""
    adapter = Alpaca(name, keys=KEYS)
    symbol = "BTC/USD" if name == "alpaca-crypto" else "AAPL"
    channels = adapter.usual_channels
    found = asyncio.run(adapter.definitions(_nothing, (symbol,), channels)).instruments
    if name == "alpaca-news":
        assert found == {}
        return
    definition = found[symbol]
    assert (definition.key, definition.venue, definition.channels) == (f"{symbol}.{name}", name, channels)
    assert definition.quote == "USD"
    assert from_data(definition, 0).price_increment == 0.01
    assert adapter.parser({symbol: (1, definition)}, 1, channels).instruments == {symbol: (1, definition)}


@pytest.mark.parametrize("url", ["ws://192.0.2.1:9446", "http://data.example"])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_keys_do_not_travel_unencrypted(name: str, url: str) -> None:
    """An address of another machine without TLS is refused before anything is sent; with it, it is taken."""
    with pytest.raises(UsageError, match="without encryption") as caught:
        Alpaca(name, url, KEYS)
    assert url in caught.value.message
    assert caught.value.hint == "write wss://…"
    assert Alpaca(name, url.replace("ws:", "wss:").replace("http:", "https:"), KEYS).stream_base


def test_without_keys_the_user_is_told_where_they_belong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At the first use; an address that is none at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    adapter = Alpaca("alpaca")
    with pytest.raises(UsageError) as caught:
        asyncio.run(adapter.definitions(_nothing, ("AAPL",), ("trade",)))
    assert caught.value.message == "alpaca needs a key, and APCA_API_KEY_ID is not set"
    assert "export APCA_API_KEY_ID=" in caught.value.hint
    with pytest.raises(UsageError):
        adapter.lines(("AAPL",), ("trade",))
    with pytest.raises(UsageError):
        Alpaca("alpaca", "nowhere")


# --- over loopback, through the tap ---


class Listening(WaitingRows):
    """A tap on a fake venue, whose rows are kept."""

    def __init__(
        self, venue: FakeAlpaca, monkeypatch: pytest.MonkeyPatch, name: str, keys: Keys, **asked: Any
    ) -> None:
        super().__init__()
        packed = asked.pop("packed", True)
        adapter = Alpaca(name, venue.url, keys, packed=packed)
        monkeypatch.setattr(tap_module, "adapter_of", lambda _name, _url: adapter)
        config = TapConfig(
            venue=name,
            url=venue.url,
            back_off=BackOff(base_s=0.01, cap_s=0.02),
            timeouts=Timeouts(message_gap_s=0.0),
            **asked,
        )
        self.tap = Intake((config,), (), Sequencer(), self.buffer, self.changed.set)


@pytest.mark.parametrize("packed", [False, True], ids=["json", "messagepack"])
def test_a_stream_is_recorded_and_comes_back(monkeypatch: pytest.MonkeyPatch, *, packed: bool) -> None:
    """Authenticated, subscribed, every frame a row; after a loss the same again; no key in any row."""

    async def story() -> tuple[list[Row], list[str], FakeAlpaca]:
        async with FakeAlpaca().running() as venue:
            here = Listening(
                venue,
                monkeypatch,
                "alpaca",
                KEYS,
                symbols=("AAPL", "AMD"),
                channels=("trade", "quote"),
                packed=packed,
            )
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await venue.send(trade(1), quote(), trade(2, S="AMD"))
            await here.until(lambda: any(row.kind is Kind.TRADE for row in here.rows))
            await venue.drop()
            await here.until(lambda: here.events.count("subscribed") == 2)
            await venue.send(trade(1), trade(3, t=later(5)))
            await here.until(lambda: any(row.id == 3 for row in here.rows))
            await here.tap.stop()
            await running
            return here.rows, here.events, venue

    rows, events, venue = asyncio.run(story())
    assert events == [
        *("connecting", "connected", "authenticated", "subscribed", "disconnected"),
        *("connecting", "connected", "authenticated", "gap", "subscribed", "disconnected", "backfilled"),
    ]
    assert venue.paths == ["/v2/iex"] * 2
    assert venue.asked[:2] == [
        {"action": "subscribe", "trades": ["AAPL", "AMD"]},
        {"action": "subscribe", "quotes": ["AAPL", "AMD"]},
    ]
    assert venue.asked[2:] == venue.asked[:2]
    assert [row.wire for row in rows if row.wire is not None] == venue.sent
    trades = [(row.instrument, row.id, row.flags & ~Flag.LAST) for row in rows if row.kind is Kind.TRADE]
    assert trades == [(1, 1, Flag(0)), (2, 2, Flag(0)), (1, 1, Flag.DUPLICATE), (1, 3, Flag(0))]
    planted = re.compile(f"{KEY}|{SECRET}".encode())
    assert not any(planted.search(row.wire or b"") for row in rows)
    assert not any(planted.search(msgspec.json.encode(row.data)) for row in rows)


def test_a_book_that_lost_its_step_is_subscribed_to_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue begins with all of it, and the rows say so."""

    async def story() -> tuple[list[Row], FakeAlpaca]:
        async with FakeAlpaca().running() as venue:
            here = Listening(
                venue, monkeypatch, "alpaca-crypto", KEYS, symbols=("BTC/USD",), channels=("book",)
            )
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await here.until(lambda: here.tap.synchronised("BTC/USD"))
            await venue.send(book([(9, 1)], t=later(9)))
            await venue.send(book([(8, 1)], t=later(8)))
            await here.until(lambda: "synchronised" in here.events)
            await here.tap.stop()
            await running
            return here.rows, venue

    rows, venue = asyncio.run(story())
    assert [request["action"] for request in venue.asked] == ["subscribe", "unsubscribe", "subscribe"]
    flags = [row.flags & ~Flag.LAST for row in rows if row.kind is Kind.BOOK]
    picture = [Flag.CLEAR | Flag.SNAPSHOT, Flag.SNAPSHOT]
    assert flags == [*picture, Flag(0), Flag.MAYBE_BAD_BOOK | Flag.OUT_OF_ORDER, *picture]
    events = [row.event for row in rows if row.kind is Kind.STATUS]
    assert events[-3:] == ["resync", "synchronised", "disconnected"]


def test_a_channel_that_is_refused_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is degraded, and the row says what is missing and why."""

    async def story() -> list[Row]:
        async with FakeAlpaca(refused="lulds").running() as venue:
            here = Listening(
                venue, monkeypatch, "alpaca", KEYS, symbols=("AAPL", "XYZ"), channels=("luld", "trade")
            )
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await venue.send(trade(1))
            await here.until(lambda: any(row.kind is Kind.TRADE for row in here.rows))
            await here.tap.stop()
            await running
            return here.rows

    rows = asyncio.run(story())
    (degraded,) = [row for row in rows if row.event == "degraded"]
    assert degraded.data["detail"].startswith(
        "not granted: trade XYZ; refused: luld AAPL XYZ: 410 invalid subscribe action for this feed, "
    )
    (rejected,) = [row for row in rows if row.event == "rejected"]
    assert rejected.data["detail"] == "410 invalid subscribe action for this feed"


def test_wrong_keys_end_the_first_attempt_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the venue's words and the variables; no key is in it."""

    async def story() -> None:
        async with FakeAlpaca().running() as venue:
            keys = Keys(Held(KEY), Held("a-wrong-secret"))
            here = Listening(venue, monkeypatch, "alpaca", keys, symbols=("AAPL",), channels=("trade",))
            await here.tap.start()

    with pytest.raises(VenueError) as caught:
        asyncio.run(story())
    assert "402 auth failed" in caught.value.message
    assert "APCA_API_SECRET_KEY" in caught.value.hint
    assert "a-wrong-secret" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_all_news_are_recorded_without_an_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    """One subscription to a star; every headline is a row of no instrument."""

    async def story() -> tuple[list[Row], FakeAlpaca]:
        async with FakeAlpaca(known=("*",)).running() as venue:
            here = Listening(venue, monkeypatch, "alpaca-news", KEYS, symbols=("*",))
            await here.tap.start()
            running = asyncio.ensure_future(here.tap.run())
            await venue.send(article(1), article(2))
            await here.until(lambda: any(row.kind is Kind.NEWS for row in here.rows))
            await here.tap.stop()
            await running
            return here.rows, venue

    rows, venue = asyncio.run(story())
    assert venue.asked == [{"action": "subscribe", "news": ["*"]}]
    assert venue.paths == ["/v1beta1/news"]
    news = [(row.data["id"], row.instrument, row.source) for row in rows if row.kind is Kind.NEWS]
    assert news == [("1", 0, 1), ("2", 0, 1)]
    assert not any(row.kind is Kind.INSTRUMENT for row in rows)
    assert "degraded" not in [row.event for row in rows]
