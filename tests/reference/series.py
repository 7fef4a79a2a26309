"""Bars that a strategy asked for, in plain Python: who is owed which bar, and when."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from engine.config import parse_duration
from engine.model.kinds import Flag
from engine.strategy.api import Bar
from tests.reference.aggregate import Aggregate

if TYPE_CHECKING:
    from engine.model.instruments import Instrument

_KINDS = {"t": "tick", "v": "volume", "d": "dollar"}


class Series:
    """All that were asked for, in order."""

    def __init__(self) -> None:
        self._asked: list[tuple[Instrument, str, Aggregate]] = []

    def ask(self, who: Instrument, every: str) -> int:
        """The number of a series."""
        for number, (other, text, _) in enumerate(self._asked, 1):
            if (other, text) == (who, every):
                return number
        kind = _KINDS.get(every[-1])
        if kind is None or every.endswith("ms"):
            made = Aggregate("time", parse_duration(every))
        else:
            decimals = {"tick": 0, "volume": who.size_decimals}.get(
                kind, who.size_decimals + who.price_decimals
            )
            made = Aggregate(kind, int(Fraction(every[:-1]) * 10**decimals))
        self._asked.append((who, every, made))
        return len(self._asked)

    def first_due(self, ts: int) -> int | None:
        """When the first time bar that is over at `ts` ended."""
        times = [made.due for _, _, made in self._asked if made.due is not None and made.due <= ts]
        return min(times, default=None)

    def over(self, due: int) -> Bar:
        """The bar of the first series whose bar ends at `due`."""
        number = next(i for i, (_, _, made) in enumerate(self._asked) if made.due == due)
        self._asked[number][2].finish_due(due)
        return self._bar(number, due)

    def trade(self, who: Instrument, ts: int, price: int, size: int) -> list[Bar]:
        """The bars that a trade finishes."""
        bars = []
        for number, (owner, _, made) in enumerate(self._asked):
            if owner == who:
                before = len(made.finished)
                made.add_trade(ts, price, size)
                bars += [self._bar(number, ts)] if len(made.finished) > before else []
        return bars

    def _bar(self, number: int, ts: int) -> Bar:
        who, _, made = self._asked[number]
        start, end, opened, high, low, close, volume, trades = made.finished[-1].row
        scale = 10**who.price_decimals
        return Bar(
            who,
            start,
            end - start + (made.kind != "time"),
            opened / scale,
            high / scale,
            low / scale,
            close / scale,
            volume / 10**who.size_decimals,
            trades,
            ts,
            int(Flag.FINAL),
            number + 1,
        )
