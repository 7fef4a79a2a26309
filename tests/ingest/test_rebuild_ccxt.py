"""A recording through ccxt: what was handed over gives its rows again, whichever venue it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.feed.ccxt_rows import CcxtParser
from engine.ingest.rebuild import rebuild
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, StatusData, encode_canonical

LAST = int(Flag.LAST)
SYMBOL, VENUE, SOURCE = "BTC/USDT", "ccxt:okx", 3
DEFINITION = InstrumentData(
    key=f"{SYMBOL}.{VENUE}",
    symbol=SYMBOL,
    venue=VENUE,
    price_decimals=2,
    size_decimals=2,
    price_increment="0.01",
    size_increment="0.01",
)


def book(*bids: list[Any], whole: bool = False) -> dict[str, Any]:
    return {"channel": "book", "symbol": SYMBOL, "whole": whole, "bids": bids, "asks": []}


def trade(number: int, price: str = "1.5") -> dict[str, Any]:
    return {"channel": "trade", "symbol": SYMBOL, "trades": [{"id": number, "price": price, "amount": 1}]}


FRAMES: list[Any] = [
    trade(1),
    trade(1),
    trade(2, "1.12345"),
    book([1.5, 2], whole=True),
    book([1.5, 0], [1.25, 1e-05]),
    {"channel": "liquidation", "symbol": SYMBOL},
    trade(3, "-1"),
    None,  # the connection goes
    book([1.5, 2]),
    book([1.5, 2], whole=True),
    {"channel": "quote", "symbol": SYMBOL, "ticker": {"bid": "1", "ask": "2"}},
]


def test_a_recording_comes_out_as_it_is(tmp_path: Path) -> None:
    """Duplicates, wider definitions, broken and unknown frames, a loss, doubtful books: every row again."""
    writer = LogWriter(tmp_path / "a.arrow", LogHeader())
    rows, parser = writer.rows, CcxtParser({SYMBOL: (7, DEFINITION)}, SOURCE)
    source = SourceData(name=VENUE, venue=VENUE)
    rows.append(1_000, Kind.SOURCE, source=SOURCE, flags=LAST, data=encode_canonical(source))
    rows.append(1_010, Kind.INSTRUMENT, instrument=7, flags=LAST, data=encode_canonical(DEFINITION))
    for ts, frame in enumerate(FRAMES, start=200):
        if frame is None:
            lost = encode_canonical(StatusData(event="disconnected"))
            rows.append(ts * 10, Kind.STATUS, source=SOURCE, flags=LAST, data=lost)
            parser.connection_lost()
        else:
            parser.feed(msgspec.json.encode(frame), ts * 10, rows)
    writer.close(reason="stop", ts=10_000)
    report = rebuild(writer.path)
    assert report.differences == ()
    assert (report.frames, report.unparsed) == (len(FRAMES) - 1, 0)
