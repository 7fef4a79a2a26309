"""A venue's REST history, page by page: what every venue's pages promise. Bytes in, rows out; opens nothing.

    stream.next() ──► path of a page     body ──► stream.take() ──► Page ──► stream.append() ──► rows

A `Stream` is one symbol's facts of one channel between two times. Where it stands follows from the pages that
it was given, and from nothing else: given the same pages again it asks for the same next one. So the pages on
the disk are the whole state of a fetch, and turning them into rows later runs the very code that asked for
them.

Pages may overlap (what was there before is passed over) and may leave out what the venue does not have; ids
that jump are a hole, which becomes a STATUS row of its own before the first fact behind it.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from engine.model.kinds import Flag, InstrumentData, Kind, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import decimals_of

IMPORTED = int(Flag.IMPORTED)
LAST = int(Flag.LAST)


class Hole(msgspec.Struct, frozen=True):
    """Ids that are missing before item `index` of a page."""

    index: int
    first: int
    last: int


class Page(msgspec.Struct):
    """What is new in a page and lies in the time asked for, oldest first."""

    items: list[Any]
    holes: list[Hole] = []


PRICES = ("price", "open", "high", "low", "close", "bid", "ask")  # decimal texts of items, by field
SIZES = ("size", "volume", "bid_size", "ask_size")


def decimals_of_page(page: Page) -> tuple[int, int]:
    """How many decimals the prices and the sizes of a page need."""
    found = []
    for names in (PRICES, SIZES):
        texts = {getattr(item, name) for item in page.items for name in names if hasattr(item, name)}
        found.append(max((decimals_of(text) for text in texts), default=0))
    return found[0], found[1]


class Placed(msgspec.Struct, frozen=True):
    """Where a stream's rows go: numbers of its source and instrument in the log, and the definition."""

    source: int
    instrument: int
    definition: InstrumentData
    feed_latency_ns: int = 0


class Stream(Protocol):
    """One symbol's facts of one channel in [begin, end), in ns."""

    symbol: str
    channel: str
    endpoint: str

    @property
    def carried(self) -> str:
        """What the stream of the time that follows begins with, as a text; "" for nothing."""

    @property
    def at(self) -> int:
        """How far it has come, in ns: for whoever shows progress."""

    def next(self) -> str | None:
        """Path and query of the page that is wanted next; None when there is no more."""

    def take(self, body: bytes) -> Page:
        """The facts of the page that `next` asked for. Raises Malformed, and then stands where it stood."""

    def append(self, page: Page, placed: Placed, rows: RowBuffer) -> None:
        """Rows of a page, a message each. Raises TooFine where the definition has too few decimals."""


def append_hole(hole: Hole, channel: str, ts: int, placed: Placed, rows: RowBuffer) -> None:
    """The row that says what the venue's history left out."""
    data = StatusData(
        event="gap",
        channel=channel,
        detail="not in the venue's history",
        first=hole.first,
        last=hole.last,
    )
    rows.append(
        ts,
        Kind.STATUS,
        source=placed.source,
        flags=IMPORTED | LAST,
        instrument=placed.instrument,
        data=encode_canonical(data),
    )
