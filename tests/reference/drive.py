"""Runs the engine's own loop over messages in memory, and gives back what it decided in the twin's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.config import RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import OrderKind, TimeInForce, reason_name
from engine.execution.state import JOURNAL
from engine.log.journal import Journal
from engine.log.schema import Batch, batch_of_buffer
from engine.loop.asking import AnswerSource
from engine.loop.run import Runner
from engine.loop.source import Numbering, rechunk
from engine.model.kinds import InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from engine.strategy.api import Strategy
from engine.strategy.loader import LoadedStrategy
from tests.helpers.logs import BTC, Message, Row, definitions
from tests.reference.decisions import Decision
from tests.reference.loop import Twin


class ListedJournal(Journal):
    """A journal that keeps its records as `Decision`s, and the words of refusals by decision number."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions: list[Decision] = []
        self.words: dict[int, str] = {}
        self.lines: list[tuple[int, str]] = []
        self.records_taken: list[npt.NDArray[np.void]] = []

    def line(self, ts: int, file: int, cause_seq: int, text: str) -> None:
        """Keep the strategy's own line."""
        self.lines.append((ts, text))
        super().line(ts, file, cause_seq, text)

    def explain(self, number: int, text: str) -> None:
        """Keep the words."""
        self.words[number] = text
        super().explain(number, text)

    def append(
        self,
        records: npt.NDArray[np.void],
        keys: Sequence[str],
        terms: npt.NDArray[np.void] | None = None,
        said: dict[int, str] | None = None,
    ) -> None:
        """Keep the records."""
        self.records_taken.append(records)
        texts = {int(entry["decision"]): terms_of(entry) for entry in (terms if terms is not None else ())}
        texts.update(said or {})
        self.decisions += [
            decision_of(record, keys, texts.get(int(record["number"]), "")) for record in records
        ]
        super().append(records, keys, terms, said)


def terms_of(entry: Any) -> str:
    """What a decision has beside its columns, as the twin writes it."""
    names = ("stop", "trail", "expires", "parent", "group")
    return " ".join(f"{name}={int(entry[name])}" for name in names if entry[name])


def decision_of(record: Any, keys: Sequence[str], terms: str = "") -> Decision:
    """One record of the engine's journal in words."""
    number = {name: int(record[name]) for name in record.dtype.names}
    return Decision(
        number["number"],
        number["ts"],
        JournalKind.NAMES[number["kind"]],
        number["order"],
        keys[number["instrument"]],
        number["side"],
        number["price"],
        number["size"],
        number["fee"],
        OrderKind(number["order_kind"]).name.lower() if number["order"] else "",
        TimeInForce(number["tif"]).name.lower() if number["order"] else "",
        number["options"],
        reason_name(number["reason"]),
        number["maker"],
        number["cause_seq"],
        number["trigger"],
        number["trigger_id"],
        terms,
    )


@dataclass
class Outcome:
    """What a run decided."""

    runner: Runner
    journal: list[Decision] = field(default_factory=list)
    hash: str = ""
    words: dict[int, str] = field(default_factory=dict)
    lines: list[tuple[int, str]] = field(default_factory=list)
    records: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, JOURNAL))  # as they stand


def loaded(strategy: Strategy) -> LoadedStrategy:
    """A strategy object as the loader would hand it over."""
    name = type(strategy).__name__
    return LoadedStrategy(strategy, name, name, Path(f"{name}.py"), "", {}, {}, (), ())


def batch_of(messages: Sequence[Message], first_seq: int = 0) -> Batch:
    """Messages as one batch."""
    buffer = RowBuffer()
    for message in messages:
        message.append_to(buffer)
    return batch_of_buffer(buffer, first_seq)


def head_of(instruments: Sequence[InstrumentData]) -> list[Message]:
    """The rows that a file begins with; of several venues, source 1 is the first's, 2 the next one's."""
    head = definitions(instruments, SourceData(name=instruments[0].venue, venue=instruments[0].venue))
    venues = list(dict.fromkeys(i.venue for i in instruments))
    for number, venue in enumerate(venues[1:], 2):
        data = encode_canonical(SourceData(name=venue, venue=venue))
        head.insert(1, Message(head[0].ts, (Row(Kind.SOURCE, source=number, data=data),)))
    return head


def run_engine(
    messages: Sequence[Message],
    strategy: Strategy,
    config: RunConfig,
    instruments: Sequence[InstrumentData] = (BTC,),
    *,
    batch_rows: int = 65_536,
    chunk: int = 1024,
    interpreted: bool = False,
    answers: AnswerSource | None = None,
) -> Outcome:
    """The loop over definitions and messages, cut into batches and chunks of the given sizes."""
    journal = ListedJournal()
    runner = Runner(config, loaded(strategy), journal, chunk=chunk, interpreted=interpreted, answers=answers)
    numbering = Numbering("test", runner.define)

    def batches() -> Iterator[Batch]:
        whole = batch_of([*head_of(instruments), *messages])
        for batch in rechunk(iter([whole]), batch_rows):
            yield from numbering.split(batch)

    try:
        for batch in batches():
            runner.feed(batch, 0)
        runner.finish()
    finally:
        runner.flush_journal()
    records = np.concatenate([np.zeros(0, JOURNAL), *journal.records_taken])
    return Outcome(runner, journal.decisions, journal.hash.head(), journal.words, journal.lines, records)


def run_twin(
    messages: Sequence[Message],
    strategy: Strategy,
    config: RunConfig,
    instruments: Sequence[InstrumentData] = (BTC,),
) -> Twin:
    """The twin over the same."""
    head = head_of(instruments)
    return Twin(config, instruments, strategy).run(messages, first_seq=len(head), start=head[-1].ts)


def first_difference(ours: Sequence[Any], theirs: Sequence[Any]) -> str:
    """Where two lists part, for people; empty when they are equal."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            before = "".join(f"\n    both   {x}" for x in ours[max(0, i - 6) : i])
            return f"at {i}:{before}\n    engine {a}\n    twin   {b}"
    if len(ours) != len(theirs):
        longer, name = (ours, "engine") if len(ours) > len(theirs) else (theirs, "twin")
        shorter = min(len(ours), len(theirs))
        return f"only the {name} goes on after {shorter}: {longer[shorter]}"
    return ""
