"""A file of answers: Arrow IPC, rows sorted by key, mapped and never loaded.

A look-up touches the keys that a binary search passes and then the one row it found: that row's checksum is
computed, its JSON decoded, and nothing else is. Keys and texts are read from the mapped buffers directly,
because an Arrow scalar costs more than the search.

The columns after `crc32` repeat what `data` says, for polars and DuckDB; the engine never reads them but to
verify. A file is written under a temporary name, synced, then renamed: it is whole or not there. Its name
comes from its content, so the same answers written twice are one file.
"""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.answers.stored import StoredAnswer, data_from, data_text
from engine.model.errors import EngineError, InputError
from engine.model.units import format_time

STORE_VERSION = 1
HEADER_KEY = b"engine.answers"
_NOTE_KEY = b"engine.rows"
SUFFIX = ".arrow"
KEY_BYTES = 32
BATCH_ROWS = 16_384
BATCH_BYTES = 64 << 20  # or fewer rows, where they are long

SCHEMA = pa.schema(
    [
        pa.field("key", pa.binary(KEY_BYTES), nullable=False),
        pa.field("data", pa.large_string(), nullable=False),
        pa.field("wire", pa.large_binary(), nullable=False),
        pa.field("recorded", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("crc32", pa.uint32(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("sample", pa.int64(), nullable=False),
    ]
)
_ADVICE = (
    "move it out of the folder and take a copy of it, or import again the logs that its answers came from "
    "(engine answers import LOG); engine answers verify checks every file"
)


class _Header(msgspec.Struct, frozen=True):
    """What a file says of itself, in its schema's metadata."""

    version: int


class _Note(msgspec.Struct, frozen=True):
    """What a batch says of itself, in its metadata: so that none of them, and no row, goes missing unseen."""

    first: int  # number of its first row in the file
    rows: int
    last: bool


class _Part(NamedTuple):
    """One batch of a file, as its mapped buffers."""

    rows: int
    keys: memoryview
    table: npt.NDArray[np.bytes_]  # the keys again, as NumPy searches them: all 32 bytes wide, none is cut
    data_ends: memoryview
    data: memoryview
    wire_ends: memoryview
    wire: memoryview
    recorded: memoryview
    sums: memoryview

    def key(self, row: int) -> bytes:
        return bytes(self.keys[row * KEY_BYTES : (row + 1) * KEY_BYTES])


class AnswerFile:
    """One file, mapped. `rows` is how many answers it has."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises InputError for what is no file of answers, a damaged one or one of a newer form."""
        self.path = path
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
            _check_header(self._file.schema, path)
            self._starts: list[int] = []
            self._parts: list[_Part] = []
            self.rows = 0
            self._read_parts()
        except (pa.ArrowException, msgspec.MsgspecError, OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path}: damaged, or no file of answers: {reason}", hint=_ADVICE) from None
        self._last_keys = [part.key(part.rows - 1) for part in self._parts]

    def _read_parts(self) -> None:
        """The batches, as many and as long as they say. Raises ValueError and what Arrow raises."""
        count: int = self._file.num_record_batches
        for number in range(count):
            batch, metadata = self._file.get_batch_with_custom_metadata(number)
            note = msgspec.json.decode((metadata or {}).get(_NOTE_KEY, b"null"), type=_Note | None)
            if note != _Note(self.rows, batch.num_rows, number == count - 1) or not batch.num_rows:
                raise ValueError(f"batch {number} is not the one that was written there")
            self._starts.append(self.rows)
            self._parts.append(_part_of(batch))
            self.rows += batch.num_rows
        if not count:
            raise ValueError("its rows are missing")

    def __len__(self) -> int:
        return self.rows

    def find(self, key: bytes) -> Iterator[int]:
        """Rows that have this key, in order."""
        number = bisect_left(self._last_keys, key)
        while number < len(self._parts):
            part = self._parts[number]
            row = int(part.table.searchsorted(key))
            while row < part.rows and part.key(row) == key:
                yield self._starts[number] + row
                row += 1
            if row < part.rows:
                return
            number += 1

    def first_from(self, key: bytes) -> int:
        """The first row whose key is not below `key`; `rows` when there is none."""
        number = bisect_left(self._last_keys, key)
        if number == len(self._parts):
            return self.rows
        part = self._parts[number]
        return self._starts[number] + int(part.table.searchsorted(key))

    def key(self, row: int) -> bytes:
        """A row's key, 32 bytes."""
        part, row = self._place(row)
        return part.key(row)

    def keys(self) -> Iterator[bytes]:
        """All keys, in the order of the rows."""
        for part in self._parts:
            for row in range(part.rows):
                yield part.key(row)

    def heads(self) -> npt.NDArray[np.uint64]:
        """The first eight bytes of every key, as numbers that sort as the keys do."""
        heads = [np.frombuffer(part.keys, ">u8").reshape(-1, 4)[:, 0] for part in self._parts]
        return np.concatenate(heads).astype(np.uint64) if heads else np.empty(0, np.uint64)

    def answer(self, row: int) -> StoredAnswer:
        """A row, decoded. Raises InputError when its bytes are not those that were written."""
        part, place = self._place(row)
        data = part.data[part.data_ends[place] : part.data_ends[place + 1]]
        wire = bytes(part.wire[part.wire_ends[place] : part.wire_ends[place + 1]])
        recorded = part.recorded[place]
        key = part.key(place)
        if _sum_of(key, data, wire, recorded) != part.sums[place]:
            raise InputError(f"{self.path}: row {row}: damaged: its checksum does not hold", hint=_ADVICE)
        try:
            answer = StoredAnswer(data_from(data), wire, recorded)
        except msgspec.DecodeError as error:
            raise InputError(f"{self.path}: row {row}: data: {error}", hint=_ADVICE) from None
        if answer.data.key != key.hex():
            raise InputError(f"{self.path}: row {row}: its key is not that of its data", hint=_ADVICE)
        return answer

    def taken(self, rows: list[int]) -> pa.Table:
        """These rows, ascending, as they stand in the file."""
        tables = []
        for number, start in enumerate(self._starts):
            stop = start + self._parts[number].rows
            mine = rows[bisect_left(rows, start) : bisect_left(rows, stop)]
            if mine:
                batch = self._file.get_batch(number)
                tables.append(pa.Table.from_batches([batch.take(_places(mine, start))]))
        return pa.concat_tables(tables)

    def labels(self) -> Iterator[tuple[str, str, int, int]]:
        """model, prompt, version and sample of every row, as the plain columns have them."""
        try:
            for number in range(self._file.num_record_batches):
                batch = self._file.get_batch(number)
                batch.validate(full=True)  # or Arrow might read behind a buffer's end
                columns = [
                    batch.column(name).to_pylist() for name in ("model", "prompt", "version", "sample")
                ]
                yield from zip(*columns, strict=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"{self.path}: damaged: {error}", hint=_ADVICE) from None

    def _place(self, row: int) -> tuple[_Part, int]:
        number = bisect_right(self._starts, row) - 1
        return self._parts[number], row - self._starts[number]


def _places(rows: list[int], start: int) -> pa.Array:
    """Rows of a batch, of rows of the file; pa.array() imports pandas, if there is one, for 0.2 seconds."""
    places = np.asarray(rows, np.int64) - start
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)])


