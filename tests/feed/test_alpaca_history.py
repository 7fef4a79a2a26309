"""Alpaca's history pages: where they lead, what their numbers are, and what is refused."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from engine.feed.alpaca_history import WHAT, AlpacaNewsStream, AlpacaStream
from engine.feed.decimals import TooFine
from engine.feed.history import Placed, decimals_of_page
from engine.feed.parser import Malformed
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData
from engine.model.rows import RowBuffer
from engine.model.units import SECOND_NS
from tests.helpers.logs import START

MINUTE, DAY = 60 * SECOND_NS, 86_400 * SECOND_NS
AAPL = InstrumentData("AAPL.alpaca", "AAPL", "alpaca", 4, 0, "0.01", "1")
PLACED = Placed(1, 1, AAPL, feed_latency_ns=7)


def answer(what: str, items: list[Any] | str, token: str | None = None, symbol: str = "AAPL") -> bytes:
    """A page, of items or of their JSON text."""
    text = items if isinstance(items, str) else json.dumps(items)
    return b'{"%b":{"%b":%b},"next_page_token":%b}' % (
        what.encode(), symbol.encode(), text.encode(), json.dumps(token).encode(),
    )  # fmt: skip


def at(stream: AlpacaStream | AlpacaNewsStream) -> dict[str, str]:
    """What the next request says."""
    path = stream.next()
    assert path is not None
    return dict(parse_qsl(urlsplit(path).query))


def trade(time: str = "2024-06-01T00:00:00.5Z", **more: Any) -> dict[str, Any]:
    """One trade."""
    return {"t": time, "p": 190.25, "s": 100, "x": "V", "c": ["@"], "i": 7, "z": "C", **more}


def test_pages_lead_to_each_other() -> None:
    """A token asks for the next page; the page without one is the last."""
    stream = AlpacaStream("AAPL", "trade", START, START + DAY, feed="iex")
    assert (stream.next() or "").startswith("/v2/stocks/trades?")
    assert at(stream) == {
        "symbols": "AAPL",
        "start": "2024-06-01T00:00:00.000000000Z",
        "end": "2024-06-01T23:59:59.999999999Z",
        "limit": "10000",
        "sort": "asc",
        "feed": "iex",
    }
    stream.take(answer("trades", [trade()], "next=/+"))
    assert "next=/+" in at(stream).values()
    stream.take(answer("trades", []))
    assert stream.next() is None


def test_a_page_that_leads_back_is_refused() -> None:
    """A token that was there before would never end: it is malformed, and the stream stays."""
    stream = AlpacaStream("AAPL", "trade", START, START + DAY, feed="iex")
    for token in ("a", "b"):
        stream.take(answer("trades", [], token))
    before = stream.next()
    with pytest.raises(Malformed, match="leads back"):
        stream.take(answer("trades", [trade()], "a"))
    assert stream.next() == before


def test_numbers_are_those_on_the_wire() -> None:
    """Nine digits of a second, prices from the text, exponents written out: nothing is a float."""
    text = '[{"t":"2024-06-01T00:00:00.123456789Z","p":190.1234,"s":1e2,"i":9007199254740993}]'
    stream = AlpacaStream("AAPL", "trade", START, START + DAY, feed="iex")
    rows = RowBuffer()
    stream.append(stream.take(answer("trades", text)), PLACED, rows)
    row = rows.view()[0]
    assert (row["price"], row["size"], row["id"]) == (1_901_234, 100, 9_007_199_254_740_993)
    assert (row["ts_venue"], row["ts"]) == (START + 123_456_789, START + 123_456_796)


def test_finer_sizes_are_said() -> None:
    """A coin's size is finer than the definition: the page says how many decimals it needs."""
    stream = AlpacaStream("AAPL", "trade", START, START + DAY)
    assert (stream.next() or "").startswith("/v1beta3/crypto/us/trades?")
    page = stream.take(answer("trades", '[{"t":"2024-06-01T00:00:00Z","p":0.5,"s":5e-07,"tks":"S"}]'))
    with pytest.raises(TooFine):
        stream.append(page, PLACED, RowBuffer())
    assert decimals_of_page(page) == (1, 7)
    assert page.items[0].side == -1


def test_noise_of_computed_bars_is_rounded() -> None:
    """What float arithmetic left behind the ninth decimal of a bar is rounded, and nothing before it."""
    text = '[{"t":"2024-06-01T00:00:00Z","o":1,"h":2.5,"l":0.5,"c":0.30000000000000004,"v":7,"n":3,"vw":1}]'
    stream = AlpacaStream("AAPL", "bar", START, START + DAY, feed="iex")
    assert at(stream)["timeframe"] == "1Min"
    page = stream.take(answer("bars", text))
    assert page.items[0].close == "0.300000000"
    rows = RowBuffer()
    stream.append(page, PLACED, rows)
    assert rows.view()["price"].tolist() == [10_000, 25_000, 5_000, 3_000]
    assert set(rows.view()["ts"].tolist()) == {START + MINUTE + 7}


def test_a_side_that_nobody_quotes_is_nothing() -> None:
    """A quote without an ask has an ask row of price and size 0."""
    stream = AlpacaStream("AAPL", "quote", START, START + DAY, feed="iex")
    rows = RowBuffer()
    stream.append(
        stream.take(answer("quotes", '[{"t":"2024-06-01T00:00:00Z","bp":1.5,"bs":2}]')), PLACED, rows
    )
    assert [(r["side"], r["price"], r["size"]) for r in rows.view()] == [(1, 15_000, 2), (-1, 0, 0)]


