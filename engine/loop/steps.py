"""One step of the loop: a message, or one item of the agenda.

Before a message with time t is applied, everything due at or before t runs, at its own due time. All its book
and quote rows are applied together; then what crosses fills; then its trades run; then it is delivered,
once. What that creates with due = t runs before the next message. An END row moves nothing.

Nothing here allocates. What could run out of room says so before it starts, and is called again.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import pop, release
from engine.execution.amending import arrive_amend
from engine.execution.arrival import arrive_cancel, expire, trigger_stops
from engine.execution.codes import (
    R_CROSSED,
    R_RESYNC,
)
from engine.execution.links import arrive_and_settle, release_waiting, settle
from engine.execution.matching import match_crossed
from engine.execution.order_rows import end_orders, order_row, table_room
from engine.execution.resting import begin_snapshot, end_snapshot, set_best, set_level
from engine.execution.state import (
    ITEM_AMEND,
    ITEM_CANCEL,
    ITEM_CHARGE,
    ITEM_EXPIRY,
    ITEM_ORDER,
    ITEM_TIMER,
    MATCH_BOOK,
    MATCH_QUOTES,
    SIDES_EACH,
    STOP_BID_ASK,
    VENUE_DONE,
    heap_at,
    instruments_at,
    int8_at,
    int64_at,
    items_at,
    markets_at,
    orders_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.loop.bar_rows import mark, seq_at
from engine.loop.codes import (
    BAR,
    BOOK,
    BY_ORDER,
    CHARGE,
    CLEAR,
    DRAIN_EQUITY,
    END,
    GROW_ITEMS,
    GROW_LEVELS,
    GROW_NOTES,
    GROW_ORDER_TABLE,
    LAST,
    MARK,
    MAYBE_BAD,
    NEVER_MATCH,
    QUOTE,
    SNAPSHOT,
    TRADE,
)
from engine.loop.hearing import hear
from engine.loop.plain import note_quote
from engine.loop.timers import fire
from engine.loop.trades import run_trades
from engine.loop.valuing import sample_equity
from engine.market.book import MAX_WIDTH, sides_at
from engine.model import jit
from engine.model.units import NULL_TIME


@jit.inlined
def np_int(value: int) -> int:
    """An unsigned column value as a signed integer."""
    return int(value)


@jit.helper
def message_end(s: Any, v: Any, first: int) -> int:
    """Last row of the message that begins at `first`; -GROW_… when room must be made first. Counts trades."""
    flags = uint16_at(v.column_flags, v.rows)
    kinds = uint8_at(v.column_kind, v.rows)
    numbers = uint32_at(v.column_instrument, v.rows)
    end = first
    n = v.rows
    if not s.row_by_row or flags[first] & SNAPSHOT:
        while end < n - 1 and not flags[end] & LAST:
            end += 1
    rows = end - first + 1
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    previous = -1
    s.message_trades = 0
    for i in range(first, end + 1):
        if kinds[i] == TRADE or kinds[i] == MARK:
            s.message_trades += 1
        elif (kinds[i] == BOOK or kinds[i] == QUOTE) and numbers[i] != previous:
            previous = np_int(numbers[i])
            first_side = SIDES_EACH * previous + v.offset
            for k in range(first_side, first_side + 2):
                # One place more for an order of ours that comes to rest.
                need = sides[k].width + sides[k].far_count + rows + s.live_orders + 1
                wide = sides[k].misses <= 4 * sides[k].width or sides[k].width >= MAX_WIDTH
                if need > sides[k].far_capacity or not wide:
                    s.out_slot = k
                    s.out_need = need
                    return -GROW_LEVELS
            if instruments_at(s.instruments, s.instrument_count)[previous].by_order:
                s.out_need = table_room(s, previous, v.offset, rows)
                if s.out_need > 0:
                    s.out_slot = 2 * previous + (v.offset >> 1)
                    return -GROW_ORDER_TABLE
    return end


@jit.inlined
def room_for(s: Any, trades: int) -> int:
    """0 when agenda and notes have room for all that a message of so many trades, or an arrival, can need.

    Taking fills one level or ends one order at a time; of every trade each resting order may get a part.
    """
    notes = 2 * s.widest_side + s.live_orders + 64
    items = notes + s.live_orders * (trades + 1)
    items += 4 * (s.stop_orders + s.linked_orders)  # accepted, triggered, amended, ended
    if not s.consume:  # each of them may walk all levels
        items += (s.waiting_orders + s.stop_orders + s.linked_orders) * s.widest_side
    if s.item_free_count < items:
        s.out_need = items
        return GROW_ITEMS
    if s.note_free_count < notes:
        s.out_need = notes
        return GROW_NOTES
    return 0


@jit.inlined
def room_for_bars(s: Any) -> int:
    """0 when there is room for what bars can do to an order: accept, trigger, resize, fill and end it."""
    need = 8 * s.live_orders + 64
    if s.item_free_count < need:
        s.out_need = need
        return GROW_ITEMS
    return DRAIN_EQUITY if s.equity_count == s.equity_capacity else 0


@jit.helper
def after_book(s: Any, v: Any, number: int) -> None:
    """A message has changed this book: close a snapshot, fill what crosses, let arrivals in that waited."""
    instrument = instruments_at(s.instruments, s.instrument_count)[number]
    market = markets_at(s.markets, 2 * s.instrument_count)[2 * number + (v.offset >> 1)]
    resynchronised = market.touched == 2 and market.resynchronise != 0
    if instrument.by_order:
        end_orders(s, v, market, number)
    elif market.touched == 2:
        end_snapshot(s, market, SIDES_EACH * number + v.offset)
    market.touched = 0
    if market.book_bad or not v.matches:
        return
    if instrument.stops > 0 and instrument.stop_source == STOP_BID_ASK:
        trigger_stops(s, number)
        settle(s)
    if instrument.resting > 0:
        match_crossed(s, number, R_RESYNC if resynchronised else R_CROSSED)
        settle(s)
    if instrument.waiting_head >= 0:
        release_waiting(s, number)


@jit.helper
def apply_message(s: Any, v: Any, first: int, last: int) -> None:
    """Apply rows first..last as one step: book and quotes, what crosses, then the trades."""
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    row_sides = int8_at(v.column_side, n)
    prices = int64_at(v.column_price, n)
    sizes = int64_at(v.column_size, n)
    stamps = int64_at(v.column_ts_venue, n)
    ids = int64_at(v.column_id, n)
    sources = uint16_at(v.column_source, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    markets = markets_at(s.markets, 2 * s.instrument_count)
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    place = v.offset >> 1
    trades_left = 0
    if s.message_trades > 0:
        trades_left = run_trades(s, v, first, last, 0)
    touched = -1
    several = False
    restated = -1  # an instrument whose book this message only says again
    for i in range(first, last + 1):
        kind = kinds[i]
        if kind == BOOK:
            number = np_int(numbers[i])
            instrument = instruments[number]
            market = markets[2 * number + place]
            flag = flags[i]
            if instrument.match_on != MATCH_BOOK:
                continue
            if flag & MAYBE_BAD:
                market.book_bad = 1
                continue
            if flag & NEVER_MATCH or ((flag & BY_ORDER) != 0) != (instrument.by_order != 0):
                continue
            if flag & CLEAR:
                # A segment begins with the books carried into it: for a run that comes from the segment
                # before, that is what it has. The engine's own rows (source 0) and the number decide.
                same = sources[i] == 0 and ids[i] != 0 and ids[i] == market.depth_id
                restated = number if same and not market.book_bad else -1
            if restated == number:
                continue
            if touched != number:
                several = several or touched >= 0
                touched = number
                market.touched = 1
            if instrument.by_order:
                order_row(s, v, market, i)
                continue
            if flag & CLEAR:
                begin_snapshot(s, market, SIDES_EACH * number + v.offset)
                market.touched = 2
            if row_sides[i] != 0:
                side = sides[SIDES_EACH * number + v.offset + (row_sides[i] < 0)]
                set_level(s, side, prices[i] * row_sides[i], sizes[i])
            market.depth_id = ids[i]
            if stamps[i] != NULL_TIME:
                market.depth_ts_venue = stamps[i]
        elif kind == QUOTE:
            number = np_int(numbers[i])
            instrument = instruments[number]
            if flags[i] & NEVER_MATCH:
                continue
            if v.told:
                note_quote(instrument, row_sides[i], prices[i], sizes[i])
            if instrument.match_on == MATCH_QUOTES:
                side = sides[SIDES_EACH * number + v.offset + (row_sides[i] < 0)]
                set_best(s, side, prices[i] * row_sides[i], sizes[i])
                market = markets[2 * number + place]
                if touched != number:
                    several = several or touched >= 0
                    touched = number
                    market.touched = 1
        elif kind == BAR and v.told:
            mark(s, v, i)
    if touched >= 0:
        if several:
            for number in range(s.instrument_count):
                if markets[2 * number + place].touched:
                    after_book(s, v, number)
        else:
            after_book(s, v, touched)
    if trades_left:
        run_trades(s, v, first, last, 1)
    s.message_number += 1


_step, _due = jit.function_at(3), jit.function_at(1)


@jit.inlined
def step(s: Any, v: Any, end: int) -> int:
    """Call `apply` where it stands."""
    return int(_step(s.run_step, s.here, v.here, end))


@jit.inlined
def run_item(s: Any) -> int:
    """Call `run_due` where it stands."""
    return int(_due(s.run_due, s.here))


@jit.operation("int64(int64,int64,int64)")
def apply(state: int, stream: int, end: int) -> int:
    """Apply a stream's next message, whose last row is `end`; 0, or why it could not be started."""
    s = state_at(state, 1)[0]
    v = stream_at(stream, 1)[0]
    first = v.row
    if uint8_at(v.column_kind, v.rows)[first] == END:
        v.row = end + 1
        return 0
    time = int64_at(v.column_time, v.rows)[first]
    if v.told and time >= s.next_sample:
        if s.equity_count == s.equity_capacity:
            return DRAIN_EQUITY
        sample_equity(s, time)
    s.now = time
    apply_message(s, v, first, end)
    if v.told:
        s.cause_seq = seq_at(v, end)
    v.row = end + 1
    return 0


