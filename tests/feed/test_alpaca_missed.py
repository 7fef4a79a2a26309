"""What a connection to Alpaca missed, and what an answer of the history brings of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from engine.feed.alpaca import AlpacaParser
from engine.feed.alpaca_articles import NEWS_ENDPOINT, news_path
from engine.feed.alpaca_missed import ENDPOINT, GAPS, trades_path
from engine.feed.alpaca_rows import TRADES_REMEMBERED
from engine.feed.parser import PeriodWanted
from engine.model.kinds import BUY, Flag, Kind, Part, SourceData
from engine.model.rows import RowBuffer
from engine.model.units import SECOND_NS, format_time
from tests.helpers.alpaca import SOURCE, Message, article, feed, json_frame, parser, trade
from tests.helpers.frames import Row, rows_of

REST = 9
ANSWERS = SourceData(name="alpaca-rest", venue="alpaca", endpoint=ENDPOINT, symbols=("AAPL", "AMD"))
T0 = 1_723_161_255 * SECOND_NS
GREETING = json_frame({"T": "success", "msg": "connected"})


def listed(*symbols: str, name: str = "trades") -> bytes:
    """A subscription frame."""
    return json_frame({"T": "subscription", name: list(symbols)})


def at(second: float) -> str:
    """A venue's time so many seconds after T0."""
    return format_time(T0 + int(second * SECOND_NS))


def body(token: str | None = None, **trades: list[Message]) -> bytes:
    """An answer; symbols with a stroke go by their names with an underscore."""
    named = {name.replace("_", "/"): entries for name, entries in trades.items()}
    return msgspec.json.encode({"trades": named, "next_page_token": token})


def entry(number: int, second: float, price: Any = 162.92, size: Any = 3, **more: Any) -> Message:
    """One of its trades."""
    return {"t": at(second), "x": "K", "p": price, "s": size, "c": ["@"], "i": number, "z": "C", **more}


def heard(target: AlpacaParser, second: float, *frames: bytes) -> list[Row]:
    """The rows of frames that were received then."""
    return feed(target, *frames, ts=T0 + int(second * SECOND_NS))


def answered(target: AlpacaParser, second: float, document: bytes) -> list[Row]:
    """The rows of an answer that was received then."""
    rows = RowBuffer()
    target.feed_rest(ANSWERS, document, T0 + int(second * SECOND_NS), rows, REST)
    return rows_of(rows)


def interrupted() -> AlpacaParser:
    """A parser that heard AAPL's trade 1 at second 10, nothing until 40, and listens again."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL", "AMD"))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    target.connection_lost()
    heard(target, 40, GREETING, listed("AAPL", "AMD"))
    return target


def brought(rows: list[Row]) -> list[int]:
    """Ids of the trades that an answer brought."""
    assert all(row.flags & Flag.BACKFILLED for row in rows if row.kind is Kind.TRADE)
    return [row.id for row in rows if row.kind is Kind.TRADE]


def test_a_lost_connection_leaves_a_gap_with_both_its_times() -> None:
    """A row in the message of the subscription, and a want; only what was listened to, and only once."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL", "AMD"))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    target.connection_lost()
    target.connection_lost()
    heard(target, 30, GREETING)
    rows = heard(target, 40, listed("AAPL"))
    first, last = T0 + 10 * SECOND_NS, T0 + 40 * SECOND_NS
    data = {"event": "gap", "channel": "trade", "detail": "all trades of AAPL", "first": first, "last": last}
    assert [(row.kind, row.flags, row.source, row.wire) for row in rows] == [
        (Kind.CONTROL, Flag(0), SOURCE, True),
        (Kind.STATUS, Flag.LAST, SOURCE, False),
    ]
    assert rows[1].data == data
    assert target.wants == [PeriodWanted(("AAPL",), "trade", first, last)]
    assert [row.kind for row in heard(target, 41, listed("AAPL", "NVDA"))] == [Kind.CONTROL]
    (_, gap) = heard(target, 42, listed("AAPL", "AMD"))
    assert gap.data == {**data, "detail": "all trades of AMD", "last": T0 + 42 * SECOND_NS}


