"""Klines made from trades, for the local venue's streams and its REST answers.

Two series per symbol are kept, of seconds and of minutes; every longer interval is put together from
minutes when somebody asks. Sums are integers at 8 decimals, so nothing is rounded until a text is made.
Weeks begin on Monday and months on the first, as on Binance: in UTC, or by a clock that is `zone_s` ahead.

Only what traded is kept. An interval without trades, after the first one with some, is told as the venue
tells it: flat at the last price, no volume, the ids -1.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from engine.model.units import format_decimal

if TYPE_CHECKING:
    from collections.abc import Iterable

_MINUTE = 60
_HOUR = 3_600
_DAY = 86_400
INTERVAL_SECONDS = {
    "1s": 1,
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 0,  # by the calendar
}
_FIRST_MONDAY = 4 * _DAY  # 1970-01-05
_DECIMALS = 8
_KEPT = {"1s": 1_000, "1m": 10_080}
_NO_TRADE = -1


def interval_start(seconds: int, interval: str, zone_s: int = 0) -> int:
    """When the interval that holds `seconds` (Unix time) began."""
    local = seconds + zone_s
    if interval == "1M":
        moment = datetime.fromtimestamp(local, UTC)
        first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) - zone_s
    length = INTERVAL_SECONDS[interval]
    origin = _FIRST_MONDAY if interval == "1w" else 0
    return seconds - (local - origin) % length


def interval_end(start: int, interval: str, zone_s: int = 0) -> int:
    """When the interval that began at `start` ends: the next one's start."""
    if interval == "1M":
        return interval_start(start + 32 * _DAY, interval, zone_s)
    return start + INTERVAL_SECONDS[interval]


def earliest_start(start: int, interval: str, count: int, zone_s: int = 0) -> int:
    """The start of an interval at most `count` before the one that began at `start`."""
    length = INTERVAL_SECONDS[interval] or 28 * _DAY
    return interval_start(start - count * length, interval, zone_s)


def scaled(text: str) -> int:
    """A venue's decimal text as an integer at 8 decimals; further digits must be zeros."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction[:_DECIMALS].ljust(_DECIMALS, "0"))


class Candle(msgspec.Struct):
    """One interval's trades in sum. Prices and volumes at 8 decimals, quote volumes at 16."""

    start: int
    open: int
    high: int
    low: int
    close: int
    first_id: int
    last_id: int
    volume: int = 0
    quote_volume: int = 0
    buy_volume: int = 0
    buy_quote_volume: int = 0
    count: int = 0

    def take(self, price: int, size: int, trade_id: int, *, buyer_takes: bool) -> None:
        """Add one trade."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.last_id = trade_id
        self.count += 1
        self.volume += size
        self.quote_volume += price * size
        if buyer_takes:
            self.buy_volume += size
            self.buy_quote_volume += price * size

    def absorb(self, later: Candle) -> None:
        """Add a candle that follows this one."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.last_id = later.last_id
        self.count += later.count
        self.volume += later.volume
        self.quote_volume += later.quote_volume
        self.buy_volume += later.buy_volume
        self.buy_quote_volume += later.buy_quote_volume


def _text(value: int) -> str:
    return format_decimal(value, _DECIMALS)


