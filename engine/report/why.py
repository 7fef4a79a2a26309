"""The story of one order: what was decided about it, and the message behind each decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from engine.execution.journal_kinds import JournalKind
from engine.log.journal import STRATEGY_LINE, read_journal
from engine.model.errors import UsageError
from engine.model.units import format_time
from engine.report.explain import (
    FoundMessage,
    decision_text,
    look_up,
    message_record,
    message_text,
    trigger_text,
)
from engine.report.questions import Asked, find_questions, question_record, question_text, tickets_of
from engine.report.runs import JOURNAL_FILE, input_places, read_run
from engine.report.verify import decisions_of

_OWN = (JournalKind.SUBMIT, JournalKind.REFUSED, JournalKind.CANCEL)


@dataclass
class Story:
    """An order's decisions and reports, oldest first, and the messages that caused its decisions."""

    run: str
    order: int
    records: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[int, FoundMessage] = field(default_factory=dict)  # by the decision's number
    notes: list[str] = field(default_factory=list)  # why a message is not among them
    questions: dict[int, Asked] = field(default_factory=dict)  # by ticket: whose answers shaped it


def explain_order(folder: Path, order: int) -> Story:
    """Read an order's story out of a run's folder and its logs; UsageError when there is no such order."""
    record = read_run(folder)
    table = decisions_of(folder)
    own = table.filter(pc.equal(table["order"], order))
    if own.num_rows == 0:
        highest = pc.max(table["order"]).as_py() or 0
        raise UsageError(
            f"{folder}: no order {order}",
            hint=f"its orders are 1 to {highest}" if highest else "it sent none",
        )
    story = Story(str(folder), order, own.to_pylist())
    paths = input_places(folder, record)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for entry in story.records:
        if entry["kind"] in _OWN and entry["cause_seq"] >= 0 and entry["file"] < len(paths):
            wanted.setdefault(entry["file"], []).append((entry["cause_seq"], entry["number"]))
    for file, places in wanted.items():
        found, problem = look_up(paths[file], [seq for seq, _ in places])
        if problem:
            story.notes.append(problem)
        for seq, number in places:
            if seq in found:
                story.messages[number] = found[seq]
    tickets = [ticket for entry in story.records if entry["kind"] in _OWN for ticket in tickets_of(entry)]
    story.questions, problems = find_questions(folder, record, table, tickets)
    story.notes += [problem for problem in problems if problem not in story.notes]
    return story


def everything(folder: Path) -> list[dict[str, Any]]:
    """All records of a run's journal as dictionaries, the strategy's own lines (kind "log") among them."""
    read_run(folder)
    records: list[dict[str, Any]] = read_journal(folder / JOURNAL_FILE).to_pylist()
    for record in records:
        own = record["kind"] == STRATEGY_LINE
        record["words"] = line_text(record) if own else decision_text(record)
        record["kind"] = "log" if own else JournalKind.NAMES.get(record["kind"], str(record["kind"]))
    return records


def everything_text(records: list[dict[str, Any]]) -> str:
    """The records, a line each."""
    return "\n".join(record["words"] for record in records) or "nothing was decided"


def line_text(record: dict[str, Any]) -> str:
    """A line that the strategy logged."""
    return f"    {format_time(record['ts'])}  log  {record['text']}"


def why_text(story: Story) -> str:
    """The story as lines."""
    lines = [f"order {story.order} of {story.run}", *(f"note: {note}" for note in story.notes)]
    for record in story.records:
        lines.append(decision_text(record))
        if record["kind"] in _OWN:
            lines.append(f"  decided on: {trigger_text(record)}; the last message by then:")
            message = story.messages.get(record["number"])
            lines.append(message_text(message) if message else "  (none yet)")
            lines += [
                question_text(story.questions[ticket])
                for ticket in tickets_of(record)
                if ticket in story.questions
            ]
    return "\n".join(lines)


def why_record(story: Story) -> dict[str, Any]:
    """The story as one object."""
    return {
        "run": story.run,
        "order": story.order,
        "notes": story.notes,
        "questions": [question_record(asked) for asked in story.questions.values()],
        "decisions": [
            {
                **record,
                "kind": JournalKind.NAMES.get(record["kind"], str(record["kind"])),
                "text": decision_text(record),
                "cause": message_record(story.messages[record["number"]])
                if record["number"] in story.messages
                else None,
            }
            for record in story.records
        ],
    }
