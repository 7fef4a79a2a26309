"""The simulated venue: what becomes of orders when the market moves.

It uses only what has been received: the book, quotes and trades of the rows applied so far. It never
looks at the strategy, and tells it nothing directly: everything it decides goes onto the agenda as a
report, due a response latency later.

An instrument is matched on its depth if the log has it, else its quotes, else its trades. Quotes are kept
as a book of one level a side, so that all rules below hold for both:

- taking: `size - consumed` of each level, best first; what we took stays consumed while it is displayed;
- resting: an order's `front` is what stands before it, UNKNOWN where the venue shows nothing;
- a trade beyond our price fills at most its size (THROUGH), one at our price what exceeds the front
  (QUEUE), and one trade is shared by all our orders; an opposite best price at or beyond ours fills what
  is displayed there (CROSSED; RESYNC after a bad book), always at our own limit.

On trades alone the last trade is both best prices, without a size limit, and a taker pays the slippage.
"""

from __future__ import annotations

from typing import Any

from engine.execution.codes import R_FUNDS, R_OVERFLOW, R_QUEUE, R_TAKER, R_THROUGH
from engine.execution.fees import cost_to_buy, sale_pays
from engine.execution.fills import (
    fill,
    free_cash,
    market_of,
    seen_market_of,
    seen_side_of,
    side_of,
    venue_owned,
)
from engine.execution.money import OVERFLOW
from engine.execution.order_queue import beyond_front
from engine.execution.queues import on_trade
from engine.execution.resting import make, take_note
from engine.execution.slippage import slipped_price
from engine.execution.state import (
    MATCH_BARS,
    MATCH_BOOK,
    MATCH_NONE,
    MATCH_QUOTES,
    MATCH_TRADES,
    instruments_at,
    orders_at,
    state_at,
)
from engine.market.book import (
    LOWEST_KEY,
    UNKNOWN,
    best_key,
    find,
    next_own,
    next_shown,
    note_of,
    notes_at,
    size_of,
)
from engine.model import jit
from engine.model.units import NULL_TIME

MILLION = 1_000_000


@jit.helper
def take(s: Any, slot: int, limit_key: int) -> int:
    """Let an order take liquidity at prices whose key (for the opposite side) is at least `limit_key`.

    0, or the Reason why it ended early: money overflows or, in a cash account, runs out.
    """
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    sign = -order.side  # of the side that is taken
    if instrument.match_on == MATCH_TRADES:
        last = market_of(s, order.instrument).last_price
        price = limited_price(s, instrument, last, order.side, limit_key)
        return int(affordable_fill(s, slot, price, order.venue_size - order.venue_filled))
    side = side_of(s, order.instrument, sign)
    best = best_key(side)
    if best == LOWEST_KEY:
        return 0
    if s.whole_fills:
        return int(affordable_fill(s, slot, best * sign, order.venue_size - order.venue_filled))
    key = best
    while key >= limit_key and key != LOWEST_KEY and order.venue_filled < order.venue_size:
        handle = find(side, key)
        left = available(s, side, handle)
        if left > 0:
            wanted = order.venue_size - order.venue_filled
            filled = order.venue_filled
            ended = affordable_fill(s, slot, key * sign, wanted if wanted < left else left)
            if order.venue_filled > filled and s.consume:
                take_note(s, side, handle).consumed += order.venue_filled - filled
            if ended != 0:
                return int(ended)
        key = next_shown(side, key)
    if instrument.match_on == MATCH_QUOTES and not has_limit(order) and order.venue_filled < order.venue_size:
        worse = slipped_price(s, instrument, best * sign, order.side)
        return int(affordable_fill(s, slot, worse, order.venue_size - order.venue_filled))
    return 0


@jit.helper
def limited_price(s: Any, instrument: Any, last: int, side: int, limit_key: int) -> int:
    """On trades alone: the last price and the slippage, no worse than the limit, never below a tick."""
    price = slipped_price(s, instrument, last, side)
    if price * -side < limit_key:
        price = limit_key * -side
    return int(price if price > instrument.tick else instrument.tick)


@jit.helper
def affordable_fill(s: Any, slot: int, price: int, size: int) -> int:
    """Fill as taker; in a cash account only what the venue's own account can pay for. 0, or a Reason."""
    most = affordable(s, slot, price, size)
    if most > 0 and not fill(s, slot, price, most, R_TAKER, 0):
        return R_OVERFLOW
    return R_FUNDS if most < size else 0


