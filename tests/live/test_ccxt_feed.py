"""ccxt as a source: a scripted exchange in its place, and the library itself against a local venue."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from engine.live import ccxt_library
from engine.live.ccxt_feed import CcxtConfig, CcxtFeed
from engine.live.ccxt_library import definition_of, exchange_of, method_of, refusal_of
from engine.live.clock import Sequencer
from engine.live.credentials import Secret
from engine.live.machine import BackOff
from engine.live.rest import Refused
from engine.model.errors import EngineError, UsageError, VenueError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.serve.server import LocalVenue
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.rows import Row, rows_of_buffer

LIMIT_S = 30.0
QUICK = BackOff(base_s=0.01, cap_s=0.02)
BTC, ETH = "BTC/USDT", "ETH/USDT"
MARKET = {
    "base": "BTC",
    "quote": "USDT",
    "active": True,
    "precision": {"price": "0.01000000", "amount": "0.00001"},
    "limits": {"amount": {"min": "0.001", "max": None}, "cost": {"min": "5.00"}},
}
ERRORS: dict[str, type[Exception] | str] = {
    "BaseError": Exception,
    "ExchangeError": "BaseError",
    "AuthenticationError": "ExchangeError",
    "ArgumentsRequired": "ExchangeError",
    "BadSymbol": "ExchangeError",
    "NotSupported": "ExchangeError",
    "OperationFailed": "BaseError",
    "NetworkError": "OperationFailed",
    "DDoSProtection": "NetworkError",
    "RateLimitExceeded": "NetworkError",
    "OnMaintenance": "NetworkError",
    "InvalidNonce": "NetworkError",
    "ChecksumError": "InvalidNonce",
}


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The library's errors, by the library or, where it is not installed, in its place."""
    package = ModuleType("ccxt")
    for name, base in ERRORS.items():
        parent: type[Exception] = getattr(package, base) if isinstance(base, str) else base
        setattr(package, name, type(name, (parent,), {}))
    monkeypatch.setitem(sys.modules, "ccxt", package)
    return package


class Exchange:
    """What it was told to hand over, then nothing for ever; an error is raised."""

    precisionMode = 4  # noqa: N815  the library's own name

    def __init__(self, **script: list[Any]) -> None:
        """`script`: by method, "watch_trades" and so on; each is handed over to whoever asks next."""
        self.id = "fake"
        self.has: dict[str, Any] = {"watchTrades": True, "watchOrderBook": True, "watchTicker": True}
        self.markets: dict[str, Any] = {}
        self.known = {BTC: MARKET, ETH: MARKET}
        self.script = defaultdict(deque[Any], {name: deque(steps) for name, steps in script.items()})
        self.asked: list[tuple[str, Any]] = []
        self.closed = 0
        self.dry = asyncio.Event()  # everything has been handed over

    async def load_markets(self) -> None:
        """As the library's."""
        steps = self.script["load_markets"]
        if steps:
            raise steps.popleft()
        self.markets = self.known

    async def close(self) -> None:
        """As the library's."""
        self.closed += 1

    def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
        if not name.startswith("watch_"):
            raise AttributeError(name)

        async def watch(what: Any) -> Any:
            self.asked.append((name, what))
            await asyncio.sleep(0)
            if not self.script[name]:
                if not any(self.script.values()):
                    self.dry.set()
                await asyncio.Event().wait()
            step = self.script[name].popleft()
            if isinstance(step, Exception):
                raise step
            return step

        return watch


