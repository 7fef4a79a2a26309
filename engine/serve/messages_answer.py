"""One question, one answer of the fixed rule: the Message object, plain or bent in one of the known ways.

    refusal      no content, stop_reason "refusal"
    truncated    the first half of the text, stop_reason "max_tokens"
    thinking     a thinking block before the text
    unknown      a block of a type that nobody knows and a tool_use block before the text
    empty        no content, although the turn ended
    outside      an answer that is not in its schema: a number far out of range, or a field too many

The same question and bend give the same bytes: the id is a hash of the request, and nothing in a Message is
of the moment. Who asks for less than the answer takes gets it cut, with stop_reason "max_tokens", bent or
not; so `usage.output_tokens` never passes `max_tokens`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.serve.messages_rule import BY_RULE, Reading, shipped_rule, subject_of
from engine.serve.messages_schema import SchemaError, fill
from engine.serve.messages_wire import CHARACTERS_PER_TOKEN, Question, encode, invalid, tokens_of

BENDS = ("refusal", "truncated", "thinking", "unknown", "empty", "outside")
NOTICE = "answered by a fixed word list of engine serve, not by a model"
_FAR_OUTSIDE = 1e9


class Answered(NamedTuple):
    """A Message and what it would have cost."""

    message: dict[str, Any]
    input_tokens: int
    output_tokens: int


def answer(question: Question, bend: str = "") -> Answered:
    """The rule's answer. Raises ApiError where the question's schema cannot be filled."""
    reading = shipped_rule().read(subject_of(question.text))
    text = _text(question, reading, bend)
    content: list[dict[str, Any]] = []
    stop = "end_turn"
    if bend == "refusal":
        stop, text = "refusal", ""
    elif bend == "truncated":
        stop, text = "max_tokens", text[: len(text) // 2]
    elif bend == "empty":
        text = ""
    elif bend == "thinking":
        content.append(
            {"type": "thinking", "thinking": f"{BY_RULE}: nothing was thought.", "signature": "none"}
        )
    elif bend == "unknown":
        content.append({"type": "crystal_ball", "vision": f"{BY_RULE}: a block of a type that nobody knows"})
        content.append(
            {"type": "tool_use", "id": f"toolu_{question.digest[:24]}", "name": "not_a_tool", "input": {}}
        )
    room = CHARACTERS_PER_TOKEN * question.max_tokens - sum(map(_characters, content))
    if len(text) > room:
        stop, text = "max_tokens", text[: max(0, room)]
    if text:
        content.append({"type": "text", "text": text})
    output_tokens = min(max(1, tokens_of(sum(map(_characters, content)))), question.max_tokens)
    message: dict[str, Any] = {
        "id": f"msg_{question.digest[:24]}",
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": question.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        },
        "engine_notice": NOTICE,
    }
    if stop == "refusal":
        explanation = f"{BY_RULE}: refused on purpose."
        message["stop_details"] = {"type": "refusal", "category": None, "explanation": explanation}
    return Answered(message, question.input_tokens, output_tokens)


def _text(question: Question, reading: Reading, bend: str) -> str:
    if question.schema is None:
        risk = "a risk" if reading.risk else "no risk"
        return f"{reading.rationale} Sentiment {reading.sentiment:+.1f}, {risk}."
    try:
        value = fill(question.schema, reading)
    except SchemaError as error:
        raise invalid("output_config.format.schema", str(error)) from None
    if bend == "outside":
        value = _outside(value)
    return encode(value).decode()


def _outside(value: Any) -> Any:
    if not isinstance(value, dict):
        return {"outside": value}
    for name, part in value.items():
        if isinstance(part, int | float) and not isinstance(part, bool):
            return {**value, name: _FAR_OUTSIDE}
    return {**value, "outside": True}


def _characters(block: dict[str, Any]) -> int:
    """Characters of a block that count as output."""
    text = block.get("text") or block.get("thinking")
    return len(text) if text is not None else len(encode(block).decode())
