"""Capture files become logs: times, definitions, snapshots, and what is said when something is odd."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.ingest.capture import CaptureReport, import_capture
from engine.ingest.capture_lines import Line, read_lines
from engine.log.reader import LogReader
from engine.log.schema import Batch
from engine.model.errors import InputError, UsageError
from engine.model.kinds import Flag, Kind
from tests.helpers.frames import BTC, depth, snapshot, trade, trade_data

T = 1_723_161_254_087_896_568
BOOK_BODY = snapshot(10)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines of (time, frame) into a capture."""

    def capture(*lines: tuple[object, bytes] | bytes, name: str = "a.txt", packed: bool = False) -> Path:
        content = b"".join(
            (line if isinstance(line, bytes) else f"{line[0]} ".encode() + line[1]) + b"\n" for line in lines
        )
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if packed else content)
        return path

    return capture


def rows_in(path: Path) -> list[dict[str, Any]]:
    """All rows of a log as dicts, the header's included."""
    rows: list[dict[str, Any]] = []
    for batch in LogReader(path).batches():
        rows += [row_of(batch, index) for index in range(batch.count)]
    return rows


def row_of(batch: Batch, index: int) -> dict[str, Any]:
    """The columns that these tests look at."""
    data = batch.data_at(index)
    return {
        "ts": int(batch.ts[index]),
        "kind": Kind(int(batch.kind[index])),
        "flags": Flag(int(batch.flags[index])),
        "source": int(batch.source[index]),
        "instrument": int(batch.instrument[index]),
        "price": int(batch.price[index]),
        "id": int(batch.id[index]),
        "data": None if data is None else msgspec.json.decode(data),
        "wire": batch.wire_at(index),
    }


def run(tmp_path: Path, *files: Path, **options: Any) -> tuple[CaptureReport, list[dict[str, Any]]]:
    """Import into a new log; the report and the rows."""
    out = tmp_path / f"out{len(list(tmp_path.iterdir()))}.arrow"
    report = import_capture(files, out, **options)
    return report, rows_in(out)


# A line's receive time as written, and the nanoseconds it means.
TIMES = [
    (b"1723161254087896568", T),
    (b"1723161254087896", 1_723_161_254_087_896_000),
    (b"1723161254087", 1_723_161_254_087_000_000),
    (b"1723161254", 1_723_161_254_000_000_000),
    (b"1633998512.0633569", 1_633_998_512_063_356_900),
    (b"1633998512.063356901", 1_633_998_512_063_356_901),
    (b"1633998512.1000000000000", 1_633_998_512_100_000_000),
    (b"1723161254087.5", 1_723_161_254_087_500_000),
    (b"1723161254087896.568", T),
]


@pytest.mark.parametrize(("text", "ts"), TIMES, ids=[t[0].decode() for t in TIMES])
@pytest.mark.parametrize("separator", [b" ", b": "])
def test_receive_times_are_exact(write: Write, text: bytes, ts: int, separator: bytes) -> None:
    """Seconds to nanoseconds by magnitude, fractions digit for digit, with and without a colon."""
    assert list(read_lines(write(text + separator + b"{}"))) == [Line(ts, b"{}", number=1)]


@pytest.mark.parametrize(("unit", "ts"), [("s", 5_000_000_000), ("ms", 5_000_000), ("us", 5_000), ("ns", 5)])
def test_a_unit_may_be_named(write: Write, unit: str, ts: int) -> None:
    """Which magnitude could not tell."""
    assert [line.ts for line in read_lines(write(b"5 {}"), unit)] == [ts]


