"""Rows of one Binance symbol: each method writes one message, whole or not at all.

A method raises DecimalError (TooFine when a wider definition would do) before it has changed anything:
rows already begun are taken back, and numbers are remembered only at the end. So the caller can widen the
definition and call again, or refuse the frame.
"""

from __future__ import annotations

from engine.feed.binance_book import MAYBE_BAD_BOOK, BookSync
from engine.feed.binance_messages import (
    LAST_MILLISECOND,
    AggregateTrade,
    BookTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    Trade,
    nanoseconds,
)
from engine.feed.binance_messages import Levels as LevelTexts
from engine.feed.decimals import Mantissas
from engine.feed.parser import (
    DUPLICATE,
    LAST,
    BackfillWanted,
    Growing,
    Sequence,
    SnapshotWanted,
    Want,
)
from engine.feed.row_words import (
    AGGREGATE,
    BAR,
    BOOK,
    CLEAR,
    CLOSE,
    EMPTY_BOOK,
    FINAL,
    HIGH,
    LOW,
    NO_LEVELS,
    OPEN,
    QUOTE,
    SNAPSHOT,
    STATUS,
    TRADE,
)
from engine.model.errors import DecimalError
from engine.model.kinds import (
    ASK,
    BID,
    BUY,
    NO_SIDE,
    SELL,
    BarData,
    InstrumentData,
    StatusData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import MICROSECOND_NS, MILLISECOND_NS, NULL_TIME

_SECOND_NS = 1_000_000_000
_INTERVAL_NS = {
    "s": _SECOND_NS,
    "m": 60 * _SECOND_NS,
    "h": 3_600 * _SECOND_NS,
    "d": 86_400 * _SECOND_NS,
    "w": 604_800 * _SECOND_NS,
}


class SymbolRows:
    """One symbol's definition, sequences and book, and the rows its messages become."""

    __slots__ = (
        "aggregates",
        "book",
        "definition",
        "number",
        "partials",
        "prices",
        "quotes",
        "sizes",
        "source",
        "trades",
        "wants",
    )

    def __init__(self, number: int, definition: InstrumentData, source: int, wants: list[Want]) -> None:
        self.number = number
        self.source = source
        self.wants = wants
        self.trades = Sequence()
        self.aggregates = Sequence()
        self.quotes = Growing()
        self.partials = Growing()
        self.book = BookSync()
        self.define(definition)

    def define(self, definition: InstrumentData) -> None:
        """Use this definition from now on. Nothing remembered depends on the old one's decimals."""
        self.definition = definition
        self.prices = Mantissas(definition.price_decimals)
        self.sizes = Mantissas(definition.size_decimals)

    def connection_lost(self) -> None:
        """The book is out of step, and the venue may count anew; trades are counted across connections."""
        self.book.lost()
        self.trades.lost()
        self.aggregates.lost()
        self.quotes.lost()
        self.partials.lost()

    def sequence(self, channel: str) -> Sequence:
        """The ids of "trade" or "aggtrade"."""
        return self.aggregates if channel == "aggtrade" else self.trades

    def trade(self, message: Trade, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """TRADE; before it a STATUS row when ids are missing, which are then wanted."""
        price = self.prices[message.price]
        size = self.sizes[message.size]
        sequence = self.trades
        number = message.id
        flags = 0
        wire: bytes | None = frame
        time = message.time
        # nanoseconds(time), written out: a call here costs a twentieth of the frame
        stamp = time * MILLISECOND_NS if time <= LAST_MILLISECOND else time * MICROSECOND_NS
        if number != sequence.last + 1 or number == 0:
            flags, wire = self._place("trade", number, stamp, frame, ts, rows)
        else:
            sequence.last = number
            sequence.stamp = stamp
        rows.append_fast(
            ts,
            stamp,
            self.source,
            TRADE,
            0,
            flags | LAST,
            self.number,
            SELL if message.buyer_is_maker else BUY,
            price,
            size,
            number,
            None,
            wire,
        )

    def _place(
        self, channel: str, number: int, stamp: int, frame: bytes, ts: int, rows: RowBuffer
    ) -> tuple[int, bytes | None]:
        """Flags of a trade by its number, and the frame unless a row that stands before it has that."""
        sequence = self.sequence(channel)
        flags, wire = 0, None
        if sequence.begins_anew(number, stamp):
            self._status("renumbered", channel, (number, sequence.last), frame, ts, rows)
            sequence.begin()
            self._forget()
        else:
            flags, gap = sequence.judge(number)
            if gap is not None:
                self._status("gap", channel, gap, frame, ts, rows)
                self.wants.append(BackfillWanted(self.definition.symbol, channel, *gap))
            else:
                wire = frame
        sequence.take(number)
        if number == sequence.last:
            sequence.stamp = stamp
        return flags, wire

    def aggregate(self, message: AggregateTrade, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """TRADE flagged AGGREGATE, in a sequence of its own."""
        price = self.prices[message.price]
        size = self.sizes[message.size]
        stamp = nanoseconds(message.time)
        more, wire = self._place("aggtrade", message.id, stamp, frame, ts, rows)
        side = SELL if message.buyer_is_maker else BUY
        flags = AGGREGATE | LAST | more
        rows.append_fast(
            ts, stamp, self.source, TRADE, 0, flags, self.number, side, price, size, message.id, None, wire
        )

    def quote(self, message: BookTicker, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """QUOTE, bid then ask. The venue gives no time; ids grow but not by one."""
        bid, bid_size = self.prices[message.bid], self.sizes[message.bid_size]
        ask, ask_size = self.prices[message.ask], self.sizes[message.ask_size]
        number, source, instrument = message.id, self.source, self.number
        flags, quotes = 0, self.quotes
        wire: bytes | None = frame
        if number > quotes.last:
            quotes.last = number
        elif quotes.begins_anew(number, ts):
            self._status("renumbered", "quote", (number, quotes.last), frame, ts, rows)
            quotes.begin()
            quotes.last, wire = number, None
        else:
            flags = quotes.late(number)
        append = rows.append_fast
        append(ts, NULL_TIME, source, QUOTE, 0, flags, instrument, BID, bid, bid_size, number, None, wire)
        append(
            ts, NULL_TIME, source, QUOTE, 0, flags | LAST, instrument, ASK, ask, ask_size, number, None, None
        )

    def depth(self, message: DepthUpdate, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """BOOK rows of a depth update; before them a STATUS row when updates are missing."""
        book = self.book
        flags, gap, anew = 0, None, False
        if not book.synchronised or message.last <= book.id or message.first > book.seen + 1:
            anew = book.begins_anew(message)
            flags, gap = (MAYBE_BAD_BOOK, None) if anew else book.judge(message)
        start = rows.count
        wire: bytes | None = frame
        try:
            if gap is not None:
                self._status("gap", "book", gap, frame, ts, rows)
                wire = None
            elif anew:
                self._status("renumbered", "book", (message.last, book.seen), frame, ts, rows)
                wire = None
            stamp = nanoseconds(message.event_time)
            self._levels(message.bids, BID, message.last, stamp, self.source, flags, wire, ts, rows)
            if message.bids:
                wire = None
            self._levels(message.asks, ASK, message.last, stamp, self.source, flags, wire, ts, rows)
            if not message.bids and not message.asks:
                self._no_levels(message.last, stamp, self.source, flags, wire, ts, rows, NO_LEVELS)
        except DecimalError:
            rows.truncate(start)
            raise
        rows.end_message()
        if anew:
            book.begin()
            self._forget()
        self._want(book.take(message, gap=gap is not None))

    def partial(self, message: DepthSnapshot, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """A partial-depth frame: the best levels, whole, each time.

        DUPLICATE when it repeats the last one, or when depth updates keep a deeper book anyway.
        """
        flags, partials = CLEAR | SNAPSHOT, self.partials
        anew = False
        if self.book.seen >= 0:
            flags = SNAPSHOT | DUPLICATE
        elif message.id <= partials.last:
            anew = partials.begins_anew(message.id, ts)
            flags = flags if anew else SNAPSHOT | partials.late(message.id)
        start = rows.count
        wire: bytes | None = frame
        if anew:
            self._status("renumbered", "book", (message.id, partials.last), frame, ts, rows)
            wire = None
        try:
            self._picture(
                message.bids, message.asks, message.id, NULL_TIME, self.source, flags, wire, ts, rows
            )
        except DecimalError:
            rows.truncate(start)
            raise
        if anew:
            partials.begin()
        partials.last = max(partials.last, message.id)

    def snapshot(self, message: DepthSnapshot, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """BOOK rows of a REST snapshot under the updates kept for it, or its own levels when it is too old.

        `ts_venue` is that of the last update in it; none when there is no such update.
        """
        book = self.book
        bad = book.judge_snapshot(message)
        if bad:
            self._picture(
                message.bids, message.asks, message.id, NULL_TIME, number, SNAPSHOT | bad, body, ts, rows
            )
        else:
            updates = book.overlaying(message)
            bids, asks = message.bids, message.asks
            last, stamp = message.id, NULL_TIME
            if updates:
                bids = self._overlay(bids, [u.bids for u in updates], descending=True)
                asks = self._overlay(asks, [u.asks for u in updates], descending=False)
                last, stamp = updates[-1].last, nanoseconds(updates[-1].event_time)
            self._picture(bids, asks, last, stamp, number, CLEAR | SNAPSHOT, body, ts, rows)
        self._want(book.take_snapshot(message))

    def kline(self, message: Kline, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """BAR rows OPEN (ts_venue: the bar's start), HIGH, LOW, CLOSE (size: volume, id: trades)."""
        bar = message.bar
        prices = self.prices
        opened, high, low, close = prices[bar.open], prices[bar.high], prices[bar.low], prices[bar.close]
        volume = self.sizes[bar.volume]
        flags = FINAL if bar.final else 0
        start, stamp = nanoseconds(bar.start), nanoseconds(message.event_time)
        data = encode_canonical(BarData(interval_ns=_interval(message), close_time=nanoseconds(bar.end)))
        source, number, append = self.source, self.number, rows.append_fast
        append(ts, start, source, BAR, OPEN, flags, number, NO_SIDE, opened, 0, 0, data, frame)
        append(ts, stamp, source, BAR, HIGH, flags, number, NO_SIDE, high, 0, 0, None, None)
        append(ts, stamp, source, BAR, LOW, flags, number, NO_SIDE, low, 0, 0, None, None)
        append(
            ts,
            stamp,
            source,
            BAR,
            CLOSE,
            flags | LAST,
            number,
            NO_SIDE,
            close,
            volume,
            bar.trades,
            None,
            None,
        )

    def _forget(self) -> None:
        """The venue counts anew: so it does what has no times."""
        self.quotes.forget()
        self.partials.forget()

    def ask_again(self, reason: str) -> None:
        """A snapshot came to nothing: want another, if updates are waiting for one."""
        self._want(self.book.missed(reason))

    def _picture(  # noqa: PLR0913  the columns that all its rows share
        self,
        bids: LevelTexts,
        asks: LevelTexts,
        number: int,
        stamp: int,
        source: int,
        flags: int,
        frame: bytes | None,
        ts: int,
        rows: RowBuffer,
    ) -> None:
        """One message of all levels; CLEAR, if among the flags, on the first row only."""
        start = rows.count
        rest = flags & ~CLEAR
        try:
            if bids:
                self._levels(bids[:1], BID, number, stamp, source, flags, frame, ts, rows)
                self._levels(bids[1:], BID, number, stamp, source, rest, None, ts, rows)
                self._levels(asks, ASK, number, stamp, source, rest, None, ts, rows)
            elif asks:
                self._levels(asks[:1], ASK, number, stamp, source, flags, frame, ts, rows)
                self._levels(asks[1:], ASK, number, stamp, source, rest, None, ts, rows)
            else:
                self._no_levels(number, stamp, source, flags, frame, ts, rows, EMPTY_BOOK)
        except DecimalError:
            rows.truncate(start)
            raise
        rows.end_message()

    def _levels(  # noqa: PLR0913
        self,
        levels: LevelTexts,
        side: int,
        number: int,
        stamp: int,
        source: int,
        flags: int,
        wire: bytes | None,
        ts: int,
        rows: RowBuffer,
    ) -> None:
        prices, sizes, instrument, append = self.prices, self.sizes, self.number, rows.append_fast
        for price, size in levels:
            append(
                ts,
                stamp,
                source,
                BOOK,
                0,
                flags,
                instrument,
                side,
                prices[price],
                sizes[size],
                number,
                None,
                wire,
            )
            wire = None

    def _no_levels(
        self,
        number: int,
        stamp: int,
        source: int,
        flags: int,
        wire: bytes | None,
        ts: int,
        rows: RowBuffer,
        note: bytes,
    ) -> None:
        rows.append_fast(ts, stamp, source, BOOK, 0, flags, self.number, NO_SIDE, 0, 0, number, note, wire)

    def _overlay(self, levels: LevelTexts, changes: list[LevelTexts], *, descending: bool) -> LevelTexts:
        """Levels after the changes, best first; keyed by mantissa, since texts may differ in zeros."""
        prices, sizes = self.prices, self.sizes
        side = {prices[level[0]]: level for level in levels}
        for change in changes:
            for level in change:
                if sizes[level[1]]:
                    side[prices[level[0]]] = level
                else:
                    side.pop(prices[level[0]], None)
        return [side[price] for price in sorted(side, reverse=descending)]

    def _status(
        self, event: str, channel: str, numbers: tuple[int, int], frame: bytes, ts: int, rows: RowBuffer
    ) -> None:
        data = encode_canonical(StatusData(event=event, channel=channel, first=numbers[0], last=numbers[1]))
        rows.append_fast(ts, NULL_TIME, self.source, STATUS, 0, 0, self.number, NO_SIDE, 0, 0, 0, data, frame)

    def _want(self, reason: str) -> None:
        if reason:
            self.wants.append(SnapshotWanted(self.definition.symbol, reason))


def _interval(message: Kline) -> int:
    """Length of the bar. A month has no fixed one: from start and end, which is one unit short."""
    bar = message.bar
    count, unit = bar.interval[:-1], bar.interval[-1:]
    if unit in _INTERVAL_NS and count.isdigit() and count.isascii() and len(count) < 4:
        return int(count) * _INTERVAL_NS[unit]
    length = max(nanoseconds(bar.end) - nanoseconds(bar.start), 0)
    return -(-length // _SECOND_NS) * _SECOND_NS
