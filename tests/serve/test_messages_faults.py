"""Faults of the local Messages API: how they are written, and when they strike."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from engine.model.errors import UsageError
from engine.serve.messages_faults import (
    NAMES,
    FaultPlan,
    MessageFault,
    Verdict,
    parse_header,
    parse_message_fault,
)

WRITTEN: list[tuple[str, MessageFault]] = [
    ("529", MessageFault("529")),
    ("429", MessageFault("429", 1.0, 1.0)),
    ("429:0.3", MessageFault("429", 1.0, 1.0, chance=0.3)),
    ("429:2s:0.3", MessageFault("429", 2.0, 2.0, chance=0.3)),
    ("429:1", MessageFault("429", 1.0, 1.0)),
    ("429-spend:every5", MessageFault("429-spend", every=5)),
    ("latency:200ms", MessageFault("latency", 0.2, 0.2)),
    ("latency:50ms-1.5s:0.5", MessageFault("latency", 0.05, 1.5, chance=0.5)),
    ("timeout:first1", MessageFault("timeout", first=1)),
    ("trickle", MessageFault("trickle", 0.01, 0.01)),
    ("refusal:0", MessageFault("refusal", chance=0.0)),
]


@pytest.mark.parametrize(("text", "fault"), WRITTEN, ids=[each[0] for each in WRITTEN])
def test_how_a_fault_is_written(text: str, fault: MessageFault) -> None:
    """A name, perhaps a duration, perhaps when."""
    assert parse_message_fault(text) == fault


@pytest.mark.parametrize("name", [name for name in NAMES if name != "latency"])
def test_every_name_stands_alone(name: str) -> None:
    """All but latency, which needs to know how long."""
    assert parse_message_fault(name).name == name


def test_every_fault_is_documented() -> None:
    """docs/claude.md has a row for each, and none for what there is not."""
    page = (Path(__file__).parents[2] / "docs" / "claude.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.endswith(("| yes |", "| no |"))]
    assert sorted(name.split(":")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(
        NAMES
    )


WRONG = [
    ("", 'unknown fault ""'),
    ("earthquake", 'unknown fault "earthquake"'),
    ("latency", "how long?"),
    ("latency:0.5", "how long?"),
    ("latency:300ms-50ms", "is no range"),
    ("latency:2h", '"2h" is no part of latency'),
    ("latency:9999s", "is no range up to 3600s"),
    ("refusal:200ms", '"200ms" is no part of refusal'),
    ("529:1.5", '"1.5" is no part of 529'),
    ("529:-1", '"-1" is no part of 529'),
    ("529:every0", '"every0" is no part of 529'),
    ("529:nan", '"nan" is no part of 529'),
    ("529:0.5:1s", '"0.5" is no part of 529'),
    ("529:1s:0.5:every2", "too many parts"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[each[0] or "empty" for each in WRONG])
def test_what_is_no_fault_is_said(text: str, message: str) -> None:
    """With the part that is wrong, and how to write it."""
    with pytest.raises(UsageError) as caught:
        parse_message_fault(text)
    assert message in caught.value.message
    assert caught.value.hint


def struck(*faults: str, questions: int, seed: int = 7, same: bool = False) -> str:
    """One character per question: x where a fault strikes."""
    plan = FaultPlan(tuple(map(parse_message_fault, faults)), seed=seed)
    digests = [sha256(b"" if same else bytes([n])).hexdigest() for n in range(questions)]
    return "".join("x" if plan.decide(digest).name else "." for digest in digests)


def test_when_faults_strike() -> None:
    """Always, never, each third, the first two."""
    assert struck("529", questions=4) == "xxxx"
    assert struck("529:0", questions=4) == "...."
    assert struck("529:every3", questions=7) == "..x..x."
    assert struck("529:first2", questions=4) == "xx.."
    assert struck(questions=2) == ".."


def test_chance_depends_on_the_seed_alone() -> None:
    """The same twice, another with another seed, and about as often as asked for."""
    first = struck("529:0.3", questions=200, seed=1)
    assert struck("529:0.3", questions=200, seed=1) == first
    assert struck("529:0.3", questions=200, seed=2) != first
    assert 40 <= first.count("x") <= 80


def test_a_question_asked_again_draws_again() -> None:
    """A retry may get through where the first try did not."""
    assert set(struck("529:0.5", questions=50, same=True)) == {"x", "."}


def test_latencies_add_up_and_the_first_of_the_others_wins() -> None:
    """Each fault decides for itself; one end is enough for a question."""
    plan = FaultPlan(tuple(map(parse_message_fault, ["latency:1s", "529", "latency:2s", "drop"])))
    assert plan.decide("a") == Verdict(3.0, "529", 0.0)


def test_a_range_is_drawn_from() -> None:
    """All draws lie in it, and they differ."""
    plan = FaultPlan((parse_message_fault("latency:50ms-300ms"),), seed=5)
    drawn = [plan.decide(str(n)).latency_s for n in range(100)]
    assert all(0.05 <= each < 0.3 for each in drawn)
    assert len(set(drawn)) == 100


def test_the_header_names_faults_without_when() -> None:
    """Several between commas; none is nothing; a chance is refused."""
    assert parse_header("latency:1s,529:2s") == Verdict(1.0, "529", 2.0)
    assert parse_header(" none ") == Verdict()
    with pytest.raises(UsageError, match="has no when"):
        parse_header("529:first1")
