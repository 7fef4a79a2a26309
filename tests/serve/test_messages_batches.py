"""Batches of the local Messages API, through the real `anthropic` client."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from engine.serve.messages import ITEMS_HEADER, LocalMessages
from engine.serve.messages_batches import shuffled
from tests.helpers.messages import SCHEMA, body, meeting, play


def items(count: int) -> list[Any]:
    return [{"custom_id": f"item-{n}", "params": body(f"profit {n}", schema=SCHEMA)} for n in range(count)]


async def results_of(client: AsyncAnthropic, batch_id: str) -> dict[str, Any]:
    """Results by custom_id, in the order in which they came."""
    return {line.custom_id: line.result async for line in await client.messages.batches.results(batch_id)}


def test_a_batch_ends_after_a_look_or_two() -> None:
    """In progress when made and at the first look, ended at the second; then its results are there."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        batch = await client.messages.batches.create(requests=items(3))
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 3)
        assert batch.results_url is None
        with pytest.raises(anthropic.BadRequestError, match="has not ended"):
            await client.get(f"/v1/messages/batches/{batch.id}/results", cast_to=object)
        assert (await client.messages.batches.retrieve(batch.id)).processing_status == "in_progress"
        ended = await client.messages.batches.retrieve(batch.id)
        assert ended.processing_status == "ended"
        assert (ended.request_counts.processing, ended.request_counts.succeeded) == (0, 3)
        results = await results_of(client, batch.id)
        assert {name: result.type for name, result in results.items()} == dict.fromkeys(
            ["item-0", "item-1", "item-2"], "succeeded"
        )
        assert (api.billed.calls, api.batch_billed.calls, api.requests) == (0, 3, 0)

    play(scene)


def test_an_items_answer_is_the_one_that_it_gets_alone() -> None:
    """The same Message to the last byte; results come again as often as they are asked for."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        batch = await client.messages.batches.create(requests=items(2))
        await client.messages.batches.retrieve(batch.id)
        first = await results_of(client, batch.id)
        assert await results_of(client, batch.id) == first
        alone = await client.messages.create(**items(2)[1]["params"])
        assert first["item-1"].message == alone

    play(scene, batch_polls=0)


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_results_are_not_in_the_order_of_requests(count: int) -> None:
    """All are there, none is lost, and the order is another."""
    names = [f"item-{n}" for n in range(count)]
    assert sorted(shuffled(names)) == sorted(names)
    assert shuffled(names) != names
    assert shuffled(shuffled(names)) in (shuffled(names), shuffled(names)[::-1])


def test_each_item_has_its_own_end() -> None:
    """Errors, refusals and expiries stand beside answers; what is wrong in an item is its own error."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        requests = items(5)
        requests[4]["params"]["max_tokens"] = -1
        batch = await client.messages.batches.create(
            requests=requests,
            extra_headers={ITEMS_HEADER: "item-0=529, item-1=refusal, item-2=timeout"},
        )
        await client.messages.batches.retrieve(batch.id)
        ended = await client.messages.batches.retrieve(batch.id)
        counts = ended.request_counts
        assert (counts.succeeded, counts.errored, counts.expired) == (2, 2, 1)
        results = await results_of(client, batch.id)
        assert results["item-0"].error.error.type == "overloaded_error"
        assert results["item-1"].message.stop_reason == "refusal"
        assert results["item-2"].type == "expired"
        assert json.loads(results["item-3"].message.content[0].text)["sentiment"] == 0.2
        assert results["item-4"].error.error.message.startswith("max_tokens: a number from 1")
        assert api.batch_billed.calls == 2

    play(scene)


def test_planned_faults_strike_items() -> None:
    """Every second item, by the server's own plan."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        batch = await client.messages.batches.create(requests=items(6))
        await client.messages.batches.retrieve(batch.id)
        results = await results_of(client, batch.id)
        assert [results[f"item-{n}"].type for n in range(6)] == ["succeeded", "errored"] * 3

    play(scene, faults=("500:every2",), batch_polls=0)


def test_a_fault_of_the_request_strikes_the_batch_as_a_whole() -> None:
    """Nothing is made, nothing billed; the next try makes it."""

    async def scene(api: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.OverloadedError):
            await client.messages.batches.create(requests=items(2), **meeting("529"))
        assert (await client.messages.batches.list()).data == []
        await client.messages.batches.create(requests=items(2))
        assert api.batch_billed.calls == 2

    play(scene)


def test_batches_are_listed_newest_first() -> None:
    """With a limit there is a next page; two batches of the same requests are two."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        made = [(await client.messages.batches.create(requests=items(1))).id for _ in range(3)]
        assert len(set(made)) == 3
        page = await client.messages.batches.list(limit=2)
        assert ([batch.id for batch in page.data], page.has_more) == ([made[2], made[1]], True)
        everything = [batch.id async for batch in client.messages.batches.list(limit=2)]
        assert everything == made[::-1]

    play(scene)


INVALID: list[tuple[list[Any], str]] = [
    ([], "requests: an array of 1 to 100000"),
    ([{"params": {}}], "requests.0.custom_id: 1 to 64"),
    ([{"custom_id": "a b", "params": {}}], "requests.0.custom_id: 1 to 64"),
    (
        [{"custom_id": "a", "params": {}}, {"custom_id": "a", "params": {}}],
        "requests.1.custom_id: a is there",
    ),
]


@pytest.mark.parametrize(("requests", "message"), INVALID, ids=["none", "no id", "bad id", "twice"])
def test_a_batch_of_the_wrong_form_is_refused(requests: list[Any], message: str) -> None:
    """As a whole, naming the place."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.BadRequestError, match=message):
            await client.messages.batches.create(requests=requests)

    play(scene)


def test_an_unknown_batch_is_not_found() -> None:
    """Looked at, or asked for its results."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        with pytest.raises(anthropic.NotFoundError, match="no batch msgbatch_x"):
            await client.messages.batches.retrieve("msgbatch_x")
        with pytest.raises(anthropic.NotFoundError, match="no batch msgbatch_x"):
            await client.get("/v1/messages/batches/msgbatch_x/results", cast_to=object)

    play(scene)


def test_an_items_fault_needs_an_item() -> None:
    """A name that no request has is refused, and so is a fault that no item can meet."""

    async def scene(_: LocalMessages, client: AsyncAnthropic) -> None:
        for header, message in (("item-9=529", "custom_id item-9"), ("item-0=drop", "is no custom_id=fault")):
            with pytest.raises(anthropic.BadRequestError, match=message):
                await client.messages.batches.create(requests=items(1), extra_headers={ITEMS_HEADER: header})

    play(scene)
