"""Kraken WebSocket v2's public messages as typed structs, and the way to tell which one a frame is.

Messages of a channel name it in `channel`; answers to requests name the `method` instead. Numbers are bare
JSON numbers whose zeros at the end count (see kraken_numbers), hence `Any`: a text, or an int where there is
no point. Unknown fields are skipped; connection ids beyond 2^53 are among them.

Source: Kraken's Spot WebSocket v2 reference (channels book, trade, ticker, ohlc, instrument, status,
heartbeat; methods subscribe, unsubscribe, ping), and captured frames of 2026.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from engine.feed.channel_decoder import ChannelDecoder, Form, Number
from engine.feed.kraken_numbers import Texts

Checksum = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]

# What users call a channel, and the number that our requests about it carry: an answer that refuses a
# request does not always say which one.
CHANNEL_OF = {"trade": "trade", "ticker": "quote", "book": "book", "ohlc": "bar", "instrument": "instrument"}
VENUE_CHANNEL = {user: venue for venue, user in CHANNEL_OF.items()}
REQUEST_OF = {user: number for number, user in enumerate(CHANNEL_OF.values(), start=1)}
CHANNEL_OF_REQUEST = {number: user for user, number in REQUEST_OF.items()}


class Level(msgspec.Struct, gc=False):
    """The size now at one price; 0 removes it."""

    price: Any
    qty: Any


class BookItem(msgspec.Struct, gc=False):
    """One pair's levels. Snapshots had no timestamp before the middle of 2025."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: Checksum
    timestamp: str = ""


class TradeItem(msgspec.Struct, gc=False):
    """One trade. `side` is the taker's."""

    symbol: str
    side: Literal["buy", "sell"]
    price: Any
    qty: Any
    trade_id: Number
    timestamp: str


class TickerItem(msgspec.Struct, gc=False):
    """Best bid and ask."""

    symbol: str
    bid: Any
    bid_qty: Any
    ask: Any
    ask_qty: Any
    timestamp: str = ""


class OhlcItem(msgspec.Struct, gc=False):
    """A bar so far."""

    symbol: str
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    trades: Number
    interval_begin: str
    interval: Minutes


class Pair(msgspec.Struct):
    """Reference data of one pair. Decimals may be written with an exponent."""

    symbol: str
    status: str = "online"
    base: str = ""
    quote: str = ""
    price_precision: int = 0
    qty_precision: int = 0
    price_increment: Any = 0
    qty_increment: Any = 0
    qty_min: Any = 0
    cost_min: Any = 0


class Pairs(msgspec.Struct):
    """All pairs, or those that changed; assets are left where they are."""

    pairs: list[Pair] = []


class SystemItem(msgspec.Struct):
    """How the venue is."""

    system: str = ""


class Book(msgspec.Struct, tag_field="channel", tag="book", gc=False):
    """Channel book."""

    type: Form
    data: list[BookItem]


class Trade(msgspec.Struct, tag_field="channel", tag="trade", gc=False):
    """Channel trade; the snapshot is the last 50 trades."""

    type: Form
    data: list[TradeItem]


class Ticker(msgspec.Struct, tag_field="channel", tag="ticker", gc=False):
    """Channel ticker."""

    type: Form
    data: list[TickerItem]


class Ohlc(msgspec.Struct, tag_field="channel", tag="ohlc", gc=False):
    """Channel ohlc; the message, not the bar, says when."""

    type: Form
    data: list[OhlcItem]
    timestamp: str = ""


class Instrument(msgspec.Struct, tag_field="channel", tag="instrument"):
    """Channel instrument."""

    type: Form
    data: Pairs


class Status(msgspec.Struct, tag_field="channel", tag="status"):
    """Channel status: the first message of a connection, and news of the venue itself."""

    data: list[SystemItem] = []


class Heartbeat(msgspec.Struct, tag_field="channel", tag="heartbeat"):
    """About every second, once anything is subscribed."""


class Result(msgspec.Struct):
    """What was granted."""

    channel: str = ""
    symbol: str = ""
    depth: int = 0
    warnings: list[str] | None = None


class Answer(msgspec.Struct):
    """The answer to a request. `success` is missing in a pong."""

    method: str = ""
    success: bool | UnsetType = UNSET
    error: str = ""
    symbol: str = ""
    req_id: int | None = None
    result: Result | None = None


class Unknown(msgspec.Struct):
    """A message that nobody knows, by its channel or method."""

    name: str


Data = Book | Trade | Ticker | Ohlc
Message = Data | Instrument | Status | Heartbeat
CHANNELS = ("book", "trade", "ticker", "ohlc", "instrument", "status", "heartbeat")
METHODS = ("subscribe", "unsubscribe", "ping", "pong")


class _Outline(msgspec.Struct):
    channel: str | UnsetType = UNSET
    method: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_texts = Texts()
_message: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message, float_hook=_texts.__getitem__)
_answer = msgspec.json.Decoder(Answer)
_outline = msgspec.json.Decoder(_Outline)


def _other(outline: _Outline, frame: bytes) -> Answer | Unknown:
    if outline.channel is not UNSET:
        return Unknown(f"channel {outline.channel}")
    if outline.method is UNSET and outline.error is UNSET:
        return Unknown("no channel")
    answer = _answer.decode(frame)
    return answer if answer.error or answer.method in METHODS else Unknown(f"method {answer.method}")


decode = ChannelDecoder(_message, CHANNELS, _outline, _other).decode
