"""Binance spot's messages as typed structs, and the way to tell which one a frame is.

Field names are ours; the venue's one-letter names stand beside them. Extra fields are skipped: the
trade messages of 2023 carried `a` and `b`, order ids, which those of 2024 do not. Times are integers in
milliseconds or, when asked for in the stream's address, in microseconds; which is told by magnitude.

Source: binance-spot-api-docs, web-socket-streams.md (2026-07), and captured frames from 2021 to 2024.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from engine.feed.parser import DECODE_FAILURES, malformed_of
from engine.model.units import MICROSECOND_NS, MILLISECOND_NS

# Milliseconds of the last moment that int64 nanoseconds reach (2262). As microseconds it would be in 1970.
LAST_MILLISECOND = 9_200_000_000_000
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Stamp = Annotated[int, msgspec.Meta(ge=0, le=LAST_MILLISECOND * 1_000)]
Levels = list[tuple[str, str]]


def nanoseconds(stamp: int) -> int:
    """A venue's stamp in ns: milliseconds or microseconds by magnitude."""
    return stamp * MILLISECOND_NS if stamp <= LAST_MILLISECOND else stamp * MICROSECOND_NS


class Trade(msgspec.Struct, gc=False):
    """One trade. `buyer_is_maker`: the aggressor sold."""

    event: Literal["trade"] = field(name="e")
    symbol: str = field(name="s")
    id: Number = field(name="t")
    price: str = field(name="p")
    size: str = field(name="q")
    time: Stamp = field(name="T")
    buyer_is_maker: bool = field(name="m")


class AggregateTrade(msgspec.Struct, gc=False):
    """Trades of one taker order at one price."""

    event: Literal["aggTrade"] = field(name="e")
    symbol: str = field(name="s")
    id: Number = field(name="a")
    price: str = field(name="p")
    size: str = field(name="q")
    time: Stamp = field(name="T")
    buyer_is_maker: bool = field(name="m")


class BookTicker(msgspec.Struct, gc=False):
    """Best bid and ask. Carries neither an event name nor a time."""

    symbol: str = field(name="s")
    id: Number = field(name="u")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")


class DepthUpdate(msgspec.Struct, gc=False):
    """Absolute sizes of the levels that changed in updates `first` to `last`; zero removes a level."""

    event: Literal["depthUpdate"] = field(name="e")
    event_time: Stamp = field(name="E")
    symbol: str = field(name="s")
    first: Number = field(name="U")
    last: Number = field(name="u")
    bids: Levels = field(name="b")
    asks: Levels = field(name="a")

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError(f"U {self.first} is after u {self.last}")


class DepthSnapshot(msgspec.Struct, gc=False):
    """A REST snapshot, or a partial-depth frame: neither names its symbol or a time."""

    id: Number = field(name="lastUpdateId")
    bids: Levels
    asks: Levels


class Bar(msgspec.Struct, gc=False):
    """The inner object of a kline message."""

    start: Stamp = field(name="t")
    end: Stamp = field(name="T")
    interval: str = field(name="i")
    open: str = field(name="o")
    high: str = field(name="h")
    low: str = field(name="l")
    close: str = field(name="c")
    volume: str = field(name="v")
    trades: Number = field(name="n")
    final: bool = field(name="x")


class Kline(msgspec.Struct, gc=False):
    """A bar so far, or final."""

    event: Literal["kline"] = field(name="e")
    event_time: Stamp = field(name="E")
    symbol: str = field(name="s")
    bar: Bar = field(name="k")


class ServerShutdown(msgspec.Struct, gc=False):
    """The venue is about to close the connection."""

    event: Literal["serverShutdown"] = field(name="e")
    event_time: Stamp = field(name="E")


Message = Trade | AggregateTrade | BookTicker | DepthUpdate | DepthSnapshot | Kline | ServerShutdown
MarketMessage = Trade | AggregateTrade | BookTicker | DepthUpdate | Kline

# What users call the channel of each message (model.kinds.CHANNELS).
CHANNEL_OF: dict[type, str] = {
    Trade: "trade",
    AggregateTrade: "aggtrade",
    BookTicker: "quote",
    DepthUpdate: "book",
    DepthSnapshot: "book",
    Kline: "bar",
}

TYPES: dict[str, type] = {
    "trade": Trade,
    "aggTrade": AggregateTrade,
    "bookTicker": BookTicker,
    "depthUpdate": DepthUpdate,
    "snapshot": DepthSnapshot,
    "kline": Kline,
    "serverShutdown": ServerShutdown,
}
_DECODERS: dict[str, msgspec.json.Decoder[Message]] = {
    name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()
}
_snapshot = msgspec.json.Decoder(DepthSnapshot)


