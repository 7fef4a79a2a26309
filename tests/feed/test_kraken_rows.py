"""What Kraken's messages become: rows, and notices for the connection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.feed.kraken import KrakenParser
from engine.feed.parser import Notice, Parser
from engine.model.kinds import ASK, BID, BUY, SELL, Flag, Kind, Part, SourceData
from engine.model.rows import RowBuffer
from tests.helpers.frames import REST, SOCKET, TS, Row, rows_of
from tests.helpers.kraken import (
    BTC,
    ETH,
    HEARTBEAT,
    PONG,
    SNAPSHOT,
    STATUS,
    TICKER,
    TIME_NS,
    ack,
    bar,
    bars,
    feed,
    numbered,
    parser,
    refusal,
    trade_item,
    trades,
)

LAST, BACKFILLED, DUPLICATE, LATE = Flag.LAST, Flag.BACKFILLED, Flag.DUPLICATE, Flag.OUT_OF_ORDER
FINAL, REVISED = Flag.FINAL, Flag.REVISED


def test_the_parser_is_one_of_all_parsers() -> None:
    """It has what the connection asks of any parser."""
    target: Parser = KrakenParser({"BTC/USD": (1, BTC)}, SOCKET, ("book",))
    assert target.wants == []


def test_a_trade() -> None:
    """Decimals exactly, the taker's side, the venue's number and time."""
    assert feed(parser(), numbered(7)) == [
        Row(
            Kind.TRADE,
            side=SELL,
            price=452_834,
            size=50_000_000,
            id=7,
            flags=LAST,
            ts_venue=TIME_NS,
            wire=True,
        )
    ]


def test_several_trades_of_one_message() -> None:
    """One message of the log; the wire stands on its first row."""
    frame = trades(trade_item(7), trade_item(8, "45283.50", "2", side="buy"))
    rows = feed(parser(), frame)
    assert [(r.side, r.price, r.size, r.id, r.flags, r.wire) for r in rows] == [
        (SELL, 452_834, 50_000_000, 7, Flag(0), True),
        (BUY, 452_835, 200_000_000, 8, LAST, False),
    ]


def test_missing_trades_are_a_gap() -> None:
    """A STATUS row names the first and the last of them."""
    target = parser()
    feed(target, numbered(7))
    status, trade = feed(target, numbered(10))
    assert status.data == {"event": "gap", "channel": "trade", "first": 8, "last": 9}
    assert (status.wire, trade.wire, trade.flags) == (True, False, LAST)


def test_late_and_repeated_trades_are_flagged() -> None:
    """What fills the gap is late, what was there already is a repeat; both are kept."""
    target = parser()
    feed(target, numbered(7), numbered(10))
    flags = [row.flags for row in feed(target, numbered(9), numbered(9), numbered(7), numbered(11))]
    assert flags == [LAST | LATE, LAST | DUPLICATE, LAST | DUPLICATE, LAST]


def history(*frames: bytes) -> list[tuple[int | str, Flag]]:
    """Number (or event) and flags of the last frame's rows, after the others."""
    target = parser()
    for frame in frames[:-1]:
        feed(target, frame)
    return [
        (row.data["event"] if row.kind is Kind.STATUS else row.id, row.flags & ~LAST)
        for row in feed(target, frames[-1])
    ]


def test_the_first_history_is_backfilled() -> None:
    """Oldest first, whatever their order in the message; the next trade goes on from there."""
    frame = numbered(12, 11, 13, form="snapshot")
    assert history(frame) == [(11, BACKFILLED), (12, BACKFILLED), (13, BACKFILLED)]
    assert history(frame, numbered(14)) == [(14, Flag(0))]
    assert history(frame, numbered(15)) == [("gap", Flag(0)), (15, Flag(0))]


def test_history_after_a_reconnect_fills_the_gap() -> None:
    """Trades that were seen are repeats; those that were missed are back-filled, and no gap."""
    frames = (numbered(11, form="snapshot"), numbered(12), numbered(12, 13, 14, form="snapshot"))
    assert history(*frames) == [(12, DUPLICATE), (13, BACKFILLED), (14, BACKFILLED)]


def test_history_that_does_not_reach_far_enough_leaves_a_gap() -> None:
    """Fifty trades are not all of an hour: what is missing before them is named."""
    assert history(numbered(12), numbered(20, 21, form="snapshot")) == [
        ("gap", Flag(0)),
        (20, BACKFILLED),
        (21, BACKFILLED),
    ]


def test_history_fills_an_older_gap() -> None:
    """Trades that were missing before the connection was lost, and are among the latest fifty."""
    assert history(numbered(12), numbered(15), numbered(13, 14, 15, form="snapshot")) == [
        (13, BACKFILLED),
        (14, BACKFILLED),
        (15, DUPLICATE),
    ]


