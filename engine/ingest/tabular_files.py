"""CSV and Parquet files as streams of chunks, whatever they are packed in. Knows nothing of their meaning.

A CSV file is read as text, every column: what a price means is decided later and exactly. Compression is
told by the name (.gz, .zst, .bz2, .lz4; .zip with one member, as data.binance.vision ships). One chunk is
some 100,000 rows, so a file of any size needs the same memory.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from engine.ingest.tabular_columns import Dump, dump_of, looks_like_header
from engine.ingest.tabular_values import Column
from engine.model.errors import InputError

_BLOCK_BYTES = 8 << 20
_CHUNK_ROWS = 131_072
_SNIFFED_BYTES = 1 << 16
_PARQUET_MAGIC = b"PAR1"
_NULL_WORDS = ["", "null", "NULL", "None", "nan", "NaN", "NA", "N/A"]


class Chunk:
    """Some consecutive rows of a file, by column name."""

    def __init__(self, file: str, record: pa.RecordBatch, first_row: int) -> None:
        """Rows in which every column is empty are left out, and counted in `blank`."""
        rows = np.arange(first_row, first_row + record.num_rows, dtype=np.int64)
        self.blank = 0
        if record.num_columns and all(column.null_count for column in record.columns):
            empty = np.logical_and.reduce(
                [column.is_null().to_numpy(zero_copy_only=False) for column in record.columns]
            )
            if empty.any():
                self.blank = int(empty.sum())
                record = record.filter(pa.array(~empty))
                rows = rows[~empty]
        self.file, self.record, self.rows = file, record, rows

    def __len__(self) -> int:
        return int(self.record.num_rows)

    def column(self, name: str) -> Column:
        """One column; `name` must be among those asked for."""
        values = self.record.column(self.record.schema.names.index(name))
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return Column(self.file, name, values, self.rows)

    def take(self, index: Any) -> Chunk:
        """Only these rows (positions in this chunk, ascending)."""
        part = Chunk.__new__(Chunk)
        part.blank = 0
        part.file, part.rows = self.file, self.rows[index]
        part.record = self.record.take(pa.array(index))
        return part


@dataclass(frozen=True)
class TableFile:
    """A CSV or Parquet file. `name` is how messages call it, `dump` what a file without a header is."""

    path: Path
    name: str
    parquet: bool
    columns: tuple[str, ...]
    delimiter: str = ","
    dump: Dump | None = None
    newlines: bool = False  # texts may hold line breaks, which costs speed

    def chunks(self, columns: Sequence[str]) -> Iterator[Chunk]:
        """The file from its beginning, only these columns. InputError where it cannot be read."""
        first_row = 1
        for record in self._records(list(columns)):
            yield Chunk(self.name, record, first_row)
            first_row += record.num_rows

    def _records(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if not self.parquet:
            yield from self._csv_records(columns)
            return
        try:
            with pq.ParquetFile(self.path) as file:
                yield from file.iter_batches(_CHUNK_ROWS, columns=columns, use_threads=True)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: cannot be read as Parquet: {error}") from None

    def _csv_records(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        broken: list[Any] = []

        def refuse(row: Any) -> str:
            broken.append(row)
            return "error"

        # Only a single-threaded reader knows the number of a broken row, and the streaming one is that.
        read = pa_csv.ReadOptions(
            block_size=_BLOCK_BYTES,
            use_threads=False,
            column_names=list(self.columns),
            skip_rows=0 if self.dump else 1,
        )
        parse = pa_csv.ParseOptions(
            delimiter=self.delimiter,
            newlines_in_values=self.newlines,
            ignore_empty_lines=False,
            invalid_row_handler=refuse,
        )
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=columns,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=_NULL_WORDS,
        )
        try:
            with opened(self.path) as source, pa_csv.open_csv(source, read, parse, convert) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            if broken:
                row = broken[0]
                number = "?" if row.number is None else row.number - (0 if self.dump else 1)
                counted = f"{row.actual_columns} columns, not {row.expected_columns}"
                raise InputError(
                    f'{self.name}: row {number} has {counted}: "{row.text[:120]}"',
                    hint="quote values that hold the delimiter, or cut the broken row out",
                ) from None
            raise InputError(f"{self.name}: cannot be read as CSV: {error}") from None
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.name}: cannot be read: {error}") from None


def open_table(path: Path, name: str) -> TableFile:
    """Look at a file's beginning: its form, delimiter and columns. InputError when it is neither form."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder", hint="name files; a shell expands folder/*.csv") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be opened: {error.strerror}") from None
    if not start:
        raise InputError(f"{name}: is empty")
    if start == _PARQUET_MAGIC:
        return _open_parquet(path, name)
    if start == b"ARRO":
        raise InputError(
            f"{name}: is an Arrow file", hint="a log needs no import; other Arrow files: write Parquet"
        )
    return _open_csv(path, name)


def _open_parquet(path: Path, name: str) -> TableFile:
    try:
        with pq.ParquetFile(path) as file:
            columns = tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name}: cannot be read as Parquet: {error}") from None
    _check_names(name, columns)
    return TableFile(path, name, parquet=True, columns=columns)


def _open_csv(path: Path, name: str) -> TableFile:
    try:
        with opened(path) as source:
            sample = source.read(_SNIFFED_BYTES)
    except (OSError, EOFError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise InputError(f"{name}: cannot be read: {error}") from None
    if not sample:
        raise InputError(f"{name}: is empty")
    try:
        # A character may be cut at the sample's end; errors inside it are reported when it is read.
        text = sample.decode("utf-8-sig", errors="strict" if len(sample) < _SNIFFED_BYTES else "ignore")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: is not UTF-8 text (byte {error.start})", hint="convert it, or is it not a CSV file?"
        ) from None
    if "\x00" in text:
        raise InputError(f"{name}: is neither CSV nor Parquet (it holds zero bytes)")
    first_line = text.splitlines()[0] if text.splitlines() else ""
    delimiter = max(",;\t|", key=first_line.count)
    row = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    dump = dump_of(row)
    if dump is None and not looks_like_header(row):
        raise InputError(
            f'{name}: the first line holds no column names, and is no known dump: "{first_line[:100]}"',
            hint="add a line with the columns' names (docs/importing.md)",
        )
    columns = dump.columns if dump else tuple(cell.strip() for cell in row)
    _check_names(name, columns)
    newlines = '"' in text
    return TableFile(
        path, name, parquet=False, columns=columns, delimiter=delimiter, dump=dump, newlines=newlines
    )


def _check_names(name: str, columns: tuple[str, ...]) -> None:
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise InputError(f"{name}: two columns are called {twice[0]}", hint="rename one of them")


def opened(path: Path) -> IO[bytes] | Any:
    """The file's plain bytes, unpacked on the way."""
    if path.suffix != ".zip":
        return pa.input_stream(path, compression="detect")
    archive = zipfile.ZipFile(path)
    members = [m for m in archive.namelist() if not m.endswith("/")]
    if len(members) != 1:
        raise InputError(
            f"{path.name}: holds {len(members)} files, not one", hint="unpack it and name the files"
        )
    return archive.open(members[0])
