"""Answers from one store into another folder as they stand: no row is decoded, none is made anew.

A run keeps the answers that it got beside its journal. They were looked at when they were handed out, so
their rows are taken as Arrow has them, sorted by key, and written as one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from engine.answers.files import BATCH_ROWS, AnswerFile, write_batches
from engine.answers.store import AnswerStore


def copy_answers(store: AnswerStore, keys: Iterable[str], folder: Path) -> None:
    """Put the answers that the store serves for these keys into a folder, as a store of its own.

    Keys that the store lacks are passed over. Raises EngineError when they cannot be written.
    """
    rows: dict[AnswerFile, list[int]] = {}
    several = []
    for key in sorted(keys):
        places = store.places(key)
        if len(places) == 1:
            rows.setdefault(places[0][0], []).append(places[0][1])
        elif served := store.get(key):
            several.append(served)
    if rows:
        table = pa.concat_tables([file.taken(numbers) for file, numbers in rows.items()])
        write_batches(folder, _sorted(table))
    if several:
        AnswerStore(folder).add(several)


def _sorted(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """By key, as files of answers are."""
    order = pc.sort_indices(table["key"].cast(pa.binary()))
    for start in range(0, len(order), BATCH_ROWS):
        (batch,) = table.take(order[start : start + BATCH_ROWS]).combine_chunks().to_batches()
        yield batch
