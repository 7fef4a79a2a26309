"""SQL over logs: DuckDB reads views of them, lazily, and only the columns that a query touches.

Each view (trades, quotes, book, bars, news, messages, rows) is handed to DuckDB as a pyarrow dataset of our
own: DuckDB asks it for the columns and the filters of its plan, and gets a stream of record batches, so that
memory does not grow with the log. Sealed or not makes no difference; an unsealed log ends at its last good
batch. Several logs are one table, with a column `file`.

Times are UTC, to the nanosecond, of DuckDB's zoneless type: its zoned nanoseconds know no date_trunc and no
arithmetic.

Nothing is fetched from the network: extensions are neither installed nor loaded by themselves.
"""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TextIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset

from engine.ingest.view_reader import ViewReader, definitions_of
from engine.ingest.views import NAME, VIEWS
from engine.log.reader import LogReader
from engine.log.schema import TIMESTAMP
from engine.model.errors import EngineError, UsageError

QUERY_VIEWS = ("trades", "quotes", "book", "bars", "news", "messages", "rows")
_BATCH_ROWS = 65_536
_STAMP = pa.timestamp("ns")
_SHOWN_CHARACTERS = 60

OpenLog = Callable[[Path, Sequence[str]], LogReader]


class QueryResult(msgspec.Struct):
    """The rows of a query, as far as they were asked for; the object that `--json` prints."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    more: bool  # there are further rows
    warnings: list[str]


class _Scanner:
    """One scan of a view: what DuckDB turns into a stream."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.projected_schema = schema
        self._batches = batches

    def to_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches)


class LogDataset(pa_dataset.Dataset):  # type: ignore[misc]  # pyarrow has no types
    """One view over one or several logs, as a dataset that reads what a scan asks for."""

    def __init__(self, readers: Sequence[tuple[str, ViewReader]]) -> None:
        """`readers` come with the name that `file` shows. The error of a scan is kept in `failure`."""
        self._readers = readers
        self.failure: EngineError | None = None

    @property
    def schema(self) -> pa.Schema:
        """The view's columns, `file` first where there are several logs."""
        fields = [f.with_type(_STAMP) if f.type == TIMESTAMP else f for f in self._readers[0][1].schema]
        if len(self._readers) > 1:
            fields.insert(0, pa.field("file", NAME))
        return pa.schema(fields)

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002  the name of pyarrow's own argument
        **_: Any,
    ) -> _Scanner:
        """A fresh scan of these columns (None: all), of rows for which `filter` holds."""
        schema = self.schema
        chosen = list(schema.names if columns is None else columns)
        # An expression cannot be asked which columns it reads; its text names them, and perhaps others.
        used = set(re.findall(r"\w+", str(filter))) if filter is not None else set()
        wanted = [name for name in schema.names if name in chosen or name in used]
        projected = pa.schema([schema.field(name) for name in chosen])
        return _Scanner(projected, self._scan(wanted, chosen, filter))

    def _scan(
        self, wanted: list[str], chosen: list[str], condition: pc.Expression | None
    ) -> Iterator[pa.RecordBatch]:
        # A batch without columns has no rows: at least one is read, `seq`, which costs nothing.
        columns = [name for name in wanted if name != "file"] or ["seq"]
        wanted = [*(["file"] if "file" in wanted else []), *columns]
        schema = pa.schema([self.schema.field(name) for name in wanted])
        try:
            for name, reader in self._readers:
                for batch in reader.batches(columns):
                    arrays = [c.view(_STAMP) if c.type == TIMESTAMP else c for c in batch.columns]
                    if "file" in wanted:
                        same = pa.array(np.zeros(batch.num_rows, dtype=np.int32))
                        arrays.insert(0, pa.DictionaryArray.from_arrays(same, pa.array([name])))
                    table = pa.table(arrays, schema=schema)
                    if condition is not None:
                        table = table.filter(condition)
                    yield from table.select(chosen).combine_chunks().to_batches()
        except EngineError as error:
            self.failure = error
            raise


