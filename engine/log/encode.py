"""Rows to the bytes of one Arrow batch, without going through Arrow.

Recording writes a batch per turn of the event loop, of one row as often as of sixty: then the time goes
into making Arrow's objects, not into the data. But all batches of a log have the same columns, so their
heads differ only in numbers that always stand at the same places. A head that Arrow itself has made is
kept as the template; the numbers are put in, and the columns are laid out behind it as Arrow lays them
out. The result equals what Arrow's own writer would have written, byte for byte, and a test says so.

    head   row count · per column: rows, nulls · per buffer: offset, length · body length · metadata
    body   per column: validity bits (only where there are nulls), values; each at a multiple of 8
"""

from __future__ import annotations

import zlib
from io import BytesIO
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.framing import CHECKSUM_EMPTY, CHECKSUM_KEY, sign_message
from engine.log.schema import (
    CHAIN_KEY,
    CRC_KEY,
    FIXED,
    SCHEMA,
    SEQ_KEY,
    Batch,
    batch_of_buffer,
    crc_text,
    record_of,
)
from engine.model.rows import ROW, RowBuffer
from engine.model.units import NULL_TIME

_INT64 = Struct("<q")
_TYPE = {name: np.dtype(ROW.fields[name][0]) for name in FIXED}  # type: ignore[index]
_VALUES: list[tuple[str, np.dtype[Any]]] = [
    ("seq", np.dtype("<u8")),
    *((name, _TYPE[name]) for name in FIXED),
]
_FIXED_COUNT = len(_VALUES)
_TS_VENUE = [name for name, _ in _VALUES].index("ts_venue")
_COLUMN_COUNT = len(SCHEMA.names)
_BUFFER_COUNT = 2 * _FIXED_COUNT + 2 * 3  # validity and values; texts have offsets as well


def batch_metadata(batch: Batch, chain_head: str) -> dict[bytes, bytes]:
    """The custom metadata of a batch whose rows the chain has just taken; always of the same length."""
    return {
        SEQ_KEY: b"%020d" % batch.first_seq,
        CRC_KEY: crc_text(batch),
        CHAIN_KEY: chain_head.encode(),
        CHECKSUM_KEY: CHECKSUM_EMPTY,
    }


def encode_with_arrow(batch: Batch, chain_head: str) -> bytearray:
    """A complete batch as one signed message, by Arrow's own writer: what `BatchEncoder` is measured by."""
    sink = BytesIO()
    with pa.ipc.new_stream(sink, SCHEMA) as stream:
        stream.write_batch(record_of(batch), custom_metadata=batch_metadata(batch, chain_head))
        message = bytearray(sink.getbuffer()[len(SCHEMA.serialize()) :])
    sign_message(message)
    return message


class BatchEncoder:
    """Rows to batches and batches to messages, for one file at a time."""

    def __init__(self) -> None:
        self._head = _Template()

    def layout(self, rows: RowBuffer, first_seq: int) -> tuple[Batch, bytearray]:
        """Everything in `rows` as a batch, and the message it stands in, whose head is still empty.

        The batch's columns are views of the message's body: it is written from where it is read.
        """
        packed = rows.view().copy()
        count = len(packed)
        data, wire = b"".join(rows.data), b"".join(rows.wire)
        nulls = np.zeros(_COLUMN_COUNT, dtype=np.int64)
        no_venue_time = packed["ts_venue"] == NULL_TIME
        nulls[_TS_VENUE] = np.count_nonzero(no_venue_time)
        nulls[_FIXED_COUNT] = count - len(rows.data)
        nulls[_FIXED_COUNT + 1] = count - len(rows.wire)
        lengths = _buffer_lengths(count, nulls, len(data), len(wire))
        padded = (lengths + 7) & ~7
        offsets = np.add.accumulate(padded) - padded  # a third of np.cumsum's time
        head_bytes = self._head.size
        message = bytearray(head_bytes + int(offsets[-1] + padded[-1]))
        self._head.fill(message, count, nulls, offsets, lengths)

        batch = Batch()
        batch.first_seq = first_seq
        batch.count = count
        batch.rows = packed
        starts = (offsets + head_bytes).tolist()
        _place(message, starts[1], np.arange(first_seq, first_seq + count, dtype=np.uint64))
        for column in range(1, _FIXED_COUNT):
            name, kind = _VALUES[column]
            values = np.frombuffer(message, dtype=kind, count=count, offset=starts[2 * column + 1])
            values[:] = packed[name]
            setattr(batch, name, values)
        if nulls[_TS_VENUE]:
            _place(message, starts[2 * _TS_VENUE], np.packbits(~no_venue_time, bitorder="little"))
            in_file = batch.ts_venue
            batch.ts_venue = in_file.copy()
            in_file[no_venue_time] = 0
        batch.set_texts(
            (_place_text(message, starts[-6:-3], packed["data_length"], data, np.int32), data),
            (_place_text(message, starts[-3:], packed["wire_length"], wire, np.int64), wire),
        )
        return batch, message

    def sign(self, message: bytearray, batch: Batch, chain_head: str) -> None:
        """Put the batch's metadata and the checksums into the message's head: now it can be written."""
        self._head.sign(message, batch, chain_head)


