"""A news endpoint's answers as JSON: a list, newest first, in the shape that IEX Cloud gave its news.

    {"datetime": ms, "headline", "source", "url", "summary", "related": "AAPL,MSFT", "image", "lang", …}

Whoever asks again gets most of them again; what becomes of them is the business of engine.feed.headlines. An
item is known by its `id` where it has one, else by a hash of its `url`, else by one of headline and time.
`ts_venue` is its `datetime`.

One item that is no strict JSON costs its neighbours nothing.
"""

from __future__ import annotations

import json
import re

import msgspec

from engine.feed.headlines import ITEMS_MAX, REMEMBERED, Headline, HeadlineParser, Item, headline, newest_last
from engine.feed.parser import DECODE_FAILURES, Malformed, malformed_of
from engine.feed.polled import Taken
from engine.model.kinds import NewsData
from engine.model.units import MILLISECOND_NS, NULL_TIME

__all__ = ["ITEMS_MAX", "LATEST_MS", "REMEMBERED", "NewsParser", "Taken", "parts_of"]

LATEST_MS = (2**63 - 1) // MILLISECOND_NS  # later times do not fit the column


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
_lenient = json.JSONDecoder()
_space = re.compile(r"[ \t\r\n]*")


class NewsParser(HeadlineParser):
    """One endpoint's answers, one after the other."""

    def read(self, body: bytes) -> list[Item]:
        """The items, oldest first. Raises Malformed for what is no list."""
        return newest_last(parts_of(body), _read)


def parts_of(body: bytes) -> list[bytes]:
    """The bytes of each item of a list. Raises Malformed for what is none, or too long."""
    try:
        parts = _parts(body)
    except DECODE_FAILURES as error:
        raise malformed_of(error, body) from None
    if len(parts) > ITEMS_MAX:
        raise Malformed(f"more than {ITEMS_MAX:,} items in one answer")
    return parts


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


def _read(wire: bytes) -> Headline:
    """One item. Raises Malformed."""
    try:
        item = _item.decode(wire)
    except DECODE_FAILURES as error:
        raise malformed_of(error, wire) from None
    title = (item.headline or "").strip()
    if not title:
        raise Malformed("there is no headline", field="headline", value=item.headline or "")
    if item.datetime is not None and not 0 <= item.datetime <= LATEST_MS:
        raise Malformed("is no time in milliseconds since 1970", field="datetime", value=str(item.datetime))
    news = NewsData(
        id="" if item.id is None else str(item.id).strip(),
        headline=title,
        summary=(item.summary or "").strip(),
        source=(item.source or "").strip(),
        url=(item.url or "").strip(),
        symbols=_symbols(item.related or ""),
    )
    ts_venue = NULL_TIME if item.datetime is None else item.datetime * MILLISECOND_NS
    return headline(news, ts_venue, wire, otherwise=f"{title}\n{item.datetime}")


def _symbols(related: str) -> tuple[str, ...]:
    """The symbols of a list between commas, each once."""
    return tuple(dict.fromkeys(name for name in (part.strip() for part in related.split(",")) if name))
