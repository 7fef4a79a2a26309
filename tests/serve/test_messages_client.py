"""The local Messages API as the real `anthropic` client meets it: good answers, and every kind of bad one."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic

from engine.serve.messages import LocalMessages
from tests.helpers.messages import HEADLINE, PATIENCE_S, SCHEMA, body, meeting, play, reading, real_client


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_plain_question_is_answered_and_says_that_it_is_a_rule() -> None:
    """Text, stop reason, usage and request id come as from the API; the notice stands in three places."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        raw = await client.messages.with_raw_response.create(**body())
        message = await raw.parse()
        assert text_of(message) == (
            "Fixed word list, no model: beats expectations +0.7, surge +0.7; topic: earnings. "
            "Sentiment +1.0, no risk."
        )
        assert message.stop_reason == "end_turn"
        assert message.model == "claude-haiku-5-5"
        assert message.usage.input_tokens == -(-len(HEADLINE) // 4)
        assert message.usage.output_tokens == -(-len(text_of(message)) // 4)
        assert raw.headers["request-id"] == "req_local_000000001"
        assert "not by a model" in raw.headers["x-engine-notice"]
        assert "not by a model" in json.loads(await raw.read())["engine_notice"]
        assert (api.requests, api.billed.calls) == (1, 1)
        assert api.billed.output_tokens == message.usage.output_tokens

    play(scene)


def test_a_structured_question_gets_its_schema_filled() -> None:
    """The four fields that are known by name; the rationale says what answered."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(schema=SCHEMA))
        assert json.loads(text_of(message)) == {
            "sentiment": 1.0,
            "topic": "earnings",
            "risk": False,
            "rationale": "Fixed word list, no model: beats expectations +0.7, surge +0.7; topic: earnings.",
        }

    play(scene)


def test_the_same_request_gets_the_same_bytes() -> None:
    """Twice, and with its keys in another order; one character more is another id."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        async def asked(fields: dict[str, Any]) -> bytes:
            raw = await client.messages.with_raw_response.create(**fields)
            content: bytes = await raw.read()
            return content

        first = await asked(body(schema=SCHEMA))
        assert await asked(body(schema=SCHEMA)) == first
        assert await asked(dict(reversed(body(schema=SCHEMA).items()))) == first
        other = await asked(body(HEADLINE + ".", schema=SCHEMA))
        assert json.loads(other)["id"] != json.loads(first)["id"]

    play(scene)


def test_two_servers_agree() -> None:
    """An answer does not depend on what a server was asked before."""
    seen: list[bytes] = []

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        for text in ["Something else"] * len(seen) + [HEADLINE]:
            raw = await client.messages.with_raw_response.create(**body(text))
        seen.append(await raw.read())

    play(scene)
    play(scene)
    assert seen[0] == seen[1]


def test_max_tokens_cuts_an_answer() -> None:
    """Five tokens are twenty characters; the stop reason tells, and usage keeps within."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(max_tokens=5))
        assert text_of(message) == "Fixed word list, no "
        assert message.stop_reason == "max_tokens"
        assert message.usage.output_tokens == 5

    play(scene)


BENT: list[tuple[str, list[str], str]] = [
    ("thinking", ["thinking", "text"], "end_turn"),
    ("unknown", ["crystal_ball", "tool_use", "text"], "end_turn"),
    ("refusal", [], "refusal"),
    ("truncated", ["text"], "max_tokens"),
    ("empty", [], "end_turn"),
]


@pytest.mark.parametrize(("fault", "blocks", "stop"), BENT, ids=[each[0] for each in BENT])
def test_bent_answers(fault: str, blocks: list[str], stop: str) -> None:
    """Blocks and stop reason of each; where text follows other blocks it is whole; all are billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(schema=SCHEMA), **meeting(fault))
        assert [block.type for block in message.content] == blocks
        assert message.stop_reason == stop
        if len(blocks) > 1:
            assert json.loads(text_of(message))["sentiment"] == 1.0
        assert api.billed.calls == 1
        assert message.usage.output_tokens >= 1

    play(scene)


def test_a_refusal_has_details() -> None:
    """As the API gives them, with the reason in words."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(), **meeting("refusal"))
        assert message.stop_details is not None
        assert message.stop_details.type == "refusal"
        assert "no model" in str(message.stop_details.explanation)

    play(scene)


def test_a_truncated_answer_is_no_json() -> None:
    """The cut leaves half of a JSON text."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(schema=SCHEMA), **meeting("truncated"))
        with pytest.raises(json.JSONDecodeError):
            json.loads(text_of(message))

    play(scene)


def test_an_answer_outside_its_schema() -> None:
    """The sentiment is a thousand million, where one is the most."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        message = await client.messages.create(**body(schema=SCHEMA), **meeting("outside"))
        assert json.loads(text_of(message))["sentiment"] == 1e9

    play(scene)


STATUSES: list[tuple[str, type[anthropic.APIStatusError], int, str]] = [
    ("400", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("401", anthropic.AuthenticationError, 401, "authentication_error"),
    ("402", anthropic.PaymentRequiredError, 402, "billing_error"),
    ("403", anthropic.PermissionDeniedError, 403, "permission_error"),
    ("404", anthropic.NotFoundError, 404, "not_found_error"),
    ("413", anthropic.ContentTooLargeError, 413, "invalid_request_error"),
    ("429", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("429-spend", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("500", anthropic.InternalServerError, 500, "api_error"),
    ("504", anthropic.InternalServerError, 504, "timeout_error"),
    ("529", anthropic.OverloadedError, 529, "overloaded_error"),
]


@pytest.mark.parametrize(("fault", "kind", "status", "name"), STATUSES, ids=[each[0] for each in STATUSES])
def test_errors_on_request(fault: str, kind: type[anthropic.APIStatusError], status: int, name: str) -> None:
    """The client raises its own class for each, with type and request id; nothing is billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(kind) as caught:
            await client.messages.create(**body(), **meeting(fault))
        assert caught.value.status_code == status
        assert caught.value.type == name
        assert caught.value.request_id == "req_local_000000001"
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["request_id"] == "req_local_000000001"
        assert "on purpose" in str(caught.value.api_message)
        assert (api.requests, api.billed.calls) == (1, 0)

    play(scene)


def test_429_says_when_to_come_back() -> None:
    """One second unless told otherwise; milliseconds are a fraction. A spend limit has no such header."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        waits = []
        for fault in ("429", "429:50ms", "429:7s", "429-spend", "529:2s"):
            with pytest.raises(anthropic.APIStatusError) as caught:
                await client.messages.create(**body(), **meeting(fault))
            waits.append(caught.value.response.headers.get("retry-after"))
        assert waits == ["1", "0.05", "7", None, "2"]

    play(scene)


def test_a_spend_limit_has_a_code() -> None:
    """What tells it from too many requests is details.error_code."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        codes = []
        for fault in ("429", "429-spend"):
            with pytest.raises(anthropic.RateLimitError) as caught:
                await client.messages.create(**body(), **meeting(fault))
            codes.append(caught.value.error_code)
        assert codes == [None, "enforced_spend_limit_reached"]

    play(scene)


def test_the_clients_own_retries_get_through() -> None:
    """Two overloads, then an answer: three requests, one of them billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        patient = client.with_options(max_retries=2)
        raw = await patient.messages.with_raw_response.create(**body())
        assert raw.retries_taken == 2
        assert (api.requests, api.billed.calls) == (3, 1)

    play(scene, faults=("429:1ms:first2",))


def test_an_unknown_model_and_an_unknown_path_are_not_found() -> None:
    """404 for both, naming what was looked for."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(
            anthropic.NotFoundError, match="claude-of-last-year is unknown here; known: claude-h"
        ):
            await client.messages.create(**body(model="claude-of-last-year"))
        with pytest.raises(anthropic.NotFoundError, match="GET /v1/models is not served here"):
            await client.models.list()

    play(scene)


