"""The fast path: messages that change a book, a quote or the last price, and cause nothing else.

Nearly all of a log is such messages. They are applied here in one loop without leaving it; what is not
plain (flags, snapshots, several instruments, anything due, a match, a delivery) ends it, and the general
step takes over. Both give the same state: a message that turns out not to be plain half-way is applied
again from its first row, which changes nothing more. That holds for displayed sizes; a level with a note of
ours, whose queue or consumption would move twice, is only touched when all of the message is plain.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import R_CROSSED
from engine.execution.matching import is_shown, match_crossed, match_trade
from engine.execution.resting import set_best, set_level
from engine.execution.state import (
    MATCH_BARS,
    MATCH_BOOK,
    MATCH_QUOTES,
    SIDES_EACH,
    STOP_LAST,
    deliveries_at,
    instruments_at,
    int8_at,
    int64_at,
    markets_at,
    state_at,
    stream_at,
    uint8_at,
    uint16_at,
    uint32_at,
)
from engine.execution.stops import concerns_stops
from engine.loop.bar_rows import is_final, seq_at
from engine.loop.codes import BAR, BOOK, DELIVER, H_TRADE, LAST, NOT_PLAIN, QUOTE, TRADE
from engine.loop.handing import hand, has_room
from engine.loop.listing import list_whole
from engine.loop.plain_orders import plain_orders
from engine.loop.valuing import sample_equity
from engine.market.book import LOWEST_KEY, bit_at_or_below, has_bit, key_of, settle, sides_at, slot_of
from engine.model import jit
from engine.model.units import NULL_TIME


@jit.inlined
def crosses(sides: Any, number: int) -> bool:
    """Whether an order of ours may stand at or beyond the opposite best price."""
    bids = sides[SIDES_EACH * number]
    asks = sides[SIDES_EACH * number + 1]
    if bids.best < 0 or asks.best < 0:
        return True
    return bool(bids.own_key >= -key_of(asks, asks.best) or asks.own_key >= -key_of(bids, bids.best))


@jit.helper
def plain_to_its_end(s: Any, v: Any, row: int, stop: int) -> bool:
    """Whether a message's rows from `row` on are depth of one book, with room for new levels."""
    n = v.rows
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    row_sides = int8_at(v.column_side, n)
    number = numbers[row]
    end = row
    while True:
        book = kinds[end] == BOOK and row_sides[end] != 0
        if flags[end] & NOT_PLAIN or numbers[end] != number or not book:
            return False
        if flags[end] & LAST or end == n - 1:
            break
        end += 1
        if end >= stop:
            return False
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    first_side = SIDES_EACH * int(number) + v.offset
    for k in range(first_side, first_side + 2):
        if sides[k].far_count + sides[k].width + (end - row) + 3 > sides[k].far_capacity:
            return False
    return True


@jit.inlined
def note_quote(instrument: Any, sign: int, price: int, size: int) -> None:
    """What the quote stream says last is what ctx.quote gives."""
    instrument.quote_seen = 1
    if sign > 0:
        instrument.quote_bid = price
        instrument.quote_bid_size = size
    else:
        instrument.quote_ask = price
        instrument.quote_ask_size = size


@jit.inlined
def quote_side(s: Any, side: Any, key: int, size: int) -> None:
    """A quote's one side: the same slot with another size, another slot, or the general way."""
    slot = slot_of(side, key)
    best = side.best
    words = side.width >> 6
    if (
        slot < 0
        or best < 0
        or size <= 0
        or side.own_key != LOWEST_KEY
        or has_bit(int64_at(side.noted, words), best)
        or has_bit(int64_at(side.noted, words), slot)
    ):
        set_best(s, side, key, size)
        return
    shown = int64_at(side.shown, words)
    values = int64_at(side.sizes, side.width)
    shown[best >> 6] = 0
    values[best] = 0
    shown[slot >> 6] = 1 << (slot & 63)
    values[slot] = size
    side.best = slot
    side.known_key = key


