"""When the state is kept, and how: `Snapshots` stands beside a runner and looks at each part of its input.

A snapshot stands where a certain row has been run: after every so many rows of the run, at the end of the
message then, or before the first message at or after every full interval of the loop's time. Both follow
from the log alone. The rows that are fed are cut there, which changes nothing that a run decides; so the
kernels need to know nothing of it, and cost nothing.

A snapshot has two hashes, of the engine's state and of the strategy's own fields. Fields that cannot be kept
leave the second one empty, and the run cannot be taken up from there.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config import parse_duration
from engine.log.schema import Batch
from engine.log.snapshots import Snapshot
from engine.loop.snapshots.capture import engine_bytes, engine_state, surroundings
from engine.loop.snapshots.names import modules_of
from engine.loop.snapshots.objects import Unfit, Writer, has_hooks, strategy_bytes
from engine.model.errors import UsageError
from engine.model.kinds import Flag
from engine.strategy.api import Strategy

if TYPE_CHECKING:
    from engine.loop.run import Runner
    from engine.loop.snapshots.resuming import Resume

EVERY_ROWS = 1_000_000
OPEN_QUESTIONS = "of its questions had no answer yet"  # ends why a snapshot lacks the strategy's state
_LAST = int(Flag.LAST)
_NEVER = 2**62
_OPEN = Strategy.__mro__


class Interval(msgspec.Struct, frozen=True):
    """How often the state is kept: after so many rows, or so much of the loop's time; 0 and 0: never."""

    rows: int = 0
    ns: int = 0

    def __str__(self) -> str:
        return f"{self.ns}ns" if self.ns else str(self.rows) if self.rows else ""

    def __bool__(self) -> bool:
        return bool(self.rows or self.ns)


def parse_interval(text: str, what: str = "--snapshot-every") -> Interval:
    """An interval from "1000000", "15m" or "0"; UsageError otherwise."""
    bare = text.strip().replace("_", "").replace(",", "")
    if bare.isdecimal():
        return Interval(rows=int(bare))
    ns = parse_duration(text, what)
    if not ns:
        raise UsageError(
            f'{what}: "{text}" is no interval', hint="write a number of rows, 15m, or 0 for none"
        )
    return Interval(ns=ns)


