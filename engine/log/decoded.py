"""Rows as people read them: symbols for numbers, decimals for mantissas, names for codes.

`Definitions` follows the INSTRUMENT and SOURCE rows of one file, so that each row is read by the
definition that was in force when it was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from engine.log.schema import Batch
from engine.model.kinds import BID, Flag, InstrumentData, Kind, Part, SourceData
from engine.model.rows import kind_name
from engine.model.units import NULL_TIME, format_decimal, format_time

_PRICED = frozenset(
    {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR, Kind.MARK, Kind.FUNDING, Kind.ORDER, Kind.FILL}
)


class Definitions:
    """What the numbers of one file mean, up to the row looked at last."""

    def __init__(self) -> None:
        self.instruments: dict[int, InstrumentData] = {}
        self.sources: dict[int, SourceData] = {}

    def take(self, batch: Batch) -> None:
        """Take every definition in a batch that has kind, instrument, source and data."""
        rows = np.flatnonzero((batch.kind == Kind.INSTRUMENT) | (batch.kind == Kind.SOURCE))
        for row in rows.tolist():
            self.take_row(batch, row)

    def take_row(self, batch: Batch, row: int) -> None:
        """Take the definition that stands in this row, if one does."""
        kind = int(batch.kind[row])
        try:
            if kind == Kind.INSTRUMENT:
                text = batch.data_at(row) or b""
                self.instruments[int(batch.instrument[row])] = msgspec.json.decode(text, type=InstrumentData)
            elif kind == Kind.SOURCE:
                text = batch.data_at(row) or b""
                self.sources[int(batch.source[row])] = msgspec.json.decode(text, type=SourceData)
        except msgspec.DecodeError:
            pass  # `check` names it; here the number stays a number

    def instrument_name(self, number: int) -> str:
        """Key of an instrument, "" for none, "#7" for one that was never defined."""
        if not number:
            return ""
        data = self.instruments.get(number)
        return data.key if data else f"#{number}"

    def source_name(self, number: int) -> str:
        """Name of a source, "" for the engine itself."""
        if not number:
            return ""
        data = self.sources.get(number)
        return data.name if data else f"#{number}"


class DecodedRow(msgspec.Struct, frozen=True):
    """One row in words and decimals. Prices and sizes are exact texts, None where a row has none."""

    seq: int
    ts: str
    ts_venue: str | None
    source: str
    kind: str
    part: str
    flags: list[str]
    instrument: str
    side: str
    price: str | None
    size: str | None
    id: int
    data: Any
    wire: str | None


def decoded_rows(batch: Batch, definitions: Definitions) -> Iterator[DecodedRow]:
    """The rows of a complete batch; definitions among them are taken on the way."""
    for row in range(batch.count):
        definitions.take_row(batch, row)
        yield _decoded(batch, row, definitions)


def _decoded(batch: Batch, row: int, definitions: Definitions) -> DecodedRow:
    number = int(batch.instrument[row])
    kind = int(batch.kind[row])
    side = int(batch.side[row])
    instrument = definitions.instruments.get(number) if kind in _PRICED else None
    price, size = int(batch.price[row]), int(batch.size[row])
    data, wire = batch.data_at(row), batch.wire_at(row)
    ts_venue = int(batch.ts_venue[row])
    return DecodedRow(
        seq=batch.first_seq + row,
        ts=format_time(int(batch.ts[row])),
        ts_venue=None if ts_venue == NULL_TIME else format_time(ts_venue),
        source=definitions.source_name(int(batch.source[row])),
        kind=kind_name(kind),
        part=_part_name(int(batch.part[row])),
        flags=_flag_names(int(batch.flags[row])),
        instrument=definitions.instrument_name(number),
        side=_side_name(side, kind),
        price=format_decimal(price, instrument.price_decimals) if instrument else None,
        size=format_decimal(size, instrument.size_decimals) if instrument else None,
        id=int(batch.id[row]),
        data=None if data is None else _json_or_text(data),
        wire=None if wire is None else wire.decode("utf-8", "backslashreplace"),
    )


def _json_or_text(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data.decode("utf-8", "backslashreplace")


def _flag_names(flags: int) -> list[str]:
    names = [flag.name or "" for flag in Flag if flags & flag]
    unknown = flags & ~sum(Flag)
    return [*names, f"0x{unknown:x}"] if unknown else names


def _part_name(code: int) -> str:
    if not code:
        return ""
    return Part(code).name if code in set(Part) else f"PART{code}"


def _side_name(side: int, kind: int) -> str:
    if not side:
        return ""
    on_book = kind in {Kind.QUOTE, Kind.BOOK}
    if side == BID:
        return "bid" if on_book else "buy"
    return "ask" if on_book else "sell"
