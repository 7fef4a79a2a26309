"""Alpaca's news over REST: articles into rows, edits, pages, and from when on the next question asks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from engine.feed.alpaca_news import AlpacaNewsParser
from engine.feed.polled import Taken
from engine.model.kinds import Flag, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import parse_time
from tests.helpers.rows import Row, rows_of_buffer

NOON = parse_time("2024-06-01T12:00:00Z")
SECOND = 1_000_000_000


def article(number: int, minute: int = 0, **changes: Any) -> dict[str, Any]:
    """An article in the endpoint's shape, updated some minutes after noon."""
    return {
        "id": number,
        "headline": f"Headline {number}",
        "summary": "S",
        "author": "A",
        "created_at": "2024-06-01T11:00:00Z",
        "updated_at": f"2024-06-01T12:{minute:02}:00Z",
        "url": f"https://h/{number}",
        "content": "<p>x</p>",
        "symbols": ["AAPL", "MSFT"],
        "source": "benzinga",
        "images": [],
        **changes,
    }


def page(*articles: dict[str, Any], following: str | None = None) -> bytes:
    return msgspec.json.encode({"news": articles, "next_page_token": following})


class Desk:
    """A parser, its buffer, and a clock that counts from an hour after noon."""

    def __init__(self) -> None:
        self.parser = AlpacaNewsParser(4)
        self.buffer = RowBuffer()
        self.stamp: Callable[[], int] = itertools.count(NOON + 3_600 * SECOND).__next__

    def body(self, body: bytes) -> tuple[Taken, list[Row]]:
        """What one body came to, and the rows that it brought."""
        self.buffer.clear()
        taken = self.parser.feed(body, self.stamp, self.buffer)
        rows = rows_of_buffer(self.buffer)
        assert taken.rows == len(rows)
        return taken, rows

    def asks(self) -> dict[str, str]:
        """The next question."""
        return {name: value for name, (value,) in parse_qs(self.parser.query()).items()}


def test_an_article_becomes_a_row() -> None:
    """As the stream's: id, headline, summary, source, url, symbols; its own bytes are its wire."""
    desk = Desk()
    taken, (row,) = desk.body(page(article(24843171)))
    assert (taken.new, row.kind, row.source, row.flags) == (1, Kind.NEWS, 4, Flag.LAST)
    assert row.data == {
        "id": "24843171",
        "headline": "Headline 24843171",
        "summary": "S",
        "source": "benzinga",
        "url": "https://h/24843171",
        "symbols": ["AAPL", "MSFT"],
    }
    assert row.wire == msgspec.json.encode(article(24843171))


def test_an_edit_is_a_new_row() -> None:
    """Known by its id: a newer `updated_at` is an edit, also when the words are the same; else nothing."""
    desk = Desk()
    desk.body(page(article(1)))
    assert desk.body(page(article(1)))[1] == []
    (row,) = desk.body(page(article(1, 5)))[1]
    assert row.flags == Flag.LAST | Flag.REVISED
    (row,) = desk.body(page(article(1, 6, headline="Headline 1b")))[1]
    assert (row.data["headline"], row.flags) == ("Headline 1b", Flag.LAST | Flag.REVISED)


def test_the_first_question_is_for_the_newest() -> None:
    """Newest first, and no page further back; then oldest first, since the newest, with an overlap."""
    desk = Desk()
    assert desk.asks() == {"sort": "desc", "limit": "50"}
    taken, rows = desk.body(page(article(2, 20), article(1, 10), following="back"))
    assert [row.data["id"] for row in rows] == ["1", "2"]
    assert not taken.more
    assert desk.asks() == {"sort": "asc", "limit": "50", "start": "2024-06-01T12:15:00.000000000Z"}


def test_pages_are_followed_with_one_start() -> None:
    """The token leads on while there is one; the start moves when the last page has come."""
    desk = Desk()
    desk.body(page(article(1, 10)))
    assert "page_token" not in desk.asks()
    assert desk.body(page(article(2, 20), following="a+/="))[0].more
    asked = desk.asks()
    assert (asked["page_token"], asked["start"]) == ("a+/=", "2024-06-01T12:05:00.000000000Z")
    assert not desk.body(page(article(3, 30)))[0].more
    assert desk.asks() == {"sort": "asc", "limit": "50", "start": "2024-06-01T12:25:00.000000000Z"}


