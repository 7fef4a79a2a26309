"""What Alpaca's market data streams send, as typed structs, and how to tell what a frame is.

Every frame is an array; what each of its messages is, stands in its field "T". There are two encodings,
JSON and MessagePack, chosen in the handshake and told apart here by the first byte: an array of MessagePack
begins with 0x90 or more, no JSON does. The structs are the same for both, but for what numbers and times
look like (`N`, `T`; see alpaca_values).

Field names are ours; the venue's stand beside them. Extra fields are skipped (tape, the conditions of
quotes, volume-weighted prices, the body of an article): they stay in the row's wire. `null` for a list is
an empty one.

Stocks and crypto share types: a crypto trade has the taker's side and no exchange.

Source: docs.alpaca.markets, pages on real-time stocks, crypto and news (2026-01); alpaca-py 0.44.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar, Union

import msgspec
from msgspec import UNSET, Raw, UnsetType, field
from msgspec.msgpack import Ext

from engine.feed.alpaca_values import NumberText, number_of_json
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of

N = TypeVar("N")
T = TypeVar("T")
Id = Annotated[int, msgspec.Meta(ge=0)]  # 64 bits, which a constraint cannot say; see alpaca_rows
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Names = list[str] | None


class Trade(msgspec.Struct, Generic[N, T], tag_field="T", tag="t", gc=False):
    """One trade. `taker` is "B" or "S", of crypto only."""

    symbol: str = field(name="S")
    price: N = field(name="p")
    size: N = field(name="s")
    time: T = field(name="t")
    id: Id = field(name="i", default=0)
    exchange: str = field(name="x", default="")
    taker: str = field(name="tks", default="")
    conditions: Any = field(name="c", default=None)  # a list of texts; of options one text


class Quote(msgspec.Struct, Generic[N, T], tag_field="T", tag="q", gc=False):
    """Best bid and ask. A side that nobody quotes has price and size 0."""

    symbol: str = field(name="S")
    time: T = field(name="t")
    bid: N | None = field(name="bp", default=None)
    bid_size: N | None = field(name="bs", default=None)
    ask: N | None = field(name="ap", default=None)
    ask_size: N | None = field(name="as", default=None)
    bid_exchange: str = field(name="bx", default="")
    ask_exchange: str = field(name="ax", default="")


class _Bar(msgspec.Struct, Generic[N, T], tag_field="T", gc=False):
    symbol: str = field(name="S")
    open: N = field(name="o")
    high: N = field(name="h")
    low: N = field(name="l")
    close: N = field(name="c")
    volume: N = field(name="v")
    time: T = field(name="t")  # when the bar began
    trades: Count = field(name="n", default=0)


class MinuteBar(_Bar[N, T], Generic[N, T], tag="b", gc=False):
    """A minute that is over; a late trade may still change it."""


class UpdatedBar(_Bar[N, T], Generic[N, T], tag="u", gc=False):
    """A minute that was sent before, after a late trade."""


class DailyBar(_Bar[N, T], Generic[N, T], tag="d", gc=False):
    """The day so far, once a minute."""


class Correction(msgspec.Struct, Generic[N, T], tag_field="T", tag="c", gc=False):
    """A trade was not what was said: as it was, and as it is."""

    symbol: str = field(name="S")
    old_id: Id = field(name="oi")
    old_price: N = field(name="op")
    old_size: N = field(name="os")
    price: N = field(name="cp")
    size: N = field(name="cs")
    time: T = field(name="t")
    id: Id = field(name="ci", default=0)
    exchange: str = field(name="x", default="")


class Cancel(msgspec.Struct, Generic[N, T], tag_field="T", tag="x", gc=False):
    """A trade was cancelled ("C") or entered by mistake ("E")."""

    symbol: str = field(name="S")
    id: Id = field(name="i")
    price: N = field(name="p")
    size: N = field(name="s")
    time: T = field(name="t")
    exchange: str = field(name="x", default="")


class TradingStatus(msgspec.Struct, Generic[N, T], tag_field="T", tag="s", gc=False):
    """Trading was halted, resumed and so on: code and words of the status, and of the reason."""

    symbol: str = field(name="S")
    time: T = field(name="t")
    code: str = field(name="sc", default="")
    message: str = field(name="sm", default="")
    reason_code: str = field(name="rc", default="")
    reason: str = field(name="rm", default="")


class PriceBand(msgspec.Struct, Generic[N, T], tag_field="T", tag="l", gc=False):
    """Limit up, limit down."""

    symbol: str = field(name="S")
    time: T = field(name="t")
    up: N = field(name="u")
    down: N = field(name="d")
    indicator: str = field(name="i", default="")


class Imbalance(msgspec.Struct, Generic[N, T], tag_field="T", tag="i", gc=False):
    """An order imbalance before an auction."""

    symbol: str = field(name="S")
    time: T = field(name="t")
    price: N = field(name="p")


class Level(msgspec.Struct, Generic[N], gc=False):
    """One level of a book; size 0 removes it."""

    price: N = field(name="p")
    size: N = field(name="s")


class Book(msgspec.Struct, Generic[N, T], tag_field="T", tag="o", gc=False):
    """Levels of a crypto book that changed, or, with `reset`, all of them."""

    symbol: str = field(name="S")
    time: T = field(name="t")
    bids: list[Level[N]] | None = field(name="b", default=None)
    asks: list[Level[N]] | None = field(name="a", default=None)
    reset: bool | None = field(name="r", default=None)


class Article(msgspec.Struct, Generic[N, T], tag_field="T", tag="n", gc=False):
    """A headline, or an edit of one under the same id."""

    id: int | str
    headline: str | None = None
    summary: str | None = None
    created_at: T | None = None
    updated_at: T | None = None
    url: str | None = None
    symbols: Names = None
    source: str | None = None


class Success(msgspec.Struct, tag_field="T", tag="success"):
    """The venue greets ("connected"), or lets us in ("authenticated")."""

    msg: str = ""


class Refusal(msgspec.Struct, tag_field="T", tag="error"):
    """A request, or the whole connection, was refused."""

    code: int = 0
    msg: str = ""


class Subscription(msgspec.Struct, tag_field="T", tag="subscription", rename="camel"):
    """All that this connection is subscribed to now; which lists there are, depends on the stream."""

    trades: Names | UnsetType = UNSET
    quotes: Names | UnsetType = UNSET
    bars: Names | UnsetType = UNSET
    updated_bars: Names | UnsetType = UNSET
    daily_bars: Names | UnsetType = UNSET
    statuses: Names | UnsetType = UNSET
    lulds: Names | UnsetType = UNSET
    imbalances: Names | UnsetType = UNSET
    orderbooks: Names | UnsetType = UNSET
    news: Names | UnsetType = UNSET
    corrections: Names | UnsetType = UNSET
    cancel_errors: Names | UnsetType = UNSET


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that nobody here knows."""

    name: str


