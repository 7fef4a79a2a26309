"""What Claude was asked in a run, on which message, and what came back: from the journal down to the bytes.

Questions stand in the journal. Their answers are rows of the log, in a run whose answers were, and lie in
the run's own folder otherwise (engine.answers.source).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from engine.answers.requests import request_from
from engine.answers.source import RUN_ANSWERS, unanswered_in
from engine.answers.store import AnswerStore
from engine.execution.journal_kinds import JournalKind
from engine.log.reader import LogReader
from engine.model.errors import InputError
from engine.model.kinds import AnswerData, Kind
from engine.report.explain import (
    FoundMessage,
    decision_text,
    look_up,
    message_record,
    message_text,
    trigger_text,
)
from engine.report.runs import RunRecord, input_places

TRIGGER_ANSWER = 5


@dataclass
class Asked:
    """One question: its decision, the message that it was asked on, and its answer if there is one."""

    ticket: int
    decision: dict[str, Any]
    time: int = 1  # of asking this very question in the run
    message: FoundMessage | None = None
    answer: AnswerData | None = None
    wire: bytes | None = None


def tickets_of(record: dict[str, Any]) -> list[int]:
    """Questions whose answers a decision names, or was made on."""
    named = list(json.loads(record.get("terms") or "{}").get("because", ()))
    if record["trigger"] == TRIGGER_ANSWER and record["trigger_id"] not in named:
        named.append(record["trigger_id"])
    return named


def find_questions(
    folder: Path, record: RunRecord, journal: pa.Table, tickets: Iterable[int]
) -> tuple[dict[int, Asked], list[str]]:
    """Questions of a run by ticket, and what could not be found, in words."""
    wanted = set(tickets)
    found: dict[int, Asked] = {}
    notes: list[str] = []
    if not wanted:
        return found, notes
    times: dict[str, int] = {}  # by key: how often it was asked so far
    for decision in journal.to_pylist():
        if decision["kind"] == JournalKind.ASK:
            terms = json.loads(decision["terms"])
            times[terms["key"]] = times.get(terms["key"], 0) + 1
            if terms["ticket"] in wanted:
                found[terms["ticket"]] = Asked(terms["ticket"], decision, times[terms["key"]])
    paths = input_places(folder, record)
    for file, path in enumerate(paths):
        here = [asked for asked in found.values() if asked.decision["file"] == file]
        seqs = [asked.decision["cause_seq"] for asked in here if asked.decision["cause_seq"] >= 0]
        messages, problem = look_up(path, seqs)
        notes += [problem] if problem else []
        for asked in here:
            asked.message = messages.get(asked.decision["cause_seq"])
    if record.config.answers == "log":
        for path in paths:
            _from_rows(path, found)
    else:
        _from_run(folder, found)
    return found, notes


def _from_run(folder: Path, found: dict[int, Asked]) -> None:
    store, unanswered = AnswerStore(folder / RUN_ANSWERS), unanswered_in(folder)
    for asked in found.values():
        key = json.loads(asked.decision["terms"])["key"]
        kept = unanswered.get((key, asked.time)) or store.get(key)
        if kept is not None:
            asked.answer, asked.wire = kept.data, kept.wire or None


def _from_rows(path: Path, found: dict[int, Asked]) -> None:
    try:
        with LogReader(path) as reader:
            for batch in reader.batches():
                for row in np.flatnonzero(batch.kind == Kind.ANSWER).tolist():
                    data = msgspec.json.decode(batch.data_at(row) or b"{}", type=AnswerData)
                    asked = found.get(data.ticket)
                    if asked is not None and json.loads(asked.decision["terms"])["key"] == data.key:
                        asked.answer, asked.wire = data, batch.wire_at(row)
    except InputError:
        return  # that the log is not there, or damaged, has been noted with its messages


def question_text(asked: Asked, indent: str = "  ") -> str:
    """The question, the message that it was asked on, and Claude's own words."""
    lines = [f"{indent}shaped by {decision_text(asked.decision)}"]
    if asked.message is not None:
        on = trigger_text(asked.decision)
        on = "the message" if on == "message" else f"{on}; the last message by then:"
        lines += [f"{indent}  asked on {on}", message_text(asked.message, indent + "    ")]
    answer = asked.answer
    if answer is None:
        return "\n".join([*lines, f"{indent}  no answer came"])
    request = request_from(answer.request)
    if request.body.get("system"):
        lines.append(f"{indent}  system   {_line(request.body['system'])}")
    lines.append(f"{indent}  asked    {_line(request.body['messages'][0]['content'])}")
    lines.append(
        f"{indent}  answer   {_line(answer.text) or answer.outcome}  ({answer.model or request.model}, "
        f"{answer.latency_ns / 1e6:.0f} ms{', ' + answer.error if answer.error else ''})"
    )
    if asked.wire:
        lines.append(f"{indent}  wire     {asked.wire.decode(errors='replace')}")
    return "\n".join(lines)


def question_record(asked: Asked) -> dict[str, Any]:
    """The same as one object."""
    answer = asked.answer
    return {
        "ticket": asked.ticket,
        "text": decision_text(asked.decision),
        "cause": None if asked.message is None else message_record(asked.message),
        "request": None if answer is None else json.loads(answer.request),
        "outcome": None if answer is None else answer.outcome,
        "answer": None if answer is None else answer.text,
        "error": None if answer is None else answer.error,
        "wire": None if asked.wire is None else asked.wire.decode(errors="replace"),
    }


def _line(text: str) -> str:
    return " ".join(str(text).split())
