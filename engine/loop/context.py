"""The context that strategies act through: DESIGN-level behaviour of `ctx`, on top of the kernels.

Python may be ahead of the state: while nothing is working and nothing is due, events are handed out
straight from the columns (`Delivery`). Whoever looks at the state (`_touch`) brings it up to the event in
hand first; whoever changes it (`_act`) also ends the run-ahead after the message in hand.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np

from engine.config import parse_duration
from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import OrderKind, State, TimeInForce
from engine.execution.state import MATCH_BOOK
from engine.loop import operations
from engine.loop.chunk import Delivery
from engine.loop.keeping import Keeper
from engine.loop.memory import FIELD, Memory
from engine.loop.random import SeededRandom
from engine.model.errors import UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.units import POWERS_OF_TEN
from engine.model.words import word_of
from engine.strategy.api import Book, OpenOrder, Quote
from engine.strategy.orders import time_in_force

_REFUSALS, _LIVE, _DECISIONS = FIELD["refusal_count"], FIELD["live_orders"], FIELD["decisions"]
_MARKET, _LIMIT, _STOP = int(OrderKind.MARKET), int(OrderKind.LIMIT), int(OrderKind.STOP)
_STOP_LIMIT, _TRAILING = int(OrderKind.STOP_LIMIT), int(OrderKind.TRAILING)
_IOC = int(TimeInForce.IOC)
_NONE = float("nan")  # a stop without a limit
_STATE_NAMES = {
    int(State.SUBMITTED): "submitted",
    int(State.WORKING): "working",
    int(State.CANCELLING): "cancelling",
}


class LoopContext:
    """`ctx`, as strategies get it. See engine.strategy.api.Context for what each method promises."""

    def __init__(
        self,
        memory: Memory,
        registry: Registry,
        seed: int,
        keeper: Keeper,
        *,
        catch_up: Callable[[int], None],
        log_line: Callable[[str], None],
    ) -> None:
        self.memory = memory
        self._registry = registry
        self._keeper = keeper
        self._catch_up = catch_up
        self._log_line = log_line
        self._random = SeededRandom(seed, memory)
        self._delivery: Delivery | None = None
        self._visible: tuple[Instrument, ...] = ()
        self._visible_indexes = np.zeros(0, np.int64)
        self._settled: dict[Instrument, tuple[float, float | None]] = {}  # targets that need nothing
        self._levels_buffer = np.zeros(0, np.int64)
        self._quote_buffer = np.zeros(4, np.int64)
        self._quote_address = int(self._quote_buffer.ctypes.data)

    @property
    def live(self) -> int:
        """How many own orders are not final."""
        return self.memory.get("live_orders")

    @property
    def stopped(self) -> bool:
        """Whether the strategy has been stopped."""
        return bool(self.memory.get("stopped"))

    @stopped.setter
    def stopped(self, value: bool) -> None:
        self.memory.set("stopped", int(value))

    @property
    def visible(self) -> tuple[Instrument, ...]:
        """What this strategy follows."""
        return self._visible

    @visible.setter
    def visible(self, instruments: tuple[Instrument, ...]) -> None:
        self._visible = instruments
        self._visible_indexes = np.array([who.index for who in instruments], np.int64)
        self.memory.set("visible", self._visible_indexes.ctypes.data)
        self.memory.set("visible_count", len(instruments))

    @property
    def refusals(self) -> dict[int, str]:
        """Words of refused orders, by number, until the strategy has heard them."""
        return self._keeper.refusals

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
        who = self.resolve(instrument)
        self._act()
        return self._sent(
            operations.order(self.memory.address, who.index, float(size), 0.0, _MARKET, _IOC, 0)
        )

    def limit(
        self,
        instrument: Instrument | str,
        size: float,
        price: float,
        tif: str = "gtc",
        post_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        reduce_only: bool = False,  # noqa: FBT001, FBT002  likewise
        until: int | None = None,
    ) -> int:
        """Send a limit order."""
        code, expires = time_in_force("limit", tif, until)
        who = self.resolve(instrument)
        self._act()
        options = (1 if post_only else 0) | (2 if reduce_only else 0)
        limit = float(price)
        if not expires:
            return self._sent(
                operations.order(self.memory.address, who.index, float(size), limit, _LIMIT, code, options)
            )
        return self._send_with(who, (size, limit, 0.0, 0.0), _LIMIT, code, options, expires)

    def stop(
        self,
        instrument: Instrument | str,
        size: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        until: int | None = None,
    ) -> int:
        """Send a stop, with a limit or without one."""
        code, expires = time_in_force("stop", tif, until)
        kind = _STOP if limit is None else _STOP_LIMIT
        who = self.resolve(instrument)
        self._act()
        price = 0.0 if limit is None else float(limit)
        options = 2 if reduce_only else 0
        return self._send_with(who, (size, price, float(stop), 0.0), kind, code, options, expires)

    def trail(
        self,
        instrument: Instrument | str,
        size: float,
        distance: float,
        stop: float | None = None,
        tif: str = "gtc",
        reduce_only: bool = False,  # noqa: FBT001, FBT002  authors name it
        until: int | None = None,
    ) -> int:
        """Send a trailing stop."""
        code, expires = time_in_force("trail", tif, until)
        who = self.resolve(instrument)
        self._act()
        options = 2 if reduce_only else 0
        first = 0.0 if stop is None else float(stop)
        return self._send_with(who, (size, 0.0, first, float(distance)), _TRAILING, code, options, expires)

    def _send_with(
        self,
        who: Instrument,
        numbers: tuple[float, float, float, float],  # size, limit, stop, distance
        kind: int,
        tif: int,
        options: int,
        expires: int,
    ) -> int:
        size, price, stop, distance = numbers
        return self._sent(
            operations.order_with(
                self.memory.address,
                who.index,
                float(size),
                price,
                kind,
                tif,
                options,
                stop,
                distance,
                expires,
            )
        )

    def _sent(self, number: int) -> int:
        self._check(number)
        return number

    def oco(
        self,
        instrument: Instrument | str,
        size: float,
        price: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int]:
        """Send a limit order and a stop of which one cancels the other."""
        code, expires = time_in_force("oco", tif, until)
        who = self.resolve(instrument)
        self._act()
        number = self._sent(
            operations.pair(
                self.memory.address,
                who.index,
                float(size),
                float(price),
                float(stop),
                _NONE if limit is None else float(limit),
                code,
                0,
                expires,
            )
        )
        return number, number + 1

    def bracket(
        self,
        instrument: Instrument | str,
        size: float,
        price: float | None,
        target: float,
        stop: float,
        limit: float | None = None,
        tif: str = "gtc",
        until: int | None = None,
    ) -> tuple[int, int, int]:
        """Send an entry with a target and a stop behind it."""
        code, expires = time_in_force("bracket", tif, until)
        who = self.resolve(instrument)
        self._act()
        number = self._sent(
            operations.bracket(
                self.memory.address,
                who.index,
                float(size),
                0.0 if price is None else float(price),
                _MARKET if price is None else _LIMIT,
                code,
                0,
                expires,
                float(target),
                float(stop),
                _NONE if limit is None else float(limit),
            )
        )
        return number, number + 1, number + 2

    def amend(
        self,
        order: int,
        size: float | None = None,
        price: float | None = None,
        stop: float | None = None,
    ) -> None:
        """Send an amendment; nothing happens when the order is final or being cancelled."""
        if not 1 <= order <= self.memory.get("order_number"):
            raise UsageError(f"amend({order}): no such order", hint="order calls return the number")
        if not self.memory.scalars[_LIVE]:
            return
        self._act()
        given = (size is not None) | (price is not None) << 1 | (stop is not None) << 2
        total, limit, trigger = (0.0 if value is None else float(value) for value in (size, price, stop))
        self._check(operations.amend(self.memory.address, order, total, limit, trigger, given))

    def _check(self, answer: int) -> None:
        """After an operation that may have refused an order, or lacked room."""
        if answer < 0:
            raise self._keeper.failure()
        if self.memory.scalars[_REFUSALS]:
            self._keeper.settle_refusals()

    def cancel(self, order: int) -> None:
        """Send a cancel; nothing happens when the order is final or being cancelled already."""
        if not 1 <= order <= self.memory.get("order_number"):
            raise UsageError(f"cancel({order}): no such order", hint="order calls return the number")
        if self.memory.scalars[_LIVE]:
            self._act()
            self._check(operations.cancel(self.memory.address, order))

    def cancel_all(self, instrument: Instrument | str | None = None) -> None:
        """Cancel every open order, or those of one instrument."""
        index = -1 if instrument is None else self.resolve(instrument).index
        if self.memory.scalars[_LIVE]:
            self._act()
            self._check(operations.cancel_all(self.memory.address, index))

    # --- target ---

    def target(self, instrument: Instrument | str, size: float, price: float | None = None) -> None:
        """Bring the position to `size`; see engine.loop.target."""
        if self._settled.get(instrument) == (size, price):  # type: ignore[arg-type]  # a str is not in it
            return
        who = self.resolve(instrument)
        self._touch()
        scalars = self.memory.scalars
        before = scalars[_DECISIONS]
        answer = operations.aim(
            self.memory.address,
            who.index,
            float(size),
            0.0 if price is None else float(price),
            0 if price is None else 1,
        )
        if scalars[_DECISIONS] != before and self._delivery is not None:
            self._delivery.cut()
        self._check(answer)
        if answer == 1:
            self._settled[who] = (size, price)

    def of_index(self, index: int) -> Instrument:
        """The instrument of a run-wide index, as it is defined now."""
        return self._registry.instruments[index]

    def heard(self, instrument: Instrument) -> None:
        """A report has come: what was settled may not be any more."""
        self._settled.pop(instrument, None)

    def after_report(self, instrument: Instrument) -> None:
        """The handlers of a report have run: a wish may have something to do again."""
        self._settled.pop(instrument, None)
        self._check(operations.after_report(self.memory.address, instrument.index))

    def redefine(self, instrument: Instrument) -> None:
        """An instrument has a new definition: what was settled is counted otherwise."""
        self._settled.pop(instrument, None)

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
        return operations.equity(self.memory.address)

    def orders(self, instrument: Instrument | str | None = None) -> tuple[OpenOrder, ...]:
        """Own orders that are not final, oldest first."""
        memory = self.memory
        if not memory.scalars[_LIVE]:
            return ()
        only = -1 if instrument is None else self.resolve(instrument).index
        found = []
        last = memory.get("order_number")
        slot = operations.next_order(memory.address, -1, only, last)
        while slot >= 0:
            order = memory.orders[slot]
            who = self._registry.instruments[int(order["instrument"])]
            sizes = POWERS_OF_TEN[who.size_decimals]
            price, stop = int(order["price"]), int(order["stop"])
            found.append(
                OpenOrder(
                    int(order["number"]),
                    who,
                    int(order["side"]),
                    int(order["size"]) / sizes,
                    int(order["filled"]) / sizes,
                    price / POWERS_OF_TEN[who.price_decimals] if price else None,
                    stop / POWERS_OF_TEN[who.price_decimals] if stop else None,
                    _STATE_NAMES[int(order["state"])],
                )
            )
            slot = operations.next_order(memory.address, slot, only, last)
        return tuple(found)

    def quote(self, instrument: Instrument | str) -> Quote | None:
        """The latest quote; from the quote stream if there is one, else the book's best levels."""
        self._touch()
        who = self.resolve(instrument)
        if not operations.quote(self.memory.address, who.index, self._quote_address):
            return None
        prices, sizes = POWERS_OF_TEN[who.price_decimals], POWERS_OF_TEN[who.size_decimals]
        bid, bid_size, ask, ask_size = self._quote_buffer.tolist()
        return Quote(
            who, bid / prices, bid_size / sizes, ask / prices, ask_size / sizes, self.now, None, 0, 0
        )

    def _levels(self, who: Instrument, sign: int, depth: int) -> tuple[tuple[float, float], ...]:
        if depth <= 0:
            return ()
        depth = min(depth, self.memory.get("widest_side"))
        if len(self._levels_buffer) < 2 * depth:
            self._levels_buffer = np.zeros(2 * depth, np.int64)
        buffer = self._levels_buffer
        count = operations.levels(self.memory.address, who.index, sign, depth, buffer.ctypes.data)
        prices, sizes = POWERS_OF_TEN[who.price_decimals], POWERS_OF_TEN[who.size_decimals]
        values = buffer[: 2 * count].tolist()
        return tuple(
            (price / prices, size / sizes) for price, size in zip(values[::2], values[1::2], strict=True)
        )

    def book(self, instrument: Instrument | str, depth: int = 10) -> Book | None:
        """The best `depth` levels of each side, None when none has come."""
        self._touch()
        who = self.resolve(instrument)
        if self.memory.of_instrument(who.index, "match_on") != MATCH_BOOK:
            return None  # what quotes and own orders leave there is no book of the venue's
        bids, asks = self._levels(who, 1, depth), self._levels(who, -1, depth)
        if not bids and not asks:
            return None
        return Book(who, bids, asks)

    def last(self, instrument: Instrument | str) -> float | None:
        """Price of the last trade, None before the first."""
        self._touch()
        who = self.resolve(instrument)
        price = self.memory.last_price(who.index)
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
        self._check(operations.add_timer(self.memory.address, due, interval, word_of(name)))

    def cancel_timer(self, name: str) -> None:
        """Forget the timers of that name."""
        operations.cancel_timer(self.memory.address, word_of(name))

    # --- words and rounding ---

    def log(self, *values: object) -> None:
        """Write a line into the run's journal, outside its hash."""
        self._touch()
        self._log_line(" ".join(str(v) for v in values))

    def round_price(self, instrument: Instrument | str, price: float) -> float:
        """The nearest valid price."""
        rounded = operations.round_price(self.memory.address, self.resolve(instrument).index, float(price))
        if not isfinite(rounded):
            raise ValueError(f"round_price: {float(price)!r} has no valid price near it")
        return rounded

    def round_size(self, instrument: Instrument | str, size: float) -> float:
        """The nearest valid size towards zero; one that is valid but for float noise stays."""
        rounded = operations.round_size(self.memory.address, self.resolve(instrument).index, float(size))
        if not isfinite(rounded):
            raise ValueError(f"round_size: {float(size)!r} has no valid size near it")
        return rounded
