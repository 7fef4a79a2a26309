"""A log's rows as tables that people read: one trade a line, one quote a line, decimal prices, symbol names.

    trades · quotes · book · bars · news     one line per fact (a quote's two rows, a bar's four are one line)
    messages                                 one line per message, with what was received
    rows                                     the log as it is, decoded

Each column of a view says which columns of the log it needs, and only those are read: asking three columns
of a big log touches neither `wire` nor anything else. Prices are Arrow decimals, exact; their scale is the
widest that any instrument in the files ever had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.schema import TIMESTAMP, Batch
from engine.model.kinds import ASK, BID, BarData, Flag, InstrumentData, Kind, NewsData, Part
from engine.model.rows import kind_name
from engine.model.units import MAX_INT64, NULL_TIME, POWERS_OF_TEN

NAME = pa.dictionary(pa.int32(), pa.string())
PRECISION = 38
_LAST = int(Flag.LAST)
Index = npt.NDArray[np.intp]


class Units:
    """The definitions in force at one place of a file, by instrument number."""

    def __init__(self, price_scale: int, size_scale: int) -> None:
        self.scales = {"price": price_scale, "size": size_scale}
        self.symbols, self.venues = [""], [""]
        # What a mantissa is multiplied by to stand at the view's scale.
        self.factors = {"price": [1], "size": [1]}

    def define(self, number: int, data: InstrumentData) -> None:
        """Take the definition that holds from here on."""
        while len(self.symbols) <= number:
            for names in (self.symbols, self.venues):
                names.append("")
            for factors in self.factors.values():
                factors.append(1)
        self.symbols[number], self.venues[number] = data.symbol, data.venue
        self.factors["price"][number] = POWERS_OF_TEN[self.scales["price"] - data.price_decimals]
        self.factors["size"][number] = POWERS_OF_TEN[self.scales["size"] - data.size_decimals]


@dataclass
class Lines:
    """Rows of one batch under one set of definitions, and which of them a view's lines stand at."""

    batch: Batch
    units: Units
    at: Index  # first row of each line
    also: Index  # another row of each line: a quote's ask, or -1; a message's last row

    def decimals(self, what: str, index: Index) -> pa.Array:
        """The exact decimals of a mantissa column at some rows; null at index -1."""
        values = getattr(self.batch, what)[index]
        numbers = self.batch.instrument[index]
        known = numbers < len(self.units.symbols)
        factors = np.array(self.units.factors[what], dtype=np.int64)[np.where(known, numbers, 0)]
        scale = self.units.scales[what]
        kind = pa.decimal128(PRECISION, scale)
        absent = index < 0
        largest = int(factors.max(initial=1))
        if largest > 1 and int(np.abs(values).max(initial=0)) > MAX_INT64 // largest:
            exact = [Decimal(int(v) * int(f)).scaleb(-scale) for v, f in zip(values, factors, strict=True)]
            return pa.array(exact, kind, mask=absent)
        low = np.where(absent, 0, values * factors)
        words = np.empty((len(low), 2), dtype="<i8")
        words[:, 0], words[:, 1] = low, low >> 63
        bits = pa.py_buffer(np.packbits(~absent, bitorder="little")) if absent.any() else None
        return pa.Array.from_buffers(kind, len(low), [bits, pa.py_buffer(words)], int(absent.sum()))

    def times(self, column: str) -> pa.Array:
        """A time column at the lines' rows; null for none."""
        values = getattr(self.batch, column)[self.at]
        return pa.array(values, pa.int64(), mask=values == NULL_TIME).view(TIMESTAMP)

    def names(self, of: Sequence[str]) -> pa.Array:
        """A text per instrument, at the lines' rows."""
        numbers = self.batch.instrument[self.at].astype(np.int32)
        numbers = np.where(numbers < len(of), numbers, 0).astype(np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(list(of), pa.string()))

    def coded(self, codes: npt.NDArray[Any], texts: Sequence[str]) -> pa.Array:
        """A text per code."""
        return pa.DictionaryArray.from_arrays(
            pa.array(codes.astype(np.int32)), pa.array(list(texts), pa.string())
        )

    def plain(self, column: str) -> pa.Array:
        """A column as it is, at the lines' rows."""
        return pa.array(getattr(self.batch, column)[self.at])

    def flag(self, flag: Flag) -> pa.Array:
        """Whether a flag stands at the lines' rows."""
        return pa.array((self.batch.flags[self.at] & int(flag)) != 0)

    def texts(self, column: str) -> pa.Array:
        """`data` or `wire` at the lines' rows."""
        values = getattr(self.batch, column)
        return values if len(self.at) == self.batch.count else values.take(pa.array(self.at))

    def decoded(self, kind: type[Any]) -> list[Any]:
        """`data` at the lines' rows as structs; an empty text where there is none."""
        decode = msgspec.json.Decoder(kind).decode
        return [None if text is None else decode(text) for text in self.texts("data").to_pylist()]


