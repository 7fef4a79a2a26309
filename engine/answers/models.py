"""What a model costs and how far its knowledge goes, as data: `data/models.toml`.

Prices are whole nano-USD (1e-9 US dollars) a token, so that a cost is an exact integer, the same on every
machine. Before a call only an upper bound can be known: no token is shorter than a byte, so the request's
size in bytes bounds its tokens, and `max_tokens` bounds what is written. A budget that reserves this bound
cannot be passed by a call that turns out long.

A model that is not in the file is refused: what has no price cannot be held within a budget, and without a
knowledge cutoff no result could say whether the model had read about what it was asked.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import msgspec

import engine
from engine.answers.requests import Request
from engine.model.errors import InputError, UsageError
from engine.model.kinds import encode_canonical
from engine.model.units import SECOND_NS, format_decimal

NAME = "models.toml"
# What the API may add to a request by itself: its frame around the text, words about the schema.
ADDED_TOKENS = 2_000
_DATED = re.compile(r"-\d{8}$")  # "claude-haiku-5-5-20261001" is a snapshot of "claude-haiku-5-5"


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call, as the API counts them: the three kinds of input do not overlap."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def all_input_tokens(self) -> int:
        """What was sent altogether."""
        return self.input_tokens + self.cache_creation_tokens + self.cache_read_tokens


class ModelProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's prices, nano-USD a token, and the last day that it can know of."""

    input: int
    output: int
    cache_write: int
    cache_read: int
    knowledge_cutoff: date

    @property
    def known_before_ns(self) -> int:
        """The first instant after the cutoff's day, ns UTC: the model may have read of what is earlier."""
        after = datetime.combine(self.knowledge_cutoff + timedelta(days=1), time(), UTC)
        return int(after.timestamp()) * SECOND_NS


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[str, ModelProfile]


def models_file() -> Path:
    """Where the shipped file stands: inside an installed wheel, or at the top of a checkout."""
    package = Path(engine.__file__).parent
    shipped = package / "shipped" / "data" / NAME
    return shipped if shipped.is_file() else package.parent / "data" / NAME


def load_models(path: Path) -> dict[str, ModelProfile]:
    """The profiles of a file, by name. Raises InputError that says what is wrong with it."""
    try:
        models = msgspec.toml.decode(path.read_bytes(), type=_File).models
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: {error}", hint="its fields are described at its top") from None
    for name, profile in models.items():
        for field in ("input", "output", "cache_write", "cache_read"):
            if getattr(profile, field) < 0:
                raise InputError(
                    f"{path.name}: [models.{name}]: {field} = {getattr(profile, field)} is below zero",
                    hint="write whole nano-USD a token: 100 is 0.10 USD a million",
                )
    return models


@cache
def shipped_models() -> dict[str, ModelProfile]:
    """The profiles that come with the engine; read once."""
    return load_models(models_file())


def profile_of(model: str) -> ModelProfile:
    """A model's profile, that of a dated snapshot included. Raises UsageError for one that is not known."""
    models = shipped_models()
    profile = models.get(model) or models.get(_DATED.sub("", model))
    if profile is None:
        raise UsageError(
            f'there is no model "{model}" in data/{NAME}',
            hint=f"one of {', '.join(sorted(models))}; or add [models.{model}] there with input, output, "
            "cache_write, cache_read (nano-USD a token) and knowledge_cutoff",
        )
    return profile


def cost_of(model: str, usage: Usage, *, batch: bool = False) -> int:
    """What a call cost, nano-USD, exact; half of it, rounded up, in a batch. Raises UsageError."""
    profile = profile_of(model)
    cost = (
        usage.input_tokens * profile.input
        + usage.output_tokens * profile.output
        + usage.cache_creation_tokens * profile.cache_write
        + usage.cache_read_tokens * profile.cache_read
    )
    return (cost + 1) // 2 if batch else cost


def most_cost_of(request: Request, *, batch: bool = False) -> int:
    """What a call can cost at most, nano-USD, known before it is made. Raises UsageError."""
    profile = profile_of(request.model)
    dearest = max(profile.input, profile.cache_write, profile.cache_read)
    tokens = len(encode_canonical(request.body)) + ADDED_TOKENS
    cost = tokens * dearest + int(request.body["max_tokens"]) * profile.output
    return (cost + 1) // 2 if batch else cost


def usd(nano_usd: int) -> str:
    """An amount for people: "0.000563 USD", rounded up to a millionth of a dollar."""
    return f"{format_decimal(-(-nano_usd // 1_000), 6)} USD"
