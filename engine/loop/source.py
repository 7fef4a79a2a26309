"""Several logs as one stream of batches for the runner.

Files are merged by (ts, argument order); what one holds and the next goes on with needs no special case.
Instrument numbers are local to a file and become run-wide indexes here. Reference rows come out in
batches of their own, so that a definition takes effect between two batches and never within one:
wherever a file was cut into batches, the runner sees the same.

Files may count one instrument in different decimals: prices and sizes are multiplied up, exactly, to the most
that any definition so far has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from engine.log.schema import Batch
from engine.model.errors import InputError
from engine.model.instruments import Registry
from engine.model.kinds import Flag, InstrumentData, Kind
from engine.model.units import MAX_INT64

NEEDED = (
    "ts",
    "ts_venue",
    "source",
    "kind",
    "part",
    "flags",
    "instrument",
    "side",
    "price",
    "size",
    "id",
    "data",
)

_FEW = 8  # rows that Python looks at faster than NumPy
_REFERENCE = (int(Kind.SOURCE), int(Kind.INSTRUMENT))
_NONE = np.uint32(2**32 - 1)


@dataclass
class Numbering:
    """One file's instrument numbers -> run-wide indexes."""

    name: str
    define: Callable[[InstrumentData, int], int]  # the definition, and the time of its row
    registry: Registry | None = None  # of a run over several files
    table: npt.NDArray[np.uint32] = field(default_factory=lambda: np.full(16, _NONE, np.uint32))
    _decimals: dict[int, tuple[int, int]] = field(default_factory=dict)  # as this file counts, by number
    _factors: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None  # None: all are 1
    _revision: int = 0  # of the registry that the factors are for

    def kept(self) -> list[tuple[int, int, int, int]]:
        """By number: the run-wide index, and the decimals of the file; as plain values."""
        return [(number, int(self.table[number]), *pair) for number, pair in sorted(self._decimals.items())]

    def put_back(self, kept: Sequence[Sequence[int]]) -> None:
        """Take what `kept` gave in another process."""
        for number, index, price_decimals, size_decimals in kept:
            self._enter(number, index)
            self._decimals[number] = (price_decimals, size_decimals)

    def _enter(self, number: int, index: int) -> None:
        if number >= len(self.table):
            grown = np.full(max(2 * len(self.table), number + 1), _NONE, np.uint32)
            grown[: len(self.table)] = self.table
            self.table = grown
        self.table[number] = index

    def split(self, batch: Batch) -> Iterator[Batch]:
        """The batch in parts with run-wide indexes, reference messages apart from all others."""
        kinds = batch.kind
        if batch.count <= _FEW and not any(kind in _REFERENCE for kind in kinds.tolist()):
            yield self._number(batch)  # most turns of a live session
            return
        reference = (kinds == _REFERENCE[0]) | (kinds == _REFERENCE[1])
        if not reference.any():
            yield self._number(batch)
            return
        edges = np.flatnonzero(np.diff(reference)) + 1
        start = 0
        for stop in [*edges.tolist(), batch.count]:
            part = batch.slice(start, stop)
            if reference[start]:
                yield from self._definitions(part)
            else:
                yield self._number(part)
            start = stop

    def _definitions(self, part: Batch) -> Iterator[Batch]:
        # One row at a time: a definition counts from its own row on.
        for row in range(part.count):
            one = part.slice(row, row + 1)
            if int(one.kind[0]) == Kind.INSTRUMENT:
                number = int(one.instrument[0])
                text = one.data_at(0)
                try:
                    data = msgspec.json.decode(text or b"", type=InstrumentData)
                except msgspec.DecodeError as error:
                    raise InputError(
                        f"{self.name}: row {one.first_seq}: the definition of instrument {number} "
                        f"cannot be read: {error}"
                    ) from None
                index = self.define(self._widened(number, data), int(one.ts[0]))
                self._enter(number, index)
                one.instrument = np.array([index], np.uint32)
                one.rows = None
            # A reference row is a message of its own here, whatever stood beside it in the file.
            one.flags = one.flags | np.uint16(Flag.LAST)
            yield one

    def _number(self, part: Batch) -> Batch:
        numbers = part.instrument
        if int(numbers.max(initial=0)) >= len(self.table):
            self._unknown(part, int(numbers.max()))
        mapped = self.table[numbers]
        if int(mapped.max(initial=0)) == _NONE:
            # Market rows (the kinds below 20) need an instrument; others may have none.
            unknown = (mapped == _NONE) & ((numbers != 0) | (part.kind < Kind.NEWS))
            if unknown.any():
                self._unknown(part, int(numbers[np.flatnonzero(unknown)[0]]))
        # In place: the batch was read for this run, and copying its slots costs more than a turn's work.
        part.instrument = mapped
        part.rows = None
        if self.registry is not None:
            if self.registry.revision != self._revision:
                self._measure(self.registry)
            if self._factors is not None:
                part.price = self._multiplied(part, "price", part.price, self._factors[0][numbers])
                part.size = self._multiplied(part, "size", part.size, self._factors[1][numbers])
        return part

    def _widened(self, number: int, data: InstrumentData) -> InstrumentData:
        """The definition in the decimals of the run, where another file has more; never fewer of its own."""
        own = (data.price_decimals, data.size_decimals)
        before = self._decimals.get(number, own)
        self._decimals[number] = own
        known = self.registry.known(data.key) if self.registry is not None else None
        if known is None or own[0] < before[0] or own[1] < before[1]:
            return data
        return msgspec.structs.replace(
            data,
            price_decimals=max(own[0], known.price_decimals),
            size_decimals=max(own[1], known.size_decimals),
        )

    def _measure(self, registry: Registry) -> None:
        """What this file's mantissas have to be multiplied by."""
        self._revision = registry.revision
        prices, sizes = np.ones(len(self.table), np.int64), np.ones(len(self.table), np.int64)
        for number, (price_decimals, size_decimals) in self._decimals.items():
            who = registry.instruments[self.table[number]]
            prices[number] = 10 ** (who.price_decimals - price_decimals)
            sizes[number] = 10 ** (who.size_decimals - size_decimals)
        same = bool((prices == 1).all() and (sizes == 1).all())
        self._factors = None if same else (prices, sizes)

    def _multiplied(
        self, part: Batch, name: str, values: npt.NDArray[np.int64], factors: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        beyond = np.abs(values) > MAX_INT64 // factors
        if beyond.any():
            row = int(np.flatnonzero(beyond)[0])
            raise InputError(
                f"{self.name}: row {part.first_seq + row}: {name} {int(values[row])} times "
                f"{int(factors[row])} does not fit 64 bits",
                hint="another file of this run counts the instrument in more decimals",
            )
        return values * factors

    def _unknown(self, part: Batch, number: int) -> None:
        row = part.first_seq + int(np.flatnonzero(part.instrument == number)[0])
        raise InputError(
            f"{self.name}: row {row}: instrument {number} is used before it is defined",
            hint="the file lacks its INSTRUMENT row: engine log check says more",
        )


@dataclass
class Stream:
    """One file's batches, opened when the run's time reaches its first row."""

    first_ts: int
    open: Callable[[], Iterator[Batch]]


def merge(streams: Sequence[Stream]) -> Iterator[tuple[Batch, int]]:
    """Batches of several files in order of (ts, argument order), each with its file's index.

    Every batch holds whole messages of one file. Files that do not overlap come through untouched, and are
    opened one after the other.
    """
    waiting = sorted(range(len(streams)), key=lambda i: (streams[i].first_ts, i))
    opened: dict[int, Iterator[Batch]] = {}
    heads: dict[int, Batch] = {}
    while waiting or heads:
        starts = [(int(head.ts[0]), i) for i, head in heads.items()]
        starts += [(streams[i].first_ts, i) for i in waiting]
        _, first = min(starts)
        if first not in heads:
            waiting.remove(first)
            opened[first] = streams[first].open()
            _advance(heads, opened, first)
            continue
        head = heads[first]
        # Up to where another file has an earlier row (or an equal one, and stands earlier).
        stop = head.count
        for ts, i in starts:
            if i != first:
                side: Literal["left", "right"] = "right" if first < i else "left"
                stop = min(stop, int(head.ts.searchsorted(ts, side=side)))
        stop = max(stop, _message_end(head, 0))
        if stop >= head.count:
            yield head, first
            _advance(heads, opened, first)
        else:
            yield head.slice(0, stop), first
            heads[first] = head.slice(stop, head.count)


def _advance(heads: dict[int, Batch], opened: dict[int, Iterator[Batch]], number: int) -> None:
    following = next(opened[number], None)
    if following is None:
        heads.pop(number, None)
    else:
        heads[number] = following


def _message_end(batch: Batch, row: int) -> int:
    last = np.flatnonzero(batch.flags[row:] & Flag.LAST)
    return row + int(last[0]) + 1 if len(last) else batch.count


def rechunk(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """Cut batches into pieces of about `rows` rows, at ends of messages; for tests of invariance."""
    for batch in batches:
        start = 0
        while start < batch.count:
            stop = min(start + rows, batch.count)
            stop = max(_message_end(batch, stop - 1), stop) if stop < batch.count else stop
            yield batch.slice(start, stop)
            start = stop
