"""A venue that counts anew after a connection was lost is followed; one that only lags is no such venue."""

from __future__ import annotations

from typing import Any

import pytest

from engine.feed.binance import BinanceParser
from engine.feed.parser import SnapshotWanted
from engine.model.kinds import Flag, Kind
from engine.model.units import SECOND_NS
from tests.feed.test_binance_rows import AGGREGATE, QUOTE
from tests.helpers import kraken
from tests.helpers.frames import (
    MS,
    TS,
    Row,
    combined,
    depth_data,
    feed,
    feed_depth,
    parser,
    snapshot,
    trade_data,
)

LAST, BAD, DUPLICATE, LATE = Flag.LAST, Flag.MAYBE_BAD_BOOK, Flag.DUPLICATE, Flag.OUT_OF_ORDER
SOON, LATER = 900, 1_100  # ms after MS: what servers may differ, and what they do not


def traded(number: int, after_ms: int = 0) -> bytes:
    """A trade, so long after the first ones."""
    return combined("btcusdt@trade", trade_data(number, T=MS + after_ms))


def aggregated(number: int, after_ms: int = 0) -> bytes:
    """An aggregate trade."""
    return combined("btcusdt@aggTrade", AGGREGATE | {"a": number, "T": MS + after_ms})


def changed(first: int, last: int, after_ms: int = 0) -> bytes:
    """A depth update."""
    return combined("btcusdt@depth@100ms", depth_data(first, last, [("10.00", "1")]) | {"E": MS + after_ms})


def quoted(number: int) -> bytes:
    """A quote."""
    return combined("btcusdt@bookTicker", QUOTE | {"u": number})


def after_a_loss(*before: bytes) -> BinanceParser:
    """A parser that took these frames before its connection was lost."""
    target = parser()
    feed(target, *before)
    target.connection_lost()
    target.wants.clear()
    return target


def told(rows: list[Row]) -> list[Any]:
    """Of a STATUS row its data, of others id and flags."""
    return [row.data if row.kind is Kind.STATUS else (row.id, row.flags & ~Flag.AGGREGATE) for row in rows]


def renumbered(channel: str, first: int, last: int) -> dict[str, Any]:
    """The data of the row that says so."""
    return {"event": "renumbered", "channel": channel, "first": first, "last": last}


@pytest.mark.parametrize(("channel", "of"), [("trade", traded), ("aggtrade", aggregated)])
def test_trades_of_a_new_numbering_are_new(channel: str, of: Any) -> None:
    """A row says that the venue counts anew; what follows is counted from there."""
    target = after_a_loss(of(500), of(501), of(505))
    assert told(feed(target, of(7, LATER))) == [renumbered(channel, 7, 505), (7, LAST)]
    status, second = feed(target, of(10, LATER))
    assert status.data == {"event": "gap", "channel": channel, "first": 8, "last": 9}
    assert (second.id, second.flags & LATE) == (10, 0)
    assert told(feed(target, of(10, LATER), of(9, LATER))) == [(10, LAST | DUPLICATE), (9, LAST | LATE)]


@pytest.mark.parametrize(("channel", "of"), [("trade", traded), ("aggtrade", aggregated)])
def test_the_row_of_a_new_numbering_has_the_frame(channel: str, of: Any) -> None:
    """Once, on the first row of the message."""
    target = after_a_loss(of(500))
    assert [row.wire for row in feed(target, of(7, LATER))] == [True, False], channel


@pytest.mark.parametrize("of", [traded, aggregated])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((500, 501), [(500, 0), (501, SOON)]),  # a server that is behind
        ((500, 501), [(502, 10), (500, LATER)]),  # something newer has come
    ],
)
def test_trades_that_come_again_are_repeats(of: Any, before: Any, after: Any) -> None:
    """Not later by the venue's time, or below what has come on the new connection."""
    target = after_a_loss(*(of(number) for number in before))
    rows = feed(target, *(of(number, ms) for number, ms in after))
    assert all(row.kind is Kind.TRADE for row in rows)
    assert rows[-1].flags & DUPLICATE


def test_without_a_loss_a_lower_number_is_late() -> None:
    """However late it is."""
    target = parser()
    assert told(feed(target, traded(500), traded(499, LATER))) == [(500, LAST), (499, LAST | LATE)]


def test_a_book_of_a_new_numbering_is_asked_for() -> None:
    """Its updates wait for the snapshot, and are in step with it."""
    target = parser()
    feed_depth(target, snapshot(10))
    feed(target, changed(11, 5_000))
    target.connection_lost()
    target.wants.clear()
    rows = feed(target, changed(20, 21, LATER), changed(22, 23, LATER))
    assert told(rows) == [renumbered("book", 21, 5_000), (21, BAD | LAST), (23, BAD | LAST)]
    assert target.wants == [SnapshotWanted("BTCUSDT", "first")]
    assert feed_depth(target, snapshot(22))[0].flags == Flag.CLEAR | Flag.SNAPSHOT
    assert target.synchronised("BTCUSDT")
    assert told(feed(target, changed(24, 25, LATER))) == [(25, LAST)]


