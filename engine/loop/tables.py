"""What the loop keeps beside orders, for both forms of a strategy: who is live, wishes, timers, refusals.

    TRACK    per order slot: the live orders as a list, oldest first, and what a cancel has changed
    NUMBER   order number -> slot; open addressing, deletion shifts back, so that a search stays short
    WISH     per instrument: what `ctx.target` pursues (engine.loop.target)
    TIMER    `ctx.at` and `ctx.every` (engine.loop.timers)
    REFUSAL  the numbers that a refusal's words need, until Python makes them (engine.loop.refusals)

`Tables` owns the arrays; kernels reach them by the addresses in the state record.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.execution.state import orders_at, state_at
from engine.model import jit

TRACK = np.dtype(
    [
        (name, "<i8")
        for name in (
            "next",  # slot of the next younger live order, -1: none
            "previous",
            "cancel_decision",  # number of the decision that cancelled it, 0: none
            "state_before",  # its state before that
        )
    ]
)
NUMBER = np.dtype([("number", "<i8"), ("slot", "<i8")])  # number 0: free
WISH = np.dtype(
    [
        ("asked", "<f8"),  # size asked for last, when `settled`
        ("asked_price", "<f8"),
        ("unfit", "<f8"),  # size that lay off the increments, when `unfit_known`
        ("unfit_price", "<f8"),
        ("unfit_at", "<i8"),
        ("size", "<i8"),
        ("price", "<i8"),  # 0: market
        ("order", "<i8"),  # number of the target order that is out, 0: none
        ("failed_at", "<i8"),
        ("known", "<i8"),  # 1: there is a wish
        ("settled", "<i8"),  # 1: `asked` leaves nothing to do; 2: with a price
        ("failed", "<i8"),
        ("changing", "<i8"),  # its order is being cancelled because the wish has changed
        ("due", "<i8"),  # its order has ended, and the wish is to be looked at again
        ("unfit_known", "<i8"),  # 1: without a price; 2: with one
    ]
)
TIMER = np.dtype([("number", "<i8"), ("word", "<i8"), ("interval", "<i8"), ("next", "<i8")])  # number 0: free
REFUSAL = np.dtype(
    [
        (name, "<i8")
        for name in (
            "order",
            "decision",
            "reason",
            "instrument",
            "side",
            "size",
            "price",
            "reference",
            "notional",
            "open",
            "position",
            "free",
            "what",  # of the floats lay off the increments: 0 none, 1 the size, 2 the price
            "problem",  # of it: see engine.loop.increments
            "below",
        )
    ]
    + [("value", "<f8")]
)

tracks_at = jit.records_at(TRACK)
numbers_at = jit.records_at(NUMBER)
wishes_at = jit.records_at(WISH)
timers_at = jit.records_at(TIMER)
refusals_at = jit.records_at(REFUSAL)

_SPREAD = 0x9E3779B97F4A7C15 - 2**64  # odd, near 2^64 divided by the golden ratio


@jit.inlined
def _home(s: Any, number: int) -> int:
    """Where a number's search begins."""
    return int(((number * _SPREAD) >> 32) & s.number_mask)


@jit.helper
def slot_of(s: Any, number: int) -> int:
    """Slot of a live order, -1 when no live order has the number."""
    numbers = numbers_at(s.numbers, s.number_mask + 1)
    place = _home(s, number)
    while numbers[place].number != 0:
        if numbers[place].number == number:
            return int(numbers[place].slot)
        place = (place + 1) & s.number_mask
    return -1


@jit.helper
def _enter(s: Any, number: int, slot: int) -> None:
    numbers = numbers_at(s.numbers, s.number_mask + 1)
    place = _home(s, number)
    while numbers[place].number != 0:
        place = (place + 1) & s.number_mask
    numbers[place].number = number
    numbers[place].slot = slot


@jit.helper
def _remove(s: Any, number: int) -> None:
    numbers = numbers_at(s.numbers, s.number_mask + 1)
    place = _home(s, number)
    while numbers[place].number != number:
        if numbers[place].number == 0:
            return
        place = (place + 1) & s.number_mask
    gap = place
    while True:
        place = (place + 1) & s.number_mask
        entry = numbers[place]
        if entry.number == 0:
            break
        # It may move back if the gap is not before its home.
        if ((place - _home(s, entry.number)) & s.number_mask) >= ((place - gap) & s.number_mask):
            numbers[gap].number = entry.number
            numbers[gap].slot = entry.slot
            gap = place
    numbers[gap].number = 0
    numbers[gap].slot = 0


