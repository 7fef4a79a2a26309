"""Kraken on the live side: symbols, connections, definitions, and what is said on a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed.dialogue import Dialogue, Message, Phase
from engine.feed.kraken_dialogue import KrakenDialogue
from engine.feed.parser import Notice
from engine.live.adapter import Adapter, BooksByRest, Definitions
from engine.live.adapters.kraken import SYMBOLS_PER_LINE, KrakenAdapter
from engine.model.errors import UsageError, VenueError
from tests.helpers.kraken import SNAPSHOT, ack, feed, parser, refusal


def said(messages: list[Message]) -> list[Any]:
    """What is sent, decoded."""
    return [msgspec.json.decode(message) for message in messages]


def test_the_adapter_is_one_of_all_adapters() -> None:
    """It has what the tap asks of any venue; what it usually brings is among what it has."""
    adapter: Adapter = KrakenAdapter()
    assert set(adapter.usual_channels) <= set(adapter.channels)
    assert (isinstance(adapter, BooksByRest), adapter.overlapping) == (False, False)


def test_symbols_are_checked() -> None:
    """Each once, in capitals unless some letters are."""
    wanted = [" btc/usd", "ETH/EUR", "BTC/USD", "", "AAPLx/USD"]
    assert KrakenAdapter().checked_symbols(wanted) == ("BTC/USD", "ETH/EUR", "AAPLx/USD")


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("BTCUSD", "BTC/USD"),
        ("BTC-USD", "BTC/USD"),
        ("XBT/USD", "write BTC/USD"),
        ("ETH/XBT", "write ETH/BTC"),
        ("XDG/EUR", "write DOGE/EUR"),
        ("BTC/USD/EUR", "BTC/USD"),
        ("", "BTC/USD"),
    ],
)
def test_other_spellings_are_refused(symbol: str, hint: str) -> None:
    """With the right one in the hint."""
    with pytest.raises(UsageError) as caught:
        KrakenAdapter().checked_symbols([symbol])
    assert hint in caught.value.hint


def test_a_depth_that_the_venue_does_not_have_is_refused() -> None:
    """With those that it has."""
    with pytest.raises(UsageError) as caught:
        KrakenAdapter(depth=20)
    assert "10, 25, 100, 500, 1000" in caught.value.hint


def test_lines() -> None:
    """A hundred symbols on a connection, all channels on each."""
    symbols = tuple(f"A{number}/USD" for number in range(SYMBOLS_PER_LINE + 1))
    first, second = KrakenAdapter().lines(symbols, ("book", "instrument"))
    assert (first.url, len(first.symbols), first.channels) == (
        "wss://ws.kraken.com/v2",
        100,
        ("book", "instrument"),
    )
    assert (second.symbols, second.streams) == (("A100/USD",), ("book 100 A100/USD", "instrument"))


def test_another_address() -> None:
    """The stream and REST at one place."""
    adapter = KrakenAdapter("http://127.0.0.1:8080/")
    assert adapter.rest_base == "http://127.0.0.1:8080"
    assert adapter.lines(("BTC/USD",), ("trade",))[0].url == "ws://127.0.0.1:8080/v2"


def definitions(body: bytes, *symbols: str) -> Definitions:
    """What the adapter makes of an answer."""

    async def get(path: str) -> bytes:
        assert path == "/0/public/AssetPairs"
        return body

    return asyncio.run(KrakenAdapter().definitions(get, symbols, ("trade", "book", "instrument")))


ENTRY = {
    "altname": "XBTUSD",
    "wsname": "XBT/USD",
    "pair_decimals": 1,
    "lot_decimals": 8,
    "ordermin": "0.00005",
    "costmin": "0.5",
    "tick_size": "0.1",
    "status": "online",
}


def answer(**other: Any) -> bytes:
    """The list of pairs, with one in it."""
    return msgspec.json.encode({"error": [], "result": {"XXBTZUSD": ENTRY | other}})


def test_definitions() -> None:
    """Under the new name, with the channels that a log can carry; the answer goes into the log."""
    body = answer()
    found = definitions(body, "BTC/USD")
    (definition,) = found.instruments.values()
    assert (definition.key, definition.base, definition.quote) == ("BTC/USD.kraken", "BTC", "USD")
    assert (definition.price_decimals, definition.price_increment) == (1, "0.1")
    assert (definition.size_decimals, definition.size_increment) == (8, "0.00000001")
    assert (definition.min_size, definition.min_notional) == ("0.00005", "0.5")
    assert (definition.status, definition.channels) == ("TRADING", ("trade", "book"))
    ((source, kept),) = found.answers
    assert (source.endpoint, source.venue, kept) == ("AssetPairs", "kraken", body)


@pytest.mark.parametrize(
    ("other", "increment", "decimals", "status"),
    [
        ({"tick_size": ""}, "0.1", 1, "TRADING"),
        ({"tick_size": "0.25", "pair_decimals": 1}, "0.25", 2, "TRADING"),
        ({"tick_size": "0.5", "pair_decimals": 3}, "0.5", 3, "TRADING"),
        ({"status": "cancel_only"}, "0.1", 1, "CANCEL_ONLY"),
    ],
)
def test_definitions_of_other_pairs(
    other: dict[str, Any], increment: str, decimals: int, status: str
) -> None:
    """Without an increment the precision says it; decimals are enough for both."""
    (found,) = definitions(answer(**other), "BTC/USD").instruments.values()
    assert (found.price_increment, found.price_decimals, found.status) == (increment, decimals, status)


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("BTC/USDD", "did you mean BTC/USD?"),
        ("Btc/Usd", "did you mean BTC/USD?"),
        ("SHIB/JPY", "it writes BTC/USD, ETH/EUR"),
    ],
)
def test_an_unknown_symbol(symbol: str, hint: str) -> None:
    """Named, with what may have been meant."""
    with pytest.raises(UsageError) as caught:
        definitions(answer(), symbol)
    assert f'"{symbol}"' in caught.value.message
    assert caught.value.hint == hint


def test_a_pair_that_nobody_asked_for_may_be_anything() -> None:
    """What is wrong with it is of no concern."""
    other = {"XX": ENTRY | {"wsname": "SHIB/JPY", "ordermin": "much"}, "XXBTZUSD": ENTRY}
    assert definitions(msgspec.json.encode({"result": other}), "BTC/USD").instruments


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":["EGeneral:Temporary lockout"]}', "Temporary lockout"),
        (b"[]", "Expected `object`"),
        (answer(ordermin="much"), "result.BTC/USD"),
    ],
)
def test_an_answer_that_is_none(body: bytes, words: str) -> None:
    """The venue's error, in its words."""
    with pytest.raises(VenueError) as caught:
        definitions(body, "BTC/USD")
    assert words in caught.value.message
    assert caught.value.hint