class Snapshots:
    """Keeps the state of one run. `take` gets each snapshot; `resume`: where the run begins, if not at 0."""

    def __init__(
        self,
        every: Interval,
        strategy: Strategy,
        take: Callable[[Snapshot], None],
        resume: Resume | None = None,
    ) -> None:
        self.every = every
        self.inputs: Callable[[], list[dict[str, Any]]] = list  # what is to be kept of each input
        self.last: Snapshot | None = None
        self._take = take
        self._resume = resume
        self._strategy = strategy
        self._due: deque[int] = deque()  # rows told at which a snapshot is to be taken
        self._next_ns = 0
        self._form = b""  # a compiled strategy's fields as on_start left them
        self._outside = outside_of(strategy)

    # --- where ---

    def parts(self, batch: Batch, rows: int) -> Iterator[Batch]:
        """The batch, cut where a snapshot is due; `rows` have come before it."""
        start = 0
        while start < batch.count:
            stop = self._cut(batch, start, rows + start)
            yield batch if start == 0 and stop == batch.count else batch.slice(start, stop)
            start = stop

    def _cut(self, batch: Batch, start: int, rows: int) -> int:
        if self.every.rows:
            wanted = start + self.every.rows - rows % self.every.rows
            if wanted > batch.count:
                return batch.count
            stop = wanted
            while stop < batch.count and not batch.flags[stop - 1] & _LAST:
                stop += 1
            self._due.append(rows + stop - start)
            return stop
        if self.every.ns:
            first = int(batch.ts[start])
            if first >= self._next_ns:
                if self._next_ns and rows:
                    self._due.append(rows)
                self._next_ns = (first // self.every.ns + 1) * self.every.ns
            return start + int(batch.ts[start:].searchsorted(self._next_ns))
        return batch.count

    def reached(self, runner: Runner) -> None:
        """All rows that the strategy has been told of have been run: take a snapshot if one is due here."""
        while self._due and self._due[0] <= runner.told:
            if self._due.popleft() == runner.told and runner.started:
                self._keep(runner)

    # --- what ---

    def begin(self, runner: Runner) -> None:
        """on_start has run."""
        if self._strategy.__engine_compiled__ and self.every:
            try:
                self._form = strategy_bytes(self._strategy, runner.registry.instruments)
            except Unfit:
                self._form = b""  # said with the first snapshot

    def end(self, runner: Runner) -> None:
        """The run has ended: its last state is kept as well, to be compared."""
        self._keep(runner, ended=True)

    def put_back(self, runner: Runner) -> list[dict[str, Any]]:
        """Bring the runner to where it is to begin, if that is a snapshot: what was kept of its inputs."""
        if self._resume is None:
            return []
        self._form = self._resume.form
        return self._resume.put_back(runner)

    def _keep(self, runner: Runner, *, ended: bool = False) -> None:
        keeper = runner.keeper
        keeper.drain_journal()
        if runner.memory.get("equity_count"):
            keeper.drain_equity()
        runner.sync_strategy()
        engine = engine_bytes(engine_state(runner))
        fields, refused = b"", outside_changed(self._strategy, self._outside)
        if not refused and runner.asking.open:
            refused = f"{runner.asking.open} {OPEN_QUESTIONS}"
        if not refused:
            try:
                fields = strategy_bytes(self._strategy, runner.registry.instruments)
            except Unfit as unfit:
                refused = str(unfit)
        rest = surroundings(runner)
        places = runner.places
        rest["inputs"] = [{**kept, "next": places.get(file, 0)} for file, kept in enumerate(self.inputs())]
        snapshot = Snapshot(
            rows=runner.told,
            ts=runner.memory.get("now"),
            file=rest["file"],
            seq=rest["cause_seq"],
            ended=ended,
            engine_hash=blake2b(engine, digest_size=32).hexdigest(),
            strategy_hash="" if refused else blake2b(fields, digest_size=32).hexdigest(),
            refused=refused,
            engine=engine,
            strategy=fields,
            form=self._form,
            rest=b"" if ended else msgspec.msgpack.encode(rest),
            equity=keeper.new_equity(),
        )
        self.last = snapshot

        def place(journal_rows: int, decisions: int, journal_hash: str) -> None:
            snapshot.journal_rows = journal_rows
            snapshot.decisions = decisions
            snapshot.journal_hash = journal_hash
            self._take(snapshot)

        runner.journal.mark(place)


def outside_of(strategy: Strategy) -> dict[str, bytes]:
    """What a strategy's modules and classes hold beside its instance, as far as it can be written."""
    found: dict[str, bytes] = {}
    kind = type(strategy)
    if has_hooks(strategy):
        return found
    spaces: list[tuple[str, Any]] = [
        (f"{alias.removeprefix('strategy').removeprefix('.')}", vars(module))
        for alias, module in modules_of(kind).items()
        if kind.__module__.startswith("engine_strategy_")
    ]
    spaces += [(cls.__name__, vars(cls)) for cls in kind.__mro__ if cls not in _OPEN]
    for space, names in spaces:
        for name, value in names.items():
            if name.startswith("__") or isinstance(value, types.ModuleType | types.FunctionType | type):
                continue
            shown = f"{space}.{name}" if space else name
            try:
                found[shown] = msgspec.msgpack.encode(Writer(strategy, ()).write(value, shown))
            except Unfit:
                continue
    return found


def outside_changed(strategy: Strategy, before: dict[str, bytes]) -> str:
    """What of it is not as it was when the run began, in words; "" when all is."""
    now = outside_of(strategy)
    for name in [*before, *(name for name in now if name not in before)]:
        if now.get(name) != before.get(name):
            return f"{name}, which stands outside of the instance, has changed since the run began"
    return ""
