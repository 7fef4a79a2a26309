"""Alpaca's REST history: trades, quotes, bars and news. See engine.feed.history for what is promised.

One symbol at a time, oldest first, ten thousand to a page. `page_token` of an answer leads to the next page,
and an answer without one is the last. The venue numbers nothing that counts on, so a hole in its history
cannot be seen. What is fetched is what the tapes reported, as it stands today: a trade that was cancelled or
corrected later is in it as the venue keeps it now, not as it was first told.

Bars are raw (no splits taken out). A bar is known when it has ended; a day's lasts 24 hours here, whatever
the clocks of New York do in it. Numbers are taken from the text on the wire (engine.feed.alpaca_values); what
the venue computed, bars, is taken to the ninth decimal, half to even.

Source: docs.alpaca.markets, historical API pages (2026-01).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec

from engine.feed.alpaca_values import (
    COMPUTED_DECIMALS,
    NotATime,
    NumberText,
    number_of_json,
    plain_text,
    text_time,
)
from engine.feed.decimals import Mantissas
from engine.feed.history import IMPORTED, LAST, Page, Placed
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.model.errors import DecimalError, UsageError
from engine.model.kinds import (
    ASK,
    BID,
    BUY,
    NO_SIDE,
    SELL,
    BarData,
    Flag,
    Kind,
    NewsData,
    Part,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS, decimals_of, format_time

LIMIT = 10_000
NEWS_LIMIT = 50
_FINAL = int(Flag.FINAL)
_FINEST = Decimal(1).scaleb(-COMPUTED_DECIMALS)
_SIDES = {"B": BUY, "S": SELL}
STOCKS, CRYPTO = "/v2/stocks", "/v1beta3/crypto/us"
WHAT = {"trade": "trades", "quote": "quotes", "bar": "bars"}
# As users write them, as the venue does, and how long they are.
INTERVALS = {
    "1m": ("1Min", 60),
    "5m": ("5Min", 300),
    "15m": ("15Min", 900),
    "30m": ("30Min", 1_800),
    "1h": ("1Hour", 3_600),
    "1d": ("1Day", 86_400),
}


class _Trade(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="t")
    price: NumberText = msgspec.field(name="p")
    size: NumberText = msgspec.field(name="s")
    id: int = msgspec.field(name="i", default=0)
    taker: str = msgspec.field(name="tks", default="")


class _Quote(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="t")
    bid: NumberText | None = msgspec.field(name="bp", default=None)
    bid_size: NumberText | None = msgspec.field(name="bs", default=None)
    ask: NumberText | None = msgspec.field(name="ap", default=None)
    ask_size: NumberText | None = msgspec.field(name="as", default=None)


class _Bar(msgspec.Struct, gc=False):
    time: str = msgspec.field(name="t")
    open: NumberText = msgspec.field(name="o")
    high: NumberText = msgspec.field(name="h")
    low: NumberText = msgspec.field(name="l")
    close: NumberText = msgspec.field(name="c")
    volume: NumberText = msgspec.field(name="v")
    trades: int = msgspec.field(name="n", default=0)


class _Article(msgspec.Struct):
    id: int | str
    created: str = msgspec.field(name="created_at", default="")
    updated: str = msgspec.field(name="updated_at", default="")
    headline: str | None = None
    summary: str | None = None
    source: str | None = None
    url: str | None = None
    symbols: list[str] | None = None


class _Articles(msgspec.Struct):
    news: list[_Article] | None  # null where there is none, as below
    next_page_token: str | None = None


class Trade(msgspec.Struct, gc=False):
    """One trade: its time in ns, the rest as texts."""

    time: int
    price: str
    size: str
    id: int
    side: int


class Quote(msgspec.Struct, gc=False):
    """Best bid and ask; "0" for a side that nobody quotes."""

    time: int
    bid: str
    bid_size: str
    ask: str
    ask_size: str


class Bar(msgspec.Struct, gc=False):
    """One bar; `time` is its beginning."""

    time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    trades: int


class _Answer(msgspec.Struct):
    next_page_token: str | None = None
    # Of a time without any, a weekend, null stands in the place of the list or of all lists.
    trades: dict[str, list[_Trade] | None] | None = None
    quotes: dict[str, list[_Quote] | None] | None = None
    bars: dict[str, list[_Bar] | None] | None = None


class Headline(msgspec.Struct):
    """One article: `time` of its last edit, when it was created, and what a row holds of it."""

    time: int
    created: int
    data: bytes


_articles = msgspec.json.Decoder(_Articles)
_decoder = msgspec.json.Decoder(_Answer, dec_hook=number_of_json, float_hook=NumberText)


def interval_of(interval: str) -> tuple[str, int]:
    """The venue's word for an interval, and its length in ns; UsageError for one that cannot be fetched."""
    if interval not in INTERVALS:
        raise UsageError(
            f'--interval "{interval}": alpaca has no such bars here', hint=f"write {', '.join(INTERVALS)}"
        )
    word, seconds = INTERVALS[interval]
    return word, seconds * SECOND_NS


