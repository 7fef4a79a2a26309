"""Decisions and messages in words, and messages found again in their logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.execution.journal_kinds import JournalKind
from engine.execution.orders import OrderKind, Reason, TimeInForce
from engine.model.kinds import ASK, BID, Kind, StatusData
from engine.report.explain import (
    FoundMessage,
    decision_text,
    find_messages,
    message_record,
    message_text,
    trigger_text,
)
from tests.helpers.logs import START, book, engine_row, make_log, news, quote, trade

RECORD: dict[str, Any] = {
    "number": 7,
    "ts": START + 5,
    "kind": JournalKind.SUBMIT,
    "instrument": "BTCUSDT.binance",
    "order": 3,
    "side": 1,
    "price": 6_000_050,
    "size": 1_000,
    "price_decimals": 2,
    "size_decimals": 5,
    "fee": 0,
    "order_kind": OrderKind.LIMIT,
    "tif": TimeInForce.GTC,
    "options": 0,
    "reason": 0,
    "maker": 0,
    "text": None,
}
BEGINNING = "#7  2024-06-01T00:00:00.000000005Z  "
SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    ("a limit", {}, "submit  order 3  BTCUSDT.binance  buy  0.01  limit 60000.5  GTC"),
    (
        "options",
        {"side": -1, "tif": TimeInForce.IOC, "options": 3},
        "submit  order 3  BTCUSDT.binance  sell  0.01  limit 60000.5  IOC  post-only  reduce-only",
    ),
    (
        "a market order",
        {"order_kind": OrderKind.MARKET},
        "submit  order 3  BTCUSDT.binance  buy  0.01  market",
    ),
    (
        "a taker's fill",
        {"kind": JournalKind.FILL, "fee": 60_000_500, "reason": Reason.TAKER},
        "fill  order 3  BTCUSDT.binance  buy  0.01  @ 60000.5  taker  fee 0.600005  TAKER",
    ),
    (
        "a maker's rebate",
        {"kind": JournalKind.FILL, "fee": -100, "maker": 1, "reason": Reason.THROUGH},
        "fill  order 3  BTCUSDT.binance  buy  0.01  @ 60000.5  maker  fee -0.000001  THROUGH",
    ),
    (
        "a refusal with its words",
        {"kind": JournalKind.REFUSED, "reason": Reason.PRICE_COLLAR, "text": "beyond 0.5 %"},
        "refused  order 3  BTCUSDT.binance  buy  0.01  limit 60000.5  GTC  price_collar  (beyond 0.5 %)",
    ),
    (
        "a kind of a later version",
        {"kind": 99, "order_kind": OrderKind.MARKET},
        "kind 99  order 3  BTCUSDT.binance  buy  0.01  market",
    ),
]


@pytest.mark.parametrize(
    ("changes", "sentence"), [case[1:] for case in SENTENCES], ids=[case[0] for case in SENTENCES]
)
def test_a_decision_in_one_line(changes: dict[str, Any], sentence: str) -> None:
    """Number, time, what, which order, and what belongs to that kind."""
    assert decision_text({**RECORD, **changes}) == BEGINNING + sentence


@pytest.mark.parametrize(
    ("trigger", "number", "text"),
    [
        (0, 4, "message"),
        (1, 4, "report on order 4"),
        (2, 4, "timer 4"),
        (3, 0, "start"),
        (4, 0, "stop"),
        (9, 0, "?"),
    ],
)
def test_what_it_was_decided_for(trigger: int, number: int, text: str) -> None:
    """A message, a report, a timer, the start or the stop."""
    assert trigger_text({"trigger": trigger, "trigger_id": number}) == text


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three definitions (seq 0 to 2), then one message of each sort."""
    messages = [
        trade(1, 6_000_050, 1_000, id=77),  # seq 3
        quote(2),  # 4, 5
        book(3, *[(BID, 5_990_000 - n, 10 * n) for n in range(1, 9)], (ASK, 6_010_000, 0), id=5),  # 6..14
        news(4, "Rain “expected”"),  # 15
        engine_row(5, Kind.STATUS, StatusData(event="gap", channel="book")),  # 16
        engine_row(6, Kind.CLOCK),  # 17
        book(7, *[(BID, 5_990_000 - n, 10) for n in range(30)], snapshot=True),  # 18..47
    ]
    return make_log(tmp_path_factory.mktemp("log") / "a.arrow", messages, per_batch=3)


@pytest.mark.parametrize("seq", range(6, 15))
def test_a_message_is_found_by_any_of_its_rows(log: Path, seq: int) -> None:
    """All of its rows, the bytes as they came, and where they stand."""
    found = find_messages(log, [seq])[seq]
    assert (found.first_seq, found.last_seq) == (6, 14)
    assert (found.file, found.source, found.ts) == ("a.arrow", "binance", START + 3_000_000_000)
    assert found.wire == b'{"e":"depthUpdate"}'
    assert len(found.rows) == 9
    assert found.rows[0].startswith(
        "seq 6  BOOK  BTCUSDT.binance  bid/buy  0.0001 @ 59899.99  id 5  venue time "
    )
    assert "ask/sell  0 @ 60100" in found.rows[8]


def test_several_messages_in_one_pass(log: Path) -> None:
    """Out of order, twice, and one that is not there."""
    found = find_messages(log, [15, 3, 3, 9_999, 0])
    assert list(found) == [0, 3, 15]
    assert found[0].rows[0].startswith("seq 0  SOURCE")
    assert (
        found[3]
        .rows[0]
        .startswith("seq 3  TRADE  BTCUSDT.binance  bid/buy  0.01 @ 60000.5  id 77  venue time")
    )
    assert "Rain “expected”" in found[15].rows[0]


def test_a_message_as_text(log: Path) -> None:
    """File, place, time and source; rows; the bytes last; long messages are cut and counted."""
    found = find_messages(log, [4, 16, 30])
    quoted = message_text(found[4]).splitlines()
    assert quoted[0] == "  a.arrow seq 4..5, received 2024-06-01T00:00:02.000000000Z from binance"
    assert quoted[1].startswith("    seq 4  QUOTE  BTCUSDT.binance  bid/buy  0.05 @ 59999.99")
    assert quoted[-1] == '    wire  {"e":"quote"}'
    own = message_text(found[16]).splitlines()
    assert own[0] == "  a.arrow seq 16, received 2024-06-01T00:00:05.000000000Z"
    assert '"event":"gap"' in own[1]
    assert len(own) == 2
    snapshot = message_text(found[30]).splitlines()
    assert len(snapshot) == 1 + 11 + 1 + 1
    assert snapshot[12] == "    … 19 more"
    assert "CLEAR|SNAPSHOT" in snapshot[1] or "SNAPSHOT|CLEAR" in snapshot[1]


def test_bytes_that_are_no_text_are_shown_and_kept_printable() -> None:
    """A frame of any bytes, and one of any length."""
    message = FoundMessage("a.arrow", 1, 1, START, wire=b"\xff\x00" + b"x" * 5_000)
    text = message_text(message)
    assert r"wire  \xff" in text
    assert "… 5005 characters" in text
    assert message_record(message)["wire"].startswith("\\xff")


def test_a_message_as_a_record(log: Path) -> None:
    """For --json: times in words, bytes as text, null where there are none."""
    found = find_messages(log, [4, 17])
    assert message_record(found[4]) == {
        "file": "a.arrow",
        "first_seq": 4,
        "last_seq": 5,
        "ts": "2024-06-01T00:00:02.000000000Z",
        "source": "binance",
        "rows": found[4].rows,
        "wire": '{"e":"quote"}',
    }
    assert message_record(found[17])["wire"] is None