def test_a_page_that_leads_to_itself_or_fails_is_left() -> None:
    """The next question begins anew, since the newest that came."""
    desk = Desk()
    desk.body(page(article(1, 10)))
    assert desk.body(page(article(2, 20), following="same"))[0].more
    assert not desk.body(page(article(3, 25), following="same"))[0].more
    assert desk.body(page(article(4, 30), following="other"))[0].more
    desk.parser.lost()
    assert desk.asks() == {"sort": "asc", "limit": "50", "start": "2024-06-01T12:25:00.000000000Z"}


def test_an_article_of_tomorrow_does_not_stop_the_news() -> None:
    """The start is never later than what has been received."""
    desk = Desk()
    desk.body(page(article(1, updated_at="2031-01-01T00:00:00Z")))
    assert desk.asks()["start"].startswith("2024-06-01T12:55:00")


def test_a_recording_that_goes_on_asks_since_its_end() -> None:
    """What an earlier recorder wrote is known, and the first question begins there."""
    desk = Desk()
    news = NewsData("1", "Headline 1", "S", "benzinga", "https://h/1", ("AAPL", "MSFT"))
    desk.parser.remember(encode_canonical(news), NOON)
    assert desk.asks()["start"].startswith("2024-06-01T11:55:00")
    assert desk.body(page(article(1)))[1] == []
    desk.parser.remember(b"[]", 1)


def test_fields_that_are_not_there() -> None:
    """Null is as good as absent; without `updated_at` it is `created_at` that counts."""
    desk = Desk()
    bare = {
        "id": "x",
        "headline": "H",
        "summary": None,
        "symbols": None,
        "created_at": "2024-06-01T12:10:00Z",
    }
    (row,) = desk.body(page(bare))[1]
    assert row.data == {"id": "x", "headline": "H"}
    assert desk.asks()["start"].startswith("2024-06-01T12:05:00")
    assert desk.body(b'{"news":null}')[1] == []


BROKEN = [
    ({"headline": " "}, "there is no headline", "headline"),
    ({"headline": 7}, "Expected `str | null`", "headline"),
    ({"updated_at": "soon"}, "is not a time", "updated_at"),
    ({"updated_at": "1950-01-01T00:00:00Z"}, "a time that no row can have", "updated_at"),
    ({"updated_at": "2262-12-01T00:00:00Z"}, "a time that no row can have", "updated_at"),
    ({"id": None}, "Expected `int | str`", "id"),
]


@pytest.mark.parametrize(("changes", "words", "field"), BROKEN, ids=repr)
def test_a_broken_article_costs_the_others_nothing(changes: dict[str, Any], words: str, field: str) -> None:
    """It is a MALFORMED row, once; the page is well."""
    desk = Desk()
    body = page(article(1), article(2, **changes), article(3))
    taken, rows = desk.body(body)
    assert (taken.readable, taken.new, taken.malformed) == (True, 2, 1)
    (row,) = [row for row in rows if row.kind is Kind.MALFORMED]
    assert words in row.data["error"]
    assert row.data["field"] == field
    assert desk.body(body)[1] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"message":"forbidden"}', b'{"news":{}}'], ids=repr)
def test_what_is_no_page(body: bytes) -> None:
    """One MALFORMED row with the bytes, once."""
    desk = Desk()
    taken, (row,) = desk.body(body)
    assert (taken.readable, row.kind, row.wire) == (False, Kind.MALFORMED, body)
    assert desk.body(body)[1] == []


def test_a_page_cut_anywhere() -> None:
    """At every byte one MALFORMED row, never an exception."""
    whole = page(article(1))
    for end in range(len(whole)):
        assert [row.kind for row in Desk().body(whole[:end])[1]] == [Kind.MALFORMED], end


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_mean_nothing(seed: int) -> None:
    """Random bytes, alone and in a page: rows of the documented kinds, and a question that can be asked."""
    chance = random.Random(seed)
    desk = Desk()
    for _ in range(30):
        changed = bytearray(page(article(1), article(2, 7), following="t"))
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        for body in (bytes(changed), chance.randbytes(60)):
            assert {row.kind for row in desk.body(body)[1]} <= {Kind.NEWS, Kind.MALFORMED}
            assert desk.parser.query().isascii()
