"""The local Messages API and the real client in one scene; the client never looks at a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2

from engine.serve.messages import FAULT_HEADER, LocalMessages

PATIENCE_S = 20.0
HEADLINE = "Synthetic headline: an invented chip maker beats expectations, and its shares surge"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sentiment": {"type": "number", "minimum": -1, "maximum": 1},
        "topic": {"enum": ["earnings", "macro", "regulation", "M&A", "product", "other"]},
        "risk": {"type": "boolean"},
        "rationale": {"type": "string"},
    },
    "required": ["rationale", "risk", "sentiment", "topic"],
    "additionalProperties": False,
}

Scene = Callable[[LocalMessages, anthropic.AsyncAnthropic], Awaitable[None]]


@asynccontextmanager
async def real_client(api: LocalMessages, **options: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """The package's own client for the local API: no retries of its own, no proxy."""
    given = {"api_key": "any-key", "max_retries": 0, "timeout": PATIENCE_S, **options}
    async with (
        httpx2.AsyncClient(trust_env=False) as http,
        anthropic.AsyncAnthropic(base_url=api.url, http_client=http, **given) as client,
    ):
        yield client


def play(scene: Scene, **dials: Any) -> None:
    """Run a scene against a fresh server with these dials; the server is closed behind it."""

    async def whole() -> None:
        async with asyncio.timeout(PATIENCE_S), LocalMessages(**dials) as api, real_client(api) as client:
            await scene(api, client)

    asyncio.run(whole())


def body(text: str = HEADLINE, **fields: Any) -> dict[str, Any]:
    """A request's fields; with `schema` it asks for a structured answer."""
    schema = fields.pop("schema", None)
    asked: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 512,
        "messages": [{"role": "user", "content": text}],
        **fields,
    }
    if schema is not None:
        asked["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return asked


def reading(read_s: float) -> httpx2.Timeout:
    """A client's patience for each read; for all else it has that of a test."""
    return httpx2.Timeout(PATIENCE_S, read=read_s)


def meeting(fault: str) -> dict[str, Any]:
    """The keyword that makes one call of the client meet a fault."""
    return {"extra_headers": {FAULT_HEADER: fault}}
