"""Kraken's books: in step by their checksum, cut to their depth, doubted when a message was missed."""

from __future__ import annotations

import random

import pytest

from engine.feed.kraken import KrakenParser
from engine.feed.kraken_book import PATIENCE_NS
from engine.feed.parser import SnapshotWanted, Want
from engine.model.kinds import ASK, BID, Flag, Kind
from tests.helpers.frames import TS, Row
from tests.helpers.kraken import (
    BTC,
    ETH,
    GUIDE_ASKS,
    GUIDE_BIDS,
    GUIDE_CHECKSUM,
    HEARTBEAT,
    SNAPSHOT,
    TIME_NS,
    Levels,
    ack,
    book,
    checksum,
    feed,
    parser,
)

BAD, SNAP = Flag.MAYBE_BAD_BOOK, Flag.SNAPSHOT
LATER = "2026-08-16T23:37:06.000000Z"


def wanted(target: KrakenParser) -> list[Want]:
    """What the parser wants, taken away from it as the tap does."""
    wants = list(target.wants)
    target.wants.clear()
    return wants


def subscribed(depth: int = 10) -> KrakenParser:
    """A parser whose book is in step, as in the guide's example."""
    target = parser()
    feed(target, ack(depth=depth), SNAPSHOT)
    return target


def test_a_snapshot_is_the_whole_book() -> None:
    """CLEAR on its first row, SNAPSHOT on all."""
    target = parser()
    rows = feed(target, SNAPSHOT)
    assert rows[0] == Row(
        Kind.BOOK,
        side=BID,
        price=452_835,
        size=10_000_000,
        id=GUIDE_CHECKSUM,
        flags=Flag.CLEAR | SNAP,
        ts_venue=TIME_NS,
        wire=True,
    )
    assert [row.flags for row in rows[1:]] == [SNAP] * 18 + [SNAP | Flag.LAST]
    assert [row.side for row in rows] == [BID] * 10 + [ASK] * 10
    assert target.synchronised("BTC/USD")
    assert not wanted(target)


def test_an_update_is_its_levels_in_order() -> None:
    """Sizes are absolute, 0 removes; the same price twice is written twice, and the last one counts."""
    target = subscribed()
    bids = [("45283.5", "0.20000000"), *GUIDE_BIDS[1:]]
    asks = GUIDE_ASKS[1:]
    crc = checksum(bids, asks)
    changes = [("45283.5", "0.30000000"), ("45283.5", "0.20000000")]
    rows = feed(target, book("update", changes, [("45285.2", "0.00000000")], crc))
    assert [(row.side, row.price, row.size, row.flags, row.id) for row in rows] == [
        (BID, 452_835, 30_000_000, Flag(0), crc),
        (BID, 452_835, 20_000_000, Flag(0), crc),
        (ASK, 452_852, 0, Flag.LAST, crc),
    ]


def test_what_falls_out_of_the_depth_is_a_row() -> None:
    """The venue never removes it; a reader of the log must, so the message ends in a row of size 0."""
    target = subscribed()
    bids = [("45284.0", "1.00000000"), *GUIDE_BIDS[:9]]
    rows = feed(target, book("update", [("45284.0", "1.00000000")], [], checksum(bids, GUIDE_ASKS)))
    assert [(row.side, row.price, row.size, row.flags) for row in rows] == [
        (BID, 452_840, 100_000_000, Flag(0)),
        (BID, 452_766, 0, Flag.LAST),
    ]
    assert target.synchronised("BTC/USD")


def test_the_depth_is_the_acknowledged_one() -> None:
    """The same message in a book of 25 levels: nothing falls out."""
    target = subscribed(depth=25)
    bids = [("45284.0", "1.00000000"), *GUIDE_BIDS]
    (row,) = feed(target, book("update", [("45284.0", "1.00000000")], [], checksum(bids, GUIDE_ASKS)))
    assert (row.price, row.flags) == (452_840, Flag.LAST)


def test_without_an_acknowledgement_the_smallest_depth_that_fits() -> None:
    """A capture that begins after the subscription: ten levels make a book of ten."""
    target = parser()
    feed(target, SNAPSHOT)
    bids = [("45284.0", "1.00000000"), *GUIDE_BIDS[:9]]
    rows = feed(target, book("update", [("45284.0", "1.00000000")], [], checksum(bids, GUIDE_ASKS)))
    assert rows[-1].size == 0


