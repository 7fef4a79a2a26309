"""Reads a view of a log, batch by batch, touching only the columns of the log that are needed.

Definitions are looked up first, so that a row is always read in the units that held when it was written,
and prices of several instruments, or of one that was redefined, stand at one scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from engine.ingest.views import PRECISION, VIEWS, Lines, Units
from engine.log.reader import LogReader
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData, Kind


@dataclass(frozen=True)
class Definitions:
    """What a file defines: (seq, number, definition) in order, and how many rows of each kind it has."""

    entries: tuple[tuple[int, int, InstrumentData], ...]
    rows_of_kind: dict[int, int]
    tail: str = ""  # of an unsealed file: what is not used at its end

    @property
    def price_scale(self) -> int:
        """The most decimals that a price of the file can have."""
        return max((data.price_decimals for _, _, data in self.entries), default=0)

    @property
    def size_scale(self) -> int:
        """The most decimals that a size of the file can have."""
        return max((data.size_decimals for _, _, data in self.entries), default=0)


def definitions_of(path: Path) -> Definitions:
    """Look up a file's definitions. Raises DamagedLog or InputError as LogReader does."""
    counts = np.zeros(256, dtype=np.int64)
    last_seq = -1
    with LogReader(path, ["kind"]) as reader:
        for batch in reader.batches():
            counts += np.bincount(batch.kind, minlength=256)
            found = np.flatnonzero(batch.kind == int(Kind.INSTRUMENT))
            if len(found):
                last_seq = batch.first_seq + int(found[-1])
        tail = reader.tail
    entries = []
    with LogReader(path, ["kind", "instrument", "data"]) as reader:
        for batch in reader.batches() if last_seq >= 0 else ():
            for row in np.flatnonzero(batch.kind == int(Kind.INSTRUMENT)):
                data = msgspec.json.decode(batch.data_at(int(row)) or b"", type=InstrumentData)
                entries.append((batch.first_seq + int(row), int(batch.instrument[row]), data))
            if batch.first_seq + batch.count > last_seq:
                break
    rows = {int(kind): int(counts[kind]) for kind in np.flatnonzero(counts)}
    return Definitions(tuple(entries), rows, tail)


class ViewReader:
    """One view of one log, batch by batch, as often as asked."""

    def __init__(self, path: Path, view: str, definitions: Definitions | None = None) -> None:
        """`definitions` may be given when they are known already (`definitions_of`)."""
        if view not in VIEWS:
            raise UsageError(f'there is no view "{view}"', hint=f"there are {', '.join(VIEWS)}")
        self.path = path
        self.view = VIEWS[view]
        self.definitions = definitions or definitions_of(path)
        self.price_scale = self.definitions.price_scale
        self.size_scale = self.definitions.size_scale
        self.open_log: Callable[[Path, Sequence[str]], LogReader] = LogReader

    @property
    def schema(self) -> pa.Schema:
        """The view's columns, at this reader's scales."""
        scales = {"price": self.price_scale, "size": self.size_scale}
        return pa.schema(
            [
                pa.field(name, field.kind or pa.decimal128(PRECISION, scales[field.scale]))
                for name, field in self.view.fields.items()
            ]
        )

    def batches(
        self, columns: Sequence[str] | None = None, since: int | None = None, until: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Lines in the log's order, only these columns, of messages with since <= ts < until."""
        names = [n for n in self.view.fields if columns is None or n in columns]
        schema = pa.schema([self.schema.field(name) for name in names])
        needed = set(self.view.needs).union(*(self.view.fields[name].needs for name in names))
        if since is not None or until is not None:
            needed.add("ts")
        with self.open_log(self.path, sorted(needed)) as reader:
            for part in self._parts(reader, since, until):
                arrays = [self.view.fields[name].make(part) for name in names]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _parts(self, reader: LogReader, since: int | None, until: int | None) -> Iterator[Lines]:
        units = Units(self.price_scale, self.size_scale)
        coming = list(reversed(self.definitions.entries))
        for batch in reader.batches(prefetch=1):
            start = 0
            while start < batch.count:
                stop = batch.count
                while coming and coming[-1][0] <= batch.first_seq + start:
                    units.define(*coming.pop()[1:])
                if coming:
                    stop = min(stop, coming[-1][0] - batch.first_seq)
                piece = batch.slice(start, stop)
                start = stop
                low, high = 0, piece.count
                if since is not None:
                    low = int(np.searchsorted(piece.ts, since))
                if until is not None:
                    high = int(np.searchsorted(piece.ts, until))
                piece = piece.slice(low, max(low, high))
                at, also = self.view.lines(piece)
                if len(at):
                    yield Lines(piece, units, at, also)
            if until is not None and int(batch.ts[-1]) >= until:
                return
