"""Exporting: exact decimals and names, and the same facts when the file is imported again."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.ingest.export import SUFFIXES, export_log
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.ingest.view_reader import ViewReader, definitions_of
from engine.ingest.views import VIEWS
from engine.log.reader import LogReader
from engine.model.errors import EngineError
from engine.model.kinds import ASK, BID, Kind, encode_canonical
from engine.model.units import format_decimal
from tests.helpers.logs import BTC, Message, Row, at, book, make_log, market, news, quote, trade

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples"
FACTS = ("trades", "quotes", "book", "bars", "news")
NUMBERS = ("ts", "ts_venue", "kind", "part", "side", "price", "size", "id")


def exported(log: Path, to: Path, kind: str, **options: Any) -> pa.Table:
    """Export one view and read the file: Parquet as it is, CSV as texts."""
    export_log(log, to, kind, **options)
    if to.suffix == ".parquet":
        return pq.read_table(to)
    with to.open(newline="") as file:
        names, *lines = csv.reader(file)
    return pa.table({name: [line[i] for line in lines] for i, name in enumerate(names)})


def column(table: pa.Table, name: str) -> list[Any]:
    """A column as texts."""
    return list(pc.cast(table[name].combine_chunks(), pa.string()).to_pylist())


def texts(column: pa.ChunkedArray) -> list[str]:
    """Decimals, or the texts of decimals, written out."""
    return [value if isinstance(value, str) else f"{value:f}" for value in column.to_pylist()]


def facts(path: Path) -> list[tuple[Any, ...]]:
    """The market rows of a log, without what names the file they came from."""
    rows = []
    with LogReader(path) as reader:
        for batch in reader.batches():
            for i in range(batch.count):
                if batch.kind[i] not in {Kind.SOURCE, Kind.INSTRUMENT, Kind.END}:
                    numbers = tuple(int(getattr(batch, name)[i]) for name in NUMBERS)
                    rows.append((*numbers, int(batch.flags[i]), batch.data_at(i)))
    return rows


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with every sample in it."""
    folder = tmp_path_factory.mktemp("all")
    paths = [(SAMPLES / f"{kind}.csv", f"{kind}.csv") for kind in FACTS]
    options = TableOptions(venue="binance", symbols=("BTCUSDT",))
    import_tables(paths, folder / "all.arrow", options, UnitsWanted())
    return folder / "all.arrow"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", FACTS)
def test_what_is_exported_imports_as_the_same_facts(
    tmp_path: Path, everything: Path, kind: str, suffix: str
) -> None:
    """Every kind, through Parquet and through CSV: times, mantissas, ids, flags and texts are equal."""
    export_log(everything, tmp_path / f"x{suffix}", kind)
    to = tmp_path / "again.arrow"
    import_tables([(tmp_path / f"x{suffix}", "x")], to, TableOptions(venue="binance"), UnitsWanted())
    code = {
        "trades": Kind.TRADE,
        "quotes": Kind.QUOTE,
        "book": Kind.BOOK,
        "bars": Kind.BAR,
        "news": Kind.NEWS,
    }[kind]
    expected = [row for row in facts(everything) if row[2] == code]
    assert facts(to) == expected
    assert expected


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.lists(
        st.tuples(st.integers(-(10**16), 10**16), st.integers(0, 10**16), st.integers(0, 2**64 - 1)),
        min_size=1,
        max_size=20,
    ),
    price_decimals=st.integers(0, 12),
    size_decimals=st.integers(0, 12),
    suffix=st.sampled_from(SUFFIXES),
)
def test_decimals_survive_the_way_in_and_out(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int]],
    price_decimals: int,
    size_decimals: int,
    suffix: str,
) -> None:
    """Text → log → file gives every decimal back exactly, at any scale, negative ones too."""
    folder = tmp_path_factory.mktemp("decimals")
    prices = [format_decimal(price, price_decimals) for price, _, _ in rows]
    sizes = [format_decimal(size, size_decimals) for _, size, _ in rows]
    lines = [
        f"{10**18 + i},{p},{s},{row[2]}"
        for i, (p, s, row) in enumerate(zip(prices, sizes, rows, strict=True))
    ]
    (folder / "t.csv").write_text("\n".join(["ts,price,size,id", *lines]))
    units = UnitsWanted(format_decimal(1, price_decimals), format_decimal(1, size_decimals))
    options = TableOptions(venue="x", symbols=("A",))
    import_tables([(folder / "t.csv", "t.csv")], folder / "t.arrow", options, units)
    table = exported(folder / "t.arrow", folder / f"out{suffix}", "trades")
    assert texts(table["price"]) == prices
    assert texts(table["size"]) == sizes
    assert column(table, "id") == [str(number) for _, _, number in rows]


def test_parquet_has_real_types(tmp_path: Path, everything: Path) -> None:
    """Prices are decimals, times UTC nanoseconds, names texts, switches booleans."""
    schema = exported(everything, tmp_path / "b.parquet", "book").schema
    assert schema.field("price").type == pa.decimal128(38, 2)
    assert schema.field("ts").type == pa.timestamp("ns", "UTC")
    assert pa.types.is_dictionary(schema.field("symbol").type)
    assert schema.field("snapshot").type == pa.bool_()


