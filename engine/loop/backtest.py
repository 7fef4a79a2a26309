"""A strategy over recorded logs: files in, a finished runner out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import RunConfig
from engine.log.journal import Journal
from engine.log.reader import LogReader
from engine.log.schema import Batch, LogHeader
from engine.loop.run import Runner
from engine.loop.source import NEEDED, Numbering, merge, rechunk
from engine.model.errors import InputError
from engine.strategy.loader import LoadedStrategy

PREFETCH = 2  # batches that are read and verified ahead, in a thread beside the loop


@dataclass
class Input:
    """One log of a run, as run.json names it."""

    path: Path
    header: LogHeader
    sealed: bool
    rows: int = 0
    chain: str = ""
    tail: str = ""


@dataclass
class Backtest:
    """A finished run over logs: the runner, and what was read."""

    runner: Runner
    inputs: list[Input] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What a user should know of the inputs."""
        return [
            f"{i.path}: not sealed; it was run up to its last good batch, {i.rows:,} rows"
            + (f" ({i.tail})" if i.tail else "")
            for i in self.inputs
            if not i.sealed
        ]


def run_backtest(
    paths: Sequence[Path],
    config: RunConfig,
    loaded: LoadedStrategy,
    journal: Journal,
    *,
    batch_rows: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Backtest:
    """Run a strategy over logs, merged by time. `batch_rows` re-cuts the input (0: as it is).

    Raises InputError or DamagedLog for the input, StrategyError for the strategy; the journal then holds
    what was decided before.
    """
    runner = Runner(config, loaded, journal)
    result = Backtest(runner)
    readers = [LogReader(path, NEEDED) for path in paths]
    try:
        streams: list[Iterator[Batch]] = []
        for reader in readers:
            result.inputs.append(Input(reader.path, reader.header, reader.sealed))
            batches = reader.batches(prefetch=PREFETCH)
            if batch_rows:
                batches = rechunk(batches, batch_rows)
            streams.append(_numbered(Numbering(str(reader.path), runner.define), batches))
        try:
            for batch, file in merge(streams):
                runner.feed(batch, file)
                if progress is not None:
                    progress(runner.rows)
            if not runner.rows:
                names = ", ".join(str(p) for p in paths)
                raise InputError(
                    f"{names}: no rows to run over", hint="engine log check says what is in a file"
                )
            runner.finish()
        finally:
            runner.flush_journal()
        for entry, reader in zip(result.inputs, readers, strict=True):
            entry.rows = reader.next_seq
            entry.chain = reader.chain_head
            entry.tail = reader.tail
    finally:
        for reader in readers:
            reader.close()
    return result


def _numbered(numbering: Numbering, batches: Iterator[Batch]) -> Iterator[Batch]:
    for batch in batches:
        yield from numbering.split(batch)
