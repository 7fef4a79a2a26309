"""Trades and quotes of the real captures as plain facts, whatever format they came in.

Each capture has a reader of a few lines here, because what is tested is what comes after parsing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.feed.binance import BinanceParser
from engine.ingest.capture_lines import read_lines
from engine.model.kinds import ASK, BID, Flag, InstrumentData, Kind
from engine.model.rows import RowBuffer
from engine.model.units import parse_decimal, trim_decimal
from tests.helpers.frames import BTC
from tests.reference.quality import Fact

DECIMALS = 10  # of every price here that has to be read as text
SPOT = ("btcusdt_20230405.dat.gz", "btcusdt_20240808.gz", "btcusdt_20240809.gz")
LEGACY = ("NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR")
_LOBSTER = "LOBSTER_SampleFile_GOOG_2012-06-21_1.zip"
_LOBSTER_FILE = "GOOG_2012-06-21_34200000_57600000_{}_1.csv"
_LOBSTER_NOBODY = 9_999_999_999


def datasets(folder: Path) -> dict[str, list[Fact]]:
    """Every capture's ticks, by a name for people; each begins with its instruments."""
    spot = folder / "binance_spot"
    return {
        "Binance spot, BTCUSDT, 2023-04-05": binance([spot / SPOT[0]], [BTC]),
        "Binance spot, BTCUSDT, 2024-08-08 and 09": binance([spot / name for name in SPOT[1:]], [BTC]),
        "Binance spot, four pairs, 2021-10-12": binance(
            [folder / "binance_legacy" / "BINANCE.ws.1.0"], _wide()
        ),
        "Kraken, ten pairs, 2021-04-17": kraken(folder / "kraken"),
        "Coinbase, ten pairs, 2021-04-17": coinbase(folder / "coinbase_legacy" / "COINBASE.ws.28.0.gz"),
        "LOBSTER, GOOG, 2012-06-21": lobster(folder / "lobster" / _LOBSTER),
    }


def _wide() -> list[InstrumentData]:
    return [InstrumentData(f"{s}.binance", s, "binance", 8, 8, "0.00000001", "0.00000001") for s in LEGACY]


def binance(files: list[Path], definitions: list[InstrumentData]) -> list[Fact]:
    """As our own parser has them; files are of one connection."""
    parser = BinanceParser({d.symbol: (n, d) for n, d in enumerate(definitions, start=1)}, 1)
    rows = RowBuffer()
    for file in files:
        for line in read_lines(file):
            if line.frame and not line.endpoint:
                parser.feed(line.frame, line.ts, rows)
    facts = [
        Fact(Kind.INSTRUMENT, n, decimals=d.price_decimals, increment=d.price_increment)
        for n, d in enumerate(definitions, start=1)
    ]
    view = rows.view()
    wanted = view[(view["kind"] == int(Kind.TRADE)) | (view["kind"] == int(Kind.QUOTE))]
    columns = [
        wanted[name].tolist() for name in ("kind", "instrument", "side", "price", "size", "id", "flags", "ts")
    ]
    for kind, instrument, side, price, size, number, flags, ts in zip(*columns, strict=True):
        facts.append(Fact(Kind(kind), instrument, 1, side, price, size, number, Flag(flags), ts))
    return facts


class _Numbers(dict[str, int]):
    """Numbers of instruments, in the order in which they come."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self) + 1
        return self[name]


def _with_head(numbers: _Numbers, facts: list[Fact]) -> list[Fact]:
    """Definitions ahead; the increment, which these captures do not state, is what all prices are made of."""
    made_of = dict.fromkeys(numbers.values(), 10**DECIMALS)
    for fact in facts:
        while fact.price % made_of[fact.instrument]:
            made_of[fact.instrument] //= 10
    head = [
        Fact(Kind.INSTRUMENT, number, decimals=DECIMALS, increment=trim_decimal(step, DECIMALS))
        for number, step in made_of.items()
    ]
    return [*head, *facts]


def _price(text: str) -> int:
    return parse_decimal(text, DECIMALS)


def _quote(instrument: int, bid: list[str], ask: list[str], number: int) -> Iterator[Fact]:
    """Two rows; price and size of each side as texts."""
    yield Fact(Kind.QUOTE, instrument, 1, BID, _price(bid[0]), _price(bid[1]), number, Flag(0), number)
    yield Fact(Kind.QUOTE, instrument, 1, ASK, _price(ask[0]), _price(ask[1]), number, Flag.LAST, number)


def kraken(folder: Path) -> list[Fact]:
    """Version 1: a frame is `[channel number, trades, "trade", pair]`; the ticker has best bid and ask."""
    numbers, facts = _Numbers(), []
    lines = [*read_lines(folder / "KRAKEN.ws.48.0"), *read_lines(folder / "KRAKEN.ws.49.0")]
    for count, line in enumerate(sorted(lines, key=lambda line: line.ts), start=1):
        frame = msgspec.json.decode(line.frame) if line.frame.startswith(b"[") else None
        if frame is None:
            continue
        instrument = numbers[frame[3]]
        if frame[2] == "trade":
            facts += [
                Fact(Kind.TRADE, instrument, 1, 1, _price(trade[0]), _price(trade[1]), count)
                for trade in frame[1]
            ]
        else:
            bid, ask = frame[1]["b"], frame[1]["a"]
            facts += _quote(instrument, [bid[0], bid[2]], [ask[0], ask[2]], count)
    return _with_head(numbers, facts)


def coinbase(file: Path) -> list[Fact]:
    """The older protocol: matches, and tickers with a best bid and ask but no sizes."""
    numbers, facts = _Numbers(), []
    for count, line in enumerate(read_lines(file), start=1):
        if not line.frame.startswith((b'{"type":"match"', b'{"type":"ticker"')):
            continue
        frame = msgspec.json.decode(line.frame)
        instrument = numbers[frame["product_id"]]
        if frame["type"] == "match":
            facts.append(
                Fact(Kind.TRADE, instrument, 1, 1, _price(frame["price"]), _price(frame["size"]), count)
            )
        else:
            facts += _quote(instrument, [frame["best_bid"], "1"], [frame["best_ask"], "1"], count)
    return _with_head(numbers, facts)


def lobster(file: Path) -> list[Fact]:
    """Executions (4 visible, 5 hidden) and the best prices after every event; prices are 10^-4 dollars."""
    facts = [Fact(Kind.INSTRUMENT, 1, decimals=4)]
    with zipfile.ZipFile(file) as archive:
        texts = [archive.read(_LOBSTER_FILE.format(what)).decode() for what in ("message", "orderbook")]
    events, books = (io.StringIO(text) for text in texts)
    for count, (event, book) in enumerate(zip(events, books, strict=True), start=1):
        _, what, _, size, price, _ = (float(cell) for cell in event.split(","))
        if what in (4, 5):
            facts.append(Fact(Kind.TRADE, 1, 1, 1, int(price), int(size), count))
        ask, ask_size, bid, bid_size = (int(cell) for cell in book.split(","))
        assert abs(ask) != _LOBSTER_NOBODY, "this day always has both sides"
        assert abs(bid) != _LOBSTER_NOBODY, "this day always has both sides"
        facts.append(Fact(Kind.QUOTE, 1, 1, BID, bid, bid_size, count, Flag(0)))
        facts.append(Fact(Kind.QUOTE, 1, 1, ASK, ask, ask_size, count))
    return facts
