"""Every kind of Binance message, and exactly the rows it becomes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engine.model.kinds import ASK, BID, BUY, SELL, Flag, Kind, Part
from tests.helpers.frames import (
    BTC,
    ETH,
    MS,
    TS,
    Row,
    combined,
    depth,
    depth_data,
    feed,
    parser,
    trade,
    trade_data,
)

LAST, NONE = Flag.LAST, Flag(0)
NS = MS * 1_000_000
BAD = Flag.MAYBE_BAD_BOOK

QUOTE = {"u": 50, "s": "BTCUSDT", "b": "61837.63", "B": "3.78826000", "a": "61837.64", "A": "1.54698"}
AGGREGATE = {
    "e": "aggTrade",
    "E": MS,
    "s": "BTCUSDT",
    "a": 9,
    "p": "10.00",
    "q": "2.00000",
    "f": 1,
    "l": 3,
    "T": MS,
    "m": False,
    "M": True,
}
BAR = {
    "t": 1_723_161_240_000,
    "T": 1_723_161_299_999,
    "s": "BTCUSDT",
    "i": "1m",
    "f": 1,
    "L": 7,
    "o": "10.00",
    "c": "13.00",
    "h": "14.00",
    "l": "9.00",
    "v": "5.50000",
    "n": 7,
    "x": False,
    "q": "60",
    "V": "1",
    "Q": "10",
    "B": "0",
}
KLINE = {"e": "kline", "E": MS, "s": "BTCUSDT", "k": BAR}
BAR_START = 1_723_161_240_000 * 1_000_000
BAR_DATA = {"interval_ns": 60_000_000_000, "close_time": 1_723_161_299_999 * 1_000_000}


def bar_rows(extra: Flag) -> list[Row]:
    """The four rows of KLINE."""
    return [
        Row(Kind.BAR, price=1_000, part=Part.OPEN, flags=extra, ts_venue=BAR_START, data=BAR_DATA, wire=True),
        Row(Kind.BAR, price=1_400, part=Part.HIGH, flags=extra, ts_venue=NS),
        Row(Kind.BAR, price=900, part=Part.LOW, flags=extra, ts_venue=NS),
        Row(Kind.BAR, price=1_300, size=550_000, id=7, part=Part.CLOSE, flags=extra | LAST, ts_venue=NS),
    ]


SOLD = Row(Kind.TRADE, SELL, 6_183_763, 2_000, 5, LAST, ts_venue=NS, wire=True)
QUOTED = [
    Row(Kind.QUOTE, BID, 6_183_763, 378_826, 50, NONE, wire=True),
    Row(Kind.QUOTE, ASK, 6_183_764, 154_698, 50, LAST),
]
LEVELS = depth_data(7, 9, [("10.00", "1.00000000"), ("9.00", "0.00000000")], [("11.00", "2.5")])
BOOK = [
    Row(Kind.BOOK, BID, 1_000, 100_000, 9, BAD, ts_venue=NS, wire=True),
    Row(Kind.BOOK, BID, 900, 0, 9, BAD, ts_venue=NS),
    Row(Kind.BOOK, ASK, 1_100, 250_000, 9, BAD | LAST, ts_venue=NS),
]
PARTIAL = {"lastUpdateId": 160, "bids": [["10.00", "1"]], "asks": [["11.00", "2"], ["12.00", "3"]]}
PICTURE = [
    Row(Kind.BOOK, BID, 1_000, 100_000, 160, Flag.CLEAR | Flag.SNAPSHOT, wire=True),
    Row(Kind.BOOK, ASK, 1_100, 200_000, 160, Flag.SNAPSHOT),
    Row(Kind.BOOK, ASK, 1_200, 300_000, 160, Flag.SNAPSHOT | LAST),
]
SHUTDOWN = {"e": "serverShutdown", "E": MS}
SHUT = Row(Kind.STATUS, flags=LAST, ts_venue=NS, data={"event": "server_shutdown"}, wire=True, instrument=0)
CONTROL = Row(Kind.CONTROL, flags=LAST, wire=True, instrument=0)


def rejected(detail: str) -> Row:
    """A refusal's row."""
    return Row(Kind.STATUS, flags=LAST, data={"event": "rejected", "detail": detail}, wire=True, instrument=0)


