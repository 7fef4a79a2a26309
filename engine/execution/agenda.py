"""What is due later: one binary heap, ordered by (due time, rank, creation).

Rank orders what falls due at the same instant: arrivals at the venue, then reports to the strategy, then
answers, then timers. Creation is a running number, so the order is total and the same on every machine.
"""

from __future__ import annotations

from typing import Any

from engine.execution.state import ITEM_TIMER, heap_at, items_at
from engine.model import jit


@jit.inlined
def _before(a: Any, b: Any) -> bool:
    if a.due != b.due:
        return bool(a.due < b.due)
    if a.rank != b.rank:
        return bool(a.rank < b.rank)
    return bool(a.creation < b.creation)


@jit.helper
def push(s: Any, due: int, rank: int, kind: int) -> Any:
    """A new item on the agenda, zeroed but for these; the caller has made sure of room."""
    items = items_at(s.items, s.item_capacity)
    heap = heap_at(s.heap, s.item_capacity)
    slot = s.item_free
    item = items[slot]
    s.item_free = item.next
    s.item_free_count -= 1
    item.due = due
    item.creation = s.creation
    s.creation += 1
    item.rank = rank
    item.kind = kind
    item.event = 0
    item.maker = 0
    item.fee_asset = 0
    item.size = 0
    item.price = 0
    item.total = 0
    item.fee = 0
    item.notional = 0
    item.id = 0
    item.slot = -1
    item.generation = 0
    item.reason = 0
    item.next = -1
    if kind < ITEM_TIMER:  # a timer's or an expiry's time is known; the others bring about who knows what
        s.venue_items += 1
    i = s.agenda_count
    s.agenda_count += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not _before(item, items[heap[parent]]):
            break
        heap[i] = heap[parent]
        i = parent
    heap[i] = slot
    return item


@jit.helper
def pop(s: Any) -> int:
    """Take the first item off the heap; its slot, to be given back with `release`."""
    items = items_at(s.items, s.item_capacity)
    heap = heap_at(s.heap, s.item_capacity)
    top = heap[0]
    s.agenda_count -= 1
    n = s.agenda_count
    if items[top].kind < ITEM_TIMER:
        s.venue_items -= 1
    if n > 0:
        moving = heap[n]
        i = 0
        while True:
            child = 2 * i + 1
            if child >= n:
                break
            if child + 1 < n and _before(items[heap[child + 1]], items[heap[child]]):
                child += 1
            if not _before(items[heap[child]], items[moving]):
                break
            heap[i] = heap[child]
            i = child
        heap[i] = moving
    return int(top)


@jit.inlined
def release(s: Any, slot: int) -> None:
    """Give an item's slot back."""
    items = items_at(s.items, s.item_capacity)
    items[slot].next = s.item_free
    s.item_free = slot
    s.item_free_count += 1


@jit.inlined
def first_due(s: Any) -> int:
    """When the first item is due; the agenda must not be empty."""
    items = items_at(s.items, s.item_capacity)
    heap = heap_at(s.heap, s.item_capacity)
    return int(items[heap[0]].due)
