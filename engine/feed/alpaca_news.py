"""Alpaca's news over REST into NEWS rows: what is new since the newest that was seen, page by page.

    {"news": [{"id", "headline", "summary", "author", "created_at", "updated_at", "url", "content",
               "symbols": ["AAPL"], "source": "benzinga"}, …], "next_page_token": null}

An article is known by its `id`. The endpoint has its latest edit alone, so a row's time is `updated_at`: an
edit that was made before the first poll is all that is ever seen, and nothing says what stood there before.
What counts for a run is when it was received.

The first question is for the newest page; from then on everything is asked for that was updated since the
newest article, oldest first, as many pages as there are. Questions overlap by some minutes, for what the
venue shows late; what is shown again unchanged is no row (engine.feed.headlines).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from engine.feed.headlines import ITEMS_MAX, REMEMBERED, Headline, HeadlineParser, Item, headline, newest_last
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.feed.polled import Taken
from engine.model.errors import DecimalError
from engine.model.kinds import NewsData
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS, format_time, parse_time

PAGE = 50  # articles: the most that one answer has
OVERLAP_NS = 300 * SECOND_NS


class _Answer(msgspec.Struct):
    news: list[msgspec.Raw] | None
    next_page_token: str | None = None


class _Article(msgspec.Struct):
    """The fields that are read; null is as good as absent."""

    id: int | str
    headline: str | None = None
    summary: str | None = None
    url: str | None = None
    source: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    symbols: list[str] | None = None


class Page(msgspec.Struct, frozen=True):
    """The articles of an answer, oldest first, and where it goes on."""

    items: tuple[Item, ...]
    token: str


_answers = msgspec.json.Decoder(_Answer)
_articles = msgspec.json.Decoder(_Article)


class AlpacaNewsParser(HeadlineParser):
    """One list of symbols, poll after poll."""

    def __init__(self, source: int = 0, *, remembered: int = REMEMBERED) -> None:
        super().__init__(source, remembered=remembered)
        self._newest = NULL_TIME  # time of the newest article that was seen
        self._since = ""  # from when on the pages are that are being asked for
        self._token = ""  # of the next page, if there is one

    def read(self, body: bytes) -> Any:
        """A `Page`. Raises Malformed."""
        try:
            answer = _answers.decode(body)
        except DECODE_FAILURES as error:
            raise malformed_of(error, body) from None
        parts = [bytes(part) for part in answer.news or ()]
        if len(parts) > ITEMS_MAX:
            raise Malformed(f"more than {ITEMS_MAX:,} articles in one answer")
        return Page(tuple(newest_last(parts, _read)), answer.next_page_token or "")

    def query(self) -> str:
        """The newest page, until something is known; then everything since."""
        if self._newest == NULL_TIME:
            return f"sort=desc&limit={PAGE}"
        if not self._token:
            self._since = quote(format_time(max(0, self._newest - OVERLAP_NS)))
        page = f"&page_token={quote(self._token, safe='')}" if self._token else ""
        return f"sort=asc&limit={PAGE}&start={self._since}{page}"

    def lost(self) -> None:
        """A page that did not come: begin with the first one again, since the newest that did."""
        self._token = ""

    def take(self, read: Any, body: bytes, stamp: Callable[[], int], rows: RowBuffer) -> Taken:
        """Append what is new of a page."""
        latest = NULL_TIME

        def noted() -> int:
            nonlocal latest
            latest = stamp()
            return latest

        items: Sequence[Item] = read.items
        taken = super().take(items, body, noted, rows)
        # The first page goes back into the past; a page that leads to itself leads nowhere.
        known = self._newest != NULL_TIME
        self._token = read.token if known and read.token != self._token else ""
        taken.more = bool(self._token)
        times = [item.ts_venue for item in items if isinstance(item, Headline)]
        if times:
            # What says it is of tomorrow must not keep us from the news until then.
            newest = max(times) if latest == NULL_TIME else min(max(times), latest)
            self._newest = max(self._newest, newest)
        return taken

    def remember(self, data: bytes, ts_venue: int) -> None:
        """Know a row of an earlier recorder, and go on where it ended."""
        super().remember(data, ts_venue)
        self._newest = max(self._newest, ts_venue)


def _read(wire: bytes) -> Headline:
    """One article. Raises Malformed."""
    try:
        article = _articles.decode(wire)
    except DECODE_FAILURES as error:
        raise malformed_of(error, wire) from None
    title = (article.headline or "").strip()
    if not title:
        raise Malformed("there is no headline", field="headline", value=article.headline or "")
    said = "updated_at" if article.updated_at else "created_at"
    text = article.updated_at or article.created_at or ""
    try:
        ts_venue = parse_time(text) if text else NULL_TIME
    except DecimalError as error:
        raise Malformed(error.message, field=said, value=text) from None
    if not (ts_venue == NULL_TIME or 0 <= ts_venue < 2**63):
        raise Malformed("is a time that no row can have", field=said, value=text)
    news = NewsData(
        id=str(article.id),
        headline=title,
        summary=(article.summary or "").strip(),
        source=(article.source or "").strip(),
        url=(article.url or "").strip(),
        symbols=tuple(dict.fromkeys(article.symbols or ())),
    )
    return headline(news, ts_venue, wire, otherwise=title)
