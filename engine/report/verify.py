"""Runs a run again, and names the first decision in which two journals part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from engine.answers.prompt_files import SUFFIX as PROMPT_SUFFIX
from engine.answers.source import RUN_ANSWERS, RunSource
from engine.config import BEHAVIOUR_VERSION, RunConfig
from engine.log.journal import (
    HASH_FIELDS,
    JOURNAL_SCHEMA,
    STRATEGY_LINE,
    Journal,
    hash_of_table,
    read_journal,
    terms_texts,
)
from engine.log.snapshots import Snapshot, read_snapshots
from engine.model.errors import EngineError, MissingAnswer, StrategyError
from engine.report.explain import FoundMessage, look_up
from engine.report.runs import (
    JOURNAL_FILE,
    SNAPSHOT_FILE,
    InputRecord,
    RunRecord,
    code_fingerprint,
    input_paths,
    input_places,
    log_header,
    read_run,
    recorded_hash,
    strategy_reference,
)
from engine.report.states import compare_snapshots
from engine.strategy.loader import LoadedStrategy, load_strategy

if TYPE_CHECKING:
    from engine.loop.backtest import Backtest


@dataclass
class Divergence:
    """The first decision that is not the same on both sides; None: that side has no such decision."""

    number: int
    left: dict[str, Any] | None
    right: dict[str, Any] | None
    fields: tuple[str, ...] = ()
    causes: list[FoundMessage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # why a cause is not among them


@dataclass
class Verification:
    """What a verification found."""

    run: str
    same: bool
    recorded_hash: str
    replayed_hash: str
    decisions: int
    finished: bool
    complete: bool  # every decision of the replay is in the run's journal, and no other
    divergence: Divergence | None = None
    notes: list[str] = field(default_factory=list)


def decisions_of(folder: Path) -> pa.Table:
    """A run's decisions, without the strategy's own lines."""
    table = read_journal(folder / JOURNAL_FILE)
    return table.filter(pc.not_equal(table["kind"], STRATEGY_LINE))


def first_divergence(left: pa.Table, right: pa.Table) -> Divergence | None:
    """Compare two journals by what their hash covers; None when they are the same."""
    rows = min(left.num_rows, right.num_rows)
    first = rows
    for name in HASH_FIELDS:
        a, b = left[name].slice(0, rows), right[name].slice(0, rows)
        if name == "terms":
            a, b = pc.fill_null(a, ""), pc.fill_null(b, "")
        differs = np.asarray(pc.not_equal(a, b)) if rows else np.zeros(0, bool)
        places = np.flatnonzero(differs)
        if len(places):
            first = min(first, int(places[0]))
    if first == rows and left.num_rows == right.num_rows:
        return None
    sides = [table.slice(first, 1).to_pylist() for table in (left, right)]
    a_row, b_row = (side[0] if side else None for side in sides)
    fields = tuple(name for name in HASH_FIELDS if a_row[name] != b_row[name]) if a_row and b_row else ()
    return Divergence(first + 1, a_row, b_row, fields)


def add_causes(divergence: Divergence, inputs: list[list[Path]]) -> None:
    """Read the messages that caused the two sides out of their logs, as far as those are there and good."""
    for record, paths in zip((divergence.left, divergence.right), inputs, strict=True):
        if record is None or record["cause_seq"] < 0 or record["file"] >= len(paths):
            continue
        found, problem = look_up(paths[record["file"]], [record["cause_seq"]])
        if problem and problem not in divergence.notes:
            divergence.notes.append(problem)
        for message in found.values():
            if message not in divergence.causes:
                divergence.causes.append(message)


def verify_run(
    folder: Path,
    *,
    strategy: str = "",
    batch_rows: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Execute a run again from its inputs and compare every decision.

    `strategy` is the file that the run's strategy is now, "" for where it was.
    Raises InputError when the inputs or the strategy are not there any more.
    """
    # Here, because reading what runs decided needs no kernels.
    from engine.loop.backtest import run_backtest
    from engine.loop.snapshots.taking import Snapshots, parse_interval

    record = read_run(folder)
    paths = input_paths(folder, record)
    recorded = decisions_of(folder)
    notes = []
    if record.config.behaviour != BEHAVIOUR_VERSION:
        notes.append(
            f"the run was decided by the rules of version {record.config.behaviour}, "
            f"this engine decides by those of version {BEHAVIOUR_VERSION}"
        )
    if record.code and record.code != code_fingerprint():
        notes.append("the engine's code is not that of the run")
    loaded = load_strategy(
        strategy_reference(folder, record, strategy),
        table=record.strategy.parameters,
        home=folder.resolve().parent.parent,
    )
    notes += (changed := _changes(record, loaded))
    collector = _Collector()
    wanted = recorded_hash(folder)
    kept = list(read_snapshots(folder / SNAPSHOT_FILE))
    again: list[Snapshot] = []
    every = parse_interval(record.snapshot_every or "0")
    snapshots = Snapshots(every, loaded.strategy, again.append) if kept else None
    try:
        result = run_backtest(
            paths,
            _offline(record.config),
            loaded,
            collector,
            batch_rows=batch_rows,
            progress=progress,
            snapshots=snapshots,
            answers=_answers(folder, record, loaded),
        )
    except EngineError as failure:
        cut = not wanted and collector.records >= recorded.num_rows
        if isinstance(failure, MissingAnswer) and not cut and not changed:
            raise _not_kept(folder, failure, finished=bool(wanted)) from None
        _pass_on(failure, changed, finished=bool(wanted), cut=cut)
        notes.append(f"in the replay {failure.message}")
        heads = [log_header(path).sealed_chain for path in paths]
        notes += [
            _other_log(before)
            for before, head in zip(record.inputs, heads, strict=True)
            if before.chain and head and head != before.chain
        ]
    else:
        notes += _input_notes(record, result)
    stored = hash_of_table(recorded)
    replayed = collector.table()
    finished = bool(wanted)
    if finished and stored != wanted:
        notes.append("the journal's decisions do not give the hash in summary.json: the journal was altered")
    complete = recorded.num_rows == replayed.num_rows
    if not finished:
        # A run that was killed: what it managed to write must be how the replay begins.
        notes.append(
            "the run did not finish (no summary.json): its decisions are compared as far as they go"
            + ("" if complete else f", {recorded.num_rows:,} of {replayed.num_rows:,}")
        )
        replayed_part = replayed.slice(0, recorded.num_rows)
        divergence = first_divergence(recorded, replayed_part)
    else:
        divergence = first_divergence(recorded, replayed)
    notes += _state_notes(record, kept, again)
    replayed_hash = collector.hash.head()
    same = divergence is None and (not finished or (stored == wanted == replayed_hash))
    if divergence is not None:
        add_causes(divergence, [paths, paths])
    return Verification(
        run=str(folder),
        same=same,
        recorded_hash=wanted or stored,
        replayed_hash=replayed_hash,
        decisions=recorded.num_rows,
        finished=finished,
        complete=same and complete,
        divergence=divergence,
        notes=notes,
    )


