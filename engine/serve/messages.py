"""A Messages API on this machine that answers by a fixed rule: whatever asks Claude is tried without a key.

    headers ──► key there? version there? ──► body valid? ──► faults ──► rule ──► Message, billed
                     401         400           400 404 413    as told

Any client of the real API works against it with another address; any key will do, and none is kept or shown.
It says what it is in every answer: in the text or the rationale, in the field `engine_notice` of the Message,
and in the header `x-engine-notice`. The same request gets the same body; what counts up stands in the header
`request-id` and in errors.

Faults come from the plan that the server was started with, or from the request itself: `x-engine-fault: 529`
says what this one meets (`none`: nothing), `x-engine-item-faults: a=529,b=refusal` what items of a batch
meet. A question is billed when its answer is made, hence before a latency and also where the answer never
arrives; errors are not billed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from engine.model.errors import UsageError
from engine.serve.http import MOST_BYTES, Exchange, HttpRequest, HttpServer
from engine.serve.local_api import LocalApi
from engine.serve.messages_answer import BENDS, NOTICE, Answered, answer
from engine.serve.messages_batches import BatchDesk
from engine.serve.messages_faults import (
    NO_FAULT,
    FaultPlan,
    MessageFault,
    Verdict,
    parse_header,
    parse_message_fault,
)
from engine.serve.messages_rule import shipped_rule
from engine.serve.messages_wire import (
    ERRORS,
    MODELS,
    ApiError,
    decode_object,
    invalid,
    json_reply,
    planned_error,
    question_of,
)
from engine.serve.rest import Reply

if TYPE_CHECKING:
    from typing import Self

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
BATCHES = "/v1/messages/batches"
FAULT_HEADER = "x-engine-fault"
ITEMS_HEADER = "x-engine-item-faults"
_HTML = b"<html><body><h1>Bad gateway</h1><p>No JSON here, on purpose.</p></body></html>\n"


class Bill(msgspec.Struct):
    """What a model's answers would have cost, counted since the start."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, answered: Answered) -> None:
        """One more answer."""
        self.calls += 1
        self.input_tokens += answered.input_tokens
        self.output_tokens += answered.output_tokens


