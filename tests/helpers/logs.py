"""Small logs for tests: messages in one line each, headers and definitions included.

    path = make_log(tmp_path / "a.arrow", [trade(1), book(2, (BID, 100, 5), (ASK, 101, 5)), quote(3)])

A message is a list of `Row`s; its time is in seconds after START. One batch per message, unless asked
otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.log.reader import LogReader
from engine.log.schema import COLUMNS, Batch, LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import (
    ASK,
    BID,
    BUY,
    Flag,
    InstrumentData,
    Kind,
    NewsData,
    SourceData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from engine.model.units import NULL_TIME, SECOND_NS

START = 1_717_200_000 * SECOND_NS  # 2024-06-01T00:00:00Z

BTC = InstrumentData(
    key="BTCUSDT.binance",
    symbol="BTCUSDT",
    venue="binance",
    price_decimals=2,
    size_decimals=5,
    price_increment="0.01",
    size_increment="0.00001",
    base="BTC",
    quote="USDT",
    channels=("trade", "quote", "book"),
)
ETH = InstrumentData(
    key="ETHUSDT.binance",
    symbol="ETHUSDT",
    venue="binance",
    price_decimals=2,
    size_decimals=4,
    price_increment="0.01",
    size_increment="0.0001",
    base="ETH",
    quote="USDT",
    channels=("trade", "quote", "book"),
)
SOURCE = SourceData(name="binance", venue="binance", url="wss://example.invalid/stream")


@dataclass(frozen=True)
class Row:
    """One row of a message, but for its time and LAST."""

    kind: int
    ts_venue: int = NULL_TIME
    source: int = 1
    part: int = 0
    flags: int = 0
    instrument: int = 0
    side: int = 0
    price: int = 0
    size: int = 0
    id: int = 0
    data: bytes | None = None
    wire: bytes | None = None


@dataclass(frozen=True)
class Message:
    """Rows that arrived together, at `ts`."""

    ts: int
    rows: tuple[Row, ...]

    def append_to(self, buffer: RowBuffer) -> None:
        """Append the message's rows, the last one flagged LAST."""
        for row in self.rows:
            buffer.append_fast(
                self.ts,
                row.ts_venue,
                row.source,
                row.kind,
                row.part,
                row.flags,
                row.instrument,
                row.side,
                row.price,
                row.size,
                row.id,
                row.data,
                row.wire,
            )
        buffer.end_message()


def at(seconds: float) -> int:
    """Time of a message, in ns, so many seconds after START."""
    return START + round(seconds * SECOND_NS)


def trade(
    seconds: float,
    price: int = 6_000_000,
    size: int = 1000,
    *,
    side: int = BUY,
    id: int = 0,  # noqa: A002  the column's name
    instrument: int = 1,
    wire: bytes | None = b'{"e":"trade"}',
) -> Message:
    """A message of one TRADE row."""
    ts = at(seconds)
    row = Row(Kind.TRADE, ts - 5_000_000, 1, 0, 0, instrument, side, price, size, id, None, wire)
    return Message(ts, (row,))


def quote(
    seconds: float, bid: int = 5_999_999, ask: int = 6_000_001, size: int = 5000, *, instrument: int = 1
) -> Message:
    """A message of two QUOTE rows, bid then ask."""
    rows = (
        Row(Kind.QUOTE, instrument=instrument, side=BID, price=bid, size=size, wire=b'{"e":"quote"}'),
        Row(Kind.QUOTE, instrument=instrument, side=ASK, price=ask, size=size),
    )
    return Message(at(seconds), rows)


def book(
    seconds: float,
    *levels: tuple[int, int, int],
    snapshot: bool = False,
    id: int = 0,  # noqa: A002  the column's name
    instrument: int = 1,
) -> Message:
    """A message of BOOK rows, one per (side, price, size); with `snapshot` flagged as such."""
    rows = []
    for i, (side, price, size) in enumerate(levels):
        flags = (Flag.SNAPSHOT | (Flag.CLEAR if i == 0 else 0)) if snapshot else 0
        wire = b'{"e":"depthUpdate"}' if i == 0 else None
        rows.append(Row(Kind.BOOK, at(seconds), 1, 0, flags, instrument, side, price, size, id, None, wire))
    return Message(at(seconds), tuple(rows))


