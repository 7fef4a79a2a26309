"""Rows of one Kraken pair: what its book's messages become, and its quotes.

A book message in step gives its levels, then a row of size 0 for each level that fell out of the subscribed
depth: the venue does not say so, and a reader of the log knows no depth. `id` is the venue's checksum of the
book after the message, which is the only name that Kraken gives to a state of a book.

A checksum that is not ours means that something was missed: a STATUS row "gap" with both checksums, and the
message's levels flagged MAYBE_BAD_BOOK, as are all that follow until a snapshot. `first` and `last` of the
gap are times in ns: of the last message in step, and of the one that showed it (by the venue's clock where
both have a stamp, else of receipt).
"""

from __future__ import annotations

from typing import NamedTuple

from engine.feed.instrument_rows import InstrumentRows
from engine.feed.kraken_book import Book, Level
from engine.feed.kraken_messages import BookItem, TickerItem
from engine.feed.kraken_messages import Level as WireLevel
from engine.feed.kraken_numbers import Digits, Numbers
from engine.feed.row_words import BOOK, CLEAR, MAYBE_BAD_BOOK, QUOTE, SNAPSHOT
from engine.model.kinds import ASK, BID, InstrumentData
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, POWERS_OF_TEN

_DIGITS = Digits()  # facts about texts, whatever the pair


class BookFacts(NamedTuple):
    """A book message ready to be applied."""

    bids: list[Level]
    asks: list[Level]
    checksum: int
    stamp: int


class PairRows(InstrumentRows):
    """One pair's definition, sequences and book, and the rows its messages become."""

    __slots__ = ("book",)

    prices: Numbers
    sizes: Numbers

    def __init__(self, number: int, definition: InstrumentData, source: int) -> None:
        self.book = Book()
        super().__init__(number, definition, source)

    def mantissas(self, decimals: int) -> Numbers:
        """Bare JSON numbers."""
        return Numbers(decimals)

    def define(self, definition: InstrumentData) -> None:
        """Use this definition from now on; the book's prices are counted in its units."""
        if hasattr(self, "definition"):
            finer = definition.price_decimals - self.definition.price_decimals
            if finer > 0:
                self.book.rescale(POWERS_OF_TEN[finer])
            elif finer < 0:  # nobody makes a definition coarser; were it so, the next snapshot is waited for
                self.book.lost()
        super().define(definition)

    def connection_lost(self) -> None:
        """The book is out of step."""
        super().connection_lost()
        self.book.lost()

    def book_facts(self, item: BookItem, stamp: int) -> BookFacts:
        """Convert a book message. Raises DecimalError or TypeError, and changes nothing."""
        return BookFacts(self._levels(item.bids), self._levels(item.asks), item.checksum, stamp)

    def _levels(self, levels: list[WireLevel]) -> list[Level]:
        if not levels:
            return []
        prices, sizes, digits = self.prices, self.sizes, _DIGITS
        # The mantissas first: they refuse what the digits would take.
        return [
            (prices[level.price], sizes[level.qty], digits[level.price] + digits[level.qty])
            for level in levels
        ]

    def update(self, facts: BookFacts, frame: bytes, start: int, ts: int, rows: RowBuffer) -> str:
        """BOOK rows of an update. The reason why a snapshot is wanted now, or ""."""
        book = self.book
        if not book.synchronised:
            self._book_rows(facts, MAYBE_BAD_BOOK, frame, start, ts, rows)
            reason = "" if book.asked else "first"
            book.asked = True
            return reason
        if facts.bids:
            book.bids.apply(facts.bids)
        if facts.asks:
            book.asks.apply(facts.asks)
        return self._finish(facts, 0, frame, start, ts, rows)

    def snapshot(self, facts: BookFacts, frame: bytes, start: int, ts: int, rows: RowBuffer) -> str:
        """BOOK rows of the whole book. The reason why another snapshot is wanted now, or ""."""
        self.book.load(facts.bids, facts.asks)
        return self._finish(facts, CLEAR | SNAPSHOT, frame, start, ts, rows)

    def _finish(
        self, facts: BookFacts, flags: int, frame: bytes, start: int, ts: int, rows: RowBuffer
    ) -> str:
        """The book has been changed: write it if it is the venue's, else say that it is not."""
        book = self.book
        lower_bids, higher_asks = book.cut()
        ours = book.checksum()
        if ours == facts.checksum:
            self._book_rows(facts, flags, frame, start, ts, rows)
            if lower_bids or higher_asks:
                stamp = facts.stamp
                gone = [(BID, price, 0, stamp) for price in lower_bids]
                gone += [(ASK, price, 0, stamp) for price in higher_asks]
                self.level_rows(gone, facts.checksum, flags & ~CLEAR, frame, start, ts, rows)
            book.good(facts.stamp, ts)
            return ""
        missing = (
            (book.stamp, facts.stamp) if NULL_TIME not in (book.stamp, facts.stamp) else (book.received, ts)
        )
        self.gap("book", missing, f"checksum {facts.checksum}, ours is {ours}", frame, start, ts, rows)
        self._book_rows(facts, flags | MAYBE_BAD_BOOK, frame, start, ts, rows)
        book.drop()
        book.asked = True
        return "failed" if flags else "gap"

    def _book_rows(
        self, facts: BookFacts, flags: int, frame: bytes, start: int, ts: int, rows: RowBuffer
    ) -> None:
        bids, asks, checksum, stamp = facts
        if not bids and not asks:
            self.level_rows((), checksum, flags, frame, start, ts, rows, stamp=stamp)
            return
        source, number, append = self.source, self.number, rows.append_fast
        wire = frame if rows.count == start else None
        for price, size, _ in bids:
            append(ts, stamp, source, BOOK, 0, flags, number, BID, price, size, checksum, None, wire)
            flags, wire = flags & ~CLEAR, None
        for price, size, _ in asks:
            append(ts, stamp, source, BOOK, 0, flags, number, ASK, price, size, checksum, None, wire)
            flags, wire = flags & ~CLEAR, None

    def quote_facts(self, item: TickerItem, stamp: int) -> tuple[int, int, int, int, int]:
        """Convert a ticker message. Raises DecimalError or TypeError, and changes nothing."""
        prices, sizes = self.prices, self.sizes
        return prices[item.bid], sizes[item.bid_qty], prices[item.ask], sizes[item.ask_qty], stamp

    def quote(
        self, facts: tuple[int, int, int, int, int], frame: bytes, start: int, ts: int, rows: RowBuffer
    ) -> None:
        """QUOTE, bid then ask; the venue numbers them not."""
        bid, bid_size, ask, ask_size, stamp = facts
        source, number, append = self.source, self.number, rows.append_fast
        wire = frame if rows.count == start else None
        append(ts, stamp, source, QUOTE, 0, 0, number, BID, bid, bid_size, 0, None, wire)
        append(ts, stamp, source, QUOTE, 0, 0, number, ASK, ask, ask_size, 0, None, None)
