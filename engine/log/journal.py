"""The journal: what a run decided, in order, and the hash of it.

A record is a command, a refusal, a report about an order, or a charge. Its hash covers what makes two runs
the same: number, loop time, instrument key, kind, side, price, size, decimals, time in force, terms, reason,
fee and the asset it is charged in. It leaves out where the input stood (file and seq), what a run is called,
and the strategy's own log lines, all of which the file keeps beside it.

The file is an Arrow IPC stream of its own, made as the log is: batches are appended, each with the
checksums that a log's messages carry (engine.log.framing) and in one write, and one that was never finished
is read up to its last whole batch. Bytes that are not what was written are an error with their place.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.log import framing
from engine.log.framing import CHECKSUM_EMPTY, CHECKSUM_KEY, Damage, sign_message
from engine.model.errors import DamagedLog, EngineError, InputError
from engine.model.kinds import encode_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What the hash runs over: the journal's own fields without those that depend on how the run was fed.
HASHED = np.dtype(
    [(name, "<i8") for name in ("number", "ts", "order", "price", "size", "fee")]
    + [("instrument", "<i4"), ("reason", "<u2")]
    + [(name, "u1") for name in ("kind", "order_kind", "tif", "options", "price_decimals", "size_decimals")]
    + [("side", "i1"), ("maker", "u1"), ("fee_asset", "u1"), ("pad", "u1")]
)
_SAME = tuple(name for name in HASHED.names or () if name not in ("instrument", "pad"))

JOURNAL_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("kind", pa.uint8(), nullable=False),
        pa.field("instrument", pa.string(), nullable=False),
        pa.field("order", pa.int64(), nullable=False),
        pa.field("side", pa.int8(), nullable=False),
        pa.field("price", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("price_decimals", pa.uint8(), nullable=False),
        pa.field("size_decimals", pa.uint8(), nullable=False),
        pa.field("fee", pa.int64(), nullable=False),
        pa.field("order_kind", pa.uint8(), nullable=False),
        pa.field("tif", pa.uint8(), nullable=False),
        pa.field("options", pa.uint8(), nullable=False),
        pa.field("reason", pa.uint16(), nullable=False),
        pa.field("maker", pa.uint8(), nullable=False),
        pa.field(
            "fee_asset", pa.uint8(), nullable=False
        ),  # 0 the quote currency, 1 the base asset, 2 another
        pa.field("file", pa.int32(), nullable=False),
        pa.field("cause_seq", pa.int64(), nullable=False),
        pa.field("trigger", pa.uint8(), nullable=False),
        pa.field("trigger_id", pa.int64(), nullable=False),
        pa.field("terms", pa.string()),  # what an order was sent with that has no column, as JSON
        pa.field("text", pa.string()),  # a refusal's words, or the strategy's own line (kind 0)
    ]
)
_COLUMNS = tuple((field.name, field.type) for field in JOURNAL_SCHEMA)
_SCHEMA_BYTES = len(JOURNAL_SCHEMA.serialize())
_UNSIGNED = {CHECKSUM_KEY: CHECKSUM_EMPTY}
_LINES_KEPT = 4096
_ROWS_COPIED = 65_536
HASH_FIELDS = (*_SAME, "instrument", "terms")
_TERMS = ("stop", "trail", "expires", "parent", "group")
STRATEGY_LINE = 0
_TEMPLATE_ROWS, _TEMPLATES_KEPT = 8, 256
_INTEGERS = tuple(f.name for f in JOURNAL_SCHEMA if f.name not in ("instrument", "terms", "text"))
_NUMPY = {f.name: f.type.to_pandas_dtype() for f in JOURNAL_SCHEMA if f.name in _INTEGERS}


class JournalHash:
    """The running hash; independent of how records are handed over."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=32)
        self._ordinals: dict[str, int] = {}

    def update(
        self, records: npt.NDArray[np.void], keys: Sequence[str], terms: dict[int, str] | None = None
    ) -> None:
        """Take records whose `instrument` is an index into `keys`; `terms` are texts by decision number."""
        if not len(records):
            return
        packed = np.zeros(len(records), dtype=HASHED)
        for name in _SAME:
            packed[name] = records[name]
        # Texts stand between records, wherever the records were cut: terms behind theirs, then instruments
        # before theirs. Sorting keeps that order of two that stand at one place.
        base = int(records[0]["number"])
        texts = [
            (number - base + 1, b"terms\0" + text.encode() + b"\0") for number, text in (terms or {}).items()
        ]
        texts += self._define(records["instrument"], packed, keys)
        start = 0
        for stop, text in sorted(texts, key=lambda entry: entry[0]):
            self._hash.update(packed[start:stop].data)
            self._hash.update(text)
            start = stop
        self._hash.update(packed[start:].data)

    def _define(
        self, numbers: npt.NDArray[np.int32], packed: npt.NDArray[np.void], keys: Sequence[str]
    ) -> list[tuple[int, bytes]]:
        """Fill in the instruments; what is hashed before the first record of each that is new, by place."""
        ordinal_of = np.array([self._ordinals.get(key, -1) for key in keys], dtype=np.int32)
        unknown = np.flatnonzero(ordinal_of[numbers] < 0)
        texts = []
        if len(unknown):
            _, first = np.unique(numbers[unknown], return_index=True)
            for place in np.sort(unknown[first]).tolist():
                index = int(numbers[place])
                ordinal_of[index] = self._ordinals.setdefault(keys[index], len(self._ordinals))
                texts.append((place, b"instrument\0" + keys[index].encode() + b"\0"))
        packed["instrument"] = ordinal_of[numbers]
        return texts

    def head(self) -> str:
        """The hash of everything taken so far, 64 hex digits."""
        return self._hash.hexdigest()


