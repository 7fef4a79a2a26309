"""What the local Alpaca sends is what the engine's own parser reads, and a log of it can be served again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.feed.alpaca import AlpacaParser
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, InstrumentData, Kind, SourceData, encode_canonical
from engine.model.rows import RowBuffer
from engine.serve.alpaca_market import AlpacaMarket, Message
from engine.serve.alpaca_source import AlpacaSource
from engine.serve.alpaca_symbols import alpaca_model
from engine.serve.alpaca_wire import JSON, MSGPACK, array, encode
from engine.serve.news_source import read_headlines
from engine.serve.source import RecordingSource
from engine.serve.synthetic import SNAPSHOT, SyntheticMarket

SECOND = 1_000_000_000
T0 = 1_717_232_400 * SECOND
SECONDS = 200
LAST = int(Flag.LAST)
CHANNELS = ("trade", "quote", "bar", "book", "updated", "daily", "status", "luld")


def instruments() -> dict[str, tuple[int, InstrumentData]]:
    """As the adapter defines them: cents and whole shares, wider where a message needs it."""
    found: dict[str, tuple[int, InstrumentData]] = {}
    for number, (symbol, size) in enumerate((("AAPL", 0), ("BTC/USD", 9)), start=1):
        found[symbol] = (
            number,
            InstrumentData(
                key=f"{symbol}.alpaca",
                symbol=symbol,
                venue="alpaca",
                price_decimals=2,
                size_decimals=size,
                price_increment="0.01",
                size_increment="1" if not size else "0.000000001",
                base=symbol.partition("/")[0],
                quote="USD",
                channels=("trade", "quote", "book") if size else ("trade", "quote"),
            ),
        )
    return found


@pytest.fixture(scope="module")
def frames() -> list[tuple[int, list[Message]]]:
    """Some minutes of the venue's messages, event by event."""
    market = SyntheticMarket(7, ["AAPL", "BTC/USD"], model=alpaca_model)
    source = AlpacaSource(market, read_headlines().items[:3], test_symbol=False)
    made = AlpacaMarket(source.instruments)
    found: list[tuple[int, list[Message]]] = []
    for event in source.events():
        if event.time_ns > T0 + SECONDS * SECOND:
            break
        if messages := made.apply(event.time_ns, event):
            found.append((event.time_ns, messages))
    return found


def parse(frames: list[tuple[int, list[Message]]], encoding: str, rows: RowBuffer) -> AlpacaParser:
    """Every frame with the engine's parser, received 5 ms after it was sent."""
    parser = AlpacaParser(instruments(), 1, CHANNELS)
    ts = 0
    for at_ns, messages in frames:
        ts = max(ts + 1, at_ns + 5_000_000)
        parser.feed(array([encode(m.body, encoding) for m in messages], encoding), ts, rows)
    return parser


def written(path: Path, frames: list[tuple[int, list[Message]]], encoding: str) -> AlpacaParser:
    header = LogHeader(engine="test", created="2024-06-01T09:00:00Z", venues=("alpaca",), note="")
    with LogWriter(path, header) as writer:
        source = encode_canonical(SourceData(name="alpaca", venue="alpaca", url="ws:"))
        writer.rows.append(T0 - 9, Kind.SOURCE, source=1, flags=LAST, data=source)
        for number, data in instruments().values():
            body, ts = encode_canonical(data), T0 - 8 + number
            writer.rows.append(ts, Kind.INSTRUMENT, source=1, instrument=number, flags=LAST, data=body)
        parser = parse(frames, encoding, writer.rows)
        writer.close(reason="end of the test", ts=T0 + 2 * SECONDS * SECOND)
        return parser


@pytest.mark.parametrize("encoding", [JSON, MSGPACK])
def test_the_engines_parser_understands_everything(
    frames: list[tuple[int, list[Message]]], encoding: str, tmp_path: Path
) -> None:
    """No malformed row, nothing unknown; every trade, quote, headline with its id and stamp."""
    path = tmp_path / "alpaca.arrow"
    parser = written(path, frames, encoding)
    assert not parser.unknown
    sent = Counter(message.body["T"] for _, messages in frames for message in messages)
    trades: list[tuple[int, int]] = []
    quotes = headlines = malformed = 0
    with LogReader(path) as reader:
        for batch in reader.batches():
            kinds = Counter(batch.kind.tolist())
            malformed += kinds[Kind.MALFORMED]
            quotes += kinds[Kind.QUOTE]
            headlines += kinds[Kind.NEWS]
            plain = (batch.kind == Kind.TRADE) & (batch.flags & int(Flag.REVISED) == 0)
            trades += [(int(batch.id[row]), int(batch.ts_venue[row])) for row in plain.nonzero()[0].tolist()]
    assert malformed == 0
    expected = [(m.id, m.stamp_ns) for _, messages in frames for m in messages if m.body["T"] == "t"]
    assert trades == expected
    assert (quotes, headlines) == (2 * sent["q"], sent["n"])
    assert sent["x"] + sent["c"] > 0


def test_its_log_can_be_served_again(frames: list[tuple[int, list[Message]]], tmp_path: Path) -> None:
    """The rows' own trades, quotes and books come out of the source, without what became of trades later."""
    path = tmp_path / "alpaca.arrow"
    written(path, frames, MSGPACK)
    source = RecordingSource(path)
    assert [data.symbol for data in source.instruments] == ["AAPL", "BTC/USD"]
    events = list(source.events())
    sent = [message.body for _, messages in frames for message in messages]

    def ids(symbol: str) -> tuple[list[int], list[int]]:
        stream = symbol.lower() + "@trade"
        got = [event.payload["t"] for event in events if event.stream == stream]
        return got, [body["i"] for body in sent if body["T"] == "t" and body["S"] == symbol]

    for symbol in ("AAPL", "BTC/USD"):
        got, expected = ids(symbol)
        assert got == expected
    market = AlpacaMarket(source.instruments, seed=None)
    quotes: list[tuple[str, Any, Any, Any, Any]] = []
    for event in events:
        again = [message.body for message in market.apply(event.time_ns, event)]
        quotes += [_picture(body) for body in again if body["T"] == "q"]
    assert quotes == [_picture(body) for body in sent if body["T"] == "q"]
    book: dict[str, dict[float, float]] = {"b": {}, "a": {}}
    for body in sent:
        if body["T"] == "o":
            for side, levels in book.items():
                if body.get("r"):
                    levels.clear()
                levels.update({level["p"]: level["s"] for level in body[side]})
    shown: dict[str, Any] = market.orderbook("BTC/USD", 5_000)
    for side, levels in book.items():
        assert {p: s for p, s in levels.items() if s} == {each["p"]: each["s"] for each in shown[side]}
    assert any(event.stream.endswith(SNAPSHOT) for event in events)


def _picture(quote: dict[str, Any]) -> tuple[str, Any, Any, Any, Any]:
    return quote["S"], quote["bp"], quote["bs"], quote["ap"], quote["as"]
