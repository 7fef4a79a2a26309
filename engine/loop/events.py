"""Columns into the events that a strategy's handlers take.

An event's struct takes its fields by position: the instrument, then one value of each column. Prices and
sizes are the float64 nearest to the decimal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.schema import Batch
from engine.loop.codes import H_BAR, H_BOOK, H_QUOTE, H_TRADE
from engine.model.instruments import Instrument
from engine.model.kinds import BarData
from engine.model.units import NULL_TIME, to_float
from engine.strategy.api import Bar, BookUpdate, Quote, Trade

_EXACT = 2**53
_bar_decoder = msgspec.json.Decoder(BarData)

Places = npt.NDArray[np.int64]


class Columns(NamedTuple):
    """Events of one kind before they are made: `make(who, *one value of each list)`."""

    make: Callable[..., Any]
    who: Instrument | list[Instrument]  # one for all, or one each
    lists: list[list[Any]]

    def event(self, place: int) -> Any:
        """The event at a place."""
        who = self.who if isinstance(self.who, Instrument) else self.who[place]
        return self.make(who, *(values[place] for values in self.lists))


class _Reader:
    """Reads columns of the rows of some deliveries, as lists of Python values."""

    def __init__(self, batch: Batch, rows: Places, instruments: Sequence[Instrument], apart: int = 1) -> None:
        self.batch = batch
        self._instruments = instruments
        # Deliveries of rows that follow each other, as in a log of trades, or of every fourth one, as in a
        # log of bars (never closer): slices cost nothing.
        first, last = int(rows[0]), int(rows[-1])
        step = apart if last - first == apart * (len(rows) - 1) else 0
        self._rows: Places | slice = slice(first, last + 1, step) if step else rows
        numbers = batch.instrument[self._rows]
        one = int(numbers[0])
        self._numbers: npt.NDArray[np.uint32] | int = one if (numbers == one).all() else numbers
        self.who: Instrument | list[Instrument] = (
            instruments[one] if isinstance(self._numbers, int) else [instruments[n] for n in numbers.tolist()]
        )

    def integers(self, column: npt.NDArray[Any]) -> list[int]:
        """A column as it is."""
        values: list[int] = column[self._rows].tolist()
        return values

    def stamps(self, missing: int | None = None) -> list[Any]:
        """Venue times, `missing` where there is none."""
        stamps = self.batch.ts_venue[self._rows]
        values: list[int | None] = stamps.tolist()
        if int(stamps.min()) == NULL_TIME:
            return [missing if value == NULL_TIME else value for value in values]
        return values

    def prices(self) -> list[float]:
        """Prices as floats."""
        return self._decimals(self.batch.price[self._rows], "price_decimals")

    def sizes(self) -> list[float]:
        """Sizes as floats."""
        return self._decimals(self.batch.size[self._rows], "size_decimals")

    def _decimals(self, mantissas: npt.NDArray[np.int64], places: str) -> list[float]:
        """The float64 nearest to each decimal: one correctly rounded division of two exact numbers."""
        numbers, instruments = self._numbers, self._instruments
        if int(mantissas.max()) >= _EXACT or int(mantissas.min()) <= -_EXACT:
            each = repeat(numbers) if isinstance(numbers, int) else numbers.tolist()
            return [
                to_float(mantissa, getattr(instruments[n], places))
                for mantissa, n in zip(mantissas.tolist(), each, strict=False)
            ]
        if isinstance(numbers, int):
            divided: list[float] = (mantissas / 10.0 ** getattr(instruments[numbers], places)).tolist()
            return divided
        scales = np.array([10.0 ** getattr(i, places) for i in instruments])
        scaled: list[float] = (mantissas / scales[numbers]).tolist()
        return scaled


def bar_intervals(batch: Batch, rows: Places) -> npt.NDArray[np.int64]:
    """The intervals of the bars whose OPEN rows these are, ns; 0 where nothing is said of it."""
    one = _same_text(batch.data, rows)
    found = np.full(len(rows), 0 if one is None else _bar_decoder.decode(one).interval_ns, np.int64)
    if batch.data is not None and one is None:
        texts = batch.data.take(pa.array(rows))
        if pa.types.is_dictionary(texts.type):
            texts = texts.cast(pa.string())
        coded = texts.dictionary_encode()
        # One log has a few intervals: each text is read once.
        known = [_bar_decoder.decode(text).interval_ns for text in coded.dictionary.to_pylist()]
        if known and not coded.null_count:
            found[:] = np.array(known)[coded.indices.to_numpy(zero_copy_only=False)]
        elif known:
            there = np.flatnonzero(coded.is_valid().to_numpy(zero_copy_only=False))
            found[there] = np.array(known)[coded.indices.drop_null().to_numpy(zero_copy_only=False)]
    ours = batch.source[rows] == 0  # see engine.loop.made_bars
    if ours.any():
        found[ours] = batch.id[rows[ours] + 1]
    return found


def _same_text(texts: pa.Array | None, rows: Places) -> bytes | None:
    """The text of all these rows, if it is one and no row between them has another; None: look at each."""
    if texts is None or not pa.types.is_string(texts.type):
        return None
    _, ends, content = texts.buffers()
    if ends is None or content is None:
        return None
    offsets = np.frombuffer(ends, np.int32)[texts.offset :]
    begin = offsets[rows]
    lengths = offsets[rows + 1] - begin
    length = int(lengths[0])
    start, stop = int(begin[0]), int(begin[-1]) + length
    if not length or stop - start != length * len(rows) or (lengths != length).any():
        return None
    joined = bytes(memoryview(content)[start:stop])
    first = joined[:length]
    return first if joined == first * len(rows) else None


def columns_of(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Columns:
    """The columns of deliveries that all go to one handler of market events."""
    return _READERS[int(deliveries[0]["handler"])](batch, deliveries, instruments)


def mixed_events(
    batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]
) -> list[Any]:
    """One event per delivery of any kind; None where Python has to read the row (news, status, engine)."""
    handlers = deliveries["handler"]
    events: list[Any] = [None] * len(deliveries)
    for handler, reader in _READERS.items():
        places = np.flatnonzero(handlers == handler)
        if len(places):
            columns = reader(batch, deliveries[places], instruments)
            who = repeat(columns.who) if isinstance(columns.who, Instrument) else columns.who
            made = map(columns.make, who, *columns.lists)
            for place, event in zip(places.tolist(), made, strict=True):
                events[place] = event
    return events


def single_event(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Any:
    """The event of a delivery that stands alone: what a live session has most of the time."""
    if deliveries[0]["handler"] != H_TRADE:
        return columns_of(batch, deliveries, instruments).event(0)
    row = int(deliveries[0]["first"])
    who = instruments[batch.instrument.item(row)]
    stamp = batch.ts_venue.item(row)
    return Trade(
        who,
        to_float(batch.price.item(row), who.price_decimals),
        to_float(batch.size.item(row), who.size_decimals),
        batch.side.item(row),
        batch.ts.item(row),
        None if stamp == NULL_TIME else stamp,
        batch.id.item(row),
        batch.flags.item(row),
    )


def _trades(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Columns:
    read = _Reader(batch, deliveries["first"], instruments)
    values: list[list[Any]] = [
        read.prices(),
        read.sizes(),
        read.integers(batch.side),
        read.integers(batch.ts),
    ]
    values += [read.stamps(), read.integers(batch.id), read.integers(batch.flags)]
    return Columns(Trade, read.who, values)


def _quotes(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Columns:
    bids = _Reader(batch, deliveries["first"], instruments)
    asks = _Reader(batch, deliveries["last"], instruments)
    values: list[list[Any]] = [
        bids.prices(),
        bids.sizes(),
        asks.prices(),
        asks.sizes(),
        bids.integers(batch.ts),
    ]
    values += [bids.stamps(), bids.integers(batch.id), bids.integers(batch.flags)]
    return Columns(Quote, bids.who, values)


def _books(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Columns:
    read = _Reader(batch, deliveries["last"], instruments)
    values: list[list[Any]] = [read.integers(batch.ts), read.stamps()]
    values += [read.integers(batch.id), read.integers(batch.flags)]
    return Columns(BookUpdate, read.who, values)


def _bars(batch: Batch, deliveries: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> Columns:
    rows = deliveries["first"]
    parts = [_Reader(batch, rows + i, instruments, apart=4) for i in range(4)]
    opening, closing = parts[0], parts[3]
    starts = opening.stamps(missing=0)
    series = np.where(batch.source[rows] == 0, batch.id[rows], 0)
    values: list[list[Any]] = [starts, _listed(bar_intervals(batch, rows))]
    values += [part.prices() for part in parts]
    values += [closing.sizes(), closing.integers(batch.id), opening.integers(batch.ts)]
    values += [opening.integers(batch.flags), _listed(series)]
    return Columns(Bar, opening.who, values)


def _listed(values: npt.NDArray[Any]) -> list[int]:
    """As integers; of one number all over, one object."""
    first = values.item(0)
    return [first] * len(values) if (values == first).all() else values.tolist()


_READERS = {H_TRADE: _trades, H_QUOTE: _quotes, H_BOOK: _books, H_BAR: _bars}
