"""News answers into rows: new, edited, unchanged, broken; whole, cut, random, and of real headlines."""

from __future__ import annotations

import csv
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed.news_json import ITEMS_MAX, LATEST_MS, NewsParser, Taken
from engine.model.kinds import Flag, Kind, NewsData, encode_canonical
from engine.model.rows import RowBuffer
from engine.model.units import MILLISECOND_NS, NULL_TIME
from tests.helpers.rows import Row, rows_of_buffer

SOURCE = 4
BOTH = Flag.LAST | Flag.REVISED


def item(number: int, **changes: Any) -> dict[str, Any]:
    """An item in the endpoint's full shape."""
    whole = {
        "datetime": 1_545_215_400_000 + number,
        "headline": f"Headline {number} – “quoted” 🚀",
        "source": "Wire",
        "url": f"https://news.example/{number}",
        "summary": f"Summary {number}",
        "related": "AAPL,MSFT",
        "image": "https://news.example/image",
        "lang": "en",
        "hasPaywall": False,
    }
    whole.update(changes)
    return {name: value for name, value in whole.items() if value is not ...}


class Desk:
    """A parser, its buffer, and a clock that counts."""

    def __init__(self, **options: int) -> None:
        self.parser = NewsParser(SOURCE, **options)
        self.buffer = RowBuffer()
        self.stamp: Callable[[], int] = itertools.count(1_000, 2).__next__

    def body(self, body: bytes) -> tuple[Taken, list[Row]]:
        """What one body came to, and the rows that it brought."""
        self.buffer.clear()
        taken = self.parser.feed(body, self.stamp, self.buffer)
        rows = rows_of_buffer(self.buffer)
        assert taken.rows == len(rows)
        return taken, rows

    def items(self, *items: Any) -> list[Row]:
        """The rows of a list of items."""
        return self.body(msgspec.json.encode(items))[1]


def headlines(rows: list[Row]) -> list[str]:
    return [row.data.get("headline", row.kind.name) for row in rows]


def test_an_item_becomes_a_row() -> None:
    """Every field where it belongs: times, source, flags, canonical data, and the item's own bytes."""
    desk = Desk()
    raw = b'{ "url":"https://news.example/a?b=1", "headline" : "Up", "datetime":1000, "x":[1, 2] }'
    (row,) = desk.body(b" [" + raw + b"] ")[1]
    assert (row.ts, row.kind, row.flags, row.source, row.instrument) == (
        1_000,
        Kind.NEWS,
        Flag.LAST,
        SOURCE,
        0,
    )
    assert row.wire == raw
    assert row.data.keys() == {"id", "headline", "url"}
    assert len(row.data["id"]) == 16
    assert desk.buffer.view()["ts_venue"].tolist() == [1_000 * MILLISECOND_NS]
    (row,) = desk.items(item(1, related=" MSFT, AAPL,,MSFT ", summary=" s "))
    data = msgspec.convert(row.data, NewsData)
    assert (data.symbols, data.summary, data.source) == (("MSFT", "AAPL"), "s", "Wire")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"id": "abc"}, "abc"),
        ({"id": 17}, "17"),
        ({"id": 10**30}, "1" + "0" * 30),
        ({"id": " "}, None),
        ({"id": None}, None),
    ],
    ids=str,
)
def test_an_id_is_the_key_where_there_is_one(given: dict[str, Any], key: str | None) -> None:
    """Texts and numbers of any length are taken as they are; an empty one is none, then the url counts."""
    (row,) = Desk().items(item(1, **given))
    by_url = Desk().items(item(2, url=item(1)["url"]))[0].data["id"]
    assert row.data["id"] == (key or by_url)


def test_without_id_and_url_headline_and_time_are_the_key() -> None:
    """The same headline at another time is another item; the same one twice is not."""
    desk = Desk()
    bare = {"headline": "Up"}
    assert len(desk.items({**bare, "datetime": 1}, {**bare, "datetime": 2}, bare, {**bare, "url": ""})) == 3
    assert desk.items({**bare, "datetime": 2, "summary": ""}) == []
    (edited,) = desk.items({**bare, "datetime": 2, "summary": "and more"})
    assert edited.flags == BOTH


