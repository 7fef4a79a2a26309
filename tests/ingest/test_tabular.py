"""Importing tables: what each kind becomes, which names are known, where units come from, one log."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from engine.ingest import tabular_survey
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_columns import FIELDS
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.check import check
from engine.model.kinds import BarData, Flag, InstrumentData, Kind, NewsData, Part, SourceData
from tests.helpers.tables import CENTS, T0, flags, load, only, rows_of

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data" / "import-samples"
# ------------------------------------------------------------------------------------------- kinds


def test_a_trade_is_one_row(tmp_path: Path) -> None:
    """Price and size are exact mantissas, the side is the aggressor's, every row is IMPORTED and LAST."""
    _, rows = load(
        tmp_path,
        {
            "t.csv": "ts,ts_venue,price,size,side,id\n"
            f"{T0 + 9},{T0},61250.10,0.5,buy,7\n{T0 + 10},,0.01,2,s,8\n"
        },
    )
    assert only(rows, "ts", "ts_venue", "price", "size", "side", "id", "instrument", "source") == [
        (9, 0, 6125010, 500, 1, 7, 1, 1),
        (10, None, 1, 2000, -1, 8, 1, 1),
    ]
    assert {flags(row) for row in rows} == {Flag.LAST | Flag.IMPORTED}


def test_a_quote_is_its_bid_row_and_its_ask_row(tmp_path: Path) -> None:
    """Both rows carry the update id; a side that nobody quotes has size 0."""
    _, rows = load(
        tmp_path,
        {"q.csv": f"time,bid,bid_size,ask,ask_size,update_id\n{T0},1.5,3,1.6,4,9\n{T0 + 1},,,1.6,4,10\n"},
    )
    assert only(rows, "kind", "ts", "side", "price", "size", "id") == [
        (Kind.QUOTE, 0, 1, 150, 3000, 9),
        (Kind.QUOTE, 0, -1, 160, 4000, 9),
        (Kind.QUOTE, 1, 1, 0, 0, 10),
        (Kind.QUOTE, 1, -1, 160, 4000, 10),
    ]
    assert [Flag.LAST in flags(row) for row in rows] == [False, True, False, True]


def test_book_rows_of_one_time_and_update_id_are_one_message(tmp_path: Path) -> None:
    """A snapshot clears the book with its first row; changes follow, a deleted level has size 0."""
    text = "time,side,price,size,update_id,action\n" + "".join(
        f"{T0 + ns},{rest}\n"
        for ns, rest in (
            (0, "bid,1.00,5,7,snapshot"),
            (0, "ask,1.02,6,7,snapshot"),
            (0, "ask,1.02,4,8,update"),
            (5, "bid,1.00,,9,delete"),
            (5, "bid,0.99,2,9,update"),
        )
    )
    report, rows = load(tmp_path, {"b.csv": text})
    snapshot, imported = Flag.SNAPSHOT | Flag.IMPORTED, Flag.IMPORTED
    assert [(row["ts"], row["size"], flags(row)) for row in rows] == [
        (0, 5000, snapshot | Flag.CLEAR),
        (0, 6000, snapshot | Flag.LAST),
        (1, 4000, imported | Flag.LAST),
        (5, 0, imported),
        (5, 2000, imported | Flag.LAST),
    ]
    assert report.moved == 1


def test_a_last_column_says_where_book_messages_end(tmp_path: Path) -> None:
    """Rows of one time are several messages when the file says so."""
    text = "time,side,price,size,last\n" + "".join(
        f"{T0},bid,1.0{i},5,{last}\n" for i, last in enumerate(("false", "true", "true"))
    )
    _, rows = load(tmp_path, {"b.csv": text})
    assert [(row["ts"], Flag.LAST in flags(row)) for row in rows] == [(0, False), (0, True), (1, True)]


