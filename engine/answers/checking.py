"""Verifies a store: every byte, every key, and which questions have more than one answer.

A look-up verifies the row that it hands out. This goes through all of them, and further: the key is
computed again from the request, the rows' order (a search relies on it) and the plain columns are compared,
and every file is opened by itself, so that one that is damaged does not hide the others.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.answers.files import AnswerFile
from engine.answers.store import AnswerStore, answer_files
from engine.answers.stored import KEPT_OUTCOMES, StoredAnswer, wrong_with
from engine.model.errors import InputError

MOST_PROBLEMS = 100


class Double(msgspec.Struct, frozen=True):
    """A question with different answers; `recorded` has their times, the one that is served first."""

    key: str
    prompt: str
    recorded: tuple[int, ...]


class StoreReport(msgspec.Struct):
    """What verifying a store came to. `problems` are errors, `doubles` are not."""

    folder: str
    files: int = 0
    rows: int = 0
    answers: int = 0  # different ones
    problems: list[str] = []  # the first MOST_PROBLEMS
    count: int = 0  # of all problems
    doubles: list[Double] = []

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.count

    def wrong(self, problem: str) -> None:
        """Add a problem."""
        self.count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def check_store(folder: Path) -> StoreReport:
    """Verify every file of a store. Raises InputError only when `folder` is no folder."""
    report = StoreReport(str(folder), problems=[], doubles=[])
    good = []
    for path in answer_files(folder):
        report.files += 1
        before = report.count
        try:
            file = AnswerFile(path)
            report.rows += file.rows
            _check_rows(file, report)
        except InputError as error:
            report.wrong(error.message)
        if report.count == before:
            good.append(file)
    store = AnswerStore.of(folder, good)
    for versions in store.each():
        report.answers += len(versions)
        if len(versions) > 1:
            first = versions[0]
            times = tuple(answer.recorded for answer in versions)
            report.doubles.append(Double(first.key, first.request.prompt, times))
    return report


def _check_rows(file: AnswerFile, report: StoreReport) -> None:
    before = b""
    for row, labels in enumerate(file.labels()):
        key = file.key(row)
        if key < before:
            report.wrong(f"{file.path}: row {row}: its key is below that of the row before")
        before = key
        try:
            answer = file.answer(row)
        except InputError as error:
            report.wrong(error.message)
            continue
        problem = wrong_with(answer.data) or _odd(answer, labels)
        if problem:
            report.wrong(f"{file.path}: row {row}: answer {answer.key[:12]}: {problem}")


def _odd(answer: StoredAnswer, labels: tuple[str, str, int, int]) -> str:
    """What besides the key is not as it should be."""
    request = answer.request
    expected = (request.model, request.prompt, request.version, request.sample)
    if labels != expected:
        return f"its columns say {labels}, its request {expected}"
    if answer.data.ticket:
        return f"it has the ticket {answer.data.ticket} of a run"
    if answer.data.outcome not in KEPT_OUTCOMES:
        return f'its outcome is "{answer.data.outcome}"'
    return ""
