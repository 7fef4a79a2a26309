"""Buying in batches: each place where it can be cut off, and that nothing is lost or bought twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.answers.pending import Intent, PendingFolder
from engine.answers.requests import Request
from engine.answers.retry import Failure
from engine.answers.store import AnswerStore
from engine.answers.stored import from_batch
from engine.live import batch_client
from engine.live.asking_client import AskingConfig, Called
from engine.live.batch_client import BatchCaller, parts_of
from engine.live.batches import Bought, Buyer
from engine.live.spending import Spending
from engine.model.errors import EngineError, InputError, UsageError
from engine.model.units import SECOND_NS
from engine.serve.messages import LocalMessages
from tests.helpers.answers import asked

QUESTIONS = [asked(f"Profit rises for the {n}. time") for n in range(6)]


async def no_wait(_: float) -> None:
    """Time is over at once."""
    await asyncio.sleep(0)


def buyer(api: LocalMessages, folder: Path, spending: Spending | None = None) -> Buyer:
    """Who buys there, and waits for nothing."""
    config = AskingConfig(base_url=api.url)
    return Buyer(config, folder, spending, say=lambda _: None, sleep=no_wait)


async def buying(
    api: LocalMessages, folder: Path, requests: list[Request], spending: Spending | None = None
) -> list[Bought]:
    """Buy, as a process of its own would."""
    one = buyer(api, folder, spending)
    try:
        with one.pending.alone():
            return await one.buy(requests, SECOND_NS)
    finally:
        await one.close()


async def resuming(api: LocalMessages, folder: Path, spending: Spending | None = None) -> list[Bought]:
    """Go on with what was left, as another process would."""
    one = buyer(api, folder, spending)
    try:
        with one.pending.alone():
            return await one.resume()
    finally:
        await one.close()


def play(story: Callable[[LocalMessages], Awaitable[None]], **dials: Any) -> None:
    """A story with a local API."""

    async def whole() -> None:
        async with asyncio.timeout(30), LocalMessages(**dials) as api:
            await story(api)

    asyncio.run(whole())


def pending_in(folder: Path) -> list[Path]:
    """Files of batches that are not over."""
    return sorted((folder / "pending").glob("*.jsonl"))


def content(folder: Path) -> dict[str, bytes]:
    """The store's files."""
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def test_answers_are_the_batchs(tmp_path: Path) -> None:
    """Words, tokens, half the price, the bytes as they came; the latency is the one that was asked for."""

    async def story(api: LocalMessages) -> None:
        (bought,) = await buying(api, tmp_path, QUESTIONS)
        assert (bought.answers, bought.failed, api.batch_billed.calls) == (6, [], 6)
        store = AnswerStore(tmp_path)
        total = 0
        for request in QUESTIONS:
            answer = store.get(request.key)
            assert answer is not None
            data = answer.data
            assert (data.outcome, data.latency_ns, data.attempts) == ("answered", SECOND_NS, ())
            assert data.request_id == bought.batch
            assert from_batch(data)
            message = json.loads(answer.wire)
            assert message["content"][0]["text"] == data.text
            tokens = message["usage"]
            assert (
                data.cost_nano_usd == (100 * tokens["input_tokens"] + 500 * tokens["output_tokens"] + 1) // 2
            )
            total += data.cost_nano_usd
        assert bought.cost_nano_usd == total
        assert pending_in(tmp_path) == []

    play(story)


def test_the_same_batch_gives_the_same_bytes(tmp_path: Path) -> None:
    """Imported into two stores, at two times: two equal files."""

    async def story(api: LocalMessages) -> None:
        one = buyer(api, tmp_path / "one")
        with one.pending.alone():
            pending = await one._make(QUESTIONS, SECOND_NS)
            other = PendingFolder(tmp_path / "other")
            other.folder.mkdir(parents=True)
            (other.folder / pending.path.name).write_bytes(pending.path.read_bytes())
            await one.resume()
        await one.close()
        await resuming(api, tmp_path / "other")
        assert content(tmp_path / "one") == content(tmp_path / "other") != {}

    play(story)


