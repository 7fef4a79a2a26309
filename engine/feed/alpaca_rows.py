"""Rows of one Alpaca symbol.

A frame holds several messages and is taken whole or not at all. So every message is dealt with twice:
`read_*` turns its numbers and times into integers, changes nothing and is all that can fail; what it
answers is written by a `write_*` when everything in the frame has been read. Writing remembers, judges
repeats and lateness, and appends rows; it never fails.

Repeats and lateness. The venue numbers nothing and replays nothing; its own order is the order of arrival.
A trade is known by symbol, exchange, id and time. It is late (OUT_OF_ORDER: never matched, told as late)
when its exchange reported a later one before, when it is more than a second behind the symbol's latest, or
when the tape itself calls it out of sequence (conditions Z, U). Stamps of two exchanges are not compared
more closely: their clocks differ, and a consolidated tape interleaves them. Quotes are judged likewise,
with the pair of exchanges that they name; a quote that repeats the last one to the nanosecond and in all
numbers is a DUPLICATE.

Bars: a minute bar is FINAL when it comes, for its minute is over; the updated bar that a late trade may
bring half a minute later is REVISED. A daily bar is the day so far and never FINAL. The venue says when a
bar began and not when it was made, so only the OPEN row has a stamp.

A crypto book has no numbers either: a full one (`r`) puts it in step; a change before that, or one that is
older than the change before it, cannot be applied, and the book is wanted again.
"""

from __future__ import annotations

from typing import Any