def test_a_body_above_the_limit_is_too_large() -> None:
    """The limit of 32 MB is a dial; here it is 10,000 bytes, and the connection lives on."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.ContentTooLargeError, match="more than 10000 bytes"):
            await client.messages.create(**body("x" * 1_000_000))
        await client.messages.create(**body("x" * 9_000))
        assert (api.requests, api.billed.calls) == (1, 1)

    play(scene, most_bytes=10_000)


def test_a_missing_key_is_refused() -> None:
    """An empty bearer is none."""

    async def scene(api: LocalMessages, _: AsyncAnthropic) -> None:
        async with real_client(api, api_key="") as client:
            with pytest.raises(anthropic.AuthenticationError, match="any value will do here"):
                await client.messages.create(**body(), extra_headers={"Authorization": "Bearer"})

    play(scene)


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens: a number from 1 to 128000"),
    ({"model": ""}, "model: a text"),
    ({"messages": []}, "messages: an array"),
    ({"messages": [{"role": "judge", "content": "x"}]}, "messages.0.role: one of user, assistant"),
    ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content: a text"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type: a block"),
    ({"messages": [{"role": "assistant", "content": "x"}]}, "messages: a message by the user"),
    ({"system": [{"type": "text"}]}, "system.0.text: a text"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: json_schema"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: a JSON schema"),
    ({"schema": {"type": "string", "pattern": "x+"}}, "output_config.format.schema: a pattern"),
    ({"extra_body": {"temperature": 0.5}}, "temperature: the Messages API has no such field"),
    ({"extra_body": {"stream": True}}, "stream: the local API does not stream"),
    (meeting("earthquake"), "x-engine-fault: unknown fault"),
    (meeting("529:0.5"), "x-engine-fault: fault .* has no when"),
]


@pytest.mark.parametrize(("fields", "message"), INVALID, ids=[each[1][:40] for each in INVALID])
def test_what_is_invalid_is_named(fields: dict[str, Any], message: str) -> None:
    """400, and the message begins with the field; nothing is billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await client.messages.create(**body(**fields))
        assert re.match(message, str(caught.value.api_message)), caught.value.api_message
        assert api.billed.calls == 0

    play(scene)