def test_rows_stand_oldest_first() -> None:
    """Whatever the order of the list: by time; and what says none beside its neighbour."""
    desk = Desk()
    assert headlines(desk.items(item(3), item(2), item(1))) == [item(n)["headline"] for n in (1, 2, 3)]
    desk = Desk()
    shuffled = desk.items(item(2), item(3), item(1), {"headline": "timeless"})
    assert headlines(shuffled) == ["timeless", *(item(n)["headline"] for n in (1, 2, 3))]
    assert [row.ts for row in shuffled] == [1_000, 1_002, 1_004, 1_006]
    assert desk.buffer.view()["ts_venue"][0] == NULL_TIME


def test_only_what_is_new_is_written() -> None:
    """A list that moves on by one item brings one row; the same list again brings none."""
    desk = Desk()
    desk.items(item(2), item(1))
    assert headlines(desk.items(item(3), item(2), item(1))) == [item(3)["headline"]]
    taken, rows = desk.body(msgspec.json.encode([item(3), item(2), item(1)]))
    assert (taken.unchanged, rows) == (3, [])


@pytest.mark.parametrize(
    "change",
    [{"headline": "Other"}, {"summary": "Other"}, {"source": "Other"}, {"related": "TSLA"}, {"datetime": 5}],
    ids=lambda change: next(iter(change)),
)
def test_an_edit_is_a_row_of_its_own(change: dict[str, Any]) -> None:
    """REVISED, under the same id; then unchanged again; going back is an edit, too."""
    desk = Desk()
    (first,) = desk.items(item(1))
    (edited,) = desk.items(item(1, **change))
    assert (first.flags, edited.flags) == (Flag.LAST, BOTH)
    assert edited.data["id"] == first.data["id"]
    assert desk.items(item(1, **change)) == []
    (back,) = desk.items(item(1))
    assert (back.flags, back.data) == (BOTH, first.data)


def test_what_a_strategy_is_not_told_makes_no_edit() -> None:
    """A counter, another image, other white space and another order of the fields."""
    desk = Desk()
    desk.items(item(1))
    assert desk.items(item(1, views=7, image="other")) == []
    assert (
        desk.body(json.dumps([dict(reversed(item(1, hasPaywall=True).items()))], indent=2).encode())[1] == []
    )


def test_one_item_twice_in_one_answer() -> None:
    """Written once; where the two differ the newer one revises the older."""
    desk = Desk()
    assert len(desk.items(item(1), item(1))) == 1
    rows = desk.items(item(2, headline="new"), item(2, headline="old"))
    assert [(row.data["headline"], row.flags) for row in rows] == [("old", Flag.LAST), ("new", BOTH)]


BROKEN: list[tuple[Any, dict[str, Any]]] = [
    (item(1, headline=...), {"field": "headline"}),
    (item(1, headline=None), {"field": "headline"}),
    (item(1, headline="  "), {"field": "headline", "value": "  "}),
    (item(1, headline=5), {"field": "headline", "value": "5"}),
    (item(1, datetime="now"), {"field": "datetime", "value": "now"}),
    (item(1, datetime=1.5), {"field": "datetime", "value": "1.5"}),
    (item(1, datetime=-1), {"field": "datetime", "value": "-1"}),
    (item(1, datetime=LATEST_MS + 1), {"field": "datetime", "value": str(LATEST_MS + 1)}),
    (item(1, url=["a"]), {"field": "url", "value": '["a"]'}),
    (item(1, related=["AAPL"]), {"field": "related", "value": '["AAPL"]'}),
    (item(1, id=1.5), {"field": "id", "value": "1.5"}),
    (item(1, id=[]), {"field": "id", "value": "[]"}),
    ("text", {"value": "text"}),
    (7, {"value": "7"}),
    (None, {"value": "null"}),
    ([item(1)], {}),
]


