"""Alpaca's control messages and encodings as tables: what a client sends, what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from engine.serve.alpaca import CHANNELS, AlpacaSession, encoding_of, feed_of
from engine.serve.alpaca_keys import Keys
from engine.serve.alpaca_wire import (
    JSON,
    MSGPACK,
    Stamp,
    array,
    decode,
    encode,
    number,
    rfc3339,
    timestamp_extension,
)

SYMBOLS = ["AAPL", "MSFT"]
AUTH = {"action": "auth", "key": "k", "secret": "s"}
WELCOME = [{"T": "success", "msg": "connected"}]
AUTHENTICATED = [{"T": "success", "msg": "authenticated"}]


def session(path: str = "/v2/iex", *, keys: Keys | None = None, encoding: str = JSON) -> AlpacaSession:
    return AlpacaSession(path, keys or Keys(), SYMBOLS, encoding=encoding)


def hear(one: AlpacaSession, message: Any) -> list[dict[str, Any]]:
    return one.hear(encode(message, one.encoding)).reply


def open_session(path: str = "/v2/iex", **how: Any) -> AlpacaSession:
    one = session(path, **how)
    assert hear(one, AUTH) == AUTHENTICATED
    return one


def code(reply: list[dict[str, Any]]) -> int:
    assert reply[0]["T"] == "error"
    return int(reply[0]["code"])


@pytest.mark.parametrize(
    ("ns", "text", "size"),
    [
        (0, "1970-01-01T00:00:00Z", 4),
        (1_717_232_400_000_000_000, "2024-06-01T09:00:00Z", 4),
        (1_717_232_400_123_456_789, "2024-06-01T09:00:00.123456789Z", 8),
        (1_717_232_400_246_132_100, "2024-06-01T09:00:00.2461321Z", 8),
        (1_717_232_400_200_000_000, "2024-06-01T09:00:00.2Z", 8),
        (-5, "1969-12-31T23:59:59.999999995Z", 12),
        (2**34 * 10**9 + 7, "2514-05-30T01:53:04.000000007Z", 12),
    ],
)
def test_a_stamp_keeps_its_nanoseconds(ns: int, text: str, size: int) -> None:
    """RFC 3339 without trailing zeros; the shortest Timestamp extension that holds it."""
    assert rfc3339(ns) == text
    assert encode({"t": Stamp(ns)}, JSON) == f'{{"t":"{text}"}}'.encode()
    body = timestamp_extension(ns)
    assert encode(Stamp(ns), MSGPACK).endswith(b"\xff" + body)  # type -1
    assert (len(body), _read(body)) == (size, ns)


def _read(body: bytes) -> int:
    """The Timestamp extension as its specification has it."""
    if len(body) == 4:
        return int.from_bytes(body) * 10**9
    if len(body) == 8:
        both = int.from_bytes(body)
        return (both % 2**34) * 10**9 + (both >> 34)
    return int.from_bytes(body[4:], signed=True) * 10**9 + int.from_bytes(body[:4])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70])
@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_messages_are_batched_into_one_array(encoding: str, count: int) -> None:
    """Bodies made one by one are the same array as all at once."""
    items = [{"T": "t", "i": place} for place in range(count)]
    assert decode(array([encode(item, encoding) for item in items], encoding), encoding) == items


@pytest.mark.parametrize(("text", "value"), [("136.00000000", 136), ("0.35718", 0.35718), ("1e3", 1000)])
def test_numbers_are_whole_where_they_can_be(text: str, value: float) -> None:
    """136 has no point, as the venue writes it."""
    assert number(text) == value
    assert isinstance(number(text), type(value))


@pytest.mark.parametrize(
    ("target", "feed"),
    [
        ("/v2/iex", "/v2/iex"),
        ("/v2/sip/", "/v2/sip"),
        ("/v2/test?x=1", "/v2/test"),
        ("/v1beta3/crypto/us", "/v1beta3/crypto/us"),
        ("/v1beta1/news", "/v1beta1/news"),
        ("/v2/stocks/bars", ""),
        ("/", ""),
        ("//[x", ""),
    ],
)
def test_feeds_live_at_their_paths(target: str, feed: str) -> None:
    """Nothing else is a stream."""
    assert feed_of(target) == feed


def test_the_content_type_chooses_the_encoding() -> None:
    """MessagePack where it is asked for, JSON otherwise."""
    assert encoding_of({"content-type": "application/msgpack"}) == MSGPACK
    assert encoding_of({"content-type": "application/json"}) == encoding_of({}) == JSON


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_a_client_logs_in_and_subscribes(encoding: str) -> None:
    """Welcome, authentication, whole lists back; corrections and cancellations come with trades."""
    one = session(encoding=encoding)
    assert [answer.reply for answer in one.welcome({})] == [WELCOME]
    assert hear(one, AUTH) == AUTHENTICATED
    wanted = {"action": "subscribe", "trades": ["AAPL"], "quotes": ["AMD", "CLDR"], "bars": ["*"]}
    (lists,) = hear(one, wanted)
    assert lists == {
        "T": "subscription",
        "trades": ["AAPL"],
        "quotes": ["AMD", "CLDR"],
        "bars": ["*"],
        "updatedBars": [],
        "dailyBars": [],
        "statuses": [],
        "lulds": [],
        "corrections": ["AAPL"],
        "cancelErrors": ["AAPL"],
    }
    (lists,) = hear(one, {"action": "unsubscribe", "bars": ["*"], "quotes": ["AMD"]})
    assert (lists["bars"], lists["quotes"], lists["trades"]) == ([], ["CLDR"], ["AAPL"])


def test_streams_follow_the_lists() -> None:
    """A star stands for every symbol of the feed; what leaves and joins is told once."""
    one = open_session()
    answer = one.hear(encode({"action": "subscribe", "quotes": ["AAPL"]}, JSON))
    assert list(answer.added) == ["quotes@AAPL"]
    answer = one.hear(encode({"action": "subscribe", "quotes": ["*", "AAPL"]}, JSON))
    assert list(answer.added) == ["quotes@MSFT"]
    answer = one.hear(encode({"action": "unsubscribe", "quotes": ["*"]}, JSON))
    assert (list(answer.added), list(answer.removed)) == ([], ["quotes@MSFT"])
    assert list(one.streams) == ["quotes@AAPL"]


def test_all_news_are_one_stream() -> None:
    """A star on the news feed is a stream of its own: their symbols are not known beforehand."""
    one = open_session("/v1beta1/news")
    answer = one.hear(encode({"action": "subscribe", "news": ["*", "BTCUSD"]}, JSON))
    assert list(answer.added) == ["news@*", "news@BTCUSD"]


def test_headers_with_keys_log_in_by_themselves() -> None:
    """Unprompted: welcome and authenticated; a later auth is one too many."""
    one = session()
    answers = one.welcome({"apca-api-key-id": "k", "apca-api-secret-key": "s"})
    assert [answer.reply for answer in answers] == [WELCOME, AUTHENTICATED]
    assert code(hear(one, AUTH)) == 403


REFUSALS: list[tuple[str, Any, int]] = [
    ("no JSON", b"{", 400),
    ("no object", b"[1]", 400),
    ("not UTF-8", b'{"action":"\xff"}', 400),
    ("unknown action", {"action": "dance"}, 400),
    ("a list of actions", {"action": ["subscribe"], "trades": ["MSFT"]}, 400),
    ("an object as action", {"action": {"subscribe": 1}}, 400),
    ("brackets without end", b"[" * 100_000, 400),
    ("no action", {"trades": ["AAPL"]}, 400),
    ("no list", {"action": "subscribe", "trades": "AAPL"}, 400),
    ("no texts", {"action": "subscribe", "trades": [1]}, 400),
    ("no symbol", {"action": "subscribe", "trades": ["not a symbol"]}, 400),
    ("a coin among stocks", {"action": "subscribe", "trades": ["BTC/USD"]}, 400),
    ("lower case", {"action": "subscribe", "trades": ["aapl"]}, 400),
    ("another feed's channel", {"action": "subscribe", "news": ["AAPL"]}, 410),
    ("orderbooks of stocks", {"action": "subscribe", "orderbooks": ["AAPL"]}, 410),
    ("twice", AUTH, 403),
]


@pytest.mark.parametrize(("_", "message", "expected"), REFUSALS, ids=[each[0] for each in REFUSALS])
def test_mistakes_have_their_codes(_: str, message: Any, expected: int) -> None:
    """A refused message changes nothing: the lists are what they were."""
    one = open_session()
    hear(one, {"action": "subscribe", "quotes": ["AAPL"]})
    raw = message if isinstance(message, bytes) else encode(message, JSON)
    assert code(one.hear(raw).reply) == expected
    assert list(one.streams) == ["quotes@AAPL"]


@pytest.mark.parametrize(
    ("path", "channel", "symbol", "granted"),
    [
        ("/v2/iex", "quotes", "BTC/USD", False),
        ("/v2/iex", "quotes", "ZZZZ", True),
        ("/v1beta3/crypto/us", "quotes", "BTCUSDT", False),
        ("/v1beta3/crypto/us", "quotes", "AAPL", False),
        ("/v1beta3/crypto/us", "quotes", "ZZZ/USD", True),
        ("/v1beta3/crypto/us", "quotes", "1000SATS/FDUSDX", True),  # no usual name, but it is there
        ("/v1beta1/news", "news", "AAPL", True),
        ("/v1beta1/news", "news", "BTC/USD", True),
    ],
)
def test_a_feed_takes_names_of_its_own_form(path: str, channel: str, symbol: str, *, granted: bool) -> None:
    """What can never come on a feed is invalid syntax there; what only does not trade is granted."""
    one = AlpacaSession(path, Keys(), ["1000SATS/FDUSDX"])
    one.welcome({"apca-api-key-id": "k", "apca-api-secret-key": "s"})
    reply = hear(one, {"action": "subscribe", channel: [symbol]})
    assert (reply[0]["T"] == "subscription") == granted
    assert (reply[0].get("code") == 400) != granted
    assert list(one.streams) == ([f"{channel}@{symbol}"] if granted else [])


def test_nothing_is_heard_before_authentication() -> None:
    """401 for a subscription, 402 for wrong keys, and another try is allowed."""
    one = session(keys=Keys("right", "pair"))
    assert code(hear(one, {"action": "subscribe", "trades": ["AAPL"]})) == 401
    assert code(hear(one, AUTH)) == 402
    assert code(hear(one, {"action": "auth", "key": "right"})) == 400
    assert code(one.hear(b'{"action":"auth","key":"\\ud800","secret":"\\ud800"}').reply) in {400, 402}
    assert hear(one, {"action": "auth", "key": "right", "secret": "pair"}) == AUTHENTICATED


def test_a_free_plan_has_its_limits() -> None:
    """30 symbols of trades and quotes, bars at will, no SIP, one connection; a refusal changes nothing."""
    free = Keys(plan="free")
    one = open_session(keys=free)
    names = [f"A{chr(65 + place)}" for place in range(20)]
    hear(one, {"action": "subscribe", "trades": names, "bars": ["*"]})
    assert code(hear(one, {"action": "subscribe", "quotes": names[:11]})) == 405
    assert code(hear(one, {"action": "subscribe", "quotes": ["*"]})) == 405
    (lists,) = hear(one, {"action": "subscribe", "quotes": names[:10]})
    assert (len(lists["trades"]), len(lists["quotes"])) == (20, 10)
    sip = session("/v2/sip", keys=free).hear(encode(AUTH, JSON))
    assert (code(sip.reply), sip.ends) == (409, True)
    second = session(keys=free)
    second.crowded = lambda: True
    crowded = second.hear(encode(AUTH, JSON))
    assert (code(crowded.reply), crowded.ends) == (406, True)


def test_unlimited_plans_have_none() -> None:
    """The same requests go through."""
    one = open_session("/v2/sip")
    (lists,) = hear(one, {"action": "subscribe", "trades": ["*"], "quotes": ["*"]})
    assert lists["trades"] == lists["quotes"] == lists["corrections"] == ["*"]


@pytest.mark.parametrize("path", ["/v2/iex", "/v2/test", "/v1beta3/crypto/us", "/v1beta1/news"])
def test_lists_name_every_channel_of_the_feed(path: str) -> None:
    """An empty subscription is told all lists, empty."""
    one = open_session(path)
    (lists,) = hear(one, {"action": "subscribe"})
    assert lists == {"T": "subscription", **{channel: [] for channel in CHANNELS[one.kind]}}


def test_a_planted_pair_is_not_shown() -> None:
    """Neither key nor secret is in the representation."""
    shown = repr(Keys("planted-key", "planted-secret"))
    assert "planted-" not in shown
