"""Runs that keep their state, and runs that begin where another one kept it; rows in memory, no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.config import RunConfig
from engine.log.schema import Batch
from engine.log.snapshots import Snapshot
from engine.loop.run import Runner
from engine.loop.snapshots.resuming import Resume
from engine.loop.snapshots.taking import Interval, Snapshots
from engine.loop.source import Numbering, rechunk
from engine.model.instruments import Instrument
from engine.model.kinds import InstrumentData
from engine.strategy.api import Strategy
from tests.helpers.logs import Message
from tests.reference.decisions import Decision
from tests.reference.drive import ListedJournal, batch_of, head_of, loaded
from tests.reference.traders import RandomTrader


class Chance:
    """As much of random.Random as traders use, in one number that anybody can keep."""

    def __init__(self, seed: int) -> None:
        self.state = seed * 2 + 1

    def _word(self) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**62
        return self.state >> 20

    def random(self) -> float:
        """In [0, 1)."""
        return self._word() / 2**42

    def randrange(self, low: int, high: int) -> int:
        """In [low, high)."""
        return low + self._word() % (high - low)

    def choice(self, items: Sequence[Any]) -> Any:
        """One of them."""
        return items[self._word() % len(items)]

    def sample(self, items: Sequence[Any], count: int) -> list[Any]:
        """Some of them, each once."""
        start = self._word()
        return [items[(start + i) % len(items)] for i in range(count)]


class KeptTrader(RandomTrader):
    """A random trader all of whose fields can be kept."""

    def __init__(
        self, seed: int, *, activity: float = 0.3, patient: bool = False, series: tuple[str, ...] = ()
    ) -> None:
        super().__init__(seed, activity=activity, patient=patient, series=series)
        self.chance: Any = Chance(seed)

    def on_corporate(self, ctx: Any, action: Any) -> None:
        """Remembers it, and acts."""
        self._event(ctx, action)

    def _act(self, ctx: Any, instrument: Instrument) -> None:
        """What any random trader does, and orders that wait for a price or for each other."""
        chance = self.chance
        dice = chance.random()
        if dice < 0.6:
            super()._act(ctx, instrument)
            return
        side = chance.choice((1, -1))
        size, tick = side * self._size(), 0.5
        middle = self._price(ctx, instrument, side)
        away = chance.choice((0, 1, 1, 2, 3)) * tick * side
        until = None if chance.random() < 0.7 else ctx.now + chance.choice((1, 5_000_000, 400_000_000))
        tif = "gtc" if until is None else "gtd"
        if dice < 0.7:
            limit = middle + away if chance.random() < 0.4 else None
            self.orders = ctx.stop(instrument, size, middle + away, limit, tif=tif, until=until)
        elif dice < 0.75:
            self.orders = ctx.trail(instrument, size, chance.choice((1, 2, 4)) * tick, tif=tif, until=until)
        elif dice < 0.82:
            profit, loss = middle + side * 2 * tick, middle - side * tick
            self.orders = ctx.oco(instrument, -size, profit, loss, tif=tif, until=until)[1]
        elif dice < 0.92:
            entry = None if chance.random() < 0.2 else middle
            profit, loss = middle + side * 2 * tick, middle - side * 2 * tick
            self.orders = ctx.bracket(instrument, size, entry, profit, loss, tif=tif, until=until)[0]
        elif self.orders:
            order = chance.randrange(max(1, self.orders - 8), self.orders + 1)
            price = middle if chance.random() < 0.5 else None
            ctx.amend(order, size=abs(size) if price is None or chance.random() < 0.5 else None, price=price)


@dataclass
class Played:
    """What a run came to."""

    runner: Runner
    journal: list[Decision]
    hash: str
    trace: list[str]
    snapshots: list[Snapshot] = field(default_factory=list)

    @property
    def at(self) -> dict[int, Snapshot]:
        """Its snapshots by row, without the last one."""
        return {kept.rows: kept for kept in self.snapshots if not kept.ended}


def play(
    messages: Sequence[Message],
    strategy: Strategy,
    config: RunConfig,
    instruments: Sequence[InstrumentData],
    every: Interval,
    *,
    batch_rows: int = 65_536,
    chunk: int = 1024,
    begin: Snapshot | None = None,
    before: Played | None = None,
    room: int = 0,
    interpreted: bool = False,
) -> Played:
    """The whole run; or from a snapshot on, `before` it being the run that took it.

    room: array places that the run has from its beginning on.
    """
    kept: list[Snapshot] = []
    journal = ListedJournal()
    resume = None
    if begin is not None:
        assert before is not None
        journal.decisions += before.journal[: begin.decisions]
        earlier = [one.equity for one in before.snapshots if one.rows <= begin.rows and not one.ended]
        resume = Resume(begin, b"".join(earlier))
    snapshots = Snapshots(every, strategy, kept.append, resume)
    runner = Runner(
        config, loaded(strategy), journal, chunk=chunk, interpreted=interpreted, snapshots=snapshots
    )
    if room:
        _make_room(runner, room)
    numbering = Numbering("test", runner.define)
    snapshots.inputs = lambda: [{"numbers": numbering.kept()}]
    start = 0
    for inputs in snapshots.put_back(runner):
        numbering.put_back(inputs["numbers"])
        start = inputs["next"]

    def batches() -> Iterator[Batch]:
        whole = batch_of([*head_of(instruments), *messages])
        for batch in rechunk(iter([whole.slice(start, whole.count)]), batch_rows):
            yield from numbering.split(batch)

    for batch in batches():
        runner.feed(batch, 0)
    runner.finish()
    runner.flush_journal()
    return Played(runner, journal.decisions, journal.hash.head(), getattr(strategy, "trace", []), kept)


def _make_room(runner: Runner, room: int) -> None:
    memory = runner.memory
    while len(memory.orders) < room:
        memory.grow_orders()
    memory.grow_items(room)
    memory.books.grow_notes(room)
    while len(memory.tables.timers) < room:
        memory.tables.grow_timers()
