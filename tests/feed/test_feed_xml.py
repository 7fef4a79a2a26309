"""RSS and Atom into rows: what stands where, dates of all kinds, edits, and XML that is meant to hurt."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from engine.feed.feed_xml import ELEMENTS_MAX, XmlFeedParser
from engine.feed.headlines import ITEMS_MAX
from engine.feed.polled import Taken
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, parse_time
from tests.helpers.rows import Row, rows_of_buffer

ATOM = b'<feed xmlns="http://www.w3.org/2005/Atom">'


class Desk:
    """A parser, its buffer, and a clock that counts."""

    def __init__(self) -> None:
        self.parser = XmlFeedParser(4)
        self.buffer = RowBuffer()
        self.stamp: Callable[[], int] = itertools.count(1_000).__next__

    def body(self, body: bytes) -> tuple[Taken, list[Row]]:
        """What one body came to, and the rows that it brought."""
        self.buffer.clear()
        taken = self.parser.feed(body, self.stamp, self.buffer)
        rows = rows_of_buffer(self.buffer)
        assert taken.rows == len(rows)
        return taken, rows

    def times(self) -> list[int]:
        """`ts_venue` of the rows of the latest body."""
        from engine.log.schema import batch_of_buffer

        return [int(time) for time in batch_of_buffer(self.buffer, 0).ts_venue]


def rss(*items: bytes) -> bytes:
    head = b'<?xml version="1.0"?><rss version="2.0"><channel><title>Wire</title>'
    return head + b"".join(items) + b"</channel></rss>"


def item(number: int, title: str = "", **more: str) -> bytes:
    fields = {"title": title or f"Headline {number}", "guid": f"g{number}", **more}
    return ("<item>" + "".join(f"<{k}>{v}</{k}>" for k, v in fields.items()) + "</item>").encode()


def headlines(rows: list[Row]) -> list[str]:
    return [row.data.get("headline", row.kind.name) for row in rows]


def test_an_item_of_rss_becomes_a_row() -> None:
    """Every element where it belongs, the date in nanoseconds, and the item's own bytes as wire."""
    raw = (
        b"<item><title> Up &amp;\n away &lt;b&gt;now&lt;/b&gt; </title><link>https://h/1</link>"
        b'<guid isPermaLink="false">id-1</guid><pubDate>Sat, 01 Jun 2024 14:00:00 +0200</pubDate>'
        b"<description><![CDATA[<p>Bold</p>]]></description><source url='x'>Desk</source>"
        b'<x:y xmlns:x="u">?</x:y></item>'
    )
    desk = Desk()
    taken, (row,) = desk.body(rss(raw))
    assert (taken.new, row.kind, row.flags, row.source) == (1, Kind.NEWS, Flag.LAST, 4)
    assert row.data == {
        "id": "id-1",
        "headline": "Up & away <b>now</b>",
        "summary": "<p>Bold</p>",
        "source": "Desk",
        "url": "https://h/1",
    }
    assert row.wire == raw
    assert desk.times() == [parse_time("2024-06-01T12:00:00Z")]


def test_an_entry_of_atom_becomes_a_row() -> None:
    """The link that leads to the article, the time of the latest edit, HTML titles without their tags."""
    raw = (
        b'<entry><title type="html">A &lt;i&gt;fine&lt;/i&gt; &amp;amp; dandy day, 1 &lt; 2</title>'
        b'<id>urn:1</id><link rel="self" href="https://h/self"/><link href="https://h/1"/>'
        b"<published>2024-06-01T12:00:00Z</published><updated>2024-06-01T12:00:00.123456789Z</updated>"
        b'<summary>S</summary><content type="xhtml"><div>long</div></content></entry>'
    )
    desk = Desk()
    (row,) = desk.body(ATOM + raw + b"</feed>")[1]
    assert row.data == {
        "id": "urn:1", "headline": "A fine & dandy day, 1 < 2", "summary": "S", "url": "https://h/1"
    }  # fmt: skip
    assert row.wire == raw
    assert desk.times() == [parse_time("2024-06-01T12:00:00.123456789Z")]


def test_rss_of_the_first_kind() -> None:
    """Items beside the channel, names in namespaces, Dublin Core's date."""
    body = (
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"'
        b' xmlns:dc="http://purl.org/dc/elements/1.1/"><channel/><item><title>T</title>'
        b"<link>https://h/1</link><dc:date>2024-06-01T12:00:00+00:00</dc:date></item></rdf:RDF>"
    )
    desk = Desk()
    (row,) = desk.body(body)[1]
    assert (row.data["headline"], row.data["url"], len(row.data["id"])) == ("T", "https://h/1", 16)
    assert desk.times() == [parse_time("2024-06-01T12:00:00Z")]


DATES = [
    ("Sat, 01 Jun 2024 12:00:00 GMT", "2024-06-01T12:00:00Z"),
    ("01 Jun 2024 12:00:00 EST", "2024-06-01T17:00:00Z"),
    ("Sat, 1 Jun 24 12:00 +0000", "2024-06-01T12:00:00Z"),
    ("2024-06-01T12:00:00-01:30", "2024-06-01T13:30:00Z"),
    ("2024-06-01T12:00:00.5Z", "2024-06-01T12:00:00.5Z"),
    ("yesterday", None),
    ("2024-06-01", None),
    ("Sat, 99 Jun 2024 12:00:00 GMT", None),
    ("Thu, 01 Jan 1920 00:00:00 GMT", None),
    ("9" * 5_000, None),
    ("", None),
]


@pytest.mark.parametrize(("text", "time"), DATES, ids=lambda value: repr(value)[:40])
def test_dates(text: str, time: str | None) -> None:
    """RFC 822 and RFC 3339; of what is neither, no time, and a row all the same."""
    desk = Desk()
    assert headlines(desk.body(rss(item(1, pubDate=text)))[1]) == ["Headline 1"]
    assert desk.times() == [NULL_TIME if time is None else parse_time(time)]


