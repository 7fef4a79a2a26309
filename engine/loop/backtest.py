"""A strategy over recorded logs: files in, a finished runner out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config import RunConfig
from engine.log.cache import open_log
from engine.log.journal import Journal
from engine.log.reader import LogReader
from engine.log.schema import Batch, LogHeader
from engine.loop.run import Runner
from engine.loop.source import NEEDED, Numbering, Stream, merge, rechunk
from engine.model.errors import InputError
from engine.model.kinds import InstrumentData, Kind
from engine.strategy.loader import LoadedStrategy

if TYPE_CHECKING:
    from engine.loop.asking import AnswerSource
    from engine.loop.snapshots.taking import Snapshots

PREFETCH = 2  # batches that are read and verified ahead, in threads beside the loop


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


def run_backtest(  # noqa: PLR0913  each says one thing about a run
    paths: Sequence[Path],
    config: RunConfig,
    loaded: LoadedStrategy,
    journal: Journal,
    *,
    batch_rows: int = 0,
    interpreted: bool = False,
    progress: Callable[[int], None] | None = None,
    snapshots: Snapshots | None = None,
    answers: AnswerSource | None = None,
) -> Backtest:
    """Run a strategy over logs, merged by time. `batch_rows` re-cuts the input (0: as it is).

    `answers` is where answers to questions come from; without it they are rows of the log.
    `interpreted` runs a compiled strategy in plain Python: slower, and with the same decisions. `snapshots`
    keeps the state now and then, and knows where to begin, if not at the first row.

    Raises InputError or DamagedLog for the input, StrategyError for the strategy; the journal then holds
    what was decided before.
    """
    runner = Runner(config, loaded, journal, interpreted=interpreted, snapshots=snapshots, answers=answers)
    ended: set[str] = set()  # chain heads of files that were run to their end
    files = [_File(path, runner, batch_rows, ended) for path in paths]
    result = Backtest(runner, [file.input for file in files])
    if snapshots is not None:
        _begin(runner, files, snapshots)
    with_rows = [file for file in files if file.first_ts is not None]
    for file in sorted(with_rows, key=lambda f: f.first_ts or 0):
        for data in file.opening:
            runner.foresee(data)
    try:
        for batch, place in merge([Stream(file.first_ts or 0, file.batches) for file in with_rows]):
            file = with_rows[place]
            if not file.begun:
                file.begin()
            for part in file.numbering.split(batch):
                runner.feed(part, files.index(file))
            if progress is not None:
                progress(runner.rows)
        if not runner.rows:
            names = ", ".join(str(p) for p in paths)
            raise InputError(f"{names}: no rows to run over", hint="engine log check says what is in a file")
        runner.finish()
    finally:
        runner.flush_journal()
        for file in files:
            file.close()
    return result


def _begin(runner: Runner, files: Sequence[_File], snapshots: Snapshots) -> None:
    snapshots.inputs = lambda: [file.kept() for file in files]
    for file, kept in zip(files, snapshots.put_back(runner), strict=False):
        file.put_back(kept)


class _File:
    """One input while it is read."""

    def __init__(self, path: Path, runner: Runner, batch_rows: int, ended: set[str]) -> None:
        self.reader = open_log(path, NEEDED)
        self.input = Input(self.reader.path, self.reader.header, self.reader.sealed)
        self.numbering = Numbering(str(path), self._define, runner.registry)
        self.begun = False
        self._runner = runner
        self._batch_rows = batch_rows
        self._ended = ended
        self._continues = False
        self._keys: set[str] = set()
        self._first_seq = 0
        self.first_ts: int | None = None
        # What the file's head defines is known when the run begins, so that on_start sees every
        # instrument; a segment that goes on with a recording has nothing to add.
        self.opening: list[InstrumentData] = []
        with LogReader(path, ("ts", "kind", "data")) as peek:
            first = next(peek.batches(join_rows=0), None)
            if first is not None:
                self.first_ts = int(first.ts[0])
                if not self.reader.header.previous_chain:
                    self.opening = _definitions(first)

    def batches(self) -> Iterator[Batch]:
        """The file's batches, read ahead."""
        batches = self.reader.batches(prefetch=PREFETCH, first_seq=self._first_seq)
        yield from rechunk(batches, self._batch_rows) if self._batch_rows else batches
        # Only here: a thread reads ahead, and what it has read says nothing of what has been run.
        self._ended.add(self.reader.chain_head)

    def kept(self) -> dict[str, Any]:
        """How far it has been read and what of it counts from there on, as plain values."""
        return {
            "begun": self.begun,
            "continues": self._continues,
            "keys": sorted(self._keys),
            "numbers": self.numbering.kept(),
        }

    def put_back(self, kept: dict[str, Any]) -> None:
        """Begin where another process was: at row `next`. When none is left, there is no first row."""
        self.begun, self._continues = kept["begun"], kept["continues"]
        self._keys = set(kept["keys"])
        self.numbering.put_back(kept["numbers"])
        self._first_seq = kept["next"]
        self.opening = []  # known from the snapshot
        if self._first_seq:
            with LogReader(self.input.path, ("ts",)) as peek:
                first = next(peek.batches(prefetch=1, join_rows=0, first_seq=self._first_seq), None)
            self.first_ts = None if first is None else int(first.ts[0])
            if self.first_ts is None:
                for _ in self.batches():
                    pass

    def begin(self) -> None:
        """The file's first row is next."""
        self.begun = True
        self._continues = self.reader.header.previous_chain in self._ended
        if not self._continues:
            self._runner.lift_halts()

    def _define(self, data: InstrumentData, ts: int) -> int:
        # Between files that are not one recording anything may have happened to a book.
        # A file that has no book of it is beside the one that has, not after it.
        interrupted = not self._continues and data.key not in self._keys and "book" in data.channels
        self._keys.add(data.key)
        return self._runner.define(data, ts, interrupted=interrupted)

    def close(self) -> None:
        """Note what was read, and let go of the file."""
        self.input.rows = self.reader.next_seq
        self.input.chain = self.reader.chain_head
        self.input.tail = self.reader.tail
        self.reader.close()


def _definitions(batch: Batch) -> list[InstrumentData]:
    """The instruments that the reference rows at a batch's beginning define."""
    found = []
    for row in range(batch.count):
        kind = int(batch.kind[row])
        if kind == Kind.INSTRUMENT:
            try:
                found.append(msgspec.json.decode(batch.data_at(row) or b"", type=InstrumentData))
            except msgspec.DecodeError:
                break  # said with file and row when the run gets there
        elif kind != Kind.SOURCE:
            break
    return found