def micro(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """The message with these stamps in microseconds."""
    return data | {name: data[name] * 1_000 for name in names}


MESSAGES: list[tuple[str, bytes, list[Row]]] = [
    ("trade, combined", trade(5), [SOLD]),
    ("trade, raw", msgspec.json.encode(trade_data(5)), [SOLD]),
    ("trade, buyer aggressive", trade(5, m=False), [SOLD._replace(side=BUY)]),
    ("trade of 2023, with order ids", trade(5, b=20720542158, a=20720542592), [SOLD]),
    ("trade in microseconds", combined("btcusdt@trade", micro(trade_data(5), "E", "T")), [SOLD]),
    ("trade number 0", trade(0), [SOLD._replace(id=0)]),
    (
        "keys in another order",
        msgspec.json.encode({"data": trade_data(5), "stream": "btcusdt@trade"}),
        [SOLD],
    ),
    (
        "spaces",
        b' { "stream" : "btcusdt@trade" , "data" : ' + msgspec.json.encode(trade_data(5)) + b" } ",
        [SOLD],
    ),
    (
        "aggregate trade",
        combined("btcusdt@aggTrade", AGGREGATE),
        [Row(Kind.TRADE, BUY, 1_000, 200_000, 9, LAST | Flag.AGGREGATE, ts_venue=NS, wire=True)],
    ),
    ("quote, combined", combined("btcusdt@bookTicker", QUOTE), QUOTED),
    ("quote, raw", msgspec.json.encode(QUOTE), QUOTED),
    (
        "quote with an empty side",
        combined("btcusdt@bookTicker", QUOTE | {"a": "0.00000000", "A": "0.00000000"}),
        [QUOTED[0], QUOTED[1]._replace(price=0, size=0)],
    ),
    ("depth update before a snapshot", combined("btcusdt@depth@100ms", LEVELS), BOOK),
    ("depth update, raw", msgspec.json.encode(LEVELS), BOOK),
    ("depth update in microseconds", combined("btcusdt@depth", micro(LEVELS, "E")), BOOK),
    (
        "depth update, asks only",
        depth(7, 9, [], [("11.00", "2.5")]),
        [BOOK[2]._replace(wire=True)],
    ),
    (
        "depth update without levels",
        depth(7, 9, [], []),
        [Row(Kind.BOOK, id=9, flags=BAD | LAST, ts_venue=NS, data={"note": "no levels"}, wire=True)],
    ),
    ("partial depth", combined("btcusdt@depth5@100ms", PARTIAL), PICTURE),
    ("partial depth, raw, of the only symbol", msgspec.json.encode(PARTIAL), PICTURE),
    (
        "partial depth without levels",
        combined("btcusdt@depth5", {"lastUpdateId": 1, "bids": [], "asks": []}),
        [
            Row(
                Kind.BOOK,
                id=1,
                flags=Flag.CLEAR | Flag.SNAPSHOT | LAST,
                data={"note": "empty book"},
                wire=True,
            )
        ],
    ),
    ("bar so far", combined("btcusdt@kline_1m", KLINE), bar_rows(NONE)),
    ("bar, final", combined("btcusdt@kline_1m", KLINE | {"k": BAR | {"x": True}}), bar_rows(Flag.FINAL)),
    ("bar, raw", msgspec.json.encode(KLINE), bar_rows(NONE)),
    (
        "bar in microseconds",
        combined(
            "btcusdt@kline_1m",
            micro(KLINE, "E") | {"k": BAR | {"t": BAR["t"] * 1_000, "T": BAR["T"] * 1_000}},  # type: ignore[operator]
        ),
        bar_rows(NONE),
    ),
    ("server shutdown, raw", msgspec.json.encode(SHUTDOWN), [SHUT]),
    ("server shutdown, combined", combined("!serverShutdown", SHUTDOWN), [SHUT]),
    ("subscribed", b'{"result":null,"id":1}', [CONTROL]),
    ("subscribed, text id", b'{"result":null,"id":"abc"}', [CONTROL]),
    ("list of subscriptions", b'{"result":["btcusdt@trade"],"id":3}', [CONTROL]),
    ("property", b'{"result":true,"id":5}', [CONTROL]),
    (
        "refusal",
        b'{"code":2,"msg":"Invalid request: unknown variant","id":1}',
        [rejected("2 Invalid request: unknown variant")],
    ),
    (
        "refusal, newer form",
        b'{"error":{"code":3,"msg":"Invalid JSON"},"id":null}',
        [rejected("3 Invalid JSON")],
    ),
    (
        "unknown type, combined",
        combined("btcusdt@avgPrice", {"e": "avgPrice", "s": "BTCUSDT", "w": "1"}),
        [CONTROL],
    ),
    ("unknown type, raw", b'{"e":"24hrMiniTicker","s":"BTCUSDT","c":"1"}', [CONTROL]),
    ("array stream", b'[{"e":"24hrMiniTicker"}]', [CONTROL]),
    ("combined array stream", b'{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}', [CONTROL]),
    ("nothing known in it", b"{}", [CONTROL]),
    ("trade of a symbol that is not ours", combined("xrpusdt@trade", trade_data(5, s="XRPUSDT")), [CONTROL]),
    ("book of a symbol that is not ours", combined("xrpusdt@depth5", PARTIAL), [CONTROL]),
]


@pytest.mark.parametrize(("frame", "rows"), [m[1:] for m in MESSAGES], ids=[m[0] for m in MESSAGES])
def test_a_message_becomes_exactly_these_rows(frame: bytes, rows: list[Row]) -> None:
    """Column for column, with the frame in the first row's wire and LAST on the last row."""
    assert feed(parser(), frame) == rows


@pytest.mark.parametrize(("frame", "rows"), [m[1:] for m in MESSAGES], ids=[m[0] for m in MESSAGES])
def test_the_short_cut_gives_the_same_rows(frame: bytes, rows: list[Row]) -> None:
    """A parser that has met the stream before takes another way through the code, to the same rows."""
    target = parser()
    feed(target, *(frame for _, frame, _ in MESSAGES))
    fresh = parser()
    fresh._routes = target._routes.copy()
    fresh._routes = {
        prefix: (decode, getattr(fresh.symbols[symbol], apply.__name__), symbol)
        for prefix, (decode, apply, symbol) in target._routes.items()
    }
    assert fresh._routes
    assert feed(fresh, frame) == rows


def test_unknown_messages_are_counted_by_type() -> None:
    """A CONTROL row keeps the frame; the parser says how many of what it did not know."""
    target = parser()
    feed(
        target,
        combined("btcusdt@avgPrice", {"e": "avgPrice"}),
        combined("btcusdt@avgPrice", {"e": "avgPrice"}),
        combined("xrpusdt@trade", trade_data(5, s="XRPUSDT")),
        b"[]",
        b"{}",
        b'{"result":null,"id":1}',
    )
    assert target.unknown == {"avgPrice": 2, "symbol XRPUSDT": 1, "array": 1, "no type": 1}


@pytest.mark.parametrize(
    ("interval", "start", "end", "seconds"),
    [
        ("1s", 0, 999, 1),
        ("3m", 0, 179_999, 180),
        ("4h", 0, 14_399_999, 14_400),
        ("1d", 0, 86_399_999, 86_400),
        ("1w", 0, 604_799_999, 604_800),
        ("1M", 1_709_251_200_000, 1_711_929_599_999, 31 * 86_400),
        ("1M", 1_709_251_200_000_000, 1_711_929_599_999_999, 31 * 86_400),
        ("odd", 0, 59_999, 60),
    ],
)
def test_a_bars_length(interval: str, start: int, end: int, seconds: int) -> None:
    """From the interval's name; a month's from its start and end."""
    frame = combined("btcusdt@kline_x", KLINE | {"k": BAR | {"i": interval, "t": start, "T": end}})
    assert feed(parser(), frame)[0].data["interval_ns"] == seconds * 1_000_000_000


@pytest.mark.parametrize(
    ("ids", "flags", "gaps"),
    [
        ([5, 6, 7], [NONE] * 3, {}),
        ([5, 5], [NONE, Flag.DUPLICATE], {}),
        ([5, 9], [NONE, NONE], {1: (6, 8)}),
        ([5, 9, 6], [NONE, NONE, Flag.OUT_OF_ORDER], {1: (6, 8)}),
        ([5, 9, 6, 6], [NONE, NONE, Flag.OUT_OF_ORDER, Flag.DUPLICATE], {1: (6, 8)}),
        ([5, 4], [NONE, Flag.OUT_OF_ORDER], {}),
    ],
)
def test_trade_ids_make_a_sequence(
    ids: list[int], flags: list[Flag], gaps: dict[int, tuple[int, int]]
) -> None:
    """A gap is a STATUS row of the same message, before the trade and with the wire."""
    target = parser()
    for index, (number, flag) in enumerate(zip(ids, flags, strict=True)):
        rows = feed(target, trade(number))
        expected = [SOLD._replace(id=number, flags=LAST | flag)]
        if index in gaps:
            first, last = gaps[index]
            data = {"event": "gap", "channel": "trade", "first": first, "last": last}
            expected = [Row(Kind.STATUS, data=data, wire=True), expected[0]._replace(wire=False)]
        assert rows == expected


def test_aggregate_trades_have_a_sequence_of_their_own() -> None:
    """Their ids are not those of trades, and their gaps name their channel."""
    target = parser()
    feed(target, trade(5), combined("btcusdt@aggTrade", AGGREGATE), trade(6))
    status, row = feed(target, combined("btcusdt@aggTrade", AGGREGATE | {"a": 11}))
    assert status.data == {"event": "gap", "channel": "aggtrade", "first": 10, "last": 10}
    assert (row.kind, row.id, row.flags) == (Kind.TRADE, 11, LAST | Flag.AGGREGATE)


@pytest.mark.parametrize(
    ("updates", "flag"),
    [([50, 51], NONE), ([50, 70], NONE), ([50, 50], Flag.DUPLICATE), ([50, 49], Flag.OUT_OF_ORDER)],
)
def test_quotes_must_grow_but_not_by_one(updates: list[int], flag: Flag) -> None:
    """Both rows of a quote that came twice or late say so."""
    target = parser()
    for update in updates:
        rows = feed(target, combined("btcusdt@bookTicker", QUOTE | {"u": update}))
    assert [row.flags for row in rows] == [flag, flag | LAST]


def test_a_partial_book_that_says_nothing_new_is_a_duplicate() -> None:
    """The same id again; or any, where depth updates keep a deeper book."""
    target = parser()
    frame = combined("btcusdt@depth5@100ms", PARTIAL)
    feed(target, frame)
    assert {row.flags & ~LAST for row in feed(target, frame)} == {Flag.SNAPSHOT | Flag.DUPLICATE}
    older = combined("btcusdt@depth5@100ms", PARTIAL | {"lastUpdateId": 159})
    assert {row.flags & ~LAST for row in feed(target, older)} == {Flag.SNAPSHOT | Flag.OUT_OF_ORDER}
    target = parser()
    feed(target, depth(7, 9))
    assert {row.flags & ~LAST for row in feed(target, frame)} == {Flag.SNAPSHOT | Flag.DUPLICATE}


def test_two_symbols_keep_to_themselves() -> None:
    """Each its own number, decimals and sequence."""
    target = parser(BTC, ETH)
    eth = trade_data(90, "2500.10", "0.0001", s="ETHUSDT")
    first, second, third = feed(target, trade(5), combined("ethusdt@trade", eth), trade(6))
    assert (first.instrument, first.id, third.instrument, third.id) == (1, 5, 1, 6)
    assert (second.instrument, second.id, second.price, second.size) == (2, 90, 250_010, 1)


def test_a_raw_partial_book_of_several_symbols_is_malformed() -> None:
    """Without a stream's name nobody knows whose it is."""
    (row,) = feed(parser(BTC, ETH), msgspec.json.encode(PARTIAL))
    assert row.kind is Kind.MALFORMED
    assert row.data == {
        "error": "a book without a symbol: only a combined stream names it",
        "field": "stream",
    }


class TestWiderDecimals:
    """More decimals than the definition has: a new version of it, and nothing rounded."""

    def widened(self, **changes: Any) -> Row:
        """The INSTRUMENT message that goes before the frame's."""
        definition = msgspec.structs.replace(BTC, version=2, **changes)
        data = msgspec.json.decode(msgspec.json.encode(definition))
        return Row(Kind.INSTRUMENT, flags=LAST, data=data, ts=TS - 1)

    def test_a_finer_size(self) -> None:
        """The definition's message comes a nanosecond before the frame's own."""
        rows = feed(parser(), trade(5, size="0.02000010"))
        assert rows == [self.widened(size_decimals=7), SOLD._replace(size=200_001)]

    def test_a_finer_price_and_size_at_once(self) -> None:
        """One new version for both."""
        rows = feed(parser(), trade(5, "61837.631", "0.02000001"))
        expected = SOLD._replace(price=61_837_631, size=2_000_001)
        assert rows == [self.widened(price_decimals=3, size_decimals=8), expected]

    def test_it_stays(self) -> None:
        """Later frames are counted in the wider decimals, without another version."""
        target = parser()
        feed(target, trade(5, size="0.02000010"))
        assert feed(target, trade(6)) == [SOLD._replace(id=6, size=200_000)]
        assert target.instruments["BTCUSDT"][1].version == 2

    def test_in_a_depth_update(self) -> None:
        """The widest level decides, once."""
        levels = [("10.00", "1.0000001"), ("9.001", "0"), ("8.00", "0.00000001")]
        instrument, *book = feed(parser(), depth(7, 9, levels))
        assert instrument == self.widened(price_decimals=3, size_decimals=8)
        assert [(row.price, row.size) for row in book] == [(10_000, 100_000_010), (9_001, 0), (8_000, 1)]
        assert [row.wire for row in book] == [True, False, False]

    def test_a_malformed_frame_widens_nothing(self) -> None:
        """One finer size and one that is no decimal: one MALFORMED row and the old definition."""
        target = parser()
        (row,) = feed(target, depth(7, 9, [("10.00", "1.0000001"), ("9,00", "0")]))
        assert row.kind is Kind.MALFORMED
        assert (row.data["field"], row.data["value"]) == ("data.b[1][0]", "9,00")
        assert target.instruments["BTCUSDT"][1] == BTC

    def test_what_would_not_fit_any_more_is_malformed(self) -> None:
        """A size that fits 64 bits only at the old decimals does not overflow: the frame is refused."""
        target = parser()
        (row,) = feed(target, depth(7, 9, [("10.00", "90000000000000"), ("9.00", "0.00000001")]))
        assert row.kind is Kind.MALFORMED
        assert "does not fit 64 bits" in row.data["error"]
        assert target.instruments["BTCUSDT"][1] == BTC


def test_a_new_definition_is_used_at_once() -> None:
    """`define` replaces decimals, and sequences go on."""
    target = parser()
    feed(target, trade(5))
    target.define(1, msgspec.structs.replace(BTC, size_decimals=8))
    assert feed(target, trade(6)) == [SOLD._replace(id=6, size=2_000_000)]
