"""A side of a book as its levels, and levels laid into a side again.

Where a ladder stands, how wide it is and what lies behind it decide nothing, so none of it is kept: only
the levels by price, what they display, and the notes that are in them. Keys and sizes are kept as bytes,
because a deep book has thousands.
"""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.loop.books import Books
from engine.loop.snapshots.fields import kept_fields
from engine.market.book import LEVEL

LEVELS = np.dtype([("key", "<i8"), ("size", "<i8")])
_SPARE = 64


def levels_of(books: Books, k: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
    """Levels of a side, worst first, as LEVELS, and the index of each one's note (-1: none)."""
    side, ladder = books.sides[k], books.ladders[k]
    far = ladder.far[: int(side["far_count"])]
    shown, noted = (np.unpackbits(ladder.bits[name].view(np.uint8), bitorder="little") for name in _BITS)
    slots = np.flatnonzero(shown | noted)
    levels = np.zeros(len(far) + len(slots), LEVELS)
    levels["key"][: len(far)], levels["size"][: len(far)] = far["key"], far["size"]
    levels["key"][len(far) :] = int(side["base"]) + slots * int(side["unit"])
    levels["size"][len(far) :] = ladder.sizes[slots]
    notes = np.concatenate((far["note"], np.where(noted[slots] != 0, ladder.notes[slots], -1)))
    there = (levels["size"] > 0) | (notes >= 0)
    return levels[there], notes[there].astype(np.int64)


_BITS = ("shown", "noted")


def side_of(books: Books, k: int, numbers: list[int], following: list[int]) -> dict[str, Any]:
    """A side as plain values. `numbers` and `following` are those of the orders, by slot."""
    side = books.sides[k]
    kept: dict[str, Any] = {name: int(side[name]) for name in kept_fields("SIDE")}
    levels, notes = levels_of(books, k)
    kept["levels"] = levels.tobytes()
    found = []
    for place in np.flatnonzero(notes >= 0).tolist():
        note = books.notes[notes[place]]
        queue = []
        slot = int(note["head"])
        while slot >= 0:
            queue.append(numbers[slot])
            slot = following[slot]
        fields = {name: int(note[name]) for name in kept_fields("NOTE")}
        found.append({"key": int(levels["key"][place]), "orders": queue, **fields})
    kept["notes"] = found
    return kept


def lay(books: Books, k: int, kept: dict[str, Any], first_note: int, tick: int) -> int:
    """Lay levels into a side that has none; its notes get the indexes from `first_note` on. How many."""
    side = books.sides[k]
    for name in kept_fields("SIDE"):
        side[name] = kept[name]
    levels = np.frombuffer(kept["levels"], LEVELS)
    notes = np.full(len(levels), -1, np.int64)
    if kept["notes"]:
        noted = np.searchsorted(levels["key"], [note["key"] for note in kept["notes"]])
        notes[noted] = first_note + np.arange(len(noted))
    if len(levels):
        _fill(books, k, levels, notes, tick)
    return len(kept["notes"])


def _fill(
    books: Books, k: int, levels: npt.NDArray[np.void], notes: npt.NDArray[np.int64], tick: int
) -> None:
    side = books.sides[k]
    keys = levels["key"]
    # As `relay` does: steps that all prices are multiples of, a quarter of the ladder above the best price.
    unit = gcd(tick, *(int(key) for key in np.unique(np.abs(keys) % tick)))
    shown = np.flatnonzero(levels["size"] > 0)
    best = int(keys[shown[-1]]) if len(shown) else int(keys[-1])
    width = int(side["width"])
    base = best - width * 3 // 4 * unit
    if int(keys[-1]) - base >= width * unit:
        base = int(keys[-1]) - (width - 1) * unit
    behind = int(np.searchsorted(keys, base))
    ladder = books.begin(k, base, unit, behind + width + _SPARE)
    far = np.zeros(behind, LEVEL)
    far["key"], far["size"], far["note"] = keys[:behind], levels["size"][:behind], notes[:behind]
    ladder.far[:behind] = far
    side["far_count"] = behind
    slots = (keys[behind:] - base) // unit
    ladder.sizes[slots] = levels["size"][behind:]
    ladder.notes[slots] = np.where(notes[behind:] >= 0, notes[behind:], 0)
    for name, there in zip(_BITS, (levels["size"][behind:] > 0, notes[behind:] >= 0), strict=True):
        bits = np.zeros(width, np.uint8)
        bits[slots[there]] = 1
        ladder.bits[name][:] = np.packbits(bits, bitorder="little").view(np.int64)
    displayed = slots[levels["size"][behind:] > 0]
    side["best"] = int(displayed[-1]) if len(displayed) else -1
    side["laid"] = 1
