"""What is asked, to the last byte, and the key by which the same question is known again.

The key is the SHA-256 of the canonical request: model, system, text, schema and parameters as they are sent,
with the prompt's name and version and the number of the sample. The order in which fields were given does
not matter, one character of any of them does. Asking again on purpose is another sample, and another key.
"""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec

from engine.answers.prompts import Prompt, schema_of
from engine.model.errors import UsageError
from engine.model.kinds import encode_canonical

SAMPLE_MAX = 1_000_000_000


class Request(msgspec.Struct, frozen=True, dict=True):
    """One question. `body` is what the Messages API is sent; nobody changes it."""

    prompt: str
    version: int
    sample: int
    body: dict[str, Any]

    def canonical(self) -> bytes:
        """The request as it is hashed and kept: JSON with sorted keys."""
        return encode_canonical(self)

    @cached_property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return sha256(self.canonical()).hexdigest()

    @property
    def model(self) -> str:
        """Who is asked."""
        return str(self.body["model"])


def request_of(prompt: Prompt, fields: dict[str, object], *, sample: int = 0) -> Request:
    """The request for a prompt with its places filled. Raises UsageError where they do not fit."""
    if not isinstance(sample, int) or not 0 <= sample <= SAMPLE_MAX:
        raise UsageError(
            f"prompt {prompt.name}: sample {sample!r}: a whole number from 0 on",
            hint=f"at most {SAMPLE_MAX:,}",
        )
    body: dict[str, Any] = {
        "model": prompt.model,
        "max_tokens": prompt.max_tokens,
        "messages": [{"role": "user", "content": prompt.filled(fields)}],
        "output_config": {"format": {"type": "json_schema", "schema": schema_of(prompt.answer)}},
    }
    if prompt.system:
        body["system"] = prompt.system
    return Request(prompt.name, prompt.version, sample, body)


def request_from(canonical: bytes | str) -> Request:
    """The request that `canonical` gave. Raises msgspec.DecodeError where it is none."""
    return msgspec.json.decode(canonical, type=Request)
