"""Public clients, as they come, against the local venue: what they see is what the venue sent.

Addresses are all that they are told. Whatever they need besides (REST paths, stream names, request weights)
the venue has to know.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.serve.sample import write_sample
from engine.serve.server import LocalVenue
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.patience import run

ccxt_pro = pytest.importorskip("ccxt.pro", reason="ccxt is not installed: pip install 'engine[clients]'")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports what websockets has deprecated
    binance = pytest.importorskip("binance", reason="python-binance is not installed")

SEED = 7


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is loopback, whatever this machine's environment says."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def market(seed: int = SEED) -> LocalVenue:
    return LocalVenue(SyntheticMarket(seed, rate=4), speed=5, account=True)


@asynccontextmanager
async def ccxt_client(venue: LocalVenue) -> AsyncIterator[Any]:
    """ccxt.pro.binance with the venue's addresses in place of the real ones."""
    http, ws = venue.http_url, venue.ws_url
    api = {
        "public": http + "/api/v3",
        "private": http + "/api/v3",
        "v1": http + "/api/v1",
        **{name: f"{http}/sapi/v{version}" for name, version in zip(SAPI, (1, 2, 3, 4), strict=True)},
        "ws": {"spot": ws + "/ws", "margin": ws + "/ws", "ws-api": {"spot": ws + "/ws-api/v3"}},
    }
    options = {"defaultType": "spot", "fetchMarkets": ["spot"], "fetchMargins": False}
    client = ccxt_pro.binance({"urls": {"api": api}, "options": options, "aiohttp_trust_env": False})
    client.has["fetchCurrencies"] = False
    try:
        yield client
    finally:
        await client.close()


SAPI = ("sapi", "sapiV2", "sapiV3", "sapiV4")


@asynccontextmanager
async def binance_client(venue: LocalVenue) -> AsyncIterator[tuple[Any, Any]]:
    """python-binance's client and its socket manager, pointed at the venue."""
    addresses = {"API_URL": venue.http_url + "/api", "WS_API_URL": venue.ws_url + "/ws-api/v3"}
    local: Any = type("Local", (binance.AsyncClient,), addresses)  # they are the class's
    client = await local.create()
    manager = binance.BinanceSocketManager(client)
    manager.STREAM_URL = venue.ws_url + "/"
    try:
        yield client, manager
    finally:
        await client.close_connection()


def sent_ids(venue: LocalVenue, stream: str) -> list[int]:
    return [sent.last for sent in venue.sent if sent.stream == stream]


def levels(side: Any) -> dict[Decimal, Decimal]:
    return {Decimal(str(level[0])): Decimal(str(level[1])) for level in side}


