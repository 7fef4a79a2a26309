"""Binance's REST history: aggTrades, historicalTrades and klines. engine.feed.history says what is promised.

Trades are found by time and then followed by id. The venue takes a start and an end for aggTrades, of no more
than an hour on older deployments, so empty hours are passed over one by one ("seek"); from the first trade
on, `fromId` gives a thousand at a time without a hole ("follow"). When nothing follows although the end has
not been reached, the rest is sought by time once more, from the last trade's own millisecond: if that finds
trades, the ids between are missing and the hole is said. historicalTrades knows ids only, so its first is
taken from the aggregate trade at the time; where such ids bring nothing, binance_leaps says where to go on.

Klines are asked for by time. A minute in which nobody traded has no kline at some deployments; that is no
hole in the data.

A cache or a server that lags may answer with nothing, or with the page before, where there is more. Such a
page is not believed at once: it is asked for again. Klines have no ids that would show what it hid, so a
second question follows, from the other side: which bar is the last one before the end? If there is none
after those that came, that was all. Otherwise the fetch goes on from further ahead, by 1, 2, 4 … bars, until
bars come again.

Stamps are asked for in microseconds where the deployment can (a header); both units are told by magnitude.

Source: binance-spot-api-docs, rest-api.md (2026-07).
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import msgspec

from engine.feed.binance_leaps import HOUR_NS, Leaps
from engine.feed.binance_messages import LAST_MILLISECOND, Number, Stamp, nanoseconds
from engine.feed.decimals import Mantissas
from engine.feed.history import IMPORTED, LAST, Hole, Page, Placed, append_hole
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.model.errors import UsageError
from engine.model.kinds import BUY, NO_SIDE, SELL, BarData, Flag, Kind, Part, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MICROSECOND_NS, MILLISECOND_NS

LIMIT = 1_000  # of one page
_FEW = 10  # where one is enough
AGAIN_TRADES, AGAIN_BARS = 1, 2  # times that a page which brought nothing is asked for once more
_DAY_NS = 86_400_000_000_000
_SHORTEST_MONTH_NS, _LONGEST_MONTH_NS = 28 * _DAY_NS, 31 * _DAY_NS
AGGREGATES, TRADES, KLINES = "aggTrades", "historicalTrades", "klines"
_AGGREGATE = int(Flag.AGGREGATE)
_FINAL = int(Flag.FINAL)
_REJECTED = int(Flag.REJECTED_TICK)
# Lengths in ns; a month has none.
INTERVALS = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "6h": 21_600,
    "8h": 28_800,
    "12h": 43_200,
    "1d": 86_400,
    "3d": 259_200,
    "1w": 604_800,
    "1M": 0,
}


class Aggregate(msgspec.Struct, gc=False):
    """One entry of aggTrades."""

    id: Number = msgspec.field(name="a")
    price: str = msgspec.field(name="p")
    size: str = msgspec.field(name="q")
    time: Stamp = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")
    first: int = msgspec.field(name="f", default=-1)
    last: int = msgspec.field(name="l", default=-1)


class Trade(msgspec.Struct, gc=False):
    """One entry of historicalTrades."""

    id: Number
    price: str
    size: str = msgspec.field(name="qty")
    time: Stamp
    buyer_is_maker: bool = msgspec.field(name="isBuyerMaker")


class Candle(msgspec.Struct, array_like=True, gc=False):
    """One entry of klines; what follows has no place in a row."""

    start: Stamp
    open: str
    high: str
    low: str
    close: str
    volume: str
    end: Stamp
    quote_volume: str
    trades: Number


_aggregates = msgspec.json.Decoder(list[Aggregate])
_trades = msgspec.json.Decoder(list[Trade])
_candles = msgspec.json.Decoder(list[Candle])
_DECIMAL = re.compile(r"[0-9]{1,19}(\.[0-9]{1,18})?")


def interval_ns(interval: str) -> int:
    """Length of a bar, 0 for a month; UsageError for an interval that the venue does not have."""
    if interval not in INTERVALS:
        raise UsageError(
            f'--interval "{interval}": binance has no such bars', hint=f"it has {', '.join(INTERVALS)}"
        )
    return INTERVALS[interval] * 1_000_000_000


def _decode(decoder: msgspec.json.Decoder[list[Any]], body: bytes, *decimals: str) -> list[Any]:
    try:
        items = decoder.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    for item in items:
        for name in decimals:
            if not _DECIMAL.fullmatch(getattr(item, name)):
                raise Malformed("not a decimal number", field=name, value=getattr(item, name))
    return items


def entries_of(body: bytes, *, aggregate: bool) -> list[Any]:
    """The trades of an answer (`Aggregate` or `Trade`), by growing id. Raises Malformed."""
    entries = _decode(_aggregates if aggregate else _trades, body, "price", "size")
    _check_ids(entries)
    return entries


def _milliseconds(ns: int) -> int:
    """The first whole millisecond at or after a time."""
    return -(-ns // MILLISECOND_NS)


class TradeStream:
    """aggTrades (the aggregates) or historicalTrades (each trade) of one symbol.

    `carried`: the id of the last trade before `begin`, where the time before was fetched as well; the stream
    then follows it, so that nothing is lost between the two.
    """

    def __init__(
        self, symbol: str, begin: int, end: int, *, aggregate: bool = True, carried: str = ""
    ) -> None:
        self.symbol, self.begin, self.end = symbol, begin, end
        self.aggregate = aggregate
        self.channel = "aggtrade" if aggregate else "trade"
        self.endpoint = AGGREGATES if aggregate else TRADES
        self._last = _carried_id(carried)  # id of the last trade taken or passed over; -1: none known
        self._first = self._last + 1  # where to follow from
        self._seek = begin
        self._seeking = not carried
        self._ended = False
        self._idle = 0  # pages in a row that brought nothing
        self._behind = begin  # the millisecond of the last trade: others of the same may follow it
        self._named_by = 0  # just behind the aggregate trade whose id is followed; 0: trades have come since
        self._rising = begin  # time of the last row
        self._leaps = Leaps(end)

    @property
    def carried(self) -> str:
        """See the class."""
        return str(self._last) if self._last >= 0 else ""

    @property
    def at(self) -> int:
        """How far it has come."""
        return self.end if self._ended else min(max(self._behind, self._seek), self.end)

    def next(self) -> str | None:
        """Path and query of the next page."""
        if self._ended:
            return None
        name = quote(self.symbol)
        if not self._seeking:
            return f"/api/v3/{self.endpoint}?symbol={name}&fromId={self._first}&limit={LIMIT}"
        first = _milliseconds(self._seek)
        last = _milliseconds(min(self._seek + HOUR_NS, self._leaps.end)) - 1
        if last < first:
            return None
        limit = LIMIT if self.aggregate or self._last >= 0 else _FEW
        return f"/api/v3/{AGGREGATES}?symbol={name}&startTime={first}&endTime={last}&limit={limit}"

    def take(self, body: bytes) -> Page:
        """The trades of the page that `next` asked for."""
        if self._seeking and not self.aggregate:
            return self._take_first_id(_decode(_aggregates, body))
        items = entries_of(body, aggregate=self.aggregate)
        page = Page([])
        if self._leaps.landed and not self._seeking and self._search(items):
            return page
        last, ended = self._last, False
        for item in items:
            if item.id <= last:
                continue  # a page may begin before what was asked for
            if nanoseconds(item.time) >= self.end:
                ended = True
                break
            if last >= 0 and item.id > last + 1:
                page.holes.append(Hole(len(page.items), last + 1, item.id - 1))
            page.items.append(item)
            last = item.id
        # A hole that reaches to the end or over it is seen by the id of the first trade behind.
        if ended and last >= 0 and item.id > last + 1:
            page.holes.append(Hole(len(page.items), last + 1, item.id - 1))
            last = item.id - 1
        self._advance(page, items, last, ended=ended)
        return page

    def append(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        """TRADE rows; a message each."""
        definition = placed.definition
        prices, sizes = Mantissas(definition.price_decimals), Mantissas(definition.size_decimals)
        flags = IMPORTED | LAST | (_AGGREGATE if self.aggregate else 0)
        holes = {hole.index: hole for hole in page.holes}
        source, number, late, append = (
            placed.source,
            placed.instrument,
            placed.feed_latency_ns,
            rows.append_fast,
        )
        for index, item in enumerate(page.items):
            stamp = nanoseconds(item.time)
            # Ids decide the order; a stamp may be a little less than that of the trade before.
            self._rising = ts = max(self._rising, stamp)
            if index in holes:
                append_hole(holes[index], self.channel, ts + late, placed, rows)
            side = SELL if item.buyer_is_maker else BUY
            price, size = prices[item.price], sizes[item.size]
            # The oldest years hold entries of nothing at no price, which the venue keeps for their ids.
            bits = flags if price and size else flags | _REJECTED
            append(
                ts + late, stamp, source, Kind.TRADE, 0, bits, number, side, price, size, item.id, None, None
            )
        if len(page.items) in holes:
            append_hole(holes[len(page.items)], self.channel, self._rising + late, placed, rows)

    def _take_first_id(self, found: list[Aggregate]) -> Page:
        """The aggregate trade at the time names the id to follow from; it is no fact of this stream."""
        _check_ids(found)
        usable = [item for item in found if item.first >= 0 and item.last > self._last]
        if not usable:
            self._pass_over(found)
            return Page([])
        self._seeking, self._idle = False, 0
        self._first = max(usable[0].first, self._last + 1)
        if self._last < 0:
            self._last = self._first - 1  # from this id on, what is missing is a hole
        self._named_by = _after(usable[0].time)
        return Page([])

    def _search(self, items: list[Any]) -> bool:
        """After a leap: look for the first id that brings trades, and take none before. False: none yet."""
        brought = bool(items) and items[-1].id >= self._first
        if not brought and self._idle < AGAIN_TRADES:
            self._idle += 1
            return True
        first = self._leaps.halve(self._first, brought=brought)
        if first is None:
            return False
        self._first, self._idle = first, 0
        return True

    def _advance(self, page: Page, items: list[Any], last: int, *, ended: bool) -> None:
        if ended:
            self._ended = True
        elif page.items:
            self._seeking, self._idle, self._named_by = False, 0, 0
            self._leaps.found()
        elif self._seeking:
            self._pass_over(items)
        elif self._idle < AGAIN_TRADES:
            self._idle += 1
        else:
            # Nothing follows, yet the end is not reached: what lies behind a hole is found by time. Never the
            # same time twice without a trade, whatever the venue answers.
            self._seeking, self._idle = True, 0
            self._seek = max(self._seek, self._behind)
            if self._named_by:
                behind = max(self._seek + MILLISECOND_NS, self._named_by)
                self._seek = self._leaps.in_vain(self._first, behind)
        self._last = max(self._last, last)
        if page.items:
            self._behind = _after(page.items[-1].time) - MILLISECOND_NS
            self._first = self._last + 1

    def _pass_over(self, known: list[Aggregate]) -> None:
        """A page of the time that was sought has nothing, or what is `known` already."""
        behind = _after(known[-1].time) if known else 0
        if behind > self._seek:
            self._seek, self._idle = behind, 0
        elif self._idle < AGAIN_TRADES:
            self._idle += 1
        else:
            self._seek, self._idle = self._leaps.nobody_until(self._seek + HOUR_NS), 0


def _carried_id(text: str) -> int:
    return int(text) if text else -1


def _after(stamp: int) -> int:
    """The first whole millisecond after a stamp."""
    return (nanoseconds(stamp) // MILLISECOND_NS + 1) * MILLISECOND_NS


def _check_ids(items: list[Any]) -> None:
    for before, item in pairwise(items):
        if item.id <= before.id:
            raise Malformed("ids do not grow from entry to entry", field="id", value=str(item.id))


class BarStream:
    """klines of one symbol: bars that lie in [begin, end] whole.

    Where a fetch is cut into days, a bar belongs to the day in which it ends: that is when it is known.
    """

    channel = "bar"
    endpoint = KLINES
    carried = ""

    def __init__(
        self, symbol: str, begin: int, end: int, interval: str, *, first_end: int = 0, last_end: int = 0
    ) -> None:
        """`first_end`, `last_end`: a bar's end must be >= the one and < the other (0: no such bound)."""
        self.symbol, self.begin, self.end = symbol, begin, end
        self.interval = interval
        self._length = interval_ns(interval)
        self._first_end, self._last_end = first_end, last_end
        self._next = begin
        self._shortest = self._length or _SHORTEST_MONTH_NS
        self._follower = begin  # the bar after the last one begins at this time or behind it
        if first_end:
            # Bars that end before are of another day: there is no need to ask for them.
            self._next = max(begin, first_end - (self._length or _LONGEST_MONTH_NS))
        self._idle = 0  # pages in a row that brought nothing
        self._leap = 0  # bars that were passed over last
        self._latest = -1  # start of the last bar there is, where the venue was asked; -1: it was not
        self._ended = False

    @property
    def at(self) -> int:
        """How far it has come."""
        end = self._last_end or self.end
        return end if self._ended else min(self._next, end)

    def next(self) -> str | None:
        """Path and query of the next page."""
        first, last = _milliseconds(self._next), _milliseconds(self._last_end or self.end) - 1
        if self._ended or last < first or not self._has_room:
            return None
        span = f"startTime={first}&endTime={last}&limit={LIMIT}"
        if self._asks_latest:
            span = f"endTime={last}&limit=1"
        return f"/api/v3/{KLINES}?symbol={quote(self.symbol)}&interval={self.interval}&{span}"

    @property
    def _has_room(self) -> bool:
        """Whether a whole bar can still come."""
        end = max(self._next, self._follower) + self._shortest
        return end <= self.end and (not self._last_end or end < self._last_end)

    @property
    def _asks_latest(self) -> bool:
        return self._idle > AGAIN_BARS and self._latest < 0

    def take(self, body: bytes) -> Page:
        """The bars of the page that `next` asked for."""
        items: list[Candle] = _decode(_candles, body, "open", "high", "low", "close", "volume")
        page = Page([])
        if self._asks_latest:
            self._latest = nanoseconds(items[-1].start) if items else 0
            self._go_further()
            return page
        last = self._next - 1
        for item in items:
            start = nanoseconds(item.start)
            if start <= last:
                if start < self._next:
                    continue
                raise Malformed("bars do not follow each other", field="0", value=str(item.start))
            if item.end <= item.start:
                raise Malformed("a bar ends before it begins", field="6", value=str(item.end))
            last = start
            if start >= self.begin and self._is_ours(end_of(item)):
                page.items.append(item)
        if last >= self._next:
            self._next = last + (self._length or MILLISECOND_NS)
            self._follower = last + self._shortest
            self._idle = self._leap = 0
        else:
            self._idle += 1
            if self._idle > AGAIN_BARS and not self._asks_latest:
                self._go_further()
        return page

    def _go_further(self) -> None:
        """Where nothing comes: there is no more, or it lies ahead."""
        if self._next > self._latest or (self._leap and self._next == self._latest):
            self._ended = True
            return
        self._leap = max(2 * self._leap, 1)
        self._next = min(self._next + self._leap * self._shortest, self._latest)

    def _is_ours(self, end: int) -> bool:
        return self._first_end <= end and (not self._last_end or end < self._last_end) and end <= self.end

    def append(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        """BAR rows OPEN, HIGH, LOW, CLOSE (size: volume, id: trades); a message each, at the bar's end."""
        definition = placed.definition
        prices, sizes = Mantissas(definition.price_decimals), Mantissas(definition.size_decimals)
        flags = IMPORTED | _FINAL
        source, number, append = placed.source, placed.instrument, rows.append_fast
        for item in page.items:
            start, end = nanoseconds(item.start), end_of(item)
            ts = end + placed.feed_latency_ns
            data = encode_canonical(BarData(interval_ns=end - start, close_time=nanoseconds(item.end)))
            parts = ((Part.OPEN, item.open), (Part.HIGH, item.high), (Part.LOW, item.low))
            for part, text in parts:
                append(
                    ts,
                    start,
                    source,
                    Kind.BAR,
                    int(part),
                    flags,
                    number,
                    NO_SIDE,
                    prices[text],
                    0,
                    0,
                    data,
                    None,
                )
                data = None  # type: ignore[assignment]  # on the first row only
            close, volume = prices[item.close], sizes[item.volume]
            append(
                ts, start, source, Kind.BAR, int(Part.CLOSE), flags | LAST, number, NO_SIDE, close, volume,
                item.trades, None, None,
            )  # fmt: skip


def end_of(item: Candle) -> int:
    """When a bar ends: one unit of its stamps after the last moment that the venue states."""
    unit = MILLISECOND_NS if item.end <= LAST_MILLISECOND else MICROSECOND_NS
    return nanoseconds(item.end) + unit


def server_time(body: bytes) -> int:
    """The venue's time in ns, of an answer that has `serverTime`. Raises Malformed."""
    try:
        return nanoseconds(msgspec.json.decode(body, type=_ServerTime).serverTime)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None


class _ServerTime(msgspec.Struct):
    serverTime: Stamp  # noqa: N815  the venue's name
