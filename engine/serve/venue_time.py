"""The time that a local venue's klines go by: that of its stamps, as far as they can be believed.

In a recording that keeps its times an event was received a little later than it is stamped, or much earlier
or later where the recorder's clock was wrong. So the time is that of the stamps; an event without one is as
far from its reception as the last one was that had one.

One wrong stamp must not close the bars of an hour. A stamp whose distance from its reception differs by more
than ten seconds from that of the events before is in doubt: the time stands still until the next stamp. If
that one has the new distance, the clocks have changed; if not, the stamp was wrong. A copy of the doubtful
message is no second witness. Events without a stamp that are suddenly more than ten seconds later are waited
with likewise, for two seconds, because the recorder's clock may have been set meanwhile.

Pure: nothing here reads a clock. Times are microseconds.
"""

from __future__ import annotations

_LEAP_US = 10_000_000
_PATIENCE_US = 2_000_000


class VenueTime:
    """The venue's time, told by its events.

    Attributes:
        now_us: the time; 0 before it is known.
        doubts: whether the last event had a stamp that is not believed yet.
        went_back: whether the last event set the time back, because the clocks have changed.
    """

    __slots__ = ("_ahead_us", "_doubtful", "_leapt_us", "doubts", "now_us", "went_back")

    def __init__(self) -> None:
        self.now_us = 0
        self.doubts = self.went_back = False
        self._ahead_us = 0  # how far the venue's time is ahead of that of the events
        self._doubtful: tuple[int, int] | None = None  # a stamp in doubt, and how far it is ahead
        self._leapt_us: int | None = None  # when an event without a stamp was too late to be believed

    def tell(self, received_us: int, stamp: object) -> None:
        """An event: when it was received, and its stamp, if it has one."""
        self.doubts = self.went_back = False
        if isinstance(stamp, int):
            self._leapt_us = None
            self.doubts = self._doubt(stamp, stamp - received_us)
            if self.doubts:
                return
            self._ahead_us = stamp - received_us
        elif self._is_early(received_us):
            return
        told_us = received_us + self._ahead_us
        self.went_back = self.now_us - told_us > _LEAP_US
        if self.went_back or told_us > self.now_us:  # stamps of one moment come in any order
            self.now_us = told_us

    def _doubt(self, stamp: int, ahead_us: int) -> bool:
        known, self._doubtful = self._doubtful, None
        if abs(ahead_us - self._ahead_us) <= _LEAP_US:
            return False
        if known is not None and known[0] != stamp and abs(ahead_us - known[1]) <= _LEAP_US:
            return False
        self._doubtful = (stamp, ahead_us)
        return True

    def _is_early(self, received_us: int) -> bool:
        """Whether to wait for a stamp before an event without one is believed."""
        if not self.now_us or received_us + self._ahead_us - self.now_us <= _LEAP_US:
            self._leapt_us = None
            return False
        if self._leapt_us is None:
            self._leapt_us = received_us
        return received_us - self._leapt_us < _PATIENCE_US

    def of_trade(self, received_us: int, stamp_us: int) -> int:
        """When a trade took place: by its stamp, unless that is of quite another time than its reception."""
        likely_us = received_us + self._ahead_us
        return stamp_us if abs(stamp_us - likely_us) <= _LEAP_US else likely_us