def test_definitions_of_a_captured_list(real_data: Path) -> None:
    """304 pairs of 2021, when there were neither increments nor a least cost."""
    lines = (real_data / "kraken" / "KRAKEN.0").read_bytes().splitlines()
    body = next(line.partition(b": ")[2] for line in lines if b"AssetPairs" in line[:80])
    found = definitions(body, "BTC/USD", "DOGE/EUR", "ETH/BTC").instruments
    assert [(d.price_increment, d.min_size) for d in found.values()] == [
        ("0.1", "0.0002"),
        ("0.0000001", "50"),
        ("0.00001", "0.005"),
    ]


def test_books_are_not_asked_for_over_rest() -> None:
    """There is no way to ask, and the tap sees that."""
    assert not isinstance(KrakenAdapter(), BooksByRest)


def dialogue(*channels: str) -> KrakenDialogue:
    """Our side of a connection with two symbols."""
    adapter = KrakenAdapter(depth=25)
    (line,) = adapter.lines(("BTC/USD", "ETH/USD"), channels)
    return adapter.dialogue(line)


def test_a_request_for_each_channel() -> None:
    """All symbols at once, in the venue's words."""
    symbol = ["BTC/USD", "ETH/USD"]
    requests = said(dialogue("trade", "quote", "book", "bar", "instrument").opened())
    assert [request["method"] for request in requests] == ["subscribe"] * 5
    assert [request["params"] for request in requests] == [
        {"channel": "trade", "symbol": symbol, "snapshot": True},
        {"channel": "ticker", "symbol": symbol, "event_trigger": "bbo", "snapshot": True},
        {"channel": "book", "symbol": symbol, "depth": 25, "snapshot": True},
        {"channel": "ohlc", "symbol": symbol, "interval": 1, "snapshot": True},
        {"channel": "instrument", "snapshot": True},
    ]
    assert len({request["req_id"] for request in requests}) == 5


