"""Prompts: what they refuse, how places are filled, and the schema of their answers."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from engine.answers.prompts import Prompt, schema_of
from engine.model.errors import UsageError
from tests.helpers.answers import PROMPT, Sentiment


class Mood(Enum):
    """An answer's field that is an enumeration."""

    UP = "up"
    DOWN = "down"


class Source(msgspec.Struct):
    """A struct inside an answer."""

    name: str
    trusted: bool = False


class Wide(msgspec.Struct):
    """An answer of everything that prompts use."""

    score: Annotated[int, msgspec.Meta(ge=0, le=10)]
    topic: Literal["macro", "other"]
    mood: Mood
    source: Source
    others: list[Source]
    remark: Annotated[str, msgspec.Meta(max_length=200)] = ""
    doubt: float | None = None


def test_places_are_named_once_in_their_order() -> None:
    """A place may stand in the text several times, with a format, and doubled braces are no place."""
    prompt = Prompt("p", 1, '{b} then {a:>4} then {b}, as JSON {{"x": 1}}', Sentiment)
    assert prompt.places == ("b", "a")
    assert prompt.filled({"a": 7, "b": "x"}) == 'x then    7 then x, as JSON {"x": 1}'


@pytest.mark.parametrize("form", [":.1000", ":+.2f", ":>4", ":,", ":x", ":%H:%M", "!r", "!s:.5", ":^10.3"])
def test_forms_that_some_value_has(form: str) -> None:
    """Of texts, numbers and times: which value comes is not known yet."""
    assert Prompt("p", 1, f"{{a{form}}}", Sentiment).places == ("a",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "headline is not given"),
        ({"headline": "x", "extra": 1}, "no place for extra"),
        ({"Headline": "x"}, "headline is not given, no place for Headline"),
    ],
)
def test_what_is_lacking_or_strange_is_named(fields: dict[str, object], said: str) -> None:
    """A question that does not fit its prompt says which place, and the hint which ones there are."""
    with pytest.raises(UsageError) as caught:
        PROMPT.filled(fields)
    assert caught.value.message == f"prompt sentiment: {said}"
    assert caught.value.hint == "its text has headline"


def test_a_value_that_its_place_cannot_format_is_refused() -> None:
    """A text for a place that wants a number is a user's mistake, with the prompt's name."""
    with pytest.raises(UsageError, match="prompt p: a value does not fit its place"):
        Prompt("p", 1, "{price:.2f}", Sentiment).filled({"price": "high"})


def test_braces_in_a_headline_stay_what_they_are() -> None:
    """What fills a place is never read as a place again."""
    assert PROMPT.filled({"headline": "{system} {0} {{x}}"}) == "Headline: {system} {0} {{x}}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "a name is letters"),
        ({"name": "a b"}, "a name is letters"),
        ({"name": "../a"}, "a name is letters"),
        ({"version": 0}, "versions count from 1"),
        ({"version": 10**30}, "versions count from 1"),
        ({"max_tokens": 0}, "max_tokens 0"),
        ({"max_tokens": 64_001}, "1 to 64,000"),
        ({"text": "{}"}, '"{}" is no place'),
        ({"text": "{0}"}, '"{0}" is no place'),
        ({"text": "{headline.__class__}"}, "is no place"),
        ({"text": "{headline[0]}"}, "is no place"),
        ({"text": "{headline!z}"}, '"{headline!z}": no value has such a form'),
        ({"text": "{headline:zz}"}, "no value has such a form"),
        ({"text": "{headline:9999999999}"}, "no value has such a form"),
        ({"model": ""}, "model is empty"),
        ({"text": "{headline:{width}}"}, "is no place"),
        ({"text": '{"sentiment": 1}'}, "is no place"),
        ({"text": "{headline"}, "text: "),
        ({"text": "headline}"}, "text: "),
    ],
)
def test_a_prompt_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    """Its name, version, size and text are checked when it is made, not when it is asked."""
    fields = {"name": "p", "version": 1, "text": "{headline}", "answer": Sentiment, **changes}
    with pytest.raises(UsageError) as caught:
        Prompt(**fields)
    assert said in caught.value.message


def test_a_schema_allows_what_the_answer_has_and_nothing_besides() -> None:
    """Ranges, choices, enumerations and structs inside; every field required, also those with a default."""
    schema = schema_of(Wide)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["doubt", "mood", "others", "remark", "score", "source", "topic"]
    fields = schema["properties"]
    assert fields["score"] == {"type": "integer", "description": "{minimum: 0, maximum: 10}"}
    assert fields["topic"] == {"enum": ["macro", "other"]}
    assert fields["source"] == {"$ref": "#/$defs/Source"}
    assert fields["others"]["items"] == {"$ref": "#/$defs/Source"}
    assert "maxLength" not in fields["remark"]
    assert "maxLength: 200" in fields["remark"]["description"]
    assert sorted(schema["$defs"]) == ["Mood", "Source"]
    assert sorted(schema["$defs"]["Mood"]["enum"]) == ["down", "up"]
    source = schema["$defs"]["Source"]
    assert (source["additionalProperties"], source["required"]) == (False, ["name", "trusted"])


def test_an_answer_that_refers_to_itself_is_refused() -> None:
    """The API takes no such schema."""
    with pytest.raises(UsageError, match="Tree refers to itself"):
        schema_of(Tree)


class Tree(msgspec.Struct):
    """Grows."""

    branches: list[Tree]


def test_every_reference_of_a_schema_leads_somewhere() -> None:
    """What `$ref` names stands under `$defs`, and a schema without structs inside has no `$defs`."""
    text = msgspec.json.encode(schema_of(Wide)).decode()
    named = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert named == set(schema_of(Wide)["$defs"])
    assert "$defs" not in schema_of(Sentiment)


def test_an_answer_without_a_schema_is_refused() -> None:
    """A type that JSON does not have is named, with the answer's."""
    odd = msgspec.defstruct("Odd", [("value", complex)])
    with pytest.raises(UsageError, match="the answer type Odd has no schema"):
        schema_of(odd)


@pytest.mark.parametrize(
    "text",
    ['{"sentiment":1.01,"topic":"macro"}', '{"sentiment":0,"topic":"sport"}', '{"topic":"macro"}', "[]"],
)
def test_what_the_schema_forbids_is_no_answer(text: str) -> None:
    """The type that makes the schema also refuses what is outside its ranges and choices."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Sentiment)