@jit.operation("int64(int64,int64,int64,int64,int64)")
def plain(state: int, stream: int, stop: int, horizon: int, address: int) -> int:
    """Apply a stream's plain messages that end before row `stop` and lie before the time `horizon`.

    Equity is sampled on the way: all that it is made of stands in the records.

    With the address of the state, a compiled strategy is handed what is for it on the way, until it does
    something; DELIVER or FAILED_HANDLER when that could not be done here. The caller has made sure that
    agenda and notes have room for one message.
    """
    s = state_at(state, 1)[0]
    v = stream_at(stream, 1)[0]
    n = v.rows
    times = int64_at(v.column_time, n)
    kinds = uint8_at(v.column_kind, n)
    flags = uint16_at(v.column_flags, n)
    numbers = uint32_at(v.column_instrument, n)
    row_sides = int8_at(v.column_side, n)
    prices = int64_at(v.column_price, n)
    sizes = int64_at(v.column_size, n)
    stamps = int64_at(v.column_ts_venue, n)
    ids = int64_at(v.column_id, n)
    instruments = instruments_at(s.instruments, s.instrument_count)
    markets = markets_at(s.markets, 2 * s.instrument_count)
    sides = sides_at(s.sides, SIDES_EACH * s.instrument_count)
    offset = v.offset
    matches = v.matches
    deliveries = deliveries_at(s.deliveries, s.delivery_capacity)
    trades_wanted = address != 0 and (s.strategy_handlers >> H_TRADE) & 1 != 0
    created = s.creation
    if address != 0:
        s.trigger = 0
        s.trigger_id = 0
    row_by_row = s.row_by_row
    row = v.row
    began = row
    now = s.now
    while row < stop:
        ts = times[row]
        if ts >= horizon:
            break
        if v.told and ts >= s.next_sample:
            if s.equity_count == s.equity_capacity:
                break
            sample_equity(s, ts)
        kind = kinds[row]
        if kind != BOOK and kind != TRADE and kind != QUOTE and kind != BAR:
            break
        number = int(numbers[row])
        instrument = instruments[number]
        market = markets[2 * number + (offset >> 1)]
        resting = instrument.resting if matches else 0
        if resting > 0 and s.linked_orders > 0:
            break
        if matches and instrument.stops > 0 and instrument.stop_source != STOP_LAST:
            break
        matched = False
        end = row
        if kind == TRADE and resting == 0 and flags[row] & (NOT_PLAIN | LAST) == LAST:
            # Most messages of a log of trades: one that meets nothing of ours.
            price = prices[row]
            if matches and concerns_stops(instrument, price):
                break
            market.last_price = price
            now = ts
            row += 1
            if trades_wanted and (instrument.want >> H_TRADE) & 1:
                s.now = now
                s.cause_seq = seq_at(v, end)
                if s.stopped != 0 or not has_room(s):
                    v.row = row
                    list_whole(s, end, end)
                    return DELIVER
                code = hand(s, address, H_TRADE, end, end)
                if code != 0:
                    v.row = row
                    list_whole(s, end, end)
                    return code
                if s.creation != created:
                    v.row = row
                    return 0  # it has done something, which may be due at once
            continue
        orders_end = -1
        if instrument.by_order and kind != QUOTE:
            orders_end = plain_orders(s, v, row, stop, resting)
            if orders_end < 0 and kind == BOOK:
                break
        if orders_end >= 0:
            end = orders_end
            now = ts
            if resting > 0 and crosses(sides, number):
                s.now = ts
                match_crossed(s, number, R_CROSSED)
                matched = True
        elif kind == BOOK or kind == TRADE:
            on_book = instrument.match_on == MATCH_BOOK and instrument.by_order == 0
            trades = 0
            sure = False
            deepest = -1  # last depth row
            stamp = NULL_TIME
            plain = not market.book_bad
            while plain:
                kind = kinds[end]
                flag = flags[end]
                plain = end < stop and not flag & NOT_PLAIN and numbers[end] == number
                if not plain:
                    break
                if kind == BOOK:
                    sign = int(row_sides[end])
                    if sign == 0 or not on_book:
                        plain = False
                        break
                    deepest = end
                    if stamps[end] != NULL_TIME:
                        stamp = stamps[end]
                    side = sides[SIDES_EACH * number + offset + (sign < 0)]
                    size = sizes[end]
                    slot = slot_of(side, prices[end] * sign)
                    words = side.width >> 6
                    if slot < 0 or has_bit(int64_at(side.noted, words), slot):
                        if side.far_count + side.width + 2 > side.far_capacity:
                            plain = False
                            break
                        if not (row_by_row or sure):
                            sure = plain_to_its_end(s, v, row, stop)
                            if not sure:
                                plain = False
                                break
                        set_level(s, side, prices[end] * sign, size)
                    else:
                        shown = int64_at(side.shown, words)
                        if size > 0:
                            int64_at(side.sizes, side.width)[slot] = size
                            if not has_bit(shown, slot):
                                shown[slot >> 6] |= 1 << (slot & 63)
                                if slot > side.best:
                                    side.best = slot
                        elif has_bit(shown, slot):
                            int64_at(side.sizes, side.width)[slot] = 0
                            shown[slot >> 6] &= ~(1 << (slot & 63))
                            if slot == side.best:
                                side.best = bit_at_or_below(shown, slot - 1)
                                if side.best < side.width >> 3:
                                    settle(side)
                elif kind == TRADE:
                    trades += 1
                    if matches and concerns_stops(instrument, prices[end]):
                        plain = False
                        break
                else:
                    plain = False
                    break
                if flag & LAST or row_by_row or end == n - 1:
                    break
                end += 1
            if not plain:
                break
            if resting > 0 and trades > 1:
                break  # more to fill than there may be room for
            now = ts
            if deepest >= 0:
                market.depth_id = ids[deepest]
                if stamp != NULL_TIME:
                    market.depth_ts_venue = stamp
                if resting > 0 and crosses(sides, number):
                    s.now = ts
                    match_crossed(s, number, R_CROSSED)
                    matched = True
            if trades > 0:
                for i in range(row, end + 1):
                    if kinds[i] != TRADE:
                        continue
                    price = prices[i]
                    market.last_price = price
                    sign = -int(row_sides[i])
                    if resting == 0 or sign == 0:
                        continue
                    if sides[SIDES_EACH * number + offset + (sign < 0)].own_key >= price * sign:
                        shown_already = is_shown(s, instrument, market, stamps[i])
                        s.now = ts
                        match_trade(s, number, -sign, price, sizes[i], shown_already, stamps[i], 0)
                        matched = True
        elif kind == BAR:
            end = row + 3
            if not v.told or end >= stop or not (flags[end] & LAST or end == n - 1):
                break
            plain = True
            for i in range(row + 1, end + 1):
                plain = plain and kinds[i] == BAR and numbers[i] == number and not flags[i - 1] & LAST
            if not plain:
                break
            if instrument.match_on == MATCH_BARS:
                if instrument.bar_head >= 0 and row > s.bars_matched:
                    break  # it meets orders of ours first
                if is_final(v, row):
                    market.last_price = prices[end]
                    markets[2 * number].last_price = prices[end]
            now = ts
        else:
            if not flags[row] & LAST and row < n - 1:
                end = row + 1
            if row_by_row and end > row:
                break  # two steps
            if end >= stop or not (flags[end] & LAST or end == n - 1):
                break
            if numbers[end] != number or kinds[end] != QUOTE:
                break
            if (flags[row] | flags[end]) & NOT_PLAIN:
                break
            if end > row and not (row_sides[row] > 0 and row_sides[end] < 0):
                break
            on_quotes = instrument.match_on == MATCH_QUOTES
            if on_quotes:
                bids = sides[SIDES_EACH * number + offset]
                asks = sides[SIDES_EACH * number + offset + 1]
                if bids.far_count + bids.width + 2 > bids.far_capacity:
                    break
                if asks.far_count + asks.width + 2 > asks.far_capacity:
                    break
            now = ts
            for i in range(row, end + 1):
                sign = int(row_sides[i])
                if v.told:
                    note_quote(instrument, sign, prices[i], sizes[i])
                if on_quotes:
                    side = sides[SIDES_EACH * number + offset + (sign < 0)]
                    quote_side(s, side, prices[i] * sign, sizes[i])
            if on_quotes and resting > 0 and crosses(sides, number):
                s.now = ts
                match_crossed(s, number, R_CROSSED)
                matched = True
        row = end + 1
        if address != 0 and instrument.want != 0 and list_whole(s, end, end) > 0:
            s.now = now
            v.row = row
            s.cause_seq = seq_at(v, end)
            while s.out_first < s.out_last:
                delivery = deliveries[s.out_first]
                if s.stopped != 0 or not has_room(s):
                    return DELIVER
                code = hand(s, address, delivery.handler, delivery.first, delivery.last)
                if code != 0:
                    return code
                s.out_first += 1
            if s.creation != created:
                return 0  # it has done something, which may be due at once
        if matched:
            break
    if row > began:
        s.now = now
        v.row = row
        if v.told:
            s.cause_seq = seq_at(v, row - 1)
    return 0


_plain = jit.function_at(5)


@jit.inlined
def run_plain(s: Any, v: Any, stop: int, horizon: int, address: int) -> int:
    """Call `plain` where it stands."""
    return int(_plain(s.run_plain, s.here, v.here, stop, horizon, address))