def test_updates_that_come_again_leave_the_book_waiting() -> None:
    """A server that is behind: repeats until the first one that is new."""
    target = after_a_loss(changed(8, 10), changed(11, 12))
    rows = feed(target, changed(9, 12, SOON), changed(12, 14, LATER))
    assert told(rows) == [(12, BAD | LAST | DUPLICATE), (14, BAD | LAST)]
    assert target.wants == [SnapshotWanted("BTCUSDT", "first")]


def test_a_malformed_update_begins_no_numbering() -> None:
    """A frame that is refused leaves no trace; the next one tells."""
    target = after_a_loss(changed(8, 5_000))
    bad = combined("btcusdt@depth@100ms", depth_data(20, 21, [("x", "1")]) | {"E": MS + LATER})
    (refused,) = feed(target, bad)
    assert refused.kind is Kind.MALFORMED
    assert told(feed(target, changed(22, 23, LATER)))[0] == renumbered("book", 23, 5_000)


def test_a_book_that_was_carried_over_waits_for_times_of_its_own() -> None:
    """Nobody knows when the last update of another file was, so nothing is later than it."""
    target = parser()
    target.carry_book("BTCUSDT", 5_000)
    target.connection_lost()
    assert told(feed(target, changed(20, 21, LATER))) == [(21, BAD | LAST | DUPLICATE)]


def pictured(number: int) -> bytes:
    """A book of the best levels."""
    return combined("btcusdt@depth20@100ms", {"lastUpdateId": number, "bids": [["10.00", "1"]], "asks": []})


UNTIMED = [("quote", quoted), ("book", pictured)]


def flagged(rows: list[Row]) -> list[Flag]:
    """Flags of the messages, by their last rows."""
    return [row.flags & (DUPLICATE | LATE) for row in rows if row.flags & LAST]


@pytest.mark.parametrize(("channel", "of"), UNTIMED)
def test_what_has_no_time_is_late_while_a_server_lags(channel: str, of: Any) -> None:
    """Below the last number, or the last one again; from the first newer one on all is well."""
    target = after_a_loss(of(100))
    rows = feed(target, of(95), of(100)) + feed(target, of(101), of(99), ts=TS + 60 * SECOND_NS)
    assert flagged(rows) == [LATE, DUPLICATE, Flag(0), LATE], channel


@pytest.mark.parametrize(("channel", "of"), UNTIMED)
def test_what_has_no_time_and_stays_below_counts_anew(channel: str, of: Any) -> None:
    """No server lags for more than five seconds."""
    target = after_a_loss(of(100))
    rows = feed(target, of(7)) + feed(target, of(8), ts=TS + 5 * SECOND_NS)
    assert flagged(rows) == [LATE, LATE]
    rows = feed(target, of(9), ts=TS + 6 * SECOND_NS)
    assert rows[0].data == renumbered(channel, 9, 100)
    assert (rows[0].wire, rows[1].wire) == (True, False)
    assert flagged(rows + feed(target, of(10), of(9), ts=TS + 7 * SECOND_NS)) == [Flag(0), Flag(0), LATE]


@pytest.mark.parametrize(("channel", "of"), UNTIMED)
def test_without_a_loss_nothing_counts_anew(channel: str, of: Any) -> None:
    """However long it stays below."""
    target = parser()
    rows = feed(target, of(100), of(7)) + feed(target, of(8), ts=TS + 60 * SECOND_NS)
    assert flagged(rows) == [Flag(0), LATE, LATE], channel


def test_what_has_times_tells_of_what_has_none() -> None:
    """A trade shows that the venue counts anew: the next quote is the newest."""
    target = after_a_loss(traded(500), quoted(100))
    rows = feed(target, quoted(6), traded(3, LATER), quoted(7), quoted(6))
    assert flagged(rows) == [LATE, Flag(0), Flag(0), LATE]


def test_kraken_counts_anew() -> None:
    """The history that a subscription begins with is of the new numbering, and is back-filled."""
    target = kraken.parser()
    kraken.feed(target, kraken.numbered(500))
    target.connection_lost()
    later = kraken.TIME.replace("2026", "2027")
    items = [kraken.trade_item(number, timestamp=later) for number in (7, 8)]
    rows = kraken.feed(target, kraken.trades(*items, form="snapshot"))
    assert told(rows) == [renumbered("trade", 7, 500), (7, Flag.BACKFILLED), (8, Flag.BACKFILLED | LAST)]
