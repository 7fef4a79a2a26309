"""Binance frames for tests, and rows in a form that can be written down as a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from engine.feed.binance import BinanceParser
from engine.model.kinds import Flag, InstrumentData, Kind, Part, SourceData
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

TS = 1_723_161_255_000_000_000  # receive time of the first frame of a test
MS = 1_723_161_254_900  # a venue's stamp, in ms
SOCKET, REST = 1, 2  # source numbers
DEPTH = SourceData(name="binance-rest", venue="binance", endpoint="depth", symbol="BTCUSDT")

BTC = InstrumentData(
    key="BTCUSDT.binance",
    symbol="BTCUSDT",
    venue="binance",
    price_decimals=2,
    size_decimals=5,
    price_increment="0.01",
    size_increment="0.00001",
)
ETH = msgspec.structs.replace(BTC, key="ETHUSDT.binance", symbol="ETHUSDT", size_decimals=4)


class Row(NamedTuple):
    """A row as a test states it. `wire`: whether it carries the frame."""

    kind: Kind
    side: int = 0
    price: int = 0
    size: int = 0
    id: int = 0
    flags: Flag = Flag(0)
    part: Part = Part.NONE
    ts_venue: int | None = None
    instrument: int = 1
    source: int = SOCKET
    data: Any = None
    wire: bool = False
    ts: int = TS


def rows_of(rows: RowBuffer) -> list[Row]:
    """Every row of a buffer."""
    data, result = iter(rows.data), []
    for row in rows.view():
        text = next(data) if row["data_length"] >= 0 else None
        stamp = int(row["ts_venue"])
        result.append(
            Row(
                kind=Kind(int(row["kind"])),
                side=int(row["side"]),
                price=int(row["price"]),
                size=int(row["size"]),
                id=int(row["id"]),
                flags=Flag(int(row["flags"])),
                part=Part(int(row["part"])),
                ts_venue=None if stamp == NULL_TIME else stamp,
                instrument=int(row["instrument"]),
                source=int(row["source"]),
                data=None if text is None else msgspec.json.decode(text),
                wire=bool(row["wire_length"] >= 0),
                ts=int(row["ts"]),
            )
        )
    return result


def parser(*definitions: InstrumentData) -> BinanceParser:
    """A parser of BTCUSDT (number 1), or of these."""
    known = definitions or (BTC,)
    return BinanceParser({d.symbol: (number, d) for number, d in enumerate(known, start=1)}, SOCKET)


def feed(target: BinanceParser, *frames: bytes, ts: int = TS) -> list[Row]:
    """The rows of some frames, each received a microsecond after the one before."""
    rows = RowBuffer()
    for index, frame in enumerate(frames):
        target.feed(frame, ts + index * 1_000, rows)
    return rows_of(rows)


def feed_depth(target: BinanceParser, body: bytes, source: SourceData = DEPTH, ts: int = TS) -> list[Row]:
    """The rows of a REST answer."""
    rows = RowBuffer()
    target.feed_rest(source, body, ts, rows, REST)
    return rows_of(rows)


def combined(stream: str, data: dict[str, Any]) -> bytes:
    """A frame of a combined stream."""
    return msgspec.json.encode({"stream": stream, "data": data})


def trade_data(
    number: int, price: str = "61837.63000000", size: str = "0.02000000", **more: Any
) -> dict[str, Any]:
    """The inner object of a trade message."""
    return {
        "e": "trade",
        "E": MS + 1,
        "s": "BTCUSDT",
        "t": number,
        "p": price,
        "q": size,
        "T": MS,
        "m": True,
        "M": True,
        **more,
    }


def trade(number: int, price: str = "61837.63000000", size: str = "0.02000000", **more: Any) -> bytes:
    """A trade frame."""
    return combined("btcusdt@trade", trade_data(number, price, size, **more))


def depth_data(
    first: int, last: int, bids: Any = (), asks: Any = (), symbol: str = "BTCUSDT"
) -> dict[str, Any]:
    """The inner object of a depth update."""
    return {"e": "depthUpdate", "E": MS, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}


def depth(first: int, last: int, bids: Any = (("10.00", "1"),), asks: Any = ()) -> bytes:
    """A depth update frame."""
    return combined("btcusdt@depth@100ms", depth_data(first, last, bids, asks))


def snapshot(last: int, bids: Any = (("10.00", "5"),), asks: Any = (("11.00", "6"),)) -> bytes:
    """The body of a depth answer."""
    return msgspec.json.encode({"lastUpdateId": last, "bids": bids, "asks": asks})