def heard(talk: Dialogue, *frames: bytes) -> None:
    """Tell a dialogue what the parser made of some frames."""
    target = parser()
    feed(target, *frames)
    for notice in target.notices:
        assert talk.heard(notice) == []


def test_streaming_begins_when_everything_is_answered() -> None:
    """Confirmed or refused, symbol by symbol."""
    talk = dialogue("trade", "book")
    talk.opened()
    assert talk.unanswered() == "trade of BTC/USD ETH/USD, book of BTC/USD ETH/USD"
    heard(talk, ack("trade"), ack("trade", "ETH/USD"), ack("book", depth=25))
    assert (talk.phase, talk.unanswered()) == (Phase.SUBSCRIBING, "book of ETH/USD")
    heard(talk, refusal("Currency pair not supported", symbol="ETH/USD", req_id=3))
    assert (talk.phase, talk.unanswered()) == (Phase.STREAMING, "")


def test_a_refusal_of_a_whole_request() -> None:
    """The request's number says which channel; what says nothing answers nothing."""
    talk = dialogue("trade", "book")
    requests = said(talk.opened())
    heard(talk, refusal("Exceeded msg rate"))
    assert talk.unanswered() == "trade of BTC/USD ETH/USD, book of BTC/USD ETH/USD"
    heard(talk, refusal("Subscription depth not supported", req_id=requests[1]["req_id"]))
    assert talk.unanswered() == "trade of BTC/USD ETH/USD"


def test_reference_data_has_no_symbol() -> None:
    """Its one answer answers it."""
    talk = dialogue("instrument")
    talk.opened()
    assert talk.unanswered() == "instrument"
    talk.heard(Notice("subscribed", channel="instrument"))
    assert talk.phase is Phase.STREAMING


def test_a_book_anew() -> None:
    """Left and subscribed to again; until it is confirmed it counts as unanswered."""
    talk = dialogue("book")
    talk.opened()
    heard(talk, ack(depth=25), ack(symbol="ETH/USD", depth=25), SNAPSHOT)
    leave, join = said(talk.again(["ETH/USD"]))
    assert leave["method"] == "unsubscribe"
    assert leave["params"] == {"channel": "book", "symbol": ["ETH/USD"], "depth": 25}
    assert join["params"] == {"channel": "book", "symbol": ["ETH/USD"], "depth": 25, "snapshot": True}
    assert (talk.phase, talk.unanswered()) == (Phase.STREAMING, "book of ETH/USD")
    heard(talk, ack(symbol="ETH/USD", method="unsubscribe"), ack(symbol="ETH/USD", depth=25))
    assert talk.unanswered() == ""


def test_all_books_anew() -> None:
    """After a refusal that names no symbol."""
    leave, join = said(dialogue("book").again([]))
    assert leave["params"]["symbol"] == join["params"]["symbol"] == ["BTC/USD", "ETH/USD"]


def test_a_ping() -> None:
    """The venue's own, which it answers."""
    (ping,) = said(dialogue("book").ping())
    assert ping["method"] == "ping"
