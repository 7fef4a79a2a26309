"""Coinbase Advanced Trade frames for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.feed.coinbase import CoinbaseParser
from engine.model.kinds import InstrumentData
from engine.model.rows import RowBuffer
from tests.helpers.frames import SOCKET, TS, Row, rows_of

BTC = InstrumentData(
    key="BTC-USD.coinbase",
    symbol="BTC-USD",
    venue="coinbase",
    price_decimals=2,
    size_decimals=8,
    price_increment="0.01",
    size_increment="0.00000001",
    base="BTC",
    quote="USD",
)
ETH = msgspec.structs.replace(BTC, key="ETH-USD.coinbase", symbol="ETH-USD", base="ETH")
TIME = "2026-09-07T23:37:22.674409123Z"
TIME_NS = 1_788_824_242_674_409_123
Levels = Sequence[tuple[str, str]]


def parser(*definitions: InstrumentData, **other: Any) -> CoinbaseParser:
    """A parser of BTC-USD (number 1), or of these."""
    known = definitions or (BTC,)
    numbered = {d.symbol: (number, d) for number, d in enumerate(known, start=1)}
    return CoinbaseParser(numbered, SOCKET, **other)


def feed(target: CoinbaseParser, *frames: bytes, ts: int = TS) -> list[Row]:
    """The rows of some frames."""
    rows = RowBuffer()
    for frame in frames:
        target.feed(frame, ts, rows)
    return rows_of(rows)


def message(channel: str, number: int, *events: Any) -> bytes:
    """A message of the connection."""
    return msgspec.json.encode(
        {
            "channel": channel,
            "client_id": "",
            "timestamp": TIME,
            "sequence_num": number,
            "events": list(events),
        }
    )


def levels(
    form: str, bids: Levels, asks: Levels, symbol: str = "BTC-USD", time: str = TIME
) -> dict[str, Any]:
    """An event of a book."""
    return {
        "type": form,
        "product_id": symbol,
        "updates": [
            {"side": side, "event_time": time, "price_level": price, "new_quantity": size}
            for side, of_side in (("bid", bids), ("offer", asks))
            for price, size in of_side
        ],
    }


def book(number: int, form: str, bids: Levels = (), asks: Levels = (), **other: Any) -> bytes:
    """A book message of one event."""
    return message("l2_data", number, levels(form, bids, asks, **other))


def trade(number: int | str, price: str = "21921.73", size: str = "0.06", **other: Any) -> dict[str, Any]:
    """One trade of a message."""
    return {
        "trade_id": str(number),
        "product_id": "BTC-USD",
        "price": price,
        "size": size,
        "side": "BUY",
        "time": TIME,
    } | other


def trades(number: int, *items: dict[str, Any], form: str = "update") -> bytes:
    """A message of trades."""
    return message("market_trades", number, {"type": form, "trades": list(items)})


def numbered(number: int, *trade_numbers: int, form: str = "update") -> bytes:
    """A message of trades with these numbers."""
    return trades(number, *(trade(each) for each in trade_numbers), form=form)


def candles(number: int, *starts: int, form: str = "update", **other: Any) -> bytes:
    """A message of bars that begin at these seconds."""
    bar = {
        "high": "12.00",
        "low": "9.50",
        "open": "10.00",
        "close": "11.00",
        "volume": "3.5",
        "product_id": "BTC-USD",
    } | other
    return message("candles", number, {"type": form, "candles": [bar | {"start": str(s)} for s in starts]})


def heartbeat(number: int) -> bytes:
    """A heartbeat: its time is Go's, its counter a number or a text."""
    event = {
        "current_time": "2026-09-07 23:37:22.674409 +0000 UTC m=+139651.272674714",
        "heartbeat_counter": str(139_651) if number % 2 else 139_651,
    }
    return message("heartbeats", number, event)


def subscriptions(number: int, **channels: list[str]) -> bytes:
    """The answer to a request: all that is subscribed so far."""
    return message("subscriptions", number, {"subscriptions": channels})


ERROR = b'{"type":"error","message":"authentication failure"}'
SNAPSHOT = book(0, "snapshot", [("21921.73", "0.06"), ("21921.30", "0.8")], [("21921.74", "0.5")])