def test_a_bar_is_four_rows_known_when_it_has_ended(tmp_path: Path) -> None:
    """OPEN has the start and the interval, CLOSE the volume and the number of trades; all are FINAL."""
    text = "time,open,high,low,close,volume,trades\n2024-06-01T12:00:00Z,1,3,0.5,2,10,4\n"
    _, rows = load(tmp_path, {"k.csv": text}, interval_ns=60_000_000_000)
    assert only(rows, "part", "price", "size", "id") == [
        (Part.OPEN, 100, 0, 0),
        (Part.HIGH, 300, 0, 0),
        (Part.LOW, 50, 0, 0),
        (Part.CLOSE, 200, 10_000, 4),
    ]
    assert {(row["ts"], row["ts_venue"]) for row in rows} == {(60_000_000_000, 0)}
    assert msgspec.json.decode(rows[0]["data"], type=BarData) == BarData(interval_ns=60_000_000_000)
    assert [flags(row) for row in rows] == [Flag.FINAL | Flag.IMPORTED] * 3 + [
        Flag.FINAL | Flag.IMPORTED | Flag.LAST
    ]


def test_bars_named_by_when_they_were_known_start_one_interval_earlier(tmp_path: Path) -> None:
    """A `ts` alone is the end of the bar."""
    _, rows = load(tmp_path, {"k.csv": f"ts,open,high,low,close\n{T0},1,1,1,1\n"}, interval_ns=1_000)
    assert {(row["ts"], row["ts_venue"]) for row in rows} == {(0, -1_000)}


def test_a_headline_becomes_a_news_row(tmp_path: Path) -> None:
    """Symbols are split, a missing id is derived from the row, empty lines are left out."""
    text = (
        'published,headline,summary,tickers,url\n2024-06-01T12:00:00Z,"One, two","a\nb",BTC ETH;X,u\n,,,,\n'
    )
    _, rows = load(tmp_path, {"n.csv": text})
    (news,) = [msgspec.json.decode(row["data"], type=NewsData) for row in rows]
    assert news == NewsData(
        id=news.id, headline="One, two", summary="a\nb", url="u", symbols=("BTC", "ETH", "X")
    )
    assert len(news.id) == 16
    assert rows[0]["instrument"] == 0


def test_definitions_come_before_the_first_fact(tmp_path: Path) -> None:
    """Each file is a source, each instrument says its units and which channels the log has of it."""
    load(
        tmp_path,
        {"t.csv": f"time,price,size\n{T0},1,1\n", "q.csv": f"time,bid,ask,bid_size,ask_size\n{T0},1,2,1,1\n"},
    )
    rows = rows_of(tmp_path / "out.arrow")
    assert only(rows[:3], "ts", "kind", "source", "instrument") == [
        (-3, Kind.SOURCE, 1, 0),
        (-2, Kind.SOURCE, 2, 0),
        (-1, Kind.INSTRUMENT, 0, 1),
    ]
    source = msgspec.json.decode(rows[1]["data"], type=SourceData)
    assert (source.name, source.detail) == ("import", {"file": "q.csv", "kind": "quotes"})
    data = msgspec.json.decode(rows[2]["data"], type=InstrumentData)
    assert (data.key, data.price_decimals, data.size_decimals) == ("A.x", 2, 3)
    assert data.channels == ("trade", "quote")
    assert rows[-1]["kind"] == Kind.END


# --------------------------------------------------------------------------------- names and dumps


