"""Rows of several files into one order: each file sorted if it must be, then merged, then messages made.

    file   blocks in the file's order ──► sorted_blocks (only when the file is out of order: runs on disk)
           ──► book_messages (lines of a book file that stand together become one message)
    all    ──► merged (by ts, then by the order of the files) ──► strictly_increasing

Every step takes and yields blocks, and holds a few of them: memory does not grow with the files. Sorting is
stable, so lines of one time keep their order. Whatever comes later may rely on all rows of a message
having one `ts`, in one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.ingest.tabular_blocks import Block, concatenated
from engine.model.errors import InputError
from engine.model.kinds import Flag
from engine.model.rows import ROW, ROW_BYTES
from engine.model.units import format_time

_LAST = int(Flag.LAST)
_SNAPSHOT = int(Flag.SNAPSHOT)
_CLEAR = int(Flag.CLEAR)
_SPILL = pa.schema([("row", pa.binary(ROW_BYTES)), ("data", pa.string())])
_SPILL_ROWS = 32_768

Blocks = Callable[[], Iterator[Block]]


def sorted_blocks(blocks: Iterable[Block], folder: Path) -> Iterator[Block]:
    """The same rows in order of `ts`, stable. Sorted runs are kept in `folder` until they are merged."""
    runs: list[tuple[int, Blocks]] = []
    writer: pa.RecordBatchFileWriter | None = None
    last_ts = 0
    for block in blocks:
        if not len(block):
            continue
        ordered = block.take(np.argsort(block.ts, kind="stable"))
        if writer is None or int(ordered.ts[0]) < last_ts:
            if writer is not None:
                writer.close()
            path = folder / f"run-{len(runs):05d}"
            runs.append((int(ordered.ts[0]), _spilled(path)))
            writer = pa.ipc.new_file(path, _SPILL)
        last_ts = int(ordered.ts[-1])
        for start in range(0, len(ordered), _SPILL_ROWS):
            _spill(writer, ordered.take(slice(start, start + _SPILL_ROWS)))
    if writer is not None:
        writer.close()
    yield from merged(runs)


def _spill(writer: pa.RecordBatchFileWriter, block: Block) -> None:
    n = len(block)
    rows = pa.Array.from_buffers(pa.binary(ROW_BYTES), n, [None, pa.py_buffer(block.packed.tobytes())])
    data = pa.nulls(n, pa.string()) if block.data is None else block.data
    writer.write_batch(pa.record_batch([rows, data], schema=_SPILL))


def _spilled(path: Path) -> Blocks:
    def read() -> Iterator[Block]:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                record = reader.get_batch(number)
                rows = record.column(0)
                packed = np.frombuffer(rows.buffers()[1], dtype=ROW)[
                    rows.offset : rows.offset + len(rows)
                ].copy()
                data = record.column(1)
                yield Block(packed, None if data.null_count == len(data) else data)

    return read


class _Head:
    """One stream of a merge: what of it is in hand. Opened only when its first time comes up."""

    def __init__(self, first_ts: int, blocks: Blocks) -> None:
        self.limit = first_ts  # nothing later in the stream is earlier than this
        self.block: Block | None = None
        self.done = False
        self._blocks = blocks
        self._iterator: Iterator[Block] | None = None

    @property
    def opened(self) -> bool:
        return self._iterator is not None

    def refill(self) -> None:
        """Take the stream's next block; `done` when there is none."""
        if self._iterator is None:
            self._iterator = self._blocks()
        for block in self._iterator:
            if len(block):
                self.block, self.limit = block, int(block.ts[-1])
                return
        self.block, self.done = None, True

    def cut(self, limit: int, *, inclusive: bool) -> Block | None:
        """Remove and return what is earlier than `limit` (or at it)."""
        if self.block is None:
            return None
        count = int(np.searchsorted(self.block.ts, limit, side="right" if inclusive else "left"))
        if not count:
            return None
        taken, rest = self.block.take(slice(0, count)), self.block.take(slice(count, None))
        self.block = rest if len(rest) else None
        return taken


