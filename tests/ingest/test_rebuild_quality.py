"""Flags of tick quality are made again from the frames alone: file by file, each from its start."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from engine.feed.binance import BinanceParser
from engine.feed.quality import MODE_KEY, Quality, with_mode
from engine.ingest.rebuild import rebuild
from engine.log.check import check
from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.log.writer import LogWriter
from engine.model.kinds import Flag, Kind, SourceData, encode_canonical
from tests.helpers.frames import BTC, SOCKET, TS, combined, trade
from tests.helpers.logs import read_rows
from tests.helpers.rows import rows_of_batch

STREAM = SourceData(name="binance", venue="binance", url="wss://stream.example")
CALM = [f"{10_000 + n % 3}.5" for n in range(25)]
LAST = int(Flag.LAST)


class Recording:
    """A log of one connection whose rows go through tick quality as a recorder's do, before each flush."""

    writer: LogWriter
    parser: BinanceParser
    ts: int
    number: int

    def __init__(
        self, path: Path, source: SourceData, quality: Quality, before: Recording | None = None
    ) -> None:
        header = LogHeader()
        if before is not None:
            chain = before.writer.chain_head
            header = LogHeader(segment=2, previous_file=before.writer.path.name, previous_chain=chain)
        self.writer = LogWriter(path, header)
        self.quality = quality
        self.parser = BinanceParser({"BTCUSDT": (1, BTC)}, SOCKET) if before is None else before.parser
        self.ts = TS if before is None else before.ts
        self.number = 0 if before is None else before.number
        self.row(Kind.SOURCE, source, source=SOCKET)
        for number, definition in self.parser.instruments.values():
            self.row(Kind.INSTRUMENT, definition, source=0, instrument=number)

    def stamp(self) -> int:
        """The next time."""
        self.ts += 1_000
        return self.ts

    def row(self, kind: Kind, data: Any = None, **columns: Any) -> None:
        """A message of one row without a frame."""
        text = None if data is None else encode_canonical(data)
        self.writer.rows.append(self.stamp(), kind, flags=LAST, data=text, **columns)

    def trades(self, *prices: str) -> None:
        """Trade frames, one after the other."""
        for price in prices:
            self.number += 1
            self.parser.feed(trade(self.number, price), self.stamp(), self.writer.rows)

    def quote(self, bid: str, ask: str) -> None:
        """A quote frame."""
        self.number += 1
        data = {"u": self.number, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1"}
        self.parser.feed(combined("btcusdt@bookTicker", data), self.stamp(), self.writer.rows)

    def write(self) -> None:
        """Judge and flush."""
        self.quality.take(self.writer.rows)
        self.writer.flush()

    def end(self, reason: str = "stop") -> Path:
        """Close the file."""
        self.write()
        self.writer.close(reason=reason, ts=self.stamp())
        return self.writer.path


def busy(recording: Recording, seed: int = 0) -> None:
    """All that happens to ticks, flushed at random."""
    chance = random.Random(seed)
    for part in range(12):
        recording.trades(*CALM, "20000", "0", "9.5")
        recording.quote("10000", "10001")
        recording.quote("10002", "10001")
        recording.number += chance.randrange(
            2
        )  # now and then an id is missing: a STATUS row before the trade
        recording.trades("30000" if part % 3 else "10000")
        if part == 5:
            recording.trades("10000.125", *["13000"] * 25)  # a wider definition, then a shift
        if chance.random() < 0.7:
            recording.write()


def flags_of(path: Path) -> list[tuple[str, Flag]]:
    """Kinds and flags of all rows."""
    columns = LogReader(path)
    return [
        (Kind(int(batch.kind[n])).name, Flag(int(batch.flags[n])))
        for batch in columns.batches()
        for n in range(batch.count)
    ]


@pytest.mark.parametrize("mode", ["warn", "strict", "off", ""])
def test_a_judged_recording_comes_out_as_it_is(tmp_path: Path, mode: str) -> None:
    """Flags, reasons and their places, in every mode; and its rows keep the rules of the format."""
    recording = Recording(tmp_path / "a.arrow", with_mode(STREAM, mode) if mode else STREAM, Quality())
    busy(recording)
    report = rebuild(recording.end())
    assert report.differences == ()
    assert check(tmp_path / "a.arrow").ok
    rejected = sum(bool(flags & Flag.REJECTED_TICK) for _, flags in flags_of(tmp_path / "a.arrow"))
    assert (rejected > 40) == (mode in {"warn", "strict"})


def test_the_rebuilt_log_is_the_log(tmp_path: Path) -> None:
    """Written out again it has the same rows."""
    recording = Recording(tmp_path / "a.arrow", with_mode(STREAM, "strict"), Quality())
    busy(recording)
    rebuild(recording.end(), tmp_path / "b.arrow")
    assert read_rows(tmp_path / "b.arrow") == read_rows(tmp_path / "a.arrow")


def test_a_flag_that_was_changed_shows(tmp_path: Path) -> None:
    """A tick that somebody lets through after all is named."""
    recording = Recording(tmp_path / "a.arrow", with_mode(STREAM, "warn"), Quality())
    recording.trades(*CALM, "20000")
    recording.quality.take(recording.writer.rows)
    recording.writer.rows.view()["flags"][-2] = 0
    recording.writer.flush()
    recording.writer.abandon()
    (difference,) = rebuild(recording.writer.path).differences
    assert (difference.column, difference.was, difference.now) == ("flags", 0, Flag.REJECTED_TICK)


def test_without_its_mode_a_judged_recording_differs(tmp_path: Path) -> None:
    """The SOURCE row decides: what was rejected would not be, and its reasons would not be there."""
    recording = Recording(tmp_path / "a.arrow", STREAM, Quality())
    judge = Quality()
    recording.quality = judge
    recording.trades(*CALM, "20000")
    rows = recording.writer.rows
    told = encode_canonical(with_mode(STREAM, "warn"))
    stated = rows.data[0]
    view = rows.view()
    view["data_length"][0], rows.data[0] = len(told), told
    judge.take(rows)
    view = rows.view()
    view["data_length"][0], rows.data[0] = len(stated), stated
    recording.writer.flush()
    recording.writer.abandon()
    assert rebuild(recording.writer.path).columns == {"flags": 1, "row": 1}


@pytest.mark.parametrize("seed", range(3))
def test_each_segment_is_judged_by_itself(tmp_path: Path, seed: int) -> None:
    """One Quality over a rotation: the second file rebuilds alone, and both together."""
    source, quality = with_mode(STREAM, "strict"), Quality()
    first = Recording(tmp_path / "1.arrow", source, quality)
    busy(first, seed)
    first.end("rotation")
    second = Recording(tmp_path / "2.arrow", source, quality, first)
    second.trades("50000")  # nothing is left to reject it by
    busy(second, seed)
    second.end()
    assert rebuild(tmp_path / "2.arrow").differences == ()
    assert rebuild([tmp_path / "1.arrow", tmp_path / "2.arrow"]).differences == ()


def test_rows_without_a_parser_are_judged_again(tmp_path: Path) -> None:
    """What came by a library and not as frames: its ticks are taken as they are, their flags are not."""
    source = with_mode(SourceData(name="other", venue="other", detail={"library": "x"}), "strict")
    recording = Recording(tmp_path / "a.arrow", source, Quality())
    assert source.detail == {"library": "x", MODE_KEY: "strict"}
    chance = random.Random(7)
    for number in range(1, 800):
        price = 1_000_000 + chance.randrange(100)
        if chance.random() < 0.1 or number > 700:
            price = 2_000_000
        columns = {"source": SOCKET, "instrument": 1, "side": 1, "price": price, "size": 1, "id": number}
        recording.row(Kind.TRADE, **columns)
        if chance.random() < 0.2:
            recording.write()
    report = rebuild(recording.end())
    assert report.differences == ()
    assert report.frames == 0
    rows = [row for batch in LogReader(tmp_path / "a.arrow").batches() for row in rows_of_batch(batch)]
    assert {row.event for row in rows if row.event} == {"rejected_tick", "rebased"}
