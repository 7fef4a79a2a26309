"""Books carried over a rotation: exactly the book that a reader of the rows would have."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.live.carry import BookCarry
from engine.log.schema import batch_of_buffer
from engine.model.kinds import ASK, BID, Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical
from engine.model.rows import RowBuffer
from tests.helpers.rows import Row, books_of, rows_of_buffer

SNAPSHOT = int(Flag.CLEAR | Flag.SNAPSHOT)


def definition(
    price_decimals: int = 2, version: int = 1, symbol: str = "BTCUSDT", venue: str = "binance"
) -> bytes:
    return encode_canonical(
        InstrumentData(
            key=f"{symbol}.{venue}",
            symbol=symbol,
            venue=venue,
            price_decimals=price_decimals,
            size_decimals=5,
            price_increment="0.01",
            size_increment="0.00001",
            version=version,
        )
    )


def disconnected(rows: RowBuffer, ts: int, source: int = 0) -> None:
    data = encode_canonical(StatusData(event="disconnected"))
    rows.append(ts, Kind.STATUS, source=source, flags=int(Flag.LAST), data=data)


def carried(*buffers: RowBuffer) -> list[Row]:
    """The rows that a rotation after these batches would write."""
    carry = BookCarry()
    for buffer in buffers:
        carry.take(batch_of_buffer(buffer, 0))
    rows = RowBuffer()
    ts = itertools.count(1_000_000)
    carry.append(rows, lambda: next(ts))
    return rows_of_buffer(rows)


def book_message(
    rows: RowBuffer, ts: int, flags: int, *levels: tuple[int, int, int], number: int = 1
) -> None:
    for side, price, size in levels:
        rows.append(
            ts,
            Kind.BOOK,
            ts_venue=ts - 5,
            flags=flags,
            instrument=number,
            side=side,
            price=price,
            size=size,
            id=ts,
        )
        flags &= ~int(Flag.CLEAR)
    rows.end_message()


# One message: instrument, what it is, levels (side, price, size)
MESSAGES = st.lists(
    st.tuples(
        st.sampled_from((1, 2)),
        st.sampled_from(("update", "update", "update", "snapshot", "bad", "duplicate", "late", "disconnect")),
        st.lists(
            st.tuples(st.sampled_from((BID, ASK)), st.integers(1, 12), st.integers(0, 3)),
            min_size=1,
            max_size=6,
        ),
    ),
    max_size=30,
)
FLAGS_OF = {
    "update": 0,
    "snapshot": SNAPSHOT,
    "bad": int(Flag.MAYBE_BAD_BOOK),
    "duplicate": int(Flag.DUPLICATE),
    "late": int(Flag.OUT_OF_ORDER),
}


def test_a_book_with_a_gap_is_not_carried() -> None:
    """A row that says that something of a book is missing is enough, also when no update has come since."""
    rows = RowBuffer()
    book_message(rows, 10, SNAPSHOT, (BID, 100, 5), number=1)
    book_message(rows, 11, SNAPSHOT, (BID, 100, 5), number=2)
    for number, channel in ((1, "book"), (2, "trade")):
        gap = encode_canonical(StatusData(event="gap", channel=channel, first=3, last=4))
        rows.append(12, Kind.STATUS, source=1, instrument=number, flags=int(Flag.LAST), data=gap)
    assert {row.instrument for row in carried(rows)} == {2}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(messages=MESSAGES, cut=st.integers(1, 30))
def test_what_is_carried_is_the_book_of_the_rows(
    messages: list[tuple[int, str, list[tuple[int, int, int]]]], cut: int
) -> None:
    """Any messages in any two batches: books in step are carried as the plain twin has them, others not."""
    buffers = (RowBuffer(), RowBuffer())
    good = {1: False, 2: False}
    for ts, (number, what, levels) in enumerate(messages, start=10):
        buffer = buffers[0] if ts < 10 + cut else buffers[1]
        if what == "disconnect":
            disconnected(buffer, ts)
            good = dict.fromkeys(good, False)
            continue
        book_message(buffer, ts, FLAGS_OF[what], *levels, number=number)
        if what in {"snapshot", "bad"}:
            good[number] = what == "snapshot"
    written = rows_of_buffer(buffers[0]) + rows_of_buffer(buffers[1])
    rows = carried(*buffers)
    twin = books_of(written)
    assert books_of(rows) == {number: twin[number] for number in good if good[number]}


def test_a_carried_book_is_one_snapshot_message_of_the_engine_itself() -> None:
    """Source 0, no wire, CLEAR first, SNAPSHOT on all, LAST last, best first, the last update's id."""
    rows = RowBuffer()
    book_message(rows, 10, SNAPSHOT, (BID, 100, 5), (BID, 101, 6), (ASK, 105, 7), (ASK, 103, 8))
    book_message(rows, 12, 0, (BID, 100, 0), (ASK, 104, 9))
    message = carried(rows)
    assert [(row.side, row.price, row.size) for row in message] == [
        (BID, 101, 6),
        (ASK, 103, 8),
        (ASK, 104, 9),
        (ASK, 105, 7),
    ]
    assert [row.flags for row in message] == [
        Flag.CLEAR | Flag.SNAPSHOT,
        Flag.SNAPSHOT,
        Flag.SNAPSHOT,
        Flag.SNAPSHOT | Flag.LAST,
    ]
    assert {(row.source, row.wire, row.id) for row in message} == {(0, None, 12)}
    assert [row.data for row in message] == [{"note": "carried"}, {}, {}, {}]