def play(exchange: Exchange, **options: Any) -> tuple[list[Row], CcxtFeed]:
    """First contact, header, all that the script has, stop."""

    async def made(_venue: str, _url: str) -> Any:
        return exchange

    async def run() -> tuple[list[Row], CcxtFeed]:
        rows = RowBuffer()
        settings: dict[str, Any] = {
            "symbols": (BTC,),
            "channels": ("trade", "book"),
            "back_off": QUICK,
            **options,
        }
        feed = CcxtFeed(CcxtConfig("fake", **settings), Sequencer(), rows, lambda: None, make=made)
        async with asyncio.timeout(LIMIT_S):
            await feed.contact()
            feed.number(2, 5)
            feed.header()
            feed.begin()
            running = asyncio.ensure_future(feed.run())
            await exchange.dry.wait()
            await feed.stop()
            await running
            await feed.run()  # one life only
        return rows_of_buffer(rows), feed

    return asyncio.run(run())


def story(rows: list[Row]) -> list[str]:
    return [row.event or row.kind.name for row in rows]


def trade(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "timestamp": 1,
        "side": "buy",
        "price": "1.5",
        "amount": "1",
        "info": {"n": number},
    }


def book(*bids: list[Any], **more: Any) -> dict[str, Any]:
    return {"bids": list(bids), "asks": [[2.0, 1.0]], "nonce": 1, "timestamp": None, **more}


BEGIN = ["SOURCE", "INSTRUMENT", "connecting", "connected", "subscribed"]


def test_what_is_handed_over_becomes_rows() -> None:
    """The header with its numbers, the machine's rows, then messages with what was handed over as wire."""
    rows, feed = play(Exchange(watch_trades=[[trade(1)], [trade(2), trade(3)]]), channels=("trade",))
    assert story(rows) == [*BEGIN, "TRADE", "TRADE", "TRADE", "disconnected"]
    assert (rows[0].source, rows[0].data["detail"]) == (2, {"lossy": "ccxt", "quality": "warn"})
    assert (rows[1].instrument, rows[1].source, rows[1].data["key"]) == (5, 0, f"{BTC}.ccxt:fake")
    assert rows[4].data["detail"] == f"trade of {BTC}"
    assert rows[-1].data["detail"] == "stopped"
    marked = [row for row in rows if row.kind is Kind.TRADE]
    assert all(row.flags & Flag.LOSSY for row in marked)
    assert marked[1].wire == (
        b'{"channel":"trade","symbol":"BTC/USDT","trades":['
        b'{"amount":"1","id":"2","info":{"n":2},"price":"1.5","side":"buy","timestamp":1},'
        b'{"amount":"1","id":"3","info":{"n":3},"price":"1.5","side":"buy","timestamp":1}]}'
    )
    assert [row.ts for row in rows if row.flags & Flag.LAST] == sorted(
        {row.ts for row in rows if row.flags & Flag.LAST}
    )
    assert feed.frames == 2


def test_symbols_are_spelt_as_the_library_does() -> None:
    """In capitals, where it has them so; as written, where it has that; each once."""
    exchange = Exchange(watch_trades=[[trade(1)]])
    exchange.known = {BTC: MARKET, "kPEPE/USDC": MARKET}
    rows, feed = play(exchange, channels=("trade",), symbols=("btc/usdt", BTC, "kPEPE/USDC"))
    assert feed.symbols == (BTC, "kPEPE/USDC")
    assert {what for _, what in exchange.asked} == {BTC, "kPEPE/USDC"}
    assert [row.data["symbol"] for row in rows if row.kind is Kind.INSTRUMENT] == [BTC, "kPEPE/USDC"]


def test_a_book_is_copied_and_told_by_its_changes() -> None:
    """The library writes on into the object it gave; what is unchanged is no frame."""
    same = book([1.0, 5.0], [0.9, 5.0])

    class Growing(Exchange):
        """Changes the book in place before it gives it again."""

        def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
            inner = super().__getattr__(name)

            async def watch(what: Any) -> Any:
                given = await inner(what)
                if len(self.asked) == 3:
                    given["bids"][:] = [[1.0, 6.0], [0.8, 1.0]]
                return given

            return watch

    rows, feed = play(Growing(watch_order_book=[same, same, same]), channels=("book",))
    levels = [
        (row.side, row.price, row.size, bool(row.flags & Flag.CLEAR)) for row in rows if row.kind is Kind.BOOK
    ]
    assert levels == [
        (1, 100, 500_000, True), (1, 90, 500_000, False), (-1, 200, 100_000, False),
        (1, 100, 600_000, False), (1, 80, 100_000, False), (1, 90, 0, False),
    ]  # fmt: skip
    assert feed.frames == 2
    assert feed.synchronised(BTC)


