"""Keeping a Binance depth stream in step with its snapshot: which update may be applied, which not.

The venue numbers every change of a book. A depth update names its first and last, U and u; a snapshot
the last one that it contains, L. The rules (web-socket-streams.md, "How to manage a local order book"):

    before a snapshot   updates are kept aside; their rows are MAYBE_BAD_BOOK
    snapshot            kept updates with u <= L are in it already; the first other one must begin at or
                        before L + 1, else the snapshot is too old and another is wanted
    from then on        u <= id: a repeat · U <= id + 1: apply, id = u · else a gap: begin again

The venue's text asks for another snapshot whenever L < U of the first update; at L + 1 = U nothing is
missing, and it is taken here.

    state           update in step    update after a gap     snapshot fits     connection lost
    synchronised    synchronised      collecting, wants      synchronised      lost
    collecting      collecting        collecting             synchronised      lost
    lost            collecting, wants (gap named from the last id before)      lost

An update after a lost connection that has come before by its ids, and not by its time, shows that the venue
counts anew: then nothing is known of what came before.

A snapshot may be ahead of the stream (id > seen). The updates up to it are repeats when they come, and are
named as missing when they never do; gaps are counted from what was received.

This class decides and remembers; it makes no rows. `judge*` change nothing, so that a message which turns
out to be malformed leaves no trace.
"""

from __future__ import annotations

from collections import deque

from engine.feed.binance_messages import DepthSnapshot, DepthUpdate, nanoseconds
from engine.feed.parser import ANEW_NS, DUPLICATE, OUT_OF_ORDER
from engine.model.kinds import Flag

MAYBE_BAD_BOOK = int(Flag.MAYBE_BAD_BOOK)
# Updates kept aside while a snapshot is on its way: about seven minutes at one per 100 ms. When more come,
# the oldest are forgotten, and a snapshot must then be as new as the oldest that is left.
KEPT_UPDATES = 4_096
_NEVER = 1 << 62  # a time that nothing is later than
HOLES = 256  # ranges of missing updates that are remembered; what fills an older one counts as a repeat

Levels = dict[int, int]


class BookSync:
    """Where one symbol's book stands between its updates and its snapshots."""

    __slots__ = ("_lost_at", "_stamp", "asked", "holes", "id", "kept", "seen", "synchronised")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nothing is known."""
        self._lost_at = -1  # `seen`, when the connection was lost
        self._stamp = _NEVER  # the venue's time of update `seen`, as it writes it
        self.synchronised = False
        self.id = -1  # last update in the book, while synchronised
        self.seen = -1  # last update received, also across a lost connection
        self.kept: deque[DepthUpdate] = deque(maxlen=KEPT_UPDATES)
        self.asked = False  # a snapshot is wanted and has not come
        self.holes: deque[tuple[int, int]] = deque(maxlen=HOLES)  # updates that have not come, yet

    def lost(self) -> None:
        """The connection is gone: what came in between is unknown."""
        self.synchronised = False
        self.kept.clear()
        self.asked = False
        self._lost_at = self.seen

    def begins_anew(self, update: DepthUpdate) -> bool:
        """Whether the venue counts anew (engine.feed.parser.Sequence)."""
        return (
            update.last <= self.seen == self._lost_at
            and nanoseconds(update.event_time) > nanoseconds(self._stamp) + ANEW_NS
        )

    def carry(self, last: int) -> None:
        """The book up to update `last` is known from elsewhere; nothing new to one that is in step."""
        if self.synchronised:
            return
        self.synchronised = True
        self.id = self.seen = last
        self._stamp = _NEVER
        self.kept.clear()
        self.asked = False
        self.holes.clear()

    def judge(self, update: DepthUpdate) -> tuple[int, tuple[int, int] | None]:
        """Flags of an update's rows, and the first and last update missing before it, if any."""
        if update.last <= self.seen:
            flag = DUPLICATE if self._hole_of(update) is None else OUT_OF_ORDER
            return (flag if self.synchronised else flag | MAYBE_BAD_BOOK), None
        gap = None
        if self.seen >= 0 and update.first > self.seen + 1:
            gap = (self.seen + 1, update.first - 1)
        if self.synchronised and gap is None:
            return (DUPLICATE if update.last <= self.id else 0), None
        return MAYBE_BAD_BOOK, gap

    def take(self, update: DepthUpdate, *, gap: bool) -> str:
        """The update's rows are written. The reason why a snapshot is wanted now, or ""."""
        if update.last <= self.seen:
            self._fill(update)
            return ""
        if gap:
            self.holes.append((self.seen + 1, update.first - 1))
        self.seen = update.last
        self._stamp = update.event_time
        if self.synchronised and not gap:
            self.id = max(self.id, update.last)
            return ""
        if gap:  # what was kept cannot be joined to this one
            self.kept.clear()
        self.synchronised = False
        self.kept.append(update)
        if self.asked:
            return ""
        self.asked = True
        return "gap" if gap else "first"

    def _hole_of(self, update: DepthUpdate) -> tuple[int, int] | None:
        """The hole that a late update lies in; None for one that has come before."""
        return next((h for h in self.holes if h[0] <= update.first and update.last <= h[1]), None)

    def _fill(self, update: DepthUpdate) -> None:
        hole = self._hole_of(update)
        if hole is not None:
            self.holes.remove(hole)
            rest = ((hole[0], update.first - 1), (update.last + 1, hole[1]))
            self.holes.extend(part for part in rest if part[0] <= part[1])

    def judge_snapshot(self, snapshot: DepthSnapshot) -> int:
        """Flags of a snapshot's rows: 0 when it may be taken.

        DUPLICATE: the book is in step and ahead of it. MAYBE_BAD_BOOK: updates after it are missing.
        """
        if self.synchronised:
            return DUPLICATE if snapshot.id < self.id else 0
        following = next((u for u in self.kept if u.last > snapshot.id), None)
        if following is None:
            return 0 if snapshot.id >= self.seen else MAYBE_BAD_BOOK
        return MAYBE_BAD_BOOK if following.first > snapshot.id + 1 else 0

    def overlaying(self, snapshot: DepthSnapshot) -> list[DepthUpdate]:
        """The kept updates that go on top of a snapshot that fits, oldest first."""
        return [update for update in self.kept if update.last > snapshot.id]

    def take_snapshot(self, snapshot: DepthSnapshot) -> str:
        """The snapshot's rows are written. The reason why another one is wanted now, or ""."""
        flags = self.judge_snapshot(snapshot)
        if flags & DUPLICATE:
            return ""
        if flags & MAYBE_BAD_BOOK:
            return self.missed("stale")
        self.id = max(snapshot.id, self.seen)
        if self.seen < 0:
            self.seen = self.id
        self.synchronised = True
        self.kept.clear()
        self.asked = False
        return ""

    def missed(self, reason: str) -> str:
        """A snapshot came to nothing. The reason to ask again, or "" when nothing waits for one."""
        self.asked = bool(self.kept)
        return reason if self.asked else ""
