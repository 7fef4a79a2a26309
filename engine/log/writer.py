"""Appends batches to a log file: one flush, one Arrow batch, one write.

Durability contract: when `flush` has returned, the rows are with the operating system, so that they
survive the end of this process, however it ends (`fsync=True`: also the end of the machine's). Nothing may
act on a row before that. Until it returns, nothing is promised; a torn last message is what readers and
`recover` expect to find.

When a write fails (a full disk), the file ends there: the torn bytes stay, because truncating could kill
a process that has the file mapped, and every later flush fails as well. The rows stay in `rows`,
unacknowledged; whoever wants to go on opens the next segment, which names the chain head of the last
good batch.

A writer never opens an existing file, and never seals: see `seal`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Self

from engine.log.encode import BatchEncoder
from engine.log.framing import MAGIC, sign_message
from engine.log.schema import SCHEMA, Batch, Chain, LogHeader, header_metadata
from engine.model.errors import EngineError, InternalError, UsageError
from engine.model.kinds import EndData, Flag, Kind, encode_canonical
from engine.model.rows import RowBuffer

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LAST = int(Flag.LAST)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LogWriter:
    """One log file being written. Append whole messages to `rows`, then `flush`.

    seq: number of the next row. chain: over everything acknowledged. bytes_written: size of the file's
    good part.
    """

    def __init__(self, path: Path, header: LogHeader, *, fsync: bool = False) -> None:
        """Create the file and write its header at once.

        Raises UsageError when the file exists (a log is never appended to), EngineError when it cannot
        be written; what the system said is its cause.
        """
        self.path = path
        self.header = header
        self.rows = RowBuffer()
        self.seq = 0
        self.chain = Chain(header.previous_chain)
        self.chain_head = self.chain.head()
        self.bytes_written = 0
        self._fsync = fsync
        self._failed: OSError | None = None
        self._encoder = BatchEncoder()
        # Under its name a file has its whole header from the first moment, whenever this process is killed.
        nameless = path.with_name(f".{path.name}.{os.getpid()}.new")
        self._file = _create(path, nameless)
        # Held until the process ends, however it ends: what `seal` asks whether anybody still writes.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._write(file_start(encode_canonical(header)))
            self._sync()
            _give_name(nameless, path)
            self._sync(folder=True)
        except EngineError:
            self.abandon()
            raise
        finally:
            nameless.unlink(missing_ok=True)

    def flush(self) -> Batch | None:
        """Write everything in `rows` as one batch; None when there is nothing.

        The caller guarantees whole messages. Raises EngineError, naming file and byte, when the system
        does not take all of it; then nothing of it is acknowledged.
        """
        rows = self.rows
        if not rows.count:
            return None
        if self._failed is not None:
            raise self._write_error(self._failed) from self._failed
        batch, message = self._encoder.layout(rows, self.seq)
        if not int(batch.flags[-1]) & _LAST:
            raise InternalError(
                f"{self.path}: a batch holds whole messages, but row {self.seq + batch.count - 1} has no LAST"
            )
        chain = self.chain.copy()
        chain.update(batch)
        head = chain.head()
        self._encoder.sign(message, batch, head)
        self._write(message)
        if self._fsync:
            self._sync()
        self.chain, self.chain_head = chain, head
        self.seq += batch.count
        rows.clear()
        return batch

    def close(self, *, reason: str, ts: int) -> None:
        """Append the END row, flush, fsync and close. Does not seal. A second call does nothing.

        Raises EngineError when the last rows could not be written; the file is closed all the same.
        """
        if self._file < 0:
            return
        try:
            if self._failed is None:
                self.rows.append(ts, Kind.END, flags=_LAST, data=encode_canonical(EndData(reason)))
                self.flush()
                self._sync()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is, without an END row. What was flushed stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def _write(self, message: bytes | bytearray | memoryview) -> None:
        if self._file < 0:
            raise InternalError(f"{self.path}: written to after it was closed")
        written = 0
        total = len(message)
        try:
            written = os.write(self._file, message)
            while written < total:  # the disk filled up, or a signal: the next call says which
                written += os.write(self._file, memoryview(message)[written:])
        except OSError as error:
            self._failed = error
            raise self._write_error(error) from error
        self.bytes_written += total

    def _write_error(self, error: OSError) -> EngineError:
        room = "make room, then " if is_full(error) else ""
        return EngineError(
            f"{self.path}: {error.strerror} at byte {self.bytes_written}; "
            f"{self.rows.count} rows from {self.seq} on are not in the log",
            hint=f"everything before is safe; {room}go on in a new segment",
        )

    def _sync(self, *, folder: bool = False) -> None:
        try:
            if not folder:
                os.fdatasync(self._file)
                return
            os.fsync(self._file)
            sync_folder(self.path.parent)
        except OSError as error:
            # What the system could not store, it may have dropped: nothing after this can be trusted.
            self._failed = error
            raise self._write_error(error) from error


def _create(path: Path, nameless: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"{path}: cannot be created: {error.strerror}: {path.parent}") from error
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    if path.exists():
        raise _exists(path)
    try:
        nameless.unlink(missing_ok=True)  # of a process that was killed, and had our number
        return os.open(nameless, flags, 0o644)
    except OSError as error:
        raise EngineError(f"{path}: cannot be created: {error.strerror}") from error


def _give_name(nameless: Path, path: Path) -> None:
    """Let a file be known by its name, unless there is one of that name."""
    try:
        os.link(nameless, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without links
        if path.exists():
            raise _exists(path) from None
        try:
            nameless.rename(path)
        except OSError as error:
            raise EngineError(f"{path}: cannot be created: {error.strerror}") from error


def _exists(path: Path) -> UsageError:
    return UsageError(
        f"{path}: exists already", hint="a log is never appended to or overwritten: name another file"
    )


def is_full(error: BaseException | None) -> bool:
    """Whether the system had no room: on the disk, in a quota, or for a file of that size."""
    return isinstance(error, OSError) and error.errno in _FULL


def prepare() -> None:
    """Load what the first file needs, some 0.4 s of Arrow's imports, before anything is to be stamped."""
    file_start(encode_canonical(LogHeader()))
    BatchEncoder()


def file_start(header_text: bytes) -> bytes:
    """Magic and signed schema message: how every file with this header begins."""
    start = bytearray(MAGIC) + SCHEMA.with_metadata(header_metadata(header_text)).serialize().to_pybytes()
    sign_message(start, len(MAGIC))
    return bytes(start)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable (a new or renamed file is one)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
