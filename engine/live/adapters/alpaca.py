"""Alpaca's market data streams: IEX and SIP stocks, crypto, news, and the stream for trying out.

Each stream is a venue of its own here, with one connection: the free plan allows no more, and streams do not
share symbols. Nobody is let in without keys, which are given to the maker and never stand in an address or a
header. Frames are asked for as MessagePack, which is smaller than JSON; they are not compressed.

Over REST comes only what was sent while a connection was lost, for the same keys, sent to that address
alone. What an instrument is, is known well enough beforehand. Stocks have four decimals,
are quoted in cents and trade in shares; crypto begins with two and four decimals, and its increments follow
the finest price and size that is seen. A definition becomes wider, by a new version, when a frame needs it.

Source: docs.alpaca.markets, pages on real-time data (2026-01).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from engine.feed.alpaca import AlpacaParser
from engine.feed.alpaca_articles import NEWS_ENDPOINT, news_path
from engine.feed.alpaca_dialogue import ALL, AlpacaDialogue, Secret
from engine.feed.alpaca_messages import LIST_OF_CHANNEL
from engine.feed.alpaca_missed import ENDPOINT, MARGIN_NS, next_page, trades_path
from engine.feed.dialogue import Dialogue
from engine.live.adapter import Definitions, Get, Instruments, Line, at
from engine.live.credentials import required
from engine.live.refusal import is_loopback
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData

STREAM = "wss://stream.data.alpaca.markets"
REST = "https://data.alpaca.markets"
KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
KEY_HEADER, SECRET_HEADER = "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"
PACKED = "application/msgpack"
_STOCK_CHANNELS = ("trade", "quote", "bar", "updated", "daily", "status", "luld", "imbalance")
_CRYPTO_CHANNELS = ("trade", "quote", "book", "bar", "updated", "daily")


class Keys(msgspec.Struct, frozen=True):
    """A pair of API keys. Never shown: both show themselves on demand only."""

    key: Secret
    secret: Secret


class _Stream(msgspec.Struct, frozen=True):
    """One of the venue's streams. `symbol`: what its symbols look like, with an example."""

    path: str
    channels: tuple[str, ...]
    usual: tuple[str, ...]
    symbol: re.Pattern[str]
    example: str
    history: str = ""  # the channel of which there is one
    history_feed: str = ""  # of stocks: what theirs is asked for as
    price_decimals: int = 4
    size_decimals: int = 0
    price_increment: str = "0.01"
    size_increment: str = "1"


_STOCK = re.compile(r"[A-Z][A-Z0-9]{0,11}(?:[./-][A-Z0-9]{1,8})*")
_PAIR = re.compile(r"[A-Z0-9]{1,15}/[A-Z0-9]{1,15}")
_NEWS = re.compile(r"\*|[A-Z0-9]{1,15}(?:[./-][A-Z0-9]{1,8})*")
_USUAL = ("trade", "quote", "bar", "updated")
_STREAMS: dict[str, _Stream] = {
    "alpaca": _Stream("/v2/iex", _STOCK_CHANNELS, _USUAL, _STOCK, "AAPL", "trade", "iex"),
    "alpaca-sip": _Stream("/v2/sip", _STOCK_CHANNELS, _USUAL, _STOCK, "AAPL", "trade", "sip"),
    "alpaca-test": _Stream("/v2/test", _STOCK_CHANNELS, ("trade", "quote", "bar"), _STOCK, "FAKEPACA"),
    "alpaca-crypto": _Stream(
        "/v1beta3/crypto/us",
        _CRYPTO_CHANNELS,
        ("trade", "quote", "book"),
        _PAIR,
        "BTC/USD",
        price_decimals=2,
        size_decimals=4,
        size_increment="0.0001",
        history="trade",
    ),
    "alpaca-news": _Stream("/v1beta1/news", ("news",), ("news",), _NEWS, "AAPL, or * for all", "news"),
}
NAMES = tuple(_STREAMS)


