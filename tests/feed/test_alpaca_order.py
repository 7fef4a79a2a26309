"""Alpaca numbers nothing: what is late, what came twice, and when a book is in step."""

from __future__ import annotations

from typing import Any

import pytest

from engine.feed.alpaca_rows import Memory
from engine.feed.parser import SnapshotWanted
from engine.model.kinds import ASK, BID, Flag, Kind
from engine.model.units import SECOND_NS
from tests.helpers.alpaca import ENCODINGS, Encoding, bar, book, feed, json_frame, later, parser, quote, trade

LAST, NONE = Flag.LAST, Flag(0)
LATE, DUPLICATE, REVISED, FINAL = Flag.OUT_OF_ORDER, Flag.DUPLICATE, Flag.REVISED, Flag.FINAL
SNAP, CLEAR, BAD = Flag.SNAPSHOT, Flag.CLEAR, Flag.MAYBE_BAD_BOOK
encodings = pytest.mark.parametrize("frame", [e[1] for e in ENCODINGS], ids=[e[0] for e in ENCODINGS])

# --- late, and twice ---

# trades in order of arrival: id, exchange, ns after the first, conditions; then their flags
LATENESS: list[tuple[str, list[tuple[int, str, int, list[str] | None]], list[Flag]]] = [
    ("in order", [(1, "K", 0, []), (2, "K", 5, []), (3, "K", 5, None)], [NONE, NONE, NONE]),
    ("an exchange's own order", [(1, "K", 5, []), (2, "K", 4, [])], [NONE, LATE]),
    ("not that of two exchanges", [(1, "K", 900_000_000, []), (2, "Z", 0, [])], [NONE, NONE]),
    ("unless it is more than a second", [(1, "K", SECOND_NS + 1, []), (2, "D", 0, [])], [NONE, LATE]),
    ("a late one moves nothing", [(1, "K", 9, []), (2, "K", 4, []), (3, "K", 6, [])], [NONE, LATE, LATE]),
    (
        "the tape says so",
        [(1, "K", 0, ["@", "Z"]), (2, "K", 1, ["U"]), (3, "K", 2, ["T"])],
        [LATE, LATE, NONE],
    ),
    ("twice", [(1, "K", 0, []), (1, "K", 0, [])], [NONE, DUPLICATE]),
    (
        "twice, with others between",
        [(1, "K", 0, []), (2, "K", 3, []), (1, "K", 0, [])],
        [NONE, NONE, DUPLICATE],
    ),
    ("the number again, at another exchange", [(1, "K", 0, []), (1, "Z", 0, [])], [NONE, NONE]),
    ("the number again, another day", [(1, "K", 0, []), (1, "K", 5, [])], [NONE, NONE]),
    ("without a number nothing is a repeat", [(0, "K", 0, []), (0, "K", 0, [])], [NONE, NONE]),
]


@pytest.mark.parametrize(("trades", "flags"), [c[1:] for c in LATENESS], ids=[c[0] for c in LATENESS])
@pytest.mark.parametrize("together", [False, True], ids=["frame by frame", "in one frame"])
def test_trades_are_late_or_repeated(
    trades: list[tuple[int, str, int, list[str] | None]], flags: list[Flag], *, together: bool
) -> None:
    """By exchange, number and time; in one frame as in several."""
    messages = [trade(n, x=x, t=later(ns), c=conditions) for n, x, ns, conditions in trades]
    frames = [json_frame(*messages)] if together else [json_frame(each) for each in messages]
    assert [row.flags & ~LAST for row in feed(parser(), *frames)] == flags


# quotes in order of arrival: bid, bid exchange, ns after the first; then their flags
QUOTES: list[tuple[str, list[tuple[float, str, int]], list[Flag]]] = [
    ("in order", [(1, "V", 0), (2, "V", 1), (1, "V", 2)], [NONE, NONE, NONE]),
    ("the same again", [(1, "V", 0), (1, "V", 0)], [NONE, DUPLICATE]),
    ("another of the same time", [(1, "V", 0), (2, "V", 0), (1, "V", 0)], [NONE, NONE, NONE]),
    ("an earlier one of that exchange", [(1, "V", 9), (2, "V", 8), (3, "V", 9)], [NONE, LATE, NONE]),
    ("of another exchange", [(1, "V", 9), (2, "Q", 8)], [NONE, NONE]),
    ("of another, much earlier", [(1, "V", 2 * SECOND_NS), (2, "Q", 8)], [NONE, LATE]),
]


