"""Headlines of an endpoint that shows most of them again at each poll: what is new, what was edited.

Whoever reads a format gives the items of one answer as `Headline`s, oldest first, and in the place of an item
that cannot be read what is wrong with it. Here is decided what becomes of them:

A key that was never seen is a row; one whose content changed is a row again, with REVISED (the first row
stays what it was: an edit is a fact of its own, at its own time); one that is unchanged is nothing. Items of
one answer that share a key (one address for all of them, say) are edits of each other, once: an answer that
shows the same of them again shows nothing new. Content is what a strategy is told: the fields of NewsData and
the time. A counter of views that moves makes no revision.

Each item is a message of its own, and its `wire` is the item's own bytes: unknown fields stand there.
`ts_venue` is what the item says of its publication; `ts` is when it was received, which is what counts.

An item that cannot be read, or a body that is none, is one MALFORMED row with its bytes, written once for as
long as it is remembered: what is broken is shown again at every poll as well. A list of more than `ITEMS_MAX`
is none: whoever reads it also receives the market, and must not be kept from that.

Memory: 32 bytes of hashes for each key, at most `REMEMBERED` of them and never fewer than the last answer
had; what was not shown for longest is forgotten first. A forgotten item that is shown again is new, with
the same id. Nothing is cut: a summary of a megabyte is a row of a megabyte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import msgspec

from engine.feed.parser import DECODE_FAILURES, LAST, Malformed, append_malformed
from engine.feed.polled import Taken, digest
from engine.model.kinds import Flag, InstrumentData, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

REMEMBERED = 16_384
ITEMS_MAX = 16_384  # of an answer
_REVISED = int(Flag.REVISED)
_KEY_BYTES = 8  # of a key that we make: 16 hexadecimal digits, as of imported headlines
_DIGEST_BYTES = 16
_key = msgspec.json.Decoder(NewsData)


class Headline(msgspec.Struct, frozen=True):
    """An item that could be read: its key, its columns and its bytes."""

    key: bytes
    data: bytes
    ts_venue: int
    wire: bytes

    @property
    def digests(self) -> tuple[bytes, bytes]:
        """Of its key and of its content."""
        return digest(b"key", self.key), digest(str(self.ts_venue).encode(), self.data)


Item = Headline | tuple[Malformed, bytes]


class HeadlineParser(ABC):
    """One endpoint's answers, one after the other. Formats are subclasses: they have a `read`."""

    def __init__(self, source: int = 0, *, remembered: int = REMEMBERED) -> None:
        """`source` is the number of the SOURCE row that all rows name."""
        self.source = source
        self.seen: dict[bytes, bytes] = {}  # digest of a key to that of its content(s), latest shown last
        self._remembered = remembered

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """None: a headline names symbols of its vendor's."""
        return {}

    @abstractmethod
    def read(self, body: bytes) -> Sequence[Item]:
        """The items of an answer, oldest first. Raises Malformed for a body that is none."""

    def contact(self, read: Sequence[Item]) -> None:  # noqa: B027  most formats ask for no more
        """Any list will do, an empty one too."""

    def number(self, source: int, instrument: int) -> None:  # noqa: ARG002  there is no instrument
        """Take the source's number."""
        self.source = source

    def query(self) -> str:
        """The address says it all."""
        return ""

    def lost(self) -> None:  # noqa: B027  likewise
        """Nothing is left open between two answers."""

    def feed(self, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append the rows of one answer that has just been received; `stamp` gives each message its time.

        Never raises for what an endpoint can answer.
        """
        try:
            read = self.read(body)
        except Malformed as problem:
            return self.refuse(problem, body, stamp, rows)
        return self.take(read, body, stamp, rows)

    def take(
        self,
        read: Sequence[Item],
        body: bytes,  # noqa: ARG002  each item has its own bytes
        stamp: Callable[[], int],
        rows: RowBuffer,
    ) -> Taken:
        """Append what is new of an answer's items."""
        taken = Taken()
        shown = _contents(read)
        known = {key for key, contents in shown.items() if self.seen.get(key) == contents}
        for found in read:
            if isinstance(found, Headline):
                self._take(found, known, stamp, rows, taken)
            else:
                self._refuse(*found, stamp, rows, taken)
        self.seen.update(shown)
        self._forget(len(read))
        return taken

    def refuse(self, problem: Malformed, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append the row of an answer that is none."""
        taken = Taken(readable=False)
        self._refuse(problem, body, stamp, rows, taken)
        return taken

    def remember(self, data: bytes, ts_venue: int) -> None:
        """Know a NEWS row that an earlier recorder wrote. What is no such row is passed over."""
        try:
            key = _key.decode(data).id
        except DECODE_FAILURES:
            return
        hashed = digest(b"key", key.encode())
        self.seen.pop(hashed, None)
        self.seen[hashed] = digest(str(ts_venue).encode(), data)
        self._forget(0)

    def _take(
        self, item: Headline, known: set[bytes], stamp: Callable[[], int], rows: RowBuffer, taken: Taken
    ) -> None:
        """`known`: digests of the keys of which this answer shows nothing new."""
        key, content = item.digests
        before = self.seen.pop(key, None)
        self.seen[key] = content
        if key in known or (before is not None and before[:_DIGEST_BYTES] == content):
            taken.unchanged += 1
            return
        if before is None:
            taken.new += 1
        else:
            taken.revised += 1
        rows.append(
            stamp(),
            Kind.NEWS,
            ts_venue=item.ts_venue,
            source=self.source,
            flags=LAST if before is None else LAST | _REVISED,
            data=item.data,
            wire=item.wire,
        )

    def _refuse(
        self, problem: Malformed, wire: bytes, stamp: Callable[[], int], rows: RowBuffer, taken: Taken
    ) -> None:
        key = digest(b"malformed", wire)
        known = self.seen.pop(key, None)
        self.seen[key] = b""
        if known is None:
            taken.malformed += 1
            append_malformed(problem, wire, stamp(), self.source, rows)

    def _forget(self, shown: int) -> None:
        """Drop what was not shown for longest; nothing of this answer, or it would all be new next time."""
        while len(self.seen) > max(self._remembered, shown):
            del self.seen[next(iter(self.seen))]


def headline(news: NewsData, ts_venue: int, wire: bytes, *, otherwise: str) -> Headline:
    """An item with this content. What has no id gets one of its address, else of what `otherwise` says."""
    if not news.id:
        news = msgspec.structs.replace(news, id=_made_key(news.url or otherwise))
    return Headline(news.id.encode(), encode_canonical(news), ts_venue, wire)


def newest_last(newest_first: Sequence[bytes], read: Callable[[bytes], Headline]) -> list[Item]:
    """Items as read, or what is wrong with them; by their times, and otherwise in the opposite order."""
    found: list[tuple[int, Item]] = []
    at = NULL_TIME
    for wire in reversed(newest_first):
        try:
            item = read(wire)
        except Malformed as problem:
            found.append((at, (problem, wire)))
        else:
            # What says no time stays beside its neighbour.
            at = at if item.ts_venue == NULL_TIME else item.ts_venue
            found.append((at, item))
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def _contents(items: Sequence[Item]) -> dict[bytes, bytes]:
    """By key, the digest of its last item's content, and that of all of them, where they differ."""
    found: dict[bytes, list[bytes]] = {}
    for item in items:
        if isinstance(item, Headline):
            key, content = item.digests
            found.setdefault(key, []).append(content)
    return {
        key: each[-1] if len(set(each)) == 1 else each[-1] + digest(b"several", b"".join(each))
        for key, each in found.items()
    }


def _made_key(text: str) -> str:
    return blake2b(text.encode(), digest_size=_KEY_BYTES).hexdigest()
