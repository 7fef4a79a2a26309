"""Prompts: versioned questions with a typed answer.

A prompt is a value. Its text has places in braces that a question fills; its answer is a msgspec Struct
whose annotations say what is allowed (`Annotated[float, msgspec.Meta(ge=-1, le=1)]`). Whatever is not
exactly that is no answer, however it came about: so nothing that a headline says can widen it.

What others wrote can be told apart from the prompt's own words only by a frame around it, tags as a rule. So
that it cannot end its frame, places that are named in `quoted` are filled with `<` as `&lt;`, and without
characters that people do not see and a model reads. It stays a text that may lie, to a model too: what a
strategy does on an answer is bounded by the answer's type, and by nothing else.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from string import Formatter
from typing import Any

import msgspec

from engine.model.errors import UsageError

MODEL = "claude-haiku-5-5"
_MOST_TOKENS = 64_000
_MOST_VERSIONS = 1_000_000
# Written out, because a table of Unicode differs between versions of Python, and keys must not. Control
# characters, half characters, and what has no width: marks of direction, tags, selectors, joiners.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_OPENING = re.compile("[<\uff1c\ufe64]")  # and what becomes < where somebody normalises
# Of JSON schema, what structured answers may be described with.
_KEYWORDS = ("$ref", "additionalProperties", "const", "description", "enum", "required", "title", "type")


class Prompt(msgspec.Struct, frozen=True):
    """A question that can be asked of many things. `version` belongs to the key of what is asked."""

    name: str
    version: int
    text: str  # with places in braces: "Headline: {headline}"
    answer: type[msgspec.Struct]
    system: str = ""
    model: str = MODEL
    max_tokens: int = 512
    quoted: tuple[str, ...] = ()  # places that hold others' words

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum():
            raise UsageError(
                f'Prompt(name="{self.name}"): a name is letters, digits, - and _', hint='name="sentiment"'
            )
        if not self.model.strip():
            raise UsageError(
                f"Prompt {self.name}: model is empty", hint=f'model = "{MODEL}", or leave it out'
            )
        if not 1 <= self.version <= _MOST_VERSIONS:
            raise UsageError(
                f"Prompt {self.name}: version {self.version}: versions count from 1",
                hint=f"at most {_MOST_VERSIONS:,}",
            )
        if not 1 <= self.max_tokens <= _MOST_TOKENS:
            raise UsageError(
                f"Prompt {self.name}: max_tokens {self.max_tokens}: 1 to {_MOST_TOKENS:,}", hint="512 is much"
            )
        _check_places(self.name, self.text)
        for place in self.quoted:
            if place not in self.places:
                raise UsageError(
                    f'Prompt {self.name}: quoted "{place}": its text has no such place',
                    hint=f"it has {', '.join(self.places) or 'none'}",
                )

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places in its text, each once, in their order."""
        return _places_of(self.text)

    def filled(self, fields: dict[str, object]) -> str:
        """The question. Raises UsageError where a place is not filled, or a value has none."""
        places = self.places
        if len(places) != len(fields) or not all(name in fields for name in places):
            lacking = sorted(name for name in places if name not in fields)
            strange = sorted(name for name in fields if name not in places)
            said = [f"{name} is not given" for name in lacking] + [f"no place for {name}" for name in strange]
            raise UsageError(
                f"prompt {self.name}: {', '.join(said)}",
                hint=f"its text has {', '.join(sorted(places)) or 'no place'}",
            )
        try:
            if not self.quoted:
                return self.text.format(**fields)
            said = [
                words if not name else f"{words}{_said(place, fields[name], quoted=name in self.quoted)}"
                for words, name, place in _pieces_of(self.text)
            ]
            return "".join(said)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"prompt {self.name}: a value does not fit its place: {error}",
                hint="what follows : in a place is a format of Python's",
            ) from None


def quoted_text(text: str) -> str:
    """Others' words, so that they cannot end the tags around them, nor say what people do not see."""
    return _OPENING.sub("&lt;", _UNSEEN.sub("", _CONTROLS.sub(" ", text)))


