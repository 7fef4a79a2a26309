"""What the local venue knows at this moment, and the streams that follow from others.

A source (recording, synthetic market) gives trades, best prices and depth diffs. From these the venue
keeps each symbol's book, its last trades and its candles, and derives what a client may subscribe to
besides: aggregate trades, klines, tickers, the slow (1000 ms) diffs, partial books. A stream that the
source has itself is passed on as it is and never derived a second time.

Pure: time comes in with each event (microseconds, as shown to clients), nothing is sent from here. Price
and size stay the venue's own texts; a book is a dict of them, sorted when somebody asks.

Klines go by the venue's time, which is that of its stamps; see engine.serve.venue_time. A bar is closed a
quarter of a second after its end, when its last trades are there. A trade with a stamp in doubt is in no bar
until the next stamp has told which.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.serve.candles import CandleSeries
from engine.serve.kline_streams import KlineStreams
from engine.serve.ticker_streams import TickerStreams
from engine.serve.tickers import DAY_US, best_of, window_statistics
from engine.serve.venue_time import VenueTime

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from engine.model.kinds import InstrumentData

Message = tuple[str, Any]  # stream name, payload: an object, or of a !…@arr stream a list of them

_SECOND_US = 1_000_000
_CLOSES_AFTER_US = 250_000
_PARTIAL = (5, 10, 20)
_TRADES_KEPT = 20_000  # what REST can page back through


class Book:
    """One symbol's levels as texts. `last_id` is the update id that they stand at."""

    __slots__ = ("asks", "bids", "last_id")

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last_id = 0

    def reset(self, snapshot: Mapping[str, Any]) -> None:
        """Become the picture in a depth snapshot."""
        self.bids = dict(snapshot["bids"])
        self.asks = dict(snapshot["asks"])
        self.last_id = snapshot["lastUpdateId"]

    def apply(self, diff: Mapping[str, Any]) -> bool:
        """Apply a diff unless the book holds it already; whether it was applied."""
        if diff["u"] <= self.last_id:
            return False
        for levels, changes in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, size in changes:
                if size.strip("0."):
                    levels[price] = size
                else:
                    levels.pop(price, None)
        self.last_id = diff["u"]
        return True

    def top(self, count: int) -> dict[str, Any]:
        """The best `count` levels of each side, as REST and the partial streams give them."""
        bids = sorted(self.bids.items(), key=_price_of, reverse=True)[:count]
        asks = sorted(self.asks.items(), key=_price_of)[:count]
        return {
            "lastUpdateId": self.last_id,
            "bids": [list(level) for level in bids],
            "asks": [list(level) for level in asks],
        }


def _price_of(level: tuple[str, str]) -> Decimal:
    return Decimal(level[0])


class _Symbol:
    """Everything kept of one symbol."""

    def __init__(self, data: InstrumentData, *, own_klines: bool, trades_kept: int | None) -> None:
        self.name = data.symbol
        self.prefix = data.symbol.lower()
        self.has_aggregates = "aggtrade" in data.channels
        self.makes_klines = "trade" in data.channels and (own_klines or "bar" not in data.channels)
        self.book = Book()
        self.quote: dict[str, Any] | None = None
        self.trades: deque[dict[str, Any]] = deque(maxlen=trades_kept)
        self.aggregates: deque[dict[str, Any]] = deque(maxlen=trades_kept)
        self.candles = CandleSeries()
        self.aggregate: dict[str, Any] | None = None
        self.aggregate_id = 0
        self.slow: dict[str, Any] | None = None
        self.klines = KlineStreams(data.symbol, self.candles)

    def statistics(self, now_us: int, window_us: int) -> dict[str, Any]:
        """The time up to now, so long."""
        size = self.trades[-1]["q"] if self.trades else ""
        best = best_of(self.quote, self.book.top(1))
        minutes = self.candles.candles("1m")
        return window_statistics(self.name, minutes, now_us, size, best, window_us)


