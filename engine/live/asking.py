"""The edge that asks Claude: questions in, answers out, and nobody waits for it.

    loop ──ask(ticket, request)──► budget, breaker ──► queue ──► call ──► deliver(AnswerData, raw bytes)
                                                         ▲         │
                                                         └─back-off┘  while a failure may pass

`ask` starts a task and returns. Every question is delivered exactly once, whatever becomes of it: answered,
refused by the model, cut, not a message, failed to the end of patience, expired at the edge's own limit, or
not sent at all because the budget or the circuit breaker stood against it.

Money: the most that a call can cost is reserved before it and settled after it. A call whose end was not seen
(a timeout, a lost connection, the end of the session) keeps its reservation as spent, because it may be
billed, and its answer's cost says so. A second attempt needs a reservation of its own.

One question, one call: the same key asked again while it is under way, or after it was answered in this run,
shares that answer, at no cost and without attempts of its own. What failed is asked anew.

A day's money is everybody's (engine.live.spending): what was reserved is claimed before the call in the file
that all sessions share, by the question's own task. Whoever asks never waits for that file.

Two clocks and a time of day: latencies count in the engine's time, in which the loop says when it asked;
waits, attempts and the breaker in one that never goes back; budgets and rate limits know the UTC day. All are
injected, so that tests wait for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random

import msgspec

from engine.answers.breaker import Breaker
from engine.answers.budget import Budget, Reservation
from engine.answers.messages import read_message
from engine.answers.models import cost_of, most_cost_of
from engine.answers.requests import Request
from engine.answers.retry import Failure, hold_ns, is_retried, is_trouble, may_be_billed, wait_ns
from engine.live.asking_client import AskingConfig, Called, Caller
from engine.live.spending import Claims, Spending
from engine.model.errors import InternalError
from engine.model.kinds import AnswerData, AttemptData
from engine.model.units import SECOND_NS

Deliver = Callable[[AnswerData, bytes | None], None]

# What the API said is said; the rest may come out otherwise at the next try.
_SHARED = ("answered", "refused", "truncated", "malformed")


class Clocks(msgspec.Struct, frozen=True):
    """Where the edge takes its times from, ns, and how it waits, seconds."""

    now: Callable[[], int] = time.time_ns  # the engine's time, in which the loop asks
    wall: Callable[[], int] = time.time_ns  # UTC
    monotonic: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    limit: Callable[[float], asyncio.Timeout] = asyncio.timeout


class _Question(msgspec.Struct):
    """A question on its way."""

    ticket: int
    request: Request
    key: str
    canonical: str
    loop_time_ns: int
    asked_ns: int  # monotonic
    most_nano_usd: int  # that one call can cost
    reservation: Reservation | None
    sharers: list[tuple[int, int]] = []  # ticket, loop time
    attempts: list[AttemptData] = []
    cost_nano_usd: int = 0
    permit: int = 0
    began_ns: int = -1  # monotonic, of the call under way; -1: none is
    waited_ns: int = 0  # before it
    finished: bool = False


class Edge:
    """Asks Claude for one session. Call `aclose` at its end: it delivers what is still open."""

    def __init__(
        self,
        config: AskingConfig,
        deliver: Deliver,
        *,
        clocks: Clocks | None = None,
        spending: Spending | None = None,
    ) -> None:
        """`deliver` is called in the event loop; `spending` is what the day's budget is shared by, if at all.

        Raises UsageError where the configuration cannot be carried out.
        """
        self.budget = Budget(config.per_run_nano_usd, config.per_day_nano_usd)
        self.claims = Claims(self.budget, spending)
        self.breaker = Breaker(config.breaker)
        self.waiting = 0  # questions that are ready for a call and have no place
        self.most_waiting = 0
        self.running = 0  # calls under way
        self.asked = 0  # questions, those that shared an answer included
        self.shared = 0
        self.failure: Exception | None = None  # the edge's own, or that of `deliver`; `aclose` raises it
        self._config = config
        self._deliver = deliver
        self._clocks = clocks or Clocks()
        self._caller = Caller(config)
        self._chance = Random(config.seed).random  # noqa: S311  no secret: how long to wait
        self._places = asyncio.Semaphore(config.concurrency)
        self._limit_ns = int(config.limit_s * SECOND_NS)
        self._held_until_ns = 0  # monotonic
        self._open: dict[str, _Question] = {}
        self._answered: dict[str, tuple[AnswerData, bytes | None]] = {}
        self._ready: deque[tuple[AnswerData, bytes | None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def open(self) -> None:
        """Import the library and check the key now: half a second, and the first question is faster.

        Raises UsageError where the library or the key is missing.
        """
        self._caller.open()

    def remember(self, answer: AnswerData, wire: bytes | None) -> None:
        """An answer that this run has from before, as when a session is continued: it is shared from now."""
        if answer.outcome in _SHARED:
            self._answered.setdefault(answer.key, (answer, wire))

    def ask(self, ticket: int, request: Request, loop_time_ns: int) -> None:
        """Take a question, and return at once; its answer is delivered later, never from within this call.

        Raises UsageError for a model without a price, and where the library or the key is missing.
        """
        if self._closed:
            raise InternalError(f"question {ticket} came after the edge was closed")
        canonical, key = request.canonical().decode(), request.key
        if known := self._answered.get(key):
            self.asked += 1
            self.shared += 1
            self._hand_over(self._shared(known[0], ticket, loop_time_ns), known[1])
            return
        if under_way := self._open.get(key):
            self.asked += 1
            self.shared += 1
            under_way.sharers.append((ticket, loop_time_ns))
            return
        most = most_cost_of(request)
        self._caller.check()
        self.asked += 1
        now = self._clocks.monotonic()
        question = _Question(ticket, request, key, canonical, loop_time_ns, now, most, None)
        self._open[key] = question
        if self.breaker.refuses(now):
            self._finish(question, "broken", error=self._broken())
            return
        question.reservation = self.budget.reserve(most, self._clocks.wall())
        if question.reservation is None:
            self._finish(question, "budget", error=self._objection(question))
            return
        task = asyncio.get_running_loop().create_task(self._run(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End every call, and deliver what is open as failed; calls under way stay paid for.

        Raises InternalError if the edge itself, or `deliver`, has failed before.
        """
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for question in list(self._open.values()):
            self._give_up(question, "failed", "the session ended before an answer came")
        self._drain()
        await self.claims.close()
        await self._caller.close()
        if self.failure is not None:
            said = self._caller.scrub(f"{type(self.failure).__name__}: {self.failure}")
            raise InternalError(f"asking Claude failed in the engine itself: {said}") from self.failure

    async def _run(self, question: _Question) -> None:
        """A question's life, up to the edge's own limit."""
        try:
            async with self._clocks.limit(self._config.limit_s):
                await self._pursue(question)
        except TimeoutError:
            self._give_up(question, "expired", f"no answer within {self._limit()}")
        except Exception as error:  # noqa: BLE001  kept, and raised by `aclose`
            self.failure = self.failure or error
            said = self._caller.scrub(f"{type(error).__name__}: {error}")
            self._give_up(question, "failed", f"the engine itself failed: {said}")

    async def _pursue(self, question: _Question) -> None:
        """Wait for a place, call, and wait again while a failure may pass."""
        await self._caller.ready()
        while not question.finished:
            if (held_ns := self._held_ns()) > 0:
                if self._is_late(question, held_ns):
                    self._give_up(question, "expired", f"rate limits hold calls back beyond {self._limit()}")
                    return
                await self._clocks.sleep(held_ns / SECOND_NS)
                continue
            await self._take_place()
            try:
                wait = 0 if self._held_ns() > 0 else await self._attempt(question)
            finally:
                self.running -= 1
                self._places.release()
            if wait:
                await self._clocks.sleep(wait / SECOND_NS)

    async def _take_place(self) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1

    async def _attempt(self, question: _Question) -> int:
        """One call, if breaker and budget allow it; how long to wait before the next, 0 when it is over."""
        if self.breaker.refuses(self._clocks.monotonic()):
            self._give_up(question, "failed" if question.attempts else "broken", self._broken())
            return 0
        if question.reservation is None:
            question.reservation = self.budget.reserve(question.most_nano_usd, self._clocks.wall())
            if question.reservation is None:
                self._give_up(question, "failed", f"no further attempt: {self._objection(question)}")
                return 0
        if objection := await self.claims.objection(question.reservation):
            self._give_up(question, "failed" if question.attempts else "budget", objection)
            return 0
        permit = self.breaker.permit(self._clocks.monotonic())
        if not permit:  # others have failed meanwhile
            self._give_up(question, "failed" if question.attempts else "broken", self._broken())
            return 0
        question.permit = permit
        question.began_ns = self._clocks.monotonic()
        called = await self._caller.call(question.request.body)
        failure = called.failure
        self._record(question, failure or Failure(200), called.request_id)
        self._heed(called)
        if failure is None:
            self.breaker.succeeded(permit)
            self._take_answer(question, called)
            return 0
        if is_trouble(failure):
            self.breaker.failed(permit, self._clocks.monotonic())
        else:
            self.breaker.succeeded(permit)
        self._settle(question, question.most_nano_usd if may_be_billed(failure) else 0)
        return self._next_wait(question, failure, called)

    def _next_wait(self, question: _Question, failure: Failure, called: Called) -> int:
        """How long to wait after a failed call, ns; 0 when it was the last, and the question is over."""
        count = len(question.attempts)
        if not is_retried(failure):
            why = ""
        elif count >= self._config.attempts:
            why = f"; attempt {count} of {self._config.attempts}"
        else:
            wait = wait_ns(self._config.back_off, count, self._chance, failure.retry_after_ns)
            if self.breaker.refuses(self._clocks.monotonic() + wait):
                why = f"; {self._broken()}"
            elif self._is_late(question, wait):
                why = f"; the next attempt, {wait / SECOND_NS:.3g} s later, would come after {self._limit()}"
            else:
                question.waited_ns = wait
                return wait
        self._finish(question, "failed", error=failure.error + why, called=called)
        return 0

    def _take_answer(self, question: _Question, called: Called) -> None:
        """What a body with status 200 says, and what it cost."""
        reply = read_message(called.body or b"")
        usage = reply.usage
        # Whoever does not say what was used may bill what was reserved.
        cost = question.most_nano_usd if usage is None else cost_of(question.request.model, usage)
        self._settle(question, cost)
        answer = AnswerData(
            key="",
            request="",
            outcome=reply.outcome,
            text=reply.text,
            model=reply.model,
            input_tokens=usage.all_input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            cache_creation_tokens=usage.cache_creation_tokens if usage else 0,
            cache_read_tokens=usage.cache_read_tokens if usage else 0,
        )
        self._finish(question, reply.outcome, error=reply.error, called=called, answer=answer)

    def _record(self, question: _Question, failure: Failure, request_id: str = "") -> None:
        """The call under way is over: one attempt more."""
        question.attempts.append(
            AttemptData(
                began_ns=question.began_ns - question.asked_ns,
                took_ns=self._clocks.monotonic() - question.began_ns,
                status=failure.status,
                error=failure.error,
                waited_ns=question.waited_ns,
                request_id=request_id,
            )
        )
        question.began_ns = -1

    def _heed(self, called: Called) -> None:
        """Hold new calls back while the API says that none would be served."""
        hold = hold_ns(called.headers, self._clocks.wall(), self._config.hold_cap_ns)
        failure = called.failure
        if failure is not None and failure.status == 429 and is_retried(failure):
            hold = max(hold, min(failure.retry_after_ns, self._config.hold_cap_ns))
        self._held_until_ns = max(self._held_until_ns, self._clocks.monotonic() + hold)

    def _settle(self, question: _Question, cost_nano_usd: int) -> None:
        """Close the reservation of the latest call; 0 gives all of it back."""
        if question.reservation is None:
            raise InternalError(f"question {question.ticket}: a call without a reservation")
        if cost_nano_usd:
            self.budget.settle(question.reservation, cost_nano_usd)
        else:
            self.budget.release(question.reservation)
        question.reservation = None
        question.cost_nano_usd += cost_nano_usd
        self.claims.changed()

    def _give_up(self, question: _Question, outcome: str, error: str) -> None:
        """End a question from this side, in whatever state it is; a call under way may be billed."""
        if question.finished:
            return
        if question.began_ns >= 0:
            if outcome == "expired":
                self.breaker.failed(question.permit, self._clocks.monotonic())
            else:
                self.breaker.undecided(question.permit)
            self._record(question, Failure(0, error))
            self._settle(question, question.most_nano_usd)
        elif question.reservation is not None:
            self._settle(question, 0)
        if question.attempts and question.attempts[-1].error not in {"", error}:
            error = f"{question.attempts[-1].error}; {error}"
        self._finish(question, outcome, error=error)

    def _finish(
        self,
        question: _Question,
        outcome: str,
        *,
        error: str = "",
        called: Called | None = None,
        answer: AnswerData | None = None,
    ) -> None:
        """A question is over: its answer, and one for each that shares it. `answer` has what the API said."""
        question.finished = True
        del self._open[question.key]
        answer = msgspec.structs.replace(
            answer or AnswerData("", "", outcome),
            key=question.key,
            request=question.canonical,
            ticket=question.ticket,
            error=error,
            request_id=called.request_id if called else "",
            latency_ns=max(0, self._clocks.now() - question.loop_time_ns),
            attempts=tuple(question.attempts),
            cost_nano_usd=question.cost_nano_usd,
        )
        wire = called.body if called else None
        if outcome in _SHARED:
            self._answered[question.key] = (answer, wire)
        self._hand_over(answer, wire)
        for ticket, loop_time_ns in question.sharers:
            self._hand_over(self._shared(answer, ticket, loop_time_ns), wire)

    def _shared(self, answer: AnswerData, ticket: int, loop_time_ns: int) -> AnswerData:
        """The same answer for another ticket: it made no call, used no tokens and cost nothing."""
        return msgspec.structs.replace(
            answer,
            ticket=ticket,
            latency_ns=max(0, self._clocks.now() - loop_time_ns),
            attempts=(),
            input_tokens=0,
            output_tokens=0,
            cache_creation_tokens=0,
            cache_read_tokens=0,
            cost_nano_usd=0,
        )

    def _hand_over(self, answer: AnswerData, wire: bytes | None) -> None:
        """Deliver in the order of finishing, in a turn of the event loop of its own."""
        if not self._ready:
            asyncio.get_running_loop().call_soon(self._drain)
        self._ready.append((answer, wire))

    def _drain(self) -> None:
        while self._ready:
            answer, wire = self._ready.popleft()
            try:
                self._deliver(answer, wire)
            except Exception as error:  # noqa: BLE001  kept, and raised by `aclose`
                self.failure = self.failure or error

    def _held_ns(self) -> int:
        return self._held_until_ns - self._clocks.monotonic()

    def _is_late(self, question: _Question, wait: int) -> bool:
        """Whether that long from now is after the question's limit."""
        return self._clocks.monotonic() + wait >= question.asked_ns + self._limit_ns

    def _limit(self) -> str:
        return f"the edge's own limit of {self._config.limit_s:g} s"

    def _broken(self) -> str:
        return f"the circuit breaker is {self.breaker.state.value}: too many calls in a row have failed"

    def _objection(self, question: _Question) -> str:
        return self.budget.objection(question.most_nano_usd, self._clocks.wall())
