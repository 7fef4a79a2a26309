"""Seals a finished log: compressed, closed with a footer, the same rows and the same chain.

    path           stays as it is until the sealed file is complete, verified and on disk
    path + .tmp    the sealed file in the making; a killed seal leaves it behind, the next one replaces it

A file that is still being written is refused: the writer holds a lock on it that ends with its process.
So is one whose last bytes are torn or damaged: sealing replaces the file, and nothing that stands in a
file is thrown away without being asked for (`recover` writes the good part to a new file).

Run as a program (`python -m engine.log.seal PATH`) it does this at low priority, so that recording never
waits for it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine.log.compressed import SEALED_BATCH_ROWS, SealedWriter, put_in_place
from engine.log.reader import LogReader
from engine.log.schema import Chain, LogHeader
from engine.log.writer import is_full
from engine.model.errors import DamagedLog, EngineError, InputError, InternalError, UsageError


class SealReport(msgspec.Struct, frozen=True):
    """What sealing a file came to."""

    path: str
    rows: int
    chain: str
    bytes_before: int
    bytes_after: int
    already_sealed: bool = False


def seal(path: Path) -> SealReport:
    """Seal the file in place; a sealed one is left as it is.

    Raises UsageError when somebody is writing to the file, DamagedLog when it has bytes that would be
    lost, EngineError when the disk is full. The original is intact in each case.
    """
    with exclusive(path):
        reader = LogReader(path)
        size = reader.size
        if reader.sealed:
            header = reader.header
            return SealReport(
                str(path), header.sealed_rows, header.sealed_chain, size, size, already_sealed=True
            )
        temporary = path.with_name(path.name + ".tmp")
        header = write_sealed(reader, temporary, reader.header, tail_is_error=True)
        temporary.chmod(path.stat().st_mode & 0o777)
        after = temporary.stat().st_size
        put_in_place(temporary, path)
        return SealReport(str(path), header.sealed_rows, header.sealed_chain, size, after)


def write_sealed(
    reader: LogReader, temporary: Path, header: LogHeader, *, tail_is_error: bool = False
) -> LogHeader:
    """Write the reader's good rows to `temporary` as a sealed file, and verify it row for row.

    Returns the sealed header. On any error the temporary file is removed.
    """
    try:
        writer = SealedWriter(temporary, header)
    except OSError as error:
        raise EngineError(f"{temporary}: cannot be created: {error.strerror}") from error
    done = False
    try:
        try:
            for batch in reader.batches(join_rows=SEALED_BATCH_ROWS):
                writer.append(batch)
        except DamagedLog:
            if tail_is_error:
                raise
        if reader.tail_damage is not None and tail_is_error:
            raise DamagedLog(
                f"{reader.path}: {reader.tail}",
                hint=f"write the rows before to a new file with: engine log recover {reader.path}",
                offset=reader.tail_damage.offset,
            )
        sealed = writer.finish()
        if sealed.sealed_chain != reader.chain_head and not reader.rescue:
            raise DamagedLog(
                f"{reader.path}: its rows do not have the chain that it states", offset=reader.good_bytes
            )
        _verify(temporary, sealed)
        done = True
    except OSError as error:
        raise EngineError(
            f"{temporary}: {error.strerror}; {reader.path} is untouched",
            hint="make room and seal it again" if is_full(error) else "",
        ) from error
    finally:
        if not done:
            writer.abandon()
    return sealed


def _verify(path: Path, header: LogHeader) -> None:
    """Read a sealed file again and compare every row, by the chain, with what was read from the original."""
    reader = LogReader(path)
    chain = Chain(header.previous_chain)
    try:
        for batch in reader.batches():
            chain.update(batch)
    except DamagedLog as error:
        raise EngineError(f"{path}: what was written cannot be read back: {error.message}") from None
    if (
        reader.header != header
        or reader.next_seq != header.sealed_rows
        or chain.head() != header.sealed_chain
    ):
        raise InternalError(f"{path}: the sealed rows are not those of the original")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Make sure that nobody writes or seals this file meanwhile; UsageError when somebody does."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder", hint="name a log file")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{path}: is being written or sealed by another process", hint="seal it when that has ended"
            ) from None
        yield
    finally:
        os.close(handle)


def seal_in_background(path: Path) -> subprocess.Popen[bytes]:
    """Start a process of low priority that seals the file. The caller may wait for it, or not.

    It survives the caller and its Ctrl-C; what goes wrong it says on stderr, and the file stays unsealed.
    """
    return subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-m", "engine.log.seal", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(arguments: list[str]) -> int:
    """Seal each file named, at the lowest priority; returns the exit code."""
    os.nice(19)
    code = 0
    for name in arguments:
        try:
            seal(Path(name))
        except EngineError as error:
            sys.stderr.write(f"error: {error}\n")
            code = error.exit_code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