CUTS = {
    "before it is made": (BatchCaller, "create", 0),
    "made, and nobody knows its name": (PendingFolder, "made", 1),
    "before its answers are in the store": (AnswerStore, "add", 1),
    "before the file is forgotten": (PendingFolder, "remove", 1),
}


@pytest.mark.parametrize(("where", "name", "made"), CUTS.values(), ids=CUTS.keys())
def test_whatever_is_cut_off_is_finished_and_bought_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: type, name: str, made: int
) -> None:
    """The process ends there; the next one gets all that was paid for, and the budget knows what it cost."""

    def spending() -> Spending:
        return Spending(tmp_path / "spending.json", per_day=SECOND_NS)

    async def story(api: LocalMessages) -> None:
        with monkeypatch.context() as patch:

            def cut(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(where, name, cut)
            with pytest.raises(KeyboardInterrupt):
                await buying(api, tmp_path / "store", QUESTIONS, spending())
        assert len(pending_in(tmp_path / "store")) == 1
        finished = await resuming(api, tmp_path / "store", spending())
        assert len(finished) == made
        assert pending_in(tmp_path / "store") == []
        assert api.batch_billed.calls == 6 * made
        assert len(AnswerStore(tmp_path / "store")) == 6 * made
        assert sum(spending().look().values()) == sum(one.cost_nano_usd for one in finished)
        assert await resuming(api, tmp_path / "store", spending()) == []

    play(story)


def test_another_batch_is_not_taken_for_ours(tmp_path: Path) -> None:
    """As young and as large, with other questions; or of another size: not it, so there was none."""

    async def story(api: LocalMessages) -> None:
        await buying(api, tmp_path / "others", [asked(f"Something else {n}") for n in range(6)])
        await buying(api, tmp_path / "others", QUESTIONS[:3])
        folder = PendingFolder(tmp_path / "mine")
        with folder.alone():
            asks = tuple(request.canonical().decode() for request in QUESTIONS)
            folder.begin(Intent(api.url, buyer(api, tmp_path)._now(), SECOND_NS, 1, asks))
        assert await resuming(api, tmp_path / "mine") == []
        assert pending_in(tmp_path / "mine") == []
        assert content(tmp_path / "mine") == {}

    play(story)


def test_a_lost_answer_is_no_reason_to_buy_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is made, the connection breaks before we hear of it: an error, and the next run finds it."""

    async def story(api: LocalMessages) -> None:
        create = BatchCaller.create

        async def lost(self: BatchCaller, requests: list[Request]) -> Called:
            await create(self, requests)
            return Called(Failure(0, "ReadError"))

        with monkeypatch.context() as patch:
            patch.setattr(BatchCaller, "create", lost)
            with pytest.raises(EngineError, match="whether the batch was made is not known: ReadError"):
                await buying(api, tmp_path, QUESTIONS)
        (bought,) = await resuming(api, tmp_path)
        assert (bought.answers, api.batch_billed.calls) == (6, 6)

    play(story)


def test_items_that_fail_are_named(tmp_path: Path) -> None:
    """Answers are kept, errors and expiries reported each with its question; buying these again is enough."""

    async def story(api: LocalMessages) -> None:
        (bought,) = await buying(api, tmp_path, QUESTIONS)
        assert bought.answers == 4
        assert sorted(one.error.split(":")[0] for one in bought.failed) == ["errored", "expired"]
        assert all(one.question.startswith("Headline: Profit rises") for one in bought.failed)
        left = [request for request in QUESTIONS if AnswerStore(tmp_path).get(request.key) is None]
        assert {request.key for request in left} == {one.key for one in bought.failed}
        (again,) = await buying(api, tmp_path, left)
        assert (again.answers, again.failed) == (2, [])

    play(story, faults=("500:first1", "timeout:first2"))


def test_a_day_that_is_full_buys_nothing(tmp_path: Path) -> None:
    """Refused before anything is sent; nothing is left behind."""

    async def story(api: LocalMessages) -> None:
        spending = Spending(tmp_path / "spending.json", per_day=1)
        with pytest.raises(UsageError, match="budget of this day"):
            await buying(api, tmp_path / "store", QUESTIONS, spending)
        assert (api.batch_billed.calls, pending_in(tmp_path / "store"), spending.look()) == (0, [], {})

    play(story)


@pytest.mark.parametrize("status", [400, 401, 429, 529])
def test_a_batch_that_is_not_taken_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The API said no: an error with its words, and nothing pending."""

    async def story(api: LocalMessages) -> None:
        async def refused(_self: BatchCaller, _requests: list[Request]) -> Called:
            return Called(Failure(status, f"HTTP {status}: no"))

        monkeypatch.setattr(BatchCaller, "create", refused)
        with pytest.raises(EngineError, match=f"the batch was not taken: HTTP {status}: no"):
            await buying(api, tmp_path, QUESTIONS)
        assert pending_in(tmp_path) == []

    play(story)


def test_a_batch_that_nobody_knows_any_more_is_said(tmp_path: Path) -> None:
    """A local server was restarted: its file stays until the user removes it."""

    async def story(api: LocalMessages) -> None:
        folder = PendingFolder(tmp_path)
        with folder.alone():
            asks = tuple(request.canonical().decode() for request in QUESTIONS)
            folder.made(folder.begin(Intent(api.url, 1, SECOND_NS, 1, asks)), "msgbatch_gone")
        with pytest.raises(EngineError, match="msgbatch_gone: not known at http"):
            await resuming(api, tmp_path)
        assert len(pending_in(tmp_path)) == 1

    play(story)


def test_what_is_bought_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A batch of another address is listed as such, and not asked for here."""

    async def story(api: LocalMessages) -> None:
        folder = PendingFolder(tmp_path)
        with folder.alone():
            folder.begin(Intent("https://example.invalid", 1, SECOND_NS, 1, ()))
        mine, others = buyer(api, tmp_path).left()
        assert (mine, [one.intent.address for one in others]) == ([], ["https://example.invalid"])
        assert await resuming(api, tmp_path) == []

    play(story)


def test_one_at_a_time(tmp_path: Path) -> None:
    """Two that bought for one store would buy the same."""
    folder = PendingFolder(tmp_path)
    with folder.alone(), pytest.raises(UsageError, match="another engine enrich"), folder.alone():
        pass
    with folder.alone():
        pass


def test_a_file_that_is_cut_knows_its_intent(tmp_path: Path) -> None:
    """Killed while the name was written: it is written again behind what was whole; damage is an error."""
    folder = PendingFolder(tmp_path)
    with folder.alone():
        pending = folder.begin(Intent("http://localhost", 1, 2, 3, (QUESTIONS[0].canonical().decode(),)))
        with pending.path.open("ab") as file:
            file.write(b'00000000 {"batch":"msgb')
        assert [one.batch for one in folder.all()] == [""]
        folder.made(pending, "msgbatch_1")
        assert [one.batch for one in folder.all()] == ["msgbatch_1"]
        assert list(folder.all()[0].requests()) == [QUESTIONS[0].key]
        pending.path.write_bytes(b"00000000 {}\n")
        with pytest.raises(InputError, match="damaged"):
            folder.all()


def test_batches_keep_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many requests, so many bytes; all are there, in order."""
    monkeypatch.setattr(batch_client, "MOST_REQUESTS", 4)
    parts = parts_of(QUESTIONS)
    assert [len(part) for part in parts] == [4, 2]
    assert [request for part in parts for request in part] == QUESTIONS
    monkeypatch.setattr(batch_client, "MOST_BYTES", 1)
    assert [len(part) for part in parts_of(QUESTIONS)] == [1] * 6
    assert parts_of([]) == []
