"""The strategy's side of the loop: its handlers, what they are called with, and what their failure says.

Reports about orders end here: the strategy hears of them.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import numpy as np

from engine.execution.codes import FEE_ASSETS
from engine.execution.orders import REASON_NAMES, Event, Reason, State, reason_name
from engine.loop import operations
from engine.loop.codes import CALLS_AT_ONE_INSTANT, H_BAR, H_BOOK, H_ENGINE, H_QUOTE, H_TRADE
from engine.loop.context import LoopContext
from engine.loop.machine import Machine
from engine.loop.memory import FIELD, Memory
from engine.model.errors import EngineError, InternalError, MissingAnswer, StrategyError
from engine.model.units import POWERS_OF_TEN, format_time
from engine.model.words import text_of
from engine.strategy import sandbox
from engine.strategy.api import Fill, OrderUpdate, Strategy
from engine.strategy.compiled.operations import H_FILL, H_TIMER
from engine.strategy.loader import explain_failure

_REPORT = Struct("<14q")
_REPORT_AT = FIELD["out_event"] * 8
_TOLD_AT = FIELD["told_event"] * 8
_TOLD_PRICE, _FEE_ASSET = FIELD["told_order_price"], FIELD["out_fee_asset"]
_MARKET_HANDLERS = {H_TRADE: "on_trade", H_QUOTE: "on_quote", H_BOOK: "on_book", H_BAR: "on_bar"}
_STATE_WORDS = {
    int(State.FILLED): "filled",
    int(State.CANCELLED): "cancelled",
    int(State.REJECTED): "rejected",
    int(State.EXPIRED): "expired",
    int(State.REFUSED): "refused",
}
_REFUSED = int(State.REFUSED)
_FILL_ALL = int(Event.FILL_ALL)
_EVENT_WORDS = {
    int(Event.ACCEPTED): "accepted",
    int(Event.TRIGGERED): "triggered",
    int(Event.AMENDED): "amended",
    int(Event.AMEND_REJECTED): "amend_rejected",
}
_AMEND_REJECTED, _FIRST_OWN_REASON = int(Event.AMEND_REJECTED), int(Reason.HALTED)
_FILLS = (int(Event.FILL), _FILL_ALL)


class Caller:
    """Calls one strategy. `market` holds its handlers of market events by code, `want` their bits."""

    def __init__(self, strategy: Strategy, context: LoopContext, memory: Memory) -> None:
        self.context = context
        self.machine: Machine | None = None  # of a compiled strategy, once it has started
        self._strategy: Any = strategy
        self._memory = memory
        self._report_view = memoryview(memory.state.view(np.uint8))  # type: ignore[arg-type]
        self.market: list[Callable[..., Any] | None] = [None] * (H_ENGINE + 1)
        self.want = 0
        for code, name in _MARKET_HANDLERS.items():
            handler = self.handler(name)
            if handler is not None:
                self.market[code] = handler
                self.want |= 1 << code
        self._on_fill = self.handler("on_fill")
        self._on_order = self.handler("on_order")
        self._on_timer = self.handler("on_timer")
        memory.set("quiet_accepts", 0 if self._on_order is not None else 1)

    def handler(self, name: str) -> Callable[..., Any] | None:
        """The strategy's handler of that name, None when it has none."""
        found: Callable[..., Any] | None = getattr(self._strategy, name, None)
        return found

    def once(self, name: str) -> None:
        """Call on_start or on_stop, under the sandbox's eyes."""
        handler = self.handler(name)
        if handler is not None:
            with watched():
                self.call(handler)

    def mute(self) -> None:
        """After a stop: no more market events."""
        self.market = [None if handler is None else _nothing for handler in self.market]

    def call(self, handler: Callable[..., Any], *event: Any) -> None:
        """Call a handler; StrategyError says where it failed and what it was given."""
        if self.machine is not None:
            self.machine.copy_out()
        try:
            handler(self.context, *event)
        except Exception as error:
            raise self.failure(error, *event) from error
        if self.machine is not None:
            self.machine.copy_in()

    def failure(self, error: Exception, event: Any = None) -> Exception:
        """What a handler's exception is to the user."""
        if isinstance(error, StrategyError | MissingAnswer | InternalError) or type(error) is EngineError:
            return error  # the last: a journal that cannot be written, in the middle of a call of ctx
        return self.worded(explain_failure(error), event)

    def worded(self, said: str, event: Any = None, advice: str = "") -> StrategyError:
        """The error for a failure in a handler."""
        given = f" It was given {event!r}." if event is not None else ""
        seq = self._memory.get("cause_seq")
        where = f"seq {seq}, {format_time(self._memory.get('now'))}"
        return StrategyError(
            f"the strategy failed at {where}: {said}.{given}",
            hint=f"{advice}the run stopped there; its journal holds everything up to this event",
        )

    def stuck(self) -> StrategyError:
        """What is said of a strategy that would never let time move on."""
        return StrategyError(
            f"at {format_time(self._memory.get('now'))} the strategy was called {CALLS_AT_ONE_INSTANT:,} "
            "times without time moving: each of its answers causes the next call",
            hint="wait for the next event, or for a timer that lies ahead, before trying again",
        )

    def timer(self, word: int) -> None:
        """A timer of that name is due."""
        if self._on_timer is not None:
            self.call(self._on_timer, text_of(word))

    def report(self) -> None:
        """A report stands in the state record: tell the strategy."""
        event, _, number, index, _, _, _, _, _, reason, state, *_ = report = self._report(_REPORT_AT)
        context = self.context
        instrument = context.of_index(index)
        context.heard(instrument)
        operations.heard(self._memory.address, index, number, event, state, reason)
        price = self._memory.scalars[_TOLD_PRICE]
        if event in _FILLS and self._on_fill is not None:
            self.call(self._on_fill, self._fill(report))
        own = state == _REFUSED or (event == _AMEND_REJECTED and reason >= _FIRST_OWN_REASON)
        # Of one order several amendments may be refused at one instant.
        words = context.refusals.get(number, "") if own else ""
        if self._on_order is not None:
            update = self._update(report, price, words)
            if update.state:
                self.call(self._on_order, update)
        context.after_report(instrument)

    def given(self, handler: int) -> Any:
        """What a compiled handler of reports or timers was given."""
        if handler == H_TIMER:
            return text_of(self._memory.get("out_word"))
        report = self._report(_TOLD_AT)
        if handler == H_FILL:
            return self._fill(report)
        return self._update(
            report, self._memory.scalars[_TOLD_PRICE], self.context.refusals.get(report[2], "")
        )

    def _report(self, offset: int) -> tuple[int, ...]:
        """The numbers of a report, in the order of the state record's out_ and told_ fields."""
        return _REPORT.unpack_from(self._report_view, offset)

    def _fill(self, report: tuple[int, ...]) -> Fill:
        _, _, number, index, side, size, price, fee, _, reason, _, _, _, maker = report
        instrument = self.context.of_index(index)
        sizes = POWERS_OF_TEN[instrument.size_decimals]
        return Fill(
            number,
            instrument,
            side,
            price / POWERS_OF_TEN[instrument.price_decimals],
            size / sizes,
            fee / 1e8,
            bool(maker),
            REASON_NAMES[reason],
            self._memory.of_instrument(index, "position") / sizes,
            self._memory.get("now"),
            FEE_ASSETS[self._memory.scalars[_FEE_ASSET]],
        )

    def _update(self, report: tuple[int, ...], price: int, words: str) -> OrderUpdate:
        """The order's new state; a part of a fill, or a cancel that came too late, has no word for it."""
        event, _, number, index, side, _, _, _, _, reason, state, filled, total, _ = report
        instrument = self.context.of_index(index)
        sizes = POWERS_OF_TEN[instrument.size_decimals]
        word = _EVENT_WORDS.get(event, "")
        if not word:
            word = _STATE_WORDS.get(state, "") if event not in _FILLS or event == _FILL_ALL else ""
        return OrderUpdate(
            number,
            instrument,
            word,
            side,
            total / sizes,
            filled / sizes,
            price / POWERS_OF_TEN[instrument.price_decimals] if price else None,
            words or (reason_name(reason) if reason and event not in _FILLS else ""),
            self._memory.get("now"),
        )


class watched:  # noqa: N801  used like a function
    """Watch what the strategy reaches for during a block; its refusal outranks any other error."""

    def __enter__(self) -> None:
        sandbox.enter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            sandbox.leave()
        except StrategyError as refusal:
            if kind is None:
                raise
            raise refusal from None


def _nothing(_context: Any, _event: Any) -> None:
    """Takes the place of a market handler after a stop."""
