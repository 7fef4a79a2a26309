"""Reading an answer of the Messages API, whatever it holds.

Content is a list of blocks: thinking may come first, tools and kinds that nobody knew when this was written
may stand between. Only text counts, all of it, joined. A body that is not a message, or has no text although
the model ended its turn, is malformed; a refusal and a cut answer are outcomes of their own. Nothing is
raised: what came over the network is data.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.answers.models import Usage

_CUT = ("max_tokens", "model_context_window_exceeded", "pause_turn")


class Reply(msgspec.Struct, frozen=True):
    """What a body says. `usage` is None where it does not say what was used."""

    outcome: str  # "answered", "refused", "truncated", "malformed"
    text: str = ""
    error: str = ""
    model: str = ""
    usage: Usage | None = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _NoMessageError(Exception):
    """What came is not a message; the text says why."""


def read_message(body: bytes) -> Reply:
    """The reply that a body with status 200 holds."""
    model, usage = "", None
    try:
        message = _object_of(body)
        model, usage = str(message.get("model") or ""), _usage_of(message.get("usage"))
        texts, kinds = _texts_of(message.get("content"))
        stop = message.get("stop_reason")
        text = "".join(texts)
        if stop == "refusal":
            return Reply("refused", text, _refusal_of(message), model, usage)
        if stop in _CUT:
            return Reply("truncated", text, f"stop_reason {stop}", model, usage)
        if not texts:
            error = f"no text among the blocks ({kinds or 'none'}); stop_reason {stop}"
            return Reply("malformed", "", error, model, usage)
    except _NoMessageError as wrong:
        return Reply("malformed", "", str(wrong), model, usage)
    return Reply("answered", text, "", model, usage)


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _NoMessageError(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("type") != "message":
        raise _NoMessageError('the body is not an object of type "message"')
    return message


def _texts_of(content: Any) -> tuple[list[str], str]:
    """Texts of the blocks that are text, and the kinds of all."""
    if not isinstance(content, list):
        raise _NoMessageError("content is not a list of blocks")
    texts, kinds = [], []
    for number, block in enumerate(content):
        if not isinstance(block, dict):
            raise _NoMessageError(f"content[{number}] is not a block")
        kinds.append(str(block.get("type")))
        if block.get("type") == "text":
            text = block.get("text")
            if not isinstance(text, str):
                raise _NoMessageError(f"content[{number}].text is not a text")
            texts.append(text)
    return texts, ", ".join(kinds)


def _usage_of(value: Any) -> Usage | None:
    try:
        usage = msgspec.convert(value, type=_Usage)
    except msgspec.ValidationError:
        return None
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_input_tokens or 0,
        usage.cache_read_input_tokens or 0,
    )
    return Usage(*counts) if min(counts) >= 0 else None


def _refusal_of(message: dict[str, Any]) -> str:
    details = message.get("stop_details")
    words = [
        str(details[field])
        for field in ("category", "explanation")
        if isinstance(details, dict) and details.get(field)
    ]
    return "stop_reason refusal" + (f": {': '.join(words)}" if words else "")
