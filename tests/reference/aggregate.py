"""Bars by Python's own integers and lists: what engine.market.aggregate does in one record."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_MANTISSA = 2**62 - 1


class DoesNotFitError(Exception):
    """A trade that a bar cannot hold."""


@dataclass
class Bar:
    """One bar and the trades in it, (price, size) each."""

    start: int
    end: int
    trades: list[tuple[int, int]] = field(default_factory=list)

    @property
    def volume(self) -> int:
        """Sum of sizes."""
        return sum(size for _, size in self.trades)

    @property
    def money(self) -> int:
        """Sum of |price| * size."""
        return sum(abs(price) * size for price, size in self.trades)

    @property
    def row(self) -> tuple[int, ...]:
        """Start, end, open, high, low, close, volume, number of trades."""
        prices = [price for price, _ in self.trades]
        return (
            self.start,
            self.end,
            prices[0],
            max(prices),
            min(prices),
            prices[-1],
            self.volume,
            len(prices),
        )


class Aggregate:
    """Bars of one kind: "time", "tick", "volume" or "dollar"."""

    def __init__(self, kind: str, step: int) -> None:
        self.kind = kind
        self.step = step
        self.current: Bar | None = None
        self.finished: list[Bar] = []

    @property
    def due(self) -> int | None:
        """When the open time bar ends."""
        return self.current.end if self.current and self.kind == "time" else None

    def finish_due(self, now: int) -> None:
        """Finish the time bar that is over at `now`."""
        if self.current and self.due is not None and self.due <= now:
            self.finished.append(self.current)
            self.current = None

    def add_trade(self, ts: int, price: int, size: int) -> None:
        """Take a trade."""
        over = self.due is not None and self.due <= ts
        volume = self.current.volume if self.current and not over else 0
        if max(abs(price), size, volume + size) > MAX_MANTISSA or size < 0:
            raise DoesNotFitError
        self.finish_due(ts)
        if self.current is None:
            start = ts // self.step * self.step if self.kind == "time" else ts
            self.current = Bar(start, start + self.step)
        bar = self.current
        bar.trades.append((price, size))
        if self.kind == "time":
            return
        bar.end = ts
        reached = {"tick": len(bar.trades), "volume": bar.volume, "dollar": bar.money}[self.kind]
        if reached >= self.step:
            self.finished.append(bar)
            self.current = None
