"""Frames that are not what they should be: one MALFORMED row each, and the parser goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.kinds import Flag, Kind
from tests.feed.test_binance_rows import MESSAGES
from tests.helpers.frames import (
    DEPTH,
    SOCKET,
    combined,
    depth,
    depth_data,
    feed,
    feed_depth,
    parser,
    snapshot,
    trade,
    trade_data,
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

# Kinds that a frame of arbitrary bytes may become; anything else, or an exception, is a bug.
DOCUMENTED = ANY_FRAME | {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR}


@pytest.mark.parametrize("frame", [m[1] for m in MESSAGES], ids=[m[0] for m in MESSAGES])
@pytest.mark.parametrize("met_before", [False, True])
def test_a_frame_cut_anywhere_is_one_malformed_row(frame: bytes, *, met_before: bool) -> None:
    """At every byte, whether or not the parser knows the stream; the wire has what came."""
    target = parser()
    if met_before:
        feed(target, frame)
    check_cut(target, frame.rstrip())


# a frame, then what its MALFORMED row says
BROKEN: list[tuple[str, bytes, dict[str, Any]]] = [
    ("nothing", b"", {"error": "the JSON ends too early", "byte": 0}),
    ("a page", b"<html>", {"error": "JSON is malformed: invalid character", "byte": 0}),
    ("a number", b"5", {"error": "Expected `object`, got `int`", "value": "5"}),
    ("null", b"null", {"error": "Expected `object`, got `null`", "value": "null"}),
    (
        "two frames in one",
        trade(1) * 2,
        # msgspec names the byte after the first that is too many
        {"error": "JSON is malformed: trailing characters", "byte": len(trade(1)) + 1},
    ),
    (
        "price no decimal",
        trade(5, "24,670.90"),
        {"error": '"24,670.90" is not a decimal number', "field": "data.p", "value": "24,670.90"},
    ),
    (
        "price negative",
        trade(5, "-1.00"),
        {"error": '"-1.00" is negative', "field": "data.p", "value": "-1.00"},
    ),
    (
        "size a number",
        combined("btcusdt@trade", trade_data(5) | {"q": 2.5}),
        {"error": "Expected `str`, got `float`", "field": "data.q", "value": "2.5"},
    ),
    (
        "id a text",
        combined("btcusdt@trade", trade_data(5) | {"t": "5"}),
        {"error": "Expected `int`, got `str`", "field": "data.t", "value": "5"},
    ),
    (
        "id negative",
        combined("btcusdt@trade", trade_data(-5)),
        {"error": "Expected `int` >= 0", "field": "data.t", "value": "-5"},
    ),
    (
        "id beyond 63 bits",
        msgspec.json.encode(trade_data(2**63)),
        {"error": "Expected `int` <= 9223372036854775807", "field": "t", "value": str(2**63)},
    ),
    (
        "time beyond the year 2262",
        msgspec.json.encode(trade_data(5) | {"T": 9_300_000_000_000_000}),
        {"error": "Expected `int` <= 9200000000000000", "field": "T", "value": "9300000000000000"},
    ),
    (
        "a field is missing",
        combined("btcusdt@trade", {k: v for k, v in trade_data(5).items() if k != "p"}),
        {"error": "Object missing required field `p`", "field": "data.p"},
    ),
    (
        "a level is no pair",
        depth(1, 2, [["10.00"]]),
        {"error": "Expected `array` of length 2", "field": "data.b[0]", "value": '["10.00"]'},
    ),
    (
        "a level's size",
        depth(1, 2, [], [("10.00", "1"), ("11.00", "x")]),
        {"error": '"x" is not a decimal number', "field": "data.a[1][1]", "value": "x"},
    ),
    (
        "first after last",
        depth(3, 2),
        {"error": "U 3 is after u 2", "field": "data"},
    ),
    (
        "event no text",
        b'{"stream":"btcusdt@trade","data":{"e":5}}',
        {"error": "Expected `str`, got `int`", "field": "data.e", "value": "5"},
    ),
    (
        "not UTF-8",
        trade(5).replace(b"BTCUSDT", b"BTC\xffSDT"),
        {"error": "not UTF-8", "value": "b'BTC\\xffSDT'", "byte": 72},
    ),
    (
        "half a surrogate pair",
        trade(5).replace(b"BTCUSDT", b"BTC\\ud800"),
        {"error": "JSON is malformed: unexpected end of hex escape", "byte": 78},
    ),
    ("nested too deeply", b'{"data":' * 9_000, {"error": "nested too deeply"}),
]


@pytest.mark.parametrize(("frame", "said"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
@pytest.mark.parametrize("met_before", [False, True])
def test_what_is_wrong_is_said(frame: bytes, said: dict[str, Any], *, met_before: bool) -> None:
    """Error, field, value and byte, as far as they are known; on the known way and the careful one."""
    target = parser()
    if met_before:
        feed(target, trade(1), depth(1, 1))
    (row,) = feed(target, frame)
    if "byte" not in said and "field" in said and "value" not in said:
        row.data.pop("value", None)  # a whole object: too long to repeat here
    check_refused(row, SOCKET, said)


def test_a_malformed_trade_leaves_the_sequence_alone() -> None:
    """The next trade shows that one is missing."""
    target = parser()
    feed(target, trade(5), trade(6, "x"))
    status, row = feed(target, trade(7))
    assert status.data == {"event": "gap", "channel": "trade", "first": 6, "last": 6}
    assert row.id == 7


def test_a_malformed_depth_update_shows_as_a_gap() -> None:
    """The book is as it was; the next update names what is missing."""
    target = parser()
    feed_depth(target, snapshot(10))
    (row,) = feed(target, depth(11, 12, [("10.00", "1"), ("9.00", "bad")]))
    assert row.kind is Kind.MALFORMED
    assert target.synchronised("BTCUSDT")
    status, book = feed(target, depth(13, 14))
    assert status.data == {"event": "gap", "channel": "book", "first": 11, "last": 12}
    assert book.flags == Flag.MAYBE_BAD_BOOK | Flag.LAST


@given(st.binary(max_size=200))
def test_random_bytes_give_documented_outcomes(frame: bytes) -> None:
    """Nothing that arrives raises."""
    check_outcome(parser(), frame, DOCUMENTED)


@given(damaged_frames([frame for _, frame, _ in MESSAGES]))
def test_damaged_frames_give_documented_outcomes(frames: list[bytes]) -> None:
    """Real frames with bytes changed, cut out or put in; then a good one still parses."""
    target = parser()
    feed(target, *frames[:-1])
    check_outcome(target, frames[-1], DOCUMENTED)
    number = 2**62
    assert feed(target, trade(number))[-1].id == number


@given(st.data())
def test_any_value_in_any_field_gives_documented_outcomes(data: st.DataObject) -> None:
    """Well-formed JSON with a field of a message replaced by anything."""
    template = data.draw(st.sampled_from([trade_data(5), depth_data(1, 2, [["1", "2"]])]))
    name = data.draw(st.sampled_from(sorted(template)))
    frame = msgspec.json.encode(
        {"stream": "btcusdt@trade", "data": template | {name: data.draw(json_values)}}
    )
    check_outcome(parser(), frame, DOCUMENTED)


@given(st.binary(max_size=120) | st.just(b"") | st.sampled_from([b"[]", b"{}", b'{"lastUpdateId":1}']))
def test_any_rest_answer_gives_documented_outcomes(body: bytes) -> None:
    """As for frames: one row that keeps it."""
    check_rest(parser(), DEPTH, body, {Kind.MALFORMED, Kind.STATUS})


def test_unknown_messages_are_counted_by_so_many_names_only() -> None:
    """Names come from outside: they take no more memory than a few hundred of them, and none is long."""
    target = parser()
    for number in range(1_000):
        feed(target, combined("x", {"e": f"{number}" + "x" * 1_000}))
    assert target.unknown.total() == 1_000
    assert len(target.unknown) < 300
    assert max(map(len, target.unknown)) <= 80
    assert target.unknown["others"] > 700