@pytest.mark.parametrize(
    ("kind", "field", "name"),
    [
        (kind, field, name)
        for kind, fields in FIELDS.items()
        for field, names in fields.items()
        for name in names
    ],
)
def test_every_known_name_is_documented(kind: str, field: str, name: str) -> None:
    """docs/importing.md shows each name of each field."""
    assert f"`{name}`" in (ROOT / "docs" / "importing.md").read_text(encoding="utf-8"), (kind, field)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("ts_event,px,qty", "trades"),
        ("Timestamp,Price,Amount,isBuyerMaker", "trades"),
        ("time,side,price,size,trade_id", "trades"),
        ("time,side,price,size,update_id", "book"),
        ("local_timestamp,is_snapshot,side,price,amount", "book"),
        ("time,bid_px,bid_sz,ask_px,ask_sz", "quotes"),
        ("date,Open,High,Low,Close,Volume", "bars"),
        ("created_at,headline,symbols", "news"),
    ],
)
def test_columns_tell_the_kind(header: str, kind: str) -> None:
    """With --kind auto a file is what its columns are."""
    from engine.ingest.tabular_columns import layout_of

    assert layout_of("f", tuple(header.split(",")), "auto", {}).kind == kind


@pytest.mark.parametrize(
    ("name", "line", "expected"),
    [
        ("BTCUSDT-trades-2024-12-31.csv", "1,2.50,3,7.5,{ms},True,True", (Kind.TRADE, 250, 300_000, -1, 1)),
        ("BTCUSDT-trades-2025-01-01.csv", "1,2.50,3,7.5,{us},False,True", (Kind.TRADE, 250, 300_000, 1, 1)),
        (
            "BTCUSDT-aggTrades-2025-01-01.csv",
            "5,2.50,3,8,9,{us},False,True",
            (Kind.TRADE, 250, 300_000, 1, 5),
        ),
        ("BTCUSDT-aggTrades-2024-01-01.csv", "5,2.50,3,8,9,{ms},true", (Kind.TRADE, 250, 300_000, -1, 5)),
        ("BTCUSDT-1m-2024-01-01.csv", "{ms},1,3,0.5,2.5,10,1,2,4,5,6,0", (Kind.BAR, 100, 0, 0, 0)),
    ],
)
def test_binance_dumps_need_no_header_and_no_options(
    tmp_path: Path, name: str, line: str, expected: tuple[int, ...]
) -> None:
    """Columns, symbol, venue, interval and unit of time are told from the dump itself."""
    text = line.format(ms=T0 // 10**6, us=T0 // 10**3) + "\n"
    report, rows = load(tmp_path, {name: text}, venue="", symbols=())
    assert report.instruments[0].key == "BTCUSDT.binance"
    assert only(rows[:1], "kind", "price", "size", "side", "id") == [expected]
    assert rows[0]["ts"] == (60_000_000_000 if "1m" in name else 0)
    assert (Flag.AGGREGATE in flags(rows[0])) == ("agg" in name)


def test_a_column_can_be_named_or_left_out(tmp_path: Path) -> None:
    """--column FIELD=NAME wins over the known names; "-" means none."""
    text = f"time,price,LastPx,size,id\n{T0},9,1,1,a-b\n"
    _, rows = load(tmp_path, {"t.csv": text}, columns={"price": "LastPx", "id": "-"})
    assert only(rows, "price", "id") == [(100, 0)]


def test_packed_files_are_read_as_they_are(tmp_path: Path) -> None:
    """Gzip and zip with one member give the rows of the plain file."""
    text = f"time,price,size\n{T0},1,1\n"
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write(text)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("b.csv", text)
    paths = [(tmp_path / name, name) for name in ("a.csv.gz", "b.zip")]
    import_tables(paths, tmp_path / "o.arrow", TableOptions(venue="x", symbols=("A",)), CENTS)
    assert only(rows_of(tmp_path / "o.arrow")[3:-1], "ts", "price", "source") == [(0, 100, 1), (1, 100, 2)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_from_the_header(tmp_path: Path, delimiter: str) -> None:
    """Commas, semicolons, tabs and bars separate columns."""
    text = f"time,price,size\n{T0},1.5,2\n".replace(",", delimiter)
    _, rows = load(tmp_path, {"t.csv": text})
    assert only(rows, "price", "size") == [(150, 2000)]


def test_several_symbols_in_one_file_are_several_instruments(tmp_path: Path) -> None:
    """Each has its own decimals; --symbol takes some of them, and the report counts the others."""
    text = "time,symbol,price,size\n" + "".join(
        f"{T0 + i},{symbol},{price},1\n"
        for i, (symbol, price) in enumerate([("A", "1.5"), ("B", "0.0001"), ("A", "2")])
    )
    report, rows = load(tmp_path, {"t.csv": text}, UnitsWanted(), symbols=())
    assert only(rows, "instrument", "price") == [(1, 15), (2, 1), (1, 20)]
    assert [(i.key, i.price_increment, i.origin) for i in report.instruments] == [
        ("A.x", "0.1", "widest decimals seen"),
        ("B.x", "0.0001", "widest decimals seen"),
    ]
    (tmp_path / "out.arrow").unlink()
    report, rows = load(tmp_path, {"t.csv": text}, CENTS, symbols=("A",))
    assert (len(rows), report.files[0].skipped) == (2, 1)


# ------------------------------------------------------------------------------------------- units


EXCHANGE_INFO = {
    "symbols": [
        {
            "symbol": "A",
            "status": "TRADING",
            "baseAsset": "AA",
            "quoteAsset": "USD",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.05000000"},
                {"filterType": "LOT_SIZE", "stepSize": "0.10000000", "minQty": "0.1", "maxQty": "9"},
            ],
        }
    ]
}


def test_increments_are_taken_from_the_best_source(tmp_path: Path) -> None:
    """Options before exchangeInfo, that before data/instruments, that before the widest decimals."""
    (tmp_path / "info.json").write_bytes(msgspec.json.encode(EXCHANGE_INFO))
    (tmp_path / "known").mkdir()
    known = InstrumentData("A.x", "A", "x", 4, 4, "0.0001", "0.0001")
    (tmp_path / "known" / "x.json").write_bytes(msgspec.json.encode([known]))
    nothing = UnitsWanted(instruments=tmp_path)
    sources = {
        ("0.001", "0.1", "options"): UnitsWanted("0.001", exchange_info=tmp_path / "info.json"),
        ("0.05", "0.1", "exchangeInfo"): UnitsWanted(exchange_info=tmp_path / "info.json"),
        ("0.0001", "0.0001", "data/instruments"): UnitsWanted(instruments=tmp_path / "known"),
        ("0.01", "1", "widest decimals seen"): nothing,
    }
    for (price, size, origin), units in sources.items():
        report, _ = load(tmp_path, {"t.csv": f"time,price,size\n{T0},61250.250,1\n"}, units)
        (instrument,) = report.instruments
        assert (instrument.price_increment, instrument.size_increment, instrument.origin) == (
            price,
            size,
            origin,
        )
        assert any("widest decimals" in w for w in report.warnings) == (units is nothing)
        (tmp_path / "out.arrow").unlink()


def test_a_price_between_two_ticks_is_kept_and_counted(tmp_path: Path) -> None:
    """A price with enough decimals, though no multiple of the increment, is a fact: kept, with a warning."""
    report, rows = load(tmp_path, {"t.csv": f"time,price,size\n{T0},1.07,1\n"}, UnitsWanted("0.05", "1"))
    assert rows[0]["price"] == 107
    assert report.instruments[0].off_increment == 1
    assert "no multiple" in report.warnings[0]


@pytest.mark.parametrize(
    ("column", "mantissa"),
    [
        (pa.array([61250.1], pa.float64()), 6125010),
        (pa.array([0.1 + 0.2], pa.float64()), 30),
        (pa.array([61250.1], pa.float32()), 6125010),
        (pa.array(["61250.10"]), 6125010),
        (pa.array([61250], pa.int64()), 6125000),
        (pa.array([61250], pa.uint64()), 6125000),
        (pa.array(["61250.1"]).cast(pa.decimal128(20, 4)), 6125010),
        (pa.array(["1e2"]), 10000),
        (pa.array([" 1.5 "]), 150),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_prices_of_every_type_become_the_exact_mantissa(
    tmp_path: Path, column: pa.Array, mantissa: int
) -> None:
    """Text, decimals and integers digit for digit; floats as the multiple they stand for."""
    _, rows = load(tmp_path, {"t.parquet": pa.table({"time": [T0], "price": column, "size": [1]})})
    assert rows[0]["price"] == mantissa


@pytest.mark.parametrize(
    ("values", "decimals"),
    [(["1.50", "2"], 1), (["0.00010"], 4), (["1e-3"], 3), ([0.1, 2.25], 2), ([0.1 + 0.2], 1), ([3], 0)],
)
def test_widest_decimals_are_those_that_the_values_need(values: list[Any], decimals: int) -> None:
    """Trailing zeros say nothing; a float needs what its shortest form shows."""
    from engine.ingest.tabular_values import Column, decimals_needed

    assert decimals_needed(Column("f", "price", pa.array(values), np.arange(len(values)))) == decimals


# -------------------------------------------------------------------------------------- the result


def test_the_log_is_sealed_and_whole(tmp_path: Path) -> None:
    """`check` finds every byte, row and hash as the report says."""
    report, _ = load(tmp_path, {"t.csv": f"time,price,size\n{T0},1,1\n"})
    found = check(tmp_path / "out.arrow")
    assert (found.sealed, found.rows, found.chain) == (True, report.rows, report.chain)


def test_a_folder_gives_the_log_the_name_of_its_first_day(tmp_path: Path) -> None:
    """--to FOLDER makes the day's file, then the day's second file."""
    (tmp_path / "t.csv").write_text(f"time,price,size\n{T0},1,1\n")
    options = TableOptions(venue="x", symbols=("A",))
    paths = [
        import_tables([(tmp_path / "t.csv", "t.csv")], tmp_path / "rec", options, CENTS).path for _ in "ab"
    ]
    assert [Path(path).name for path in paths] == ["2024-06-01.arrow", "2024-06-01.2.arrow"]


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.csv")), ids=lambda path: path.name)
def test_every_sample_imports(tmp_path: Path, sample: Path) -> None:
    """Each file of data/import-samples is what its README says, with no option but whose data it is."""
    to = tmp_path / "out.arrow"
    report = import_tables(
        [(sample, sample.name)], to, TableOptions(venue="binance", symbols=("BTCUSDT",)), UnitsWanted()
    )
    lines = sum(1 for line in sample.read_text().splitlines() if line) - ("trades-" not in sample.name)
    assert report.files[0].rows == lines
    assert check(to).rows == report.rows


def test_all_samples_together_are_one_log(tmp_path: Path) -> None:
    """Every kind in one log, in order of time."""
    paths = [(path, path.name) for path in sorted(SAMPLES.glob("*.csv"))]
    import_tables(
        paths, tmp_path / "o.arrow", TableOptions(venue="binance", symbols=("BTCUSDT",)), UnitsWanted()
    )
    rows = rows_of(tmp_path / "o.arrow")
    assert {row["kind"] for row in rows} >= {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BAR, Kind.NEWS}
    assert only(rows, "ts") == sorted(only(rows, "ts"))


def test_a_failed_import_leaves_nothing_behind(tmp_path: Path) -> None:
    """Neither a log nor a folder of its making is there after an error in the last row."""
    from engine.model.errors import InputError

    with pytest.raises(InputError, match="row 3, column price"):
        load(tmp_path, {"t.csv": f"time,price,size\n{T0},1,1\n{T0},1,1\n{T0},x,1\n"})
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_intervals_are_read_as_people_write_them() -> None:
    """1m, 4h, 1d and 1w are lengths of bars."""
    minute = 60_000_000_000
    assert [tabular_survey.interval_of(t) for t in ("1m", "4h", "1d", "1w", "")] == [
        minute,
        240 * minute,
        1440 * minute,
        10080 * minute,
        0,
    ]
