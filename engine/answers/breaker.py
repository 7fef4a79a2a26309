"""The circuit breaker: after too many failures in a row nobody is asked for a while.

    closed ──tripped──► open ──pause over──► half-open ──succeeded──► closed
                          ▲                      │
                          └────────failed────────┘   the pause doubles, up to a cap

Half-open lets one trial through; what it brings decides. Whoever calls gets a permit before and says with it
what came of the call: calls that began before the last change of state are stragglers and change nothing, or
a slow failure of the old trouble would open a breaker that the trial has just closed.

`TRANSITIONS` is the breaker; a pair that is not in it is a bug and raises. No clock: times are arguments,
nanoseconds of any clock that never goes back.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from engine.model.errors import InternalError
from engine.model.units import SECOND_NS


class State(Enum):
    """Whether calls pass."""

    CLOSED = "closed"  # they do
    OPEN = "open"  # none does
    HALF_OPEN = "half-open"  # one does


class Event(Enum):
    """What can happen to a breaker."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TRIPPED = "tripped"  # failed once too often
    PAUSE_OVER = "pause over"
    UNDECIDED = "undecided"  # a call ended without saying anything about the other side


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.SUCCEEDED): State.CLOSED,
    (State.CLOSED, Event.FAILED): State.CLOSED,
    (State.CLOSED, Event.UNDECIDED): State.CLOSED,
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.PAUSE_OVER): State.HALF_OPEN,
    (State.HALF_OPEN, Event.SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.FAILED): State.OPEN,
    (State.HALF_OPEN, Event.UNDECIDED): State.HALF_OPEN,
}


class BreakerSettings(msgspec.Struct, frozen=True):
    """When it opens, and for how long."""

    failures: int = 5  # in a row
    pause_ns: int = 10 * SECOND_NS
    pause_cap_ns: int = 120 * SECOND_NS


class Breaker:
    """One breaker for one address."""

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self.state = State.CLOSED
        self._settings = settings or BreakerSettings()
        self._failures = 0  # in a row, while closed
        self._pause_ns = self._settings.pause_ns
        self._open_until_ns = 0
        self._trial = False  # half-open: one is under way
        self._permit = 1  # grows with every change of state

    def refuses(self, now_ns: int) -> bool:
        """Whether a call would get no permit now."""
        if self.state is State.OPEN:
            return now_ns < self._open_until_ns
        return self.state is State.HALF_OPEN and self._trial

    def permit(self, now_ns: int) -> int:
        """A permit for one call, 0 for none. Say what came of it: `succeeded`, `failed` or `undecided`."""
        if self.refuses(now_ns):
            return 0
        if self.state is State.OPEN:
            self._go(Event.PAUSE_OVER)
        if self.state is State.HALF_OPEN:
            self._trial = True
        return self._permit

    def succeeded(self, permit: int) -> None:
        """The other side answered."""
        if permit == self._permit:
            self._failures = 0
            if self.state is State.HALF_OPEN:
                self._pause_ns = self._settings.pause_ns
            self._go(Event.SUCCEEDED)

    def failed(self, permit: int, now_ns: int) -> None:
        """The other side is in trouble, or out of reach."""
        if permit != self._permit:
            return
        if self.state is State.HALF_OPEN:
            self._pause_ns = min(2 * self._pause_ns, self._settings.pause_cap_ns)
            self._open_until_ns = now_ns + self._pause_ns
            self._go(Event.FAILED)
            return
        self._failures += 1
        if self._failures < self._settings.failures:
            self._go(Event.FAILED)
            return
        self._open_until_ns = now_ns + self._pause_ns
        self._go(Event.TRIPPED)

    def undecided(self, permit: int) -> None:
        """The call was given up by this side: a trial may be made again."""
        if permit == self._permit:
            self._trial = False
            self._go(Event.UNDECIDED)

    def _go(self, event: Event) -> None:
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise InternalError(f'breaker: event "{event.value}" in state "{self.state.value}" is not known')
        if after is not self.state:
            self._permit += 1
            self._failures = 0
            self._trial = False
        self.state = after
