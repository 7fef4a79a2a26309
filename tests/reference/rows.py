"""How the twin reads rows: which belong together, when the venue stamped them, what data matches."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model.kinds import Kind, Part
from engine.model.units import NULL_TIME
from tests.helpers.logs import Row


def groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that make one event: a book's, a quote's two sides, a bar's four, every other row by itself."""
    made: list[list[Row]] = []
    for row in rows:
        before = made[-1][-1] if made else None
        same = before is not None and (before.kind, before.instrument) == (row.kind, row.instrument)
        pair = row.kind == Kind.QUOTE and same and len(made[-1]) == 1 and made[-1][0].side > 0
        bar = row.kind == Kind.BAR and row.part != Part.OPEN
        if same and (row.kind == Kind.BOOK or pair or bar):
            made[-1].append(row)
        else:
            made.append([row])
    return made


def stamp_of(row: Row) -> int | None:
    """The venue's stamp, if there is one."""
    return None if row.ts_venue == NULL_TIME else row.ts_venue


def match_on(channels: tuple[str, ...]) -> str:
    """Which data an instrument is matched on: the best that its log has."""
    for name in ("orders", "book", "quote", "trade", "aggtrade", "bar"):
        if name in channels:
            return {"aggtrade": "trade", "orders": "book"}.get(name, name)
    return ""
