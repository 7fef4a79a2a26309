"""What Coinbase's messages become: rows, and notices for the connection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.feed.coinbase import CANDLE_NS, CoinbaseParser
from engine.feed.coinbase_rows import PATIENCE_NS
from engine.feed.parser import Notice, Parser, SnapshotWanted
from engine.model.kinds import ASK, BID, BUY, NO_SIDE, SELL, Flag, Kind, Part, SourceData
from engine.model.rows import RowBuffer
from engine.model.units import SECOND_NS
from tests.helpers.coinbase import (
    BTC,
    ERROR,
    ETH,
    SNAPSHOT,
    TIME_NS,
    book,
    candles,
    feed,
    heartbeat,
    levels,
    message,
    numbered,
    parser,
    subscriptions,
    trade,
    trades,
)
from tests.helpers.frames import REST, SOCKET, TS, Row, rows_of

LAST, BACKFILLED, DUPLICATE, LATE = Flag.LAST, Flag.BACKFILLED, Flag.DUPLICATE, Flag.OUT_OF_ORDER
BAD, SNAP, CLEAR, FINAL = Flag.MAYBE_BAD_BOOK, Flag.SNAPSHOT, Flag.CLEAR, Flag.FINAL


def test_the_parser_is_one_of_all_parsers() -> None:
    """It has what the connection asks of any parser."""
    target: Parser = CoinbaseParser({"BTC-USD": (1, BTC)}, SOCKET, ("book",))
    assert target.wants == []


def test_a_snapshot_is_the_whole_book() -> None:
    """CLEAR on its first row; the connection's number is the id, the level's own time the stamp."""
    common: dict[str, Any] = {"kind": Kind.BOOK, "ts_venue": TIME_NS}
    target = parser()
    assert feed(target, SNAPSHOT) == [
        Row(side=BID, price=2_192_173, size=6_000_000, flags=CLEAR | SNAP, wire=True, **common),
        Row(side=BID, price=2_192_130, size=80_000_000, flags=SNAP, **common),
        Row(side=ASK, price=2_192_174, size=50_000_000, flags=SNAP | LAST, **common),
    ]
    assert target.synchronised("BTC-USD")


def test_an_update_is_its_levels() -> None:
    """Absolute sizes; "0" in any form removes; a time of 1970 is none."""
    target = parser()
    rows = feed(
        target,
        SNAPSHOT,
        book(1, "update", [("21921.73", "0")], [("21921.74", "0.00000000")], time="1970-01-01T00:00:00Z"),
    )[3:]
    assert rows == [
        Row(Kind.BOOK, side=BID, price=2_192_173, id=1, wire=True),
        Row(Kind.BOOK, side=ASK, price=2_192_174, id=1, flags=LAST),
    ]


def test_an_update_before_any_snapshot_is_doubtful() -> None:
    """It is kept, and the snapshot is wanted once."""
    target = parser()
    rows = feed(target, book(0, "update", [("1.00", "1")]), book(1, "update", [("1.00", "2")]))
    assert [row.flags for row in rows] == [BAD | LAST, BAD | LAST]
    assert target.wants == [SnapshotWanted("BTC-USD", "first")]


def test_messages_without_levels() -> None:
    """One row each that says so."""
    rows = feed(parser(), book(0, "snapshot"), book(1, "update"))
    assert [(row.flags, row.data) for row in rows] == [
        (CLEAR | SNAP | LAST, {"note": "empty book"}),
        (LAST, {"note": "no levels"}),
    ]


def test_a_snapshot_of_a_large_book() -> None:
    """Forty thousand levels in one frame of several megabytes are one message."""
    bids = [(f"{price / 100:.2f}", "0.12345678") for price in range(1, 20_001)]
    asks = [(f"{price / 100:.2f}", "0.12345678") for price in range(20_001, 40_001)]
    frame = book(0, "snapshot", bids, asks)
    assert len(frame) > 4_000_000
    target, rows = parser(), RowBuffer()
    target.feed(frame, TS, rows)
    view = rows.view()
    assert rows.count == 40_000
    assert int((view["flags"] & int(LAST)).sum()) == 1
    assert view["price"].tolist() == list(range(1, 40_001))
    assert len(rows.wire) == 1


def gap_rows(target: CoinbaseParser, frame: bytes) -> list[tuple[Any, ...]]:
    """Kind, instrument, channel and flags of a frame's rows."""
    return [
        (row.kind, row.instrument, (row.data or {}).get("channel", ""), row.flags)
        for row in feed(target, frame)
    ]


