"""The Batches API: made, looked at, listed, and the results, one attempt each, as raw bytes.

Results are asked of the configured address, never of the one that the API names for them: the key goes
nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.answers.requests import Request
from engine.live.asking_client import AskingConfig, Called, Caller
from engine.model.errors import EngineError
from engine.model.kinds import encode_canonical

# Of one batch: docs.claude.com, "Batch processing", limitations.
MOST_REQUESTS = 100_000
MOST_BYTES = 256_000_000
_FRAME_BYTES = 128  # around a request: its key, names, brackets
_ROOM = 0.9  # what the library writes may be a little longer than our count
_READ_S = 300.0  # a large batch takes a while to be taken in


class BatchState(msgspec.Struct):
    """A batch as the API shows it, as far as we look."""

    id: str
    processing_status: str
    request_counts: dict[str, int] = {}
    created_at: str = ""
    ended_at: str | None = None
    results_url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its results can be had."""
        return self.processing_status == "ended"

    @property
    def requests(self) -> int:
        """How many requests it has."""
        return sum(self.request_counts.values())


class Item(msgspec.Struct):
    """What came of one request; of `message` and `error` the bytes, as they came."""

    type: str
    message: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Result(msgspec.Struct):
    """One line of results."""

    custom_id: str
    result: Item


class Page(msgspec.Struct):
    """A page of the list of batches."""

    data: list[BatchState]
    has_more: bool = False
    last_id: str | None = None


class BatchCaller(Caller):
    """Calls of the Batches API."""

    def __init__(self, config: AskingConfig) -> None:
        super().__init__(msgspec.structs.replace(config, read_s=_READ_S))

    async def create(self, requests: Sequence[Request]) -> Called:
        """Make a batch. Each request is known by its key."""
        items = [{"custom_id": request.key, "params": request.body} for request in requests]
        return await self.tried(
            lambda client: client.messages.batches.with_raw_response.create(requests=items)
        )

    async def look(self, batch: str) -> Called:
        """How far a batch has come."""
        return await self.tried(lambda client: client.messages.batches.with_raw_response.retrieve(batch))

    async def page(self, after: str) -> Called:
        """Batches, the newest first, behind one of them ("": from the first)."""
        more: dict[str, Any] = {"after_id": after} if after else {}
        return await self.tried(
            lambda client: client.messages.batches.with_raw_response.list(limit=100, **more)
        )

    async def results(self, batch: str) -> Called:
        """The results of a batch that has ended."""
        import httpx2

        path = f"/v1/messages/batches/{batch}/results"
        return await self.tried(lambda client: client.get(path, cast_to=httpx2.Response))


def parts_of(requests: Sequence[Request]) -> list[list[Request]]:
    """Cut into as many batches as the API's limits ask for."""
    parts: list[list[Request]] = []
    size = 0
    for request in requests:
        mine = len(encode_canonical(request.body)) + _FRAME_BYTES
        if not parts or len(parts[-1]) >= MOST_REQUESTS or size + mine > MOST_BYTES * _ROOM:
            parts.append([])
            size = 0
        parts[-1].append(request)
        size += mine
    return parts


def results_in(body: bytes, where: str) -> dict[str, Item]:
    """Results by custom_id. Raises EngineError for what are none."""
    found: dict[str, Item] = {}
    decode = msgspec.json.Decoder(Result).decode
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            result = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise EngineError(f"{where}: line {number} of its results cannot be read: {error}") from None
        found[result.custom_id] = result.result
    return found
