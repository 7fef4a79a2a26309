"""A news endpoint's answers into NEWS rows: what is new, what was edited, what cannot be read.

An answer is a list of items, newest first, in the shape that IEX Cloud gave its news; whoever asks again
gets most of them again:

    {"datetime": ms, "headline", "source", "url", "summary", "related": "AAPL,MSFT", "image", "lang", …}

An item is known by its key: its `id` where it has one, else a hash of its `url`, else one of headline and
time. A key that was never seen is a row; one whose content changed is a row again, with REVISED (the first
row stays what it was: an edit is a fact of its own, at its own time); one that is unchanged is nothing.
Items of one answer that share a key (one address for all of them, say) are edits of each other, once: an
answer that shows the same of them again shows nothing new.
Content is what a strategy is told: the fields of NewsData and the time. A counter of views that moves makes
no revision.

Each item is a message of its own, oldest first, and its `wire` is the item's own bytes: unknown fields
stand there. `ts_venue` is what the item says of its publication; `ts` is when it was received, which is
what counts.

An item that cannot be read, or a body that is no list, is one MALFORMED row with its bytes, written once
for as long as it is remembered: what is broken is shown again at every poll as well. A list of more than
`ITEMS_MAX` is none: whoever reads it also receives the market, and must not be kept from that.

Memory: 32 bytes of hashes for each key, at most `REMEMBERED` of them and never fewer than the last answer
had; what was not shown for longest is forgotten first. A forgotten item that is shown again is new, with
the same id. Nothing is cut: a summary of a megabyte is a row of a megabyte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import blake2b

import msgspec

from engine.feed.parser import DECODE_FAILURES, LAST, Malformed, append_malformed, malformed_of
from engine.model.kinds import Flag, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS, NULL_TIME

REMEMBERED = 16_384
ITEMS_MAX = 16_384  # of an answer
LATEST_MS = (2**63 - 1) // MILLISECOND_NS  # later times do not fit the column
_REVISED = int(Flag.REVISED)
_DIGEST_BYTES = 16
_KEY_BYTES = 8  # of a key that we make: 16 hexadecimal digits, as of imported headlines


class _Item(msgspec.Struct):
    """The fields that are read; null is as good as absent."""

    headline: str | None = None
    id: str | int | None = None
    datetime: int | None = None
    source: str | None = None
    url: str | None = None
    summary: str | None = None
    related: str | None = None


_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)
_key = msgspec.json.Decoder(NewsData)
_lenient = json.JSONDecoder()
_space = re.compile(r"[ \t\r\n]*")


class Taken(msgspec.Struct):
    """What one answer came to, in rows. `readable`: it was a list."""

    new: int = 0
    revised: int = 0
    unchanged: int = 0
    malformed: int = 0
    readable: bool = True

    @property
    def rows(self) -> int:
        """Rows that were appended."""
        return self.new + self.revised + self.malformed


class NewsParser:
    """One endpoint's answers, one after the other. Not for several threads; reads no clock."""

    def __init__(self, source: int, *, remembered: int = REMEMBERED) -> None:
        """`source` is the number of the SOURCE row that all rows name."""
        self.source = source
        self.seen: dict[bytes, bytes] = {}  # digest of a key to that of its content(s), latest shown last
        self._remembered = remembered

    def feed(self, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append the rows of one answer that has just been received; `stamp` gives each message its time.

        Never raises for what an endpoint can answer.
        """
        taken = Taken()
        try:
            parts = _parts(body)
        except DECODE_FAILURES as error:
            taken.readable = False
            self._refuse(malformed_of(error, body), body, stamp, rows, taken)
            return taken
        if len(parts) > ITEMS_MAX:
            taken.readable = False
            problem = Malformed(f"more than {ITEMS_MAX:,} items in one answer")
            self._refuse(problem, body, stamp, rows, taken)
            return taken
        items = _oldest_first(parts)
        shown = _contents(items)
        known = {key for key, contents in shown.items() if self.seen.get(key) == contents}
        for found in items:
            if isinstance(found, _Read):
                self._take(found, known, stamp, rows, taken)
            else:
                self._refuse(*found, stamp, rows, taken)
        self.seen.update(shown)
        self._forget(len(parts))
        return taken

    def remember(self, data: bytes, ts_venue: int) -> None:
        """Know a NEWS row that an earlier recorder wrote. What is no such row is passed over."""
        try:
            key = _key.decode(data).id
        except DECODE_FAILURES:
            return
        digest = _digest(b"key", key.encode())
        self.seen.pop(digest, None)
        self.seen[digest] = _digest(str(ts_venue).encode(), data)
        self._forget(0)

    def _take(
        self, item: _Read, known: set[bytes], stamp: Callable[[], int], rows: RowBuffer, taken: Taken
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
        key = _digest(b"malformed", wire)
        known = self.seen.pop(key, None)
        self.seen[key] = b""
        if known is None:
            taken.malformed += 1
            append_malformed(problem, wire, stamp(), self.source, rows)

    def _forget(self, shown: int) -> None:
        """Drop what was not shown for longest; nothing of this answer, or it would all be new next time."""
        while len(self.seen) > max(self._remembered, shown):
            del self.seen[next(iter(self.seen))]


def _parts(body: bytes) -> list[bytes]:
    """The bytes of each item. Raises one of DECODE_FAILURES."""
    try:
        return [bytes(part) for part in _items.decode(body)]
    except msgspec.DecodeError as error:
        parts = _split(body)
        if parts is None:
            raise error from None
        return parts


def _split(body: bytes) -> list[bytes] | None:
    """The items of a list of which one is no strict JSON (half an emoji, NaN); None where it is no list.

    Slower than msgspec, which refuses the whole of it; so one bad item costs nobody the good ones.
    """
    text = body.decode("utf-8", "surrogateescape")
    at = _behind_space(text, 0)
    if text[at : at + 1] != "[":
        return None
    parts = []
    at = _behind_space(text, at + 1)
    while True:
        try:
            _, end = _lenient.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        parts.append(text[at:end].encode("utf-8", "surrogateescape"))
        if len(parts) > ITEMS_MAX:
            return parts
        mark = _behind_space(text, end)
        if text[mark : mark + 1] == "]":
            return parts if not text[mark + 1 :].strip() else None
        if text[mark : mark + 1] != ",":
            return None
        at = _behind_space(text, mark + 1)


def _behind_space(text: str, at: int) -> int:
    found = _space.match(text, at)
    assert found is not None, "it matches nothing as well"
    return found.end()


class _Read(msgspec.Struct):
    """An item that could be read: its key, its columns and its bytes."""

    key: bytes
    data: bytes
    ts_venue: int
    wire: bytes

    @property
    def digests(self) -> tuple[bytes, bytes]:
        """Of its key and of its content."""
        return _digest(b"key", self.key), _digest(str(self.ts_venue).encode(), self.data)


def _contents(items: list[_Read | tuple[Malformed, bytes]]) -> dict[bytes, bytes]:
    """By key, the digest of its last item's content, and that of all of them, where they differ."""
    found: dict[bytes, list[bytes]] = {}
    for item in items:
        if isinstance(item, _Read):
            key, content = item.digests
            found.setdefault(key, []).append(content)
    return {
        key: each[-1] if len(set(each)) == 1 else each[-1] + _digest(b"several", b"".join(each))
        for key, each in found.items()
    }


def _oldest_first(parts: list[bytes]) -> list[_Read | tuple[Malformed, bytes]]:
    """Items as read, or what is wrong with them; by their times, and otherwise in the opposite order."""
    found: list[tuple[int, _Read | tuple[Malformed, bytes]]] = []
    at = NULL_TIME
    for wire in reversed(parts):
        try:
            item = _read(wire)
        except Malformed as problem:
            found.append((at, (problem, wire)))
        else:
            # What says no time stays beside its neighbour.
            at = at if item.ts_venue == NULL_TIME else item.ts_venue
            found.append((at, item))
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def _read(wire: bytes) -> _Read:
    """One item. Raises Malformed."""
    try:
        item = _item.decode(wire)
    except DECODE_FAILURES as error:
        raise malformed_of(error, wire) from None
    headline = (item.headline or "").strip()
    if not headline:
        raise Malformed("there is no headline", field="headline", value=item.headline or "")
    if item.datetime is not None and not 0 <= item.datetime <= LATEST_MS:
        raise Malformed("is no time in milliseconds since 1970", field="datetime", value=str(item.datetime))
    url = (item.url or "").strip()
    ts_venue = NULL_TIME if item.datetime is None else item.datetime * MILLISECOND_NS
    given = "" if item.id is None else str(item.id).strip()
    key = given or _made_key(url or f"{headline}\n{item.datetime}")
    news = NewsData(
        id=key,
        headline=headline,
        summary=(item.summary or "").strip(),
        source=(item.source or "").strip(),
        url=url,
        symbols=_symbols(item.related or ""),
    )
    return _Read(key.encode(), encode_canonical(news), ts_venue, wire)


def _made_key(text: str) -> str:
    return blake2b(text.encode(), digest_size=_KEY_BYTES).hexdigest()


def _symbols(related: str) -> tuple[str, ...]:
    """The symbols of a list between commas, each once."""
    return tuple(dict.fromkeys(name for name in (part.strip() for part in related.split(",")) if name))


def _digest(kind: bytes, content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_BYTES, key=kind).digest()