@pytest.mark.parametrize(("quotes", "flags"), [c[1:] for c in QUOTES], ids=[c[0] for c in QUOTES])
def test_quotes_are_late_or_repeated(quotes: list[tuple[float, str, int]], flags: list[Flag]) -> None:
    """Both rows of a quote have the flag."""
    frames = [json_frame(quote(bid, 200, bx=x, t=later(ns))) for bid, x, ns in quotes]
    rows = feed(parser(), *frames)
    assert [row.flags & ~LAST for row in rows] == [flag for flag in flags for _ in range(2)]


# bars in order of arrival: kind, close, minute; then their flags
BARS: list[tuple[str, list[tuple[str, float, int]], list[Flag]]] = [
    ("minute by minute", [("b", 1, 0), ("b", 1, 1)], [FINAL, FINAL]),
    ("and then updated", [("b", 1, 0), ("u", 2, 0), ("u", 3, 0)], [FINAL, FINAL | REVISED, FINAL | REVISED]),
    ("an update twice", [("u", 2, 0), ("u", 2, 0)], [FINAL | REVISED, FINAL | REVISED | DUPLICATE]),
    ("the same again", [("b", 1, 0), ("b", 1, 0)], [FINAL, FINAL | DUPLICATE]),
    ("the same minute, another close", [("b", 1, 0), ("b", 2, 0)], [FINAL, FINAL | REVISED]),
    ("an earlier minute", [("b", 1, 1), ("b", 1, 0)], [FINAL, FINAL | LATE]),
    ("a day stands still", [("d", 1, 0), ("d", 1, 0)], [NONE, NONE]),
]


@pytest.mark.parametrize(("bars", "flags"), [c[1:] for c in BARS], ids=[c[0] for c in BARS])
def test_bars_are_final_revised_or_repeated(bars: list[tuple[str, float, int]], flags: list[Flag]) -> None:
    """All four rows of a bar have the flags."""
    frames = [
        json_frame(bar(kind, close, t=f"2024-07-24T07:{minute:02d}:00Z")) for kind, close, minute in bars
    ]
    rows = feed(parser(), *frames)
    assert [row.flags & ~LAST for row in rows] == [flag for flag in flags for _ in range(4)]


def test_a_stamp_from_the_future_makes_nothing_late() -> None:
    """One more than a minute ahead of our clock is a mistake: what follows is judged without it."""
    target = parser()
    ahead = "2024-08-09T00:00:00Z"  # TS is of the day before
    messages = [trade(1, t=ahead), quote(t=ahead), bar(t=ahead), trade(2), quote(), bar()]
    assert {row.flags & ~LAST for row in feed(target, *map(json_frame, messages))} == {NONE, FINAL}


@pytest.mark.parametrize("conditions", [None, [], ["@"], "Z", "U", 5, {"Z": 1}, [5, None]], ids=repr)
@encodings
def test_conditions_may_be_anything(frame: Encoding, conditions: Any) -> None:
    """Only a list of texts says something, and nothing else depends on them."""
    assert [row.flags for row in feed(parser(), frame(trade(1, c=conditions)))] == [LAST]


@encodings
def test_a_number_may_have_64_bits(frame: Encoding) -> None:
    """As the log's column."""
    (row,) = feed(parser(), frame(trade(2**64 - 1)))
    assert row.id == 2**64 - 1


def test_a_correction_that_comes_twice_is_a_duplicate() -> None:
    """And so is a cancel; each is still a revision."""
    cancel = {"T": "x", "S": "AAPL", "i": 465, "x": "D", "p": 105.31, "s": 300, "a": "C", "t": later(0)}
    rows = feed(parser(), json_frame(cancel), json_frame(cancel))
    assert [row.flags & ~LAST for row in rows] == [REVISED, REVISED | DUPLICATE]


def test_what_is_remembered_of_trades_is_bounded() -> None:
    """The latest half at least is known, and the oldest forgotten."""
    memory = Memory(most=8)
    assert not any(memory.repeats(number) for number in range(100))
    assert all(memory.repeats(number) for number in range(96, 100))
    assert not memory.repeats(5)


# --- books ---


