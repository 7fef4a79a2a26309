"""What each of Alpaca's messages becomes, in both encodings."""

from __future__ import annotations

from typing import Any

import pytest

from engine.feed.alpaca_rows import Memory
from engine.feed.parser import SnapshotWanted
from engine.model.kinds import ASK, BID, BUY, SELL, Flag, InstrumentData, Kind, Part, SourceData
from engine.model.rows import RowBuffer
from engine.model.units import SECOND_NS
from tests.helpers.alpaca import (
    AAPL,
    AT_NS,
    BTC,
    ENCODINGS,
    TS,
    Encoding,
    Message,
    bar,
    book,
    feed,
    json_frame,
    later,
    packed_frame,
    parser,
    quote,
    trade,
)
from tests.helpers.frames import Row, rows_of

LAST, NONE = Flag.LAST, Flag(0)
LATE, DUPLICATE, REVISED, FINAL = Flag.OUT_OF_ORDER, Flag.DUPLICATE, Flag.REVISED, Flag.FINAL
SNAP, CLEAR, BAD = Flag.SNAPSHOT, Flag.CLEAR, Flag.MAYBE_BAD_BOOK
MINUTE_NS = 1_721_807_760 * SECOND_NS

encodings = pytest.mark.parametrize("frame", [e[1] for e in ENCODINGS], ids=[e[0] for e in ENCODINGS])


def halt(code: str = "H", **more: Any) -> Message:
    """A trading halt."""
    return {
        "T": "s",
        "S": "AAPL",
        "sc": code,
        "sm": "Trading Halt",
        "rc": "T12",
        "rm": "News",
        "t": later(0),
        **more,
    }


def bar_rows(close: int, flags: Flag, interval: int = 60 * SECOND_NS, size: int = 205) -> list[Row]:
    """The rows of `bar`."""
    return [
        Row(
            Kind.BAR,
            price=1_326_500,
            part=Part.OPEN,
            flags=flags,
            ts_venue=MINUTE_NS,
            wire=True,
            data={"interval_ns": interval},
        ),
        Row(Kind.BAR, price=1_360_000, part=Part.HIGH, flags=flags),
        Row(Kind.BAR, price=1_321_200, part=Part.LOW, flags=flags),
        Row(Kind.BAR, price=close, size=size, id=16, part=Part.CLOSE, flags=flags | LAST),
    ]


