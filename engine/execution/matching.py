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

from engine.execution.codes import (
    E_ACCEPTED,
    E_CANCEL_REJECTED,
    E_CANCELLED,
    E_EXPIRED,
    E_REJECTED,
    K_MARKET,
    R_EMPTY,
    R_FOK,
    R_FUNDS,
    R_IOC,
    R_NO_LIQUIDITY,
    R_NONE,
    R_OVERFLOW,
    R_POST_ONLY,
    R_QUEUE,
    R_REDUCE,
    R_REQUESTED,
    R_TAKER,
    R_THROUGH,
    R_UNKNOWN,
    T_FOK,
    T_IOC,
)
from engine.execution.fills import (
    fill,
    finish,
    free_cash,
    lock,
    market_of,
    report,
    seen_market_of,
    seen_side_of,
    side_of,
)
from engine.execution.money import OVERFLOW, cost_of
from engine.execution.queues import on_trade
from engine.execution.resting import make, rest, take_note, unrest
from engine.execution.state import (
    MATCH_BARS,
    MATCH_BOOK,
    MATCH_NONE,
    MATCH_QUOTES,
    MATCH_TRADES,
    VENUE_DONE,
    VENUE_TRAVELLING,
    VENUE_WAITING,
    VENUE_WORKING,
    instruments_at,
    orders_at,
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
        price = slipped_price(instrument, last, order.side, limit_key)
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
    if (
        instrument.match_on == MATCH_QUOTES
        and order.kind == K_MARKET
        and order.venue_filled < order.venue_size
    ):
        worse = best * sign - sign * instrument.tick
        if worse < instrument.tick:
            worse = instrument.tick
        return int(affordable_fill(s, slot, worse, order.venue_size - order.venue_filled))
    return 0


@jit.helper
def slipped_price(instrument: Any, last: int, side: int, limit_key: int) -> int:
    """On trades alone: the last price and the slippage, no worse than the limit, never below a tick."""
    price = last + side * instrument.slippage_ticks * instrument.tick
    if price * -side < limit_key:
        price = limit_key * -side
    return int(price if price > instrument.tick else instrument.tick)


@jit.helper
def affordable_fill(s: Any, slot: int, price: int, size: int) -> int:
    """Fill as taker; in a cash account only what the venue's own account can pay for. 0, or a Reason."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    most = size
    if s.account_type == 1:
        if order.side < 0:
            if instrument.venue_position < size:
                most = instrument.venue_position
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
    if most > 0 and not fill(s, slot, price, most, R_TAKER, 0):
        return R_OVERFLOW
    return R_FUNDS if most < size else 0


@jit.helper
def can_pay(s: Any, slot: int, limit_key: int) -> bool:
    """In a cash account, whether an order can pay for all that it would take now."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if s.account_type != 1:
        return True
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    wanted = order.venue_size - order.venue_filled
    if order.side < 0:
        return bool(instrument.venue_position >= wanted)
    free = free_cash(s, slot)
    rate = instrument.taker_rate
    if instrument.match_on == MATCH_TRADES:
        price = slipped_price(instrument, market_of(s, order.instrument).last_price, 1, limit_key)
        cost = cost_of(price, wanted, instrument.decimals, rate)
        return bool(cost != OVERFLOW and cost <= free)
    side = side_of(s, order.instrument, -1)
    key = best_key(side)
    if s.whole_fills:
        cost = cost_of(-key, wanted, instrument.decimals, rate)
        return bool(cost != OVERFLOW and cost <= free)
    while key >= limit_key and key != LOWEST_KEY and wanted > 0:
        left = available(s, side, find(side, key))
        if left > 0:
            size = wanted if wanted < left else left
            cost = cost_of(-key, size, instrument.decimals, rate)
            if cost == OVERFLOW or cost > free:
                return False
            free -= cost
            wanted -= size
        key = next_shown(side, key)
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
    cost = cost_of(price, size, instrument.decimals, instrument.taker_rate)
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


@jit.helper
def arrive(s: Any, slot: int) -> None:
    """An order reaches the venue."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    if instrument.match_on == MATCH_BOOK and market_of(s, order.instrument).book_bad:
        wait(s, slot)
        return
    order.venue_state = VENUE_WORKING
    if order.reduce_only:
        position = instrument.venue_position * order.side
        if position >= 0:
            finish(s, slot, E_REJECTED, R_REDUCE)
            return
        if order.venue_size > -position:
            order.venue_size = -position
    opposite = side_of(s, order.instrument, -order.side)
    if instrument.match_on == MATCH_TRADES:
        empty = market_of(s, order.instrument).last_price == 0
    else:
        empty = best_key(opposite) == LOWEST_KEY
    if order.kind == K_MARKET:
        if empty:
            finish(s, slot, E_REJECTED, R_EMPTY)
            return
        report(s, slot, E_ACCEPTED, R_NONE)
        ended = take(s, slot, LOWEST_KEY)
        if order.venue_filled < order.venue_size:
            finish(s, slot, E_CANCELLED, ended if ended != 0 else R_NO_LIQUIDITY)
        return
    matches = not empty and would_match(s, slot)
    if matches and order.post_only:
        finish(s, slot, E_EXPIRED if s.post_only_expires else E_REJECTED, R_POST_ONLY)
        return
    limit_key = order.price * -order.side
    if order.tif == T_FOK:
        enough = matches
        if matches and instrument.match_on != MATCH_TRADES and not s.whole_fills:
            enough = available_within(s, opposite, limit_key, order.venue_size) >= order.venue_size
        if not enough:
            finish(s, slot, E_EXPIRED, R_FOK)
            return
        if not can_pay(s, slot, limit_key):
            finish(s, slot, E_EXPIRED, R_FUNDS)
            return
    report(s, slot, E_ACCEPTED, R_NONE)
    ended = take(s, slot, limit_key) if matches else 0
    if ended != 0:
        finish(s, slot, E_CANCELLED, ended)
        return
    if order.venue_filled == order.venue_size:
        return
    if order.tif == T_IOC or order.tif == T_FOK:
        finish(s, slot, E_EXPIRED if s.remainder_expires else E_CANCELLED, R_IOC)
        return
    if not lock(s, slot):
        finish(s, slot, E_CANCELLED, R_FUNDS)
        return
    rest(s, slot)


@jit.helper
def wait(s: Any, slot: int) -> None:
    """Nothing matches under a bad book: the order queues until the snapshot."""
    orders = orders_at(s.orders, s.order_capacity)
    order = orders[slot]
    instrument = instruments_at(s.instruments, s.instrument_count)[order.instrument]
    order.venue_state = VENUE_WAITING
    order.next = -1
    s.waiting_orders += 1
    if instrument.waiting_head < 0:
        instrument.waiting_head = slot
    else:
        orders[instrument.waiting_tail].next = slot
    instrument.waiting_tail = slot


@jit.helper
def stop_waiting(s: Any, slot: int) -> None:
    """Take an order out of the waiting list: its slot may be another order's before the list is used."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[orders[slot].instrument]
    before = -1
    i = instrument.waiting_head
    while i >= 0 and i != slot:
        before = i
        i = orders[i].next
    if i < 0:
        return
    s.waiting_orders -= 1
    if before < 0:
        instrument.waiting_head = orders[slot].next
    else:
        orders[before].next = orders[slot].next
    if instrument.waiting_tail == slot:
        instrument.waiting_tail = before
    orders[slot].next = -1


@jit.helper
def release_waiting(s: Any, index: int) -> None:
    """The book is good again: what waited arrives, in the order it came."""
    orders = orders_at(s.orders, s.order_capacity)
    instrument = instruments_at(s.instruments, s.instrument_count)[index]
    slot = instrument.waiting_head
    instrument.waiting_head = -1
    instrument.waiting_tail = -1
    while slot >= 0:
        following = orders[slot].next
        orders[slot].next = -1
        s.waiting_orders -= 1
        arrive(s, slot)
        slot = following


@jit.helper
def arrive_cancel(s: Any, slot: int, generation: int) -> None:
    """A cancel reaches the venue; it always passes, also under a bad book."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    if order.generation != generation:
        return  # the order's end has been reported already
    if order.venue_state == VENUE_DONE:
        report(s, slot, E_CANCEL_REJECTED, R_UNKNOWN)
        return
    if order.venue_state == VENUE_TRAVELLING:
        report(s, slot, E_CANCEL_REJECTED, R_UNKNOWN)
        return
    if order.venue_state == VENUE_WAITING:
        stop_waiting(s, slot)
        finish(s, slot, E_CANCELLED, R_REQUESTED)
        return
    if order.resting:
        unrest(s, slot)
    finish(s, slot, E_CANCELLED, R_REQUESTED)


@jit.helper
def match_crossed(s: Any, index: int, reason: int) -> None:
    """Resting orders that an opposite best price has reached fill at their own limit, as makers."""
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


@jit.helper
def match_trade(s: Any, index: int, aggressor: int, price: int, size: int, shown: bool) -> None:
    """A trade: orders of ours that it went through, then, unless the book already shows it, the queue."""
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
            if s.share_trades:
                remaining -= part if part < remaining else remaining
            make(s, slot, part, R_THROUGH)
            slot = following
        key = next_own(notes, side, key)
    if shown or instrument.match_on == MATCH_TRADES:
        return  # on trades alone nothing is known of the queue
    note = note_of(side, find(side, traded))
    if note < 0:
        return
    slot = notes[note].head
    ours = size - remaining
    while slot >= 0:
        order = orders[slot]
        following = order.next
        if order.front != UNKNOWN:
            excess = on_trade(s, order, size) - ours
            if excess > 0:
                part = order.venue_size - order.venue_filled
                if excess < part and not s.whole_fills:
                    part = excess
                if s.share_trades:
                    ours += part
                make(s, slot, part, R_QUEUE)
        slot = following


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
