"""The twin of the loop: messages in, decisions out, one thing after the other.

It has one gear, no columns, no arrays: a list of messages, a heap, and objects. What it decides must
equal the engine's journal record by record.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from engine.config import RunConfig
from engine.execution.orders import TRANSITIONS, Event, Reason, State, reason_name
from engine.execution.state import JournalKind
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import Flag, InstrumentData, Kind, NewsData, StatusData
from engine.model.units import NULL_TIME, parse_decimal
from engine.strategy.api import Bar, News, Status, Strategy
from tests.helpers.logs import Message, Row
from tests.reference import risk
from tests.reference.bars import executing
from tests.reference.book import Market
from tests.reference.context import TwinContext
from tests.reference.events import event_of, fill_of, update_of
from tests.reference.market_rows import apply_depth, brings_book
from tests.reference.order_book import OrderedMarket
from tests.reference.orders import FINAL, Order
from tests.reference.rows import groups, match_on, stamp_of
from tests.reference.series import Series
from tests.reference.venue import Execution, Purse, Venue
from tests.reference.venue_times import VenueStep, VenueTimes, doubts, steps

ARRIVAL, REPORT, ANSWER, TIMER = range(4)
_NOT_DELIVERED = Flag.DUPLICATE | Flag.BACKFILLED | Flag.REJECTED_TICK
_NEVER_MATCH = _NOT_DELIVERED | Flag.OUT_OF_ORDER
_JOURNAL_KIND = {
    Event.ACCEPTED: JournalKind.ACCEPTED,
    Event.FILL: JournalKind.FILL,
    Event.FILL_ALL: JournalKind.FILL,
    Event.CANCELLED: JournalKind.CANCELLED,
    Event.REJECTED: JournalKind.REJECTED,
    Event.EXPIRED: JournalKind.EXPIRED,
    Event.CANCEL_REJECTED: JournalKind.CANCEL_REJECTED,
}


@dataclass(frozen=True)
class Decision:
    """One record of the journal."""

    number: int
    ts: int
    kind: str
    order: int
    instrument: str
    side: int
    price: int
    size: int
    fee: int
    order_kind: str
    tif: str
    options: int
    reason: str
    maker: int
    cause_seq: int
    trigger: int
    trigger_id: int

    def __str__(self) -> str:
        return " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))


@dataclass
class Account:
    """One asset as the strategy knows it."""

    cash: int = 0
    locked: int = 0


@dataclass
class Twin:
    """One run."""

    config: RunConfig
    definitions: Sequence[InstrumentData]
    strategy: Strategy
    now: int = 0
    journal: list[Decision] = field(default_factory=list)
    lines: list[tuple[int, str]] = field(default_factory=list)
    _at_venues: list[VenueStep] = field(default_factory=list)
    live: dict[int, Order] = field(default_factory=dict)

    def __post_init__(self) -> None:
        registry = Registry()
        for data in self.definitions:
            registry.define(data)
        self.instruments: list[Instrument] = registry.instruments
        wanted = self.strategy.symbols
        self.visible = [i for i in self.instruments if not wanted or i.key in wanted or i.symbol in wanted]
        venues = dict.fromkeys(i.venue for i in self.instruments)
        self.source_venues = dict(enumerate(venues, 1))
        self.own_clock = self.config.clock == "venue"
        self.markets = self._new_markets()  # as the strategy sees them
        venue_markets = self._new_markets() if self.own_clock else self.markets
        accounts: dict[str, tuple[Account, Purse]] = {}
        capital = parse_decimal(self.config.account.capital, 8)
        for who in self.instruments:
            first = capital if not accounts else 0
            accounts.setdefault(who.quote, (Account(first), Purse(first)))
        self.purses = [accounts[i.quote][0] for i in self.instruments]
        self.positions, self.base_fees = ([0] * len(self.instruments) for _ in range(2))
        self.venue = Venue(
            self.config,
            self.instruments,
            venue_markets,
            [accounts[i.quote][1] for i in self.instruments],
            self._report,
        )
        self.context = TwinContext(self)
        self.series = Series()
        self.agenda: list[tuple[int, int, int, Callable[[], None]]] = []
        self._creation = 0
        self._numbers = 0
        self._messages = 0
        self._cause = -1
        self._trigger = (0, 0)
        self._halted = False
        self._file_numbers = {n: n - 1 for n in range(1, len(self.instruments) + 1)}

    def _new_markets(self) -> list[Market]:
        return [
            (OrderedMarket if "orders" in i.channels else Market)(match_on(i.channels), self.config.rules, i)
            for i in self.instruments
        ]

    # --- time ---

    def run(self, messages: Sequence[Message], *, first_seq: int, start: int) -> Twin:
        """All messages of a file whose definitions took the rows before `first_seq`, the last at `start`."""
        self.now = start
        self._cause = first_seq - 1
        self._trigger = (3, 0)
        self._handle("on_start")
        seq = first_seq
        if self.own_clock:
            self.venue_times = VenueTimes(self.config, self.instruments)
            self._at_venues = self.venue_times.steps(messages)
        for message in messages:
            if message.rows[0].kind == Kind.END:
                self._work_until(self.now)
                continue
            while (due := self.series.first_due(message.ts)) is not None:
                self._tell_made(self.series.over(due))
            self._work_until(message.ts)
            self._meet_bars(message, seq + len(message.rows) - 1)
            for rows in steps(message.rows, row_by_row=self.config.rules.row_by_row):
                self._work_until(message.ts)
                self.now = message.ts
                seq += len(rows)
                self._cause = seq - 1
                self._apply(rows, self.markets, matches=not self.own_clock)
                self._note_quotes(rows)
            self._trigger = (0, 0)
            self._deliver(message)
            self._work_until(message.ts)
            for bar in self._made(message):
                self._tell_made(bar)
        self._halted = True
        self._trigger = (4, 0)
        self._handle("on_stop")
        return self

    def _work_until(self, ts: int) -> None:
        """What is due until `ts`, and what happens at the venues until then, in the order of time."""
        while True:
            due = self.agenda[0][0] if self.agenda else None
            at_venue = self._at_venues[0].ts if self._at_venues else None
            if due is not None and due <= ts and (at_venue is None or due <= at_venue):
                work = heapq.heappop(self.agenda)[-1]
                self.now = max(self.now, due)
                work()
            elif at_venue is not None and at_venue <= ts:
                self.now = at_venue
                self._happen(self._at_venues.pop(0))
            else:
                return

    def _made(self, message: Message) -> list[Bar]:
        """Bars that a message's trades finish."""
        bars = []
        for row in message.rows:
            if row.kind == Kind.TRADE and not row.flags & _NEVER_MATCH and not self._is_double(row):
                who = self.instruments[self._file_numbers[row.instrument]]
                bars += self.series.trade(who, message.ts, row.price, row.size)
        return bars

    def _tell_made(self, bar: Bar) -> None:
        """A bar made of trades is a message of its own."""
        self._work_until(bar.ts)
        self.now = bar.ts
        self._trigger = (0, 0)
        self._handle("on_bar", bar)
        self._work_until(bar.ts)

    def _meet_bars(self, message: Message, seq: int) -> None:
        """Bars meet our orders, and we hear of it, before they are told."""
        for bar in executing(message.rows):
            index = self._file_numbers[bar.instrument]
            if self.markets[index].match_on == "bar" and self.venue.on_bars.has_orders(index):
                self.now, self._cause = message.ts, seq
                self.venue.on_bars.bar(index, bar)

    def _happen(self, step: VenueStep) -> None:
        """Rows meet our orders."""
        for index in step.doubted:
            if self.venue.markets[index].match_on == "book":
                self.venue.markets[index].bad = True
        self._apply(step.rows, self.venue.markets, matches=True)

    def _push(self, due: int, rank: int, work: Callable[[], None]) -> None:
        heapq.heappush(self.agenda, (due, rank, self._creation, work))
        self._creation += 1

    def push_timer(self, due: int, number: int) -> None:
        """A timer of the strategy."""

        def fire() -> None:
            entry = self.context.timers.get(number)
            if entry is None:
                return
            self._trigger = (2, number)
            name, step = entry
            if step:
                self.push_timer(due + step, number)
            else:
                del self.context.timers[number]
            self._handle("on_timer", name)

        self._push(due, TIMER, fire)

    # --- commands ---

    def _record(self, kind: int, order: Order, *, reason: int = 0, fill: Execution | None = None) -> None:
        self.journal.append(
            Decision(
                len(self.journal) + 1,
                self.now,
                JournalKind.NAMES[kind],
                order.number,
                self.instruments[order.instrument].key,
                order.side,
                fill.price if fill else order.price,
                fill.size if fill else order.known_size,
                fill.fee if fill else 0,
                order.kind,
                order.tif,
                order.post_only | order.reduce_only << 1,
                reason_name(reason),
                int(fill.maker) if fill else 0,
                self._cause,
                *self._trigger,
            )
        )

    def submit(self, order: Order, refusal: Reason | None) -> int:
        """Risk, journal, agenda; the order's number."""
        index = order.instrument
        account = self.purses[index]
        who, market = self.instruments[index], self.markets[index]
        self._numbers += 1
        order.number = self._numbers
        order.known_size = order.size
        self.live[order.number] = order
        cap = self.config.risk.position_cap
        refusal = refusal or risk.check(
            self.config,
            who,
            market,
            side=order.side,
            size=order.size,
            price=order.price,
            kind=order.kind,
            position=self.positions[index],
            base_fees=self.base_fees[index],
            open_buy=self._open(index, 1),
            open_sell=self._open(index, -1),
            free=account.cash - account.locked,
            cap=parse_decimal(cap, who.size_decimals) if cap else 0,
            halted=self._halted,
        )
        if refusal:
            order.at_venue = "done"
            self._record(JournalKind.REFUSED, order, reason=refusal)
            self._push(self.now, REPORT, lambda: self._hear(order, Event.REFUSED, refusal, None))
            return order.number
        self._record(JournalKind.SUBMIT, order)
        order.counted = order.size
        order.lock = risk.lock(self.config, who, market, order.side, order.size, order.price, order.kind)
        account.locked += order.lock
        self._push(self._arrival(index), ARRIVAL, lambda: self._arrive(order))
        return order.number

    def _arrive(self, order: Order) -> None:
        if self.markets[order.instrument].match_on == "bar":
            self.venue.on_bars.arrive(order, self.now)
        else:
            self.venue.arrive(order)

    def _at_once(self, index: int) -> bool:
        return self.markets[index].match_on == "bar" and not self.config.bar_latency

    def _arrival(self, index: int) -> int:
        latency = self.config.latency
        if self._at_once(index):
            return self.now
        return self.now + latency.entry_ns + (0 if self.own_clock else latency.feed_ns)

    def _open(self, index: int, side: int) -> int:
        return sum(o.counted for o in self.live.values() if o.instrument == index and o.side == side)

    def cancel(self, number: int) -> None:
        """Send a cancel, unless there is nothing to cancel as far as the strategy knows."""
        order = self.live.get(number)
        refused = order is not None and order.state == "submitted" and order.counted == 0
        if order is None or order.state == "cancelling" or refused:
            return
        order.state = "cancelling"
        self._record(JournalKind.CANCEL, order)

        def arrive() -> None:
            if order.state not in FINAL:
                self.venue.arrive_cancel(order)

        self._push(self._arrival(order.instrument), ARRIVAL, arrive)

    # --- reports ---

    def _report(self, order: Order, event: Event, reason: Reason, fill: Execution | None) -> None:
        latency = self.config.latency
        delay = latency.response_ns if self.own_clock else max(0, latency.response_ns - latency.feed_ns)
        if self._at_once(order.instrument):
            delay = 0
        size = order.size
        self._push(self.now + delay, REPORT, lambda: self._hear(order, event, reason, fill, size))

    def _hear(
        self, order: Order, event: Event, reason: Reason, fill: Execution | None, size: int | None = None
    ) -> None:
        if order.state in FINAL:
            return
        if size is not None:
            order.known_size = size
        order.state = TRANSITIONS[State[order.state.upper()], event].name.lower()
        index = order.instrument
        who, account = self.instruments[index], self.purses[index]
        if fill is not None:
            order.filled += fill.size
            order.counted -= min(fill.size, order.counted)
            self.positions[index] += fill.size * order.side
            account.cash -= fill.notional * order.side + fill.in_quote
            self.base_fees[index] += fill.fee - fill.in_quote
            left = order.known_size - order.filled
            lock = 0
            if order.lock and left:
                market = self.markets[index]
                lock = risk.lock(self.config, who, market, order.side, left, order.price, order.kind)
                lock = min(lock, order.lock)
            account.locked -= order.lock - lock
            order.lock = lock
        self._trigger = (1, order.number)
        if event != Event.REFUSED:
            self._record(_JOURNAL_KIND[event], order, reason=reason, fill=fill)
        if order.state in FINAL:
            account.locked -= order.lock
            order.lock = order.counted = 0
            del self.live[order.number]
        self.context.before_report(order, reason)
        if fill is not None:
            self._handle("on_fill", fill_of(order, who, fill, reason, self.positions[index], self.now))
        word = "accepted" if event == Event.ACCEPTED else order.state if order.state in FINAL else ""
        if word:
            why = reason_name(reason) if reason and fill is None else ""
            self._handle("on_order", update_of(order, who, word, why, self.now))
        self.context.after_report(order)

    # --- messages ---

    def _apply(self, rows: Sequence[Row], markets: list[Market], *, matches: bool) -> None:
        self._messages += 1
        self._trades(rows, markets, matches=matches, ordered=True)
        touched = set()
        for row in rows:
            if row.kind not in (Kind.BOOK, Kind.QUOTE):
                continue
            index = self._file_numbers[row.instrument]
            market = markets[index]
            if (row.kind == Kind.BOOK) != (market.match_on == "book"):
                continue
            if row.kind == Kind.BOOK and apply_depth(row, market):
                touched.add(index)
            elif row.kind == Kind.QUOTE and market.match_on == "quote" and not row.flags & _NEVER_MATCH:
                market.set_best(row.side, row.price, row.size)
                touched.add(index)
        for index in sorted(touched):
            market = markets[index]
            was_bad = market.in_snapshot and market.was_bad
            if isinstance(market, OrderedMarket):
                market.end_message()
            elif market.in_snapshot:
                market.end_snapshot()
            if matches:
                self.venue.after_book(index, Reason.RESYNC if was_bad else Reason.CROSSED)
        self._trades(rows, markets, matches=matches, ordered=False)

    def _trades(self, rows: Sequence[Row], markets: list[Market], *, matches: bool, ordered: bool) -> None:
        """Of books by order, where they come before the rows that say what is left; or of the others."""
        for row in rows:
            if row.kind == Kind.TRADE and not row.flags & _NEVER_MATCH and not self._is_double(row):
                index = self._file_numbers[row.instrument]
                market = markets[index]
                if isinstance(market, OrderedMarket) != ordered:
                    continue
                market.last = row.price
                if isinstance(market, OrderedMarket):
                    market.message = self._messages
                if matches:
                    own = ordered and brings_book(rows, row, market)
                    stamp = stamp_of(row)
                    self.venue.trade(index, row.side, row.price, row.size, stamp, own=own)
        for bar in executing(rows):
            market = markets[self._file_numbers[bar.instrument]]
            if market.match_on == "bar":
                market.last = bar.close

    def _note_quotes(self, rows: Sequence[Row]) -> None:
        """What the strategy reads as the quote."""
        for row in rows:
            if row.kind == Kind.QUOTE and not row.flags & _NEVER_MATCH:
                market = self.markets[self._file_numbers[row.instrument]]
                market.quote_seen = True
                market.quote[row.side] = (row.price, row.size)

    def _is_double(self, row: Row) -> bool:
        """An aggregate of trades that the log has one by one."""
        channels = self.instruments[self._file_numbers[row.instrument]].channels
        return bool(row.flags & Flag.AGGREGATE) and "trade" in channels

    def _deliver(self, message: Message) -> None:
        *others, last = message.rows
        last = replace(last, flags=last.flags | Flag.LAST)
        for rows in groups([*others, last]):
            self._deliver_rows(Kind(rows[0].kind), rows, message.ts)

    def _deliver_rows(self, kind: Kind, rows: list[Row], ts: int) -> None:
        first, last = rows[0], rows[-1]
        if kind == Kind.STATUS:
            self._status(first, ts)
            return
        if kind == Kind.NEWS:
            news = msgspec.json.decode(first.data or b"{}", type=NewsData)
            stamp = None if first.ts_venue == NULL_TIME else first.ts_venue
            self._handle(
                "on_news",
                News(
                    news.id, news.headline, news.summary, news.source, news.url, news.symbols, None, ts, stamp
                ),
            )
            return
        if kind not in (Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR) or last.flags & _NOT_DELIVERED:
            return
        who = self.instruments[self._file_numbers[first.instrument]]
        told = event_of(kind, who, rows, ts)
        if who in self.visible and told is not None and not self._is_double(first):
            self._handle(f"on_{kind.name.lower()}", told)

    def _status(self, row: Row, ts: int) -> None:
        data = msgspec.json.decode(row.data or b"{}", type=StatusData)
        index = self._file_numbers.get(row.instrument)
        if doubts(row):
            for i, market in enumerate(self.markets):
                venue = self.instruments[i].venue
                named = index == i or (index is None and self.source_venues.get(row.source) == venue)
                if named and market.match_on == "book":
                    market.bad = True
        who = None if index is None else self.instruments[index]
        self._handle("on_status", Status(data.event, data.channel, data.detail, who, ts))

    def _handle(self, name: str, *event: Any) -> None:
        handler = getattr(self.strategy, name, None)
        if handler is not None:
            handler(self.context, *event)
