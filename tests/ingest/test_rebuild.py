"""A log's frames give its rows again; what does not come out as it is gets named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.feed.binance import BinanceParser
from engine.ingest.capture import import_capture
from engine.ingest.rebuild import Difference, rebuild
from engine.ingest.replay import CONTENT
from engine.log.reader import JOIN_ROWS, LogReader
from engine.log.schema import LogHeader
from engine.log.seal import seal
from engine.log.writer import LogWriter
from engine.model.errors import DamagedLog, UsageError
from engine.model.kinds import (
    ASK,
    BID,
    BookData,
    Flag,
    InstrumentData,
    Kind,
    SourceData,
    StatusData,
    encode_canonical,
)
from engine.model.rows import RowBuffer
from tests.helpers.frames import BTC, DEPTH, REST, SOCKET, TS, depth, snapshot, trade

LAST = int(Flag.LAST)
STREAM = SourceData(name="binance", venue="binance", url="wss://stream.example")
Step = Callable[["Recording"], None]


class Recording:
    """Writes a log as a recorder does, by hand."""

    def __init__(
        self, path: Path, header: LogHeader | None = None, parser: BinanceParser | None = None
    ) -> None:
        self.writer = LogWriter(path, header or LogHeader())
        self.rows = self.writer.rows
        self.parser = parser or BinanceParser({"BTCUSDT": (1, BTC)}, SOCKET)
        self.ts = TS
        for number, source in ((SOCKET, STREAM), (REST, DEPTH)):
            self.row(Kind.SOURCE, source, source=number)
        for number, definition in self.parser.instruments.values():
            self.row(Kind.INSTRUMENT, definition, source=REST, instrument=number)

    def stamp(self) -> int:
        """The next time."""
        self.ts += 1_000
        return self.ts

    def row(self, kind: Kind, data: Any = None, **columns: Any) -> None:
        """A message of one row."""
        text = None if data is None else encode_canonical(data)
        self.rows.append(self.stamp(), kind, flags=LAST, data=text, **columns)

    def frames(self, *frames: bytes) -> None:
        """What came over the socket."""
        for frame in frames:
            self.parser.feed(frame, self.stamp(), self.rows)

    def answer(self, body: bytes) -> None:
        """What came over REST."""
        self.parser.feed_rest(DEPTH, body, self.stamp(), self.rows, REST)

    def lose(self) -> None:
        """The connection goes."""
        self.row(Kind.STATUS, StatusData(event="disconnected"), source=SOCKET)
        self.parser.connection_lost()

    def change(self, index: int, **columns: int) -> None:
        """Falsify a row that has not been written yet; a negative index counts from the end."""
        for name, value in columns.items():
            self.rows.view()[name][index] = value

    def end(self, reason: str = "stop") -> Path:
        """Close the file."""
        self.writer.close(reason=reason, ts=self.stamp())
        return self.writer.path


def everything(recording: Recording) -> None:
    """A little of all that a recording may hold."""
    recording.row(Kind.STATUS, StatusData(event="connected"), source=SOCKET)
    recording.frames(b'{"result":null,"id":1}', depth(8, 10), trade(5), trade(9), trade(5), trade(6)[:30])
    recording.row(Kind.CLOCK)
    recording.answer(snapshot(9))
    recording.frames(depth(11, 12), depth(20, 21), trade(10, size="0.0000001"), depth(22, 22))
    recording.answer(snapshot(5))
    recording.answer(snapshot(21, [("1.001", "1")]))
    recording.lose()
    recording.row(Kind.STATUS, StatusData(event="connected"), source=SOCKET)
    recording.frames(depth(23, 24), depth(30, 31), trade(11), b"")
    recording.answer(snapshot(31))
    recording.frames(depth(32, 33))


def test_a_recording_comes_out_as_it_is(tmp_path: Path) -> None:
    """Gaps, losses, snapshots old and good, wider definitions, broken frames: every row again."""
    recording = Recording(tmp_path / "a.arrow")
    everything(recording)
    report = rebuild(recording.end())
    assert report.differences == ()
    assert report.same
    assert (report.frames, report.unparsed) == (19, 0)
    assert report.carried == 2 + 1 + 3 + 1 + 1  # SOURCE, INSTRUMENT, STATUS, CLOCK, END
    assert report.rows == recording.writer.seq
    assert report.warnings == ()


def test_the_rebuilt_log_is_the_log(tmp_path: Path) -> None:
    """Written out, its rows have the same chain hash; sealed, and the original is as it was."""
    recording = Recording(tmp_path / "a.arrow")
    everything(recording)
    path = recording.end()
    before = path.read_bytes()
    report = rebuild(path, tmp_path / "b.arrow")
    assert report.same
    assert report.out == str(tmp_path / "b.arrow")
    header = LogReader(tmp_path / "b.arrow").header
    assert header.sealed_chain == recording.writer.chain_head
    assert header.sealed_rows == recording.writer.seq
    assert path.read_bytes() == before


# what is falsified on the last row; the difference that is named
CHANGES = [
    ({"price": 1}, ("price", 1, 6_183_763)),
    ({"side": 1}, ("side", 1, -1)),
    ({"id": 77}, ("id", 77, 5)),
    ({"flags": LAST | Flag.DUPLICATE}, ("flags", LAST | Flag.DUPLICATE, LAST)),
    ({"ts_venue": -(2**63)}, ("ts_venue", None, 1_723_161_254_900_000_000)),
    ({"instrument": 2}, ("instrument", 2, 1)),
    ({"kind": Kind.QUOTE}, ("kind", Kind.QUOTE, Kind.TRADE)),
]


@pytest.mark.parametrize(("columns", "difference"), CHANGES, ids=[c[1][0] for c in CHANGES])
def test_a_falsified_cell_is_named(
    tmp_path: Path, columns: dict[str, int], difference: tuple[str, int, int]
) -> None:
    """With its seq, its column, what the log says, and what the frame gives."""
    recording = Recording(tmp_path / "a.arrow")
    recording.frames(trade(5))
    recording.change(-1, **columns)
    recording.frames(trade(6))
    report = rebuild(recording.end())
    assert report.differences == (Difference(3, *difference),)
    assert (report.count, report.columns, report.same) == (1, {difference[0]: 1}, False)


def test_a_row_too_few_and_a_row_too_many(tmp_path: Path) -> None:
    """Whole rows that only one side has are named as rows; those around them stay paired."""
    recording = Recording(tmp_path / "a.arrow")
    recording.frames(depth(8, 10, [("10.00", "1"), ("9.00", "2"), ("8.00", "3")]))
    # The log has the frame, but lacks its level 9.00 …
    rows = recording.rows.view()[-3:].copy()
    wire = recording.rows.wire[-1]
    recording.rows.truncate(recording.rows.count - 3)
    copy_rows(rows[[0, 2]], recording.rows, [wire])
    # … and shows a level that the next frame does not have.
    recording.frames(depth(11, 12, [("7.00", "1"), ("6.00", "2")]))
    rows = recording.rows.view()[[-2, -2, -1]].copy()
    rows["wire_length"][1], rows["price"][1] = -1, 650
    wire = recording.rows.wire[-1]
    recording.rows.truncate(recording.rows.count - 2)
    copy_rows(rows, recording.rows, [wire])
    missing, surplus = rebuild(recording.end()).differences
    assert (missing.seq, missing.column, missing.was) == (4, "row", None)
    assert "BOOK" in str(missing.now)
    assert "price=900" in str(missing.now)
    assert (surplus.seq, surplus.column, surplus.now) == (6, "row", None)
    assert "price=650" in str(surplus.was)


def copy_rows(view: Any, rows: RowBuffer, wires: list[bytes]) -> None:
    """Append packed rows again."""
    left = iter(wires)
    for row in view:
        cells = {name: int(row[name]) for name in row.dtype.names}
        wire = next(left) if cells["wire_length"] >= 0 else None
        rows.append(**{name: cells[name] for name in CONTENT if name not in {"data", "wire"}}, wire=wire)  # type: ignore[arg-type]


def test_a_disconnect_that_the_log_does_not_have_shows(tmp_path: Path) -> None:
    """Rows follow from the STATUS rows: without that one, the book would have stayed in step."""
    recording = Recording(tmp_path / "a.arrow")
    recording.answer(snapshot(10))
    recording.parser.connection_lost()
    recording.frames(depth(11, 12))
    report = rebuild(recording.end())
    bad = int(Flag.MAYBE_BAD_BOOK | Flag.LAST)
    assert report.differences == (Difference(5, "flags", bad, LAST),)


def test_rows_without_a_parser_are_carried(tmp_path: Path) -> None:
    """Tabular imports have no wire; other sources' messages have one that nobody here reads."""
    recording = Recording(tmp_path / "a.arrow")
    recording.row(Kind.SOURCE, SourceData(name="news", url="https://news.example"), source=3)
    recording.row(Kind.TRADE, source=SOCKET, instrument=1, side=1, price=5, size=6, id=7)
    recording.rows.append(recording.stamp(), Kind.NEWS, source=3, flags=LAST, data=b"{}", wire=b"<rss/>")
    recording.rows.append(recording.stamp(), Kind.ANSWER, flags=LAST, wire=b"answer")
    report = rebuild(recording.end())
    assert report.same
    assert (report.frames, report.unparsed, report.carried) == (0, 2, report.rows)


