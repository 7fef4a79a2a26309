"""The stream protocol as tables: where streams live, control messages and their answers, stamps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.serve.binance import (
    MICROSECOND,
    MILLISECOND,
    MOST_STREAMS,
    StreamSession,
    encode_payload,
    refusal_of,
    restamp,
    shutdown_frame,
    to_microseconds,
    wrap,
)

TARGETS: list[tuple[str, list[str], bool, str]] = [
    ("/ws", [], False, MILLISECOND),
    ("/ws/", [], False, MILLISECOND),
    ("/ws/0", [], False, MILLISECOND),  # ccxt's own token
    ("/ws/btcusdt@trade", ["btcusdt@trade"], False, MILLISECOND),
    ("/ws/btcusdt@trade/ethusdt@depth@100ms", ["btcusdt@trade", "ethusdt@depth@100ms"], False, MILLISECOND),
    ("/ws/btcusdt%40trade", ["btcusdt@trade"], False, MILLISECOND),
    ("/ws/btcusdt@trade?timeUnit=MICROSECOND", ["btcusdt@trade"], False, MICROSECOND),
    ("/stream", [], True, MILLISECOND),
    ("/stream?streams=btcusdt@trade/ethusdt@trade", ["btcusdt@trade", "ethusdt@trade"], True, MILLISECOND),
    ("/stream?streams=btcusdt@trade/btcusdt@trade", ["btcusdt@trade"], True, MILLISECOND),
    ("/stream?streams=a@trade&timeUnit=microsecond", ["a@trade"], True, MICROSECOND),
    ("/stream?streams=a@kline_1m@+08:00", ["a@kline_1m@+08:00"], True, MILLISECOND),
    ("/ws/a@kline_1m@%2B08:00", ["a@kline_1m@+08:00"], False, MILLISECOND),
]


@pytest.mark.parametrize(("target", "streams", "combined", "unit"), TARGETS)
def test_a_target_opens_its_streams(target: str, streams: list[str], *, combined: bool, unit: str) -> None:
    """Path and query say which streams, in which form, in which unit."""
    session = StreamSession.open(target)
    assert session is not None
    assert (list(session.streams), session.combined, session.unit) == (streams, combined, unit)


@pytest.mark.parametrize("target", ["/", "/api/v3/ping", "/wsx", "/ws-api/v3", "/streams", "//[x"])
def test_no_stream_lives_elsewhere(target: str) -> None:
    """Other paths are not streams."""
    assert StreamSession.open(target) is None


VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
ID_ERROR = {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}
NO_JSON = {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}
CONVERSATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("subscribe", '{"method":"SUBSCRIBE","params":["a@trade"],"id":1}', {"result": None, "id": 1}),
    ("textual id", '{"method":"SUBSCRIBE","params":["a@trade"],"id":"x-1"}', {"result": None, "id": "x-1"}),
    ("null id", '{"method":"SUBSCRIBE","params":[],"id":null}', {"result": None, "id": None}),
    ("negative id", '{"method":"UNSUBSCRIBE","params":["zz"],"id":-5}', {"result": None, "id": -5}),
    ("list", '{"method":"LIST_SUBSCRIPTIONS","id":3}', {"result": ["old@trade"], "id": 3}),
    (
        "list, empty params",
        '{"method":"LIST_SUBSCRIPTIONS","params":[],"id":3}',
        {"result": ["old@trade"], "id": 3},
    ),
    ("get", '{"method":"GET_PROPERTY","params":["combined"],"id":2}', {"result": False, "id": 2}),
    ("set", '{"method":"SET_PROPERTY","params":["combined",true],"id":2}', {"result": None, "id": 2}),
    (
        "unknown property",
        '{"method":"GET_PROPERTY","params":["colour"],"id":2}',
        {"code": 0, "msg": "Unknown property", "id": 2},
    ),
    (
        "wrong type",
        '{"method":"SET_PROPERTY","params":["combined","yes"],"id":2}',
        {"code": 1, "msg": "Invalid value type: expected Boolean", "id": 2},
    ),
    (
        "no value",
        '{"method":"SET_PROPERTY","params":["combined"],"id":2}',
        {"code": 1, "msg": "Invalid value type: expected Boolean", "id": 2},
    ),
    (
        "no property",
        '{"method":"GET_PROPERTY","params":[],"id":2}',
        {"code": 2, "msg": "Invalid request: property name must be a string", "id": 2},
    ),
    (
        "property is a number",
        '{"method":"GET_PROPERTY","params":[5],"id":2}',
        {"code": 2, "msg": "Invalid request: property name must be a string", "id": 2},
    ),
    (
        "too many parameters",
        '{"method":"GET_PROPERTY","params":["combined",1],"id":2}',
        {"code": 2, "msg": "Invalid request: too many parameters", "id": 2},
    ),
    (
        "list with parameters",
        '{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":2}',
        {"code": 2, "msg": "Invalid request: too many parameters", "id": 2},
    ),
    (
        "no method",
        '{"params":[],"id":2}',
        {"code": 2, "msg": "Invalid request: missing field `method` at line 1 column 1", "id": 2},
    ),
    (
        "unknown method",
        '{"method":"LISTEN","params":[],"id":2}',
        {
            "code": 2,
            "msg": "Invalid request: unknown variant `LISTEN`, expected one of "
            f"{VARIANTS} at line 1 column 1",
            "id": 2,
        },
    ),
    (
        "streams are numbers",
        '{"method":"SUBSCRIBE","params":[1],"id":2}',
        {"code": 2, "msg": "Invalid request: stream names must be strings", "id": 2},
    ),
    (
        "params is a text",
        '{"method":"SUBSCRIBE","params":"a@trade","id":2}',
        {"code": 2, "msg": "Invalid request: params must be an array", "id": 2},
    ),
    ("no id", '{"method":"SUBSCRIBE","params":["a@trade"]}', ID_ERROR),
    ("boolean id", '{"method":"SUBSCRIBE","params":["a@trade"],"id":true}', ID_ERROR),
    ("fractional id", '{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}', ID_ERROR),
    ("long id", '{"method":"SUBSCRIBE","params":["a@trade"],"id":"' + "x" * 37 + '"}', ID_ERROR),
    ("no object", "[1]", {"code": 2, "msg": "Invalid request: expected an object"}),
    ("no JSON", "hello", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}),
    ("an id without end", '{"method":"LIST_SUBSCRIPTIONS","id":' + "9" * 5_000 + "}", ID_ERROR),
    ("half a character", r'{"method":"\ud800","id":1}', NO_JSON),
    ("half a character as a stream", r'{"method":"SUBSCRIBE","params":["\ud800"],"id":1}', NO_JSON),
    ("half a character as a name", r'{"method":"LIST_SUBSCRIPTIONS","id":1,"\ud800":1}', NO_JSON),
    ("brackets without end", "[" * 100_000, NO_JSON),
    ("cut JSON", '{"method":', {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 11"}),
]


@pytest.mark.parametrize(
    ("message", "reply"), [c[1:] for c in CONVERSATIONS], ids=[c[0] for c in CONVERSATIONS]
)
def test_control_messages_get_the_venues_answers(message: str, reply: dict[str, Any]) -> None:
    """Every control message and every documented error, answered as the venue does."""
    session = StreamSession(["old@trade"], combined=False, unit=MILLISECOND)
    assert json.loads(session.answer(message).reply) == reply


def test_bytes_that_are_no_text_are_invalid_json() -> None:
    """A binary frame that is not UTF-8 is answered, not fatal."""
    session = StreamSession([], combined=False, unit=MILLISECOND)
    assert json.loads(session.answer(b"\xff\xfe\x00{").reply)["code"] == 3


def test_subscriptions_change_what_is_sent() -> None:
    """Added and removed streams are told once each, in order; a second time changes nothing."""
    session = StreamSession(["a@trade"], combined=True, unit=MILLISECOND)
    joined = session.answer(
        '{"method":"SUBSCRIBE","params":["b@trade","a@trade","b@trade","c%40trade"],"id":1}'
    )
    assert joined.added == ["b@trade", "c@trade"]
    left = session.answer('{"method":"UNSUBSCRIBE","params":["a@trade","nothing@trade"],"id":1}')
    assert left.removed == ["a@trade"]
    assert list(session.streams) == ["b@trade", "c@trade"]


@pytest.mark.parametrize("count", [MOST_STREAMS, MOST_STREAMS + 1])
def test_an_address_names_as_many_streams_as_a_connection_may_have(count: int) -> None:
    """One stream more than 1,024 is answered with what SUBSCRIBE answers to it."""
    session = StreamSession.open("/stream?streams=" + "/".join(f"s{n}@trade" for n in range(count)))
    assert session is not None
    refusal = refusal_of(session)
    assert bool(refusal) == (count > MOST_STREAMS)
    if refusal:
        assert json.loads(refusal) == {"code": 2, "msg": "Invalid request: too many parameters"}


def test_the_combined_property_switches_the_form() -> None:
    """SET_PROPERTY combined turns a raw connection into a combined one."""
    session = StreamSession([], combined=False, unit=MILLISECOND)
    session.answer('{"method":"SET_PROPERTY","params":["combined",true],"id":1}')
    assert session.combined


def test_a_connection_takes_1024_streams() -> None:
    """One more is refused, and none of the refused message is added."""
    session = StreamSession([f"s{i}@trade" for i in range(MOST_STREAMS - 1)], combined=True, unit=MILLISECOND)
    refused = session.answer('{"method":"SUBSCRIBE","params":["x@trade","y@trade"],"id":1}')
    assert json.loads(refused.reply)["code"] == 2
    assert not refused.added
    assert session.answer('{"method":"SUBSCRIBE","params":["x@trade"],"id":1}').added == ["x@trade"]


TRADE = {"e": "trade", "E": 1_717_232_400_123_456, "s": "X", "t": 1, "T": 1_717_232_400_122_999}


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (MILLISECOND, b'{"e":"trade","E":1717232400123,"s":"X","t":1,"T":1717232400122}'),
        (MICROSECOND, b'{"e":"trade","E":1717232400123456,"s":"X","t":1,"T":1717232400122999}'),
    ],
)
def test_stamps_are_written_in_the_clients_unit(unit: str, expected: bytes) -> None:
    """Fields keep their order; E and T are 13 or 16 digits."""
    assert encode_payload(TRADE, unit) == expected


def test_kline_bounds_follow_the_unit() -> None:
    """k.t and k.T are 13 or 16 digits, and the close is the interval's last unit."""
    kline = {"e": "kline", "E": 5_000_000, "k": {"t": 60_000_000, "T": 119_999_999}}
    assert json.loads(encode_payload(kline, MILLISECOND))["k"] == {"t": 60_000, "T": 119_999}
    assert json.loads(encode_payload(kline, MICROSECOND))["k"] == {"t": 60_000_000, "T": 119_999_999}


