"""The twin of the loop: messages in, decisions out, one thing after the other.

It has one gear, no columns, no arrays: a list of messages, a heap, and objects. What it decides must
equal the engine's journal record by record.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from engine.config import RunConfig
from engine.execution.orders import TRANSITIONS, Event, Reason, State, reason_name
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import Flag, InstrumentData, Kind, NewsData, SessionData, StatusData
from engine.model.units import NULL_TIME, parse_decimal
from engine.strategy.api import Bar, News, Status, Strategy
from tests.helpers.logs import Message, Row
from tests.reference.accounts import Execution, Purse
from tests.reference.bars import executing
from tests.reference.book import Market
from tests.reference.context import TwinContext
from tests.reference.decisions import JOURNAL_KIND, WORDS, Account, Decision
from tests.reference.events import event_of, fill_of, update_of
from tests.reference.market_rows import apply_depth, brings_book
from tests.reference.order_book import OrderedMarket
from tests.reference.orders import FINAL, Order
from tests.reference.rows import groups, match_on, stamp_of
from tests.reference.sending import REPORT, TIMER, Sending
from tests.reference.series import Series
from tests.reference.venue import Venue
from tests.reference.venue_times import VenueStep, VenueTimes, doubts, steps

_NOT_DELIVERED = Flag.DUPLICATE | Flag.BACKFILLED | Flag.REJECTED_TICK
_NEVER_MATCH = _NOT_DELIVERED | Flag.OUT_OF_ORDER | Flag.REVISED


@dataclass
class Twin(Sending):
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
            self._is_over,
        )
        self.sessions: list[SessionData] = []
        self.context = TwinContext(self)
        self.series = Series()
        self.agenda: list[tuple[int, int, int, Callable[[], None]]] = []
        self._creation = 0
        self.numbers = 0
        self._messages = 0
        self._cause = -1
        self._trigger = (0, 0)
        self.halted = False
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
        self.halted = True
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

    # --- reports ---

    def _report(self, order: Order, event: Event, reason: Reason, fill: Execution | None) -> None:
        latency = self.config.latency
        delay = latency.response_ns if self.own_clock else max(0, latency.response_ns - latency.feed_ns)
        if self._at_once(order.instrument):
            delay = 0
        told = (order.size, order.price, order.stop)
        self._push(self.now + delay, REPORT, lambda: self._hear(order, event, reason, fill, told))

    def _hear(  # noqa: C901  one branch a kind of report
        self,
        order: Order,
        event: Event,
        reason: Reason,
        fill: Execution | None,
        told: tuple[int, int, int] | None = None,
    ) -> None:
        """A report: `told` are the order's size, limit and stop at the venue; None: our own risk says it."""
        if order.state in FINAL:
            return
        size, price, stop = told or (order.known_size, order.known_price, order.known_stop)
        if event != Event.CANCELLED or reason not in (Reason.LINKED, Reason.PARENT):
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
            lock = min(order.lock, self._lock(order, left)) if order.lock and left else 0
            account.locked -= order.lock - lock
            order.lock = lock
        answers = told is not None and event in (Event.AMENDED, Event.AMEND_REJECTED)
        if event == Event.AMENDED:
            order.known_price, order.known_stop = price, stop
        if answers:
            order.amendments -= event == Event.AMEND_REJECTED or reason == Reason.REQUESTED
            self._recount(order)
        elif event == Event.ACCEPTED and order.parent:
            self._recount(order)  # it begins to count
        self._trigger = (1, order.number)
        if told is not None:  # what risk refused is in the journal already
            terms = self._terms(order, stop) if event == Event.AMENDED else ""
            at = stop if event == Event.TRIGGERED else None
            self._record(JOURNAL_KIND[event], order, reason=reason, fill=fill, price=at, terms=terms)
        if order.state in FINAL:
            account.locked -= order.lock
            order.lock = order.counted = 0
            del self.live[order.number]
        self.context.before_report(order, reason)
        if fill is not None:
            self._handle("on_fill", fill_of(order, who, fill, reason, self.positions[index], self.now))
        word = WORDS.get(event, order.state if order.state in FINAL else "")
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
            if row.kind not in (Kind.TRADE, Kind.MARK) or row.flags & _NEVER_MATCH or self._is_double(row):
                continue
            index = self._file_numbers[row.instrument]
            market = markets[index]
            by_order = isinstance(market, OrderedMarket)
            own = by_order and brings_book(rows, row, market)
            if by_order != ordered and not own:
                continue
            source = "mark" if row.kind == Kind.MARK else "last"
            setattr(market, source, row.price)
            if isinstance(market, OrderedMarket) and ordered and row.kind == Kind.TRADE:
                market.message = self._messages
            if matches and not (own and ordered):  # else the stops wait for the message's rows of the book
                self.venue.price_moved(index, source)
            if matches and by_order == ordered and row.kind == Kind.TRADE:
                self.venue.trade(index, row.side, row.price, row.size, stamp_of(row), own=own)
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
        if kind == Kind.SESSION:
            self.sessions.append(msgspec.json.decode(first.data or b"{}", type=SessionData))
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
        if kind == Kind.TRADE and last.flags & Flag.REVISED:
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
