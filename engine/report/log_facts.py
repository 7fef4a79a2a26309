"""What a report wants to know of a run's logs, read in one pass each: headlines, answers, instruments.

Only rows that can hold such a thing are decoded, and a log is left as soon as nothing more is wanted of it.
What is not there or damaged is said in words; what was found before stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.errors import InputError
from engine.model.kinds import AnswerData, Flag, InstrumentData, Kind, NewsData
from engine.model.units import NULL_TIME

_COLUMNS = ("ts", "ts_venue", "kind", "flags", "data")
_KINDS = (int(Kind.NEWS), int(Kind.ANSWER), int(Kind.INSTRUMENT))


class Headline(msgspec.Struct, frozen=True):
    """A NEWS row: `published` is the time that it says itself, None when it says none."""

    text: str
    published: int | None
    received: int


@dataclass
class LogFacts:
    """What was found. Headlines are those of the message that holds a row (file, seq)."""

    headlines: dict[tuple[int, int], list[Headline]] = field(default_factory=dict)
    answers: dict[int, AnswerData] = field(default_factory=dict)  # by ticket
    instruments: dict[str, InstrumentData] = field(default_factory=dict)  # by key, as defined last
    notes: list[str] = field(default_factory=list)


def facts_of(
    paths: Sequence[Path], places: set[tuple[int, int]], answers: dict[int, str], instruments: set[str]
) -> LogFacts:
    """Read the logs. `places` are rows (file, seq), `answers` keys of questions by their tickets."""
    facts = LogFacts()
    for file, path in enumerate(paths):
        seqs = sorted(seq for place, seq in places if place == file)
        lacking = {ticket: key for ticket, key in answers.items() if ticket not in facts.answers}
        if not seqs and not lacking and instruments <= facts.instruments.keys():
            continue
        try:
            _read(path, file, seqs, lacking, instruments, facts)
        except InputError as error:
            facts.notes.append(f"not all is known: {error.message}")
    return facts


def _read(
    path: Path, file: int, seqs: list[int], answers: dict[int, str], instruments: set[str], facts: LogFacts
) -> None:
    with LogReader(path, _COLUMNS) as reader:
        for batch in reader.batches():
            if not seqs and not answers and instruments <= facts.instruments.keys():
                return
            try:
                _take(batch, file, seqs, answers, facts)
            except msgspec.DecodeError as error:
                raise InputError(f"{path}: rows from {batch.first_seq} on cannot be read: {error}") from None


def _take(batch: Batch, file: int, seqs: list[int], answers: dict[int, str], facts: LogFacts) -> None:
    end = batch.first_seq + batch.count
    while seqs and seqs[0] < end:
        seq = seqs.pop(0)
        facts.headlines[file, seq] = _headlines(batch, max(0, seq - batch.first_seq))
    for row in np.flatnonzero(np.isin(batch.kind, _KINDS)).tolist():
        kind, text = int(batch.kind[row]), batch.data_at(row) or b"{}"
        if kind == Kind.INSTRUMENT:
            defined = msgspec.json.decode(text, type=InstrumentData)
            facts.instruments[defined.key] = defined
        elif kind == Kind.ANSWER and answers:
            data = msgspec.json.decode(text, type=AnswerData)
            if answers.get(data.ticket) == data.key:
                facts.answers[data.ticket] = data
                del answers[data.ticket]


def _headlines(batch: Batch, row: int) -> list[Headline]:
    """Of the message that holds a row."""
    first = last = row
    while first > 0 and not int(batch.flags[first - 1]) & Flag.LAST:
        first -= 1
    while last < batch.count - 1 and not int(batch.flags[last]) & Flag.LAST:
        last += 1
    found = []
    for at in range(first, last + 1):
        if batch.kind[at] == Kind.NEWS:
            news = msgspec.json.decode(batch.data_at(at) or b"{}", type=NewsData)
            stamp = int(batch.ts_venue[at])
            found.append(Headline(news.headline, None if stamp == NULL_TIME else stamp, int(batch.ts[at])))
    return found
