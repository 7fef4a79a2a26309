"""Coinbase on the live side: symbols, connections, definitions, and what is said on a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from engine.feed.coinbase_dialogue import CoinbaseDialogue
from engine.feed.dialogue import Message, Phase
from engine.live.adapter import Adapter, BooksByRest, Definitions
from engine.live.adapters.coinbase import SYMBOLS_PER_LINE, SYMBOLS_PER_REQUEST, CoinbaseAdapter
from engine.model.errors import UsageError, VenueError
from engine.model.kinds import BUY, SELL
from tests.helpers.coinbase import BTC, ERROR, feed, numbered, parser, subscriptions


def said(messages: list[Message]) -> list[Any]:
    """What is sent, decoded."""
    return [msgspec.json.decode(message) for message in messages]


def test_the_adapter_is_one_of_all_adapters() -> None:
    """It has what the tap asks of any venue; what it usually brings is among what it has."""
    adapter: Adapter = CoinbaseAdapter()
    assert set(adapter.usual_channels) <= set(adapter.channels)
    assert (isinstance(adapter, BooksByRest), adapter.overlapping) == (False, False)


def test_symbols_are_checked() -> None:
    """Each once, in capitals; two pairs are really quoted in USDC, and contracts have longer names."""
    wanted = [" btc-usd", "USDT-USDC", "BTC-USD", "", "BIT-28NOV25-CDE"]
    assert CoinbaseAdapter().checked_symbols(wanted) == ("BTC-USD", "USDT-USDC", "BIT-28NOV25-CDE")


@pytest.mark.parametrize(
    ("symbol", "hint"),
    [
        ("BTCUSD", "BTC-USD"),
        ("ETH/EUR", "ETH-EUR"),
        ("BTC-USDC", "write BTC-USD"),
        ("", "BTC-USD"),
    ],
)
def test_other_spellings_are_refused(symbol: str, hint: str) -> None:
    """With the right one in the hint."""
    with pytest.raises(UsageError) as caught:
        CoinbaseAdapter().checked_symbols([symbol])
    assert hint in caught.value.hint


def test_lines() -> None:
    """Twenty products on a connection, heartbeats on each."""
    symbols = tuple(f"A{number}-USD" for number in range(SYMBOLS_PER_LINE + 1))
    first, second = CoinbaseAdapter().lines(symbols, ("trade", "book"))
    assert (first.url, len(first.symbols)) == ("wss://advanced-trade-ws.coinbase.com", 20)
    assert second.streams == ("heartbeats", "market_trades A20-USD", "level2 A20-USD")


def test_another_address() -> None:
    """The stream and REST at one place."""
    adapter = CoinbaseAdapter("ws://127.0.0.1:8080")
    assert adapter.rest_base == "http://127.0.0.1:8080"
    assert adapter.lines(("BTC-USD",), ("trade",))[0].url == "ws://127.0.0.1:8080"


PRODUCT = {
    "product_id": "BTC-USD",
    "price": "67000.1",
    "base_increment": "0.00000001",
    "quote_increment": "0.01",
    "price_increment": "0.01",
    "base_min_size": "0.00000001",
    "base_max_size": "3400",
    "quote_min_size": "1",
    "base_currency_id": "BTC",
    "quote_currency_id": "USD",
    "status": "online",
    "trading_disabled": False,
    "view_only": False,
}


def definitions(products: list[dict[str, Any]] | bytes, *symbols: str) -> tuple[Definitions, list[str]]:
    """What the adapter makes of an answer, and what it asked for."""
    paths = []

    async def get(path: str) -> bytes:
        paths.append(path)
        return products if isinstance(products, bytes) else msgspec.json.encode({"products": products})

    return asyncio.run(CoinbaseAdapter().definitions(get, symbols, ("trade", "book"))), paths


def test_definitions() -> None:
    """Of those that were asked for; the answer goes into the log."""
    found, (path,) = definitions([PRODUCT, PRODUCT | {"product_id": "ETH-USD"}], "BTC-USD")
    assert path == "/api/v3/brokerage/market/products?product_ids=BTC-USD"
    (definition,) = found.instruments.values()
    assert (definition.key, definition.base, definition.quote) == ("BTC-USD.coinbase", "BTC", "USD")
    assert (definition.price_decimals, definition.size_decimals) == (2, 8)
    assert (definition.min_size, definition.max_size, definition.min_notional) == ("0.00000001", "3400", "1")
    assert (definition.status, definition.channels) == ("TRADING", ("trade", "book"))
    ((source, _),) = found.answers
    assert (source.endpoint, source.venue) == ("products", "coinbase")


@pytest.mark.parametrize(
    ("other", "increment", "status"),
    [
        ({"price_increment": None}, "0.01", "TRADING"),
        ({"price_increment": "0.5"}, "0.5", "TRADING"),
        ({"trading_disabled": True, "cancel_only": True}, "0.01", "TRADING_DISABLED"),
        ({"is_disabled": True}, "0.01", "DISABLED"),
        ({"status": "delisted"}, "0.01", "DELISTED"),
        ({"status": None, "base_max_size": None}, "0.01", "TRADING"),
    ],
)
def test_definitions_of_other_products(other: dict[str, Any], increment: str, status: str) -> None:
    """Absent increments have another to stand for them; switched off is said."""
    found, _ = definitions([PRODUCT | other], "BTC-USD")
    definition = found.instruments["BTC-USD"]
    assert (definition.price_increment, definition.status) == (increment, status)


def test_many_products_are_asked_for_in_several_requests() -> None:
    """A hundred at a time; every answer is kept."""
    symbols = [f"A{number}-USD" for number in range(SYMBOLS_PER_REQUEST + 1)]
    found, paths = definitions([PRODUCT | {"product_id": symbol} for symbol in symbols], *symbols)
    assert [path.count("product_ids=") for path in paths] == [100, 1]
    assert len(found.answers) == 2
    assert list(found.instruments) == symbols


def test_an_unknown_symbol() -> None:
    """The venue leaves it out: it is named."""
    with pytest.raises(UsageError, match='no symbol "SOL-USD"'):
        definitions([PRODUCT], "BTC-USD", "SOL-USD")


@pytest.mark.parametrize(
    "body", [b"[]", b'{"error":"x"}', b'{"products":[{"product_id":"A","base_increment":"x"}]}']
)
def test_an_answer_that_is_none(body: bytes) -> None:
    """Named by its address."""
    with pytest.raises(VenueError) as caught:
        definitions(body, "A")
    assert "/api/v3/brokerage/market/products" in caught.value.message
    assert caught.value.hint


def test_books_are_not_asked_for_over_rest() -> None:
    """There is no way to ask, and the tap sees that."""
    assert not isinstance(CoinbaseAdapter(), BooksByRest)


def test_the_adapter_says_whose_side_a_trades_is() -> None:
    """To the parsers that it makes."""
    sides = [
        feed(CoinbaseAdapter(trade_side=side).parser({"BTC-USD": (1, BTC)}, 1, ("trade",)), numbered(0, 1))[
            0
        ].side
        for side in ("taker", "maker")
    ]
    assert sides == [BUY, SELL]


def dialogue(*channels: str) -> CoinbaseDialogue:
    """Our side of a connection with two products."""
    adapter = CoinbaseAdapter()
    (line,) = adapter.lines(("BTC-USD", "ETH-USD"), channels)
    return adapter.dialogue(line)


def heard(talk: CoinbaseDialogue, *frames: bytes) -> None:
    """Tell a dialogue what the parser made of some frames."""
    target = parser()
    feed(target, *frames)
    for notice in target.notices:
        assert talk.heard(notice) == []


def test_a_message_for_each_channel() -> None:
    """Heartbeats first, because the venue closes what is silent."""
    products = ["BTC-USD", "ETH-USD"]
    assert said(dialogue("trade", "book", "bar").opened()) == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": products, "channel": "market_trades"},
        {"type": "subscribe", "product_ids": products, "channel": "level2"},
        {"type": "subscribe", "product_ids": products, "channel": "candles"},
    ]


def test_streaming_begins_when_everything_is_confirmed() -> None:
    """Each acknowledgement lists all that is subscribed so far; an error says nothing of what it is about."""
    talk = dialogue("book")
    talk.opened()
    assert talk.unanswered() == "heartbeats, book of BTC-USD ETH-USD"
    heard(talk, subscriptions(0, heartbeats=["heartbeats"]), ERROR)
    assert (talk.phase, talk.unanswered()) == (Phase.SUBSCRIBING, "book of BTC-USD ETH-USD")
    heard(talk, subscriptions(1, heartbeats=["heartbeats"], level2=["BTC-USD"]))
    assert talk.unanswered() == "book of ETH-USD"
    heard(talk, subscriptions(2, heartbeats=["heartbeats"], level2=["BTC-USD", "ETH-USD"]))
    assert (talk.phase, talk.unanswered()) == (Phase.STREAMING, "")


def test_a_book_anew() -> None:
    """Left and subscribed to again."""
    talk = dialogue("book")
    assert said(talk.again(["ETH-USD"])) == [
        {"type": "unsubscribe", "product_ids": ["ETH-USD"], "channel": "level2"},
        {"type": "subscribe", "product_ids": ["ETH-USD"], "channel": "level2"},
    ]
    assert talk.unanswered() == "book of ETH-USD"


def test_no_ping_of_its_own() -> None:
    """The WebSocket's is answered."""
    assert dialogue("book").ping() == []
