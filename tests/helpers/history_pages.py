"""Pages of Binance's REST history: entries as the venue writes them, and a stream that is given them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from engine.feed.binance_history import BarStream, TradeStream
from engine.feed.history import Page
from engine.model.units import MILLISECOND_NS as MS
from engine.model.units import SECOND_NS

MINUTE, HOUR, DAY = 60 * SECOND_NS, 3_600 * SECOND_NS, 86_400 * SECOND_NS


def aggregate(number: int, ns: int, *, price: str = "60000.01000000", first: int = -1) -> dict[str, Any]:
    """One entry of aggTrades, in milliseconds."""
    first = number if first < 0 else first
    return {
        "a": number,
        "p": price,
        "q": "0.10000000",
        "f": first,
        "l": first,
        "T": ns // MS,
        "m": number % 2 == 0,
    }


def single(number: int, ns: int) -> dict[str, Any]:
    """One entry of historicalTrades."""
    return {"id": number, "price": "60000.01", "qty": "0.1", "time": ns // MS, "isBuyerMaker": False}


def candle(start: int, length: int = MINUTE, *, close: str = "2.0") -> list[Any]:
    """One entry of klines."""
    end = (start + length) // MS - 1
    return [start // MS, "1.0", "3.0", "0.5", close, "7.5", end, "9.0", 4, "1.0", "1.0", "0"]


def asked(stream: TradeStream | BarStream) -> dict[str, str]:
    """What the next request says."""
    path = stream.next()
    assert path is not None
    return dict(parse_qsl(urlsplit(path).query))


def give(stream: TradeStream | BarStream, items: list[Any]) -> Page:
    """Answer the next request."""
    assert stream.next() is not None
    return stream.take(json.dumps(items).encode())


def ids(page: Page) -> list[int]:
    """The ids of a page's trades."""
    return [item.id for item in page.items]
