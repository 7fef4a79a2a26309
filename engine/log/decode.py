"""From verified messages to Arrow record batches, verifying every value on the way.

Knows one message at a time and no files: readers, tails and repairs feed it. What it returns is what was
written, or it raises Damage.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from engine.log import framing
from engine.log.framing import BATCH_MESSAGE, MAGIC, Damage, Message
from engine.log.schema import (
    CHAIN_KEY,
    COLUMNS,
    CRC_KEY,
    SCHEMA,
    SEQ_KEY,
    batch_of_record,
    column_crc,
)
from engine.model.errors import InputError
from engine.model.kinds import Flag

SMALL_BODY_BYTES = 128 << 10  # up to here one checksum over the body is cheaper than one per column
_LAST = int(Flag.LAST)


class Decoder:
    """Turns verified messages into Arrow record batches, and verifies what it reads of them.

    All columns: any message of any part of a file. Some columns: `source` begins with the file's header
    and each message follows the one before, because Arrow projects only when it reads a stream.
    """

    def __init__(self, source: memoryview, columns: Sequence[str] = COLUMNS) -> None:
        fields = [i for i, name in enumerate(COLUMNS) if name in columns]
        if not fields:
            fields = [COLUMNS.index("flags")]
        self._source = source
        self._buffer = pa.py_buffer(source)
        self._names = [COLUMNS[i] for i in fields if COLUMNS[i] != "seq"]
        self._stream = None
        if len(fields) < len(COLUMNS):
            self._stream = pa.ipc.open_stream(
                self._buffer.slice(len(MAGIC)),
                options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False),
            )

    def decode(self, message: Message, next_seq: int) -> pa.RecordBatch:
        """The batch of this message, which has to begin at `next_seq`; raises Damage."""
        offset = message.offset
        check_seq(message, next_seq)
        small = message.end - message.body <= SMALL_BODY_BYTES
        if small:
            framing.verify_body(self._source, message)
        try:
            if self._stream is None:
                record = pa.ipc.read_record_batch(self._buffer[offset : message.end], SCHEMA)
            else:
                record = self._stream.read_next_batch()
        except (pa.ArrowException, OSError, StopIteration, MemoryError) as error:
            raise Damage(offset, f"the batch cannot be decoded: {error}") from None
        if not record.num_rows:
            raise Damage(offset, "a batch without rows")
        if not small:
            verify_columns(record, message, self._names)
        if "flags" in self._names:
            last = record.column(record.schema.get_field_index("flags"))[-1].as_py()
            if not last & _LAST:
                raise Damage(offset, "the batch ends inside a message")
        return record


def verify_columns(record: pa.RecordBatch, message: Message, names: Sequence[str]) -> None:
    """Compare the values of these columns with the checksums in the message's head; raises Damage."""
    codes = message.value(CRC_KEY) or b""
    try:
        record.validate()
        batch = batch_of_record(record, 0)
    except (pa.ArrowException, InputError, ValueError, TypeError) as error:
        raise Damage(message.offset, f"the batch's columns cannot be read: {error}") from None
    for name in names:
        at = 8 * (COLUMNS.index(name) - 1)
        if b"%08x" % column_crc(batch, name) != codes[at : at + 8]:
            raise Damage(message.offset, f"the checksum of column {name} does not fit")


def first_seq_of(message: Message) -> int:
    """The seq of a batch's first row; Damage when the message is no batch of a log."""
    if message.kind != BATCH_MESSAGE:
        raise Damage(message.offset, f"an Arrow message of kind {message.kind} has no place in a log")
    try:
        return int(message.value(SEQ_KEY) or b"")
    except ValueError:
        raise Damage(message.offset, "the batch carries no seq") from None


def check_seq(message: Message, next_seq: int) -> None:
    """Raise Damage unless this batch begins at `next_seq`."""
    first_seq = first_seq_of(message)
    if first_seq != next_seq:
        raise Damage(message.offset, f"the batch begins at seq {first_seq}; {next_seq} is next")


def chain_head_of(message: Message) -> str:
    """The chain head after a batch, as the batch says it."""
    return (message.value(CHAIN_KEY) or b"").decode("ascii", "replace")