def test_a_wrong_checksum_is_a_gap() -> None:
    """Both checksums and the time are said; nothing of the message counts, and a snapshot is wanted once."""
    target = subscribed()
    crc = checksum([("45283.5", "0.20000000"), *GUIDE_BIDS[1:]], GUIDE_ASKS)
    status, row = feed(target, book("update", [("45283.5", "0.20000000")], [], crc ^ 1, time=LATER))
    assert status == Row(
        Kind.STATUS,
        data={
            "event": "gap",
            "channel": "book",
            "detail": f"checksum {crc ^ 1}, ours is {crc}",
            "first": TIME_NS,
            "last": TIME_NS + 999_999_000,
        },
        wire=True,
    )
    assert (row.flags, row.price) == (BAD | Flag.LAST, 452_835)
    assert wanted(target) == [SnapshotWanted("BTC/USD", "gap")]
    assert not target.synchronised("BTC/USD")
    (row,) = feed(target, book("update", [("45283.5", "0.20000000")], [], crc))
    assert row.flags == BAD | Flag.LAST
    assert not wanted(target)


def test_nothing_that_falls_out_is_stated_of_a_doubtful_book() -> None:
    """The message's own levels only."""
    target = subscribed()
    rows = feed(target, book("update", [("45284.0", "1.00000000")], [], 1))
    assert [row.kind for row in rows] == [Kind.STATUS, Kind.BOOK]


def test_a_snapshot_makes_it_good_again() -> None:
    """After a gap the next snapshot is in step."""
    target = subscribed()
    feed(target, book("update", [("45283.5", "0.20000000")], [], 1))
    rows = feed(target, SNAPSHOT)
    assert rows[0].flags == Flag.CLEAR | SNAP
    assert not any(row.flags & BAD for row in rows)
    assert target.synchronised("BTC/USD")


def test_a_snapshot_with_a_wrong_checksum_is_refused() -> None:
    """It is written as doubtful, and another one is wanted."""
    target = parser()
    rows = feed(target, book("snapshot", GUIDE_BIDS, GUIDE_ASKS, 7))
    assert rows[0].data["event"] == "gap"
    assert "first" not in rows[0].data
    assert rows[1].flags == Flag.CLEAR | SNAP | BAD
    assert {row.flags & BAD for row in rows[1:]} == {BAD}
    assert wanted(target) == [SnapshotWanted("BTC/USD", "failed")]


def test_without_stamps_a_gap_is_between_times_of_receipt() -> None:
    """Messages of before the middle of 2025 carry no time of their own."""
    target = parser()
    feed(target, book("snapshot", GUIDE_BIDS, GUIDE_ASKS, time=""))
    status, _ = feed(target, book("update", [("1.0", "1.00000000")], [], 1, time=""), ts=TS + 5)
    assert (status.data["first"], status.data["last"]) == (TS, TS + 5)


def test_an_update_before_any_snapshot_is_doubtful() -> None:
    """It is kept, not applied, and the snapshot is wanted once."""
    target = parser()
    for _ in range(2):
        (row,) = feed(target, book("update", [("45283.5", "0.20000000")], [], 1))
        assert row.flags == BAD | Flag.LAST
    assert wanted(target) == [SnapshotWanted("BTC/USD", "first")]


def test_a_lost_connection_forgets_the_book() -> None:
    """Of one symbol or of all; the next life begins with a snapshot."""
    target = parser(BTC, ETH)
    feed(target, SNAPSHOT, SNAPSHOT.replace(b"BTC/USD", b"ETH/USD"))
    target.connection_lost("ETH/USD")
    assert (target.synchronised("BTC/USD"), target.synchronised("ETH/USD")) == (True, False)
    target.connection_lost()
    assert not target.synchronised("BTC/USD")
    feed(target, SNAPSHOT)
    assert target.synchronised("BTC/USD")


def test_a_first_snapshot_that_does_not_come_is_wanted() -> None:
    """Heartbeats go on whatever becomes of a book: after ten seconds one of them is the occasion, once."""
    target = parser()
    feed(target, ack(depth=10))
    feed(target, HEARTBEAT, ts=TS + PATIENCE_NS - 1)
    assert not wanted(target)
    feed(target, HEARTBEAT, HEARTBEAT, ts=TS + PATIENCE_NS)
    assert wanted(target) == [SnapshotWanted("BTC/USD", "first")]
    feed(target, SNAPSHOT, HEARTBEAT, ts=TS + 3 * PATIENCE_NS)
    assert not wanted(target)


def test_an_empty_book_and_an_update_without_levels() -> None:
    """One row each that says so; the checksum of nothing is 0."""
    target = parser()
    (row,) = feed(target, book("snapshot", [], []))
    assert (row.flags, row.side, row.id) == (Flag.CLEAR | SNAP | Flag.LAST, 0, 0)
    assert row.data == {"note": "empty book"}
    (row,) = feed(target, book("update", [], [], 0))
    assert (row.flags, row.data) == (Flag.LAST, {"note": "no levels"})