class Query:
    """Logs opened for SQL. Use as a context manager; `run` as often as wanted."""

    def __init__(self, logs: Sequence[tuple[Path, str]], open_log: OpenLog = LogReader) -> None:
        """Look up the logs' definitions. Raises InputError or DamagedLog as LogReader does."""
        import duckdb

        if not logs:
            raise UsageError("no log to query")
        found = [(path, name, definitions_of(path)) for path, name in logs]
        price_scale = max(definitions.price_scale for _, _, definitions in found)
        size_scale = max(definitions.size_scale for _, _, definitions in found)
        self.warnings = [f"{name}: {each.tail}" for _, name, each in found if each.tail]
        self.datasets: dict[str, LogDataset] = {}
        self._errors = duckdb.Error
        self._connection = duckdb.connect(
            config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        for view in QUERY_VIEWS:
            readers = []
            for path, name, definitions in found:
                reader = ViewReader(path, view, definitions)
                reader.price_scale, reader.size_scale = price_scale, size_scale
                reader.open_log = open_log
                readers.append((name, reader))
            self.datasets[view] = LogDataset(readers)
            self._connection.register(view, self.datasets[view])

    def close(self) -> None:
        """Let go of DuckDB and the logs."""
        self._connection.close()
        del self._connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _stream(self, sql: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        try:
            relation = self._connection.sql(sql)
            if relation is None:
                raise UsageError("the statement returns no rows", hint="write a SELECT")
            reader = relation.to_arrow_reader(batch_rows)
            try:
                yield reader
            finally:
                reader.close()
        except (self._errors, pa.ArrowException) as error:
            raise self._explained(error, sql) from None

    def _explained(self, error: Exception, sql: str) -> EngineError:
        for dataset in self.datasets.values():
            if dataset.failure is not None:
                failure, dataset.failure = dataset.failure, None
                return failure
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = " · ".join([*lines[:1], *(line for line in lines[1:] if line.startswith("LINE"))])
        named = [view for view in QUERY_VIEWS if re.search(rf"\b{view}\b", sql, re.IGNORECASE)]
        columns = "; ".join(f"{view} has {', '.join(self.datasets[view].schema.names)}" for view in named)
        return UsageError(f"SQL: {said}", hint=columns or f"the views are {', '.join(QUERY_VIEWS)}")

    def batches(self, sql: str, limit: int | None = None) -> Iterator[pa.RecordBatch]:
        """The result as a stream of batches, small ones when only `limit` rows are of interest.

        Raises UsageError for SQL that DuckDB refuses.
        """
        with self._stream(sql, _BATCH_ROWS if limit is None else min(limit + 1, _BATCH_ROWS)) as reader:
            empty = pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield empty  # so that the columns are known even of a result without rows
            yield from reader

    def run(self, sql: str, limit: int | None = None) -> QueryResult:
        """The result's first `limit` rows (None: all) as plain values: decimals and times as exact text."""
        names: list[str] = []
        types: list[str] = []
        rows: list[list[Any]] = []
        more = False
        for batch in self.batches(sql, limit):
            names, types = batch.schema.names, [_type_name(t) for t in batch.schema.types]
            rows += plain_rows(batch)
            if limit is not None and len(rows) > limit:
                rows, more = rows[:limit], True
                break
        return QueryResult(names, types, rows, more, self.warnings)

    def write_csv(self, sql: str, to: TextIO, limit: int | None = None) -> int:
        """Write the result (None: all of it) as CSV, streaming; returns the number of rows."""
        writer = csv.writer(to, lineterminator="\n")
        written = 0
        for number, batch in enumerate(self.batches(sql, limit)):
            if number == 0:
                writer.writerow(batch.schema.names)
            rows = plain_rows(batch)
            if limit is not None:
                rows = rows[: limit - written]
            writer.writerows(rows)
            written += len(rows)
            if written == limit:
                break
        return written


def plain_rows(batch: pa.RecordBatch) -> list[list[Any]]:
    """A batch's rows as values that JSON and CSV have."""
    return [list(row) for row in zip(*(_values(column) for column in batch.columns), strict=True)]


def _type_name(kind: pa.DataType) -> str:
    return "text" if pa.types.is_string(kind) or pa.types.is_dictionary(kind) else str(kind)


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_timestamp(kind):
        zoned = column if kind.tz is None else column.cast(pa.timestamp(kind.unit, "UTC"))
        return list(pc.cast(zoned, pa.string()).to_pylist())
    return [_plain(value) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    """A value as JSON has it: exact decimals as text, bytes as text, or base64 where they are none."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return _bytes_as_text(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _bytes_as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def as_table(result: QueryResult) -> str:
    """Aligned text: numbers to the right, long values cut short with an ellipsis."""
    right = [t.startswith(("int", "uint", "decimal", "double", "float")) for t in result.types]
    cells = [[_cell(value) for value in row] for row in result.rows]
    widths = [
        max(len(name), *(len(row[i]) for row in cells)) if cells else len(name)
        for i, name in enumerate(result.columns)
    ]

    def line(row: Sequence[str]) -> str:
        parts = (text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True))
        return "  ".join(parts).rstrip()

    body = [line(result.columns), line(["─" * w for w in widths]), *(line(row) for row in cells)]
    count = f"{len(cells)} row{'' if len(cells) == 1 else 's'}"
    body.append(f"({count}; there are more: --limit 0 shows all)" if result.more else f"({count})")
    return "\n".join(body)


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


assert set(QUERY_VIEWS) <= set(VIEWS)