def test_a_definition_apart_from_its_frame(tmp_path: Path) -> None:
    """A wider definition at the end of one batch, the frame that needed it in the next one."""
    for false_version in (0, 1):
        recording = Recording(tmp_path / f"{false_version}.arrow")
        levels = [(f"{number}.00", "1") for number in range(1, JOIN_ROWS + 1)]
        recording.frames(depth(1, 2, levels))
        apart = RowBuffer()
        recording.parser.feed(trade(5, size="0.0000001"), recording.stamp(), apart)
        definition = apart.data[0].replace(b'"version":2', b'"version":%d' % (2 + false_version))
        recording.rows.append(
            recording.ts - 1, Kind.INSTRUMENT, source=SOCKET, instrument=1, flags=LAST, data=definition
        )
        recording.writer.flush()
        copy_rows(apart.view()[1:], recording.rows, apart.wire)
        report = rebuild(recording.end())
        assert [d.column for d in report.differences] == ["data"] * false_version
        assert report.rows == recording.writer.seq


def test_a_definition_whose_frame_never_came(tmp_path: Path) -> None:
    """No frame of the log makes it: the row is one too many."""
    recording = Recording(tmp_path / "a.arrow")
    recording.frames(trade(5))
    recording.row(Kind.INSTRUMENT, msgspec.structs.replace(BTC, version=2), source=SOCKET, instrument=1)
    recording.writer.flush()
    recording.writer.abandon()
    (difference,) = rebuild(recording.writer.path).differences
    assert (difference.seq, difference.column, difference.now) == (4, "row", None)


