"""Alpaca's own example messages: every one is understood, and gives the same rows in both encodings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.feed.alpaca import AlpacaParser
from engine.model.kinds import Flag, InstrumentData, Kind
from engine.model.rows import RowBuffer
from tests.helpers.alpaca import AAPL, TS, json_frame, packed_frame, parser
from tests.helpers.frames import Row, rows_of

Frame = list[dict[str, Any]]


@pytest.fixture(scope="module")
def frames(real_data: Path) -> list[Frame]:
    """What the venue sends, in the order of its documentation; those of options aside."""
    lines = (real_data / "alpaca" / "stream_messages.ndjson").read_text(encoding="utf-8").splitlines()
    taken = [json.loads(line) for line in lines]
    return [each["frame"] for each in taken if each["dir"] == "in" and "option" not in each["src"]]


def parser_of(frames: list[Frame]) -> AlpacaParser:
    """A parser that knows every symbol of the frames, four decimals of a price and none of a size."""
    symbols = sorted({message["S"] for frame in frames for message in frame if "S" in message})
    return parser(
        *(
            InstrumentData(
                key=f"{symbol}.alpaca",
                symbol=symbol,
                venue="alpaca",
                price_decimals=AAPL.price_decimals,
                size_decimals=0,
                price_increment="0.01",
                size_increment="1",
            )
            for symbol in symbols
        )
    )


def fed(target: AlpacaParser, frames: list[bytes]) -> list[Row]:
    """All rows."""
    rows = RowBuffer()
    for index, frame in enumerate(frames):
        target.feed(frame, TS + index * 1_000, rows)
    assert rows.wire == frames
    return rows_of(rows)


def test_every_message_is_understood(frames: list[Frame]) -> None:
    """Nothing unknown, nothing malformed."""
    target = parser_of(frames)
    rows = fed(target, [json_frame(*frame) for frame in frames])
    assert not target.unknown
    kinds = Counter(row.kind for row in rows if row.flags & Flag.LAST and row.kind is not Kind.INSTRUMENT)
    assert sum(kinds.values()) == len(frames)
    assert kinds == {
        Kind.CONTROL: 15,
        Kind.STATUS: 4,
        Kind.TRADE: 5,
        Kind.QUOTE: 6,
        Kind.BAR: 5,
        Kind.BOOK: 2,
        Kind.NEWS: 2,
    }


def test_both_encodings_give_the_same_rows(frames: list[Frame]) -> None:
    """Prices, sizes, times, definitions and notices."""
    in_json, in_packed = parser_of(frames), parser_of(frames)
    rows = fed(in_json, [json_frame(*frame) for frame in frames])
    assert fed(in_packed, [packed_frame(*frame) for frame in frames]) == rows
    assert in_packed.notices == in_json.notices
    assert in_packed.wants == in_json.wants
    assert in_packed.instruments == in_json.instruments


def test_some_rows_are_these(frames: list[Frame]) -> None:
    """Three trades of one frame, a correction, a crypto trade of nine decimals: exact, to the nanosecond."""
    target = parser_of(frames)
    rows = fed(target, [packed_frame(*frame) for frame in frames])
    numbers = {symbol: number for symbol, (number, _) in target.instruments.items()}
    trades = [row for row in rows if row.kind is Kind.TRADE]
    assert [
        (row.price, row.size, row.id, row.ts_venue) for row in trades if row.instrument == numbers["AAPL"]
    ] == [
        (1_629_200, 3, 628, 1_680_782_066_838_232_225),
        (1_629_200, 3, 75, 1_680_782_066_838_562_809),
        (1_629_100, 71, 1465, 1_680_782_066_839_159_730),
        (1_265_500, 1, 96921, 1_614_009_104_208_000_000),
    ]
    (correction,) = (row for row in trades if row.instrument == numbers["EEM"])
    assert (correction.id, correction.price, correction.flags) == (
        52_983_525_033_527,
        391_809,
        Flag.REVISED | Flag.LAST,
    )
    (avax,) = (row for row in trades if row.instrument == numbers["AVAX/USD"])
    assert (avax.price, avax.size, avax.id) == (472_990, 29_205_707_815, 3_447_222_699_101_865_076)
    assert target.instruments["AVAX/USD"][1].size_decimals == 9


def test_frames_together_give_the_rows_of_each(frames: list[Frame]) -> None:
    """All messages of all frames in one array: the same facts, in one message of the log."""
    apart, together = parser_of(frames), parser_of(frames)
    single = [
        row for row in fed(apart, [packed_frame(*frame) for frame in frames]) if row.kind != Kind.INSTRUMENT
    ]
    whole = [message for frame in frames for message in frame]
    joined = [row for row in fed(together, [packed_frame(*whole)]) if row.kind != Kind.INSTRUMENT]

    def facts(rows: list[Row]) -> list[tuple[Any, ...]]:
        return [
            (row.kind, row.instrument, row.side, row.id, row.part, row.ts_venue, row.flags & ~Flag.LAST)
            for row in rows
        ]

    assert facts(joined) == facts(single)
    assert [index for index, row in enumerate(joined) if row.flags & Flag.LAST] == [len(joined) - 1]
    assert together.instruments.keys() == apart.instruments.keys()


def test_options_are_read_as_far_as_they_are_alike(real_data: Path) -> None:
    """Their streams are not offered; a trade and a quote of theirs have no number and one condition."""
    lines = (real_data / "alpaca" / "stream_messages.ndjson").read_text(encoding="utf-8").splitlines()
    taken = [json.loads(line) for line in lines]
    frames = [each["frame"] for each in taken if each["dir"] == "in" and "option" in each["src"]]
    rows = fed(parser_of(frames), [packed_frame(*frame) for frame in frames])
    assert [row.kind for row in rows] == [Kind.TRADE, Kind.QUOTE, Kind.QUOTE]