def _pass_on(failure: EngineError, changed: list[str], *, finished: bool, cut: bool) -> None:
    """Raise what ended a replay, unless the run itself may have ended so.

    A failure of the strategy may have ended it. And one that was `cut` off, all of whose decisions have come
    again, was not answered what it had not asked.
    """
    if changed and isinstance(failure, MissingAnswer):  # what it asks now, nobody was asked then
        raise MissingAnswer(f"{'; '.join(changed)}: {failure.message}", hint=failure.hint) from None
    if cut and isinstance(failure, MissingAnswer):
        return
    if finished or not isinstance(failure, StrategyError):
        raise failure


def _not_kept(folder: Path, failure: MissingAnswer, *, finished: bool) -> MissingAnswer:
    """The same error with what helps: buying does not, because a run is verified by what it was answered."""
    words = (
        "they were there when the run ended: put them back"
        if finished
        else "the run was killed before they were put there: run it again, the store has what was bought"
    )
    return MissingAnswer(f"{folder / RUN_ANSWERS}: {failure.message}", hint=words)


def _changes(record: RunRecord, loaded: LoadedStrategy) -> list[str]:
    """What of the strategy is not as it was: its code, or prompt files by name."""
    if loaded.fingerprint == record.strategy.fingerprint:
        return []
    now = {Path(name).name: digest for name, digest in loaded.files.items()}
    before = record.strategy.files
    names = sorted({name for name in (*now, *before) if now.get(name) != before.get(name)})
    prompts = [name for name in names if name.endswith(PROMPT_SUFFIX)]
    notes = [f"prompt file {name} has changed since the run" for name in prompts]
    if names != prompts or not names:
        notes.insert(0, f"strategy {record.strategy.reference} has changed since the run")
    return notes