NO = Flag(0)


@pytest.mark.parametrize(
    ("frame", "own"),
    [
        (heartbeat(9), [(Kind.CONTROL, 0, "", LAST)]),
        (numbered(9, 5), [(Kind.TRADE, 1, "", LAST)]),
        (book(9, "update", [("1.00", "1")]), [(Kind.BOOK, 1, "", BAD | LAST)]),
        (
            book(9, "snapshot", [("1.00", "1")]),
            [(Kind.BOOK, 1, "", CLEAR | SNAP | LAST)],
        ),
        (message("status", 9), [(Kind.CONTROL, 0, "", LAST)]),
    ],
    ids=["heartbeat", "trade", "update", "snapshot", "unknown"],
)
def test_a_missing_message(frame: bytes, own: list[tuple[Any, ...]]) -> None:
    """Whatever shows it: a row for the connection, one for each book that came over it, then its own rows."""
    target = parser(BTC, ETH)
    feed(target, SNAPSHOT)
    feed(target, heartbeat(1))
    target.notices.clear()
    assert gap_rows(target, frame) == [(Kind.STATUS, 0, "", NO), (Kind.STATUS, 1, "book", NO), *own]
    assert [notice.event for notice in target.notices if notice.event != "heartbeat"] == ["failed"]
    assert not target.wants


def test_a_gap_says_which_messages_are_missing() -> None:
    """First and last of them; the frame stands on the first row."""
    target = parser()
    feed(target, SNAPSHOT)
    connection, of_book, _ = feed(target, heartbeat(4))
    assert connection.data == {"event": "gap", "detail": "sequence_num", "first": 1, "last": 3}
    assert of_book.data == {
        "event": "gap",
        "channel": "book",
        "detail": "messages of the connection",
        "first": 1,
        "last": 3,
    }
    assert (connection.wire, of_book.wire) == (True, False)
    assert not target.synchronised("BTC-USD")


def test_books_stay_doubtful_until_the_next_life() -> None:
    """Updates are doubtful; a new connection counts from 0 again and begins with a snapshot."""
    target = parser()
    feed(target, SNAPSHOT, heartbeat(4))
    assert feed(target, book(5, "update", [("1.00", "1")]))[0].flags == BAD | LAST
    target.connection_lost()
    feed(target, SNAPSHOT)
    assert target.synchronised("BTC-USD")
    assert feed(target, book(1, "update", [("1.00", "1")]))[0].flags == LAST


def test_a_repeat_and_a_late_message_leave_the_book_as_it_is() -> None:
    """Rows with the flag, for who wants to look; in the same message whatever its kind."""
    target = parser()
    feed(target, SNAPSHOT, book(1, "update", [("1.00", "1")]))
    (again,) = feed(target, book(1, "update", [("1.00", "1")]))
    assert again.flags == DUPLICATE | LAST
    assert feed(target, SNAPSHOT)[0].flags == DUPLICATE | CLEAR | SNAP
    assert target.synchronised("BTC-USD")
    feed(target, heartbeat(3))
    (late,) = feed(target, book(2, "update", [("2.00", "1")]))
    assert late.flags == LATE | BAD | LAST
    assert feed(target, heartbeat(3))[0].flags == DUPLICATE | LAST


def test_a_malformed_message_is_a_missing_one() -> None:
    """What it held is not known, so the next one shows a gap of it."""
    target = parser()
    feed(target, SNAPSHOT, book(1, "update", [("1.00", "x")]))
    assert target.synchronised("BTC-USD")
    assert feed(target, heartbeat(2))[0].data["first"] == 1


