"""Headlines of Alpaca's stream: what a row holds, edits, repeats."""

from __future__ import annotations

import pytest

from engine.feed.alpaca_articles import NewsRows
from engine.feed.alpaca_messages import Article
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME
from tests.helpers.alpaca import ENCODINGS, TS, Encoding, article, feed, json_frame, parser
from tests.helpers.frames import Row, rows_of

LAST, NONE = Flag.LAST, Flag(0)
REVISED, DUPLICATE, LATE = Flag.REVISED, Flag.DUPLICATE, Flag.OUT_OF_ORDER
UPDATED_NS = 1_726_563_765_000_000_000
encodings = pytest.mark.parametrize("frame", [e[1] for e in ENCODINGS], ids=[e[0] for e in ENCODINGS])


@encodings
def test_a_headline_is_a_row(frame: Encoding) -> None:
    """Of no instrument; its body stays in the wire."""
    assert feed(parser(), frame(article())) == [
        Row(
            Kind.NEWS,
            flags=LAST,
            ts_venue=UPDATED_NS,
            instrument=0,
            wire=True,
            data={
                "id": "7",
                "headline": "A thing happened",
                "summary": "What happened, in short.",
                "source": "benzinga",
                "url": "https://example.invalid/7",
                "symbols": ["AAPL", "BTCUSD"],
            },
        )
    ]


@encodings
def test_what_is_missing_is_empty(frame: Encoding) -> None:
    """Only a headline must be there; an article that was never updated has the time of its making."""
    message = {"T": "n", "id": "x-7", "headline": "Short", "symbols": None, "summary": None}
    (row,) = feed(parser(), frame(message))
    assert (row.data, row.ts_venue) == ({"id": "x-7", "headline": "Short"}, None)
    (row,) = feed(parser(), frame({**message, "created_at": "2024-09-17T09:02:45Z"}))
    assert row.ts_venue == UPDATED_NS


def test_nothing_is_stripped_or_decoded() -> None:
    """Texts are the venue's: entities, white space, other scripts."""
    (row,) = feed(parser(), json_frame(article(headline=" Q&amp;A \u2013 <b>新聞</b> ")))
    assert row.data["headline"] == " Q&amp;A \u2013 <b>新聞</b> "


FIRST, SECOND, THIRD = "2024-09-17T09:02:45Z", "2024-09-17T09:02:46Z", "2024-09-17T09:02:45.5Z"
# articles of one id in order of arrival: updated_at, headline; then their flags
EDITS: list[tuple[str, list[tuple[str, str]], list[Flag]]] = [
    ("unchanged", [(FIRST, "a"), (FIRST, "a")], [NONE, DUPLICATE]),
    ("edited", [(FIRST, "a"), (SECOND, "b")], [NONE, REVISED]),
    ("edited in what no row holds", [(FIRST, "a"), (SECOND, "a")], [NONE, REVISED]),
    ("edited without a new time", [(FIRST, "a"), (FIRST, "b")], [NONE, REVISED]),
    ("and sent again", [(FIRST, "a"), (SECOND, "b"), (SECOND, "b")], [NONE, REVISED, DUPLICATE]),
    ("an edit too late", [(FIRST, "a"), (SECOND, "b"), (THIRD, "c")], [NONE, REVISED, REVISED | LATE]),
    (
        "the last one is what counts",
        [(FIRST, "a"), (SECOND, "b"), (THIRD, "c"), (SECOND, "b")],
        [NONE, REVISED, REVISED | LATE, DUPLICATE],
    ),
]


@pytest.mark.parametrize(("edits", "flags"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
@pytest.mark.parametrize("together", [False, True], ids=["frame by frame", "in one frame"])
def test_edits_and_repeats(edits: list[tuple[str, str]], flags: list[Flag], *, together: bool) -> None:
    """By id, time of the edit, and what a row holds."""
    messages = [article(headline=headline, updated_at=updated) for updated, headline in edits]
    frames = [json_frame(*messages)] if together else [json_frame(each) for each in messages]
    rows = feed(parser(), *frames)
    assert [row.flags & ~LAST for row in rows] == flags
    assert {row.data["id"] for row in rows} == {"7"}


def test_what_was_not_heard_of_for_longest_is_forgotten() -> None:
    """It would be new again; what came again meanwhile is known."""
    target, rows = NewsRows(1, remembered=2), RowBuffer()
    for number in (1, 2, 1, 3, 1, 2):
        message: Article[str, str] = Article(id=number, headline="x")
        target.write(target.read(message, NULL_TIME, NULL_TIME), b"", TS, rows)
    assert [row.flags for row in rows_of(rows)] == [NONE, NONE, DUPLICATE, NONE, DUPLICATE, NONE]
