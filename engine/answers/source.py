"""A store as a run's source of answers: what was asked is looked up, and what was used is kept with the run.

A run that is to be repeated must not depend on what a store holds later. So the answers that it got lie
beside its journal, and `verify` takes them from there.
"""

from __future__ import annotations

from pathlib import Path

from engine.answers.copying import copy_answers
from engine.answers.requests import Request
from engine.answers.store import AnswerStore
from engine.model.kinds import AnswerData

RUN_ANSWERS = "answers"  # folder in a run's folder


class StoreSource:
    """Looks answers up in a store, and remembers those that it gave."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._given: dict[str, AnswerData] = {}

    def find(self, request: Request) -> AnswerData | None:
        """The answer that is served for a request; the same one each time, whatever the store gets."""
        key = request.key
        if key not in self._given:
            found = self._store.get(key)
            if found is None:
                return None
            self._given[key] = found.data
        return self._given[key]

    def keep(self, run: Path) -> None:
        """Put the answers that were given into a run's folder. Raises EngineError if that fails."""
        if self._given:
            copy_answers(self._store, self._given, run / RUN_ANSWERS)
