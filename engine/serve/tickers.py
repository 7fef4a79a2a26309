"""The last 24 hours of a symbol in sum, as Binance tells them: over REST, and in the ticker streams.

Made from the minutes that the venue keeps anyway. The window is whole minutes that began at most 24 hours
ago; the venue's own rolls by the second, which a local market of some minutes' age cannot show. A symbol
that has not traded has zeros and the ids -1, as there. Windows of one and four hours are made likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.model.units import format_decimal
from engine.serve.candles import scaled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.serve.candles import Candle

DAY_US = 86_400_000_000
AVERAGE_MINUTES = 5
_MINUTE_US = 60_000_000
_DECIMALS = 8
_ZERO = "0.00000000"

# Stream's letter: REST's name. Stamps are microseconds in both.
_TICKER = {
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "x": "prevClosePrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "b": "bidPrice",
    "B": "bidQty",
    "a": "askPrice",
    "A": "askQty",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
}
_WINDOW = {letter: _TICKER[letter] for letter in "pPohlcwvqOCFLn"}
_MINI = {letter: _TICKER[letter] for letter in "cohlvq"}
MINI_NAMES = (
    *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
    *("openTime", "closeTime", "firstId", "lastId", "count"),
)


def window_statistics(
    symbol: str,
    minutes: Sequence[Candle],
    now_us: int,
    last_size: str,
    best: Mapping[str, str],
    window_us: int = DAY_US,
) -> dict[str, Any]:
    """REST's answer for one symbol, stamps in microseconds.

    Args:
        symbol: its name.
        minutes: all that are known, oldest first.
        now_us: the end of the window.
        last_size: of the last trade; "" when there was none.
        best: `b`, `B`, `a`, `A` as a bookTicker has them; what is missing is 0.
        window_us: how long it is.
    """
    from_s = (now_us - window_us) // 1_000_000
    day = [candle for candle in minutes if candle.start >= from_s]
    before = next((candle.close for candle in reversed(minutes) if candle.start < from_s), None)
    volume = sum(candle.volume for candle in day)
    quote = sum(candle.quote_volume for candle in day)
    opened, last = (day[0].open, day[-1].close) if day else (0, 0)
    change = last - opened
    return {
        "symbol": symbol,
        "priceChange": _text(change),
        "priceChangePercent": format_decimal(change * 100_000 // opened if opened else 0, 3),
        "weightedAvgPrice": _text(quote // volume if volume else 0),
        "prevClosePrice": _text(opened if before is None else before),
        "lastPrice": _text(last),
        "lastQty": last_size or _ZERO,
        "bidPrice": best.get("b", _ZERO),
        "bidQty": best.get("B", _ZERO),
        "askPrice": best.get("a", _ZERO),
        "askQty": best.get("A", _ZERO),
        "openPrice": _text(opened),
        "highPrice": _text(max((candle.high for candle in day), default=0)),
        "lowPrice": _text(min((candle.low for candle in day), default=0)),
        "volume": _text(volume),
        "quoteVolume": _text(quote // 10**_DECIMALS),
        "openTime": now_us - window_us,
        "closeTime": now_us,
        "firstId": day[0].first_id if day else -1,
        "lastId": day[-1].last_id if day else -1,
        "count": sum(candle.count for candle in day),
    }


def ticker_payload(statistics: Mapping[str, Any], *, mini: bool) -> dict[str, Any]:
    """The payload of `@ticker` or `@miniTicker`, stamps in microseconds."""
    names = _MINI if mini else _TICKER
    return {
        "e": "24hrMiniTicker" if mini else "24hrTicker",
        "E": statistics["closeTime"],
        "s": statistics["symbol"],
        **{letter: statistics[name] for letter, name in names.items()},
    }


def window_payload(statistics: Mapping[str, Any], window: str) -> dict[str, Any]:
    """The payload of `@ticker_<window>`, stamps in microseconds; the window begins on a whole minute."""
    opened_us = -(-statistics["openTime"] // _MINUTE_US) * _MINUTE_US
    return {
        "e": f"{window}Ticker",
        "E": statistics["closeTime"],
        "s": statistics["symbol"],
        **{letter: statistics[name] for letter, name in _WINDOW.items()},
        "O": opened_us,
    }


def average_payload(symbol: str, price: str, last_us: int, now_us: int) -> dict[str, Any]:
    """The payload of `@avgPrice`; `last_us` is the time of the last trade."""
    return {"e": "avgPrice", "E": now_us, "s": symbol, "i": f"{AVERAGE_MINUTES}m", "w": price, "T": last_us}


def average_price(minutes: Sequence[Candle], now_us: int) -> str:
    """Volume-weighted, over the minutes that began at most five ago; the last price without trades."""
    from_s = now_us // 1_000_000 - AVERAGE_MINUTES * 60
    recent = [candle for candle in minutes if candle.start >= from_s]
    volume = sum(candle.volume for candle in recent)
    if not volume:
        return _text(minutes[-1].close) if minutes else _ZERO
    return _text(sum(candle.quote_volume for candle in recent) // volume)


def best_of(quote: Mapping[str, Any] | None, top: Mapping[str, Any]) -> dict[str, str]:
    """The best prices: of the last bookTicker, else of a book's first levels; empty when there are none."""
    if quote is not None:
        return {name: quote[name] for name in ("b", "B", "a", "A")}
    found: dict[str, str] = {}
    for side, price, size in (("bids", "b", "B"), ("asks", "a", "A")):
        if top[side]:
            found[price], found[size] = top[side][0]
    return found


def quote_volume(price: str, size: str) -> str:
    """What a trade cost, in the quote asset."""
    return _text(scaled(price) * scaled(size) // 10**_DECIMALS)


def _text(value: int) -> str:
    return format_decimal(value, _DECIMALS)
