"""Misbehaviour of a local venue on request, for those who must prove that they survive it.

    NAME[:AMOUNT][:WHEN]     gap   gap:0.05   gap:3:every100   stall:10s   disconnect:30s   429:2s:every3

    disconnect:D|N   every connection is cut, without a close frame, after a time or N data frames
    silence:N        every connection stays open and says nothing more of the market after N data frames
    shutdown[:D|N]   the venue announces its end after a time (30s) or N frames, and closes soon after
    gap[:N]          N data frames in a row (1) are left out
    duplicate        a data frame comes twice
    reorder          a data frame comes after the next one of its stream
    garbage          in the place of a data frame comes what no protocol allows (see garbage)
    stall[:D]        nothing is sent for a time (10s), then all of it; the socket stays open
    slow[:N]         at most N bytes a second (20000), every frame in pieces
    429[:D]          a request, a handshake included, is refused with Retry-After (1s); who comes back
                     sooner gets 418, and twice the time
    html             every request, handshakes included, is answered with a web page

AMOUNT is a number of frames (N, for `slow` of bytes) or a time (D: 30s, 200ms). WHEN says which frames, or
requests, are hit: a probability with a decimal point (0.01), `everyN` (each Nth), `firstN`, or a time
(every30s: the first one after it). Unless said: 0.01 for frames, 0.25 for requests, every30s for stalls.

A fault applies to each connection anew. Of several that would hit one frame the first in the list does; each
draws for each frame from a generator of its own, made of the seed and the client's number. So the same seed
and the same traffic give the same faults; those that go by time follow the clock.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from random import Random

import msgspec

from engine.model.errors import UsageError

HTML_PAGE = b"""<!DOCTYPE html>
<html><head><title>Service notice</title></head>
<body><h1>We will be back soon</h1><p>This page is all that answers here.</p></body></html>
"""
ON_FRAMES = ("gap", "duplicate", "reorder", "garbage", "stall")  # what a frame may meet
LIMIT = "429"


class Fault(msgspec.Struct, frozen=True):
    """One fault: its name, how much, and when. What is 0 does not count."""

    name: str
    count: int = 0  # frames, or bytes a second
    duration_s: float = 0.0
    chance: float = 0.0
    every: int = 0
    every_s: float = 0.0
    first: int = 0


class _Form(msgspec.Struct, frozen=True):
    """How a fault is written: which amounts it takes, whether one must be given, and its defaults."""

    counted: bool = False
    timed: bool = False
    needed: bool = False
    when: bool = False
    default: dict[str, int | float] = {}


_FRAME = {"chance": 0.01}
_FORMS = {
    "disconnect": _Form(counted=True, timed=True, needed=True),
    "silence": _Form(counted=True, needed=True),
    "shutdown": _Form(counted=True, timed=True, default={"duration_s": 30.0}),
    "gap": _Form(counted=True, when=True, default={"count": 1, **_FRAME}),
    "duplicate": _Form(when=True, default=_FRAME),
    "reorder": _Form(when=True, default=_FRAME),
    "garbage": _Form(when=True, default=_FRAME),
    "stall": _Form(timed=True, when=True, default={"duration_s": 10.0, "every_s": 30.0}),
    "slow": _Form(counted=True, default={"count": 20_000}),
    LIMIT: _Form(timed=True, when=True, default={"duration_s": 1.0, "chance": 0.25}),
    "html": _Form(),
}
NAMES = tuple(_FORMS)
_HINT = (
    "NAME[:AMOUNT][:WHEN], NAME one of disconnect:30s or disconnect:N (frames), silence:N, shutdown, gap, "
    "duplicate, reorder, garbage, stall, slow, 429, html; WHEN one of 0.01, every100, every30s, first3"
)
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_TIME = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h)")
_CHANCE = re.compile(r"[01]?\.[0-9]{1,9}")
_LONGEST_WAIT_S = 3600.0
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WHEN = {"chance": 0.0, "every": 0, "every_s": 0.0, "first": 0}


def parse_faults(texts: Iterable[str]) -> tuple[Fault, ...]:
    """The faults that a user writes, several in one text between commas. Raises UsageError."""
    faults = tuple(parse_fault(part) for text in texts for part in text.split(",") if part.strip())
    names = [fault.name for fault in faults]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f'fault "{name}" is named twice', hint="each fault once; several between commas")
    return faults


def parse_fault(text: str) -> Fault:
    """One fault. Raises UsageError, naming the part that is none."""
    name, *parts = text.strip().split(":")
    form = _FORMS.get(name)
    if form is None:
        raise UsageError(f'unknown fault "{text}"', hint=_HINT)
    values = dict(form.default)
    given = False
    for place, part in enumerate(parts):
        if place == 0 and (amount := _amount(part, form)):
            # One amount takes the place of another: shutdown:100 is not after 30 seconds as well.
            values = {k: v for k, v in values.items() if not (k == "duration_s" and "count" in amount)}
            values |= amount
            given = True
        elif place == len(parts) - 1 and form.when and (when := _when(part)) is not None:
            values = {k: v for k, v in values.items() if k not in _WHEN} | when
        else:
            raise UsageError(f'fault "{text}": "{part}" is no part of {name}', hint=_HINT)
    if form.needed and not given:
        raise UsageError(f'fault "{text}": {name} after how much?', hint=_HINT)
    return msgspec.convert({"name": name, **values}, Fault)


def _amount(part: str, form: _Form) -> dict[str, int | float]:
    if form.counted and _COUNT.fullmatch(part):
        return {"count": int(part)}
    if form.timed and (seconds := _seconds(part)):
        return {"duration_s": seconds}
    return {}


def _when(part: str) -> dict[str, int | float] | None:
    if _CHANCE.fullmatch(part) and float(part) <= 1:
        return {"chance": float(part)}
    for word in ("every", "first"):
        rest = part.removeprefix(word)
        if rest != part and _COUNT.fullmatch(rest):
            return {word: int(rest)}
    if part.startswith("every") and (seconds := _seconds(part.removeprefix("every"))):
        return {"every_s": seconds}
    return None


def _seconds(text: str) -> float:
    match = _TIME.fullmatch(text)
    return float(match[1]) * _UNIT_S[match[2]] if match else 0.0


class Strikes:
    """When one fault hits, told for one frame, or request, after the other."""

    def __init__(self, fault: Fault, seed: str, clock: Callable[[], float]) -> None:
        self.fault = fault
        self._clock = clock
        self._count = 0
        self._next_s = clock() + fault.every_s
        self._chance = Random(f"{seed}:{fault.name}")  # noqa: S311  chance, not a secret

    def due(self) -> bool:
        """Whether the next one is hit."""
        fault = self.fault
        self._count += 1
        if fault.first:
            return self._count <= fault.first
        if fault.every:
            return self._count % fault.every == 0
        if fault.every_s:
            now_s = self._clock()
            if now_s < self._next_s:
                return False
            self._next_s = now_s + fault.every_s
            return True
        return self._chance.random() < fault.chance


class ClientFaults:
    """What one client meets. The faults of its whole connection are attributes, None where there is none."""

    def __init__(
        self, faults: tuple[Fault, ...] = (), seed: str = "0:1", clock: Callable[[], float] = time.monotonic
    ) -> None:
        named = {fault.name: fault for fault in faults}
        self.any = bool(named.keys() - {LIMIT, "html"})
        self.disconnect = named.get("disconnect")
        self.silence = named.get("silence")
        self.shutdown = named.get("shutdown")
        self.slow = named.get("slow")
        self.chance = Random(f"{seed}:bytes")  # noqa: S311  chance, not a secret
        self._strikes = [Strikes(fault, seed, clock) for fault in faults if fault.name in ON_FRAMES]

    def frame(self) -> Fault | None:
        """What the next data frame meets."""
        struck = [strikes.fault for strikes in self._strikes if strikes.due()]
        return struck[0] if struck else None


class FaultPlan:
    """All faults of a venue: gives each client its own, and decides for requests."""

    def __init__(
        self, faults: Iterable[Fault] = (), *, seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if seed < 0:
            raise UsageError(f"fault seed {seed} is negative", hint="a seed is 0 or more")
        self.faults = tuple(faults)
        self.seed = seed
        self.calm = False  # nothing is done wrong any more
        named = {fault.name: fault for fault in self.faults}
        self.html = "html" in named
        self._clock = clock
        limit = named.get(LIMIT)
        self._limit = Strikes(limit, f"{seed}:requests", clock) if limit else None
        self._waits: dict[str, tuple[float, float]] = {}  # by address: until when, and how long it was

    def client(self, number: int) -> ClientFaults:
        """What the client of this number meets."""
        return ClientFaults(() if self.calm else self.faults, f"{self.seed}:{number}", self._clock)

    def refusal(self, address: str) -> tuple[int, int] | None:
        """What a request meets: a status and whole seconds to wait, or None. `address` is who asks."""
        if self._limit is None or self.calm:
            return None
        now_s = self._clock()
        status, wait_s = 429, self._limit.fault.duration_s
        until_s, waited_s = self._waits.get(address, (0.0, 0.0))
        struck = self._limit.due()
        if now_s < until_s:
            status, wait_s = 418, min(2 * waited_s, _LONGEST_WAIT_S)
        elif not struck:
            return None
        self._waits[address] = (now_s + wait_s, wait_s)
        return status, max(1, math.ceil(wait_s))
