"""Decodes the batches of a sealed file ahead of whoever reads them, several at a time.

Batches of one file are independent of each other: their heads say what belongs into each, so a few threads
take one batch each. Decompressing and verifying happen without the interpreter's lock. The reader gets
the batches in the file's order, and an error in the place of the batch that has it: what runs is the
same as without threads, only earlier.

What is verified is what a plain reader verifies. The compressed bytes have a checksum as well as each
column has, and they are fewer unless frames were kept; when they are the written ones, so is every value
made of them. Where they are not, the columns that were asked for are looked at one by one: damage in a
column that nobody reads is no damage.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import pyarrow as pa

from engine.log import framing
from engine.log.decode import SMALL_BODY_BYTES, first_seq_of, verify_columns
from engine.log.framing import Damage, Message
from engine.log.schema import COLUMNS, FIXED, SCHEMA, Batch, batch_of_record, empty_batch
from engine.model.errors import InputError
from engine.model.kinds import Flag

if TYPE_CHECKING:
    from engine.log.cache import Pass

MAX_THREADS = 4
_LAST = int(Flag.LAST)
_VALUE_BYTES = {
    name: SCHEMA.field(name).type.bit_width // 8 if name in FIXED else 8 for name in COLUMNS
}  # under a column's own checksum, a row; of texts at least


class Made(NamedTuple):
    """A batch, and the checksum of the log's bytes that it was made of (0: not asked for)."""

    batch: Batch
    source: int


class Ahead:
    """The batches of one pass over a sealed file, as Futures. A context: leaving it ends the threads."""

    def __init__(
        self, source: memoryview, columns: Sequence[str], count: int, kept: Pass | None = None
    ) -> None:
        """`count` batches are decoded ahead. `kept`: columns that need no decoding (see `cache`)."""
        self._source = source
        self._buffer = pa.py_buffer(source)
        self._columns = tuple(name for name in COLUMNS[1:] if name in columns) or ("flags",)
        self._kept = kept
        self._count = count
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(
            max(1, min(count, os.cpu_count() or 1, MAX_THREADS)), thread_name_prefix="log-read-ahead"
        )
        self.end = 0  # where the stream of batches ended, after `messages`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def messages(self, start: int, number: int = 0) -> Iterator[tuple[Message, Future[Made]]]:
        """Every message from byte `start` on, where batch `number` begins, with its batch in the making.

        Raises Damage where a head is damaged.
        """
        waiting: deque[tuple[Message, Future[Made]]] = deque()
        damage: Damage | None = None
        offset = start
        ended = False
        while True:
            while not ended and len(waiting) < self._count + 1:
                try:
                    message = self._next(offset)
                except Damage as error:
                    damage, ended = error, True
                    break
                if message is None:
                    self.end, ended = offset, True
                    break
                waiting.append((message, self._pool.submit(self._make, number, message)))
                offset, number = message.end, number + 1
            if not waiting:
                break
            yield waiting.popleft()
        if damage is not None:
            raise damage

    def _next(self, offset: int) -> Message | None:
        if offset >= len(self._source):
            raise Damage(offset, "the file ends here, without its footer", torn=True)
        return framing.read_message(self._source, offset)

    def _make(self, number: int, message: Message) -> Made:
        """One batch, in one of the threads."""
        if self._kept is None:
            return Made(self._decode(number, message, self._columns), 0)
        found = self._kept.find(number, message)
        missing = tuple(name for name in self._columns if name not in found.columns)
        if missing:
            batch = self._decode(number, message, missing)
            self._kept.was_decoded(number)
        else:
            batch = empty_batch(first_seq_of(message), found.rows)
        for name, values in found.columns.items():
            setattr(batch, name, values)
        return Made(batch, found.source)

    def _decode(self, number: int, message: Message, names: tuple[str, ...]) -> Batch:
        offset = message.offset
        small = message.end - message.body <= SMALL_BODY_BYTES
        if small:
            framing.verify_body(self._source, message)
        try:
            record = self._arrow_file(names).get_batch(number)
            record.validate()
            batch = batch_of_record(record, first_seq_of(message))
        except (pa.ArrowException, OSError, MemoryError, ValueError, InputError) as error:
            raise Damage(offset, f"the batch cannot be decoded: {error}") from None
        if not record.num_rows:
            raise Damage(offset, "a batch without rows")
        if not small and not self._whole(message, record.num_rows, names):
            verify_columns(record, message, names)
        if "flags" in names and not record.column("flags")[-1].as_py() & _LAST:
            raise Damage(offset, "the batch ends inside a message")
        return batch

    def _whole(self, message: Message, rows: int, names: tuple[str, ...]) -> bool:
        """Whether the body is the written one; False also where columns are cheaper to look at."""
        body = message.end - message.body
        if body > rows * sum(_VALUE_BYTES[name] for name in names):
            return False
        return zlib.crc32(self._source[message.body : message.end]) == message.body_crc

    def _arrow_file(self, names: tuple[str, ...]) -> pa.RecordBatchFileReader:
        """Arrow's reader of these columns, one for each thread."""
        readers = self._local.__dict__.setdefault("readers", {})
        if names not in readers:
            fields = [COLUMNS.index(name) for name in names]
            readers[names] = pa.ipc.open_file(
                self._buffer, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            )
        return readers[names]


def has_footer(source: memoryview) -> bool:
    """Whether the file's own list of its batches can be believed."""
    tail = bytes(source[-10:])
    if len(tail) < 10 or not tail.endswith(framing.END_MAGIC):
        return False
    start = len(source) - 10 - int.from_bytes(tail[:4], "little") - len(framing.END_OF_STREAM)
    if start < 0 or bytes(source[start : start + len(framing.END_OF_STREAM)]) != framing.END_OF_STREAM:
        return False
    try:
        framing.verify_footer(source, start)
    except Damage:
        return False
    return True