def test_a_connection_that_failed_again_lengthens_the_gap() -> None:
    """It begins where something was heard for the last time while all was subscribed."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL"))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    for second in (20, 30):
        target.connection_lost()
        heard(target, second, GREETING)
    assert heard(target, 40, listed("AAPL"))[1].data["first"] == T0 + 10 * SECOND_NS


NOTHING_MISSED: list[tuple[str, list[bytes | None]]] = [
    ("never subscribed", [GREETING, None, GREETING, listed("AAPL")]),
    ("never connected", [None, None, GREETING, listed("AAPL")]),
    ("other channels only", [GREETING, listed("AAPL", name="quotes"), None, GREETING, listed("AAPL")]),
    ("no symbol of ours", [GREETING, listed("NVDA"), None, GREETING, listed("NVDA")]),
    ("nothing lost", [GREETING, listed("AAPL"), listed("AAPL")]),
]


@pytest.mark.parametrize(("_why", "story"), NOTHING_MISSED)
def test_where_nothing_was_heard_nothing_was_missed(_why: str, story: list[bytes | None]) -> None:
    """No gap and no want; None stands for a lost connection."""
    target = parser()
    rows: list[Row] = []
    for second, frame in enumerate(story):
        if frame is None:
            target.connection_lost()
        else:
            rows += heard(target, second, frame)
    assert [row.kind for row in rows] == [Kind.CONTROL] * len(rows)
    assert target.wants == []


def test_a_log_that_is_read_from_its_middle_has_its_gap() -> None:
    """A parser that saw no greeting takes everything for subscribed, as the one before it did."""
    target = parser()
    heard(target, 10, json_frame(trade(1)))
    target.connection_lost()
    rows = heard(target, 40, GREETING, listed("AAPL"))
    assert [row.data["event"] for row in rows if row.kind is Kind.STATUS] == ["gap"]


def test_an_answer_brings_what_had_not_come_and_no_more() -> None:
    """One message flagged BACKFILLED, the body on its first row; what came or is outside is passed over."""
    target = interrupted()
    heard(target, 40.5, json_frame(trade(7, t=at(40.2))))
    document = body(
        AAPL=[
            entry(0, 10.5),
            entry(1, 10),
            entry(2, 7.9),
            entry(3, 10),
            entry(4, 25, taker="", p=162.9),
            entry(4, 25),
            entry(5, 40.1),
            entry(6, 40.3),
            entry(7, 40.2),
        ],
        AMD=[entry(4, 25, p=100, s=7)],
        NVDA=[entry(8, 25)],
    )
    rows = answered(target, 46, document)
    expected = [(0, 10.5, 1), (3, 10, 1), (4, 25, 1), (5, 40.1, 1), (4, 25, 2)]
    assert [(row.id, row.ts_venue, row.instrument) for row in rows] == [
        (number, T0 + int(second * SECOND_NS), instrument) for number, second, instrument in expected
    ]
    last = len(rows) - 1
    for place, row in enumerate(rows):
        assert (row.kind, row.source, row.wire) == (Kind.TRADE, REST, place == 0)
        assert row.flags == (Flag.BACKFILLED | Flag.LAST if place == last else Flag.BACKFILLED)
        assert row.ts == T0 + 46 * SECOND_NS
    assert [(row.price, row.size) for row in rows[2:]] == [(1_629_000, 3), (1_629_200, 3), (1_000_000, 7)]
    assert brought(answered(target, 50, document)) == [0], "what has no id cannot be known again"


def test_what_the_stream_brings_after_all_is_a_repeat() -> None:
    """DUPLICATE: it stands in the log already."""
    target = interrupted()
    assert brought(answered(target, 46, body(AAPL=[entry(2, 41)]))) == [2]
    (row,) = heard(target, 47, json_frame(trade(2, t=at(41))))
    assert row.flags == Flag.DUPLICATE | Flag.LAST


def test_an_answer_without_anything_missing_is_control() -> None:
    """Its body is kept."""
    target = interrupted()
    for document in (body(), body(AAPL=[]), body(AAPL=[entry(1, 10)])):
        (row,) = answered(target, 46, document)
        assert (row.kind, row.source, row.wire) == (Kind.CONTROL, REST, True)


def test_coins_have_a_taker() -> None:
    """And no exchange: they are known by id and time."""
    target = parser()
    heard(target, 0, GREETING, listed("BTC/USD"))
    heard(target, 10, json_frame({"T": "t", "S": "BTC/USD", "p": 9, "s": 1, "t": at(10), "i": 1, "tks": "S"}))
    target.connection_lost()
    heard(target, 40, listed("BTC/USD"))
    coins = [
        {"t": at(10), "p": 9, "s": 1, "i": 1, "tks": "S"},
        {"t": at(20), "p": 9, "s": 1, "i": 2, "tks": "B"},
    ]
    (row,) = answered(target, 46, body(BTC_USD=coins))
    assert (row.id, row.side, row.instrument) == (2, BUY, 3)


def test_a_finer_price_widens_the_definition() -> None:
    """An INSTRUMENT message goes before, a nanosecond earlier, as with a frame."""
    target = interrupted()
    rows = answered(target, 46, body(AAPL=[entry(2, 20, p=162.921234), entry(3, 21)]))
    assert [(row.kind, row.ts - T0 - 46 * SECOND_NS) for row in rows] == [
        (Kind.INSTRUMENT, -1),
        (Kind.TRADE, 0),
        (Kind.TRADE, 0),
    ]
    assert rows[0].part is Part.NONE
    assert rows[0].flags == Flag.LAST
    assert rows[0].data["price_decimals"] == 6
    assert [row.price for row in rows[1:]] == [162_921_234, 162_920_000]


BAD: list[tuple[bytes, str, str]] = [
    (b"{", "", ""),
    (b'{"trades":7}', "trades", "7"),
    (b"{}", "trades", ""),
    (b'{"message":"wait"}', "trades", ""),
    (body(AAPL=[{"t": "now", "p": 1, "s": 1}]), "trades.AAPL[0].t", "now"),
    (body(AAPL=[entry(2, 20), entry(3, 21, p=-1)]), "trades.AAPL[1].p", "-1"),
    (body(AAPL=[entry(2, 20, p="1")]), "trades[...][0].p", ""),
]


@pytest.mark.parametrize(("document", "field", "value"), BAD)
def test_an_answer_that_is_none_changes_nothing(document: bytes, field: str, value: str) -> None:
    """One MALFORMED row that names field and value; the next answer brings everything."""
    target = interrupted()
    (row,) = answered(target, 46, document)
    assert (row.kind, row.source, row.flags, row.wire) == (Kind.MALFORMED, REST, Flag.LAST, True)
    assert (row.data.get("field", ""), row.data.get("value", "")) == (field, value)
    assert brought(answered(target, 47, body(AAPL=[entry(2, 20), entry(3, 21)]))) == [2, 3]


@pytest.mark.parametrize(
    "document",
    [b'{"trades":null,"next_page_token":null}', b'{"trades":{"AAPL":null,"AMD":null}}', b'{"trades":{}}'],
)
def test_an_answer_of_a_time_without_trades_brings_none(document: bytes) -> None:
    """Where nothing was traded, the venue writes null for a list, or for all of them."""
    target = interrupted()
    (row,) = answered(target, 46, document)
    assert (row.kind, row.source, row.wire) == (Kind.CONTROL, REST, True)
    assert brought(answered(target, 47, body(AAPL=[entry(2, 20)]))) == [2]


def test_every_answer_cut_at_every_byte_is_documented() -> None:
    """A cut answer is MALFORMED, never an error, and brings nothing."""
    document = body("more", AAPL=[entry(2, 20)], AMD=[entry(3, 21)])
    target = interrupted()
    for length in range(len(document)):
        (row,) = answered(target, 46, document[:length])
        assert row.kind is Kind.MALFORMED, length
    assert brought(answered(target, 47, document)) == [2, 3]


def test_a_frame_that_cannot_be_read_may_have_held_trades() -> None:
    """It is one MALFORMED row; the time since the frame before it is asked for."""
    target = parser()
    heard(target, 0, b"[{", GREETING)
    assert target.wants == []
    heard(target, 1, listed("AMD", "AAPL"))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    assert [row.kind for row in heard(target, 11, b"[{")] == [Kind.MALFORMED]
    first, last = T0 + 10 * SECOND_NS, T0 + 11 * SECOND_NS
    assert target.wants == [PeriodWanted(("AAPL", "AMD"), "trade", first, last)]
    assert brought(answered(target, 16, body(AAPL=[entry(2, 10.5)]))) == [2]


@pytest.mark.parametrize("between", [(), (7,)], ids=["bad", "good"])
def test_bad_frames_drive_no_lost_connection_out(between: tuple[int, ...]) -> None:
    """However many cannot be read until the answer is there, alone or among others; they are one want."""
    target = interrupted()
    for index in range(2 * GAPS):
        heard(target, 41 + index / 10, b"[{", *(json_frame(trade(n + index)) for n in between))
    assert target.wants == [PeriodWanted(("AAPL", "AMD"), "trade", T0 + 10 * SECOND_NS, heard_last(target))]
    assert brought(answered(target, 46, body(AAPL=[entry(4, 25)]))) == [4]


def heard_last(target: AlpacaParser) -> int:
    """When the last gap of a parser ends."""
    last = target.wants[-1]
    assert isinstance(last, PeriodWanted)
    return last.last


def test_a_symbol_that_is_confirmed_twice_is_one() -> None:
    """A venue may name it again in the same list."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL", "AAPL"))
    target.connection_lost()
    (_, gap) = heard(target, 40, GREETING, listed("AAPL", "AMD", "AAPL"))[1:]
    assert gap.data["detail"] == "all trades of AAPL"


