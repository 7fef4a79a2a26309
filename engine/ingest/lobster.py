"""A pair of LOBSTER files as a source of an import: books by price or by order, trades, crosses, halts.

An execution (types 4 and 5) is a TRADE row; its side is the aggressor's, against the resting order's, its id
the resting order's. A cross (6) has no aggressor. A halt, quoting again and trading again (7) are STATUS
rows. What the message did to the book is

    by price (the default)   the changes between two states of the file's levels (`depth_window`), with the
                             line's number as id
    by order                 what is left of the orders that changed (`lobster_orders`), with theirs

A line becomes one message. Of an execution by order it is the trade and then what it has left: a run lets the
trade meet the orders as they stood before. By price an execution is two messages: the trade, then the book
after it, without a `ts_venue` of its own. A book that carried the trade's own time would say that it shows
the trade already, and so the next ones of the same instant: such trades move no queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.ingest.depth_rows import in_order, rows_of_changes
from engine.ingest.depth_window import DepthWindow
from engine.ingest.lobster_files import (
    ADDED,
    CROSS,
    EXECUTED,
    HALT,
    HIDDEN,
    PRICE_DECIMALS,
    Events,
    Pair,
    midnight_of,
    read_messages,
    read_pair,
    tick_decimals,
)
from engine.ingest.lobster_orders import OrderBook
from engine.ingest.sources import Source
from engine.ingest.tabular_blocks import Block, Packed
from engine.ingest.tabular_lines import Placed, Tally
from engine.ingest.tabular_survey import Survey
from engine.ingest.tabular_values import Integers
from engine.model.errors import InputError
from engine.model.kinds import Flag, Kind, StatusData, encode_canonical
from engine.model.rows import ROW
from engine.model.units import MAX_INT64, NULL_TIME, POWERS_OF_TEN

_LAST, _IMPORTED, _BY_ORDER = int(Flag.LAST), int(Flag.IMPORTED), int(Flag.BY_ORDER)
_HALTS = {-1: "halted", 0: "quoting", 1: "trading"}
_UNKNOWN = (
    "messages name an order that no message added (the opening book is not in the file): they count "
    "against the rest at their price"
)
_VANISHED = "orders were gone when their price came into sight again"
_SILENT = "messages change nothing that the file's levels show, and made no row"


class LobsterSource(Source):
    """One pair. `by_order`: rows by order in place of rows by price."""

    venue = "nasdaq"
    currency = "USD"
    rows_per_line = 2

    def __init__(self, pair: Pair, *, by_order: bool) -> None:
        self.path, self.name = pair.messages.path, pair.messages.name
        self.kind = "lobster by order" if by_order else "lobster"
        self.tally = Tally()
        self._pair, self._by_order = pair, by_order
        self._midnight = midnight_of(pair.day, self.name)
        self._book: Callable[[Events, Packed], tuple[Block, npt.NDArray[np.intp]]]

    def look(self, _undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
        """Look through the messages; the ticks are those of the orders that can be seen."""
        found = Survey()
        decimals = 0
        for rows, values in read_messages(self._pair, self._midnight):
            progress(len(rows))
            times, kinds, prices = values[:, 0], values[:, 1], values[:, 4]
            found.first_ts = found.first_ts or int(times[0])
            found.last_ts = int(times[-1])
            found.rows += len(rows)
            decimals = max(decimals, tick_decimals(prices[(kinds >= ADDED) & (kinds <= EXECUTED)]))
        if not found.rows:
            raise InputError(f"{self.name}: holds no rows")
        found.decimals[self._pair.symbol] = (decimals, 0)
        found.finest[self._pair.symbol] = PRICE_DECIMALS
        found.channels[self._pair.symbol] = ("trade", "orders" if self._by_order else "book")
        return found

    def blocks(self, _work: Path) -> Iterator[Block]:
        """Lines to rows; whole messages, in order."""
        self._book = self._changes_by_order() if self._by_order else self._changes_by_price()
        symbol, tally = self._pair.symbol, self.tally
        for events in read_pair(self._pair, self._midnight):
            stamps = self._stamps(events)
            trades, trade_lines = self._trades(events, stamps)
            status, status_lines = _status(events, stamps)
            behind = stamps
            if not self._by_order:
                behind = stamps.copy()
                behind["ts_venue"][trade_lines] = NULL_TIME
            book, book_lines = self._book(events, behind)
            if self._by_order:
                trades.packed["flags"][np.isin(trade_lines, book_lines)] &= ~np.uint16(_LAST)
            places = [trade_lines, status_lines, book_lines]
            silent = len(events.row) - len(np.unique(np.concatenate(places)))
            tally.add(tally.notes, _SILENT, silent)
            negative = sum(int(((p < 0) & (s > 0)).sum()) for p, s in (events.bids, events.asks))
            tally.add(tally.negative, symbol, negative)
            block = in_order([trades, status, book], places)
            if len(block):
                yield block

    @property
    def _units(self) -> Placed:
        return self.placed[self._pair.symbol]

    def _stamps(self, events: Events) -> Packed:
        packed = np.zeros(len(events.row), dtype=ROW)
        packed["ts_venue"] = events.ts
        packed["ts"] = events.ts + self.feed_latency_ns
        packed["source"] = self.number
        packed["instrument"] = self._units.number
        packed["flags"] = _IMPORTED | _LAST
        packed["kind"] = int(Kind.BOOK)
        packed["id"] = events.row
        packed["wire_length"] = packed["data_length"] = -1
        return packed

    def _prices(self, values: Integers) -> Integers:
        return _scaled(self.name, "price", values, self._units.price_decimals - PRICE_DECIMALS)

    def _sizes(self, values: Integers) -> Integers:
        return _scaled(self.name, "size", values, self._units.size_decimals)

    def _trades(self, events: Events, stamps: Packed) -> tuple[Block, npt.NDArray[np.intp]]:
        kinds = events.type
        lines = np.flatnonzero((kinds == EXECUTED) | (kinds == HIDDEN) | (kinds == CROSS))
        rows = stamps[lines].copy()
        rows["kind"] = int(Kind.TRADE)
        rows["price"] = self._prices(events.price[lines])
        rows["size"] = self._sizes(events.size[lines])
        rows["side"] = np.where(kinds[lines] == CROSS, 0, -events.direction[lines])
        rows["id"] = np.maximum(events.id[lines], 0)
        units, tally = self._units, self.tally
        off = (rows["price"] % units.tick != 0) | (rows["size"] % units.lot != 0)
        tally.add(tally.off_increment, self._pair.symbol, int(off.sum()))
        return Block(rows), lines

    def _changes_by_price(self) -> Callable[[Events, Packed], tuple[Block, npt.NDArray[np.intp]]]:
        window = DepthWindow(self._pair.levels)

        def changes(events: Events, stamps: Packed) -> tuple[Block, npt.NDArray[np.intp]]:
            found = window.apply(events.bids, events.asks)
            self.tally.add(self.tally.crossed, self._pair.symbol, found.crossed)
            block, lines = rows_of_changes(found, stamps)
            block.packed["price"] = self._prices(block.packed["price"])
            block.packed["size"] = self._sizes(block.packed["size"])
            return block, lines

        return changes

    def _changes_by_order(self) -> Callable[[Events, Packed], tuple[Block, npt.NDArray[np.intp]]]:
        book = OrderBook(self._pair.levels)
        begun = False

        def changes(events: Events, stamps: Packed) -> tuple[Block, npt.NDArray[np.intp]]:
            nonlocal begun
            unknown, vanished = book.unknown, book.vanished
            messages = zip(*(c.tolist() for c in _columns(events)), strict=True)
            states = zip(*(c.tolist() for c in (*events.bids, *events.asks)), strict=True)
            found = [
                (line, *row)
                for line, (message, (bp, bs, ap, sizes)) in enumerate(zip(messages, states, strict=True))
                for row in book.apply(message, (bp, bs), (ap, sizes))
            ]
            tally = self.tally
            tally.add(tally.notes, _UNKNOWN, book.unknown - unknown)
            tally.add(tally.notes, _VANISHED, book.vanished - vanished)
            columns = np.array(found, dtype=np.int64).reshape(-1, 6)
            lines = columns[:, 0].astype(np.intp)
            rows = stamps[lines].copy()
            rows["side"] = columns[:, 1]
            rows["price"] = self._prices(columns[:, 2])
            rows["size"] = self._sizes(columns[:, 3])
            rows["id"] = columns[:, 4]
            last = np.append(lines[1:] != lines[:-1], True)[: len(lines)]
            rows["flags"] = np.where(last, _IMPORTED | _BY_ORDER | _LAST, _IMPORTED | _BY_ORDER)
            rows["flags"] |= np.where(columns[:, 5] != 0, int(Flag.SNAPSHOT), 0).astype(np.uint16)
            if not begun and len(rows):
                begun = True
                first = lines == lines[0]
                rows["flags"][first] |= int(Flag.SNAPSHOT)
                rows["flags"][0] |= int(Flag.CLEAR)
            return Block(rows), lines

        return changes


def _columns(events: Events) -> tuple[Integers, ...]:
    return events.type, events.id, events.size, events.price, events.direction


def _scaled(name: str, what: str, values: Integers, digits: int) -> Integers:
    if digits <= 0 or not len(values):
        return values
    factor = POWERS_OF_TEN[digits]
    if int(np.abs(values).max()) > MAX_INT64 // factor:
        raise InputError(f"{name}: a {what} does not fit 64 bits in the increments that were given")
    return values * np.int64(factor)


def _status(events: Events, stamps: Packed) -> tuple[Block, npt.NDArray[np.intp]]:
    lines = np.flatnonzero(events.type == HALT)
    rows = stamps[lines].copy()
    rows["kind"] = int(Kind.STATUS)
    texts = [
        encode_canonical(StatusData("session", detail=_HALTS.get(price, f"halt code {price}"))).decode()
        for price in events.price[lines].tolist()
    ]
    rows["id"] = 0
    rows["data_length"] = [len(text) for text in texts]
    return Block(rows, pa.array(texts, pa.string())), lines
