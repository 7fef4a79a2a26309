"""The answer store: every answer ever bought, found again by the key of its question.

A store is a folder of answer files (`files`). Nothing in it is ever changed or evicted: adding writes a new
file, and two stores are merged by putting their files into one folder. The same answer may stand in several
files; it is one answer. Different answers to one question are all kept, and the earliest recorded is served
(`stored` has the rule), so a store that grows by what came later goes on giving what it gave.

A look-up in one or two files is a binary search in their mapped keys, which takes no memory. In more it is
one search in an index of 12 bytes an answer, made at the first look-up: a store of many small files is as
fast as one of a large one, and its memory is known beforehand.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby, islice, repeat
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from engine.answers.files import SUFFIX, AnswerFile, write_answers
from engine.answers.requests import Request
from engine.answers.stored import StoredAnswer, versions_of
from engine.model.errors import InputError

FOLDER = Path("data/answers")  # under where the user stands
SEARCHED_FILES = 2  # with more, an index
Place = tuple[AnswerFile, int]  # a row of a file
_BLOCK = 50_000  # answers that are held and sorted at a time while adding


class Added(msgspec.Struct):
    """What adding answers came to."""

    answers: int = 0  # that were given
    added: int = 0
    known: int = 0  # in the store already
    doubles: int = 0  # of those added: another answer to their question was there
    files: tuple[str, ...] = ()


class AnswerStore:
    """The answers of a folder as it is now; one that does not exist is an empty store."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Open its files. Raises InputError for one that is damaged or none of ours, naming it."""
        self.folder = folder
        self.files: list[AnswerFile] = []
        self._index: _Index | None = None
        self._open()

    @classmethod
    def of(cls, folder: Path, files: list[AnswerFile]) -> Self:
        """A store of these files alone."""
        store = cls.__new__(cls)
        store.folder, store.files, store._index = folder, files, None  # noqa: SLF001  our own
        return store

    def _open(self) -> None:
        self.files = [AnswerFile(path) for path in answer_files(self.folder)]
        self._index = None

    def __len__(self) -> int:
        """Rows of all files: an answer that stands in two of them counts twice."""
        return sum(file.rows for file in self.files)

    def get(self, key: str) -> StoredAnswer | None:
        """The answer that is served for a key (64 hexadecimal digits), or None.

        Raises InputError when its row is damaged.
        """
        return self.served(key)[0]

    def served(self, key: str) -> tuple[StoredAnswer | None, Place | None]:
        """As `get`, with the only row that has this key, if there is one only."""
        rows = self.places(key)
        if not rows:
            return None, None
        if len(rows) == 1:
            file, row = rows[0]
            return file.answer(row), rows[0]
        return versions_of([file.answer(row) for file, row in rows])[0], None

    def places(self, key: str) -> list[Place]:
        """Where a key stands: files and rows of them."""
        return self._rows(bytes.fromhex(key))

    def versions(self, key: str) -> list[StoredAnswer]:
        """All different answers to the question of a key, the one that is served first."""
        return versions_of([file.answer(row) for file, row in self.places(key)])

    def samples(self, request: Request) -> Iterator[StoredAnswer]:
        """Answers to one question asked again and again: samples 0, 1, 2, … up to the first missing."""
        number = 0
        while answer := self.get(msgspec.structs.replace(request, sample=number).key):
            yield answer
            number += 1

    def keys_with(self, prefix: str, most: int) -> list[str]:
        """The first `most` keys that begin with these hexadecimal digits, in order."""
        low = bytes.fromhex(prefix.ljust(64, "0"))
        found: set[str] = set()
        for file in self.files:
            row, mine = file.first_from(low), 0
            before = ""
            while row < file.rows and mine < most:
                key = file.key(row).hex()
                if not key.startswith(prefix):
                    break
                mine += key != before
                before = key
                found.add(key)
                row += 1
        return sorted(found)[:most]

    def each(self) -> Iterator[list[StoredAnswer]]:
        """The versions of every key, by key, the one that is served first. Memory does not grow with it."""
        merged = heapq.merge(
            *(
                zip(file.keys(), repeat(number), range(file.rows), strict=False)
                for number, file in enumerate(self.files)
            )
        )
        for _, rows in groupby(merged, key=lambda entry: entry[0]):
            yield versions_of([self.files[number].answer(row) for _, number, row in rows])

    def add(self, answers: Iterable[StoredAnswer]) -> Added:
        """Write those that the store does not have yet to new files of its folder.

        One that is there in an earlier record is known; one that is there in a later record is added, so that
        the earliest counts whichever way round stores are merged. Raises EngineError when it cannot be
        written; what was written before that stays.
        """
        done = Added()
        coming = iter(answers)
        while block := list(islice(coming, _BLOCK)):
            fresh = self._fresh(block, done)
            path = write_answers(self.folder, fresh)
            if path is not None:
                done.files += (str(path),)
                self._open()
        return done

    def _fresh(self, block: list[StoredAnswer], done: Added) -> list[StoredAnswer]:
        """Those of a block that are to be written, by key."""
        done.answers += len(block)
        fresh: list[StoredAnswer] = []
        block.sort(key=lambda answer: answer.key)
        for key, group in groupby(block, key=lambda answer: answer.key):
            given = list(group)
            before_them = self.versions(key)
            if len(given) == 1 and not before_them:  # nothing to compare it with
                done.added += 1
                fresh.append(given[0])
                continue
            given.sort(key=lambda answer: answer.rank)
            known = {answer.content: answer.rank for answer in before_them}
            for answer in given:
                before = known.get(answer.content)
                if before is not None and before <= answer.rank:
                    done.known += 1
                    continue
                done.added += 1
                done.doubles += before is None and bool(known)
                known[answer.content] = answer.rank
                fresh.append(answer)
        return fresh

    def _rows(self, key: bytes) -> list[Place]:
        if len(self.files) <= SEARCHED_FILES:
            return [(file, row) for file in self.files for row in file.find(key)]
        if self._index is None:
            self._index = _Index(self.files)
        return self._index.find(key)


class _Index:
    """The keys of many files in one order: their first eight bytes, and where each stands."""

    def __init__(self, files: list[AnswerFile]) -> None:
        self._files = files
        self._starts = [0]
        for file in files:
            self._starts.append(self._starts[-1] + file.rows)
        if self._starts[-1] >= 1 << 32:
            raise InputError(
                f"{files[0].path.parent}: more than {1 << 32:,} answers in more than {SEARCHED_FILES} files",
                hint="merge them into one: engine answers export FILE",
            )
        heads = np.concatenate([file.heads() for file in files])
        order = np.argsort(heads, kind="stable")
        self._heads = heads[order]
        self._order = order.astype(np.uint32)

    def find(self, key: bytes) -> list[tuple[AnswerFile, int]]:
        """Where a key stands: files and rows."""
        head = np.uint64(int.from_bytes(key[:8]))
        at = int(self._heads.searchsorted(head))
        found = []
        while at < len(self._heads) and self._heads[at] == head:
            place = int(self._order[at])
            number = bisect_right(self._starts, place) - 1
            file, row = self._files[number], place - self._starts[number]
            if file.key(row) == key:
                found.append((file, row))
            at += 1
        return found


def answer_files(folder: Path) -> list[Path]:
    """The files of a store, by name. Raises InputError when the folder is something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, not a folder of answers", hint="name the folder it lies in")
    return sorted(folder.glob(f"*{SUFFIX}"))
