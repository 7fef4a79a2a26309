"""Faults of a local venue: how they are written, whom they hit, and that a seed repeats them."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from engine.model.errors import UsageError
from engine.serve.faults import NAMES, ClientFaults, Fault, FaultPlan, parse_fault, parse_faults
from engine.serve.garbage import FORMS, garble
from engine.serve.packets import Packet

WORDS: list[tuple[str, Fault]] = [
    ("disconnect:30s", Fault("disconnect", duration_s=30.0)),
    ("disconnect:200ms", Fault("disconnect", duration_s=0.2)),
    ("disconnect:25", Fault("disconnect", count=25)),
    ("silence:7", Fault("silence", count=7)),
    ("shutdown", Fault("shutdown", duration_s=30.0)),
    ("shutdown:5m", Fault("shutdown", duration_s=300.0)),
    ("shutdown:100", Fault("shutdown", count=100)),
    ("gap", Fault("gap", count=1, chance=0.01)),
    ("gap:3", Fault("gap", count=3, chance=0.01)),
    ("gap:0.05", Fault("gap", count=1, chance=0.05)),
    ("gap:3:every100", Fault("gap", count=3, every=100)),
    ("duplicate:first3", Fault("duplicate", first=3)),
    (" reorder:every30s ", Fault("reorder", every_s=30.0)),
    ("garbage:1.0", Fault("garbage", chance=1.0)),
    ("stall", Fault("stall", duration_s=10.0, every_s=30.0)),
    ("stall:1s:0.001", Fault("stall", duration_s=1.0, chance=0.001)),
    ("slow", Fault("slow", count=20_000)),
    ("slow:500", Fault("slow", count=500)),
    ("429", Fault("429", duration_s=1.0, chance=0.25)),
    ("429:2s:every3", Fault("429", duration_s=2.0, every=3)),
    ("html", Fault("html")),
]
WRONG = [
    "", "nonsense", "disconnect", "disconnect:", "disconnect:0", "disconnect:0s", "disconnect:3:0.1",
    "silence:3s", "silence", "html:1", "silence:-1", "gap:", "gap:0", "gap:1.5", "gap:every0", "gap:0.1:3",
    "gap:3:3", "gap:every", "slow:1s", "slow:0.5", "429:5", "429:every0s", "stall:10", "duplicate:2",
    "disconnect:3000000000000s", "gap:every3:0.1",
]  # fmt: skip


class Clock:
    """Seconds under the test's hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


@pytest.mark.parametrize(("text", "fault"), WORDS, ids=[text for text, _ in WORDS])
def test_how_a_fault_is_written(text: str, fault: Fault) -> None:
    """A name, how much, and when; what is not said has a default."""
    assert parse_fault(text) == fault


def test_every_fault_is_in_the_table() -> None:
    """The table above has each name at least once."""
    assert {fault.name for _, fault in WORDS} == set(NAMES)


@pytest.mark.parametrize("text", WRONG)
def test_unknown_faults_are_named(text: str) -> None:
    """A fault that does not exist, or not like this, is refused, with those that do."""
    with pytest.raises(UsageError) as caught:
        parse_fault(text)
    assert f'"{text}"' in caught.value.message
    assert "disconnect:N" in caught.value.hint


def test_several_faults_stand_between_commas() -> None:
    """One text or several give one list; a name comes once."""
    assert [f.name for f in parse_faults(["gap, duplicate", "reorder:0.5,"])] == [
        "gap",
        "duplicate",
        "reorder",
    ]
    assert parse_faults([""]) == ()
    with pytest.raises(UsageError, match='"gap" is named twice'):
        parse_faults(["gap", "stall,gap:3"])


def struck(seed: str, count: int = 3_000) -> list[str]:
    faults = ClientFaults(parse_faults(["gap:0.02,duplicate:0.1,reorder:every7"]), seed)
    return [fault.name if fault else "" for fault in (faults.frame() for _ in range(count))]


def test_a_seed_repeats_its_faults() -> None:
    """The same seed and number hit the same frames; another seed, or another client, others."""
    assert struck("3:1") == struck("3:1")
    assert struck("3:1") != struck("4:1")
    assert struck("3:1") != struck("3:2")


