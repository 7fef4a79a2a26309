"""RSS and Atom into NEWS rows: the XML of a feed, read by expat, within limits.

An item (`item` of RSS, `entry` of Atom) is known by its `guid` or `id`, else by its link, else by title and
date; what becomes of it is the business of engine.feed.headlines. Its own bytes are the row's `wire`, HTML as
it came. The headline is the title as text, with white space made one space; a title that Atom says is HTML is
freed of its tags. The summary is the description as it is, tags included: what they mean is for its reader.

    ts_venue: `updated` of Atom, else `published`; `pubDate` of RSS (RFC 822), else `dc:date`; none where it
    cannot be read, since half of the world's feeds write dates their own way

XML can be made to hurt: entities that grow, nesting without end, megabytes of nothing. A document that
declares anything of its own (entities, say) is refused, as are depth, elements and items beyond the limits
here; expat itself reads no external file. What is not well-formed is refused as a whole, with the byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from html import unescape
from xml.parsers import expat

import msgspec

from engine.feed.headlines import ITEMS_MAX, Headline, HeadlineParser, Item, headline
from engine.feed.parser import Malformed
from engine.model.errors import DecimalError
from engine.model.kinds import NewsData
from engine.model.units import NULL_TIME, SECOND_NS, parse_time

DEPTH_MAX = 64
ELEMENTS_MAX = 300_000
PIECES_MAX = 1_000_000  # of text: each line, each entity is one
_SLICE = 64 << 10
_DATE_CHARACTERS = 64
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_SPACE = " "  # between a namespace and a name, for expat
_ATOM = "http://www.w3.org/2005/Atom"
_CONTENT = "http://purl.org/rss/1.0/modules/content/"
_DUBLIN = "http://purl.org/dc/elements/1.1/"
_RSS_1 = "http://purl.org/rss/1.0/"
_ROOTS = {
    "rss": "item",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns# RDF": f"{_RSS_1} item",
    f"{_ATOM} feed": f"{_ATOM} entry",
}
# Elements of an item, in the order in which the first that says something counts.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "id": ("guid", f"{_ATOM} id"),
    "title": ("title", f"{_RSS_1} title", f"{_ATOM} title", f"{_DUBLIN} title"),
    "link": ("link", f"{_RSS_1} link", f"{_ATOM} link"),
    "summary": (
        "description",
        f"{_RSS_1} description",
        f"{_ATOM} summary",
        f"{_CONTENT} encoded",
        f"{_ATOM} content",
    ),
    "date": (f"{_ATOM} updated", f"{_ATOM} published", "pubDate", f"{_DUBLIN} date"),
    "source": ("source", f"{_DUBLIN} publisher"),
}
_READ = {name for names in _FIELDS.values() for name in names}


class XmlFeedParser(HeadlineParser):
    """One feed, poll after poll."""

    def read(self, body: bytes) -> list[Item]:
        """The items, oldest first. Raises Malformed for what is no feed."""
        items = _Reading().read(body)
        items.reverse()
        found: list[tuple[int, Item]] = []
        at = NULL_TIME
        for item in items:
            one = _headline(item)
            if isinstance(one, Headline) and one.ts_venue != NULL_TIME:
                at = one.ts_venue
            found.append((at, one))
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]


class _Raw(msgspec.Struct):
    """An item as it stands there: texts by element, and its bytes."""

    texts: dict[str, str]
    markup: bool  # its title is HTML
    wire: bytes


class _Reading:
    """One document through expat; one use."""

    def __init__(self) -> None:
        self.items: list[_Raw] = []
        self._parser = parser = expat.ParserCreate(namespace_separator=_SPACE)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        parser.buffer_text = True
        parser.buffer_size = _SLICE
        self._body = b""
        self._depth = self._elements = self._pieces = 0
        self._item = ""  # what an item is called here
        self._began = -1  # byte and
        self._level = 0  # depth of the item that is open, and
        self._texts: dict[str, str] = {}  # what it says, and
        self._markup = False
        self._name = ""  # the element of it that is being read, and
        self._pile: list[str] = []  # its text so far

    def read(self, body: bytes) -> list[_Raw]:
        """The items, in the order of the document. Raises Malformed."""
        self._body = body
        try:
            for at in range(0, len(body), _SLICE):
                self._parser.Parse(body[at : at + _SLICE], False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            words = expat.errors.messages.get(error.code, "")
            raise Malformed(
                f"is no well-formed XML: {words or error}", byte=max(0, self._parser.ErrorByteIndex)
            ) from None
        except (LookupError, ValueError, UnicodeError) as error:
            # An encoding that nobody knows, or that is none of bytes.
            raise Malformed(f"is in an encoding that is not read ({type(error).__name__})") from None
        return self.items

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > DEPTH_MAX:
            raise self._refusal("is nested too deeply")
        if self._elements > ELEMENTS_MAX:
            raise self._refusal(f"has more than {ELEMENTS_MAX:,} elements")
        if self._depth == 1:
            if name not in _ROOTS:
                raise Malformed("is neither RSS nor Atom", field=name.rpartition(_SPACE)[2])
            self._item = _ROOTS[name]
        elif self._began < 0:
            if name == self._item:
                self._began, self._level = self._parser.CurrentByteIndex, self._depth
                self._texts, self._markup = {}, False
        elif self._depth == self._level + 1 and name in _READ:
            self._name, self._pile = name, []
            if name == f"{_ATOM} link":
                self._link(attributes)
            elif name == f"{_ATOM} title":
                self._markup = attributes.get("type") == "html"

    def _end(self, name: str) -> None:
        if self._began >= 0:
            if self._depth == self._level + 1 and self._name:
                self._texts[self._name] = self._texts.get(self._name) or "".join(self._pile).strip()
                self._name = ""
            elif self._depth == self._level:
                self._close(name)
        self._depth -= 1

    def _close(self, name: str) -> None:
        """An item is complete, but for the bytes of its own end."""
        end = self._body.find(b">", self._parser.CurrentByteIndex) + 1
        if len(self.items) >= ITEMS_MAX:
            raise self._refusal(f"has more than {ITEMS_MAX:,} items")
        wire = self._body[self._began : end] if end else self._body[self._began :]
        self.items.append(_Raw(self._texts, self._markup, wire))
        self._began = -1
        assert name == self._item, "expat pairs them"

    def _text(self, text: str) -> None:
        self._pieces += 1
        if self._pieces > PIECES_MAX:
            raise self._refusal("has too many pieces of text")
        if self._name:
            self._pile.append(text)

    def _link(self, attributes: dict[str, str]) -> None:
        """Atom's link stands in an attribute; the first that leads to the article counts."""
        if attributes.get("rel", "alternate") == "alternate" and f"{_ATOM} link" not in self._texts:
            self._texts[f"{_ATOM} link"] = attributes.get("href", "").strip()
        self._name = ""

    def _doctype(self, _name: str, _system: str | None, _public: str | None, declares: int) -> None:
        if declares:  # entities that grow, attributes without number
            raise self._refusal("declares what no feed has to declare")

    def _refusal(self, words: str) -> Malformed:
        return Malformed(words, byte=self._parser.CurrentByteIndex)


