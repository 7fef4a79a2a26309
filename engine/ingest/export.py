"""A log's facts as Parquet or CSV, for other programs: exact decimals, symbol names, in the log's order.

Streams: memory does not grow with the log. The file appears under its name when it is whole. Parquet has
prices as decimals and times as UTC nanoseconds; CSV has both as text, exactly. What was exported can be
imported again and gives the same facts (`docs/importing.md`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.ingest.view_reader import ViewReader, definitions_of
from engine.ingest.views import VIEWS
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import Kind

_KIND_OF_VIEW = {
    "trades": Kind.TRADE,
    "quotes": Kind.QUOTE,
    "book": Kind.BOOK,
    "bars": Kind.BAR,
    "news": Kind.NEWS,
}
_ROW_GROUP_ROWS = 262_144
# Up to this scale Arrow writes every decimal without an exponent.
_PLAIN_SCALE = 6
_INT64_DIGITS = 18
SUFFIXES = (".parquet", ".csv")


class ExportReport(msgspec.Struct):
    """What an export wrote; the object that `--json` prints."""

    log: str
    to: str
    kind: str
    rows: int
    bytes: int
    tail: str  # of an unsealed log: what at its end was not used


def export_log(
    log: Path,
    to: Path,
    kind: str = "",
    since: int | None = None,
    until: int | None = None,
    progress: Callable[[int], None] = lambda _rows: None,
) -> ExportReport:
    """Write one view of a log to a new .parquet or .csv file; `kind` "" takes the only kind the log has.

    Raises UsageError for a name or kind that does not fit and for a file that exists, DamagedLog where the
    log is damaged; nothing is left behind then.
    """
    if to.suffix not in SUFFIXES:
        raise UsageError(f"{to}: cannot tell what to write", hint="name a file that ends in .parquet or .csv")
    if to.exists():
        raise UsageError(f"{to}: exists already", hint="name another file, or remove this one")
    definitions = definitions_of(log)
    reader = ViewReader(log, kind or _only_kind(log, definitions.rows_of_kind), definitions)
    kind = next(name for name, view in VIEWS.items() if view is reader.view)
    write = _write_parquet if to.suffix == ".parquet" else _write_csv
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=to.parent) as work:
            part = Path(work) / to.name
            rows = write(part, reader.schema, _counted(reader.batches(since=since, until=until), progress))
            part.rename(to)
    except (OSError, pa.ArrowException) as error:
        raise EngineError(f"{to}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return ExportReport(str(log), str(to), kind, rows, to.stat().st_size, definitions.tail)


def _only_kind(log: Path, rows_of_kind: dict[int, int]) -> str:
    there = [name for name, kind in _KIND_OF_VIEW.items() if int(kind) in rows_of_kind]
    if len(there) != 1:
        raise UsageError(
            f"{log}: holds {', '.join(there) or 'no market data'}",
            hint=f"say what to export: --kind {'|'.join(there or VIEWS)}",
        )
    return there[0]


def _counted(batches: Iterator[pa.RecordBatch], progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
    done = 0
    for batch in batches:
        yield batch
        done += batch.num_rows
        progress(done)


def _write_parquet(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write() -> None:
            writer.write_table(pa.Table.from_batches(waiting, schema).unify_dictionaries())
            waiting.clear()

        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            if sum(b.num_rows for b in waiting) >= _ROW_GROUP_ROWS:
                write()
        if waiting:
            write()
    return rows


def _write_csv(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    plain = pa.schema([(field.name, _plain_type(field.type)) for field in schema])
    # Where texts are free they are quoted; Arrow then quotes every text, so elsewhere it need not.
    free = any(name in schema.names for name in ("data", "headline"))
    options = pa_csv.WriteOptions(quoting_style="needed" if free else "none", quoting_header="none")
    with pa_csv.CSVWriter(path, plain, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([as_text(c) for c in batch.columns], schema=plain))
            rows += batch.num_rows
    return rows


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else pa.string()


def as_text(values: pa.Array) -> pa.Array:
    """A column as CSV shows it: decimals and times as exact text, lists with spaces between."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values
    if pa.types.is_list(kind):
        return pc.binary_join(values, " ")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pa.array([bytes_as_text(v) for v in values.to_pylist()], pa.string())
    if pa.types.is_decimal(kind) and kind.scale > _PLAIN_SCALE:
        return _decimals_as_text(values)
    return pc.cast(values, pa.string())


def _decimals_as_text(values: pa.Array) -> pa.Array:
    """Plain texts of fine decimals, which Arrow itself would write as 1E-8."""
    scale = values.type.scale
    words = np.frombuffer(values.buffers()[1], dtype="<i8").reshape(-1, 2)
    words = words[values.offset : values.offset + len(values)]
    low = words[:, 0]
    absent = np.asarray(values.is_null().to_numpy(zero_copy_only=False))
    if (words[~absent, 1] != low[~absent] >> 63).any() or scale > _INT64_DIGITS:
        return pa.array([None if v is None else f"{v:f}" for v in values.to_pylist()], pa.string())
    whole, fraction = np.divmod(np.abs(low), 10**scale)
    digits = pc.utf8_lpad(pc.cast(pa.array(fraction), pa.string()), width=scale, padding="0")
    sign = pa.array(np.where(low < 0, "-", ""), pa.string(), mask=absent)
    return pc.binary_join_element_wise(sign, pc.cast(pa.array(whole), pa.string()), ".", digits, "")


def bytes_as_text(value: bytes | None) -> Any:
    """Received bytes as text; what is no UTF-8 shows as escapes."""
    return None if value is None else value.decode(errors="backslashreplace")
