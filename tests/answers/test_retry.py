"""What is asked again, when, and what may have been billed: the table of the module, row by row."""

from __future__ import annotations

from random import Random

import pytest

from engine.answers.retry import (
    BackOff,
    Failure,
    hold_ns,
    is_retried,
    is_trouble,
    may_be_billed,
    retry_after_ns,
    wait_ns,
)
from engine.model.units import MILLISECOND_NS, SECOND_NS, parse_time

NO, YES = False, True
# what came, again, trouble, may be billed
ROWS = [
    *((Failure(status), NO, NO, NO) for status in (301, 400, 401, 402, 403, 404, 405, 409, 413, 422)),
    (Failure(408), YES, YES, YES),
    (Failure(429), YES, NO, NO),
    (Failure(429, error_code="ramp_limit_exceeded"), YES, NO, NO),
    (Failure(429, error_code="enforced_spend_limit_reached"), NO, NO, NO),
    (Failure(429, error_code="contract_spend_limit_reached"), NO, NO, NO),
    (Failure(429, error_code="of_2031"), NO, NO, NO),
    *((Failure(status), YES, YES, NO) for status in (500, 502, 503, 529)),
    (Failure(504), YES, YES, YES),
    (Failure(0, "timeout"), YES, YES, YES),
    (Failure(0, "refused", sent=False), YES, YES, NO),
]


@pytest.mark.parametrize(
    ("failure", "again", "trouble", "billed"),
    ROWS,
    ids=lambda v: f"{v.status}{v.error_code}{v.error}" if isinstance(v, Failure) else str(v),
)
def test_the_table(failure: Failure, again: bool, trouble: bool, billed: bool) -> None:  # noqa: FBT001  columns
    """Each kind of failure: whether it is repeated, counts for the breaker, may cost something."""
    assert (is_retried(failure), is_trouble(failure), may_be_billed(failure)) == (again, trouble, billed)


BACK_OFF = BackOff(base_ns=100, cap_ns=1_000, retry_after_cap_ns=5_000)


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [(1, 50, 100), (2, 100, 200), (3, 200, 400), (5, 500, 1_000), (99, 500, 1_000)],
)
def test_waits_double_up_to_the_cap_and_half_is_chance(attempt: int, least: int, most: int) -> None:
    """The smallest and the largest chance give the ends of the range."""
    assert wait_ns(BACK_OFF, attempt, lambda: 0.0) == least
    assert least < wait_ns(BACK_OFF, attempt, lambda: 0.999_999) <= most


def test_the_same_seed_waits_the_same() -> None:
    """Chance is an argument: two generators of one seed give one series of waits, another seed another."""

    def waits(seed: int) -> list[int]:
        chance = Random(seed).random
        return [wait_ns(BackOff(), attempt, chance) for attempt in range(1, 7)]

    assert waits(7) == waits(7) != waits(8)


@pytest.mark.parametrize(("said", "waited"), [(10, 100), (300, 300), (5_000, 5_000), (90_000, 5_000)])
def test_who_says_when_to_come_back_is_believed(said: int, waited: int) -> None:
    """Retry-After lengthens a wait, never shortens it, and has a cap."""
    assert wait_ns(BACK_OFF, 2, lambda: 0.0, said) == waited


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3),
        ("0.25", 0.25),
        ("-1", 0),
        ("", 0),
        ("inf", 0),
        ("nan", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_nothing(text: str, seconds: float) -> None:
    """Dates, infinities and nonsense are as no header; our own wait is long enough."""
    assert retry_after_ns({"retry-after": text}) == int(seconds * SECOND_NS)
    assert retry_after_ns({}) == 0


NOW = parse_time("2026-11-21T12:00:00Z")
CAP = 60 * SECOND_NS
LIMITS = [
    ("nothing said", {}, 0),
    ("some left", {"requests-remaining": "1", "requests-reset": "2026-11-21T12:00:09Z"}, 0),
    ("none left", {"requests-remaining": "0", "requests-reset": "2026-11-21T12:00:09Z"}, 9_000),
    (
        "the later of two",
        {
            "requests-remaining": "0",
            "requests-reset": "2026-11-21T12:00:02Z",
            "input-tokens-remaining": "0",
            "input-tokens-reset": "2026-11-21T12:00:03.5Z",
        },
        3_500,
    ),
    ("reset in the past", {"tokens-remaining": "0", "tokens-reset": "2026-11-21T11:59:00Z"}, 0),
    ("reset far away", {"tokens-remaining": "0", "tokens-reset": "2026-12-24T00:00:00Z"}, 60_000),
    ("no reset", {"tokens-remaining": "0"}, 0),
    ("nonsense", {"tokens-remaining": "0", "tokens-reset": "soon"}, 0),
]


@pytest.mark.parametrize(("headers", "held_ms"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_an_empty_limit_holds_calls_back_until_its_reset(headers: dict[str, str], held_ms: int) -> None:
    """Only a limit with nothing left counts, up to the cap, and what cannot be read holds nobody."""
    named = {f"anthropic-ratelimit-{name}": value for name, value in headers.items()}
    assert hold_ns({"request-id": "r", **named}, NOW, CAP) == held_ms * MILLISECOND_NS