def test_a_long_gap_does_not_drive_out_what_came() -> None:
    """A trade that the stream brought is known, however many had to be filled in before its page."""
    target = interrupted()
    heard(target, 40.5, json_frame(trade(7, t=at(40.2))))
    for first in range(0, TRADES_REMEMBERED, 8_192):
        many = [entry(1_000 + number, 11) for number in range(first, first + 8_192)]
        assert len(brought(answered(target, 46, body(AAPL=many)))) == len(many)
    assert brought(answered(target, 47, body(AAPL=[entry(7, 40.2)]))) == []


def test_a_gap_ends_although_no_answer_comes() -> None:
    """Some seconds after all is heard again; what the stream brings later has come, even if forgotten."""
    target = interrupted()
    for second in (41, 49, 51, 60):
        heard(target, second, json_frame(trade(second, t=at(second))))
    missing = [entry(number, second) for number, second in ((2, 30), (3, 50), (4, 51.5), (5, 59))]
    assert brought(answered(target, 300, body(AAPL=missing))) == [2, 3]


def test_a_gap_stays_open_while_nothing_is_heard() -> None:
    """However long: a silent market has no newer trade."""
    target = interrupted()
    for second in (60, 90):
        heard(target, second, GREETING)
    assert brought(answered(target, 300, body(AAPL=[entry(2, 30), entry(3, 45)]))) == [2, 3]


