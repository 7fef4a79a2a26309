"""Budgets: what is spent and reserved never passes a limit, in any order of events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.answers.budget import Budget, Reservation
from engine.model.errors import InternalError
from engine.model.units import SECOND_NS, parse_time

NOON = parse_time("2026-11-21T12:00:00Z")
DAY = 86_400 * SECOND_NS


def reserved(budget: Budget, nano_usd: int, now_ns: int = NOON) -> Reservation:
    """A reservation that is known to fit."""
    reservation = budget.reserve(nano_usd, now_ns)
    assert reservation is not None
    return reservation


def test_a_claim_counts_until_it_is_settled() -> None:
    """100 of 150 reserved: 51 more do not fit, 50 do; settled at 20, 80 are free again."""
    budget = Budget(150, 1_000)
    first = reserved(budget, 100)
    assert budget.reserve(51, NOON) is None
    second = reserved(budget, 50)
    assert (budget.spent, budget.reserved) == (0, 150)
    budget.settle(first, 20)
    assert (budget.spent, budget.reserved) == (20, 50)
    budget.release(second)
    assert (budget.spent, budget.reserved) == (20, 0)
    assert budget.reserve(131, NOON) is None
    reserved(budget, 130)


def test_a_day_has_its_own_limit() -> None:
    """A full day refuses until midnight UTC; the run's limit stays where it was."""
    budget = Budget(250, 100)
    budget.settle(reserved(budget, 100), 100)
    midnight = parse_time("2026-11-22T00:00:00Z")
    assert budget.reserve(1, midnight - 1) is None
    budget.settle(reserved(budget, 100, midnight), 100)
    assert budget.reserve(51, midnight + DAY) is None
    assert "budget of this run" in budget.objection(51, midnight + DAY)
    assert "budget of this day" in budget.objection(1, midnight)
    reserved(budget, 50, midnight + DAY)


def test_a_claim_belongs_to_its_day() -> None:
    """Reserved before midnight and settled after it: the cost is that of the day before."""
    budget = Budget(1_000, 100)
    claim = reserved(budget, 100, NOON)
    assert budget.taken_on(NOON + DAY) == 0
    budget.settle(claim, 60)
    assert (budget.taken_on(NOON), budget.taken_on(NOON + DAY)) == (60, 0)


def test_days_go_out_and_come_in() -> None:
    """What one run spent, and what it had reserved when it was killed, binds the next run of that day."""
    budget = Budget(1_000, 100, {"2026-11-20": 7, "2026-11-21": 30})
    budget.settle(reserved(budget, 40), 25)
    reserved(budget, 20)
    assert budget.by_day() == {"2026-11-20": 7, "2026-11-21": 75}
    after = Budget(1_000, 100, budget.by_day())
    assert (after.spent, after.taken_on(NOON)) == (0, 75)
    assert after.reserve(26, NOON) is None
    reserved(after, 25)


def test_a_call_that_cost_more_is_written_down() -> None:
    """Truth before limits: the overrun is spent, and nothing more fits."""
    budget = Budget(100, 100)
    budget.settle(reserved(budget, 50), 120)
    assert budget.spent == 120
    assert budget.reserve(0, NOON) is None


def test_an_objection_says_how_much() -> None:
    """The limit, what is taken and what was wanted, in dollars; nothing when it fits."""
    budget = Budget(2_000_000, 5_000_000)
    reserved(budget, 1_500_000)
    assert budget.objection(500_000, NOON) == ""
    assert budget.objection(500_001, NOON) == (
        "the budget of this run is 0.002000 USD, 0.001500 USD of it are spent or reserved, "
        "and the call may cost 0.000501 USD"
    )


def test_a_claim_is_closed_once() -> None:
    """Settling or releasing again, a claim of another budget, and negative amounts are bugs and raise."""
    budget = Budget(100, 100)
    claim = reserved(budget, 10)
    budget.release(claim)
    with pytest.raises(InternalError, match="reservation 1 was settled or released before"):
        budget.release(claim)
    with pytest.raises(InternalError, match="reservation 1 was settled or released before"):
        budget.settle(claim, 1)
    with pytest.raises(InternalError):
        budget.release(Reservation(2, 0, 10))
    with pytest.raises(InternalError):
        budget.reserve(-1, NOON)
    with pytest.raises(InternalError):
        budget.settle(reserved(budget, 10), -1)
    assert budget.spent == 0


# What happens: reserve so much at so many hours past noon, or close the n-th open claim at a share of it.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 60), st.integers(0, 60)),
        st.tuples(st.just("settle"), st.integers(0, 20), st.integers(0, 100)),
        st.tuples(st.just("release"), st.integers(0, 20), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, per_run=st.integers(0, 200), per_day=st.integers(0, 120), before=st.integers(0, 100))
def test_no_order_of_events_passes_a_limit(
    steps: list[tuple[str, int, int]], per_run: int, per_day: int, before: int
) -> None:
    """After every step: the run's sum and each day's are within the limits, and equal to a plain tally."""
    budget = Budget(per_run, per_day, {"2026-11-21": before} if before else None)
    open_claims: list[tuple[Reservation, int]] = []
    spent: dict[int, int] = {NOON // DAY: before}
    for name, number, amount in steps:
        if name == "reserve":
            now = NOON + number * 3_600 * SECOND_NS
            claim = budget.reserve(amount, now)
            taken = spent.get(now // DAY, 0) + sum(c.nano_usd for c, day in open_claims if day == now // DAY)
            in_run = sum(spent.values()) - before + sum(c.nano_usd for c, _ in open_claims)
            assert (claim is not None) == (in_run + amount <= per_run and taken + amount <= per_day)
            if claim is not None:
                open_claims.append((claim, now // DAY))
        elif open_claims:
            claim, day = open_claims.pop(number % len(open_claims))
            if name == "release":
                budget.release(claim)
            else:
                cost = claim.nano_usd * amount // 100
                budget.settle(claim, cost)
                spent[day] = spent.get(day, 0) + cost
        assert budget.spent + budget.reserved <= per_run
        assert budget.spent == sum(spent.values()) - before
        assert budget.reserved == sum(c.nano_usd for c, _ in open_claims)
        for hours in range(0, 61, 12):
            now = NOON + hours * 3_600 * SECOND_NS
            assert budget.taken_on(now) <= max(per_day, before if now // DAY == NOON // DAY else 0)
