"""Rows of one Coinbase product: its book, which comes whole at first and in changes then.

There is no checksum; what keeps a book right is that no message of the connection is missing (see
engine.feed.coinbase). BOOK rows carry the message's sequence number as their `id`, and the level's own time
where the venue gives one.

    state      snapshot    update                    message missing, connection lost
    in step    in step     in step                   lost
    lost       in step     MAYBE_BAD_BOOK, wants     lost
                           one if none is awaited
"""

from __future__ import annotations

from engine.feed.coinbase_messages import BookEvent
from engine.feed.instrument_rows import InstrumentRows, LevelFact
from engine.feed.parser import DUPLICATE, OUT_OF_ORDER
from engine.feed.row_words import CLEAR, MAYBE_BAD_BOOK, SNAPSHOT
from engine.model.kinds import ASK, BID, InstrumentData
from engine.model.rows import RowBuffer

PATIENCE_NS = 10_000_000_000  # for the snapshot that a subscription begins with


class ProductRows(InstrumentRows):
    """One product's definition, sequences and book, and the rows its messages become."""

    __slots__ = ("asked", "has_book", "subscribed_ns", "synchronised")

    def __init__(self, number: int, definition: InstrumentData, source: int) -> None:
        super().__init__(number, definition, source)
        self.connection_lost()

    def connection_lost(self) -> None:
        """The book is out of step, and was not heard of on this life of the connection."""
        super().connection_lost()
        self.synchronised = False
        self.has_book = False
        self.asked = False  # a snapshot is wanted, or a new connection, and has not come
        self.subscribed_ns = 0  # since when the first one is awaited; 0: it is not

    def book_facts(self, event: BookEvent, stamps: list[int]) -> list[LevelFact]:
        """Convert a book event. Raises DecimalError, and changes nothing."""
        prices, sizes = self.prices, self.sizes
        return [
            (
                BID if update.side == "bid" else ASK,
                prices[update.price_level],
                sizes[update.new_quantity],
                stamp,
            )
            for update, stamp in zip(event.updates, stamps, strict=True)
        ]

    def book(
        self,
        event: BookEvent,
        levels: list[LevelFact],
        number: int,
        flags: int,
        frame: bytes,
        start: int,
        ts: int,
        rows: RowBuffer,
    ) -> str:
        """BOOK rows of an event. The reason why a snapshot is wanted now, or ""."""
        whole = CLEAR | SNAPSHOT if event.type == "snapshot" else 0
        if flags & (DUPLICATE | OUT_OF_ORDER):
            bad = 0 if self.synchronised else MAYBE_BAD_BOOK
            self.level_rows(levels, number, flags | whole | bad, frame, start, ts, rows)
            return ""
        self.has_book = True
        if whole:
            self.level_rows(levels, number, whole, frame, start, ts, rows)
            self.synchronised, self.asked, self.subscribed_ns = True, False, 0
            return ""
        self.level_rows(levels, number, 0 if self.synchronised else MAYBE_BAD_BOOK, frame, start, ts, rows)
        if self.synchronised or self.asked:
            return ""
        self.asked = True
        return "first"

    def missed(self, missing: tuple[int, int], frame: bytes, start: int, ts: int, rows: RowBuffer) -> None:
        """Messages of the connection are missing: a STATUS row, if this product has a book on it."""
        if self.has_book:
            self.gap("book", missing, "messages of the connection", frame, start, ts, rows)
            self.synchronised = False
            self.asked = True

    def overdue(self, ts: int) -> bool:
        """Whether the first snapshot has not come in time; says so once, because it is asked for then."""
        if self.asked or not self.subscribed_ns or ts - self.subscribed_ns < PATIENCE_NS:
            return False
        self.asked = True
        return True
