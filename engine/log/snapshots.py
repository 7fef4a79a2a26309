"""The file of a run's snapshots: `snapshots.arrow`, an Arrow IPC stream beside the journal.

One batch a snapshot, written when it is taken, each with the checksums that the journal's batches carry
(engine.log.framing): a run that was killed leaves all its whole ones. What the columns with bytes hold is the
loop's business (engine.loop.snapshots); the columns before them say where a snapshot stands and what it
hashes to, and can be read without the others.

Nothing of this file is part of the journal's hash: whether, and how often, the state is kept changes no run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from engine.log import framing
from engine.log.framing import CHECKSUM_EMPTY, CHECKSUM_KEY, Damage, sign_message
from engine.model.errors import DamagedLog, EngineError, InputError

SNAPSHOT_SCHEMA = pa.schema(
    [
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("file", pa.int32(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("decisions", pa.int64(), nullable=False),
        pa.field("journal_rows", pa.int64(), nullable=False),
        pa.field("journal_hash", pa.string(), nullable=False),
        pa.field("ended", pa.bool_(), nullable=False),
        pa.field("engine_hash", pa.string(), nullable=False),
        pa.field("strategy_hash", pa.string(), nullable=False),
        pa.field("refused", pa.string(), nullable=False),
        pa.field("engine", pa.binary(), nullable=False),
        pa.field("strategy", pa.binary(), nullable=False),
        pa.field("form", pa.binary(), nullable=False),
        pa.field("rest", pa.binary(), nullable=False),
        pa.field("equity", pa.binary(), nullable=False),
    ]
)
_UNSIGNED = {CHECKSUM_KEY: CHECKSUM_EMPTY}
_SCHEMA_BYTES = len(SNAPSHOT_SCHEMA.serialize())


class Snapshot(msgspec.Struct):
    """One snapshot.

    rows            of the run that the strategy has been told of; where it stands
    ts, file, seq   the loop's time, and the last row that decisions could come from
    decisions       in the journal so far, journal_rows with the strategy's lines, journal_hash of them
    ended           it was taken after the run's end: to be compared, not to begin at
    engine_hash     of `engine`, the engine's state; strategy_hash of `strategy`, its fields ("": not kept)
    refused         why the strategy's fields could not be kept, "" when they were
    form            a compiled strategy's fields as on_start left them
    rest            what else is needed to begin there
    equity          samples of the equity since the snapshot before
    """

    rows: int
    ts: int
    file: int
    seq: int
    ended: bool
    engine_hash: str
    strategy_hash: str
    refused: str
    engine: bytes
    strategy: bytes
    form: bytes
    rest: bytes
    equity: bytes
    decisions: int = 0
    journal_rows: int = 0
    journal_hash: str = ""

    @property
    def hashes(self) -> tuple[str, str]:
        """What two equal snapshots have in common."""
        return self.engine_hash, self.strategy_hash


class SnapshotFile:
    """Writes a run's snapshots; EngineError when that is not possible."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1
        self._sink = BytesIO()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._stream = pa.ipc.new_stream(self._sink, SNAPSHOT_SCHEMA, options=options)
        self._skip = _SCHEMA_BYTES

    def take(self, snapshot: Snapshot) -> None:
        """Write one, with one system call; the first makes the file."""
        if self._file < 0:
            try:
                self._file = os.open(
                    self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
                )
            except OSError as error:
                raise EngineError(f"{self.path}: cannot be created: {error.strerror}") from None
            start = bytearray(SNAPSHOT_SCHEMA.with_metadata(_UNSIGNED).serialize().to_pybytes())
            sign_message(start)
            self._write(start)
        self._sink.seek(0)
        self._sink.truncate()
        columns = [_column(getattr(snapshot, field.name), field.type) for field in SNAPSHOT_SCHEMA]
        self._stream.write_batch(
            pa.RecordBatch.from_arrays(columns, schema=SNAPSHOT_SCHEMA), custom_metadata=_UNSIGNED
        )
        message = bytearray(self._sink.getbuffer()[self._skip :])
        self._skip = 0
        sign_message(message)
        self._write(message)

    def _write(self, content: bytes | bytearray) -> None:
        view = memoryview(content)
        try:
            while view.nbytes:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise EngineError(
                f"{self.path}: the snapshots cannot be written: {error.strerror}",
                hint="make room, or run it with --snapshot-every 0",
            ) from None

    def close(self) -> None:
        """End the stream."""
        if self._file >= 0:
            try:
                self._write(framing.END_OF_STREAM)
            finally:
                os.close(self._file)
                self._file = -1


def _column(value: str | bytes | int, kind: pa.DataType) -> pa.Array:
    """A column of one value, out of buffers: pa.array() imports pandas, if there is one, for 0.2 seconds."""
    if isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        buffers = [None, pa.py_buffer(np.array([0, len(content)], np.int32)), pa.py_buffer(content)]
    else:
        buffers = [None, pa.py_buffer(np.array([value], np.int64 if kind == pa.int64() else np.int32))]
    return pa.Array.from_buffers(kind, 1, buffers)


def read_snapshots(path: Path) -> Iterator[Snapshot]:
    """All whole snapshots of a file, none when there is none; InputError or DamagedLog when it is no such."""
    if not path.exists() or not path.stat().st_size:
        return
    content = pa.memory_map(str(path)).read_buffer()
    source = memoryview(content)
    try:
        with pa.ipc.open_stream(content) as reader:
            if not reader.schema.equals(SNAPSHOT_SCHEMA):
                raise InputError(
                    f"{path}: these are not the columns of snapshots",
                    hint="was it written by another version?",
                )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: no snapshots: {error}") from None
    offset = 0
    try:
        while offset < len(source):
            message = framing.read_message(source, offset)
            if message is None:
                return
            framing.verify_body(source, message)
            if message.kind == framing.BATCH_MESSAGE:
                part = content.slice(message.offset, message.end - message.offset)
                for row in pa.ipc.read_record_batch(part, SNAPSHOT_SCHEMA).to_pylist():
                    yield Snapshot(**row)
            offset = message.end
    except Damage as damage:
        if not damage.torn:
            raise DamagedLog(
                f"{path}: damaged at byte {damage.offset}: {damage.reason}",
                hint="run it again: the same log gives the same snapshots",
                offset=damage.offset,
            ) from None
