"""An answer of the venue's history becomes rows of the trades that are missing, and of no others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed.binance import BinanceParser
from engine.feed.parser import BackfillWanted, Sequenced
from engine.model.kinds import BUY, SELL, Flag, Kind, SourceData
from engine.model.rows import RowBuffer
from tests.helpers.frames import MS, REST, TS, Row, combined, feed, parser, rows_of, trade

SOURCES = {
    endpoint: SourceData(name="binance-rest", venue="binance", endpoint=endpoint, symbol="BTCUSDT")
    for endpoint in ("trades", "historicalTrades", "aggTrades")
}
FILLED = Row(
    Kind.TRADE, SELL, 6_183_763, 2_000, 6, Flag.BACKFILLED, ts_venue=MS * 1_000_000, source=REST, ts=TS + 1
)


def entry(
    number: int, price: str = "61837.63000000", size: str = "0.02000000", **more: Any
) -> dict[str, Any]:
    """One entry of trades or historicalTrades."""
    rest = {"quoteQty": "1236.75", "time": MS, "isBuyerMaker": True, "isBestMatch": True}
    return {"id": number, "price": price, "qty": size, **rest, **more}


def aggregate(number: int, **more: Any) -> dict[str, Any]:
    """One entry of aggTrades; the stream's messages have the same names, and three more."""
    entry = {"a": number, "p": "61837.63000000", "q": "0.02000000", "f": 1, "l": 2, "T": MS, "m": False}
    return {**entry, "M": True, **more}


def streamed(number: int) -> bytes:
    """An aggregate trade's frame."""
    return combined("btcusdt@aggTrade", {"e": "aggTrade", "E": MS, "s": "BTCUSDT", **aggregate(number)})


def answered(
    target: BinanceParser, entries: list[dict[str, Any]] | bytes, endpoint: str = "trades"
) -> list[Row]:
    """The rows of an answer."""
    body = entries if isinstance(entries, bytes) else msgspec.json.encode(entries)
    rows = RowBuffer()
    target.feed_rest(SOURCES[endpoint], body, TS + 1, rows, REST)
    assert rows.wire == [body]
    return rows_of(rows)


def with_gap(first: int = 5, last: int = 9) -> BinanceParser:
    """A parser that has seen two trades and misses what lies between."""
    target = parser()
    feed(target, trade(first), trade(last))
    return target


def test_a_gap_is_wanted() -> None:
    """The gap's ids go into `wants`, of trades and of aggregates, once for each gap."""
    target = with_gap()
    feed(target, streamed(3), streamed(4), streamed(7), trade(10), trade(12), trade(11))
    assert target.wants == [
        BackfillWanted("BTCUSDT", "trade", 6, 8),
        BackfillWanted("BTCUSDT", "aggtrade", 5, 6),
        BackfillWanted("BTCUSDT", "trade", 11, 11),
    ]
    assert isinstance(target, Sequenced)
    assert target.sequence("BTCUSDT", "trade").holes == [(6, 8)]
    assert target.sequence("BTCUSDT", "aggtrade").holes == [(5, 6)]


@pytest.mark.parametrize("endpoint", ["trades", "historicalTrades"])
def test_missing_trades_become_rows(endpoint: str) -> None:
    """Only ids in the gap: not what was there, not what is older than the first or newer than the last."""
    rows = answered(with_gap(), [entry(n) for n in range(3, 14)], endpoint)
    assert rows == [
        FILLED._replace(id=6, wire=True),
        FILLED._replace(id=7),
        FILLED._replace(id=8, flags=Flag.BACKFILLED | Flag.LAST),
    ]


def test_missing_aggregates_become_rows() -> None:
    """In a sequence of their own, flagged AGGREGATE too; ids of trades do not matter."""
    target = with_gap()
    feed(target, streamed(20), streamed(22))
    rows = answered(target, [aggregate(n) for n in (6, 20, 21, 22)], "aggTrades")
    flags = Flag.BACKFILLED | Flag.AGGREGATE | Flag.LAST
    assert rows == [FILLED._replace(id=21, flags=flags, side=BUY, wire=True)]
    assert target.sequence("BTCUSDT", "trade").holes == [(6, 8)]


def test_what_was_filled_is_there() -> None:
    """A second answer brings nothing more; a frame that comes later all the same is a DUPLICATE."""
    target = with_gap()
    answered(target, [entry(6), entry(7)])
    assert target.sequence("BTCUSDT", "trade").holes == [(8, 8)]
    assert [row.kind for row in answered(target, [entry(6), entry(7)])] == [Kind.CONTROL]
    late = feed(target, trade(7), trade(8), trade(10))
    assert [row.flags for row in late] == [
        Flag.LAST | Flag.DUPLICATE,
        Flag.LAST | Flag.OUT_OF_ORDER,
        Flag.LAST,
    ]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", Kind.CONTROL),
        (msgspec.json.encode([entry(5), entry(9), entry(10)]), Kind.CONTROL),
        (b'{"code":-1003,"msg":"Too much request weight used."}', Kind.STATUS),
        (b'{"result":null}', Kind.MALFORMED),
        (b"", Kind.MALFORMED),
        (b"null", Kind.MALFORMED),
        (b'[{"id":6}]', Kind.MALFORMED),
        (msgspec.json.encode([entry(7), entry(6)]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6), entry(6)]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6, price="-1.0")]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6), entry(7, size="x")]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6), entry(7, price="92233720368547758.08")]), Kind.MALFORMED),
        (msgspec.json.encode([entry(-6)]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6, time=-1)]), Kind.MALFORMED),
        (msgspec.json.encode([entry(6, isBuyerMaker="yes")]), Kind.MALFORMED),
    ],
)
def test_an_answer_without_missing_trades_is_one_row(body: bytes, kind: Kind) -> None:
    """Nothing new, a refusal, or what is no list of trades: one row, and the gap is as it was."""
    target = with_gap()
    (row,) = answered(target, body)
    assert (row.kind, row.source, row.wire) == (kind, REST, True)
    assert target.sequence("BTCUSDT", "trade").holes == [(6, 8)]
    assert not target.unknown
    if kind is Kind.STATUS:
        assert (row.data["event"], row.data["channel"]) == ("rejected", "trade")
        assert row.data["detail"] == "-1003 Too much request weight used."


