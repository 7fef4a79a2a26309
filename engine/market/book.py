"""One side of a price-level book: a ladder of slots near the best price, and a sorted list behind it.

Most changes of a real book happen near its best price. There every price has a slot of its own, found by a
subtraction and a multiplication; bits say which slots display a size, so the next level is a count of
leading zeros away. What lies below the ladder stands in `far`, a sorted array; everything in it is worse
than everything in the ladder. When the market leaves the ladder it is laid anew (`relay`), and so it is
when a price falls between its slots: nothing is ever out of reach, only slower.

A level is kept while it displays a size or has a note of ours: the orders that rest there, and what our own
taking has used up since the size was displayed (what is left for us is `size - consumed`). Its size is
UNKNOWN where the venue has never shown us that price (outside a limited snapshot, or behind the best
quote): unknown is not zero.

Keys: price times sign (+1 bids, -1 asks), so that on both sides a greater key is a better price. The
layout decides nothing: two ladders with the same levels are the same book.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.model import jit

LEVEL = np.dtype(
    [
        ("key", "<i8"),
        ("size", "<i8"),
        ("note", "<i4"),  # -1: none
        ("stale", "<i4"),  # 1 while a snapshot is being applied and has not named the level yet
    ]
)
NOTE = np.dtype(
    [
        ("consumed", "<i8"),
        ("head", "<i4"),  # first of our orders resting here, -1: none
        ("tail", "<i4"),
        ("next", "<i4"),  # in the list of free notes
        ("pad", "<i4"),
        ("before", "<i8"),  # by order: the level's size before the message `message`
        ("message", "<i8"),
    ]
)
SIDE = np.dtype(
    [
        (name, "<i8")
        for name in (
            "sizes",  # address of int64[width]
            "notes",  # of int32[width]
            "shown",  # bits, width / 64 words: displays a size
            "noted",  # has a note
            "stale",
            "width",
            "base",  # key of slot 0
            "unit",  # keys between two slots
            "reach",  # width * unit
            "best",  # best slot with a displayed size, -1: none
            "laid",  # 1: it has had a level
            "far",  # address of LEVEL[far_capacity], ascending
            "far_count",
            "far_capacity",
            "known_key",  # worst key that the venue has told us about; beyond it sizes are unknown
            "own_key",  # best key at which an order of ours rests
            "misses",  # changes behind the ladder since it was laid: a wider one is wanted
        )
    ]
    + [("inverse", "<f8")]
)
UNKNOWN = -1
LOWEST_KEY = -(2**62)
HIGHEST_KEY = 2**62
ABSENT = -1
FIRST_FAR = -2  # handle of far[0]; far[i] has FIRST_FAR - i
WIDTH = 1024  # slots of a new ladder
MAX_WIDTH = 65_536

levels_at = jit.records_at(LEVEL)
notes_at = jit.records_at(NOTE)
sides_at = jit.records_at(SIDE)
int64_at = jit.records_at(np.dtype("<i8"))
int32_at = jit.records_at(np.dtype("<i4"))


@jit.inlined
def bit_at_or_below(bits: Any, slot: int) -> int:
    """Highest slot up to `slot` whose bit is set, or -1."""
    if slot < 0:
        return -1
    word = slot >> 6
    value = bits[word] & ~(-2 << (slot & 63))
    while value == 0:
        word -= 1
        if word < 0:
            return -1
        value = bits[word]
    return int(word * 64 + jit.highest_bit(value))


@jit.inlined
def has_bit(bits: Any, slot: int) -> bool:
    """Whether a slot's bit is set."""
    return bool((bits[slot >> 6] >> (slot & 63)) & 1)


@jit.inlined
def set_bit(bits: Any, slot: int) -> None:
    """Set a slot's bit."""
    bits[slot >> 6] |= 1 << (slot & 63)


@jit.inlined
def clear_bit(bits: Any, slot: int) -> None:
    """Clear a slot's bit."""
    bits[slot >> 6] &= ~(1 << (slot & 63))


@jit.inlined
def slot_of(side: Any, key: int) -> int:
    """Slot of a key, or -1 when the ladder has none for it."""
    offset = key - side.base
    if offset < 0 or offset >= side.reach:
        return -1
    if side.unit == 1:
        return int(offset)
    slot = int(float(offset) * side.inverse + 0.5)
    return slot if slot * side.unit == offset else -1


@jit.inlined
def key_of(side: Any, slot: int) -> int:
    """Key of a slot."""
    return int(side.base + slot * side.unit)


@jit.helper
def far_place(side: Any, key: int) -> int:
    """Index in `far` of the level with that key, or where it would be inserted."""
    levels = levels_at(side.far, side.far_capacity)
    low = 0
    high = side.far_count
    while low < high:
        middle = (low + high) >> 1
        if levels[middle].key < key:
            low = middle + 1
        else:
            high = middle
    return int(low)


