"""Buying answers in batches, at half the price, such that nothing is lost and nothing is bought twice.

    write down what is asked ──► claim the money ──► make the batch ──► write down its name
         ──► look until it has ended ──► results into the store ──► settle the money ──► forget the file

It may be interrupted anywhere; whoever comes next goes on where the file says (`resume`). Between making a
batch and writing down its name lies the one moment of doubt: then the API is asked for batches that are as
young and as large, and the one whose results answer our questions is ours. Is there none, it was never made;
can it not be decided, nothing is bought and the user is told.

What the API says of an item is final: an answer (also a refused, cut or malformed one) is kept, an error is
reported and bought by the next run. A batch has no latency that a live call would have had; what was asked
for is taken, and the answer's request id is the batch's name, which says so. The time of recording is the
batch's end, so that the same batch gives the same bytes, whenever it is imported.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from engine.answers.budget import today
from engine.answers.messages import read_message
from engine.answers.models import cost_of, most_cost_of
from engine.answers.pending import Intent, Pending, PendingFolder
from engine.answers.plan import most_of
from engine.answers.requests import Request
from engine.answers.retry import Failure, is_retried, may_be_billed
from engine.answers.store import AnswerStore
from engine.answers.stored import BATCH, StoredAnswer, stored
from engine.live.asking_client import AskingConfig, Called
from engine.live.batch_client import BatchCaller, BatchState, Item, Page, parts_of, results_in
from engine.live.spending import Spending
from engine.model.errors import DecimalError, EngineError, UsageError
from engine.model.kinds import AnswerData
from engine.model.units import SECOND_NS, parse_time

FIRST_WAIT_S, LONGEST_WAIT_S, WAIT_GROWS = 1.0, 60.0, 1.5
OVERLOADED = 529  # said before anything is done
PATIENCE = 10  # failures in a row until looking is given up; the batch goes on without us
CLOCKS_APART_NS = 600 * SECOND_NS  # ours and the API's, at most
_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_SHOWN = 80  # characters of a question

T = TypeVar("T")
RESUME = "engine enrich --resume goes on with it"


class Failed(msgspec.Struct, frozen=True):
    """A question that was paid for by nobody and answered by nobody."""

    key: str
    prompt: str
    question: str  # its first words
    error: str


class Bought(msgspec.Struct):
    """What became of one batch."""

    batch: str
    answers: int = 0
    cost_nano_usd: int = 0
    failed: list[Failed] = []


class Buyer:
    """Buys for one store. Used by one process at a time (`PendingFolder.alone`)."""

    def __init__(
        self,
        config: AskingConfig,
        answers: Path,
        spending: Spending | None,
        *,
        say: Callable[[str], None],
        now: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`answers` is the store's folder; `say` is told how far a batch has come."""
        self.pending = PendingFolder(answers)
        self._address = config.base_url.rstrip("/")
        self._config = config
        self._answers = answers
        self._spending = spending
        self._caller = BatchCaller(config)
        self._say = say
        self._now = now
        self._sleep = sleep

    async def close(self) -> None:
        """Close the connection."""
        await self._caller.close()

    async def buy(self, requests: Sequence[Request], latency_ns: int) -> list[Bought]:
        """Buy answers to these questions; all batches are made before the first is waited for.

        Raises UsageError where the day's budget does not allow it, EngineError where it cannot be done or
        is not known to have been done; what was made so far is then pending.
        """
        made = [await self._make(part, latency_ns) for part in parts_of(requests)]
        return [await self._finish(pending) for pending in made]

    def left(self) -> tuple[list[Pending], list[Pending]]:
        """Batches of this address that were not finished, and those of others. Raises InputError."""
        everything = self.pending.all()
        mine = [one for one in everything if one.intent.address == self._address]
        return mine, [one for one in everything if one not in mine]

    async def resume(self) -> list[Bought]:
        """Finish what was left. Raises EngineError as `buy`."""
        finished = []
        for pending in self.left()[0]:
            if not pending.batch:
                found = await self._find(pending)
                if not found:
                    self._say(f"{pending.name}: no such batch was made, as far as this key can see")
                    self._forget(pending, 0)
                    continue
                pending = self.pending.made(pending, found)  # noqa: PLW2901  it knows its name now
            finished.append(await self._finish(pending))
        return finished

    async def _make(self, requests: Sequence[Request], latency_ns: int) -> Pending:
        """Make one batch, and write down that it was made."""
        most, now = most_of(requests), self._now()
        asked = tuple(request.canonical().decode() for request in requests)
        pending = self.pending.begin(Intent(self._address, now, latency_ns, most, asked))
        try:
            objection = self._spending.hold(pending.name, today(now), most) if self._spending else ""
        except EngineError:
            self.pending.remove(pending)
            raise
        if objection:
            self.pending.remove(pending)
            raise UsageError(objection, hint="--budget-day says how much a day may cost")
        wait_s = FIRST_WAIT_S
        for attempt in range(1, self._config.attempts + 1):
            called = await self._caller.create(requests)
            failure = called.failure
            if failure is None:
                state = _decoded(called, BatchState, f"what was made of {pending.name}")
                if not _NAME.fullmatch(state.id):
                    raise EngineError(f"the API calls a batch {state.id!r}, which is no name", hint=RESUME)
                self._say(f"{state.id}: {len(requests):,} questions")
                return self.pending.made(pending, state.id)
            if _may_be_made(failure):
                raise EngineError(
                    f"whether the batch was made is not known: {failure.error}",
                    hint="engine enrich --resume looks for it, before anything is bought again",
                )
            if not is_retried(failure) or attempt == self._config.attempts:
                break
            await self._sleep(_wait_s(wait_s, failure))
            wait_s *= 2
        self._forget(pending, 0)
        assert failure is not None
        raise EngineError(f"the batch was not taken: {failure.error}", hint="nothing was bought")

    async def _find(self, pending: Pending) -> str:
        """The batch that was made of a file that does not know its name; "" when none was."""
        keys = set(pending.requests())
        taken = {other.batch for other in self.pending.all()}
        for state in await self._young(pending):
            if state.id in taken or state.requests != len(keys):
                continue
            self._say(f"{pending.name}: is it {state.id}? Its results will say")
            ended = await self._ended(state.id, len(keys))
            called = await self._patiently(lambda batch=ended.id: self._caller.results(batch), ended.id)  # type: ignore[misc]
            if set(results_in(called.body or b"", ended.id)) == keys:
                return ended.id
        return ""

    async def _young(self, pending: Pending) -> list[BatchState]:
        """Batches that are not older than a file, the newest first."""
        found: list[BatchState] = []
        after = ""
        while True:
            called = await self._patiently(lambda: self._caller.page(after), f"the list for {pending.name}")  # noqa: B023
            page = _decoded(called, Page, "the list of batches")
            for state in page.data:
                if _time(state.created_at, pending.intent.created) < pending.intent.created - CLOCKS_APART_NS:
                    return found
                found.append(state)
            if not page.has_more or not page.last_id or page.last_id == after:
                return found
            after = page.last_id

    async def _ended(self, batch: str, count: int) -> BatchState:
        """A batch once it has ended."""
        wait_s = FIRST_WAIT_S
        while True:
            called = await self._patiently(lambda: self._caller.look(batch), batch)
            state = _decoded(called, BatchState, batch)
            if state.ended:
                return state
            done = count - state.request_counts.get("processing", count)
            self._say(f"{batch}: {done:,} of {count:,} done")
            await self._sleep(wait_s)
            wait_s = min(wait_s * WAIT_GROWS, LONGEST_WAIT_S)

    async def _patiently(self, call: Callable[[], Awaitable[Called]], what: str) -> Called:
        """A call that changes nothing, made again while it may succeed. Raises EngineError."""
        wait_s = FIRST_WAIT_S
        for attempt in range(1, PATIENCE + 1):
            called = await call()
            failure = called.failure
            if failure is None:
                return called
            if failure.status == 404:
                raise EngineError(
                    f"{what}: not known at {self._address}: {failure.error}",
                    hint="is it a key of the same workspace? What is gone for good (a local server that was "
                    "restarted, results that nobody fetched for a month) is forgotten by removing its file "
                    f"in {self.pending.folder}",
                )
            if not is_retried(failure) or attempt == PATIENCE:
                break
            await self._sleep(_wait_s(wait_s, failure))
            wait_s *= 2
        assert failure is not None
        raise EngineError(f"{what}: {failure.error}", hint=RESUME)

    async def _finish(self, pending: Pending) -> Bought:
        """Wait for a batch, put its answers into the store, and forget the file."""
        requests = pending.requests()
        batch = pending.batch
        state = await self._ended(batch, len(requests))
        called = await self._patiently(lambda: self._caller.results(batch), batch)
        results = results_in(called.body or b"", batch)
        if set(results) != set(requests):
            lacking, strange = len(set(requests) - set(results)), len(set(results) - set(requests))
            raise EngineError(
                f"{batch}: {lacking:,} of its {len(requests):,} results are missing, {strange:,} are to "
                "questions that were not asked",
                hint=RESUME,
            )
        recorded = _time(state.ended_at or state.created_at, pending.intent.created)
        bought = Bought(batch, failed=[])
        answers: list[StoredAnswer] = []
        for key in sorted(requests):  # results come in any order
            item = results[key]
            if item.type == "succeeded":
                data = answer_of(requests[key], bytes(item.message), batch, pending.intent.latency_ns)
                answers.append(stored(data, bytes(item.message), recorded))
                bought.cost_nano_usd += data.cost_nano_usd
            else:
                bought.failed.append(_failed(requests[key], item))
        AnswerStore(self._answers).add(answers)
        bought.answers = len(answers)
        self._forget(pending, bought.cost_nano_usd)
        return bought

    def _forget(self, pending: Pending, cost_nano_usd: int) -> None:
        if self._spending is not None:
            self._spending.settle(pending.name, cost_nano_usd)
        self.pending.remove(pending)


