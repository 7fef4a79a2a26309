"""Where Python stands against the state, and which instruments a strategy follows: under every call of `ctx`.

Python may be ahead of the state: while nothing is working and nothing is due, events are handed out
straight from the columns (`Delivery`). Whoever looks at the state (`_touch`) brings it up to the event in
hand first; whoever changes it (`_act`) also ends the run-ahead after the message in hand.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.loop.chunk import Delivery
from engine.loop.keeping import Keeper
from engine.loop.memory import FIELD, Memory
from engine.model.errors import UsageError
from engine.model.instruments import Instrument, Registry

_REFUSALS = FIELD["refusal_count"]


class Standing:
    """Memory, instruments, and the event in hand."""

    def __init__(
        self, memory: Memory, registry: Registry, keeper: Keeper, catch_up: Callable[[int], None]
    ) -> None:
        self.memory = memory
        self._registry = registry
        self._keeper = keeper
        self._catch_up = catch_up
        self._delivery: Delivery | None = None
        self._visible: tuple[Instrument, ...] = ()
        self._visible_indexes = np.zeros(0, np.int64)

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

    def _check(self, answer: int) -> None:
        """After an operation that may have refused an order, or lacked room."""
        if answer < 0:
            raise self._keeper.failure()
        if self.memory.scalars[_REFUSALS]:
            self._keeper.settle_refusals()
