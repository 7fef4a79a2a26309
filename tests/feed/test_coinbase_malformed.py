"""Coinbase frames that are not what they should be: one MALFORMED row each, and the parser goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.kinds import Kind, SourceData
from tests.helpers.coinbase import (
    BTC,
    ERROR,
    SNAPSHOT,
    book,
    candles,
    feed,
    heartbeat,
    message,
    numbered,
    parser,
    subscriptions,
    trade,
    trades,
)
from tests.helpers.frames import SOCKET
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
    "update": book(1, "update", [("1.00", "1")], [("2.00", "0")]),
    "trades": numbered(2, 8, 7),
    "history": numbered(3, 6, 5, form="snapshot"),
    "candles": candles(4, 300, 600),
    "heartbeat": heartbeat(5),
    "subscriptions": subscriptions(6, level2=["BTC-USD"]),
    "error": ERROR,
    "unknown": message("ticker", 7),
}
DOCUMENTED = ANY_FRAME | {Kind.TRADE, Kind.BOOK, Kind.BAR}


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
    ("a list", b"[]", {"error": "Expected `object`, got `array`", "value": "[]"}),
    (
        "number missing",
        b'{"channel":"heartbeats","events":[]}',
        {"error": "Object missing required field `sequence_num`", "field": "sequence_num"},
    ),
    (
        "number negative",
        heartbeat(-1),
        {"error": "Expected `int` >= 0", "field": "sequence_num", "value": "-1"},
    ),
    (
        "number of an unknown message a text",
        b'{"channel":"ticker","sequence_num":"5"}',
        {"error": "Expected `int | null`, got `str`", "field": "sequence_num", "value": "5"},
    ),
    (
        "side ask",
        SNAPSHOT.replace(b'"offer"', b'"ask"'),
        {"error": "Invalid enum value 'ask'", "field": "events[0].updates[2].side", "value": "ask"},
    ),
    (
        "price a number",
        trades(0, trade(1, price=5)),  # type: ignore[arg-type]  # that is the point
        {"error": "Expected `str`, got `int`", "field": "events[0].trades[0].price", "value": "5"},
    ),
    (
        "size negative",
        trades(0, trade(1), trade(2, size="-1")),
        {"error": '"-1" is negative', "field": "events[0].trades[1].size", "value": "-1"},
    ),
    (
        "a level's size",
        book(0, "update", [("1.00", "1"), ("2.00", "1e5")]),
        {
            "error": '"1e5" is not a decimal number',
            "field": "events[0].updates[1].new_quantity",
            "value": "1e5",
        },
    ),
    (
        "a level's time",
        book(0, "update", [("1.00", "1")], time="now"),
        {
            "error": '"now" is not a time with a zone',
            "field": "events[].updates[].event_time",
            "value": "now",
        },
    ),
    (
        "a bar's start",
        message(
            "candles",
            0,
            {
                "type": "update",
                "candles": [
                    {"start": "-5"}
                    | dict.fromkeys(("open", "high", "low", "close", "volume"), "1")
                    | {"product_id": "BTC-USD"}
                ],
            },
        ),
        {
            "error": '"-5" is not a number of seconds',
            "field": "events[].candles[].start",
            "value": "-5",
        },
    ),
    (
        "a bar's volume",
        candles(0, 300, volume="lots"),
        {"error": '"lots" is not a decimal number', "field": "events[0].candles[0].volume", "value": "lots"},
    ),
    ("nested too deeply", b'{"events":' * 9_000, {"error": "nested too deeply"}),
]


@pytest.mark.parametrize(("frame", "said"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_what_is_wrong_is_said(frame: bytes, said: dict[str, Any]) -> None:
    """Error, field, value and byte, as far as they are known."""
    target = parser()
    (row,) = feed(target, frame)
    check_refused(row, SOCKET, said)
    assert target.instruments == {"BTC-USD": (1, BTC)}
    assert not target.unknown


def test_a_message_that_is_refused_widens_nothing() -> None:
    """A finer size beside a time that is none: the definition stays as it was."""
    target = parser()
    (row,) = feed(target, trades(0, trade(7, size="0.123456789"), trade(8, time="yesterday")))
    assert row.kind is Kind.MALFORMED
    assert target.instruments == {"BTC-USD": (1, BTC)}


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
    number = 10**17
    assert feed(target, numbered(2**62, number))[-1].id == number


@given(st.data())
def test_any_value_in_any_field_gives_documented_outcomes(data: st.DataObject) -> None:
    """Well-formed JSON with a field of a message, or of something in it, replaced by anything."""
    whole = msgspec.json.decode(data.draw(st.sampled_from(list(FRAMES.values()))))
    part, value = whole, data.draw(json_values)
    while data.draw(st.booleans()):
        inner = [
            each for each in part.values() if isinstance(each, list) and each and isinstance(each[0], dict)
        ]
        if not inner:
            break
        part = inner[0][0]
    part[data.draw(st.sampled_from(sorted(part)))] = value
    frame = msgspec.json.encode(whole)
    check_outcome(parser(), frame, DOCUMENTED)


@pytest.mark.parametrize("endpoint", ["products", "time"])
@given(body=st.binary(max_size=120) | st.sampled_from([b"[]", b"{}", b'{"products":[{"product_id":5}]}']))
def test_any_rest_answer_gives_documented_outcomes(endpoint: str, body: bytes) -> None:
    """As for frames: one row that keeps it."""
    source = SourceData(name="coinbase-rest", endpoint=endpoint)
    check_rest(parser(), source, body, {Kind.MALFORMED, Kind.CONTROL})