def merged(streams: list[tuple[int, Blocks]]) -> Iterator[Block]:
    """Several streams, each in order of `ts`, as one in order of (ts, position in the list).

    Each stream comes with a time that none of its rows is before, so that it is opened when that is
    reached and not earlier.
    """
    heads = [_Head(first_ts, blocks) for first_ts, blocks in streams]
    while heads:
        index = min(range(len(heads)), key=lambda i: (heads[i].limit, i))
        head = heads[index]
        if head.block is None:
            head.refill()
            if head.done:
                heads.pop(index)
            continue
        # Up to the end of this block everything is in hand: of the streams before it also what is at that
        # very time, of those after it only what is earlier, since more at that time may follow here.
        parts = [h.cut(head.limit, inclusive=i <= index) for i, h in enumerate(heads)]
        taken = [part for part in parts if part is not None]
        block = concatenated(taken)
        if len(taken) > 1:
            block = block.take(np.argsort(block.ts, kind="stable"))
        yield block


def book_messages(
    blocks: Iterable[Block], *, marked: bool, name: str, cleared: bool = False
) -> Iterator[Block]:
    """Make messages of a book file's rows, which come in order; a block then holds whole messages.

    `marked`: rows carry LAST already, and a message is what stands up to it; InputError, naming the file
    `name`, when its rows have several times. Otherwise consecutive rows of one time, update id, instrument
    and nature (snapshot or not) are one. The first row of a snapshot clears the book, unless rows say
    that themselves (`cleared`).
    """
    held: Block | None = None
    for block in blocks:
        if not len(block):
            continue
        held = block if held is None else concatenated([held, block])
        ends = _message_ends(held, marked=marked)
        if len(ends) and not marked:
            ends = ends[:-1]  # the last message may go on in the next block
        if not len(ends):
            continue
        whole = int(ends[-1]) + 1
        if marked:
            _check_times(held, name)
        yield _with_flags(held.take(slice(0, whole)), ends, cleared=cleared)
        held = held.take(slice(whole, None))
    if held is not None and len(held):
        ends = _message_ends(held, marked=marked)
        if not len(ends) or int(ends[-1]) != len(held) - 1:
            ends = np.append(ends, len(held) - 1)
        yield _with_flags(held, ends, cleared=cleared)


def _check_times(block: Block, name: str) -> None:
    inside = (block.packed["flags"][:-1] & _LAST) == 0
    torn = inside & (block.ts[1:] != block.ts[:-1])
    if torn.any():
        index = int(torn.argmax())
        raise InputError(
            f"{name}: a message that its last column does not end at {format_time(int(block.ts[index]))} "
            f"goes on at {format_time(int(block.ts[index + 1]))}",
            hint="the rows of one message have one time; leave the column out with --column last=-",
        )


def _message_ends(block: Block, *, marked: bool) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Positions of the last rows of the messages in a block that begins with a message."""
    rows = block.packed
    if marked:
        return np.flatnonzero(rows["flags"] & _LAST)
    changed = np.zeros(len(rows), dtype=bool)
    changed[-1] = True
    for name in ("ts", "id", "instrument"):
        changed[:-1] |= rows[name][1:] != rows[name][:-1]
    snapshot = rows["flags"] & _SNAPSHOT
    changed[:-1] |= snapshot[1:] != snapshot[:-1]
    return np.flatnonzero(changed)


def _with_flags(block: Block, ends: np.ndarray[tuple[int], np.dtype[np.intp]], *, cleared: bool) -> Block:
    rows = block.packed.copy()
    rows["flags"][ends] |= _LAST
    if cleared:
        return Block(rows, block.data)
    starts = np.append(0, ends[:-1] + 1)
    clearing = starts[(rows["flags"][starts] & _SNAPSHOT) != 0]
    rows["flags"][clearing] |= _CLEAR
    return Block(rows, block.data)


class StrictTimes:
    """Gives messages strictly increasing times: one that would not be later takes the one before + 1 ns."""

    def __init__(self) -> None:
        self.last_ts = 0
        self.moved = 0  # messages whose time was changed

    def apply(self, block: Block) -> Block:
        """The block with final times, in place of the order it came in (non-decreasing)."""
        rows = block.packed
        last = (rows["flags"] & _LAST) != 0
        message = np.zeros(len(rows), dtype=np.int64)
        message[1:] = np.cumsum(last[:-1])
        starts = np.flatnonzero(np.append(True, last[:-1]))
        given = rows["ts"][starts]
        steps = np.arange(len(starts), dtype=np.int64)
        raised = np.maximum(given - steps, self.last_ts + 1)
        times = np.maximum.accumulate(raised) + steps
        moved = int((times != given).sum())
        if moved:
            rows = rows.copy()
            rows["ts"] = times[message]
            self.moved += moved
            block = Block(rows, block.data)
        self.last_ts = int(times[-1])
        return block
