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

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from engine.log import framing
from engine.log.ahead import Ahead, has_footer
from engine.log.decode import Decoder, chain_head_of, check_seq, first_seq_of
from engine.log.framing import Damage, Message
from engine.log.opening import map_file, open_header
from engine.log.schema import (
    COLUMNS,
    FIXED,
    Batch,
    Chain,
    LogHeader,
    batch_of_record,
    constants,
    joined,
)
from engine.model.errors import DamagedLog, InputError

if TYPE_CHECKING:
    from engine.log.cache import LogCache

JOIN_ROWS = 16_384  # small batches are handed out in groups of about this many rows
JOIN_BATCHES = 256


class LogReader:
    """One log file, sealed or not, from its first row on.

    header: what the file says of itself. sealed: whether it was closed by `seal`. tail: after `batches`
    has ended, what stands behind the last good batch of an unsealed file ("": nothing). next_seq: rows
    verified so far. good_bytes: where the last good message ends.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str] | None = None,
        *,
        blank: Sequence[str] = (),
        start: tuple[LogHeader, int] | None = None,
    ) -> None:
        """Open the file; `columns` None reads all.

        blank: columns that are to be there but that nobody will look at: they are not read, and hold
        zeros, `ts_venue` no time; texts are None, as is what stands in neither.
        start: of a file whose own header is lost, another one and where the first batch begins (all
        columns only); then the rows are all that is verified.
        Raises InputError when the file is no log, DamagedLog when it is one whose beginning is damaged.
        """
        self.path = path
        asked = COLUMNS if columns is None else tuple(columns)
        self.blank = tuple(name for name in FIXED if name in blank)
        self.columns = tuple(name for name in asked if name not in blank)
        self.cache: LogCache | None = None  # decoded columns, of a log that `open_log` opened
        unknown = [name for name in (*asked, *blank) if name not in COLUMNS]
        if unknown:
            raise InputError(f"a log has no column {unknown[0]}", hint=f"it has {', '.join(COLUMNS)}")
        self._file = map_file(path)
        self.source = memoryview(self._file)
        self.rescue = start is not None
        self.header, self._start = start or open_header(self.source, str(path))
        self.good_bytes = self._start
        self.sealed = bool(self.header.sealed_chain)
        self.size = len(self.source)
        self.tail = ""
        self.tail_damage: Damage | None = None
        self.next_seq = 0
        self._last: Message | None = None

    @property
    def chain_head(self) -> str:
        """The chain after the rows verified so far, as the file says it (`check` computes it)."""
        return Chain(self.header.previous_chain).head() if self._last is None else chain_head_of(self._last)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Batches handed out stay valid."""
        if self.cache is not None:
            self.cache.close()
            self.cache = None
        self.source = memoryview(b"")
        del self._file

    def batches(self, prefetch: int = 0, join_rows: int = JOIN_ROWS, first_seq: int = 0) -> Iterator[Batch]:
        """Every good batch, in order; may be called again, and starts at the same row each time.

        prefetch: how many batches are decoded ahead by threads (0: none). join_rows: small batches are
        joined up to about so many rows (0: as they stand in the file). first_seq: the first row that is
        wanted, which begins a message; of a sealed file nothing before its batch is decoded.
        Raises DamagedLog for a sealed file, after all good batches before the damage.
        """
        if prefetch and self.sealed and not self.rescue and has_footer(self.source):
            batches = self._decoded_ahead(prefetch, join_rows, first_seq)
        else:
            batches = _from_row(self._joined(join_rows), first_seq)
            if prefetch:
                batches = _ahead(batches, prefetch)
        return self._with_blanks(batches) if self.blank else batches

    def _with_blanks(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            for name in self.blank:
                setattr(batch, name, constants.blank(name, batch.count))
            yield batch

    def _decoded_ahead(self, count: int, join_rows: int, first_seq: int) -> Iterator[Batch]:
        """As `_joined`, of a sealed file, by several threads and from the cache where there is one."""
        waiting: list[Batch] = []
        rows = 0
        for batch in _from_row(self._decoded(count, first_seq), first_seq):
            waiting.append(batch)
            rows += batch.count
            if rows >= join_rows:
                yield joined(waiting)
                waiting, rows = [], 0
            elif len(waiting) == JOIN_BATCHES:
                waiting = [joined(waiting)]
        if waiting:
            yield joined(waiting)
        self._raise_damage()

    def _decoded(self, count: int, first_seq: int) -> Iterator[Batch]:
        self.tail, self.tail_damage = "", None
        offset, before = self._batch_of(first_seq) if first_seq else (self._start, 0)
        self.next_seq, self._last, self.good_bytes = 0, None, offset
        # What is not read from its first batch on cannot be added to the cache.
        kept = self.cache.begin(adding=not before) if self.cache is not None else None
        whole = False
        try:
            with Ahead(self.source, self.columns, count, kept) as ahead:
                for number, (message, future) in enumerate(ahead.messages(offset, before), before):
                    if number == before > 0:
                        self.next_seq = first_seq_of(message)
                    check_seq(message, self.next_seq)
                    made = future.result()
                    if kept is not None:
                        kept.take(number, made)
                    self.next_seq += made.batch.count
                    self._last, self.good_bytes = message, message.end
                    yield made.batch
                self._check_end(ahead.end)
            whole = True
        except Damage as damage:
            self._note(damage)
        finally:
            if kept is not None:
                kept.end(whole=whole)

    def _batch_of(self, seq: int) -> tuple[int, int]:
        """Where the batch that holds a row begins, and its number; the last one when the file ends before."""
        offset = found = self._start
        number = before = 0
        try:
            while (message := framing.read_message(self.source, offset)) is not None:
                if first_seq_of(message) > seq:
                    break
                found, before = offset, number
                offset, number = message.end, number + 1
        except Damage:
            pass  # whoever reads on from here comes to it
        return found, before

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
                yield batch_of_record(pa.concat_batches(waiting), first)
                waiting = []
            elif len(waiting) == JOIN_BATCHES:
                # A small batch takes a hundred times its rows' bytes: thousands must not wait as they are.
                waiting = [pa.concat_batches(waiting)]
        if waiting:
            yield batch_of_record(pa.concat_batches(waiting), first)
        self._raise_damage()

    def _raise_damage(self) -> None:
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
        self.tail, self.tail_damage = "", None
        decoder = Decoder(self.source, self.columns)
        try:
            for message in self.messages():
                record = decoder.decode(message, self.next_seq)
                seq = self.next_seq
                self.next_seq += record.num_rows
                yield record, seq
        except Damage as damage:
            self._note(damage)

    def _note(self, damage: Damage) -> None:
        self.tail_damage = damage
        lost = self.size - damage.offset
        self.tail = f"{lost} bytes from byte {damage.offset} on are not used: {damage.reason}"

    def messages(self) -> Iterator[Message]:
        """The file's batches as messages, their heads verified; raises Damage, for tools of this package.

        Whoever takes a message verifies its rows and adds them to `next_seq` before asking for the next
        one; asking says that this one was good.
        """
        source = self.source
        self.next_seq, self._last = 0, None
        offset = self.good_bytes = self._start
        while offset < self.size or self.sealed:
            if offset >= self.size:
                raise Damage(offset, "the file ends here, without its footer", torn=True)
            message = framing.read_message(source, offset)
            if message is None:
                self._check_end(offset)
                return
            yield message
            self._last = message
            offset = self.good_bytes = message.end

    def next_whole_batch(self, offset: int, limit: int | None = None) -> Message | None:
        """The first whole batch that begins at or behind `offset`, whatever stands between; or None."""
        limit = self.size if limit is None else min(limit, self.size)
        while (at := self._file.find(framing.CONTINUATION, offset, limit)) >= 0:
            offset = at + 1
            if at % 8:  # where no message begins
                continue
            try:
                message = framing.read_message(self.source, at)
                if message is not None:
                    first_seq_of(message)
                    framing.verify_body(self.source, message)
                    return message
            except Damage:
                continue
        return None

    def _check_end(self, offset: int) -> None:
        header = self.header
        if self.rescue:
            return
        if not self.sealed:
            raise Damage(offset, "an end of stream in a file that was not sealed")
        framing.verify_footer(self.source, offset)
        if self.next_seq != header.sealed_rows:
            raise Damage(
                offset, f"the file ends after {self.next_seq} rows; sealed were {header.sealed_rows}"
            )
        if self.chain_head != header.sealed_chain:
            raise Damage(offset, "the chain of the last batch is not the one that was sealed")
        self.good_bytes = len(self.source)


def _from_row(batches: Iterator[Batch], first_seq: int) -> Iterator[Batch]:
    """The same batches without the rows before `first_seq`."""
    for batch in batches:
        end = batch.first_seq + batch.count
        if batch.first_seq >= first_seq:
            yield batch
        elif end > first_seq:
            yield batch.slice(first_seq - batch.first_seq, batch.count)


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
