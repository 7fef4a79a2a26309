"""The life of an order: a table, and nothing beside it."""

from __future__ import annotations

import itertools

import pytest

from engine.config import Latency
from engine.execution.orders import (
    FINAL_STATES,
    FIRST_FINAL,
    ILLEGAL,
    TABLE,
    TRANSITIONS,
    Event,
    Reason,
    State,
    reason_name,
)
from engine.loop.run import Runner
from engine.loop.source import Numbering
from engine.model.errors import InternalError
from engine.model.units import SECOND_NS
from tests.helpers.logs import definitions
from tests.reference.drive import ListedJournal, batch_of, loaded
from tests.reference.scenario import DEPTH, Script, book, clock, settings

PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_the_kernels_table_is_the_table(state: State, event: Event) -> None:
    """Every pair of the table and none beside it."""
    assert TABLE[state, event] == TRANSITIONS.get((state, event), ILLEGAL)


@pytest.mark.parametrize("state", FINAL_STATES, ids=lambda value: value.name)
def test_nothing_leaves_a_final_state(state: State) -> None:
    """An end is an end, and final states come last in the numbering."""
    assert state >= FIRST_FINAL
    assert not [event for event in Event if (state, event) in TRANSITIONS]


def test_every_living_state_can_end_in_every_way_that_reports_can_bring() -> None:
    """Filled, cancelled, expired from anywhere; rejected until accepted."""
    for state in (State.SUBMITTED, State.WORKING, State.CANCELLING):
        for event in (Event.FILL_ALL, Event.CANCELLED, Event.EXPIRED):
            assert TRANSITIONS[state, event] in FINAL_STATES
    assert (State.WORKING, Event.REJECTED) not in TRANSITIONS


ILLEGAL_REPORTS = [
    (state, event)
    for state, event in PAIRS
    if state != State.NONE and event != Event.CANCEL_SENT and (state, event) not in TRANSITIONS
]


@pytest.mark.parametrize(("state", "event"), ILLEGAL_REPORTS, ids=lambda value: value.name)
def test_a_report_that_is_not_in_the_table_stops_the_run_by_name(state: State, event: Event) -> None:
    """A broken promise of the engine's own: order, state and event are named."""
    runner = Runner(
        settings(latency=Latency(0, 0, SECOND_NS)),
        loaded(Script({1: lambda ctx, it: ctx.limit(it, 1, 99)})),
        ListedJournal(),
    )
    numbering = Numbering("test", runner.define)
    messages = [*definitions([DEPTH]), book(0, bids={99: 5}, asks={101: 5}), clock(1)]
    for part in numbering.split(batch_of(messages)):
        runner.feed(part)
    memory = runner.memory
    report = memory.items[memory.heap[0]]  # of the acceptance, due in a second: falsify it
    memory.orders[report["slot"]]["state"] = int(state)
    report["event"] = int(event)
    with pytest.raises(InternalError, match=rf"event {event} in state {state} is not in the table"):
        runner.feed(batch_of([clock(3)], len(messages)))


def test_reasons_are_spelt_in_small_letters() -> None:
    """As journals and reports have them."""
    assert [reason_name(code) for code in (1, 13, 40)] == ["taker", "ioc_remainder", "cash"]
    assert reason_name(Reason.POST_ONLY_WOULD_MATCH) == "post_only_would_match"