class Journal:
    """Takes records as the loop decides; writes them when it has a file, hashes them always."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.hash = JournalHash()
        self.records = 0
        self.rows = 0  # of the file: records, and lines that have been written
        self._lines: list[dict[str, Any]] = []
        self._templates: dict[bytes, _Template] = {}
        self._texts: dict[int, str] = {}
        self._file = -1
        self._failure: EngineError | None = None
        if path is not None:
            try:
                self._file = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644
                )
            except OSError as error:
                raise EngineError(f"{path}: cannot be created: {error.strerror}") from None
            self._sink = BytesIO()
            self._stream = pa.ipc.new_stream(self._sink, JOURNAL_SCHEMA)
            self._skip = _SCHEMA_BYTES  # which Arrow writes in front of the first batch; ours is signed
            start = bytearray(JOURNAL_SCHEMA.with_metadata(_UNSIGNED).serialize().to_pybytes())
            sign_message(start)
            self._write(start)

    def explain(self, number: int, text: str) -> None:
        """Words for the decision `number`, kept beside it, outside the hash."""
        self._texts[number] = text

    def line(self, ts: int, file: int, cause_seq: int, text: str) -> None:
        """A strategy's own log line, outside the hash."""
        if self._file >= 0:
            self._lines.append({"ts": ts, "file": file, "cause_seq": cause_seq, "text": text})
            if len(self._lines) >= _LINES_KEPT:
                self._write_lines()

    def flush(self) -> None:
        """Write the lines that wait: with records, lines are written before them, else only in thousands."""
        self._write_lines()

    def mark(self, take: Callable[[int, int, str], None]) -> None:
        """Call `take` with the file's rows, the decisions and their hash, as of what was taken so far."""
        self._write_lines()
        take(self.rows, self.records, self.hash.head())

    def begin_with(self, table: pa.Table) -> None:
        """Take what another journal begins with, as `read_journal` gave it, before anything else."""
        decisions = table.filter(pc.not_equal(table["kind"], STRATEGY_LINE))
        self.hash.update(*_hashed(decisions))
        self.records += decisions.num_rows
        self.rows += table.num_rows
        if self._file >= 0:
            for batch in table.combine_chunks().to_batches(max_chunksize=_ROWS_COPIED):
                self._write_batch(batch)

    def append(
        self,
        records: npt.NDArray[np.void],
        keys: Sequence[str],
        terms: npt.NDArray[np.void] | None = None,
        said: dict[int, str] | None = None,
    ) -> None:
        """Take decided records, in order. `instrument` is an index into `keys`.

        `terms` are the TERMS records that belong to some of them, `said` terms of others that are texts
        already, by decision number.
        """
        if not len(records):
            return
        self._write_lines()
        texts = terms_texts(terms) if terms is not None and len(terms) else {}
        for number, text in (said or {}).items():
            texts[number] = text if number not in texts else _both(texts[number], text)
        self.hash.update(records, keys, texts)
        self.records += len(records)
        if self._file < 0:
            return
        self.rows += len(records)
        if len(records) > _TEMPLATE_ROWS or self._texts or texts:
            self._write_batch(self.record_batch(records, keys, texts))
            return
        # A live session decides one thing or two at a turn, thousands of times: batches of the same rows
        # and instruments differ only in numbers, which are put into a message that Arrow once made.
        shape = records["instrument"].tobytes()
        template = self._templates.get(shape)
        if template is None:
            message = self._encode(self.record_batch(records, keys))
            if len(self._templates) < _TEMPLATES_KEPT:
                self._templates[shape] = _Template(message, len(records))
        else:
            message = template.fill(records)
        sign_message(message)
        self._write(message)

    def record_batch(
        self, records: npt.NDArray[np.void], keys: Sequence[str], terms: dict[int, str] | None = None
    ) -> pa.RecordBatch:
        """The records as the file's columns; `terms` are texts by decision number."""
        count = len(records)
        columns: list[pa.Array] = []
        # From buffers: a live session writes a batch of one or two records at every turn, and
        # pa.array() would look at each column's type again and again.
        for name, kind in _COLUMNS:
            if name == "instrument":
                columns.append(_named(keys, records["instrument"]))
            elif name == "terms":
                columns.append(_sparse_strings(records, terms or {}))
            elif name == "text":
                columns.append(_sparse_strings(records, self._texts))
                for number in records["number"].tolist() if self._texts else ():
                    self._texts.pop(number, None)
            else:
                values = np.ascontiguousarray(records[name])
                columns.append(pa.Array.from_buffers(kind, count, [None, pa.py_buffer(values)], 0))
        return pa.RecordBatch.from_arrays(columns, schema=JOURNAL_SCHEMA)

    def _write_lines(self) -> None:
        if not self._lines:
            return
        n = len(self._lines)
        self.rows += n
        columns = []
        for field in JOURNAL_SCHEMA:
            if field.name == "text":
                columns.append(_strings([line["text"] for line in self._lines]))
            elif field.name == "terms":
                columns.append(pa.nulls(n, pa.string()))
            elif field.name == "instrument":
                columns.append(_strings([""] * n))
            else:
                values = np.array([line.get(field.name, 0) for line in self._lines], _NUMPY[field.name])
                columns.append(pa.Array.from_buffers(field.type, n, [None, pa.py_buffer(values)], 0))
        self._lines.clear()
        self._write_batch(pa.RecordBatch.from_arrays(columns, schema=JOURNAL_SCHEMA))

    def _write_batch(self, record: pa.RecordBatch) -> None:
        message = self._encode(record)
        sign_message(message)
        self._write(message)

    def _encode(self, record: pa.RecordBatch) -> bytearray:
        """The batch as Arrow writes it, not signed yet."""
        sink = self._sink
        sink.seek(0)
        sink.truncate()
        self._stream.write_batch(record, custom_metadata=_UNSIGNED)
        message = bytearray(sink.getbuffer()[self._skip :])
        self._skip = 0
        return message

    def _write(self, content: bytes | bytearray) -> None:
        if self._failure is not None:
            raise self._failure  # nothing may stand behind a torn batch: no reader would find it
        view = memoryview(content)
        try:
            while view.nbytes:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self._failure = EngineError(
                f"{self.path}: the journal cannot be written: {error.strerror}",
                hint="the decisions before are in it; make room and run it again",
            )
            raise self._failure from None

    def close(self) -> str:
        """Write what is left, end the stream, and return the hash; after a failed write, only close."""
        if self._file >= 0:
            try:
                if self._failure is None:
                    self._write_lines()
                    self._write(framing.END_OF_STREAM)
                    os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = -1
        return self.hash.head()


