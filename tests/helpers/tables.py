"""Tables for import tests: files by name and content in, the log's rows out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.reader import LogReader
from engine.model.kinds import Flag, Kind
from engine.model.units import NULL_TIME

T0 = 1_717_243_200_000_000_000  # 2024-06-01T12:00:00Z
CENTS = UnitsWanted(price_increment="0.01", size_increment="0.001")
Row = dict[str, Any]


def load(
    folder: Path, files: dict[str, str | pa.Table], units: UnitsWanted = CENTS, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import files given by name and content; the report, and the log's rows after its definitions."""
    paths = []
    for name, content in files.items():
        path = folder / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            pq.write_table(content, path)
        paths.append((path, name))
    to = folder / "out.arrow"
    report = import_tables(paths, to, TableOptions(**{"venue": "x", "symbols": ("A",), **options}), units)
    rows = rows_of(to)
    return report, [row for row in rows if row["kind"] not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END}]


def rows_of(path: Path) -> list[Row]:
    """Every row of a log, its columns by name; ts relative to T0."""
    rows = []
    names = ("ts", "ts_venue", "source", "kind", "part", "flags", "instrument", "side", "price", "size", "id")
    with LogReader(path) as reader:
        for batch in reader.batches():
            for i in range(batch.count):
                row: Row = {name: int(getattr(batch, name)[i]) for name in names}
                row["ts"] -= T0
                row["ts_venue"] = None if row["ts_venue"] == NULL_TIME else row["ts_venue"] - T0
                row["data"] = batch.data_at(i)
                rows.append(row)
    return rows


def only(rows: list[Row], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of the rows."""
    return [tuple(row[name] for name in names) for row in rows]


def flags(row: Row) -> Flag:
    """A row's flags."""
    return Flag(row["flags"])
