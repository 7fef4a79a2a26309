"""One runner for live, paper and backtest: batches of rows in, decisions out.

`feed` takes rows in the log's order, from wherever they come. Kernels keep the market, the simulated venue
and the agenda; engine.loop.gears hands the strategy what is its own.

It never reads a clock, and never asks where its rows come from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from engine.config import RunConfig
from engine.log.journal import Journal
from engine.log.schema import Batch
from engine.loop import kernels, listing
from engine.loop.asking import AnswerSource, Asking
from engine.loop.caller import Caller, watched
from engine.loop.charges import Charges
from engine.loop.chunk import Chunk
from engine.loop.context import LoopContext
from engine.loop.gears import Gears
from engine.loop.keeping import Keeper
from engine.loop.machine import Machine
from engine.loop.memory import FIELD, Memory
from engine.loop.series import Woven
from engine.loop.special import SpecialRows, clock_row
from engine.loop.venue_clock import VenueClock
from engine.model.instruments import Registry
from engine.model.kinds import InstrumentData, Kind
from engine.model.units import NULL_TIME
from engine.strategy.loader import LoadedStrategy

if TYPE_CHECKING:
    from engine.loop.snapshots.taking import Snapshots

CHUNK = 2048  # deliveries taken together

_REFERENCE = (int(Kind.SOURCE), int(Kind.INSTRUMENT))
_ROW, _ROWS = FIELD["row"], FIELD["rows"]
_FIRST_SEQ, _FILE, _CAUSE = FIELD["first_seq"], FIELD["file"], FIELD["cause_seq"]
_SEQS = FIELD["seqs"]
_START, _STOP = 3, 4  # triggers beside message, report and timer


class Runner(Gears):
    """One execution of one strategy over rows that are fed to it."""

    def __init__(
        self,
        config: RunConfig,
        loaded: LoadedStrategy,
        journal: Journal,
        *,
        chunk: int = CHUNK,
        interpreted: bool = False,
        snapshots: Snapshots | None = None,
        answers: AnswerSource | None = None,
    ) -> None:
        """`answers` is where answers come from, if they are no rows (see engine.loop.asking)."""
        self.config = config
        self.loaded = loaded
        self.strategy = loaded.strategy
        self.journal = journal
        self.registry = Registry()
        self.memory = Memory(config)
        self.keeper = Keeper(self.memory, self.registry, journal)
        self.ledger = self.keeper.ledger
        self.messages = 0
        self.rows = 0
        self.first_ts = 0
        self.last_ts = 0
        self.started = False
        self.finished = False
        self.told = 0  # rows that the strategy has been told of: with a clock of the venue's, fewer
        self.places: dict[int, int] = {}  # by file: the row after the last one of these
        self.snapshots = snapshots  # keeps the state now and then; None: never
        self._chunk_size = chunk
        self._interpreted = interpreted or not self.strategy.__engine_compiled__
        self._machine: Machine | None = None
        self._file = 0
        self._batch = Batch()
        self._chunk: Chunk | None = None
        self.context = LoopContext(
            self.memory,
            self.registry,
            config.seed,
            self.keeper,
            catch_up=self._catch_up,
            log_line=self._log_line,
        )
        self._caller = Caller(self.strategy, self.context, self.memory)
        self.asking = Asking(
            self._caller,
            self.memory,
            self.registry,
            self.keeper,
            name=loaded.name,
            source=answers,
            missing=config.answers,
        )
        self.context.asking = self.asking
        self.venue_clock = VenueClock(config, self.memory.state[0]) if config.clock == "venue" else None
        self.waiting: deque[tuple[Batch, int]] = deque()  # rows that the strategy is not told of yet
        self._wants_venue = -1  # the stream that needs rows
        # Then the venue's rows of an event's own time have to be there before the strategy acts on it.
        self._arrives_at_once = config.clock == "venue" and config.latency.entry_ns == 0
        self.charges = Charges(config, self._caller, self.memory, self.registry, self.keeper)
        self.special = SpecialRows(
            config, self.strategy, self._caller, self.memory, self.registry, self.charges, self.asking
        )

    # --- input ---

    def feed(self, batch: Batch, file: int = 0) -> None:
        """Run everything that these rows bring about.

        `batch.instrument` holds run-wide indexes (see engine.loop.source), and reference rows come in
        batches of their own. Raises StrategyError when the strategy fails.
        """
        if self.snapshots is None:
            self._take(batch, file)
            return
        for part in self.snapshots.parts(batch, self.rows):
            self._look()
            self._take(part, file)
        self._look()

    def _look(self) -> None:
        """All rows told so far may have been run: then let the state be kept, if it is to be, here."""
        if self.snapshots is not None and self._wants_venue < 0:
            self.snapshots.reached(self)

    def _take(self, batch: Batch, file: int) -> None:
        if not batch.count:
            return
        if not self.started:
            self.first_ts = self.first_ts or int(batch.ts[0])
            if self.venue_clock is None and int(batch.kind[0]) not in _REFERENCE:
                self._start()
        self.rows += batch.count
        self.messages += int(np.count_nonzero(batch.flags & 1))
        self.last_ts = int(batch.ts[-1])
        if self.venue_clock is None:
            self._feed(batch, file)
            return
        self.venue_clock.take(batch, file)
        self.waiting.append((batch, file))
        self._pump()

    def _feed(self, batch: Batch, file: int) -> None:
        self._file = file
        self.told += batch.count
        self.places[file] = batch.first_seq + batch.count
        memory = self.memory
        scalars = memory.scalars
        batch = self._take_rows(batch)
        self._batch = batch
        scalars[_FIRST_SEQ] = batch.first_seq
        scalars[_FILE] = file
        need = listing.index(memory.address)
        if need:
            memory.grow_deliveries(need)
            listing.index(memory.address)
        self._chunk = None
        self.special.take(batch, file)
        if self._machine is not None:
            self._machine.take(batch)
        self.memory.tables.forget()
        with watched():
            self._run()

    def _take_rows(self, batch: Batch) -> Batch:
        """Let the kernels see these rows, and the bars that they finish where the strategy asked for some."""
        memory, scalars = self.memory, self.memory.scalars
        memory.take_columns(batch)
        scalars[_ROWS] = batch.count
        scalars[_ROW] = 0
        series = self.context.series
        if series.count:
            woven = series.weave(batch)
            if isinstance(woven, Woven):
                memory.take_columns(woven)
                scalars[_ROWS] = woven.count
                scalars[_SEQS] = woven.seqs.ctypes.data
                return woven
        return batch

    def _pump(self) -> None:
        """With a clock of the venue's own: run as far as the venues' rows have come."""
        assert self.venue_clock is not None
        while True:
            if self._wants_venue >= 0:
                if not self.venue_clock.feed(self._wants_venue, self.last_ts):
                    return
                self._wants_venue = -1
                with watched():
                    self._run()
            elif self.waiting:
                self._look()
                batch, file = self.waiting.popleft()
                self.venue_clock.tell()
                if not self.started and int(batch.kind[0]) not in _REFERENCE:
                    self._start()
                self._feed(batch, file)
            else:
                return

    def next_due(self) -> int | None:
        """When something falls due next, ns; None when nothing does. For whoever writes CLOCK rows."""
        due = kernels.next_due(self.memory.address)
        bar = self.context.series.due()
        if due == NULL_TIME:
            return bar
        return due if bar is None else min(due, bar)

    def define(self, data: InstrumentData, ts: int, *, interrupted: bool = False) -> int:
        """Take an instrument's definition just before its row of time `ts` is fed; its run-wide index.

        What is due until then still runs under the definition before. `interrupted`: rows may be
        missing since the last one of this instrument, so that a book of it that is there waits for
        a snapshot.
        """
        if self.venue_clock is None:
            self._advance_to(ts)
        elif interrupted or self._finer(data):
            self._drain_venues()
        self.keeper.drain_journal()  # what was decided is counted in the increments it was decided in
        instrument, before = self.registry.define(data)
        self.memory.define(instrument, before)
        if self.venue_clock is not None:
            self.venue_clock.define(instrument)
        if before is not None:
            self.context.redefine(instrument)
            self.context.series.redefine(before, instrument)
            if self._machine is not None:
                self._machine.redefine(before, instrument)
            self.ledger.rescale(instrument.index, 10 ** (instrument.size_decimals - before.size_decimals))
        if before is not None and interrupted and self.memory.has_book(instrument):
            self.memory.doubt_book(instrument.index)
        if before is None:
            self.keeper.keys.append(instrument.key)
        else:
            self.context.visible = tuple(
                instrument if seen.index == instrument.index else seen for seen in self.context.visible
            )
        return instrument.index

    def foresee(self, data: InstrumentData) -> None:
        """Take the definition of an instrument that will come, if its key is new; on_start sees it."""
        if data.key not in self.keeper.keys:
            self.special.announce(self.define(data, 0))

    def lift_halts(self) -> None:
        """Another recording begins: what halted orders in the one before says nothing about it."""
        self.special.lift_halts()

    def _finer(self, data: InstrumentData) -> bool:
        known = self.registry.known(data.key)
        return known is not None and (known.price_decimals, known.size_decimals) != (
            data.price_decimals,
            data.size_decimals,
        )

    def _drain_venues(self) -> None:
        """Run all rows that have come, as if none came after them: what follows is counted differently."""
        assert self.venue_clock is not None
        self.venue_clock.end(ended=True)
        self._wants_venue = -1
        with watched():
            self._run()
        self._pump()
        self.venue_clock.end(ended=False)

    def _advance_to(self, ts: int) -> None:
        """Run what is due at or before `ts`, as a CLOCK row would."""
        due = self.next_due()
        if self.started and due is not None and due <= ts:
            with watched():
                scalars = self.memory.scalars
                scalars[_FIRST_SEQ] = scalars[_CAUSE]  # no row of the log: the last cause stays
                self._batch = self._take_rows(clock_row(ts, scalars[_CAUSE]))
                if self._machine is not None:
                    self._machine.take(self._batch)
                listing.index(self.memory.address)
                self._chunk = None
                self._run()

    def finish(self) -> None:
        """The input has ended: on_stop, and the journal is complete. Nothing fires because of it."""
        if self.finished:
            return
        self.finished = True
        if self.venue_clock is not None:
            self._drain_venues()
        if not self.started:
            self._start()
        self.context.ahead(None)
        self.memory.set("trading_state", 1)
        self.context.stopped = True
        self._trigger(_STOP, 0)
        self._caller.once("on_stop")
        self.keeper.drain_journal()
        if self.snapshots is not None:
            self.snapshots.end(self)
        self.keeper.drain_equity()

    # --- housekeeping ---

    def _start(self) -> None:
        self.started = True
        self.special.check_symbols()
        now = self.memory.get("now") or self.first_ts
        self.memory.set("now", now)
        self.memory.set("next_sample", now)
        self.memory.fee_plans.check_prices(self.context.visible)
        self.charges.begin(now)
        self._trigger(_START, 0)
        self.context.asks_bars = self._caller.handler("on_bar") is not None
        self._caller.once("on_start")
        self.context.asks_bars = False
        if self.snapshots is not None:
            self.snapshots.begin(self)
        self._compile()

    def _compile(self) -> None:
        """The strategy's fields stand: of a compiled one, they get their form now."""
        if not self._interpreted:
            made = Machine(self.strategy, self.memory, self.registry, self.keeper, log_line=self._log_line)
            self._machine = self._caller.machine = made
            self.memory.set("out_first", 0)
            self.memory.set("out_last", 0)

    def sync_strategy(self) -> None:
        """Bring the strategy's fields to where the run is: those of a compiled one live in its record."""
        if self._machine is not None:
            self._machine.copy_out()

    def put_back(self, fields: Callable[[], None]) -> None:
        """Go on as if the strategy had been started; `fields` gives it what it has by now."""
        self.started = True
        with watched():
            self._compile()
            fields()
            if self._machine is not None:
                self._machine.copy_in()
        if self.context.stopped:
            self._caller.mute()

    def flush_journal(self) -> None:
        """Write what has been decided so far: before anything that was decided takes effect outside."""
        self.keeper.drain_journal()
        self.journal.flush()

    def _log_line(self, text: str) -> None:
        self.keeper.drain_journal()
        self.journal.line(self.context.now, self._file, self.memory.get("cause_seq"), text)
