"""Rows on their way into a log: a growable buffer of packed records.

Parsers, importers and the engine append here; the log writer takes what stands in it. One record is 64
bytes, little-endian, without padding that could hold garbage: these bytes, followed by the texts, are
the canonical encoding that the log's chain hash runs over, so the layout is part of the format. `seq` is
not in it: a row's position is its number.

Packing a row with one `struct` call costs a third of setting fourteen array elements, which is why rows
are gathered by row here and turned into columns once per batch.
"""

from __future__ import annotations

from struct import Struct

import numpy as np
import numpy.typing as npt

from engine.model.kinds import Flag, Kind
from engine.model.units import NULL_TIME

ROW = np.dtype(
    [
        ("ts", "<i8"),
        ("ts_venue", "<i8"),  # NULL_TIME: none
        ("price", "<i8"),
        ("size", "<i8"),
        ("id", "<u8"),
        ("wire_length", "<i8"),  # -1: null
        ("data_length", "<i4"),  # -1: null
        ("instrument", "<u4"),
        ("source", "<u2"),
        ("flags", "<u2"),
        ("kind", "u1"),
        ("part", "u1"),
        ("side", "i1"),
        ("pad", "u1"),
    ]
)
ROW_BYTES = ROW.itemsize
_PACK = Struct("<qqqqQqiIHHBBbx")
assert _PACK.size == ROW_BYTES == 64

_FLAGS_OFFSET = ROW.fields["flags"][1]  # type: ignore[index]  # a structured dtype has fields
_LAST = int(Flag.LAST)


class RowBuffer:
    """Rows waiting to be written; whole messages only, once the caller stops appending.

    `data` and `wire` hold the non-null texts in row order.
    """

    __slots__ = ("_bytes", "_pack", "capacity", "count", "data", "wire")

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self.count = 0
        self.data: list[bytes] = []
        self.wire: list[bytes] = []
        self._bytes = bytearray(capacity * ROW_BYTES)
        self._pack = _PACK.pack_into

    def append(  # noqa: PLR0913  one argument per column, in the order of the log's columns
        self,
        ts: int,
        kind: int,
        *,
        ts_venue: int = NULL_TIME,
        source: int = 0,
        part: int = 0,
        flags: int = 0,
        instrument: int = 0,
        side: int = 0,
        price: int = 0,
        size: int = 0,
        id: int = 0,  # noqa: A002  the column's name
        data: bytes | None = None,
        wire: bytes | None = None,
    ) -> None:
        """Append one row. `flags` must hold Flag.LAST on the message's last row (or call end_message)."""
        self.append_fast(
            ts, ts_venue, source, kind, part, flags, instrument, side, price, size, id, data, wire
        )

    def append_fast(  # noqa: PLR0913
        self,
        ts: int,
        ts_venue: int,
        source: int,
        kind: int,
        part: int,
        flags: int,
        instrument: int,
        side: int,
        price: int,
        size: int,
        id: int,  # noqa: A002
        data: bytes | None,
        wire: bytes | None,
    ) -> None:
        """The same with positional arguments, for parsers' hot paths."""
        count = self.count
        if count == self.capacity:
            self._grow()
        self._pack(
            self._bytes,
            count * ROW_BYTES,
            ts,
            ts_venue,
            price,
            size,
            id,
            -1 if wire is None else len(wire),
            -1 if data is None else len(data),
            instrument,
            source,
            flags,
            kind,
            part,
            side,
        )
        if data is not None:
            self.data.append(data)
        if wire is not None:
            self.wire.append(wire)
        self.count = count + 1

    def extend(self, packed: npt.NDArray[np.void], data: list[bytes], wire: list[bytes]) -> None:
        """Append many rows at once: ROW records, and the non-null texts that their lengths announce."""
        while self.count + len(packed) > self.capacity:
            self._grow()
        start = self.count
        self.count += len(packed)
        self.view()[start:] = packed
        self.data += data
        self.wire += wire

    def end_message(self) -> None:
        """Set LAST on the row appended last."""
        self._bytes[(self.count - 1) * ROW_BYTES + _FLAGS_OFFSET] |= _LAST

    def add_flags(self, first_row: int, flags: int) -> None:
        """Set more flags on every row from `first_row` (an index into this buffer) on."""
        self.view()["flags"][first_row:] |= flags

    def view(self) -> npt.NDArray[np.void]:
        """The rows as a structured array over the buffer itself; invalid after the next append."""
        return np.frombuffer(self._bytes, dtype=ROW, count=self.count)

    def truncate(self, count: int) -> None:
        """Forget every row from index `count` on, texts included (a message that was given up)."""
        view = self.view()[count:]
        dropped_data = int((view["data_length"] >= 0).sum())
        dropped_wire = int((view["wire_length"] >= 0).sum())
        del view
        if dropped_data:
            del self.data[-dropped_data:]
        if dropped_wire:
            del self.wire[-dropped_wire:]
        self.count = count

    def clear(self) -> None:
        """Forget everything; keeps the memory."""
        self.count = 0
        self.data = []
        self.wire = []

    def _grow(self) -> None:
        # A new bytearray: views of the old one may still be held, and those cannot be resized.
        grown = bytearray(self.capacity * 2 * ROW_BYTES)
        grown[: len(self._bytes)] = self._bytes
        self._bytes = grown
        self.capacity *= 2


def kind_name(code: int) -> str:
    """Name of a kind for people, also of one this version does not know."""
    try:
        return Kind(code).name
    except ValueError:
        return f"KIND{code}"