@pytest.mark.parametrize(("broken", "said"), BROKEN, ids=[str(each[0])[:60] for each in BROKEN])
def test_a_broken_item_costs_only_itself(broken: Any, said: dict[str, Any]) -> None:
    """One MALFORMED row with field, value and bytes; its neighbours are read; shown again it is no news."""
    desk = Desk()
    rows = desk.items(item(3), broken, item(2))
    assert sorted(row.kind for row in rows) == [Kind.NEWS, Kind.NEWS, Kind.MALFORMED]
    (bad,) = [row for row in rows if row.kind is Kind.MALFORMED]
    assert bad.wire == msgspec.json.encode(broken)
    assert bad.data["error"]
    assert {name: bad.data.get(name) for name in said} == said
    assert desk.items(item(4), item(3), broken, item(2))[0].data["headline"] == item(4)["headline"]


@pytest.mark.parametrize("bad", [rb'"\ud83d"', b'"\xff"', b"NaN", rb'"\udc00"'], ids=repr)
def test_one_item_that_is_no_strict_json_costs_only_itself(bad: bytes) -> None:
    """Half an emoji, a broken byte, NaN: what lies around it is read all the same."""
    good = msgspec.json.encode(item(1))
    wrong = b'{"headline":"x","summary":' + bad + b"}"
    taken, rows = Desk().body(b"[ " + wrong + b" ,\n" + good + b"\t] ")
    assert taken.readable
    assert [(row.kind, row.wire) for row in rows] == [(Kind.NEWS, good), (Kind.MALFORMED, wrong)]


BODIES: list[tuple[bytes, dict[str, Any]]] = [
    (b"", {"byte": 0}),
    (b"  ", {}),
    (b"{}", {"value": "{}"}),
    (b"null", {"value": "null"}),
    (b"<html><body>Sign in</body></html>", {"byte": 0}),
    (b'[{"headline":"a"}', {"error": "the JSON ends too early", "byte": 17}),
    (b'[{"headline":"a"}]]', {"error": "JSON is malformed: trailing characters"}),
    (b'[{"headline":"a"} {"headline":"b"}]', {"byte": 18}),
    (b'[{"headline":"a"},]', {}),
    (b"[" * 100_000, {"error": "nested too deeply"}),
    (b"\xff\xfe[]", {}),
]


@pytest.mark.parametrize(("body", "said"), BODIES, ids=[repr(each[0][:40]) for each in BODIES])
def test_a_body_that_is_no_list(body: bytes, said: dict[str, Any]) -> None:
    """One MALFORMED row with the whole body; the same body again is not written again."""
    desk = Desk()
    taken, (row,) = desk.body(body)
    assert not taken.readable
    assert (row.kind, row.flags, row.wire) == (Kind.MALFORMED, Flag.LAST, body)
    assert {name: row.data.get(name) for name in said} == said
    taken, rows = desk.body(body)
    assert (taken.readable, rows) == (False, [])


def test_an_answer_cut_anywhere_is_one_malformed_row() -> None:
    """At every byte: refused as a whole, with what came; the whole answer afterwards is as if nothing was."""
    whole = msgspec.json.encode([item(2, summary="é" * 5), item(1)])
    desk = Desk()
    for length in range(len(whole)):
        taken, rows = desk.body(whole[:length])
        assert (taken.readable, [row.wire for row in rows]) == (False, [whole[:length]])
    assert headlines(desk.body(whole)[1]) == [item(1)["headline"], item(2)["headline"]]


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_never_raise(seed: int) -> None:
    """Noise, and good answers with some bytes replaced: rows or MALFORMED, never an exception."""
    chance = random.Random(seed)
    whole = msgspec.json.encode([item(n, id=n, views=n / 3) for n in range(5)])
    desk = Desk(remembered=50)
    kinds = set()
    for _ in range(1_500):
        body = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        for row in desk.body(bytes(body))[1]:
            kinds.add(row.kind)
        desk.body(chance.randbytes(chance.randrange(40)))
    assert kinds == {Kind.NEWS, Kind.MALFORMED}


def test_what_is_remembered_is_bounded() -> None:
    """The longest unseen is forgotten and would be new again; what every answer shows never is."""
    desk = Desk(remembered=10)
    desk.items(item(0))
    for number in range(1, 40):
        assert len(desk.items(item(number), item(0))) == 1
    assert len(desk.parser.seen) == 10
    assert desk.items(item(39), item(35)) == []
    (again,) = desk.items(item(1))
    assert (again.flags, again.data["id"]) == (Flag.LAST, Desk().items(item(1))[0].data["id"])