def test_old_gaps_are_forgotten() -> None:
    """No more than so many of a symbol are remembered, the latest."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL"))
    seconds = range(100, 100 * (GAPS + 3), 100)
    for second in seconds:
        heard(target, second, json_frame(trade(1, t=at(second))))
        target.connection_lost()
        heard(target, second + 10, GREETING, listed("AAPL"), json_frame(trade(1, t=at(second + 10))))
        answered(target, second + 15, body(AAPL=[]))
    found = [entry(second, second + 5) for second in seconds]
    assert brought(answered(target, 50_000, body(AAPL=found))) == [each["i"] for each in found[-GAPS:]]


def test_a_clock_that_is_wrong_is_no_matter() -> None:
    """Of a machine that slept for an hour: its times are behind, and everything since is found."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL"))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    target.connection_lost()
    hour = 3_600
    (_, gap) = heard(target, 40, GREETING, listed("AAPL"))[1:]
    assert gap.data["first"] == T0 + 10 * SECOND_NS
    for number in (2, 3):
        heard(target, 40 + number, json_frame(trade(number, t=at(hour + 40 + number))))
    missing = [entry(number, second) for number, second in ((7, 600), (8, hour + 39), (9, hour + 60))]
    assert brought(answered(target, 46, body(AAPL=missing))) == [7, 8]
    target.connection_lost()
    (_, gap) = heard(target, 50, GREETING, listed("AAPL"))[1:]
    assert gap.data["first"] == gap.data["last"] == T0 + (hour + 43) * SECOND_NS