class TestSegments:
    """A recording of several files."""

    def record(self, tmp_path: Path, reason: str) -> tuple[Path, Path]:
        """Two segments; the second begins with the book that the first ended with."""
        first = Recording(tmp_path / "1.arrow")
        first.answer(snapshot(10))
        first.frames(depth(11, 12), trade(5))
        first.end(reason)
        header = LogHeader(segment=2, previous_file="1.arrow", previous_chain=first.writer.chain_head)
        goes_on = first.parser if reason == "rotation" else None
        second = Recording(tmp_path / "2.arrow", header, goes_on)
        if goes_on:
            note = encode_canonical(BookData(note="carried"))
            stamp = second.stamp()
            book: dict[str, Any] = {"instrument": 1, "id": 12}
            flags = int(Flag.CLEAR | Flag.SNAPSHOT)
            second.rows.append(
                stamp, Kind.BOOK, flags=flags, side=BID, price=1_000, size=1, data=note, **book
            )
            flags = int(Flag.SNAPSHOT | Flag.LAST)
            second.rows.append(stamp, Kind.BOOK, flags=flags, side=ASK, price=1_100, size=6, **book)
        second.frames(depth(13, 14), trade(9))
        return first.writer.path, second.end()

    def test_together(self, tmp_path: Path) -> None:
        """After a rotation the parser goes on, trade ids included."""
        assert rebuild(self.record(tmp_path, "rotation")).differences == ()

    def test_after_a_restart(self, tmp_path: Path) -> None:
        """A recorder that was stopped began anew, and so does the rebuild; there is nothing to warn of."""
        report = rebuild(self.record(tmp_path, "stop"))
        assert (report.differences, report.warnings) == ((), ())

    def test_the_second_alone(self, tmp_path: Path) -> None:
        """Its book is carried in it; the trade id before it is not, and a warning says so."""
        report = rebuild(self.record(tmp_path, "rotation")[1])
        assert "goes on from 1.arrow" in report.warnings[0]
        assert {d.column for d in report.differences} == {"row", "wire"}

    def test_they_cannot_be_written_as_one(self, tmp_path: Path) -> None:
        """A user's mistake."""
        with pytest.raises(UsageError, match="2 segments"):
            rebuild(self.record(tmp_path, "stop"), tmp_path / "out.arrow")


