"""Timers: `ctx.at` and `ctx.every`, by name.

A timer is a number, a name (as a Word, see engine.model.words) and an interval, 0 for once. It stands on the
agenda as an item that carries its number and slot. Forgetting it leaves the item where it is: it finds
nothing when it falls due. One that repeats is put on the agenda again before its handler is called.
"""

from __future__ import annotations

from typing import Any

from engine.execution.agenda import push, release
from engine.execution.state import ITEM_TIMER, RANK_TIMER, items_at
from engine.loop.codes import TIMER
from engine.loop.tables import timers_at
from engine.model import jit


@jit.helper
def add(s: Any, due: int, interval: int, word: int) -> None:
    """A new timer; there is room for it, and for one item more on the agenda."""
    slot = s.timer_free
    timer = timers_at(s.timers, s.timer_capacity)[slot]
    s.timer_free = timer.next
    s.timer_numbers += 1
    timer.number = s.timer_numbers
    timer.word = word
    timer.interval = interval
    item = push(s, due, RANK_TIMER, ITEM_TIMER)
    item.id = timer.number
    item.size = slot


@jit.helper
def _forget(s: Any, slot: int) -> None:
    timer = timers_at(s.timers, s.timer_capacity)[slot]
    timer.number = 0
    timer.next = s.timer_free
    s.timer_free = slot


@jit.helper
def forget_named(s: Any, word: int) -> None:
    """Forget the timers of a name."""
    timers = timers_at(s.timers, s.timer_capacity)
    for slot in range(s.timer_capacity):
        if timers[slot].number != 0 and timers[slot].word == word:
            _forget(s, slot)


@jit.helper
def fire(s: Any, item_slot: int) -> int:
    """An item taken off the agenda is a timer's: TIMER when the strategy is to be called, else 0."""
    item = items_at(s.items, s.item_capacity)[item_slot]
    due = item.due
    number = item.id
    slot = item.size
    release(s, item_slot)
    timer = timers_at(s.timers, s.timer_capacity)[slot]
    if timer.number != number or s.stopped != 0:
        return 0
    s.out_timer = number
    s.out_due = due
    s.out_word = timer.word
    s.trigger = 2
    s.trigger_id = number
    if timer.interval > 0:
        again = push(s, due + timer.interval, RANK_TIMER, ITEM_TIMER)
        again.id = number
        again.size = slot
    else:
        _forget(s, slot)
    return TIMER
