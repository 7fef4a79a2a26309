"""Kraken frames for tests, written as text because the digits of their numbers count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec

from engine.feed.kraken import KrakenParser
from engine.model.kinds import InstrumentData
from engine.model.rows import RowBuffer
from tests.helpers.frames import SOCKET, TS, Row, rows_of

BTC = InstrumentData(
    key="BTC/USD.kraken",
    symbol="BTC/USD",
    venue="kraken",
    price_decimals=1,
    size_decimals=8,
    price_increment="0.1",
    size_increment="0.00000001",
    base="BTC",
    quote="USD",
)
ETH = msgspec.structs.replace(BTC, key="ETH/USD.kraken", symbol="ETH/USD", price_decimals=2, base="ETH")
TIME = "2026-08-16T23:37:05.000001Z"
TIME_NS = 1_786_923_425_000_001_000
Levels = Sequence[tuple[str, str]]


def parser(*definitions: InstrumentData) -> KrakenParser:
    """A parser of BTC/USD (number 1), or of these."""
    known = definitions or (BTC,)
    return KrakenParser({d.symbol: (number, d) for number, d in enumerate(known, start=1)}, SOCKET)


def feed(target: KrakenParser, *frames: bytes, ts: int = TS) -> list[Row]:
    """The rows of some frames."""
    rows = RowBuffer()
    for frame in frames:
        target.feed(frame, ts, rows)
    return rows_of(rows)


def checksum(bids: Levels, asks: Levels) -> int:
    """By the letter of the venue's guide; sides best first."""
    text = "".join(
        number.replace(".", "").lstrip("0")
        for side in (asks[:10], bids[:10])
        for level in side
        for number in level
    )
    return crc32(text.encode())


def levels(side: Levels) -> str:
    """A list of levels as it is sent."""
    return "[" + ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side) + "]"


def book(
    form: str,
    bids: Levels,
    asks: Levels,
    crc: int | None = None,
    *,
    symbol: str = "BTC/USD",
    time: str = TIME,
) -> bytes:
    """A book message; its checksum is that of these levels unless another one is given."""
    number = checksum(bids, asks) if crc is None else crc
    stamp = f',"timestamp":"{time}"' if time else ""
    return (
        f'{{"channel":"book","type":"{form}","data":[{{"symbol":"{symbol}","bids":{levels(bids)},'
        f'"asks":{levels(asks)},"checksum":{number}{stamp}}}]}}'
    ).encode()


def trade_item(number: int, price: str = "45283.4", qty: str = "0.50000000", **other: Any) -> str:
    """One trade of a message."""
    item = {"symbol": "BTC/USD", "side": "sell", "ord_type": "market", "timestamp": TIME} | other
    rest = ",".join(f'"{name}":{msgspec.json.encode(value).decode()}' for name, value in item.items())
    return f'{{{rest},"price":{price},"qty":{qty},"trade_id":{number}}}'


def trades(*items: str, form: str = "update") -> bytes:
    """A trade message."""
    return f'{{"channel":"trade","type":"{form}","data":[{",".join(items)}]}}'.encode()


def numbered(*numbers: int, form: str = "update") -> bytes:
    """A trade message of trades with these numbers."""
    return trades(*(trade_item(number) for number in numbers), form=form)


def bar(
    minute: int,
    close: str = "11.0",
    volume: str = "3.00000000",
    *,
    count: int = 2,
    symbol: str = "BTC/USD",
    interval: int = 1,
) -> str:
    """One bar of a message: it begins at that minute of the hour."""
    return (
        f'{{"symbol":"{symbol}","open":10.0,"high":12.0,"low":9.5,"close":{close},"trades":{count},'
        f'"volume":{volume},"vwap":10.5,"interval_begin":"2026-08-16T23:{minute:02}:00.000000000Z",'
        f'"interval":{interval},"timestamp":"2026-08-16T23:{minute + 1:02}:00.000000Z"}}'
    )


def bars(*items: str, form: str = "update") -> bytes:
    """An ohlc message."""
    return (f'{{"channel":"ohlc","type":"{form}","timestamp":"{TIME}","data":[{",".join(items)}]}}').encode()


def ack(channel: str = "book", symbol: str = "BTC/USD", method: str = "subscribe", **result: Any) -> bytes:
    """The answer to a request, for one symbol."""
    return msgspec.json.encode(
        {
            "method": method,
            "result": {"channel": channel, "symbol": symbol, "snapshot": True} | result,
            "success": True,
            "time_in": TIME,
            "time_out": TIME,
        }
    )


def refusal(error: str, **other: Any) -> bytes:
    """The answer to a request that was refused."""
    return msgspec.json.encode(
        {"error": error, "method": "subscribe", "success": False, "time_in": TIME, "time_out": TIME} | other
    )


HEARTBEAT = b'{"channel":"heartbeat"}'
STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":15113583034416118705}]}'
)
PONG = b'{"method":"pong","req_id":99,"time_in":"2026-08-16T23:37:05.1Z","time_out":"2026-08-16T23:37:05.2Z"}'
TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":45283.5,"bid_qty":0.10000000,'
    '"ask":45285.2,"ask_qty":0.00100000,"last":45283.4,"volume":12.5,"vwap":45000.1,"low":44000.0,'
    f'"high":46000.0,"change":-10.5,"change_pct":-0.02,"timestamp":"{TIME}"}}]}}'
).encode()

# The example of the venue's checksum guide, and the checksum that is published with it.
GUIDE_BIDS = [
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
]
GUIDE_ASKS = [
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
]
GUIDE_CHECKSUM = 3_310_070_434
SNAPSHOT = book("snapshot", GUIDE_BIDS, GUIDE_ASKS)
