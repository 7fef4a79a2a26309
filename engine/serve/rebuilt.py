"""Rows back into the payloads that a venue would have sent, for recordings that kept no frames.

A message of rows becomes one payload of its kind (trades: one each). What rows do not have is filled in
so that a client's checks hold: update ids continue where the rows have none, a snapshot in the middle
becomes the diff that leads to it. A quote's missing side is the one last known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from engine.log.schema import Batch
from engine.model.kinds import BID, BarData, Flag, InstrumentData, Kind, Part
from engine.model.units import NULL_TIME, SECOND_NS, format_decimal
from engine.serve.candles import INTERVAL_SECONDS
from engine.serve.synthetic import SNAPSHOT, Event

_UNUSABLE = int(Flag.MAYBE_BAD_BOOK | Flag.DUPLICATE | Flag.REJECTED_TICK)
_CLEAR, _REVISED = int(Flag.CLEAR), int(Flag.REVISED)
_VENUE_DECIMALS = 8
_INTERVALS = {seconds: name for name, seconds in INTERVAL_SECONDS.items() if seconds}


def decimal_text(mantissa: int, decimals: int) -> str:
    """The venue's spelling: at least eight decimals."""
    if decimals < _VENUE_DECIMALS:
        return format_decimal(mantissa * 10 ** (_VENUE_DECIMALS - decimals), _VENUE_DECIMALS)
    return format_decimal(mantissa, decimals)


def levels_payload(batch: Batch, start: int, stop: int, data: InstrumentData) -> dict[str, Any]:
    """Rows start..stop of a book's message as a REST depth answer; levels of size 0 are left out."""
    bids: list[list[str]] = []
    asks: list[list[str]] = []
    for row in range(start, stop):
        price, size = int(batch.price[row]), int(batch.size[row])
        if size and batch.kind[row] == Kind.BOOK:
            level = [decimal_text(price, data.price_decimals), decimal_text(size, data.size_decimals)]
            (bids if batch.side[row] == BID else asks).append(level)
    return {"lastUpdateId": int(batch.id[start]), "bids": bids, "asks": asks}


