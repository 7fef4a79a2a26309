"""Where the prices of all instruments stand that the kernel of `ticks` compares with, and how it is called.

Windows are made when their first price comes: an instrument that nobody trades costs four numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from engine.feed.ticks import (
    EVENT,
    HEAD,
    MOST_STEP,
    NO_WINDOW,
    NUMBERS,
    RUN_PRICES,
    SORTED,
    STATE,
    STREAMS,
    UNDEFINED,
    WITHOUT,
    judge,
)
from engine.model.rows import RowBuffer
from engine.model.units import MAX_INT64

_SOURCES = 1 << 16
_MOST_INSTRUMENTS = 1 << 20  # no recorder has that many; rows of a number beyond are not judged
_EVENTS = 256
_ROWS, _COUNT, _POSITION, _EVENT_COUNT, _PLACE = (
    (STATE.names or ()).index(name) for name in ("rows", "count", "position", "event_count", "place")
)


class Windows:
    """The memory of one file's ticks."""

    def __init__(self) -> None:
        self.modes: npt.NDArray[np.int8] = np.zeros(_SOURCES, np.int8)  # by number of the source
        self.position = 0  # the row at which `judge` came back
        self._places = np.full(STREAMS * 64, UNDEFINED, np.int64)
        self._heads = np.zeros(16, HEAD)
        self._numbers = np.zeros((16, NUMBERS), np.int64)
        self._used = 0
        self._increments: dict[int, int] = {}  # by number of the instrument
        self._events = np.zeros(_EVENTS, EVENT)
        self._state = np.zeros(1, STATE)
        self._words = self._state.view(np.int64)
        self._address = int(self._state.ctypes.data)
        self._point()

    def judge(self, rows: RowBuffer, position: int) -> list[np.void]:
        """Judge rows until a definition, the end, or a list of events is full; the events, in order."""
        words = self._words
        words[_ROWS] = rows.view().ctypes.data
        words[_COUNT] = rows.count
        words[_POSITION] = position
        while judge(self._address) == NO_WINDOW:
            self._add(int(words[_PLACE]))
        self.position = int(words[_POSITION])
        count = int(words[_EVENT_COUNT])
        if not count:
            return []
        words[_EVENT_COUNT] = 0
        return list(self._events[:count].copy())

    def define(self, number: int, increment: int) -> None:
        """An instrument's prices may come from now on, or have another increment (a mantissa) from now on."""
        if number >= _MOST_INSTRUMENTS:
            return
        self._increments[number] = increment
        first = STREAMS * number
        if first >= len(self._places):
            grown = np.full(max(2 * len(self._places), first + STREAMS), UNDEFINED, np.int64)
            grown[: len(self._places)] = self._places
            self._places = grown
            self._point()
        mine = self._places[first : first + STREAMS]
        mine[mine == UNDEFINED] = WITHOUT
        for window in mine[mine >= 0].tolist():
            self._heads["increment"][window] = increment
            self._find_step(window)

    def rescale(self, number: int, factor: int) -> None:
        """An instrument's prices are written with more digits from now on, by this factor; 0: forget them."""
        for window in self._places[STREAMS * number : STREAMS * (number + 1)].tolist():
            if window < 0:
                continue
            head, numbers = self._heads[window], self._numbers[window]
            count = int(head["count"])
            run = numbers[RUN_PRICES : RUN_PRICES + int(head["run"])]
            largest = max(int(head["reference"]), int(numbers[SORTED + count - 1]), int(max(run, default=0)))
            if factor == 0 or largest * factor > MAX_INT64:
                increment = int(head["increment"])
                self._heads[window] = np.zeros((), HEAD)
                self._heads["increment"][window] = increment
                self._find_step(window)
                continue
            numbers[:count] *= factor
            numbers[SORTED : SORTED + count] *= factor
            run *= factor
            head["reference"] *= factor
            head["sum"] *= float(factor)
            head["squares"] *= float(factor) * float(factor)
            head["grid"] *= factor  # which is no greater than any price
            self._find_step(window)

    def _add(self, place: int) -> None:
        """A window for the stream of an instrument that had none."""
        if self._used == len(self._heads):
            self._heads = np.concatenate((self._heads, np.zeros(self._used, HEAD)))
            self._numbers = np.concatenate((self._numbers, np.zeros((self._used, NUMBERS), np.int64)))
            self._point()
        self._places[place] = self._used
        self._heads["increment"][self._used] = self._increments[place // STREAMS]
        self._find_step(self._used)
        self._used += 1

    def _find_step(self, window: int) -> None:
        """What the prices of a window move by, from its increment and from what they have shown."""
        head = self._heads[window]
        head["step"] = min(math.gcd(int(head["increment"]), int(head["grid"])), MOST_STEP)

    def _point(self) -> None:
        """Tell the kernel where everything stands now."""
        state = self._state
        state["modes"], state["mode_count"] = self.modes.ctypes.data, len(self.modes)
        state["places"], state["place_count"] = self._places.ctypes.data, len(self._places)
        state["heads"], state["numbers"] = self._heads.ctypes.data, self._numbers.ctypes.data
        state["windows"] = len(self._heads)
        state["events"], state["event_capacity"] = self._events.ctypes.data, len(self._events)
