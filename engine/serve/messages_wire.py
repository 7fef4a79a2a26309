"""The Messages API on the wire, the server's side: which requests are valid, and what errors look like.

Pure: bytes in, a `Question` out, or an `ApiError` that names the field. Optional fields that a stand-in has
no use for (tools, thinking, metadata, …) are taken and have no effect; streaming, and fields that the API
does not have, are refused. Tokens are counted by a rule of our own, since nobody outside can count them
otherwise: one for every four characters begun.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from engine.model.kinds import encode_canonical
from engine.serve.rest import Reply

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
MOST_OUTPUT_TOKENS = 128_000
CHARACTERS_PER_TOKEN = 4
_ACTED_ON = {"model", "max_tokens", "messages", "system", "output_config", "stream"}
_TAKEN = {
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "metadata",
    "service_tier",
    "speed",
} | {"stop_sequences", "thinking", "tool_choice", "tools", "user_profile_id"}
_ROLES = ("user", "assistant", "system")
encode = msgspec.json.Encoder().encode

ERRORS = {
    "400": (400, "invalid_request_error", "The request was refused on purpose."),
    "401": (401, "authentication_error", "The key was refused on purpose."),
    "402": (402, "billing_error", "Payment is wanted, on purpose."),
    "403": (403, "permission_error", "The key may not do this, on purpose."),
    "404": (404, "not_found_error", "Nothing was found, on purpose."),
    "413": (413, "invalid_request_error", "The request was found too large, on purpose."),
    "429": (429, "rate_limit_error", "Too many requests, on purpose."),
    "429-spend": (429, "rate_limit_error", "The spend limit is reached, on purpose."),
    "500": (500, "api_error", "The server failed, on purpose."),
    "504": (504, "timeout_error", "The server took too long, on purpose."),
    "529": (529, "overloaded_error", "The server is overloaded, on purpose."),
}
SPEND_LIMIT = "enforced_spend_limit_reached"


class ApiError(Exception):
    """An error in the API's own shape."""

    def __init__(self, status: int, kind: str, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.status, self.kind, self.code = status, kind, code

    def body(self, request_id: str) -> dict[str, Any]:
        """The error as an object."""
        error: dict[str, Any] = {"type": self.kind, "message": str(self)}
        if self.code:
            error["details"] = {"error_code": self.code}
        return {"type": "error", "error": error, "request_id": request_id}


class Question(NamedTuple):
    """A valid request: what an answer depends on. `digest` is the same for the same request."""

    model: str
    max_tokens: int
    text: str  # of the last message by the user
    schema: dict[str, Any] | None
    input_tokens: int
    digest: str


def planned_error(name: str) -> ApiError:
    """The error that a fault is named after."""
    return ApiError(*ERRORS[name], code=SPEND_LIMIT if name == "429-spend" else "")


def invalid(field: str, text: str) -> ApiError:
    """A request whose field is not what it should be."""
    return ApiError(400, "invalid_request_error", f"{field}: {text}" if field else text)


def json_reply(status: int, body: object, headers: list[tuple[str, str]]) -> Reply:
    """An answer in JSON."""
    data = body if isinstance(body, bytes) else encode(body)
    return Reply(status, [("Content-Type", "application/json"), *headers], data)


def tokens_of(characters: int) -> int:
    """One for every four characters begun."""
    return -(-characters // CHARACTERS_PER_TOKEN)


def decode_object(body: bytes) -> dict[str, Any]:
    """The request's body. Raises ApiError where it is no JSON object."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("", f"The body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid("", "The body is not a JSON object.")
    return value


def question_of(body: dict[str, Any], models: tuple[str, ...], *, counting: bool = False) -> Question:
    """The question that a body asks; `counting` needs no max_tokens. Raises ApiError, naming the field."""
    for name in body:
        if name not in _ACTED_ON | _TAKEN:
            raise invalid(name, "the Messages API has no such field")
    if body.get("stream"):
        raise invalid("stream", "the local API does not stream; leave it out, or false")
    model = _model(body, models)
    most = MOST_OUTPUT_TOKENS if counting else _max_tokens(body)
    schema = _schema(body.get("output_config"))
    asked, count = _messages(body)
    count += sum(map(len, _texts(body["system"], "system"))) if body.get("system") is not None else 0
    count += len(encode(schema).decode()) if schema is not None else 0
    digest = sha256(encode_canonical(body)).hexdigest()
    return Question(model, most, asked, schema, tokens_of(count), digest)


def _model(body: dict[str, Any], models: tuple[str, ...]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model", "a text is required")
    if model not in models:
        raise ApiError(404, "not_found_error", f"model: {model} is unknown here; known: {', '.join(models)}")
    return model


def _max_tokens(body: dict[str, Any]) -> int:
    value = body.get("max_tokens")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_OUTPUT_TOKENS:
        raise invalid("max_tokens", f"a number from 1 to {MOST_OUTPUT_TOKENS} is required")
    return value


def _messages(body: dict[str, Any]) -> tuple[str, int]:
    """The last user's text, and the characters of all messages."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "an array with a message or more is required")
    asked: str | None = None
    count = 0
    for number, message in enumerate(messages):
        where = f"messages.{number}"
        if not isinstance(message, dict):
            raise invalid(where, "a message is an object")
        if message.get("role") not in _ROLES:
            raise invalid(f"{where}.role", f"one of {', '.join(_ROLES)} is required")
        texts = _texts(message.get("content"), f"{where}.content")
        count += sum(map(len, texts))
        if message["role"] == "user":
            asked = "\n".join(texts)
    if asked is None:
        raise invalid("messages", "a message by the user is required")
    return asked, count


def _texts(content: object, where: str) -> list[str]:
    """Texts of a content; a block that has none counts as its JSON."""
    if isinstance(content, str) and content:
        return [content]
    if not isinstance(content, list) or not content:
        raise invalid(where, "a text, or an array of blocks, is required, and not an empty one")
    texts = []
    for number, block in enumerate(content):
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise invalid(f"{where}.{number}.type", "a block is an object with a type")
        if block["type"] == "text":
            if not isinstance(block.get("text"), str):
                raise invalid(f"{where}.{number}.text", "a text is required")
            texts.append(block["text"])
        else:
            texts.append(encode(block).decode())
    return texts


def _schema(config: object) -> dict[str, Any] | None:
    if config is None:
        return None
    if not isinstance(config, dict):
        raise invalid("output_config", "an object is required")
    form = config.get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        raise invalid("output_config.format.type", "json_schema is the only one")
    schema = form.get("schema")
    if not isinstance(schema, dict):
        raise invalid("output_config.format.schema", "a JSON schema, which is an object, is required")
    return schema