def runs(batch: Batch, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A message's rows start..stop in parts that are one payload each: one kind, one instrument, one picture.

    A frame of some venues holds several messages of several kinds. A side that comes again begins another
    quote, a part that comes again another bar, a cleared book another book.
    """
    begin = start
    seen: set[int] = set()
    for row in range(start, stop):
        kind = int(batch.kind[row])
        mark = int(batch.side[row]) if kind == Kind.QUOTE else 0
        if kind == Kind.BAR:
            mark = int(batch.part[row])
        other = kind != batch.kind[begin] or batch.instrument[row] != batch.instrument[begin]
        again = kind in {Kind.QUOTE, Kind.BAR} and mark in seen
        clears = row > begin and kind == Kind.BOOK and int(batch.flags[row]) & _CLEAR
        if other or again or clears:
            yield begin, row
            begin, seen = row, set()
        seen.add(mark)
    yield begin, stop


class RebuiltStreams:
    """Messages of rows into events. Remembers what the next message needs of the ones before."""

    def __init__(self) -> None:
        self._instruments: dict[int, InstrumentData] = {}
        self._quotes: dict[tuple[int, int], list[str]] = {}
        self._books: dict[int, dict[tuple[int, str], str]] = {}
        self._ids: dict[int, int] = {}
        self._counts: dict[int, int] = {}

    def define(self, number: int, data: InstrumentData) -> None:
        """An instrument's definition, from here on."""
        self._instruments[number] = data

    def message(self, batch: Batch, start: int, stop: int) -> Iterator[Event]:
        """The events of rows start..stop, one whole message."""
        kind = int(batch.kind[start])
        data = self._instruments.get(int(batch.instrument[start]))
        # Some ticks of a message may be rejected, each with a STATUS row behind it.
        same, usable = batch.kind[start:stop] == kind, batch.flags[start:stop] & _UNUSABLE == 0
        if kind == Kind.TRADE:
            usable &= batch.flags[start:stop] & _REVISED == 0  # no trade of its own
        rows = (start + np.flatnonzero(same & usable)).tolist()
        if data is None or not rows:
            return
        if kind == Kind.TRADE:
            for row in rows:
                yield self._trade(batch, row, data)
        elif kind == Kind.QUOTE:
            yield from self._quote(batch, rows, data)
        elif not usable[0]:
            return
        elif kind == Kind.BOOK:
            yield self._book(batch, start, stop, data)
        elif kind == Kind.BAR:
            yield from _bar(batch, start, stop, data)

    def _trade(self, batch: Batch, row: int, data: InstrumentData) -> Event:
        time_us = _venue_us(batch, row)
        number = int(batch.instrument[row])
        trade_id = int(batch.id[row]) or self._counts.get(number, 0) + 1
        self._counts[number] = trade_id
        aggregate = bool(int(batch.flags[row]) & Flag.AGGREGATE)
        payload: dict[str, Any] = {
            "e": "aggTrade" if aggregate else "trade",
            "E": time_us,
            "s": data.symbol,
            "a" if aggregate else "t": trade_id,
            "p": decimal_text(int(batch.price[row]), data.price_decimals),
            "q": decimal_text(int(batch.size[row]), data.size_decimals),
            **({"f": trade_id, "l": trade_id} if aggregate else {}),
            "T": time_us,
            "m": int(batch.side[row]) < 0,
            "M": True,
        }
        return Event(int(batch.ts[row]), f"{data.symbol.lower()}@{payload['e']}", payload)

    def _quote(self, batch: Batch, rows: list[int], data: InstrumentData) -> Iterator[Event]:
        start = rows[0]
        number = int(batch.instrument[start])
        for row in rows:
            self._quotes[number, int(batch.side[row])] = [
                decimal_text(int(batch.price[row]), data.price_decimals),
                decimal_text(int(batch.size[row]), data.size_decimals),
            ]
        bid, ask = self._quotes.get((number, BID)), self._quotes.get((number, -BID))
        if bid is None or ask is None:
            return
        update_id = self._next_id(number, int(batch.id[start])) if "book" not in data.channels else 0
        payload = {
            "u": int(batch.id[start]) or update_id,
            "s": data.symbol,
            "b": bid[0],
            "B": bid[1],
            "a": ask[0],
            "A": ask[1],
        }
        yield Event(int(batch.ts[start]), f"{data.symbol.lower()}@bookTicker", payload)

    def _book(self, batch: Batch, start: int, stop: int, data: InstrumentData) -> Event:
        number = int(batch.instrument[start])
        before = self._books.get(number)
        clears = bool(int(batch.flags[start]) & _CLEAR)
        changes: dict[tuple[int, str], str] = {}
        for row in range(start, stop):
            price = decimal_text(int(batch.price[row]), data.price_decimals)
            size = decimal_text(int(batch.size[row]), data.size_decimals)
            if int(batch.price[row]) or int(batch.size[row]):
                changes[int(batch.side[row]), price] = size
        prefix = data.symbol.lower()
        last_before = self._ids.get(number)
        last = self._next_id(number, int(batch.id[start]))
        book = {} if clears or before is None else before
        book.update({level: size for level, size in changes.items() if size.strip("0.")})
        for level in [level for level, size in changes.items() if not size.strip("0.")]:
            book.pop(level, None)
        self._books[number] = book
        if clears and before is None:
            payload = levels_payload(batch, start, stop, data) | {"lastUpdateId": last}
            return Event(int(batch.ts[start]), prefix + SNAPSHOT, payload)
        if clears and before is not None:
            gone = {level: decimal_text(0, data.size_decimals) for level in before if level not in book}
            changes = gone | {level: size for level, size in book.items() if before.get(level) != size}
        payload = {
            "e": "depthUpdate",
            "E": _venue_us(batch, start),
            "s": data.symbol,
            "U": last if last_before is None else last_before + 1,
            "u": last,
            "b": [[price, size] for (side, price), size in changes.items() if side == BID],
            "a": [[price, size] for (side, price), size in changes.items() if side != BID],
        }
        return Event(int(batch.ts[start]), prefix + "@depth@100ms", payload)

    def _next_id(self, number: int, given: int) -> int:
        """The update id of a message: its own, or the next one where the rows have none."""
        before = self._ids.get(number, 0)
        self._ids[number] = given if given > before else before + 1
        return self._ids[number]


def _bar(batch: Batch, start: int, stop: int, data: InstrumentData) -> Iterator[Event]:
    rows = {int(batch.part[row]): row for row in range(start, stop)}
    if set(rows) != {Part.OPEN, Part.HIGH, Part.LOW, Part.CLOSE}:
        return
    opened, closed = rows[Part.OPEN], rows[Part.CLOSE]
    raw = batch.data_at(opened)
    length_ns = 0 if raw is None else msgspec.json.decode(raw, type=BarData).interval_ns
    interval = _INTERVALS.get(length_ns // SECOND_NS)
    begin_us = _venue_us(batch, opened)
    if interval is None:
        return

    def price(part: Part) -> str:
        return decimal_text(int(batch.price[rows[part]]), data.price_decimals)

    payload = {
        "e": "kline",
        "E": int(batch.ts[closed]) // 1_000,
        "s": data.symbol,
        "k": {
            "t": begin_us,
            "T": begin_us + length_ns // 1_000 - 1,
            "s": data.symbol,
            "i": interval,
            "f": -1,
            "L": -1,
            "o": price(Part.OPEN),
            "c": price(Part.CLOSE),
            "h": price(Part.HIGH),
            "l": price(Part.LOW),
            "v": decimal_text(int(batch.size[closed]), data.size_decimals),
            "n": int(batch.id[closed]),
            "x": bool(int(batch.flags[closed]) & Flag.FINAL),
            "q": decimal_text(0, 8),
            "V": decimal_text(0, 8),
            "Q": decimal_text(0, 8),
            "B": "0",
        },
    }
    yield Event(int(batch.ts[start]), f"{data.symbol.lower()}@kline_{interval}", payload)


def _venue_us(batch: Batch, row: int) -> int:
    stamp = int(batch.ts_venue[row])
    return (int(batch.ts[row]) if stamp == NULL_TIME else stamp) // 1_000
