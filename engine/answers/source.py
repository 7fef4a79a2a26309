"""A store as a run's source of answers: what was asked is looked up, and what was used is kept with the run.

A run that is to be repeated must not depend on what a store holds later. So the answers that it got lie
beside its journal, and `verify` takes them from there. Questions that were asked during the run and got no
answer (failed, expired, nothing sent) had an outcome too, at a time of its own: no store takes it, because
the next run may ask, so it stands in a file of the run, with the how-manieth time of asking it belongs to.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import msgspec

from engine.answers.copying import copy_answers
from engine.answers.lines import append_line, read_lines
from engine.answers.requests import Request
from engine.answers.store import AnswerStore, Place
from engine.answers.stored import StoredAnswer
from engine.model.errors import EngineError
from engine.model.kinds import AnswerData

RUN_ANSWERS = "answers"  # folder in a run's folder
UNANSWERED = "unanswered.jsonl"  # file in that


class StoreSource:
    """Looks answers up in a store, and remembers those that it gave."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._given: dict[str, tuple[StoredAnswer, Place | None]] = {}

    def find(self, request: Request) -> AnswerData | None:
        """The answer that is served for a request; the same one each time, whatever the store gets."""
        key = request.key
        given = self._given.get(key)
        if given is None:
            found, place = self._store.served(key)
            if found is None:
                return None
            given = self._given[key] = (found, place)
        return given[0].data

    @property
    def warnings(self) -> list[str]:
        """What whoever reads the run's result should know of its answers."""
        return []

    def keep(self, run: Path) -> None:
        """Put the answers that were given into a run's folder. Raises EngineError if that fails."""
        if self._given:
            places = [place for _, place in self._given.values() if place]
            others = [answer for answer, place in self._given.values() if not place]
            copy_answers(places, others, run / RUN_ANSWERS)

    def close(self) -> None:
        """The run is over; nothing is looked up any more."""


class ContinuedSource(StoreSource):
    """A store for a run that goes on from another one: what that was told of a question stays true.

    Its answers come first, and what it asked in vain stays without an answer, whatever the store has got
    since. Otherwise the beginning and the end of the run would not have been told the same.
    """

    def __init__(self, store: AnswerStore, earlier: Path, asked: Collection[str]) -> None:
        """`asked`: keys of what the earlier run had asked before. Raises as a store does."""
        super().__init__(store)
        self._earlier = AnswerStore(earlier / RUN_ANSWERS)
        self._asked = frozenset(asked)

    def find(self, request: Request) -> AnswerData | None:
        """As the earlier run was answered, else as the store says."""
        key = request.key
        found = self._earlier.get(key)
        if found is not None:
            return found.data
        return None if key in self._asked else super().find(request)


class MissingSource(StoreSource):
    """Looks answers up, and collects what the store lacks, each question once, as they were asked."""

    def __init__(self, store: AnswerStore) -> None:
        super().__init__(store)
        self.asked = 0
        self.missing: dict[str, Request] = {}

    def find(self, request: Request) -> AnswerData | None:
        """As a store's; what is not there is noted, and the strategy gets its default."""
        self.asked += 1
        found = super().find(request)
        if found is None:
            self.missing.setdefault(request.key, request)
        return found


class Unanswered(msgspec.Struct, frozen=True):
    """What came of a question instead of an answer."""

    time: int  # of asking this very question in the run, from 1
    data: AnswerData
    wire: bytes = b""


class RunSource(StoreSource):
    """What a run was answered, again: from its folder, and nothing else."""

    def __init__(self, run: Path) -> None:
        """Raises InputError when a file of the run's answers is damaged."""
        super().__init__(AnswerStore(run / RUN_ANSWERS))
        self._unanswered = unanswered_in(run)
        self._times: dict[str, int] = {}

    def find(self, request: Request) -> AnswerData | None:
        """The answer, or what came instead of one when the question was asked this time."""
        if self._unanswered:
            key = request.key
            time = self._times[key] = self._times.get(key, 0) + 1
            if instead := self._unanswered.get((key, time)):
                return instead.data
        return super().find(request)


def inherit_answers(earlier: Path, run: Path) -> None:
    """Let a run that goes on from another one have what that was answered. Raises as a store does."""
    answers = (answer for versions in AnswerStore(earlier / RUN_ANSWERS).each() for answer in versions)
    AnswerStore(run / RUN_ANSWERS).add(answers)


def unanswered_in(run: Path) -> dict[tuple[str, int], Unanswered]:
    """By key and time of asking. Raises InputError for a damaged file."""
    path = run / RUN_ANSWERS / UNANSWERED
    advice = "the run can be verified and explained only with the file as it was written"
    return {(one.data.key, one.time): one for one in read_lines(path, Unanswered, advice)}


def keep_unanswered(run: Path, one: Unanswered) -> None:
    """Write one down in a run's folder. Raises EngineError."""
    path = run / RUN_ANSWERS / UNANSWERED
    try:
        path.parent.mkdir(exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            append_line(handle, one, sync=False)
        finally:
            os.close(handle)
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error.strerror or error}") from None
