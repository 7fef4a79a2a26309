"""What `--feed` and a file of feeds name: venues and feeds, and each mistake by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.live.ccxt_feed import CcxtConfig
from engine.live.feeds import Listening, Wish, parse_feeds, read_feeds, urls_of
from engine.model.errors import EngineError, InputError, UsageError


def shown(found: Listening) -> list[tuple[object, ...]]:
    """What is listened to, in few words."""
    taps = [(tap.venue, tap.symbols, tap.channels, tap.url) for tap in found.taps]
    library = [
        (feed.name, feed.symbols, feed.channels, feed.url)
        for feed in found.feeds
        if isinstance(feed, CcxtConfig)
    ]
    return [*taps, *library, *((feed.name, feed.address.shown, feed.every_s) for feed in found.polled)]


def test_venues_and_feeds_by_name() -> None:
    """Several of each, in their order; channels and addresses come from the options."""
    wish = Wish(9.0, ("trade",), {"binanceus": "ws://127.0.0.1:9"})
    texts = ["binance:BTCUSDT,ETHUSDT", "binanceus:BTCUSDT", "news:http://127.0.0.1:1/news"]
    assert shown(parse_feeds(texts, wish)) == [
        ("binance", ("BTCUSDT", "ETHUSDT"), ("trade",), ""),
        ("binanceus", ("BTCUSDT",), ("trade",), "ws://127.0.0.1:9"),
        ("news", "http://127.0.0.1:1/news", 9.0),
    ]


def test_a_file_says_the_same(tmp_path: Path) -> None:
    """A table for each; what it does not say comes from the options."""
    path = tmp_path / "feeds.toml"
    path.write_text(
        """
        [[feed]]
        name = "binance"
        symbols = ["BTCUSDT", "ETHUSDT"]
        channels = ["trade", "book"]
        url = "ws://127.0.0.1:8"

        [[feed]]
        name = "binanceus"
        symbols = ["BTCUSDT"]

        [[feed]]
        name = "news"
        url = "http://127.0.0.1:1/news"
        every = "30s"
        """
    )
    assert shown(read_feeds(path, Wish(urls={"binanceus": "ws://127.0.0.1:9"}))) == [
        ("binance", ("BTCUSDT", "ETHUSDT"), ("trade", "book"), "ws://127.0.0.1:8"),
        ("binanceus", ("BTCUSDT",), None, "ws://127.0.0.1:9"),
        ("news", "http://127.0.0.1:1/news", 30.0),
    ]


def test_venues_by_the_library_and_what_is_polled(tmp_path: Path) -> None:
    """On the command line and in a file: the exchange is part of the name, intervals and addresses beside."""
    wish = Wish(channels=("trade",), urls={"ccxt:okx": "http://127.0.0.1:9"})
    texts = ["ccxt:okx:BTC/USDT,ETH/USDT", "rss:http://127.0.0.1:1/x#every=1m", "coingecko:bitcoin/usd"]
    by_words = shown(parse_feeds(texts, wish))
    path = tmp_path / "feeds.toml"
    path.write_text(
        """
        [[feed]]
        name = "ccxt:okx"
        symbols = ["BTC/USDT", "ETH/USDT"]

        [[feed]]
        name = "rss"
        url = "http://127.0.0.1:1/x"
        every = "1m"

        [[feed]]
        name = "coingecko"
        symbols = ["bitcoin/usd"]
        """
    )
    assert shown(read_feeds(path, wish)) == by_words
    assert by_words[0] == ("ccxt:okx", ("BTC/USDT", "ETH/USDT"), ("trade",), "http://127.0.0.1:9")
    assert by_words[1] == ("rss", "http://127.0.0.1:1/x", 60.0)
    assert by_words[2][0::2] == ("coingecko", 60.0)
    assert parse_feeds(texts, wish).venues == ("ccxt:okx",)
    path.write_text('[[feed]]\nname = "coingecko"\nsymbols = ["bitcoin"]\nurl = "http://127.0.0.1:7"\n')
    assert str(shown(read_feeds(path))[0][1]).startswith(
        "http://127.0.0.1:7/api/v3/simple/price?ids=bitcoin&"
    )
    for more, words in (
        ("", "rss: from where"),
        ('url = "http://h/"\nsymbols = ["x"]', "rss: symbols beside a url"),
        ('url = "http://h/"\nchannels = ["trade"]', "rss: has no channels"),
    ):
        path.write_text(f'[[feed]]\nname = "rss"\n{more}\n')
        with pytest.raises(InputError, match=f"feed 1: {words}"):
            read_feeds(path)
    path.write_text('[[feed]]\nname = "binance"\nsymbols = ["BTCUSDT"]\nevery = "5s"\n')
    with pytest.raises(InputError, match="binance: is not polled"):
        read_feeds(path)


@pytest.mark.parametrize(
    ("texts", "words", "hint"),
    [
        (["ccxt:okx"], "--feed ccxt:okx: which symbols?", "ccxt:okx:SYMBOL,SYMBOL"),
        (["nyse:IBM"], 'there is no feed "nyse"', "binance:SYMBOLS"),
        (["binance"], "--feed binance: which symbols?", "binance:SYMBOL,SYMBOL"),
        (["binance: "], "which symbols?", ""),
        (["news:"], "--feed news: from where?", "news:URL"),
        (["news:http://127.0.0.1:1/a"] * 2, "is named twice", "once"),
        ([":"], 'there is no feed ""', ""),
    ],
)
def test_mistakes_are_named(texts: list[str], words: str, hint: str) -> None:
    """Each with what to write instead."""
    with pytest.raises(UsageError) as caught:
        parse_feeds(texts)
    assert words in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[feed]]\nname = 'binance'\n", "feed 1: binance: which symbols?"),
        ("[[feed]]\nname = 'nyse'\n", 'feed 1: --feed: there is no feed "nyse"'),
        ("[[feed]]\nname = 'binance'\nsymbol = 'X'\n", "unknown field `symbol`"),
        ("[[feed]]\nname = 'news'\nurl = 'x'\n", "feed 1: "),
        ("[[feed]]\nname = 'news'\nurl = 'http://127.0.0.1:1/'\nevery = 'soon'\n", "feed 1: "),
        ("feed = 3\n", "Expected `array`"),
        ("[[feed\n", "line 1"),
        ("\udcff", "utf-8"),
    ],
    ids=range(8),
)
def test_mistakes_of_a_file_are_named_with_it(tmp_path: Path, text: str, words: str) -> None:
    """The file, which of its tables, and what is wrong."""
    path = tmp_path / "feeds.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as caught:
        read_feeds(path)
    assert caught.value.message.startswith(str(path))
    assert words in caught.value.message
    assert caught.value.hint


def test_a_file_that_is_not_there() -> None:
    """Named, with what the option is for."""
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read"):
        read_feeds(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["ws://h:1"], {"binance": "ws://h:1"}),
        (["ws://h:1/?a=b"], {"binance": "ws://h:1/?a=b"}),
        (["binanceus=ws://h:2", "ws://h:1"], {"binanceus": "ws://h:2", "binance": "ws://h:1"}),
        (["nyse=ws://h:2"], UsageError),
        (["binance="], UsageError),
        (["ws://h:1", "binance=ws://h:2"], UsageError),
    ],
)
def test_addresses_by_venue(texts: list[str], expected: dict[str, str] | type[EngineError]) -> None:
    """An address alone is the --venue's; with a name before it, that venue's; none has two."""
    if isinstance(expected, dict):
        assert urls_of(texts, "binance") == expected
        return
    with pytest.raises(expected):
        urls_of(texts, "binance")
