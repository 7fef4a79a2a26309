"""Coinbase Advanced Trade's market data messages as typed structs, and the way to tell which one a frame is.

Every message but an error names its `channel`, carries the connection's `sequence_num` and a list of events.
One subscribes to "level2" and hears from "l2_data". Decimals are texts. Times are RFC 3339 with up to nine
digits, except in heartbeats. Unknown fields are skipped.

Source: Coinbase's Advanced Trade WebSocket channels (heartbeats, candles, level2, market_trades) and its
AsyncAPI description, as of 2026.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from engine.feed.channel_decoder import ChannelDecoder, Form, Number

HEARTBEATS = "heartbeats"
# What users call a channel, and what it is called when one subscribes to it.
VENUE_CHANNEL = {"trade": "market_trades", "book": "level2", "bar": "candles"}
CHANNEL_OF = {venue: user for user, venue in VENUE_CHANNEL.items()}


class Update(msgspec.Struct, gc=False):
    """The size now at one price; 0 removes it."""

    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str
    event_time: str = ""


class BookEvent(msgspec.Struct, gc=False):
    """One product's levels; a snapshot is the whole book."""

    type: Form
    product_id: str
    updates: list[Update]


class TradeItem(msgspec.Struct, gc=False):
    """One trade. Whose side `side` is, is disputed; BUY, SELL, or neither where the venue does not know."""

    trade_id: str
    product_id: str
    price: str
    size: str
    side: str
    time: str


class TradeEvent(msgspec.Struct, gc=False):
    """Trades of the last 250 ms, or the latest ones when a subscription begins; newest first."""

    type: Form
    trades: list[TradeItem]


class Candle(msgspec.Struct, gc=False):
    """A bar of five minutes so far. `start`: seconds since 1970, as a text."""

    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    product_id: str


class CandleEvent(msgspec.Struct, gc=False):
    """Bars of any products."""

    type: Form
    candles: list[Candle]


class SubscriptionsEvent(msgspec.Struct):
    """All that is subscribed, by channel."""

    subscriptions: dict[str, list[str]] = {}


class Book(msgspec.Struct, tag_field="channel", tag="l2_data", gc=False):
    """Channel l2_data."""

    sequence_num: Number
    events: list[BookEvent]


class Trades(msgspec.Struct, tag_field="channel", tag="market_trades", gc=False):
    """Channel market_trades."""

    sequence_num: Number
    events: list[TradeEvent]


class Candles(msgspec.Struct, tag_field="channel", tag="candles", gc=False):
    """Channel candles."""

    sequence_num: Number
    events: list[CandleEvent]
    timestamp: str = ""


class Heartbeat(msgspec.Struct, tag_field="channel", tag="heartbeats"):
    """Once a second. Its counter says nothing that the sequence does not."""

    sequence_num: Number


class Subscriptions(msgspec.Struct, tag_field="channel", tag="subscriptions"):
    """The answer to a request."""

    sequence_num: Number
    events: list[SubscriptionsEvent] = []


class Error(msgspec.Struct):
    """A request was refused; which one, is not said."""

    message: str = ""


class Unknown(msgspec.Struct):
    """A message that nobody knows; numbered like all others, if it is."""

    name: str
    sequence_num: int | None = None


Message = Book | Trades | Candles | Heartbeat | Subscriptions
CHANNELS = ("l2_data", "market_trades", "candles", "heartbeats", "subscriptions")


class _Outline(msgspec.Struct):
    channel: str | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    sequence_num: Number | None = None


_message: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_outline = msgspec.json.Decoder(_Outline)
_error = msgspec.json.Decoder(Error)


def _other(outline: _Outline, frame: bytes) -> Error | Unknown:
    if outline.channel is not UNSET:
        return Unknown(f"channel {outline.channel}", outline.sequence_num)
    if outline.type is not UNSET and bytes(outline.type) == b'"error"':
        return _error.decode(frame)
    return Unknown("no channel", outline.sequence_num)


decode = ChannelDecoder(_message, CHANNELS, _outline, _other).decode
