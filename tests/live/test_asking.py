"""The edge that asks Claude, against a scripted server: every outcome and every attempt."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from engine.answers.breaker import BreakerSettings
from engine.answers.models import most_cost_of
from engine.answers.requests import request_of
from engine.live.asking import Clocks, Edge
from engine.live.asking_client import AskingConfig
from engine.live.credentials import Secret
from engine.model.errors import InternalError, UsageError
from engine.model.kinds import AnswerData
from engine.model.units import MILLISECOND_NS, SECOND_NS
from tests.helpers.asking import COST, MOST, NOON, PROMPT, WELL, Desk, play, question
from tests.helpers.scripted_api import (
    Act,
    ScriptedApi,
    answers,
    drops,
    error,
    message,
    text,
    trickles,
    waits_for,
)

KEY = "sk-ant-test-0123456789abcdef"


def test_an_answer_has_everything_that_can_be_known_about_it() -> None:
    """Text, bytes, ids, tokens, cost, the attempt and the time since the loop's question, as they were."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        request = question()
        answer = await desk.ask(request, 41)
        assert desk.delivered == [(answer, WELL)]
        assert (answer.ticket, answer.outcome, answer.text) == (41, "answered", '{"score":0.5}')
        assert (answer.key, answer.request) == (request.key, request.canonical().decode())
        assert (answer.model, answer.request_id, answer.error) == ("claude-haiku-5-5", "req_1", "")
        assert (answer.input_tokens, answer.output_tokens, answer.cost_nano_usd) == (100, 10, COST)
        assert answer.latency_ns == 7 * MILLISECOND_NS
        assert [(a.status, a.error, a.request_id) for a in answer.attempts] == [(200, "", "req_1")]
        assert api.heard[0][1] == request.body
        assert api.heard[0][0]["authorization"] == "Bearer local"

    assert play([answers(WELL)], story).edge.budget.spent == COST


THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
TOOL = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
NEW = {"type": "of_2031", "payload": [1]}
BODIES = [
    ("thinking first", message(THINKING, text("yes")), "answered", "yes", ""),
    ("a tool and a block nobody knows", message(TOOL, NEW, text("yes")), "answered", "yes", ""),
    ("text in two blocks", message(text("ye"), THINKING, text("s")), "answered", "yes", ""),
    ("refusal", message(stop_reason="refusal"), "refused", "", "stop_reason refusal"),
    ("cut", message(text('{"sc'), stop_reason="max_tokens"), "truncated", '{"sc', "stop_reason max_tokens"),
    ("no text", message(TOOL), "malformed", "", "no text among the blocks (tool_use); stop_reason end_turn"),
    ("no message", b'{"type":"other"}', "malformed", "", 'the body is not an object of type "message"'),
    (
        "no JSON",
        b"<html>",
        "malformed",
        "",
        "the body is not JSON: JSON is malformed: invalid character (byte 0)",
    ),
    ("nothing", b"", "malformed", "", "the body is not JSON: Input data was truncated"),
]


@pytest.mark.parametrize(
    ("body", "outcome", "words", "said"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES]
)
def test_what_the_body_holds_decides_the_outcome(body: bytes, outcome: str, words: str, said: str) -> None:
    """Text is found wherever it stands; what is no answer is named; the bytes are kept in every case."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.text, answer.error) == (outcome, words, said)
        assert desk.delivered[0][1] == body
        # A body that does not say what was used may be billed for all that was reserved.
        assert answer.cost_nano_usd == (COST if b"usage" in body else MOST)

    play([answers(body)], story)


FINAL = [
    (400, "invalid_request_error"),
    (401, "authentication_error"),
    (403, "permission_error"),
    (404, "not_found_error"),
    (413, "request_too_large"),
]


@pytest.mark.parametrize(("status", "kind"), FINAL)
def test_a_refused_request_is_not_sent_again(status: int, kind: str) -> None:
    """What would fail again fails at once, costs nothing, and says what the API said."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.error) == ("failed", f"HTTP {status} {kind}: no")
        assert [a.status for a in answer.attempts] == [status]
        assert (len(api.heard), answer.cost_nano_usd, desk.waits) == (1, 0, [])

    play([answers(error(kind, "no"), status)], story)


