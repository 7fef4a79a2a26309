"""Depth updates and snapshots: which are applied, which are not, and what is asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed.binance import BinanceParser
from engine.feed.binance_book import KEPT_UPDATES
from engine.feed.parser import PeriodWanted, SnapshotWanted
from engine.model.kinds import ASK, BID, Flag, Kind, SourceData
from tests.helpers.frames import (
    BTC,
    DEPTH,
    ETH,
    MS,
    REST,
    Row,
    combined,
    depth,
    depth_data,
    feed,
    feed_depth,
    parser,
    snapshot,
    trade,
)

LAST, NONE = Flag.LAST, Flag(0)
BAD, DUPLICATE, LATE = Flag.MAYBE_BAD_BOOK, Flag.DUPLICATE, Flag.OUT_OF_ORDER
SNAP, CLEAR = Flag.SNAPSHOT, Flag.CLEAR
NS = MS * 1_000_000


def gap(first: int, last: int) -> dict[str, Any]:
    """Data of a gap row."""
    return {"event": "gap", "channel": "book", "first": first, "last": last}


def wanted(target: BinanceParser) -> list[str]:
    """Reasons of the snapshots wanted since the last call."""
    reasons = [want.reason for want in target.wants if isinstance(want, SnapshotWanted)]
    assert all(want.symbol == "BTCUSDT" for want in target.wants if not isinstance(want, PeriodWanted))
    target.wants.clear()
    return reasons


def test_a_book_is_synchronised_step_by_step() -> None:
    """Updates wait, the snapshot takes them in, later ones are plain rows."""
    target = parser()
    assert [row.flags for row in feed(target, depth(8, 10), depth(11, 12))] == [BAD | LAST, BAD | LAST]
    assert wanted(target) == ["first"]
    assert not target.synchronised("BTCUSDT")
    rows = feed_depth(target, snapshot(10))
    assert target.synchronised("BTCUSDT")
    assert rows == [
        Row(Kind.BOOK, BID, 1_000, 100_000, 12, CLEAR | SNAP, ts_venue=NS, source=REST, wire=True),
        Row(Kind.BOOK, ASK, 1_100, 600_000, 12, SNAP | LAST, ts_venue=NS, source=REST),
    ]
    assert feed(target, depth(13, 15, [("9.50", "2")])) == [
        Row(Kind.BOOK, BID, 950, 200_000, 15, LAST, ts_venue=NS, wire=True)
    ]
    assert wanted(target) == []


def test_the_snapshot_shows_the_buffered_updates() -> None:
    """Levels changed, added and removed by updates after it; best first on each side; L's own not."""
    target = parser()
    feed(
        target,
        depth(8, 10, [("10.00", "77")]),
        depth(
            11, 12, [("10.00", "1"), ("9.00", "0.00000000"), ("10.50", "3")], [("11.00", "0"), ("12.5", "4")]
        ),
        depth(13, 13, [("8.00", "0")], [("12.50000000", "5")]),
    )
    body = snapshot(10, [("10.00000000", "5"), ("9.00", "6")], [("11.00", "6"), ("13.00", "1")])
    rows = feed_depth(target, body)
    assert [(row.side, row.price, row.size) for row in rows] == [
        (BID, 1_050, 300_000),
        (BID, 1_000, 100_000),
        (ASK, 1_250, 500_000),
        (ASK, 1_300, 100_000),
    ]
    assert {row.id for row in rows} == {13}


# updates received; the snapshot's id; flags of its rows; what is wanted then
SNAPSHOTS: list[tuple[str, list[tuple[int, int]], int, Flag, list[str]]] = [
    ("before any update", [], 10, CLEAR | SNAP, []),
    ("inside the first update", [(8, 10)], 9, CLEAR | SNAP, []),
    ("at the first update's end", [(8, 10)], 10, CLEAR | SNAP, []),
    ("newer than all updates", [(8, 10), (11, 12)], 20, CLEAR | SNAP, []),
    ("just before the first update", [(8, 10)], 7, CLEAR | SNAP, []),
    ("one too old", [(8, 10)], 6, SNAP | BAD, ["stale"]),
    ("much too old", [(8, 10), (11, 12)], 1, SNAP | BAD, ["stale"]),
    ("inside a later update", [(8, 10), (11, 14)], 12, CLEAR | SNAP, []),
]