def test_a_stamp_of_tomorrow_begins_no_gap() -> None:
    """One mistake among stamps that are right is not believed."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL"))
    frames = [json_frame(trade(n, t=at(second))) for n, second in ((1, 10), (2, 90_000), (3, 11))]
    heard(target, 11, *frames)
    target.connection_lost()
    (_, gap) = heard(target, 40, GREETING, listed("AAPL"))[1:]
    assert gap.data["first"] == T0 + 11 * SECOND_NS


def test_a_stamp_of_tomorrow_of_a_silent_symbol_begins_no_gap() -> None:
    """What others traded since shows that the mistake is its own, and the gap can be filled."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL", "AMD"))
    heard(target, 5, json_frame(trade(2, S="AMD", t=at(90_000))))
    heard(target, 10, json_frame(trade(1, t=at(10))))
    target.connection_lost()
    (_, gap) = heard(target, 40, GREETING, listed("AAPL", "AMD"))[1:]
    assert gap.data["first"] == T0 + 10 * SECOND_NS
    heard(target, 41, json_frame(trade(3, t=at(41))))
    assert brought(answered(target, 46, body(AAPL=[entry(4, 25)], AMD=[entry(5, 26)]))) == [4, 5]


def test_who_reads_late_misses_what_was_sent_meanwhile() -> None:
    """The gap begins with what was read last, not when: a slow reader is cut off with much unsent."""
    target = parser()
    heard(target, 0, GREETING, listed("AAPL"))
    heard(target, 20, json_frame(trade(1, t=at(10))))
    target.connection_lost()
    (_, gap) = heard(target, 40, GREETING, listed("AAPL"))[1:]
    assert gap.data["first"] == T0 + 10 * SECOND_NS
    missing = [entry(number, second) for number, second in ((2, 11), (3, 17), (4, 25))]
    assert brought(answered(target, 46, body(AAPL=missing))) == [2, 3, 4]


@pytest.mark.parametrize(
    ("update", "taken"), [("canceled", []), ("incorrect", []), ("corrected", [2]), ("", [2])]
)
def test_what_the_venue_took_back_is_not_missing(update: str, taken: list[int]) -> None:
    """A trade that was cancelled or corrected since is none; the correction is one."""
    target = interrupted()
    assert brought(answered(target, 46, body(AAPL=[entry(2, 20, u=update)]))) == taken


@pytest.mark.parametrize(
    ("symbols", "feed_name", "path"),
    [(("AAPL", "BRK.B"), "iex", "/v2/stocks/trades"), (("BTC/USD",), "", "/v1beta3/crypto/us/trades")],
)
def test_a_page_is_asked_for_since_a_time(symbols: tuple[str, ...], feed_name: str, path: str) -> None:
    """Oldest first, until now; stocks name their feed."""
    for page_token in ("", "a+b=="):
        parts = urlsplit(trades_path(symbols, T0 + 1, feed=feed_name, token=page_token))
        assert parts.path == path
        asked = {name: value for name, (value,) in parse_qs(parts.query).items()}
        expected = {"symbols": ",".join(symbols), "limit": "2000", "sort": "asc"}
        expected |= {"start": "2024-08-08T23:54:15.000000001Z"}
        expected |= {"feed": feed_name} if feed_name else {}
        expected |= {"page_token": page_token} if page_token else {}
        assert asked == expected