def _buffer_lengths(
    count: int, nulls: npt.NDArray[np.int64], data_bytes: int, wire_bytes: int
) -> npt.NDArray[np.int64]:
    lengths = np.zeros(_BUFFER_COUNT, dtype=np.int64)
    lengths[1 : 2 * _FIXED_COUNT : 2] = _WIDTHS * count
    bits = (count + 7) // 8
    validity = nulls > 0
    lengths[_VALIDITY[validity]] = bits
    lengths[-5:-3] = 4 * (count + 1), data_bytes
    lengths[-2:] = 8 * (count + 1), wire_bytes
    return lengths


_EXAMPLE_SEQ, _EXAMPLE_CHAIN = 12_345_678_901_234_567_890, "c" * 64
_WIDTHS = np.array([kind.itemsize for _, kind in _VALUES], dtype=np.int64)
_VALIDITY = np.array([*range(0, 2 * _FIXED_COUNT, 2), 2 * _FIXED_COUNT, 2 * _FIXED_COUNT + 3])


def _place(message: bytearray, at: int, values: npt.NDArray[Any]) -> None:
    content = values.tobytes()
    message[at : at + len(content)] = content


def _place_text(
    message: bytearray,
    starts: list[int],
    lengths: npt.NDArray[Any],
    content: bytes,
    offset_type: type[np.signedinteger[Any]],
) -> npt.NDArray[np.int64]:
    """Lay out a text column's validity, offsets and bytes; returns its lengths."""
    lengths = lengths.astype(np.int64)
    if not content and lengths[0] < 0 and (lengths < 0).all():
        return lengths  # all null: validity and offsets are zeros, and so is a new message
    present = lengths >= 0
    if starts[1] > starts[0]:  # there is room for validity, so there are nulls
        _place(message, starts[0], np.packbits(present, bitorder="little"))
    ends = np.add.accumulate(np.maximum(lengths, 0)).astype(offset_type)
    _place(message, starts[1] + ends.itemsize, ends)
    message[starts[2] : starts[2] + len(content)] = content
    return lengths


class _Template:
    """A batch's head as Arrow made it, and where the numbers and texts that differ stand in it."""

    def __init__(self) -> None:
        rows = RowBuffer(1)
        rows.append_fast(1, NULL_TIME, 0, 0, 0, 1, 0, 0, 0, 0, 0, b"d", b"w")
        # Texts that occur nowhere else in the head mark the places of those that will stand there.
        example = batch_of_buffer(rows, _EXAMPLE_SEQ)
        message = encode_with_arrow(example, _EXAMPLE_CHAIN)
        self.size = 8 + int.from_bytes(message[4:8], "little")
        self._bytes = bytes(message[: self.size])
        self._body_length, self._count, self._nodes, self._buffers = _places(self._bytes)
        find = self._bytes.index
        self._seq = find(b"%020d" % _EXAMPLE_SEQ)
        crc = crc_text(example)
        self._crc, self._crc_end = find(crc), find(crc) + len(crc)
        self._chain = find(_EXAMPLE_CHAIN.encode())
        self._checksum = find(CHECKSUM_EMPTY[:14]) + 14

    def fill(
        self,
        message: bytearray,
        count: int,
        nulls: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
    ) -> None:
        """Write the head with a batch's numbers."""
        message[: self.size] = self._bytes
        _INT64.pack_into(message, self._body_length, len(message) - self.size)
        _INT64.pack_into(message, self._count, count)
        nodes = np.empty((_COLUMN_COUNT, 2), dtype="<i8")
        nodes[:, 0] = count
        nodes[:, 1] = nulls
        _place(message, self._nodes, nodes)
        buffers = np.empty((_BUFFER_COUNT, 2), dtype="<i8")
        buffers[:, 0] = offsets
        buffers[:, 1] = lengths
        _place(message, self._buffers, buffers)

    def sign(self, message: bytearray, batch: Batch, chain_head: str) -> None:
        """Write the head's texts, the two checksums last."""
        message[self._seq : self._seq + 20] = b"%020d" % batch.first_seq
        message[self._crc : self._crc_end] = crc_text(batch)
        message[self._chain : self._chain + 64] = chain_head.encode()
        at = self._checksum
        message[at : at + 8] = b"00000000"
        view = memoryview(message)
        message[at + 9 : at + 17] = b"%08x" % zlib.crc32(view[self.size :])
        message[at : at + 8] = b"%08x" % zlib.crc32(view[: self.size])


def _places(head: bytes) -> tuple[int, int, int, int]:
    """Where a batch message's head has the body's length, the row count, the nodes and the buffers."""

    def number(at: int, width: int) -> int:
        return int.from_bytes(head[at : at + width], "little", signed=width == 4)

    def field(table: int, index: int) -> int:
        vtable = table - number(table, 4)
        return table + number(vtable + 4 + 2 * index, 2)

    def target(at: int) -> int:
        return at + number(at, 4)

    message = target(8)
    batch = target(field(message, 2))
    nodes, buffers = target(field(batch, 1)), target(field(batch, 2))
    assert (number(nodes, 4), number(buffers, 4)) == (_COLUMN_COUNT, _BUFFER_COUNT)
    return field(message, 3), field(batch, 0), nodes + 4, buffers + 4
