"""Rows are handed on once per turn of the event loop, after everything that was ready has been drained.

Whoever appends rows arms the turn; the first one schedules it, and it runs after the frames of one read of
the socket, never inside a message. Then the clock may have its say, and the owner takes the rows. A read may
bring all that piled up while the process stood still: whoever appends a message to `ROWS_MAX` rows or more
hands them on at once, so that memory is bounded by what is taken at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from engine.live.clock import Sequencer
from engine.live.redact import KNOWN
from engine.model.kinds import Flag, Kind, StatusData, encode_canonical
from engine.model.rows import RowBuffer

ROWS_MAX = 1 << 14
_LAST = int(Flag.LAST)


class Turn:
    """One buffer, one clock, one owner. `armed` is looked at for every frame: an attribute, no call."""

    __slots__ = ("_on_rows", "armed", "rows", "sequencer")

    def __init__(self, rows: RowBuffer, sequencer: Sequencer, on_rows: Callable[[], None]) -> None:
        self.rows = rows
        self.sequencer = sequencer
        self.armed = False
        self._on_rows = on_rows

    def arm(self) -> None:
        """Hand rows on when everything that is ready now has been drained."""
        if not self.armed:
            self.armed = True
            asyncio.get_running_loop().call_soon(self.now)

    def now(self) -> None:
        """Hand rows on at once; only between messages."""
        self.note_clock()
        self.armed = False
        if self.rows.count:
            self._on_rows()

    def status(self, data: StatusData, *, source: int = 0, instrument: int = 0) -> None:
        """Append a STATUS row; a venue's words in it may repeat a key that it was given."""
        if KNOWN and data.detail:
            data = msgspec.structs.replace(data, detail=KNOWN.text(data.detail))
        self.rows.append(
            self.sequencer.stamp(),
            Kind.STATUS,
            source=source,
            instrument=instrument,
            flags=_LAST,
            data=encode_canonical(data),
        )

    def note_clock(self) -> None:
        """Write a STATUS row if the system clock has gone away, or come back."""
        notice = self.sequencer.take_notice()
        if notice is not None:
            self.status(notice.status())
