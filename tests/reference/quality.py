"""What tick quality is by its description: every window looked at anew for every price, in exact numbers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd
from typing import NamedTuple

from engine.model.kinds import ASK, BID, Flag, Kind

UNJUDGED = (
    Flag.DUPLICATE
    | Flag.OUT_OF_ORDER
    | Flag.BACKFILLED
    | Flag.IMPORTED
    | Flag.REVISED
    | Flag.REJECTED_TICK
    | Flag.SNAPSHOT
)


class Fact(NamedTuple):
    """A row that says something: an instrument's decimals, a price, or neither."""

    kind: Kind
    instrument: int = 1
    source: int = 1
    side: int = 0
    price: int = 0
    size: int = 0
    id: int = 0
    flags: Flag = Flag.LAST
    ts: int = 0
    decimals: int = 0  # of an INSTRUMENT
    increment: str = "0.01"  # of an INSTRUMENT's prices


class Said(NamedTuple):
    """A STATUS row: behind which row, which rule ("" for a window made anew), first and last of a run."""

    row: int
    rule: str
    first: int = 0
    last: int = 0


@dataclass
class Window:
    """Prices that count, and those that were rejected since the last one that did."""

    prices: deque[int] = field(default_factory=lambda: deque(maxlen=200))
    run: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=20))
    increment: int = 1
    seen: int = 0  # the greatest common divisor of all prices that ever counted

    @property
    def step(self) -> int:
        """What prices move by, by the definition and by what they have shown."""
        return gcd(self.increment, self.seen)

    def judge(self, price: int, *, strict: bool) -> tuple[Flag, str]:
        """The flags that a price earns, and the rule that it breaks."""
        flags, broken = Flag(0), ""
        count = len(self.prices)
        if count < 20:
            return flags, broken
        middle = lower_median(self.prices)
        away = abs(price - middle)
        deviation = lower_median([abs(p - middle) for p in self.prices])
        if self.apart(away, middle) and away > 20 * deviation:
            broken = "far"
        if count >= 30 and len(set(self.prices)) > 1:
            # z ** 2, numerator and denominator, each multiplied by count ** 2
            square = (count * price - sum(self.prices)) ** 2
            variance = Fraction(count * sum(p * p for p in self.prices) - sum(self.prices) ** 2)
            variance = max(variance, Fraction(count * self.step, 2) ** 2)
            if 4 * square >= 25 * variance:
                flags |= Flag.UNUSUAL
            if square >= 16 * variance:
                flags |= Flag.EXTREME
                broken = broken or ("score" if strict else "")
        return flags, broken

    def apart(self, distance: int, middle: int) -> bool:
        """Whether this is more than 5 % of the median, and more than ten steps."""
        return 20 * distance > middle and distance > 10 * self.step

    def reject(self, price: int, number: int) -> tuple[int, int] | None:
        """First and last of the run when this price completes one that agrees."""
        self.run.append((price, number))
        prices = [p for p, _ in self.run]
        middle = lower_median(prices)
        if len(prices) < 20 or any(self.apart(abs(p - middle), middle) for p in prices):
            return None
        ends = self.run[0][1], self.run[-1][1]
        self.prices = deque(prices, maxlen=200)
        self.seen = gcd(self.seen, *prices)
        self.run.clear()
        return ends


def lower_median(values: Sequence[int] | deque[int]) -> int:
    """The middle one, or the lower of the middle two."""
    return sorted(values)[(len(values) - 1) // 2]


class Twin:
    """All windows of a file whose sources are all judged in one mode."""

    def __init__(self, mode: str = "warn") -> None:
        self._strict = mode == "strict"
        self._decimals: dict[int, int] = {}
        self._increments: dict[int, int] = {}
        self._windows: defaultdict[tuple[int, str], Window] = defaultdict(Window)

    def run(self, facts: Sequence[Fact]) -> tuple[list[Flag], list[Said]]:
        """The flags of every row, and what is said behind which."""
        flags = [fact.flags for fact in facts]
        said: list[Said] = []
        row = 0
        while row < len(facts):
            fact = facts[row]
            rows = [row]
            if fact.kind is Kind.INSTRUMENT:
                self._define(fact)
            elif fact.kind is Kind.QUOTE and row + 1 < len(facts):
                behind = facts[row + 1]
                if (
                    (fact.side, behind.kind, behind.side) == (BID, Kind.QUOTE, ASK)
                    and not fact.flags & Flag.LAST
                    and (fact.instrument, fact.id) == (behind.instrument, behind.id)
                ):
                    rows.append(row + 1)
            doubtful = any(facts[r].flags & UNJUDGED for r in rows)
            known = fact.instrument in self._decimals
            if fact.kind in (Kind.TRADE, Kind.QUOTE) and known and not doubtful:
                earned = self._tick([facts[r] for r in rows], rows[-1], said)
                for r in rows:
                    flags[r] |= earned
            row = rows[-1] + 1
        return flags, said

    def _define(self, fact: Fact) -> None:
        increment = Fraction(fact.increment) * 10**fact.decimals
        self._increments[fact.instrument] = int(increment) if increment.denominator == 1 else 1
        factor = 10 ** (fact.decimals - self._decimals.get(fact.instrument, fact.decimals))
        for (instrument, _), window in self._windows.items():
            if instrument == fact.instrument:
                window.seen = int(window.seen * factor)
                window.prices = deque((int(p * factor) for p in window.prices), maxlen=200)
                window.run = deque(((int(p * factor), n) for p, n in window.run), maxlen=20)
        self._decimals[fact.instrument] = fact.decimals

    def _tick(self, rows: list[Fact], place: int, said: list[Said]) -> Flag:
        legs = [row for row in rows if row.kind is Kind.TRADE or (row.price, row.size) != (0, 0)]
        for row in legs:
            if row.price <= 0 or row.size <= 0:
                said.append(Said(place, "price" if row.price <= 0 else "size"))
                return Flag.REJECTED_TICK
        if len(legs) == 2 and legs[0].price > legs[1].price:
            said.append(Said(place, "crossed"))
            return Flag.REJECTED_TICK
        flags = Flag(0)
        for row in legs:
            window = self._window(row)
            earned, broken = window.judge(row.price, strict=self._strict)
            flags |= earned
            if broken:
                if not flags & Flag.REJECTED_TICK:
                    said.append(Said(place, broken))
                flags |= Flag.REJECTED_TICK
                ends = window.reject(row.price, row.id or row.ts)
                if ends is not None:
                    said.append(Said(place, "", *ends))
        if not flags & Flag.REJECTED_TICK:
            for row in legs:
                window = self._window(row)
                window.prices.append(row.price)
                window.seen = gcd(window.seen, row.price)
                window.run.clear()
        return flags

    def _window(self, row: Fact) -> Window:
        aggregate = "aggregate" if row.flags & Flag.AGGREGATE else "trade"
        stream = aggregate if row.kind is Kind.TRADE else "ask" if row.side == ASK else "bid"
        window = self._windows[row.instrument, stream]
        window.increment = self._increments[row.instrument]
        return window