def test_a_lost_connection_keeps_the_numbers() -> None:
    """Trades count across the lives of a connection."""
    target = parser()
    feed(target, numbered(7))
    target.connection_lost()
    assert feed(target, numbered(9))[0].data["event"] == "gap"


def test_a_quote() -> None:
    """Best bid, then best ask; the venue's other figures stay in the wire."""
    common: dict[str, Any] = {"kind": Kind.QUOTE, "ts_venue": TIME_NS}
    assert feed(parser(), TICKER) == [
        Row(side=BID, price=452_835, size=10_000_000, wire=True, **common),
        Row(side=ASK, price=452_852, size=100_000, flags=LAST, **common),
    ]


def test_a_bar() -> None:
    """OPEN carries its start, CLOSE the volume and the number of trades; it runs, and is not final."""
    common: dict[str, Any] = {"kind": Kind.BAR, "ts_venue": TIME_NS}
    begin = TIME_NS - TIME_NS % 60_000_000_000
    data = {"interval_ns": 60_000_000_000, "close_time": begin + 60_000_000_000}
    assert feed(parser(), bars(bar(37))) == [
        Row(Kind.BAR, part=Part.OPEN, price=100, ts_venue=begin, data=data, wire=True),
        Row(part=Part.HIGH, price=120, **common),
        Row(part=Part.LOW, price=95, **common),
        Row(part=Part.CLOSE, price=110, size=300_000_000, id=2, flags=LAST, **common),
    ]


