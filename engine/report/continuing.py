"""Beginning a run where another one kept its state: which snapshot, and whether it is the same run.

    runs/20240601T120000-mine-1                    its last snapshot
    runs/20240601T120000-mine-1:3                  the third
    runs/20240601T120000-mine-1:2024-06-01T14:00   the last one at or before that time

What was decided up to there is taken from that run's journal, so the new folder is whole: it can be verified,
compared and taken up like any other. It only means something if all that decides is what it was: the logs,
the configuration, the strategy and its parameters, the rules of the engine. Each is checked, and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from engine.config import BEHAVIOUR_VERSION, RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.log.journal import JOURNAL_SCHEMA, Journal, hash_of_table, read_journal
from engine.log.reader import LogReader
from engine.log.snapshots import Snapshot, SnapshotFile, read_snapshots
from engine.loop.snapshots.taking import OPEN_QUESTIONS
from engine.model.errors import InputError, UsageError
from engine.model.units import format_time
from engine.report.compare import differences
from engine.report.runs import JOURNAL_FILE, RUN_FILE, SNAPSHOT_FILE, RunRecord, read_run
from engine.strategy.loader import LoadedStrategy

if TYPE_CHECKING:
    from engine.loop.snapshots.resuming import Resume

_OPTION = "--from-snapshot"


class _Asked(msgspec.Struct):
    """What counts here of a question's terms."""

    key: str


@dataclass
class Start:
    """A snapshot to begin at, and what came before it."""

    folder: Path
    record: RunRecord
    number: int  # from 1
    snapshot: Snapshot
    before: list[Snapshot] = field(default_factory=list)  # itself included
    journal: pa.Table = field(default_factory=JOURNAL_SCHEMA.empty_table)
    changed: bool = False  # the strategy is another from here on
    parameters: dict[str, Any] = field(default_factory=dict)  # of it, that are others

    @property
    def resume(self) -> Resume:
        """For the loop."""
        from engine.loop.snapshots.resuming import Resume  # kernels: only for who goes on

        return Resume(self.snapshot, b"".join(one.equity for one in self.before), self.parameters)

    @property
    def asked(self) -> set[str]:
        """Keys of the questions that were asked before."""
        asks = self.journal.filter(pc.equal(self.journal["kind"], int(JournalKind.ASK)))
        return {msgspec.json.decode(text, type=_Asked).key for text in asks["terms"].to_pylist()}

    def copy_to(self, journal: Journal, kept: SnapshotFile) -> None:
        """Let another run's journal and snapshots begin with these."""
        journal.begin_with(self.journal)
        for one in self.before:
            kept.take(one)

    @property
    def shown(self) -> str:
        """As run.json names it."""
        changed = ", with another strategy" if self.changed else ""
        return f"{self.record.id}:{self.number} (row {self.snapshot.rows:,}){changed}"


def find_start(text: str) -> Start:
    """The snapshot that the user names; UsageError or InputError when there is none such.

    Its journal is read up to there and compared with the snapshot.
    """
    folder, which = _parted(text)
    record = read_run(folder)
    kept = [one for one in read_snapshots(folder / SNAPSHOT_FILE) if not one.ended]
    if not kept:
        raise InputError(
            f"{folder}: the run kept no snapshot to begin at",
            hint="run it with a smaller --snapshot-every: a number of rows, or 15m of its time",
        )
    number = _chosen(which, kept, text)
    snapshot = kept[number - 1]
    if snapshot.refused:
        raise InputError(
            f"{folder}: snapshot {number} lacks the strategy's own state: {snapshot.refused}",
            hint="begin at one before they were asked or after they were answered"
            if snapshot.refused.endswith(OPEN_QUESTIONS)
            else "keep numbers, texts, lists, dicts, arrays and objects of own classes on self, or give the "
            "strategy snapshot(self) and restore(self, state)",
        )
    if record.config.behaviour != BEHAVIOUR_VERSION:
        raise InputError(
            f"{folder}: decided by the rules of version {record.config.behaviour}; this engine decides by "
            f"those of version {BEHAVIOUR_VERSION}",
            hint="run it from its beginning",
        )
    journal = read_journal(folder / JOURNAL_FILE).slice(0, snapshot.journal_rows)
    if journal.num_rows < snapshot.journal_rows or hash_of_table(journal) != snapshot.journal_hash:
        raise InputError(
            f"{folder / JOURNAL_FILE}: not the journal that snapshot {number} was taken beside",
            hint="run it again: the same log gives the same journal",
        )
    return Start(folder, record, number, snapshot, kept[:number], journal)