def test_rows_of_before_are_known() -> None:
    """Those of another parser count as seen; what is no headline is passed over."""
    before, after = Desk(), Desk(remembered=3)
    rows = before.items(item(3), item(2), item(1))
    stamps = before.buffer.view()["ts_venue"].tolist()
    for row, stamp in zip(rows, stamps, strict=True):
        after.parser.remember(encode_canonical(msgspec.convert(row.data, NewsData)), stamp)
    for data in (b"", b"{}", b"\xff", b'{"id":1,"headline":"x"}'):
        after.parser.remember(data, 0)
    (edited,) = after.items(item(3), item(2, headline="other"), item(1))
    assert edited.flags == BOTH
    for number in range(10, 20):
        after.parser.remember(encode_canonical(NewsData(id=str(number), headline="x")), 0)
    assert len(after.parser.seen) == 3


def test_an_answer_longer_than_the_memory() -> None:
    """All of it is remembered as long as it is shown, or every poll would write it again."""
    desk = Desk(remembered=10)
    many = [item(number) for number in range(50)]
    assert len(desk.items(*many)) == 50
    assert desk.items(*many) == []
    desk.items(item(99))
    assert len(desk.parser.seen) == 10


def test_items_of_one_answer_that_share_a_key() -> None:
    """They are edits of each other, once: the same answer again brings nothing, another one what is new."""
    desk = Desk()
    first, second = item(1, url="u"), item(2, url="u")
    assert [row.flags for row in desk.items(second, first)] == [Flag.LAST, BOTH]
    for _ in range(3):
        assert desk.items(second, first) == []
    assert desk.items(second) == []
    assert [row.data["headline"] for row in desk.items(item(3, url="u"), second)] == [item(3)["headline"]]
    assert desk.items(item(3, url="u"), second) == []


def test_the_same_item_twice_in_an_answer() -> None:
    """It is one, and no edit when it is shown once again."""
    desk = Desk()
    assert len(desk.items(item(1), item(1))) == 1
    assert desk.items(item(1)) == []


@pytest.mark.parametrize("end", [b"1]", b"NaN]"])
def test_an_answer_of_too_many_items(end: bytes) -> None:
    """It is one MALFORMED row, and none of its items is read: there may be millions in it."""
    taken, (row,) = Desk().body(b"[" + b"1," * ITEMS_MAX + end)
    assert not taken.readable
    assert row.kind == Kind.MALFORMED
    assert row.data["error"] == "more than 16,384 items in one answer"
    taken, _ = Desk().body(b"[" + b"1," * (ITEMS_MAX - 1) + end)
    assert taken.readable


def test_a_long_summary_stays() -> None:
    """A megabyte of text is in the row, and in its wire."""
    summary = "long – " * 150_000
    (row,) = Desk().items(item(1, summary=summary))
    assert row.data["summary"] == summary.strip()
    assert row.wire == msgspec.json.encode(item(1, summary=summary))


def test_real_headlines_come_through(real_data: Path) -> None:
    """Thousands of real texts in the endpoint's shape: each is a row with its text, none comes twice."""
    with (real_data / "news" / "cnbc_headlines.csv").open(newline="", encoding="utf-8") as file:
        texts = [(row["Headlines"], row["Description"]) for row in csv.DictReader(file) if row["Headlines"]]
    feed = json.loads((real_data / "news" / "alphavantage_news_stockNews.json").read_bytes())["feed"]
    texts += [(entry["title"], entry["summary"]) for entry in feed]
    items = [
        item(number, headline=headline, summary=summary) for number, (headline, summary) in enumerate(texts)
    ]
    desk = Desk()
    seen: list[Row] = []
    for last in range(0, len(items), 7):  # a window that moves on, as polls see it
        seen += desk.items(*reversed(items[max(0, last - 20) : last]))
    seen += desk.items(*reversed(items[-20:]))
    assert len(items) > 2_500
    assert [row.data["headline"] for row in seen] == [headline.strip() for headline, _ in texts]
    assert [row.data.get("summary", "") for row in seen] == [summary.strip() for _, summary in texts]