def test_oldest_first_each_once_and_edits_again() -> None:
    """The order of the dates, else the opposite of the document's; an edit is a row with REVISED."""
    desk = Desk()
    rows = desk.body(rss(item(3), item(2), item(1)))[1]
    assert headlines(rows) == ["Headline 1", "Headline 2", "Headline 3"]
    assert desk.body(rss(item(3), item(2), item(1)))[1] == []
    (row,) = desk.body(rss(item(3, "Headline 3b"), item(2), item(1)))[1]
    assert (row.data["headline"], row.flags) == ("Headline 3b", Flag.LAST | Flag.REVISED)
    dated = rss(
        item(5, pubDate="Sat, 01 Jun 2024 12:00:00 GMT"), item(6, pubDate="Sat, 01 Jun 2024 13:00:00 GMT")
    )
    assert headlines(desk.body(dated)[1]) == ["Headline 5", "Headline 6"]


def test_what_an_item_is_known_by() -> None:
    """guid, else the link, else title and date; the description where there is no title."""
    bodies = [
        b"<item><title>T</title><guid>g</guid><link>l</link></item>",
        b"<item><title>T</title><link/><link>l</link><link>m</link></item>",
        b"<item><title>T</title><pubDate>x</pubDate></item>",
        b"<item><title>T</title></item>",
        b"<item><description> only\n this </description></item>",
    ]
    desk = Desk()
    rows = [desk.body(rss(body))[1][0] for body in bodies]
    assert len({row.data["id"] for row in rows}) == 5
    assert rows[0].data["id"] == "g"
    assert rows[4].data["headline"] == "only this"
    assert desk.body(rss(*bodies))[0].unchanged == 5


def test_an_item_without_words_costs_its_neighbours_nothing() -> None:
    """It is one MALFORMED row with its bytes, once."""
    desk = Desk()
    rows = desk.body(rss(item(1), b"<item><guid>x</guid></item>", item(2)))[1]
    assert headlines(rows) == ["Headline 2", "MALFORMED", "Headline 1"]
    assert rows[1].wire == b"<item><guid>x</guid></item>"
    assert headlines(desk.body(rss(b"<item><guid>x</guid></item>", item(3)))[1]) == ["Headline 3"]


REFUSED = [
    (b"", "no element found"),
    (b"<html><body/></html>", "is neither RSS nor Atom"),
    (b"<rss><channel>", "no element found"),
    (b"<rss><channel></rss>", "mismatched tag"),
    (b"<rss>&nbsp;</rss>", "undefined entity"),
    (b"<rss>\xff</rss>", "not well-formed"),
    (b'<?xml version="1.0" encoding="nonsense"?><rss/>', "encoding"),
    (b'<?xml version="1.0" encoding="utf-7"?><rss/>', "encoding"),
    (b'<!DOCTYPE rss [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]><rss>&b;</rss>', "declares"),
    (b'<!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss>&x;</rss>', "declares"),
    (b"<!DOCTYPE rss [" + b"<!ATTLIST a b CDATA 'x'>" * 100_000 + b"]><rss/>", "declares"),
    (b"<rss>" + b"<a>" * 2_000_000, "nested too deeply"),
    (b"<rss>" + b"<a/>" * (ELEMENTS_MAX + 1), "elements"),
    (rss(*[b"<item/>"] * (ITEMS_MAX + 1)), "items"),
    (b"\x1f\x8b\x08\x00", "not well-formed"),
]


@pytest.mark.parametrize(("body", "words"), REFUSED, ids=lambda value: repr(value)[:40])
def test_what_is_no_feed(body: bytes, words: str) -> None:
    """One MALFORMED row with the bytes and what is wrong, once; nothing of it is believed."""
    desk = Desk()
    taken, (row,) = desk.body(body)
    assert (taken.readable, row.kind, row.wire) == (False, Kind.MALFORMED, body)
    assert words in row.data["error"]
    assert desk.body(body)[1] == []


def test_other_encodings_than_utf_8() -> None:
    """What the document says of itself is believed; a doctype that declares nothing is none to fear."""
    desk = Desk()
    head = '<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE rss PUBLIC "x" "y">'
    latin = f"{head}<rss><item><title>Ü</title></item></rss>"
    assert headlines(desk.body(latin.encode("latin-1"))[1]) == ["Ü"]
    wide = "<rss><item><title>Ä</title></item></rss>".encode("utf-16")
    assert headlines(desk.body(wide)[1]) == ["Ä"]


def test_a_feed_cut_anywhere() -> None:
    """At every byte: rows, or one MALFORMED row; never an exception, and nothing is remembered."""
    body = rss(item(1, pubDate="Sat, 01 Jun 2024 12:00:00 GMT"), item(2, "Zwölf &amp; mehr"))
    for end in range(len(body)):
        desk = Desk()
        taken, rows = desk.body(body[:end])
        assert (taken.readable, headlines(rows)) == (False, ["MALFORMED"]), end
        assert desk.body(body)[0].new == 2


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_mean_nothing(seed: int) -> None:
    """Random bytes, and a feed with random bytes in it: rows or MALFORMED rows, never an exception."""
    chance = random.Random(seed)
    body = bytearray(rss(item(1, link="https://h/1"), item(2)))
    for _ in range(1 + seed % 4):
        body[chance.randrange(len(body))] = chance.randrange(256)
    for each in (bytes(body), chance.randbytes(200)):
        kinds = {row.kind for row in Desk().body(each)[1]}
        assert kinds <= {Kind.NEWS, Kind.MALFORMED}
        assert kinds
