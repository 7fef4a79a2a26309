"""Fills a JSON schema: the value that the fixed rule answers where a request prescribes a form.

Fields it knows by name get what the rule read:

    sentiment                                               a number, moved into the schema's range
    topic                                                   a text, or the member of an enumeration that it is
    risk, risk_flag                                         a boolean, or 1 and 0
    rationale, reason, reasoning, explanation, summary      the sentence that says it is a rule

Every other field gets the plainest value of its type: a number 0 or the nearest in its range, a text "",
false, the first of an enumeration, an empty array, an object filled in turn. All properties are filled,
required or not. What it cannot fill (a pattern, a reference that leads nowhere) is refused, with its path.

Limits may stand in words at the end of a field's description, "{minimum: 1, maximum: 5}", as clients write
those that the API does not take as a rule: they are kept all the same.
"""

from __future__ import annotations

import math
import re
from typing import Any

from engine.serve.messages_rule import OTHER, Reading

_SENTIMENT = "sentiment"
_TOPIC = "topic"
_RISK = ("risk", "risk_flag")
_RATIONALE = ("rationale", "reason", "reasoning", "explanation", "summary")
_DEEPEST = 32
_MOST_VALUES = 10_000
_FORMATS = {"date-time": "1970-01-01T00:00:00Z", "date": "1970-01-01", "time": "00:00:00Z"}
_WORDED = re.compile(r"\{([^{}]*)\}$")
_LIMIT = re.compile(
    r"\b(minimum|maximum|exclusiveMinimum|exclusiveMaximum|minLength|maxLength|minItems): "
    r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?=,|$)"
)
_MERGER_NAMES = ("ma", "manda", "mergers", "merger", "mergersandacquisitions", "mergersacquisitions")