def closes(target: KrakenParser, *frames: bytes) -> list[tuple[int, int, Flag]]:
    """Minute, close and flags of every bar that some frames become."""
    rows = feed(target, *frames)
    return [
        (opened.ts_venue // 60_000_000_000 % 60, row.price, row.flags & ~LAST)
        for opened, row in zip(rows[::4], rows[3::4], strict=True)
        if opened.ts_venue is not None
    ]


def test_a_bar_is_final_when_a_later_one_is_shown() -> None:
    """It is stated once more, as it was seen last, ahead of the new one."""
    target = parser()
    assert closes(target, bars(bar(1)), bars(bar(1, "11.5"))) == [(1, 110, Flag(0)), (1, 115, Flag(0))]
    assert closes(target, bars(bar(3, "9.9"))) == [(1, 115, FINAL), (3, 99, Flag(0))]
    assert closes(target, bars(bar(3, "9.9"))) == [(3, 99, DUPLICATE)]


def test_all_rows_of_a_bar_have_its_flags() -> None:
    """A final bar is final in each of its prices, and two bars are one message."""
    target = parser()
    feed(target, bars(bar(1)))
    rows = feed(target, bars(bar(2)))
    assert [row.flags & FINAL for row in rows] == [FINAL] * 4 + [Flag(0)] * 4
    assert [row.wire for row in rows] == [True] + [False] * 7
    assert [bool(row.flags & LAST) for row in rows] == [False] * 7 + [True]


def test_bars_that_were_missed() -> None:
    """After an outage: the bar that ran is final, those that nobody saw are back-filled."""
    target = parser()
    assert closes(target, bars(bar(1), bar(2), bar(3), form="snapshot")) == [
        (1, 110, FINAL | BACKFILLED),
        (2, 110, FINAL | BACKFILLED),
        (3, 110, Flag(0)),
    ]
    target.connection_lost()
    assert closes(target, bars(bar(2), bar(3, "10.1"), bar(4), bar(5), form="snapshot")) == [
        (2, 110, FINAL | DUPLICATE),
        (3, 101, FINAL),
        (4, 110, FINAL | BACKFILLED),
        (5, 110, Flag(0)),
    ]
    assert closes(target, bars(bar(7), bar(8), form="snapshot")) == [
        (5, 110, FINAL),
        (7, 110, FINAL | BACKFILLED),
        (8, 110, Flag(0)),
    ]


def test_a_bar_that_may_have_gone_on_is_not_called_final() -> None:
    """It ran when the connection was lost, and the venue says nothing more of it."""
    target = parser()
    feed(target, bars(bar(1)))
    target.connection_lost()
    assert closes(target, bars(bar(5))) == [(5, 110, Flag(0))]
    target.connection_lost()
    assert closes(target, bars(bar(5, "10.5"))) == [(5, 105, Flag(0))]
    assert closes(target, bars(bar(6))) == [(5, 105, FINAL), (6, 110, Flag(0))]


def test_a_final_bar_that_changes_is_revised() -> None:
    """Also when the venue's late word comes after the next bar began."""
    target = parser()
    feed(target, bars(bar(1)), bars(bar(2)))
    assert closes(target, bars(bar(1, "11.9"))) == [(1, 119, FINAL | REVISED)]
    assert closes(target, bars(bar(3))) == [(2, 110, FINAL), (3, 110, Flag(0))]


def test_intervals_are_series_of_their_own() -> None:
    """A bar of five minutes ends none of one minute."""
    target = parser()
    feed(target, bars(bar(1)))
    assert closes(target, bars(bar(5, interval=5))) == [(5, 110, Flag(0))]


@pytest.mark.parametrize(
    ("frame", "notice"),
    [
        (STATUS, Notice("welcome", detail="online")),
        (HEARTBEAT, Notice("heartbeat")),
        (PONG, Notice("heartbeat")),
        (ack(depth=25), Notice("subscribed", channel="book", symbols=("BTC/USD",))),
        (
            ack("ohlc", interval=1, warnings=["timestamp is deprecated", "use interval_begin"]),
            Notice(
                "subscribed",
                detail="timestamp is deprecated; use interval_begin",
                channel="bar",
                symbols=("BTC/USD",),
            ),
        ),
        (ack("ticker"), Notice("subscribed", channel="quote", symbols=("BTC/USD",))),
        (ack(method="unsubscribe"), Notice("unsubscribed", channel="book", symbols=("BTC/USD",))),
        (
            b'{"method":"subscribe","result":{"channel":"instrument","snapshot":true},"success":true}',
            Notice("subscribed", channel="instrument"),
        ),
    ],
)
def test_what_concerns_the_connection(frame: bytes, notice: Notice) -> None:
    """A CONTROL row each, known to everybody, and the notice."""
    target = parser()
    assert feed(target, frame) == [Row(Kind.CONTROL, flags=LAST, instrument=0, wire=True)]
    assert target.notices == [notice]
    assert not target.unknown


@pytest.mark.parametrize(
    ("frame", "channel", "symbols", "fatal", "detail"),
    [
        (
            refusal("Subscription depth not supported", req_id=3),
            "book",
            (),
            True,
            "subscribe Subscription depth not supported",
        ),
        (
            refusal("Currency pair not supported", symbol="BTC/USD", req_id=1),
            "trade",
            ("BTC/USD",),
            True,
            "subscribe BTC/USD Currency pair not supported",
        ),
        (refusal("Exceeded msg rate"), "", (), False, "subscribe Exceeded msg rate"),
        (refusal(""), "", (), False, "subscribe refused without a reason"),
        (b'{"error":"Unsupported event"}', "", (), True, "Unsupported event"),
    ],
)
def test_a_refusal(frame: bytes, channel: str, symbols: tuple[str, ...], *, fatal: bool, detail: str) -> None:
    """A row and a notice; the request's number says which channel it was, where the venue does not."""
    target = parser()
    (row,) = feed(target, frame)
    data = {"event": "rejected", "detail": detail} | ({"channel": channel} if channel else {})
    assert row == Row(Kind.STATUS, flags=LAST, instrument=1 if symbols else 0, data=data, wire=True)
    (notice,) = target.notices
    assert (notice.event, notice.channel, notice.symbols) == ("rejected", channel, symbols)
    assert notice.fatal is fatal
    assert notice.hint


def test_a_refusal_to_leave_is_a_row_only() -> None:
    """Nothing that was asked for is missing because of it."""
    target = parser()
    (row,) = feed(target, refusal("Subscription Not Found", method="unsubscribe", req_id=3))
    assert row.data["detail"] == "unsubscribe Subscription Not Found"
    assert not target.notices


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (b'{"channel":"level3","type":"update","data":[]}', "channel level3"),
        (b'{"method":"add_order","success":true}', "method add_order"),
        (b"{}", "no channel"),
        (numbered(7).replace(b"BTC/USD", b"SOL/USD"), "symbol SOL/USD"),
        (SNAPSHOT.replace(b"BTC/USD", b"SOL/USD"), "symbol SOL/USD"),
        (TICKER.replace(b"BTC/USD", b"SOL/USD"), "symbol SOL/USD"),
        (bars(bar(1, symbol="SOL/USD")), "symbol SOL/USD"),
    ],
)
def test_what_nobody_knows_is_kept_and_counted(frame: bytes, name: str) -> None:
    """A CONTROL row with the frame."""
    target = parser()
    assert feed(target, frame) == [Row(Kind.CONTROL, flags=LAST, instrument=0, wire=True)]
    assert target.unknown == {name: 1}


def test_unknown_fields_are_left_in_the_wire() -> None:
    """At every level of a message."""
    frame = (
        numbered(7).replace(b'"type"', b'"new":{"a":[1.5e3]},"type"').replace(b'"side"', b'"x":1e9,"side"')
    )
    assert [row.id for row in feed(parser(), frame)] == [7]