class VenueMarket:
    """The venue's state. `apply` takes the source's events in order and gives what is to be sent.

    `own_klines`: make klines from trades even where the source has them; for a venue that shows other
    times than the source's, whose klines would then contradict its trades. `trades_kept`: how far REST can
    page back, in trades of one symbol; None: to the beginning.
    """

    def __init__(
        self,
        instruments: Sequence[InstrumentData],
        *,
        own_klines: bool = True,
        trades_kept: int | None = _TRADES_KEPT,
    ) -> None:
        self.instruments = {data.symbol: data for data in instruments}
        self._symbols = {
            data.symbol.lower(): _Symbol(data, own_klines=own_klines, trades_kept=trades_kept)
            for data in instruments
        }
        self._tickers = TickerStreams(self._symbols.values())
        self._next_second = 0
        self._time = VenueTime()
        self._doubtful: list[tuple[int, _Symbol, dict[str, Any]]] = []  # trades, until their time is known
        self._next_kline_us = 0

    def begin(self, stream: str) -> None:
        """Somebody listens to a stream that nobody listened to: what went before is not his."""
        symbol = self._symbols.get(stream.partition("@")[0])
        if symbol is not None:
            symbol.klines.forget(stream)

    def apply(
        self, now_us: int, stream: str, payload: dict[str, Any], wanted: Container[str]
    ) -> list[Message]:
        """One event of the source: the streams' messages that it causes, in order.

        `wanted` holds the streams somebody listens to; others are not made. Events of symbols without a
        definition are passed on and otherwise ignored.
        """
        prefix, _, channel = stream.partition("@")
        symbol = self._symbols.get(prefix)
        if symbol is not None and channel == "snapshot":  # no event: it may come from another time
            symbol.book.reset(payload)
            return []
        messages: list[Message] = self._advance(now_us, wanted) if now_us >= self._next_second else []
        self._tell_time(now_us, payload.get("E"))
        if self._time.now_us >= max(self._next_kline_us, 1):
            self._advance_klines(now_us, wanted, messages)
        if symbol is None:
            if stream in wanted:
                messages.append((stream, payload))
            return messages
        if symbol.aggregate is not None:
            _flush_aggregate(symbol, payload, wanted, messages)
        if symbol.makes_klines and channel.startswith("kline_"):
            return messages
        if stream in wanted:
            messages.append((stream, payload))
        if channel == "trade":
            self._take_trade(now_us, symbol, payload)
        else:
            _take(symbol, channel, payload, wanted, messages)
        return messages

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        """The REST answer: the best levels of the book; of a source without depth, its best prices."""
        state = self._symbols[symbol.lower()]
        book = state.book
        if not (book.bids or book.asks) and state.quote is not None:
            quote = state.quote
            bids, asks = [[quote["b"], quote["B"]]], [[quote["a"], quote["A"]]]
            return {"lastUpdateId": quote["u"], "bids": bids, "asks": asks}
        return book.top(limit)

    def trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        """The last trades' payloads, oldest first; all that are kept for a limit of 0."""
        return list(self._symbols[symbol.lower()].trades)[-limit:]

    def aggregates(self, symbol: str) -> list[dict[str, Any]]:
        """The last aggregate trades' payloads, oldest first."""
        return list(self._symbols[symbol.lower()].aggregates)

    def statistics(self, symbol: str, now_us: int) -> dict[str, Any]:
        """The symbol's last 24 hours, as REST tells them."""
        return self._symbols[symbol.lower()].statistics(now_us, DAY_US)

    def candles(self, symbol: str) -> CandleSeries:
        """The symbol's candles."""
        return self._symbols[symbol.lower()].candles

    def _advance(self, now_us: int, wanted: Container[str]) -> list[Message]:
        """A second has passed: slow diffs, slow partial books, tickers."""
        seconds = now_us // _SECOND_US
        self._next_second = (seconds + 1) * _SECOND_US
        messages: list[Message] = []
        for symbol in self._symbols.values():
            if symbol.slow is not None:
                messages.append((symbol.prefix + "@depth", _slow_diff(symbol.slow, now_us)))
                symbol.slow = None
            _partial_books(symbol, "", wanted, messages)
        messages.extend(self._tickers.push(now_us, wanted))
        return messages

    def _tell_time(self, now_us: int, stamp: object) -> None:
        """Set the venue's time by an event; the trades that waited for it are taken."""
        self._time.tell(now_us, stamp)
        if self._time.went_back:
            self._next_kline_us = 0
            for symbol in self._symbols.values():
                symbol.candles.close(0)
        if self._doubtful and isinstance(stamp, int) and not self._time.doubts:
            for doubtful in self._doubtful:
                self._take_candle(*doubtful)
            self._doubtful.clear()

    def _take_trade(self, now_us: int, symbol: _Symbol, payload: dict[str, Any]) -> None:
        if self._time.doubts:
            self._doubtful.append((now_us, symbol, payload))
        else:
            self._take_candle(now_us, symbol, payload)
        _take_trade(symbol, payload)

    def _take_candle(self, now_us: int, symbol: _Symbol, trade: Mapping[str, Any]) -> None:
        at_us, buyer_takes = self._time.of_trade(now_us, trade["T"]), not trade["m"]
        symbol.candles.take(at_us, trade["p"], trade["q"], trade["t"], buyer_takes=buyer_takes)

    def _advance_klines(self, now_us: int, wanted: Container[str], messages: list[Message]) -> None:
        seconds = (self._time.now_us - _CLOSES_AFTER_US) // _SECOND_US
        self._next_kline_us = (seconds + 1) * _SECOND_US + _CLOSES_AFTER_US
        for symbol in self._symbols.values():
            symbol.candles.close(seconds)
            if symbol.makes_klines:
                messages.extend(symbol.klines.push(seconds, now_us, wanted))


