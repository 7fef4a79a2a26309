"""Reads a log in order, and never yields past damage.

A file is mapped, not read; a column that was not asked for is neither decompressed nor touched. What
makes a row believable:

- the head of each message has a checksum, verified before its numbers are used;
- the values of each batch have one too: over the body of a small batch, over each column read of a large
  one, so that a projection verifies exactly what it uses;
- `seq` continues, and the last row ends a message.

A sealed file that fails any of these raises DamagedLog, after every good batch before it was yielded. An
unsealed file ends at its last good batch, and `tail` says what stands there; that is no error, a recorder
may have been killed.

Small batches of an unsealed file are joined before they are handed out: results never depend on how rows
are batched, and time does.
"""

from __future__ import annotations

import mmap
import queue
import threading
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from engine.log import framing
from engine.log.framing import BATCH_MESSAGE, MAGIC, Damage, Message
from engine.log.schema import (
    CHAIN_KEY,
    COLUMNS,
    CRC_KEY,
    HEADER_KEY,
    SEQ_KEY,
    Batch,
    Chain,
    LogHeader,
    batch_of_record,
    column_crc,
    header_of,
)
from engine.model.errors import DamagedLog, InputError
from engine.model.kinds import Flag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

SMALL_BODY_BYTES = 128 << 10  # up to here one checksum over the body is cheaper than one per column
JOIN_ROWS = 16_384  # small batches are handed out in groups of about this many rows
_LAST = int(Flag.LAST)


