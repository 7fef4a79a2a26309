"""Alpaca frames that are not what they should be: one MALFORMED row each, and nothing else changes."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from engine.feed.parser import SnapshotWanted
from engine.model.kinds import Flag, Kind
from tests.helpers.alpaca import (
    AT,
    ENCODINGS,
    SOURCE,
    Encoding,
    Message,
    article,
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
from tests.helpers.malformed import ANY_FRAME, check_cut, check_outcome, check_refused, json_values

# Kinds that a frame of arbitrary bytes may become; anything else, or an exception, is a bug.
DOCUMENTED = ANY_FRAME | {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR, Kind.NEWS}
EVERY: list[Message] = [
    trade(5),
    quote(),
    bar(),
    bar("u"),
    bar("d"),
    {"T": "c", "S": "AAPL", "x": "M", "oi": 5, "op": 39.1, "os": 4, "ci": 6, "cp": 39.2, "cs": 4, "t": AT},
    {"T": "x", "S": "AAPL", "i": 465, "x": "D", "p": 105.31, "s": 300, "a": "C", "t": AT},
    {"T": "s", "S": "AAPL", "sc": "H", "sm": "Halt", "rc": "T12", "rm": "News", "t": AT},
    {"T": "l", "S": "AAPL", "u": 3.24, "d": 2.65, "i": "B", "t": AT},
    {"T": "i", "S": "AAPL", "p": 9.12, "t": AT},
    book([(1, 2)], [(3, 4)], reset=True),
    article(),
    {"T": "success", "msg": "connected"},
    {"T": "error", "code": 406, "msg": "connection limit exceeded"},
    {"T": "subscription", "trades": ["AAPL"], "quotes": [], "news": ["*"]},
]
NAMES = [message["T"] for message in EVERY]
FRAMES = [(f"{name}-{message['T']}", encode(message)) for name, encode in ENCODINGS for message in EVERY] + [
    (f"{name}-all", encode(*EVERY)) for name, encode in ENCODINGS
]
encodings = pytest.mark.parametrize("frame", [e[1] for e in ENCODINGS], ids=[e[0] for e in ENCODINGS])


@pytest.mark.parametrize("frame", [f[1] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_a_whole_frame_is_read(frame: bytes) -> None:
    """Every type, alone and all of them together, in both encodings."""
    made = check_outcome(parser(), frame, DOCUMENTED)
    assert Kind.MALFORMED not in {row.kind for row in made}


@pytest.mark.parametrize("frame", [f[1] for f in FRAMES], ids=[f[0] for f in FRAMES])
def test_a_frame_cut_anywhere_is_one_malformed_row(frame: bytes) -> None:
    """At every byte; the wire has what came, and no notice is taken."""
    target = parser()
    check_cut(target, frame)
    assert not target.notices
    assert not target.unknown


# a message, then what the MALFORMED row of a frame with it, behind a good one, says
WRONG: list[tuple[str, Message, dict[str, Any]]] = [
    ("a negative price", trade(5, -1), {"error": '"-1" is negative', "field": "[1].p", "value": "-1"}),
    (
        "a price that is text",
        trade(5, "1.5"),
        {"error": "Expected a number, got `str`", "field": "[1].p", "value": "1.5"},
    ),
    (
        "a price that is nothing",
        trade(5, None),
        {"error": "Expected a number, got `null`", "field": "[1].p", "value": "null"},
    ),
    (
        "a price that is too large",
        trade(5, 1e18),
        {
            "error": '"1000000000000000000" at 4 decimals does not fit 64 bits',
            "field": "[1].p",
            "value": "1e18",
        },
    ),
    (
        "a level of a book",
        book([(1, 2), (3, -4)]),
        {"error": '"-4" is negative', "field": "[1].b[1].s", "value": "-4"},
    ),
    (
        "a size with too many decimals",
        trade(5, 1, 1e-20),
        {"error": '"0.00000000000000000001" has more than 18 decimals', "field": "[1].s", "value": "1e-20"},
    ),
    (
        "no time",
        trade(5, t="yesterday"),
        {
            "error": '"yesterday" is not a time as 2024-07-24T07:56:53.639713735Z',
            "field": "[1].t",
            "value": "yesterday",
        },
    ),
    (
        "an edit at no time",
        article(updated_at="then"),
        {
            "error": '"then" is not a time as 2024-07-24T07:56:53.639713735Z',
            "field": "[1].updated_at",
            "value": "then",
        },
    ),
    (
        "a headline of nothing",
        article(headline=" "),
        {"error": "there is no headline", "field": "[1].headline", "value": " "},
    ),
    ("a number below zero", trade(-5), {"error": "Expected `int` >= 0", "field": "[1].i", "value": "-5"}),
    (
        "a number beyond 64 bits",
        trade(2**64),
        {"error": "is no number of 64 bits", "field": "[1].i", "value": str(2**64)},
    ),
    (
        "of a correction",
        {"T": "c", "S": "AAPL", "oi": 2**70, "op": 1, "os": 1, "cp": 1, "cs": 1, "t": AT},
        {"error": "is no number of 64 bits", "field": "[1].oi", "value": str(2**70)},
    ),
    (
        "of a cancel",
        {"T": "x", "S": "AAPL", "i": 2**65, "p": 1, "s": 1, "t": AT},
        {"error": "is no number of 64 bits", "field": "[1].i", "value": str(2**65)},
    ),
    (
        "a count beyond 63 bits",
        bar(n=2**63),
        {"error": "Expected `int` <= 9223372036854775807", "field": "[1].n", "value": str(2**63)},
    ),
    (
        "no symbol",
        {"T": "t", "p": 1, "s": 1, "t": AT},
        {"error": "Object missing required field `S`", "field": "[1].S"},
    ),
    (
        "a type that is no text",
        {"T": 5},
        {"error": "Expected `str`, got `int`", "field": "[1].T", "value": "5"},
    ),
    (
        "a list that is none",
        {"T": "subscription", "trades": "AAPL"},
        {"error": "Expected `array | null`, got `str`", "field": "[1].trades", "value": "AAPL"},
    ),
    (
        "words in a code",
        {"T": "error", "code": "x"},
        {"error": "Expected `int`, got `str`", "field": "[1].code", "value": "x"},
    ),
    (
        "limits that are none",
        {"T": "l", "S": "AAPL", "u": -3, "d": 2, "t": AT},
        {"error": '"-3" is negative', "field": "[1].u", "value": "-3"},
    ),
]


@pytest.mark.parametrize(("message", "said"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_is_wrong_is_said(message: Message, said: dict[str, Any]) -> None:
    """Error, field and value, of the one message among several that is wrong."""
    (row,) = feed(parser(), json_frame(trade(1), message))
    check_refused(row, SOURCE, said)


# bytes, and the error
BROKEN: list[tuple[bytes, str]] = [
    (b"", "the frame is empty"),
    (b"<html>", "JSON is malformed: invalid character"),
    (b"{}", "Expected `array`, got `object`"),
    (b"5", "Expected `array`, got `int`"),
    (b"[5]", "Expected `object`, got `int`"),
    (b"[null]", "Expected `object`, got `null`"),
    (json_frame(trade(1)) * 2, "JSON is malformed: trailing characters"),
    (b"[" * 9_000, "nested too deeply"),
    (b'[{"T":"t","S":"A\xff"}]', "not UTF-8"),
    (b"\x80", "Expected `array`, got `object`"),
    (b"\x93\x01", "the MessagePack ends too early"),
    (b"\x91\x05", "Expected `object`, got `int`"),
    (b"\xc1", "MessagePack data is malformed: invalid opcode '\\xc1'"),
    (b"\x91\x91\xc0", "Expected `object`, got `array`"),
    (b"\x91" * 9_000 + b"\xc0", "nested too deeply"),
    (packed_frame(trade(1)) + b"\x00", "MessagePack data is malformed: trailing characters"),
    (packed_frame(trade(1, "x")), "Expected `int | float`, got `str`"),
    (packed_frame(trade(1, price=True)), "Expected `int | float`, got `bool`"),
    (packed_frame(trade(1, price=float("nan"))), '"nan" is not a decimal number'),
    (packed_frame(trade(1, price=float("inf"))), '"inf" is not a decimal number'),
    (
        msgspec.msgpack.encode([trade(1) | {"t": Ext(-1, b"123")}]),
        "a Timestamp of 3 bytes: there are those of 4, 8 and 12",
    ),
    (msgspec.msgpack.encode([trade(1) | {"t": Ext(7, b"12345678")}]), "extension 7 is no Timestamp"),
    (msgspec.msgpack.encode([trade(1) | {"t": 1_723_161_255}]), "Expected `str | ext`, got `int`"),
]


@pytest.mark.parametrize(("frame", "error"), BROKEN, ids=[repr(b[0][:30]) for b in BROKEN])
def test_what_is_no_frame_is_said(frame: bytes, error: str) -> None:
    """In either encoding."""
    (row,) = feed(parser(), frame)
    assert (row.kind, row.wire, row.data["error"]) == (Kind.MALFORMED, True, error)


@encodings
def test_a_malformed_frame_changes_nothing(frame: Encoding) -> None:
    """Neither memory nor book nor definitions, though good messages stand before the bad one."""
    target = parser()
    before = target.instruments
    good = [
        trade(1, t=later(5)),
        trade(2, 1.23456789, t=later(6)),
        book([(1.2345678, 1)], reset=True),
        quote(),
    ]
    welcome = [{"T": "success", "msg": "connected"}, {"T": "zz"}, article()]
    (row,) = feed(target, frame(*good, *welcome, trade(3, -1)))
    assert row.kind is Kind.MALFORMED
    assert target.instruments == before
    assert not target.synchronised("BTC/USD")
    assert (target.notices, target.wants, dict(target.unknown)) == ([], [], {})
    rows = feed(target, frame(trade(1, t=later(5)), trade(4, t=later(5)), quote(), article()))
    assert [row.flags & ~Flag.LAST for row in rows] == [Flag(0)] * 5


def test_a_frame_that_cannot_be_read_puts_books_in_doubt() -> None:
    """Nothing numbers what was in it: a book that was in step is wanted whole again, once, until it comes."""
    target = parser()
    feed(target, json_frame(book([(1, 1)], [(2, 1)], reset=True)))
    assert target.synchronised("BTC/USD")
    feed(target, b"[{")
    feed(target, b"[{")
    assert not target.synchronised("BTC/USD")
    assert target.wants == [SnapshotWanted("BTC/USD", "gap")]
    (row,) = feed(target, json_frame(book([(1, 2)], t=later(1))))
    assert row.flags & Flag.MAYBE_BAD_BOOK
    feed(target, json_frame(book([(1, 2)], [(2, 1)], reset=True, t=later(2))))
    assert target.synchronised("BTC/USD")


@given(st.binary(max_size=200))
def test_random_bytes_give_documented_outcomes(frame: bytes) -> None:
    """Nothing that arrives raises."""
    check_outcome(parser(), frame, DOCUMENTED)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_frames_give_documented_outcomes(seed: int) -> None:
    """Frames with bytes changed, cut out or put in, one after the other; then a good one still parses."""
    chance = random.Random(seed)
    target = parser()
    for _ in range(400):
        damaged = bytearray(chance.choice(FRAMES)[1])
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(damaged) + 1)
            damaged[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        check_outcome(target, bytes(damaged), DOCUMENTED)
    assert feed(target, json_frame(trade(2**62)))[-1].id == 2**62


@given(st.data())
def test_any_value_in_any_field_gives_documented_outcomes(data: st.DataObject) -> None:
    """Well-formed frames with a field of a message replaced by anything, in both encodings."""
    template = data.draw(st.sampled_from(EVERY))
    name = data.draw(st.sampled_from(sorted(template)))
    message = template | {name: data.draw(json_values)}
    try:
        frames = [msgspec.json.encode([trade(1), message]), msgspec.msgpack.encode([trade(1), message])]
    except (OverflowError, msgspec.EncodeError):  # an integer beyond what either can hold
        frames = []
    for frame in frames:
        check_outcome(parser(), frame, DOCUMENTED)
