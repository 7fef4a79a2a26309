"""How long something took, counted in buckets: any number of times in a few kilobytes.

Times fall into sixteen buckets per doubling, so that a quantile is true to a sixteenth.
"""

from __future__ import annotations

from collections import Counter

_BITS = 4


class Lags:
    """Counts of times in nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.most = 0
        self._buckets: Counter[int] = Counter()

    def take(self, lag_ns: int) -> None:
        """Count one; negative ones are none."""
        lag_ns = max(lag_ns, 0)
        self.count += 1
        self.most = max(self.most, lag_ns)
        shift = max(lag_ns.bit_length() - _BITS - 1, 0)
        self._buckets[(lag_ns >> shift) << shift] += 1

    def quantile(self, share: float) -> int:
        """The time, in ns, that `share` of them did not exceed (to a sixteenth, rounded down); 0 of none."""
        left = share * self.count
        for bucket, count in sorted(self._buckets.items()):
            left -= count
            if left <= 0:
                return bucket
        return self.most
