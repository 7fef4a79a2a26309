"""Oscillators: how far, and which way, prices have lately moved."""

from __future__ import annotations

from engine.market.indicators.averages import Ema
from engine.market.indicators.checks import length
from engine.model.errors import UsageError


class Rsi:
    """Relative strength index, 0 to 100: 100 * gain / (gain + loss), averages of the moves up and down.

    Wilder's (New Concepts in Technical Trading Systems, 1978): the averages are simple ones over the first
    n changes, then average += (move - average) / n. `ready` from the n-th change on, which is the value
    n + 1. 50 while the price has not moved.
    """

    __slots__ = ("count", "gain", "loss", "n", "previous", "ready", "value")

    def __init__(self, n: int = 14) -> None:
        self.n = length("Rsi", n)
        self.previous = 0.0
        self.gain = 0.0
        self.loss = 0.0
        self.value = 50.0
        self.count = 0  # of changes
        self.ready = False

    def update(self, x: float) -> float:
        """Take a price; the index with it."""
        if self.count == 0:
            self.previous = x
            self.count = 1
            return self.value
        changes = self.count
        self.count = changes + 1
        change = x - self.previous
        self.previous = x
        weight = self.n
        if changes < weight:
            weight = changes
        else:
            self.ready = True
        gain = 0.0
        loss = 0.0
        if change > 0.0:
            gain = change
        else:
            loss = -change
        self.gain += (gain - self.gain) / weight
        self.loss += (loss - self.loss) / weight
        total = self.gain + self.loss
        if total > 0.0:
            self.value = 100.0 * (self.gain / total)
        else:
            self.value = 50.0
        return self.value


class Macd:
    """Moving average convergence divergence (Appel 1979): Ema(fast) - Ema(slow), and an Ema(signal) of that.

    `value` is the difference from the first value on; `signal` begins with the slow average's readiness, and
    `histogram` is value - signal. `ready` with the signal, from value slow + signal - 1 on. Averages are the
    engine's Ema: seeded by the first value, where some libraries begin with a simple average; what is left of
    that shrinks by (n - 1) / (n + 1) at each value.
    """

    __slots__ = ("fast_average", "histogram", "ready", "signal", "signal_average", "slow_average", "value")

    def __init__(self, fast: int = 12, slow: int = 26, signal: int = 9) -> None:
        if length("Macd", fast) >= length("Macd", slow):
            raise UsageError(f"Macd({fast}, {slow}): the fast average must be shorter than the slow one")
        self.fast_average = Ema(fast)
        self.slow_average = Ema(slow)
        self.signal_average = Ema(length("Macd", signal))
        self.value = 0.0
        self.signal = 0.0
        self.histogram = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a price; the difference of the averages with it."""
        fast = self.fast_average.update(x)
        slow = self.slow_average.update(x)
        self.value = fast - slow
        if self.slow_average.ready:
            self.signal = self.signal_average.update(self.value)
            self.histogram = self.value - self.signal
            self.ready = self.signal_average.ready
        return self.value