# --- headlines ---

NEWS_ANSWERS = SourceData(name="alpaca-rest", venue="alpaca-news", endpoint=NEWS_ENDPOINT, symbols=("*",))


def informed(target: AlpacaParser, *articles: Message) -> list[Row]:
    """The rows of an answer with headlines."""
    rows = RowBuffer()
    document = msgspec.json.encode({"news": list(articles), "next_page_token": None})
    target.feed_rest(NEWS_ANSWERS, document, T0, rows, REST)
    return rows_of(rows)


def test_an_answer_has_the_headlines_that_are_not_known() -> None:
    """In one message, the body on its first row; an edit is one, and what has no headline is none."""
    target = parser()
    heard(target, 0, json_frame(article(1), article(2)))
    edited = article(2, "Another thing happened", updated_at="2024-09-17T09:02:46Z")
    rows = informed(target, article(1), article(3, "  "), edited, article(4, "New"))
    assert [(row.data["id"], row.flags, row.source, row.wire) for row in rows] == [
        ("2", Flag.REVISED, REST, True),
        ("4", Flag.LAST, REST, False),
    ]
    (row,) = informed(target, article(1), edited)
    assert (row.kind, row.source, row.wire) == (Kind.CONTROL, REST, True)


@pytest.mark.parametrize(
    ("document", "field"),
    [(b"[", ""), (b"{}", "news"), (b'{"news":[{"id":1,"headline":"x","created_at":"now"}]}', "news[0]")],
)
def test_an_answer_without_news_is_malformed(document: bytes, field: str) -> None:
    """One row, and nothing is remembered."""
    rows = RowBuffer()
    parser().feed_rest(NEWS_ANSWERS, document, T0, rows, REST)
    (row,) = rows_of(rows)
    assert (row.kind, row.data.get("field", "")) == (Kind.MALFORMED, field)


def test_an_answer_of_a_time_without_news_brings_none() -> None:
    """Null stands for no articles."""
    rows = RowBuffer()
    parser().feed_rest(NEWS_ANSWERS, b'{"news":null,"next_page_token":null}', T0, rows, REST)
    (row,) = rows_of(rows)
    assert (row.kind, row.source) == (Kind.CONTROL, REST)


def test_headlines_are_missed_since_the_newest() -> None:
    """Its time is the venue's; one of tomorrow is not believed."""
    target = parser()
    heard(target, 0, GREETING, listed("*", name="news"))
    heard(target, 10, json_frame(article(1, updated_at=at(8)), article(2, updated_at=at(90_000))))
    target.connection_lost()
    (_, gap) = heard(target, 40, GREETING, listed("*", name="news"))[1:]
    assert (gap.data["channel"], gap.data["first"]) == ("news", T0 + 8 * SECOND_NS)
    assert target.wants == [PeriodWanted(("*",), "news", T0 + 8 * SECOND_NS, gap.data["last"])]


@pytest.mark.parametrize(("symbols", "named"), [(("*",), None), (("AAPL", "BTCUSD"), "AAPL,BTCUSD")])
def test_a_page_of_headlines_is_asked_for_since_a_time(symbols: tuple[str, ...], named: str | None) -> None:
    """All of them, or those about some symbols."""
    parts = urlsplit(news_path(symbols, T0, "more"))
    asked = {name: value for name, (value,) in parse_qs(parts.query).items()}
    assert parts.path == "/v1beta1/news"
    assert asked.pop("symbols", None) == named
    start = "2024-08-08T23:54:15.000000000Z"
    assert asked == {"start": start, "limit": "50", "sort": "asc", "page_token": "more"}
