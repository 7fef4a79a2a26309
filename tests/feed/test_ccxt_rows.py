"""What ccxt hands over into rows: exact numbers, LOSSY everywhere, and frames that are none."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from engine.feed.ccxt_rows import REMEMBERED, CcxtParser
from engine.log.schema import batch_of_buffer
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME
from tests.helpers.rows import Row, rows_of_buffer

BTC = "BTC/USDT"
LAST = Flag.LOSSY | Flag.LAST


def definition(**changes: Any) -> InstrumentData:
    values = {
        "key": f"{BTC}.ccxt:okx",
        "symbol": BTC,
        "venue": "ccxt:okx",
        "price_decimals": 2,
        "size_decimals": 4,
        "price_increment": "0.01",
        "size_increment": "0.0001",
    }
    return InstrumentData(**{**values, **changes})


class Desk:
    """A parser with one instrument, and its buffer."""

    def __init__(self) -> None:
        self.parser = CcxtParser({BTC: (7, definition())}, 3)
        self.buffer = RowBuffer()
        self.ts = 1_000

    def frame(self, frame: Any) -> list[Row]:
        """The rows of one frame, an object or bytes."""
        self.buffer.clear()
        self.ts += 10
        body = frame if isinstance(frame, bytes) else msgspec.json.encode(frame)
        self.parser.feed(body, self.ts, self.buffer)
        rows = rows_of_buffer(self.buffer)
        assert rows
        assert rows[-1].flags & Flag.LAST
        return rows


def trades(*items: dict[str, Any]) -> dict[str, Any]:
    return {"channel": "trade", "symbol": BTC, "trades": items}


def trade(**changes: Any) -> dict[str, Any]:
    return {
        "id": "12",
        "timestamp": 1_700_000_000_123,
        "side": "sell",
        "price": "1.50",
        "amount": "2",
        **changes,
    }


def book(bids: Any = (), asks: Any = (), *, whole: bool = False, **more: Any) -> dict[str, Any]:
    return {"channel": "book", "symbol": BTC, "whole": whole, "bids": bids, "asks": asks, **more}


def test_trades_of_one_frame_are_one_message() -> None:
    """A row each, the frame on the first; times, sides and ids as they are, the rest is in wire."""
    desk = Desk()
    frame = trades(trade(), trade(id="a-1", side="buy", price=1.5, timestamp=None), trade(id=None, side=None))
    rows = desk.frame(frame)
    assert [(row.kind, row.side, row.price, row.size, row.id) for row in rows] == [
        (Kind.TRADE, -1, 150, 20_000, 12),
        (Kind.TRADE, 1, 150, 20_000, 0),
        (Kind.TRADE, 0, 150, 20_000, 0),
    ]
    assert [row.flags for row in rows] == [Flag.LOSSY, Flag.LOSSY, LAST]
    assert [row.wire for row in rows] == [msgspec.json.encode(frame), None, None]
    assert {(row.ts, row.source, row.instrument) for row in rows} == {(1_010, 3, 7)}
    times = [int(time) for time in batch_of_buffer(desk.buffer, 0).ts_venue]
    assert times == [1_700_000_000_123_000_000, NULL_TIME, 1_700_000_000_123_000_000]


def test_a_trade_that_was_seen_is_flagged() -> None:
    """By its id, of a number or a text; so many are remembered."""
    desk = Desk()
    desk.frame(trades(trade(id="x")))
    assert [row.flags for row in desk.frame(trades(trade(id="x"), trade(id=5)))] == [
        Flag.LOSSY | Flag.DUPLICATE, LAST
    ]  # fmt: skip
    desk.frame(trades(*(trade(id=f"n{n}") for n in range(REMEMBERED))))
    assert [row.flags for row in desk.frame(trades(trade(id="x")))] == [LAST]


def test_a_ticker_is_a_quote() -> None:
    """Bid and ask as one message; a side that is not there is no row, a size that is not there is none."""
    desk = Desk()
    ticker: dict[str, Any] = {
        "bid": "1.25",
        "bidVolume": "3.5",
        "ask": "1.26",
        "askVolume": None,
        "timestamp": 5,
    }
    rows = desk.frame({"channel": "quote", "symbol": BTC, "ticker": ticker})
    assert [(row.kind, row.side, row.price, row.size, row.flags) for row in rows] == [
        (Kind.QUOTE, 1, 125, 35_000, Flag.LOSSY),
        (Kind.QUOTE, -1, 126, 0, LAST),
    ]
    rows = desk.frame({"channel": "quote", "symbol": BTC, "ticker": {"ask": "1.26"}})
    assert [(row.side, row.flags) for row in rows] == [(-1, LAST)]
    nothing: dict[str, Any] = {}
    rows = desk.frame({"channel": "quote", "symbol": BTC, "ticker": nothing})
    assert [row.kind for row in rows] == [Kind.CONTROL]


def test_a_book_is_whole_first_and_then_changes() -> None:
    """SNAPSHOT with CLEAR on its first row; then levels, those that went with size 0; the nonce is the id."""
    desk = Desk()
    rows = desk.frame(book([[1.5, 2], ["1.49", "1"]], [[1.51, 0.5]], whole=True, nonce=9, timestamp=3))
    assert [(row.side, row.price, row.size, row.id, row.flags) for row in rows] == [
        (1, 150, 20_000, 9, Flag.LOSSY | Flag.SNAPSHOT | Flag.CLEAR),
        (1, 149, 10_000, 9, Flag.LOSSY | Flag.SNAPSHOT),
        (-1, 151, 5_000, 9, LAST | Flag.SNAPSHOT),
    ]
    assert desk.parser.synchronised(BTC)
    (row,) = desk.frame(book([[1.5, "0"]]))
    assert (row.price, row.size, row.flags) == (150, 0, LAST)
    assert [row.data for row in desk.frame(book())] == [{"note": "no levels"}]
    (row,) = desk.frame(book(whole=True))
    assert (row.data, row.flags) == ({"note": "empty book"}, LAST | Flag.SNAPSHOT | Flag.CLEAR)


def test_changes_without_a_book_are_doubtful() -> None:
    """After a loss, until a whole one comes; of one symbol, or of all; unless it was carried over."""
    desk = Desk()
    assert desk.frame(book([[1, 1]]))[0].flags == LAST | Flag.MAYBE_BAD_BOOK
    desk.frame(book([[1, 1]], whole=True))
    desk.parser.connection_lost("ETH/USDT")
    assert desk.parser.synchronised(BTC)
    desk.parser.connection_lost()
    assert desk.frame(book([[1, 1]]))[0].flags == LAST | Flag.MAYBE_BAD_BOOK
    desk.parser.carry_book(BTC, 5)
    assert desk.frame(book([[1, 2]]))[0].flags == LAST


NUMBERS = [
    ("1e-05", 1, 5),
    (1e-05, 1, 5),
    (0.1, 10, 2),
    ("67499.06000000", 6_749_906, 2),
    (67499.06, 6_749_906, 2),
    ("0.000000000000000001", 1, 18),
    (7, 700, 2),
]


@pytest.mark.parametrize(("price", "mantissa", "decimals"), NUMBERS, ids=str)
def test_numbers_are_exact(price: Any, mantissa: int, decimals: int) -> None:
    """Whatever the library writes; more decimals make a new version of the definition first."""
    desk = Desk()
    rows = desk.frame(trades(trade(price=price, amount="0.1")))
    assert rows[-1].price == mantissa
    assert desk.parser.instruments[BTC][1].price_decimals == decimals
    assert [row.kind for row in rows] == [Kind.INSTRUMENT] * (decimals > 2) + [Kind.TRADE]
    assert rows[0].ts <= rows[-1].ts


BROKEN = [
    (trades(trade(price=None)), "is no number", "trades[0].price"),
    (trades(trade(), trade(price="0")), "is not positive", "trades[1].price"),
    (trades(trade(amount="-1")), "is negative", "trades[0].amount"),
    (trades(trade(price="1,5")), "is no number", "trades[0].price"),
    (trades(trade(price="1e-40")), "too large or too small", "trades[0].price"),
    (trades(trade(price="1e15", amount="1e-9")), "", ""),
    (trades(trade(price="1e18")), "does not fit 64 bits", "trade"),
    (trades(trade(timestamp=-1)), "is no time", "trades[0].timestamp"),
    (trades(trade(timestamp=1.5)), "Expected `int | null`", "trades[0].timestamp"),
    (trades({"price": 1}), "missing required field `amount`", "trades[0].amount"),
    (book([[1]]), "length", "bids[0]"),
    (book([[1, None]]), "is no number", "bids[0][1]"),
    (book([[0, 1]]), "is not positive", "bids[0][0]"),
    ([], "Expected `object`", ""),
]


@pytest.mark.parametrize(("frame", "words", "field"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_broken_frame_is_one_row_and_changes_nothing(frame: Any, words: str, field: str) -> None:
    """MALFORMED with its bytes, what and where; no definition has become wider by it."""
    desk = Desk()
    rows = desk.frame(frame)
    if not words:  # the one that is well, so that the table can be seen to tell them apart
        assert rows[-1].kind is Kind.TRADE
        return
    (row,) = rows
    assert (row.kind, row.wire) == (Kind.MALFORMED, msgspec.json.encode(frame))
    assert words in row.data["error"]
    assert row.data.get("field", "") == field
    assert desk.parser.instruments[BTC] == (7, definition())


def test_what_nobody_knows_is_counted() -> None:
    """Another channel, another symbol, a REST answer: CONTROL rows with their bytes."""
    desk = Desk()
    for frame in (
        {"channel": "liquidation", "symbol": BTC},
        {"channel": "trade", "symbol": "X/Y", "trades": []},
    ):
        assert [row.kind for row in desk.frame(frame)] == [Kind.CONTROL]
    assert desk.parser.unknown == {"liquidation": 1, "trade": 1}
    desk.buffer.clear()
    desk.parser.feed_rest(SourceData("x"), b"{}", 1, desk.buffer, 5)
    (row,) = rows_of_buffer(desk.buffer)
    assert (row.kind, row.source, row.wire) == (Kind.CONTROL, 5, b"{}")


def test_a_frame_cut_anywhere() -> None:
    """At every byte one MALFORMED row, never an exception."""
    whole = msgspec.json.encode(book([[1.5, 2]], [[1.51, 0.5]], whole=True))
    for end in range(len(whole)):
        assert [row.kind for row in Desk().frame(whole[:end])] == [Kind.MALFORMED], end


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_mean_nothing(seed: int) -> None:
    """Random bytes, alone and in a frame: rows, never an exception."""
    chance = random.Random(seed)
    desk = Desk()
    for _ in range(50):
        changed = bytearray(msgspec.json.encode(trades(trade(), trade(id="x"))))
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        assert desk.frame(bytes(changed))
        assert desk.frame(chance.randbytes(50))
