"""Books carried from one segment of a recording into the next.

Depth updates say what changed, so a segment that began in the middle of them could not be run alone. A
rotation therefore writes, after the new segment's header, one message per book that is in step: the whole
book as it stands, CLEAR and SNAPSHOT, from source 0 (the engine itself), without `wire`, with the `id` and
`ts_venue` of the last update in it and the note "carried" in the first row's `data`.

It states nothing new. A run that comes from the segment before has the very same book with the same `id`
and passes over the message; a run that begins here takes it. Hence a segment alone can be run, and
segments one after the other give what the undivided recording gives. (Asking the venue for a snapshot
instead would cost request weight, could be refused, would leave the book unknown until it came, and would
cut the book to its depth: the halves would no longer be the whole.)

What is carried is folded from the rows that were written, by the rules of the loop (rows flagged
MAYBE_BAD_BOOK, DUPLICATE or OUT_OF_ORDER are not applied), never from the parser: the log is the authority.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from engine.log.schema import Batch
from engine.model.kinds import (
    ASK,
    BID,
    NO_SIDE,
    BookData,
    Flag,
    InstrumentData,
    Kind,
    SourceData,
    StatusData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, POWERS_OF_TEN

CARRIED = "carried"
_BOOK, _STATUS, _INSTRUMENT = int(Kind.BOOK), int(Kind.STATUS), int(Kind.INSTRUMENT)
_SOURCE = int(Kind.SOURCE)
_CLEAR, _SNAPSHOT, _LAST = int(Flag.CLEAR), int(Flag.SNAPSHOT), int(Flag.LAST)
_BAD = int(Flag.MAYBE_BAD_BOOK)
_REPEATED = int(Flag.DUPLICATE | Flag.OUT_OF_ORDER | Flag.BACKFILLED | Flag.REJECTED_TICK)
_EMPTY_LEVELS = 1_024  # removed levels that may be remembered before they are swept out


class _Book:
    """Bids and asks, price to size; size 0 is a level that was removed and not yet swept out."""

    __slots__ = (
        "definition", "good", "id", "price_decimals", "sides", "size_decimals", "sweep_at", "ts_venue",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.definition: InstrumentData | None = None
        self.good = False
        self.id = 0
        self.ts_venue = NULL_TIME
        self.price_decimals = -1
        self.size_decimals = -1
        self.sweep_at = _EMPTY_LEVELS

    def clear(self) -> None:
        self.sides = {BID: {}, ASK: {}}

    def sweep(self) -> None:
        """Forget removed levels, once there may be many."""
        if len(self.sides[BID]) + len(self.sides[ASK]) <= self.sweep_at:
            return
        for side, levels in self.sides.items():
            self.sides[side] = {price: size for price, size in levels.items() if size}
        self.sweep_at = 2 * (len(self.sides[BID]) + len(self.sides[ASK])) + _EMPTY_LEVELS

    def define(self, definition: InstrumentData) -> None:
        """Multiply up when the definition has become wider; it never becomes narrower."""
        if self.price_decimals >= 0:
            price_factor = POWERS_OF_TEN[definition.price_decimals - self.price_decimals]
            size_factor = POWERS_OF_TEN[definition.size_decimals - self.size_decimals]
            for side, levels in self.sides.items():
                self.sides[side] = {p * price_factor: s * size_factor for p, s in levels.items()}
        self.definition = definition
        self.price_decimals = definition.price_decimals
        self.size_decimals = definition.size_decimals

    def levels(self) -> list[tuple[int, int, int]]:
        """(side, price, size) of every level, each side best first."""
        return [
            (side, price, size)
            for side, levels in self.sides.items()
            for price, size in sorted(levels.items(), reverse=side == BID)
            if size
        ]


class BookCarry:
    """The books of a recording, by instrument number, folded batch by batch."""

    def __init__(self) -> None:
        self._books: dict[int, _Book] = {}
        self._sources: dict[int, SourceData] = {}

    def take(self, batch: Batch) -> None:
        """Apply a batch that has been written."""
        kind, flags = batch.kind, batch.flags
        is_book = kind == _BOOK
        turning = (
            (kind == _INSTRUMENT)
            | (kind == _STATUS)
            | (kind == _SOURCE)
            | (is_book & ((flags & (_CLEAR | _BAD)) != 0))
        )
        plain = is_book & ((flags & (_REPEATED | _BAD)) == 0)
        start = 0
        for row in np.flatnonzero(turning).tolist():
            self._apply(batch, plain, start, row)
            self._turn(batch, row)
            start = row  # the row that clears holds a level as well
        self._apply(batch, plain, start, batch.count)

    def append(self, rows: RowBuffer, stamp: Callable[[], int]) -> int:
        """Append one message per book that is in step; how many there were."""
        count = 0
        for number, book in sorted(self._books.items()):
            if book.good:
                self._append_book(number, book, stamp(), rows)
                count += 1
        return count

    def _append_book(self, number: int, book: _Book, ts: int, rows: RowBuffer) -> None:
        flags = _CLEAR | _SNAPSHOT
        note: bytes | None = encode_canonical(BookData(note=CARRIED))
        for side, price, size in book.levels() or [(NO_SIDE, 0, 0)]:
            rows.append(
                ts,
                _BOOK,
                ts_venue=book.ts_venue,
                flags=flags,
                instrument=number,
                side=side,
                price=price,
                size=size,
                id=book.id,
                data=note,
            )
            flags, note = _SNAPSHOT, None
        rows.end_message()

    def _apply(self, batch: Batch, plain: npt.NDArray[np.bool_], start: int, stop: int) -> None:
        chosen = np.flatnonzero(plain[start:stop]) + start
        if not len(chosen):
            return
        instrument = batch.instrument[chosen]
        for number in np.unique(instrument).tolist():
            at = chosen[instrument == number]
            book = self._book(number)
            for side, levels in book.sides.items():
                of_side = at[batch.side[at] == side]
                levels.update(zip(batch.price[of_side].tolist(), batch.size[of_side].tolist(), strict=True))
            book.sweep()
            book.id = int(batch.id[at[-1]])
            book.ts_venue = int(batch.ts_venue[at[-1]])

    def _turn(self, batch: Batch, row: int) -> None:
        """A row after which a book is another: cleared, out of step, or in other units."""
        kind, flags = int(batch.kind[row]), int(batch.flags[row])
        number = int(batch.instrument[row])
        if kind == _INSTRUMENT:
            definition = msgspec.json.decode(batch.data_at(row) or b"", type=InstrumentData)
            self._book(number).define(definition)
        elif kind == _STATUS:
            status = msgspec.json.decode(batch.data_at(row) or b"", type=StatusData)
            if status.event == "disconnected":
                self._lose(self._sources.get(int(batch.source[row])))
            elif status.event == "gap" and status.channel in {"book", "orders"}:
                self._book(number).good = False  # its next row, which says so too, may be long in coming
        elif kind == _SOURCE:
            source = msgspec.json.decode(batch.data_at(row) or b"", type=SourceData)
            self._sources[int(batch.source[row])] = source
        elif flags & _BAD:
            self._book(number).good = False
        elif not flags & _REPEATED:
            book = self._book(number)
            book.clear()
            book.good = True
            book.id = int(batch.id[row])
            book.ts_venue = int(batch.ts_venue[row])

    def _lose(self, source: SourceData | None) -> None:
        """A connection is gone, and with it the books that it brought; of an unknown one, all."""
        for book in self._books.values():
            what = book.definition
            if source is None or what is None or source.brings(what.venue, what.symbol):
                book.good = False

    def _book(self, number: int) -> _Book:
        book = self._books.get(number)
        if book is None:
            book = self._books[number] = _Book()
        return book
