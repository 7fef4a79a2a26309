"""What a connection does next: a table of states and events, without any I/O.

    idle ─start─► connecting ─opened──────────────► subscribing ─subscribed─► streaming
                   ▲   │  └──locked─► authenticating ─authenticated─▲          │
            waited │   │ refused                                               │ lost, shutdown
                   │   ▼                                                       ▼
                  waiting ◄────────────────────────────────────────────────────

While it streams there are three other ways to be: `quiet` (open, but no data for a while), `degraded` (data
flows, but something asked for is missing, or we fall behind), `renewing` (a second connection is being opened
to take this one's place, and this one still streams). Each returns to streaming, and each can be lost.

`stop` leads to stopped from everywhere. `Machine` reads no clock and opens no socket: it is told an event
and the time, and answers with the STATUS rows that it is worth; every pair is worth at least one. The table
`TRANSITIONS` is the machine; a pair that is not in it is a bug and raises, naming the connection, the state
and the event.

Back-off is exponential with jitter from an injected source, has a cap, and starts over once a stream has
been stable for a minute. A venue that says when to come back (Retry-After) is believed; one that announces
its shutdown is left at once and without a wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from engine.model.errors import InternalError
from engine.model.kinds import StatusData
from engine.model.units import SECOND_NS


class State(Enum):
    """Where a connection stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    SUBSCRIBING = "subscribing"
    STREAMING = "streaming"
    QUIET = "quiet"  # open, but no data for a while
    DEGRADED = "degraded"  # data flows, but not all of it, or faster than we take it
    RENEWING = "renewing"  # data flows, and its successor is being opened
    WAITING = "waiting"  # between two attempts
    STOPPED = "stopped"


class Event(Enum):
    """What can happen to a connection."""

    START = "start"
    OPENED = "opened"
    LOCKED = "locked"  # opened, and the venue wants credentials first
    REFUSED = "refused"  # the attempt failed: unreachable, timed out, an HTTP status
    AUTHENTICATED = "authenticated"
    SUBSCRIBED = "subscribed"
    FRAME = "frame"  # reported after silence only
    SILENT = "silent"
    TROUBLED = "troubled"  # a subscription refused, a queue that grows
    MENDED = "mended"
    RENEW = "renew"  # its time is up, or the venue announced that it will close
    RENEWED = "renewed"
    KEPT = "kept"  # the successor could not be opened
    DEAD = "dead"  # silent, and the socket does not answer or has been patient for long enough
    LOST = "lost"  # the venue or the network closed it, or a phase took too long
    SHUTDOWN = "shutdown"  # the venue announced that it will close
    WAITED = "waited"
    STOP = "stop"


_FLOWING = (State.STREAMING, State.QUIET, State.DEGRADED, State.RENEWING)
# States in which a socket is open, so that leaving them is a disconnect.
_OPEN = (State.AUTHENTICATING, State.SUBSCRIBING, *_FLOWING)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.IDLE, Event.START): State.CONNECTING,
    (State.CONNECTING, Event.OPENED): State.SUBSCRIBING,
    (State.CONNECTING, Event.LOCKED): State.AUTHENTICATING,
    (State.CONNECTING, Event.REFUSED): State.WAITING,
    (State.AUTHENTICATING, Event.AUTHENTICATED): State.SUBSCRIBING,
    (State.SUBSCRIBING, Event.SUBSCRIBED): State.STREAMING,
    (State.STREAMING, Event.SILENT): State.QUIET,
    (State.DEGRADED, Event.SILENT): State.QUIET,
    (State.QUIET, Event.FRAME): State.STREAMING,
    (State.QUIET, Event.DEAD): State.WAITING,
    (State.STREAMING, Event.TROUBLED): State.DEGRADED,
    (State.DEGRADED, Event.TROUBLED): State.DEGRADED,
    (State.DEGRADED, Event.MENDED): State.STREAMING,
    (State.STREAMING, Event.RENEW): State.RENEWING,
    (State.QUIET, Event.RENEW): State.RENEWING,
    (State.DEGRADED, Event.RENEW): State.RENEWING,
    (State.RENEWING, Event.RENEWED): State.STREAMING,
    (State.RENEWING, Event.KEPT): State.STREAMING,
    **{(state, Event.LOST): State.WAITING for state in _OPEN},
    **{(state, Event.SHUTDOWN): State.WAITING for state in _OPEN},
    (State.WAITING, Event.WAITED): State.CONNECTING,
    **{(state, Event.STOP): State.STOPPED for state in State if state is not State.STOPPED},
}