def test_an_error_is_a_disconnection_and_everything_begins_again(errors: ModuleType) -> None:
    """Its words, a wait, whole books again; sockets that are left are closed."""
    exchange = Exchange(
        watch_order_book=[
            book([1.0, 5.0]), errors.NetworkError("1006 closed"), KeyError("lastUpdateId"), book([1.0, 5.0])
        ]
    )  # fmt: skip
    rows, _ = play(exchange, channels=("book",))
    again = ["disconnected", "connecting"]
    assert story(rows) == [
        *BEGIN, "BOOK", "BOOK", *again, *again, "connected", "subscribed", "BOOK", "BOOK", "disconnected"
    ]  # fmt: skip
    trouble = [row.data for row in rows if row.event == "disconnected"]
    assert trouble[0]["detail"] == "NetworkError: 1006 closed"
    assert trouble[0]["wait_ns"] > 0
    assert trouble[1]["detail"] == "KeyError: 'lastUpdateId'"
    assert sum(bool(row.flags & Flag.CLEAR) for row in rows if row.kind is Kind.BOOK) == 2
    assert exchange.closed == 3


def test_a_book_out_of_step_is_a_gap_of_its_own(errors: ModuleType) -> None:
    """The other channels go on; the rows name the instrument, and a whole book comes."""
    exchange = Exchange(
        watch_order_book=[book([1.0, 5.0]), errors.ChecksumError("no match"), book([1.0, 4.0])]
    )
    rows, _ = play(exchange, channels=("book",))
    assert story(rows) == [*BEGIN, "BOOK", "BOOK", "gap", "resync", "BOOK", "BOOK", "disconnected"]
    gap = next(row for row in rows if row.event == "gap")
    assert (gap.instrument, gap.data["channel"], gap.data["detail"]) == (5, "book", "ChecksumError: no match")
    assert exchange.closed == 1


def test_silence_is_a_row_and_then_an_end() -> None:
    """A stream that has gone quiet is said to be, and begun again when patience ends."""

    class Quiet(Exchange):
        """Its script is over when it is asked for the third life."""

        async def close(self) -> None:
            """Count, and let the test go on."""
            await super().close()
            if self.closed == 2:
                self.dry.set()

        def __getattr__(self, name: str) -> Callable[[Any], Awaitable[Any]]:
            inner = super().__getattr__(name)

            async def watch(what: Any) -> Any:
                if not self.script[name]:
                    await asyncio.Event().wait()
                return await inner(what)

            return watch

    rows, _ = play(Quiet(watch_trades=[[trade(1)]]), channels=("trade",), silence_s=0.01)
    assert story(rows)[5:] == [
        "TRADE", "silence", "disconnected", "connecting", "disconnected", "stopped"
    ]  # fmt: skip
    details = [row.data["detail"] for row in rows if row.event == "disconnected"]
    assert details == ["nothing for 0.05 s", "nothing for 0.01 s"]


