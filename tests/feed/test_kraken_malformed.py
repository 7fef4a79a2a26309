"""Kraken frames that are not what they should be: one MALFORMED row each, and the parser goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.kinds import Kind, SourceData
from tests.helpers.frames import SOCKET
from tests.helpers.kraken import (
    BTC,
    GUIDE_ASKS,
    GUIDE_BIDS,
    HEARTBEAT,
    PONG,
    SNAPSHOT,
    STATUS,
    TICKER,
    TIME,
    ack,
    bar,
    bars,
    book,
    feed,
    numbered,
    parser,
    refusal,
    trade_item,
    trades,
)
from tests.helpers.malformed import (
    ANY_FRAME,
    check_cut,
    check_outcome,
    check_refused,
    check_rest,
    damaged_frames,
    json_values,
)

FRAMES = {
    "snapshot": SNAPSHOT,
    "update": book("update", GUIDE_BIDS[:2], GUIDE_ASKS[:1]),
    "trades": numbered(7, 8),
    "history": numbered(5, 6, form="snapshot"),
    "ticker": TICKER,
    "bars": bars(bar(1), bar(2)),
    "instrument": b'{"channel":"instrument","type":"snapshot","data":{"pairs":[{"symbol":"BTC/USD"}]}}',
    "status": STATUS,
    "heartbeat": HEARTBEAT,
    "pong": PONG,
    "ack": ack(depth=10),
    "refusal": refusal("Subscription depth not supported"),
}
DOCUMENTED = ANY_FRAME | {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_a_frame_cut_anywhere_is_one_malformed_row(frame: bytes) -> None:
    """At every byte; the wire has what came, and the whole frame is then taken as if nothing had been."""
    target = parser()
    check_cut(target, frame)
    assert not target.notices
    assert feed(target, frame) == feed(parser(), frame)


# a frame, then what its MALFORMED row says
BROKEN: list[tuple[str, bytes, dict[str, Any]]] = [
    ("nothing", b"", {"error": "the JSON ends too early", "byte": 0}),
    ("a page", b"<html>", {"error": "JSON is malformed: invalid character", "byte": 0}),
    ("a list", b"[]", {"error": "Expected `object`, got `array`", "value": "[]"}),
    (
        "two frames in one",
        HEARTBEAT * 2,
        {"error": "JSON is malformed: trailing characters", "byte": len(HEARTBEAT) + 1},
    ),
    (
        "channel no text",
        b'{"channel":5}',
        {"error": "Expected `str`, got `int`", "field": "channel", "value": "5"},
    ),
    (
        "price negative",
        trades(trade_item(7), trade_item(8, "-5.0")),
        {"error": '"-5.0" is negative', "field": "data[1].price", "value": "-5.0"},
    ),
    (
        "price true",
        trades(trade_item(8, "true")),
        {"error": "not a number", "field": "data[0].price", "value": "true"},
    ),
    (
        "price a list",
        trades(trade_item(8, "[1]")),
        {"error": "not a number", "field": "data[0].price", "value": "[1]"},
    ),
    (
        "size null",
        trades(trade_item(8, qty="null")),
        {"error": "not a number", "field": "data[0].qty", "value": "null"},
    ),
    (
        "size beyond all bounds",
        trades(trade_item(8, qty="1e999999")),
        {
            "error": '"1e999999" is too large or too fine for a price or size',
            "field": "data[0].qty",
            "value": "1e999999",
        },
    ),
    (
        "size with too many digits",
        trades(trade_item(8, qty="9" * 30)),
        {
            "error": f'"{"9" * 30}" at 8 decimals does not fit 64 bits',
            "field": "data[0].qty",
            "value": "9" * 30,
        },
    ),
    (
        "size too fine",
        trades(trade_item(8, qty="0.0000000000000000001")),
        {
            "error": '"0.0000000000000000001" has more than 18 decimals',
            "field": "data[0].qty",
            "value": "0.0000000000000000001",
        },
    ),
    (
        "side unknown",
        trades(trade_item(8, side="both")),
        {"error": "Invalid enum value 'both'", "field": "data[0].side", "value": "both"},
    ),
    (
        "number negative",
        numbered(-8),
        {"error": "Expected `int` >= 0", "field": "data[0].trade_id", "value": "-8"},
    ),
    (
        "number beyond 63 bits",
        numbered(2**63),
        {
            "error": "Expected `int` <= 9223372036854775807",
            "field": "data[0].trade_id",
            "value": "9223372036854775808",
        },
    ),
    (
        "time without a zone",
        trades(trade_item(7), trade_item(8, timestamp=TIME[:-1])),
        {
            "error": f'"{TIME[:-1]}" is not a time with a zone',
            "field": "data[1].timestamp",
            "value": TIME[:-1],
        },
    ),
    (
        "time beyond the year 2262",
        trades(trade_item(8, timestamp="2300-01-01T00:00:00Z")),
        {
            "error": '"2300-01-01T00:00:00Z" is after the year 2262',
            "field": "data[0].timestamp",
            "value": "2300-01-01T00:00:00Z",
        },
    ),
    (
        "a bar without a start",
        bars(bar(1).replace("2026-08-16T23:01:00.000000000Z", "1970-01-01T00:00:00Z")),
        {
            "error": "a bar without a start",
            "field": "data[0].interval_begin",
            "value": "1970-01-01T00:00:00Z",
        },
    ),
    (
        "a bar of no length",
        bars(bar(1, interval=0)),
        {"error": "Expected `int` >= 1", "field": "data[0].interval", "value": "0"},
    ),
    (
        "a level's size",
        book("update", [("1.0", "1.0"), ("1.1", '"x"')], []),
        {"error": '"x" is not a decimal number', "field": "data[0].bids[1].qty", "value": "x"},
    ),
    (
        "a level without a price",
        SNAPSHOT.replace(b'"price":45276.6,', b""),
        {"error": "Object missing required field `price`", "field": "data[0].bids[9].price"},
    ),
    (
        "checksum beyond 32 bits",
        book("update", [], [], 2**32),
        {"error": "Expected `int` <= 4294967295", "field": "data[0].checksum", "value": "4294967296"},
    ),
    (
        "checksum missing",
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}',
        {"error": "Object missing required field `checksum`", "field": "data[0].checksum"},
    ),
    (
        "increment no number",
        b'{"channel":"instrument","type":"update","data":{"pairs":[{"symbol":"BTC/USD","qty_min":"x"}]}}',
        {"error": '"x" is not a decimal number', "field": "data.pairs[0]"},
    ),
    (
        "answer no object",
        b'{"method":"subscribe","result":5}',
        {"error": "Expected `object | null`, got `int`", "field": "result", "value": "5"},
    ),
    ("nested too deeply", b'{"data":' * 9_000, {"error": "nested too deeply"}),
]


@pytest.mark.parametrize(("frame", "said"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_what_is_wrong_is_said(frame: bytes, said: dict[str, Any]) -> None:
    """Error, field, value and byte, as far as they are known."""
    target = parser()
    (row,) = feed(target, frame)
    check_refused(row, SOCKET, said)
    assert target.instruments == {"BTC/USD": (1, BTC)}


def test_a_malformed_trade_leaves_the_sequence_alone() -> None:
    """The next trade shows that one is missing."""
    target = parser()
    feed(target, numbered(5), trades(trade_item(6, "null")))
    status, row = feed(target, numbered(7))
    assert status.data == {"event": "gap", "channel": "trade", "first": 6, "last": 6}
    assert row.id == 7


def test_a_malformed_update_leaves_the_book_alone() -> None:
    """Its good levels are not applied; the next message shows by its checksum that something is missing."""
    target = parser()
    feed(target, SNAPSHOT, book("update", [("45283.5", "0.20000000"), ("45283.4", "null")], []))
    assert target.synchronised("BTC/USD")
    assert [row.kind for row in feed(target, SNAPSHOT.replace(b"snapshot", b"update"))] == [Kind.BOOK] * 20


def test_a_message_that_is_refused_widens_nothing() -> None:
    """A finer size beside a time that is none: the definition stays as it was."""
    target = parser()
    (row,) = feed(target, trades(trade_item(7, qty="0.123456789"), trade_item(8, timestamp="yesterday")))
    assert row.kind is Kind.MALFORMED
    assert target.instruments == {"BTC/USD": (1, BTC)}


@given(st.binary(max_size=200))
def test_random_bytes_give_documented_outcomes(frame: bytes) -> None:
    """Nothing that arrives raises."""
    check_outcome(parser(), frame, DOCUMENTED)


@given(damaged_frames(FRAMES.values()))
def test_damaged_frames_give_documented_outcomes(frames: list[bytes]) -> None:
    """Good frames with bytes changed, cut out or put in; then a good one still parses."""
    target = parser()
    feed(target, *frames[:-1])
    check_outcome(target, frames[-1], DOCUMENTED)
    number = 2**62
    assert feed(target, numbered(number))[-1].id == number


@given(st.data())
def test_any_value_in_any_field_gives_documented_outcomes(data: st.DataObject) -> None:
    """Well-formed JSON with a field of a message, or of an item in it, replaced by anything."""
    message = msgspec.json.decode(data.draw(st.sampled_from(list(FRAMES.values()))))
    value, inner = data.draw(json_values), message.get("data")
    if isinstance(inner, list) and inner and data.draw(st.booleans()):
        inner[0][data.draw(st.sampled_from(sorted(inner[0])))] = value
    else:
        message[data.draw(st.sampled_from(sorted(message)))] = value
    frame = msgspec.json.encode(message)
    check_outcome(parser(), frame, DOCUMENTED)


@pytest.mark.parametrize("endpoint", ["AssetPairs", "Time"])
@given(body=st.binary(max_size=120) | st.sampled_from([b"[]", b"{}", b'{"result":{"X":{"wsname":5}}}']))
def test_any_rest_answer_gives_documented_outcomes(endpoint: str, body: bytes) -> None:
    """As for frames: one row that keeps it."""
    source = SourceData(name="kraken-rest", endpoint=endpoint)
    check_rest(parser(), source, body, {Kind.MALFORMED, Kind.CONTROL})
