"""Reading bodies of the Messages API: text wherever it stands, and a name for whatever is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.answers.messages import Reply, read_message
from engine.answers.models import Usage


def body(content: Any, **fields: Any) -> bytes:
    """A message with this content."""
    message = {"type": "message", "model": "m", "content": content, "stop_reason": "end_turn"}
    return json.dumps({**message, "usage": {"input_tokens": 5, "output_tokens": 2}, **fields}).encode()


TEXT = [{"type": "text", "text": "yes"}]
USED = Usage(5, 2)
TABLE = [
    ("text", body(TEXT), Reply("answered", "yes", "", "m", USED)),
    ("an unknown end", body(TEXT, stop_reason="of_2031"), Reply("answered", "yes", "", "m", USED)),
    ("an empty text", body([{"type": "text", "text": ""}]), Reply("answered", "", "", "m", USED)),
    (
        "refused, with a reason",
        body([], stop_reason="refusal", stop_details={"category": "cyber", "explanation": "no"}),
        Reply("refused", "", "stop_reason refusal: cyber: no", "m", USED),
    ),
    (
        "refused after some words",
        body(TEXT, stop_reason="refusal", stop_details=None),
        Reply("refused", "yes", "stop_reason refusal", "m", USED),
    ),
    (
        "the context is full",
        body([], stop_reason="model_context_window_exceeded"),
        Reply("truncated", "", "stop_reason model_context_window_exceeded", "m", USED),
    ),
    ("content is a text", body("yes"), Reply("malformed", "", "content is not a list of blocks", "m", USED)),
    ("a block is a text", body(["yes"]), Reply("malformed", "", "content[0] is not a block", "m", USED)),
    (
        "a text is a number",
        body([*TEXT, {"type": "text", "text": 1}]),
        Reply("malformed", "", "content[1].text is not a text", "m", USED),
    ),
    (
        "no blocks",
        body([]),
        Reply("malformed", "", "no text among the blocks (none); stop_reason end_turn", "m", USED),
    ),
    ("no model", body(TEXT, model=None), Reply("answered", "yes", "", "", USED)),
    ("a list", b"[]", Reply("malformed", "", 'the body is not an object of type "message"')),
]


@pytest.mark.parametrize(("raw", "reply"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bodies_and_what_they_say(raw: bytes, reply: Reply) -> None:
    """Each body and all that is read from it."""
    assert read_message(raw) == reply


USAGES = [
    ({"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": None}, USED),
    (
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 4,
        },
        Usage(1, 2, 3, 4),
    ),
    ({"input_tokens": 5, "output_tokens": 2, "of_2031": {}}, USED),
    ({"input_tokens": 5}, None),
    ({"input_tokens": -5, "output_tokens": 2}, None),
    ({"input_tokens": "5", "output_tokens": 2}, None),
    ({"input_tokens": True, "output_tokens": 2}, None),
    (None, None),
]


@pytest.mark.parametrize(("said", "usage"), USAGES, ids=str)
def test_usage_is_read_exactly_or_not_at_all(said: Any, usage: Usage | None) -> None:
    """Counts that are not whole numbers from zero on are no usage, and the text is there all the same."""
    assert read_message(body(TEXT, usage=said)) == Reply("answered", "yes", "", "m", usage)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["type", "content", "text", "usage", "model", "stop_reason", "stop_details"]
                    ),
                    inner | st.sampled_from(["message", "text", "refusal", "max_tokens"]),
                    max_size=7,
                )
            ),
            max_leaves=20,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_nothing_that_comes_raises(raw: bytes) -> None:
    """Any bytes and any JSON give a reply with one of four outcomes; what is malformed says why."""
    reply = read_message(raw)
    assert reply.outcome in {"answered", "refused", "truncated", "malformed"}
    assert reply.outcome != "malformed" or (reply.error and not reply.text)


def test_a_deep_body_is_malformed() -> None:
    """A hundred thousand brackets are refused as the rest, not with a crash."""
    assert read_message(b"[" * 100_000).outcome == "malformed"
