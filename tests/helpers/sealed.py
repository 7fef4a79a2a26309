"""Sealed logs of many small batches, and what two ways of reading them are compared by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.log import compressed, seal
from engine.log.ahead import Ahead
from engine.log.reader import LogReader
from engine.log.schema import COLUMNS, Batch
from engine.model.errors import DamagedLog
from tests.helpers.logs import Message, make_log

KERNEL_COLUMNS = COLUMNS[1:13]  # all but seq and wire: what a run may ask for


@contextmanager
def batches_of(rows: int) -> Iterator[None]:
    """Seal into batches of about `rows` rows, where real ones hold 65,536."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (compressed, seal):
            patch.setattr(module, "SEALED_BATCH_ROWS", rows)
        yield


def sealed_in_batches(path: Path, messages: Iterable[Message], rows: int = 100) -> Path:
    """A sealed log of many small batches."""
    with batches_of(rows):
        return make_log(path, messages, per_batch=5, sealed=True)


@contextmanager
def columns_verified_one_by_one() -> Iterator[None]:
    """Treat small batches as the large ones of a real log are treated."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("decode", "ahead"):
            patch.setattr(f"engine.log.{module}.SMALL_BODY_BYTES", 0)
        yield


def values_of(batch: Batch, columns: Iterable[str]) -> list[tuple[Any, ...]]:
    """The batch's rows, texts as str; None for a column that is not there."""
    parts = []
    for name in columns:
        column = getattr(batch, name)
        parts.append([None] * batch.count if column is None else column.tolist())
    return list(zip(*parts, strict=True))


@dataclass
class Read:
    """What reading a log came to: its rows, where batches began and ended, and the damage, if any."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    batches: list[tuple[int, int]] = field(default_factory=list)
    damage: tuple[int | None, str] = (None, "")
    after: tuple[int, str, str, int] = (0, "", "", 0)


def read(log: LogReader, *, prefetch: int, join_rows: int = 0) -> Read:
    """Everything that a reader hands out and says; the reader is closed."""
    result = Read()
    with log:
        try:
            for batch in log.batches(prefetch, join_rows):
                result.rows += values_of(batch, (name for name in log.columns if name != "seq"))
                result.batches.append((batch.first_seq, batch.count))
        except DamagedLog as error:
            result.damage = (error.offset, error.message)
        result.after = (log.next_seq, log.tail, log.chain_head, log.good_bytes)
    return result


@contextmanager
def decoded_columns() -> Iterator[list[str]]:
    """The names of columns decoded meanwhile, once for each batch."""
    names: list[str] = []
    decode = Ahead._decode

    def counting(self: Ahead, number: int, message: Any, columns: tuple[str, ...]) -> Batch:
        names.extend(columns)
        return decode(self, number, message, columns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ahead, "_decode", counting)
        yield names