def test_trades() -> None:
    """Oldest first, though the venue sends the newest first."""
    common: dict[str, Any] = {"kind": Kind.TRADE, "price": 2_192_173, "ts_venue": TIME_NS}
    rows = feed(parser(), trades(0, trade(8, side="SELL"), trade(7, size="1.5")))
    assert rows == [
        Row(side=BUY, size=150_000_000, id=7, wire=True, **common),
        Row(side=SELL, size=6_000_000, id=8, flags=LAST, **common),
    ]


def test_whose_side_a_trades_is_can_be_told() -> None:
    """The taker's unless told otherwise."""
    rows = feed(
        parser(trade_side="maker"),
        trades(0, trade(8, side="SELL"), trade(7), trade(6, side="UNKNOWN_ORDER_SIDE")),
    )
    assert [row.side for row in rows] == [NO_SIDE, SELL, BUY]


def test_history() -> None:
    """Back-filled at first; after a reconnect repeats of what was seen, and what was missed."""
    target = parser()
    first = feed(target, numbered(0, 12, 11, form="snapshot"))
    assert [(row.id, row.flags & ~LAST) for row in first] == [(11, BACKFILLED), (12, BACKFILLED)]
    assert feed(target, numbered(1, 13))[0].flags == LAST
    target.connection_lost()
    after = feed(target, numbered(0, 15, 14, 13, form="snapshot"))
    assert [(row.id, row.flags & ~LAST) for row in after] == [
        (13, DUPLICATE),
        (14, BACKFILLED),
        (15, BACKFILLED),
    ]
    status, row = feed(target, numbered(1, 17))
    assert (status.data["first"], status.data["last"], row.flags) == (16, 16, LAST)


@pytest.mark.parametrize("number", ["", "abc", "-1", "1234567890123456789", "٣"])
def test_a_trade_whose_id_is_no_number(number: str) -> None:
    """It is a trade all the same, of number 0, and in no sequence."""
    target = parser()
    feed(target, numbered(0, 5))
    (row,) = feed(target, trades(1, trade(number)))
    assert (row.id, row.flags) == (0, LAST)
    assert feed(target, trades(2, trade(number), form="snapshot"))[0].flags == LAST | BACKFILLED
    assert feed(target, numbered(3, 6))[0].flags == LAST


def test_bars_of_five_minutes() -> None:
    """Final when a later one is shown; the venue counts no trades."""
    start = 1_788_824_100
    target = parser()
    rows = feed(target, candles(0, start))
    assert rows[0] == Row(
        Kind.BAR,
        part=Part.OPEN,
        price=1_000,
        ts_venue=start * SECOND_NS,
        data={"interval_ns": CANDLE_NS, "close_time": (start + 300) * SECOND_NS},
        wire=True,
    )
    assert rows[3] == Row(
        Kind.BAR, part=Part.CLOSE, price=1_100, size=350_000_000, flags=LAST, ts_venue=TIME_NS
    )
    rows = feed(target, candles(1, start + 300, start, close="11.50", form="snapshot"))
    assert [(row.price, row.flags) for row in rows[3::4]] == [(1_150, FINAL), (1_150, LAST)]
    assert [row.flags for row in feed(target, candles(1, start))[3::4]] == [DUPLICATE | LAST]
    assert [row.flags for row in feed(target, candles(2, start + 300, close="11.50"))[3::4]] == [
        DUPLICATE | LAST
    ]


@pytest.mark.parametrize(
    ("frame", "notices"),
    [
        (heartbeat(0), [Notice("heartbeat")]),
        (heartbeat(1), [Notice("heartbeat")]),
        (
            subscriptions(
                0, level2=["BTC-USD"], market_trades=["BTC-USD", "ETH-USD"], heartbeats=["heartbeats"]
            ),
            [
                Notice("subscribed", channel="book", symbols=("BTC-USD",)),
                Notice("subscribed", channel="trade", symbols=("BTC-USD", "ETH-USD")),
                Notice("subscribed", channel="heartbeats"),
            ],
        ),
        (subscriptions(0), []),
        (subscriptions(0, level2=[]), []),
    ],
)
def test_what_concerns_the_connection(frame: bytes, notices: list[Notice]) -> None:
    """A CONTROL row each, known to everybody, and the notices."""
    target = parser()
    assert feed(target, frame) == [Row(Kind.CONTROL, flags=LAST, instrument=0, wire=True)]
    assert target.notices == notices
    assert not target.unknown


