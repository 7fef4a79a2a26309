"""Where an order of ours stands in its level's queue, and what moves it.

`front` is what stands before us at our price. A trade there takes from the front; what a change of the
displayed size takes, and from where, is a matter of belief, hence the models:

    risk_averse   nobody behind us has left until the level is smaller than what is before us
    the others    a change that trades do not explain was before us with a probability 1 - p, where p grows
                  with what stands behind us: back = displayed - front

        power    bⁿ / (bⁿ + fⁿ)        power2   bⁿ / (b + f)ⁿ        power3   1 - (f / (f + b))ⁿ
        log      ln(1 + b) / (ln(1 + b) + ln(1 + f))                 log2     ln(1 + b) / ln(1 + b + f)

The models and their arithmetic are those of hftbacktest's queue models, so that a run can be compared with
it fill for fill: an infinite p is 1, one that is no number puts the order at the very back, and p is not
held within 0 and 1. Fronts of these models are float64 mantissas of size; logarithms are taken of base units.

A book by order needs no belief, and none of these: engine.execution.order_queue.
"""

from __future__ import annotations

from typing import Any

from engine.config import QUEUES
from engine.execution.state import instruments_at, markets_at, orders_at
from engine.market.arithmetic import ln
from engine.market.book import UNKNOWN
from engine.model import jit

RISK_AVERSE, POWER, POWER2, POWER3, LOG, LOG2 = range(len(QUEUES))


@jit.helper
def _raised(x: float, n: int) -> float:
    result = x
    for _ in range(n - 1):
        result *= x
    return result


@jit.helper
def probability(model: int, n: int, front: float, back: float, scale: float) -> float:
    """That a size which left had stood behind us; may be no number, and beyond 0 and 1."""
    if model == LOG:
        b = ln(1.0 + back / scale)
        return b / (b + ln(1.0 + front / scale))
    if model == LOG2:
        return ln(1.0 + back / scale) / ln(1.0 + (back / scale + front / scale))
    if model == POWER3:
        return 1.0 - _raised(front / (front + back), n)
    b = _raised(back, n)
    if model == POWER2:
        return b / _raised(back + front, n)
    return b / (b + _raised(front, n))


@jit.helper
def begin(order: Any, displayed: int) -> None:
    """The order has been accepted behind `displayed` (UNKNOWN: nobody knows)."""
    order.front = displayed
    order.queue_front = float(displayed)
    order.queue_traded = 0.0


@jit.helper
def on_depth(s: Any, head: int, before: int, now: int) -> None:
    """The displayed size at a level goes from `before` to `now`; every order of ours there moves.

    Not while the book is in doubt: then `resynchronise` compares once. Not in a book by order, where it is
    known who leaves (engine.execution.order_queue).
    """
    orders = orders_at(s.orders, s.order_capacity)
    if instruments_at(s.instruments, s.instrument_count)[orders[head].instrument].by_order:
        return
    if markets_at(s.markets, 2 * s.instrument_count)[2 * orders[head].instrument].book_bad:
        return
    model = s.queue_model
    slot = head
    if model == RISK_AVERSE:
        while slot >= 0:
            order = orders[slot]
            if order.front == UNKNOWN or order.front > now:
                order.front = now
            slot = order.next
        return
    new = float(now)
    previous = float(before) if before > 0 else 0.0
    while slot >= 0:
        order = orders[slot]
        slot = order.next
        if order.front == UNKNOWN:
            begin(order, now)
            continue
        change = previous - new
        change -= order.queue_traded
        order.queue_traded = 0.0
        front = order.queue_front
        if change < 0.0:
            order.queue_front = front if front < new else new
            continue
        back = previous - front
        decimals = instruments_at(s.instruments, s.instrument_count)[order.instrument].size_decimals
        scale = 1.0
        for _ in range(decimals):
            scale *= 10.0
        p = probability(model, s.queue_power, front, back, scale)
        if p == _INFINITY or p == -_INFINITY:
            p = 1.0
        behind = back - p * change
        estimate = front - (1.0 - p) * change + (behind if behind < 0.0 else 0.0)
        order.queue_front = estimate if estimate < new else new  # of what is no number, `new`


@jit.helper
def resynchronise(s: Any, head: int, now: int) -> None:
    """After a book in doubt, the snapshot displays `now` at a level of ours."""
    orders = orders_at(s.orders, s.order_capacity)
    if head >= 0 and instruments_at(s.instruments, s.instrument_count)[orders[head].instrument].by_order:
        return
    new = float(now)
    slot = head
    while slot >= 0:
        order = orders[slot]
        slot = order.next
        if order.front == UNKNOWN:
            begin(order, now)
            continue
        if order.front > now:
            order.front = now
        if not order.queue_front < new:
            order.queue_front = new
        order.queue_traded = 0.0


@jit.helper
def on_trade(s: Any, order: Any, size: int) -> int:
    """A trade of `size` at our price, and not in the book yet; how much of it lies beyond our front."""
    if s.queue_model == RISK_AVERSE:
        excess = size - order.front
        order.front = order.front - size if order.front > size else 0
        return int(excess)
    order.queue_front -= float(size)
    order.queue_traded += float(size)
    lot = instruments_at(s.instruments, s.instrument_count)[order.instrument].lot
    lots = -order.queue_front / float(lot)
    if not lots >= 0.5:
        return 0
    order.queue_front = 0.0
    beyond = int(lots + 0.5) * lot
    return int(beyond if beyond < size else size)  # a change of depth may have left a front below zero


_INFINITY = float("inf")
