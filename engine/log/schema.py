"""The log's columns, its header, and the two forms of a batch: Arrow's and the loop's.

    file      = Arrow IPC file whose schema metadata holds a LogHeader
    batch     = whole messages; custom metadata: first `seq`, `crc32` per column, `chain`
    crc32     one CRC per column over its canonical bytes, so that a reader that asks for five columns
              can verify those five
    chain     BLAKE2b over the canonical rows from the file's first row on (see `Chain`), the same
              before and after sealing and whatever the batches

A batch knows nothing of files; readers and writers live beside this module.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.framing import CHECKSUM_EMPTY, CHECKSUM_KEY
from engine.model.errors import InputError
from engine.model.kinds import FORMAT_VERSION
from engine.model.rows import ROW, RowBuffer
from engine.model.units import NULL_TIME

if TYPE_CHECKING:
    TextParts = tuple[npt.NDArray[np.int64], bytes | memoryview]  # lengths (-1: null), joined bytes

TIMESTAMP = pa.timestamp("ns", tz="UTC")
SCHEMA = pa.schema(
    [
        pa.field("seq", pa.uint64(), nullable=False),
        pa.field("ts", TIMESTAMP, nullable=False),
        pa.field("ts_venue", TIMESTAMP),
        pa.field("source", pa.uint16(), nullable=False),
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("part", pa.uint8(), nullable=False),
        pa.field("flags", pa.uint16(), nullable=False),
        pa.field("instrument", pa.uint32(), nullable=False),
        pa.field("side", pa.int8(), nullable=False),
        pa.field("price", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("id", pa.uint64(), nullable=False),
        pa.field("data", pa.string()),
        pa.field("wire", pa.large_binary()),
    ]
)
COLUMNS = tuple(SCHEMA.names)
FIXED = COLUMNS[1:12]  # the columns that a ROW record holds, seq aside
_NUMPY_TYPE = {name: ROW.fields[name][0] for name in FIXED}  # type: ignore[index]
_ARROW_TYPE = {field.name: field.type for field in SCHEMA}

_CRC_FORMAT = b"%08x" * (len(COLUMNS) - 1)

_CONSTANT_ROWS = 1 << 17  # what most batches have at most
_MAX_CONSTANTS = 64

HEADER_KEY = b"engine.header"
SEQ_KEY, CRC_KEY, CHAIN_KEY = b"seq", b"crc32", b"chain"


class LogHeader(msgspec.Struct, frozen=True):
    """What a file says of itself before its first row. Every field is written, `format` above all."""

    format: int = FORMAT_VERSION
    engine: str = ""
    created: str = ""  # ISO 8601
    venues: tuple[str, ...] = ()
    segment: int = 1  # 1, 2, … of one recording
    previous_file: str = ""  # the segment before this one
    previous_chain: str = ""  # its chain head, hex; segments are gapless only when these match
    note: str = ""  # "synthetic market, seed 7": said by every command that shows the file
    sealed_rows: int = 0  # written when the file is sealed
    sealed_chain: str = ""


def header_metadata(header_text: bytes) -> dict[bytes, bytes]:
    """A log's schema metadata: its header, and room for the message's checksum."""
    return {HEADER_KEY: header_text, CHECKSUM_KEY: CHECKSUM_EMPTY}


def header_of(schema: pa.Schema, name: str) -> LogHeader:
    """The header in a file's schema; InputError when it is another program's file or a newer format."""
    raw = (schema.metadata or {}).get(HEADER_KEY)
    if raw is None:
        raise InputError(
            f"{name}: an Arrow file, but not a log of this engine (no {HEADER_KEY.decode()} in its metadata)",
            hint="bring other data in with: engine log import",
        )
    try:
        header = msgspec.json.decode(raw, type=LogHeader)
    except msgspec.DecodeError as error:
        raise InputError(f"{name}: the log's header cannot be read: {error}") from None
    if header.format > FORMAT_VERSION:
        raise InputError(
            f"{name}: log format {header.format}; this engine reads up to {FORMAT_VERSION}",
            hint=f"engine {header.engine or '(unknown)'} wrote it: install that version or a newer one",
        )
    if not schema.equals(SCHEMA, check_metadata=False):
        raise InputError(f"{name}: the columns are not those of log format {header.format}")
    return header


class Batch:
    """Rows of whole messages as contiguous NumPy columns; `data` and `wire` stay Arrow arrays.

    A column that was not asked for is None. `ts_venue` has NULL_TIME for null. `rows` is the packed form
    when the batch came from a RowBuffer.
    """

    __slots__ = (*COLUMNS[1:], "_texts", "count", "first_seq", "rows")
    first_seq: int
    count: int
    rows: npt.NDArray[np.void] | None
    ts: npt.NDArray[np.int64]
    ts_venue: npt.NDArray[np.int64]
    source: npt.NDArray[np.uint16]
    kind: npt.NDArray[np.uint8]
    part: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint16]
    instrument: npt.NDArray[np.uint32]
    side: npt.NDArray[np.int8]
    price: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    id: npt.NDArray[np.uint64]
    data: pa.StringArray | None
    wire: pa.LargeBinaryArray | None
    _texts: tuple[TextParts, TextParts]

    if not TYPE_CHECKING:  # for mypy, every attribute above is simply there

        def __getattr__(self, name: str) -> pa.Array:
            """`data` and `wire` of a batch being written become Arrow arrays when somebody asks: few do."""
            if name not in {"data", "wire"}:
                raise AttributeError(name)
            kind = pa.string() if name == "data" else pa.large_binary()
            array = _text_array(*self._texts[name == "wire"], kind)
            setattr(self, name, array)
            return array

    def set_texts(self, data: TextParts, wire: TextParts) -> None:
        """Give the batch both text columns in their canonical parts."""
        self._texts = (data, wire)

    def data_at(self, row: int) -> bytes | None:
        """The row's `data` text as bytes, or None."""
        if self.data is None:
            return None
        value = self.data[row].as_py()
        return None if value is None else value.encode()

    def wire_at(self, row: int) -> bytes | None:
        """The row's `wire` bytes, or None."""
        return None if self.wire is None else self.wire[row].as_py()

    def texts(self) -> tuple[TextParts, TextParts]:
        """The canonical parts of `data` and `wire` of a complete batch, computed once."""
        try:
            return self._texts
        except AttributeError:
            self._texts = (text_parts(self.data), text_parts(self.wire))
            return self._texts

    def slice(self, start: int, stop: int) -> Batch:
        """Rows start..stop as a batch of their own (views, no copies)."""
        part = Batch()
        part.first_seq = self.first_seq + start
        part.count = stop - start
        part.rows = None if self.rows is None else self.rows[start:stop]
        for name in COLUMNS[1:]:
            column = getattr(self, name)
            setattr(part, name, None if column is None else column[start:stop])
        return part


