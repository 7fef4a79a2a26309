"""Which venues there are, where they are, and how their limits become connections."""

from __future__ import annotations

import json

import pytest

from engine.feed.dialogue import Phase
from engine.feed.parser import Notice
from engine.live.adapter import BooksByRest
from engine.live.adapters.binance import STREAMS_PER_CONNECTION, URL_LENGTH_MAX, binance, binanceus
from engine.live.venues import VENUES, adapter_of
from engine.model.errors import UsageError


@pytest.mark.parametrize("name", VENUES)
def test_every_venue_of_the_table_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, its channels, and what is usual is among them; --url moves stream and REST together."""
    monkeypatch.setenv("APCA_API_KEY_ID", "a-planted-key-1")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "a-planted-secret-1")
    adapter = adapter_of(name)
    assert adapter.name == name
    assert set(adapter.usual_channels) <= set(adapter.channels)
    moved = adapter_of(name, "ws://127.0.0.1:8080")
    symbols = moved.checked_symbols([_EXAMPLES[name]])
    (line, *_) = moved.lines(symbols, moved.usual_channels)
    assert line.url.startswith("ws://127.0.0.1:8080")
    assert moved.rest_base == "http://127.0.0.1:8080"


_EXAMPLES = {
    **dict.fromkeys(("binance", "binanceus"), "BTCUSDT"),
    **dict.fromkeys(("kraken", "alpaca-crypto"), "BTC/USD"),
    **dict.fromkeys(("alpaca", "alpaca-sip"), "AAPL"),
    "alpaca-news": "*",
    "alpaca-test": "FAKEPACA",
    "coinbase": "BTC-USD",
}


@pytest.mark.parametrize(
    ("symbols", "channels", "lines"), [(1, 3, 1), (341, 3, 1), (342, 3, 2), (1_024, 1, 1), (2_000, 5, 10)]
)
def test_streams_are_spread_over_connections(symbols: int, channels: int, lines: int) -> None:
    """No connection has more streams than the venue allows; all are there once; parts are even."""
    adapter = binance("ws://127.0.0.1:1")
    names = [f"SYM{number}USDT" for number in range(symbols)]
    wanted = adapter.channels[:channels]
    found = adapter.lines(names, wanted)
    assert len(found) == lines
    assert all(len(line.streams) <= STREAMS_PER_CONNECTION for line in found)
    assert [symbol for line in found for symbol in line.symbols] == names
    assert len({stream for line in found for stream in line.streams}) == symbols * channels
    sizes = [len(line.symbols) for line in found]
    assert max(sizes) - min(sizes) <= len(sizes)


def test_what_an_address_cannot_hold_is_subscribed_by_messages() -> None:
    """A long list of streams: a short address, numbered messages, all answered before it streams."""
    adapter = binance("ws://127.0.0.1:1")
    (short,) = adapter.lines(["BTCUSDT"], ["trade"])
    assert short.url == "ws://127.0.0.1:1/stream?streams=btcusdt@trade&timeUnit=MICROSECOND"
    assert adapter.dialogue(short).opened() == []
    (long,) = adapter.lines([f"SYM{n}USDT" for n in range(300)], ["trade", "book"])
    assert long.url == "ws://127.0.0.1:1/stream?timeUnit=MICROSECOND"
    assert len(long.url) < URL_LENGTH_MAX
    dialogue = adapter.dialogue(long)
    messages = [json.loads(message) for message in dialogue.opened()]
    assert [message["id"] for message in messages] == [1, 2, 3]
    assert [stream for message in messages for stream in message["params"]] == list(long.streams)
    for left in (2, 1):
        dialogue.heard(Notice("subscribed"))
        assert dialogue.unanswered() == f"{left} of 3 subscribing messages"
        assert dialogue.phase is Phase.SUBSCRIBING
    dialogue.heard(Notice("rejected", "2 Invalid request"))
    assert dialogue.phase is Phase.STREAMING
    assert dialogue.unanswered() == "refused: 2 Invalid request"


def test_binances_books_come_over_rest() -> None:
    """With as many levels as are wanted, and a symbol of any letters."""
    adapter = binance("ws://127.0.0.1:1")
    assert isinstance(adapter, BooksByRest)
    assert adapter.snapshot_path("币USDT", 1_000) == "/api/v3/depth?symbol=%E5%B8%81USDT&limit=1000"


def test_binance_us_is_a_deployment_of_its_own() -> None:
    """Its own addresses, and no parameter that it may not know."""
    (line,) = binanceus().lines(["BTCUSDT"], ["trade"])
    assert line.url == "wss://stream.binance.us:9443/stream?streams=btcusdt@trade"
    assert binanceus().rest_base == "https://api.binance.us"


def test_an_unknown_venue_is_named() -> None:
    """With those that are known."""
    with pytest.raises(UsageError, match='unknown venue "nyse"') as caught:
        adapter_of("nyse")
    assert "binance, binanceus" in caught.value.hint
