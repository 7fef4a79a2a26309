"""A compiled strategy in a run: made after on_start, called by the kernels, brought back to Python at need.

on_start, on_stop and handlers of what only Python reads (news, status) run interpreted; around them the
strategy's record is copied out into its fields and in again. A failure is worded as the interpreted run
words it, from the place that the compiled code names.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.log.schema import Batch
from engine.loop import operations
from engine.loop.codes import FIRST_SPECIAL
from engine.loop.events import bar_intervals
from engine.loop.keeping import Keeper
from engine.loop.memory import FIELD, Memory
from engine.model.errors import StrategyError
from engine.model.instruments import Instrument, Registry
from engine.model.kinds import Kind, Part
from engine.model.words import UNKNOWN, text_of
from engine.strategy.api import Strategy
from engine.strategy.compiled.arithmetic import TOO_LARGE
from engine.strategy.compiled.build import function_address
from engine.strategy.compiled.core import PLACE_SHIFT, Site
from engine.strategy.compiled.layout import Layout
from engine.strategy.compiled.orders import NO_ROOM
from engine.strategy.compiled.program import ENTRY, Program

if TYPE_CHECKING:
    from engine.loop.caller import Caller

_THREE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_FAIL_A, _FAIL_B = FIELD["fail_a"], FIELD["fail_b"]


class Machine:
    """One strategy's compiled form. `log_line` takes a line of its own."""

    def __init__(
        self,
        strategy: Strategy,
        memory: Memory,
        registry: Registry,
        keeper: Keeper,
        *,
        log_line: Callable[[str], None],
    ) -> None:
        self._memory = memory
        self._registry = registry
        self._log_line = log_line
        self._keeper = keeper
        self._layout = Layout(strategy)
        self._written = Program(strategy, self._layout).write()
        self._operations = operations.table()
        self._log = _THREE(self._on_log)
        self._intervals = np.zeros(0, np.int64)
        memory.set("operations", int(self._operations.ctypes.data))
        memory.set("log_line", ctypes.cast(self._log, ctypes.c_void_p).value or 0)
        memory.set("strategy_record", self._layout.address)
        memory.set("strategy_handlers", self._written.handlers)
        memory.set("strategy", function_address(self._written.text, ENTRY))

    def take(self, batch: Batch) -> None:
        """A batch is about to be run: what its bars' intervals are, if the strategy reads them."""
        if not self._written.wants_intervals:
            return
        if len(self._intervals) < batch.count:
            self._intervals = np.zeros(2 * batch.count, np.int64)
            self._memory.set("column_interval", int(self._intervals.ctypes.data))
        rows = np.flatnonzero((batch.kind == int(Kind.BAR)) & (batch.part == int(Part.OPEN)))
        if len(rows):
            self._intervals[rows] = bar_intervals(batch, rows)

    def redefine(self, before: Instrument, after: Instrument) -> None:
        """An instrument has a new definition; StrategyError where the two forms would see it differently.

        What Python keeps of an instrument says the increments of when it was kept.
        """
        same = (
            before.price_increment == after.price_increment and before.size_increment == after.size_increment
        )
        if self._written.uses_increments and not same:
            raise StrategyError(
                f"{after.key}: version {after.version} has other increments than version {before.version}, "
                "and the compiled strategy reads them",
                hint="run it with --interpreted, or let ctx.round_price and ctx.round_size do the rounding",
            )

    def copy_out(self) -> None:
        """Python is about to look at the strategy's fields."""
        self._layout.copy_out(self._registry.instruments)

    def copy_in(self) -> None:
        """Python may have changed the strategy's fields."""
        self._layout.copy_in()

    def error(self, caller: Caller, event_in_hand: Callable[[], Any]) -> Exception:
        """The error for the failure that stands in the state record."""
        found = self._failure(self._memory.get("out_status"))
        if found is None:
            return caller.failure(self._keeper.failure())
        self._keeper.settle_refusals()
        said, site = found
        handler = self._memory.get("out_handler")
        event = event_in_hand() if handler < FIRST_SPECIAL else caller.given(handler)
        advice = ""
        if site.message == TOO_LARGE:
            advice = "whole numbers of a compiled strategy have 64 bits, with --interpreted any size; "
        return caller.worded(said, event, advice)

    def _failure(self, status: int) -> tuple[str, Site] | None:
        """What a status says: "mine.py:12 in on_trade: ZeroDivisionError: …"; None: the keeper knows more."""
        if not status:
            return None
        site = self._written.sites[(status & (1 << PLACE_SHIFT) - 1) - 1]
        if site.error == NO_ROOM:
            return None
        place = self._written.sites[(status >> PLACE_SHIFT) - 1] if status >> PLACE_SHIFT else None
        message = site.message
        for letter, kind, at in zip("ab", site.details, (_FAIL_A, _FAIL_B), strict=False):
            message = message.replace(f"{{{letter}}}", self._shown(kind, self._memory.scalars[at]))
        where = f"{place.file}:{place.line} in {place.function}: " if place is not None else ""
        return f"{where}{site.error}: {message}", site

    def _shown(self, kind: str, word: int) -> str:
        if kind == "f":
            return repr(_float_of(word))
        return repr(self._registry.instruments[word]) if kind == "n" else str(word)

    # --- ctx.log ---

    def _on_log(self, _address: int, number: int, place: int) -> int:
        """Called by compiled code; an error waits for whoever called the kernel."""
        try:
            self._log_line(self._line(number, place))
        except Exception as error:  # noqa: BLE001  nothing may pass through machine code
            self._keeper.keep_failure(error)
            return 1
        return 0

    def _line(self, number: int, place: int) -> str:
        pieces = self._written.logs[number]
        count = sum(len(letters) for letters, _ in pieces if letters not in ("text", "0"))
        words = iter((ctypes.c_int64 * count).from_address(place)) if count else iter(())
        return "".join(self._piece(letters, detail, words) for letters, detail in pieces)

    def _piece(self, letters: str, detail: Any, words: Any) -> str:
        if letters == "text":
            return str(detail)
        value: Any = None
        if letters != "0":
            there = next(words) if letters[0] == "?" else 1
            word = next(words)
            value = self._value(letters[-1], word) if there else None
        spec, conversion = detail
        if conversion:
            value = repr(value) if conversion == "r" else ascii(value) if conversion == "a" else str(value)
        return format(value, spec) if spec else str(value)

    def _value(self, letter: str, word: int) -> Any:
        if letter in "fF":
            return _float_of(word) if letter == "f" else np.float64(_float_of(word))
        if letter in "bB":
            return bool(word) if letter == "b" else np.bool_(word)
        if letter == "w":
            return (
                self._keeper.refusal_of(self._memory.get("told_number")) if word == UNKNOWN else text_of(word)
            )
        if letter == "n":
            return self._registry.instruments[word]
        return np.int64(word) if letter == "I" else word


def _float_of(word: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<q", word))[0]
    return value
