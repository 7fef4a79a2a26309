"""One column of one log, decoded, in a file that can be mapped.

    values of a batch, padded to 64 bytes      again and again; left out where all rows have one value
    BLOCK records, one a batch                 rows, where, checksums
    identity                                   JSON: which log's which column this is
    trailer                                    sizes of both, of the file, BLAKE2b of all that, magic

The end is written last and the file gets its name after that, so a file either has a whole list of its
blocks or is none. The values have no such order: after a crash any of them may be wrong, as on any day
any bit may be. So each block has a checksum, compared before the block is used (by `cache`). It also has one
of the log's own bytes that it was decoded from: a block is believed only for these very bytes.

A number column is stored as the loop has it. `data` is stored as Arrow has it: which rows are not null
(absent when all are), offsets, text.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.log.checksum import Piece, digests, piece_of
from engine.log.schema import FIXED, constants, text_parts
from engine.model.kinds import encode_canonical
from engine.model.rows import ROW

BLOCK = np.dtype(
    [
        ("rows", "<i8"),
        ("offset", "<i8"),
        ("bytes", "<i8"),  # 0: every row has `value`, or null
        ("nulls", "<i8"),  # of `data`
        ("value", "<u8"),  # of a block that is left out, as 64 bits
        ("digest", "<u8"),
        ("source", "<u8"),  # checksum of the log's bytes
    ]
)
SUFFIX = ".column"
FORMAT = 1  # of these files; others are not read
KEPT = (*FIXED, "data")  # columns that have such a file

_TRAILER = Struct("<qqq32s8s")  # bytes of blocks, of identity, of the file; digest; magic
_MAGIC = b"ENGCOL1\n"
_ALIGN = 64
_DAY_NS = 86_400_000_000_000
_PAGE = mmap.ALLOCATIONGRANULARITY
_DTYPE = {name: ROW.fields[name][0] for name in FIXED}  # type: ignore[index]
VALUE_BYTES = {**{name: dtype.itemsize for name, dtype in _DTYPE.items()}, "data": 5}  # a row; texts aside


def identity_of(key: str, rows: int, name: str) -> bytes:
    """What a column's file says of itself."""
    return encode_canonical({"column": name, "format": FORMAT, "log": key, "rows": rows})


class ColumnFile:
    """A column's file, mapped. `blocks` has one BLOCK record for each batch of the log."""

    def __init__(self, path: Path, name: str, key: str, rows: int) -> None:
        """Open it; FileNotFoundError when there is none, ValueError when it is not whole or another's."""
        self.path = path
        self.name = name
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # ValueError: empty
        self.blocks = _blocks_of(self._map, identity_of(key, rows, name))
        if int(self.blocks["rows"].sum()) != rows:
            raise ValueError("rows are missing")
        self._buffer = pa.py_buffer(self._map)
        self._address = int(self._buffer.address)
        self._seen = 0

    def piece(self, number: int) -> Piece:
        """Where a block's bytes lie in memory."""
        block = self.blocks[number]
        return self._address + int(block["offset"]), int(block["bytes"])

    def values(self, number: int) -> npt.NDArray[Any] | pa.StringArray:
        """A block's column as a Batch has it, over the mapped file."""
        block = self.blocks[number]
        rows, offset, size = int(block["rows"]), int(block["offset"]), int(block["bytes"])
        if self.name != "data":
            if not size:
                value = np.array([block["value"]], "<u8").view("<i8")[0].astype(_DTYPE[self.name])
                return constants.column(self.name, value.item(), rows)
            return np.frombuffer(self._map, _DTYPE[self.name], rows, offset)
        if not size:
            return constants.nulls(rows)
        return _texts_at(self._buffer, offset, size, rows, int(block["nulls"]))

    def forget(self, number: int) -> None:
        """Give the memory of the blocks before this one back; they would be read again if asked for."""
        until = int(self.blocks[number]["offset"]) // _PAGE * _PAGE
        if until > self._seen:
            self._map.madvise(mmap.MADV_DONTNEED, self._seen, until - self._seen)
            self._seen = until