class SchemaError(Exception):
    """A schema that cannot be filled; `path` says where, from the schema's root on."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text)


def fill(schema: object, reading: Reading) -> Any:
    """A value that the schema allows. Raises SchemaError."""
    if not isinstance(schema, dict):
        raise SchemaError("", "a schema is an object")
    return _Filler(schema, reading).value(schema, "", "", 0)


class _Filler:
    def __init__(self, root: dict[str, Any], reading: Reading) -> None:
        self._root, self._reading = root, reading
        self._values = 0

    def value(self, schema: object, name: str, path: str, depth: int) -> Any:
        """The value for one place. `name` is that of the property it stands in."""
        self._values += 1
        if self._values > _MOST_VALUES:
            raise SchemaError(path, f"more than {_MOST_VALUES:,} values")
        plain = _with_words(self._resolved(schema, path, depth))
        if "const" in plain:
            return plain["const"]
        if "enum" in plain:
            return self._member(plain["enum"], name, path)
        kind = plain.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind == "object" or (kind is None and "properties" in plain):
            return self._object(plain, path, depth)
        if kind == "array":
            items = plain.get("items", {"type": "null"})
            count = _size(plain, "minItems", path)
            return [self.value(items, name, f"{path}.items", depth + 1) for _ in range(count)]
        return self._scalar(plain, kind, name, path)

    def _scalar(self, schema: dict[str, Any], kind: object, name: str, path: str) -> Any:
        if kind in {"number", "integer"}:
            return self._number(schema, name, path, whole=kind == "integer")
        if kind == "string":
            return self._text(schema, name, path)
        if kind == "boolean":
            return name in _RISK and self._reading.risk
        if kind == "null":
            return None
        raise SchemaError(path, "no type that can be filled" if kind is None else f'unknown type "{kind}"')

    def _resolved(self, schema: object, path: str, depth: int) -> dict[str, Any]:
        """The schema itself, behind its references and its alternatives."""
        while True:
            depth += 1
            if depth > _DEEPEST:
                raise SchemaError(path, f"nested deeper than {_DEEPEST}")
            if not isinstance(schema, dict):
                raise SchemaError(path, "a schema is an object")
            if "$ref" in schema:
                schema = self._referred(schema["$ref"], path)
                continue
            branches = schema.get("anyOf") or schema.get("oneOf")
            if branches:
                if not isinstance(branches, list):
                    raise SchemaError(path, "alternatives are an array")
                schema = next((each for each in branches if each != {"type": "null"}), branches[0])
                continue
            if "allOf" in schema:
                if not isinstance(schema["allOf"], list):
                    raise SchemaError(path, "allOf is an array")
                return self._joined(schema, path, depth)
            return schema

    def _joined(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        joined = {key: value for key, value in schema.items() if key != "allOf"}
        properties = dict(joined.get("properties", {}))
        for part in schema["allOf"]:
            plain = self._resolved(part, path, depth)
            properties |= plain.get("properties", {})
            joined |= plain
        return {**joined, "properties": properties} if properties else joined

    def _referred(self, reference: object, path: str) -> object:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(path, f"$ref {reference!r} does not begin with #")
        found: object = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise SchemaError(path, f"$ref {reference} leads nowhere")
            found = found[key]
        return found

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict):
            raise SchemaError(path, "properties is an object")
        lead = f"{path}." if path else ""
        return {
            name: self.value(part, name, f"{lead}properties.{name}", depth + 1)
            for name, part in properties.items()
        }

    def _member(self, members: object, name: str, path: str) -> Any:
        if not isinstance(members, list) or not members:
            raise SchemaError(path, "enum is an array with a member or more")
        if name == _TOPIC:
            wanted = _plain(self._reading.topic)
            names = _MERGER_NAMES if wanted == "ma" else (wanted,)
            for candidates in (names, (OTHER,)):
                for member in members:
                    if _plain(member) in candidates:
                        return member
        if name in _RISK and self._reading.risk in members:
            return self._reading.risk
        return members[0]

    def _number(self, schema: dict[str, Any], name: str, path: str, *, whole: bool) -> int | float:
        value: float = 0
        if name == _SENTIMENT:
            value = self._reading.sentiment
        elif name in _RISK:
            value = int(self._reading.risk)
        step = 1.0 if whole else 1e-9
        least, most = -math.inf, math.inf
        for key, shift in (("minimum", 0.0), ("exclusiveMinimum", step)):
            least = max(least, _bound(schema, key, path, -math.inf) + shift)
        for key, shift in (("maximum", 0.0), ("exclusiveMaximum", step)):
            most = min(most, _bound(schema, key, path, math.inf) - shift)
        if whole:
            least, most = _whole(least, math.ceil), _whole(most, math.floor)
        if least > most:
            raise SchemaError(path, "no number is in its range")
        value = min(max(value, least), most)
        return round(value) if whole else value

    def _text(self, schema: dict[str, Any], name: str, path: str) -> str:
        if "pattern" in schema:
            raise SchemaError(path, "a pattern cannot be filled by the local rule")
        if name == _TOPIC:
            text = self._reading.topic
        elif name in _RATIONALE:
            text = self._reading.rationale
        else:
            text = _FORMATS.get(str(schema.get("format")), "")
        text = text.ljust(_size(schema, "minLength", path), ".")
        return text[: _size(schema, "maxLength", path)] if "maxLength" in schema else text


def _with_words(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with the limits that its description ends with."""
    words = _WORDED.search(str(schema.get("description", "")))
    if words is None:
        return schema
    limits = {name: float(text) for name, text in _LIMIT.findall(words[1])}
    worded: dict[str, Any] = {
        name: int(value) if value.is_integer() else value for name, value in limits.items()
    }
    if re.search(r"\bpattern: ", words[1]):
        worded["pattern"] = ""  # whatever it is, it cannot be filled
    return {**worded, **schema}


def _plain(member: object) -> str:
    return "".join(character for character in str(member).lower() if character.isalnum())


def _whole(value: float, rounded: Any) -> float:
    return float(rounded(value)) if math.isfinite(value) else value


def _bound(schema: dict[str, Any], key: str, path: str, default: float) -> float:
    value = schema.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SchemaError(path, f"{key} {value!r} is no number")
    try:
        return float(value)
    except OverflowError:
        raise SchemaError(path, f"{key} is a number of {len(str(value))} digits") from None


def _size(schema: dict[str, Any], key: str, path: str) -> int:
    value = schema.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise SchemaError(path, f"{key} {value!r} is no number from 0 to 10,000")
    return value
