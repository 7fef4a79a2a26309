"""A captured session of Kraken's WebSocket v2: 30 of 30 checksums, and a log that holds the book."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.feed.kraken import KrakenParser
from engine.feed.kraken_reference import symbol_of
from engine.model.kinds import BID, Flag, InstrumentData, Kind
from engine.model.rows import RowBuffer
from tests.helpers.frames import SOCKET, TS, rows_of
from tests.helpers.kraken import ack, book, checksum, feed, parser
from tests.helpers.kraken_v1 import OlderBook, messages

MINA = InstrumentData(
    key="MINA/GBP.kraken",
    symbol="MINA/GBP",
    venue="kraken",
    price_decimals=4,
    size_decimals=8,
    price_increment="0.0001",
    size_increment="0.00000001",
)
DEPTH = 25


@pytest.fixture(scope="module")
def frames(real_data: Path) -> list[bytes]:
    """The frames as they were received."""
    path = real_data / "kraken" / "kraken_minagbp_d25_20260816.book.ndjson"
    # Cut out as text: a JSON reader would lose the zeros at the end of the numbers.
    return [line.partition(b'"frame": ')[2][:-1] for line in path.read_bytes().splitlines()]


def fed(frames: list[bytes], target: KrakenParser | None = None) -> RowBuffer:
    """All rows of some frames, a millisecond apart."""
    target = target or parser(MINA)
    rows = RowBuffer()
    for number, frame in enumerate(frames):
        target.feed(frame, TS + number * 1_000_000, rows)
    return rows


def test_every_checksum_holds(frames: list[bytes]) -> None:
    """A snapshot and 29 updates in step, no gap, nothing unknown; each frame stands in the log once."""
    target = parser(MINA)
    rows = fed(frames, target)
    made = rows_of(rows)
    assert len({row.ts for row in made if row.kind is Kind.BOOK}) == 30
    assert not [row for row in made if row.kind is Kind.STATUS]
    assert not any(row.flags & Flag.MAYBE_BAD_BOOK for row in made)
    assert rows.wire == frames
    assert target.synchronised("MINA/GBP")
    assert not target.unknown
    assert not target.wants


def test_a_reader_of_the_log_has_the_venues_book(frames: list[bytes]) -> None:
    """Applying the rows, without knowing of any depth, gives the venue's checksum after every message."""
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    compared = 0
    for row in rows_of(fed(frames)):
        if row.kind is Kind.BOOK:
            if row.size:
                sides[row.side][row.price] = row.size
            else:
                sides[row.side].pop(row.price, None)
        if row.flags & Flag.LAST and row.kind is Kind.BOOK:
            bids, asks = (
                [(f"{p / 10**4:.4f}", f"{s // 10**8}.{s % 10**8:08}") for p, s in sorted(side.items())]
                for side in (sides[BID], sides[-BID])
            )
            assert max(len(bids), len(asks)) <= DEPTH
            assert row.id == checksum(bids[::-1], asks)
            compared += 1
    assert compared == 30


def test_a_busier_session_of_ten_pairs(real_data: Path) -> None:
    """The older protocol's, of 2021, in today's words: 4,269 updates in step, a thousand levels deep."""
    target = KrakenParser({}, SOCKET)
    books: dict[str, OlderBook] = {}
    updates = 0
    for number, (_, *parts, _, pair) in enumerate(messages(real_data / "kraken" / "KRAKEN.ws.50.0.gz")):
        symbol = symbol_of(pair)
        if pair not in books:
            books[pair] = OlderBook(1_000)
            target.define(len(books), msgspec.structs.replace(MINA, key=f"{symbol}.kraken", symbol=symbol))
            feed(target, ack(symbol=symbol, depth=1_000))
        sides: dict[str, list[tuple[str, str]]] = {"a": [], "b": []}
        for part in parts:
            books[pair].take(part)
            for name in part.keys() - {"c"}:
                sides[name[0]] = [(price, size) for price, size, *_ in part[name]]
        if "c" in parts[-1]:
            form, crc = "update", int(parts[-1]["c"])
            updates += 1
        else:  # it had no checksum then
            form, crc = "snapshot", checksum(books[pair].best("b"), books[pair].best("a"))
        rows = feed(target, book(form, sides["b"], sides["a"], crc, symbol=symbol), ts=TS + 2 * number)
        assert not any(row.flags & Flag.MAYBE_BAD_BOOK for row in rows), number
    assert (len(books), updates) == (10, 4_269)
    assert all(target.synchronised(symbol) for symbol in target.instruments)
    assert not target.wants


def test_a_changed_digit_is_noticed(frames: list[bytes]) -> None:
    """One digit of one size among the ten best: from there on the book is doubtful."""
    damaged = [frame.replace(b"13018.62844188", b"13018.62844189") for frame in frames]
    made = rows_of(fed(damaged))
    gaps = [row for row in made if row.data and row.data["event"] == "gap"]
    assert len(gaps) == 1
    assert gaps[0].wire
    first = gaps[0].ts
    assert all(
        bool(row.flags & Flag.MAYBE_BAD_BOOK) == (row.ts >= first) for row in made if row.kind is Kind.BOOK
    )


def test_frames_cut_anywhere_are_malformed(frames: list[bytes]) -> None:
    """At every byte one MALFORMED row; the whole frames then give what they give alone."""
    expected = fed(frames)
    target, rows = parser(MINA), RowBuffer()
    for number, frame in enumerate(frames):
        start = rows.count
        for length in range(len(frame)):
            target.feed(frame[:length], TS, rows)
        kinds = set(rows.view()["kind"][start:].tolist())
        assert kinds == {int(Kind.MALFORMED)}
        assert rows.count - start == len(frame)
        rows.truncate(start)
        target.feed(frame, TS + number * 1_000_000, rows)
    assert rows.view().tobytes() == expected.view().tobytes()
    assert rows.data == expected.data