def _said(place: str, value: object, *, quoted: bool) -> str:
    """A value as its place writes it; quoted after that, so that no format cuts an escape in half."""
    text = place.format(value)
    return quoted_text(text) if quoted else text


@lru_cache
def _pieces_of(text: str) -> tuple[tuple[str, str, str], ...]:
    """Words, then the name of a place ("" at the end), then the place as a text with that place alone."""
    return tuple(
        (words, name or "", f"{{0{'!' + conversion if conversion else ''}{':' + form if form else ''}}}")
        for words, name, form, conversion in Formatter().parse(text)
    )


@lru_cache
def _places_of(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(text) if name))


def _check_places(name: str, text: str) -> None:
    """Each place is a name that a question can fill. Raises UsageError."""
    hint = "a place is a name in braces, {headline}; braces of the text itself are doubled, {{ and }}"
    try:
        places = [
            (place, form or "", conversion or "")
            for _, place, form, conversion in Formatter().parse(text)
            if place is not None
        ]
    except ValueError as error:
        raise UsageError(f"Prompt {name}: text: {error}", hint=hint) from None
    for place, form, conversion in places:
        if not place.isidentifier() or "{" in form:
            raise UsageError(
                f'Prompt {name}: text: "{{{place}{form and ":" + form}}}" is no place', hint=hint
            )

        if conversion not in ("", "a", "r", "s") or not _is_format(form):
            written = f"{place}{conversion and '!' + conversion}{form and ':' + form}"
            raise UsageError(
                f'Prompt {name}: text: "{{{written}}}": no value has such a form',
                hint=f"{{{place}:.1000}} cuts a text, {{{place}:.2f}} is a number with two decimals",
            )


def _is_format(form: str) -> bool:
    """Whether a text, a number, a whole number or a time can be written so."""
    if re.search(r"\d{7}", form):
        return False  # a width that no memory has
    if "%" in form:
        return True  # of a time; there is none to try it with
    for value in ("", 0.0, 0):
        try:
            format(value, form)
        except ValueError:
            continue
        return True
    return False


@cache
def schema_of(answer: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON schema of an answer, as the API takes it: every field required, nothing besides them.

    What the API does not take as a rule (ranges, lengths, patterns) it is told in words, in the field's
    description; whether an answer keeps to it is looked at when it comes. Raises UsageError for a type that
    has no schema, or one that refers to itself.
    """
    try:
        (schema,), parts = msgspec.json.schema_components([answer], ref_template="#/$defs/{name}")
    except TypeError as error:
        raise UsageError(f"the answer type {answer.__name__} has no schema: {error}") from None
    name = schema["$ref"].rpartition("/")[2]
    if f'"#/$defs/{name}"' in msgspec.json.encode(parts).decode():
        raise UsageError(f"the answer type {answer.__name__} refers to itself", hint="a list of plain fields")
    top = _taken(parts.pop(name))
    return {**top, **({"$defs": {part: _taken(parts[part]) for part in parts}} if parts else {})}


def _taken(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in keywords that the API takes, the others in words."""
    kept: dict[str, Any] = {}
    said: list[str] = []
    for word, value in schema.items():
        if word == "properties":
            kept[word] = {name: _taken(field) for name, field in value.items()}
        elif word in ("items", "additionalProperties") and isinstance(value, dict):
            kept[word] = _taken(value)
        elif word in ("anyOf", "allOf"):
            kept[word] = [_taken(one) for one in value]
        elif word in _KEYWORDS:
            kept[word] = value
        elif word != "default":  # no field may be left out
            said.append(f"{word}: {value}")
    if kept.get("type") == "object" and "properties" in kept:
        kept["additionalProperties"] = False
        kept["required"] = sorted(kept["properties"])
    if said:
        kept["description"] = " ".join(filter(None, (kept.get("description", ""), f"{{{', '.join(said)}}}")))
    return kept