def test_best_prices_are_taken_from_where_they_are_best() -> None:
    """Bids and asks of their own, where a venue has them, else a ticker; by symbol or alone."""
    exchange = Exchange(watch_bids_asks=[{BTC: {"bid": "1", "ask": "2"}}])
    exchange.has["watchBidsAsks"] = True
    rows, _ = play(exchange, channels=("quote",))
    assert story(rows) == [*BEGIN, "QUOTE", "QUOTE", "disconnected"]
    assert exchange.asked[0] == ("watch_bids_asks", [BTC])
    exchange = Exchange(watch_ticker=[{"bid": "1", "ask": "2", "symbol": BTC}])
    assert story(play(exchange, channels=("quote",))[0]) == [*BEGIN, "QUOTE", "QUOTE", "disconnected"]
    assert exchange.asked[0] == ("watch_ticker", BTC)


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"symbols": ("BTC/USDX",)}, 'ccxt:fake has no symbol "BTC/USDX"', "did you mean BTC/USDT"),
        ({"symbols": ("x",)}, 'ccxt:fake has no symbol "X"', "BTC/USDT"),
        ({"symbols": ("",)}, "no symbol given", "--symbols BTC/USDT"),
        ({"channels": ()}, "no channel given", "--channels trade,quote,book"),
        ({"channels": ("bar",)}, 'ccxt:fake has no channel "bar"', "it has trade, book, quote"),
    ],
    ids=str,
)
def test_what_cannot_be_is_the_users(options: dict[str, Any], words: str, hint: str) -> None:
    """A UsageError that names it; nothing is left open."""
    exchange = Exchange()
    with pytest.raises(UsageError) as caught:
        play(exchange, **options)
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert exchange.closed == (0 if "given" in words else 1)


MEANINGS = [
    ("BadSymbol", UsageError, "as ccxt names them"),
    ("NotSupported", UsageError, "as ccxt names them"),
    ("AuthenticationError", VenueError, "account"),
    ("RateLimitExceeded", Refused, "wait"),
    ("DDoSProtection", Refused, "wait"),
    ("OnMaintenance", Refused, "later"),
    ("NetworkError", Refused, "check the address"),
    ("ExchangeError", VenueError, "another version"),
    ("BaseError", VenueError, "another version"),
]


@pytest.mark.parametrize(("name", "kind", "hint"), MEANINGS, ids=lambda value: str(value)[:30])
def test_what_a_first_error_means(errors: ModuleType, name: str, kind: type[EngineError], hint: str) -> None:
    """The library's words in one line, without a secret, and what to do; nothing is left open."""
    Secret("planted-key-of-ccxt")
    exchange = Exchange(load_markets=[getattr(errors, name)("with\nplanted-key-of-ccxt")])
    with pytest.raises(kind) as caught:
        play(exchange)
    assert caught.value.message == f"ccxt:fake: {name}: with ***"
    assert hint in caught.value.hint
    assert exchange.closed == 1


PRECISIONS = [
    (4, {"price": "0.05", "amount": "1"}, ("0.05", "1", 2, 0)),
    (4, {"price": 1e-08, "amount": 0.0001}, ("0.00000001", "0.0001", 8, 4)),
    (2, {"price": "2", "amount": "0"}, ("0.01", "1", 2, 0)),
    (3, {"price": "5", "amount": None}, ("0.00000001", "0.00000001", 8, 8)),
    (4, {"price": "none", "amount": "0"}, ("0.00000001", "0.00000001", 8, 8)),
    (4, None, ("0.00000001", "0.00000001", 8, 8)),
]


@pytest.mark.parametrize(("mode", "precision", "expected"), PRECISIONS, ids=str)
def test_definitions(mode: int, precision: Any, expected: tuple[str, str, int, int]) -> None:
    """Increments of each of the library's ways to say them; what it does not say is fine enough to widen."""
    exchange = Exchange()
    exchange.precisionMode = mode
    exchange.markets = {BTC: {**MARKET, "precision": precision, "active": False}}
    found = definition_of(exchange, BTC, ("trade",))
    increments = (found.price_increment, found.size_increment, found.price_decimals, found.size_decimals)
    assert increments == expected
    assert (found.min_size, found.max_size, found.min_notional) == ("0.001", "0", "5")
    assert (found.status, found.channels) == ("BREAK", ("trade",))


