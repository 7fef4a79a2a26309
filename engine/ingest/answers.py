"""Answers out of logs and answer files, for the store.

The store knows nothing of logs and logs nothing of it; here, where files of one kind become files of
another, both are in reach, and neither a loop nor a report is needed to import. Of a log the ANSWER rows are
taken that came with an answer; what failed, expired, was not sent or was not paid for is no answer to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from engine.answers.files import AnswerFile, is_answer_file
from engine.answers.store import AnswerStore
from engine.answers.stored import KEPT_OUTCOMES, StoredAnswer, stored
from engine.log.reader import LogReader
from engine.model.errors import InputError
from engine.model.kinds import AnswerData, Kind


class FileReport(msgspec.Struct):
    """What one file brought. Numbers are of its answers."""

    file: str
    answers: int = 0
    added: int = 0
    known: int = 0  # in the store already
    doubles: int = 0  # added beside another answer to the same question
    left_out: dict[str, int] = {}  # ANSWER rows that are no answers, by outcome
    tail: str = ""  # of an unsealed log: what is not used at its end


class ImportReport(msgspec.Struct):
    """What an import came to. `files` are those written into the store, `logs` those that were read."""

    folder: str
    logs: list[FileReport]
    files: list[str]

    @property
    def added(self) -> int:
        """Answers that the store did not have."""
        return sum(log.added for log in self.logs)


def import_answers(store: AnswerStore, paths: list[tuple[Path, str]]) -> ImportReport:
    """Add the answers of logs and answer files, which come with the names to show, to the store.

    Raises InputError or DamagedLog for a file that cannot be read or holds an answer that is not its
    request's: nothing of a file is added before that file was read once from end to end.
    """
    report = ImportReport(str(store.folder), [], [])
    for path, name in paths:
        one = FileReport(name, left_out={})
        for _ in answers_of(path, one):
            pass
        one = FileReport(name, left_out={})
        added = store.add(answers_of(path, one))
        one.answers, one.added, one.known, one.doubles = (
            added.answers,
            added.added,
            added.known,
            added.doubles,
        )
        report.logs.append(one)
        report.files += added.files
    return report


def answers_of(path: Path, report: FileReport | None = None) -> Iterator[StoredAnswer]:
    """The answers of a log, in its order, or of an answer file; what is left out is counted in `report`.

    Raises InputError or DamagedLog, naming file and row.
    """
    report = report or FileReport(str(path), left_out={})
    if is_answer_file(path):
        file = AnswerFile(path)
        for row in range(file.rows):
            answer = file.answer(row)
            yield stored(answer.data, answer.wire, answer.recorded, where=f"{path}: row {row}: ")
        return
    with LogReader(path, ["ts", "kind", "data", "wire"]) as reader:
        for batch in reader.batches():
            for row in np.flatnonzero(batch.kind == int(Kind.ANSWER)).tolist():
                where = f"{path}: seq {batch.first_seq + row}: "
                try:
                    data = msgspec.json.decode(batch.data_at(row) or b"", type=AnswerData)
                except msgspec.DecodeError as error:
                    raise InputError(f"{where}ANSWER: {error}", hint=f"engine log check {path}") from None
                if data.outcome in KEPT_OUTCOMES:
                    yield stored(data, batch.wire_at(row), int(batch.ts[row]), where=where)
                else:
                    report.left_out[data.outcome] = report.left_out.get(data.outcome, 0) + 1
        report.tail = reader.tail