BIDS = [(26_675.04, 1.5), (26_675, 2)]
CASES: list[tuple[str, Message, list[Row]]] = [
    (
        "a stock's trade has no aggressor",
        trade(628),
        [Row(Kind.TRADE, 0, 1_629_200, 3, 628, LAST, ts_venue=AT_NS, wire=True)],
    ),
    (
        "a crypto trade has one",
        {"T": "t", "S": "BTC/USD", "p": 47.29, "s": 29.25, "t": later(1), "i": 2**63 - 1, "tks": "S"},
        [Row(Kind.TRADE, SELL, 4_729, 292_500, 2**63 - 1, LAST, ts_venue=AT_NS + 1, instrument=3, wire=True)],
    ),
    (
        "the buyer took",
        {"T": "t", "S": "BTC/USD", "p": 47.29, "s": 1, "t": later(0), "i": 1, "tks": "B"},
        [Row(Kind.TRADE, BUY, 4_729, 10_000, 1, LAST, ts_venue=AT_NS, instrument=3, wire=True)],
    ),
    (
        "a quote is two rows",
        quote(),
        [
            Row(Kind.QUOTE, BID, 1_338_500, 4, ts_venue=AT_NS, wire=True),
            Row(Kind.QUOTE, ASK, 1_357_700, 5, flags=LAST, ts_venue=AT_NS),
        ],
    ),
    (
        "a side that nobody quotes is there, with nothing",
        quote(0, 135.77, bs=0, bx=" "),
        [
            Row(Kind.QUOTE, BID, 0, 0, ts_venue=AT_NS, wire=True),
            Row(Kind.QUOTE, ASK, 1_357_700, 5, flags=LAST, ts_venue=AT_NS),
        ],
    ),
    (
        "as is one that is left out",
        {"T": "q", "S": "AAPL", "bp": 1, "bs": 2, "t": later(0)},
        [
            Row(Kind.QUOTE, BID, 10_000, 2, ts_venue=AT_NS, wire=True),
            Row(Kind.QUOTE, ASK, 0, 0, flags=LAST, ts_venue=AT_NS),
        ],
    ),
    ("a minute's bar is final", bar(), bar_rows(1_346_500, FINAL)),
    ("an updated one is a revision too", bar("u", 134.7), bar_rows(1_347_000, FINAL | REVISED)),
    ("a day so far is not final", bar("d"), bar_rows(1_346_500, NONE, 86_400 * SECOND_NS)),
    (
        "a correction names the first trade",
        {
            "T": "c",
            "S": "AAPL",
            "x": "M",
            "oi": 5,
            "op": 39.1582,
            "os": 440000,
            "oc": [" "],
            "ci": 6,
            "cp": 39.1809,
            "cs": 439000,
            "cc": [" "],
            "z": "B",
            "t": later(0),
        },
        [
            Row(
                Kind.TRADE,
                0,
                391_809,
                439_000,
                5,
                REVISED | LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"note": "corrected", "was_price": "39.1582", "was_size": "440000", "new_id": 6},
            )
        ],
    ),
    (
        "a correction may keep the number",
        {
            "T": "c",
            "S": "AAPL",
            "x": "M",
            "oi": 5,
            "op": 39,
            "os": 4,
            "ci": 5,
            "cp": 40,
            "cs": 4,
            "t": later(0),
        },
        [
            Row(
                Kind.TRADE,
                0,
                400_000,
                4,
                5,
                REVISED | LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"note": "corrected", "was_price": "39", "was_size": "4"},
            )
        ],
    ),
    (
        "a cancelled trade has no size",
        {"T": "x", "S": "AAPL", "i": 465, "x": "D", "p": 105.31, "s": 300, "a": "C", "z": "C", "t": later(0)},
        [
            Row(
                Kind.TRADE,
                0,
                1_053_100,
                0,
                465,
                REVISED | LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"note": "cancelled", "was_price": "105.31", "was_size": "300"},
            )
        ],
    ),
    (
        "a halt in plain words, and the venue's",
        halt(),
        [
            Row(
                Kind.STATUS,
                flags=LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"event": "session", "channel": "status", "detail": "halted: H Trading Halt (T12 News)"},
            )
        ],
    ),
    (
        "a code that we do not know, in the venue's only",
        halt("?", rc="", rm=""),
        [
            Row(
                Kind.STATUS,
                flags=LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"event": "session", "channel": "status", "detail": "? Trading Halt"},
            )
        ],
    ),
    (
        "limits of a price",
        {"T": "l", "S": "AAPL", "u": 3.24, "d": 2.6500001, "i": "B", "t": later(0), "z": "C"},
        [
            Row(
                Kind.STATUS,
                flags=LAST,
                ts_venue=AT_NS,
                wire=True,
                data={
                    "event": "session",
                    "channel": "luld",
                    "detail": "limits 2.6500001 to 3.24 (indicator B)",
                },
            )
        ],
    ),
    (
        "an imbalance",
        {"T": "i", "S": "AAPL", "p": 9.12, "z": "C", "t": later(0)},
        [
            Row(
                Kind.STATUS,
                flags=LAST,
                ts_venue=AT_NS,
                wire=True,
                data={"event": "session", "channel": "imbalance", "detail": "imbalance at 9.12"},
            )
        ],
    ),
    (
        "a whole book clears",
        book(BIDS, [(26_676, 0.25)], reset=True),
        [
            Row(Kind.BOOK, BID, 2_667_504, 15_000, 0, CLEAR | SNAP, ts_venue=AT_NS, instrument=3, wire=True),
            Row(Kind.BOOK, BID, 2_667_500, 20_000, 0, SNAP, ts_venue=AT_NS, instrument=3),
            Row(Kind.BOOK, ASK, 2_667_600, 2_500, 0, SNAP | LAST, ts_venue=AT_NS, instrument=3),
        ],
    ),
    (
        "an empty one too",
        book(reset=True),
        [
            Row(
                Kind.BOOK,
                flags=CLEAR | SNAP | LAST,
                ts_venue=AT_NS,
                instrument=3,
                wire=True,
                data={"note": "empty book"},
            )
        ],
    ),
    (
        "no time is none",
        trade(7, t="0001-01-01T00:00:00Z"),
        [Row(Kind.TRADE, 0, 1_629_200, 3, 7, LAST, wire=True)],
    ),
]