def is_answer_file(path: Path) -> bool:
    """Whether a file begins as a file of answers does, whole or not."""
    try:
        with path.open("rb") as file:
            return HEADER_KEY in file.read(8192)
    except OSError:
        return False


def write_answers(folder: Path, answers: Iterable[StoredAnswer], *, name: str = "") -> Path | None:
    """Write answers, which come sorted by key, to a new file of the folder; None when there are none.

    The file's name is `name`, or made of the first record's day and of the content. Raises EngineError when
    the disk does not take it; then nothing is left behind.
    """
    rows = iter(answers)
    return write_batches(folder, iter(lambda: _next_batch(rows), None), name=name)


def write_batches(folder: Path, batches: Iterator[pa.RecordBatch], *, name: str = "") -> Path | None:
    """As `write_answers`, from rows that are in the schema's form already, sorted by key."""
    batch = next(batches, None)
    if batch is None:
        return None
    header = msgspec.json.encode(_Header(STORE_VERSION))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary_name = tempfile.mkstemp(".tmp", ".answers.", folder)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    temporary = Path(temporary_name)
    try:
        digest = blake2b(digest_size=8)
        firsts = []
        written = 0
        with os.fdopen(handle, "wb") as file:
            with pa.ipc.new_file(file, SCHEMA.with_metadata({HEADER_KEY: header})) as writer:
                while batch is not None:
                    digest.update(batch.column("key").buffers()[1])
                    digest.update(batch.column("crc32").buffers()[1])
                    firsts.append(int(np.frombuffer(batch.column("recorded").buffers()[1], np.int64).min()))
                    following = next(batches, None)
                    note = _Note(written, batch.num_rows, following is None)
                    writer.write_batch(batch, custom_metadata={_NOTE_KEY: msgspec.json.encode(note)})
                    written += batch.num_rows
                    batch = following
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        path = folder / (name or f"{format_time(min(firsts))[:10]}-{digest.hexdigest()}{SUFFIX}")
        temporary.replace(path)
        sync_folder(folder)
    except OSError as error:
        raise _cannot_write(folder, error) from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return path