def answer_of(request: Request, message: bytes, batch: str, latency_ns: int) -> AnswerData:
    """What a message that came in a batch is as an answer."""
    reply = read_message(message)
    usage = reply.usage
    return AnswerData(
        key=request.key,
        request=request.canonical().decode(),
        outcome=reply.outcome,
        text=reply.text,
        error=reply.error,
        model=reply.model,
        request_id=batch if batch.startswith(BATCH) else BATCH + batch,
        latency_ns=latency_ns,
        input_tokens=usage.all_input_tokens if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        cache_creation_tokens=usage.cache_creation_tokens if usage else 0,
        cache_read_tokens=usage.cache_read_tokens if usage else 0,
        # Who does not say what was used may bill the most.
        cost_nano_usd=cost_of(request.model, usage, batch=True)
        if usage
        else most_cost_of(request, batch=True),
    )


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: _Error


def _wait_s(ours: float, failure: Failure) -> float:
    """How long to wait after a failure: the API may ask for more than we would."""
    return min(max(ours, failure.retry_after_ns / SECOND_NS), LONGEST_WAIT_S)


def _may_be_made(failure: Failure) -> bool:
    """Whether a request to make a batch may have made one, although no answer says so."""
    return may_be_billed(failure) or (failure.status >= 500 and failure.status != OVERLOADED)


def _failed(request: Request, item: Item) -> Failed:
    """What is reported of an item that brought no message."""
    said = {"expired": "its time was over before it was its turn", "canceled": "the batch was cancelled"}
    error = f"{item.type}: {said[item.type]}" if item.type in said else item.type
    if bytes(item.error):
        try:
            inner = msgspec.json.decode(item.error, type=_ErrorBody).error
            error = f"{item.type}: {inner.type}: {inner.message}"
        except msgspec.DecodeError:
            error = f"{item.type}: {bytes(item.error).decode(errors='replace')[:_SHOWN]}"
    words = " ".join(str(request.body["messages"][-1]["content"]).split())
    return Failed(
        request.key,
        f"{request.prompt} {request.version}",
        words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…",
        error,
    )


def _decoded(called: Called, kind: type[T], what: str) -> T:
    """A body that the API answered with. Raises EngineError where it is something else."""
    try:
        return msgspec.json.decode(called.body or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError(f"{what}: the API's answer cannot be read: {error}", hint=RESUME) from None


def _time(text: str, otherwise: int) -> int:
    """A time that the API gave, ns UTC; another where it gave none that can be read."""
    try:
        return parse_time(text)
    except DecimalError:
        return otherwise
