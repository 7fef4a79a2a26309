"""Follows a log that another process is writing, across sealing and into the next segments.

Whole batches only: what is half written is not there yet. The caller decides when to look (`poll`);
nothing here waits. Files are read, not mapped, so nothing that happens to them can kill the process.

- The file is sealed under us (another file takes its name): the old one was complete, so it is read to
  its end; the new one goes on at the next seq, which is usually its end.
- The next segment is the file in the same folder that names this one and its chain head as we have read
  it. A torn tail of a killed writer does not stand in the way: the segment after it names the chain of the
  last whole batch.
- Bytes that cannot be a half-written batch are damage, unless a next segment follows at that very place.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from engine.log import framing
from engine.log.decode import Decoder, chain_head_of, first_seq_of
from engine.log.framing import MAGIC, Damage
from engine.log.opening import open_header
from engine.log.schema import Batch, Chain, LogHeader, batch_of_record
from engine.log.segments import ROTATION
from engine.model.errors import DamagedLog, InputError
from engine.model.kinds import EndData, Kind

READ_BYTES = 16 << 20  # at most so much is taken per poll, so that catching up stays small


class LogTail:
    """Follows one recording from the first row of `path` on.

    path: the file that the last batches came from; numbers of instruments are local to it, and a new file
    begins with a batch whose `first_seq` is 0. waiting: why nothing came, for people.
    """

    def __init__(self, path: Path) -> None:
        """Begin at the first row of `path`; InputError when it does not exist or is no log."""
        self.waiting = ""
        self._limit = READ_BYTES
        self._folder_seen = -1
        self._others: dict[Path, tuple[int, LogHeader | None]] = {}  # size when read, header
        self._file = -1
        self._begin(path)

    def _begin(self, path: Path) -> None:
        self.path = path
        self.header: LogHeader | None = None
        self.next_seq = 0
        self.chain_head = ""
        self.end_reason: str | None = None
        self._complete = False  # the end of a sealed file was reached
        self._damage: Damage | None = None
        self._damage_polls = 0
        self._open()

    def _open(self) -> None:
        """Open the file that bears the name now; its header may not be there yet."""
        self.close()
        try:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._identity = _identity(os.fstat(self._file))
            self._offset = 0
            self._read_header()
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file") from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _read_header(self) -> None:
        start = memoryview(os.pread(self._file, 1 << 20, 0))
        if bytes(start[: len(MAGIC)]) == MAGIC[: len(start)]:
            try:
                framing.read_message(start, len(MAGIC))
            except Damage as damage:
                if damage.torn and len(start) < framing.MAX_HEAD_BYTES:
                    self.waiting = "the header is not written yet"
                    return
        self.header, self._offset = open_header(start, str(self.path))
        if not self.next_seq:
            self.chain_head = Chain(self.header.previous_chain).head()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def done(self) -> bool:
        """Whether the recording ended on purpose, all of it was read, and no next segment is there.

        A recorder that is started again may still add one: whoever wants that goes on polling.
        """
        ended = self.end_reason is not None and self.end_reason != ROTATION
        return ended or (self._complete and self.end_reason is None)

    @property
    def writer_is_gone(self) -> bool:
        """Whether nobody holds the file for writing any more (killed, if there is no END row)."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def poll(self) -> list[Batch]:
        """The batches that are new since the last poll, all of one file; [] when there are none.

        Raises DamagedLog when the file holds what no writer wrote.
        """
        if self.header is None:
            self._read_header()
            if self.header is None:
                return []
        batches = self._read()
        if batches:
            return batches
        if self._was_replaced():
            self._open()
            self._complete = bool(self.header and self.header.sealed_rows == self.next_seq)
            batches = self._read()
            if batches:
                return batches
        following = self._successor()
        if following is not None:
            self._begin(following)
            return self._read() if self.header is not None else []
        self._judge()
        return []

    def _read(self) -> list[Batch]:
        """What the open file has beyond the last offset, as far as it is whole."""
        while not self._complete:
            content = memoryview(os.pread(self._file, self._limit, self._offset))
            batches: list[Batch] = []
            damage: Damage | None = None
            start = self._offset
            try:
                for batch, end in self._decode(content):
                    self._offset = start + end
                    if batch is not None:
                        batches.append(batch)
            except Damage as found:
                damage = Damage(start + found.offset, found.reason, torn=found.torn)
            self._note(damage)
            if batches:
                return batches
            if self._offset == start:
                if damage is None or not damage.torn or len(content) < self._limit:
                    return []
                self._limit *= 2  # a batch larger than what was read
        return []

    def _decode(self, content: memoryview) -> Iterator[tuple[Batch | None, int]]:
        """The whole batches in `content` (None: rows we had before the file was sealed), and their ends."""
        decoder = Decoder(content)
        at = 0
        while at < len(content):
            message = framing.read_message(content, at)
            if message is None:
                self._complete = True
                return
            first_seq = first_seq_of(message)
            if first_seq > self.next_seq:
                raise Damage(at, f"the batch begins at seq {first_seq}; {self.next_seq} is next")
            batch = batch_of_record(decoder.decode(message, first_seq), first_seq)
            at = message.end
            known = min(self.next_seq - first_seq, batch.count)
            if known < batch.count:
                self._take(batch, chain_head_of(message))
            yield (batch.slice(known, batch.count) if known < batch.count else None), at

    def _note(self, damage: Damage | None) -> None:
        seen = self._damage is not None and damage is not None and self._damage.offset == damage.offset
        self._damage_polls = self._damage_polls + 1 if seen else 1
        self._damage = damage
        self.waiting = "no new rows" if damage is None else damage.reason

    def _take(self, batch: Batch, chain_head: str) -> None:
        self.next_seq = batch.first_seq + batch.count
        self.chain_head = chain_head
        self.end_reason = None
        if batch.kind[-1] == Kind.END:
            text = batch.data_at(batch.count - 1) or b"{}"
            self.end_reason = msgspec.json.decode(text, type=EndData).reason

    def _was_replaced(self) -> bool:
        try:
            return _identity(self.path.stat()) != self._identity
        except FileNotFoundError:
            return False  # moved away: what we have open is still all of it

    def _successor(self) -> Path | None:
        """The next segment, looked for when the folder has changed or a header was not there yet."""
        folder = self.path.parent
        seen = folder.stat().st_mtime_ns
        if seen != self._folder_seen:
            self._folder_seen = seen
            for other in folder.glob("*.arrow"):
                self._others.setdefault(other, (-1, None))
        for other, known in list(self._others.items()):
            size, header = known if known[1] is not None else _peek(other, known[0])
            self._others[other] = (size, header)
            if header is not None and other.name != self.path.name:
                names_us = header.previous_file == self.path.name
                if names_us and header.previous_chain == self.chain_head:
                    return other
        return None

    def _judge(self) -> None:
        """Raise when what stands at the end can be no batch in the making."""
        damage = self._damage
        # A batch may be seen while it is being copied into the file; not twice at the same place.
        if damage is not None and not damage.torn and self._damage_polls > 1:
            raise DamagedLog(
                f"{self.path}: damaged at byte {damage.offset}: {damage.reason}",
                hint=f"look at it with: engine log check {self.path}",
                offset=damage.offset,
            )


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _peek(path: Path, size_before: int) -> tuple[int, LogHeader | None]:
    """A file's size and header; None while it is not there or is no log. Read again only when it grew."""
    try:
        size = path.stat().st_size
        if size == size_before:
            return size, None
        with path.open("rb") as file:
            start = memoryview(file.read(1 << 20))
    except OSError:
        return size_before, None
    try:
        return size, open_header(start, str(path))[0]
    except InputError:
        return size, None