@jit.helper
def affordable(s: Any, slot: int, price: int, size: int) -> int:
    """How much of `size` an order can take at `price`: all, but in a cash account what that can pay for."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    most = size
    if s.account_type == 1:
        if order.side < 0:
            if venue_owned(instrument) < size:
                most = venue_owned(instrument)
                most -= most % instrument.lot
            if most > 0 and not sale_pays(instrument, price, most, instrument.taker_rate, free_cash(s, slot)):
                return 0
        else:
            free = free_cash(s, slot)
            if not _costs_at_most(instrument, price, size, free):
                low = 0
                high = size // instrument.lot
                while low < high:  # the greatest number of lots that it pays for
                    middle = (low + high + 1) >> 1
                    if _costs_at_most(instrument, price, middle * instrument.lot, free):
                        low = middle
                    else:
                        high = middle - 1
                most = low * instrument.lot
    return int(most)


@jit.helper
def can_pay(s: Any, slot: int, limit_key: int) -> bool:
    """In a cash account, whether an order can pay for all that it would take now."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if s.account_type != 1:
        return True
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    wanted = order.venue_size - order.venue_filled
    if order.side < 0:
        return bool(venue_owned(instrument) >= wanted)
    free = free_cash(s, slot)
    rate = instrument.taker_rate
    if instrument.match_on == MATCH_TRADES:
        # The fill that follows draws the same again.
        high = s.slippage_high
        low = s.slippage_low
        price = limited_price(s, instrument, market_of(s, order.instrument).last_price, 1, limit_key)
        s.slippage_high = high
        s.slippage_low = low
        cost = cost_to_buy(instrument, price, wanted, rate)
        return bool(cost != OVERFLOW and cost <= free)
    side = side_of(s, order.instrument, -1)
    key = best_key(side)
    if s.whole_fills:
        cost = cost_to_buy(instrument, -key, wanted, rate)
        return bool(cost != OVERFLOW and cost <= free)
    while key >= limit_key and key != LOWEST_KEY and wanted > 0:
        left = available(s, side, find(side, key))
        if left > 0:
            size = wanted if wanted < left else left
            cost = cost_to_buy(instrument, -key, size, rate)
            if cost == OVERFLOW or cost > free:
                return False
            free -= cost
            wanted -= size
        key = next_shown(side, key)
    if instrument.match_on == MATCH_QUOTES and not has_limit(order) and wanted > 0:
        high = s.slippage_high
        low = s.slippage_low
        worse = slipped_price(s, instrument, -best_key(side), 1)
        s.slippage_high = high
        s.slippage_low = low
        cost = cost_to_buy(instrument, worse, wanted, rate)
        return bool(cost != OVERFLOW and cost <= free)
    return True


@jit.helper
def available(s: Any, side: Any, handle: int) -> int:
    """What is left for us of a displayed level; not positive when nothing is."""
    index = note_of(side, handle)
    consumed = notes_at(s.notes, s.note_capacity)[index].consumed if index >= 0 else 0
    return int(size_of(side, handle) - consumed)


@jit.helper
def available_within(s: Any, side: Any, limit_key: int, enough: int) -> int:
    """Displayed and not consumed size at `limit_key` or better, counted up to `enough`."""
    total = 0
    key = best_key(side)
    while key >= limit_key and key != LOWEST_KEY and total < enough:
        left = available(s, side, find(side, key))
        if left > 0:
            total += left
        key = next_shown(side, key)
    return int(total)


@jit.helper
def _costs_at_most(instrument: Any, price: int, size: int, cash: int) -> bool:
    cost = cost_to_buy(instrument, price, size, instrument.taker_rate)
    return bool(cost != OVERFLOW and cost <= cash)