def _headline(item: _Raw) -> Item:
    """What an item says, or what is wrong with it."""
    said = {field: _first(item.texts, names) for field, names in _FIELDS.items()}
    title = said["title"]
    if item.markup:
        title = _without_tags(title)
    title = " ".join(title.split()) or " ".join(said["summary"].split())
    if not title:
        return Malformed("there is neither a title nor a description", field="title"), item.wire
    news = NewsData(
        id=said["id"],
        headline=title,
        summary=said["summary"],
        source=" ".join(said["source"].split()),
        url=said["link"],
    )
    return headline(news, _time(said["date"]), item.wire, otherwise=f"{title}\n{said['date']}")


def _first(texts: dict[str, str], names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := texts.get(name, ""))), "")


def _time(text: str) -> int:
    """Nanoseconds of an RFC 3339 or RFC 822 date; NULL_TIME for what is neither."""
    if not text or len(text) > _DATE_CHARACTERS:
        return NULL_TIME
    try:
        found = parse_time(text)
    except DecimalError:
        try:
            found = int(parsedate_to_datetime(text).timestamp()) * SECOND_NS
        except (ValueError, TypeError, IndexError, OverflowError):
            return NULL_TIME
    return found if 0 <= found < 2**63 else NULL_TIME


def _without_tags(text: str) -> str:
    return unescape(_TAG.sub("", text))