@pytest.mark.parametrize(
    ("updates", "last", "flags", "wants"), [s[1:] for s in SNAPSHOTS], ids=[s[0] for s in SNAPSHOTS]
)
def test_which_snapshots_fit(
    updates: list[tuple[int, int]], last: int, flags: Flag, wants: list[str]
) -> None:
    """U <= L + 1 of the first update that is not in it; a snapshot that is too old is wanted again."""
    target = parser()
    feed(target, *(depth(first, final) for first, final in updates))
    wanted(target)
    rows = feed_depth(target, snapshot(last))
    assert [row.flags for row in rows] == [flags, flags & ~CLEAR | LAST]
    assert target.synchronised("BTCUSDT") == (BAD not in flags)
    assert wanted(target) == wants
    if BAD in flags:  # the next one may fit
        assert feed_depth(target, snapshot(updates[0][1]))[0].flags == CLEAR | SNAP


# (U, u) after a snapshot with L = 10; flags; the gap's first and last
UPDATES: list[tuple[str, tuple[int, int], Flag, tuple[int, int] | None]] = [
    ("next", (11, 12), NONE, None),
    ("overlapping", (9, 12), NONE, None),
    ("contained", (9, 10), DUPLICATE, None),
    ("older", (3, 4), DUPLICATE, None),
    ("one missing", (12, 13), BAD, (11, 11)),
    ("many missing", (50, 60), BAD, (11, 49)),
]


@pytest.mark.parametrize(
    ("update", "flags", "missing"), [u[1:] for u in UPDATES], ids=[u[0] for u in UPDATES]
)
@pytest.mark.parametrize("seen_before", [False, True])
def test_which_updates_are_applied(
    update: tuple[int, int], flags: Flag, missing: tuple[int, int] | None, *, seen_before: bool
) -> None:
    """In step, a repeat, or a gap, whether the snapshot came first or an update did."""
    target = parser()
    if seen_before:
        feed(target, depth(9, 10))
    feed_depth(target, snapshot(10))
    wanted(target)
    rows = feed(target, depth(*update))
    book = Row(Kind.BOOK, BID, 1_000, 100_000, update[1], flags | LAST, ts_venue=NS, wire=missing is None)
    if missing is None:
        assert rows == [book]
        assert target.synchronised("BTCUSDT")
        assert wanted(target) == []
    else:
        assert rows == [Row(Kind.STATUS, data=gap(*missing), wire=True), book]
        assert not target.synchronised("BTCUSDT")
        assert wanted(target) == ["gap"]


def test_after_a_gap_the_book_waits_for_a_snapshot() -> None:
    """Updates after it are flagged and kept; one request is enough; the snapshot mends it."""
    target = parser()
    feed_depth(target, snapshot(10))
    feed(target, depth(20, 21))
    assert wanted(target) == ["gap"]
    assert [row.flags for row in feed(target, depth(22, 23))] == [BAD | LAST]
    assert wanted(target) == []
    assert feed_depth(target, snapshot(20))[0].flags == CLEAR | SNAP
    assert [row.flags for row in feed(target, depth(24, 24))] == [LAST]


def test_a_late_update_is_no_repeat() -> None:
    """What lies in a gap came late, once; after that, and anywhere else, it came twice."""
    target = parser()
    feed_depth(target, snapshot(10))
    feed(target, depth(20, 21))
    late = [feed(target, depth(*update))[0].flags for update in ((12, 13), (12, 13), (14, 19), (9, 10))]
    assert late == [BAD | LATE | LAST, BAD | DUPLICATE | LAST, BAD | LATE | LAST, BAD | DUPLICATE | LAST]
    feed_depth(target, snapshot(21))
    assert [row.flags for row in feed(target, depth(11, 11), depth(11, 11))] == [
        LATE | LAST,
        DUPLICATE | LAST,
    ]