def _cannot_write(folder: Path, error: OSError) -> EngineError:
    return EngineError(
        f"{folder}: answers cannot be written: {error.strerror or error}",
        hint="free some space or choose another folder; what was there before is as it was",
    )


def _next_batch(answers: Iterator[StoredAnswer]) -> pa.RecordBatch | None:
    """The next rows as a batch; None at the end."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    size = 0
    for answer in islice(answers, BATCH_ROWS):
        request = answer.request
        data = data_text(answer.data)
        key = bytes.fromhex(answer.key)
        row = (
            key,
            data,
            answer.wire,
            answer.recorded,
            _sum_of(key, data, answer.wire, answer.recorded),
            request.model,
            request.prompt,
            request.version,
            request.sample,
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
        size += len(data) + len(answer.wire)
        if size >= BATCH_BYTES:
            break
    if not columns["key"]:
        return None
    arrays = [pa.array(columns[field.name], _plain_type(field)).cast(field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _plain_type(field: pa.Field) -> pa.DataType:
    """What a column's Python values are made into first: bytes of JSON and ns since 1970 as they are."""
    plain = {"data": pa.large_binary(), "recorded": pa.int64()}
    return plain.get(field.name, field.type)


def _sum_of(key: bytes, data: bytes | memoryview, wire: bytes, recorded: int) -> int:
    return crc32(b"%d,%d" % (recorded, len(data)), crc32(wire, crc32(data, crc32(key))))


def _check_header(schema: pa.Schema, path: Path) -> None:
    text = (schema.metadata or {}).get(HEADER_KEY)
    if text is None:
        raise InputError(
            f"{path}: not a file of answers (its metadata has no {HEADER_KEY.decode()})",
            hint="move it out of the folder; logs are added with: engine answers import LOG",
        )
    header = msgspec.json.decode(text, type=_Header)
    if header.version > STORE_VERSION:
        raise InputError(
            f"{path}: written in form {header.version}, this engine reads up to {STORE_VERSION}",
            hint="use the engine that wrote it, or a newer one",
        )
    if not schema.equals(SCHEMA, check_metadata=False):
        raise ValueError("its columns are not those of a file of answers")


def _part_of(batch: pa.RecordBatch) -> _Part:
    """A batch's buffers, each as long as its rows need it. Raises ValueError."""
    rows = batch.num_rows
    buffers = {name: batch.column(name).buffers() for name in ("key", "data", "wire", "recorded", "crc32")}
    keys = _view(buffers["key"][1], rows * KEY_BYTES, "B")
    return _Part(
        rows,
        keys,
        np.frombuffer(keys, f"S{KEY_BYTES}"),
        _view(buffers["data"][1], (rows + 1) * 8, "q"),
        memoryview(buffers["data"][2]),
        _view(buffers["wire"][1], (rows + 1) * 8, "q"),
        memoryview(buffers["wire"][2] or b""),
        _view(buffers["recorded"][1], rows * 8, "q"),
        _view(buffers["crc32"][1], rows * 4, "I"),
    )


def _view(buffer: pa.Buffer, size: int, form: Literal["B", "q", "I"]) -> memoryview[int]:
    view = memoryview(buffer)
    if len(view) < size:
        raise ValueError("a column is shorter than its rows")
    return view[:size].cast(form)


def sync_folder(folder: Path) -> None:
    """Let the disk have the folder's names."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
