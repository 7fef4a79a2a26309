"""The key of a question: any character changes it, no order does, and two questions never share one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.answers.prompts import Prompt
from engine.answers.requests import Request, request_from, request_of
from engine.model.errors import UsageError
from tests.helpers.answers import PROMPT, Sentiment, asked

PAIR = Prompt("pair", 1, "{first}|{second}", Sentiment)
TEXTS = st.text(max_size=12)
QUESTIONS = st.tuples(
    st.sampled_from(["a", "b", "ab"]),  # prompt
    st.integers(1, 3),
    st.integers(0, 3),
    TEXTS,  # system
    TEXTS,  # the prompt's text besides its place
    TEXTS,  # what fills it
    st.sampled_from([16, 17, 512]),
)


def request_for(question: tuple[str, int, int, str, str, str, int]) -> Request:
    """A question drawn by chance as a request."""
    name, version, sample, system, text, headline, tokens = question
    text = text.replace("{", "{{").replace("}", "}}") + "{headline}"
    prompt = Prompt(name, version, text, Sentiment, system=system, max_tokens=tokens)
    return request_of(prompt, {"headline": headline}, sample=sample)


def test_a_key_is_the_hash_of_the_canonical_request() -> None:
    """64 hexadecimal digits of SHA-256, written out once so that a change of the form is seen."""
    request = Request("p", 2, 1, {"model": "m", "b": 1, "a": [True, None, "é"]})
    text = '{"body":{"a":[true,null,"é"],"b":1,"model":"m"},"prompt":"p","sample":1,"version":2}'
    assert request.canonical().decode() == text
    assert request.key == sha256(text.encode()).hexdigest()


def test_what_is_sent_is_all_of_the_question() -> None:
    """Model, tokens, text, schema and, where there is one, the system text."""
    body = asked("Rates are cut").body
    assert body["messages"] == [{"role": "user", "content": "Headline: Rates are cut"}]
    assert (body["model"], body["max_tokens"], body["system"]) == (
        "claude-haiku-5-5",
        512,
        "You read headlines.",
    )
    form = body["output_config"]["format"]
    assert (form["type"], form["schema"]["additionalProperties"]) == ("json_schema", False)
    assert "system" not in request_of(PAIR, {"first": 1, "second": 2}).body


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "sentimenT"},
        {"version": 2},
        {"text": "Headline:  {headline}"},
        {"text": "headline: {headline}"},
        {"system": "You read headlines!"},
        {"system": ""},
        {"model": "claude-sonnet-5-5"},
        {"max_tokens": 511},
        {"answer": msgspec.defstruct("Sentiment", [("sentiment", float)])},
    ],
    ids=str,
)
def test_one_character_of_a_prompt_makes_another_question(changes: dict[str, Any]) -> None:
    """Name, version, text, system, model, parameters and schema: each is in the key."""
    changed = msgspec.structs.replace(PROMPT, **changes)
    assert asked("Rates are cut", prompt=changed).key != asked("Rates are cut").key


def test_headline_and_sample_make_another_question() -> None:
    """What fills a place counts to the last character, and so does the number of the sample."""
    keys = {
        asked("Rates are cut").key,
        asked("Rates are cut.").key,
        asked("rates are cut").key,
        asked("Rates are cut", sample=1).key,
        asked("Rates are cut", sample=2).key,
    }
    assert len(keys) == 5


def test_the_order_of_fields_does_not_matter() -> None:
    """Neither that of what fills the places, nor that of any object in the body."""
    one = request_of(PAIR, {"first": 1, "second": 2})
    other = request_of(PAIR, {"second": 2, "first": 1})
    assert one.key == other.key

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(value[name]) for name in reversed(list(value))}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert msgspec.structs.replace(one, body=turned(one.body)).key == one.key


def test_the_order_of_messages_matters() -> None:
    """A list has an order, and another order is another question."""
    said = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    keys = {Request("p", 1, 0, {"model": "m", "messages": m}).key for m in (said, said[::-1])}
    assert len(keys) == 2


@settings(deadline=None)
@given(QUESTIONS, QUESTIONS)
@example(("a", 1, 0, "", "x", "y", 16), ("a", 1, 0, "", "xy", "", 16))
@example(("a", 1, 0, "x", "", "", 16), ("a", 1, 0, "", "x", "", 16))
def test_two_questions_never_share_a_key(one: Any, other: Any) -> None:
    """Equal keys are equal requests, whatever texts run into each other."""
    first, second = request_for(one), request_for(other)
    assert (first.key == second.key) == (first == second)
    same_words = (*one[:4], one[4] + one[5], one[6]) == (*other[:4], other[4] + other[5], other[6])
    assert (first == second) == same_words


@settings(deadline=None)
@given(QUESTIONS)
def test_a_request_is_read_back_as_it_was(question: Any) -> None:
    """The canonical form loses nothing, so a log can fill a store by itself."""
    request = request_for(question)
    again = request_from(request.canonical())
    assert (again, again.key) == (request, request.key)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"prompt":"p"}', '{"prompt":1,"version":1,"sample":0,"body":{}}']
)
def test_what_is_no_request_is_said(text: str) -> None:
    """A text that no request gave cannot be read as one."""
    with pytest.raises(msgspec.DecodeError):
        request_from(text)


@pytest.mark.parametrize("sample", [-1, 1_000_000_001, 10**30, 1.5, "1"], ids=str)
def test_a_sample_that_no_store_could_hold(sample: Any) -> None:
    """It is refused before it is asked and paid for."""
    with pytest.raises(UsageError, match="a whole number from 0 on"):
        request_of(PROMPT, {"headline": "x"}, sample=sample)