@pytest.mark.parametrize(("message", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
@encodings
def test_a_message_becomes_these_rows(frame: Encoding, message: Message, expected: list[Row]) -> None:
    """Whichever way it is encoded; the frame is in the wire."""
    rows = RowBuffer()
    bytes_ = frame(message)
    parser().feed(bytes_, TS, rows)
    assert rows_of(rows) == expected
    assert rows.wire == [bytes_]


@encodings
def test_a_frame_of_many_messages_is_one_message_of_the_log(frame: Encoding) -> None:
    """One time, one wire on its first row, LAST on its last; symbols and types as they came."""
    sent = frame(quote(), trade(1), trade(2, S="AMD"), bar(), halt(), trade(3))
    rows = RowBuffer()
    parser().feed(sent, TS, rows)
    made = rows_of(rows)
    assert [(row.kind, row.instrument) for row in made] == [
        (Kind.QUOTE, 1),
        (Kind.QUOTE, 1),
        (Kind.TRADE, 1),
        (Kind.TRADE, 2),
        *[(Kind.BAR, 1)] * 4,
        (Kind.STATUS, 1),
        (Kind.TRADE, 1),
    ]
    assert [bool(row.flags & LAST) for row in made] == [False] * 9 + [True]
    assert rows.wire == [sent]
    assert [row.wire for row in made] == [True] + [False] * 9
    assert {row.ts for row in made} == {TS}


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


# --- wider definitions ---


@encodings
def test_a_finer_price_widens_the_definition_first(frame: Encoding) -> None:
    """One INSTRUMENT message, a nanosecond earlier, for all that the frame needs."""
    target = parser()
    fine = {"T": "t", "S": "BTC/USD", "p": 0.35718, "s": 29.205707815, "t": later(0), "i": 1, "tks": "B"}
    rows = feed(target, frame(trade(1, 39.15825), fine, {**fine, "i": 2, "p": 1}))
    first, second, *trades = rows
    assert [(row.kind, row.ts, row.flags, row.instrument) for row in (first, second)] == [
        (Kind.INSTRUMENT, TS - 1, NONE, 1),
        (Kind.INSTRUMENT, TS - 1, LAST, 3),
    ]
    assert [row.price for row in trades] == [3_915_825, 35_718, 100_000]
    assert [row.size for row in trades] == [3, 29_205_707_815, 29_205_707_815]
    assert (first.data["version"], first.data["price_decimals"], first.data["price_increment"]) == (
        2,
        5,
        "0.01",
    )
    wider = second.data
    assert (wider["version"], wider["price_decimals"], wider["size_decimals"]) == (2, 5, 9)
    assert (wider["price_increment"], wider["size_increment"]) == ("0.00001", "0.000000001")
    assert target.instruments["BTC/USD"][1] == InstrumentData(**wider)
    assert [row.kind for row in feed(target, frame({**fine, "i": 3}))] == [Kind.TRADE]


def test_noise_of_a_volume_does_not_widen_beyond_nine() -> None:
    """A bar's computed values are cut there; a trade's are exact, however fine."""
    message = bar(S="BTC/USD", v=0.1 + 0.2)
    *_, close = feed(parser(), json_frame(message))
    assert close.size == 3_000  # 0.3 at four decimals: nothing finer is left
    exact = {"T": "t", "S": "BTC/USD", "p": 1, "s": 0.1234567890123, "t": later(0), "i": 1}
    instrument, row = feed(parser(), json_frame(exact))
    assert (instrument.data["size_decimals"], row.size) == (13, 1_234_567_890_123)


def test_a_wider_definition_forgets_nothing_that_it_must_know() -> None:
    """Order and repeats are known by times and numbers, not by prices."""
    target = parser()
    feed(target, json_frame(trade(1, t=later(9))))
    rows = feed(target, json_frame(trade(2, 1.23456, t=later(5)), trade(1, t=later(9))))
    assert [row.flags & ~LAST for row in rows[1:]] == [LATE, DUPLICATE]


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


# --- what nobody here knows ---


def test_unknown_types_and_symbols_are_kept_and_counted() -> None:
    """Among the messages that are known, in their places; unknown fields are no matter."""
    target = parser()
    strange = {"T": "zz", "S": "AAPL"}
    rows = feed(target, json_frame(trade(1), strange, trade(2, S="XYZ"), {"S": "AAPL"}, trade(3, new=[{}])))
    assert [row.kind for row in rows] == [Kind.TRADE, *[Kind.CONTROL] * 3, Kind.TRADE]
    assert target.unknown == {"zz": 1, "symbol XYZ": 1, "no type": 1}
    assert rows[-1].flags == LAST


@encodings
def test_an_array_of_nothing_is_a_row(frame: Encoding) -> None:
    """Of kind CONTROL."""
    (row,) = feed(parser(), frame())
    assert (row.kind, row.flags, row.wire) == (Kind.CONTROL, LAST, True)


def test_both_encodings_may_come_by_one_connection() -> None:
    """Each frame says by its first byte which it is."""
    rows = feed(parser(), json_frame(trade(1)), packed_frame(trade(1)), b"  \n" + json_frame(trade(2)))
    assert [(row.id, row.flags & ~LAST) for row in rows] == [(1, NONE), (1, DUPLICATE), (2, NONE)]


def test_a_rest_answer_is_kept() -> None:
    """Nothing that a parser needs comes by REST."""
    target, rows = parser(), RowBuffer()
    target.feed_rest(SourceData(name="alpaca-rest", venue="alpaca", endpoint="assets"), b"{}", TS, rows, 2)
    (row,) = rows_of(rows)
    assert (row.kind, row.source, row.wire, target.unknown["assets"]) == (Kind.CONTROL, 2, True, 1)


def test_a_definition_may_change_from_outside() -> None:
    """Under its number in the log, which may be another then."""
    target = parser(AAPL)
    target.define(9, BTC)
    target.define(4, AAPL)
    rows = feed(target, json_frame(trade(1), book([(1, 1)], reset=True)))
    assert [row.instrument for row in rows] == [4, 9]
