"""A run of deliveries of one batch: its events, made only as they are handed out.

Events of one kind are made by `map` over the columns' lists while the strategy takes them, which is the
cheapest way that Python knows. One of those lists is the guide: where its iterator stands tells which
event is in hand, and cutting it ends the iteration, so that nothing has to be counted or tested for each
event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import length_hint
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.log.schema import Batch
from engine.loop.codes import FIRST_SPECIAL
from engine.loop.events import Columns, columns_of, mixed_events, single_event
from engine.model.instruments import Instrument


class Delivery:
    """Events that are handed out ahead of the state; the one in hand is known without counting."""

    __slots__ = ("_chunk", "_guide", "_iterator", "_low")

    def __init__(self, chunk: Chunk, low: int, guide: list[Any]) -> None:
        self._chunk = chunk
        self._low = low
        self._guide = guide
        self._iterator = iter(guide)

    @property
    def iterator(self) -> Iterator[Any]:
        """The guide's iterator, to be consumed once for each event."""
        return self._iterator

    @property
    def place(self) -> int:
        """Where the event in hand stands in the chunk."""
        return self._low + len(self._guide) - length_hint(self._iterator) - 1

    @property
    def count(self) -> int:
        """How many events there are to hand out; fewer after a cut."""
        return len(self._guide)

    @property
    def end(self) -> int:
        """Last row of the message in hand."""
        return self._chunk.end(self.place)

    @property
    def now(self) -> int:
        """Time of the message in hand."""
        return self._chunk.stamp(self.place)

    def cut(self) -> None:
        """End after the message in hand: the rest of it is delivered before anything that it caused."""
        place = self.place
        end = self._chunk.end(place)
        keep = place - self._low + 1
        while keep < len(self._guide) and self._chunk.end(self._low + keep) == end:
            keep += 1
        del self._guide[keep:]


class Chunk:
    """Deliveries first..last of a batch's list. A message's deliveries stand in one chunk."""

    __slots__ = (
        "_batch",
        "_columns",
        "_deliveries",
        "_ends",
        "_events",
        "_instruments",
        "_plain",
        "_stamps",
        "first",
        "handlers",
        "last",
        "special",
        "uniform",
    )

    def __init__(
        self,
        batch: Batch,
        deliveries: npt.NDArray[np.void],
        first: int,
        last: int,
        instruments: Sequence[Instrument],
    ) -> None:
        self.first = first
        self.last = last
        self._batch = batch
        self._deliveries = deliveries
        self._instruments = instruments
        self._ends = np.ascontiguousarray(deliveries["end"])
        self._stamps: list[int] | None = None
        self._columns: Columns | None = None
        self._events: list[Any] | None = None
        codes = deliveries["handler"]
        ordinary = codes < FIRST_SPECIAL
        plain = bool(ordinary.all())
        self.special: list[int] = [] if plain else np.flatnonzero(~ordinary).tolist()
        # What Python has to read stands between events, which may be of one kind all the same.
        self._plain = deliveries if plain else deliveries[ordinary]
        codes_of_events = codes if plain else self._plain["handler"]
        one = int(codes_of_events[0]) if len(codes_of_events) else 0
        self.uniform = one if one and bool((codes_of_events == one).all()) else 0
        self.handlers: list[int] = [] if self.uniform and plain else codes.tolist()

    def end(self, place: int) -> int:
        """Last row of a delivery's message."""
        return int(self._ends[place])

    def stamp(self, place: int) -> int:
        """Time of a delivery's message."""
        return int(self._batch.ts[self._ends[place]])

    def code(self, place: int) -> int:
        """Which handler takes a delivery."""
        return self.handlers[place] if self.handlers else self.uniform

    def row(self, place: int) -> int:
        """First row of a delivery."""
        return int(self._deliveries[place]["first"])

    def before(self, due: int, low: int, high: int) -> int:
        """The first place from `low` on, up to `high`, whose message is not earlier than `due`."""
        if self._stamps is None:
            self._stamps = self._batch.ts[self._ends].tolist()
        return bisect_left(self._stamps, due, low, high)

    def event(self, place: int) -> Any:
        """One event by itself."""
        if not self.uniform:
            return self._mixed()[place]
        if self._columns is None:
            if len(self._ends) == 1:
                return single_event(self._batch, self._deliveries, self._instruments)
            self._columns = columns_of(self._batch, self._plain, self._instruments)
        return self._columns.event(place - self._specials_before(place))

    def ahead(self, low: int, high: int) -> tuple[Delivery, Iterator[Any]]:
        """Events low..high, uniform in kind, and the delivery that knows where they stand."""
        if len(self._ends) == 1:
            alone = Delivery(self, low, [self.event(0)])
            return alone, alone.iterator
        if self._columns is None:
            self._columns = columns_of(self._batch, self._plain, self._instruments)
        columns = self._columns
        before = self._specials_before(low)  # and none in between
        guide = columns.lists[-1][low - before : high - before]
        delivery = Delivery(self, low, guide)
        low -= before
        # The guide comes last and ends the map; the others only have to begin at `low`.
        rest = [_from(values, low) for values in columns.lists[:-1]]
        who = repeat(columns.who) if isinstance(columns.who, Instrument) else _from(columns.who, low)
        return delivery, map(columns.make, who, *rest, delivery.iterator)

    def ahead_mixed(
        self, low: int, high: int, handlers: Sequence[Callable[..., Any] | None]
    ) -> tuple[Delivery, Iterator[tuple[Any, Any]]]:
        """Pairs of handler and event, of several kinds."""
        delivery = Delivery(self, low, self._mixed()[low:high])
        chosen = [handlers[code] for code in self.handlers[low:high]]
        return delivery, zip(chosen, delivery.iterator, strict=False)

    def _specials_before(self, place: int) -> int:
        return bisect_left(self.special, place) if self.special else 0

    def _mixed(self) -> list[Any]:
        if self._events is None:
            self._events = mixed_events(self._batch, self._deliveries, self._instruments)
        return self._events


def _from(values: list[Any], low: int) -> Iterator[Any]:
    """Iterate a list from index `low` on, without copying it."""
    iterator = iter(values)
    if low:
        iterator.__setstate__(low)  # type: ignore[attr-defined]  # what pickling a list's iterator uses
    return iterator
