"""What looks wrong is kept and counted, and what a log doubts is doubted after a round trip too."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.ingest.export import SUFFIXES, export_log
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.errors import EngineError, UsageError
from engine.model.kinds import Flag, InstrumentData, Kind
from tests.helpers.logs import Message, at, make_log
from tests.helpers.logs import Row as Fact
from tests.helpers.tables import CENTS, T0, Row, flags, load, only, rows_of

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples"
PAIR = SAMPLES / "lobster" / "EXMP_2024-06-03_34200000_34210000_message_2.csv"


def test_negative_prices_are_kept_and_counted(tmp_path: Path) -> None:
    """Oil was sold below zero once; more often it is a mistake, so that somebody should look."""
    report, rows = load(tmp_path, {"t.csv": f"time,price,size\n{T0},-37.63,1\n{T0},1,1\n"})
    assert only(rows, "price") == [(-3763,), (100,)]
    assert report.instruments[0].negative == 1
    assert report.warnings == ["A.x: 1 prices are negative; they were kept as they are"]


@pytest.mark.parametrize(
    ("bid", "ask", "crossed"),
    [("1.00,1", "1.01,1", 0), ("1.01,1", "1.01,1", 1), ("1.02,1", "1.01,1", 1), (",", "1.01,1", 0)],
)
def test_crossed_quotes_are_kept_and_counted(tmp_path: Path, bid: str, ask: str, crossed: int) -> None:
    """A bid at or above the ask; a side that nobody quotes crosses nothing."""
    report, rows = load(tmp_path, {"q.csv": f"time,bid,bid_size,ask,ask_size\n{T0},{bid},{ask}\n"})
    assert len(rows) == 2
    assert report.instruments[0].crossed == crossed
    assert len(report.warnings) == crossed


def test_crossed_quotes_are_counted_by_symbol(tmp_path: Path) -> None:
    """Each instrument has its own count."""
    text = "time,symbol,bid,bid_size,ask,ask_size\n" + "".join(
        f"{T0 + i},{symbol},{bid},1,1.00,1\n"
        for i, (symbol, bid) in enumerate([("A", 2), ("B", 0.5), ("A", 3)])
    )
    report, _ = load(tmp_path, {"q.csv": text}, symbols=())
    assert [(i.key, i.crossed) for i in report.instruments] == [("A.x", 2), ("B.x", 0)]


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.npz", "x.CSV", "folder/x.csv.gz"])
def test_a_log_is_not_called_like_a_table(tmp_path: Path, name: str) -> None:
    """It was meant to be a file; no folder of that name is made."""
    (tmp_path / "t.csv").write_text(f"time,price,size\n{T0},1,1\n")
    with pytest.raises(UsageError, match=r"an import writes a log\nhint: name it x"):
        import_tables(
            [(tmp_path / "t.csv", "t")], tmp_path / name, TableOptions(venue="x", symbols=("A",)), CENTS
        )
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


DOUBTS = (
    Flag.MAYBE_BAD_BOOK,
    Flag.DUPLICATE,
    Flag.OUT_OF_ORDER,
    Flag.BACKFILLED,
    Flag.REJECTED_TICK,
    Flag.REJECTED_TICK | Flag.UNUSUAL | Flag.EXTREME,
    Flag.UNUSUAL,
    Flag.LOSSY,
    Flag.REVISED | Flag.AGGREGATE,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_flags_of_doubt_survive_the_way_out_and_in(tmp_path: Path, suffix: str) -> None:
    """A tick that was rejected stays so; every imported row says besides that it is imported."""
    make_log(
        tmp_path / "a.arrow",
        [
            Message(at(i), (Fact(Kind.TRADE, instrument=1, price=i, size=1, flags=int(f)),))
            for i, f in enumerate(DOUBTS, 1)
        ],
        sealed=True,
    )
    export_log(tmp_path / "a.arrow", tmp_path / f"t{suffix}", "trades")
    import_tables(
        [(tmp_path / f"t{suffix}", "t")], tmp_path / "b.arrow", TableOptions(venue="binance"), UnitsWanted()
    )
    again = [flags(row) for row in rows_of(tmp_path / "b.arrow") if row["kind"] == Kind.TRADE]
    assert again == [doubt | Flag.LAST | Flag.IMPORTED for doubt in DOUBTS]


def test_flags_of_other_people_mean_nothing_here(tmp_path: Path) -> None:
    """A column of that name is taken from our own exports only; elsewhere it is listed as not used."""
    report, rows = load(tmp_path, {"t.csv": f"time,price,size,flags\n{T0},1,1,1024\n"})
    assert flags(rows[0]) == Flag.LAST | Flag.IMPORTED
    assert report.files[0].unused_columns == ("flags",)


def test_flags_that_are_none_are_named(tmp_path: Path) -> None:
    """An export that was edited by hand."""
    text = f"seq,ts,ts_venue,symbol,venue,side,price,size,id,flags\n1,{T0},,A,x,buy,1,1,1,99999\n"
    with pytest.raises(EngineError, match='row 1, column flags: "99999" is no combination of flags'):
        load(tmp_path, {"t.csv": text})


def facts(path: Path, kind: Kind) -> list[Row]:
    """A log's rows of one kind, without what names the file they came from."""
    return [{**row, "source": 0} for row in rows_of(path) if row["kind"] == kind]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("by_order", [False, True], ids=["by price", "by order"])
def test_a_book_survives_the_way_out_and_in(tmp_path: Path, suffix: str, *, by_order: bool) -> None:
    """Rows by price and by order, their messages, snapshots and clears; and what the log has of it."""
    import_tables(
        [(PAIR, PAIR.name)], tmp_path / "a.arrow", TableOptions(by_order=by_order), UnitsWanted("0.01", "1")
    )
    export_log(tmp_path / "a.arrow", tmp_path / f"b{suffix}", "book")
    import_tables(
        [(tmp_path / f"b{suffix}", "b")],
        tmp_path / "b.arrow",
        TableOptions(venue="nasdaq"),
        UnitsWanted("0.0001", "1"),
    )
    assert facts(tmp_path / "b.arrow", Kind.BOOK) == facts(tmp_path / "a.arrow", Kind.BOOK)
    text = next(row["data"] for row in rows_of(tmp_path / "b.arrow") if row["kind"] == Kind.INSTRUMENT)
    assert msgspec.json.decode(text, type=InstrumentData).channels == (("orders",) if by_order else ("book",))