@jit.helper
def find(side: Any, key: int) -> int:
    """Handle of a key's level: a slot, or one of `far`, or ABSENT."""
    slot = slot_of(side, key)
    if slot >= 0:
        return slot
    if side.far_count == 0:
        return ABSENT
    place = far_place(side, key)
    if place < side.far_count and levels_at(side.far, side.far_capacity)[place].key == key:
        return int(FIRST_FAR - place)
    return ABSENT


@jit.inlined
def size_of(side: Any, handle: int) -> int:
    """Displayed size of a level, UNKNOWN where it is; 0 of an absent one."""
    if handle >= 0:
        return int(int64_at(side.sizes, side.width)[handle])
    if handle == ABSENT:
        return 0
    return int(levels_at(side.far, side.far_capacity)[FIRST_FAR - handle].size)


@jit.inlined
def note_of(side: Any, handle: int) -> int:
    """Index of a level's note, or -1."""
    if handle >= 0:
        if has_bit(int64_at(side.noted, side.width >> 6), handle):
            return int(int32_at(side.notes, side.width)[handle])
        return -1
    if handle == ABSENT:
        return -1
    return int(levels_at(side.far, side.far_capacity)[FIRST_FAR - handle].note)


@jit.helper
def best_key(side: Any) -> int:
    """Key of the best displayed level, LOWEST_KEY when there is none."""
    if side.best >= 0:
        return key_of(side, side.best)
    return far_below(side, HIGHEST_KEY)


@jit.helper
def far_below(side: Any, key: int) -> int:
    """Key of the best level in `far` that displays a size and is worse than `key`; LOWEST_KEY: none."""
    levels = levels_at(side.far, side.far_capacity)
    i = far_place(side, key) - 1
    while i >= 0:
        if levels[i].size > 0:
            return int(levels[i].key)
        i -= 1
    return LOWEST_KEY


@jit.helper
def next_shown(side: Any, key: int) -> int:
    """Key of the next worse displayed level, LOWEST_KEY when there is none."""
    slot = slot_of(side, key)
    if slot >= 0:
        below = bit_at_or_below(int64_at(side.shown, side.width >> 6), slot - 1)
        if below >= 0:
            return key_of(side, below)
        return far_below(side, side.base) if side.far_count > 0 else LOWEST_KEY
    return far_below(side, key)


@jit.helper
def next_own(notes: Any, side: Any, key: int) -> int:
    """Key of the best level worse than `key` at which an order of ours rests; LOWEST_KEY: none."""
    if key > side.base:
        slot = side.width
        if key < side.base + side.reach:
            slot = (key - side.base + side.unit - 1) // side.unit
        noted = int64_at(side.noted, side.width >> 6)
        indexes = int32_at(side.notes, side.width)
        slot = bit_at_or_below(noted, slot - 1)
        while slot >= 0:
            if notes[indexes[slot]].head >= 0:
                return key_of(side, slot)
            slot = bit_at_or_below(noted, slot - 1)
    levels = levels_at(side.far, side.far_capacity)
    i = far_place(side, key) - 1
    while i >= 0:
        note = levels[i].note
        if note >= 0 and notes[note].head >= 0:
            return int(levels[i].key)
        i -= 1
    return LOWEST_KEY


