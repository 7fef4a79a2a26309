"""The circuit breaker's table: every pair, every pause, and stragglers that change nothing."""

from __future__ import annotations

import pytest

from engine.answers.breaker import TRANSITIONS, Breaker, BreakerSettings, Event, State
from engine.model.errors import InternalError

SETTINGS = BreakerSettings(failures=3, pause_ns=10, pause_cap_ns=40)


def opened(now_ns: int = 0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.failed(breaker.permit(now_ns), now_ns)
    assert breaker.state is State.OPEN
    return breaker


@pytest.mark.parametrize("state", State, ids=lambda s: s.value)
@pytest.mark.parametrize("event", Event, ids=lambda e: e.value)
def test_every_pair_is_in_the_table_or_raises(state: State, event: Event) -> None:
    """A pair of the table leads to its state; any other is a bug, and named."""
    breaker = Breaker(SETTINGS)
    breaker.state = state
    after = TRANSITIONS.get((state, event))
    if after is None:
        with pytest.raises(InternalError, match=f'event "{event.value}" in state "{state.value}"'):
            breaker._go(event)
        return
    breaker._go(event)
    assert breaker.state is after


def test_failures_in_a_row_open_it() -> None:
    """Two failures, a success, two failures: closed; a third one in a row opens it."""
    breaker = Breaker(SETTINGS)
    for word in ("failed", "failed", "succeeded", "failed", "failed"):
        permit = breaker.permit(0)
        assert permit
        if word == "failed":
            breaker.failed(permit, 0)
        else:
            breaker.succeeded(permit)
        assert breaker.state is State.CLOSED
    breaker.failed(breaker.permit(0), 0)
    assert breaker.state is State.OPEN


def test_open_lets_nothing_through_until_the_pause_is_over() -> None:
    """Opened at 5 for 10: refused at 14, one trial at 15, and no second one beside it."""
    breaker = opened(5)
    assert breaker.refuses(14)
    assert breaker.permit(14) == 0
    assert not breaker.refuses(15)
    assert breaker.permit(15)
    assert breaker.state is State.HALF_OPEN
    assert breaker.permit(15) == 0
    assert breaker.refuses(1_000)


def test_a_good_trial_closes_it_and_a_bad_one_doubles_the_pause() -> None:
    """10, 20, 40, 40 (the cap); after a good trial the next pause is 10 again."""
    breaker = opened(0)
    now = 0
    for pause in (10, 20, 40, 40):
        assert breaker.refuses(now + pause - 1)
        now += pause
        breaker.failed(breaker.permit(now), now)
        assert breaker.state is State.OPEN
    now += 40
    breaker.succeeded(breaker.permit(now))
    assert breaker.state is State.CLOSED
    for _ in range(3):
        breaker.failed(breaker.permit(now), now)
    assert breaker.refuses(now + 9)
    assert not breaker.refuses(now + 10)


def test_a_trial_without_a_verdict_is_made_again() -> None:
    """A trial that this side gave up says nothing: the next call is the trial."""
    breaker = opened(0)
    breaker.undecided(breaker.permit(10))
    assert breaker.state is State.HALF_OPEN
    assert breaker.permit(10)


def test_stragglers_change_nothing() -> None:
    """Calls from before the breaker opened neither close it nor open it again."""
    breaker = Breaker(SETTINGS)
    early = [breaker.permit(0) for _ in range(8)]
    for permit in early[:3]:
        breaker.failed(permit, 0)
    assert breaker.refuses(9)
    breaker.succeeded(early[3])
    assert breaker.refuses(9)
    trial = breaker.permit(10)
    breaker.failed(early[4], 10)
    breaker.succeeded(early[5])
    breaker.undecided(early[6])
    assert (breaker.state, breaker.permit(10)) == (State.HALF_OPEN, 0)
    breaker.succeeded(trial)
    breaker.failed(early[7], 10)
    assert breaker.state is State.CLOSED
