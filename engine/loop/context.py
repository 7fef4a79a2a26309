"""The context that strategies act through: DESIGN-level behaviour of `ctx`, on top of the kernels.

Python may be ahead of the state: while nothing is working and nothing is due, events are handed out
straight from the columns (`Delivery`). Whoever looks at the state (`_touch`) brings it up to the event in
hand first; whoever changes it (`_act`) also ends the run-ahead after the message in hand.

`target` lives here: it compares with the position and its own unfilled target order, cancels when the wish
has changed, waits until that is final, then sends one order for the rest. A target whose order was refused,
rejected or ended by the venue is not tried again before a second of loop time has passed or another size
is asked for; one whose order the strategy itself cancelled, not before it is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from operator import length_hint
from typing import Any

from engine.config import parse_duration
from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import OrderKind, Reason, State, TimeInForce, reason_name
from engine.execution.state import MATCH_BOOK
from engine.loop import kernels
from engine.loop.codes import DRAIN_JOURNAL, GROW_ITEMS, GROW_ORDERS
from engine.loop.memory import Memory
from engine.loop.random import SeededRandom
from engine.market.book import UNKNOWN
from engine.model.errors import InternalError, UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.units import POWERS_OF_TEN, SECOND_NS, format_decimal
from engine.strategy.api import Book, OpenOrder, Quote

_TIF = {"gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}
_MARKET, _LIMIT = int(OrderKind.MARKET), int(OrderKind.LIMIT)
RETRY_NS = SECOND_NS
_TOLERANCE = 1e-6
_STATE_NAMES = {
    State.SUBMITTED: "submitted",
    State.WORKING: "working",
    State.CANCELLING: "cancelling",
}


class LiveOrder:
    """An order that is not final, as the context remembers it."""

    __slots__ = ("filled", "instrument", "number", "price", "side", "size", "slot", "state")

    def __init__(
        self, number: int, slot: int, instrument: Instrument, side: int, size: int, price: int
    ) -> None:
        self.number = number
        self.slot = slot
        self.instrument = instrument
        self.side = side
        self.size = size
        self.price = price
        self.filled = 0
        self.state = int(State.SUBMITTED)


class Target:
    """What `target` wants of one instrument, and the order it has out for it."""

    __slots__ = ("changing", "failed_at", "order", "price", "settled", "size", "unfit", "unfit_at")

    def __init__(self) -> None:
        self.size: int | None = None
        self.price: int = 0
        self.order = 0  # number of the target order that is out, 0: none
        self.changing = False  # its order is being cancelled because the wish has changed
        self.settled: tuple[float, float | None] | None = None  # asked for, and nothing left to do
        self.failed_at: int | None = None
        self.unfit: tuple[float, float | None] | None = None  # asked for last that is off the increments
        self.unfit_at = 0


class Delivery:
    """Events that Python hands out ahead of the state. `events` is cut when somebody acts."""

    __slots__ = ("ends", "events", "iterator", "stamps")

    def __init__(self, events: list[Any], ends: list[int], stamps: list[int]) -> None:
        self.events = events
        self.ends = ends  # last row of each event's message
        self.stamps = stamps  # its ts
        self.iterator = iter(events)

    def position(self) -> int:
        """Index of the event in hand."""
        return len(self.events) - length_hint(self.iterator) - 1


class LoopContext:
    """`ctx`, as strategies get it. See engine.strategy.api.Context for what each method promises."""

    def __init__(
        self,
        memory: Memory,
        registry: Registry,
        seed: int,
        *,
        drain_journal: Callable[[], None],
        catch_up: Callable[[int], None],
        log_line: Callable[[str], None],
    ) -> None:
        self._memory = memory
        self._registry = registry
        self._drain_journal = drain_journal
        self._catch_up = catch_up
        self._log_line = log_line
        self._random = SeededRandom(seed)
        self._delivery: Delivery | None = None
        self.visible: tuple[Instrument, ...] = ()
        self.live: dict[int, LiveOrder] = {}
        self.numbers = 0
        self.targets: dict[Instrument, Target] = {}
        self.refusals: dict[int, str] = {}  # order number -> words
        self.timers: dict[int, tuple[str, int]] = {}  # id -> name, interval (0: once)
        self._timer_ids = 0
        self.stopped = False

    # --- where Python stands against the state ---

    def ahead(self, delivery: Delivery | None) -> None:
        """Events of `delivery` are about to be handed out (None: the state is where Python is)."""
        self._delivery = delivery

    def _touch(self) -> None:
        delivery = self._delivery
        if delivery is not None:
            self._catch_up(delivery.ends[delivery.position()] + 1)

    def _act(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        position = delivery.position()
        end = delivery.ends[position]
        self._catch_up(end + 1)
        keep = position + 1
        while keep < len(delivery.events) and delivery.ends[keep] == end:
            keep += 1  # the rest of this message is delivered before anything that it caused
        del delivery.events[keep:]

    # --- time, chance, instruments ---

    @property
    def now(self) -> int:
        """The loop's time, ns."""
        delivery = self._delivery
        if delivery is not None:
            return delivery.stamps[delivery.position()]
        return self._memory.get("now")

    @property
    def random(self) -> SeededRandom:
        """Seeded chance."""
        return self._random

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What this strategy follows."""
        return self.visible

    def instrument(self, name: str) -> Instrument:
        """By key or unambiguous symbol, among those that have been defined so far."""
        found = self._registry.find(name)
        if found not in self.visible:
            known = ", ".join(i.key for i in self.visible) or "none"
            raise UsageError(f'unknown symbol "{name}"', hint=f"this strategy follows {known}")
        return found

    def _resolve(self, instrument: Instrument | str) -> Instrument:
        if isinstance(instrument, Instrument):
            return self._registry.instruments[instrument.index]
        return self.instrument(instrument)

    # --- orders ---

    def market(self, instrument: Instrument | str, size: float) -> int:
        """Send a market order."""
        return self._order(self._resolve(instrument), size, None, "ioc", post_only=False, reduce_only=False)

    def limit(
        self,
        instrument: Instrument | str,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
    ) -> int:
        """Send a limit order."""
        if tif not in _TIF:
            raise UsageError(
                f'limit(tif="{tif}"): no such time in force', hint=f"one of {', '.join(_TIF)} is possible"
            )
        return self._order(
            self._resolve(instrument), size, price, tif, post_only=post_only, reduce_only=reduce_only
        )

    def _order(
        self,
        instrument: Instrument,
        size: float,
        price: float | None,
        tif: str,
        *,
        post_only: bool,
        reduce_only: bool,
    ) -> int:
        side = 1 if size >= 0 else -1
        refusal = 0
        words = ""
        lots, problem = to_increments(abs(size), instrument.lot, instrument.size_decimals)
        if problem:
            refusal, words = _increment_refusal("size", size, problem, Reason.SIZE_INCREMENT)
        mantissa = 0
        if price is not None:
            mantissa, problem = to_increments(price, instrument.tick, instrument.price_decimals)
            if problem and not refusal:
                refusal, words = _increment_refusal("price", price, problem, Reason.PRICE_INCREMENT)
        return self._send(
            instrument,
            side,
            lots,
            mantissa,
            _MARKET if price is None else _LIMIT,
            int(_TIF[tif]),
            (1 if post_only else 0) | (2 if reduce_only else 0),
            refusal,
            words,
        )

    def _send(  # noqa: PLR0913  one argument per field of an order
        self,
        instrument: Instrument,
        side: int,
        size: int,
        price: int,
        kind: int,
        tif: int,
        options: int,
        refusal: int = 0,
        words: str = "",
    ) -> int:
        self._act()
        memory = self._memory
        while True:
            slot = kernels.submit(
                memory.address, instrument.index, side, size, price, kind, tif, options, refusal
            )
            if slot >= 0:
                break
            self._make_room(slot)
        self.numbers += 1
        number = self.numbers
        if words:
            self.refusals[number] = words
        self.live[number] = LiveOrder(number, slot, instrument, side, size, price)
        return number

    def _make_room(self, code: int) -> None:
        if code == GROW_ORDERS:
            self._memory.grow_orders()
        elif code == -DRAIN_JOURNAL:
            self._drain_journal()
        elif code == -GROW_ITEMS:
            self._memory.grow_items(self._memory.get("out_need"))
        else:
            raise InternalError(f"a kernel answered {code}")

    def cancel(self, order: int) -> None:
        """Send a cancel; nothing happens when the order is final or being cancelled already."""
        live = self.live.get(order)
        if live is None:
            if not 1 <= order <= self.numbers:
                raise UsageError(f"cancel({order}): no such order", hint="order calls return the number")
            return
        self._act()
        while True:
            code = kernels.cancel(self._memory.address, live.slot)
            if code >= 0:
                break
            self._make_room(code)
        if code == 0:
            live.state = int(State.CANCELLING)

    def cancel_all(self, instrument: Instrument | str | None = None) -> None:
        """Cancel every open order, or those of one instrument."""
        only = None if instrument is None else self._resolve(instrument)
        for number, live in list(self.live.items()):
            if only is None or live.instrument == only:
                self.cancel(number)

    # --- target ---

    def target(self, instrument: Instrument | str, size: float, price: float | None = None) -> None:
        """Bring the position to `size`; see the module's docstring."""
        wish = self.targets.get(instrument)  # type: ignore[arg-type]  # a str is not in it
        if wish is not None and wish.settled == (size, price):
            return
        self._retarget(self._resolve(instrument), size, price)

    def _retarget(self, instrument: Instrument, size: float, price: float | None) -> None:
        wish = self.targets.get(instrument)
        if wish is None:
            wish = self.targets[instrument] = Target()
        lots, problem = to_increments(abs(size), instrument.lot, instrument.size_decimals)
        mantissa = 0
        if price is not None and not problem:
            mantissa, problem = to_increments(price, instrument.tick, instrument.price_decimals)
        if problem:
            # The order call words the refusal, journals and delivers it.
            if wish.unfit != (size, price) or self.now >= wish.unfit_at + RETRY_NS:
                wish.unfit, wish.unfit_at = (size, price), self.now
                self._order(instrument, size, price, "gtc", post_only=False, reduce_only=False)
            return
        wanted = lots if size >= 0 else -lots
        if (wish.size, wish.price) != (wanted, mantissa):
            wish.size, wish.price, wish.failed_at = wanted, mantissa, None
        if self._pursue(instrument, wish):
            wish.settled = (size, price)

    def _pursue(self, instrument: Instrument, wish: Target) -> bool:
        """Do what the wish needs now; True when asking again cannot change anything until a report."""
        if wish.size is None:
            return True
        memory = self._memory
        position = memory.of_instrument(instrument.index, "position")
        live = self.live.get(wish.order)
        if live is None:
            wish.order = 0
            rest = wish.size - position
            if abs(rest) < max(instrument.lot, instrument.min_size):
                return True
            if wish.failed_at is not None and self.now < wish.failed_at + RETRY_NS:
                return False
            side = 1 if rest > 0 else -1
            kind = _LIMIT if wish.price else _MARKET
            tif = int(TimeInForce.GTC if wish.price else TimeInForce.IOC)
            wish.changing = False
            wish.order = self._send(instrument, side, abs(rest), wish.price, kind, tif, 0)
            return True
        pending = live.side * (live.size - live.filled)
        same = abs(position + pending - wish.size) < instrument.lot and live.price == wish.price
        if not same:
            wish.changing = True
            self.cancel(live.number)  # nothing, when a cancel is on its way already
        return True

    def after_report(self, number: int, instrument: Instrument, state: str, reason: int = 0) -> None:
        """An order's report has come: wishes may have something to do again."""
        wish = self.targets.get(instrument)
        if wish is None:
            return
        wish.settled = None
        if number != wish.order or number in self.live:
            return
        wish.order = 0
        changing, wish.changing = wish.changing, False
        if changing or state == "filled":
            if not self.stopped:
                self._pursue(instrument, wish)
        elif reason != Reason.REQUESTED:
            wish.failed_at = self.now

    # --- what is known ---

    def position(self, instrument: Instrument | str) -> float:
        """Signed position, base units."""
        who = self._resolve(instrument)
        return self._memory.of_instrument(who.index, "position") / POWERS_OF_TEN[who.size_decimals]

    def cash(self) -> float:
        """Cash in the run's currency."""
        assets = self._memory.assets
        return int(assets[0]["cash"]) / POWERS_OF_TEN[MONEY_DECIMALS] if len(assets) else 0.0

    def equity(self) -> float:
        """Cash plus every position at its mid, else at its last price."""
        self._touch()
        total = self.cash()
        for who in self._registry.instruments:
            position = self._memory.of_instrument(who.index, "position")
            if position:
                price = self._mark(who)
                total += position / POWERS_OF_TEN[who.size_decimals] * (price or 0.0)
        return total

    def _mark(self, who: Instrument) -> float | None:
        bid, ask = self._best(who, 0), self._best(who, 1)
        if bid and ask:
            return (bid[0] + ask[0]) / 2.0
        return self.last(who)

    def orders(self, instrument: Instrument | str | None = None) -> tuple[OpenOrder, ...]:
        """Own orders that are not final, oldest first."""
        only = None if instrument is None else self._resolve(instrument)
        return tuple(
            OpenOrder(
                live.number,
                live.instrument,
                live.side,
                live.size / POWERS_OF_TEN[live.instrument.size_decimals],
                live.filled / POWERS_OF_TEN[live.instrument.size_decimals],
                live.price / POWERS_OF_TEN[live.instrument.price_decimals] if live.price else None,
                _STATE_NAMES.get(State(live.state), "submitted"),
            )
            for live in self.live.values()
            if only is None or live.instrument == only
        )

    def quote(self, instrument: Instrument | str) -> Quote | None:
        """The latest quote; from the quote stream if there is one, else the book's best levels."""
        self._touch()
        who = self._resolve(instrument)
        memory = self._memory
        if memory.of_instrument(who.index, "quote_seen"):
            prices, sizes = POWERS_OF_TEN[who.price_decimals], POWERS_OF_TEN[who.size_decimals]
            bid, bid_size, ask, ask_size = (
                memory.of_instrument(who.index, f"quote_{name}")
                for name in ("bid", "bid_size", "ask", "ask_size")
            )
            return Quote(
                who, bid / prices, bid_size / sizes, ask / prices, ask_size / sizes, self.now, None, 0, 0
            )
        best_bid, best_ask = self._best(who, 0), self._best(who, 1)
        if best_bid is None or best_ask is None:
            return None
        return Quote(who, *best_bid, *best_ask, self.now, None, 0, 0)

    def _best(self, who: Instrument, side: int) -> tuple[float, float] | None:
        levels = self._levels(who, side, 1)
        return levels[0] if levels else None

    def _levels(self, who: Instrument, side: int, depth: int) -> list[tuple[float, float]]:
        k = 2 * who.index + side
        memory = self._memory
        levels = memory.levels[k]
        i = int(memory.sides[k]["count"]) - 1
        prices, sizes = POWERS_OF_TEN[who.price_decimals], POWERS_OF_TEN[who.size_decimals]
        found: list[tuple[float, float]] = []
        # Near the best price in one slice: reading record by record costs ten times that.
        while i >= 0 and len(found) < depth:
            start = max(0, i + 1 - 2 * depth)
            part = levels[start : i + 1]
            for price, size in zip(part["price"].tolist()[::-1], part["size"].tolist()[::-1], strict=True):
                if size not in (0, UNKNOWN):
                    found.append((price / prices, size / sizes))
                    if len(found) == depth:
                        break
            i = start - 1
        return found

    def book(self, instrument: Instrument | str, depth: int = 10) -> Book | None:
        """The best `depth` levels of each side, None when none has come."""
        self._touch()
        who = self._resolve(instrument)
        if self._memory.of_instrument(who.index, "match_on") != MATCH_BOOK:
            return None  # what quotes and own orders leave there is no book of the venue's
        bids, asks = self._levels(who, 0, depth), self._levels(who, 1, depth)
        if not bids and not asks:
            return None
        return Book(who, tuple(bids), tuple(asks))

    def last(self, instrument: Instrument | str) -> float | None:
        """Price of the last trade, None before the first."""
        self._touch()
        who = self._resolve(instrument)
        price = self._memory.of_instrument(who.index, "last_price")
        return price / POWERS_OF_TEN[who.price_decimals] if price else None

    # --- timers ---

    def at(self, ts: int, name: str) -> None:
        """Call on_timer(ctx, name) once at `ts`."""
        self._add_timer(max(int(ts), self.now), name, 0)

    def every(self, interval: int | str, name: str) -> None:
        """Call on_timer(ctx, name) again and again."""
        step = (
            parse_duration(interval, f"every({interval!r}, {name!r})")
            if isinstance(interval, str)
            else interval
        )
        if step <= 0:
            raise UsageError(f"every({interval!r}, {name!r}): the interval must be positive")
        self._add_timer(self.now + step, name, step)

    def _add_timer(self, due: int, name: str, interval: int) -> None:
        self._act()
        self._timer_ids += 1
        self.timers[self._timer_ids] = (name, interval)
        self.schedule(self._timer_ids, due)

    def schedule(self, timer: int, due: int) -> None:
        """Put a timer that is known on the agenda (again)."""
        while True:
            code = kernels.add_timer(self._memory.address, due, timer)
            if code == 0:
                return
            self._make_room(code)

    def cancel_timer(self, name: str) -> None:
        """Forget the timers of that name."""
        for timer in [t for t, (known, _) in self.timers.items() if known == name]:
            del self.timers[timer]

    # --- words and rounding ---

    def log(self, *values: object) -> None:
        """Write a line into the run's journal, outside its hash."""
        self._touch()
        self._log_line(" ".join(str(v) for v in values))

    def round_price(self, instrument: Instrument | str, price: float) -> float:
        """The nearest valid price."""
        who = self._resolve(instrument)
        scale = POWERS_OF_TEN[who.price_decimals]
        return round(price * scale / who.tick) * who.tick / scale

    def round_size(self, instrument: Instrument | str, size: float) -> float:
        """The nearest valid size towards zero; one that is valid but for float noise stays."""
        who = self._resolve(instrument)
        lots, problem = to_increments(abs(size), who.lot, who.size_decimals)
        scale = POWERS_OF_TEN[who.size_decimals]
        if problem:
            lots = int(abs(size) * scale / who.lot) * who.lot
        return lots / scale if size >= 0 else -(lots / scale)


def to_increments(value: float, increment: int, decimals: int) -> tuple[int, str]:
    """Mantissa of a float that lies on an increment, and "" ; else the one below, and both neighbours.

    On an increment is: within max(1e-6 increments, 2 ulp) of one.
    """
    if not isfinite(value):
        return 0, "not a finite number"
    scale = POWERS_OF_TEN[decimals]
    if abs(value) * scale >= 2**62:
        return 0, "more than 64 bits hold"
    nearest = round(value * scale / increment) * increment
    exact = nearest / scale
    if exact == value:
        return nearest, ""
    ulp = abs(value) * 2.220446049250313e-16
    if abs(exact - value) <= max(_TOLERANCE * increment / scale, 2.0 * ulp):
        return nearest, ""
    below = nearest if exact < value else nearest - increment
    return below, (
        f"{format_decimal(below, decimals)} and {format_decimal(below + increment, decimals)} are the nearest"
    )


def _increment_refusal(what: str, value: float, problem: str, reason: Reason) -> tuple[int, str]:
    code = Reason.NOT_FINITE if problem.startswith("not a finite") else reason
    return int(code), f"{reason_name(code)}: {what} {value!r}: {problem}"