def test_a_spend_limit_is_not_asked_again() -> None:
    """A 429 whose details name a code is final; its words and its code stand in the answer."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        answer = await desk.ask()
        assert answer.outcome == "failed"
        assert answer.error == "HTTP 429 rate_limit_error (enforced_spend_limit_reached): spent"
        assert (len(api.heard), desk.waits) == (1, [])

    body = error("rate_limit_error", "spent", error_code="enforced_spend_limit_reached")
    play([answers(body, 429, retry_after="1")], story)


def test_a_429_is_asked_again_when_it_says() -> None:
    """Retry-After is waited for, by every other question too, and both attempts are recorded."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.cost_nano_usd) == ("answered", COST)
        assert [(a.status, a.waited_ns) for a in answer.attempts] == [(429, 0), (200, 3 * SECOND_NS)]
        assert answer.attempts[1].began_ns == 3 * SECOND_NS
        assert (desk.waits, len(api.heard)) == ([3.0], 2)

    play([answers(error("rate_limit_error", "slow"), 429, retry_after="3"), answers(WELL)], story)


def test_a_429_holds_every_question_back() -> None:
    """The first question has no attempt left; the second waits as long as the first was told to."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        assert (await desk.ask(question("A"))).outcome == "failed"
        assert (await desk.ask(question("B"))).outcome == "answered"
        assert desk.waits == [3.0]

    play([answers(error("rate_limit_error", "slow"), 429, retry_after="3"), answers(WELL)], story, attempts=1)


def test_a_wait_past_the_limit_is_not_begun() -> None:
    """Told to come back after 50 s with 30 s of patience, the edge gives up at once and says why."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        answer = await desk.ask()
        assert answer.outcome == "failed"
        assert answer.error.endswith(
            "the next attempt, 50 s later, would come after the edge's own limit of 30 s"
        )
        assert (len(api.heard), desk.waits) == (1, [])

    play([answers(error("rate_limit_error", "slow"), 429, retry_after="50")], story)


