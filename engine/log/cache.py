"""Keeps decoded columns of sealed logs, so that the next run over them has nothing to decompress.

    with open_log(path, columns) as log:
        for batch in log.batches(prefetch=2): ...

The first pass over a log that reaches its end leaves each column that it read in a file beside the kernels
(see `cache_folder`, `cache_file`), written by a thread while the run goes on. The next pass maps those
files; a column that is not there is decoded, and added.

It can never be seen in a result, only in a clock. A block is used when three things hold, looked at before
each use: the log's head of this batch is the written one, its compressed bytes are those that the block
was once decoded (and verified) from, and the block's own bytes are those decoded then. Otherwise the batch is
decoded from the log as if there were no cache, with what that brings: damage in the log is found where it
would have been found, and damage in the cache costs time once, because the file goes and is written again
by the next run. Damage in what the log has beside the columns (`wire`) is not looked for, as ever.

Nothing here is worth an error: a folder that cannot be written, a disk that is full or slow, a file that
somebody deletes meanwhile, all mean that there is less in the cache. `LogCache.note` says what happened.
A log that is not sealed is still growing, and is never kept; a short one is read faster than it is found.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from engine.log import cache_file, cache_folder, framing
from engine.log.ahead import Made, has_footer
from engine.log.cache_file import KEPT, ColumnFile, ColumnWriter
from engine.log.checksum import digests
from engine.log.framing import Message
from engine.log.reader import LogReader
from engine.log.schema import COLUMNS

LEAST_ROWS = 1_000_000  # of a log that is worth a file for each column: others are read in a few milliseconds
WAITING = 4  # batches that may wait to be written; a run never holds more for this
PATIENCE_S = 1.0  # a disk that does not take a batch in this time is no cache
FORGET_EVERY = 32  # batches, after which what was read of the mapped files is given back
_WIRE_BUFFER = 2 * COLUMNS.index("data") + 3  # buffers of Arrow's before those of `wire`


def open_log(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    blank: Sequence[str] = (),
    least_rows: int | None = None,
) -> LogReader:
    """A reader whose `batches(prefetch)` use the decoded cache where they can; otherwise as LogReader.

    least_rows: leave shorter logs alone (None: LEAST_ROWS). Close it, so that what is being written is
    there. Raises UsageError for a limit in the environment that is no number.
    """
    least_rows = LEAST_ROWS if least_rows is None else least_rows
    log = LogReader(path, columns, blank=blank)
    wanted = cache_folder.asked_bytes() != 0 and log.sealed and log.header.sealed_rows >= least_rows
    if wanted and set(log.columns) <= {*KEPT, "seq"}:
        tail = _tail(log.source)
        if tail:
            log.cache = LogCache(cache_folder.key_of(tail), log.header.sealed_rows, log.columns, log.source)
    return log


def _tail(source: memoryview) -> bytes:
    """A sealed file's bytes behind its last batch; empty when they are not what was written."""
    if not has_footer(source):
        return b""
    footer_bytes = int.from_bytes(source[-10:-6], "little")
    return bytes(source[-10 - footer_bytes :])


class Found(NamedTuple):
    """What the cache has of one batch."""

    columns: dict[str, Any]
    rows: int
    source: int  # checksum of the log's bytes


class LogCache:
    """The cache of one sealed log, for readers of these columns."""

    def __init__(self, key: str, rows: int, columns: Sequence[str], source: memoryview) -> None:
        self.key = key
        self.rows = rows
        self.root = cache_folder.decoded_folder()
        self.folder = self.root / key
        self.columns = tuple(name for name in KEPT if name in columns)
        self.note = ""
        self._source = source
        self._passes: list[Pass] = []

    def begin(self, *, adding: bool = True) -> Pass:
        """A pass over the log; `adding`: from its first batch on, so that what is missing can be kept."""
        one = Pass(self, self._source, adding=adding)
        self._passes.append(one)
        return one

    def close(self) -> None:
        """Wait until what is being written is there."""
        for one in self._passes:
            one.end(whole=False)  # it may have been left in the middle, and nobody said so yet
            one.wait()
        self._passes = []
        self._source = memoryview(b"")


