"""What kernels hand over, and the room they ask for: journal, ledger, equity, words of refusals, growth.

A kernel that lacks room says so and is called again; one in the middle of a strategy's operation calls
`on_room` itself. Nothing may pass through machine code: an error that happens there waits in `failed`.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from engine.execution.accounting import Ledger
from engine.execution.state import EQUITY
from engine.log.journal import Journal
from engine.loop.codes import (
    DRAIN_EQUITY,
    DRAIN_JOURNAL,
    GROW_ITEMS,
    GROW_LEVELS,
    GROW_NOTES,
    GROW_ORDER_TABLE,
    GROW_ORDERS,
    GROW_TIMERS,
)
from engine.loop.memory import Memory
from engine.loop.refusals import words_of
from engine.model.errors import InternalError
from engine.model.instruments import Registry

_REFUSALS_KEPT = 4096
_TWO = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Keeper:
    """Keeps what one run has decided, and gives its kernels room."""

    def __init__(self, memory: Memory, registry: Registry, journal: Journal) -> None:
        self.journal = journal
        self.ledger = Ledger()
        self._samples: list[npt.NDArray[np.void]] = []  # of the equity
        self._told = 0  # of them, in snapshots
        self.keys: list[str] = []  # of instruments, by run-wide index
        self.refusals: dict[int, str] = {}  # order number -> words, until the strategy has heard them
        self._memory = memory
        self._registry = registry
        self._failed: Exception | None = None
        self._said: dict[int, str] = {}  # terms of decisions that are in the kernels' memory still
        self._on_room = _TWO(self._asked)
        memory.set("make_room", ctypes.cast(self._on_room, ctypes.c_void_p).value or 0)

    # --- room ---

    def make_room(self, code: int) -> None:
        """Do what a kernel's answer asks for."""
        memory = self._memory
        if code == GROW_LEVELS:
            memory.books.grow(memory.get("out_slot"), memory.get("out_need"))
        elif code == GROW_ORDER_TABLE:
            memory.order_tables.grow(memory.get("out_slot"), memory.get("out_need"))
        elif code == GROW_NOTES:
            memory.books.grow_notes(memory.get("out_need"))
        elif code == GROW_ITEMS:
            memory.grow_items(memory.get("out_need"))
        elif code == GROW_ORDERS:
            memory.grow_orders()
        elif code == GROW_TIMERS:
            memory.tables.grow_timers()
        elif code == DRAIN_JOURNAL:
            self.drain_journal()
        elif code == DRAIN_EQUITY:
            self.drain_equity()
        else:
            raise InternalError(
                f"order {memory.get('out_number')}: event {memory.get('out_event')} "
                f"in state {memory.get('out_state')} is not in the table of orders"
            )

    def _asked(self, _address: int, code: int) -> int:
        """Called by a kernel in the middle of an operation."""
        try:
            self.make_room(code if code == GROW_ORDERS else -code)
        except Exception as error:  # noqa: BLE001  see above
            self.keep_failure(error)
            return 1
        return 0

    def keep_failure(self, error: Exception) -> None:
        """What happened inside of machine code, for whoever called it."""
        self._failed = error

    def failure(self) -> Exception:
        """Why an operation could not be finished."""
        return self._failed or InternalError("a kernel lacks room that nobody could make")

    # --- what was decided ---

    def drain_journal(self) -> None:
        """Take the decisions out of the kernels' memory."""
        self.settle_refusals()
        count = self._memory.get("journal_count")
        if not count:
            return
        records = self._memory.journal[:count].copy()
        terms = self._memory.terms[: self._memory.get("terms_count")].copy()
        self._memory.set("journal_count", 0)
        self._memory.set("terms_count", 0)
        said, self._said = self._said, {}
        self.journal.append(records, self.keys, terms, said)
        self.ledger.take(records)

    def say_terms(self, number: int, text: str) -> None:
        """Terms, canonical JSON, of the decision `number`, which is in the kernels' memory still."""
        self._said[number] = text

    def settle_refusals(self) -> None:
        """Make the words of what was refused since the last time."""
        memory = self._memory
        for refusal in memory.tables.refusals[: memory.get("refusal_count")]:
            who = self._registry.instruments[int(refusal["instrument"])]
            words = words_of(memory, who, refusal)
            self.journal.explain(int(refusal["decision"]), words)
            self.refusals[int(refusal["order"])] = words
            if len(self.refusals) > _REFUSALS_KEPT:  # nobody hears of them who could forget them
                del self.refusals[next(iter(self.refusals))]
        memory.set("refusal_count", 0)

    def refusal_of(self, order: int) -> str:
        """An order's refusal in words, "" when it was none."""
        self.settle_refusals()
        return self.refusals.get(order, "")

    def equity_curve(self) -> npt.NDArray[np.void]:
        """Samples of the equity so far, as they were taken: ts, equity."""
        return np.concatenate(self._samples) if self._samples else np.zeros(0, EQUITY)

    def begin_equity(self, samples: npt.NDArray[np.void]) -> None:
        """Samples that another process took, before the first of this one."""
        self._samples.append(samples)
        self._told = 1

    def new_equity(self) -> bytes:
        """The samples since the last call, which are not in the kernels' memory any more."""
        new = self._samples[self._told :]
        self._told = len(self._samples)
        return b"".join(samples.tobytes() for samples in new)

    def drain_equity(self) -> None:
        """Take the equity's samples out of the kernels' memory."""
        count = self._memory.get("equity_count")
        self._samples.append(self._memory.take_equity(count))
