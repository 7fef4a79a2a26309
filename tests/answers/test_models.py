"""Prices and cutoffs: exact, complete, and an error that says what is missing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from engine.answers.models import (
    ADDED_TOKENS,
    Usage,
    cost_of,
    load_models,
    most_cost_of,
    profile_of,
    shipped_models,
    usd,
)
from engine.answers.requests import Request
from engine.model.errors import InputError, UsageError
from engine.model.kinds import encode_canonical
from engine.model.units import parse_time

# USD per million tokens in, out, written to the cache, read from it; one nano-USD a token is 0.001 of these.
LIST_PRICES = [
    ("claude-haiku-5-5", "0.10", "0.50", "0.125", "0.01"),
    ("claude-sonnet-5-5", "2", "10", "2.5", "0.2"),
    ("claude-opus-5-5", "4", "20", "5", "0.4"),
]


@pytest.mark.parametrize(("model", "inward", "outward", "write", "read"), LIST_PRICES)
def test_prices_are_those_of_the_list(model: str, inward: str, outward: str, write: str, read: str) -> None:
    """A million tokens of each kind cost what the price list says, to the last digit."""
    million = 1_000_000
    costs = [
        cost_of(model, usage)
        for usage in (
            Usage(million),
            Usage(0, million),
            Usage(cache_creation_tokens=million),
            Usage(cache_read_tokens=million),
        )
    ]
    assert costs == [round(float(price) * 1_000_000_000) for price in (inward, outward, write, read)]


def test_a_cost_is_the_sum_of_its_tokens() -> None:
    """7 in, 3 out, 11 written, 13 read: 700 + 1,500 + 1,375 + 130 for Haiku; half of it in a batch."""
    usage = Usage(7, 3, 11, 13)
    assert cost_of("claude-haiku-5-5", usage) == 3_705
    assert cost_of("claude-haiku-5-5", usage, batch=True) == 1_853
    assert usage.all_input_tokens == 31


def test_the_bound_counts_every_byte_as_a_token() -> None:
    """Bytes of the body and what may be added, at the dearest price of an input, and all of max_tokens."""
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "日本"}],
    }
    size = len(encode_canonical(body))
    assert (
        size
        == len('{"max_tokens":100,"messages":[{"content":"","role":"user"}],"model":"claude-sonnet-5-5"}') + 6
    )
    request = Request("p", 1, 0, body)
    assert most_cost_of(request) == (size + ADDED_TOKENS) * 2_500 + 100 * 10_000
    assert most_cost_of(request, batch=True) * 2 >= most_cost_of(request)


def test_a_snapshot_has_the_prices_of_its_model() -> None:
    """A name with a date at its end is the same model; any other addition is another one."""
    assert profile_of("claude-opus-5-5-20261001") is profile_of("claude-opus-5-5")
    with pytest.raises(UsageError):
        profile_of("claude-opus-5-5-turbo")


def test_an_unknown_model_is_refused() -> None:
    """The message names the file, the hint what there is and what to add."""
    with pytest.raises(UsageError) as caught:
        cost_of("gpt-1", Usage())
    assert caught.value.message == 'there is no model "gpt-1" in data/models.toml'
    assert caught.value.hint.startswith("one of claude-haiku-5-5, claude-opus-5-5, claude-sonnet-5-5; or add")
    assert "[models.gpt-1]" in caught.value.hint


def test_knowledge_ends_with_the_last_day() -> None:
    """All three know of June 2026: the first instant of July is past the cutoff, the one before is not."""
    for profile in shipped_models().values():
        assert profile.knowledge_cutoff == date(2026, 6, 30)
        assert profile.known_before_ns == parse_time("2026-07-01T00:00:00Z")


WRONG = [
    ("[models.a]\ninput = 1\n", "missing required field"),
    (
        "[models.a]\ninput = 1.5\noutput = 1\ncache_write = 1\ncache_read = 1\nknowledge_cutoff = 2026-01-01",
        "int",
    ),
    (
        "[models.a]\ninput = -1\noutput = 1\ncache_write = 1\ncache_read = 1\nknowledge_cutoff = 2026-01-01",
        "input = -1",
    ),
    ("[models.a", "models.toml: "),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=["missing", "fraction", "negative", "syntax"])
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong in a file of models is said with the file's name."""
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_models(path)
    assert "models.toml" in caught.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """No traceback for a missing file."""
    with pytest.raises(InputError, match=r"models\.toml: No such file"):
        load_models(tmp_path / "models.toml")


@pytest.mark.parametrize(
    ("nano_usd", "shown"), [(0, "0.000000 USD"), (1, "0.000001 USD"), (1_234_567_000, "1.234567 USD")]
)
def test_amounts_for_people_are_never_too_small(nano_usd: int, shown: str) -> None:
    """Six decimals, rounded up."""
    assert usd(nano_usd) == shown


def test_usage_has_no_hidden_fields() -> None:
    """The four counts of the API's usage that are billed, in the order of the constructor."""
    assert msgspec.structs.astuple(Usage(1, 2, 3, 4)) == (1, 2, 3, 4)
