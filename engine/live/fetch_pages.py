"""The pages of one stream on the disk: what a fetch knows after it was killed at any moment.

    NAME.part     pages as they came, one record after the other; grows
    NAME.pages    the same file when its stream had no more

A record is written with one system call after its body was understood, and is itself the state: whoever
reads the file again knows which page is next. A torn record at the end (a full disk, a power cut) is cut off
before anything is added behind it; nothing else ever changes a record.

    record    magic, length of path, of body as kept, of the body, CRC32 of the rest; path, body

Bodies are compressed; a page of a thousand trades is 110 kB of text and some 15 kB here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from struct import Struct

from engine.log.writer import is_full, sync_folder
from engine.model.errors import EngineError, InputError

_MAGIC = b"page"
_HEAD = Struct("<4sIIII")
_LEVEL = 3
PART, PAGES = ".part", ".pages"


class PageFile:
    """One stream's pages. `done`: the stream had no more, nothing is added."""

    def __init__(self, folder: Path, name: str) -> None:
        self._part, self._pages = folder / (name + PART), folder / (name + PAGES)

    @property
    def done(self) -> bool:
        """Whether all pages are there."""
        return self._pages.exists()

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Path and body of every whole page, in order."""
        for path, body, _ in self._records():
            yield path, body

    def bodies(self) -> Iterator[bytes]:
        """The body of every whole page, in order."""
        for _, body, _ in self._records():
            yield body

    def begin(self, count: int = 0) -> PageWriter:
        """To add pages behind the first `count`, which are kept; whatever is behind them is cut off."""
        ends = [end for _, _, end in islice(self._records(), count)]
        return PageWriter(self._part, ends[-1] if ends else 0)

    def _records(self) -> Iterator[tuple[str, bytes, int]]:
        """Path, body and end in the file of every whole page."""
        file_path = self._pages if self.done else self._part
        end = 0
        try:
            with file_path.open("rb") as file:
                while head := file.read(_HEAD.size):
                    if len(head) < _HEAD.size or not head.startswith(_MAGIC):
                        return
                    _, path_length, kept, length, crc = _HEAD.unpack(head)
                    rest = file.read(path_length + kept)
                    if len(rest) < path_length + kept or zlib.crc32(rest) != crc:
                        return
                    end += len(head) + len(rest)
                    body = zlib.decompress(rest[path_length:], bufsize=max(length, 1))
                    yield rest[:path_length].decode(), body, end
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{file_path}: cannot be read: {error.strerror}") from None

    def finish(self) -> None:
        """All pages are there."""
        try:
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self._pages)
            sync_folder(self._part.parent)
        except OSError as error:
            raise EngineError(f"{self._part}: {error.strerror}") from None


class PageWriter:
    """Adds records to a part."""

    def __init__(self, path: Path, whole: int) -> None:
        """Cut off what stands behind the first `whole` bytes, and go on there."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, whole)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise EngineError(f"{path}: cannot be written: {error.strerror}") from None

    def add(self, path: str, body: bytes) -> None:
        """One page. Raises EngineError where it cannot be written; the next start cuts off what was torn."""
        record = memoryview(_record(path, body))
        try:
            while record:
                record = record[os.write(self._file, record) :]
        except OSError as error:
            hint = "make room and start again: it goes on where it was" if is_full(error) else ""
            raise EngineError(f"{self.path}: {error.strerror}", hint=hint) from None

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _record(path: str, body: bytes) -> bytes:
    name, kept = path.encode(), zlib.compress(body, _LEVEL)
    rest = name + kept
    return _HEAD.pack(_MAGIC, len(name), len(kept), len(body), zlib.crc32(rest)) + rest
