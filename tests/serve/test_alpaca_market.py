"""Alpaca's messages from a source's events: what follows from what, and what is kept for history."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from engine.model.kinds import NewsData
from engine.serve.alpaca_bars import Bar, BarSeries, Timeframe, timeframe_of
from engine.serve.alpaca_history import History
from engine.serve.alpaca_market import AlpacaMarket, Message
from engine.serve.alpaca_news import NEWS_STREAM, NewsDesk, news_symbol
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import CRYPTO, STOCKS, alpaca_model, is_symbol, kind_of, listing_of
from engine.serve.news_source import Headline, read_headlines
from engine.serve.synthetic import SNAPSHOT, Event, SyntheticMarket, model_of

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
T0 = 1_717_232_400 * SECOND  # a full minute
AAPL = alpaca_model("AAPL").instrument()
BTC = alpaca_model("BTC/USD").instrument()


def trade(number: int, price: str, size: str, at_ns: int, *, stream: str = "aapl@trade") -> Event:
    payload = {"t": number, "p": price, "q": size, "T": at_ns // 1_000, "m": False}
    return Event(at_ns, stream, payload)


def quote(at_ns: int, bid: str, ask: str, *, stream: str = "aapl@bookTicker") -> Event:
    return Event(at_ns, stream, {"b": bid, "B": "450.0", "a": ask, "A": "60.0", "u": 1})


def bodies(messages: list[Message], kind: str) -> list[dict[str, Any]]:
    return [message.body for message in messages if message.body["T"] == kind]


def run(market: AlpacaMarket, source: AlpacaSource, seconds: float) -> list[Message]:
    out: list[Message] = []
    for event in source.events():
        if event.time_ns > T0 + seconds * SECOND:
            return out
        out += market.apply(event.time_ns, event)
    return out


@pytest.fixture(scope="module")
def minutes() -> tuple[AlpacaMarket, list[Message]]:
    """Seven minutes of the invented market, headlines included."""
    source = AlpacaSource(
        SyntheticMarket(7, ["AAPL", "MSFT", "BTC/USD"], model=alpaca_model), read_headlines().items
    )
    market = AlpacaMarket(source.instruments)
    return market, run(market, source, 420)


def test_a_trade_of_a_stock() -> None:
    """Exchange, conditions, tape and nanoseconds; an odd lot says so."""
    market = AlpacaMarket([AAPL], seed=None)
    (message,) = market.apply(T0 + 7, trade(5, "180.01000000", "300.00000000", T0 + 7))
    body = message.body
    assert (message.stream, message.id, message.stamp_ns) == ("trades@AAPL", 5, T0 + 7)
    assert (body["T"], body["S"], body["p"], body["s"], body["i"]) == ("t", "AAPL", 180.01, 300, 5)
    assert (body["c"], body["t"].ns) == (["@"], T0 + 7)
    (odd,) = market.apply(T0 + 9, trade(6, "180.01000000", "3.00000000", T0 + 9))
    assert odd.body["c"] == ["@", "I"]


def test_a_trade_of_a_coin() -> None:
    """A fraction, and which side took."""
    market = AlpacaMarket([BTC])
    (message,) = market.apply(T0, trade(5, "67500.01", "0.0214", T0, stream="btc/usd@trade"))
    assert (message.stream, message.body["s"], message.body["tks"]) == ("trades@BTC/USD", 0.0214, "B")
    assert "x" not in message.body


def test_stamps_of_one_symbol_never_repeat() -> None:
    """Trades of one moment are a nanosecond apart, in their order."""
    market = AlpacaMarket([AAPL], seed=None)
    stamps = [market.apply(T0, trade(n, "1.0", "1.0", T0))[0].stamp_ns for n in range(1, 5)]
    assert stamps == [T0, T0 + 1, T0 + 2, T0 + 3]


def test_a_recorded_trade_keeps_its_distance_from_its_receipt() -> None:
    """What was stamped 40 ms before it was received is so again."""
    market = AlpacaMarket([AAPL], seed=None)
    late = Event(T0 + 40_000_000, "aapl@trade", {"t": 1, "p": "1", "q": "1", "T": T0 // 1_000, "m": True})
    (message,) = market.apply(T0 + 90 * SECOND, late)
    assert message.stamp_ns == T0 + 90 * SECOND - 40_000_000


def test_quotes_of_stocks_count_round_lots() -> None:
    """450 shares are four lots; less than one is one."""
    market = AlpacaMarket([AAPL])
    (message,) = market.apply(T0, quote(T0, "180.00", "180.02"))
    assert (message.body["bs"], message.body["as"], message.body["bp"]) == (4, 1, 180)


def test_a_minutes_bar_comes_when_it_is_over() -> None:
    """Open, high, low, close, volume, count and the average; then the day so far."""
    market = AlpacaMarket([AAPL], seed=None)
    prices = ("180.00", "181.00", "179.00", "180.50")
    for place, price in enumerate(prices):
        market.apply(T0 + place * SECOND, trade(place + 1, price, "100.0", T0 + place * SECOND))
    out = market.apply(T0 + MINUTE, quote(T0 + MINUTE, "1.00", "1.02"))
    (bar,) = bodies(out, "b")
    assert {name: bar[name] for name in "ohlcvn"} == {
        "o": 180,
        "h": 181,
        "l": 179,
        "c": 180.5,
        "v": 400,
        "n": 4,
    }
    assert (bar["t"].ns, bar["vw"]) == (T0, 180.125)
    (day,) = bodies(out, "d")
    assert (day["v"], day["t"].ns) == (400, T0 - 5 * 3_600 * SECOND)  # midnight in New York


def test_a_late_trade_revises_a_bar_at_the_half_minute() -> None:
    """The minute's bar again, with it; open and close by stamps, not by arrival."""
    market = AlpacaMarket([AAPL], seed=None)
    market.apply(T0 + 10 * SECOND, trade(1, "180.0", "100.0", T0 + 10 * SECOND))
    market.apply(T0 + 50 * SECOND, trade(2, "181.0", "100.0", T0 + 50 * SECOND))
    late = Event(
        T0 + 65 * SECOND,
        "aapl@trade",
        {"t": 3, "p": "179", "q": "10", "T": T0 // 1_000 + 55_000_000, "m": True},
    )
    out = market.apply(T0 + 65 * SECOND, late)
    assert [bar["n"] for bar in bodies(out, "b")] == [2]
    assert market.apply(T0 + 89 * SECOND, quote(T0 + 89 * SECOND, "1", "2"))[0].body["T"] == "q"
    (updated,) = bodies(market.apply(T0 + 90 * SECOND, quote(T0 + 90 * SECOND, "1", "2")), "u")
    assert (updated["t"].ns, updated["n"], updated["c"], updated["l"]) == (T0, 3, 179, 179)


def test_a_silent_minute_of_a_coin_has_a_bar_of_its_quotes() -> None:
    """Middle of the quotes, volume 0; a stock has none."""
    market = AlpacaMarket([AAPL, BTC], seed=None)
    market.apply(T0, quote(T0, "100.0", "102.0", stream="btc/usd@bookTicker"))
    market.apply(T0, quote(T0, "10.0", "12.0"))
    (bar,) = bodies(market.apply(T0 + MINUTE, quote(T0 + MINUTE, "10", "12")), "b")
    assert (bar["S"], bar["o"], bar["v"], bar["n"], bar["vw"]) == ("BTC/USD", 101, 0, 0, 0)


def test_everything_that_stocks_have_comes(minutes: tuple[AlpacaMarket, list[Message]]) -> None:
    """Every message type within minutes, the seldom ones seldom."""
    count = Counter(message.body["T"] for message in minutes[1])
    assert set(count) == set("tqobduxcsln")
    assert count["c"] + count["x"] < count["t"] / 100
    assert count["q"] > count["t"] > count["b"]


def test_the_same_seed_gives_the_same_messages() -> None:
    """Twice the same, and another seed something else."""
    streams = []
    for seed in (7, 7, 8):
        source = AlpacaSource(SyntheticMarket(7, ["AAPL"], model=alpaca_model))
        out = run(AlpacaMarket(source.instruments, seed=seed), source, 40)
        streams.append([(message.stream, message.id, message.stamp_ns) for message in out])
    assert streams[0] == streams[1] != streams[2]


def test_late_trades_stand_behind_younger_ones(minutes: tuple[AlpacaMarket, list[Message]]) -> None:
    """Some stamps go back, by the seconds of a late report; history has them where they belong."""
    market, out = minutes
    stamps = [message.stamp_ns for message in out if message.stream == "trades@AAPL"]
    late = [before - after for before, after in pairwise(stamps) if after < before]
    assert late
    assert max(late) < 20 * SECOND
    kept = [key[0] for key, _ in market.trades("AAPL").between(0, T0 + 420 * SECOND)]
    assert kept == sorted(kept)
    assert set(stamps) <= set(kept)


def test_nothing_trades_in_a_halt(minutes: tuple[AlpacaMarket, list[Message]]) -> None:
    """Between a halt and its end no new trade of the symbol is stamped."""
    _, out = minutes
    halts = [message for message in out if message.body["T"] == "s"]
    assert halts[0].body["sm"] == "Trading Halt"
    begin, end = halts[0], next(m for m in halts[1:] if m.stream == halts[0].stream)
    symbol = begin.body["S"]
    inside = [
        message
        for message in out
        if message.stream == f"trades@{symbol}" and begin.stamp_ns < message.stamp_ns < end.stamp_ns
    ]
    assert end.stamp_ns - begin.stamp_ns >= 5 * SECOND
    assert not inside


def test_corrections_name_both_trades(minutes: tuple[AlpacaMarket, list[Message]]) -> None:
    """The original is marked in history, the corrected one stands beside it, cancelled ones are marked."""
    market, out = minutes
    sent = {(m.body["S"], m.body["i"]) for m in out if m.body["T"] == "t"}
    for body in bodies(out, "c"):
        assert (body["S"], body["oi"]) in sent
        items = {item["i"]: item for _, item in market.trades(body["S"]).between(0, 1 << 62)}
        assert (items[body["oi"]]["u"], items[body["oi"]]["p"]) == ("incorrect", body["op"])
        assert (items[body["ci"]]["u"], items[body["ci"]]["p"]) == ("corrected", body["cp"])
    for body in bodies(out, "x"):
        items = {item["i"]: item for _, item in market.trades(body["S"]).between(0, 1 << 62)}
        assert items[body["i"]]["u"] == "canceled"


def test_a_recording_has_no_invented_trouble() -> None:
    """Without a seed: trades, quotes and bars, nothing else."""
    source = AlpacaSource(SyntheticMarket(7, ["AAPL"], model=alpaca_model), test_symbol=False)
    out = run(AlpacaMarket(source.instruments, seed=None), source, 130)
    assert {message.body["T"] for message in out} == {"t", "q", "b", "d"}


def test_a_book_of_a_coin_begins_whole() -> None:
    """A snapshot resets; changes follow; size 0 deletes."""
    market = AlpacaMarket([BTC])
    picture = {"lastUpdateId": 5, "bids": [["100.0", "1.0"]], "asks": [["101.0", "2.0"]]}
    (reset,) = market.apply(T0, Event(T0, "btc/usd" + SNAPSHOT, picture))
    assert (reset.body["r"], reset.body["b"]) == (True, [{"p": 100, "s": 1}])
    diff = {"U": 6, "u": 7, "b": [["100.0", "0.00"]], "a": []}
    out = market.apply(T0 + 1, Event(T0 + 1, "btc/usd@depth@100ms", diff))
    (change,) = bodies(out, "o")
    assert (change["b"], change["a"], change["t"].ns) == ([{"p": 100, "s": 0}], [], T0 + 1)
    assert "r" not in change
    assert market.orderbook("BTC/USD")["b"] == []


def test_a_long_silence_does_not_replay_every_minute() -> None:
    """After more than a day the clock goes on from where it is."""
    market = AlpacaMarket([BTC])
    market.apply(T0, quote(T0, "100", "101", stream="btc/usd@bookTicker"))
    later = T0 + 400 * 86_400 * SECOND
    assert len(market.apply(later, quote(later, "100", "101", stream="btc/usd@bookTicker"))) < 5


def test_an_unknown_symbol_is_nobodys() -> None:
    """Events of symbols without a definition give nothing."""
    assert AlpacaMarket([AAPL]).apply(T0, trade(1, "1", "1", T0, stream="zzz@trade")) == []


# Headlines.


def headline(name: str, text: str, at_ns: int = T0) -> Headline:
    return Headline(at_ns, at_ns, NewsData(id=name, headline=text, symbols=("BTCUSDT", "AAPL")))


def test_an_edit_keeps_number_and_creation() -> None:
    """The same id again is an update: later stamp, same article."""
    desk = NewsDesk()
    first, streams = desk.publish({"headline": headline("a", "one")}, T0)
    second, _ = desk.publish({"headline": headline("a", "two")}, T0 + SECOND)
    assert streams == ["news@*", "news@BTCUSD", "news@AAPL"]
    assert (first["id"], first["created_at"].ns) == (second["id"], second["created_at"].ns)
    assert second["updated_at"].ns == T0 + SECOND
    assert [a["headline"] for _, a in desk.articles(set(), 0, 1 << 62)] == ["two"]


def test_numbers_are_kept_and_texts_get_one() -> None:
    """Ids that are numbers stay; others get one each."""
    desk = NewsDesk()
    numbers = [desk.publish({"headline": headline(n, "x")}, T0)[0]["id"] for n in ("41", "b", "c", "b")]
    assert numbers[0] == 41
    assert numbers[1] == numbers[3] != numbers[2]


@pytest.mark.parametrize(
    ("symbol", "shown"), [("BTCUSDT", "BTCUSD"), ("BTC/USD", "BTCUSD"), ("AAPL", "AAPL"), ("USDT", "USD")]
)
def test_articles_name_coins_without_a_slash(symbol: str, shown: str) -> None:
    """As the venue does."""
    assert news_symbol(symbol) == shown


def test_headlines_of_another_day_begin_with_the_market() -> None:
    """One second after it, at their own distances; one by one where a pace is asked for."""
    news = [headline("a", "x", 5 * SECOND), headline("b", "y", 9 * SECOND)]
    market = SyntheticMarket(7, ["AAPL"], model=alpaca_model)

    def when(**how: int) -> list[int]:
        source = AlpacaSource(market, news, test_symbol=False, **how)
        found: list[int] = []
        for event in source.events():
            if event.stream == NEWS_STREAM:
                found.append(event.time_ns - T0)
            if len(found) == 2:
                break
        return found

    assert when() == [SECOND, 5 * SECOND]
    assert when(every_ns=2 * SECOND) == [SECOND, 3 * SECOND]


def test_headlines_after_the_markets_end_are_told() -> None:
    """The test symbol ends with the market, the news do not."""

    class Short:
        instruments = (AAPL,)
        description = "short"

        def events(self) -> Any:
            return iter([trade(1, "1", "1", T0), trade(2, "1", "1", T0 + SECOND // 2)])

    found = list(AlpacaSource(Short(), [headline("a", "x", T0 + 60 * SECOND)]).events())
    assert found[-1].stream == NEWS_STREAM
    assert found[-1].time_ns == T0 + 60 * SECOND
    assert found[-2].time_ns <= T0 + SECOND // 2
    assert any(event.stream.startswith("fakepaca") for event in found)


# Symbols.


@pytest.mark.parametrize(
    ("symbol", "kind"), [("AAPL", STOCKS), ("BRK.B", STOCKS), ("BTC/USD", CRYPTO), ("FAKEPACA", "test")]
)
def test_symbols_tell_their_feed(symbol: str, kind: str) -> None:
    """A slash makes a coin."""
    assert is_symbol(symbol)
    assert kind_of(symbol) == kind


def test_recorded_pairs_get_a_slash() -> None:
    """BTCUSDT of another venue is BTC/USDT here."""
    assert listing_of(model_of("BTCUSDT").instrument()).symbol == "BTC/USDT"
    assert listing_of(AAPL).symbol == "AAPL"


# Bars and history.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1Min", (1, "Min")),
        ("15T", (15, "Min")),
        ("4Hour", (4, "Hour")),
        ("1D", (1, "Day")),
        ("1Week", (1, "Week")),
        ("3M", (3, "Month")),
        ("60Min", None),
        ("24H", None),
        ("2Day", None),
        ("5Month", None),
        ("0Min", None),
        ("", None),
        ("Min", None),
    ],
)
def test_timeframes(text: str, expected: tuple[int, str] | None) -> None:
    """What the venue makes, in long and in short; nothing else."""
    assert timeframe_of(text) == expected


@pytest.mark.parametrize(
    ("kind", "timeframe", "start"),
    [
        (STOCKS, "1Min", 0),
        (STOCKS, "5Min", 0),
        (STOCKS, "1Hour", 0),
        (STOCKS, "1Day", -5 * 3_600),  # 2024-06-01 00:00 in New York is 04:00
        (CRYPTO, "1Day", -4 * 3_600),  # in Chicago 05:00
        (STOCKS, "1Week", -5 * 3_600 - 5 * 86_400),  # Monday, 27 May
        (STOCKS, "1Month", -5 * 3_600),
        (STOCKS, "12Month", -4 * 3_600 - 152 * 86_400),  # 1 January, winter time
    ],
)
def test_bars_begin_where_the_venue_has_them_begin(kind: str, timeframe: str, start: int) -> None:
    """T0 is 2024-06-01 09:00 UTC, a Saturday."""
    made = timeframe_of(timeframe)
    assert made is not None
    assert BarSeries(kind).start_of(T0 + 59 * SECOND, made) == T0 + start * SECOND


def test_long_bars_are_made_of_minutes() -> None:
    """Two minutes of one day: first open, last close, sums; a running minute is left out."""
    series = BarSeries(STOCKS)
    for minute, price in ((0, 10), (1, 12), (2, 99)):
        series.take(T0 + minute * MINUTE, price * 10**8, 5 * 10**8)
    (day,) = series.bars(Timeframe(1, "Day"), 0, 1 << 62, T0 + 2 * MINUTE + 1)
    assert (day.open, day.close, day.volume, day.count) == (10**9, 12 * 10**8, 10**9, 2)
    assert len(series.bars(Timeframe(1, "Min"), T0 + MINUTE, T0 + MINUTE, T0 + 9 * MINUTE)) == 1


def test_a_bar_takes_trades_in_any_order() -> None:
    """Open and close are those of the first and last stamp."""
    bar = Bar(0, 0, 0, 0, 0)
    for stamp, price in ((5, 50), (1, 10), (9, 90), (7, 70)):
        bar.take(price, 1, stamp)
    assert (bar.open, bar.high, bar.low, bar.close, bar.count) == (10, 90, 10, 90, 4)


def test_history_pages_fit_although_items_come_meanwhile() -> None:
    """From behind a key on, up and down; a late item stands at its place; the same key replaces."""
    history = History()
    for stamp in (1, 3, 5, 7):
        history.add((stamp, 1), {"n": stamp})
    first = [key for key, _ in history.between(0, 5)][:2]
    history.add((2, 1), {"n": 2})
    history.add((4, 1), {"n": 4})
    rest = [key[0] for key, _ in history.between(0, 5, first[-1])]
    assert rest == [4, 5]
    down = [key[0] for key, _ in history.between(2, 7, (5, 1), descending=True)]
    assert down == [4, 3, 2]
    history.add((4, 1), {"n": 40})
    assert history.find((4, 1)) == {"n": 40}
    assert len(history) == 6


def test_history_forgets_the_oldest() -> None:
    """A tenth at a time, beyond its limit."""
    history = History(20)
    for stamp in range(30):
        history.add((stamp, 0), {"n": stamp})
    assert len(history) <= 20
    assert history.last() == {"n": 29}
    assert history.find((0, 0)) is None
