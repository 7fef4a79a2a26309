"""What is known of the last n values without ever taking one back: sum, least, greatest, deviation.

Subtracting the value that leaves is the usual way, and the usual trouble: a huge value leaves its rounding
error behind, a sum of squares may come out negative, a least value cannot be subtracted at all. Here values
are only ever added. The stream is cut into blocks of n. While a block fills, a summary of its values so far
is kept; when it is full, the summaries of its last 1, 2, ... n values are computed from the back. The last n
values are then always the end of the full block and the beginning of the current one: two summaries, put
together (the sliding minimum of van Herk and of Gil and Werman, 1992/93, for any such summary).

So the window is exact in what it holds, a nan or a huge value is gone without a trace after n values,
and an update costs the same few operations for every n, with n more at every n-th value.
"""

from __future__ import annotations

import math

from engine.market.indicators.checks import length


class RollingSum:
    """Sum of the last n values; of all of them while there are fewer. `ready` from the n-th value on."""

    __slots__ = ("n", "position", "ready", "recent", "tails", "value")

    def __init__(self, n: int) -> None:
        self.n = length("RollingSum", n)
        self.tails = [
            0.0
        ] * n  # up to `position` the current block's values, behind it sums to the full's end
        self.position = 0
        self.recent = 0.0
        self.value = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the sum with it."""
        position = self.position
        self.tails[position] = x
        position += 1
        recent = self.recent + x
        if position == self.n:
            self.value = recent
            total = 0.0
            for i in range(self.n - 1, -1, -1):
                total += self.tails[i]
                self.tails[i] = total
            position = 0
            recent = 0.0
            self.ready = True
        elif self.ready:
            self.value = self.tails[position] + recent
        else:
            self.value = recent
        self.position = position
        self.recent = recent
        return self.value


class RollingMin:
    """Least of the last n values; of all of them while there are fewer. `ready` from the n-th value on."""

    __slots__ = ("n", "position", "ready", "recent", "tails", "value")

    def __init__(self, n: int) -> None:
        self.n = length("RollingMin", n)
        self.tails = [0.0] * n
        self.position = 0
        self.recent = math.inf
        self.value = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the least with it."""
        position = self.position
        self.tails[position] = x
        position += 1
        recent = self.recent
        if x < recent:
            recent = x
        self.value = recent
        if position == self.n:
            least = math.inf
            for i in range(self.n - 1, -1, -1):
                if self.tails[i] < least:
                    least = self.tails[i]
                self.tails[i] = least
            position = 0
            recent = math.inf
            self.ready = True
        elif self.ready and self.tails[position] < recent:
            self.value = self.tails[position]
        self.position = position
        self.recent = recent
        return self.value


class RollingMax:
    """Greatest of the last n values; of all of them while there are fewer. `ready` from the n-th value on."""

    __slots__ = ("n", "position", "ready", "recent", "tails", "value")

    def __init__(self, n: int) -> None:
        self.n = length("RollingMax", n)
        self.tails = [0.0] * n
        self.position = 0
        self.recent = -math.inf
        self.value = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the greatest with it."""
        position = self.position
        self.tails[position] = x
        position += 1
        recent = self.recent
        if x > recent:
            recent = x
        self.value = recent
        if position == self.n:
            greatest = -math.inf
            for i in range(self.n - 1, -1, -1):
                if self.tails[i] > greatest:
                    greatest = self.tails[i]
                self.tails[i] = greatest
            position = 0
            recent = -math.inf
            self.ready = True
        elif self.ready and self.tails[position] > recent:
            self.value = self.tails[position]
        self.position = position
        self.recent = recent
        return self.value


class StandardDeviation:
    """Mean and standard deviation of the last n values (of those there are), over n, not n - 1.

    A summary is (count, mean, sum of squared distances from the mean), grown value by value (Welford 1962)
    and put together by Chan, Golub and LeVeque's formula (1983). Every term is positive, so the variance is
    never negative, and 0 exactly when the values are equal. Rounding costs it mean / deviation times the last
    place; the difference of two sums of squares would lose the square of that.
    """

    __slots__ = (
        "mean",
        "n",
        "position",
        "ready",
        "recent_mean",
        "recent_squares",
        "tail_means",
        "tail_squares",
        "value",
        "variance",
    )

    def __init__(self, n: int) -> None:
        self.n = length("StandardDeviation", n)
        self.tail_means = [0.0] * n  # up to `position` the current block's values
        self.tail_squares = [0.0] * n
        self.position = 0
        self.recent_mean = 0.0
        self.recent_squares = 0.0
        self.mean = 0.0
        self.variance = 0.0
        self.value = 0.0
        self.ready = False

    def update(self, x: float) -> float:
        """Take a value; the deviation with it."""
        position = self.position
        self.tail_means[position] = x
        position += 1
        distance = x - self.recent_mean
        mean = self.recent_mean + distance / position
        squares = self.recent_squares + distance * (x - mean)
        if position == self.n:
            self.mean = mean
            self.variance = squares / self.n
            mean = 0.0
            squares = 0.0
            for i in range(self.n - 1, -1, -1):
                kept = self.tail_means[i]
                distance = kept - mean
                mean += distance / (self.n - i)
                squares += distance * (kept - mean)
                self.tail_means[i] = mean
                self.tail_squares[i] = squares
            position = 0
            mean = 0.0
            squares = 0.0
            self.ready = True
        elif self.ready:
            tail = self.tail_means[position]
            share = position / self.n
            distance = mean - tail
            self.mean = tail + distance * share
            between = distance * distance * share * (self.n - position)
            self.variance = (squares + self.tail_squares[position] + between) / self.n
        else:
            self.mean = mean
            self.variance = squares / position
        self.position = position
        self.recent_mean = mean
        self.recent_squares = squares
        self.value = math.sqrt(self.variance)
        return self.value
