"""The memory of the books: a ladder and a sorted list for every side, and the notes of our own in them.

Kernels lay levels into these arrays and say when they need more room; this keeps the arrays alive, makes
larger ones, and reads levels back for Python. What is where is the kernels' business (engine.market.book).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engine.execution.state import SIDES_EACH
from engine.market.book import LEVEL, LOWEST_KEY, MAX_WIDTH, NOTE, SIDE, UNKNOWN, WIDTH
from engine.model.errors import EngineError

_BITS = ("shown", "noted", "stale")
_FAR = 64  # levels behind the ladder of a new side


class Ladder:
    """The arrays of one side."""

    def __init__(self, width: int, far: int) -> None:
        self.sizes = np.zeros(width, np.int64)
        self.notes = np.zeros(width, np.int32)
        self.bits = {name: np.zeros(width // 64, np.int64) for name in _BITS}
        self.far = np.zeros(far, LEVEL)


class Books:
    """All sides and notes of one run. `state` is the loop's STATE record."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self.sides = np.zeros(0, SIDE)
        self.ladders: list[Ladder] = []
        self.notes = np.zeros(0, NOTE)
        state["note_free"] = -1
        self.grow_notes(64)

    def add(self, tick: int) -> None:
        """Make room for one more instrument's sides, in steps of `tick`."""
        first = len(self.sides)
        self.sides = np.append(self.sides, np.zeros(SIDES_EACH, SIDE))
        for k in range(first, first + SIDES_EACH):
            ladder = Ladder(WIDTH, _FAR + WIDTH)
            self.ladders.append(ladder)
            side = self.sides[k]
            side["known_key"] = side["own_key"] = LOWEST_KEY
            side["best"] = -1
            self._lay(k, ladder, 0, tick)
        self._state["sides"] = self.sides.ctypes.data

    def begin(self, k: int, base: int, unit: int, far: int) -> Ladder:
        """Give a side that has no levels another beginning, and room for `far` levels behind its ladder."""
        ladder = self.ladders[k] = Ladder(int(self.sides[k]["width"]), max(far, len(self.ladders[k].far)))
        self._lay(k, ladder, base, unit)
        return ladder

    def _lay(self, k: int, ladder: Ladder, base: int, unit: int) -> None:
        side = self.sides[k]
        width = len(ladder.sizes)
        side["width"], side["base"], side["unit"] = width, base, unit
        side["reach"], side["inverse"] = width * unit, 1.0 / unit
        side["sizes"], side["notes"] = ladder.sizes.ctypes.data, ladder.notes.ctypes.data
        for name in _BITS:
            side[name] = ladder.bits[name].ctypes.data
        side["far"], side["far_capacity"] = ladder.far.ctypes.data, len(ladder.far)
        state = self._state
        state["widest_side"] = max(int(state["widest_side"]), len(ladder.far))

    def grow(self, k: int, need: int) -> None:
        """Give a side room for at least `need` levels, and a wider ladder when much happens behind it."""
        old, side = self.ladders[k], self.sides[k]
        width = len(old.sizes)
        if side["misses"] > 4 * width and width < MAX_WIDTH:
            width *= 4
        far = max(len(old.far), need - len(old.sizes) + width)
        if need > len(old.far):
            far = max(far, 2 * len(old.far))
        grown = Ladder(width, far)
        grown.far[: len(old.far)] = old.far
        keep = len(old.sizes)
        # Wider at its lower end: the new slots lie under the old ones, and what is in `far` comes up later.
        shift = width - keep
        grown.sizes[shift:], grown.notes[shift:] = old.sizes, old.notes
        for name in _BITS:
            grown.bits[name][shift // 64 :] = old.bits[name]
        if side["best"] >= 0:
            side["best"] += shift
        unit = int(side["unit"])
        self.ladders[k] = grown
        self._lay(k, grown, int(side["base"]) - shift * unit, unit)
        side["misses"] = 0
        if shift:
            self._lift(k)

    def _lift(self, k: int) -> None:
        """Levels of `far` that a wider ladder has a slot for."""
        side, ladder = self.sides[k], self.ladders[k]
        while side["far_count"]:
            level = ladder.far[int(side["far_count"]) - 1]
            slot, off = divmod(int(level["key"]) - int(side["base"]), int(side["unit"]))
            if slot < 0:
                return
            assert off == 0, "every level stands on the ladder's steps"
            ladder.sizes[slot] = level["size"]
            word, bit = slot // 64, np.uint64(1) << np.uint64(slot % 64)
            if level["size"] > 0:
                ladder.bits["shown"].view(np.uint64)[word] |= bit
                side["best"] = max(int(side["best"]), slot)
            if level["note"] >= 0:
                ladder.bits["noted"].view(np.uint64)[word] |= bit
                ladder.notes[slot] = level["note"]
            if level["stale"]:
                ladder.bits["stale"].view(np.uint64)[word] |= bit
            side["far_count"] -= 1

    def grow_notes(self, need: int) -> None:
        """Room for at least `need` more notes."""
        n, state = len(self.notes), self._state
        grown = np.zeros(max(2 * n, n + need), NOTE)
        grown[:n] = self.notes
        grown["next"][n:] = np.arange(n + 1, len(grown) + 1)
        grown["next"][len(grown) - 1] = state["note_free"]
        state["note_free"] = n
        state["note_free_count"] += len(grown) - n
        self.notes = grown
        state["notes"], state["note_capacity"] = grown.ctypes.data, len(grown)

    def rescale(self, k: int, price: int, size: int, name: str) -> None:
        """Multiply prices and sizes up exactly; EngineError when they do not fit."""
        side, ladder = self.sides[k], self.ladders[k]
        prices, sizes = f"{name}: price", f"{name}: size"
        for _, _, note in self.levels(k):
            if note >= 0:
                self.notes[note]["consumed"] = _times(int(self.notes[note]["consumed"]), size, sizes)
        for level in ladder.far[: int(side["far_count"])]:
            level["key"] = _times(int(level["key"]), price, prices)
            if level["size"] != UNKNOWN:
                level["size"] = _times(int(level["size"]), size, sizes)
        for slot in self._slots(k):
            if ladder.sizes[slot] != UNKNOWN:
                ladder.sizes[slot] = _times(int(ladder.sizes[slot]), size, sizes)
        for field in ("known_key", "own_key"):
            if abs(int(side[field])) < -LOWEST_KEY:
                side[field] = _times(int(side[field]), price, prices)
        unit = _times(int(side["unit"]), price, prices)
        self._lay(k, ladder, _times(int(side["base"]), price, prices), unit)

    # --- reads ---

    def _slots(self, k: int) -> npt.NDArray[np.int64]:
        """Slots of the ladder that display a size or have a note, best first."""
        bits = self.ladders[k].bits
        flags = np.unpackbits((bits["shown"] | bits["noted"]).view(np.uint8), bitorder="little")
        return np.flatnonzero(flags)[::-1]

    def levels(self, k: int) -> list[tuple[int, int, int]]:
        """All levels of a side, best first: key, size (UNKNOWN where it is), index of the note or -1."""
        side, ladder = self.sides[k], self.ladders[k]
        base, unit = int(side["base"]), int(side["unit"])
        noted = np.unpackbits(ladder.bits["noted"].view(np.uint8), bitorder="little")
        found = [
            (base + slot * unit, int(ladder.sizes[slot]), int(ladder.notes[slot]) if noted[slot] else -1)
            for slot in self._slots(k).tolist()
        ]
        behind = ladder.far[: int(side["far_count"])][::-1]
        found += [(int(level["key"]), int(level["size"]), int(level["note"])) for level in behind]
        return found

    def empty(self, k: int) -> bool:
        """Whether nothing has been laid into a side."""
        return not self.sides[k]["far_count"] and not len(self._slots(k))


def _times(value: int, factor: int, what: str) -> int:
    product = value * factor
    if abs(product) >= 2**63:
        raise EngineError(f"instrument {what} {value} times {factor} does not fit 64 bits")
    return product
