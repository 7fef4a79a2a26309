"""Recordings of venues whose books come over the stream: their frames give their rows again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from engine.feed.coinbase import CoinbaseParser
from engine.feed.kraken import KrakenParser
from engine.ingest.rebuild import rebuild
from engine.live.carry import BookCarry
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, Kind, SourceData, StatusData, encode_canonical
from tests.helpers import coinbase, kraken
from tests.helpers.frames import SOCKET, TS
from tests.helpers.kraken import GUIDE_ASKS, GUIDE_BIDS

LAST = int(Flag.LAST)
LOST = b""  # in a list of frames: the connection goes


class Recording:
    """Writes a log of one connection as a recorder does, by hand."""

    def __init__(
        self, path: Path, parser: KrakenParser | CoinbaseParser, header: LogHeader | None = None
    ) -> None:
        self.writer = LogWriter(path, header or LogHeader())
        self.parser = parser
        self.ts = TS if header is None else TS + 10**12
        venue = next(iter(parser.instruments.values()))[1].venue
        source = SourceData(
            name=venue, venue=venue, url="wss://stream.example", symbols=tuple(parser.instruments)
        )
        self._row(Kind.SOURCE, encode_canonical(source), source=SOCKET)
        for number, definition in parser.instruments.values():
            self._row(Kind.INSTRUMENT, encode_canonical(definition), source=2, instrument=number)

    def stamp(self) -> int:
        """The next time."""
        self.ts += 1_000
        return self.ts

    def _row(self, kind: Kind, data: bytes, *, source: int, instrument: int = 0) -> None:
        self.writer.rows.append(
            self.stamp(), kind, flags=LAST, data=data, source=source, instrument=instrument
        )

    def take(self, frames: Sequence[bytes]) -> None:
        """What came over the socket."""
        for frame in frames:
            if frame:
                self.parser.feed(frame, self.stamp(), self.writer.rows)
            else:
                self._row(Kind.STATUS, encode_canonical(StatusData(event="disconnected")), source=SOCKET)
                self.parser.connection_lost()

    def end(self, reason: str = "stop") -> Path:
        """Close the file."""
        self.writer.close(reason=reason, ts=self.stamp())
        return self.writer.path


def update(crc: int | None = None) -> bytes:
    """A change of the guide's book; with its own checksum unless another one is given."""
    bids = [("45283.5", "0.20000000"), *GUIDE_BIDS[1:]]
    return kraken.book("update", bids[:1], [], kraken.checksum(bids, GUIDE_ASKS) if crc is None else crc)


KRAKEN = [
    kraken.STATUS,
    kraken.ack(depth=10),
    kraken.numbered(5, 6, form="snapshot"),
    kraken.SNAPSHOT,
    update(),
    kraken.trades(kraken.trade_item(9, qty="0.123456789")),
    kraken.bars(kraken.bar(1), kraken.bar(2), form="snapshot"),
    kraken.bars(kraken.bar(3)),
    update(1),
    update(),
    kraken.SNAPSHOT[:40],
    kraken.SNAPSHOT,
    LOST,
    kraken.numbered(8, 9, 10, form="snapshot"),
    kraken.SNAPSHOT,
    kraken.HEARTBEAT,
    update(),
]
COINBASE = [
    coinbase.SNAPSHOT,
    coinbase.subscriptions(1, level2=["BTC-USD"]),
    coinbase.numbered(2, 6, 5, form="snapshot"),
    coinbase.trades(3, coinbase.trade(8, size="0.123456789")),
    coinbase.candles(4, 300, 600, 900),
    coinbase.heartbeat(6),
    coinbase.book(7, "update", [("1.00", "1")]),
    coinbase.heartbeat(5),
    LOST,
    coinbase.SNAPSHOT,
    coinbase.book(1, "update", [("1.00", "1")]),
    coinbase.numbered(2, 9, 8, 7, form="snapshot"),
]


@pytest.mark.parametrize(
    ("parser", "frames"), [(kraken.parser, KRAKEN), (coinbase.parser, COINBASE)], ids=["kraken", "coinbase"]
)
def test_a_recording_comes_out_as_it_is(
    tmp_path: Path, parser: Callable[[], KrakenParser | CoinbaseParser], frames: list[bytes]
) -> None:
    """Snapshots, gaps, history, wider definitions, broken frames, lost connections: every row again."""
    recording = Recording(tmp_path / "a.arrow", parser())
    recording.take(frames)
    report = rebuild(recording.end())
    assert report.differences == ()
    assert (report.frames, report.unparsed) == (len([frame for frame in frames if frame]), 0)


def segments(
    tmp_path: Path, parser: KrakenParser | CoinbaseParser, frames: list[bytes], more: list[bytes]
) -> tuple[Path, Path]:
    """Two files of a recording; the second begins with the book that the first ended with."""
    first = Recording(tmp_path / "1.arrow", parser)
    first.take(frames)
    first.end("rotation")
    carry = BookCarry()
    for batch in LogReader(tmp_path / "1.arrow").batches():
        carry.take(batch)
    header = LogHeader(segment=2, previous_file="1.arrow", previous_chain=first.writer.chain_head)
    second = Recording(tmp_path / "2.arrow", parser, header)
    assert carry.append(second.writer.rows, second.stamp) == 1
    second.take(more)
    return first.writer.path, second.end()


FALLS_OUT = [("45284.0", "1.00000000"), ("45283.5", "0.20000000"), *GUIDE_BIDS[1:9]]


@pytest.mark.parametrize("alone", [False, True], ids=["together", "the second alone"])
def test_a_carried_book_of_kraken(tmp_path: Path, *, alone: bool) -> None:
    """Its digits follow from the definition, and its checksum says that they do; its depth is that it has."""
    more = [
        kraken.book("update", FALLS_OUT[:1], [], kraken.checksum(FALLS_OUT, GUIDE_ASKS)),
        kraken.book("update", [], [], 5),
    ]
    both = segments(tmp_path, kraken.parser(), [kraken.ack(depth=10), kraken.SNAPSHOT, update()], more)
    assert rebuild(both[1] if alone else both).differences == ()


@pytest.mark.parametrize("alone", [False, True], ids=["together", "the second alone"])
def test_a_carried_book_of_coinbase(tmp_path: Path, *, alone: bool) -> None:
    """What keeps it in step is the connection's numbers."""
    more = [coinbase.book(2, "update", [("1.00", "1")]), coinbase.heartbeat(4)]
    frames = [coinbase.SNAPSHOT, coinbase.book(1, "update", [("2.00", "1")])]
    both = segments(tmp_path, coinbase.parser(), frames, more)
    assert rebuild(both[1] if alone else both).differences == ()


def test_a_carried_book_whose_checksum_is_another_is_not_believed(tmp_path: Path) -> None:
    """A definition finer than the wire gives other digits: then only the next snapshot is believed."""
    target = kraken.parser()
    fine = kraken.trades(kraken.trade_item(9, "45283.55"))
    path = segments(tmp_path, target, [kraken.ack(depth=10), fine, kraken.SNAPSHOT], [update()])[1]
    assert [difference.column for difference in rebuild(path).differences] == ["flags"]
