"""The Batches API of the local Messages API: many questions at once, their results later, in any order.

    POST /v1/messages/batches                {"requests": [{"custom_id", "params"}, …]}
    GET  /v1/messages/batches                the batches, the newest first
    GET  /v1/messages/batches/{id}           in_progress for `polls` times, then ended
    GET  /v1/messages/batches/{id}/results   JSON lines, ordered by a hash of custom_id: never as requested

A batch is checked as a whole for its form only; what is wrong inside `params` becomes that item's error, as
do faults. An item that would meet a timeout has expired. Faults of a connection (drop, trickle, malformed,
latency) cannot happen to an item and are passed over. Batches are kept in memory, for as long as the server
runs.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from engine.serve.messages_answer import BENDS, answer
from engine.serve.messages_wire import (
    ERRORS,
    ApiError,
    encode,
    invalid,
    planned_error,
    question_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.serve.messages_answer import Answered
    from engine.serve.messages_faults import FaultPlan

MOST_ITEMS = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ITEMS_PER_TURN = 64
_PAGE = 20
_OUTCOMES = ("succeeded", "errored", "canceled", "expired")


class Batch(msgspec.Struct):
    """One batch and what became of it."""

    id: str
    created: datetime
    lines: list[bytes]  # results, in the order in which they are given out
    counts: dict[str, int]
    polls_left: int

    @property
    def ended(self) -> bool:
        """Whether its results can be had."""
        return self.polls_left == 0

    def body(self, url: str) -> dict[str, Any]:
        """The batch as the API shows it."""
        if self.ended:
            counts = {"processing": 0, **self.counts}
        else:
            counts = {"processing": len(self.lines), **dict.fromkeys(_OUTCOMES, 0)}
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": "ended" if self.ended else "in_progress",
            "request_counts": counts,
            "created_at": self.created.isoformat(),
            "expires_at": (self.created + timedelta(hours=24)).isoformat(),
            "ended_at": self.created.isoformat() if self.ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{url}/v1/messages/batches/{self.id}/results" if self.ended else None,
        }


class BatchDesk:
    """Takes batches and gives their results.

    Args:
        models: those that are known.
        plan: the faults of single items.
        polls: how often a batch is asked for before it has ended.
        bill: called with every item that a model would have answered.
    """

    def __init__(
        self, models: tuple[str, ...], plan: FaultPlan, polls: int, bill: Callable[[Answered], None]
    ) -> None:
        self._models, self._plan, self._polls, self._bill = models, plan, polls, bill
        self._batches: dict[str, Batch] = {}

    async def create(self, body: dict[str, Any], item_faults: dict[str, str]) -> Batch:
        """A new batch. `item_faults` names faults by custom_id. Raises ApiError."""
        items = _items(body)
        for name in item_faults:
            if name not in items:
                raise invalid("x-engine-item-faults", f"no request has the custom_id {name}")
        counts = dict.fromkeys(_OUTCOMES, 0)
        lines: dict[str, bytes] = {}
        for number, (name, params) in enumerate(items.items()):
            if number % _ITEMS_PER_TURN == 0:
                await asyncio.sleep(0)
            result = self._result(params, item_faults.get(name))
            counts[result["type"]] += 1
            lines[name] = encode({"custom_id": name, "result": result}) + b"\n"
        digest = sha256(encode([len(self._batches), *items])).hexdigest()
        batch = Batch(
            f"msgbatch_{digest[:24]}",
            datetime.now(UTC),
            [lines[name] for name in shuffled(list(items))],
            counts,
            self._polls + 1,
        )
        self._batches[batch.id] = batch
        return batch

    def poll(self, name: str) -> Batch:
        """A batch as it stands; each look brings it nearer to its end. Raises ApiError."""
        batch = self._find(name)
        batch.polls_left = max(0, batch.polls_left - 1)
        return batch

    def results(self, name: str) -> bytes:
        """The lines of a batch that has ended. Raises ApiError."""
        batch = self._find(name)
        if not batch.ended:
            raise invalid("", f"The batch {name} has not ended; its results come when it has.")
        return b"".join(batch.lines)

    def listing(self, query: str, url: str) -> dict[str, Any]:
        """A page of batches, the newest first; reads `limit` and `after_id`. Raises ApiError."""
        asked = parse_qs(query)
        limit = asked.get("limit", [str(_PAGE)])[-1]
        if not limit.isdecimal() or not 1 <= int(limit) <= 1_000:
            raise invalid("limit", "a number from 1 to 1000 is required")
        names = list(reversed(self._batches))
        if "after_id" in asked:
            names = names[names.index(self._find(asked["after_id"][-1]).id) + 1 :]
        page = names[: int(limit)]
        return {
            "data": [self._batches[name].body(url) for name in page],
            "has_more": len(page) < len(names),
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def _find(self, name: str) -> Batch:
        batch = self._batches.get(name)
        if batch is None:
            raise ApiError(404, "not_found_error", f"There is no batch {name}.")
        return batch

    def _result(self, params: object, fault: str | None) -> dict[str, Any]:
        try:
            if not isinstance(params, dict):
                raise invalid("params", "an object is required")
            question = question_of(params, self._models)
            name = self._plan.decide(question.digest).name if fault is None else fault
            if name in ERRORS:
                raise planned_error(name)
            if name == "timeout":
                return {"type": "expired"}
            answered = answer(question, name if name in BENDS else "")
        except ApiError as error:
            return {"type": "errored", "error": error.body("")}
        self._bill(answered)
        return {"type": "succeeded", "message": answered.message}


def _items(body: dict[str, Any]) -> dict[str, object]:
    """Params by custom_id, in their order."""
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= MOST_ITEMS:
        raise invalid("requests", f"an array of 1 to {MOST_ITEMS} requests is required")
    items: dict[str, object] = {}
    for number, request in enumerate(requests):
        where = f"requests.{number}"
        if not isinstance(request, dict):
            raise invalid(where, "an object with custom_id and params is required")
        name = request.get("custom_id")
        if not isinstance(name, str) or not _CUSTOM_ID.fullmatch(name):
            raise invalid(f"{where}.custom_id", "1 to 64 letters, digits, _ or - are required")
        if name in items:
            raise invalid(f"{where}.custom_id", f"{name} is there twice")
        items[name] = request.get("params")
    return items


def shuffled(names: list[str]) -> list[str]:
    """The same names in an order of their own, which for two or more is not the one given."""
    ordered = sorted(names, key=lambda name: sha256(name.encode()).digest())
    return ordered[::-1] if ordered == names else ordered