Make = Callable[[Lines], pa.Array]


@dataclass(frozen=True)
class Field:
    """A view's column: what it needs of the log, its type (None: a decimal of `scale`), how it is made."""

    needs: tuple[str, ...]
    kind: pa.DataType | None
    make: Make
    scale: str = ""


@dataclass(frozen=True)
class View:
    """A view: how its lines are found among a batch's rows, what that needs, and its columns."""

    needs: tuple[str, ...]
    lines: Callable[[Batch], tuple[Index, Index]]
    fields: dict[str, Field]


def _of_kind(kind: Kind) -> Callable[[Batch], tuple[Index, Index]]:
    def lines(batch: Batch) -> tuple[Index, Index]:
        at = np.flatnonzero(batch.kind == int(kind))
        return at, at

    return lines


def _levels(batch: Batch) -> tuple[Index, Index]:
    at = np.flatnonzero((batch.kind == int(Kind.BOOK)) & (batch.side != 0))
    return at, at


def _bars(batch: Batch) -> tuple[Index, Index]:
    at = np.flatnonzero((batch.kind == int(Kind.BAR)) & (batch.part == int(Part.OPEN)))
    at = at[at + 3 < batch.count]
    return at, at + 3


def _quotes(batch: Batch) -> tuple[Index, Index]:
    """Bid rows and the ask rows right behind them in the same message; -1 for a side that is not there."""
    rows = np.flatnonzero(batch.kind == int(Kind.QUOTE))
    follows = np.append(rows[1:] == rows[:-1] + 1, False)[: len(rows)]
    behind = np.minimum(rows + 1, batch.count - 1)
    paired = (
        follows
        & (batch.side[rows] == BID)
        & (batch.side[behind] == ASK)
        & ((batch.flags[rows] & _LAST) == 0)
        & (batch.instrument[rows] == batch.instrument[behind])
    )
    first = np.ones(len(rows), dtype=bool)
    first[1:] = ~paired[:-1]
    at = rows[first]
    return at, np.where(paired[first], at + 1, np.where(batch.side[at] == ASK, at, -1))


def _messages(batch: Batch) -> tuple[Index, Index]:
    last = np.flatnonzero(batch.flags & _LAST)
    return np.append(0, last[:-1] + 1)[: len(last)], last


def _all(batch: Batch) -> tuple[Index, Index]:
    at = np.arange(batch.count)
    return at, at


_SIDES = {"trade": ("sell", "", "buy"), "book": ("ask", "", "bid")}
_KINDS = tuple(kind_name(code) if code in set(Kind) else "" for code in range(256))


def _bid(part: Lines) -> Index:
    return np.where(part.batch.side[part.at] == BID, part.at, -1)


def _ask(part: Lines) -> Index:
    return part.also


def _best(side: Callable[[Lines], Index]) -> Field:
    """The price of a quote's side; null where nobody quotes it, because no market trades at 0."""

    def index(part: Lines) -> Index:
        at = side(part)
        nobody = (part.batch.price[at] == 0) & (part.batch.size[at] == 0)
        return np.where(nobody, -1, at)

    return Field(
        ("price", "size", "instrument"), None, lambda p: p.decimals("price", index(p)), scale="price"
    )


_SEQ = Field((), pa.uint64(), lambda p: pa.array((p.at + p.batch.first_seq).astype(np.uint64)))
_TS = Field(("ts",), TIMESTAMP, lambda p: p.times("ts"))
_TS_VENUE = Field(("ts_venue",), TIMESTAMP, lambda p: p.times("ts_venue"))
_SYMBOL = Field(("instrument",), NAME, lambda p: p.names(p.units.symbols))
_VENUE = Field(("instrument",), NAME, lambda p: p.names(p.units.venues))
_ID = Field(("id",), pa.uint64(), lambda p: p.plain("id"))
_FLAGS = Field(("flags",), pa.uint16(), lambda p: p.plain("flags"))
_SOURCE = Field(("source",), pa.uint16(), lambda p: p.plain("source"))
_KIND = Field(("kind",), NAME, lambda p: p.coded(p.batch.kind[p.at], _KINDS))
_DATA = Field(("data",), pa.string(), lambda p: p.texts("data"))
_WIRE = Field(("wire",), pa.large_binary(), lambda p: p.texts("wire"))