def test_a_gap_while_waiting_makes_older_updates_useless() -> None:
    """It is named; the snapshot asked for before may then be too old."""
    target = parser()
    rows = feed(target, depth(8, 10), depth(20, 21))
    assert rows[1].data == gap(11, 19)
    assert wanted(target) == ["first"]
    assert feed_depth(target, snapshot(10))[0].flags == SNAP | BAD
    assert wanted(target) == ["stale"]
    assert feed_depth(target, snapshot(19))[0].flags == CLEAR | SNAP


def test_a_repeat_while_waiting_is_flagged_both_ways() -> None:
    """It is a duplicate of an update that may not be applied either; and it is kept once."""
    target = parser()
    feed(target, depth(8, 10))
    assert [row.flags for row in feed(target, depth(8, 10))] == [BAD | DUPLICATE | LAST]
    assert {row.id for row in feed_depth(target, snapshot(7))} == {10}


def test_a_snapshot_for_a_book_in_step() -> None:
    """A newer one is taken, an older one is a duplicate that clears nothing."""
    target = parser()
    feed_depth(target, snapshot(10))
    feed(target, depth(11, 12))
    assert [row.flags for row in feed_depth(target, snapshot(11))] == [
        SNAP | DUPLICATE,
        SNAP | DUPLICATE | LAST,
    ]
    assert [row.flags for row in feed(target, depth(13, 14))] == [LAST]
    assert feed_depth(target, snapshot(20))[0].flags == CLEAR | SNAP
    assert [row.flags for row in feed(target, depth(15, 20))] == [DUPLICATE | LAST]
    assert [row.flags for row in feed(target, depth(21, 22))] == [LAST]
    assert wanted(target) == []


def test_a_lost_connection_puts_the_book_out_of_step() -> None:
    """Until the next snapshot, also when nothing was missed; what was missed is named with its ids."""
    for update, missing in (((13, 14), None), ((30, 31), (13, 29))):
        target = parser()
        feed_depth(target, snapshot(10))
        feed(target, depth(11, 12))
        target.connection_lost()
        assert not target.synchronised("BTCUSDT")
        *status, row = feed(target, depth(*update))
        assert row.flags == BAD | LAST
        assert [s.data for s in status] == ([gap(*missing)] if missing else [])
        assert wanted(target) == ["gap" if missing else "first"]
        assert feed_depth(target, snapshot(update[1]))[0].flags == CLEAR | SNAP
        assert [row.flags for row in feed(target, depth(update[1] + 1, 40))] == [LAST]


def test_a_snapshot_from_before_the_loss_is_not_taken() -> None:
    """It is older than what has been seen; nothing waits for it, so nothing is wanted."""
    target = parser()
    feed(target, depth(8, 10))
    wanted(target)
    target.connection_lost()
    assert feed_depth(target, snapshot(9))[0].flags == SNAP | BAD
    assert wanted(target) == []
    assert not target.synchronised("BTCUSDT")


def test_a_connection_may_be_lost_for_one_symbol() -> None:
    """The other's book stays in step."""
    target = parser(BTC, ETH)
    feed_depth(target, snapshot(10))
    feed_depth(target, snapshot(10), msgspec.structs.replace(DEPTH, symbol="ETHUSDT"))
    target.connection_lost("BTCUSDT")
    assert not target.synchronised("BTCUSDT")
    assert target.synchronised("ETHUSDT")


def test_a_loss_leaves_trades_in_sequence() -> None:
    """Their ids say exactly what was missed, without a snapshot."""
    target = parser()
    feed(target, trade(5))
    target.connection_lost()
    status, _ = feed(target, trade(9))
    assert status.data == {"event": "gap", "channel": "trade", "first": 6, "last": 8}


@pytest.mark.parametrize("lost", [False, True])
def test_updates_that_only_a_snapshot_ahead_of_the_stream_holds_are_named(*, lost: bool) -> None:
    """The snapshot holds up to 20, received was up to 12: if 13 to 17 never come, a gap row says so."""
    target = parser()
    feed(target, depth(8, 12))
    feed_depth(target, snapshot(20))
    assert target.synchronised("BTCUSDT")
    wanted(target)
    if lost:
        target.connection_lost()
    rows = feed(target, depth(18, 22))
    assert rows[0].data == gap(13, 17)
    assert rows[-1].flags == BAD | LAST
    assert wanted(target) == ["gap"]