def test_instruments_stand_at_one_scale(tmp_path: Path) -> None:
    """With several instruments the widest decimals are everyone's, and mantissas beyond 64 bits are right."""
    coarse = msgspec.structs.replace(BTC, key="C.x", symbol="C", price_decimals=0, price_increment="1")
    fine = msgspec.structs.replace(
        BTC, key="F.x", symbol="F", price_decimals=18, price_increment="0." + "0" * 17 + "1"
    )
    definitions = [
        Message(at(0) - 10 + n, (Row(Kind.INSTRUMENT, instrument=n, data=encode_canonical(data)),))
        for n, data in ((1, coarse), (2, fine))
    ]
    log = make_log(
        tmp_path / "l.arrow",
        [*definitions, trade(1, 9_000_000, instrument=1), trade(2, 1, instrument=2)],
        with_definitions=False,
    )
    prices = exported(log, tmp_path / "t.parquet", "trades")["price"].to_pylist()
    assert prices == [Decimal(9_000_000), Decimal("0.000000000000000001")]


def test_a_redefined_instrument_is_read_in_the_units_of_its_time(tmp_path: Path) -> None:
    """Rows before and after a new version of a definition show the prices that they stated."""
    wider = msgspec.structs.replace(BTC, price_decimals=3, price_increment="0.001", version=2)
    log = make_log(
        tmp_path / "l.arrow",
        [
            trade(1, 6_000_000),
            Message(at(2), (Row(Kind.INSTRUMENT, instrument=1, data=encode_canonical(wider)),)),
            trade(3, 60_000_001),
        ],
        per_batch=100,
    )
    assert column(exported(log, tmp_path / "t.csv", "trades"), "price") == ["60000.000", "60000.001"]


def test_quotes_pair_the_rows_of_one_message(tmp_path: Path) -> None:
    """A bid and an ask of different messages are two quotes; a side that nobody quotes has no price."""
    messages = [
        quote(1, 100, 102),
        Message(at(2), (Row(Kind.QUOTE, instrument=1, side=BID, price=100, size=5),)),
        Message(at(3), (Row(Kind.QUOTE, instrument=1, side=ASK, price=103, size=5),)),
        Message(
            at(4),
            (
                Row(Kind.QUOTE, instrument=1, side=BID, price=0, size=0),
                Row(Kind.QUOTE, instrument=1, side=ASK, price=104, size=5),
            ),
        ),
    ]
    table = exported(make_log(tmp_path / "l.arrow", messages, per_batch=9), tmp_path / "q.parquet", "quotes")
    assert column(table, "bid") == ["1.00", "1.00", None, None]
    assert column(table, "ask") == ["1.02", None, "1.03", "1.04"]


def test_messages_are_one_line_each(tmp_path: Path) -> None:
    """First seq, number of rows, kind, and the bytes that were received."""
    log = make_log(tmp_path / "l.arrow", [book(1, (BID, 1, 1), (ASK, 2, 1), (ASK, 3, 1)), news(2, "Hi")])
    table = exported(log, tmp_path / "m.parquet", "messages")
    assert column(table, "kind")[3:] == ["BOOK", "NEWS", "END"]
    assert table["rows"].to_pylist()[3:] == [3, 1, 1]
    assert table["seq"].to_pylist()[3:] == [3, 6, 7]
    assert table["wire"].to_pylist()[3:] == [b'{"e":"depthUpdate"}', None, None]


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("per_batch", [1, 1000])
def test_every_row_and_message_is_there_whatever_the_batches(
    tmp_path: Path, per_batch: int, *, sealed: bool
) -> None:
    """Counts of each view agree with the log's, sealed or not."""
    log = make_log(tmp_path / "l.arrow", market(300, seed=5), per_batch=per_batch, sealed=sealed)
    kinds = definitions_of(log).rows_of_kind
    counts = {view: sum(b.num_rows for b in ViewReader(log, view).batches()) for view in VIEWS}
    assert counts["rows"] == sum(kinds.values())
    assert counts["messages"] == 300 + 4
    assert counts["trades"] == kinds[Kind.TRADE]
    assert counts["book"] == kinds[Kind.BOOK]
    assert counts["quotes"] * 2 == kinds[Kind.QUOTE]
    assert counts["news"] == kinds[Kind.NEWS]


def test_a_span_of_time_is_half_open(tmp_path: Path) -> None:
    """--from is inside, --until is not."""
    log = make_log(tmp_path / "l.arrow", [trade(n, id=n) for n in range(1, 6)], per_batch=2)
    table = exported(log, tmp_path / "t.parquet", "trades", since=at(2), until=at(4))
    assert table["id"].to_pylist() == [2, 3]


def test_the_only_kind_need_not_be_named(tmp_path: Path) -> None:
    """With several kinds in the log one must be named."""
    one = make_log(tmp_path / "one.arrow", [trade(1)])
    assert export_log(one, tmp_path / "a.csv").kind == "trades"
    two = make_log(tmp_path / "two.arrow", [trade(1), quote(2)])
    with pytest.raises(EngineError, match="holds trades, quotes") as error:
        export_log(two, tmp_path / "b.csv")
    assert "--kind trades|quotes" in error.value.hint


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("x.txt", "trades", "cannot tell what to write"),
        ("x.csv", "ticks", 'there is no view "ticks"'),
        ("there.csv", "trades", "exists already"),
    ],
)
def test_mistakes_are_named_and_leave_nothing(tmp_path: Path, name: str, kind: str, expected: str) -> None:
    """A name without a form, an unknown view, a file that is there."""
    log = make_log(tmp_path / "l.arrow", [trade(1)])
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(EngineError, match=expected):
        export_log(log, tmp_path / name, kind)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.arrow", "there.csv"]


def test_a_damaged_log_exports_nothing(tmp_path: Path) -> None:
    """The damage is named, and no file is left that would look whole."""
    log = make_log(tmp_path / "l.arrow", market(200, seed=1), sealed=True)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with pytest.raises(EngineError, match="damaged at byte"):
        export_log(log, tmp_path / "t.csv", "trades")
    assert [path.name for path in tmp_path.iterdir()] == ["l.arrow"]