@jit.inlined
def first_slot(s: Any) -> int:
    """Item slot at the top of the heap."""
    return int(heap_at(s.heap, s.item_capacity)[0])


@jit.operation("int64(int64)")
def run_due(state: int) -> int:
    """Run the first item of the agenda at its due time; 0, or what Python has to deliver."""
    s = state_at(state, 1)[0]
    # An order that comes to rest needs a level; make sure before anything is taken off the agenda.
    items = items_at(s.items, s.item_capacity)
    top = items[first_slot(s)]
    if top.kind == ITEM_ORDER or top.kind == ITEM_AMEND or (s.linked_orders > 0 and top.slot >= 0):
        order = orders_at(s.orders, s.order_capacity)[top.slot]
        own = SIDES_EACH * order.instrument + (0 if order.side > 0 else 1)
        first = SIDES_EACH * order.instrument
        for k in range(first, first + 2):
            side = sides_at(s.sides, SIDES_EACH * s.instrument_count)[k]
            need = side.width + side.far_count + s.linked_orders + 1
            if need > side.far_capacity and (k == own or s.linked_orders > 0):
                s.out_slot = k
                s.out_need = need
                return GROW_LEVELS
    slot = pop(s)
    item = items[slot]
    if item.due > s.now:
        s.now = item.due
    kind = item.kind
    if kind == ITEM_ORDER:
        order = orders_at(s.orders, s.order_capacity)[item.slot]
        # A corporate action may have ended it on its way.
        if order.generation == item.generation and order.venue_state != VENUE_DONE:
            arrive_and_settle(s, item.slot)
        release(s, slot)
        return 0
    if kind == ITEM_CANCEL or kind == ITEM_AMEND or kind == ITEM_EXPIRY:
        if kind == ITEM_CANCEL:
            arrive_cancel(s, item.slot, item.generation)
        elif kind == ITEM_EXPIRY:
            expire(s, item.slot, item.generation)
        else:
            arrive_amend(s, item.slot, item.generation, item.size, item.price, item.id)
        settle(s)
        release(s, slot)
        return 0
    if kind == ITEM_TIMER:
        return int(fire(s, slot))
    if kind == ITEM_CHARGE:
        s.out_timer = item.id
        s.out_due = item.due
        release(s, slot)
        return CHARGE
    code = hear(s, item)
    release(s, slot)
    return code
