"""The context that strategies act through: DESIGN-level behaviour of `ctx`, on top of the kernels.

Python may be ahead of the state: while nothing is working and nothing is due, events are handed out
straight from the columns (`Delivery`). Whoever looks at the state (`_touch`) brings it up to the event in
hand first; whoever changes it (`_act`) also ends the run-ahead after the message in hand.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.config import parse_duration
from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import OrderKind, Reason, State, TimeInForce
from engine.execution.state import MATCH_BOOK
from engine.loop import kernels
from engine.loop.chunk import Delivery
from engine.loop.codes import DRAIN_JOURNAL, GROW_ITEMS, GROW_ORDERS
from engine.loop.increments import increment_refusal, to_increments
from engine.loop.memory import Memory
from engine.loop.random import SeededRandom
from engine.loop.refusals import words_of
from engine.loop.target import Targets
from engine.model.errors import InternalError, UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.units import POWERS_OF_TEN
from engine.strategy.api import Book, OpenOrder, Quote

_TIF = {"gtc": int(TimeInForce.GTC), "ioc": int(TimeInForce.IOC), "fok": int(TimeInForce.FOK)}
_MARKET, _LIMIT = int(OrderKind.MARKET), int(OrderKind.LIMIT)
_STATE_NAMES = {
    int(State.SUBMITTED): "submitted",
    int(State.WORKING): "working",
    int(State.CANCELLING): "cancelling",
}


class LiveOrder:
    """An order that is not final, as the context remembers it."""

    __slots__ = ("filled", "instrument", "number", "price", "side", "size", "slot")

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
        self.memory = memory
        self._registry = registry
        self._drain_journal = drain_journal
        self._catch_up = catch_up
        self._log_line = log_line
        self._random = SeededRandom(seed)
        self._delivery: Delivery | None = None
        self.visible: tuple[Instrument, ...] = ()
        self.live: dict[int, LiveOrder] = {}
        self.numbers = 0
        self._targets = Targets(self)
        self.refusals: dict[int, str] = {}  # order number -> words, until the strategy has heard them
        self.unexplained: dict[int, str] = {}  # the same, until they are in the journal
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
            self._catch_up(delivery.end + 1)

    def _act(self) -> None:
        delivery = self._delivery
        if delivery is not None:
            self._catch_up(delivery.end + 1)
            delivery.cut()

    # --- time, chance, instruments ---

    @property
    def now(self) -> int:
        """The loop's time, ns."""
        delivery = self._delivery
        if delivery is not None:
            return delivery.now
        return self.memory.get("now")

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

    def resolve(self, instrument: Instrument | str) -> Instrument:
        """The instrument as it is defined now, by itself or by name."""
        if isinstance(instrument, Instrument):
            return self._registry.instruments[instrument.index]
        return self.instrument(instrument)

    # --- orders ---

    def market(self, instrument: Instrument | str, size: float) -> int:
        """Send a market order."""
        return self.order(self.resolve(instrument), size, None, "ioc", post_only=False, reduce_only=False)

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
        return self.order(
            self.resolve(instrument), size, price, tif, post_only=post_only, reduce_only=reduce_only
        )

    def order(
        self,
        instrument: Instrument,
        size: float,
        price: float | None,
        tif: str,
        *,
        post_only: bool,
        reduce_only: bool,
    ) -> int:
        """Send an order from floats: off the increments, it is refused with both neighbours named."""
        side = 1 if size >= 0 else -1
        refusal = 0
        words = ""
        lots, problem = to_increments(abs(size), instrument.lot, instrument.size_decimals)
        if problem:
            refusal, words = increment_refusal("size", size, problem, Reason.SIZE_INCREMENT)
        mantissa = 0
        if price is not None:
            mantissa, problem = to_increments(price, instrument.tick, instrument.price_decimals)
            if problem and not refusal:
                refusal, words = increment_refusal("price", price, problem, Reason.PRICE_INCREMENT)
        return self.send(
            instrument,
            side,
            lots,
            mantissa,
            _MARKET if price is None else _LIMIT,
            _TIF[tif],
            (1 if post_only else 0) | (2 if reduce_only else 0),
            refusal,
            words,
        )

    def send(  # noqa: PLR0913  one argument per field of an order
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
        """Send an order from mantissas; returns its number."""
        self._act()
        memory = self.memory
        while True:
            slot = kernels.submit(
                memory.address, instrument.index, side, size, price, kind, tif, options, refusal
            )
            if slot >= 0:
                break
            self._make_room(slot)
        self.numbers += 1
        number = self.numbers
        if not refusal and memory.get("out_reason"):
            words = words_of(memory, instrument, side, size, price)
        if words:
            self.refusals[number] = self.unexplained[number] = words
        self.live[number] = LiveOrder(number, slot, instrument, side, size, price)
        return number

    def _make_room(self, code: int) -> None:
        if code == GROW_ORDERS:
            self.memory.grow_orders()
        elif code == -DRAIN_JOURNAL:
            self._drain_journal()
        elif code == -GROW_ITEMS:
            self.memory.grow_items(self.memory.get("out_need"))
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
            code = kernels.cancel(self.memory.address, live.slot)
            if code >= 0:
                return
            self._make_room(code)

    def cancel_all(self, instrument: Instrument | str | None = None) -> None:
        """Cancel every open order, or those of one instrument."""
        only = None if instrument is None else self.resolve(instrument)
        for number, live in list(self.live.items()):
            if only is None or live.instrument == only:
                self.cancel(number)

    def redefine(self, before: Instrument, instrument: Instrument) -> None:
        """An instrument has a new definition; what is counted in its increments is multiplied up."""
        price = 10 ** (instrument.price_decimals - before.price_decimals)
        size = 10 ** (instrument.size_decimals - before.size_decimals)
        for live in self.live.values():
            if live.instrument == instrument:
                live.instrument = instrument
                live.price *= price
                live.size *= size
                live.filled *= size
        self._targets.redefine(instrument, price, size)

    # --- target ---

    def target(self, instrument: Instrument | str, size: float, price: float | None = None) -> None:
        """Bring the position to `size`; see engine.loop.target."""
        self._targets.aim(instrument, size, price)

    def heard(self, number: int, instrument: Instrument, *, filled: bool, reason: int) -> None:
        """A report is coming to the handlers; `filled`: it is the order's last fill."""
        self._targets.heard(number, instrument, filled=filled, reason=reason)

    def after_report(self, instrument: Instrument) -> None:
        """The handlers of a report have run: a wish may have something to do again."""
        self._targets.after_report(instrument)

    # --- what is known ---

    def position(self, instrument: Instrument | str) -> float:
        """Signed position, base units."""
        who = self.resolve(instrument)
        return self.memory.of_instrument(who.index, "position") / POWERS_OF_TEN[who.size_decimals]

    def cash(self) -> float:
        """Cash in the run's currency."""
        assets = self.memory.assets
        return int(assets[0]["cash"]) / POWERS_OF_TEN[MONEY_DECIMALS] if len(assets) else 0.0

    def equity(self) -> float:
        """Cash plus every position at its mid, else at its last price; what the run's currency counts."""
        self._touch()
        total = self.cash()
        for who in self._registry.instruments:
            position = self.memory.of_instrument(who.index, "position")
            if position and self.memory.of_instrument(who.index, "asset") == 0:
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
        only = None if instrument is None else self.resolve(instrument)
        return tuple(
            OpenOrder(
                live.number,
                live.instrument,
                live.side,
                live.size / POWERS_OF_TEN[live.instrument.size_decimals],
                live.filled / POWERS_OF_TEN[live.instrument.size_decimals],
                live.price / POWERS_OF_TEN[live.instrument.price_decimals] if live.price else None,
                _STATE_NAMES[int(self.memory.orders[live.slot]["state"])],
            )
            for live in self.live.values()
            if only is None or live.instrument == only
        )

    def quote(self, instrument: Instrument | str) -> Quote | None:
        """The latest quote; from the quote stream if there is one, else the book's best levels."""
        self._touch()
        who = self.resolve(instrument)
        memory = self.memory
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
        prices, sizes = POWERS_OF_TEN[who.price_decimals], POWERS_OF_TEN[who.size_decimals]
        found = self.memory.best_levels(who.index, side, depth)
        return [(price / prices, size / sizes) for price, size in found]

    def book(self, instrument: Instrument | str, depth: int = 10) -> Book | None:
        """The best `depth` levels of each side, None when none has come."""
        self._touch()
        who = self.resolve(instrument)
        if self.memory.of_instrument(who.index, "match_on") != MATCH_BOOK:
            return None  # what quotes and own orders leave there is no book of the venue's
        bids, asks = self._levels(who, 0, depth), self._levels(who, 1, depth)
        if not bids and not asks:
            return None
        return Book(who, tuple(bids), tuple(asks))

    def last(self, instrument: Instrument | str) -> float | None:
        """Price of the last trade, None before the first."""
        self._touch()
        who = self.resolve(instrument)
        price = self.memory.of_instrument(who.index, "last_price")
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
            code = kernels.add_timer(self.memory.address, due, timer)
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
        who = self.resolve(instrument)
        scale = POWERS_OF_TEN[who.price_decimals]
        return round(price * scale / who.tick) * who.tick / scale

    def round_size(self, instrument: Instrument | str, size: float) -> float:
        """The nearest valid size towards zero; one that is valid but for float noise stays."""
        who = self.resolve(instrument)
        lots, problem = to_increments(abs(size), who.lot, who.size_decimals)
        scale = POWERS_OF_TEN[who.size_decimals]
        if problem:
            lots = int(abs(size) * scale / who.lot) * who.lot
        return lots / scale if size >= 0 else -(lots / scale)