class Rejection(msgspec.Struct):
    """The venue's refusal of a request."""

    code: int | None = None
    msg: str = ""


class _Outline(msgspec.Struct):
    """The fields that tell messages apart, none decoded further than needed."""

    stream: str = ""
    data: Raw | UnsetType = UNSET
    event: str = field(name="e", default="")
    symbol: Raw | UnsetType = field(name="s", default=UNSET)
    update: Raw | UnsetType = field(name="u", default=UNSET)
    bid: Raw | UnsetType = field(name="b", default=UNSET)
    snapshot: Raw | UnsetType = field(name="lastUpdateId", default=UNSET)
    result: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    msg: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_outline = msgspec.json.Decoder(_Outline)
_rejection = msgspec.json.Decoder(Rejection)
_anything = msgspec.json.Decoder(Raw)


class Decoded(msgspec.Struct, frozen=True):
    """What a frame is. `message` is None for control replies and types that nobody knows."""

    message: Message | None = None
    stream: str = ""  # of a combined frame
    prefix: str = ""  # where the message lies in the frame: "data." or ""
    unknown: str = ""  # the type's name, when it is unknown
    rejection: Rejection | None = None


def decode(frame: bytes) -> Decoded:
    """Tell what a frame is and decode it; raises Malformed, naming byte, field and value."""
    if frame.lstrip()[:1] == b"[":  # raw array streams, such as !miniTicker@arr
        try:
            _anything.decode(frame)
        except DECODE_FAILURES as error:
            raise malformed_of(error, frame) from None
        return Decoded(unknown="array")
    outline = _decode(_outline, frame, "")
    payload, prefix, inner = frame, "", outline
    if outline.data is not UNSET:
        payload, prefix = bytes(outline.data), "data."
        if payload[:1] != b"{":
            return Decoded(stream=outline.stream, prefix=prefix, unknown=outline.stream or "data")
        inner = _decode(_outline, payload, prefix, frame)
    name = _name(inner)
    if name:
        message = _decode(_DECODERS[name], payload, prefix, frame)
        return Decoded(message=message, stream=outline.stream, prefix=prefix)
    if not prefix:
        refusal = frame if outline.code is not UNSET and outline.msg is not UNSET else outline.error
        if refusal is not UNSET:
            part = "" if refusal is frame else "error."
            return Decoded(rejection=_decode(_rejection, bytes(refusal), part, frame))
        if outline.result is not UNSET:
            return Decoded()
    return Decoded(stream=outline.stream, prefix=prefix, unknown=inner.event or outline.stream or "no type")


def _name(outline: _Outline) -> str:
    if outline.event:
        return outline.event if outline.event in TYPES else ""
    if outline.snapshot is not UNSET:
        return "snapshot"
    if outline.update is not UNSET and outline.symbol is not UNSET and outline.bid is not UNSET:
        return "bookTicker"
    return ""


_T = TypeVar("_T")


def _decode(decoder: msgspec.json.Decoder[_T], document: bytes, prefix: str, frame: bytes = b"") -> _T:
    try:
        return decoder.decode(document)
    except DECODE_FAILURES as error:
        raise malformed_of(error, document, prefix, frame) from None


def decode_snapshot(body: bytes) -> DepthSnapshot:
    """The body of GET /api/v3/depth; raises Malformed."""
    return _decode(_snapshot, body, "")


def decimal_texts(message: Message) -> Iterator[tuple[str, bool, str]]:
    """Every decimal of a message: its path, whether it is a price (else a size), its text."""
    if isinstance(message, Trade | AggregateTrade):
        yield from (("p", True, message.price), ("q", False, message.size))
    elif isinstance(message, BookTicker):
        yield from (("b", True, message.bid), ("B", False, message.bid_size))
        yield from (("a", True, message.ask), ("A", False, message.ask_size))
    elif isinstance(message, Kline):
        bar = message.bar
        for name, text in (("o", bar.open), ("h", bar.high), ("l", bar.low), ("c", bar.close)):
            yield f"k.{name}", True, text
        yield "k.v", False, bar.volume
    elif isinstance(message, DepthUpdate | DepthSnapshot):
        bids, asks = ("b", "a") if isinstance(message, DepthUpdate) else ("bids", "asks")
        for side, levels in ((bids, message.bids), (asks, message.asks)):
            for index, (price, size) in enumerate(levels):
                yield f"{side}[{index}][0]", True, price
                yield f"{side}[{index}][1]", False, size