def test_a_wider_definition_multiplies_the_book_up() -> None:
    """Decimals added in the middle: levels from before are carried in the new units."""
    rows = RowBuffer()
    rows.append(1, Kind.INSTRUMENT, instrument=1, flags=int(Flag.LAST), data=definition())
    book_message(rows, 10, SNAPSHOT, (BID, 100, 5), (ASK, 103, 8))
    rows.append(11, Kind.INSTRUMENT, instrument=1, flags=int(Flag.LAST), data=definition(4, version=2))
    book_message(rows, 12, 0, (ASK, 10_299, 1))
    assert [(row.side, row.price, row.size) for row in carried(rows)] == [
        (BID, 10_000, 5),
        (ASK, 10_299, 1),
        (ASK, 10_300, 8),
    ]


def test_an_empty_book_in_step_is_carried_as_empty() -> None:
    """A book whose levels have all gone is known to be empty: one row without a side."""
    rows = RowBuffer()
    book_message(rows, 10, SNAPSHOT, (BID, 100, 5))
    book_message(rows, 11, 0, (BID, 100, 0))
    (row,) = carried(rows)
    assert (row.side, row.size, row.flags) == (0, 0, Flag.CLEAR | Flag.SNAPSHOT | Flag.LAST)


@pytest.mark.parametrize("levels", [5_000])
def test_removed_levels_are_forgotten(levels: int) -> None:
    """A price that wanders leaves no trail of removed levels behind."""
    carry = BookCarry()
    rows = RowBuffer()
    book_message(rows, 10, SNAPSHOT, (BID, 1, 1))
    carry.take(batch_of_buffer(rows, 0))
    for price in range(2, levels):
        rows.clear()
        book_message(rows, 10 + price, 0, (BID, price - 1, 0), (BID, price, 1))
        carry.take(batch_of_buffer(rows, 0))
    book = carry._books[1]
    assert len(book.sides[BID]) < 1_100
    assert book.levels() == [(BID, levels - 1, 1)]


def test_a_lost_connection_takes_its_own_books_only() -> None:
    """Two connections of one venue and one of another: what the lost one brought is not carried."""
    rows = RowBuffer()
    sources = (
        SourceData("binance", "binance", symbols=("BTCUSDT",)),
        SourceData("binance", "binance", symbols=("ETHUSDT",)),
        SourceData("kraken", "kraken"),
    )
    for number, source in enumerate(sources, start=1):
        rows.append(number, Kind.SOURCE, source=number, flags=int(Flag.LAST), data=encode_canonical(source))
    for number, (symbol, venue) in enumerate(
        [("BTCUSDT", "binance"), ("ETHUSDT", "binance"), ("BTC/USD", "kraken")], start=1
    ):
        data = definition(symbol=symbol, venue=venue)
        rows.append(3 + number, Kind.INSTRUMENT, instrument=number, flags=int(Flag.LAST), data=data)
        book_message(rows, 10 + number, SNAPSHOT, (BID, 100, 5), number=number)
    disconnected(rows, 20, source=2)
    assert {row.instrument for row in carried(rows)} == {1, 3}
    disconnected(rows, 21, source=3)
    assert {row.instrument for row in carried(rows)} == {1}
    disconnected(rows, 22)
    assert carried(rows) == []
