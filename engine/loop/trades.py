"""A message's trades, through the stops and the orders of ours that rest.

They run before the message's own rows of the book: those say what the trades have left. A trade that brings
its book along is told by it and cannot be late, whatever both are stamped; any other is compared with the
book's last time, because an earlier message may have shown it already. Stops that such a trade triggers take
from the book that it has left, and so they wait for its rows.
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
    """1 when rows first..last change this instrument's book."""
    kinds = uint8_at(v.column_kind, v.rows)
    flags = uint16_at(v.column_flags, v.rows)
    numbers = uint32_at(v.column_instrument, v.rows)
    by_order = instruments_at(s.instruments, s.instrument_count)[number].by_order
    for i in range(first, last + 1):
        applied = kinds[i] == BOOK and not flags[i] & (NEVER_MATCH | MAYBE_BAD)
        if applied and numbers[i] == number and ((flags[i] & BY_ORDER) != 0) == (by_order != 0):
            return 1
    return 0


@jit.helper
def run_trades(s: Any, v: Any, first: int, last: int, after: int) -> int:
    """The trades and marks among rows first..last, one by one; 1 when some of it is left for `after`.

    Before the message's book rows (`after` 0), all but the stops of an instrument whose book is to change;
    after them, these.
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
        if after and not brings:
            continue
        market = markets[2 * number + (v.offset >> 1)]
        source = STOP_LAST
        if kinds[i] == TRADE:
            market.last_price = prices[i]
        elif v.matches:
            source = STOP_MARK
            instrument.mark = prices[i]
        if not v.matches:
            continue
        if instrument.stops > 0 and instrument.stop_source == source:
            if brings and not after:
                left = 1
            else:
                # On trades alone the last one is both sides' best price.
                trigger_stops(s, number)
                settle(s)
        if kinds[i] == TRADE and not after and instrument.resting > 0 and row_sides[i] != 0:
            if not market.book_bad:
                if asked != number:  # a stop has just come to rest
                    asked = number
                    own = brings_book(s, v, first, last, number)
                shown = own == 0 and is_shown(s, instrument, market, stamps[i])
                match_trade(s, number, row_sides[i], prices[i], sizes[i], shown, stamps[i], own)
                settle(s)
    return left