def _take(
    symbol: _Symbol,
    channel: str,
    payload: dict[str, Any],
    wanted: Container[str],
    messages: list[Message],
) -> None:
    """Remember what a source's message says, and derive from diffs."""
    if channel == "aggTrade":
        symbol.aggregates.append(payload)
    elif channel == "bookTicker":
        symbol.quote = payload
    elif channel == "depth@100ms" and symbol.book.apply(payload):
        _derive_depth(symbol, payload, wanted, messages)


def _take_trade(symbol: _Symbol, payload: dict[str, Any]) -> None:
    symbol.trades.append(payload)
    if symbol.has_aggregates:
        return
    if symbol.aggregate is None:
        symbol.aggregate_id += 1
        symbol.aggregate = dict(payload, e="aggTrade", f=payload["t"], l=payload["t"], M=True)
    else:  # _flush_aggregate left it standing, so this trade belongs to it
        total = Decimal(symbol.aggregate["q"]) + Decimal(payload["q"])
        symbol.aggregate.update(q=f"{total:f}", l=payload["t"], E=payload["E"])


def _flush_aggregate(
    symbol: _Symbol, payload: Mapping[str, Any], wanted: Container[str], messages: list[Message]
) -> None:
    """Send the pending aggregate unless `payload` is a trade that belongs to it."""
    pending = symbol.aggregate
    if pending is None:
        return
    if payload.get("e") == "trade" and all(payload[k] == pending[k] for k in ("p", "T", "m")):
        return
    symbol.aggregate = None
    pending["a"] = symbol.aggregate_id
    complete = {name: pending[name] for name in ("e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M")}
    symbol.aggregates.append(complete)
    stream = symbol.prefix + "@aggTrade"
    if stream in wanted:
        messages.append((stream, complete))


def _derive_depth(
    symbol: _Symbol, diff: dict[str, Any], wanted: Container[str], messages: list[Message]
) -> None:
    _partial_books(symbol, "@100ms", wanted, messages)
    if symbol.slow is None:
        if symbol.prefix + "@depth" not in wanted:
            return
        symbol.slow = {"s": diff["s"], "U": diff["U"], "b": {}, "a": {}}
    symbol.slow["u"] = diff["u"]
    symbol.slow["b"].update(diff["b"])
    symbol.slow["a"].update(diff["a"])


def _slow_diff(slow: Mapping[str, Any], now_us: int) -> dict[str, Any]:
    return {
        "e": "depthUpdate",
        "E": now_us,
        "s": slow["s"],
        "U": slow["U"],
        "u": slow["u"],
        "b": [list(level) for level in slow["b"].items()],
        "a": [list(level) for level in slow["a"].items()],
    }


def _partial_books(symbol: _Symbol, suffix: str, wanted: Container[str], messages: list[Message]) -> None:
    for count in _PARTIAL:
        stream = f"{symbol.prefix}@depth{count}{suffix}"
        if stream in wanted and symbol.book.last_id:
            messages.append((stream, symbol.book.top(count)))