def terms_texts(terms: npt.NDArray[np.void]) -> dict[int, str]:
    """TERMS records as canonical JSON, by decision number: what is not zero of them."""
    return {
        int(entry["decision"]): encode_canonical(
            {name: int(entry[name]) for name in _TERMS if entry[name]}
        ).decode()
        for entry in terms
    }


def _both(one: str, other: str) -> str:
    """Terms of one decision from two places."""
    return encode_canonical({**msgspec.json.decode(one), **msgspec.json.decode(other)}).decode()


def _sparse_strings(records: npt.NDArray[np.void], texts: dict[int, str]) -> pa.Array:
    """A column with the texts of some decisions."""
    if not texts:
        return pa.nulls(len(records), pa.string())
    return _strings([texts.get(n) for n in records["number"].tolist()])


def _strings(texts: Sequence[str | None]) -> pa.Array:
    """A column of texts, out of buffers: pa.array() imports pandas, if there is one, for 0.2 seconds."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    there = np.array([text is not None for text in texts], np.bool_)
    mask = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    buffers = [mask, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _named(keys: Sequence[str], numbers: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """A column of keys by their numbers; of many, without an object for each."""
    first = int(numbers[0])
    if len(numbers) <= _TEMPLATE_ROWS or not (numbers == first).all():
        return _strings([keys[i] for i in numbers.tolist()])
    name, count = keys[first].encode(), len(numbers)
    offsets = np.arange(0, (count + 1) * len(name), len(name), dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(name * count)]
    return pa.Array.from_buffers(pa.string(), count, buffers)


class _Template:
    """A message of a number of records, and where in it each column's numbers stand."""

    def __init__(self, message: bytearray, count: int) -> None:
        self._message = bytes(message)
        content = pa.py_buffer(self._message)
        batch = pa.ipc.read_record_batch(content, JOURNAL_SCHEMA)
        self._places: list[tuple[str, int, int]] = []
        for name in _INTEGERS:
            column = batch.column(name)
            start = column.buffers()[1].address - content.address
            self._places.append((name, start, start + count * column.type.bit_width // 8))

    def fill(self, records: npt.NDArray[np.void]) -> bytearray:
        """The message with these records' numbers in it, not signed yet."""
        message = bytearray(self._message)
        for name, start, stop in self._places:
            message[start:stop] = records[name].tobytes()
        return message


def read_journal(path: Path) -> pa.Table:
    """All whole batches of a journal; InputError when it is none, DamagedLog when its bytes have changed."""
    if not path.exists():
        raise InputError(f"{path}: no such journal", hint="name a run's folder, runs/<id>")
    if not path.stat().st_size:  # killed between its creation and its first write
        return pa.Table.from_batches([], schema=JOURNAL_SCHEMA)
    content = pa.memory_map(str(path)).read_buffer()
    try:
        with pa.ipc.open_stream(content) as reader:
            if not reader.schema.equals(JOURNAL_SCHEMA):
                raise InputError(f"{path}: these are not the columns of a journal")
            # Without checksums: rewritten by another program.
            signed = CHECKSUM_KEY in (reader.schema.metadata or {})
            batches = _signed_batches(path, content) if signed else _unsigned_batches(reader)
            return pa.Table.from_batches(batches, schema=JOURNAL_SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a journal: {error}") from None


def _signed_batches(path: Path, content: pa.Buffer) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = []
    source = memoryview(content)
    offset = 0
    try:
        while offset < len(source):
            message = framing.read_message(source, offset)
            if message is None:
                break
            try:
                framing.verify_body(source, message)
            except Damage:
                if message.end == len(source):
                    break  # the machine went down in the middle of it
                raise
            if message.kind == framing.BATCH_MESSAGE:
                part = content.slice(message.offset, message.end - message.offset)
                batches.append(pa.ipc.read_record_batch(part, JOURNAL_SCHEMA))
            offset = message.end
    except Damage as damage:
        if not damage.torn:  # torn: a run that was killed, its last batch is not whole
            good = sum(batch.num_rows for batch in batches)
            raise DamagedLog(
                f"{path}: damaged at byte {damage.offset}: {damage.reason}; "
                f"the {good} records before are good",
                hint="run it again: the same log gives the same decisions",
                offset=damage.offset,
            ) from None
    return batches


def _unsigned_batches(reader: pa.RecordBatchReader) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = []
    try:
        while True:
            batches.append(reader.read_next_batch())
    except (StopIteration, pa.ArrowInvalid, OSError):
        return batches  # the end, or a last batch that is not whole


def hash_of_table(table: pa.Table) -> str:
    """The journal hash of a journal that was read back."""
    result = JournalHash()
    result.update(*_hashed(table.filter(pc.not_equal(table["kind"], STRATEGY_LINE))))
    return result.head()


def _hashed(decisions: pa.Table) -> tuple[npt.NDArray[np.void], list[str], dict[int, str]]:
    """Decisions that were read back, as the hash takes them."""
    keys: list[str] = []
    numbers: dict[str, int] = {}
    indexes = np.zeros(decisions.num_rows, dtype=np.int32)
    for i, key in enumerate(decisions["instrument"].to_pylist()):
        if key not in numbers:
            numbers[key] = len(keys)
            keys.append(key)
        indexes[i] = numbers[key]
    records = np.zeros(decisions.num_rows, dtype=HASHED)
    for name in _SAME:
        records[name] = decisions[name].to_numpy()
    records["instrument"] = indexes
    texts = zip(decisions["number"].to_pylist(), decisions["terms"].to_pylist(), strict=True)
    return records, keys, {number: text for number, text in texts if text}


def canonical(value: object) -> bytes:
    """Canonical JSON with a newline, as run.json and summary.json are written."""
    return encode_canonical(value) + b"\n"
