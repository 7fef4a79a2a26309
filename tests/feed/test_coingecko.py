"""CoinGecko's prices into MARK rows: exact, new ones only, missing ones said, broken ones kept."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine.feed.coingecko import REMEMBERED, CoinGeckoParser
from engine.feed.parser import Malformed
from engine.feed.polled import Taken
from engine.log.schema import batch_of_buffer
from engine.model.errors import UsageError
from engine.model.kinds import Flag, Kind
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS
from tests.helpers.rows import Row, rows_of_buffer

T = 1_711_356_300


def body(bitcoin: str = "67187.33", time: Any = T, **others: Any) -> bytes:
    """An answer, with the price as it is written."""
    more = "".join(f',"{coin}":{msgspec.json.encode(said).decode()}' for coin, said in others.items())
    said = f'{{"usd":{bitcoin},"usd_24h_change":3.6,"last_updated_at":{msgspec.json.encode(time).decode()}}}'
    return f'{{"bitcoin":{said}{more}}}'.encode()


class Desk:
    """A parser after its first contact, its buffer, and a clock that counts."""

    def __init__(self, first: bytes = body(), coins: tuple[str, ...] = ("bitcoin",)) -> None:
        self.parser = CoinGeckoParser(coins, ("usd",))
        self.parser.contact(self.parser.read(first))
        self.parser.number(3, 7)
        self.buffer = RowBuffer()
        self.stamp: Callable[[], int] = itertools.count(1_000).__next__

    def body(self, answer: bytes) -> tuple[Taken, list[Row]]:
        """What one answer came to, as the poller does it, and the rows that it brought."""
        self.buffer.clear()
        try:
            read = self.parser.read(answer)
        except Malformed as problem:
            taken = self.parser.refuse(problem, answer, self.stamp, self.buffer)
        else:
            taken = self.parser.take(read, answer, self.stamp, self.buffer)
        rows = rows_of_buffer(self.buffer)
        assert taken.rows == len(rows)
        return taken, rows

    def times(self) -> list[int]:
        """`ts_venue` of the rows of the latest answer."""
        return [int(time) for time in batch_of_buffer(self.buffer, 0).ts_venue]


def test_an_answer_becomes_one_message_of_marks() -> None:
    """A row for each pair, in the order asked for; the answer on the first; times and numbers as they are."""
    answer = body(ethereum={"usd": 3451, "last_updated_at": T - 5})
    desk = Desk(answer, ("ethereum", "bitcoin"))
    taken, rows = desk.body(answer)
    assert taken.new == 2
    assert [(row.kind, row.instrument, row.price, row.size, row.side) for row in rows] == [
        (Kind.MARK, 7, 345_100, 0, 0),
        (Kind.MARK, 8, 6_718_733, 0, 0),
    ]
    assert [row.flags for row in rows] == [Flag.LOSSY, Flag.LOSSY | Flag.LAST]
    assert [row.wire for row in rows] == [answer, None]
    assert {(row.ts, row.source) for row in rows} == {(1_000, 3)}
    assert desk.times() == [(T - 5) * SECOND_NS, T * SECOND_NS]


def test_the_definitions_are_those_of_the_first_contact() -> None:
    """One for each pair, with the decimals that its price has; nothing can be sent for them."""
    definitions = Desk(body("0.00001234")).parser.instruments
    number, data = definitions["bitcoin/usd"]
    assert (number, data.key, data.price_decimals, data.price_increment, data.quote, data.status) == (
        7, "bitcoin/usd.coingecko", 8, "0.00000001", "USD", "REFERENCE"
    )  # fmt: skip
    assert Desk(body("3")).parser.instruments["bitcoin/usd"][1].price_decimals == 2


PRICES = [
    ("67187.33", 6_718_733, 2),
    ("67187", 6_718_700, 2),
    ("67187.3358936566", 671_873_358_936_566, 10),
    ("1.234e-05", 1_234, 8),
    ("1E2", 10_000, 2),
    ("0.000000000000000001", 1, 18),
    ("67187.3300000", 6_718_733, 2),
]


@pytest.mark.parametrize(("text", "mantissa", "decimals"), PRICES, ids=str)
def test_prices_are_exact(text: str, mantissa: int, decimals: int) -> None:
    """The digits of the text, whatever its form; no float is made of them."""
    desk = Desk(body(text))
    (row,) = desk.body(body(text))[1]
    assert row.price == mantissa
    assert desk.parser.instruments["bitcoin/usd"][1].price_decimals == decimals


def test_more_decimals_make_a_new_version_first() -> None:
    """An INSTRUMENT row of its own before the message; what was seen is still known afterwards."""
    desk = Desk(body("0.5"))
    assert desk.body(body("0.5"))[0].new == 1
    definition, mark = desk.body(body("0.1234", T + 1))[1]
    assert (definition.kind, definition.instrument, definition.flags) == (Kind.INSTRUMENT, 7, Flag.LAST)
    assert (definition.data["price_decimals"], definition.data["version"]) == (4, 2)
    assert definition.data["price_increment"] == "0.0001"
    assert (mark.price, mark.ts > definition.ts) == (1_234, True)
    assert desk.body(body("0.5"))[0].unchanged == 1


def test_what_was_seen_is_no_row() -> None:
    """The same price at the same time, from whichever cache; what else the answer says does not count."""
    desk = Desk()
    assert desk.body(body())[0].new == 1
    assert desk.body(body())[1] == []
    assert desk.body(body().replace(b"3.6", b"3.7"))[1] == []
    assert desk.body(body("67190", T + 60))[0].new == 1
    assert desk.body(body())[1] == []


def test_older_and_other_prices_are_flagged() -> None:
    """A time before the newest is OUT_OF_ORDER, another price at a known time REVISED."""
    desk = Desk()
    desk.body(body())
    (late,) = desk.body(body("67000", T - 60))[1]
    assert late.flags == Flag.LOSSY | Flag.OUT_OF_ORDER | Flag.LAST
    taken, (other,) = desk.body(body("67100", T))
    assert (taken.revised, other.flags) == (1, Flag.LOSSY | Flag.REVISED | Flag.LAST)


def test_a_price_without_a_time() -> None:
    """No stamp of the venue's; a row whenever it is another one than before."""
    desk = Desk(body(time=None))
    assert desk.body(body(time=None))[0].new == 1
    assert desk.times() == [NULL_TIME]
    assert desk.body(body(time=None))[1] == []
    (row,) = desk.body(body("1", None))[1]
    assert row.flags == Flag.LOSSY | Flag.LAST


