"""What each of Alpaca's messages becomes, in both encodings."""

from __future__ import annotations

from typing import Any

import pytest

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
