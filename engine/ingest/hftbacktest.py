"""Event arrays of hftbacktest as a source of an import.

    DEPTH          BOOK row; rows of one pair of times that stand together are one message
    CLEAR, SNAPSHOT  both sides cleared: a snapshot; one side cleared: its levels are deleted
    TRADE          TRADE row, a message each        BEST (bbo)   QUOTE rows
    ADD, MODIFY, CANCEL   BOOK rows BY_ORDER, a message each: what is left of the order, 0 if it is gone
    FILL           changes no book there, and none here; a TRADE row where the array has no trades at all

`local_ts` becomes `ts`, `exch_ts` becomes `ts_venue`. An array may hold an event twice, once for the
exchange's order (EXCH) and once for the order in which it was received (LOCAL): those for LOCAL are taken,
and the others counted. The array has no messages: trades and orders of one time stay apart, each 1 ns behind
the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.ingest.depth_rows import EMPTY
from engine.ingest.hftbacktest_books import Clears, Orders
from engine.ingest.hftbacktest_files import (
    ADD_ORDER,
    BEST,
    BUY,
    CANCEL_ORDER,
    CLEAR,
    CODES,
    DEPTH,
    FILL,
    LOCAL,
    SELL,
    SNAPSHOT,
    TRADE,
    EventFile,
    Events,
)
from engine.ingest.sources import Source
from engine.ingest.tabular_blocks import Block, Packed
from engine.ingest.tabular_lines import Placed, Tally
from engine.ingest.tabular_order import sorted_blocks
from engine.ingest.tabular_survey import Survey
from engine.ingest.tabular_values import Column, Integers, decimals_needed, mantissas
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag, Kind
from engine.model.rows import ROW
from engine.model.units import NULL_TIME

_IMPORTED, _LAST = int(Flag.IMPORTED), int(Flag.LAST)
_ELSEWHERE = "events are for the exchange's order only (EXCH without LOCAL), and were left out"
_STRANGE = "events have a code that is none of hftbacktest's, and were left out"
_FILLS = "fills were left out: the array has its trades"
_ONE_SIDED = "one side of the book was cleared; its levels were deleted one by one"
# Events of one group may be rows of one message; 0: each is one.
_GROUP = np.zeros(256, dtype=np.int8)
_GROUP[DEPTH], _GROUP[CLEAR], _GROUP[SNAPSHOT], _GROUP[BEST] = 1, 2, 2, 3
_KIND = np.full(256, int(Kind.BOOK), dtype=np.uint8)
_KIND[TRADE] = _KIND[FILL] = int(Kind.TRADE)
_KIND[BEST] = int(Kind.QUOTE)
Index = npt.NDArray[np.intp]


class HftbacktestSource(Source):
    """One array; of one instrument, which --symbol names."""

    kind = "hftbacktest"

    def __init__(self, file: EventFile, symbols: tuple[str, ...]) -> None:
        if len(symbols) != 1:
            raise UsageError(
                f"{file.name}: an array does not say whose events these are, and --symbol names "
                f"{len(symbols) or 'none'}",
                hint="say it: --symbol BTCUSDT",
            )
        self.path, self.name = file.path, file.name
        self.tally = Tally()
        self._file, self._symbol = file, symbols[0]
        self._codes = np.zeros(256, dtype=np.int64)
        self._sort = self._begun = False
        self._clears: Clears | None = None
        self._orders: Orders | None = None

    def look(self, undefined: Callable[[str], bool], progress: Callable[[int], None]) -> Survey:
        """Look through the whole array: times, decimals, which events there are."""
        found = Survey()
        wanted = undefined(self._symbol)
        price = size = latest = 0
        for rows, events in self._pieces(count=True):
            progress(len(events))
            codes = _codes(events)
            self._codes += np.bincount(codes, minlength=256)
            times = events["local_ts"]
            if (times <= 0).any():
                raise self._column(rows, events, "local_ts").error(int((times <= 0).argmax()), "is no time")
            before = np.maximum.accumulate(np.append(latest, times))
            found.out_of_order += int((times < before[:-1]).sum())
            found.first_ts = min(found.first_ts or int(times[0]), int(times.min()))
            latest = found.last_ts = int(before[-1])
            found.rows += len(events)
            sides = _sides(events)
            self._check(rows, events, codes, sides)
            if wanted:
                priced = codes != CLEAR
                price = max(price, decimals_needed(self._column(rows, events, "px", priced)))
                size = max(size, decimals_needed(self._column(rows, events, "qty", priced)))
            if self._clears is None and Clears.needed(codes, sides, _starts(events, codes)):
                self._clears = Clears()
            if self._orders is None and Orders.needed(codes, sides, events["px"]):
                self._orders = Orders()
        if not found.rows:
            raise InputError(f"{self.name}: holds no events")
        self._sort = bool(found.out_of_order)
        found.decimals[self._symbol] = (price, size)
        found.channels[self._symbol] = self._channels()
        return found

    def blocks(self, work: Path) -> Iterator[Block]:
        """Events to rows, as whole messages, in order."""
        folder = work / f"sort-{self.number}"
        blocks = (self._block(rows, events) for rows, events in self._pieces(count=False))
        if self._sort:
            folder.mkdir()
            blocks = (block for block in sorted_blocks(blocks, folder))
        yield from blocks
        with suppress(OSError):
            folder.rmdir()

    def _channels(self) -> tuple[str, ...]:
        there = (
            ("trade", bool(self._codes[TRADE] or self._codes[FILL])),
            ("quote", bool(self._codes[BEST])),
            ("book", bool(self._codes[[DEPTH, SNAPSHOT]].any())),
            ("orders", self._has_orders),
        )
        return tuple(name for name, has in there if has)

    @property
    def _has_orders(self) -> bool:
        return bool(self._codes[ADD_ORDER : FILL + 1].any())

    def _column(
        self, rows: Integers, events: Events, name: str, where: npt.NDArray[np.bool_] | None = None
    ) -> Column:
        values = events[name]
        if where is not None:
            values, rows = values[where], rows[where]
        return Column(self.name, name, pa.array(np.ascontiguousarray(values)), rows)

    def _pieces(self, *, count: bool) -> Iterator[tuple[Integers, Events]]:
        """Events that were received, with their numbers; a piece ends where a group of rows ends."""
        held: tuple[Integers, Events] | None = None
        for first, chunk in self._file.chunks():
            local = (chunk["ev"] & np.uint64(LOCAL)) != 0
            known = np.isin(_codes(chunk), CODES)
            keep = local & known
            if count:
                self.tally.add(self.tally.notes, _ELSEWHERE, int((~local).sum()))
                self.tally.add(self.tally.notes, _STRANGE, int((local & ~known).sum()))
            rows = np.flatnonzero(keep).astype(np.int64) + first
            events = chunk[keep]
            if held is not None:
                rows, events = np.concatenate([held[0], rows]), np.concatenate([held[1], events])
            if not len(rows):
                continue
            cut = int(_starts(events, _codes(events))[-1])
            held = (rows[cut:], events[cut:])
            if cut:
                yield rows[:cut], events[:cut]
        if held is not None and len(held[0]):
            yield held

    def _check(self, rows: Integers, events: Events, codes: Integers, sides: Integers) -> None:
        """InputError at the first event that lacks what its kind needs."""
        priced = np.isin(codes, (DEPTH, TRADE, SNAPSHOT, BEST, ADD_ORDER))
        for name in ("px", "qty"):
            bad = priced & ~np.isfinite(events[name])
            if bad.any():
                raise self._column(rows, events, name).error(int(bad.argmax()), "is no number")
        bad = priced & (events["qty"] < 0)
        if bad.any():
            raise self._column(rows, events, "qty").error(int(bad.argmax()), "is negative")
        bad = priced & (codes != TRADE) & (sides == 0)
        if bad.any():
            raise self._column(rows, events, "ev").error(
                int(bad.argmax()), "names no side", "a level or an order is BUY (1 << 29) or SELL (1 << 28)"
            )

    def _block(self, rows: Integers, events: Events) -> Block:
        codes = _codes(events)
        units = self.placed[self._symbol]
        packed = np.zeros(len(events), dtype=ROW)
        packed["ts"] = events["local_ts"]
        packed["ts_venue"] = np.where(events["exch_ts"] > 0, events["exch_ts"], NULL_TIME)
        packed["source"], packed["instrument"] = self.number, units.number
        packed["kind"] = _KIND[codes]
        packed["id"] = events["order_id"]
        packed["side"] = _sides(events)
        packed["wire_length"] = packed["data_length"] = -1
        packed["price"] = self._mantissas(rows, events, "px", units)
        packed["size"] = np.where(codes == CANCEL_ORDER, 0, self._mantissas(rows, events, "qty", units))
        by_order = (codes >= ADD_ORDER) & (codes < FILL)
        packed["flags"] = np.where(by_order, _IMPORTED | int(Flag.BY_ORDER), _IMPORTED)
        packed["flags"] |= np.where(codes == SNAPSHOT, int(Flag.SNAPSHOT), 0).astype(np.uint16)
        packed["side"] = np.where(codes == FILL, -packed["side"], packed["side"])  # the resting order's there
        starts = _starts(events, codes)
        if self._orders is not None:
            self._orders.complete(packed, codes, events["px"])
        keep = np.ones(len(packed), dtype=bool)
        if self._codes[TRADE]:
            keep &= codes != FILL
            self.tally.add(self.tally.notes, _FILLS, int((codes == FILL).sum()))
        message = np.zeros(len(packed), dtype=np.int64)
        message[starts] = 1
        message = np.cumsum(message)
        bare = self._clear(packed, codes, message, keep)
        if self._clears is not None:
            limits = np.where(np.isfinite(events["px"]), packed["price"], np.iinfo(np.int64).max)
            packed, keep, bare, message, made = self._clears.apply(packed, codes, message, limits, keep, bare)
            self.tally.add(self.tally.notes, _ONE_SIDED, made)
        packed, bare, message = packed[keep], bare[keep], message[keep]
        last = np.append(message[1:] != message[:-1], True)[: len(packed)]
        packed["flags"] |= np.where(last, _LAST, 0).astype(np.uint16)
        if not bare.any():
            return Block(packed)
        packed["data_length"][bare] = len(EMPTY)
        return Block(packed, pa.array([EMPTY if one else None for one in bare.tolist()], pa.string()))

    def _clear(
        self, packed: Packed, codes: Integers, message: Integers, keep: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Where both sides are cleared, the message's first row left clears; if none is, a bare row does."""
        bare = np.zeros(len(packed), dtype=bool)
        book = np.flatnonzero(np.isin(codes, (DEPTH, CLEAR, SNAPSHOT)))
        if not self._begun and len(book):
            self._begun = True
            if codes[book[0]] == SNAPSHOT:  # what an array begins with says how deep the book is known
                packed["flags"][book[0]] |= int(Flag.CLEAR)
        clears = np.flatnonzero(codes == CLEAR)
        keep[clears] = False
        for number in np.unique(message[clears]).tolist():
            mine = np.arange(np.searchsorted(message, number), np.searchsorted(message, number, side="right"))
            if not Clears.is_full(codes[mine], packed["side"][mine]):
                continue
            left = mine[codes[mine] != CLEAR]
            first = int(left[0]) if len(left) else int(mine[0])
            packed["flags"][first] |= int(Flag.CLEAR | Flag.SNAPSHOT)
            if not len(left):
                keep[first] = bare[first] = True
                packed["side"][first] = packed["price"][first] = packed["size"][first] = 0
                if self._has_orders:
                    packed["flags"][first] |= int(Flag.BY_ORDER)
        return bare

    def _mantissas(self, rows: Integers, events: Events, name: str, units: Placed) -> Integers:
        column = self._column(rows, events, name)
        if name == "qty":
            values = mantissas(column, units.size_decimals, units.lot, "--size-increment")
            step = units.lot
        else:
            finite = np.where(np.isfinite(events[name]), events[name], np.nan)
            column = Column(self.name, name, pa.array(finite), rows)
            values = mantissas(column, units.price_decimals, units.tick, "--price-increment")
            step = units.tick
            self.tally.add(self.tally.negative, self._symbol, int((values < 0).sum()))
        self.tally.add(self.tally.off_increment, self._symbol, int((values % step != 0).sum()))
        return values


def _codes(events: Events) -> Integers:
    codes: Integers = (events["ev"] & np.uint64(0xFF)).astype(np.int64)
    return codes


def _sides(events: Events) -> Integers:
    buy, sell = ((events["ev"] & np.uint64(bit)) != 0 for bit in (BUY, SELL))
    sides: Integers = buy.astype(np.int64) - sell.astype(np.int64)
    return sides


def _starts(events: Events, codes: Integers) -> Index:
    """Where messages begin: with every trade and order, else where times or the nature of events change."""
    group = _GROUP[codes]
    new = np.ones(len(events), dtype=bool)
    new[1:] = group[1:] != group[:-1]
    for name in ("local_ts", "exch_ts"):
        new[1:] |= events[name][1:] != events[name][:-1]
    return np.flatnonzero(new | (group == 0))