def _quote_text(value: int) -> str:
    return format_decimal(value // 10**_DECIMALS, _DECIMALS)


class _Merged(msgspec.Struct):
    """What is put together of an interval: the members that no trade can change any more."""

    candle: Candle
    last: int  # when the last of them began


class CandleSeries:
    """The candles of one symbol; the oldest are forgotten (1,000 seconds and a week of minutes are kept).

    A trade changes the last candle alone. So of an interval that is asked for again and again the others
    are put together once; it keeps those that are forgotten meanwhile.
    """

    def __init__(self) -> None:
        self._kept = {name: deque[Candle](maxlen=size) for name, size in _KEPT.items()}
        self._merged: dict[tuple[str, int], _Merged] = {}  # of each interval and clock: the last asked for
        self._closed_s = 0
        self.changes = 0

    def close(self, seconds: int) -> None:
        """Whatever ended by `seconds` (Unix time) is closed, and does not change while time goes on."""
        self._closed_s = seconds

    def take(self, time_us: int, price: str, size: str, trade_id: int, *, buyer_takes: bool) -> None:
        """Add one trade at its time."""
        at, quantity = scaled(price), scaled(size)
        # A late trade counts for the candle that is open: a closed one never changes.
        seconds = max(time_us // 1_000_000, self._closed_s)
        for interval, candles in self._kept.items():
            start = interval_start(seconds, interval)
            if not candles or candles[-1].start < start:
                candles.append(Candle(start, at, at, at, at, trade_id, trade_id))
            candles[-1].take(at, quantity, trade_id, buyer_takes=buyer_takes)
        self.changes += 1

    def candles(self, interval: str) -> list[Candle]:
        """The candles with trades that can be told, oldest first (copies where put together)."""
        if interval in self._kept:
            return list(self._kept[interval])
        return _merge(self._kept["1m"], interval)

    def filled(self, interval: str, until_s: int) -> list[Candle]:
        """Every candle up to the one that is open at `until_s` (Unix time), those without trades too.

        Of a very long time only the last are told: as many as are kept of the interval they are made of.
        """
        traded = self.candles(interval)
        if not traded:
            return []
        most = _KEPT["1s" if interval == "1s" else "1m"]
        end = interval_end(interval_start(max(until_s, traded[-1].start), interval), interval)
        earliest = earliest_start(end, interval, most)
        told: list[Candle] = []
        for candle, following in zip(traded, [*(c.start for c in traded[1:]), end], strict=True):
            told.append(candle)
            start = max(interval_end(candle.start, interval), earliest)
            while start < following:
                told.append(_flat(candle, start))
                start = interval_end(start, interval)
        return told[-most:]

    def at(self, interval: str, start: int, zone_s: int = 0) -> Candle | None:
        """The candle that began at `start`, or None where nothing had traded yet, or it is forgotten."""
        kept = self._kept["1s" if interval == "1s" else "1m"]
        end = interval_end(start, interval, zone_s)
        merged = self._merged.get((interval, zone_s))
        if merged is not None and merged.candle.start != start:
            merged = None
        known_to = start - 1 if merged is None else merged.last
        members: list[Candle] = []
        for candle in reversed(kept):
            if candle.start <= known_to:
                if merged is None and not members:
                    return _flat(candle, start)
                break
            if candle.start < end:
                members.append(candle)
        growing = members.pop(0) if members and members[0] is kept[-1] else None
        for member in reversed(members):
            if merged is None:
                merged = _Merged(msgspec.structs.replace(member, start=start), member.start)
                self._merged[interval, zone_s] = merged
            else:
                merged.candle.absorb(member)
                merged.last = member.start
        if merged is None:
            return None if growing is None else msgspec.structs.replace(growing, start=start)
        whole = msgspec.structs.replace(merged.candle)
        if growing is not None:
            whole.absorb(growing)
        return whole


def _flat(before: Candle, start: int) -> Candle:
    """An interval in which nothing traded."""
    last = before.close
    return Candle(start, last, last, last, last, _NO_TRADE, _NO_TRADE)


def _merge(minutes: Iterable[Candle], interval: str) -> list[Candle]:
    merged: list[Candle] = []
    end = 0
    for minute in minutes:
        if minute.start < end:
            merged[-1].absorb(minute)
        else:
            start = interval_start(minute.start, interval)
            end = interval_end(start, interval)
            merged.append(msgspec.structs.replace(minute, start=start))
    return merged


def kline_payload(
    candle: Candle, symbol: str, interval: str, now_us: int, *, closed: bool, zone_s: int = 0
) -> dict[str, Any]:
    """The stream's payload, times in microseconds."""
    return {
        "e": "kline",
        "E": now_us,
        "s": symbol,
        "k": {
            "t": candle.start * 1_000_000,
            "T": interval_end(candle.start, interval, zone_s) * 1_000_000 - 1,
            "s": symbol,
            "i": interval,
            "f": candle.first_id,
            "L": candle.last_id,
            "o": _text(candle.open),
            "c": _text(candle.close),
            "h": _text(candle.high),
            "l": _text(candle.low),
            "v": _text(candle.volume),
            "n": candle.count,
            "x": closed,
            "q": _quote_text(candle.quote_volume),
            "V": _text(candle.buy_volume),
            "Q": _quote_text(candle.buy_quote_volume),
            "B": "0",
        },
    }


def kline_row(candle: Candle, interval: str) -> list[Any]:
    """One row of the REST answer, times in microseconds."""
    k = kline_payload(candle, "", interval, 0, closed=True)["k"]
    names = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
    return [k[name] for name in names]