def empty_batch(first_seq: int, count: int) -> Batch:
    """A batch of so many rows without any column yet."""
    batch = Batch()
    batch.first_seq, batch.count, batch.rows = first_seq, count, None
    for name in COLUMNS[1:]:
        setattr(batch, name, None)
    return batch


def joined(batches: list[Batch]) -> Batch:
    """Batches of the same columns that follow each other as one."""
    if len(batches) == 1:
        return batches[0]
    batch = empty_batch(batches[0].first_seq, sum(b.count for b in batches))
    for name in COLUMNS[1:]:
        columns = [getattr(b, name) for b in batches]
        join = pa.concat_arrays if name in {"data", "wire"} else np.concatenate
        setattr(batch, name, None if columns[0] is None else join(columns))
    return batch


class Constants:
    """Columns of one value, shared: views of what was made once, which nobody can write to."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], npt.NDArray[Any]] = {}
        self._nulls = pa.nulls(0, pa.string())

    def column(self, name: str, value: int, rows: int) -> npt.NDArray[Any]:
        """`rows` times `value` as a column of this name holds it."""
        made = self._made.get((name, value))
        if made is None or len(made) < rows:
            if len(self._made) >= _MAX_CONSTANTS:
                self._made = {}
            made = np.full(max(rows, _CONSTANT_ROWS), value, _NUMPY_TYPE[name])
            made.flags.writeable = False
            self._made[name, value] = made
        return made[:rows]

    def blank(self, name: str, rows: int) -> npt.NDArray[Any]:
        """What stands in a column that nobody is going to look at: zeros, or no time."""
        return self.column(name, NULL_TIME if name == "ts_venue" else 0, rows)

    def nulls(self, rows: int) -> pa.StringArray:
        """`rows` times no text."""
        if len(self._nulls) < rows:
            self._nulls = pa.nulls(max(rows, _CONSTANT_ROWS), pa.string())
        return self._nulls.slice(0, rows)


constants = Constants()


def batch_of_buffer(rows: RowBuffer, first_seq: int) -> Batch:
    """Copy a buffer's rows into columns. The buffer may be cleared afterwards."""
    packed = rows.view().copy()
    batch = Batch()
    batch.first_seq = first_seq
    batch.count = len(packed)
    batch.rows = packed
    for name in FIXED:
        setattr(batch, name, np.ascontiguousarray(packed[name]))
    batch.set_texts(
        (packed["data_length"].astype(np.int64), b"".join(rows.data)),
        (packed["wire_length"].astype(np.int64), b"".join(rows.wire)),
    )
    return batch


def _text_array(lengths: npt.NDArray[np.int64], content: bytes | memoryview, kind: pa.DataType) -> pa.Array:
    count = len(lengths)
    present = lengths >= 0
    nulls = count - int(np.count_nonzero(present))
    offsets = np.zeros(count + 1, dtype=np.int32 if kind == pa.string() else np.int64)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    valid = pa.py_buffer(np.packbits(present, bitorder="little")) if nulls else None
    return pa.Array.from_buffers(kind, count, [valid, pa.py_buffer(offsets), pa.py_buffer(content)], nulls)