# The STATUS event of entering a state; with a state before it, of entering it from there.
_ROW_OF_ENTRY: dict[tuple[State | None, State], str] = {
    (None, State.CONNECTING): "connecting",
    (None, State.AUTHENTICATING): "connected",
    (State.CONNECTING, State.SUBSCRIBING): "connected",
    (State.AUTHENTICATING, State.SUBSCRIBING): "authenticated",
    (State.SUBSCRIBING, State.STREAMING): "subscribed",
    (State.QUIET, State.STREAMING): "resumed",
    (State.DEGRADED, State.STREAMING): "recovered",
    (None, State.QUIET): "silence",
    (None, State.DEGRADED): "degraded",
    (None, State.RENEWING): "renewing",
}

STOPPED = "stopped"  # the detail of a disconnect that we wanted


class BackOff(msgspec.Struct, frozen=True):
    """How long to wait before attempt n, in seconds: base · 2ⁿ up to the cap, of which half is chance."""

    base_s: float = 0.5
    cap_s: float = 60.0
    stable_s: float = 60.0  # a stream that lived this long starts the count over

    def wait_s(self, attempt: int, chance: float) -> float:
        """The wait after the `attempt`-th failure in a row (from 1); `chance` is in [0, 1)."""
        # The exponent is bounded, or a night without a network would overflow a float.
        full = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 40))
        return full * (0.5 + 0.5 * chance)


class Machine:
    """The state of one connection. Tell it what happened with `on`; write the rows that it returns."""

    def __init__(
        self,
        name: str,
        *,
        back_off: BackOff | None = None,
        chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self.name = name
        self.state = State.IDLE
        self.attempt = 0  # attempts since the last stable stream
        self.wait_s = 0.0  # how long WAITING lasts
        self._back_off = back_off or BackOff()
        self._chance = chance
        self._streaming_since = 0.0

    def on(
        self, event: Event, now_s: float, detail: str = "", *, retry_after_s: float = 0.0
    ) -> tuple[StatusData, ...]:
        """Take an event at monotonic time `now_s`; the STATUS rows that it is worth.

        Raises InternalError when the table has no such pair.
        """
        before = self.state
        after = TRANSITIONS.get((before, event))
        if after is None:
            raise InternalError(
                f'connection {self.name}: event "{event.value}" in state "{before.value}" is not in the table'
            )
        self.state = after
        if after is State.WAITING:
            return self._leave(event, before, now_s, detail, retry_after_s)
        if after is State.CONNECTING:
            self.attempt += 1
        if event in {Event.SUBSCRIBED, Event.RENEWED}:
            self._streaming_since = now_s
        if after is State.STOPPED:
            if before in _OPEN:
                return (StatusData(event="disconnected", detail=detail or STOPPED),)
            return (StatusData(event="stopped", detail=detail),)
        if before is State.RENEWING:
            word = "renewed" if event is Event.RENEWED else "kept"
        else:
            word = _ROW_OF_ENTRY.get((before, after)) or _ROW_OF_ENTRY[None, after]
        return (StatusData(event=word, detail=detail, attempt=self.attempt),)

    def _leave(
        self, event: Event, before: State, now_s: float, detail: str, retry_after_s: float
    ) -> tuple[StatusData, ...]:
        streamed = before in _FLOWING
        if streamed and now_s - self._streaming_since >= self._back_off.stable_s:
            self.attempt = 0
        if event is Event.SHUTDOWN:
            self.wait_s = 0.0
        else:
            wait_s = self._back_off.wait_s(max(1, self.attempt), self._chance())
            self.wait_s = max(wait_s, retry_after_s)
        return (
            StatusData(
                event="disconnected",
                detail=detail,
                attempt=self.attempt,
                wait_ns=int(self.wait_s * SECOND_NS),
            ),
        )