def test_only_the_time_asked_for_counts() -> None:
    """What lies outside is passed over, and an order that goes back keeps its place."""
    times = ("2024-05-31T23:59:59Z", "2024-06-01T00:00:02Z", "2024-06-01T00:00:01Z", "2024-06-02T00:00:00Z")
    stream = AlpacaStream("AAPL", "trade", START, START + DAY, feed="iex")
    rows = RowBuffer()
    stream.append(stream.take(answer("trades", [trade(time) for time in times])), PLACED, rows)
    assert (rows.view()["ts"] - START - 7).tolist() == [2 * SECOND_NS, 2 * SECOND_NS]
    assert (rows.view()["ts_venue"] - START).tolist() == [2 * SECOND_NS, SECOND_NS]


def test_news_are_known_at_their_last_edit() -> None:
    """An article counts when it was edited last; without a headline it is none; of no symbol means of all."""
    stream = AlpacaNewsStream((), START, START + DAY)
    assert "symbols" not in at(stream)
    assert at(stream)["limit"] == "50"
    article = {
        "id": 5,
        "headline": "A",
        "created_at": "2024-05-30T00:00:00Z",
        "updated_at": "2024-06-01T01:00:00Z",
    }
    news = [article, {**article, "id": 6, "headline": " "}, {**article, "updated_at": "2024-06-02T00:00:00Z"}]
    page = stream.take(json.dumps({"news": news, "next_page_token": None}).encode())
    rows = RowBuffer()
    stream.append(page, PLACED, rows)
    (row,) = rows.view()
    assert row["ts"] == START + 3_600 * SECOND_NS + 7
    assert row["ts_venue"] == START - 2 * DAY
    assert json.loads(rows.data[0])["id"] == "5"


@pytest.mark.parametrize(
    "text",
    [
        '[{"t":"2024-06-01T00:00:00Z","p":-1,"s":1}]',
        '[{"t":"2024-06-01T00:00:00Z","p":"1","s":1}]',
        '[{"t":"yesterday","p":1,"s":1}]',
        '[{"t":"0001-01-01T00:00:00Z","p":1,"s":1}]',
        '[{"t":"2024-06-01T00:00:00Z","p":1e99,"s":1}]',
        '[{"t":"2024-06-01T00:00:00Z","p":1,"s":1,"i":-4}]',
        '[{"p":1,"s":1}]',
        "{}",
    ],
)
def test_bad_pages_change_nothing(text: str) -> None:
    """What breaks the protocol is refused, and the same page is asked for again."""
    stream = AlpacaStream("AAPL", "trade", START, START + DAY, feed="iex")
    before = stream.next()
    with pytest.raises(Malformed):
        stream.take(answer("trades", text, "t"))
    assert stream.next() == before


ALL_NULL, ONE_NULL = '{"%s":null,"next_page_token":%s}', '{"%s":{"AAPL":null},"next_page_token":%s}'
NULLS = [(what, text) for what in ("trade", "quote", "bar") for text in (ALL_NULL, ONE_NULL)]


@pytest.mark.parametrize(("channel", "text"), [*NULLS, ("news", ALL_NULL)])
def test_null_is_a_page_of_nothing(channel: str, text: str) -> None:
    """Of a weekend the venue writes null for a list, or for all of them; its token counts all the same."""
    stream: AlpacaStream | AlpacaNewsStream = AlpacaNewsStream((), START, START + DAY)
    if channel != "news":
        stream = AlpacaStream("AAPL", channel, START, START + DAY, feed="iex")
    name = WHAT.get(channel, channel)
    assert stream.take((text % (name, '"more"')).encode()).items == []
    assert "more" in at(stream).values()
    assert stream.take((text % (name, "null")).encode()).items == []
    assert stream.next() is None


def test_unknown_intervals_are_refused() -> None:
    """An interval that cannot be fetched is named with those that can."""
    with pytest.raises(UsageError, match="7m"):
        AlpacaStream("AAPL", "bar", START, START + DAY, feed="iex", interval="7m")


@pytest.mark.parametrize("seed", range(3))
def test_cut_and_random_bytes_are_malformed(seed: int) -> None:
    """A page cut at any byte, or with bytes exchanged, is taken or refused as malformed."""
    chance = random.Random(seed)
    news = {
        "id": 5,
        "headline": "A",
        "created_at": "2024-05-30T00:00:00Z",
        "updated_at": "2024-06-01T01:00:00Z",
    }
    bar = {"t": "2024-06-01T00:00:00Z", "o": 1.5, "h": 2, "l": 1, "c": 1.75, "v": 1e3, "n": 3}
    bodies = {
        "trade": answer("trades", [trade(), trade()], "x"),
        "bar": answer("bars", [bar, bar]),
        "quote": answer("quotes", [{"t": "2024-06-01T00:00:00Z", "bp": 1.5, "bs": 2}]),
        "news": json.dumps({"news": [news, news], "next_page_token": "x"}).encode(),
    }
    refused = 0
    for channel, body in bodies.items():
        for cut in range(len(body)):
            altered = bytearray(body)
            altered[cut] = chance.randrange(256)
            for broken in (body[:cut], bytes(altered), chance.randbytes(cut % 64)):
                stream: AlpacaStream | AlpacaNewsStream = (
                    AlpacaNewsStream((), START, START + DAY)
                    if channel == "news"
                    else AlpacaStream("AAPL", channel, START, START + DAY, feed="iex")
                )
                try:
                    page = stream.take(broken)
                    decimals_of_page(page)
                except Malformed:
                    refused += 1
    assert refused > sum(map(len, bodies.values()))