class LogReader:
    """One log file, sealed or not, from its first row on.

    header: what the file says of itself. sealed: whether it was closed by `seal`. tail: after `batches`
    has ended, what stands behind the last good batch of an unsealed file ("": nothing). next_seq: rows
    verified so far. chain_head: the file's own, after the last batch read. good_bytes: where the last
    good message ends.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        """Open the file; `columns` None reads all.

        Raises InputError when the file is no log, DamagedLog when it is one whose beginning is damaged.
        """
        self.path = path
        self.columns = COLUMNS if columns is None else tuple(columns)
        unknown = [name for name in self.columns if name not in COLUMNS]
        if unknown:
            raise InputError(f"a log has no column {unknown[0]}", hint=f"it has {', '.join(COLUMNS)}")
        self._source = memoryview(map_file(path))
        self.header, self.good_bytes = open_header(self._source, str(path))
        self.sealed = bool(self.header.sealed_chain)
        self.size = len(self._source)
        self.tail = ""
        self.tail_damage: Damage | None = None
        self.next_seq = 0
        self.chain_head = Chain(self.header.previous_chain).head()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Batches handed out stay valid."""
        self._source = memoryview(b"")

    def batches(self, prefetch: int = 0, join_rows: int = JOIN_ROWS) -> Iterator[Batch]:
        """Every good batch, in order; may be called again, and starts at the first row each time.

        prefetch: how many batches a thread decodes ahead (0: none). join_rows: small batches are joined
        up to about so many rows (0: as they stand in the file).
        Raises DamagedLog for a sealed file, after all good batches before the damage.
        """
        batches = self._joined(join_rows)
        return _ahead(batches, prefetch) if prefetch else batches

    def _joined(self, join_rows: int) -> Iterator[Batch]:
        waiting: list[pa.RecordBatch] = []
        rows = first = 0
        for record, seq in self._records():
            if not waiting and (record.num_rows >= join_rows or not join_rows):
                yield batch_of_record(record, seq)
                continue
            if not waiting:
                rows, first = 0, seq
            waiting.append(record)
            rows += record.num_rows
            if rows >= join_rows:
                yield _join(waiting, first)
                waiting = []
        if waiting:
            yield _join(waiting, first)
        damage = self.tail_damage
        if damage is not None and self.sealed:
            raise DamagedLog(
                f"{self.path}: damaged at byte {damage.offset}: {damage.reason}; "
                f"the {self.next_seq} rows before are good",
                hint=f"save them with: engine log recover {self.path}",
                offset=damage.offset,
            )

    def _records(self) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Verified record batches as they stand in the file, each with its first seq."""
        source = self._source
        self.next_seq, self.tail, self.tail_damage = 0, "", None
        self.chain_head = Chain(self.header.previous_chain).head()
        offset = self.good_bytes = open_header(source, str(self.path))[1]
        decoder = Decoder(source, self.columns)
        try:
            while True:
                if offset == len(source) and not self.sealed:
                    return
                message = framing.read_message(source, offset)
                if message is None:
                    self._check_end(offset)
                    return
                record = decoder.next(message, self.next_seq)
                seq = self.next_seq
                self.next_seq += record.num_rows
                self.chain_head = message.metadata.get(CHAIN_KEY, b"").decode()
                offset = self.good_bytes = message.end
                yield record, seq
        except Damage as damage:
            self.tail_damage = damage
            lost = len(source) - damage.offset
            self.tail = f"{lost} bytes from byte {damage.offset} on are not used: {damage.reason}"

    def _check_end(self, offset: int) -> None:
        header = self.header
        if not self.sealed:
            raise Damage(offset, "an end of stream in a file that was not sealed")
        framing.verify_footer(self._source, offset)
        if self.next_seq != header.sealed_rows:
            raise Damage(
                offset, f"the file ends after {self.next_seq} rows; sealed were {header.sealed_rows}"
            )
        if self.chain_head != header.sealed_chain:
            raise Damage(offset, "the chain of the last batch is not the one that was sealed")
        self.good_bytes = len(self._source)


class Decoder:
    """Turns verified messages of one file, in order, into Arrow record batches.

    Also used for files that grow: `source` may be a copy of a part of the file that begins with its
    schema message.
    """

    def __init__(self, source: memoryview, columns: Sequence[str]) -> None:
        fields = [i for i, name in enumerate(COLUMNS) if name in columns]
        if not fields:
            fields = [COLUMNS.index("flags")]
        self._source = source
        self._names = [COLUMNS[i] for i in fields if COLUMNS[i] != "seq"]
        options = pa.ipc.IpcReadOptions(
            included_fields=None if len(fields) == len(COLUMNS) else fields, use_threads=False
        )
        buffer = pa.py_buffer(source)
        self._stream = pa.ipc.open_stream(buffer.slice(len(MAGIC)), options=options)

    def next(self, message: Message, next_seq: int) -> pa.RecordBatch:
        """The batch of this message, which follows the one before; raises Damage."""
        offset = message.offset
        metadata = message.metadata
        if message.kind != BATCH_MESSAGE:
            raise Damage(offset, f"an Arrow message of kind {message.kind} has no place in a log")
        try:
            first_seq = int(metadata[SEQ_KEY])
            crc = metadata[CRC_KEY]
        except (KeyError, ValueError):
            raise Damage(offset, "the batch does not carry seq and checksums") from None
        if first_seq != next_seq:
            raise Damage(offset, f"the batch begins at seq {first_seq}; {next_seq} is next")
        small = message.end - message.body <= SMALL_BODY_BYTES
        if small:
            framing.verify_body(self._source, message)
        try:
            record = self._stream.read_next_batch()
        except (pa.ArrowException, OSError, StopIteration, MemoryError) as error:
            raise Damage(offset, f"the batch cannot be decoded: {error}") from None
        if not record.num_rows:
            raise Damage(offset, "a batch without rows")
        if not small:
            self._verify_columns(record, crc, offset)
        if "flags" in self._names:
            last = record.column(record.schema.get_field_index("flags"))[-1].as_py()
            if not last & _LAST:
                raise Damage(offset, "the batch ends inside a message")
        return record

    def _verify_columns(self, record: pa.RecordBatch, crc: bytes, offset: int) -> None:
        try:
            record.validate()
            batch = batch_of_record(record, 0)
        except (pa.ArrowException, InputError, ValueError, TypeError) as error:
            raise Damage(offset, f"the batch's columns cannot be read: {error}") from None
        for name in self._names:
            at = 8 * (COLUMNS.index(name) - 1)
            if b"%08x" % column_crc(batch, name) != crc[at : at + 8]:
                raise Damage(offset, f"the checksum of column {name} does not fit")


def _join(records: list[pa.RecordBatch], first_seq: int) -> Batch:
    record = records[0] if len(records) == 1 else pa.concat_batches(records)
    return batch_of_record(record, first_seq)


def _ahead(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """The same batches, made by a thread up to `count` ahead; errors arrive in their place."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=count)
    stop = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for batch in batches:
                made.put(batch)
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001  handed to the consumer, whatever it is
            last = error
        made.put(last)

    thread = threading.Thread(target=work, name="log-read-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(item := made.get(), Batch):
            yield item
        if item is not None:
            raise item
    finally:
        stop.set()
        while thread.is_alive():
            try:
                made.get(timeout=0.01)  # let a thread go that waits for room
            except queue.Empty:
                continue


def map_file(path: Path) -> mmap.mmap:
    """The whole file, mapped for reading; InputError when that is not possible."""
    try:
        if path.is_dir():
            raise InputError(
                f"{path}: is a folder", hint=f"name a log file, or all of them: '{path}/*.arrow'"
            )
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ValueError:  # mmap refuses an empty file
        raise InputError(
            f"{path}: the file is empty", hint="a log begins with a header; this is none"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def open_header(source: memoryview, name: str) -> tuple[LogHeader, int]:
    """The header at the beginning of a file, and where its first batch begins.

    Raises InputError for what is no log of this engine (or a newer one), DamagedLog for a damaged one.
    """
    magic = bytes(source[: len(MAGIC)])
    try:
        message = framing.read_message(source, len(MAGIC))
    except Damage as damage:
        raise _no_header(source, name, magic, damage) from None
    if message is None or message.kind != framing.SCHEMA_MESSAGE:
        raise InputError(f"{name}: not a log (no schema at its beginning)")
    if magic != MAGIC:
        raise DamagedLog(f"{name}: damaged at byte 0: it does not begin with {MAGIC[:6]!r}", offset=0)
    schema = pa.ipc.read_schema(pa.py_buffer(source[len(MAGIC) : message.end]))
    return header_of(schema, name), message.end


def _no_header(source: memoryview, name: str, magic: bytes, damage: Damage) -> InputError:
    start = bytes(source[: 64 << 10])
    ours = HEADER_KEY in start or b"message-crc32:" in start
    if ours:
        return DamagedLog(
            f"{name}: damaged at byte {damage.offset}: {damage.reason}; the header cannot be trusted",
            hint="nothing can be read without it; take the copy of the file that you have",
            offset=damage.offset,
        )
    if magic == MAGIC:
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(source[len(MAGIC) :]))
        except (pa.ArrowException, OSError):
            if len(source) < 1024:
                return InputError(
                    f"{name}: cut off before the end of its header ({len(source)} bytes)",
                    hint="there is no row in it",
                )
            return InputError(f"{name}: begins like an Arrow file, but holds no schema")
        return InputError(
            f"{name}: an Arrow file, but not a log of this engine (columns {', '.join(schema.names[:6])}…)",
            hint="bring other data in with: engine log import",
        )
    if start[:4] == framing.CONTINUATION:
        return InputError(
            f"{name}: an Arrow stream, not a log file of this engine",
            hint="bring other data in with: engine log import",
        )
    kind = {b"PAR1": "a Parquet file", b"\x1f\x8b\x08\x00": "a gzip file"}.get(start[:4], "not an Arrow file")
    return InputError(f"{name}: {kind}, not a log", hint="bring other data in with: engine log import")
