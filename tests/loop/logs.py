"""Random markets in log files, whole or in segments, and backtests over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from engine.config import RunConfig
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.loop.backtest import run_backtest
from engine.loop.run import Runner
from engine.model.kinds import InstrumentData, Kind
from engine.strategy.api import Strategy
from tests.helpers.logs import Message, Row, definitions, make_log
from tests.reference.decisions import Decision
from tests.reference.drive import ListedJournal, loaded
from tests.reference.markets import ALL


@dataclass
class Ran:
    """A backtest's decisions."""

    runner: Runner
    journal: list[Decision] = field(default_factory=list)
    hash: str = ""

    @property
    def decided(self) -> list[tuple[object, ...]]:
        """The decisions without where the input stood (file and row), which files may change."""
        return [tuple(value for name, value in vars(d).items() if name != "cause_seq") for d in self.journal]


def backtest(paths: Sequence[Path], strategy: Strategy, config: RunConfig, *, batch_rows: int = 0) -> Ran:
    """A strategy over logs."""
    journal = ListedJournal()
    done = run_backtest(paths, config, loaded(strategy), journal, batch_rows=batch_rows)
    return Ran(done.runner, journal.decisions, journal.close())


def write_market(
    path: Path,
    messages: Iterable[Message],
    instruments: Sequence[InstrumentData] = ALL,
    *,
    per_batch: int = 50,
    sealed: bool = False,
    head: Sequence[Message] = (),
) -> Path:
    """One log of definitions and messages; an END row only if the messages have one."""
    everything = [*(head or definitions(instruments)), *messages]
    return make_log(path, everything, per_batch=per_batch, end=False, sealed=sealed, with_definitions=False)


def write_segments(
    folder: Path,
    messages: Sequence[Message],
    cuts: Sequence[int],
    instruments: Sequence[InstrumentData] = ALL,
    *,
    ends: bool = True,
) -> list[Path]:
    """The messages cut before each index, every segment with its own head, as a recorder writes them."""
    paths: list[Path] = []
    previous: LogWriter | None = None
    edges = [0, *cuts, len(messages)]
    for number, (start, stop) in enumerate(pairwise(edges), 1):
        part = messages[start:stop]
        head = definitions(instruments)
        if start:
            # After the last message and not after the next: where a recorder's own head stands.
            ts = messages[start - 1].ts + 1
            head = [Message(ts, message.rows) for message in head]
        header = LogHeader(
            segment=number,
            previous_file=previous.path.name if previous else "",
            previous_chain=previous.chain_head if previous else "",
        )
        writer = LogWriter(folder / f"part{number}.arrow", header)
        for i, message in enumerate([*head, *part]):
            message.append_to(writer.rows)
            if i % 20 == 0:
                writer.flush()
        if ends and stop < len(messages):
            Message(part[-1].ts if part else head[-1].ts, (Row(Kind.END, source=0),)).append_to(writer.rows)
        writer.flush()
        writer.abandon()
        paths.append(writer.path)
        previous = writer
    return paths