class AlpacaStream:
    """One symbol's trades, quotes or bars.

    Of bars, those that begin at or after `begin`, and end (see engine.feed.binance_history.BarStream) at or
    after `first_end`, before `last_end`, and not after `end`.
    """

    carried = ""

    def __init__(
        self,
        symbol: str,
        channel: str,
        begin: int,
        end: int,
        *,
        feed: str = "",
        interval: str = "1m",
        first_end: int = 0,
        last_end: int = 0,
    ) -> None:
        """`feed`: of stocks; "" for coins."""
        self.symbol, self.channel = symbol, channel
        self.endpoint = f"{STOCKS if feed else CRYPTO}/{WHAT[channel]}"
        self.begin, self.end = begin, end
        self._word, self._length = interval_of(interval) if channel == "bar" else ("", 0)
        self._feed = feed
        self._first_end, self._last_end = first_end, last_end or end
        self._tokens = Tokens()
        self._at = begin
        self._rising = begin

    @property
    def at(self) -> int:
        """How far it has come."""
        return self._last_end if self._tokens.ended else self._at

    def next(self) -> str | None:
        """Path and query of the next page."""
        first = max(self.begin, self._first_end - self._length if self._first_end else self.begin)
        last = self._last_end - 1  # the venue takes its end as part of the time
        if self._tokens.ended or last < first:
            return None
        asked: dict[str, Any] = {
            "symbols": self.symbol,
            "start": format_time(first),
            "end": format_time(last),
        }
        asked |= {"limit": LIMIT, "sort": "asc"}
        if self._word:
            asked["timeframe"] = self._word
        if self._feed:
            asked["feed"] = self._feed
        return f"{self.endpoint}?{urlencode(asked | self._tokens.asked())}"

    def take(self, body: bytes) -> Page:
        """The facts of the page that `next` asked for."""
        answer = _answer(body)
        try:
            items = [item for raw in self._of(answer) if self._is_ours(item := _item(raw))]
        except (DecimalError, NotATime) as error:
            raise Malformed(error.message) from None
        self._tokens.take(answer.next_page_token)
        if items:
            self._at = max(self._at, items[-1].time)
        return Page(items)

    def _of(self, answer: _Answer) -> list[Any]:
        found: Mapping[str, list[Any] | None] | None = getattr(answer, WHAT[self.channel])
        return (found or {}).get(self.symbol) or []

    def _is_ours(self, item: Any) -> bool:
        if self.channel != "bar":
            return bool(self.begin <= item.time < self.end)
        end = item.time + self._length
        whole = item.time >= self.begin and end <= self.end
        return bool(whole and self._first_end <= end and (end < self._last_end or self._last_end == self.end))

    def append(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        """TRADE rows; QUOTE rows, bid then ask; or BAR rows, at the bar's end. A message each."""
        write = {"trade": self._trades, "quote": self._quotes, "bar": self._bars}[self.channel]
        write(page, placed, rows)

    def _time(self, stamp: int, placed: Placed) -> int:
        # The venue's order counts; a stamp may be a little less than that of the fact before.
        self._rising = max(self._rising, stamp)
        return self._rising + placed.feed_latency_ns

    def _trades(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        prices, sizes = _units(placed)
        for item in page.items:
            rows.append_fast(
                self._time(item.time, placed), item.time, placed.source, Kind.TRADE, 0, IMPORTED | LAST,
                placed.instrument, item.side, prices[item.price], sizes[item.size], item.id, None, None,
            )  # fmt: skip

    def _quotes(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        prices, sizes = _units(placed)
        for item in page.items:
            ts = self._time(item.time, placed)
            sides = (
                (BID, item.bid, item.bid_size, IMPORTED),
                (ASK, item.ask, item.ask_size, IMPORTED | LAST),
            )
            for side, price, size, flags in sides:
                rows.append_fast(
                    ts, item.time, placed.source, Kind.QUOTE, 0, flags,
                    placed.instrument, side, prices[price], sizes[size], 0, None, None,
                )  # fmt: skip

    def _bars(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        prices, sizes = _units(placed)
        source, number, append = placed.source, placed.instrument, rows.append_fast
        flags = IMPORTED | _FINAL
        for item in page.items:
            ts, start = self._time(item.time + self._length, placed), item.time
            data: bytes | None = encode_canonical(BarData(interval_ns=self._length))
            for part, text in ((Part.OPEN, item.open), (Part.HIGH, item.high), (Part.LOW, item.low)):
                price = prices[text]
                append(ts, start, source, Kind.BAR, part, flags, number, NO_SIDE, price, 0, 0, data, None)
                data = None
            close, volume = prices[item.close], sizes[item.volume]
            append(
                ts, start, source, Kind.BAR, Part.CLOSE, flags | LAST, number, NO_SIDE, close, volume,
                item.trades, None, None,
            )  # fmt: skip


class AlpacaNewsStream:
    """Articles about any of some symbols, or all, whose last edit lies in [begin, end).

    The venue has the last edit of an article alone. So that is when it can have been known as it stands, and
    its `ts`; `ts_venue` is when it was created.
    """

    carried = ""
    symbol, channel, endpoint = "", "news", "/v1beta1/news"

    def __init__(self, symbols: Sequence[str], begin: int, end: int) -> None:
        """`symbols`: none of them for all."""
        self.begin, self.end = begin, end
        self._symbols = tuple(symbols)
        self._tokens = Tokens()
        self._at = self._rising = begin

    @property
    def at(self) -> int:
        """How far it has come."""
        return self.end if self._tokens.ended else self._at

    def next(self) -> str | None:
        """Path and query of the next page."""
        if self._tokens.ended:
            return None
        asked: dict[str, Any] = {"symbols": ",".join(self._symbols)} if self._symbols else {}
        asked |= {"start": format_time(self.begin), "end": format_time(self.end - 1)}
        asked |= {"limit": NEWS_LIMIT, "sort": "asc"} | self._tokens.asked()
        return f"{self.endpoint}?{urlencode(asked)}"

    def take(self, body: bytes) -> Page:
        """The articles of the page that `next` asked for; those without a headline are none."""
        try:
            answer = _articles.decode(body)
        except DECODE_FAILURES as error:
            raise malformed_of(error, body) from None
        try:
            news = answer.news or ()
            items = [_headline(article) for article in news if (article.headline or "").strip()]
        except NotATime as error:
            raise Malformed(error.message) from None
        self._tokens.take(answer.next_page_token)
        if items:
            self._at = max(self._at, items[-1].time)
        return Page([item for item in items if self.begin <= item.time < self.end])

    def append(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        """NEWS rows, of no instrument."""
        for item in page.items:
            self._rising = max(self._rising, item.time)
            ts = self._rising + placed.feed_latency_ns
            rows.append(
                ts,
                Kind.NEWS,
                ts_venue=item.created,
                source=placed.source,
                flags=IMPORTED | LAST,
                data=item.data,
            )


def _headline(article: _Article) -> Headline:
    times = [text_time(text) for text in (article.created, article.updated) if text]
    known = [time for time in times if time != NULL_TIME]
    if not known:
        raise NotATime(f"article {article.id} has no time")
    data = NewsData(
        id=str(article.id),
        headline=article.headline or "",
        summary=article.summary or "",
        source=article.source or "",
        url=article.url or "",
        symbols=tuple(article.symbols or ()),
    )
    return Headline(max(known), known[0], encode_canonical(data))


class Tokens:
    """Where the pages lead: a page's token asks for the next one, and the last has none."""

    def __init__(self) -> None:
        self.ended = False
        self._token = ""
        self._seen: set[str] = set()

    def asked(self) -> dict[str, str]:
        """What a request says of it."""
        return {"page_token": self._token} if self._token else {}

    def take(self, token: str | None) -> None:
        """What an answer says. Raises Malformed for a page that was there before, and stays as it is."""
        if not token:
            self.ended = True
        elif token in self._seen:
            raise Malformed("a page that leads back", field="next_page_token", value=token)
        else:
            self._seen.add(token)
            self._token = token


def _units(placed: Placed) -> tuple[Mantissas, Mantissas]:
    return Mantissas(placed.definition.price_decimals), Mantissas(placed.definition.size_decimals)


def _answer(body: bytes) -> _Answer:
    try:
        return _decoder.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None


def _item(raw: Any) -> Trade | Quote | Bar:
    """An item with its time in ns and its numbers as plain decimals. Raises DecimalError, NotATime."""
    time = text_time(raw.time)
    if time == NULL_TIME:
        raise NotATime(f'"{raw.time}" is no time of a fact')
    if isinstance(raw, _Trade):
        side = _SIDES.get(raw.taker, NO_SIDE)
        return Trade(time, _plain(raw.price), _plain(raw.size), _whole(raw.id), side)
    if isinstance(raw, _Quote):
        bid, bid_size, ask, ask_size = map(_plain, (raw.bid, raw.bid_size, raw.ask, raw.ask_size))
        return Quote(time, bid, bid_size, ask, ask_size)
    numbers = (raw.open, raw.high, raw.low, raw.close, raw.volume)
    opened, high, low, close, volume = (_without_noise(_plain(number)) for number in numbers)
    return Bar(time, opened, high, low, close, volume, _whole(raw.trades))


def _without_noise(text: str) -> str:
    if len(text.partition(".")[2]) <= COMPUTED_DECIMALS:
        return text
    return format(Decimal(text).quantize(_FINEST, ROUND_HALF_EVEN), "f")


def _plain(number: NumberText | None) -> str:
    text = "0" if number is None else plain_text(number)
    decimals_of(text)
    if text[:1] == "-":
        raise DecimalError(f'"{text}" is negative')
    return text


def _whole(number: int) -> int:
    if not 0 <= number < 2**63:
        raise DecimalError(f"{number} is no id")
    return number