def test_what_is_unknown_is_the_users_error_at_first() -> None:
    """The venue leaves it out without a word; the error names it."""
    parser = CoinGeckoParser(("bitcoin", "btc"), ("usd",))
    with pytest.raises(UsageError, match="CoinGecko has no price of btc/usd") as caught:
        parser.contact(parser.read(body()))
    assert "bitcoin,ethereum/usd" in caught.value.hint
    other = CoinGeckoParser(("bitcoin",), ("xyz",))
    with pytest.raises(UsageError, match="bitcoin/xyz"):
        other.contact(other.read(body()))


def test_what_goes_missing_is_said_once() -> None:
    """A STATUS row of the pair when an answer has no price of it, not again until it was back."""
    desk = Desk()
    desk.body(body())
    (row,) = desk.body(b"{}")[1]
    assert (row.event, row.instrument, row.data["channel"]) == ("rejected", 7, "mark")
    assert row.data["detail"] == "no price of bitcoin/usd any more"
    assert desk.body(body("null"))[1] == []
    assert desk.body(body())[1] == []
    assert [row.event for row in desk.body(b"{}")[1]] == ["rejected"]


BROKEN = [
    (b"[]", "Expected `object`, got `array`", ""),
    (b'{"status":{"error_code":429},"x":"y"}', "Expected `object`, got `str`", "[...]"),
    (b'{"status":{"error_code":429,"error_message":"m"}}', "is an error", "status.error_code"),
    (b"", "the JSON ends too early", ""),
    (b"<html>", "JSON is malformed", ""),
    (body('"67187.33"'), "is no number", "bitcoin.usd"),
    (body("true"), "is no number", "bitcoin.usd"),
    (body("{}"), "is no number", "bitcoin.usd"),
    (body("0"), "is no price", "bitcoin.usd"),
    (body("-1.5"), "is negative", "bitcoin.usd"),
    (body("1e400"), "is too large or too small", "bitcoin.usd"),
    (body("1e-999999999"), "is too large or too small", "bitcoin.usd"),
    (body("1e9999999999999999999"), "is no number", "bitcoin.usd"),
    (body("1." + "1" * 100), "is no number", "bitcoin.usd"),
    (body("0.0000000000000000001"), "more than 18 decimals", "bitcoin.usd"),
    (body("123456789012345678"), "does not fit 64 bits", "bitcoin.usd"),
    (body(time="soon"), "is no time", "bitcoin.last_updated_at"),
    (body(time=-1), "is no time", "bitcoin.last_updated_at"),
    (body(time=10**12), "is no time", "bitcoin.last_updated_at"),
    (body(time=1.5), "is no time", "bitcoin.last_updated_at"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "words", "field"), BROKEN, ids=lambda value: repr(value)[:50])
def test_a_broken_answer_is_one_row_and_changes_nothing(answer: bytes, words: str, field: str) -> None:
    """MALFORMED with its bytes, what and where; once; the next good answer is as if it had not been."""
    desk = Desk()
    taken, (row,) = desk.body(answer)
    assert (taken.readable, row.kind, row.wire) == (False, Kind.MALFORMED, answer)
    assert words in row.data["error"]
    assert row.data.get("field", "") == field
    assert desk.body(answer)[1] == []
    assert desk.body(body())[0].new == 1


def test_an_answer_cut_anywhere() -> None:
    """At every byte one MALFORMED row, never an exception."""
    whole = body()
    for end in range(len(whole)):
        assert [row.kind for row in Desk().body(whole[:end])[1]] == [Kind.MALFORMED], end


@pytest.mark.parametrize("seed", range(20))
def test_bytes_that_mean_nothing(seed: int) -> None:
    """Random bytes, alone and in an answer: rows of the documented kinds, never an exception."""
    chance = random.Random(seed)
    desk = Desk()
    for _ in range(50):
        changed = bytearray(body())
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        for answer in (bytes(changed), chance.randbytes(60)):
            assert {row.kind for row in desk.body(answer)[1]} <= {
                Kind.MARK, Kind.MALFORMED, Kind.STATUS, Kind.INSTRUMENT
            }  # fmt: skip


def test_only_so_many_times_are_remembered() -> None:
    """What was seen longest ago is forgotten, and is a late row when it comes again."""
    desk = Desk()
    for n in range(REMEMBERED + 1):
        desk.body(body(str(60_000 + n), T + n))
    (row,) = desk.body(body("60000", T))[1]
    assert row.flags == Flag.LOSSY | Flag.OUT_OF_ORDER | Flag.LAST