def test_a_book_is_in_step_from_its_full_picture_on() -> None:
    """Changes before it may not be applied, and it is wanted once."""
    target = parser()
    change = json_frame(book([(5, 1)]))
    assert [row.flags for row in feed(target, change, change)] == [BAD | LAST, BAD | LAST]
    assert target.wants == [SnapshotWanted("BTC/USD", "first")]
    assert not target.synchronised("BTC/USD")
    feed(target, json_frame(book([(4, 1)], reset=True)))
    assert target.synchronised("BTC/USD")
    rows = feed(target, json_frame(book([(5, 0)], [(6, 2.5)], t=later(1))))
    assert [(row.side, row.price, row.size, row.flags) for row in rows] == [
        (BID, 500, 0, NONE),
        (ASK, 600, 25_000, LAST),
    ]
    assert len(target.wants) == 1


def test_a_change_without_levels_is_a_row() -> None:
    """It changes nothing."""
    target = parser()
    _, row = feed(target, json_frame(book(reset=True)), json_frame(book(t=later(1))))
    assert (row.side, row.data, row.flags) == (0, {"note": "no levels"}, LAST)


def test_lists_of_a_book_may_be_null() -> None:
    """As the venue's language writes an empty one."""
    target = parser()
    (row,) = feed(target, json_frame(book(reset=True) | {"a": None, "b": None}))
    assert row.data == {"note": "empty book"}


def test_a_change_that_comes_twice_is_a_duplicate() -> None:
    """The book stays in step."""
    target = parser()
    change = json_frame(book([(5, 1)], t=later(1)))
    rows = feed(target, json_frame(book(reset=True)), change, change)
    assert [row.flags for row in rows[1:]] == [LAST, DUPLICATE | LAST]
    assert target.synchronised("BTC/USD")


def test_a_change_older_than_the_last_puts_the_book_out_of_step() -> None:
    """It cannot be applied any more: the book is wanted again, and flagged until it comes."""
    target = parser()
    target_frames = [book([(4, 1)], reset=True), book([(5, 1)], t=later(9)), book([(6, 1)], t=later(8))]
    rows = feed(target, *map(json_frame, target_frames))
    assert rows[-1].flags == BAD | LATE | LAST
    assert target.wants == [SnapshotWanted("BTC/USD", "gap")]
    assert feed(target, json_frame(book([(7, 1)], t=later(10))))[0].flags == BAD | LAST
    assert feed(target, json_frame(book([(4, 1)], reset=True, t=later(11))))[0].flags == CLEAR | SNAP | LAST
    assert feed(target, json_frame(book([(7, 1)], t=later(12))))[0].flags == LAST


def test_a_full_picture_that_comes_late_takes_nothing_back() -> None:
    """One that is older than the last change is not applied; the book stays in step as it is."""
    target = parser()
    whole, change = book([(5, 1)], reset=True), book([(5, 0)], t=later(1))
    rows = feed(target, *(json_frame(each) for each in (whole, change, whole)))
    assert [row.flags & ~LAST for row in rows] == [SNAP | CLEAR, NONE, SNAP | CLEAR | LATE]
    assert target.synchronised("BTC/USD")
    assert not target.wants
    fresh = feed(target, json_frame(book([(4, 1)], reset=True, t=later(2))))
    assert [row.flags & ~LAST for row in fresh] == [SNAP | CLEAR]


def test_a_lost_connection_puts_books_out_of_step() -> None:
    """All of them, or one; the next subscription brings them."""
    target = parser()
    feed(target, json_frame(book(reset=True), book(reset=True, S="ETH/USD")))
    target.connection_lost("BTC/USD")
    assert (target.synchronised("BTC/USD"), target.synchronised("ETH/USD")) == (False, True)
    target.connection_lost()
    assert not target.synchronised("ETH/USD")
    target.carry_book("ETH/USD", 0)
    assert target.synchronised("ETH/USD")


def test_the_rows_of_one_book_stand_together() -> None:
    """A change that follows its picture across another symbol's is moved behind it; the rest stays."""
    frames = [
        book([(4, 1)], reset=True),
        book([(9, 1)], reset=True, S="ETH/USD"),
        {"T": "t", "S": "ETH/USD", "p": 9, "s": 1, "t": later(0), "i": 1, "tks": "B"},
        book([(5, 1)], t=later(1)),
        book([(8, 1)], S="ETH/USD", t=later(1)),
    ]
    rows = feed(parser(), json_frame(*frames))
    assert [(row.kind, row.instrument, row.price) for row in rows] == [
        (Kind.BOOK, 3, 400),
        (Kind.BOOK, 3, 500),
        (Kind.BOOK, 4, 900),
        (Kind.BOOK, 4, 800),
        (Kind.TRADE, 4, 900),
    ]
    assert [bool(row.flags & CLEAR) for row in rows] == [True, False, True, False, False]
    assert [row.wire for row in rows] == [True] + [False] * 4