def test_recorded_milliseconds_become_microseconds_once() -> None:
    """Payloads of either unit end up in microseconds; the input is left alone."""
    recorded = {"e": "kline", "E": 1_717_232_400_123, "k": {"t": 1_717_232_400_000, "T": 1_717_232_459_999}}
    moved = to_microseconds(recorded)
    assert moved["E"] == 1_717_232_400_123_000
    assert moved["k"] == {"t": 1_717_232_400_000_000, "T": 1_717_232_459_999_999}
    assert to_microseconds(moved) is moved
    assert recorded["E"] == 1_717_232_400_123


def test_restamping_keeps_the_distance_of_trade_and_event() -> None:
    """E becomes now, T stays as much earlier as it was; what has no E is untouched."""
    moved = restamp(TRADE, 2_000_000)
    assert (moved["E"], moved["T"]) == (2_000_000, 2_000_000 - 457)
    quote = {"u": 1, "s": "X"}
    assert restamp(quote, 5) is quote
    assert TRADE["E"] == 1_717_232_400_123_456


def test_forms_of_a_frame() -> None:
    """The combined form wraps the raw one; the shutdown notice has both."""
    assert wrap("a@trade", b'{"x":1}') == b'{"stream":"a@trade","data":{"x":1}}'
    assert shutdown_frame(5_000_000, combined=False, unit=MILLISECOND) == b'{"e":"serverShutdown","E":5000}'
    assert json.loads(shutdown_frame(5, combined=True, unit=MICROSECOND)) == {
        "stream": "!serverShutdown",
        "data": {"e": "serverShutdown", "E": 5},
    }