def test_lines_of_all_forms(write: Write) -> None:
    """Addresses of connections and REST answers, bare snapshots, blank lines, Windows' line ends."""
    path = write(
        b"wss://stream.example/stream?streams=a@trade <-> 1633998511.159679",
        b'https://api.example/api/v3/depth?symbol=NKNUSDT&limit=1000 -> 1633998512.5: {"a":1}',
        b"",
        b"1633998513 {}\r",
        b"1633998514 " + BOOK_BODY,
        b"no time at all",
        packed=True,
    )
    second = 1_000_000_000
    assert list(read_lines(path)) == [
        Line(1_633_998_511_159_679_000, b"", url="wss://stream.example/stream?streams=a@trade", number=1),
        Line(
            1_633_998_512_500_000_000,
            b'{"a":1}',
            "depth",
            "NKNUSDT",
            "https://api.example/api/v3/depth?symbol=NKNUSDT&limit=1000",
            2,
        ),
        Line(1_633_998_513 * second, b"{}", number=4),
        Line(1_633_998_514 * second, BOOK_BODY, "depth", number=5),
        Line(1_633_998_514 * second, b"no time at all", number=6, timed=False),
    ]


def test_a_log_of_a_capture(write: Write, tmp_path: Path) -> None:
    """Header, frames in wire, live rows without IMPORTED, END; sealed, and strictly in time."""
    path = write((T, depth(9, 10)), (T + 5, trade(5)), (T + 9, BOOK_BODY), (T + 12, depth(11, 12)))
    report, rows = run(tmp_path, path)
    assert [(row["kind"], row["flags"], row["source"], row["id"]) for row in rows] == [
        (Kind.SOURCE, Flag.LAST, 1, 0),
        (Kind.SOURCE, Flag.LAST, 2, 0),
        (Kind.INSTRUMENT, Flag.LAST, 0, 0),
        (Kind.BOOK, Flag.MAYBE_BAD_BOOK | Flag.LAST, 1, 10),
        (Kind.TRADE, Flag.LAST, 1, 5),
        (Kind.BOOK, Flag.CLEAR | Flag.SNAPSHOT, 2, 10),
        (Kind.BOOK, Flag.SNAPSHOT | Flag.LAST, 2, 10),
        (Kind.BOOK, Flag.LAST, 1, 12),
        (Kind.END, Flag.LAST, 0, 0),
    ]
    assert [row["wire"] for row in rows if row["wire"]] == [depth(9, 10), trade(5), BOOK_BODY, depth(11, 12)]
    assert [row["ts"] for row in rows] == [T - 4, T - 3, T - 2, T, T + 5, T + 9, T + 9, T + 12, T + 13]
    assert rows[0]["data"] == {"name": "binance", "venue": "binance", "detail": {"files": "a.txt"}}
    assert rows[1]["data"] == {
        "name": "binance-rest",
        "venue": "binance",
        "endpoint": "depth",
        "symbol": "BTCUSDT",
    }
    assert rows[2]["data"]["channels"] == ["trade", "book"]
    assert rows[8]["data"] == {"reason": "import"}
    assert report.frames == 4
    assert (report.rows, report.messages) == (9, 8)
    assert report.kinds == {"TRADE": 1, "BOOK": 4, "INSTRUMENT": 1, "SOURCE": 2, "END": 1}
    assert report.instruments == ("BTCUSDT.binance",)
    assert (report.first, report.last) == ("2024-08-08T23:54:14.087896568Z", "2024-08-08T23:54:14.087896580Z")
    assert (report.gaps, report.malformed, report.moved, report.untimed) == (0, 0, 0, 0)
    assert report.unknown == {}
    assert report.warnings == ()
    reader = LogReader(Path(report.path))
    assert reader.sealed
    assert reader.header.sealed_chain == report.chain
    assert reader.header.created == report.first
    assert reader.size == report.bytes


def test_the_same_capture_gives_the_same_log(write: Write, tmp_path: Path) -> None:
    """Byte for byte: no clock, no path, no machine goes in."""
    path = write((T, trade(5)), (T + 5, depth(9, 10)), packed=True)
    logs = [tmp_path / "one.arrow", tmp_path / "sub" / "two.arrow"]
    for out in logs:
        import_capture([path], out)
    assert logs[0].read_bytes() == logs[1].read_bytes()


