"""Answers from one store into another folder as they stand: no row is decoded, none is made anew.

A run keeps the answers that it got beside its journal. They were looked at when they were handed out, so
their rows are taken as Arrow has them, sorted by key, and written as one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from engine.answers.files import BATCH_ROWS, SCHEMA, AnswerFile, write_batches
from engine.answers.store import AnswerStore, Place
from engine.answers.stored import StoredAnswer


def copy_answers(places: Iterable[Place], others: Iterable[StoredAnswer], folder: Path) -> None:
    """Put rows of a store, and answers that are no row alone, into a folder, as a store of its own.

    Raises EngineError when they cannot be written.
    """
    rows: dict[AnswerFile, list[int]] = {}
    for file, row in places:
        rows.setdefault(file, []).append(row)
    tables = [file.taken(sorted(numbers)) for file, numbers in rows.items()]
    if len(tables) == 1:  # a file's rows are sorted as they stand
        write_batches(folder, _batches(tables[0]))
    elif tables:
        table = pa.concat_tables(tables)
        order = pc.sort_indices(table["key"].cast(pa.binary()))
        write_batches(folder, _batches(table.take(order)))
    AnswerStore(folder).add(others)


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Whose columns begin where their buffers do."""
    for start in range(0, table.num_rows, BATCH_ROWS):
        part = table.slice(start, BATCH_ROWS) if table.num_rows > BATCH_ROWS else table
        columns = [_whole(part[name].chunks) for name in SCHEMA.names]
        yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _whole(chunks: list[pa.Array]) -> pa.Array:
    return chunks[0] if len(chunks) == 1 and not chunks[0].offset else pa.concat_arrays(chunks)