def test_updates_that_a_snapshot_ahead_of_the_stream_holds_are_repeats() -> None:
    """When they do come: flagged while they are in it wholly, applied where they go beyond it; no gap."""
    target = parser()
    feed(target, depth(8, 12))
    feed_depth(target, snapshot(20))
    wanted(target)
    flags = [row.flags for row in feed(target, depth(13, 15), depth(16, 20), depth(21, 23), depth(24, 24))]
    assert flags == [DUPLICATE | LAST, DUPLICATE | LAST, LAST, LAST]
    assert feed(target, depth(26, 26))[0].data == gap(25, 25)


def test_an_update_across_the_end_of_a_snapshot_is_applied() -> None:
    """It begins inside the snapshot and ends beyond it."""
    target = parser()
    feed(target, depth(8, 12))
    feed_depth(target, snapshot(20))
    wanted(target)
    assert [row.flags for row in feed(target, depth(13, 25), depth(26, 27))] == [LAST, LAST]
    assert wanted(target) == []


def test_a_carried_book_goes_on() -> None:
    """A book known up to an update from an earlier file needs no snapshot."""
    target = parser()
    target.carry_book("BTCUSDT", 10)
    assert [row.flags for row in feed(target, depth(11, 12))] == [LAST]
    assert wanted(target) == []


def test_a_book_in_step_is_told_nothing_by_being_carried() -> None:
    """Who goes on from the file before, as `log rebuild` does, judges late updates as was done live."""
    target = parser()
    feed(target, depth(8, 10), depth(12, 13))
    feed_depth(target, snapshot(13))
    target.carry_book("BTCUSDT", 13)
    assert [row.flags for row in feed(target, depth(11, 11), depth(14, 14))] == [LATE | LAST, LAST]


def test_waiting_updates_are_bounded() -> None:
    """The oldest are forgotten; then a snapshot must be as new as the oldest left."""
    target = parser()
    feed(target, *(depth(number, number) for number in range(1, KEPT_UPDATES + 11)))
    assert feed_depth(target, snapshot(9))[0].flags == SNAP | BAD
    assert feed_depth(target, snapshot(10))[0].flags == CLEAR | SNAP


def test_a_snapshot_is_counted_in_decimals_of_its_own_time() -> None:
    """A wider definition between updates and snapshot: all rows in the wider one."""
    target = parser()
    feed(target, depth(8, 10, [("10.00", "1")]), depth(11, 11, [("9.00", "0.00000010")]))
    rows = feed_depth(target, snapshot(9))
    assert [(row.price, row.size) for row in rows] == [(1_000, 10_000_000), (900, 1), (1_100, 60_000_000)]


def test_a_snapshot_may_widen_the_definition() -> None:
    """The definition's message goes before it, under the connection's source."""
    target = parser()
    instrument, *rows = feed_depth(target, snapshot(9, [("10.001", "0.1234567")], []))
    assert (instrument.kind, instrument.flags, instrument.source) == (Kind.INSTRUMENT, LAST, 1)
    assert (instrument.data["price_decimals"], instrument.data["size_decimals"]) == (3, 7)
    assert [(row.price, row.size, row.source) for row in rows] == [(10_001, 1_234_567, REST)]


