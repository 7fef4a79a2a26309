"""The connection's table: every pair, every row, every wait."""

from __future__ import annotations

import pytest

from engine.live.machine import TRANSITIONS, BackOff, Event, Machine, State
from engine.model.errors import InternalError
from engine.model.kinds import STATUS_EVENTS

# A life from the beginning: (event, state after it, rows' events)
GOOD_LIFE = [
    (Event.START, State.CONNECTING, ["connecting"]),
    (Event.OPENED, State.SUBSCRIBING, ["connected"]),
    (Event.SUBSCRIBED, State.STREAMING, ["subscribed"]),
    (Event.SILENT, State.QUIET, ["silence"]),
    (Event.FRAME, State.STREAMING, ["resumed"]),
    (Event.TROUBLED, State.DEGRADED, ["degraded"]),
    (Event.TROUBLED, State.DEGRADED, ["degraded"]),
    (Event.MENDED, State.STREAMING, ["recovered"]),
    (Event.RENEW, State.RENEWING, ["renewing"]),
    (Event.KEPT, State.STREAMING, ["kept"]),
    (Event.RENEW, State.RENEWING, ["renewing"]),
    (Event.RENEWED, State.STREAMING, ["renewed"]),
    (Event.LOST, State.WAITING, ["disconnected"]),
    (Event.WAITED, State.CONNECTING, ["connecting"]),
    (Event.REFUSED, State.WAITING, ["disconnected"]),
    (Event.WAITED, State.CONNECTING, ["connecting"]),
    (Event.LOCKED, State.AUTHENTICATING, ["connected"]),
    (Event.AUTHENTICATED, State.SUBSCRIBING, ["authenticated"]),
    (Event.SUBSCRIBED, State.STREAMING, ["subscribed"]),
    (Event.SHUTDOWN, State.WAITING, ["disconnected"]),
    (Event.STOP, State.STOPPED, ["stopped"]),
]


def machine_in(state: State) -> Machine:
    machine = Machine("test")
    machine.state = state
    return machine


def test_a_life_in_order() -> None:
    """One life with every kind of turn: the states, and the rows that each turn is worth."""
    machine = Machine("test")
    for event, state, rows in GOOD_LIFE:
        assert [status.event for status in machine.on(event, 0.0)] == rows, event
        assert machine.state is state


@pytest.mark.parametrize("state", State, ids=lambda s: s.value)
@pytest.mark.parametrize("event", Event, ids=lambda e: e.value)
def test_every_pair_is_in_the_table_or_raises(state: State, event: Event) -> None:
    """A pair of the table gives its state and known rows; any other raises, naming all three."""
    machine = machine_in(state)
    after = TRANSITIONS.get((state, event))
    if after is None:
        with pytest.raises(InternalError, match=f'test: event "{event.value}" in state "{state.value}"'):
            machine.on(event, 0.0)
        assert machine.state is state
        return
    rows = machine.on(event, 0.0)
    assert rows
    assert all(status.event in STATUS_EVENTS for status in rows)
    assert machine.state is after


def test_every_state_is_reached_and_left() -> None:
    """No state is a trap but the last, and none is unreachable but the first."""
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.STOPPED}
    assert set(TRANSITIONS.values()) == set(State) - {State.IDLE}


@pytest.mark.parametrize(
    ("attempt", "chance", "wait_s"),
    [(1, 0.0, 0.25), (1, 0.5, 0.375), (2, 0.0, 0.5), (3, 0.5, 1.5), (8, 0.0, 30.0), (99_999, 0.0, 30.0)],
)
def test_back_off_doubles_up_to_its_cap(attempt: int, chance: float, wait_s: float) -> None:
    """Half of the wait is certain, half is chance; the cap holds for any number of attempts."""
    assert BackOff().wait_s(attempt, chance) == wait_s


def stream(machine: Machine, now_s: float) -> None:
    machine.on(Event.START if machine.state is State.IDLE else Event.WAITED, now_s)
    machine.on(Event.OPENED, now_s)
    machine.on(Event.SUBSCRIBED, now_s)


@pytest.mark.parametrize(("lived_s", "waits"), [(59.0, [0.375, 0.75, 1.5]), (60.0, [0.375, 0.375, 0.375])])
def test_a_stable_minute_starts_the_count_over(lived_s: float, waits: list[float]) -> None:
    """Streams that die young make the next wait longer; one that lived for a minute does not."""
    machine = Machine("test", chance=lambda: 0.5)
    now_s = 0.0
    seen = []
    for _ in waits:
        stream(machine, now_s)
        now_s += lived_s
        (status,) = machine.on(Event.LOST, now_s, "gone")
        seen.append(machine.wait_s)
        assert status.wait_ns == int(machine.wait_s * 1e9)
    assert seen == waits


def test_the_venue_says_when_to_come_back() -> None:
    """A Retry-After longer than the back-off is kept; a shorter one does not shorten it."""
    for retry_after_s, wait_s in ((120.0, 120.0), (0.1, 0.375)):
        machine = Machine("test", chance=lambda: 0.5)
        machine.on(Event.START, 0.0)
        machine.on(Event.REFUSED, 0.0, "HTTP 429", retry_after_s=retry_after_s)
        assert machine.wait_s == wait_s


def test_an_announced_shutdown_is_left_without_a_wait() -> None:
    """After serverShutdown the next attempt follows at once."""
    machine = Machine("test")
    stream(machine, 0.0)
    (status,) = machine.on(Event.SHUTDOWN, 1.0, "serverShutdown")
    assert (machine.wait_s, status.event, status.detail, status.wait_ns) == (
        0.0,
        "disconnected",
        "serverShutdown",
        0,
    )


def test_stopping_an_open_connection_is_a_disconnect() -> None:
    """A stop is a disconnect where a socket was open, and a stop where there was nothing to leave."""
    rows = {state: machine_in(state).on(Event.STOP, 0.0) for state in State if state is not State.STOPPED}
    shut = {State.IDLE, State.CONNECTING, State.WAITING}
    assert {state for state, (status,) in rows.items() if status.event == "stopped"} == shut
    assert {status.event for _, (status,) in rows.items()} == {"stopped", "disconnected"}
