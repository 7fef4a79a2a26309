"""Misbehaviour of the local Messages API, on request and seeded.

    NAME[:DURATION][:WHEN]        429    429:2s:0.3    latency:50ms-300ms    529:every3    timeout:first1

    latency:D         the answer comes after D, or after a time drawn from a range
    400 401 402 403 404 413 429 429-spend 500 504 529
                      the API's error; a duration is its retry-after (429: 1 s unless given)
    timeout           the question is billed and never answered
    drop              the connection ends in the middle of the body
    trickle           the body comes byte by byte, D apart (10 ms unless given)
    malformed         the body is no JSON
    refusal truncated thinking unknown empty outside
                      an answer bent so; see messages_answer

WHEN is a probability, `everyN` (each Nth question) or `firstN` (the first N of them); always, unless given.
Of several faults each decides for itself: latencies add up, and of the others the first that strikes is done.

Chance is drawn from the seed, the question and how often it was asked before, not from the order of arrival:
a session with a hundred questions in flight meets the same faults as one that asks them in turn.
"""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from engine.model.errors import UsageError
from engine.serve.fault_words import when_of
from engine.serve.messages_answer import BENDS
from engine.serve.messages_wire import ERRORS

TRANSPORT = ("timeout", "drop", "trickle", "malformed")
NAMES = ("latency", *ERRORS, *TRANSPORT, *BENDS)
NO_FAULT = "none"
_TIMED = ("latency", "trickle", *ERRORS)
_DEFAULT_S = {"429": 1.0, "trickle": 0.01}
_MOST_SECONDS = 3600.0
_MOST_REMEMBERED = 65_536
_TIME = r"(\d+(?:\.\d+)?)(ms|s)"
_DURATION = re.compile(rf"{_TIME}(?:-{_TIME})?")
_HINT = f"NAME[:DURATION][:WHEN], NAME one of {', '.join(NAMES)}"


class MessageFault(msgspec.Struct, frozen=True):
    """One fault: what, how long, when. `every` and `first` are 0 where they do not count."""

    name: str
    low_s: float = 0.0
    high_s: float = 0.0
    chance: float = 1.0
    every: int = 0
    first: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What one question meets. `name` is "" where it is simply answered."""

    latency_s: float = 0.0
    name: str = ""
    duration_s: float = 0.0


def parse_message_fault(text: str) -> MessageFault:
    """The fault that a user writes. Raises UsageError, naming the part that is none."""
    name, *parts = text.strip().split(":")
    if name not in NAMES:
        raise UsageError(f'unknown fault "{text}"', hint=_HINT)
    if len(parts) > 2:
        raise UsageError(f'fault "{text}": too many parts', hint=_HINT)
    default_s = _DEFAULT_S.get(name, 0.0)
    fault = MessageFault(name, default_s, default_s)
    timed = False
    for part in parts:
        duration = _DURATION.fullmatch(part)
        if duration and name in _TIMED and not timed:
            low_s = _seconds(duration.group(1), duration.group(2))
            high_s = _seconds(duration.group(3), duration.group(4)) if duration.group(3) else low_s
            if not low_s <= high_s <= _MOST_SECONDS:
                raise UsageError(f'fault "{text}": {part} is no range up to {_MOST_SECONDS:.0f}s', hint=_HINT)
            fault = msgspec.structs.replace(fault, low_s=low_s, high_s=high_s)
            timed = True
        elif part == parts[-1] and (when := when_of(part)) is not None:
            fault = msgspec.structs.replace(fault, **when)
        else:
            raise UsageError(
                f'fault "{text}": "{part}" is no part of {name}',
                hint="a duration (200ms, 50ms-2s: latency, trickle, errors), then 0.3, every3 or first1",
            )
    if name == "latency" and not timed:
        raise UsageError(f'fault "{text}": how long?', hint="latency:200ms, or a range: latency:50ms-300ms")
    return fault


def parse_header(text: str) -> Verdict:
    """The verdict that the header `x-engine-fault` dictates: faults between commas, or none. UsageError."""
    if text.strip() == NO_FAULT:
        return Verdict()
    faults = [parse_message_fault(part) for part in text.split(",")]
    for fault in faults:
        if fault.chance < 1 or fault.every or fault.first:
            raise UsageError(f'fault "{text}": a header speaks of its own request, so it has no when')
    return _verdict([(fault, 0.5) for fault in faults])


class FaultPlan:
    """Decides for each question in turn what it meets."""

    def __init__(self, faults: tuple[MessageFault, ...] = (), *, seed: int = 7) -> None:
        self._faults, self._seed = faults, seed
        self._questions = 0
        self._asked: dict[str, int] = {}

    def decide(self, digest: str) -> Verdict:
        """What this asking of a question meets; `digest` tells questions apart."""
        if not self._faults:
            return Verdict()
        self._questions += 1
        time = self._asked.pop(digest, 0) + 1
        self._asked[digest] = time  # the latest last
        if len(self._asked) > _MOST_REMEMBERED:
            del self._asked[next(iter(self._asked))]
        struck = []
        for number, fault in enumerate(self._faults):
            strikes, spread = self._draws(f"{self._seed}:{number}:{digest}:{time}")
            if fault.first:
                due = self._questions <= fault.first
            elif fault.every:
                due = self._questions % fault.every == 0
            else:
                due = strikes < fault.chance
            if due:
                struck.append((fault, spread))
        return _verdict(struck)

    @staticmethod
    def _draws(key: str) -> tuple[float, float]:
        """Two numbers of [0, 1)."""
        words = sha256(key.encode()).digest()
        return int.from_bytes(words[:6]) / 2**48, int.from_bytes(words[6:12]) / 2**48


def _verdict(struck: list[tuple[MessageFault, float]]) -> Verdict:
    """Latencies in sum, and the first of the others; each fault with its place in its range."""
    latency_s, name, duration_s = 0.0, "", 0.0
    for fault, spread in struck:
        drawn_s = fault.low_s + (fault.high_s - fault.low_s) * spread
        if fault.name == "latency":
            latency_s += drawn_s
        elif not name:
            name, duration_s = fault.name, drawn_s
    return Verdict(latency_s, name, duration_s)


def _seconds(number: str, unit: str) -> float:
    return float(number) / (1_000 if unit == "ms" else 1)