def test_an_empty_book_is_one_row() -> None:
    """A snapshot without levels still clears."""
    (row,) = feed_depth(parser(), snapshot(9, [], []))
    assert (row.flags, row.data, row.id) == (CLEAR | SNAP | LAST, {"note": "empty book"}, 9)


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        (b"<html>502</html>", Kind.MALFORMED, {"error": "JSON is malformed: invalid character", "byte": 0}),
        (b'{"lastUpdateId":5', Kind.MALFORMED, {"error": "the JSON ends too early", "byte": 17}),
        (
            b'{"lastUpdateId":5,"bids":[["1,0","2"]],"asks":[]}',
            Kind.MALFORMED,
            {"error": '"1,0" is not a decimal number', "field": "bids[0][0]", "value": "1,0"},
        ),
        (
            b'{"code":-1003,"msg":"Too many requests."}',
            Kind.STATUS,
            {"event": "rejected", "channel": "book", "detail": "-1003 Too many requests."},
        ),
    ],
)
def test_an_answer_that_is_no_snapshot(body: bytes, kind: Kind, data: dict[str, Any]) -> None:
    """One row, and the snapshot is wanted again while updates wait for it."""
    target = parser()
    feed(target, depth(8, 10))
    wanted(target)
    (row,) = feed_depth(target, body)
    assert (row.kind, row.data, row.wire, row.source) == (kind, data, True, REST)
    assert wanted(target) == ["failed"]
    assert feed_depth(target, snapshot(9))[0].flags == CLEAR | SNAP


def test_answers_to_other_questions_are_kept() -> None:
    """A REST answer that is no book and no reference is a CONTROL row."""
    target = parser()
    source = SourceData(name="binance-rest", venue="binance", endpoint="time")
    (row,) = feed_depth(target, b'{"serverTime":1}', source)
    assert (row.kind, row.source, row.wire) == (Kind.CONTROL, REST, True)
    foreign = msgspec.structs.replace(DEPTH, symbol="XRPUSDT")
    assert [row.kind for row in feed_depth(target, snapshot(5), foreign)] == [Kind.CONTROL]
    assert target.unknown == {"time": 1, "symbol XRPUSDT": 1}


def test_each_symbol_asks_for_itself() -> None:
    """Wants name their symbol."""
    target = parser(BTC, ETH)
    feed(target, combined("ethusdt@depth", depth_data(1, 2, symbol="ETHUSDT")), depth(5, 6))
    assert target.wants == [SnapshotWanted("ETHUSDT", "first"), SnapshotWanted("BTCUSDT", "first")]


levels = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), max_size=4)


@given(st.lists(st.tuples(levels, levels), min_size=1, max_size=12), st.data())
def test_the_book_is_the_same_wherever_the_snapshot_is_taken(
    changes: list[tuple[list[tuple[int, int]], list[tuple[int, int]]]], data: st.DataObject
) -> None:
    """Updates 1…n applied to nothing, or a snapshot anywhere among them, delivered late: one book."""

    def apply(book: dict[tuple[int, int], int], rows: list[Row]) -> None:
        for row in rows:
            if row.flags & (BAD | DUPLICATE):
                continue
            if row.flags & CLEAR:
                book.clear()
            if row.size:
                book[row.side, row.price] = row.size
            else:
                book.pop((row.side, row.price), None)

    frames = [
        depth(number, number, [(str(p), str(s)) for p, s in bids], [(str(p + 10), str(s)) for p, s in asks])
        for number, (bids, asks) in enumerate(changes, start=1)
    ]
    taken = data.draw(st.integers(0, len(frames)), label="snapshot taken after")
    came = data.draw(st.integers(taken, len(frames)), label="and delivered after")
    truth: dict[int, dict[tuple[int, int], int]] = {0: {}}
    exact = parser()
    exact.carry_book("BTCUSDT", 0)
    book: dict[tuple[int, int], int] = {}
    for number, frame in enumerate(frames, start=1):
        apply(book, feed(exact, frame))
        truth[number] = dict(book)
    sides = {
        side: [(f"{p / 100:.2f}", f"{s / 100_000:.5f}") for (d, p), s in truth[taken].items() if d == side]
        for side in (BID, ASK)
    }
    target = parser()
    seen: dict[tuple[int, int], int] = {}
    for frame in frames[:came]:
        apply(seen, feed(target, frame))
    apply(seen, feed_depth(target, snapshot(taken, sides[BID], sides[ASK])))
    assert seen == truth[came]
    for frame in frames[came:]:
        apply(seen, feed(target, frame))
    assert seen == truth[len(frames)]
    assert target.synchronised("BTCUSDT")
