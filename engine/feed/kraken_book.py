"""One Kraken book as the venue sees it: kept to the subscribed depth, and checked.

The venue sends no numbers; a checksum over the ten best levels of each side stands in every message, and
is the only way to notice that one was missed. The rules (book checksum guide, v2):

    1  apply every level of a message in the order of its list; size 0 removes
    2  cut each side to the subscribed depth: the venue never removes what falls out of it, and sends the
       level that comes back into it anew
    3  compare the checksum

Levels that rule 2 cuts are handed out, because a log's reader, who knows no depth, must lose them as well.
A side is two lists, best first: keys (price mantissas, negative for bids) and checksum tokens. Depths are a
thousand at most, so moving the rest of a list is cheap. The ten best are put together again only when one of
them has changed.

    state           update                          checksum wrong     snapshot      connection lost
    in step         in step                         lost, wants one    in step       lost
    lost            lost, wants one if none asked   (not compared)     in step       lost

This class decides and remembers; it makes no rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from engine.feed import kraken_checksum
from engine.model.units import NULL_TIME

DEPTHS = (10, 25, 100, 500, 1_000)  # that can be subscribed
Level = tuple[int, int, bytes]  # price, size, checksum token
PATIENCE_NS = 10_000_000_000  # for the snapshot that a subscription begins with


class Side:
    """One side's levels, best first. `sign`: −1 for bids, whose best is the highest."""

    __slots__ = ("_changed", "_top", "keys", "sign", "tokens")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.tokens: list[bytes] = []
        self._top = b""
        self._changed = False

    def load(self, levels: Sequence[Level]) -> None:
        """Forget everything and take these; the last one counts where a price stands twice."""
        self.keys, self.tokens, self._changed = [], [], True
        self.apply(levels)

    def apply(self, levels: Sequence[Level]) -> None:
        """Absolute sizes, in order."""
        keys, tokens, sign = self.keys, self.tokens, self.sign
        for price, size, token in levels:
            key = price * sign
            at = bisect_left(keys, key)
            there = at < len(keys) and keys[at] == key
            if size:
                if there:
                    tokens[at] = token
                else:
                    keys.insert(at, key)
                    tokens.insert(at, token)
            elif there:
                del keys[at], tokens[at]
            else:
                continue
            if at < kraken_checksum.LEVELS:
                self._changed = True

    def cut(self, depth: int) -> list[int]:
        """Keep the best `depth` levels; the prices of the others."""
        gone = [key * self.sign for key in self.keys[depth:]]
        del self.keys[depth:], self.tokens[depth:]
        return gone

    def top(self) -> bytes:
        """What the side contributes to the checksum."""
        if self._changed:
            self._top = kraken_checksum.side(self.tokens)
            self._changed = False
        return self._top

    def rescale(self, factor: int) -> None:
        """Prices have become `factor` times as fine."""
        self.keys = [key * factor for key in self.keys]


class Book:
    """Where one pair's book stands."""

    __slots__ = ("asked", "asks", "bids", "depth", "received", "stamp", "subscribed_ns", "synchronised")

    def __init__(self) -> None:
        self.bids = Side(-1)
        self.asks = Side(1)
        self.depth = 0  # as acknowledged by the venue; 0: not said
        self.synchronised = False
        self.stamp = NULL_TIME  # of the last message in step, by the venue's clock
        self.received = 0  # the same, by ours
        self.asked = False  # a snapshot is wanted and has not come
        self.subscribed_ns = 0  # since when the first one is awaited; 0: it is not

    def lost(self) -> None:
        """The connection is gone: what came in between is unknown."""
        self.drop()
        self.asked = False
        self.subscribed_ns = 0

    def drop(self) -> None:
        """The levels are not the venue's."""
        self.synchronised = False
        self.bids.load(())
        self.asks.load(())

    def load(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take a snapshot; whether it is good, `checksum` tells."""
        self.bids.load(bids)
        self.asks.load(asks)

    def cut(self) -> tuple[Sequence[int], Sequence[int]]:
        """Bids and asks that have fallen out of the depth."""
        if len(self.bids.keys) <= self.depth >= len(self.asks.keys):
            return (), ()
        if not self.depth:
            # Nobody saw the acknowledgement (a capture that began later): the smallest that fits.
            most = max(len(self.bids.keys), len(self.asks.keys))
            self.depth = next((depth for depth in DEPTHS if depth >= most), DEPTHS[-1])
        return self.bids.cut(self.depth), self.asks.cut(self.depth)

    def checksum(self) -> int:
        """Of the book as it stands."""
        return kraken_checksum.checksum(self.asks.top(), self.bids.top())

    def rescale(self, factor: int) -> None:
        """Prices have become `factor` times as fine."""
        self.bids.rescale(factor)
        self.asks.rescale(factor)

    def overdue(self, ts: int) -> bool:
        """Whether the first snapshot has not come in time; says so once, because it is asked for then."""
        if self.asked or not self.subscribed_ns or ts - self.subscribed_ns < PATIENCE_NS:
            return False
        self.asked = True
        return True

    def carry(self, bids: Sequence[Level], asks: Sequence[Level], checksum: int, stamp: int, ts: int) -> None:
        """Take a book over from elsewhere, if its checksum is the one that it had there and none is here."""
        if self.synchronised:
            return
        self.load(bids, asks)
        self.cut()
        if self.checksum() == checksum:
            self.good(stamp, ts)
        else:
            self.drop()

    def good(self, stamp: int, ts: int) -> None:
        """It is in step: with the message of that time by the venue's clock, and by ours."""
        self.synchronised = True
        self.stamp, self.received = stamp, ts
        self.asked = False
        self.subscribed_ns = 0
