"""The fast path of books by order: messages of rows by order, and of trades that nobody of ours meets.

A row by order cannot be applied twice, so a message is looked through before anything is done. What is not
plain is left as it is, for the general step.
"""

from __future__ import annotations

from typing import Any

from engine.execution.order_rows import end_orders, order_row, table_room
from engine.execution.state import (
    SIDES_EACH,
    instruments_at,
    int64_at,
    markets_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.execution.stops import concerns_stops
from engine.loop.codes import BOOK, BY_ORDER, LAST, NOT_PLAIN, TRADE
from engine.market.book import MAX_WIDTH, sides_at
from engine.model import jit

_orders = jit.function_at(5)


@jit.inlined
def plain_orders(s: Any, v: Any, row: int, stop: int, resting: int) -> int:
    """Call `apply_orders` where it stands."""
    return int(_orders(s.run_orders, s.here, v.here, row, stop, resting))


@jit.operation("int64(int64,int64,int64,int64,int64)")
def apply_orders(state: int, stream: int, row: int, stop: int, resting: int) -> int:
    """Apply a message that begins at `row` and ends before `stop`; its last row, or -1: nothing was done."""
    s = state_at(state, 1)[0]
    v = stream_at(stream, 1)[0]
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    prices = int64_at(v.column_price, n)
    number = int(numbers[row])
    instrument = instruments_at(s.instruments, s.instrument_count)[number]
    end = row
    while True:
        if end >= stop or numbers[end] != number:
            return -1
        odd = flags[end] & NOT_PLAIN
        if kinds[end] == BOOK:
            if odd != BY_ORDER:
                return -1
        elif (
            kinds[end] != TRADE
            or resting > 0
            or odd
            or (v.matches and concerns_stops(instrument, prices[end]))
        ):
            return -1
        if flags[end] & LAST or s.row_by_row or end == n - 1:
            break
        end += 1
    rows = end - row + 1
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    first_side = SIDES_EACH * number + v.offset
    for k in range(first_side, first_side + 2):
        side = sides[k]
        if side.far_count + side.width + rows + 1 > side.far_capacity:
            return -1
        if side.misses > 4 * side.width and side.width < MAX_WIDTH:
            return -1
    market = markets_at(s.markets, 2 * s.instrument_count)[2 * number + (v.offset >> 1)]
    if market.book_bad or table_room(s, number, v.offset, rows) > 0:
        return -1
    for i in range(row, end + 1):
        if kinds[i] == TRADE:
            market.last_price = prices[i]
        else:
            order_row(s, v, market, i)
    end_orders(s, v, market, number)
    s.message_number += 1
    return end