def test_an_error_is_a_row_and_a_notice() -> None:
    """It has no number, and does not say what it is about."""
    target = parser()
    feed(target, SNAPSHOT)
    (row,) = feed(target, ERROR)
    data = {"event": "rejected", "detail": "authentication failure"}
    assert row == Row(Kind.STATUS, flags=LAST, instrument=0, data=data, wire=True)
    (notice,) = target.notices
    assert (notice.event, notice.detail) == ("rejected", "authentication failure")
    assert notice.hint
    assert feed(target, heartbeat(1))[0].kind is Kind.CONTROL


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (message("ticker", 0, {"type": "update", "tickers": []}), "channel ticker"),
        (b"{}", "no channel"),
        (b'{"type":"welcome"}', "no channel"),
        (book(0, "update", [("1", "1")], symbol="SOL-USD"), "symbol SOL-USD"),
        (trades(0, trade(1, product_id="SOL-USD")), "symbol SOL-USD"),
        (candles(0, 300, product_id="SOL-USD"), "symbol SOL-USD"),
    ],
)
def test_what_nobody_knows_is_kept_and_counted(frame: bytes, name: str) -> None:
    """A CONTROL row with the frame."""
    target = parser()
    assert feed(target, frame) == [Row(Kind.CONTROL, flags=LAST, instrument=0, wire=True)]
    assert target.unknown == {name: 1}


def test_several_products_of_one_message() -> None:
    """Each its rows, all one message; what is not ours is counted."""
    target = parser(BTC, ETH)
    events = [levels("snapshot", [("1.00", "1")], [], symbol) for symbol in ("BTC-USD", "SOL-USD", "ETH-USD")]
    rows = feed(target, message("l2_data", 0, *events))
    assert [(row.kind, row.instrument, bool(row.flags & LAST)) for row in rows] == [
        (Kind.BOOK, 1, False),
        (Kind.BOOK, 2, True),
    ]
    assert target.unknown == {"symbol SOL-USD": 1}


def test_a_first_snapshot_that_does_not_come_is_wanted() -> None:
    """Subscribed and silent: after ten seconds a heartbeat is the occasion."""
    target = parser()
    feed(target, subscriptions(0, level2=["BTC-USD", "SOL-USD"]))
    feed(target, heartbeat(1), ts=TS + PATIENCE_NS - 1)
    assert not target.wants
    feed(target, heartbeat(2), heartbeat(3), ts=TS + PATIENCE_NS)
    assert target.wants == [SnapshotWanted("BTC-USD", "first")]


def test_finer_decimals_widen_the_definition() -> None:
    """An INSTRUMENT message goes first."""
    definition, row = feed(parser(), book(0, "snapshot", [("1.234", "0.1")]))
    assert (definition.kind, definition.ts, definition.data["price_decimals"]) == (Kind.INSTRUMENT, TS - 1, 3)
    assert (row.price, row.wire) == (1_234, True)


def test_a_rest_answer_of_definitions() -> None:
    """INSTRUMENT rows for what changed, under the request's own number; else CONTROL."""
    target, rows = parser(), RowBuffer()
    source = SourceData(name="coinbase-rest", venue="coinbase", endpoint="products")
    product = {
        "product_id": "BTC-USD",
        "price_increment": "0.01",
        "base_increment": "0.00000001",
        "cancel_only": True,
    }
    body = msgspec.json.encode({"products": [product]})
    for answer in (body, body, b'{"error":"unauthorized"}'):
        target.feed_rest(source, answer, TS, rows, REST)
    changed, same, refused = rows_of(rows)
    assert (changed.kind, changed.source, changed.data["status"]) == (Kind.INSTRUMENT, REST, "CANCEL_ONLY")
    assert same.kind is Kind.CONTROL
    assert (refused.kind, refused.data["field"]) == (Kind.MALFORMED, "products")