def test_trouble_of_the_api_passes_or_ends_after_the_last_attempt() -> None:
    """500 and then 200 is an answer; three times 500 is a failure that keeps the error's bytes."""
    trouble = error("api_error", "oops")

    async def passes(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        assert [a.status for a in answer.attempts] == [500, 200]
        assert (answer.outcome, answer.cost_nano_usd) == ("answered", COST)

    async def stays(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.error) == ("failed", "HTTP 500 api_error: oops; attempt 3 of 3")
        assert desk.delivered[0][1] == trouble
        assert 0.25 <= desk.waits[0] <= 0.5 <= desk.waits[1] <= 1.0

    play([answers(trouble, 500), answers(WELL)], passes)
    play([answers(trouble, 500)], stays)


def test_an_overloaded_api_opens_the_breaker_and_a_trial_closes_it() -> None:
    """529 twice: nobody is asked for ten seconds, then one trial is, and all is well again."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        first = await desk.ask()
        assert [a.status for a in first.attempts] == [529, 529]
        assert first.outcome == "failed"
        assert "; the circuit breaker is open" in first.error
        second = await desk.ask(question("B"), 2)
        assert (second.outcome, second.attempts, second.cost_nano_usd) == ("broken", (), 0)
        assert len(api.heard) == 2
        desk.time_ns += 10 * SECOND_NS
        third = await desk.ask(question("B"), 3)
        assert (third.outcome, len(api.heard)) == ("answered", 3)

    busy = answers(error("overloaded_error", "busy"), 529)
    play([busy, busy, answers(WELL)], story, breaker=BreakerSettings(failures=2))


def test_beside_a_trial_nobody_is_asked() -> None:
    """While the one trial of a half-open breaker is under way, others fail at once, places free or not."""
    gate = asyncio.Event()

    async def story(desk: Desk, api: ScriptedApi) -> None:
        await desk.ask(question("A"))
        desk.time_ns += 10 * SECOND_NS
        desk.edge.ask(2, question("B"), NOON)
        await api.arrived(2)
        assert (await desk.ask(question("C"), 3)).outcome == "broken"
        gate.set()
        assert [a.outcome for a in await desk.until(3)] == ["failed", "broken", "answered"]

    busy = answers(error("overloaded_error", "busy"), 529)
    play([busy, waits_for(gate, answers(WELL))], story, concurrency=1, breaker=BreakerSettings(failures=1))


def test_a_call_that_expires_counts_for_the_breaker() -> None:
    """Who answers too slowly is in trouble as much as who answers 500."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        assert (await desk.ask(question("A"))).outcome == "expired"
        assert (await desk.ask(question("B"))).outcome == "broken"

    play(lambda desk: [trickles(desk.run_out)], story, breaker=BreakerSettings(failures=1))


def test_a_trickle_ends_at_the_limit_and_stays_paid_for() -> None:
    """A body that never ends expires; it may be billed, so the whole reservation is spent."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.error) == ("expired", "no answer within the edge's own limit of 30 s")
        assert [(a.status, a.error) for a in answer.attempts] == [(0, answer.error)]
        assert answer.cost_nano_usd == desk.edge.budget.spent == MOST
        assert desk.delivered[0][1] is None

    play(lambda desk: [trickles(desk.run_out)], story)


def test_a_question_that_finds_no_place_expires_for_nothing() -> None:
    """Behind one slow call the limit of the next question ends: it was never sent, and costs nothing."""
    gate = asyncio.Event()

    async def story(desk: Desk, api: ScriptedApi) -> None:
        desk.edge.ask(1, question("A"), NOON)
        await api.arrived(1)
        desk.edge.ask(2, question("B"), NOON)
        await asyncio.sleep(0)  # a turn of the event loop, in which the second task begins
        desk.run_out()
        expired = (await desk.until(1))[0]
        assert (expired.ticket, expired.outcome, expired.attempts) == (2, "expired", ())
        assert (expired.cost_nano_usd, desk.edge.budget.reserved) == (0, most_cost_of(question("A")))
        gate.set()
        assert [a.outcome for a in await desk.until(2)] == ["expired", "answered"]

    play([waits_for(gate, answers(WELL))], story, concurrency=1)


def test_a_lost_connection_is_paid_for_and_asked_again() -> None:
    """The first call may be billed, the second is: the answer costs both."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        assert (answer.outcome, answer.cost_nano_usd) == ("answered", MOST + COST)
        assert [a.status for a in answer.attempts] == [0, 200]
        assert "RemoteProtocolError" in answer.attempts[0].error

    play([drops, answers(WELL)], story)


def test_a_call_that_was_never_sent_costs_nothing() -> None:
    """A refused connection is tried again and fails, and the budget is whole."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        await api.__aexit__()
        answer = await desk.ask()
        assert (answer.outcome, len(answer.attempts), answer.cost_nano_usd) == ("failed", 3, 0)
        assert "ConnectError" in answer.error

    play([answers(WELL)], story)


def test_a_read_that_takes_too_long_may_have_been_billed() -> None:
    """A timeout of the transport keeps its reservation as spent, and the next attempt has its own."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        answer = await desk.ask()
        *lost, last = answer.attempts
        assert (answer.outcome, last.status) == ("answered", 200)
        assert answer.cost_nano_usd == len(lost) * MOST + COST
        assert "ReadTimeout" in lost[0].error

    # A busy machine may be late with the good answer as well: then there is one attempt more.
    play([trickles(lambda: None), answers(WELL)], story, read_s=0.3)


def test_not_more_calls_than_allowed_at_once() -> None:
    """Twenty questions at once, three calls at a time, the rest wait and are counted."""
    gate = asyncio.Event()

    async def story(desk: Desk, api: ScriptedApi) -> None:
        desk.edge.open()
        for ticket in range(1, 21):
            desk.edge.ask(ticket, question(f"headline {ticket}"), NOON)
        await api.arrived(3)
        gate.set()
        answered = await desk.until(20)
        assert {a.outcome for a in answered} == {"answered"}
        assert (len(api.heard), api.most_at_once) == (20, 3)
        assert (desk.edge.most_waiting, desk.edge.waiting, desk.edge.running) == (17, 0, 0)

    play([waits_for(gate, answers(WELL))], story, concurrency=3)


def test_nothing_is_asked_while_nothing_remains() -> None:
    """A limit with nothing left holds the next call back until its reset, to the nanosecond."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        await desk.ask(question("A"))
        await desk.ask(question("B"))
        assert desk.waits == [4.5]
        late = await desk.ask(question("C"))
        assert (late.outcome, late.cost_nano_usd) == ("expired", 0)
        assert late.error == "rate limits hold calls back beyond the edge's own limit of 30 s"

    def empty_until(reset: str) -> Act:
        headers = {"anthropic_ratelimit_tokens_remaining": "0", "anthropic_ratelimit_tokens_reset": reset}
        return answers(WELL, 200, **headers)

    play([empty_until("2026-11-21T12:00:04.5Z"), empty_until("2026-11-21T12:00:50Z")], story)


def test_who_waits_for_a_place_is_held_back_as_well() -> None:
    """The answer that says so comes while another question stands in the queue."""

    async def story(desk: Desk, _: ScriptedApi) -> None:
        desk.edge.ask(1, question("A"), NOON)
        desk.edge.ask(2, question("B"), NOON)
        await desk.until(2)
        assert desk.waits == [2.0]

    left = {"anthropic_ratelimit_requests_remaining": "0"}
    full = answers(WELL, 200, **left, anthropic_ratelimit_requests_reset="2026-11-21T12:00:02Z")
    play([full, answers(WELL)], story, concurrency=1)


def test_the_end_of_a_session_delivers_what_is_open() -> None:
    """A call under way is failed and paid for, a waiting one is failed for nothing, a sharer hears of it."""

    async def main() -> None:
        desk, gate, most = Desk(), asyncio.Event(), most_cost_of(question("A"))
        async with ScriptedApi([waits_for(gate, answers(WELL))]) as api:
            clocks = Clocks(desk.clock, desk.clock, desk.clock, desk.sleep, desk.limit)
            edge = desk.edge = Edge(
                AskingConfig(base_url=api.url, concurrency=1), desk.deliver, clocks=clocks
            )
            for ticket, headline in enumerate(("A", "B", "A"), 1):
                edge.ask(ticket, question(headline), NOON)
            await api.arrived(1)
            assert edge.budget.reserved == 2 * most
            await edge.aclose()
            assert [(a.ticket, a.outcome, a.cost_nano_usd) for a, _ in desk.delivered] == [
                (1, "failed", most),
                (3, "failed", 0),
                (2, "failed", 0),
            ]
            assert (edge.budget.reserved, edge.budget.spent) == (0, most)
            assert {a.error for a, _ in desk.delivered} == {"the session ended before an answer came"}
            with pytest.raises(InternalError, match="question 4 came after the edge was closed"):
                edge.ask(4, question("D"), NOON)

    asyncio.run(main())


def test_a_failure_of_whoever_takes_the_answers_is_not_swallowed() -> None:
    """The other answers are delivered all the same, and the end of the session raises what happened."""

    async def main() -> None:
        heard: list[int] = []

        def deliver(answer: AnswerData, _: bytes | None) -> None:
            heard.append(answer.ticket)
            raise ValueError("full")

        edge = Edge(AskingConfig(base_url="http://127.0.0.1:9", per_run_nano_usd=0), deliver)
        edge.ask(1, question("A"), NOON)
        edge.ask(2, question("B"), NOON)
        assert not heard  # never from within the call
        with pytest.raises(
            InternalError, match="asking Claude failed in the engine itself: ValueError: full"
        ):
            await edge.aclose()
        assert heard == [1, 2]

    asyncio.run(main())


def test_the_key_is_sent_and_shown_nowhere() -> None:
    """A server that sends the key back in its words and bytes: no row, no repr and no file has it."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        said = [await desk.ask(question(name)) for name in ("A", "B", "C")]
        assert {a.outcome for a in said} == {"failed", "answered", "malformed"}
        assert {headers["authorization"] for headers, _ in api.heard} == {f"Bearer {KEY}"}
        everything = repr(desk.delivered) + repr(desk.edge._config) + repr(vars(desk.edge._caller))
        everything += msgspec.json.encode([answer for answer, _ in desk.delivered]).decode()
        assert KEY not in everything
        assert "sk-other-987654321" not in said[0].error
        assert "***" in said[0].error

    body = error("authentication_error", f"key {KEY} and sk-other-987654321 are wrong")
    play(
        [
            answers(body, 401),
            answers(message(text(f"it is {KEY}"))),
            answers(json.dumps({"x": KEY}).encode()),
        ],
        story,
        api_key=Secret(KEY),
    )


def test_a_model_without_a_price_is_not_asked() -> None:
    """The error names the file and what to add; nothing is sent, nothing is reserved."""

    async def story(desk: Desk, api: ScriptedApi) -> None:
        strange = msgspec.structs.replace(PROMPT, model="claude-poet-9")
        with pytest.raises(UsageError, match=r'no model "claude-poet-9" in data/models\.toml') as caught:
            desk.edge.ask(1, request_of(strange, {"headline": "A"}), NOON)
        assert "[models.claude-poet-9]" in caught.value.hint
        assert (desk.taken, api.heard, desk.delivered) == (0, [], [])

    play([answers(WELL)], story)