def test_two_books_in_one_message() -> None:
    """Each has its own checksum: one may be good while the other is not."""
    target = parser(BTC, ETH)
    feed(target, SNAPSHOT, SNAPSHOT.replace(b"BTC/USD", b"ETH/USD"))
    good = book("update", [], [], GUIDE_CHECKSUM)
    item = book("update", [], [], 5, symbol="ETH/USD").partition(b'"data":[')[2]
    rows = feed(target, good[:-2] + b"," + item)
    assert [(row.instrument, row.kind, row.wire) for row in rows] == [
        (1, Kind.BOOK, True),
        (2, Kind.STATUS, False),
        (2, Kind.BOOK, False),
    ]
    assert (target.synchronised("BTC/USD"), target.synchronised("ETH/USD")) == (True, False)


def test_finer_prices_widen_the_definition() -> None:
    """An INSTRUMENT message goes first; the book's prices are counted in the new units from there on."""
    target = subscribed()
    bids = [("45283.55", "0.20000000"), *GUIDE_BIDS[:9]]
    frame = book("update", [("45283.55", "0.20000000")], [], checksum(bids, GUIDE_ASKS))
    definition, row, gone = feed(target, frame)
    assert (definition.kind, definition.ts, definition.flags) == (Kind.INSTRUMENT, TS - 1, Flag.LAST)
    assert (definition.data["price_decimals"], definition.data["version"]) == (2, 2)
    assert (row.price, row.wire) == (4_528_355, True)
    assert (gone.price, gone.size) == (4_527_660, 0)
    assert target.synchronised("BTC/USD")


class Venue:
    """A whole book, and the view of it that a subscription of some depth gets."""

    def __init__(self, depth: int, seed: int) -> None:
        self.depth = depth
        self.random = random.Random(seed)
        self.sides: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.view: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        for _ in range(60):
            self._change()

    def _change(self) -> None:
        side = self.random.choice((BID, ASK))
        price = self.random.randrange(900, 1_000) if side == BID else self.random.randrange(1_000, 1_100)
        if self.random.random() < 0.45:
            self.sides[side].pop(price, None)
        else:
            self.sides[side][price] = self.random.randrange(1, 10**10)

    def _best(self, side: int) -> dict[int, int]:
        levels = self.sides[side]
        return {price: levels[price] for price in sorted(levels, reverse=side == BID)[: self.depth]}

    def message(self, form: str) -> bytes:
        """The view as it is, or what has changed of it since the last message, in no order."""
        changes: dict[int, list[tuple[str, str]]] = {BID: [], ASK: []}
        for side, before in self.view.items():
            now = self._best(side)
            gone = {} if form == "snapshot" else {p: 0 for p in before if p not in self.sides[side]}
            new = {p: s for p, s in now.items() if form == "snapshot" or before.get(p) != s}
            changes[side] = list(written(gone | new))
            if form == "update":
                self.random.shuffle(changes[side])
            self.view[side] = now
        crc = checksum(written(self.view[BID]), written(self.view[ASK]))
        return book(form, changes[BID], changes[ASK], crc)

    def step(self) -> bytes:
        """A few changes, and the message that they make."""
        for _ in range(self.random.randrange(1, 4)):
            self._change()
        return self.message("update")


def written(levels: dict[int, int]) -> Levels:
    """Prices of one decimal and sizes of eight, as the venue writes them."""
    return [(f"{p // 10}.{p % 10}", f"{s // 10**8}.{s % 10**8:08}") for p, s in levels.items()]


@pytest.mark.parametrize(("depth", "seed"), [(10, 1), (10, 2), (10, 3), (25, 4), (25, 5)])
def test_any_market_stays_in_step(depth: int, seed: int) -> None:
    """A venue with more levels than are subscribed, by seed: no gap, and the rows alone give its view."""
    venue, target = Venue(depth, seed), parser()
    feed(target, ack(depth=depth))
    folded: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    frames = [venue.message("snapshot")] + [venue.step() for _ in range(400)]
    cuts = 0
    for number, frame in enumerate(frames):
        rows = feed(target, frame)
        assert not any(row.flags & BAD for row in rows), number
        for row in rows:
            if row.kind is Kind.BOOK and row.side:
                folded[row.side][row.price] = row.size
        cuts += len([row for row in rows if row.kind is Kind.BOOK]) > frame.count(b'"price"')
    assert cuts > 20
    for side, levels in folded.items():
        assert {price: size for price, size in levels.items() if size} == venue.view[side]
