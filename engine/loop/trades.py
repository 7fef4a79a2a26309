"""A message's trades, one by one, through the stops and then the orders of ours that rest.

They run after the message's own rows of the book, whose last time says whether it shows a trade already.
A book by order is the exception: there its rows say what the trades have left, order by order, and so the
trades come first; one that brings its rows along cannot be late, whatever both are stamped. Stops that such a
trade triggers take from the book that it has left, and so they wait for its rows.
"""

from __future__ import annotations

from typing import Any

from engine.execution.arrival import trigger_stops
from engine.execution.links import settle
from engine.execution.matching import is_shown, match_trade
from engine.execution.state import (
    STOP_LAST,
    STOP_MARK,
    instruments_at,
    int8_at,
    int64_at,
    markets_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.codes import AGGREGATE, BOOK, BY_ORDER, MARK, MAYBE_BAD, NEVER_MATCH, TRADE
from engine.model import jit


@jit.helper
def brings_book(s: Any, v: Any, first: int, last: int, number: int) -> int:
    """1 when rows first..last change this instrument's book, which is one by order."""
    kinds = uint8_at(v.column_kind, v.rows)
    flags = uint16_at(v.column_flags, v.rows)
    numbers = uint32_at(v.column_instrument, v.rows)
    if instruments_at(s.instruments, s.instrument_count)[number].by_order == 0:
        return 0
    for i in range(first, last + 1):
        applied = kinds[i] == BOOK and flags[i] & BY_ORDER and not flags[i] & (NEVER_MATCH | MAYBE_BAD)
        if applied and numbers[i] == number:
            return 1
    return 0


@jit.helper
def run_trades(s: Any, v: Any, first: int, last: int, after: int) -> int:
    """The trades and marks among rows first..last, one by one; 1 when some of it is left for `after`.

    Before the message's book rows (`after` 0), those of a book by order, but for the stops that wait for the
    rows; after them these, and all of the others.
    """
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    row_sides = int8_at(v.column_side, n)
    prices = int64_at(v.column_price, n)
    sizes = int64_at(v.column_size, n)
    stamps = int64_at(v.column_ts_venue, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    markets = markets_at(s.markets, 2 * s.instrument_count)
    asked = -1
    own = 0
    left = 0
    for i in range(first, last + 1):
        if kinds[i] != TRADE and kinds[i] != MARK:
            continue
        number = int(numbers[i])
        instrument = instruments[number]
        flag = flags[i]
        if flag & NEVER_MATCH or (flag & AGGREGATE and instrument.has_trades):
            continue
        if v.matches and asked != number and (instrument.resting > 0 or instrument.stops > 0 or after):
            asked = number
            own = brings_book(s, v, first, last, number)
        brings = asked == number and own != 0
        if not after and instrument.by_order == 0:
            left = 1
            continue
        if after and instrument.by_order and not brings:
            continue
        market = markets[2 * number + (v.offset >> 1)]
        source = STOP_LAST
        if kinds[i] == TRADE:
            market.last_price = prices[i]
        else:
            source = STOP_MARK
            market.mark = prices[i]
        if not v.matches:
            continue
        if instrument.stops > 0 and instrument.stop_source == source:
            if brings and not after:
                left = 1
            else:
                # On trades alone the last one is both sides' best price.
                trigger_stops(s, number)
                settle(s)
        now = after == 0 or instrument.by_order == 0
        if kinds[i] == TRADE and now and instrument.resting > 0 and row_sides[i] != 0:
            if not market.book_bad:
                if asked != number:  # a stop has just come to rest
                    asked = number
                    own = brings_book(s, v, first, last, number)
                shown = own == 0 and is_shown(s, instrument, market, stamps[i])
                match_trade(s, number, row_sides[i], prices[i], sizes[i], shown, stamps[i], own)
                settle(s)
    return left
