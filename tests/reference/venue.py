"""The simulated venue in plain Python: what becomes of orders when the market moves.

Its own account (cash and positions as the venue has them) runs ahead of what the strategy has heard.
Everything it decides goes out through `report`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.execution.orders import Event, Reason
from tests.reference import amending, queues, risk, stops
from tests.reference.accounts import Accounts, Execution, Purse
from tests.reference.bars import OnBars
from tests.reference.book import Market
from tests.reference.links import Links
from tests.reference.order_book import OrderedMarket
from tests.reference.orders import Order

if TYPE_CHECKING:
    from engine.config import RunConfig
    from engine.model.instruments import Instrument


Report = Callable[[Order, Event, Reason, Execution | None], None]
Over = Callable[[Order], bool]


class Venue(Accounts):
    """All instruments' markets and our orders in them."""

    def __init__(
        self,
        config: RunConfig,
        instruments: list[Instrument],
        markets: list[Market],
        purses: list[Purse],
        report: Report,
        is_over: Over,
    ) -> None:
        self.config = config
        self.rules = config.rules
        self.cash_account = config.account.type == "cash"
        self.instruments = instruments
        self.markets = markets
        self.purses = purses  # of each instrument; those of one quote asset are one object
        self.positions = [0] * len(instruments)
        self.base_fees = [0] * len(instruments)
        self.waiting: list[list[Order]] = [[] for _ in instruments]
        self.resting: list[Order] = []
        self.armed: list[list[Order]] = [[] for _ in instruments]  # stops, in the order of their coming
        self.sources = [stops.stop_source(self.rules.stop_source, who.channels) for who in instruments]
        self.links = Links(self)
        self.report = report
        self.on_bars = OnBars(self)
        self.is_over = is_over  # whether an order's time has passed; else it is told when it has

    def fill(self, order: Order, what: Execution, reason: Reason) -> None:
        """One execution: money, position, the report."""
        purse = self.purses[order.instrument]
        order.done += what.size
        purse.cash -= what.notional * order.side + what.in_quote
        self.base_fees[order.instrument] += what.fee - what.in_quote
        self.positions[order.instrument] += what.size * order.side
        event = Event.FILL
        if order.open == 0:
            self.leave(order)
            if order.entry is not None and not order.entry_over:
                order.at_venue = "held"  # the entry may fill more
            else:
                order.at_venue = "done"
                event = Event.FILL_ALL
        self.links.take_off(order, what.size)
        self.links.note(order)
        self.report(order, event, reason, what)

    def end(self, order: Order, event: Event, reason: Reason) -> None:
        """It is over, without a (further) fill."""
        self.leave(order)
        order.at_venue = "done"
        self.report(order, event, reason, None)
        self.links.note(order)

    def leave(self, order: Order) -> None:
        """Take an order out of wherever it is, with what it holds back."""
        index = order.instrument
        if order.at_venue == "resting":
            self.markets[index].sides[order.side].remove(order)
            self.resting.remove(order)
        elif order.at_venue == "waiting":
            self.waiting[index].remove(order)
        elif order.at_venue == "armed":
            self.armed[index].remove(order)
        order.at_venue = "working"
        self.release(order)

    # --- arrivals ---

    def arrive(self, order: Order) -> None:
        """An order reaches the venue."""
        self._arrive(order)
        self.links.settle()

    def _arrive(self, order: Order) -> None:
        if order.expires and self.is_over(order):
            self.end(order, Event.EXPIRED, Reason.TIME)
            return
        if order.entry is not None:
            size = self.links.due(order)
            if size <= 0 and order.entry_over:
                self.end(order, Event.CANCELLED, Reason.PARENT)
                return
            if size <= 0:
                order.at_venue = "held"
                return
            order.size = size
        if order.partner is not None and order.partner.at_venue == "done":
            self.end(order, Event.CANCELLED, Reason.LINKED)
            return
        self.start(order)

    def in_doubt(self, order: Order) -> bool:
        """Whether nothing can match on the order's book."""
        market = self.markets[order.instrument]
        return market.match_on == "book" and market.bad

    def _wait(self, order: Order) -> None:
        order.at_venue = "waiting"
        self.waiting[order.instrument].append(order)

    def start(self, order: Order) -> None:
        """An order may begin to work."""
        if self.in_doubt(order):
            self._wait(order)
        elif order.is_stop and not order.triggered:
            self._arm(order)
        else:
            self._enter(order)

    def accept(self, order: Order) -> None:
        """Say that the order has been accepted, once."""
        if not order.accepted:
            order.accepted = True
            self.report(order, Event.ACCEPTED, Reason.NONE, None)

    def _refuse(self, order: Order, reason: Reason) -> None:
        """The venue will not have it."""
        self.end(order, Event.CANCELLED if order.accepted else Event.REJECTED, reason)

    def opposite(self, order: Order) -> int:
        """Best price that the order could take, 0: there is none."""
        market = self.markets[order.instrument]
        return market.last if market.match_on == "trade" else market.sides[-order.side].best() or 0

    def _enter(self, order: Order) -> None:  # noqa: C901, PLR0911, PLR0912  one branch a rule
        """An order meets the market."""
        order.at_venue = "working"
        if order.reduce_only:
            reducible = -self.positions[order.instrument] * order.side
            if reducible <= 0:
                self._refuse(order, Reason.REDUCE_ONLY)
                return
            order.size = order.done + min(order.open, reducible)
        best = self.opposite(order)
        if not order.limited:
            if not best:
                self._refuse(order, Reason.EMPTY_SIDE)
                return
            if order.tif == "fok" and not self._fills_whole(order, self._plan(order, None)):
                return
            self.accept(order)
            why = self._take(order, None)
            if order.open:
                self.end(order, Event.CANCELLED, why or Reason.NO_LIQUIDITY)
            return
        matches = best != 0 and best * order.side <= order.price * order.side
        if matches and order.post_only:
            if self.rules.post_only_expires:
                self.end(order, Event.EXPIRED, Reason.POST_ONLY_WOULD_MATCH)
            else:
                self._refuse(order, Reason.POST_ONLY_WOULD_MATCH)
            return
        if order.tif == "fok":
            plan = self._plan(order, order.price) if matches else []
            if not self._fills_whole(order, plan):
                return
        self.accept(order)
        if matches:
            why = self._take(order, order.price)
            if why:
                self.end(order, Event.CANCELLED, why)
                return
        if order.open == 0:
            return
        if order.tif in ("ioc", "fok"):
            event = Event.EXPIRED if self.rules.remainder_expires else Event.CANCELLED
            self.end(order, event, Reason.IOC_REMAINDER)
            return
        self.rest(order)

    def _fills_whole(self, order: Order, plan: list[tuple[int, int]]) -> bool:
        """Whether a plan fills the order, and can be paid; else it expires."""
        if sum(size for _, size in plan) < order.open:
            self.end(order, Event.EXPIRED, Reason.FOK_UNFILLABLE)
            return False
        if not self._can_pay(order, plan):
            self.end(order, Event.EXPIRED, Reason.INSUFFICIENT_FUNDS)
            return False
        return True

    def hold_back(self, order: Order) -> bool:
        """What an order to come to rest may cost; without as much it is over."""
        if self.hold(order):
            return True
        self.end(order, Event.CANCELLED, Reason.INSUFFICIENT_FUNDS)
        return False

    def rest(self, order: Order) -> bool:
        """Into the book, behind what is there; whether it could."""
        if not self.hold_back(order):
            return False
        order.at_venue = "resting"
        self.resting.append(order)
        self.markets[order.instrument].sides[order.side].add(order)
        return True

    # --- stops ---

    def _arm(self, order: Order) -> None:
        """A stop has come: it triggers now, or waits."""
        market = self.markets[order.instrument]
        price = stops.price_of(self.sources[order.instrument], market, order.side)
        if stops.reached(order.side, order.stop, price):
            if self.rules.stop_must_wait and not order.accepted:
                self.end(order, Event.REJECTED, Reason.WOULD_TRIGGER)
                return
            self.accept(order)
            self._fire(order)
            return
        if order.kind == "trailing" and not order.stop:
            stops.follow(order, price, self.instruments[order.instrument].tick)
        if not self.hold(order):
            self._refuse(order, Reason.INSUFFICIENT_FUNDS)
            return
        self.accept(order)
        order.at_venue = "armed"
        self.armed[order.instrument].append(order)

    def _fire(self, order: Order) -> None:
        """A stop becomes what stands behind it."""
        order.triggered = True
        self.release(order)
        if order.partner is not None:
            self.release(order.partner)  # both are never bought
        self.report(order, Event.TRIGGERED, Reason.NONE, None)
        if self.in_doubt(order):
            self._wait(order)
            return
        market = self.markets[order.instrument]
        around = risk.reference(market)
        if order.limited and risk.beyond_collar(self.config, order.price, order.side, around):
            self.end(order, Event.CANCELLED, Reason.COLLAR_AT_TRIGGER)
            return
        self._enter(order)

    def price_moved(self, index: int, source: str) -> None:
        """The price of a source is another, or said again: what it triggers, and what follows it."""
        if source != self.sources[index]:
            return
        market, tick = self.markets[index], self.instruments[index].tick
        for order in list(self.armed[index]):
            price = stops.price_of(source, market, order.side)
            if stops.reached(order.side, order.stop, price):
                self.leave(order)
                self._fire(order)
            elif order.kind == "trailing":
                stops.follow(order, price, tick)
        self.links.settle()

    def _plan(self, order: Order, limit: int | None) -> list[tuple[int, int]]:
        """Prices and sizes that an order would take now, best first."""
        market = self.markets[order.instrument]
        tick = self.instruments[order.instrument].tick
        if market.match_on == "trade":
            price = market.last + order.side * self.config.slippage_ticks * tick
            if limit is not None:
                price = min(price, limit) if order.side > 0 else max(price, limit)
            return [(max(price, tick), order.open)]
        side = market.sides[-order.side]
        wanted = order.open
        if self.rules.whole_fills:
            best = side.best()
            return [] if best is None else [(best, wanted)]
        plan = []
        for price in side.displayed():
            if limit is not None and not side.at_least(price, limit):
                break
            size = min(wanted, side.levels[price].left)
            if size:
                plan.append((price, size))
                wanted -= size
        if market.match_on == "quote" and limit is None and wanted:
            best = side.best()
            assert best is not None
            plan.append((max(best + order.side * self.config.slippage_ticks * tick, tick), wanted))
        return plan

    def _can_pay(self, order: Order, plan: list[tuple[int, int]]) -> bool:
        if not self.cash_account:
            return True
        if order.side < 0:
            return self.owned(order) >= sum(size for _, size in plan)
        cost = 0
        for price, size in plan:
            what = self.execution(order, price, size, maker=False)
            cost += what.notional + what.in_quote
            if cost > self.free(order):
                return False
        return True

    def _take(self, order: Order, limit: int | None) -> Reason | None:
        """Take what the plan says; why it ended early, or None."""
        market = self.markets[order.instrument]
        levels = market.sides[-order.side].levels
        shown = set(levels)
        for price, size in self._plan(order, limit):
            affordable = self.affordable(order, price, size)
            if affordable:
                what = self.execution(order, price, affordable, maker=False)
                taken = market.match_on != "trade" and price in shown and levels[price].left
                if taken and self.rules.consume and not self.rules.whole_fills:
                    levels[price].consumed += affordable
                self.fill(order, what, Reason.TAKER)
            if affordable < size:
                return Reason.INSUFFICIENT_FUNDS
        return None

    def affordable(self, order: Order, price: int, size: int) -> int:
        """How much of a size the account can pay for."""
        if not self.cash_account:
            return size
        if order.side < 0:
            lot = self.instruments[order.instrument].lot
            owned = self.owned(order)
            most = size if owned >= size else max(0, owned // lot * lot)
            short = self.lacks(order, self.execution(order, price, most, maker=False)) if most else False
            return 0 if short else most
        lot = self.instruments[order.instrument].lot
        free = self.free(order)

        def costs(of: int) -> int:
            what = self.execution(order, price, of, maker=False)
            return what.notional + what.in_quote

        if costs(size) <= free:
            return size
        low, high = 0, size // lot
        while low < high:
            middle = (low + high + 1) // 2
            if costs(middle * lot) <= free:
                low = middle
            else:
                high = middle - 1
        return low * lot

    def arrive_cancel(self, order: Order) -> None:
        """A cancel reaches the venue."""
        if order.at_venue == "done":
            self.report(order, Event.CANCEL_REJECTED, Reason.UNKNOWN_ORDER, None)
            return
        self.on_bars.cancel(order)
        self.end(order, Event.CANCELLED, Reason.REQUESTED)
        self.links.settle()

    def arrive_amend(self, order: Order, size: int, price: int, stop: int) -> None:
        """An amendment reaches the venue."""
        amending.arrive(self, order, size, price, stop)
        self.links.settle()

    def expire(self, order: Order) -> None:
        """An order's time is over."""
        if order.at_venue != "done":
            self.end(order, Event.EXPIRED, Reason.TIME)
            self.links.settle()

    # --- the market moves ---

    def make(self, order: Order, size: int, reason: Reason, price: int = 0) -> None:
        """Fill a resting order, at its own price unless another is given."""
        what = self.execution(order, price or order.price, size, maker=True)
        if self.cash_account and order.side < 0 and (self.owned(order) < size or self.lacks(order, what)):
            self.end(order, Event.CANCELLED, Reason.INSUFFICIENT_FUNDS)
            return
        if self.cash_account and order.side > 0:
            cost = what.notional + what.in_quote
            if cost > self.free(order) + order.venue_lock:
                self.end(order, Event.CANCELLED, Reason.INSUFFICIENT_FUNDS)
                return
            left = order.open - size
            keep = max(0, min(self.lock(order, left), order.venue_lock - cost)) if left else 0
            self.purses[order.instrument].locked -= order.venue_lock - keep
            order.venue_lock = keep
        self.fill(order, what, reason)

    def after_book(self, index: int, reason: Reason) -> None:  # noqa: C901  levels within orders within levels
        """A message changed this book: what crosses fills, then what waited arrives."""
        market = self.markets[index]
        if market.match_on == "book" and market.bad:
            return
        self.price_moved(index, "bid_ask")
        for sign in (1, -1):
            own, other = market.sides[sign], market.sides[-sign]
            if other.best() is None:
                continue
            for price in own.best_first():
                for order in list(own.levels[price].orders) if price in own.levels else []:
                    got = 0
                    for opposite in other.displayed():
                        if opposite * sign > price * sign:
                            break
                        level = other.levels[opposite]
                        part = min(order.open - got, level.left)
                        if self.rules.whole_fills and level.left:
                            part = order.open - got
                        if self.rules.consume:
                            level.consumed += part
                        got += part
                    if got:
                        self.make(order, got, reason)
        self.links.settle()
        while self.waiting[index]:
            order = self.waiting[index].pop(0)
            order.at_venue = "working"
            self.start(order)
            self.links.settle()

    def trade(  # noqa: C901, PLR0912  through, then the queue
        self, index: int, aggressor: int, price: int, size: int, ts_venue: int | None, *, own: bool = False
    ) -> None:
        """A trade: through our prices, then the queue at its own. `own`: it brings its rows of the book."""
        market = self.markets[index]
        if not aggressor or (market.match_on == "book" and market.bad):
            return
        rules = self.rules
        side = market.sides[-aggressor]
        remaining = size
        for better in side.best_first():
            if better == price or not side.at_least(better, price):
                break
            for order in list(side.levels[better].orders):
                whole = rules.whole_fills or rules.whole_through
                part = order.open if whole else min(remaining, order.open)
                if remaining and part:
                    if rules.share_trades:
                        remaining = max(0, remaining - part)
                    self.make(order, part, Reason.THROUGH)
        shown = False
        by_order = isinstance(market, OrderedMarket)
        if rules.set_apart_late and market.match_on == "book" and not own:
            last = market.depth_ts_venue
            if ts_venue is not None and last is not None:
                shown = ts_venue < last if by_order else ts_venue <= last
        if shown or market.match_on == "trade" or price not in side.levels:
            self.links.settle()
            return
        ours = size - remaining
        for order in list(side.levels[price].orders):
            if order.front is None:
                continue
            if isinstance(market, OrderedMarket):
                beyond = market.beyond(order, size, ts_venue, own=own) - ours
            else:
                beyond = queues.trade(rules, self.instruments[index], order, size) - ours
            if beyond > 0:
                part = order.open if rules.whole_fills else min(beyond, order.open)
                if rules.share_trades:
                    ours += part
                if part:  # not when its partner's fill has just used it up
                    self.make(order, part, Reason.QUEUE)
        self.links.settle()