def test_a_symbol_that_is_not_ours_is_a_control_row() -> None:
    """Kept and counted, like any message of one."""
    target = with_gap()
    rows = RowBuffer()
    source = msgspec.structs.replace(SOURCES["trades"], symbol="XRPUSDT")
    target.feed_rest(source, msgspec.json.encode([entry(6)]), TS + 1, rows, REST)
    assert [row.kind for row in rows_of(rows)] == [Kind.CONTROL]
    assert target.unknown == {"symbol XRPUSDT": 1}


def test_an_answer_may_widen_the_definition() -> None:
    """More decimals than known: an INSTRUMENT row first, then all rows by the new one."""
    target = with_gap()
    rows = answered(target, [entry(6), entry(7, price="61837.631", size="0.0200001")])
    assert [row.kind for row in rows] == [Kind.INSTRUMENT, Kind.TRADE, Kind.TRADE]
    assert (rows[0].data["price_decimals"], rows[0].data["size_decimals"], rows[0].data["version"]) == (
        3,
        7,
        2,
    )
    assert [(row.price, row.size) for row in rows[1:]] == [(61_837_630, 200_000), (61_837_631, 200_001)]
    assert rows[0].ts < rows[1].ts


def test_microseconds_are_told_by_magnitude() -> None:
    """The same moment in the finer unit."""
    (row,) = answered(with_gap(), [entry(6, time=MS * 1_000 + 7)])
    assert row.ts_venue == MS * 1_000_000 + 7_000


@pytest.mark.parametrize("endpoint", list(SOURCES))
def test_an_answer_cut_anywhere_is_one_malformed_row(endpoint: str) -> None:
    """At every byte; the gap is as it was, and the whole answer fills it afterwards."""
    target = with_gap()
    feed(target, streamed(5), streamed(9))
    entries = [aggregate(n) if endpoint == "aggTrades" else entry(n) for n in (6, 7, 8)]
    body = msgspec.json.encode(entries)
    for length in range(len(body)):
        (row,) = answered(target, body[:length], endpoint)
        assert (row.kind, row.flags) == (Kind.MALFORMED, Flag.LAST), length
    assert [row.id for row in answered(target, body, endpoint)] == [6, 7, 8]


@given(body=st.binary(max_size=200), endpoint=st.sampled_from(list(SOURCES)))
def test_bytes_of_any_kind_are_one_row(body: bytes, endpoint: str) -> None:
    """Whatever comes is kept in one row, and no exception leaves."""
    (row,) = answered(with_gap(), body, endpoint)
    assert row.kind in {Kind.MALFORMED, Kind.CONTROL, Kind.STATUS}


@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_an_answer_with_wrong_bytes_fills_or_is_refused_whole(changes: list[tuple[int, int]]) -> None:
    """All of its missing trades become rows, or none does and a MALFORMED row says why."""
    body = bytearray(msgspec.json.encode([entry(6), entry(7), entry(8)]))
    for place, byte in changes:
        body[place % len(body)] = byte
    target = with_gap()
    rows = answered(target, bytes(body))
    filled = [row.id for row in rows if row.kind is Kind.TRADE]
    if not filled:
        assert len(rows) == 1
    assert rows[-1].flags & Flag.LAST
    holes = target.sequence("BTCUSDT", "trade").holes
    assert sorted(filled + [n for low, high in holes for n in range(low, high + 1)]) == [6, 7, 8]


@given(
    numbers=st.lists(st.integers(0, 60), min_size=2, max_size=40),
    asked=st.lists(st.sets(st.integers(0, 70)), max_size=4),
)
def test_streams_and_answers_together_miss_and_repeat_nothing(
    numbers: list[int], asked: list[set[int]]
) -> None:
    """Rows without DUPLICATE have each id once, and only ids that frames or answers had."""
    target = parser()
    rows = feed(target, *(trade(number) for number in numbers))
    missing = {n for low, high in target.sequence("BTCUSDT", "trade").holes for n in range(low, high + 1)}
    for page in asked:
        rows += answered(target, [entry(number) for number in sorted(page)])
    ids = [row.id for row in rows if row.kind is Kind.TRADE and not row.flags & Flag.DUPLICATE]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(numbers) | (missing & set().union(*asked))