class Pass:
    """One reading of a log: what is there already, and what is being added."""

    def __init__(self, cache: LogCache, source: memoryview, *, adding: bool = True) -> None:
        self._cache = cache
        self._source = source  # kept alive, because only its address is used
        self._address = int(np.frombuffer(source, np.uint8).ctypes.data)
        self._files: dict[str, ColumnFile] = {}
        self._bad: set[str] = set()  # columns whose file is damaged
        self._strange: set[int] = set()  # batches whose bytes are not those that were decoded
        self._builder: Builder | None = None
        self._taken = 0
        self._ended = False
        for name in cache.columns:
            path = cache.folder / (name + cache_file.SUFFIX)
            try:
                self._files[name] = ColumnFile(path, name, cache.key, cache.rows)
            except FileNotFoundError:
                continue
            except ValueError as error:
                self._discard(path, str(error))
            except OSError as error:
                cache.note = f"{path}: {error.strerror}"
        missing = [name for name in cache.columns if name not in self._files]
        try:
            if self._files:
                cache_folder.touch(cache.folder)
            if missing and adding:
                self._builder = Builder.begin(cache, missing)
        except OSError as error:
            cache.note = f"{cache.folder}: {error.strerror}"

    def find(self, number: int, message: Message) -> Found:
        """The columns of this batch that can be believed. Called by several threads."""
        head_and_columns = message.body - message.offset + framing.buffer_start(message, _WIRE_BUFFER)
        files = list(self._files.values())
        pieces = [(self._address + message.offset, head_and_columns)]
        pieces += [file.piece(number) if number < len(file.blocks) else (0, 0) for file in files]
        source, *found = digests(pieces)
        columns: dict[str, Any] = {}
        rows = 0
        for file, digest in zip(files, found, strict=True):
            if number >= len(file.blocks):
                continue
            block = file.blocks[number]
            if int(block["source"]) != source:
                self._strange.add(number)
            elif int(block["bytes"]) and int(block["digest"]) != digest:
                self._bad.add(file.name)
            else:
                columns[file.name] = file.values(number)
                rows = int(block["rows"])
        return Found(columns, rows, source)

    def was_decoded(self, number: int) -> None:
        """A batch was decoded from the log without error: if the cache did not fit it, the cache is wrong."""
        if number in self._strange:
            self._bad.update(self._files)

    def take(self, number: int, made: Made) -> None:
        """The run's next batch: keep what is missing of it, forget what lies behind."""
        if self._builder is not None:
            self._builder.take(made)
        self._taken += 1
        if self._taken % FORGET_EVERY == 0:
            for file in self._files.values():
                if number < len(file.blocks):
                    file.forget(number)

    def end(self, *, whole: bool) -> None:
        """The pass has ended; `whole`: every batch was taken and the log's end is the sealed one."""
        if self._ended:
            return
        self._ended = True
        for name in sorted(self._bad):
            self._discard(self._cache.folder / (name + cache_file.SUFFIX), "a block is damaged")
        self._files = {}  # a run over a year of logs must not keep them all open
        if self._builder is not None:
            self._builder.end(whole=whole)

    def wait(self) -> None:
        """Wait for the thread that writes, if there is one."""
        if self._builder is not None:
            self._builder.thread.join()

    def _discard(self, path: Path, reason: str) -> None:
        self._cache.note = f"{path}: {reason}; it is written again"
        with suppress(OSError):  # somebody else may have
            path.unlink(missing_ok=True)


class Builder:
    """Writes columns of a log into the cache, in a thread, while a run takes its batches."""

    def __init__(self, cache: LogCache, writers: list[ColumnWriter]) -> None:
        self._cache = cache
        self._writers = writers
        self._names = [writer.name for writer in writers]
        self._waiting: queue.Queue[tuple[dict[str, Any], int] | bool] = queue.Queue(maxsize=WAITING)
        self._given_up = False
        # A daemon: a process that ends without closing its log need not wait for the cache.
        self.thread = threading.Thread(target=self._work, name="log-cache", daemon=True)
        self.thread.start()

    @classmethod
    def begin(cls, cache: LogCache, names: Sequence[str]) -> Builder | None:
        """Begin these columns' files; None when there is no room for them. Raises OSError."""
        if not cache_folder.make_room(cache.root, _most_bytes(cache.rows, names), cache.folder):
            cache.note = f"no room for {cache.rows} rows in the cache"
            return None
        cache.folder.mkdir(parents=True, exist_ok=True)
        writers: list[ColumnWriter] = []
        try:
            for name in names:
                writers.append(ColumnWriter(cache.folder, name, cache.key, cache.rows))  # noqa: PERF401  kept when one fails
            cache_file.remove_forgotten(cache.folder, writers[0])
        except OSError:
            for writer in writers:
                writer.abandon()
            raise
        return cls(cache, writers)

    def take(self, made: Made) -> None:
        """Queue a batch's columns. A disk that does not keep up ends the writing, never the run."""
        if self._given_up:
            return
        columns = {name: getattr(made.batch, name) for name in self._names}
        try:
            self._waiting.put((columns, made.source), timeout=PATIENCE_S)
        except queue.Full:
            self._cache.note = f"{self._cache.folder}: the disk is slower than the run"
            self._given_up = True

    def end(self, *, whole: bool) -> None:
        """No more batches; the files get their names if they are whole."""
        self._waiting.put(whole and not self._given_up)

    def _work(self) -> None:
        failed = False
        while not isinstance(item := self._waiting.get(), bool):
            if not failed:
                failed = not self._tried(self._append, *item)
        if failed or not item or not self._tried(self._finish):
            for writer in self._writers:
                writer.abandon()

    def _append(self, columns: dict[str, Any], source: int) -> None:
        for writer in self._writers:
            writer.append(columns[writer.name], source)

    def _finish(self) -> None:
        for writer in self._writers:
            writer.finish()

    def _tried(self, step: Any, *arguments: Any) -> bool:
        """Do it; False, with a note, where the disk is full or the folder has gone."""
        try:
            step(*arguments)
        except OSError as error:
            self._cache.note = f"{self._cache.folder}: {error.strerror}"
            return False
        return True


def _most_bytes(rows: int, names: Sequence[str]) -> int:
    """What these columns need at most, texts aside."""
    return rows * sum(cache_file.VALUE_BYTES[name] for name in names)