@jit.helper
def track(s: Any, slot: int) -> None:
    """An order has been sent: the youngest of the live ones."""
    tracks = tracks_at(s.tracks, s.order_capacity)
    entry = tracks[slot]
    entry.next = -1
    entry.previous = s.live_tail
    entry.cancel_decision = 0
    entry.state_before = 0
    if s.live_tail >= 0:
        tracks[s.live_tail].next = slot
    else:
        s.live_head = slot
    s.live_tail = slot
    _enter(s, orders_at(s.orders, s.order_capacity)[slot].number, slot)


@jit.helper
def untrack(s: Any, slot: int) -> None:
    """An order is final."""
    tracks = tracks_at(s.tracks, s.order_capacity)
    entry = tracks[slot]
    if entry.previous >= 0:
        tracks[entry.previous].next = entry.next
    else:
        s.live_head = entry.next
    if entry.next >= 0:
        tracks[entry.next].previous = entry.previous
    else:
        s.live_tail = entry.previous
    _remove(s, orders_at(s.orders, s.order_capacity)[slot].number)


@jit.entry("int64(int64)")
def enter_all(address: int) -> int:
    """Enter every live order's number, into a table that has just been made."""
    s = state_at(address, 1)[0]
    tracks = tracks_at(s.tracks, s.order_capacity)
    orders = orders_at(s.orders, s.order_capacity)
    slot = s.live_head
    while slot >= 0:
        _enter(s, orders[slot].number, slot)
        slot = tracks[slot].next
    return 0


class Tables:
    """The arrays, and how they grow."""

    def __init__(self, state: Any, address: int) -> None:
        self._state = state
        self._address = address
        self.tracks = np.zeros(0, TRACK)
        self.numbers = np.zeros(0, NUMBER)
        self.wishes = np.zeros(0, WISH)
        self.timers = np.zeros(0, TIMER)
        self.refusals = np.zeros(1024, REFUSAL)
        self._retired: list[Any] = []  # a kernel up the stack may still look at them
        state["live_head"] = state["live_tail"] = state["timer_free"] = -1
        state["refusals"] = self.refusals.ctypes.data
        state["refusal_capacity"] = len(self.refusals)
        self.grow_timers()

    def retire(self, array: Any) -> None:
        """Keep an array that has been replaced until nobody can be looking at it."""
        self._retired.append(array)

    def forget(self) -> None:
        """No kernel is running: let go of what was replaced."""
        self._retired.clear()

    def grow_orders(self) -> None:
        """As many tracks as there are order slots, and a table of numbers that stays half empty."""
        state = self._state
        capacity = int(state["order_capacity"])
        self.retire((self.tracks, self.numbers))
        grown = np.zeros(capacity, TRACK)
        grown[: len(self.tracks)] = self.tracks
        self.tracks = grown
        self.numbers = np.zeros(1 << (2 * capacity - 1).bit_length(), NUMBER)
        state["tracks"] = grown.ctypes.data
        state["numbers"] = self.numbers.ctypes.data
        state["number_mask"] = len(self.numbers) - 1
        enter_all(self._address)

    def add_instrument(self) -> None:
        """One wish more."""
        self.retire(self.wishes)
        self.wishes = np.append(self.wishes, np.zeros(1, WISH))
        self._state["wishes"] = self.wishes.ctypes.data

    def rescale(self, index: int, price: int, size: int) -> None:
        """An instrument's increments are counted finer."""
        wish = self.wishes[index]
        wish["price"] *= price
        wish["size"] *= size
        wish["settled"] = 0

    def grow_timers(self) -> None:
        """Twice the timers."""
        self.retire(self.timers)
        n = len(self.timers)
        grown = np.zeros(max(16, 2 * n), TIMER)
        grown[:n] = self.timers
        grown["next"][n:] = np.arange(n + 1, len(grown) + 1)
        grown["next"][-1] = self._state["timer_free"]
        self.timers = grown
        self._state["timer_free"] = n
        self._state["timers"] = grown.ctypes.data
        self._state["timer_capacity"] = len(grown)