def test_without_the_package_the_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr(ccxt_library, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs the package ccxt") as caught:
        asyncio.run(exchange_of("okx"))
    assert caught.value.hint == 'pip install "engine[ccxt]"'


def test_a_channel_needs_a_method() -> None:
    """What a venue lacks is not asked for."""
    exchange = Exchange()
    exchange.has = {"watchTrades": True}
    assert method_of(exchange, "trade") == "watchTrades"
    with pytest.raises(UsageError, match='no channel "book"') as caught:
        method_of(exchange, "book")
    assert caught.value.hint == "it has trade"


class TestTheLibraryItself:
    """ccxt.pro, unmodified, against a local venue; skipped where it is not installed."""

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        pytest.importorskip("ccxt", reason="the extra ccxt is not installed")

    @staticmethod
    async def record(venue: LocalVenue, frames: int, *symbols: str) -> tuple[list[Row], CcxtFeed]:
        """So many frames of the local venue."""
        rows = RowBuffer()
        enough = asyncio.Event()
        config = CcxtConfig("binance", symbols, url=venue.http_url, back_off=QUICK)

        def look() -> None:
            if feed.frames >= frames and all(map(feed.synchronised, symbols)):
                enough.set()

        feed = CcxtFeed(config, Sequencer(), rows, look)
        async with asyncio.timeout(LIMIT_S):
            await feed.contact()
            feed.number(1)
            feed.header()
            feed.begin()
            running = asyncio.ensure_future(feed.run())
            await enough.wait()
            await feed.stop()
            await running
        return rows_of_buffer(rows), feed

    def test_it_brings_what_the_venue_sends(self) -> None:
        """Trades, quotes and books of two symbols, whole books first; no trade that was not sent."""

        async def run() -> tuple[list[Row], LocalVenue]:
            async with LocalVenue(SyntheticMarket(7), speed=5.0, account=True) as venue:
                return (await self.record(venue, 300, BTC, ETH))[0], venue

        rows, venue = asyncio.run(run())
        kinds = Counter(row.kind for row in rows)
        assert kinds[Kind.MALFORMED] == 0
        assert min(kinds[kind] for kind in (Kind.TRADE, Kind.QUOTE, Kind.BOOK)) > 0
        assert sum(bool(row.flags & Flag.CLEAR) for row in rows) == 2
        market = [row for row in rows if row.kind in {Kind.TRADE, Kind.QUOTE, Kind.BOOK}]
        assert all(row.flags & Flag.LOSSY for row in market)
        ids = [row.id for row in rows if row.kind is Kind.TRADE and row.instrument == 1]
        assert ids == sorted(set(ids))
        assert set(ids) <= {sent.first for sent in venue.sent if sent.stream == "btcusdt@trade"}
        assert not any(row.flags & Flag.DUPLICATE for row in market)

    def test_nobody_there(self) -> None:
        """A refusal with the library's words, and no socket left behind."""

        async def contact() -> None:
            feed = CcxtFeed(
                CcxtConfig("binance", (BTC,), url="http://127.0.0.1:1"),
                Sequencer(),
                RowBuffer(),
                lambda: None,
            )
            await feed.contact()

        with pytest.raises(Refused, match="ccxt:binance: "):
            asyncio.run(contact())

    def test_a_name_that_nobody_has(self) -> None:
        """The nearest names are proposed."""
        with pytest.raises(UsageError, match='no streams of a venue "binanse"') as caught:
            asyncio.run(exchange_of("binanse"))
        assert "binance" in caught.value.hint

    def test_the_errors_are_the_librarys_own(self) -> None:
        """Every name that is told apart exists there, below the one that the table says."""
        import ccxt

        for name, base in ERRORS.items():
            parent: type[Exception] = getattr(ccxt, base) if isinstance(base, str) else base
            assert issubclass(getattr(ccxt, name), parent), name
        assert isinstance(refusal_of(ccxt.RequestTimeout("x"), "okx"), Refused)
