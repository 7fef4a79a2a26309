"""Files of Tardis.dev: recognised by their header, one kind after the other, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.errors import EngineError
from engine.model.kinds import Flag, FundingData, InstrumentData, Kind
from tests.helpers.books import PlainBook, messages_of
from tests.helpers.tables import T0, Row, flags, only, rows_of

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples" / "tardis"
HEAD = "exchange,symbol,timestamp,local_timestamp"
LEVELS = ",asks[0].price,asks[0].amount,bids[0].price,bids[0].amount\n"
TENTHS = UnitsWanted("0.1", "0.001")
MS = 1_000_000
IMPORTED, LAST, SNAPSHOT, CLEAR = Flag.IMPORTED, Flag.LAST, Flag.SNAPSHOT, Flag.CLEAR


def load(
    folder: Path, files: dict[str, str], units: UnitsWanted = TENTHS, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import files given by name and content, with no option needed."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return load_paths(folder, [folder / name for name in files], units, **options)


def load_paths(
    folder: Path, paths: list[Path], units: UnitsWanted = TENTHS, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import files; the report, and the rows after the definitions."""
    to = folder / "out.arrow"
    to.unlink(missing_ok=True)
    report = import_tables([(p, p.name) for p in paths], to, TableOptions(**options), units)
    return report, [r for r in rows_of(to) if r["kind"] not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END}]


def line(at: int, rest: str, symbol: str = "A", exchange: str = "x") -> str:
    """A row received `at` µs after T0, 1 µs after the venue's own time."""
    micro = T0 // 1000 + at
    return f"{exchange},{symbol},{micro - 1},{micro},{rest}\n"


@pytest.mark.parametrize(
    ("name", "kind", "channels"),
    [
        ("trades", "trades", ("trade",)),
        ("incremental_book_L2", "book", ("book",)),
        ("quotes", "quotes", ("quote",)),
        ("book_snapshot_5", "book states", ("book",)),
        ("derivative_ticker", "derivatives", ()),
    ],
)
def test_each_sample_needs_no_option(tmp_path: Path, name: str, kind: str, channels: tuple[str, ...]) -> None:
    """Kind, venue, symbol and unit of time are in the file; only increments are asked for."""
    report, rows = load_paths(tmp_path, [SAMPLES / f"{name}.csv"])
    assert (report.files[0].kind, report.instruments[0].key) == (kind, "BTCUSDT.binance-futures")
    text = next(row["data"] for row in rows_of(tmp_path / "out.arrow") if row["kind"] == Kind.INSTRUMENT)
    assert msgspec.json.decode(text, type=InstrumentData).channels == channels
    assert rows[0]["ts"] % 1000 == 0
    assert 0 <= rows[0]["ts"] < 2 * 10**9


def test_all_samples_are_one_log(tmp_path: Path) -> None:
    """Trades, books, quotes and funding of one symbol are one instrument, in order of receipt."""
    report, rows = load_paths(tmp_path, sorted(SAMPLES.glob("*.csv")), UnitsWanted())
    assert [i.key for i in report.instruments] == ["BTCUSDT.binance-futures"]
    assert {row["kind"] for row in rows} == {Kind.TRADE, Kind.BOOK, Kind.QUOTE, Kind.MARK, Kind.FUNDING}
    assert only(rows, "ts") == sorted(only(rows, "ts"))


def test_trades(tmp_path: Path) -> None:
    """Receive and venue time, exact decimals, the aggressor's side; an unknown side is none."""
    text = f"{HEAD},id,side,price,amount\n" + line(5, "7,buy,1.5,2") + line(6, "8,unknown,1.4,0.001")
    _, rows = load(tmp_path, {"t.csv": text})
    assert only(rows, "ts", "ts_venue", "side", "price", "size", "id") == [
        (5_000, 4_000, 1, 15, 2000, 7),
        (6_000, 5_000, 0, 14, 1, 8),
    ]