def test_whole_numbers_have_no_point() -> None:
    """A pair without decimals: prices are JSON integers."""
    coarse = msgspec.structs.replace(BTC, price_decimals=0)
    (row,) = feed(parser(coarse), trades(trade_item(1, "45283", "1.00000000")))
    assert row.price == 45_283


def test_finer_sizes_widen_the_definition() -> None:
    """An INSTRUMENT message goes first, a nanosecond earlier, under the connection's own number."""
    coarse = msgspec.structs.replace(BTC, size_decimals=2)
    definition, row = feed(parser(coarse), trades(trade_item(1, qty="0.12345678")))
    assert (definition.kind, definition.ts, definition.source) == (Kind.INSTRUMENT, TS - 1, SOCKET)
    assert (definition.data["size_decimals"], definition.data["version"]) == (8, 2)
    assert row.size == 12_345_678


def test_two_pairs_of_one_message_widen_together() -> None:
    """One INSTRUMENT message with a row for each."""
    coarse = [msgspec.structs.replace(each, size_decimals=2) for each in (BTC, ETH)]
    rows = feed(
        parser(*coarse),
        trades(trade_item(1), trade_item(1, qty="0.123"), trade_item(1, symbol="ETH/USD", qty="0.1234")),
    )
    assert [(row.kind, row.instrument, bool(row.flags & LAST)) for row in rows] == [
        (Kind.INSTRUMENT, 1, False),
        (Kind.INSTRUMENT, 2, True),
        (Kind.TRADE, 1, False),
        (Kind.TRADE, 1, False),
        (Kind.TRADE, 2, True),
    ]


PAIR: dict[str, Any] = {
    "symbol": "BTC/USD",
    "base": "BTC",
    "quote": "USD",
    "status": "online",
    "qty_precision": 8,
    "price_precision": 1,
}
EXPONENTS = ',"price_increment":1e-1,"qty_increment":1E-08,"qty_min":5e-05,"cost_min":5e-1'


def instrument(**other: Any) -> bytes:
    """A message of the instrument channel."""
    pair = msgspec.json.encode(PAIR | other).decode()[:-1] + EXPONENTS + "}"
    return f'{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{pair}]}}}}'.encode()


def test_reference_data_of_the_stream() -> None:
    """Numbers with exponents are written out; a row where something of ours is another now."""
    target = parser()
    (row,) = feed(target, instrument(status="post_only"))
    assert (row.kind, row.source, row.wire, row.flags) == (Kind.INSTRUMENT, SOCKET, True, LAST)
    assert row.data == {
        "key": "BTC/USD.kraken",
        "symbol": "BTC/USD",
        "venue": "kraken",
        "price_decimals": 1,
        "size_decimals": 8,
        "price_increment": "0.1",
        "size_increment": "0.00000001",
        "base": "BTC",
        "quote": "USD",
        "min_size": "0.00005",
        "min_notional": "0.5",
        "status": "POST_ONLY",
        "version": 2,
    }
    assert feed(target, instrument(status="post_only"))[0].kind is Kind.CONTROL
    assert feed(target, instrument(symbol="SOL/USD"))[0].kind is Kind.CONTROL


def test_a_rest_answer_of_definitions() -> None:
    """INSTRUMENT rows for what changed, under the request's own number; else CONTROL."""
    target, rows = parser(), RowBuffer()
    source = SourceData(name="kraken-rest", venue="kraken", endpoint="AssetPairs")
    body = (
        b'{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","pair_decimals":1,'
        b'"lot_decimals":8,"ordermin":"0.0001","costmin":"0.5","tick_size":"0.1","status":"online"}}}'
    )
    target.feed_rest(source, body, TS, rows, REST)
    target.feed_rest(source, body, TS, rows, REST)
    target.feed_rest(source, b'{"error":["EGeneral:Too many requests"]}', TS, rows, REST)
    target.feed_rest(SourceData(name="kraken-rest", endpoint="Time"), b"{}", TS, rows, REST)
    changed, same, refused, other = rows_of(rows)
    assert (changed.kind, changed.source, changed.data["min_size"]) == (Kind.INSTRUMENT, REST, "0.0001")
    assert (same.kind, other.kind) == (Kind.CONTROL, Kind.CONTROL)
    assert (refused.kind, refused.data["value"]) == (Kind.MALFORMED, "EGeneral:Too many requests")
    assert target.unknown == {"Time": 1}


def test_symbols_of_others_are_counted_by_so_many_names_only() -> None:
    """Names come from outside: a few hundred of them are kept, and none is long."""
    target = parser()
    for number in range(1_000):
        feed(target, trades(trade_item(number, symbol=f"{number}" + "X" * 1_000)))
    assert target.unknown.total() == 1_000
    assert len(target.unknown) < 300
    assert max(map(len, target.unknown)) <= 80
