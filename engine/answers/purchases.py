"""Answers that were just paid for, on their way into the store: on the disk at once, in one file at the end.

A store's file is sorted and never changed, so one answer after the other would be one file after the other.
What a run buys is therefore appended to a file of its own in the store's folder, each answer synced before
the run goes on, and goes into the store as one file when the run ends, however it ends. A killed process
leaves its file behind; nobody holds its lock any more, so whoever needs the store next puts its answers there
first (`recover`). A kill loses no answer that had arrived.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from engine.answers.files import sync_folder
from engine.answers.lines import append_line, read_lines
from engine.answers.store import AnswerStore, answer_files
from engine.answers.stored import StoredAnswer, stored
from engine.model.errors import EngineError
from engine.model.kinds import AnswerData

_PREFIX, _SUFFIX, _UNLOCKED = "bought.", ".jsonl", ".tmp"


class _Bought(msgspec.Struct):
    """One line."""

    recorded: int
    data: AnswerData
    wire: bytes


class Purchases:
    """What one run buys for a store."""

    def __init__(self, store: AnswerStore) -> None:
        self.answers: list[StoredAnswer] = []
        self._store = store
        self._handle = -1
        self._path = Path()

    def put(self, answer: StoredAnswer) -> None:
        """Keep an answer; it is on the disk on return. Raises EngineError."""
        try:
            if self._handle < 0:
                self._open()
            append_line(self._handle, _Bought(answer.recorded, answer.data, answer.wire), sync=True)
        except OSError as error:
            self.answers.append(answer)  # the store's own file may still be possible at the end
            raise EngineError(
                f"{self._store.folder}: a bought answer cannot be written: {error.strerror or error}",
                hint="free some space or choose another --answers-folder",
            ) from None
        self.answers.append(answer)

    def close(self) -> None:
        """Put all into the store. Raises EngineError; what was bought then stays in its file."""
        try:
            if self.answers:
                self._store.add(self.answers)
            if self._handle >= 0:
                self._path.unlink(missing_ok=True)
        finally:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def _open(self) -> None:
        """A file of our own under our lock; only then it has a name that others look for."""
        folder = self._store.folder
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(_UNLOCKED, _PREFIX, folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.fchmod(handle, 0o644)
        self._handle, self._path = handle, Path(name.removesuffix(_UNLOCKED) + _SUFFIX)
        Path(name).rename(self._path)
        sync_folder(folder)


def recover(folder: Path) -> int:
    """Put into the store what killed processes had bought for it; how many answers that were.

    Raises InputError for a damaged file, EngineError when the store cannot be written.
    """
    found = 0
    answer_files(folder)  # raises where the folder is none
    for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # somebody else was faster
        try:
            with suppress(BlockingIOError):  # a run that still buys
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found += _taken_over(folder, path)
        finally:
            os.close(handle)
    return found


def _taken_over(folder: Path, path: Path) -> int:
    advice = "answers that were paid for are in it: mend its lines, or move it away"
    lines = read_lines(path, _Bought, advice)
    answers = [stored(line.data, line.wire, line.recorded, where=f"{path}: ") for line in lines]
    if answers:
        AnswerStore(folder).add(answers)
    path.unlink(missing_ok=True)
    return len(answers)