class LocalMessages(LocalApi):
    """The API while it is entered: `async with LocalMessages() as api: api.url`.

    Args:
        host, port: where to listen; port 0 takes a free one.
        faults: the plan: texts as `--fault` takes them, or their values.
        seed: of the faults.
        models: those that are known; others are not found.
        most_bytes: of a request's body; above it is a 413.
        batch_polls: how often a batch is in progress when it is asked for.

    Attributes:
        requests: questions that came to POST /v1/messages, however they ended.
        billed: of them, what would have been billed.
        batch_billed: the same of items of batches (at half the price).
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: tuple[str | MessageFault, ...] = (),
        seed: int = 7,
        models: tuple[str, ...] = MODELS,
        most_bytes: int = MOST_BYTES,
        batch_polls: int = 1,
    ) -> None:
        if batch_polls < 0:
            raise UsageError(f"batch_polls {batch_polls} is negative")
        super().__init__(HttpServer(self._handle, host=host, port=port, most_bytes=most_bytes))
        planned = tuple(parse_message_fault(each) if isinstance(each, str) else each for each in faults)
        self.billed = Bill()
        self.batch_billed = Bill()
        self._numbers = 0
        self._models = models
        self._plan = FaultPlan(planned, seed=seed)
        self._desk = BatchDesk(models, self._plan, batch_polls, self.batch_billed.add)
        self._most_bytes = most_bytes

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return self._http.url

    async def __aenter__(self) -> Self:
        shipped_rule()  # a word list that is none is found now, not in an answer
        return await super().__aenter__()

    async def _handle(self, exchange: Exchange) -> None:
        self._numbers += 1
        request_id = f"req_local_{self._numbers:09d}"
        headers = [("request-id", request_id), ("x-engine-notice", NOTICE)]
        verdict = Verdict()
        try:
            self._admit(exchange.request)
            dictated = exchange.request.headers.get(FAULT_HEADER)
            if dictated is not None:
                verdict = _dictated(dictated)
            verdict, reply = await self._route(exchange.request, verdict, headers, planned=dictated is None)
        except ApiError as error:
            reply = json_reply(error.status, error.body(request_id), headers)
        await _deliver(exchange, reply, verdict)

    def _admit(self, request: HttpRequest) -> None:
        """Raises ApiError where the key, the version or the size is not what it must be."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not (scheme.lower() == "bearer" and token.strip()) and not request.headers.get("x-api-key"):
            text = "Authorization: Bearer, or x-api-key, is required; any value will do here."
            raise ApiError(401, "authentication_error", text)
        if not request.headers.get("anthropic-version"):
            raise invalid("anthropic-version", "the header is required")
        if request.too_large:
            text = f"The body has more than {self._most_bytes} bytes."
            raise ApiError(413, "invalid_request_error", text)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise invalid("content-encoding", "bodies are read as they are, not compressed")

    async def _route(
        self, request: HttpRequest, verdict: Verdict, headers: list[tuple[str, str]], *, planned: bool
    ) -> tuple[Verdict, Reply]:
        """What one request meets, and its answer. `planned`: the server's own faults have a say."""
        path = request.path.rstrip("/")
        if request.method == "POST" and path == MESSAGES:
            return self._answer(request, verdict, headers, planned=planned)
        if verdict.name in ERRORS:
            return verdict, _failed(verdict, headers)
        if request.method == "POST" and path == COUNT:
            asked = question_of(decode_object(request.body), self._models, counting=True)
            return verdict, json_reply(200, {"input_tokens": asked.input_tokens}, headers)
        if request.method == "POST" and path == BATCHES:
            faults = _item_faults(request.headers.get(ITEMS_HEADER, ""))
            batch = await self._desk.create(decode_object(request.body), faults)
            return verdict, json_reply(200, batch.body(self.url), headers)
        if request.method == "GET" and (path + "/").startswith(BATCHES + "/"):
            return verdict, self._look(path.removeprefix(BATCHES), request.query, headers)
        raise ApiError(404, "not_found_error", f"{request.method} {request.path} is not served here.")

    def _answer(
        self, request: HttpRequest, verdict: Verdict, headers: list[tuple[str, str]], *, planned: bool
    ) -> tuple[Verdict, Reply]:
        """One question. It is billed here, whatever its answer meets on the way."""
        self._count()  # billed before anybody who waits for it goes on: nothing in this method waits
        question = question_of(decode_object(request.body), self._models)
        if planned:
            verdict = self._plan.decide(question.digest)
        if verdict.name in ERRORS:
            return verdict, _failed(verdict, headers)
        answered = answer(question, verdict.name if verdict.name in BENDS else "")
        self.billed.add(answered)
        return verdict, json_reply(200, answered.message, headers)

    def _look(self, path: str, query: str, headers: list[tuple[str, str]]) -> Reply:
        """What a GET below the batches shows; `path` is "", "/id" or "/id/results"."""
        if not path:
            return json_reply(200, self._desk.listing(query, self.url), headers)
        name, slash, rest = path[1:].partition("/")
        if not slash:
            return json_reply(200, self._desk.poll(name).body(self.url), headers)
        if rest != "results":
            raise ApiError(404, "not_found_error", f"GET {BATCHES}{path} is not served here.")
        return Reply(200, [("Content-Type", "application/x-jsonl"), *headers], self._desk.results(name))


def _dictated(text: str) -> Verdict:
    try:
        return parse_header(text)
    except UsageError as error:
        raise invalid(FAULT_HEADER, error.message) from None


def _item_faults(text: str) -> dict[str, str]:
    """Names of faults by custom_id, from "a=529,b=refusal". Raises ApiError."""
    faults: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, fault = part.strip().partition("=")
        if not equals or fault not in {*ERRORS, *BENDS, "timeout", NO_FAULT}:
            raise invalid(ITEMS_HEADER, f'"{part.strip()}" is no custom_id=fault')
        faults[name] = fault
    return faults


def _failed(verdict: Verdict, headers: list[tuple[str, str]]) -> Reply:
    """The error that a verdict names, with what the API says beside it."""
    error = planned_error(verdict.name)
    extra = list(headers)
    if verdict.duration_s:
        extra.append(("retry-after", f"{verdict.duration_s:g}"))
    if verdict.name == "429":
        reset = datetime.now(UTC) + timedelta(seconds=verdict.duration_s)
        extra.append(("anthropic-ratelimit-requests-remaining", "0"))
        extra.append(("anthropic-ratelimit-requests-reset", reset.isoformat(timespec="milliseconds")))
    return json_reply(error.status, error.body(headers[0][1]), extra)


async def _deliver(exchange: Exchange, reply: Reply, verdict: Verdict) -> None:
    """Send the answer, or do to it what the verdict says."""
    if verdict.latency_s:
        await asyncio.sleep(verdict.latency_s)
    if verdict.name == "timeout":
        await exchange.hang()
    elif verdict.name == "drop":
        await exchange.send_part(reply, len(reply.body) // 2)
    elif verdict.name == "trickle":
        await exchange.trickle(reply, verdict.duration_s)
    elif verdict.name == "malformed":
        await exchange.send(Reply(reply.status, reply.headers, _HTML))
    else:
        await exchange.send(reply)