def news(seconds: float, headline: str, *, symbols: tuple[str, ...] = ()) -> Message:
    """A NEWS message."""
    data = encode_canonical(NewsData(id="1", headline=headline, symbols=symbols))
    return Message(at(seconds), (Row(Kind.NEWS, at(seconds), data=data),))


def engine_row(seconds: float, kind: Kind, data: object = None) -> Message:
    """A row of the engine's own (STATUS, CLOCK, COMMAND, …), `data` being its struct."""
    text = None if data is None else encode_canonical(data)
    return Message(at(seconds), (Row(kind, source=0, data=text),))


def definitions(
    instruments: Sequence[InstrumentData] = (BTC, ETH), source: SourceData = SOURCE
) -> list[Message]:
    """The SOURCE and INSTRUMENT rows that every file begins with, just before START."""
    messages = [Message(START - 1000, (Row(Kind.SOURCE, source=1, data=encode_canonical(source)),))]
    for number, instrument in enumerate(instruments, 1):
        row = Row(Kind.INSTRUMENT, source=1, instrument=number, data=encode_canonical(instrument))
        messages.append(Message(START - 1000 + number, (row,)))
    return messages


def market(count: int, seed: int, *, start: float = 1.0) -> list[Message]:
    """`count` random messages: trades, quotes, book changes and headlines, 1 to 7 rows each."""
    chance = random.Random(seed)
    messages = []
    for i in range(count):
        seconds = start + i / 100
        price = 6_000_000 + chance.randrange(-500, 500)
        instrument = chance.choice((1, 2))
        dice = chance.random()
        if dice < 0.4:
            wire = b'{"e":"trade","t":%d,"p":"%d"}' % (i, price)
            side = chance.choice((BID, ASK))
            messages.append(
                trade(
                    seconds,
                    price,
                    chance.randrange(1, 9999),
                    side=side,
                    id=i,
                    instrument=instrument,
                    wire=wire,
                )
            )
        elif dice < 0.6:
            messages.append(quote(seconds, price - 1, price + 1, instrument=instrument))
        elif dice < 0.95:
            levels = [
                (chance.choice((BID, ASK)), price + chance.randrange(-50, 50), chance.randrange(0, 9999))
                for _ in range(chance.randrange(1, 8))
            ]
            messages.append(book(seconds, *levels, id=i, instrument=instrument))
        else:
            messages.append(news(seconds, f"Headline {i} — “quoted”"))
    return messages


def write_log(
    path: Path,
    messages: Iterable[Message],
    *,
    header: LogHeader | None = None,
    per_batch: int = 1,
    with_definitions: bool = True,
) -> LogWriter:
    """An open writer that has flushed the messages, `per_batch` to a batch."""
    writer = LogWriter(path, header or LogHeader(engine="test", venues=("binance",), note="made by a test"))
    everything = [*(definitions() if with_definitions else ()), *messages]
    for i, message in enumerate(everything, 1):
        message.append_to(writer.rows)
        if i % per_batch == 0:
            writer.flush()
    writer.flush()
    return writer


def make_log(
    path: Path,
    messages: Iterable[Message],
    *,
    header: LogHeader | None = None,
    per_batch: int = 1,
    end: bool = True,
    sealed: bool = False,
    with_definitions: bool = True,
) -> Path:
    """A finished log: definitions, the messages and (unless `end` is False) an END row; sealed if asked."""
    messages = list(messages)
    writer = write_log(path, messages, header=header, per_batch=per_batch, with_definitions=with_definitions)
    if end:
        last = messages[-1].ts if messages else START
        writer.close(reason="end of test data", ts=last + 1)
    writer.abandon()
    if sealed:
        from engine.log.seal import seal

        seal(path)
    return path


def rows_of(batches: Iterable[Batch]) -> list[tuple[object, ...]]:
    """Every row as a tuple of all columns but seq, texts as bytes: what two logs are compared by."""
    rows: list[tuple[object, ...]] = []
    for batch in batches:
        columns = [getattr(batch, name).tolist() for name in COLUMNS[1:12]]
        columns.append([batch.data_at(i) for i in range(batch.count)])
        columns.append([batch.wire_at(i) for i in range(batch.count)])
        rows += zip(*columns, strict=True)
    return rows


def read_rows(path: Path) -> list[tuple[object, ...]]:
    """All good rows of a file."""
    return rows_of(LogReader(path).batches())
