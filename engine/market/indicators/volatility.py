"""How much prices spread: true range, bands, distances in deviations, realised volatility."""

from __future__ import annotations

import math

from engine.market.indicators.checks import length
from engine.market.indicators.windows import RollingSum, StandardDeviation
from engine.model.errors import UsageError


class Atr:
    """Average true range of bars; the range includes the gap from the close before.

    Wilder's (New Concepts in Technical Trading Systems, 1978): the simple average over the first n bars, the
    first of which has no close before it, then average += (range - average) / n. `ready` from bar n on.
    """

    __slots__ = ("close", "count", "n", "ready", "value")

    def __init__(self, n: int = 14) -> None:
        self.n = length("Atr", n)
        self.close = 0.0
        self.value = 0.0
        self.count = 0
        self.ready = False

    def update(self, high: float, low: float, close: float) -> float:
        """Take a bar; the average range with it."""
        top = high
        bottom = low
        if self.count > 0:
            if self.close > top:
                top = self.close
            if self.close < bottom:
                bottom = self.close
        self.close = close
        self.count += 1
        weight = self.n
        if self.count < weight:
            weight = self.count
        else:
            self.ready = True
        self.value += (top - bottom - self.value) / weight
        return self.value


class Bollinger:
    """Bollinger bands: the mean of the last n values, and `width` standard deviations to either side.

    The deviation is that over n, as Bollinger defines it. `value` is the middle band.
    """

    __slots__ = ("deviation", "lower", "ready", "upper", "value", "width")

    def __init__(self, n: int = 20, width: float = 2.0) -> None:
        if not (isinstance(width, int | float) and 0.0 < width < math.inf):
            raise UsageError(f"Bollinger({n!r}, {width!r}): the width must be a positive number")
        self.deviation = StandardDeviation(length("Bollinger", n))
        self.width = float(width)
        self.value = 0.0
        self.upper = 0.0
        self.lower = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the middle band with it."""
        distance = self.width * self.deviation.update(x)
        self.value = self.deviation.mean
        self.upper = self.value + distance
        self.lower = self.value - distance
        self.ready = self.deviation.ready
        return self.value


class ZScore:
    """How many standard deviations (over n) a value lies from the mean of the last n, itself among them.

    0 where all are equal. Being one of the n itself, it never is more than sqrt(n - 1) from them.
    """

    __slots__ = ("deviation", "ready", "value")

    def __init__(self, n: int) -> None:
        self.deviation = StandardDeviation(length("ZScore", n))
        self.value = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; its score."""
        deviation = self.deviation.update(x)
        if deviation > 0.0:
            self.value = (x - self.deviation.mean) / deviation
        else:
            self.value = 0.0
        self.ready = self.deviation.ready
        return self.value


class RealisedVolatility:
    """Root of the sum of the last n squared simple returns: the volatility over n steps, as a fraction.

    Realised volatility of Andersen and Bollerslev (1998), on simple returns instead of logarithms, whose bits
    differ between machines. Not annualised: multiply by sqrt(steps of a year / n). `ready` from the n-th
    return on, which is value n + 1. A return from a price of 0 counts as 0.
    """

    __slots__ = ("count", "previous", "ready", "squares", "value")

    def __init__(self, n: int) -> None:
        self.squares = RollingSum(length("RealisedVolatility", n))
        self.previous = 0.0
        self.value = 0.0
        self.count = 0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a price; the volatility with it."""
        if self.count > 0:
            change = 0.0
            if self.previous != 0.0:
                change = (x - self.previous) / self.previous
            self.value = math.sqrt(self.squares.update(change * change))
            self.ready = self.squares.ready
        self.count += 1
        self.previous = x
        return self.value
