"""Answers for tests: a prompt, a question, and what came back, in one line each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from engine.answers.prompts import Prompt
from engine.answers.requests import Request, request_of
from engine.answers.stored import StoredAnswer
from engine.model.kinds import AnswerData, AttemptData, Kind, encode_canonical
from tests.helpers.logs import Message, Row, at


class Sentiment(msgspec.Struct):
    """What the tests ask for."""

    sentiment: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    topic: Literal["earnings", "macro", "other"]


PROMPT = Prompt("sentiment", 1, "Headline: {headline}", Sentiment, system="You read headlines.")
SAID = '{"sentiment":0.5,"topic":"macro"}'


def asked(headline: str, *, prompt: Prompt = PROMPT, sample: int = 0) -> Request:
    """The question about a headline."""
    return request_of(prompt, {"headline": headline}, sample=sample)


def answer_to(request: Request, text: str = SAID, **more: Any) -> AnswerData:
    """A good answer; `more` are fields of AnswerData."""
    fields: dict[str, Any] = {
        "outcome": "answered",
        "text": text,
        "model": request.model,
        "request_id": "req_1",
        "latency_ns": 180_000_000,
        "attempts": (AttemptData(began_ns=1000, took_ns=170_000_000, status=200, request_id="req_1"),),
        "input_tokens": 120,
        "output_tokens": 20,
        "cost_nano_usd": 22_000,
    }
    return AnswerData(request.key, request.canonical().decode(), **{**fields, **more})


def wire_of(text: str = SAID) -> bytes:
    """The API's answer as it might have come."""
    return msgspec.json.encode({"id": "msg_1", "content": [{"type": "text", "text": text}]})


def kept(
    headline: str = "Rates are cut", seconds: float = 1, text: str = SAID, *, sample: int = 0, **more: Any
) -> StoredAnswer:
    """An answer as the store has it, recorded so many seconds after the tests' START."""
    request = asked(headline, sample=sample)
    return StoredAnswer(answer_to(request, text, **more), wire_of(text), at(seconds))


def answer_message(seconds: float, data: AnswerData, wire: bytes | None = None) -> Message:
    """A message of one ANSWER row."""
    row = Row(Kind.ANSWER, source=0, data=encode_canonical(data), wire=wire)
    return Message(at(seconds), (row,))
