"""Alpaca's own client, as it comes, against the local venue: what it sees is what the venue sent.

It demands MessagePack with stamps as extensions, subscribes in fragments, and logs in by itself; all that it
is told is another address.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_server import LocalAlpaca
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.news_source import read_headlines
from engine.serve.sample import write_sample
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SyntheticMarket
from tests.helpers.patience import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports what websockets has deprecated
    live = pytest.importorskip("alpaca.data.live", reason="pip install 'engine[clients]'")
from alpaca.common.exceptions import APIError
from alpaca.data import historical, requests
from alpaca.data.timeframe import TimeFrame

STOCKS = ["AAPL", "MSFT"]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is loopback, whatever this machine's environment says."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def venue(
    *symbols: str, rate: float = 1.0, every_ns: int = 0, headlines: int = 0, **options: Any
) -> LocalAlpaca:
    market = SyntheticMarket(7, symbols or STOCKS, rate=rate, model=alpaca_model)
    source = AlpacaSource(market, read_headlines().items[:headlines], every_ns=every_ns)
    return LocalAlpaca(source, account=True, **options)


class Seen:
    """What handlers were given; `enough` waits for so much of it."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._came = asyncio.Event()

    async def take(self, item: Any) -> None:
        """The handler."""
        self.items.append(item)
        self._came.set()

    async def enough(self, count: int) -> list[Any]:
        """The first `count` items."""
        while len(self.items) < count:
            self._came.clear()
            await self._came.wait()
        return self.items[:count]


@asynccontextmanager
async def running(stream: Any) -> AsyncIterator[None]:
    """The client's own loop, for as long as it is wanted."""
    work = asyncio.ensure_future(stream._run_forever())
    try:
        yield
    finally:
        while not work.done():  # its `wait_for` swallows a cancellation that comes together with a frame
            work.cancel()
            await asyncio.wait((work,), timeout=0.1)
        await asyncio.gather(work, return_exceptions=True)
        await stream.close()


def stock_stream(local: LocalAlpaca, path: str = "/v2/iex", **options: Any) -> Any:
    return live.StockDataStream("key", "secret", url_override=local.ws_url + path, **options)


def ns_of(stamp: Any) -> int:
    """Nanoseconds of MessagePack's Timestamp."""
    return int(stamp.seconds * 10**9 + stamp.nanoseconds)


def test_every_trade_and_quote_arrives() -> None:
    """Ids, stamps to the nanosecond and order are those that the venue sent, prices those of its history."""

    async def scene() -> None:
        async with venue(speed=10) as local:
            seen = Seen()
            stream = stock_stream(local, raw_data=True)
            stream.subscribe_trades(seen.take, *STOCKS)
            stream.subscribe_quotes(seen.take, "AAPL")
            async with running(stream):
                items = await seen.enough(500)
            sent = [each for each in local.sent if each.stream.partition("@")[0] in {"trades", "quotes"}]
            got = [(f"{NAMES[each['T']]}@{each['S']}", each.get("i", 0), ns_of(each["t"])) for each in items]
            assert got == [(each.stream, each.last, each.stamp) for each in sent[: len(got)]]
            for each in items:
                if each["T"] == "t":
                    kept = local.market.trades(each["S"]).find((ns_of(each["t"]), each["i"]))
                    assert kept is not None
                    assert (kept["p"], kept["s"], kept["x"]) == (each["p"], each["s"], each["x"])

    run(scene)


NAMES = {"t": "trades", "q": "quotes"}


def test_its_own_types_hold_what_was_sent() -> None:
    """Parsed trades and quotes: symbol, price, size, conditions, tape, a UTC time."""

    async def scene() -> None:
        async with venue(speed=10) as local:
            trades, quotes = Seen(), Seen()
            stream = stock_stream(local)
            stream.subscribe_trades(trades.take, "AAPL")
            stream.subscribe_quotes(quotes.take, "*")
            async with running(stream):
                trade, quote = (await trades.enough(5))[-1], (await quotes.enough(5))[-1]
            assert (trade.symbol, trade.conditions[0], trade.tape) == ("AAPL", "@", "A")
            assert trade.id in [each.last for each in local.sent if each.stream == "trades@AAPL"]
            assert trade.timestamp.tzinfo is not None
            assert quote.symbol in STOCKS
            assert quote.bid_price < quote.ask_price

    run(scene)