def test_times_that_do_not_increase_are_moved(write: Write, tmp_path: Path) -> None:
    """Equal and backward times become the one before plus 1 ns; the report counts them."""
    times = [T, T, T, T - 50, T + 2, T + 9]
    path = write(*((ts, trade(number)) for number, ts in enumerate(times)))
    report, rows = run(tmp_path, path)
    trades = [row for row in rows if row["kind"] is Kind.TRADE]
    assert [row["ts"] for row in trades] == [T, T + 1, T + 2, T + 3, T + 4, T + 9]
    assert [row["id"] for row in trades] == [0, 1, 2, 3, 4, 5]
    assert report.moved == 4
    assert any("4 receive times" in warning for warning in report.warnings)


def test_several_files_become_one_log(write: Write, tmp_path: Path) -> None:
    """Merged by time, so that a file of REST answers may lie beside the streams it belongs to."""
    stream = write((T, depth(9, 10)), (T + 20, depth(11, 12)), name="stream.txt")
    answers = write((T + 10, BOOK_BODY), name="answers.txt", packed=True)
    expected = [10, 10, 10, 12]
    for files in ((stream, answers), (answers, stream)):
        report, rows = run(tmp_path, *files)
        assert [row["id"] for row in rows if row["kind"] is Kind.BOOK] == expected
        assert report.files == tuple(path.name for path in files)
        assert report.moved == 0


def test_files_one_after_the_other(write: Write, tmp_path: Path) -> None:
    """Sequences go on from file to file."""
    first, second = (
        write((T, trade(5)), name="1.txt"),
        write((T + 1, trade(6)), (T + 2, trade(9)), name="2.txt"),
    )
    report, rows = run(tmp_path, first, second)
    assert [row["id"] for row in rows if row["kind"] is Kind.TRADE] == [5, 6, 9]
    assert report.gaps == 1