def record_of(batch: Batch) -> pa.RecordBatch:
    """The Arrow form of a complete batch (every column present)."""
    n = batch.count
    arrays: list[pa.Array] = [pa.array(np.arange(batch.first_seq, batch.first_seq + n, dtype=np.uint64))]
    for name in FIXED:
        values = getattr(batch, name)
        kind = _ARROW_TYPE[name]
        if name == "ts_venue":
            null = values == NULL_TIME
            if null.any():
                clean = np.where(null, 0, values)
                bits = pa.py_buffer(np.packbits(~null, bitorder="little"))
                arrays.append(pa.Array.from_buffers(kind, n, [bits, pa.py_buffer(clean)], int(null.sum())))
                continue
        arrays.append(pa.Array.from_buffers(kind, n, [None, pa.py_buffer(values)], 0))
    arrays += [batch.data, batch.wire]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def batch_of_record(record: pa.RecordBatch, first_seq: int) -> Batch:
    """The loop's form of an Arrow batch, without copies where there are no nulls.

    Columns that the record lacks become None. Nulls where the schema forbids them raise InputError.
    """
    batch = Batch()
    batch.first_seq = first_seq
    batch.count = record.num_rows
    batch.rows = None
    present = {name: record.column(i) for i, name in enumerate(record.schema.names)}
    for name in FIXED:
        array = present.get(name)
        setattr(batch, name, None if array is None else _fixed_column(name, array))
    batch.data = present.get("data")
    batch.wire = present.get("wire")
    return batch


def _fixed_column(name: str, array: pa.Array) -> npt.NDArray[Any]:
    kind = _NUMPY_TYPE[name]
    values = np.frombuffer(array.buffers()[1], dtype=kind)[array.offset : array.offset + len(array)]
    if array.null_count:
        if name != "ts_venue":
            raise InputError(f"column {name} holds nulls, which the log format forbids")
        values = np.where(_present(array), values, NULL_TIME)
    return values


def _present(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values are not null; only for arrays that hold nulls. Arrow's own is_valid costs ten times it."""
    bits = np.frombuffer(array.buffers()[0], dtype=np.uint8)
    start, stop = array.offset, array.offset + len(array)
    return np.unpackbits(bits, count=stop, bitorder="little")[start:].view(np.bool_)


def text_parts(array: pa.Array) -> TextParts:
    """Lengths (-1: null) and concatenated bytes of a text column: its canonical form."""
    kind = np.int32 if array.type == pa.string() else np.int64
    buffers = array.buffers()
    n = len(array)
    if n == 0:
        return np.zeros(0, dtype=np.int64), memoryview(b"")
    offsets = np.frombuffer(buffers[1], dtype=kind)[array.offset : array.offset + n + 1]
    lengths = np.diff(offsets).astype(np.int64)
    if array.null_count:
        lengths[~_present(array)] = -1
    content = memoryview(buffers[2])[int(offsets[0]) : int(offsets[-1])] if buffers[2] else memoryview(b"")
    return lengths, content


def column_crc(batch: Batch, name: str) -> int:
    """CRC32 of one column's canonical bytes: values, or lengths then text."""
    if name in ("data", "wire"):
        lengths, content = text_parts(getattr(batch, name))
        return zlib.crc32(content, zlib.crc32(lengths.data))
    return zlib.crc32(np.ascontiguousarray(getattr(batch, name)).data)


def crc_text(batch: Batch) -> bytes:
    """The `crc32` metadata of a complete batch: eight hex digits per column after seq."""
    codes = [zlib.crc32(getattr(batch, name).data) for name in FIXED]
    codes += [zlib.crc32(content, zlib.crc32(lengths.data)) for lengths, content in batch.texts()]
    return _CRC_FORMAT % tuple(codes)


class Chain:
    """The running hash of a file's rows; independent of batches and of sealing.

    Three BLAKE2b streams (records, `data`, `wire`) are fed in row order; the head is a hash of their
    digests. The records carry the texts' lengths, so the three streams have one reading only. A segment
    starts from the head of the one before.
    """

    def __init__(self, previous: str = "") -> None:
        seed = bytes.fromhex(previous)
        self._streams = [blake2b(seed, digest_size=32) for _ in range(3)]

    def update(self, batch: Batch) -> None:
        """Take the rows of a complete batch."""
        (data_lengths, data), (wire_lengths, wire) = batch.texts()
        packed = batch.rows
        if packed is None:
            packed = np.zeros(batch.count, dtype=ROW)
            for name in FIXED:
                packed[name] = getattr(batch, name)
            packed["data_length"] = data_lengths
            packed["wire_length"] = wire_lengths
        for stream, content in zip(self._streams, (packed.data, data, wire), strict=True):
            stream.update(content)

    def copy(self) -> Chain:
        """A chain that goes on from here by itself."""
        twin = Chain()
        twin._streams = [stream.copy() for stream in self._streams]
        return twin

    def head(self) -> str:
        """The hash of everything taken so far, 64 hex digits."""
        return blake2b(b"".join(s.digest() for s in self._streams), digest_size=32).hexdigest()