def test_bars_come_by_the_minute_and_late_trades_revise_them() -> None:
    """Minute bars, daily bars and updated bars: each as the venue's history has it."""

    async def scene() -> None:
        async with venue(speed=60, keep_times=True) as local:
            minutes, days, revised = Seen(), Seen(), Seen()
            stream = stock_stream(local)
            stream.subscribe_bars(minutes.take, "*")
            stream.subscribe_daily_bars(days.take, "AAPL")
            stream.subscribe_updated_bars(revised.take, "*")
            async with running(stream):
                bars = await minutes.enough(6)
                (update,) = await revised.enough(1)
                day = (await days.enough(2))[-1]
            sent = [(each.stream, each.stamp) for each in local.sent if each.stream.startswith("bars@")]
            got = [(f"bars@{bar.symbol}", _ns(bar.timestamp)) for bar in bars]
            assert got == sent[:6]
            before = next(
                b for b in minutes.items if (b.symbol, b.timestamp) == (update.symbol, update.timestamp)
            )
            assert update.trade_count > before.trade_count
            assert update.volume > before.volume
            assert day.timestamp < bars[0].timestamp
            assert day.trade_count > 0

    run(scene)


def test_corrections_and_cancellations_come_with_trades() -> None:
    """They are not asked for; each names a trade that was sent before."""

    async def scene() -> None:
        async with venue(speed=60, rate=2.0) as local:
            trades, amended = Seen(), Seen()
            stream = stock_stream(local)
            stream.subscribe_trades(trades.take, "*")
            stream.register_trade_corrections(amended.take)
            stream.register_trade_cancels(amended.take)
            async with running(stream):
                items = await amended.enough(3)
            ids = {trade.id for trade in trades.items}
            assert {getattr(item, "original_id", None) or item.id for item in items} <= ids

    run(scene)


def test_a_coins_book_is_kept_from_its_messages() -> None:
    """One whole book, then changes: at the end every level is the venue's own."""

    async def scene() -> None:
        async with venue("BTC/USD", "ETH/USD", speed=5) as local:
            seen = Seen()
            stream = live.CryptoDataStream("key", "secret", url_override=local.ws_url + "/v1beta3/crypto/us")
            stream.subscribe_orderbooks(seen.take, "BTC/USD")
            async with running(stream):
                await seen.enough(60)
                local.halt()
                await local.wait_ended()
                stamps = [each.stamp for each in local.sent if each.stream == "orderbooks@BTC/USD"]
                await seen.enough(1 + len(stamps))
            sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
            for place, message in enumerate(seen.items):
                assert message.reset == (place == 0)
                for side, levels in zip(sides, (message.bids, message.asks), strict=True):
                    side.update({level.price: level.size for level in levels})
            book = local.market.orderbook("BTC/USD")
            for side, name in zip(sides, ("b", "a"), strict=True):
                assert {p: s for p, s in side.items() if s} == {each["p"]: each["s"] for each in book[name]}

    run(scene)


def test_a_coins_trades_have_fractions_and_sides() -> None:
    """Trades and quotes of coins are on their own feed, and only they."""

    async def scene() -> None:
        async with venue("BTC/USD", "AAPL", speed=10) as local:
            seen = Seen()
            stream = live.CryptoDataStream("key", "secret", url_override=local.ws_url + "/v1beta3/crypto/us")
            stream.subscribe_trades(seen.take, "*")
            async with running(stream):
                trades = await seen.enough(30)
            assert {trade.symbol for trade in trades} == {"BTC/USD"}
            assert any(trade.size != int(trade.size) for trade in trades)
            ids = [each.last for each in local.sent if each.stream == "trades@BTC/USD"]
            assert [trade.id for trade in trades] == ids[:30]

    run(scene)


