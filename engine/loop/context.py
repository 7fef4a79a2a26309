"""The context that strategies act through: DESIGN-level behaviour of `ctx`, on top of the kernels.

What it sends is engine.loop.ordering's, where it stands against the state engine.loop.standing's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from engine.answers.prompts import Prompt
from engine.config import parse_duration
from engine.execution.journal_kinds import JournalKind
from engine.execution.money import MONEY_DECIMALS
from engine.execution.orders import State
from engine.execution.state import MATCH_BOOK
from engine.loop import operations
from engine.loop.keeping import Keeper
from engine.loop.memory import FIELD, Memory
from engine.loop.ordering import Ordering
from engine.loop.random import SeededRandom
from engine.loop.series import Series
from engine.model.errors import UsageError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import encode_canonical
from engine.model.units import POWERS_OF_TEN
from engine.model.words import word_of
from engine.strategy.api import Book, OpenOrder, Quote

if TYPE_CHECKING:
    from engine.loop.asking import Asking

_SHAPED = (JournalKind.SUBMIT, JournalKind.REFUSED, JournalKind.AMEND, JournalKind.CANCEL)
_LIVE, _DECISIONS = FIELD["live_orders"], FIELD["decisions"]
_STATE_NAMES = {
    int(State.SUBMITTED): "submitted",
    int(State.WORKING): "working",
    int(State.CANCELLING): "cancelling",
}


class LoopContext(Ordering):
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
        super().__init__(memory, registry, keeper, catch_up)
        self._log_line = log_line
        self._random = SeededRandom(seed, memory)
        self.series = Series(memory)
        self.asks_bars = False  # whether on_start runs, of a strategy that has an on_bar
        self._settled: dict[Instrument, tuple[float, float | None]] = {}  # targets that need nothing
        self._levels_buffer = np.zeros(0, np.int64)
        self._quote_buffer = np.zeros(4, np.int64)
        self._quote_address = int(self._quote_buffer.ctypes.data)
        self.asking: Asking | None = None
        self._shaping: tuple[int, ...] = ()  # tickets of the blocks that we are in

    @property
    def random(self) -> SeededRandom:
        """Seeded chance."""
        return self._random

    def bars(self, instrument: Instrument | str, every: str) -> int:
        """Have bars made of the trades; the series' number."""
        if not self.asks_bars:
            raise UsageError(
                f'bars("{every}"): only in on_start, of a strategy that has an on_bar',
                hint="ask for all bars there, and keep their numbers",
            )
        who = self.resolve(instrument)
        if not {"trade", "aggtrade"} & set(who.channels):
            raise UsageError(
                f'bars("{every}"): the log has no trades of {who.key} to make them of',
                hint="bars that the log has come to on_bar by themselves",
            )
        return self.series.ask(who, every)

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

    def owned(self, instrument: Instrument | str) -> float:
        """The position less fees that were charged in it, base units."""
        who = self.resolve(instrument)
        return operations.owned(self.memory.address, who.index) / POWERS_OF_TEN[who.size_decimals]

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
            price, stop = int(order["known_price"]), int(order["stop"])
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

    # --- questions ---

    def ask(
        self,
        prompt: Prompt,
        about: Instrument | str | None = None,
        timeout: int | str = "200ms",
        default: object = None,
        sample: int = 0,
        **fields: object,
    ) -> int:
        """Ask Claude; on_answer hears what came of it. The ticket, 0 when the run is ending."""
        if self.asking is None or self.stopped:
            return 0
        who = None if about is None else self.resolve(about)
        wait = parse_duration(timeout, f"ask(timeout={timeout!r})") if isinstance(timeout, str) else timeout
        self._act()
        return self.asking.ask(prompt, fields, about=who, timeout_ns=wait, default=default, sample=sample)

    @contextmanager
    def because(self, *tickets: int) -> Iterator[None]:
        """Orders that are sent in this block name these questions, and those of a block around it."""
        asked = 0 if self.asking is None else self.asking.figures.asked
        for ticket in tickets:
            if not isinstance(ticket, int) or not 0 <= ticket <= asked:
                raise UsageError(f"because({ticket!r}): no such question", hint="what ctx.ask returned")
        self._act()
        around = self._shaping
        self._name_questions()  # of the block around: what it has decided so far
        self._keeper.drain_journal()  # so that all that the block decides is in the kernels' memory after it
        self._shaping = (*around, *(ticket for ticket in tickets if ticket not in around))
        try:
            yield
        finally:
            self._name_questions()
            if around:
                self._keeper.drain_journal()
            self._shaping = around

    def _name_questions(self) -> None:
        """Give the orders that are in the kernels' memory the questions of the block that we are in."""
        if self._shaping:
            text = encode_canonical({"because": list(self._shaping)}).decode()
            for entry in self.memory.journal[: self.memory.get("journal_count")]:
                if entry["kind"] in _SHAPED:
                    self._keeper.say_terms(int(entry["number"]), text)

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