class Alpaca:
    """One stream; see engine.live.adapter."""

    overlapping = False
    address_gap_s = 0.0
    life_s = 0.0

    def __init__(self, name: str, url: str = "", keys: Keys | None = None, *, packed: bool = True) -> None:
        """Raises UsageError for a `url` that is no address, or to which keys would travel unencrypted.

        Without `keys` the first use looks for them, and raises it when there are none.
        """
        self.name = name
        self._stream = _STREAMS[name]
        self.channels = self._stream.channels
        self.usual_channels = self._stream.usual
        self.stream_base, self.rest_base = at(url, STREAM, REST)
        if self.stream_base.startswith("ws://") and not is_loopback(self.stream_base):
            raise UsageError(
                f'--url "{url}": keys of {name} must not travel to another machine without encryption',
                hint="write wss://…",
            )
        self._keys = keys
        self._packed = packed
        self.period_channel = self._stream.history
        self.period_endpoint = NEWS_ENDPOINT if self._stream.history == "news" else ENDPOINT

    def checked_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Upper case, spelt as the venue does; UsageError for what cannot be a symbol of this stream."""
        wanted = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))
        for symbol in wanted:
            if symbol == ALL and self.name != "alpaca-news":
                raise UsageError(
                    f"{self.name} is not recorded for all symbols at once",
                    hint="name them; only alpaca-news takes *",
                )
            if not self._stream.symbol.fullmatch(symbol):
                raise UsageError(
                    f'{self.name}: "{symbol}" is no symbol', hint=f"write it as {self._stream.example}"
                )
        return (ALL,) if ALL in wanted else wanted

    def lines(self, symbols: Sequence[str], channels: Sequence[str]) -> tuple[Line, ...]:
        """One connection. Raises UsageError without keys."""
        self._given_keys()
        streams = tuple(f"{LIST_OF_CHANNEL[channel]}:{','.join(symbols)}" for channel in channels)
        headers = {"Content-Type": PACKED if self._packed else "application/json"}
        url = f"{self.stream_base}{self._stream.path}"
        return (Line(url, tuple(symbols), tuple(channels), streams, headers),)

    async def definitions(
        self,
        get: Get,  # noqa: ARG002  nothing is asked
        symbols: Sequence[str],
        channels: Sequence[str],
    ) -> Definitions:
        """What is known of the symbols beforehand; news have none. Raises UsageError without keys."""
        self._given_keys()
        if self.name == "alpaca-news":
            return Definitions({})
        return Definitions({symbol: self.definition(symbol, tuple(channels)) for symbol in symbols})

    def parser(self, instruments: Instruments, source: int, channels: Sequence[str]) -> AlpacaParser:
        """One for a line."""
        return AlpacaParser(instruments, source, channels)

    def dialogue(self, line: Line) -> Dialogue:
        """Authenticates, then asks for one channel after the other."""
        keys = self._given_keys()
        wanted = dict.fromkeys(line.channels, line.symbols)
        return AlpacaDialogue(wanted, keys.key, keys.secret, packed=line.headers["Content-Type"] == PACKED)

    def period_headers(self) -> dict[str, str]:
        """The keys."""
        keys = self._given_keys()
        return {KEY_HEADER: keys.key.reveal(), SECRET_HEADER: keys.secret.reveal()}

    def period_path(self, symbols: Sequence[str], since: int, token: str) -> str:
        """GET trades or news, of several symbols; a little more, as stamps come in some disorder."""
        if self.period_channel == "news":
            return news_path(symbols, since - MARGIN_NS, token)
        return trades_path(symbols, since - MARGIN_NS, feed=self._stream.history_feed, token=token)

    def next_page(self, body: bytes) -> str:
        """Its next_page_token."""
        return next_page(body)

    def _given_keys(self) -> Keys:
        if self._keys is None:
            self._keys = Keys(required(KEY, self.name), required(SECRET, self.name))
        return self._keys

    def definition(self, symbol: str, channels: tuple[str, ...]) -> InstrumentData:
        """What is known of a symbol beforehand."""
        stream = self._stream
        base, _, quote = symbol.partition("/") if stream.symbol is _PAIR else (symbol, "", "USD")
        return InstrumentData(
            key=f"{symbol}.{self.name}",
            symbol=symbol,
            venue=self.name,
            price_decimals=stream.price_decimals,
            size_decimals=stream.size_decimals,
            price_increment=stream.price_increment,
            size_increment=stream.size_increment,
            base=base,
            quote=quote,
            channels=channels,
        )


def alpaca(url: str = "", keys: Keys | None = None) -> Alpaca:
    """Stocks as IEX sees them, which every plan includes."""
    return Alpaca("alpaca", url, keys)


def alpaca_sip(url: str = "", keys: Keys | None = None) -> Alpaca:
    """Stocks of all exchanges."""
    return Alpaca("alpaca-sip", url, keys)


def alpaca_crypto(url: str = "", keys: Keys | None = None) -> Alpaca:
    """Crypto at Alpaca's own venue."""
    return Alpaca("alpaca-crypto", url, keys)


def alpaca_news(url: str = "", keys: Keys | None = None) -> Alpaca:
    """Headlines."""
    return Alpaca("alpaca-news", url, keys)


def alpaca_test(url: str = "", keys: Keys | None = None) -> Alpaca:
    """The symbol FAKEPACA, at any hour."""
    return Alpaca("alpaca-test", url, keys)