def test_it_sees_what_a_log_holds(tmp_path: Path) -> None:
    """A recording, of another venue even: the ids of all its trades in their order, with their prices."""
    path = tmp_path / "short.arrow"
    write_sample(path, minutes=0.2)
    events = RecordingSource(path).events()
    held = [e.payload for e in events if e.stream == "btcusdt@trade"]

    async def scene() -> None:
        source = AlpacaSource(RecordingSource(path), test_symbol=False)
        async with LocalAlpaca(source, seed=None, speed=20) as local:
            seen = Seen()
            stream = live.CryptoDataStream("key", "secret", url_override=local.ws_url + "/v1beta3/crypto/us")
            stream.subscribe_trades(seen.take, "BTC/USDT")
            async with running(stream):
                trades = await seen.enough(len(held))
            assert [(t.id, t.price, t.size) for t in trades] == [
                (each["t"], float(each["p"]), float(each["q"])) for each in held
            ]

    run(scene)


def test_news_arrive_with_their_symbols() -> None:
    """Every headline once, in order; a stream of one symbol gets that symbol's alone."""

    async def scene() -> None:
        headlines = read_headlines().items[:6]
        async with venue(speed=10, headlines=6, every_ns=10**9) as local:
            everything, ether = Seen(), Seen()
            address = local.ws_url + "/v1beta1/news"
            one = live.NewsDataStream("key", "secret", url_override=address)
            two = live.NewsDataStream("key", "secret", url_override=address)
            one.subscribe_news(everything.take, "*")
            two.subscribe_news(ether.take, "ETHUSD")
            async with running(one), running(two):
                items = await everything.enough(6)
                some = await ether.enough(2)
            assert [item.headline for item in items] == [each.news.headline for each in headlines]
            assert all("ETHUSD" in item.symbols for item in some)
            assert len({item.id for item in items}) == 6
            assert all(item.created_at <= item.updated_at for item in items)

    run(scene)


def test_the_test_stream_has_its_one_symbol() -> None:
    """FAKEPACA trades on /v2/test and nowhere else."""

    async def scene() -> None:
        async with venue(speed=10) as local:
            fake, real = Seen(), Seen()
            test, iex = stock_stream(local, "/v2/test"), stock_stream(local)
            test.subscribe_quotes(fake.take, "FAKEPACA")
            iex.subscribe_quotes(real.take, "*")
            async with running(test), running(iex):
                assert {quote.symbol for quote in await fake.enough(10)} == {"FAKEPACA"}
                assert {quote.symbol for quote in await real.enough(50)} <= set(STOCKS)

    run(scene)


def test_lists_change_while_it_runs() -> None:
    """An unsubscription stops a symbol; the client's thread-side calls are answered."""

    async def scene() -> None:
        async with venue(speed=10) as local:
            seen = Seen()
            stream = stock_stream(local)
            stream.subscribe_quotes(seen.take, *STOCKS)
            async with running(stream):
                await seen.enough(20)
                await asyncio.to_thread(stream.unsubscribe_quotes, "MSFT")
                await seen.enough(len(seen.items) + 200)
                assert list(local.listeners.streams()) == ["quotes@AAPL"]
                assert {quote.symbol for quote in seen.items[-50:]} == {"AAPL"}

    run(scene)


@pytest.mark.parametrize(
    ("path", "plan", "text"),
    [("/v2/iex", "unlimited", "auth failed"), ("/v2/sip", "free", "insufficient subscription")],
)
def test_it_is_refused_in_words_that_it_knows(path: str, plan: str, text: str) -> None:
    """Wrong keys, or a feed beyond the plan: the client raises its own error with the venue's words."""

    async def scene() -> None:
        planted = ("other", "pair") if text == "auth failed" else ("key", "secret")
        async with venue(keys=Keys(*planted, plan=plan)) as local:
            stream = stock_stream(local, path)
            with pytest.raises(ValueError, match=text):
                await stream._start_ws()
            await stream.close()

    run(scene)


