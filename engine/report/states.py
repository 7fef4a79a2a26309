"""Between which two snapshots the states of two runs parted, and in what.

Two runs may decide the same for hours after something in them has become different: a level of a book, a
place in a queue, a field of the strategy. The hashes of their snapshots say when; the snapshots say what.
Snapshots are compared where both runs have one at the same row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.log.snapshots import Snapshot, read_snapshots
from engine.model.units import format_time
from engine.report.parts import engine_parts, strategy_parts
from engine.report.runs import SNAPSHOT_FILE


@dataclass
class Parting:
    """Where one kind of state is different for the first time."""

    rows: int  # of the run, at the snapshot
    ts: int
    ended: bool
    rows_before: int  # at the last one that was the same; -1: none was
    ts_before: int
    parts: list[str] = field(default_factory=list)  # what differs there, in words

    @property
    def when(self) -> str:
        """In words."""
        here = "at the end" if self.ended else f"at row {self.rows:,} ({format_time(self.ts)})"
        if self.rows_before < 0:
            return f"different from the first snapshot on, {here}"
        return f"the same at row {self.rows_before:,} ({format_time(self.ts_before)}), different {here}"


@dataclass
class StateComparison:
    """What comparing the snapshots of two runs found."""

    compared: int = 0  # snapshots that both have at the same row
    engine: Parting | None = None
    strategy: Parting | None = None
    notes: list[str] = field(default_factory=list)


def compare_states(left: Path, right: Path) -> StateComparison:
    """Compare two runs' snapshots; InputError or DamagedLog where a file of them cannot be read."""
    sides = [
        {(one.rows, one.ended): one for one in read_snapshots(folder / SNAPSHOT_FILE)}
        for folder in (left, right)
    ]
    pairs = [(one, sides[1][place]) for place, one in sides[0].items() if place in sides[1]]
    found = compare_snapshots(pairs)
    if not pairs:
        missing = [str(folder) for folder, side in zip((left, right), sides, strict=True) if not side]
        found.notes.append(
            f"no state was kept of {' and '.join(missing)}"
            if missing
            else "the runs kept no state at the same row: their states were not compared"
        )
    return found


def compare_snapshots(pairs: list[tuple[Snapshot, Snapshot]]) -> StateComparison:
    """Compare snapshots that stand at the same rows, in their order."""
    found = StateComparison(len(pairs))
    before: Snapshot | None = None
    for a, b in pairs:
        if found.engine is None and a.engine_hash != b.engine_hash:
            found.engine = _parting(a, before, engine_parts(a.engine, b.engine))
        if found.strategy is None and a.strategy_hash and b.strategy_hash:
            if a.strategy_hash != b.strategy_hash:
                found.strategy = _parting(a, before, strategy_parts(a.strategy, b.strategy))
        elif found.strategy is None and (refused := a.refused or b.refused) and not found.notes:
            found.notes.append(f"the strategy's own fields were not compared: {refused}")
        before = a
    return found


def _parting(here: Snapshot, before: Snapshot | None, parts: list[str]) -> Parting:
    return Parting(
        here.rows,
        here.ts,
        here.ended,
        -1 if before is None else before.rows,
        0 if before is None else before.ts,
        parts,
    )