def _decimal(what: str, index: Callable[[Lines], Index]) -> Field:
    return Field((what, "instrument"), None, lambda p: p.decimals(what, index(p)), scale=what)


def _side(words: str) -> Field:
    return Field(("side",), NAME, lambda p: p.coded(p.batch.side[p.at] + 1, _SIDES[words]))


def _news(name: str) -> Field:
    return Field(("data",), pa.string(), lambda p: pa.array([getattr(n, name) for n in p.decoded(NewsData)]))


_ENVELOPE = {"seq": _SEQ, "ts": _TS, "ts_venue": _TS_VENUE, "symbol": _SYMBOL, "venue": _VENUE}
VIEWS: dict[str, View] = {
    "trades": View(
        ("kind",),
        _of_kind(Kind.TRADE),
        {
            **_ENVELOPE,
            "side": _side("trade"),
            "price": _decimal("price", lambda p: p.at),
            "size": _decimal("size", lambda p: p.at),
            "id": _ID,
            "flags": _FLAGS,
        },
    ),
    "quotes": View(
        ("kind", "side", "flags", "instrument"),
        _quotes,
        {
            **_ENVELOPE,
            "bid": _best(_bid),
            "bid_size": _decimal("size", _bid),
            "ask": _best(_ask),
            "ask_size": _decimal("size", _ask),
            "id": _ID,
            "flags": _FLAGS,
        },
    ),
    "book": View(
        ("kind", "side"),
        _levels,
        {
            **_ENVELOPE,
            "side": _side("book"),
            "price": _decimal("price", lambda p: p.at),
            "size": _decimal("size", lambda p: p.at),
            "id": _ID,
            "snapshot": Field(("flags",), pa.bool_(), lambda p: p.flag(Flag.SNAPSHOT)),
            "last": Field(("flags",), pa.bool_(), lambda p: p.flag(Flag.LAST)),
            "flags": _FLAGS,
        },
    ),
    "bars": View(
        ("kind", "part"),
        _bars,
        {
            "seq": _SEQ,
            "ts": _TS,
            "start": _TS_VENUE,
            "symbol": _SYMBOL,
            "venue": _VENUE,
            "interval_ns": Field(
                ("data",),
                pa.int64(),
                lambda p: pa.array(
                    [None if b is None else b.interval_ns for b in p.decoded(BarData)], pa.int64()
                ),
            ),
            "open": _decimal("price", lambda p: p.at),
            "high": _decimal("price", lambda p: p.at + 1),
            "low": _decimal("price", lambda p: p.at + 2),
            "close": _decimal("price", lambda p: p.also),
            "volume": _decimal("size", lambda p: p.also),
            "trades": Field(("id",), pa.uint64(), lambda p: pa.array(p.batch.id[p.also])),
            "final": Field(("flags",), pa.bool_(), lambda p: p.flag(Flag.FINAL)),
            "flags": _FLAGS,
        },
    ),
    "news": View(
        ("kind",),
        _of_kind(Kind.NEWS),
        {
            "seq": _SEQ,
            "ts": _TS,
            "ts_venue": _TS_VENUE,
            "id": _news("id"),
            "headline": _news("headline"),
            "summary": _news("summary"),
            "source": _news("source"),
            "url": _news("url"),
            "symbols": Field(
                ("data",),
                pa.list_(pa.string()),
                lambda p: pa.array([list(n.symbols) for n in p.decoded(NewsData)], pa.list_(pa.string())),
            ),
        },
    ),
    "messages": View(
        ("flags",),
        _messages,
        {
            **_ENVELOPE,
            "kind": _KIND,
            "rows": Field((), pa.int64(), lambda p: pa.array(p.also - p.at + 1)),
            "source": _SOURCE,
            "data": _DATA,
            "wire": _WIRE,
        },
    ),
    "rows": View(
        ("flags",),
        _all,
        {
            **_ENVELOPE,
            "kind": _KIND,
            "part": Field(("part",), pa.uint8(), lambda p: p.plain("part")),
            "flags": _FLAGS,
            "source": _SOURCE,
            "side": Field(("side",), pa.int8(), lambda p: p.plain("side")),
            "price": _decimal("price", lambda p: p.at),
            "size": _decimal("size", lambda p: p.at),
            "id": _ID,
            "data": _DATA,
            "wire": _WIRE,
        },
    ),
}
