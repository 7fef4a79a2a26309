"""Misbehaviour of the local news endpoint, on request and seeded.

    NAME[:DURATION][:WHEN]        429:2s    500:every3    malformed:0.1    edit:10s:every2    stall:first1

    429          too many requests; the duration is its Retry-After (1 s unless given)
    500          an error without a reason
    malformed    the list breaks off in the middle
    stall        no answer; with a duration, the answer after it
    edit         a headline is corrected, so long after it appeared (5 s unless given)

WHEN is a probability, `everyN` (each Nth request; of edit, each Nth headline) or `firstN`; always, unless
given. Of several faults that strike one request the first is done.
"""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from engine.model.errors import UsageError
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.serve.fault_words import when_of

EDIT = "edit"
NAMES = ("429", "500", "malformed", "stall", EDIT)
_DEFAULT_NS = {"429": SECOND_NS, EDIT: 5 * SECOND_NS}
_TIMED = ("429", "stall", EDIT)
_DURATION = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(ms|s)")
_HINT = f"NAME[:DURATION][:WHEN], NAME one of {', '.join(NAMES)}"


class NewsFault(msgspec.Struct, frozen=True):
    """One fault: what, how long, when. `every` and `first` are 0 where they do not count."""

    name: str
    duration_ns: int = 0
    chance: float = 1.0
    every: int = 0
    first: int = 0

    def strikes(self, number: int, seed: int) -> bool:
        """Whether it strikes the `number`-th request, or headline, from 1."""
        if self.first:
            return number <= self.first
        if self.every:
            return number % self.every == 0
        word = sha256(f"{seed}:{self.name}:{number}".encode()).digest()
        return int.from_bytes(word[:6]) / 2**48 < self.chance


def parse_news_faults(texts: tuple[str, ...]) -> tuple[tuple[NewsFault, ...], tuple[NewsFault, ...]]:
    """What requests meet, and what headlines meet: the edits. Raises UsageError for what is no fault."""
    faults = [parse_news_fault(text) for text in texts]
    return tuple(f for f in faults if f.name != EDIT), tuple(f for f in faults if f.name == EDIT)


def parse_news_fault(text: str) -> NewsFault:
    """The fault that a user writes. Raises UsageError, naming the part that is none."""
    name, *parts = text.strip().split(":")
    if name not in NAMES or len(parts) > 2:
        raise UsageError(f'unknown fault "{text}"', hint=_HINT)
    fault = NewsFault(name, _DEFAULT_NS.get(name, 0))
    for place, part in enumerate(parts):
        ends = place == len(parts) - 1
        if place == 0 and name in _TIMED and (duration := _DURATION.fullmatch(part)):
            unit_ns = SECOND_NS if duration[2] == "s" else MILLISECOND_NS
            fault = msgspec.structs.replace(fault, duration_ns=round(float(duration[1]) * unit_ns))
        elif ends and (when := when_of(part)) is not None:
            fault = msgspec.structs.replace(fault, **when)
        else:
            raise UsageError(
                f'fault "{text}": "{part}" is no part of {name}',
                hint="a duration (2s, 200ms: 429, stall, edit), then 0.3, every3 or first1",
            )
    return fault