def test_the_first_fault_of_the_list_wins_and_draws_nothing_from_the_others() -> None:
    """Frames that gap hits are the same whether or not others are asked for; it goes before them."""
    alone = ClientFaults(parse_faults(["gap:0.02"]), "3:1")
    hits = [bool(alone.frame()) for _ in range(3_000)]
    assert [name == "gap" for name in struck("3:1")] == hits
    assert 30 < sum(hits) < 90
    others = struck("3:1")
    assert others.count("reorder") == sum(
        (n + 1) % 7 == 0 and others[n] not in {"gap", "duplicate"} for n in range(3_000)
    )


def test_when_by_time_and_by_number() -> None:
    """every30s hits the first frame after each 30 s; first2 the first two."""
    clock = Clock()
    timed = ClientFaults((parse_fault("garbage:every30s"),), "0:1", clock)
    hits = []
    for _ in range(10):
        hits.append(bool(timed.frame()))
        clock.now_s += 10.0
    assert hits == [False, False, False, True, False, False, True, False, False, True]
    first = ClientFaults((parse_fault("garbage:first2"),))
    assert [bool(first.frame()) for _ in range(4)] == [True, True, False, False]


def test_who_ignores_retry_after_is_banned_for_longer_each_time() -> None:
    """429, then 418 with twice the wait as often as it is ignored; others are not touched."""
    clock = Clock()
    plan = FaultPlan([parse_fault("429:2s:every3")], clock=clock)
    assert [plan.refusal("a") for _ in range(3)] == [None, None, (429, 2)]
    clock.now_s += 1.0
    assert plan.refusal("b") is None
    assert plan.refusal("a") == (418, 4)
    clock.now_s += 3.9
    assert plan.refusal("a") == (418, 8)
    clock.now_s += 8.0
    assert plan.refusal("a") is None
    assert [plan.refusal("b") for _ in range(2)] == [None, (429, 2)]


def test_a_wait_of_less_than_a_second_is_announced_as_one() -> None:
    """Retry-After knows whole seconds, and never fewer than the wait."""
    plan = FaultPlan([parse_fault("429:200ms:first1")], clock=Clock())
    assert plan.refusal("a") == (429, 1)


def test_calm_ends_all_faults() -> None:
    """No request is refused any more, and new clients meet nothing."""
    plan = FaultPlan(parse_faults(["429:1s:every1,gap:every1"]), clock=Clock())
    assert plan.refusal("a") == (429, 1)
    assert plan.client(1).frame() is not None
    plan.calm = True
    assert plan.refusal("a") is None
    assert plan.client(1).frame() is None


def test_a_negative_seed_is_refused() -> None:
    """Seeds are 0 or more."""
    with pytest.raises(UsageError, match="seed -1"):
        FaultPlan(seed=-1)


FRAME = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"1.0","m":true,"x":null}}'
)


@pytest.mark.parametrize("binary", [False, True])
def test_garbage_is_never_the_message_that_it_was_made_of(*, binary: bool) -> None:
    """Of 400 garbled frames all differ from the good one, and every way of garbling occurs."""
    body = msgspec.msgpack.encode(msgspec.json.decode(FRAME)) if binary else FRAME
    chance = Random(5)
    found = [garble(body, binary=binary, chance=chance) for _ in range(400)]
    assert all(garbled != body for garbled, _ in found)
    codec = msgspec.msgpack if binary else msgspec.json
    readable = 0
    for garbled, as_binary in found:
        try:
            value = codec.decode(garbled)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        readable += isinstance(value, dict)
        if isinstance(value, dict):
            assert as_binary is binary
            assert value["data"]["t"] == "~5"
    assert 0.7 / len(FORMS) < readable / 400 < 1.3 / len(FORMS)


@pytest.mark.parametrize(("length", "pieces"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, 2), (1_000, 3)])
def test_fragments_join_to_the_message(length: int, pieces: int) -> None:
    """The first has the opcode, the others continue it, and only the last is final."""
    frames = Packet.of(b"x" * length).fragments()
    assert len(frames) == pieces
    assert [frame[0] & 15 for frame in frames] == [1] + [0] * (len(frames) - 1)
    assert [frame[0] >> 7 for frame in frames] == [0] * (len(frames) - 1) + [1]
    assert sum(frame.count(b"x") for frame in frames) == length
