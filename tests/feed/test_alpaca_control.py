"""What Alpaca says of the connection itself: greetings, subscriptions, and errors with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from engine.feed.alpaca_errors import MEANINGS
from engine.feed.parser import NOTICES, Notice
from engine.model.kinds import Flag, Kind
from tests.helpers.alpaca import ENCODINGS, Encoding, Message, feed, json_frame, parser

encodings = pytest.mark.parametrize("frame", [e[1] for e in ENCODINGS], ids=[e[0] for e in ENCODINGS])
AUTHENTICATED: Message = {"T": "success", "msg": "authenticated"}


@encodings
def test_greetings_are_noticed(frame: Encoding) -> None:
    """Each is a CONTROL row and a notice; words that nobody knows are counted."""
    target = parser()
    messages: list[Message] = [
        {"T": "success", "msg": "connected"},
        AUTHENTICATED,
        {"T": "success", "msg": "hm"},
    ]
    rows = feed(target, *(frame(message) for message in messages))
    assert [(row.kind, row.flags) for row in rows] == [(Kind.CONTROL, Flag.LAST)] * 3
    assert [notice.event for notice in target.notices] == ["welcome", "authenticated"]
    assert target.unknown == {"success hm": 1}


@encodings
def test_a_subscription_says_all_lists(frame: Encoding) -> None:
    """A notice for each list that has something, by the user's name of it; then one for the whole."""
    target = parser()
    lists = {
        "trades": ["AAPL"],
        "quotes": ["AMD", "CLDR"],
        "bars": ["*"],
        "updatedBars": [],
        "dailyBars": ["VOO"],
        "statuses": ["*"],
        "lulds": None,
        "imbalances": ["INAQU"],
        "orderbooks": ["BTC/USD"],
        "news": ["*"],
        "corrections": ["AAPL"],
        "cancelErrors": ["AAPL"],
        "somethingNew": ["X"],
    }
    (row,) = feed(target, frame({"T": "subscription", **lists}))
    assert row.kind is Kind.CONTROL
    assert [(notice.channel, notice.symbols) for notice in target.notices] == [
        ("trade", ("AAPL",)),
        ("quote", ("AMD", "CLDR")),
        ("bar", ("*",)),
        ("daily", ("VOO",)),
        ("status", ("*",)),
        ("imbalance", ("INAQU",)),
        ("book", ("BTC/USD",)),
        ("news", ("*",)),
        ("correction", ("AAPL",)),
        ("cancel", ("AAPL",)),
        ("", ()),
    ]
    assert {notice.event for notice in target.notices} == {"subscribed"}


# code, words; event and fatal before and after we are let in; what the hint must name
ERRORS: list[tuple[int, str, tuple[str, bool], tuple[str, bool], str]] = [
    (400, "invalid syntax", ("failed", True), ("rejected", True), "BTC/USD"),
    (401, "not authenticated", ("failed", False), ("failed", False), "again"),
    (402, "auth failed", ("failed", True), ("failed", True), "APCA_API_SECRET_KEY"),
    (403, "already authenticated", ("authenticated", False), ("authenticated", False), ""),
    (404, "auth timeout", ("failed", False), ("failed", False), "10 s"),
    (405, "symbol limit exceeded", ("failed", True), ("rejected", True), "30"),
    (406, "connection limit exceeded", ("failed", False), ("failed", False), "another program"),
    (407, "slow client", ("failed", False), ("failed", False), "fewer symbols"),
    (409, "insufficient subscription", ("failed", True), ("rejected", True), "plan"),
    (410, "invalid subscribe action for this feed", ("failed", True), ("rejected", True), "--channels"),
    (500, "internal error", ("failed", False), ("failed", False), "tried again"),
    (499, "something new", ("failed", False), ("rejected", False), "documentation"),
]


@pytest.mark.parametrize(
    ("code", "words", "before", "after", "hint"), ERRORS, ids=[str(e[0]) for e in ERRORS]
)
@encodings
def test_an_error_says_what_to_do(
    frame: Encoding, code: int, words: str, before: tuple[str, bool], after: tuple[str, bool], hint: str
) -> None:
    """A STATUS row with the venue's words; a notice whose event depends on whether we are let in yet."""
    refusal = frame({"T": "error", "code": code, "msg": words})
    for let_in, (event, fatal) in ((False, before), (True, after)):
        target = parser()
        if let_in:
            feed(target, frame(AUTHENTICATED))
            target.notices.clear()
        (row,) = feed(target, refusal)
        assert (row.kind, row.flags, row.wire) == (Kind.STATUS, Flag.LAST, True)
        assert row.data == {"event": "rejected", "detail": f"{code} {words}"}
        (notice,) = target.notices
        assert (notice.event, notice.fatal, notice.code) == (event, fatal, code)
        assert notice.event in NOTICES
        assert notice.detail == f"{code} {words}"
        assert hint in notice.hint


def test_every_documented_code_has_a_meaning() -> None:
    """The table above is the whole of it."""
    assert {error[0] for error in ERRORS} == {*MEANINGS, 499}


def test_a_lost_connection_has_to_be_let_in_again() -> None:
    """An error after it is again one before the doors."""
    target = parser()
    feed(target, json_frame(AUTHENTICATED))
    target.connection_lost()
    target.notices.clear()
    feed(target, json_frame({"T": "error", "code": 405, "msg": "symbol limit exceeded"}))
    assert [notice.event for notice in target.notices] == ["failed"]


def test_an_error_without_a_code_is_one() -> None:
    """Nothing more is known of it."""
    target = parser()
    more: dict[str, Any] = {"T": "error"}
    feed(target, json_frame(more))
    assert target.notices == [Notice("failed", "0 ", hint=target.notices[0].hint)]
