"""Bad tables: each mistake has its own sentence, with file, row, column, value, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.errors import EngineError

T0 = 1_717_243_200_000_000_000
CENTS = UnitsWanted(price_increment="0.01", size_increment="0.001")
TRADES = f"time,price,size,side,id\n{T0},1,1,buy,1\n"


def failure(
    folder: Path, content: Any, units: UnitsWanted = CENTS, name: str = "f.csv", **options: Any
) -> str:
    """The text of the error that importing this file gives."""
    path = folder / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    given = TableOptions(**{"venue": "x", "symbols": ("A",), **options})
    with pytest.raises(EngineError) as error:
        import_tables([(path, name)], folder / "out.arrow", given, units)
    assert error.value.exit_code == 2
    assert not (folder / "out.arrow").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (f"{T0},61x,1,buy,1", 'f.csv: row 2, column price: "61x" is not a decimal number'),
        (
            f'{T0},"61,250.1",1,buy,1',
            'column price: "61,250.1" is not a decimal number\nhint: write it like 61250.10',
        ),
        (f"{T0},,1,buy,1", "row 2, column price: (empty) is no value\nhint: every row needs a price"),
        (
            f"{T0},1.005,1,buy,1",
            (
                'column price: "1.005" has more than 2 decimals\n'
                "hint: give a finer increment: --price-increment 0.001"
            ),
        ),
        (
            f"{T0},1,0.00005,buy,1",
            (
                'column size: "0.00005" has more than 3 decimals\n'
                "hint: give a finer increment: --size-increment 0.00001"
            ),
        ),
        (f"{T0},99999999999999999999,1,buy,1", "at 2 decimals does not fit 64 bits"),
        (f"{T0},1,-1,buy,1", 'row 2, column size: "-1" is negative'),
        (f"{T0},1,1,long,1", 'row 2, column side: "long" is no side\nhint: known are '),
        (f"{T0},1,1,buy,a1", 'row 2, column id: "a1" is not a whole number'),
        (f"{T0},1,1,buy,-1", 'row 2, column id: "-1" is not a whole number'),
        (",1,1,buy,1", "row 2, column time: (empty) is no value"),
        ("yesterday,1,1,buy,1", 'column time: "yesterday" is not a time like those before it'),
        (
            f"{T0 // 1000},1,1,buy,1",
            "is not in ns, the unit of the rows before it\nhint: say the unit with --time-unit",
        ),
        (f"{T0},1,1,buy", 'f.csv: row 2 has 4 columns, not 5: "'),
    ],
)
def test_a_bad_value_is_named_with_its_row(tmp_path: Path, row: str, expected: str) -> None:
    """The message has file, row (counted from 1, without the header), column, value and a way out."""
    assert expected in failure(tmp_path, f"{TRADES}{row}\n")


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2024-06-01T12:00:00", "is a time without a zone\nhint: say which with --zone UTC"),
        ("2024-13-01T12:00:00Z", "is not a time\nhint: write 2024-06-01T12:00:00.5Z"),
        ("12", "is too small for a time: its unit cannot be told"),
        ("1717243200.0000000001", "is not a time like those before it"),
    ],
)
def test_a_time_that_cannot_be_read_says_why(tmp_path: Path, time: str, expected: str) -> None:
    """A missing zone, an impossible date, a number that is no time."""
    assert expected in failure(tmp_path, f"time,price,size\n{time},1,1\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"zone": "Mars/Olympus"}, '--zone "Mars/Olympus" is no time zone'),
        ({"zone": "Europe/Berlin"}, "does not exist in Europe/Berlin, or twice"),
    ],
)
def test_a_zone_that_does_not_help_says_why(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    """An unknown zone, and an hour that the clock left out."""
    assert expected in failure(tmp_path, "time,price,size\n2024-03-31T02:30:00,1,1\n", **options)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "f.csv: is empty"),
        ("time,price,size\n", "f.csv: holds no rows"),
        ("1,2,3\n4,5,6\n", "the first line holds no column names, and is no known dump"),
        ("time,price,price\n1,1,1\n", "two columns are called price"),
        ("a,b,c\n1,2,3\n", "its columns are those of no kind of data: a, b, c"),
        ("price,size\n1,2\n", "no column for ts_venue, which trades need"),
        ("time,bid,ask\n1,2,3\n", "no column for bid_size, ask_size, which quotes need"),
        (b"\xff\xfe\x00t", "is not UTF-8 text"),
        (b"t\x00i,m\n", "is neither CSV nor Parquet"),
        (b"PAR1nothing", "cannot be read as Parquet"),
        (b"ARROW1\x00\x00", "is an Arrow file"),
    ],
)
def test_a_file_that_is_none_of_ours_says_what_it_is(
    tmp_path: Path, content: str | bytes, expected: str
) -> None:
    """Empty, without names, without the columns that a kind needs, or something else entirely."""
    assert expected in failure(tmp_path, content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """Neither gives a traceback."""
    for path, expected in ((tmp_path / "none.csv", "cannot be opened"), (tmp_path, "is a folder")):
        with pytest.raises(EngineError, match=expected):
            import_tables([(path, "f")], tmp_path / "o.arrow", TableOptions(venue="x"), CENTS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"symbols": ()}, "has no column for the symbol, and --symbol names none\nhint: say whose data"),
        ({"symbols": ("A", "B")}, "--symbol names 2"),
        ({"venue": ""}, "whose data are these?\nhint: name the venue"),
        (
            {"columns": {"price": "Last"}},
            "--column price=Last: there is no such column\nhint: it has time, price",
        ),
        ({"kind": "book"}, 'row 1, column side: "none" is no side'),
    ],
)
def test_options_that_do_not_fit_the_file_are_named(
    tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    """Whose data, which columns, which kind: what is missing is asked for."""
    assert expected in failure(tmp_path, f"time,price,size,side\n{T0},1,1,none\n", **options)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (UnitsWanted("abc", "1"), '--price-increment abc: "abc" is not a decimal number'),
        (UnitsWanted("1", "0"), "--size-increment 0: an increment is positive"),
        (UnitsWanted(exchange_info=Path("none.json")), "none.json: no such file"),
    ],
)
def test_increments_that_are_none_are_named(tmp_path: Path, units: UnitsWanted, expected: str) -> None:
    """An option that is no decimal, zero, or a file that is not there."""
    assert expected in failure(tmp_path, TRADES, units)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            pa.array([1.0, 1.005]),
            'row 2, column price: "1.005" is no multiple of the increment; next to it are 1.00 and 1.01',
        ),
        (pa.array([1.0, float("nan")]), "row 2, column price"),
        (pa.array([1.0, None]), "row 2, column price: (empty) is no value"),
        (pa.array([1.0, 1e300]), 'column price: "1e+300" at 2 decimals does not fit 64 bits'),
        (pa.array([1, 2**62]), 'column price: "4611686018427387904" at 2 decimals does not fit 64 bits'),
        (pa.array([[1], [2]]), "column price holds list"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_a_parquet_value_that_is_no_price_is_named(tmp_path: Path, column: pa.Array, expected: str) -> None:
    """A float off the increment names both neighbours; NaN, null, infinity and other types are refused."""
    table = pa.table({"time": [T0, T0 + 1], "price": column, "size": [1, 1]})
    assert expected in failure(tmp_path, table, name="f.parquet")


def test_a_book_message_with_two_times_is_refused(tmp_path: Path) -> None:
    """What a `last` column holds together has one time."""
    text = f"time,side,price,size,last\n{T0},bid,1,1,false\n{T0 + 1},bid,2,1,true\n"
    assert "goes on at 2024-06-01T12:00:00.000000001Z" in failure(tmp_path, text)


def test_a_book_level_needs_a_side_and_a_size(tmp_path: Path) -> None:
    """Only a deleted level may have no size."""
    text = f"time,side,price,size,action\n{T0},bid,1,,delete\n{T0},bid,2,,update\n"
    assert "row 2, column size: (empty) is no value" in failure(tmp_path, text)


def test_one_bar_does_not_tell_its_length(tmp_path: Path) -> None:
    """--interval is asked for when nothing says how long a bar is."""
    assert "hint: say it: --interval 1m" in failure(tmp_path, f"time,open,high,low,close\n{T0},1,1,1,1\n")


def test_an_existing_log_is_not_overwritten(tmp_path: Path) -> None:
    """The file that stands there stays as it is."""
    (tmp_path / "f.csv").write_text(TRADES)
    (tmp_path / "out.arrow").write_bytes(b"mine")
    with pytest.raises(EngineError, match="exists already"):
        import_tables(
            [(tmp_path / "f.csv", "f")],
            tmp_path / "out.arrow",
            TableOptions(venue="x", symbols=("A",)),
            CENTS,
        )
    assert (tmp_path / "out.arrow").read_bytes() == b"mine"
