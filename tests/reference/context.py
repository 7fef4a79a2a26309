"""The twin's `ctx`: the methods that strategies call, over plain objects. Nothing runs ahead here."""

# What the methods promise stands in engine.strategy.api.Context.
# ruff: noqa: D102, FBT001, FBT002

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from engine.config import parse_duration
from engine.execution.orders import Reason
from engine.loop.random import SeededRandom
from engine.model.instruments import Instrument
from engine.strategy.api import Book, OpenOrder, Quote
from tests.reference import money, risk
from tests.reference.increments import in_units, increments, off
from tests.reference.orders import FINAL, Order

if TYPE_CHECKING:
    from tests.reference.loop import Twin

RETRY_NS = 1_000_000_000


@dataclass
class Wish:
    """What `target` wants of an instrument."""

    size: int
    price: int
    order: int = 0
    changing: bool = False  # its order is being cancelled because the wish has changed
    due: bool = False  # its order has ended, and the wish is to be looked at again
    failed_at: int | None = None


class TwinContext:
    """What the strategy acts through."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.random = SeededRandom(twin.config.seed)
        self.wishes: dict[int, Wish] = {}
        self.refused: dict[int, tuple[float, float | None, int]] = {}  # of target: off the increments
        self.timers: dict[int, tuple[str, int]] = {}
        self._timer_ids = 0

    @property
    def now(self) -> int:
        return self._twin.now

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        return tuple(self._twin.visible)

    def instrument(self, name: str) -> Instrument:
        return next(i for i in self._twin.visible if name in (i.key, i.symbol))

    def bars(self, instrument: Instrument, every: str) -> int:
        return self._twin.series.ask(instrument, every)

    # --- orders ---

    def market(self, instrument: Instrument, size: float) -> int:
        return self._order(instrument, size, None, "ioc")

    def limit(
        self,
        instrument: Instrument,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,
        reduce_only: bool = False,
        until: int | None = None,
    ) -> int:
        return self._order(
            instrument, size, price, tif, post_only=post_only, reduce_only=reduce_only, until=until
        )

    def stop(
        self,
        instrument: Instrument,
        size: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,
        until: int | None = None,
    ) -> int:
        kind = "stop" if limit is None else "stop_limit"
        return self._order(
            instrument, size, limit, tif, kind=kind, stop=stop, reduce_only=reduce_only, until=until
        )

    def trail(
        self,
        instrument: Instrument,
        size: float,
        distance: float,
        stop: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,
        until: int | None = None,
    ) -> int:
        return self._order(
            instrument,
            size,
            None,
            tif,
            kind="trailing",
            stop=stop or 0.0,
            distance=distance,
            reduce_only=reduce_only,
            until=until,
        )

    def oco(
        self,
        instrument: Instrument,
        size: float,
        price: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int]:
        crossed = price >= stop if size >= 0 else price <= stop
        kind = "stop" if limit is None else "stop_limit"
        refusal = (
            (Reason.LEGS_CROSSED if crossed else None)
            or off(instrument, stop, limit)
            or self._against_leg(instrument, size, limit, kind, stop)
        )
        group = self._twin.numbers + 1
        first = self._order(instrument, size, price, tif, until=until, refusal=refusal, group=group)
        if self._twin.live[first].refused:
            refusal = Reason.ENTRY_REFUSED
        second = self._order(
            instrument, size, limit, tif, kind=kind, stop=stop, until=until, refusal=refusal, group=group
        )
        legs = self._twin.live[first], self._twin.live[second]
        assert legs[0].refused == legs[1].refused
        if not legs[0].refused:
            legs[0].partner, legs[1].partner = legs[1], legs[0]
        return first, second

    def bracket(
        self,
        instrument: Instrument,
        size: float,
        price: float | None,
        target: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int, int]:
        crossed = target <= stop if size >= 0 else target >= stop
        kind = "stop" if limit is None else "stop_limit"
        refusal = (
            (Reason.LEGS_CROSSED if crossed else None)
            or off(instrument, target, stop, limit)
            or self._against_leg(instrument, -size, target, "limit", 0.0, entry=price)
            or self._against_leg(instrument, -size, limit, kind, stop)
        )
        first = self._order(instrument, size, price, tif, until=until, refusal=refusal)
        entry = self._twin.live[first]
        refusal = Reason.ENTRY_REFUSED if entry.refused else None
        for limit_at, stop_at, what in ((target, 0.0, "limit"), (limit, stop, kind)):
            self._order(
                instrument,
                -size,
                limit_at,
                "gtc",
                kind=what,
                stop=stop_at,
                refusal=refusal,
                parent=first,
                group=first + 1,
            )
        legs = [self._twin.live[first + 1], self._twin.live[first + 2]]
        assert all(leg.refused == entry.refused for leg in legs)
        if not entry.refused:
            entry.children = legs
            legs[0].partner, legs[1].partner = legs[1], legs[0]
            for leg in legs:
                leg.entry = entry
        return first, first + 1, first + 2

    def _against_leg(
        self,
        who: Instrument,
        size: float,
        price: float | None,
        kind: str,
        stop: float,
        *,
        entry: float | None = None,
    ) -> Reason | None:
        """What risk says of a leg before the first order leaves; a limit order is measured by its entry."""
        twin, market = self._twin, self._twin.markets[who.index]
        lots, wrong = increments(abs(size), who.lot, who.size_decimals, Reason.SIZE_INCREMENT)
        if wrong:
            return None  # the first order will say so

        def ticks(value: float | None) -> int:
            return increments(value or 0.0, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)[0]

        refusal = risk.terms(
            twin.config,
            who,
            market,
            size=lots,
            price=ticks(price),
            stop=ticks(stop),
            trail=0,
            kind=kind,
            halted=twin.halted,
        )
        if refusal or kind != "limit":
            return refusal
        around = risk.reference(market)
        if entry is not None and entry > 0:
            around, wrong = increments(entry, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)
            if wrong:
                return None
        far = risk.beyond_collar(twin.config, ticks(price), 1 if size >= 0 else -1, around)
        return Reason.PRICE_COLLAR if far else None

    def amend(
        self,
        order: int,
        size: float | None = None,
        price: float | None = None,
        stop: float | None = None,
    ) -> None:
        live = self._twin.live.get(order)
        if live is None:
            return
        who = self._twin.instruments[live.instrument]
        lots, ticks, trigger = live.known_size, live.known_price, 0
        refusal: Reason | None = None
        if size is not None:
            lots, refusal = increments(abs(size), who.lot, who.size_decimals, Reason.SIZE_INCREMENT)
        if price is not None and not refusal:
            ticks, refusal = increments(price, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)
            if not live.limited:
                refusal = refusal or Reason.PRICE_INCREMENT
        if stop is not None and not refusal:
            trigger, refusal = increments(stop, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)
            if not live.is_stop or trigger <= 0:
                refusal = refusal or Reason.PRICE_INCREMENT
        self._twin.amend(live, lots, ticks, trigger, refusal)

    def _order(
        self,
        who: Instrument,
        size: float,
        price: float | None,
        tif: str,
        *,
        kind: str = "",
        stop: float = 0.0,
        distance: float = 0.0,
        until: int | None = None,
        refusal: Reason | None = None,
        parent: int = 0,
        group: int = 0,
        post_only: bool = False,
        reduce_only: bool = False,
    ) -> int:
        lots, wrong = increments(abs(size), who.lot, who.size_decimals, Reason.SIZE_INCREMENT)
        refusal = wrong or refusal  # a size off the increments comes before all else
        prices = []
        for value in (price or 0.0, stop, distance):
            mantissa, wrong = increments(value, who.tick, who.price_decimals, Reason.PRICE_INCREMENT)
            refusal = refusal or wrong
            prices.append(mantissa)
        ticks, trigger, trail = prices
        kind = kind or ("market" if price is None else "limit")
        order = Order(
            0,
            who.index,
            1 if size >= 0 else -1,
            kind,
            tif,
            ticks,
            lots,
            post_only,
            reduce_only,
            trigger,
            trail,
            until or 0,
            parent,
            group,
        )
        return self._twin.submit(order, refusal)

    def cancel(self, order: int) -> None:
        self._twin.cancel(order)

    def cancel_all(self, instrument: Instrument | None = None) -> None:
        for order in list(self._twin.live.values()):
            if instrument is None or order.instrument == instrument.index:
                self.cancel(order.number)

    def target(self, instrument: Instrument, size: float, price: float | None = None) -> None:
        lots, wrong = increments(abs(size), instrument.lot, instrument.size_decimals, Reason.SIZE_INCREMENT)
        ticks = 0
        if price is not None:
            ticks, wrong_price = increments(
                price, instrument.tick, instrument.price_decimals, Reason.PRICE_INCREMENT
            )
            wrong = wrong or wrong_price
        if wrong:
            known = self.refused.get(instrument.index)
            if known is None or known[:2] != (size, price) or self.now >= known[2] + RETRY_NS:
                self.refused[instrument.index] = (size, price, self.now)
                self._order(instrument, size, price, "gtc")
            return
        wanted = lots if size >= 0 else -lots
        wish = self.wishes.setdefault(instrument.index, Wish(wanted, ticks))
        if (wish.size, wish.price) != (wanted, ticks):
            wish.size, wish.price, wish.failed_at = wanted, ticks, None
        self._pursue(instrument.index)

    def _pursue(self, index: int) -> None:
        twin, wish = self._twin, self.wishes[index]
        who = twin.instruments[index]
        live = twin.live.get(wish.order)
        if live is None:
            rest = wish.size - twin.positions[index]
            if abs(rest) < max(who.lot, who.min_size):
                return
            if wish.failed_at is not None and self.now < wish.failed_at + RETRY_NS:
                return
            kind, tif = ("limit", "gtc") if wish.price else ("market", "ioc")
            side = 1 if rest > 0 else -1
            wish.changing = False
            wish.order = twin.submit(
                Order(0, index, side, kind, tif, wish.price, abs(rest), False, False), None
            )
            return
        missing = live.side * (live.known_size - live.filled)
        same = abs(twin.positions[index] + missing - wish.size) < who.lot and live.known_price == wish.price
        if not same:
            wish.changing = True
            self.cancel(live.number)

    def before_report(self, order: Order, reason: Reason) -> None:
        """What an end means for a wish counts before the strategy hears of it."""
        wish = self.wishes.get(order.instrument)
        if wish is None or wish.order != order.number or order.state not in FINAL:
            return
        wish.order = 0
        if wish.changing or order.state == "filled":
            wish.changing, wish.due = False, True
        elif reason != Reason.REQUESTED:
            wish.failed_at = self.now

    def after_report(self, order: Order) -> None:
        """The strategy has had its say."""
        wish = self.wishes.get(order.instrument)
        if wish is not None and wish.due:
            wish.due = False
            self._pursue(order.instrument)

    # --- what is known ---

    def position(self, instrument: Instrument) -> float:
        return in_units(self._twin.positions[instrument.index], instrument.size_decimals)

    def owned(self, instrument: Instrument) -> float:
        twin, index = self._twin, instrument.index
        mantissa = money.owned(twin.positions[index], twin.base_fees[index], instrument)
        return in_units(mantissa, instrument.size_decimals)

    def cash(self) -> float:
        return self._twin.purses[0].cash / 10**8

    def equity(self) -> float:
        total = self.cash()
        for who in self._twin.instruments:
            position = self._twin.positions[who.index]
            if position and self._twin.purses[who.index] is self._twin.purses[0]:
                total += position / 10**who.size_decimals * (self._mark(who) or 0.0)
            fees = self._twin.base_fees[who.index]
            if fees and self._twin.purses[who.index] is self._twin.purses[0]:
                total -= fees / 10**8 * (self._mark(who) or 0.0)
        return total

    def _mark(self, who: Instrument) -> float | None:
        bids, asks = self._levels(who, 1, 1), self._levels(who, -1, 1)
        if bids and asks:
            return (bids[0][0] + asks[0][0]) / 2.0
        return self.last(who)

    def orders(self, instrument: Instrument | None = None) -> tuple[OpenOrder, ...]:
        found = []
        for order in self._twin.live.values():
            who = self._twin.instruments[order.instrument]
            if instrument is None or who == instrument:
                scale = 10**who.size_decimals
                prices = 10**who.price_decimals
                price = order.known_price / prices if order.known_price else None
                stop = order.known_stop / prices if order.known_stop else None
                found.append(
                    OpenOrder(
                        order.number,
                        who,
                        order.side,
                        order.known_size / scale,
                        order.filled / scale,
                        price,
                        stop,
                        order.state,
                    )
                )
        return tuple(found)

    def quote(self, instrument: Instrument) -> Quote | None:
        market = self._twin.markets[instrument.index]
        if market.quote_seen:
            prices, sizes = 10**instrument.price_decimals, 10**instrument.size_decimals
            (bid, bid_size), (ask, ask_size) = market.quote[1], market.quote[-1]
            return Quote(
                instrument,
                bid / prices,
                bid_size / sizes,
                ask / prices,
                ask_size / sizes,
                self.now,
                None,
                0,
                0,
            )
        bids, asks = self._levels(instrument, 1, 1), self._levels(instrument, -1, 1)
        if not bids or not asks:
            return None
        return Quote(instrument, *bids[0], *asks[0], self.now, None, 0, 0)

    def _levels(self, who: Instrument, sign: int, depth: int) -> tuple[tuple[float, float], ...]:
        side = self._twin.markets[who.index].sides[sign]
        return tuple(
            (price / 10**who.price_decimals, (side.levels[price].size or 0) / 10**who.size_decimals)
            for price in side.displayed()[:depth]
        )

    def book(self, instrument: Instrument, depth: int = 10) -> Book | None:
        if self._twin.markets[instrument.index].match_on != "book":
            return None
        bids, asks = self._levels(instrument, 1, depth), self._levels(instrument, -1, depth)
        return Book(instrument, bids, asks) if bids or asks else None

    def last(self, instrument: Instrument) -> float | None:
        price = self._twin.markets[instrument.index].last
        return in_units(price, instrument.price_decimals) if price else None

    # --- timers, words ---

    def at(self, ts: int, name: str) -> None:
        self._add_timer(max(ts, self.now), name, 0)

    def every(self, interval: int | str, name: str) -> None:
        step = parse_duration(interval) if isinstance(interval, str) else interval
        self._add_timer(self.now + step, name, step)

    def _add_timer(self, due: int, name: str, step: int) -> None:
        self._timer_ids += 1
        self.timers[self._timer_ids] = (name, step)
        self._twin.push_timer(due, self._timer_ids)

    def cancel_timer(self, name: str) -> None:
        self.timers = {number: entry for number, entry in self.timers.items() if entry[0] != name}

    def log(self, *values: object) -> None:
        self._twin.lines.append((self.now, " ".join(map(str, values))))

    # --- rounding ---

    def round_price(self, instrument: Instrument, price: float) -> float:
        ticks = round(Fraction(price) / Fraction(instrument.tick, 10**instrument.price_decimals))
        return in_units(ticks * instrument.tick, instrument.price_decimals)

    def round_size(self, instrument: Instrument, size: float) -> float:
        step = Fraction(instrument.lot, 10**instrument.size_decimals)
        lots, wrong = increments(abs(size), instrument.lot, instrument.size_decimals, Reason.SIZE_INCREMENT)
        mantissa = int(abs(Fraction(size)) // step) * instrument.lot if wrong else lots
        return in_units(mantissa if size >= 0 else -mantissa, instrument.size_decimals)