def _offline(config: RunConfig) -> RunConfig:
    """What a run was asked, except that nobody is called."""
    return replace(config, answers="error") if config.answers == "call" else config


def _answers(folder: Path, record: RunRecord, loaded: LoadedStrategy) -> RunSource | None:
    """What the run was answered; None where answers are rows of its log, or it asked nothing."""
    rows = record.config.answers == "log" or "on_answer" not in loaded.handlers
    return None if rows else RunSource(folder)


def _state_notes(record: RunRecord, kept: list[Snapshot], again: list[Snapshot]) -> list[str]:
    """What is to be known of the states beside the decisions: that they part, and in what first."""
    notes = []
    if record.began_at:
        notes.append(f"the run began at snapshot {record.began_at}; the replay began at its first row")
    if record.code and record.code != code_fingerprint():
        return notes  # another engine may keep more, or less
    places = {(one.rows, one.ended): one for one in again}
    pairs = [(one, places[one.rows, one.ended]) for one in kept if (one.rows, one.ended) in places]
    found = compare_snapshots(pairs)
    for name, parting in (("the engine's state", found.engine), ("the strategy's fields", found.strategy)):
        if parting is not None:
            more = f", and {len(parting.parts) - 1} more" if len(parting.parts) > 1 else ""
            notes.append(f"{name}: {parting.when}: {parting.parts[0] if parting.parts else ''}{more}")
    return notes


def _input_notes(record: RunRecord, result: Backtest) -> list[str]:
    """What should be known of the logs that were read: other rows than the run's, torn ends."""
    return [
        _other_log(before)
        for entry, before in zip(result.inputs, record.inputs, strict=True)
        if before.chain and entry.chain != before.chain
    ] + result.warnings


def _other_log(before: InputRecord) -> str:
    return f"input {before.path} is not the log of the run: its chain head differs"


def diff_runs(left: Path, right: Path) -> Divergence | None:
    """The first divergence of two runs, its causes read from their logs where they still are."""
    divergence = first_divergence(decisions_of(left), decisions_of(right))
    if divergence is not None:
        add_causes(divergence, [input_places(folder, read_run(folder)) for folder in (left, right)])
    return divergence


class _Collector(Journal):
    """A journal in memory that can be compared with one on disk."""

    def __init__(self) -> None:
        super().__init__(None)
        self._batches: list[pa.RecordBatch] = []

    def append(self, records: Any, keys: Any, terms: Any = None, said: Any = None) -> None:
        """Take records as Journal does, and keep them."""
        super().append(records, keys, terms, said)
        if len(records):
            texts = {**(terms_texts(terms) if terms is not None else {}), **(said or {})}
            self._batches.append(self.record_batch(records, keys, texts))

    def table(self) -> pa.Table:
        """Everything taken."""
        return pa.Table.from_batches(self._batches, schema=JOURNAL_SCHEMA)