MARKET = (
    Trade,
    Quote,
    MinuteBar,
    UpdatedBar,
    DailyBar,
    Correction,
    Cancel,
    TradingStatus,
    PriceBand,
    Imbalance,
    Book,
    Article,
)
CONTROL = (Success, Refusal, Subscription)
# By the name in a subscription, the channel as users name it.
CHANNEL_OF_LIST = {
    "trades": "trade",
    "quotes": "quote",
    "bars": "bar",
    "updatedBars": "updated",
    "dailyBars": "daily",
    "statuses": "status",
    "lulds": "luld",
    "imbalances": "imbalance",
    "orderbooks": "book",
    "news": "news",
    "corrections": "correction",
    "cancelErrors": "cancel",
}
LIST_OF_CHANNEL = {channel: name for name, channel in CHANNEL_OF_LIST.items()}


class _Outline(msgspec.Struct):
    type: str = field(name="T", default="")


class _Wire:
    """One encoding: decoders of whole frames, and of their parts one by one."""

    def __init__(self, decoder: Callable[[Any], Any], number: Any, stamp: Any) -> None:
        kinds: dict[str, Any] = {str(kind.__struct_config__.tag): kind[number, stamp] for kind in MARKET}
        kinds |= {str(kind.__struct_config__.tag): kind for kind in CONTROL}
        any_of_them: Any = Union[tuple(kinds.values())]  # noqa: UP007  of a tuple only made here
        self.frame: Callable[[bytes], list[Any]] = decoder(list[any_of_them]).decode
        self.parts: Callable[[bytes], list[Raw]] = decoder(list[Raw]).decode
        self.outline: Callable[[bytes], _Outline] = decoder(_Outline).decode
        self.one: dict[str, Callable[[bytes], Any]] = {
            name: decoder(kind).decode for name, kind in kinds.items()
        }


_json = _Wire(
    lambda kind: msgspec.json.Decoder(kind, dec_hook=number_of_json, float_hook=NumberText), NumberText, str
)
_packed = _Wire(msgspec.msgpack.Decoder, float | int, Ext | str)
_decode_json, _decode_packed = _json.frame, _packed.frame


def decode(frame: bytes) -> list[Any]:
    """The messages of a frame of which all types are known; raises one of DECODE_FAILURES otherwise.

    MessagePack begins with a byte of 0x80 or more, which no JSON does.
    """
    return _decode_packed(frame) if frame[:1] >= b"\x80" else _decode_json(frame)


def decode_carefully(frame: bytes) -> list[Any]:
    """The messages of a frame, `Unknown` among them; raises Malformed, naming field and value."""
    if not frame:
        raise Malformed("the frame is empty", byte=0)
    packed = frame[:1] >= b"\x80"
    wire = _packed if packed else _json
    try:
        parts = [bytes(part) for part in wire.parts(frame)]
    except DECODE_FAILURES as error:
        raise _malformed(error, frame, "", packed=packed) from None
    return [_decode_part(wire, part, f"[{index}].", packed=packed) for index, part in enumerate(parts)]


def _decode_part(wire: _Wire, part: bytes, prefix: str, *, packed: bool) -> Any:
    try:
        name = wire.outline(part).type
        known = wire.one.get(name)
        return Unknown(name or "no type") if known is None else known(part)
    except DECODE_FAILURES as error:
        raise _malformed(error, part, prefix, packed=packed) from None


def _malformed(error: Exception, document: bytes, prefix: str, *, packed: bool) -> Malformed:
    if not packed:
        return malformed_of(error, document, prefix)
    if "truncated" in str(error):
        return Malformed("the MessagePack ends too early", byte=len(document))
    # The finder of values reads JSON; it finds nothing in these bytes, and the field is named all the same.
    return malformed_of(error, document, prefix)