@jit.helper
def would_match(s: Any, slot: int) -> bool:
    """Whether a limit order's price reaches the displayed opposite best price."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    sign = -order.side
    if instrument.match_on == MATCH_TRADES:
        return bool(market_of(s, order.instrument).last_price * sign >= order.price * sign)
    best = best_key(side_of(s, order.instrument, sign))
    return bool(best != LOWEST_KEY and best >= order.price * sign)


_crossed, _trade = jit.function_at(3), jit.function_at(8)


@jit.inlined
def match_crossed(s: Any, index: int, reason: int) -> None:
    """Call `fill_crossed` where it stands."""
    _crossed(s.run_crossed, s.here, index, reason)


@jit.inlined
def match_trade(
    s: Any, index: int, aggressor: int, price: int, size: int, shown: bool, stamp: int, own: int
) -> None:
    """Call `fill_by_trade` where it stands."""
    _trade(s.run_trade, s.here, index, aggressor, price, size, 1 if shown else 0, stamp, own)


@jit.operation("int64(int64,int64,int64)")
def fill_crossed(state: int, index: int, reason: int) -> int:
    """Resting orders that an opposite best price has reached fill at their own limit, as makers."""
    s = state_at(state, 1)[0]
    orders = orders_at(s.orders, s.order_capacity)
    notes = notes_at(s.notes, s.note_capacity)
    for sign in (1, -1):
        own = side_of(s, index, sign)
        other = side_of(s, index, -sign)
        best = best_key(other)
        if best == LOWEST_KEY:
            continue
        key = own.own_key
        while key != LOWEST_KEY and key >= -best:
            slot = notes[note_of(own, find(own, key))].head
            while slot >= 0:
                order = orders[slot]
                following = order.next
                open_size = order.venue_size - order.venue_filled
                got = 0
                at = best_key(other)
                while at != LOWEST_KEY and got < open_size and at >= -key:
                    handle = find(other, at)
                    left = available(s, other, handle)
                    if left > 0:
                        part = open_size - got
                        if left < part and not s.whole_fills:
                            part = left
                        if s.consume:
                            take_note(s, other, handle).consumed += part
                        got += part
                    at = next_shown(other, at)
                if got > 0:
                    make(s, slot, got, reason)
                slot = following
            key = next_own(notes, own, key)
    return 0


@jit.inlined
def is_shown(s: Any, instrument: Any, market: Any, stamp: int) -> bool:
    """Whether the book shows a trade already that comes without rows of its own.

    By order, equal times decide nothing: each order of ours knows what has been shown at that time.
    """
    if s.set_apart_late == 0 or instrument.match_on != MATCH_BOOK or stamp == NULL_TIME:
        return False
    if stamp == market.depth_ts_venue:
        return bool(instrument.by_order == 0)
    return bool(stamp < market.depth_ts_venue)


@jit.operation("int64(int64,int64,int64,int64,int64,int64,int64,int64)")
def fill_by_trade(
    state: int, index: int, aggressor: int, price: int, size: int, shown: int, stamp: int, own: int
) -> int:
    """A trade: orders of ours that it went through, then, unless the book already shows it, the queue.

    `own`: its message has rows of a book by order, too, which are still to be applied.
    """
    s = state_at(state, 1)[0]
    orders = orders_at(s.orders, s.order_capacity)
    notes = notes_at(s.notes, s.note_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    sign = -aggressor  # a seller hits bids
    side = side_of(s, index, sign)
    traded = price * sign
    remaining = size
    key = side.own_key
    while key > traded and remaining > 0:
        slot = notes[note_of(side, find(side, key))].head
        while slot >= 0 and remaining > 0:
            order = orders[slot]
            following = order.next
            part = order.venue_size - order.venue_filled
            if remaining < part and not s.whole_fills and not s.whole_through:
                part = remaining
            if part > 0:  # not when a fill of its partner has just used it up
                if s.share_trades:
                    remaining -= part if part < remaining else remaining
                make(s, slot, part, R_THROUGH)
            slot = following
        key = next_own(notes, side, key)
    if shown or instrument.match_on == MATCH_TRADES:
        return 0  # on trades alone nothing is known of the queue
    note = note_of(side, find(side, traded))
    if note < 0:
        return 0
    slot = notes[note].head
    ours = size - remaining
    while slot >= 0:
        order = orders[slot]
        following = order.next
        if order.front != UNKNOWN:
            if instrument.by_order:
                excess = beyond_front(s, order, size, stamp, own) - ours
            else:
                excess = on_trade(s, order, size) - ours
            if excess > 0:
                part = order.venue_size - order.venue_filled
                if excess < part and not s.whole_fills:
                    part = excess
                if part > 0:
                    if s.share_trades:
                        ours += part
                    make(s, slot, part, R_QUEUE)
        slot = following
    return 0


@jit.inlined
def has_limit(order: Any) -> bool:
    """Whether an order's price is a limit; else it takes whatever the market offers."""
    return bool(order.kind & 1 == 0)


@jit.inlined
def collar_of(s: Any, price: int) -> int:
    """How far the collar reaches from a price; in two parts, so that no product overflows."""
    share = s.collar_millionths
    return int(price // MILLION * share + (price % MILLION) * share // MILLION)


@jit.helper
def best_price(s: Any, index: int, sign: int) -> int:
    """Best price of a side that the strategy sees, or the last trade on trades alone; 0: there is none."""
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    if instrument.match_on == MATCH_TRADES or instrument.match_on == MATCH_BARS:
        return int(seen_market_of(s, index).last_price)
    if instrument.match_on == MATCH_NONE:
        return 0
    best = best_key(seen_side_of(s, index, sign))
    return int(best * sign) if best != LOWEST_KEY else 0