def test_insufficient_subscription_ends_its_loop() -> None:
    """The client gives up by itself, as it does at the real venue."""

    async def scene() -> None:
        async with venue(keys=Keys(plan="free")) as local:
            stream = stock_stream(local, "/v2/sip")
            stream.subscribe_trades(Seen().take, "AAPL")
            await stream._run_forever()

    run(scene)


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1_000


def _stock_history(local: LocalAlpaca, **options: Any) -> Any:
    return historical.StockHistoricalDataClient("key", "secret", url_override=local.http_url, **options)


def test_it_pages_through_history() -> None:
    """More quotes than fit on a page come whole and in order; bars are made of the trades."""

    async def scene() -> None:
        async with venue("AAPL", past_s=160.0, rate=3.0) as local:
            client = _stock_history(local)
            span: dict[str, Any] = {
                "symbol_or_symbols": "AAPL",
                "start": datetime.now(UTC) - timedelta(minutes=10),
            }
            ask = asyncio.to_thread
            quotes = await ask(client.get_stock_quotes, requests.StockQuotesRequest(**span))
            kept = local.market.quotes("AAPL")
            assert len(quotes["AAPL"]) == len(kept) > 10_000
            stamps = [quote.timestamp for quote in quotes["AAPL"]]
            assert stamps == sorted(stamps)
            trades = (await ask(client.get_stock_trades, requests.StockTradesRequest(**span)))["AAPL"]
            assert len(trades) == len(local.market.trades("AAPL"))
            assert len({trade.id for trade in trades}) == len(trades)
            wanted = requests.StockBarsRequest(**span, timeframe=TimeFrame.Minute)
            bars = (await ask(client.get_stock_bars, wanted))["AAPL"]
            original = [trade for trade in trades if trade.id < 10**12]  # bars know of no correction
            for bar in bars:
                end = bar.timestamp + timedelta(minutes=1)
                inside = [trade for trade in original if bar.timestamp <= trade.timestamp < end]
                prices = [trade.price for trade in inside]
                assert (bar.open, max(prices), min(prices), bar.close) == (
                    prices[0],
                    bar.high,
                    bar.low,
                    prices[-1],
                )
                assert (bar.trade_count, bar.volume) == (len(inside), sum(trade.size for trade in inside))
            assert len(bars) >= 2
            latest = await ask(
                client.get_stock_latest_trade, requests.StockLatestTradeRequest(symbol_or_symbols="AAPL")
            )
            assert latest["AAPL"].id == trades[-1].id

    run(scene)


def test_coins_and_news_have_history_too() -> None:
    """Bars of coins come without a key, news with one."""

    async def scene() -> None:
        async with venue("BTC/USD", past_s=150.0, headlines=5, every_ns=10**9) as local:
            ask = asyncio.to_thread
            coins = historical.CryptoHistoricalDataClient(url_override=local.http_url)
            wanted = requests.CryptoBarsRequest(
                symbol_or_symbols="BTC/USD",
                timeframe=TimeFrame.Minute,
                start=datetime.now(UTC) - timedelta(minutes=10),
            )
            bars = (await ask(coins.get_crypto_bars, wanted))["BTC/USD"]
            assert 1 <= len(bars) <= 3
            news = historical.NewsClient("key", "secret", url_override=local.http_url)
            found = await ask(news.get_news, requests.NewsRequest(limit=3))
            assert len(found["news"]) == 3

    run(scene)


def test_history_is_refused_to_wrong_keys() -> None:
    """The client's own error, with the venue's words."""

    async def scene() -> None:
        async with venue(keys=Keys("other", "pair")) as local:
            wanted = requests.StockLatestTradeRequest(symbol_or_symbols="AAPL")
            with pytest.raises(APIError, match="forbidden"):
                await asyncio.to_thread(_stock_history(local).get_stock_latest_trade, wanted)

    run(scene)