def _parted(text: str) -> tuple[Path, str]:
    """RUN and what follows its colon; a folder's own name may have one."""
    if Path(text).is_dir():
        return Path(text), ""
    # A time has colons, too: the first part that is a folder is the run.
    parts = text.split(":")
    for count in range(len(parts) - 1, 0, -1):
        folder = Path(":".join(parts[:count]))
        if folder.is_dir():
            return folder, ":".join(parts[count:])
    return Path(parts[0]), ":".join(parts[1:])


def _chosen(which: str, kept: list[Snapshot], text: str) -> int:
    """The number of the snapshot that is meant, from 1."""
    first, last = kept[0], kept[-1]
    there = (
        f"it has 1 to {len(kept)}, from {format_time(first.ts)} (row {first.rows:,}) "
        f"to {format_time(last.ts)} (row {last.rows:,})"
    )
    if not which:
        return len(kept)
    if which.isdecimal():
        if 1 <= int(which) <= len(kept):
            return int(which)
        raise UsageError(f"{_OPTION} {text}: the run has no snapshot {which}", hint=there)
    try:
        moment = datetime.fromisoformat(which)
    except ValueError:
        raise UsageError(
            f'{_OPTION} {text}: "{which}" is neither a number nor a time',
            hint="RUN:3 or RUN:2024-06-01T14:00",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    ns = round(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
    before = sum(one.ts <= ns for one in kept)
    if not before:
        raise UsageError(f"{_OPTION} {text}: no snapshot is as early as that", hint=there)
    return before


def check_config(start: Start, asked: RunConfig) -> None:
    """Raise UsageError when the configuration that was asked for is not that of the run."""
    found = differences(msgspec.to_builtins(start.record.config), msgspec.to_builtins(asked))
    if found:
        raise UsageError(
            f"{_OPTION}: the run of {start.folder} was asked otherwise: {'; '.join(found)}",
            hint="leave these options out: a run goes on with the configuration that it began with",
        )


def check_strategy(start: Start, loaded: LoadedStrategy, *, changed: bool) -> None:
    """Raise UsageError when strategy or parameters are not the run's, unless they may be `changed`."""
    record = start.record.strategy
    now = msgspec.json.decode(msgspec.json.encode(loaded.parameters))  # as run.json has them
    parameters = differences(record.parameters, now)
    same = record.fingerprint == loaded.fingerprint
    if changed or (same and not parameters):
        start.changed = not same or bool(parameters)
        names = [name for name in now if now[name] != record.parameters.get(name)]
        start.parameters = {name: loaded.parameters[name] for name in names}
        return
    what = "; ".join(parameters) if same else f"strategy {loaded.reference} has changed since the run"
    raise UsageError(
        f"{_OPTION}: {what}",
        hint="to try how it would go on from there: --changed-strategy; what was decided before stays that "
        "of the run, and the new one will not verify",
    )


def check_inputs(start: Start, paths: Sequence[Path]) -> None:
    """Raise InputError when the logs are not those of the run, row for row."""
    inputs = start.record.inputs
    if len(paths) != len(inputs):
        raise InputError(
            f"{_OPTION}: {len(paths)} logs; the run of {start.folder} read {len(inputs)}: "
            f"{', '.join(entry.path for entry in inputs)}",
            hint="name the same logs, in the same order",
        )
    for path, entry in zip(paths, inputs, strict=True):
        if not entry.chain:
            raise InputError(
                f"{start.folder / RUN_FILE}: says nothing of the rows of {entry.path}, which was not sealed "
                "when the run was killed",
                hint="run it from its beginning",
            )
        if _chain_after(path, entry.rows) != entry.chain:
            raise InputError(
                f"{path}: not the log of the run: its chain after {entry.rows:,} rows is another",
                hint=f"the run read {entry.path}, seen from its folder",
            )


def _chain_after(path: Path, rows: int) -> str:
    """The chain head of a log that has exactly so many rows; "" of any other."""
    with LogReader(path, ("ts",)) as log:
        if log.sealed:
            return log.header.sealed_chain if log.header.sealed_rows == rows else ""
        for _ in log.batches():
            pass
        return log.chain_head if log.next_seq == rows else ""
