"""One runner for live, paper and backtest: batches of rows in, decisions out.

`feed` takes rows in the log's order, from wherever they come. Kernels keep the market, the simulated venue
and the agenda; this module hands the strategy what is its own. It works in two gears, which give the
same decisions:

- with nothing at the venue and no timer due, events go to the strategy straight from the columns, a
  chunk at a time, and the state follows when somebody looks at it or the chunk ends;
- otherwise the kernel is asked for the next thing that happens, one after the other.

It never reads a clock, and never asks where its rows come from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from struct import Struct
from typing import Any

import msgspec
import numpy as np

from engine.config import RunConfig
from engine.execution.accounting import Ledger
from engine.execution.orders import FIRST_FINAL, Event, Reason, State, reason_name
from engine.execution.state import MATCH_BOOK
from engine.log.journal import Journal
from engine.log.schema import Batch
from engine.loop import kernels
from engine.loop.codes import (
    DELIVER,
    DRAIN_EQUITY,
    DRAIN_JOURNAL,
    FIRST_SPECIAL,
    GROW_ITEMS,
    GROW_LEVELS,
    H_BAR,
    H_BOOK,
    H_ENGINE,
    H_NEWS,
    H_QUOTE,
    H_STATUS,
    H_TRADE,
    NEED_ROWS,
    REPORT,
    TIMER,
)
from engine.loop.context import Delivery, LoopContext
from engine.loop.events import build
from engine.loop.memory import FIELD, Memory
from engine.model.errors import InputError, InternalError, StrategyError, UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import CommandData, InstrumentData, Kind, NewsData, SourceData, StatusData
from engine.model.units import NULL_TIME, POWERS_OF_TEN, format_time
from engine.strategy import sandbox
from engine.strategy.api import Fill, News, OrderUpdate, Status
from engine.strategy.loader import LoadedStrategy, explain_failure

CHUNK = 1024  # events built at a time

_REPORT = Struct("<14q")
_REPORT_AT = FIELD["out_event"] * 8
_REFERENCE = (int(Kind.SOURCE), int(Kind.INSTRUMENT))
_ROW, _ROWS, _NEXT, _COUNT = FIELD["row"], FIELD["rows"], FIELD["delivery_next"], FIELD["delivery_count"]
_FIRST_SEQ, _FILE = FIELD["first_seq"], FIELD["file"]
_VENUE_ITEMS, _LIVE, _AGENDA = FIELD["venue_items"], FIELD["live_orders"], FIELD["agenda_count"]
_TRIGGER, _TRIGGER_ID = FIELD["trigger"], FIELD["trigger_id"]
_OUT_FIRST, _OUT_LAST, _OUT_TIMER, _OUT_DUE = (
    FIELD["out_first"],
    FIELD["out_last"],
    FIELD["out_timer"],
    FIELD["out_due"],
)
_START, _STOP = 3, 4  # triggers beside message, report and timer

_HANDLER_NAMES = {H_TRADE: "on_trade", H_QUOTE: "on_quote", H_BOOK: "on_book", H_BAR: "on_bar"}
_STATE_WORDS = {
    int(State.FILLED): "filled",
    int(State.CANCELLED): "cancelled",
    int(State.REJECTED): "rejected",
    int(State.EXPIRED): "expired",
    int(State.REFUSED): "refused",
}
_HALTING_EVENTS, _HALTING_LEVEL = ("clock_offset", "disk_low"), 2
_FILLS = (int(Event.FILL), int(Event.FILL_ALL))


class Runner:
    """One execution of one strategy over rows that are fed to it."""

    def __init__(
        self, config: RunConfig, loaded: LoadedStrategy, journal: Journal, *, chunk: int = CHUNK
    ) -> None:
        self.config = config
        self.loaded = loaded
        self.strategy = loaded.strategy
        self.journal = journal
        self.registry = Registry()
        self.memory = Memory(config)
        self.ledger = Ledger()
        self.equity_ts: list[int] = []
        self.equity: list[float] = []
        self.messages = 0
        self.rows = 0
        self.first_ts = 0
        self.last_ts = 0
        self.started = False
        self.finished = False
        self.commands: list[str] = []
        self._chunk_size = chunk
        self._file = 0
        self._batch = Batch()
        self._report_view = memoryview(self.memory.state.view(np.uint8))  # type: ignore[arg-type]
        self._keys: list[str] = []
        self._sources: dict[tuple[int, int], SourceData] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self.context = LoopContext(
            self.memory,
            self.registry,
            config.seed,
            drain_journal=self._drain_journal,
            catch_up=self._catch_up,
            log_line=self._log_line,
        )
        strategy: Any = self.strategy
        self._handlers: list[Callable[..., Any] | None] = [None] * (H_ENGINE + 1)
        self._want = 0
        for handler, name in _HANDLER_NAMES.items():
            function = getattr(strategy, name, None)
            if function is not None:
                self._handlers[handler] = function
                self._want |= 1 << handler
        self._on_fill = getattr(strategy, "on_fill", None)
        self._on_order = getattr(strategy, "on_order", None)
        self._on_timer = getattr(strategy, "on_timer", None)
        self._on_news = getattr(strategy, "on_news", None)
        self._on_status = getattr(strategy, "on_status", None)
        self._chunk_first = self._chunk_last = 0
        self._events: list[Any] = []
        self._handler_list: list[int] = []
        self._ends: list[int] = []
        self._stamps: list[int] = []
        self._special: list[int] = []
        self._uniform = 0

    # --- input ---

    def feed(self, batch: Batch, file: int = 0) -> None:
        """Run everything that these rows bring about.

        `batch.instrument` holds run-wide indexes (see engine.loop.source), and reference rows come in
        batches of their own. Raises StrategyError when the strategy fails.
        """
        if not batch.count:
            return
        if not self.started:
            self.first_ts = self.first_ts or int(batch.ts[0])
            if int(batch.kind[0]) not in _REFERENCE:
                self._start()
        self._batch = batch
        self._file = file
        memory = self.memory
        memory.take_columns(batch)
        scalars = memory.scalars
        scalars[_ROWS] = batch.count
        scalars[_ROW] = 0
        scalars[_FIRST_SEQ] = batch.first_seq
        scalars[_FILE] = file
        need = kernels.index(memory.address)
        if need:
            memory.grow_deliveries(need)
            kernels.index(memory.address)
        self._chunk_first = self._chunk_last = 0
        self.rows += batch.count
        self.messages += int(np.count_nonzero(batch.flags & 1))
        self.last_ts = int(batch.ts[-1])
        sandbox.enter()
        try:
            self._run()
        except BaseException:
            self._leave_sandbox_quietly()
            raise
        sandbox.leave()

    def next_due(self) -> int | None:
        """When something falls due next, ns; None when nothing does. For whoever writes CLOCK rows."""
        due = kernels.next_due(self.memory.address)
        return None if due == NULL_TIME else due

    def define(self, data: InstrumentData, *, interrupted: bool = False) -> int:
        """Take an instrument's definition before its row is fed; its run-wide index.

        `interrupted`: rows may be missing since the last one of this instrument, so that a book of it that
        is there waits for a snapshot.
        """
        instrument, before = self.registry.define(data)
        self.memory.define(instrument, before)
        if before is not None and interrupted and self.memory.has_book(instrument):
            self.memory.set_of_instrument(instrument.index, "book_bad", 1)
        if before is None:
            self._keys.append(instrument.key)
        else:
            self.context.visible = tuple(
                instrument if seen.index == instrument.index else seen for seen in self.context.visible
            )
        return instrument.index

    def foresee(self, data: InstrumentData) -> None:
        """Take the definition of an instrument that will come, if its key is new; on_start sees it."""
        if data.key not in self._keys:
            self._announce(self.define(data))

    def finish(self) -> None:
        """The input has ended: on_stop, and the journal is complete. Nothing fires because of it."""
        if self.finished:
            return
        self.finished = True
        if not self.started:
            self._start()
        self.context.ahead(None)
        self.memory.set("trading_state", 1)
        self.context.stopped = True
        on_stop = getattr(self.strategy, "on_stop", None)
        if on_stop is not None:
            self._trigger(_STOP, 0)
            sandbox.enter()
            try:
                self._call(on_stop, None)
            except BaseException:
                self._leave_sandbox_quietly()
                raise
            sandbox.leave()
        self._drain_journal()
        self._drain_equity()

    # --- the two gears ---

    def _run(self) -> None:
        scalars = self.memory.scalars
        address = self.memory.address
        while True:
            if not scalars[_VENUE_ITEMS] and not scalars[_LIVE] and self._run_ahead():
                continue
            code = kernels.advance(address)
            if code == DELIVER:
                for number in range(scalars[_OUT_FIRST], scalars[_OUT_LAST]):
                    self._deliver(number)
            elif code == REPORT:
                self._report()
            elif code == TIMER:
                self._timer()
            elif code == NEED_ROWS:
                return
            else:
                self._make_room(code)

    def _run_ahead(self) -> bool:  # noqa: C901, PLR0912  the hot path: a call more would cost
        """Hand out events from the columns; False when there is none that may be."""
        scalars = self.memory.scalars
        first = scalars[_NEXT]
        if first >= scalars[_COUNT]:
            return False
        if not self._chunk_first <= first < self._chunk_last:
            self._build_chunk(first)
        low = first - self._chunk_first
        high = self._chunk_last - self._chunk_first
        if self._special:
            place = bisect_left(self._special, low)
            if place < len(self._special):
                high = self._special[place]
                # A message that Python has to read a row of is applied and delivered whole, not ahead.
                while high > low and self._ends[high - 1] == self._ends[high]:
                    high -= 1
        if scalars[_AGENDA]:
            high = bisect_left(self._stamps, kernels.next_due(self.memory.address), low, high)
        if high <= low:
            return False
        delivery = Delivery(self._events[low:high], self._ends[low:high], self._stamps[low:high])
        self._trigger(0, 0)
        context = self.context
        context.ahead(delivery)
        try:
            if self._uniform:
                handler = self._handlers[self._uniform]
                assert handler is not None  # only wanted events are indexed
                for event in delivery.iterator:
                    handler(context, event)
            else:
                handlers = self._handlers
                chosen = [handlers[code] for code in self._handler_list[low:high]]
                for handler, event in zip(chosen, delivery.iterator, strict=False):
                    handler(context, event)  # type: ignore[misc]
        except Exception as error:
            position = delivery.position()
            self._catch_up(delivery.ends[position] + 1)
            raise self._failure(error, delivery.events[position]) from error
        finally:
            context.ahead(None)
        scalars[_NEXT] = first + len(delivery.events)
        return True

    def _build_chunk(self, first: int) -> None:
        last = min(first + self._chunk_size, self.memory.scalars[_COUNT])
        # A message's deliveries stay together: it is handed out whole.
        deliveries = self.memory.deliveries
        while last < self.memory.scalars[_COUNT] and deliveries[last]["end"] == deliveries[last - 1]["end"]:
            last += 1
        part = deliveries[first:last]
        self._chunk_first, self._chunk_last = first, last
        self._events = build(self._batch, part, self.registry.instruments)
        self._ends = part["end"].tolist()
        self._stamps = self._batch.ts[part["end"]].tolist()
        handlers = part["handler"]
        self._handler_list = handlers.tolist()
        self._uniform = int(handlers[0]) if (handlers == handlers[0]).all() else 0
        special = handlers >= FIRST_SPECIAL
        self._special = np.flatnonzero(special).tolist() if special.any() else []
        if self._special:
            self._uniform = 0

    # --- one thing after the other ---

    def _deliver(self, number: int) -> None:
        if not self._chunk_first <= number < self._chunk_last:
            self._build_chunk(number)
        place = number - self._chunk_first
        code = self._handler_list[place]
        if code >= FIRST_SPECIAL:
            self._special_row(code, int(self.memory.deliveries[number]["first"]))
            return
        handler = self._handlers[code]
        if handler is not None:
            self._call(handler, self._events[place])

    def _call(self, handler: Callable[..., Any], *event: Any) -> None:
        try:
            if event == (None,):
                handler(self.context)
            else:
                handler(self.context, *event)
        except Exception as error:
            raise self._failure(error, event[0] if event else None) from error

    def _failure(self, error: Exception, event: Any) -> Exception:
        if isinstance(error, StrategyError | InternalError):
            return error
        given = f" It was given {event!r}." if event is not None else ""
        seq = self.memory.get("cause_seq")
        where = f"seq {seq}, {format_time(self.memory.get('now'))}"
        return StrategyError(
            f"the strategy failed at {where}: {explain_failure(error)}.{given}",
            hint="the run stopped there; its journal holds everything up to this event",
        )

    def _special_row(self, code: int, row: int) -> None:
        text = self._batch.data_at(row) or b"{}"
        if code == H_NEWS:
            self._news(row, text)
        elif code == H_STATUS:
            self._status(row, text)
        else:
            kind = int(self._batch.kind[row])
            if kind == Kind.COMMAND:
                self._command(msgspec.json.decode(text, type=CommandData))
            elif kind == Kind.SOURCE:
                self._sources[self._file, int(self._batch.source[row])] = msgspec.json.decode(
                    text, type=SourceData
                )
            else:
                self._announce(int(self._batch.instrument[row]))

    def _announce(self, index: int) -> None:
        instrument = self.registry.instruments[index]
        wanted = self.strategy.symbols
        if wanted and instrument.key not in wanted and instrument.symbol not in wanted:
            return
        if not self.context.stopped:
            self.memory.set_of_instrument(index, "want", self._want)
        if instrument not in self.context.visible:
            self.context.visible = (*self.context.visible, instrument)

    def _news(self, row: int, text: bytes) -> None:
        if self._on_news is None or self.context.stopped:
            return
        data = msgspec.json.decode(text, type=NewsData)
        index = int(self._batch.instrument[row])
        stamp = int(self._batch.ts_venue[row])
        news = News(
            data.id,
            data.headline,
            data.summary,
            data.source,
            data.url,
            data.symbols,
            self._instrument_or_none(index),
            int(self._batch.ts[row]),
            None if stamp == NULL_TIME else stamp,
        )
        self._call(self._on_news, news)

    def _instrument_or_none(self, index: int) -> Instrument | None:
        return self.registry.instruments[index] if 0 <= index < len(self.registry.instruments) else None

    def _status(self, row: int, text: bytes) -> None:
        data = msgspec.json.decode(text, type=StatusData)
        index = int(self._batch.instrument[row])
        instrument = self._instrument_or_none(index)
        if data.event == "disconnected" or (data.event == "gap" and data.channel == "book"):
            # Until the next snapshot the book is not what the venue has.
            source = self._sources.get((self._file, int(self._batch.source[row])))
            for who in self.registry.instruments:
                if self.memory.of_instrument(who.index, "match_on") != MATCH_BOOK:
                    continue  # a quote or a trade is a whole picture: the next one needs no snapshot
                if who == instrument or (instrument is None and source and source.venue == who.venue):
                    self.memory.set_of_instrument(who.index, "book_bad", 1)
        if data.event in _HALTING_EVENTS and not self.context.stopped:
            # The clock or the disk cannot be trusted: no new orders until a row says that they can again.
            self.memory.set("trading_state", 1 if data.last >= _HALTING_LEVEL else 0)
        if self._on_status is not None and not self.context.stopped:
            ts = int(self._batch.ts[row])
            self._call(self._on_status, Status(data.event, data.channel, data.detail, instrument, ts))

    def _command(self, command: CommandData) -> None:
        if not self.config.with_commands:
            return
        if command.command != "stop":
            raise InputError(
                f"the log holds the command {command.command!r}, which this version does not know",
                hint="run it with the engine that recorded it",
            )
        self.commands.append(command.command)
        self.memory.set("trading_state", 1)
        self.context.stopped = True
        for instrument in self.registry.instruments:
            self.memory.set_of_instrument(instrument.index, "want", 0)
        for code in _HANDLER_NAMES:
            self._handlers[code] = _nothing if self._handlers[code] is not None else None
        self.context.cancel_all()

    def _timer(self) -> None:
        number = self.memory.scalars[_OUT_TIMER]
        entry = self.context.timers.get(number)
        if entry is None or self.context.stopped:
            return
        name, interval = entry
        if interval:
            self.context.schedule(number, self.memory.scalars[_OUT_DUE] + interval)
        else:
            del self.context.timers[number]
        if self._on_timer is not None:
            self._call(self._on_timer, name)

    def _report(self) -> None:
        (
            event,
            _slot,
            number,
            index,
            side,
            size,
            price,
            fee,
            notional,
            reason,
            state,
            filled,
            total,
            maker,
        ) = _REPORT.unpack_from(self._report_view, _REPORT_AT)
        context = self.context
        live = context.live[number]
        live.filled = filled
        live.size = total
        live.state = state
        instrument = live.instrument
        if state >= FIRST_FINAL:
            del context.live[number]
        sizes, prices = POWERS_OF_TEN[instrument.size_decimals], POWERS_OF_TEN[instrument.price_decimals]
        if event in _FILLS:
            self.ledger.fill(index, side, size, notional, fee, reason)
            if self._on_fill is not None:
                position = self.memory.of_instrument(index, "position") / sizes
                fill = Fill(
                    number,
                    instrument,
                    side,
                    price / prices,
                    size / sizes,
                    fee / 1e8,
                    bool(maker),
                    Reason(reason).name,
                    position,
                    self.memory.get("now"),
                )
                self._call(self._on_fill, fill)
            word = "filled" if event == Event.FILL_ALL else ""
        elif event == Event.ACCEPTED:
            word = "accepted"
        else:
            word = _STATE_WORDS.get(state, "")  # a cancel that came too late ends nothing
        if event not in _FILLS and state >= FIRST_FINAL:
            self.ledger.end(word, reason)
        words = context.refusals.pop(number, "") if word == "refused" else ""
        if word and self._on_order is not None:
            update = OrderUpdate(
                number,
                instrument,
                word,
                side,
                total / sizes,
                filled / sizes,
                live.price / prices if live.price else None,
                words or (reason_name(reason) if reason and event not in _FILLS else ""),
                self.memory.get("now"),
            )
            self._call(self._on_order, update)
        context.after_report(number, instrument, word, 0 if event in _FILLS else reason)

    # --- housekeeping ---

    def _start(self) -> None:
        self.started = True
        wanted = self.strategy.symbols
        known = {i.key for i in self.registry.instruments} | {i.symbol for i in self.registry.instruments}
        for name in wanted:
            if name not in known:
                listing = ", ".join(i.key for i in self.registry.instruments) or "no instrument"
                raise UsageError(f'unknown symbol "{name}"', hint=f"the log has {listing}")
        now = self.memory.get("now") or self.first_ts
        self.memory.set("now", now)
        self.memory.set("next_sample", now)
        on_start = getattr(self.strategy, "on_start", None)
        if on_start is not None:
            self._trigger(_START, 0)
            sandbox.enter()
            try:
                self._call(on_start, None)
            except BaseException:
                self._leave_sandbox_quietly()
                raise
            sandbox.leave()

    @staticmethod
    def _leave_sandbox_quietly() -> None:
        """Leave without masking the error that is on its way; unless the sandbox's own is its cause."""
        try:
            sandbox.leave()
        except StrategyError as refusal:
            raise refusal from None

    def _trigger(self, what: int, number: int) -> None:
        scalars = self.memory.scalars
        scalars[_TRIGGER] = what
        scalars[_TRIGGER_ID] = number

    def _catch_up(self, stop: int) -> None:
        scalars = self.memory.scalars
        while scalars[_ROW] < stop:
            code = kernels.catch_up(self.memory.address, stop)
            if code:
                self._make_room(code)

    def _make_room(self, code: int) -> None:
        memory = self.memory
        if code == GROW_LEVELS:
            memory.grow_levels(memory.get("out_slot"), memory.get("out_need"))
        elif code == GROW_ITEMS:
            memory.grow_items(memory.get("out_need"))
        elif code == DRAIN_JOURNAL:
            self._drain_journal()
        elif code == DRAIN_EQUITY:
            self._drain_equity()
        else:
            raise InternalError(
                f"order {memory.get('out_number')}: event {memory.get('out_event')} "
                f"in state {memory.get('out_state')} is not in the table of orders"
            )

    def _drain_journal(self) -> None:
        memory = self.memory
        count = memory.get("journal_count")
        records = memory.journal[:count].copy()
        memory.set("journal_count", 0)
        for record in records[records["kind"] == 3]:
            words = self.context.refusals.get(int(record["order"]))
            if words:
                self.journal.explain(int(record["number"]), words)
        self.journal.append(records, self._keys)
        self.ledger.orders += int(np.count_nonzero(records["kind"] == 1))

    def flush_journal(self) -> None:
        """Write what has been decided so far: before anything that was decided takes effect outside."""
        self._drain_journal()

    def _drain_equity(self) -> None:
        memory = self.memory
        count = memory.get("equity_count")
        part = memory.equity[:count]
        self.equity_ts += part["ts"].tolist()
        self.equity += part["equity"].tolist()
        memory.set("equity_count", 0)

    def _log_line(self, text: str) -> None:
        self._drain_journal()
        self.journal.line(self.context.now, self._file, self.memory.get("cause_seq"), text)


def _nothing(_context: Any, _event: Any) -> None:
    """Takes the place of a market handler after a stop."""