def test_a_malformed_body_is_no_message() -> None:
    """It is billed, says it is JSON, and is a web page: what the client makes of it is no Message."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        raw = await client.messages.with_raw_response.create(**body(), **meeting("malformed"))
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(await raw.read())
        assert api.billed.calls == 1

    play(scene)


def test_a_dropped_connection_is_billed() -> None:
    """Half of a body and the end: the client has a connection error, the account a call."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.create(**body(), **meeting("drop"))
        assert api.billed.calls == 1
        await client.messages.create(**body())
        assert api.billed.calls == 2

    play(scene)


def test_a_call_that_timed_out_is_billed() -> None:
    """The question is accepted and never answered; the client's own limit ends it."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**body(), timeout=reading(0.2), **meeting("timeout"))
        await api.wait_requests(1)
        assert (api.requests, api.billed.calls) == (1, 1)

    play(scene)


def test_a_slow_answer_is_billed_although_nobody_waits() -> None:
    """A latency longer than the client's patience is a timeout with a bill."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.APITimeoutError):
            await client.messages.create(**body(), timeout=reading(0.2), **meeting("latency:100s"))
        await api.wait_requests(1)
        assert api.billed.calls == 1

    play(scene)


def test_a_trickling_body_arrives_whole() -> None:
    """Byte by byte it is the same answer, for whoever waits."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        whole = await client.messages.with_raw_response.create(**body(schema=SCHEMA))
        slow = await client.messages.with_raw_response.create(**body(schema=SCHEMA), **meeting("trickle:0ms"))
        assert await slow.read() == await whole.read()

    play(scene)


def test_a_trickling_body_escapes_a_read_timeout() -> None:
    """A timeout per read never strikes while bytes come; only a limit on the whole call ends it."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        asked = client.messages.create(**body(), timeout=reading(1.0), **meeting("trickle:50ms"))
        call = asyncio.create_task(asked)
        await api.wait_requests(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await call
        assert api.billed.calls == 1

    play(scene)


def test_the_planned_faults_are_the_same_every_time() -> None:
    """--fault 529:0.5 with a seed: which of twenty questions fail is decided before they are asked."""
    runs: list[list[bool]] = []

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        async def fails(number: int) -> bool:
            try:
                await client.messages.create(**body(f"question {number}"))
            except anthropic.OverloadedError:
                return True
            return False

        order = range(20) if not runs else range(19, -1, -1)
        outcomes = dict(zip(order, await asyncio.gather(*map(fails, order)), strict=True))
        runs.append([outcomes[number] for number in range(20)])

    play(scene, faults=("529:0.5",), seed=3)
    play(scene, faults=("529:0.5",), seed=3)
    assert runs[0] == runs[1]
    assert 4 <= sum(runs[0]) <= 16


def test_a_header_overrules_the_plan() -> None:
    """A server that fails always answers the request that says none."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.InternalServerError):
            await client.messages.create(**body())
        assert (await client.messages.create(**body(), **meeting("none"))).stop_reason == "end_turn"

    play(scene, faults=("500",))


def test_tokens_are_counted_without_an_answer() -> None:
    """count_tokens gives what usage would say, and is not billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        asked = body(schema=SCHEMA, system="Answer.")
        message = await client.messages.create(**asked)
        del asked["max_tokens"]
        counted = await client.messages.count_tokens(**asked)
        assert counted.input_tokens == message.usage.input_tokens
        assert api.billed.calls == 1

    play(scene)


def test_a_hundred_questions_at_once() -> None:
    """All are answered, each its own; all are billed."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        asked = [client.messages.create(**body(f"profit {n} surges")) for n in range(100)]
        answers = await asyncio.gather(*asked)
        assert len({message.id for message in answers}) == 100
        assert (api.requests, api.billed.calls) == (100, 100)

    play(scene)


def test_closing_ends_questions_in_flight() -> None:
    """A server that goes does not wait for answers that it will never give."""

    async def whole() -> None:
        api = LocalMessages()
        async with asyncio.timeout(PATIENCE_S), real_client(api) as client:
            async with api:
                asked = client.with_options(base_url=api.url).messages.create(**body(), **meeting("timeout"))
                call = asyncio.create_task(asked)
                await api.wait_requests(1)
            with pytest.raises(anthropic.APIConnectionError):
                await call

    asyncio.run(whole())