def book_of(venue: LocalVenue) -> tuple[int, dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    top = venue.market.depth("BTCUSDT", 5_000)
    return top["lastUpdateId"], levels(top["bids"]), levels(top["asks"])


def test_ccxt_knows_the_markets_by_the_venues_own_figures() -> None:
    """load_markets: symbols, price and size steps, smallest order, as exchangeInfo gives them."""

    async def scene() -> None:
        async with market() as venue, ccxt_client(venue) as client:
            markets = await client.load_markets()
            assert sorted(markets) == ["BTC/USDT", "ETH/USDT"]
            btc = markets["BTC/USDT"]
            assert (btc["id"], btc["spot"], btc["active"]) == ("BTCUSDT", True, True)
            assert (btc["precision"]["price"], btc["precision"]["amount"]) == (0.01, 0.00001)
            assert btc["limits"]["cost"]["min"] == 5.0

    run(scene)


def test_ccxt_watches_every_trade() -> None:
    """watch_trades gives all ids that the venue sent up to then, each once and in order."""

    async def scene() -> None:
        async with market() as venue, ccxt_client(venue) as client:
            seen: list[int] = []
            prices: dict[int, tuple[str, str]] = {}
            while len(seen) < 60:
                for trade in await client.watch_trades("BTC/USDT"):
                    seen.append(int(trade["id"]))
                    prices[int(trade["id"])] = (trade["info"]["p"], trade["info"]["q"])
            assert seen == sent_ids(venue, "btcusdt@trade")[: len(seen)]
            kept = {t["t"]: (t["p"], t["q"]) for t in venue.market.trades("BTCUSDT", 0)}
            assert prices == {number: kept[number] for number in seen}

    run(scene)


def test_ccxt_sees_what_a_log_holds(tmp_path: Path) -> None:
    """A recording, served again: the ids of all its trades, and its own prices and sizes."""
    path = tmp_path / "short.arrow"
    write_sample(path, minutes=0.2)
    held = [event.payload for event in RecordingSource(path).events() if event.stream == "btcusdt@trade"]

    async def scene() -> None:
        async with LocalVenue(RecordingSource(path), speed=20) as venue, ccxt_client(venue) as client:
            seen: dict[int, tuple[str, str]] = {}
            while len(seen) < len(held):
                for trade in await client.watch_trades("BTC/USDT"):
                    seen[int(trade["id"])] = (trade["info"]["p"], trade["info"]["q"])
            assert seen == {each["t"]: (each["p"], each["q"]) for each in held}

    run(scene)


@pytest.mark.parametrize("seed", [7, 8])
def test_ccxt_keeps_the_venues_book(seed: int) -> None:
    """After many diffs ccxt's own book has every level of the venue's at the same update id."""

    async def scene() -> None:
        async with market(seed) as venue, ccxt_client(venue) as client:
            compared = 0
            for _ in range(40):
                book = await client.watch_order_book("BTC/USDT")
                last_id, bids, asks = book_of(venue)
                if book["nonce"] == last_id:  # else the venue has gone on since this frame was written
                    assert levels(book["bids"]) == bids
                    assert levels(book["asks"]) == asks
                    compared += 1
            assert compared >= 10

    run(scene)


def test_ccxt_watches_tickers_best_prices_and_candles() -> None:
    """watch_ticker, watch_bids_asks, watch_ohlcv: the figures of the venue's own state."""

    async def scene() -> None:
        async with market() as venue, ccxt_client(venue) as client:
            ticker = await client.watch_ticker("BTC/USDT")
            day = ticker["info"]
            assert day["e"] == "24hrMiniTicker"
            traded = [trade["p"] for trade in venue.market.trades("BTCUSDT", 0)]
            assert (traded[0], day["c"] in traded) == (day["o"], True)
            assert (ticker["last"], ticker["timestamp"]) == (float(day["c"]), day["E"])
            best = (await client.watch_bids_asks(["BTC/USDT"]))["BTC/USDT"]
            assert best["info"]["u"] in sent_ids(venue, "btcusdt@bookTicker")
            assert best["bid"] < best["ask"]
            candle = (await client.watch_ohlcv("BTC/USDT", "1m"))[-1]
            assert candle[0] % 60_000 == 0
            assert candle[3] <= candle[1] <= candle[2]

    run(scene)


def test_ccxt_watches_all_tickers_at_once() -> None:
    """watch_tickers without a symbol, by day and by hour: symbols of this market with the venue's prices."""

    async def scene() -> None:
        async with market() as venue, ccxt_client(venue) as client:
            assert await client.watch_tickers()
            for channel in ("miniTicker", "ticker_1h"):
                found = await client.watch_tickers(None, {"name": channel})
                assert found
                assert found.keys() <= {"BTC/USDT", "ETH/USDT"}
                for ticker in found.values():
                    traded = {trade["p"] for trade in venue.market.trades(ticker["info"]["s"], 0)}
                    assert ticker["info"]["c"] in traded
            shanghai = await client.watch_ohlcv("BTC/USDT", "1d", None, None, {"timezone": "+08:00"})
            assert shanghai[-1][0] % 86_400_000 == 16 * 3_600_000

    run(scene)


def test_ccxt_fetches_over_rest() -> None:
    """Tickers, best prices, trades, candles, status: each answer is there and is about this market."""

    async def scene() -> None:
        async with market() as venue, ccxt_client(venue) as client:
            await client.watch_trades("BTC/USDT")
            assert (await client.fetch_status())["status"] == "ok"
            assert sorted(await client.fetch_tickers()) == ["BTC/USDT", "ETH/USDT"]
            assert (await client.fetch_ticker("BTC/USDT"))["last"] > 0
            best = await client.fetch_bids_asks(["BTC/USDT"])
            assert best["BTC/USDT"]["bid"] < best["BTC/USDT"]["ask"]
            ids = sorted(int(trade["id"]) for trade in await client.fetch_trades("BTC/USDT"))
            assert ids == list(range(ids[0], ids[-1] + 1))
            assert any(bar[5] > 0 for bar in await client.fetch_ohlcv("BTC/USDT", "1m"))
            assert _weight_used(client) > 0

    run(scene)


def test_python_binance_reads_every_stream() -> None:
    """Trade, bookTicker, diff, kline, ticker and combined sockets: ids are those that the venue sent."""

    async def scene() -> None:
        async with market() as venue, binance_client(venue) as (_, manager):
            async with manager.trade_socket("BTCUSDT") as socket:
                trades = [await socket.recv() for _ in range(40)]
            assert [t["t"] for t in trades] == sent_ids(venue, "btcusdt@trade")[:40]
            async with manager.symbol_book_ticker_socket("BTCUSDT") as socket:
                quotes = [await socket.recv() for _ in range(20)]
            assert [q["u"] for q in quotes] == sent_ids(venue, "btcusdt@bookTicker")[:20]
            async with manager.kline_socket("BTCUSDT", interval="1s") as socket:
                assert (await socket.recv())["k"]["i"] == "1s"
            async with manager.symbol_ticker_socket("BTCUSDT") as socket:
                day = await socket.recv()
            traded = {t["t"]: t["p"] for t in venue.market.trades("BTCUSDT", 0)}
            assert (day["e"], traded[day["L"]]) == ("24hrTicker", day["c"])
            assert (day["L"] - day["F"] + 1, min(traded)) == (day["n"], day["F"])
            assert day["C"] - day["O"] == 86_400_000
            streams = ["btcusdt@trade", "ethusdt@bookTicker"]
            async with manager.multiplex_socket(streams) as socket:
                found = [await socket.recv() for _ in range(40)]
            assert {frame["stream"] for frame in found} == set(streams)

    run(scene)


def test_python_binance_keeps_the_venues_book() -> None:
    """Its depth cache (snapshot over REST, then slow diffs) agrees with the venue, level for level."""

    async def scene() -> None:
        async with market() as venue, binance_client(venue) as (client, manager):
            kept = binance.DepthCacheManager(client, "BTCUSDT", ws_interval=100)
            kept._bm = manager
            compared = 0
            async with kept as cache:
                for _ in range(30):
                    book = await cache.recv()
                    last_id, bids, asks = book_of(venue)
                    if cache._last_update_id == last_id:
                        assert levels(book.get_bids()) == bids
                        assert levels(book.get_asks()) == asks
                        compared += 1
            assert compared >= 10

    run(scene)


def test_python_binance_pages_back_through_trades() -> None:
    """Trades from an id on, aggregate trades from a time on: nothing twice, nothing missing."""

    async def scene() -> None:
        async with market() as venue, binance_client(venue) as (client, manager):
            async with manager.trade_socket("BTCUSDT") as socket:
                trades = [await socket.recv() for _ in range(60)]
            paged: list[int] = []
            first = trades[0]["t"]
            while len(paged) < 60:
                page = await client.get_historical_trades(symbol="BTCUSDT", fromId=first, limit=25)
                paged += [trade["id"] for trade in page]
                first = paged[-1] + 1
            assert paged[:60] == [trade["t"] for trade in trades]
            begin, end = trades[0]["T"], trades[40]["T"]
            found = client.aggregate_trade_iter(symbol="BTCUSDT", start_str=begin)
            covered = [n async for a in _until(found, end) for n in range(a["f"], a["l"] + 1)]
            assert covered == sorted(set(covered))
            assert {trade["t"] for trade in trades[:40]} <= set(covered)
            assert await client.get_avg_price(symbol="BTCUSDT")
            assert (await client.get_symbol_ticker(symbol="BTCUSDT"))["symbol"] == "BTCUSDT"
            assert len(await client.get_klines(symbol="BTCUSDT", interval="1m")) >= 1

    run(scene)


def _weight_used(client: Any) -> int:
    headers = {name.lower(): value for name, value in client.last_response_headers.items()}
    return int(headers["x-mbx-used-weight-1m"])


async def _until(found: Any, end: int) -> AsyncIterator[Any]:
    async for item in await found if asyncio.iscoroutine(found) else found:
        if item["T"] > end:
            return
        yield item
