"""Averages that strategies keep while prices come in: exponential and simple."""

from __future__ import annotations

from engine.market.indicators.checks import length


class Ema:
    """Exponential moving average: value += alpha * (x - value), alpha = 2 / (n + 1).

    The first value is the seed. `ready` is true from the n-th value on.
    """

    __slots__ = ("alpha", "count", "n", "ready", "value")

    def __init__(self, n: int) -> None:
        self.n = length("Ema", n)
        self.alpha = 2.0 / (n + 1.0)
        self.value = 0.0
        self.count = 0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the average with it."""
        count = self.count
        self.count = count + 1
        value = self.value
        if count > 0:
            value += self.alpha * (x - value)
        else:
            value = x
        self.value = value
        if not self.ready and count + 1 >= self.n:
            self.ready = True
        return value


class Sma:
    """Simple moving average of the last n values; of all of them while there are fewer.

    `ready` is true from the n-th value on. The sum moves by subtracting the value that leaves and adding
    the one that comes, oldest slot first; each time the ring is full anew, every n-th value, it is added
    up from the ring's values in slot order. So a rounding error lives for n values at most, however long
    the run, and the same values always give the same bits.
    """

    __slots__ = ("count", "n", "position", "ready", "ring", "total", "value")

    def __init__(self, n: int) -> None:
        self.n = length("Sma", n)
        self.ring = [0.0] * n
        self.position = 0
        self.total = 0.0
        self.value = 0.0
        self.count = 0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the average with it."""
        count = self.count + 1
        self.count = count
        position = self.position
        total = self.total - self.ring[position] + x
        self.ring[position] = x
        position += 1
        if position == self.n:
            position = 0
            self.ready = True
            total = 0.0
            for kept in self.ring:
                total += kept
        self.position = position
        self.total = total
        self.value = total / self.n if self.ready else total / count
        return self.value
