"""What the logs of a fetch hold, counted in them: not what one run of it happened to write.

A fetch may have been killed and started again many times, and one that was finished writes nothing at all.
Only the logs know how many facts and holes there are in everything that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from engine.feed.history import LAST
from engine.log.reader import LogReader
from engine.model.kinds import Kind

_COLUMNS = ("kind", "flags", "instrument")
_FRAME = [int(kind) for kind in (Kind.SOURCE, Kind.INSTRUMENT, Kind.STATUS, Kind.END)]


class Counted(msgspec.Struct):
    """Sums over logs. `facts`: messages of the market. `bars`: of each instrument, by its number."""

    rows: int = 0
    facts: int = 0
    holes: int = 0
    bars: dict[int, int] = {}


def counted(logs: Iterable[Path]) -> Counted:
    """Read what kinds of rows there are. Raises InputError and DamagedLog as LogReader does."""
    found = Counted()
    for path in logs:
        with LogReader(path, _COLUMNS) as reader:
            found.rows += reader.header.sealed_rows
            for batch in reader.batches():
                ends = batch.flags & LAST != 0
                found.facts += int(np.count_nonzero(ends & ~np.isin(batch.kind, _FRAME)))
                found.holes += int(np.count_nonzero(batch.kind == Kind.STATUS))
                bars = batch.instrument[ends & (batch.kind == Kind.BAR)]
                for number, count in zip(*np.unique(bars, return_counts=True), strict=True):
                    found.bars[int(number)] = found.bars.get(int(number), 0) + int(count)
    return found
