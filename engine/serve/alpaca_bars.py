"""Bars as Alpaca makes them from trades: minutes, revised when a late trade comes, and longer.

A minute's bar goes out as soon as the minute is over. A trade that comes later than that with a stamp in the
minute changes the bar, and the changed one goes out as an updated bar when half of the running minute is
over. A coin's bar is there for every minute: without trades it shows the middle of the quotes and no volume.

Longer bars are put together from minutes. Days begin at midnight in New York for stocks, in Chicago for
coins; weeks on their Monday, months on their first. Sums are integers at 8 decimals (quote sums at 16).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytz

from engine.model.units import SECOND_NS
from engine.serve.alpaca_symbols import CRYPTO
from engine.serve.alpaca_wire import Stamp

MINUTE_NS = 60 * SECOND_NS
_KEPT = 20_000  # minutes: two weeks of a market that never closes
_SCALE = 10**8
_TIMEFRAME = re.compile(r"([1-9][0-9]?)(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_SHORT = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_COUNTS = {
    "Min": range(1, 60),
    "Hour": range(1, 24),
    "Day": range(1, 2),
    "Week": range(1, 2),
    "Month": (1, 2, 3, 4, 6, 12),
}
_ZONES = {True: pytz.timezone("America/Chicago"), False: pytz.timezone("America/New_York")}


class Timeframe(NamedTuple):
    """A bar's length: how many of which unit."""

    number: int
    unit: str


def timeframe_of(text: str) -> Timeframe | None:
    """`5Min`, `1Hour`, `1Day` and their short forms; None for what the venue does not make."""
    found = _TIMEFRAME.fullmatch(text)
    if found is None:
        return None
    unit = _SHORT.get(found[2], found[2])
    count = int(found[1])
    return Timeframe(count, unit) if count in _COUNTS[unit] else None


class Bar(msgspec.Struct):
    """One interval's trades in sum."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote_volume: int = 0
    count: int = 0
    first_ns: int = 0  # stamps of the trades that opened and closed it: a late one may come before both
    last_ns: int = 0

    def take(self, price: int, size: int, time_ns: int) -> None:
        """Add one trade, in whatever order."""
        if not self.count:
            self.open = self.high = self.low = self.close = price
            self.first_ns = self.last_ns = time_ns
        self.high, self.low = max(self.high, price), min(self.low, price)
        if time_ns >= self.last_ns:
            self.close, self.last_ns = price, time_ns
        elif time_ns < self.first_ns:
            self.open, self.first_ns = price, time_ns
        self.volume += size
        self.quote_volume += price * size
        self.count += 1

    def absorb(self, later: Bar) -> None:
        """Add a bar that follows this one."""
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.quote_volume += later.quote_volume
        self.count += later.count

    def shown(self) -> dict[str, Any]:
        """As the venue writes it, but for `T` and `S`."""
        return {
            "o": _number(self.open),
            "h": _number(self.high),
            "l": _number(self.low),
            "c": _number(self.close),
            "v": _number(self.volume),
            "t": Stamp(self.start_ns),
            "n": self.count,
            "vw": round(self.quote_volume / self.volume / _SCALE, 6) if self.volume else 0,
        }


class BarSeries:
    """The minutes of one symbol, and its day."""

    def __init__(self, kind: str) -> None:
        self._crypto = kind == CRYPTO
        self._minutes: dict[int, Bar] = {}  # by start, oldest first
        self._open_ns = 0  # the running minute's start
        self._revised: set[int] = set()
        self.middle = 0  # of the last quote

    def take(self, time_ns: int, price: int, size: int) -> None:
        """A trade by its stamp; into a minute whose bar is out already, it counts as a revision."""
        start = time_ns - time_ns % MINUTE_NS
        bar = self._minutes.get(start)
        if bar is None:
            bar = self._add(Bar(start, price, price, price, price))
        bar.take(price, size, time_ns)
        if start < self._open_ns:
            self._revised.add(start)

    def close_minute(self, now_ns: int) -> Bar | None:
        """A new minute has begun: the bar of the one that is over, if there is one."""
        before, self._open_ns = self._open_ns, now_ns - now_ns % MINUTE_NS
        if not before:
            return None
        bar = self._minutes.get(before)
        if bar is None and self._crypto and self.middle:
            bar = self._add(Bar(before, self.middle, self.middle, self.middle, self.middle))
        return bar

    def revisions(self) -> list[Bar]:
        """Half of a minute is over: past minutes that late trades have changed."""
        starts, self._revised = sorted(self._revised), set()
        return [self._minutes[start] for start in starts if start in self._minutes]

    def today(self, now_ns: int) -> Bar | None:
        """The running day's bar."""
        begin = self.start_of(now_ns - 1, Timeframe(1, "Day"))
        return self._together([b for b in self._minutes.values() if begin <= b.start_ns < now_ns], begin)

    def bars(self, timeframe: Timeframe, start_ns: int, end_ns: int, now_ns: int) -> list[Bar]:
        """All bars that begin between the two, oldest first, made of the minutes that are over."""
        over = now_ns - now_ns % MINUTE_NS
        groups: dict[int, list[Bar]] = {}
        for bar in self._minutes.values():
            if bar.start_ns >= over:
                break
            groups.setdefault(self.start_of(bar.start_ns, timeframe), []).append(bar)
        made = (self._together(bars, start) for start, bars in groups.items() if start_ns <= start <= end_ns)
        return [bar for bar in made if bar is not None]

    def start_of(self, time_ns: int, timeframe: Timeframe) -> int:
        """When the bar that holds a moment begins."""
        count, unit = timeframe
        if unit == "Min" and 60 % count == 0:
            return time_ns - time_ns % (count * MINUTE_NS)
        zone = _ZONES[self._crypto]
        local = datetime.fromtimestamp(time_ns // SECOND_NS, zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        if unit in {"Min", "Hour"}:
            length = count * MINUTE_NS * (60 if unit == "Hour" else 1)
            begin = _in_ns(zone.localize(midnight))
            return time_ns - (time_ns - begin) % length
        if unit == "Week":
            midnight -= timedelta(days=midnight.weekday())
        elif unit == "Month":
            midnight = midnight.replace(day=1, month=(midnight.month - 1) // count * count + 1)
        return _in_ns(zone.localize(midnight))

    def _add(self, bar: Bar) -> Bar:
        late = bool(self._minutes) and bar.start_ns < next(reversed(self._minutes))
        self._minutes[bar.start_ns] = bar
        if late:
            self._minutes = dict(sorted(self._minutes.items()))
        if len(self._minutes) > _KEPT:
            del self._minutes[next(iter(self._minutes))]
        return bar

    @staticmethod
    def _together(minutes: list[Bar], start_ns: int) -> Bar | None:
        if not minutes:
            return None
        whole = msgspec.structs.replace(minutes[0], start_ns=start_ns)
        for bar in minutes[1:]:
            whole.absorb(bar)
        return whole


def _in_ns(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND_NS


def _number(scaled: int) -> int | float:
    value = scaled / _SCALE
    return int(value) if value.is_integer() else value
