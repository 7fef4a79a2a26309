"""Alpaca frames for tests, in both encodings, and a parser of a few symbols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from engine.feed.alpaca import AlpacaParser
from engine.feed.alpaca_values import text_time
from engine.log.check import check
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import EndData, Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS, NULL_TIME, SECOND_NS
from tests.helpers.frames import Row, rows_of

TS = 1_723_161_255_000_000_000  # receive time of the first frame of a test
SOURCE = 1
STEP_NS = 100 * MILLISECOND_NS  # between the frames of a log
AT = "2024-07-24T07:56:53.639713735Z"
AT_NS = 1_721_807_813_639_713_735
TIMES = {"t", "created_at", "updated_at"}

AAPL = InstrumentData(
    key="AAPL.alpaca",
    symbol="AAPL",
    venue="alpaca",
    price_decimals=4,
    size_decimals=0,
    price_increment="0.01",
    size_increment="1",
)
AMD = msgspec.structs.replace(AAPL, key="AMD.alpaca", symbol="AMD")
BTC = InstrumentData(
    key="BTC/USD.alpaca-crypto",
    symbol="BTC/USD",
    venue="alpaca-crypto",
    price_decimals=2,
    size_decimals=4,
    price_increment="0.01",
    size_increment="0.0001",
)
ETH = msgspec.structs.replace(BTC, key="ETH/USD.alpaca-crypto", symbol="ETH/USD")
KNOWN = (AAPL, AMD, BTC, ETH)  # numbers 1 to 4

Message = dict[str, Any]
Encoding = Callable[..., bytes]


def json_frame(*messages: Message) -> bytes:
    """A frame as JSON."""
    return msgspec.json.encode(list(messages))


def timestamp(ns: int) -> Ext:
    """MessagePack's Timestamp, in the shortest form."""
    seconds, nanoseconds = divmod(ns, SECOND_NS)
    if 0 <= seconds < 1 << 34:
        if not nanoseconds and seconds < 1 << 32:
            return Ext(-1, seconds.to_bytes(4, "big"))
        return Ext(-1, (nanoseconds << 34 | seconds).to_bytes(8, "big"))
    return Ext(-1, nanoseconds.to_bytes(4, "big") + seconds.to_bytes(8, "big", signed=True))


def packed_frame(*messages: Message) -> bytes:
    """The same as MessagePack: times that can be read become Timestamps."""
    return msgspec.msgpack.encode([_packed(message) for message in messages])


def _packed(message: Message) -> Message:
    result = dict(message)
    for name in TIMES & set(message):
        ns = text_time(message[name])
        result[name] = timestamp(ns if ns != NULL_TIME else -62_135_596_800 * SECOND_NS)
    return result


ENCODINGS: list[tuple[str, Encoding]] = [("json", json_frame), ("messagepack", packed_frame)]


def parser(*definitions: InstrumentData) -> AlpacaParser:
    """A parser of KNOWN, or of these."""
    known = definitions or KNOWN
    return AlpacaParser({d.symbol: (number, d) for number, d in enumerate(known, start=1)}, SOURCE)


def feed(target: AlpacaParser, *frames: bytes, ts: int = TS) -> list[Row]:
    """The rows of some frames, each received a microsecond after the one before."""
    rows = RowBuffer()
    for index, frame in enumerate(frames):
        target.feed(frame, ts + index * 1_000, rows)
    return rows_of(rows)


def trade(number: int, price: Any = 162.92, size: Any = 3, **more: Any) -> Message:
    """A stock's trade."""
    message = {"T": "t", "S": "AAPL", "i": number, "x": "K", "p": price, "s": size, "z": "C", "t": AT}
    return {**message, "c": ["@", "I"], **more}


def quote(bid: Any = 133.85, ask: Any = 135.77, **more: Any) -> Message:
    """A stock's quote."""
    message = {"T": "q", "S": "AAPL", "bx": "O", "bp": bid, "bs": 4, "ax": "R", "ap": ask, "as": 5}
    return {**message, "c": ["R"], "z": "A", "t": AT, **more}


def bar(kind: str = "b", close: Any = 134.65, **more: Any) -> Message:
    """A bar of a minute, or of another kind."""
    prices = {"o": 132.65, "h": 136, "l": 132.12, "c": close}
    message = {"T": kind, "S": "AAPL", **prices, "v": 205, "t": "2024-07-24T07:56:00Z", "n": 16, "vw": 133.7}
    return {**message, **more}


def book(
    bids: Sequence[tuple[Any, Any]] = (),
    asks: Sequence[tuple[Any, Any]] = (),
    *,
    reset: bool = False,
    **more: Any,
) -> Message:
    """A crypto book, or what changed of it."""
    sides = {name: [{"p": p, "s": s} for p, s in levels] for name, levels in (("b", bids), ("a", asks))}
    message: Message = {"T": "o", "S": "BTC/USD", "t": AT, **sides}
    if reset:
        message["r"] = True
    return {**message, **more}


def article(number: int = 7, headline: str = "A thing happened", **more: Any) -> Message:
    """A headline."""
    message = {
        "T": "n",
        "id": number,
        "headline": headline,
        "summary": "What happened, in short.",
        "author": "Somebody",
        "created_at": "2024-09-17T09:02:44Z",
        "updated_at": "2024-09-17T09:02:45Z",
        "url": "https://example.invalid/7",
        "content": "<p>What happened</p>",
        "symbols": ["AAPL", "BTCUSD"],
        "source": "benzinga",
    }
    return {**message, **more}


def later(ns: int) -> str:
    """A time so many nanoseconds after AT, as text."""
    total = AT_NS + ns
    seconds = total // SECOND_NS - AT_NS // SECOND_NS
    assert 0 <= 53 + seconds < 60, "the minute would have to change too"
    return f"2024-07-24T07:56:{53 + seconds:02d}.{total % SECOND_NS:09d}Z"


def recorded(path: Path, known: Sequence[InstrumentData], frames: Sequence[Sequence[Message]]) -> Path:
    """A log of these frames, as a recorder would have written it."""
    target = AlpacaParser({d.symbol: (number, d) for number, d in enumerate(known, start=1)}, SOURCE)
    writer = LogWriter(path, LogHeader())
    rows = writer.rows
    source = SourceData(name="alpaca", venue="alpaca")
    rows.append(TS - 100, Kind.SOURCE, source=SOURCE, flags=Flag.LAST, data=encode_canonical(source))
    for number, definition in enumerate(known, start=1):
        data = encode_canonical(definition)
        rows.append(TS - 100 + number, Kind.INSTRUMENT, instrument=number, flags=Flag.LAST, data=data)
    for index, messages in enumerate(frames):
        target.feed(packed_frame(*messages), TS + index * STEP_NS, rows)
    end = TS + len(frames) * STEP_NS
    rows.append(end, Kind.END, flags=Flag.LAST, data=encode_canonical(EndData("test")))
    writer.flush()
    writer.abandon()
    assert not check(path).broken_rules
    return path
