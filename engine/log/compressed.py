"""Writes the sealed form of a log: large compressed batches, a footer, and a header that knows the end.

The number of rows and the chain's head are known only when everything has been written, but stand in
the header at the beginning. So the header is written with room for them and put right at the end; until
then the file is a temporary one that nobody else has seen.

zstd's level is chosen by trial on the first batch: which level compresses best depends on the data and
not always in the order one would think (level 3 beats 1 by 14 % on trades and loses 5 % on book updates;
verbatim frames gain another 10 % at level 9). The trial costs less than the wrong choice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from engine.log.encode import batch_metadata
from engine.log.framing import (
    CHECKSUM_EMPTY,
    END_OF_STREAM,
    FOOTER_EMPTY,
    FOOTER_KEY,
    sign_footer,
    sign_message,
)
from engine.log.schema import SCHEMA, Batch, Chain, LogHeader, header_metadata, joined, record_of
from engine.log.writer import file_start, sync_folder
from engine.model.errors import EngineError
from engine.model.kinds import Flag, encode_canonical

SEALED_BATCH_ROWS = 65_536  # at least; a batch goes on to the end of its message
MAX_BATCH_ROWS = 4 * SEALED_BATCH_ROWS  # larger ones are divided, so that readers stay small
LEVELS = (1, 3, 9)
WORTH_IT = 0.97  # a higher level has to be this much smaller: it takes up to eight times as long
_ROOM = LogHeader(sealed_rows=2**63 - 1, sealed_chain="0" * 64)


class SealedWriter:
    """A sealed log in the making. `append` batches of any size in order, then `finish`."""

    def __init__(self, path: Path, header: LogHeader) -> None:
        """Create or replace `path`, which is a temporary file of the caller's."""
        self.path = path
        self.header = header
        self.chain = Chain(header.previous_chain)
        self.rows = 0
        self._waiting: list[Batch] = []
        self._waiting_rows = 0
        self._file = path.open("w+b")
        provisional = msgspec.structs.replace(
            header, sealed_rows=_ROOM.sealed_rows, sealed_chain=_ROOM.sealed_chain
        )
        self._provisional = encode_canonical(provisional)
        self._start = len(file_start(self._provisional))
        self._sink = _Sink()
        self._arrow: Any = None

    def append(self, batch: Batch) -> None:
        """Take a complete batch of whole messages that follows the one before."""
        self._waiting.append(batch)
        self._waiting_rows += batch.count
        if self._waiting_rows >= SEALED_BATCH_ROWS:
            self._write_waiting()

    def finish(self) -> LogHeader:
        """Write the rest, the footer and the header; fsync. Returns the header as it stands in the file."""
        self._write_waiting()
        if self._arrow is None:
            self._open(1)
        self._arrow.close()
        header = msgspec.structs.replace(self.header, sealed_rows=self.rows, sealed_chain=self.chain.head())
        text = encode_canonical(header).ljust(len(self._provisional))
        start = file_start(text)
        footer = self._sink.take()
        if not self.rows:
            del footer[: self._start]
            self._file.write(start)
        # The footer repeats the schema: other programs read the header there.
        footer = footer.replace(self._provisional, text).replace(CHECKSUM_EMPTY, checksum_in(start))
        if not footer.startswith(END_OF_STREAM):
            raise EngineError(f"{self.path}: this version of pyarrow writes files in another order")
        sign_footer(footer)
        self._file.write(footer)
        self._file.seek(0)
        self._file.write(start)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return header

    def abandon(self) -> None:
        """Close and remove the unfinished file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _write_waiting(self) -> None:
        if not self._waiting_rows:
            return
        batch = joined(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        for part in _divided(batch):
            self._write_batch(part)

    def _write_batch(self, batch: Batch) -> None:
        record = record_of(batch)
        if self._arrow is None:
            self._open(best_level(record))
        self.chain.update(batch)
        self.rows += batch.count
        self._arrow.write_batch(record, custom_metadata=batch_metadata(batch, self.chain.head()))
        message = self._sink.take()
        if self.rows == batch.count:  # Arrow writes magic and schema along with the first batch
            self._file.write(message[: self._start])
            del message[: self._start]
        sign_message(message)
        self._file.write(message)

    def _open(self, level: int) -> None:
        self._arrow = pa.ipc.new_file(
            pa.PythonFile(self._sink, mode="w"),
            SCHEMA.with_metadata(header_metadata(self._provisional)),
            options=pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=level)),
            metadata={FOOTER_KEY: FOOTER_EMPTY},
        )


class _Sink:
    """What Arrow writes to: keeps the bytes until they are signed, and says how far the file is."""

    closed = False

    def __init__(self) -> None:
        self._taken = 0
        self._pending = bytearray()

    def write(self, part: Any) -> int:
        self._pending += part
        return len(part)

    def tell(self) -> int:
        return self._taken + len(self._pending)

    def take(self) -> bytearray:
        pending = self._pending
        self._taken += len(pending)
        self._pending = bytearray()
        return pending

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def checksum_in(start: bytes) -> bytes:
    """The checksum text of a signed schema message."""
    at = start.index(CHECKSUM_EMPTY[:14])
    return start[at : at + len(CHECKSUM_EMPTY)]


def best_level(record: pa.RecordBatch) -> int:
    """The zstd level of LEVELS that makes this batch smallest, by a margin that is worth the time."""

    def size(level: int) -> int:
        options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=level))
        sink = pa.MockOutputStream()
        with pa.ipc.new_stream(sink, record.schema, options=options) as stream:
            stream.write_batch(record)
        return int(sink.size())

    best, smallest = LEVELS[0], size(LEVELS[0])
    for level in LEVELS[1:]:
        if (bytes_needed := size(level)) < smallest * WORTH_IT:
            best, smallest = level, bytes_needed
    return best


def _divided(batch: Batch) -> list[Batch]:
    """The batch, or its parts of about SEALED_BATCH_ROWS rows when it is too large, cut between messages."""
    if batch.count <= MAX_BATCH_ROWS:
        return [batch]
    ends = np.flatnonzero(batch.flags & np.uint16(Flag.LAST)) + 1
    parts = []
    start = 0
    while start < batch.count:
        at = int(np.searchsorted(ends, start + SEALED_BATCH_ROWS))
        stop = int(ends[at]) if at < len(ends) else batch.count
        parts.append(batch.slice(start, stop))
        start = stop
    return parts


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file to its name, durably."""
    temporary.replace(path)
    sync_folder(path.parent)
