"""Rows as a test wants to read them: one object per row, texts decoded, and the book that they give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from engine.log.schema import Batch, batch_of_buffer
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.model.units import format_decimal

NOT_APPLIED = Flag.MAYBE_BAD_BOOK | Flag.DUPLICATE | Flag.OUT_OF_ORDER


class Row(NamedTuple):
    """One row; `data` is the decoded JSON."""

    ts: int
    kind: Kind
    flags: Flag
    source: int
    instrument: int
    side: int
    price: int
    size: int
    id: int
    data: dict[str, Any]
    wire: bytes | None
    ts_venue: int = 0

    @property
    def event(self) -> str:
        """Of a STATUS row, its event; else empty."""
        return str(self.data.get("event", "")) if self.kind is Kind.STATUS else ""


def rows_of_batch(batch: Batch) -> list[Row]:
    """Every row of a batch."""
    return [
        Row(
            int(batch.ts[n]),
            Kind(int(batch.kind[n])),
            Flag(int(batch.flags[n])),
            int(batch.source[n]),
            int(batch.instrument[n]),
            int(batch.side[n]),
            int(batch.price[n]),
            int(batch.size[n]),
            int(batch.id[n]),
            msgspec.json.decode(batch.data_at(n) or b"{}"),
            batch.wire_at(n),
            int(batch.ts_venue[n]),
        )
        for n in range(batch.count)
    ]


def rows_of_buffer(rows: RowBuffer) -> list[Row]:
    """Every row of a buffer."""
    return rows_of_batch(batch_of_buffer(rows, 0))


def wires(rows: Iterable[Row], source: int) -> list[str]:
    """The verbatim frames of a source, in order."""
    return [row.wire.decode() for row in rows if row.wire is not None and row.source == source]


def books_of(rows: Iterable[Row]) -> dict[int, tuple[dict[int, int], dict[int, int]]]:
    """Bids and asks by instrument, mantissa to mantissa, after all rows that are to be applied."""
    books: dict[int, tuple[dict[int, int], dict[int, int]]] = {}
    for row in rows:
        if row.kind is not Kind.BOOK or row.flags & NOT_APPLIED:
            continue
        if row.flags & Flag.CLEAR or row.instrument not in books:
            books[row.instrument] = ({}, {})
        if row.side == 0:
            continue
        side = books[row.instrument][0 if row.side > 0 else 1]
        if row.size:
            side[row.price] = row.size
        else:
            side.pop(row.price, None)
    return books


def texts_of(side: dict[int, int], price_decimals: int, size_decimals: int) -> dict[float, float]:
    """One side of a book as floats, to be compared with a venue's own texts."""
    return {
        float(format_decimal(price, price_decimals)): float(format_decimal(size, size_decimals))
        for price, size in side.items()
    }
