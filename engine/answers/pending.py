"""Batches that are being bought: one file each, beside the store's, from before the purchase until its end.

    pending/2026-11-21-55115d98a2ce1f00.jsonl     what is asked      written before the batch is made
                                                  the batch's name   appended as soon as it is known

So whatever is interrupted, what was paid for is found again. A file without the batch's name says that one
may have been made: then the API is asked which it has (engine.live.batches). A file goes when the store has
the answers, and not before. One process at a time buys into a folder.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.answers.files import sync_folder
from engine.answers.lines import append_line, read_lines
from engine.answers.requests import Request, request_from
from engine.model.errors import EngineError, InputError, UsageError
from engine.model.units import format_time

FOLDER = "pending"  # in the store's
_SUFFIX = ".jsonl"
_ADVICE = (
    "it says which answers are being bought: mend it, or look at your batches in Anthropic's console before "
    "you move it away"
)


class Intent(msgspec.Struct, frozen=True):
    """What a batch asks, of whom, and on what terms."""

    address: str
    created: int  # ns UTC, before the batch was made
    latency_ns: int  # that its answers are given
    most_nano_usd: int
    requests: tuple[str, ...]  # canonical


class Pending(msgspec.Struct, frozen=True):
    """One file. `batch` is the API's name for it, "" while it is not known."""

    path: Path
    intent: Intent
    batch: str = ""

    @property
    def name(self) -> str:
        """How it is called here."""
        return self.path.stem

    def requests(self) -> dict[str, Request]:
        """What is asked, by key. Raises InputError where a request is none."""
        try:
            asked = [request_from(text) for text in self.intent.requests]
        except msgspec.DecodeError as error:
            raise InputError(f"{self.path}: a request: {error}", hint=_ADVICE) from None
        return {request.key: request for request in asked}


class _Line(msgspec.Struct, omit_defaults=True):
    intent: Intent | None = None
    batch: str = ""


class PendingFolder:
    """The pending batches of a store's folder."""

    def __init__(self, answers: Path) -> None:
        self.folder = answers / FOLDER

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the block runs nobody else buys into this folder. Raises UsageError when somebody does."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _cannot(self.folder, error) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{self.folder}: another engine enrich is buying into it", hint="wait until it has ended"
                ) from None
            yield
        finally:
            os.close(lock)

    def all(self) -> list[Pending]:
        """Those there are, by name. Raises InputError for a file that is damaged."""
        found = []
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            lines = read_lines(path, _Line, _ADVICE)
            if not lines or lines[0].intent is None:
                raise InputError(f"{path}: does not say what was asked", hint=_ADVICE)
            found.append(Pending(path, lines[0].intent, lines[-1].batch))
        return found

    def begin(self, intent: Intent) -> Pending:
        """Write down what is going to be bought; it is on the disk on return. Raises EngineError."""
        digest = sha256(msgspec.json.encode(intent)).hexdigest()
        path = self.folder / f"{format_time(intent.created)[:10]}-{digest[:16]}{_SUFFIX}"
        try:
            handle, temporary = tempfile.mkstemp(".tmp", ".", self.folder)
            try:
                os.fchmod(handle, 0o644)
                append_line(handle, _Line(intent), sync=True)
                Path(temporary).replace(path)
                sync_folder(self.folder)
            finally:
                os.close(handle)
                with suppress(FileNotFoundError):
                    Path(temporary).unlink()
        except OSError as error:
            raise _cannot(path, error) from None
        return Pending(path, intent)

    def made(self, pending: Pending, batch: str) -> Pending:
        """Write down the API's name for it; it is on the disk on return. Raises EngineError."""
        try:
            handle = os.open(pending.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            try:
                whole = pending.path.read_bytes().rfind(b"\n") + 1  # behind it: what a kill left
                os.truncate(handle, whole)
                append_line(handle, _Line(batch=batch), sync=True)
            finally:
                os.close(handle)
        except OSError as error:
            raise EngineError(
                f"{pending.path}: that the batch is {batch} cannot be written: {error.strerror or error}",
                hint="it has been made: free some space, then engine enrich --resume finds it",
            ) from None
        return msgspec.structs.replace(pending, batch=batch)

    def remove(self, pending: Pending) -> None:
        """The store has its answers, or it never came to be. Raises EngineError."""
        try:
            pending.path.unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise _cannot(pending.path, error) from None


def _cannot(path: Path, error: OSError) -> EngineError:
    return EngineError(f"{path}: cannot be written: {error.strerror or error}", hint="nothing was bought")