class TestDefinitions:
    """Where increments come from."""

    FINE = trade_data(5, "61837.63100000", "0.02000000")

    def definition(self, rows: list[dict[str, Any]], key: str = "BTCUSDT.binance") -> dict[str, Any]:
        """The header's definition of an instrument."""
        return next(
            row["data"] for row in rows if row["kind"] is Kind.INSTRUMENT and row["data"]["key"] == key
        )

    def test_from_the_shipped_data(self, write: Write, tmp_path: Path) -> None:
        """BTCUSDT is known: no guess, no warning."""
        report, rows = run(tmp_path, write((T, trade(5))))
        assert self.definition(rows)["size_increment"] == "0.00001"
        assert report.warnings == ()

    def test_from_an_exchange_info_file(self, write: Write, tmp_path: Path) -> None:
        """It has authority over the shipped data."""
        filters = [
            {"filterType": "PRICE_FILTER", "tickSize": "0.10000000"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000"},
        ]
        info = tmp_path / "info.json"
        info.write_bytes(msgspec.json.encode({"symbols": [{"symbol": "BTCUSDT", "filters": filters}]}))
        report, rows = run(tmp_path, write((T, trade(5))), exchange_info=info)
        assert self.definition(rows)["price_increment"] == "0.1"
        assert self.definition(rows)["size_increment"] == "0.001"
        assert report.warnings == ()

    def test_given_by_the_caller(self, write: Write, tmp_path: Path) -> None:
        """Before everything else; a finer price makes a wider version in the log."""
        path = write((T, trade(4)), (T + 5, msgspec.json.encode(self.FINE)))
        report, rows = run(tmp_path, path, instruments={"BTCUSDT": BTC})
        versions = [(r["ts"], r["data"].get("version", 1)) for r in rows if r["kind"] is Kind.INSTRUMENT]
        assert versions == [(T - 2, 1), (T + 4, 2)]
        assert [row["price"] for row in rows if row["kind"] is Kind.TRADE] == [6_183_763, 61_837_631]
        assert report.instruments == ("BTCUSDT.binance",)

    def test_from_the_widest_decimals_seen(self, write: Write, tmp_path: Path) -> None:
        """Of an unknown symbol: seen in all its frames before the first is written, and said aloud."""
        frames = [
            msgspec.json.encode(trade_data(n, price, size, s="XYZUSDT"))
            for n, (price, size) in enumerate([("1.50000000", "2"), ("1.25000000", "0.00100000")])
        ]
        report, rows = run(tmp_path, write((T, frames[0]), (T + 1, frames[1])))
        definition = self.definition(rows, "XYZUSDT.binance")
        assert (definition["price_decimals"], definition["size_decimals"]) == (2, 3)
        assert (definition["price_increment"], definition["size_increment"]) == ("0.01", "0.001")
        assert report.kinds["INSTRUMENT"] == 1
        (warning,) = report.warnings
        assert "XYZUSDT.binance: increments 0.01 and 0.001 are guessed" in warning

    def test_a_bare_snapshot_counts_too(self, write: Write, tmp_path: Path) -> None:
        """Its decimals belong to the only symbol there is."""
        update = msgspec.json.encode(
            {"e": "depthUpdate", "E": 1, "s": "XYZUSDT", "U": 9, "u": 10, "b": [["1.5", "2"]], "a": []}
        )
        body = snapshot(10, [("1.123", "0.5")], [])
        _, rows = run(tmp_path, write((T, update), (T + 1, body)))
        assert self.definition(rows, "XYZUSDT.binance")["price_decimals"] == 3


def test_bare_snapshots_of_two_symbols_need_a_name(write: Write, tmp_path: Path) -> None:
    """Whose they are is asked, naming the line; --symbol answers."""
    eth = msgspec.json.encode(trade_data(5, s="ETHUSDT"))
    path = write((T, trade(5)), (T + 1, eth), (T + 2, BOOK_BODY))
    with pytest.raises(InputError, match=r"line 3: a book snapshot .* has BTCUSDT, ETHUSDT"):
        run(tmp_path, path)
    _, rows = run(tmp_path, path, symbol="ethusdt")
    book = [row for row in rows if row["kind"] is Kind.BOOK]
    assert {row["instrument"] for row in book} == {2}


def test_odd_frames_are_kept_counted_and_said(write: Write, tmp_path: Path) -> None:
    """Unknown types, broken frames, a line without a time, a last line cut off: nothing is dropped."""
    path = write(
        (T, trade(5)),
        (T + 1, b'{"stream":"btcusdt@avgPrice","data":{"e":"avgPrice"}}'),
        (T + 2, trade(6)[:50]),
        trade(7),
        (T + 9, b""),
        (T + 10, b'{"stream":"btcusdt@tr'),
    )
    report, rows = run(tmp_path, path)
    assert [row["kind"] for row in rows[2:]] == [
        Kind.TRADE,
        Kind.CONTROL,
        Kind.MALFORMED,
        Kind.STATUS,
        Kind.TRADE,
        Kind.MALFORMED,
        Kind.MALFORMED,
        Kind.END,
    ]
    assert rows[5]["ts"] == T + 3
    assert (report.malformed, report.untimed, report.moved, report.gaps) == (3, 1, 1, 1)
    assert report.unknown == {"avgPrice": 1}
    assert len(report.warnings) == 3


def test_a_book_that_never_comes_into_step_is_said(write: Write, tmp_path: Path) -> None:
    """Without a snapshot depth updates cannot be applied."""
    report, _ = run(tmp_path, write((T, depth(9, 10))))
    (warning,) = report.warnings
    assert "BTCUSDT.binance: the book is out of step" in warning


# what stands in the file, what is said
REFUSED: list[tuple[str, bytes, str]] = [
    ("empty", b"", "no frame in it"),
    ("only an address", b"wss://a/b <-> 1633998511.1\n", "no frame in it"),
    ("a table", b"time,price\n1,2\n", 'line 1 does not begin with a receive time: "time,price"'),
    ("binary", b"\x00\x01\xff" * 50, "line 1 does not begin with a receive time"),
    ("too fine a time", b"1633998512.0000000001 {}\n", "line 1: the time 1633998512.0000000001 is finer"),
    ("beyond int64", b"9999999999999999999 {}\n", "line 1: the time 9999999999999999999 is beyond"),
    ("torn gzip", gzip.compress(b"1 {}\n" * 90_000)[:-300], "cannot be read after line"),
]


@pytest.mark.parametrize(("content", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_files_that_are_no_captures(tmp_path: Path, content: bytes, message: str) -> None:
    """Named with file and line; no log is left behind."""
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    out = tmp_path / "out.arrow"
    with pytest.raises(InputError) as caught:
        import_capture([path], out)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert not out.exists()


def test_users_mistakes(write: Write, tmp_path: Path) -> None:
    """A missing file, an existing log, an unknown unit or venue, nothing to import."""
    path, out = write((T, trade(5))), tmp_path / "out.arrow"
    with pytest.raises(InputError, match="no such file"):
        import_capture([tmp_path / "none"], out)
    with pytest.raises(UsageError, match="is no time unit"):
        import_capture([path], out, time_unit="min")
    with pytest.raises(UsageError, match='venue "kraken"'):
        import_capture([path], out, venue="kraken")
    with pytest.raises(UsageError, match="no capture file"):
        import_capture([], out)
    assert not out.exists()
    out.write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already"):
        import_capture([path], out)
    assert out.read_bytes() == b"mine"


def test_a_failure_leaves_nothing_behind(write: Write, tmp_path: Path) -> None:
    """Also not when the import is stopped in the middle."""

    def stop(_done: int, _all: int) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out.arrow"
    with pytest.raises(KeyboardInterrupt):
        import_capture([write((T, trade(5)))], out, progress=stop)
    assert not out.exists()


def test_progress_ends_at_all_frames(write: Write, tmp_path: Path) -> None:
    """Frames done and frames in all."""
    seen: list[tuple[int, int]] = []
    path = write(*((T + n, trade(n)) for n in range(50)))
    run(tmp_path, path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (50, 50)


def test_the_captures_of_2024(real_data: Path, tmp_path: Path) -> None:
    """Two contiguous files, one log: every message, no gap, one snapshot, nothing moved."""
    folder = real_data / "binance_spot"
    out = tmp_path / "2024.arrow"
    report = import_capture([folder / "btcusdt_20240808.gz", folder / "btcusdt_20240809.gz"], out)
    assert report.frames == 3_451 + 3_044 + 28_040 + 45_134 + 9_757 + 10_147 + 1
    assert report.messages == report.frames + 4
    assert report.kinds["TRADE"] == 9_757 + 10_147
    assert report.kinds["QUOTE"] == 2 * (28_040 + 45_134)
    assert (report.gaps, report.malformed, report.moved, report.unknown) == (0, 0, 0, {})
    assert report.warnings == ()
    assert report.first == "2024-08-08T23:54:13.937085768Z"


def test_the_capture_of_2021(real_data: Path, tmp_path: Path) -> None:
    """Streams and REST answers in two files, increments from the exchangeInfo beside them."""
    folder = real_data / "binance_legacy"
    report = import_capture(
        [folder / "BINANCE.http.0.0", folder / "BINANCE.ws.1.0"],
        tmp_path / "2021.arrow",
        exchange_info=folder / "BINANCE.exchangeInfo.gz",
    )
    assert report.frames == 4 + 177 + 84 + 2 + 2
    assert report.instruments == tuple(f"{s}.binance" for s in ("BLZETH", "LRCBTC", "NKNUSDT", "RUNEEUR"))
    assert (report.gaps, report.malformed, report.unknown, report.warnings) == (0, 0, {}, ())
