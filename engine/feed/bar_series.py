"""When a bar is over, at venues that do not say so: when they show a later one.

Such a venue sends the bar that runs whenever there is a trade, and nothing when it ends. So the bar that was
seen last is final as soon as one with a later start is shown; it is stated once more then, flagged FINAL,
ahead of the new one. Until the next trade nobody can know that it is over, and the log does not pretend to.

What a bar is flagged with:

    the bar that runs                          0; shown again as it was: DUPLICATE
    the bar that ran, when a later one comes   FINAL
    an older one, known to be final            FINAL | DUPLICATE, or FINAL | REVISED where it is another now
    an older one, never seen                   FINAL | BACKFILLED: history that a subscription begins with, or
                                               a bar that began and ended while the connection was down

A bar that ran when the connection was lost may have gone on without us. It is final with what the venue says
of it afterwards, and has no final row if the venue says nothing more.

Knows no venue, no decimals and no rows. Bars are compared by what the venue said, not by when.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.feed.parser import DUPLICATE
from engine.feed.row_words import BACKFILLED, FINAL, REVISED

REMEMBERED = 1_024  # final bars, to know them again


class Bar(NamedTuple):
    """One bar as the venue stated it; numbers as they stood in the message."""

    begin_ns: int
    interval_ns: int
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any
    trades: int = 0


class BarSeries:
    """The bars of one instrument and one interval."""

    __slots__ = ("_finals", "_unsure", "running")

    def __init__(self) -> None:
        self.running: Bar | None = None  # seen last, not known to be over
        self._finals: dict[int, Bar] = {}  # by start, oldest first
        self._unsure = False  # the running bar may have changed since

    def lost(self) -> None:
        """The connection is gone: what comes of the running bar is unknown until it is shown again."""
        self._unsure = True

    def take(self, bars: list[Bar]) -> list[tuple[Bar, int]]:
        """What to state because of the bars of one message, oldest first: each with its flags."""
        if not bars:
            return []
        ordered = sorted(bars, key=_begin) if len(bars) > 1 else bars
        newest = ordered[-1]
        stated: list[tuple[Bar, int]] = []
        if self.running is not None and self.running.begin_ns < ordered[0].begin_ns:
            if self._unsure:
                self.running = None
            else:
                stated.append(self._over(self.running))
        self._unsure = False
        stated += [self._over(bar) for bar in ordered[:-1]]
        running = self.running
        if newest.begin_ns in self._finals or (running is not None and newest.begin_ns < running.begin_ns):
            stated.append(self._over(newest))
        else:
            stated.append((newest, DUPLICATE if newest == running else 0))
            self.running = newest
        return stated

    def _over(self, bar: Bar) -> tuple[Bar, int]:
        """A bar that has a later one."""
        running = self.running
        if running is not None and running.begin_ns == bar.begin_ns:
            self.running = None
            flags = FINAL
        elif (known := self._finals.get(bar.begin_ns)) is not None:
            flags = FINAL | (DUPLICATE if bar == known else REVISED)
        else:
            flags = FINAL | BACKFILLED
        self._finals[bar.begin_ns] = bar
        if len(self._finals) > REMEMBERED:
            del self._finals[next(iter(self._finals))]
        return bar, flags


def _begin(bar: Bar) -> int:
    return bar.begin_ns
