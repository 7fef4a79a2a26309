"""Alpaca's news messages into NEWS rows: what is new, what was edited, what came twice.

A row holds what `news_json` gives of other endpoints: id, headline, summary, source, address and symbols, as
they are. Its `ts_venue` is `updated_at`: this is when these words were there, and `created_at` may be long
before. That, and the article's body, which may be long and is HTML, stand in the wire. News belong to no
instrument: `symbols` are the venue's.

The same id again is an edit (REVISED) when its `updated_at` is later or anything that a row holds is other,
a DUPLICATE when both are as before, and OUT_OF_ORDER besides when an edit that is known already was later.
What was not heard of for longest is forgotten first; it would be new again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from engine.feed.alpaca_messages import Article
from engine.feed.parser import DUPLICATE, OUT_OF_ORDER, Malformed
from engine.model.kinds import NO_SIDE, Flag, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME

REMEMBERED = 16_384
NEWS = int(Kind.NEWS)
_REVISED = int(Flag.REVISED)
_DIGEST_BYTES = 16

NewsFact = tuple[str, int, bytes]


class NewsRows:
    """The articles of one connection. As with symbols: reading may fail, writing remembers."""

    def __init__(self, source: int, *, remembered: int = REMEMBERED) -> None:
        self.source = source
        self._remembered = remembered
        self._seen: dict[str, tuple[int, bytes]] = {}  # id to updated_at and a digest, latest heard of last

    def read(self, message: Article[Any, Any], created: int, updated: int) -> NewsFact:
        """Key, time, `data`. Raises Malformed for what is no headline."""
        headline = message.headline or ""
        if not headline.strip():
            raise Malformed("there is no headline", field="headline", value=headline)
        key = str(message.id)
        news = NewsData(
            id=key,
            headline=headline,
            summary=message.summary or "",
            source=message.source or "",
            url=message.url or "",
            symbols=tuple(message.symbols or ()),
        )
        return key, created if updated == NULL_TIME else updated, encode_canonical(news)

    def write(self, fact: NewsFact, wire: bytes | None, ts: int, rows: RowBuffer) -> None:
        """NEWS; see the module for its flags."""
        key, stamp, data = fact
        now = (stamp, blake2b(data, digest_size=_DIGEST_BYTES).digest())
        before = self._seen.pop(key, None)
        flags = 0
        if before == now:
            flags = DUPLICATE
        elif before is not None:
            flags = _REVISED
            if stamp < before[0]:
                flags |= OUT_OF_ORDER
                now = before
        self._seen[key] = now
        if len(self._seen) > self._remembered:
            del self._seen[next(iter(self._seen))]
        rows.append_fast(ts, stamp, self.source, NEWS, 0, flags, 0, NO_SIDE, 0, 0, 0, data, wire)