def test_a_torn_recording_is_compared_up_to_its_end(tmp_path: Path) -> None:
    """With a warning that says where."""
    recording = Recording(tmp_path / "a.arrow")
    recording.frames(trade(5))
    recording.writer.flush()
    recording.writer.abandon()
    with recording.writer.path.open("ab") as file:
        file.write(b"\xff" * 10)
    report = rebuild(recording.writer.path)
    assert report.same
    assert "10 bytes" in report.warnings[0]


def test_damage_in_a_sealed_log_is_an_error(tmp_path: Path) -> None:
    """Nothing is compared with rows that cannot be trusted."""
    recording = Recording(tmp_path / "a.arrow")
    everything(recording)
    path = recording.end()
    seal(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DamagedLog):
        rebuild(path)


def test_a_long_list_of_differences_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted, the first are listed."""
    monkeypatch.setattr("engine.ingest.rebuild.LISTED", 3)
    recording = Recording(tmp_path / "a.arrow")
    for number in range(8):
        recording.frames(trade(number))
        recording.change(-1, price=1)
    report = rebuild(recording.end())
    assert (report.count, report.columns, len(report.differences)) == (8, {"price": 8}, 3)


def test_a_difference_as_json() -> None:
    """Users read `was` and `is`."""
    assert msgspec.json.encode(Difference(3, "price", 1, 2)) == b'{"seq":3,"column":"price","was":1,"is":2}'


@pytest.mark.parametrize(
    "names",
    [
        ["binance_spot/btcusdt_20240808.gz", "binance_spot/btcusdt_20240809.gz"],
        ["binance_spot/btcusdt_20230405.dat.gz"],
        ["binance_legacy/BINANCE.http.0.0", "binance_legacy/BINANCE.ws.1.0"],
    ],
    ids=["2024", "2023", "2021"],
)
def test_every_row_of_a_real_capture_is_rebuilt(real_data: Path, tmp_path: Path, names: list[str]) -> None:
    """Definitions too narrow on purpose, so that widening is part of it."""
    narrow = {
        symbol: InstrumentData(f"{symbol}.binance", symbol, "binance", 0, 0, "1", "1")
        for symbol in ("BTCUSDT", "NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR")
    }
    out = tmp_path / "a.arrow"
    imported = import_capture([real_data / name for name in names], out, instruments=narrow)
    report = rebuild(out)
    assert report.differences == ()
    assert report.rows == imported.rows
    assert report.frames == imported.frames
    assert imported.kinds["INSTRUMENT"] > len(imported.instruments)
