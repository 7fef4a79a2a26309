"""Alpaca's news messages into NEWS rows: what is new, what was edited, what came twice.

A row holds what `news_json` gives of other endpoints: id, headline, summary, source, address and symbols, as
they are. Its `ts_venue` is `updated_at`: this is when these words were there, and `created_at` may be long
before. That, and the article's body, which may be long and is HTML, stand in the wire. News belong to no
instrument: `symbols` are the venue's.

The same id again is an edit (REVISED) when its `updated_at` is later or anything that a row holds is other,
a DUPLICATE when both are as before, and OUT_OF_ORDER besides when an edit that is known already was later.
What was not heard of for longest is forgotten first; it would be new again.

Headlines that were missed while nobody was connected come in answers of the history: those that are not known
as they are become rows like the stream's, told when they come, and with the answer's source.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import msgspec

from engine.feed.alpaca_messages import Article
from engine.feed.alpaca_values import NotATime, NumberText, text_time
from engine.feed.parser import DECODE_FAILURES, DUPLICATE, OUT_OF_ORDER, Malformed, malformed_of
from engine.model.kinds import NO_SIDE, Flag, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS, format_time

REMEMBERED = 16_384
PAGE = 50  # articles of an answer
NEWS_ENDPOINT = "news"  # of the source of such answers
_AHEAD_NS = 60 * SECOND_NS  # of our clock: a time beyond is a mistake
NEWS = int(Kind.NEWS)
_REVISED = int(Flag.REVISED)
_DIGEST_BYTES = 16

NewsFact = tuple[str, int, bytes]


class _Answer(msgspec.Struct):
    news: list[Article[NumberText, str]] | None  # null: none


_answers = msgspec.json.Decoder(_Answer)


class NewsRows:
    """The articles of one connection. As with symbols: reading may fail, writing remembers."""

    def __init__(self, source: int, *, remembered: int = REMEMBERED) -> None:
        self.source = source
        self.newest = NULL_TIME  # of the articles' times
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
        self._append(fact, self._note(fact, ts), wire, ts, rows, self.source)

    def fill(self, body: bytes, ts: int, rows: RowBuffer, number: int) -> bool:
        """One message of what an answer has that is not known as it is; False for none. Raises Malformed.

        What has no headline is none.
        """
        articles = enumerate(_answer(body).news or ())
        facts = [self._read_entry(place, each) for place, each in articles if (each.headline or "").strip()]
        wire: bytes | None = body
        for fact in facts:
            if not (flags := self._note(fact, ts)) & DUPLICATE:
                self._append(fact, flags, wire, ts, rows, number)
                wire = None
        if wire is None:
            rows.end_message()
        return wire is None

    def _read_entry(self, place: int, article: Article[Any, str]) -> NewsFact:
        try:
            created, updated = (
                text_time(text) if text else NULL_TIME for text in (article.created_at, article.updated_at)
            )
            return self.read(article, created, updated)
        except NotATime as problem:
            raise Malformed(problem.message, field=f"news[{place}]") from None

    def _note(self, fact: NewsFact, ts: int) -> int:
        """Remember an article; the flags of its row."""
        key, stamp, data = fact
        if self.newest < stamp <= ts + _AHEAD_NS:
            self.newest = stamp
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
        return flags

    def _append(
        self, fact: NewsFact, flags: int, wire: bytes | None, ts: int, rows: RowBuffer, source: int
    ) -> None:
        _, stamp, data = fact
        rows.append_fast(ts, stamp, source, NEWS, 0, flags, 0, NO_SIDE, 0, 0, 0, data, wire)


def news_path(symbols: Sequence[str], since: int, token: str) -> str:
    """Path and query of a page of the articles updated from `since` (ns) until now; "*" is all."""
    asked: dict[str, Any] = {} if "*" in symbols else {"symbols": ",".join(symbols)}
    asked |= {"start": format_time(max(since, 0)), "limit": PAGE, "sort": "asc"}
    asked |= {"page_token": token} if token else {}
    return f"/v1beta1/news?{urlencode(asked)}"


def _answer(body: bytes) -> _Answer:
    try:
        return _answers.decode(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
