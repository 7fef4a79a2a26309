"""Where an order of ours stands in a book by order: a queue that is known, not believed.

In such a book every displayed order has its place. An order of ours that comes to rest stands behind all that
are displayed at its price: `joined` is its place in the sequence of arrivals, `ahead` the sum of what came
before it and is still there. `front` is what has to be sold before our turn; it is `ahead`, but for prices
that were out of sight for a while (see below).

A trade at our price and the decrease of the order that it hit are one event, told twice. `matched` keeps the
two together, whichever comes first:

    > 0    traded before us, and the orders have not become smaller yet: they will, and the front moves once
    < 0    orders before us have become smaller at the venue's time `matched_stamp`, and no trade said why:
           one of the same time that comes later is what did it

A trade that comes in one message with rows of this book is settled by that message (`matched_message`). Any
other is settled, at the latest, when the book has gone past the trade's own time: what it then does not show
was not taken from the displayed queue (a hidden order's execution), and moves nothing.

Out of sight (`hidden`): where a snapshot does not reach, nothing is known of a level. The front is kept; when
the level is shown again, all that stand there count as before us, and the front is the smaller of the two.
A row of a picture that states an order nobody had seen (SNAPSHOT without CLEAR) says that it stood there
before. It counts as before an order of ours that was placed behind the best price (`blind`), where it may
have been out of sight; at the best price or better we would have seen it.
"""

from __future__ import annotations

from typing import Any

from engine.execution.fills import market_of, side_of
from engine.execution.state import orders_at
from engine.market.book import LOWEST_KEY, UNKNOWN, best_key
from engine.market.orders_book import tables_at
from engine.model import jit
from engine.model.units import NULL_TIME


@jit.inlined
def order_table_of(s: Any, number: int) -> Any:
    """The TABLE record of an instrument's orders at the venue."""
    return tables_at(s.order_tables, 2 * s.instrument_count)[2 * number]


@jit.helper
def join(s: Any, slot: int, displayed: int) -> None:
    """An order of ours comes to rest behind all that is displayed at its price (UNKNOWN: out of sight)."""
    order = orders_at(s.orders, s.order_capacity)[slot]
    market = market_of(s, order.instrument)
    order.front = displayed
    order.ahead = max(0, displayed)
    order.hidden = 1 if displayed == UNKNOWN else 0
    order.joined = order_table_of(s, order.instrument).arrivals
    order.joined_stamp = market.depth_ts_venue
    best = best_key(side_of(s, order.instrument, order.side))
    order.blind = 1 if best != LOWEST_KEY and order.price * order.side < best else 0
    order.matched = 0
    order.matched_stamp = NULL_TIME
    order.matched_message = 0


@jit.inlined
def came_before(order: Any, arrival: int) -> bool:
    """Whether a displayed order stands before ours."""
    if arrival < 0:
        return bool(order.blind != 0 or -arrival <= order.joined)
    return bool(arrival <= order.joined)


@jit.helper
def shrink_before(s: Any, head: int, arrival: int, size: int, stamp: int) -> None:
    """A displayed order at a level of ours becomes smaller by `size`, or leaves with it."""
    orders = orders_at(s.orders, s.order_capacity)
    slot = head
    while slot >= 0:
        order = orders[slot]
        slot = order.next
        if order.hidden != 0 or not came_before(order, arrival):
            continue
        order.ahead = order.ahead - size if order.ahead > size else 0
        rest = order.front
        if order.matched > 0:  # a trade has said so already
            told = order.matched if order.matched < size else size
            order.matched -= told
            order.front = order.front - told if order.front > told else 0
            rest -= told
        if order.front > order.ahead:
            order.front = order.ahead
        rest -= order.front  # what no trade has said
        if rest > 0 and order.matched <= 0 and stamp != NULL_TIME:
            if order.matched_stamp != stamp:
                order.matched = 0
            order.matched -= rest
            order.matched_stamp = stamp
            order.matched_message = 0


@jit.helper
def stood_before(s: Any, head: int, size: int) -> None:
    """An order comes into sight at a level of ours that stood there before it was shown."""
    orders = orders_at(s.orders, s.order_capacity)
    slot = head
    while slot >= 0:
        order = orders[slot]
        slot = order.next
        if order.hidden == 0 and order.blind != 0:
            order.front += size
            order.ahead += size


@jit.helper
def settle_level(s: Any, head: int, displayed: int, snapshot: int, resynchronised: int) -> None:
    """At the end of a message that has changed a level of ours: what came into sight, what went out of it."""
    orders = orders_at(s.orders, s.order_capacity)
    slot = head
    while slot >= 0:
        order = orders[slot]
        slot = order.next
        if resynchronised or displayed == UNKNOWN:
            order.matched = 0
        if displayed == UNKNOWN:
            order.hidden = 1
        elif order.hidden != 0:
            order.hidden = 0
            if order.front == UNKNOWN or order.front > displayed:
                order.front = displayed
            order.ahead = displayed
            order.joined = order_table_of(s, order.instrument).arrivals
            order.matched = 0
        elif snapshot and order.front > displayed:
            order.front = displayed


@jit.helper
def beyond_front(s: Any, order: Any, size: int, stamp: int, own: int) -> int:
    """How much of a trade at our price lies beyond our front; may be negative.

    `own`: its message also has rows of this book, which say what it did.
    """
    market = market_of(s, order.instrument)
    apart = s.set_apart_late != 0 and own == 0 and stamp != NULL_TIME
    if apart and order.joined_stamp != NULL_TIME and stamp <= order.joined_stamp:
        return -1  # the book that we joined showed it already
    if order.matched > 0:
        if order.matched_message != 0:
            settled = order.matched_message != s.message_number
        else:
            settled = order.matched_stamp != NULL_TIME and market.depth_ts_venue > order.matched_stamp
        if settled:
            order.matched = 0
    explained = 0
    if order.matched < 0:
        if apart and stamp == order.matched_stamp:
            explained = -order.matched if -order.matched < size else size
            order.matched += explained
        else:
            order.matched = 0
    left = size - explained
    if order.hidden != 0:  # nobody will say that the level has become smaller
        beyond = left - order.front
        order.front = order.front - left if order.front > left else 0
        return int(beyond)
    front = order.front - order.matched if order.matched > 0 else order.front
    if front < 0:
        front = 0
    used = left if left < front else front
    if used > 0:
        if order.matched < 0:
            order.matched = 0
        order.matched += used
        order.matched_stamp = stamp
        order.matched_message = s.message_number if own != 0 else 0
    return int(left - front)