def test_ids_that_are_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    """A log's ids are numbers; some exchanges have others."""
    text = f"{HEAD},id,side,price,amount\n" + line(5, "7a-b,buy,1.5,2") + line(6, "8,buy,1.5,2")
    report, rows = load(tmp_path, {"t.csv": text})
    assert only(rows, "id") == [(0,), (8,)]
    assert any("1 ids are texts" in warning for warning in report.warnings)


def test_book_rows_of_one_receipt_are_one_message(tmp_path: Path) -> None:
    """A snapshot clears once, though it came in two; what stands before the first is not applied."""
    _, rows = load_paths(tmp_path, [SAMPLES / "incremental_book_L2.csv"])
    assert [(row["ts"] // MS, row["size"], flags(row) & ~IMPORTED) for row in rows] == [
        (3, 9000, Flag.MAYBE_BAD_BOOK | LAST),
        (14, 1250, SNAPSHOT | CLEAR),
        (14, 800, SNAPSHOT | LAST),
        (15, 162, SNAPSHOT),
        (15, 900, SNAPSHOT | LAST),
        (106, 0, Flag(0)),
        (106, 300, LAST),
        (1004, 1246, LAST),
    ]


def test_each_symbol_has_its_own_snapshots(tmp_path: Path) -> None:
    """A snapshot of one clears nothing of another, and does not make its updates good."""
    text = f"{HEAD},is_snapshot,side,price,amount\n" + "".join(
        line(at, f"{snapshot},bid,1.0,1", symbol)
        for at, symbol, snapshot in [
            (1, "A", "true"),
            (2, "B", "false"),
            (3, "A", "false"),
            (4, "B", "true"),
            (5, "A", "true"),
            (6, "B", "true"),
        ]
    )
    _, rows = load(tmp_path, {"b.csv": text})
    marks = [flags(row) & (CLEAR | Flag.MAYBE_BAD_BOOK) for row in rows]
    assert marks == [CLEAR, Flag.MAYBE_BAD_BOOK, Flag(0), CLEAR, CLEAR, Flag(0)]


def test_book_states_become_changes(tmp_path: Path) -> None:
    """The first is a snapshot; then what changed; whole again where a level left the five."""
    _, rows = load_paths(tmp_path, [SAMPLES / "book_snapshot_5.csv"])
    messages = list(messages_of(rows))
    assert [len(message) for message in messages] == [7, 3, 8]
    assert only(messages[1], "side", "price", "size") == [
        (1, 675122, 300),
        (-1, 675125, 0),
        (-1, 675138, 3000),
    ]
    assert [CLEAR in flags(message[0]) for message in messages] == [True, False, True]
    book = PlainBook()
    for message in messages:
        book.apply(message)
    assert book.best(-1, 9) == [
        (675125, 400),
        (675126, 900),
        (675127, 1000),
        (675129, 2000),
        (675134, 500),
    ]
    assert book.best(1, 9) == [(675124, 1250), (675122, 300), (675121, 800)]


def test_book_states_of_several_symbols_do_not_mix(tmp_path: Path) -> None:
    """Each has a window of its own; their rows stand in the file's order."""
    text = (
        HEAD
        + LEVELS
        + "".join(
            line(at, f"{ask},1,{bid},1", symbol)
            for at, symbol, ask, bid in [(1, "A", 2, 1), (2, "B", 9, 8), (3, "A", 2, 1.5), (4, "B", 9, 8)]
        )
    )
    _, rows = load(tmp_path, {"b.csv": text})
    assert only(rows, "ts", "instrument", "price") == [
        (1000, 1, 10),
        (1000, 1, 20),
        (2000, 2, 80),
        (2000, 2, 90),
        (3000, 1, 15),
        (3000, 1, 20),
    ]


def test_a_derivative_s_mark_price_and_funding(tmp_path: Path) -> None:
    """One message a line; the mark price is exact though it is finer than any tick."""
    report, rows = load_paths(tmp_path, [SAMPLES / "derivative_ticker.csv", SAMPLES / "trades.csv"])
    kinds = [(r["kind"], r["ts"] // MS, flags(r) & LAST) for r in rows if r["kind"] != Kind.TRADE]
    assert kinds == [
        (Kind.MARK, 1005, Flag(0)),
        (Kind.FUNDING, 1005, LAST),
        (Kind.FUNDING, 2004, LAST),
        (Kind.MARK, 3006, LAST),
    ]
    assert [r["price"] for r in rows if r["kind"] == Kind.MARK] == [67512483125, 67512500000]
    funding = [msgspec.json.decode(r["data"], type=FundingData) for r in rows if r["kind"] == Kind.FUNDING]
    assert funding == [FundingData("0.0001", 1_717_257_600_000_000_000)] * 2
    assert report.instruments[0].price_increment == "0.1"
    assert report.instruments[0].off_increment == 0
    assert "open_interest" in report.files[0].unused_columns


def test_two_exchanges_are_two_instruments(tmp_path: Path) -> None:
    """The exchange is the venue, so that one symbol on two of them stays apart; --venue overrides it."""
    head = f"{HEAD},id,side,price,amount\n"
    files = {f"{x}.csv": head + line(at, "1,buy,1,1", exchange=x) for at, x in ((1, "x"), (2, "y"))}
    report, rows = load(tmp_path, files)
    assert [i.key for i in report.instruments] == ["A.x", "A.y"]
    assert only(rows, "instrument") == [(1,), (2,)]
    report, _ = load(tmp_path, files, venue="z")
    assert [i.key for i in report.instruments] == ["A.z"]


def test_packed_files_are_read_as_they_come(tmp_path: Path) -> None:
    """Downloads end in .csv.gz."""
    packed = tmp_path / "trades.csv.gz"
    packed.write_bytes(gzip.compress((SAMPLES / "trades.csv").read_bytes()))
    _, rows = load_paths(tmp_path, [packed])
    assert rows == load_paths(tmp_path, [SAMPLES / "trades.csv"])[1]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (f"{HEAD},strike_price\n{line(1, '5')}", {}, "a Tardis file of a kind that a log does not hold"),
        (
            "time,price\n1,1\n",
            {"format": "tardis"},
            "t.csv: is no file of Tardis: its columns are time, price",
        ),
        (
            f"{HEAD},id,side,price,amount\n{line(1, '1,buy,1,1')}{line(2, '1,buy,1,1', exchange='y')}",
            {},
            'row 2, column exchange: "y" is not x, the exchange of the rows before it',
        ),
        (f"{HEAD},id,side,price,amount\n{line(1, '1,buy,x,1')}", {}, 'row 1, column price: "x" is not'),
        (f"{HEAD},id,side,price,amount\n{line(1, '1,up,1,1')}", {}, 'row 1, column side: "up" is no side'),
        (
            f"{HEAD},funding_rate,mark_price\n{line(1, 'x,1')}",
            {},
            'row 1, column funding_rate: "x" is not a decimal number',
        ),
        (
            f"{HEAD},asks[0].price,asks[0].amount\n{line(2, '2,1')}",
            {},
            "t.csv: its levels are not whole: asks[0].price, asks[0].amount",
        ),
        (
            HEAD + LEVELS + line(2, "2,1,1,1") + line(1, "2,1,1,1"),
            {},
            "t.csv: 1 rows stand after a later one",
        ),
        (f"{HEAD},id,side,price,amount\n", {}, "t.csv: holds no rows"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, options: dict[str, Any], expected: str) -> None:
    """File, row, column and value, and which kinds can be imported."""
    with pytest.raises(EngineError) as caught:
        load(tmp_path, {"t.csv": text}, **options)
    assert expected in str(caught.value)


def test_funding_alone_does_not_say_what_a_tick_is(tmp_path: Path) -> None:
    """A mark price says nothing of increments: they are asked for."""
    with pytest.raises(EngineError, match="nothing says what its increments are"):
        load_paths(tmp_path, [SAMPLES / "derivative_ticker.csv"], UnitsWanted())