def _blocks_of(content: mmap.mmap, identity: bytes) -> npt.NDArray[np.void]:
    size = len(content)
    if size < _TRAILER.size:
        raise ValueError("cut off")
    blocks_bytes, identity_bytes, file_bytes, digest, magic = _TRAILER.unpack_from(
        content, size - _TRAILER.size
    )
    start = size - _TRAILER.size - identity_bytes - blocks_bytes
    if magic != _MAGIC or file_bytes != size or min(blocks_bytes, identity_bytes, start) < 0:
        raise ValueError("not a whole file")
    end = content[start : size - _TRAILER.size]
    if _end_digest(end, blocks_bytes, file_bytes) != digest:
        raise ValueError("the list of blocks is damaged")
    if end[blocks_bytes:] != identity:
        raise ValueError("another log's")
    return np.frombuffer(end, BLOCK, blocks_bytes // BLOCK.itemsize)


def _end_digest(end: bytes, blocks_bytes: int, file_bytes: int) -> bytes:
    return blake2b(b"%d,%d," % (blocks_bytes, file_bytes) + end, digest_size=32).digest()


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _texts_at(buffer: pa.Buffer, offset: int, size: int, rows: int, nulls: int) -> pa.StringArray:
    valid = _padded(-(-rows // 8)) if nulls else 0
    offsets = _padded(4 * (rows + 1))
    parts = [
        buffer.slice(offset, valid) if nulls else None,
        buffer.slice(offset + valid, offsets),
        buffer.slice(offset + valid + offsets, size - valid - offsets),
    ]
    return pa.Array.from_buffers(pa.string(), rows, parts, nulls)


class ColumnWriter:
    """A column's file in the making: `append` every batch's values, then `finish`. Raises OSError."""

    def __init__(self, folder: Path, name: str, key: str, rows: int) -> None:
        """Begin under a name of its own: two processes may write the same column."""
        self.name = name
        self._folder = folder
        self._identity = identity_of(key, rows, name)
        handle, path = tempfile.mkstemp(".tmp", f".{name}.", folder)
        self.path = Path(path)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._size = 0
        self._room = rows * VALUE_BYTES[name]
        self._blocks: list[tuple[int, ...]] = []

    def append(self, values: npt.NDArray[Any] | pa.StringArray, source: int) -> None:
        """Add a batch's column; `source` is the checksum of the log's bytes it was decoded from."""
        rows = len(values)
        parts: Sequence[npt.NDArray[Any]] = ()
        nulls = value = 0
        if isinstance(values, pa.Array):
            nulls = values.null_count
            if nulls < rows:
                parts = _text_buffers(values)
        elif values[0] == values[-1] and bool((values == values[0]).all()):
            value = int(values[0]) & (2**64 - 1)
        else:
            parts = (np.ascontiguousarray(values),)
        if not parts:
            self._blocks.append((rows, self._size, 0, nulls, value, 0, source))
            return
        if not self._size:
            # Asking for the room at once makes writing three times as fast; `finish` gives the rest back.
            os.posix_fallocate(self._file.fileno(), 0, self._room)
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._blocks.append(
            (rows, self._size, joined.nbytes, nulls, 0, digests([piece_of(joined)])[0], source)
        )
        self._write(joined.data.cast("B"))
        self._write(bytes(-self._size % _ALIGN))

    def finish(self) -> None:
        """Write the list of blocks and give the file its name."""
        blocks = np.array(self._blocks, BLOCK).tobytes()
        end = blocks + self._identity
        size = self._size + len(end) + _TRAILER.size
        digest = _end_digest(end, len(blocks), size)
        self._write(end + _TRAILER.pack(len(blocks), len(self._identity), size, digest, _MAGIC))
        self._file.truncate(size)
        self._file.close()
        self.path.replace(self._folder / (self.name + SUFFIX))

    def abandon(self) -> None:
        """Remove what there is."""
        self._file.close()
        with suppress(OSError):  # somebody has cleared the cache
            self.path.unlink(missing_ok=True)

    def _write(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        while view:  # without a buffer a write may take a part only
            written = self._file.write(view)
            view = view[written:]
            self._size += written or 0


def _text_buffers(values: pa.StringArray) -> list[npt.NDArray[np.uint8]]:
    """An Arrow text column's buffers, each padded to 8 bytes, the same for a slice as for a whole one."""
    lengths, content = text_parts(values)
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    buffers: list[npt.NDArray[np.uint8]] = []
    if values.null_count:
        buffers.append(np.packbits(lengths >= 0, bitorder="little"))
    buffers += [offsets.view(np.uint8), np.frombuffer(content, np.uint8)]
    padded = []
    for buffer in buffers:
        padded.append(buffer)
        padded.append(np.zeros(-len(buffer) % 8, np.uint8))
    return padded


def remove_forgotten(folder: Path, begun: ColumnWriter) -> None:
    """Remove files that were begun a day before `begun` was and never finished: their process was killed."""
    now = begun.path.stat().st_mtime_ns
    for file in folder.glob(".*.tmp"):
        if file.stat().st_mtime_ns < now - _DAY_NS:
            file.unlink(missing_ok=True)