from engine.feed.alpaca_messages import Book, Cancel, Correction, Imbalance, PriceBand, Quote, Trade
from engine.feed.alpaca_messages import TradingStatus as TradingStatusMessage
from engine.feed.alpaca_values import Amounts, decimal_words
from engine.feed.parser import DUPLICATE, OUT_OF_ORDER, Malformed, SnapshotWanted, Want
from engine.feed.row_words import (
    BACKFILLED,
    BAR,
    BOOK,
    CLEAR,
    CLOSE,
    EMPTY_BOOK,
    FINAL,
    HIGH,
    LOW,
    MAYBE_BAD_BOOK,
    NO_LEVELS,
    OPEN,
    QUOTE,
    REVISED,
    SNAPSHOT,
    STATUS,
    TRADE,
)
from engine.model.kinds import (
    ASK,
    BID,
    BUY,
    NO_SIDE,
    SELL,
    BarData,
    InstrumentData,
    StatusData,
    TradeData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS, trim_decimal

LATE_NS = SECOND_NS  # behind the symbol's latest, whatever the exchange
AHEAD_NS = 60 * SECOND_NS  # of our clock: a stamp beyond is a mistake, and nothing is late because of it
TRADES_REMEMBERED = 65_536  # of all symbols of a connection
_EXCHANGES = 64  # remembered a symbol; their names come from outside
_SIDES = {"B": BUY, "S": SELL}
_MINUTE = encode_canonical(BarData(interval_ns=60 * SECOND_NS))
_DAY = encode_canonical(BarData(interval_ns=86_400 * SECOND_NS))
# What a status code of the tapes comes to, for those who do not know them; CTA's are digits, UTP's letters.
_TRADING = {"H": "halted", "2": "halted", "P": "halted", "Q": "quoting", "T": "trading", "3": "trading"}

Levels = list[tuple[int, int]]
TradeFact = tuple[int, int, int, Any]
QuoteFact = tuple[int, str, str, int, int, int, int]
BarFact = tuple[int, int, int, int, int, int, int]
BookFact = tuple[int, Levels, Levels, bool]
RevisionFact = tuple[int, int, int, int, str, TradeData]
StatusFact = tuple[int, StatusData]


class Memory:
    """Keys seen lately: two generations, of which the older is forgotten when the younger is full.

    What was filled in is kept beside them, in as many: a long gap must not drive out what the stream brought.
    """

    __slots__ = ("_filled", "_most", "_new", "_old")

    def __init__(self, most: int = TRADES_REMEMBERED) -> None:
        self._most = most // 2
        self._new: set[object] = set()
        self._old: set[object] = set()
        self._filled: Memory | None = None

    def __contains__(self, key: object) -> bool:
        return key in self._new or key in self._old or (self._filled is not None and key in self._filled)

    def fill(self, key: object) -> None:
        """The key was not seen, but filled in."""
        if self._filled is None:
            self._filled = Memory(2 * self._most)
        self._filled.repeats(key)

    def repeats(self, key: object) -> bool:
        """Whether the key was seen; from now on it was."""
        if key in self._new or key in self._old or (self._filled is not None and key in self._filled):
            return True
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
        self._new.add(key)
        return False


class SymbolRows:
    """One symbol's definition and what is remembered of it, and the rows its messages become."""

    __slots__ = (
        "ahead",
        "bar_prices",
        "bar_sizes",
        "book_asked",
        "book_last",
        "book_time",
        "definition",
        "last_minute",
        "last_update",
        "memory",
        "number",
        "prices",
        "quote_last",
        "quote_time",
        "sizes",
        "source",
        "symbol",
        "synchronised",
        "trade_time",
        "trade_times",
        "wants",
    )

    def __init__(
        self,
        number: int,
        definition: InstrumentData,
        source: int,
        wants: list[Want],
        memory: Memory,
    ) -> None:
        self.number = number
        self.symbol = definition.symbol
        self.source = source
        self.wants = wants
        self.memory = memory
        self.trade_time = NULL_TIME  # the latest of all exchanges
        self.trade_times: dict[str, int] = {}  # and of each
        self.quote_time = NULL_TIME
        # A stamp far ahead of our clock, the latest before it, and our clock.
        self.ahead = (NULL_TIME, NULL_TIME, NULL_TIME)
        self.synchronised = False
        self.book_asked = False
        self.book_time = NULL_TIME
        self.define(definition)

    def define(self, definition: InstrumentData) -> None:
        """Use this definition from now on. What was remembered in the old one's units is forgotten."""
        self.definition = definition
        self.prices = Amounts(definition.price_decimals)
        self.sizes = Amounts(definition.size_decimals)
        self.bar_prices = Amounts(definition.price_decimals, computed=True)
        self.bar_sizes = Amounts(definition.size_decimals, computed=True)
        self.quote_last: QuoteFact | None = None
        self.last_minute: BarFact | None = None
        self.last_update: BarFact | None = None
        self.book_last: BookFact | None = None

    def newest(self, of_all: int) -> int:
        """The venue's time of the newest trade or quote; NULL_TIME for none.

        A stamp far ahead of our clock is a mistake; if all are, since the last that was not, the clock is.
        `of_all`: the `latest` of all symbols.
        """
        stamp, after, ts = self.ahead
        return stamp if after == self.latest and ts > of_all else self.latest

    @property
    def latest(self) -> int:
        """The same of those that are not far ahead of our clock."""
        return max(self.trade_time, self.quote_time)

    def lost(self) -> None:
        """The connection is gone: the book is out of step, and the next subscription brings it."""
        self.synchronised = False
        self.book_asked = False

    def doubt(self) -> None:
        """A frame could not be read, and nothing numbers what was in it: the book is wanted whole again."""
        if self.synchronised:
            self.synchronised, self.book_asked = False, True
            self.wants.append(SnapshotWanted(self.symbol, "gap"))

    # --- reading: may raise DecimalError or Malformed, changes nothing -----------------------------------

    def read_trade(self, message: Trade[Any, Any], stamp: int) -> TradeFact:
        """Price, size, time, and the message for the rest."""
        if message.id >> 64:
            raise _no_id("i", message.id)
        return self.prices[message.price], self.sizes[message.size], stamp, message

    def read_quote(self, message: Quote[Any, Any], stamp: int) -> QuoteFact:
        """Everything that a quote says."""
        prices, sizes = self.prices, self.sizes
        return (
            stamp,
            message.bid_exchange,
            message.ask_exchange,
            prices[message.bid],
            sizes[message.bid_size],
            prices[message.ask],
            sizes[message.ask_size],
        )

    def read_bar(self, message: Any, start: int) -> BarFact:
        """Start, prices, volume and number of trades."""
        prices = self.bar_prices
        return (
            start,
            prices[message.open],
            prices[message.high],
            prices[message.low],
            prices[message.close],
            self.bar_sizes[message.volume],
            message.trades,
        )

    def read_book(self, message: Book[Any, Any], stamp: int) -> BookFact:
        """Time, levels, and whether they are all that there are."""
        prices, sizes = self.prices, self.sizes
        bids = [(prices[level.price], sizes[level.size]) for level in message.bids or ()]
        asks = [(prices[level.price], sizes[level.size]) for level in message.asks or ()]
        return stamp, bids, asks, bool(message.reset)

    def read_correction(self, message: Correction[Any, Any], stamp: int) -> RevisionFact:
        """The trade as it is now, under its first id; how it was, goes into `data`."""
        if message.old_id >> 64:
            raise _no_id("oi", message.old_id)
        data = self._was("corrected", message.old_price, message.old_size)
        if message.id != message.old_id:
            data = TradeData(data.note, data.was_price, data.was_size, message.id)
        price, size = self.prices[message.price], self.sizes[message.size]
        return stamp, price, size, message.old_id, message.exchange, data

    def read_cancel(self, message: Cancel[Any, Any], stamp: int) -> RevisionFact:
        """The trade with nothing left of it."""
        if message.id >> 64:
            raise _no_id("i", message.id)
        data = self._was("cancelled", message.price, message.size)
        return stamp, self.prices[message.price], 0, message.id, message.exchange, data

    def _was(self, note: str, price: Any, size: Any) -> TradeData:
        definition = self.definition
        return TradeData(
            note,
            trim_decimal(self.prices[price], definition.price_decimals),
            trim_decimal(self.sizes[size], definition.size_decimals),
        )

    def read_status(self, message: TradingStatusMessage[Any, Any], stamp: int) -> StatusFact:
        """The venue's codes and words, behind one of ours where the code is known."""
        said = f"{message.code} {message.message}".strip()
        why = f"{message.reason_code} {message.reason}".strip()
        words = f"{said} ({why})" if why else said
        plain = _TRADING.get(message.code)
        return stamp, StatusData("session", "status", f"{plain}: {words}" if plain else words)

    def read_band(self, message: PriceBand[Any, Any], stamp: int) -> StatusFact:
        """Limits between which the symbol may trade."""
        down, up = decimal_words(message.down), decimal_words(message.up)
        tail = f" (indicator {message.indicator})" if message.indicator else ""
        return stamp, StatusData("session", "luld", f"limits {down} to {up}{tail}")

    def read_imbalance(self, message: Imbalance[Any, Any], stamp: int) -> StatusFact:
        """The price of an imbalance."""
        return stamp, StatusData("session", "imbalance", f"imbalance at {decimal_words(message.price)}")

    # --- writing: what has been read always can be -------------------------------------------------------

    def write_trade(self, fact: TradeFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """TRADE; the aggressor is known of crypto only."""
        price, size, stamp, message = fact
        number, exchange = message.id, message.exchange
        flags = 0
        if number and self.memory.repeats((self.symbol, exchange, number, stamp)):
            flags = DUPLICATE
        else:
            times = self.trade_times
            if stamp > ts + AHEAD_NS:
                self.ahead = (stamp, self.latest, ts)
            elif stamp >= times.get(exchange, NULL_TIME) and stamp >= self.trade_time - LATE_NS:
                if len(times) >= _EXCHANGES and exchange not in times:
                    times.clear()
                times[exchange] = stamp
                if stamp > self.trade_time:  # noqa: PLR1730  max() is a call, in every trade
                    self.trade_time = stamp
            elif stamp != NULL_TIME:
                flags = OUT_OF_ORDER
            conditions = message.conditions
            if type(conditions) is list and ("Z" in conditions or "U" in conditions):
                flags = OUT_OF_ORDER
        rows.append_fast(
            ts,
            stamp,
            self.source,
            TRADE,
            0,
            flags,
            self.number,
            _SIDES.get(message.taker, NO_SIDE),
            price,
            size,
            number,
            None,
            wire,
        )

    def write_missed(
        self, fact: TradeFact, wire: bytes | None, ts: int, rows: RowBuffer, source: int
    ) -> None:
        """TRADE that came too late, in an answer; if the stream brings it after all, that is a repeat."""
        price, size, stamp, message = fact
        self.memory.fill((self.symbol, message.exchange, message.id, stamp))
        side = _SIDES.get(message.taker, NO_SIDE)
        rows.append_fast(
            ts, stamp, source, TRADE, 0, BACKFILLED, self.number, side, price, size, message.id, None, wire
        )

    def write_quote(self, fact: QuoteFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """QUOTE, bid then ask. A side that nobody quotes has price and size 0."""
        stamp, bid_exchange, ask_exchange, bid, bid_size, ask, ask_size = fact
        flags = 0
        last = self.quote_last
        if stamp > self.quote_time:
            if stamp <= ts + AHEAD_NS:
                self.quote_time = stamp
                self.quote_last = fact
            else:
                self.ahead = (stamp, self.latest, ts)
        elif fact == last:
            flags = DUPLICATE
        elif stamp == self.quote_time:
            self.quote_last = fact
        elif stamp != NULL_TIME:
            same = last is None or (last[1] == bid_exchange and last[2] == ask_exchange)
            if same or stamp < self.quote_time - LATE_NS:
                flags = OUT_OF_ORDER
        source, number, append = self.source, self.number, rows.append_fast
        append(ts, stamp, source, QUOTE, 0, flags, number, BID, bid, bid_size, 0, None, wire)
        append(ts, stamp, source, QUOTE, 0, flags, number, ASK, ask, ask_size, 0, None, None)

    def write_minute(self, fact: BarFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """A minute that is over."""
        flags = FINAL
        last = self.last_minute
        if last is None or fact[0] > last[0]:
            if fact[0] <= ts + AHEAD_NS:
                self.last_minute = fact
        elif fact == last:
            flags |= DUPLICATE
        elif fact[0] == last[0]:
            flags |= REVISED
            self.last_minute = fact
        elif fact[0] != NULL_TIME:
            flags |= OUT_OF_ORDER
        self._bar(fact, flags, _MINUTE, wire, ts, rows)

    def write_update(self, fact: BarFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """A minute that was sent before, as it is after a late trade."""
        flags = FINAL | REVISED
        if fact == self.last_update:
            flags |= DUPLICATE
        self.last_update = fact
        self._bar(fact, flags, _MINUTE, wire, ts, rows)

    def write_day(self, fact: BarFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """The day so far."""
        self._bar(fact, 0, _DAY, wire, ts, rows)

    def _bar(
        self, fact: BarFact, flags: int, data: bytes, wire: bytes | None, ts: int, rows: RowBuffer
    ) -> None:
        start, opened, high, low, close, volume, trades = fact
        source, number, append, none = self.source, self.number, rows.append_fast, NULL_TIME
        append(ts, start, source, BAR, OPEN, flags, number, NO_SIDE, opened, 0, 0, data, wire)
        append(ts, none, source, BAR, HIGH, flags, number, NO_SIDE, high, 0, 0, None, None)
        append(ts, none, source, BAR, LOW, flags, number, NO_SIDE, low, 0, 0, None, None)
        append(ts, none, source, BAR, CLOSE, flags, number, NO_SIDE, close, volume, trades, None, None)

    def write_revision(self, fact: RevisionFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """TRADE flagged REVISED, under the id of the trade that it is about."""
        stamp, price, size, number, exchange, data = fact
        flags = REVISED
        if self.memory.repeats((self.symbol, exchange, number, stamp, data)):
            flags |= DUPLICATE
        text = encode_canonical(data)
        rows.append_fast(
            ts, stamp, self.source, TRADE, 0, flags, self.number, NO_SIDE, price, size, number, text, wire
        )

    def write_status(self, fact: StatusFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """STATUS of the instrument."""
        stamp, data = fact
        text = encode_canonical(data)
        rows.append_fast(ts, stamp, self.source, STATUS, 0, 0, self.number, NO_SIDE, 0, 0, 0, text, wire)

    def write_book(self, fact: BookFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """BOOK rows: all levels, or those that changed."""
        stamp, bids, asks, reset = fact
        flags = rest = 0
        if reset and self.synchronised and NULL_TIME != stamp < self.book_time:
            # A whole book from before what the book has by now: it comes twice, or late, and takes it back.
            flags, rest = CLEAR | SNAPSHOT | OUT_OF_ORDER, SNAPSHOT | OUT_OF_ORDER
        elif reset:
            flags, rest = CLEAR | SNAPSHOT, SNAPSHOT
            self.synchronised = True
            self.book_asked = False
            self.book_time, self.book_last = stamp, fact
        elif not self.synchronised:
            flags = rest = MAYBE_BAD_BOOK
            self._want("first")
        elif fact == self.book_last:
            flags = rest = DUPLICATE
        elif stamp < self.book_time and stamp != NULL_TIME:
            # It should have been applied before what already was: of its levels nobody knows the latest size.
            flags = rest = MAYBE_BAD_BOOK | OUT_OF_ORDER
            self.synchronised = False
            self._want("gap")
        else:
            self.book_time, self.book_last = stamp, fact
        source, number, append = self.source, self.number, rows.append_fast
        if not bids and not asks:
            note = EMPTY_BOOK if reset else NO_LEVELS
            append(ts, stamp, source, BOOK, 0, flags, number, NO_SIDE, 0, 0, 0, note, wire)
            return
        for side, levels in ((BID, bids), (ASK, asks)):
            for price, size in levels:
                append(ts, stamp, source, BOOK, 0, flags, number, side, price, size, 0, None, wire)
                flags, wire = rest, None

    def _want(self, reason: str) -> None:
        if not self.book_asked:
            self.book_asked = True
            self.wants.append(SnapshotWanted(self.symbol, reason))


def _no_id(field: str, number: int) -> Malformed:
    return Malformed("is no number of 64 bits", field=field, value=str(number))
