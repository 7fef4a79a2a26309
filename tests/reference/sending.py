"""What the twin's strategy asks for, on its way out: risk, journal, agenda."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.config import RunConfig
from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import Event, Reason, reason_name
from engine.model.instruments import Instrument
from engine.model.kinds import SessionData
from engine.model.units import parse_decimal
from tests.reference import risk
from tests.reference.accounts import Execution
from tests.reference.book import Market
from tests.reference.decisions import Account, Decision
from tests.reference.orders import FINAL, Order
from tests.reference.venue import Venue

ARRIVAL, REPORT, ANSWER, TIMER = range(4)


class Sending:
    """The half of the twin that sends; the other half (tests.reference.loop) hears, and moves the time."""

    if TYPE_CHECKING:
        config: RunConfig
        now: int
        own_clock: bool
        halted: bool
        numbers: int
        journal: list[Decision]
        live: dict[int, Order]
        instruments: list[Instrument]
        markets: list[Market]
        purses: list[Account]
        positions: list[int]
        base_fees: list[int]
        sessions: list[SessionData]
        venue: Venue
        _cause: int
        _trigger: tuple[int, int]
        _push: Callable[[int, int, Callable[[], None]], None]
        _hear: Callable[..., None]

    def _record(
        self,
        kind: int,
        order: Order,
        *,
        reason: int = 0,
        fill: Execution | None = None,
        price: int | None = None,
        size: int | None = None,
        terms: str = "",
    ) -> None:
        limit = order.known_price if price is None else price
        total = order.known_size if size is None else size
        self.journal.append(
            Decision(
                len(self.journal) + 1,
                self.now,
                JournalKind.NAMES[kind],
                order.number,
                self.instruments[order.instrument].key,
                order.side,
                fill.price if fill else limit,
                fill.size if fill else total,
                fill.fee if fill else 0,
                order.kind,
                order.tif,
                order.post_only | order.reduce_only << 1,
                reason_name(reason),
                int(fill.maker) if fill else 0,
                self._cause,
                *self._trigger,
                terms,
            )
        )

    @staticmethod
    def _terms(order: Order, stop: int) -> str:
        names = {"stop": stop, "trail": order.trail, "expires": order.expires}
        names |= {"parent": order.parent, "group": order.group}
        return " ".join(f"{name}={value}" for name, value in names.items() if value)

    def submit(self, order: Order, refusal: Reason | None) -> int:
        """Risk, journal, agenda; the order's number."""
        who, market = self.instruments[order.instrument], self.markets[order.instrument]
        self.numbers += 1
        order.number = self.numbers
        self.live[order.number] = order
        if order.tif == "day":
            order.expires = self._session_end(who)
            refusal = refusal or (None if order.expires else Reason.NO_SESSION)
        elif order.tif == "gtd" and order.expires <= self.now:
            refusal = refusal or Reason.TIME_PASSED
        own, freed = 0, 0
        if order.is_second:  # the first counts for both
            own = order.size
            freed = risk.lock(self.config, who, market, order.side, own, order.price or order.stop)
        if order.parent:  # a bracket's child only reduces
            refusal = refusal or self._check_alone(order, order.size, order.price, order.stop)
        else:
            refusal = refusal or self._check(order, order.size, order.price, order.stop, own, freed)
        terms = self._terms(order, order.stop)
        if refusal:
            order.at_venue, order.refused = "done", True
            self._record(JournalKind.REFUSED, order, reason=refusal, terms=terms)
            self._push(self.now, REPORT, lambda: self._hear(order, Event.REFUSED, refusal, None))
            return order.number
        self._record(JournalKind.SUBMIT, order, terms=terms)
        if not order.parent:
            self._recount(order)
        self._push(self._arrival(order.instrument), ARRIVAL, lambda: self._arrive(order))
        return order.number

    def _check(self, order: Order, size: int, price: int, stop: int, own: int, freed: int) -> Reason | None:
        """What risk says of the order with these numbers; `own`, `freed`: what it counts for, locks now."""
        index = order.instrument
        who, market, account = self.instruments[index], self.markets[index], self.purses[index]
        numbers: dict[str, Any] = {"size": size, "price": price, "stop": stop, "trail": order.trail}
        numbers |= {"kind": order.kind, "halted": self.halted}
        cap = self.config.risk.position_cap
        return risk.check(
            self.config,
            who,
            market,
            side=order.side,
            position=self.positions[index],
            base_fees=self.base_fees[index],
            open_buy=self._open(index, 1) - (own if order.side > 0 else 0),
            open_sell=self._open(index, -1) - (own if order.side < 0 else 0),
            free=account.cash - account.locked + freed,
            cap=parse_decimal(cap, who.size_decimals) if cap else 0,
            **numbers,
        )

    def _session_end(self, who: Instrument) -> int:
        """When the session that goes on, or else the next one, ends; 0: none is known."""
        ends = [s.closes for s in self.sessions if s.venue in ("", who.venue) and s.closes > self.now]
        return min(ends, default=0)

    def _is_over(self, order: Order) -> bool:
        """Whether an arriving order's time has passed; else it will be told when it has."""
        due = order.expires + (0 if self.own_clock else self.config.latency.feed_ns)
        if due <= self.now:
            return True
        self._push(due, ARRIVAL, lambda: self.venue.expire(order))
        return False

    def _recount(self, order: Order) -> None:
        """What an order adds to the open size, and locks: its larger size while an amendment travels."""
        size = max(order.known_size, order.asked_size if order.amendments else 0)
        left = 0 if order.is_second else max(0, size - order.filled)
        order.counted = left
        account = self.purses[order.instrument]
        account.locked -= order.lock
        order.lock = self._lock(order, left) if left else 0
        account.locked += order.lock

    def _lock(self, order: Order, size: int) -> int:
        who, market = self.instruments[order.instrument], self.markets[order.instrument]
        price = order.known_price or order.known_stop
        return risk.lock(self.config, who, market, order.side, size, price)

    def amend(self, order: Order, size: int, price: int, stop: int, refusal: Reason | None) -> None:
        """Send an amendment; `stop` 0: as it is."""
        if order.state == "cancelling" or order.refused:
            return
        left = size - order.filled
        trigger = stop or order.known_stop
        if order.linked or order.entry is not None:
            left = left if left > 0 else order.known_size
            if size != order.known_size:
                refusal = refusal or Reason.LINKED_SIZE
        if left > 0 and not refusal:
            if order.linked and not order.counted:
                refusal = self._check_alone(order, left, price, trigger)
            else:
                refusal = self._check(order, left, price, trigger, order.counted, order.lock)
        terms = self._terms(order, trigger) if trigger != order.known_stop else ""
        kind = JournalKind.AMEND_REJECTED if refusal else JournalKind.AMEND
        self._record(kind, order, reason=refusal or Reason.NONE, price=price, size=size, terms=terms)
        if refusal:
            why = refusal
            self._push(self.now, REPORT, lambda: self._hear(order, Event.AMEND_REJECTED, why, None))
            return
        order.asked_size = max(size, order.asked_size if order.amendments else 0)
        order.amendments += 1
        self._recount(order)

        def arrive() -> None:
            if order.state not in FINAL:
                self.venue.arrive_amend(order, size, price, stop)

        self._push(self._arrival(order.instrument), ARRIVAL, arrive)

    def _check_alone(self, order: Order, size: int, price: int, stop: int) -> Reason | None:
        """What risk says of one that another counts for."""
        who, market = self.instruments[order.instrument], self.markets[order.instrument]
        return risk.terms(
            self.config,
            who,
            market,
            size=size,
            price=price,
            stop=stop,
            trail=order.trail,
            kind=order.kind,
            halted=self.halted,
        )

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
        if order is None or order.state == "cancelling" or order.refused:
            return
        order.state = "cancelling"
        self._record(JournalKind.CANCEL, order)

        def arrive() -> None:
            if order.state not in FINAL:
                self.venue.arrive_cancel(order)

        self._push(self._arrival(order.instrument), ARRIVAL, arrive)