@jit.helper
def relay(side: Any, key: int) -> None:
    """Lay the ladder anew, so that `key` and the best displayed price are in it, if both can be.

    The caller has made sure that `far` has room for the levels of the ladder.
    """
    levels = levels_at(side.far, side.far_capacity)
    sizes = int64_at(side.sizes, side.width)
    indexes = int32_at(side.notes, side.width)
    words = side.width >> 6
    shown = int64_at(side.shown, words)
    noted = int64_at(side.noted, words)
    stale = int64_at(side.stale, words)
    best = best_key(side)
    # Everything goes behind, in order, which it is: what is in the ladder is better than `far`.
    n = side.far_count
    for word in range(words):
        bits = shown[word] | noted[word]
        if bits != 0:
            for bit in range(64):
                if (bits >> bit) & 1:
                    slot = word * 64 + bit
                    level = levels[n]
                    level.key = key_of(side, slot)
                    level.size = sizes[slot]
                    level.note = indexes[slot] if (noted[word] >> bit) & 1 else -1
                    level.stale = (stale[word] >> bit) & 1
                    n += 1
        shown[word] = 0
        noted[word] = 0
        stale[word] = 0
    unit = side.unit
    rest = key
    while rest != 0:  # a price between the slots: the greatest step that both are multiples of
        step = unit % rest
        unit = rest
        rest = step
    side.unit = unit if unit > 0 else -unit
    side.reach = side.width * side.unit
    side.inverse = 1.0 / float(side.unit)
    top = key
    if n > 0 and levels[n - 1].key > top:
        top = levels[n - 1].key
    if best < key:
        best = key
    base = best - (side.width * 3 // 4) * side.unit
    if top - base >= side.reach:
        base = top - (side.width - 1) * side.unit
    side.base = base
    side.best = -1
    side.laid = 1
    side.misses = 0
    while n > 0 and levels[n - 1].key >= base:
        n -= 1
        level = levels[n]
        slot = slot_of(side, level.key)
        sizes[slot] = level.size
        if level.size > 0:
            set_bit(shown, slot)
            if slot > side.best:
                side.best = slot
        if level.note >= 0:
            set_bit(noted, slot)
            indexes[slot] = level.note
        if level.stale:
            set_bit(stale, slot)
    side.far_count = n


@jit.helper
def settle(side: Any) -> None:
    """After levels have gone: when the best price has left the ladder, or is about to, follow it."""
    if side.far_count == 0:
        return
    if side.best >= side.width >> 3:
        return
    best = best_key(side)
    if best == LOWEST_KEY:
        return
    above = side.own_key - best
    if above > (side.width >> 2) * side.unit and (side.best >= 0 or above >= side.reach):
        return  # an order of ours holds the ladder up
    relay(side, best)


@jit.helper
def hold(side: Any, key: int) -> int:
    """Handle of a key's level, made (with size 0) if there is none. May lay the ladder anew."""
    slot = slot_of(side, key)
    if slot < 0:
        if not side.laid or key >= side.base or key % side.unit != 0:
            relay(side, key)
            slot = slot_of(side, key)
    if slot >= 0:
        words = side.width >> 6
        kept = has_bit(int64_at(side.shown, words), slot) or has_bit(int64_at(side.noted, words), slot)
        if not kept:
            int64_at(side.sizes, side.width)[slot] = 0
        return slot
    side.misses += 1
    levels = levels_at(side.far, side.far_capacity)
    place = far_place(side, key)
    if place == side.far_count or levels[place].key != key:
        for i in range(side.far_count, place, -1):
            levels[i] = levels[i - 1]
        level = levels[place]
        level.key = key
        level.size = 0
        level.note = -1
        level.stale = 0
        side.far_count += 1
    return int(FIRST_FAR - place)


@jit.helper
def let_go(side: Any, handle: int) -> None:
    """Forget a level that displays nothing and has no note; any other stays."""
    if handle >= 0:
        words = side.width >> 6
        shown = int64_at(side.shown, words)
        if not has_bit(shown, handle) and not has_bit(int64_at(side.noted, words), handle):
            clear_bit(int64_at(side.stale, words), handle)
            int64_at(side.sizes, side.width)[handle] = 0
        return
    levels = levels_at(side.far, side.far_capacity)
    place = FIRST_FAR - handle
    if levels[place].size > 0 or levels[place].note >= 0:
        return
    last = side.far_count - 1
    for i in range(place, last):
        levels[i] = levels[i + 1]
    side.far_count = last


@jit.helper
def display(side: Any, handle: int, size: int) -> None:
    """The level of a held handle displays `size` from now on (0: nothing; UNKNOWN)."""
    if handle < 0:
        level = levels_at(side.far, side.far_capacity)[FIRST_FAR - handle]
        level.size = size
        level.stale = 0
        return
    words = side.width >> 6
    shown = int64_at(side.shown, words)
    int64_at(side.sizes, side.width)[handle] = size
    clear_bit(int64_at(side.stale, words), handle)
    if size > 0:
        set_bit(shown, handle)
        if handle > side.best:
            side.best = handle
    else:
        clear_bit(shown, handle)
        if handle == side.best:
            side.best = bit_at_or_below(shown, handle - 1)


@jit.helper
def attach(side: Any, handle: int, note: int) -> None:
    """Give a held level a note, or take it away (-1)."""
    if handle < 0:
        levels_at(side.far, side.far_capacity)[FIRST_FAR - handle].note = note
        return
    noted = int64_at(side.noted, side.width >> 6)
    if note >= 0:
        set_bit(noted, handle)
        int32_at(side.notes, side.width)[handle] = note
    else:
        clear_bit(noted, handle)


@jit.inlined
def shrink_consumed(note: Any, old: int, new: int) -> None:
    """What we consumed shrinks with the displayed decrease and is forgotten when the level was empty."""
    if old <= 0:
        note.consumed = 0
    elif new < old:
        left = note.consumed - (old - new)
        note.consumed = left if left > 0 else 0
