"""What the edge spends: one call for one question, and never more than the budget."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from engine.answers.breaker import BreakerSettings
from engine.model.kinds import AnswerData
from engine.model.units import SECOND_NS
from tests.helpers.asking import COST, MOST, NOON, WELL, Desk, play, question
from tests.helpers.scripted_api import (
    ScriptedApi,
    answers,
    drops,
    error,
)


def test_the_same_question_is_asked_once() -> None:
    """While it is under way and after it was answered: one call, an answer for each ticket, paid once."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        for ticket in (1, 2, 3):
            desk.edge.ask(ticket, question(), NOON)
        await desk.until(3)
        await desk.ask(question(), 4)
        assert [a.ticket for a, _ in desk.delivered] == [1, 2, 3, 4]
        assert {(a.key, a.text, wire) for a, wire in desk.delivered} == {
            (question().key, '{"score":0.5}', WELL)
        }
        assert [a.cost_nano_usd for a, _ in desk.delivered] == [COST, 0, 0, 0]
        assert [len(a.attempts) for a, _ in desk.delivered] == [1, 0, 0, 0]
        assert [a.input_tokens for a, _ in desk.delivered] == [100, 0, 0, 0]
        await desk.ask(question(sample=1), 5)
        assert len(api.heard) == 2
        assert (desk.edge.asked, desk.edge.shared) == (5, 3)

    play([answers(WELL)], story)


def test_a_failure_is_not_shared_with_those_who_ask_later() -> None:
    """Whoever shared the failed call fails with it; the next one is asked anew."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        desk.edge.ask(1, question(), NOON)
        desk.edge.ask(2, question(), NOON)
        assert [a.outcome for a in await desk.until(2)] == ["failed", "failed"]
        assert (await desk.ask(question(), 3)).outcome == "answered"

    play([answers(error("not_found_error", "no"), 404), answers(WELL)], story)


def test_an_answer_of_the_run_so_far_is_shared() -> None:
    """A continued session hands its earlier answers in, and nothing is asked."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        request = question()
        before = AnswerData(request.key, request.canonical().decode(), "answered", 9, "{}", cost_nano_usd=5)
        desk.edge.remember(before, b"raw")
        answer = await desk.ask(request)
        assert (answer.ticket, answer.text, answer.cost_nano_usd, desk.delivered[0][1]) == (
            1,
            "{}",
            0,
            b"raw",
        )
        assert not api.heard

    play([answers(WELL)], story)


def test_the_budget_refuses_at_once() -> None:
    """With room for one call the second question is refused before anything is sent, and says by how much."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        desk.edge.ask(1, question("A"), NOON)
        desk.edge.ask(2, question("B"), NOON)
        refused = (await desk.until(1))[0]
        assert (refused.ticket, refused.outcome, refused.attempts) == (2, "budget", ())
        assert refused.error.startswith("the budget of this run is 0.00")
        assert [a.ticket for a in await desk.until(2)] == [2, 1]
        # What the first call did not use is free again.
        assert (await desk.ask(question("B"), 3)).outcome == "answered"
        assert len(api.heard) == 2

    play([answers(WELL)], story, per_run_nano_usd=MOST + COST)


def test_a_second_attempt_needs_a_budget_of_its_own() -> None:
    """A lost call keeps its reservation, so that its repetition may no longer fit."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.cost_nano_usd, len(api.heard)) == ("failed", MOST, 1)
        assert "no further attempt: the budget of this day is" in answer.error

    play([drops, answers(WELL)], story, per_day_nano_usd=2 * MOST - 1)


def test_a_trial_that_the_budget_forbids_is_made_by_the_next_question() -> None:
    """The breaker waits for a verdict, and does not wait for ever for one that cannot come."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        first = await desk.ask()
        assert "no further attempt: the budget of this day is" in first.error
        desk.time_ns += 86_400 * SECOND_NS
        assert (await desk.ask()).outcome == "answered"

    brief = BreakerSettings(failures=1, pause_ns=1)
    play([drops, answers(WELL)], story, per_day_nano_usd=2 * MOST - 1, breaker=brief)


@pytest.mark.parametrize("seed", range(4))
def test_the_budget_holds_under_concurrency(seed: int) -> None:
    """Forty questions with mixed fates: at every step what is spent and reserved is within both limits."""
    fates = [answers(WELL), drops, answers(error("api_error", "x"), 500), answers(b"{}"), answers(WELL)]
    acts = Random(seed).choices(fates, k=60)
    limit = 12 * MOST + 1

    async def story(desk: Desk, api: ScriptedApi) -> None:
        budget = desk.edge.budget
        steps: list[int] = []
        settle, reserve = budget.settle, budget.reserve

        def watched(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any) -> Any:
                result = function(*args)
                steps.append(desk.taken)
                return result

            return call

        budget.settle, budget.reserve = watched(settle), watched(reserve)  # type: ignore[method-assign]
        for ticket in range(1, 41):
            desk.edge.ask(ticket, question(f"headline {ticket}"), NOON)
            if ticket % 8 == 0:
                await desk.until(len(desk.delivered) + 1)
        outcomes = {a.outcome for a in await desk.until(40)}
        assert {"answered", "budget"} <= outcomes
        assert max(steps) <= limit
        assert desk.taken == budget.taken_on(NOON) <= limit
        assert len(api.heard) > 12

    play(
        acts, story, per_run_nano_usd=limit, per_day_nano_usd=limit + 5, breaker=BreakerSettings(failures=99)
    )
