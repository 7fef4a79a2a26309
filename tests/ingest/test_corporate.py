"""Splits and dividends: what a row becomes, when it counts, what is left out beside market data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.errors import EngineError
from engine.model.kinds import CorporateData, Kind
from tests.helpers.tables import CENTS, T0, Row, only, rows_of

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples"
MONDAY = (2 * 86_400 + 5_400) * 10**9  # XNYS opens on 2024-06-03, counted from T0


def load(
    folder: Path, files: dict[str, str], units: UnitsWanted = CENTS, **options: Any
) -> tuple[ImportReport, list[Row]]:
    """Import files given by content; the report, and the rows after the definitions."""
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    to = folder / "out.arrow"
    to.unlink(missing_ok=True)
    report = import_tables(
        [(folder / name, name) for name in files], to, TableOptions(**{"venue": "x", **options}), units
    )
    rows = rows_of(to)
    leave = {Kind.SOURCE, Kind.INSTRUMENT, Kind.END, Kind.SESSION}
    return report, [row for row in rows if row["kind"] not in leave]


def actions(rows: list[Row]) -> list[tuple[int, CorporateData]]:
    """Time and content of the CORPORATE rows."""
    return [
        (row["ts"], msgspec.json.decode(row["data"], type=CorporateData))
        for row in rows
        if row["kind"] == Kind.CORPORATE
    ]


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("action,ratio", "split,4:1", CorporateData("split", 4, 1)),
        ("action,ratio", "Split,1/10", CorporateData("split", 1, 10)),
        ("type,split_to,split_from,amount", "SPLIT,3,2,", CorporateData("split", 3, 2)),
        (
            "action,amount,currency",
            "dividend,0.240,USD",
            CorporateData("dividend", amount="0.240", currency="USD"),
        ),
        ("action,ratio,dividend", "dividend,,1.5", CorporateData("dividend", amount="1.5")),
    ],
)
def test_each_action_is_one_row(tmp_path: Path, columns: str, row: str, expected: CorporateData) -> None:
    """At the instant of its ts, which is its ts_venue too."""
    _, rows = load(tmp_path, {"c.csv": f"symbol,ts,{columns}\nA,2024-06-03T13:30:00Z,{row}\n"})
    assert actions(rows) == [(MONDAY, expected)]
    assert rows[0]["ts_venue"] == MONDAY
    assert rows[0]["instrument"] == 1


@pytest.mark.parametrize(
    ("day", "calendar", "opens"),
    [
        ("2024-06-03", "XNYS", MONDAY),
        ("2024-06-01", "XNYS", MONDAY),  # a Saturday: the next session
        ("2024-06-03", "XLON", MONDAY - int(6.5 * 3600) * 10**9),
    ],
)
def test_a_day_counts_from_when_its_session_opens(
    tmp_path: Path, day: str, calendar: str, opens: int
) -> None:
    """The calendar says when; on a day without a session it is the next one's open."""
    text = f"symbol,date,action,ratio\nA,{day},split,2:1\n"
    _, rows = load(tmp_path, {"c.csv": text}, calendar=calendar)
    assert [ts for ts, _ in actions(rows)] == [opens]


def test_actions_stand_among_market_data_and_before_it_at_the_same_instant(tmp_path: Path) -> None:
    """Whatever order the files are named in."""
    at = ("2024-06-03T13:30:00Z", "2024-06-03T14:00:00Z")
    trades = "ts,symbol,price,size\n" + "".join(f"{t},A,100,1\n" for t in at)
    text = "symbol,date,action,amount\nA,2024-06-03,dividend,0.1\n"
    _, rows = load(tmp_path, {"t.csv": trades, "c.csv": text}, calendar="XNYS")
    assert only(rows, "kind", "ts") == [
        (Kind.CORPORATE, MONDAY),
        (Kind.TRADE, MONDAY + 1),
        (Kind.TRADE, MONDAY + 1800 * 10**9),
    ]


def test_beside_market_data_only_its_own_time_and_instruments_count(tmp_path: Path) -> None:
    """Years of actions of many companies may be given for a day of one; what is left out is counted."""
    pair = SAMPLES / "lobster" / "EXMP_2024-06-03_34200000_34210000_message_2.csv"
    sample = SAMPLES / "corporate" / "corporate.csv"
    report = import_tables(
        [(sample, "c"), (pair, "p")], tmp_path / "o.arrow", TableOptions(calendar="XNYS"), UnitsWanted()
    )
    rows = [row for row in rows_of(tmp_path / "o.arrow") if row["kind"] in {Kind.CORPORATE, Kind.BOOK}]
    assert actions(rows) == [(MONDAY, CorporateData("split", 4, 1))]
    assert [i.key for i in report.instruments] == ["EXMP.nasdaq"]
    assert (report.files[0].rows, report.files[0].skipped) == (1, 2)
    assert rows[1]["ts"] == MONDAY + 1
    assert any("2 actions are of other instruments" in warning for warning in report.warnings)


def test_nothing_may_be_left(tmp_path: Path) -> None:
    """A list of which nothing falls into the data's time leaves the market data as they are."""
    text = "symbol,ts,action,ratio\nA,2020-06-03T13:30:00Z,split,2:1\n"
    report, rows = load(tmp_path, {"c.csv": text, "t.csv": f"ts,symbol,price,size\n{T0},A,100,1\n"})
    assert only(rows, "kind", "ts") == [(Kind.TRADE, 0)]
    assert report.first == "2024-06-01T12:00:00.000000000Z"


def test_rows_out_of_order_are_sorted(tmp_path: Path) -> None:
    """And --symbol takes some of them."""
    text = "symbol,ts,action,ratio\n" + "".join(
        f"{symbol},2024-06-0{day}T13:30:00Z,split,2:1\n" for day, symbol in ((5, "A"), (4, "B"), (3, "A"))
    )
    report, rows = load(tmp_path, {"c.csv": text}, symbols=("A",))
    assert [ts for ts, _ in actions(rows)] == [MONDAY, MONDAY + 2 * 86_400 * 10**9]
    assert (report.files[0].skipped, report.files[0].out_of_order) == (1, 1)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("date,action,ratio\n2024-06-03,split,2:1\n", {"symbols": ("A",)}, "its rows name days"),
        (
            "symbol,date,action,ratio\nA,soon,split,2:1\n",
            {"calendar": "XNYS"},
            'column date: "soon" is not a day',
        ),
        ("ts,action,ratio\n2024-06-03T13:30:00Z,split,2:1\n", {}, "has no column for the symbol"),
        ("symbol,ts,action,ratio\nA,1717421400,merger,2:1\n", {}, 'column action: "merger" is neither split'),
        ("symbol,ts,action,ratio\nA,1717421400,split,two\n", {}, 'row 1, column ratio: "two" is no ratio'),
        ("symbol,ts,action,ratio\nA,1717421400,split,0:1\n", {}, 'row 1, column ratio: "0:1" is no ratio'),
        (
            "symbol,ts,action,ratio,numerator,denominator\nA,1717421400,split,,2,0\n",
            {},
            'column denominator: "0" is no whole number above zero',
        ),
        ("symbol,ts,action,ratio\nA,1717421400,split,\n", {}, "a split needs a ratio, or a numerator"),
        ("symbol,ts,action,ratio\nA,1717421400,dividend,\n", {}, "a dividend needs an amount"),
        ("symbol,ts,action,amount\nA,1717421400,dividend,-1\n", {}, 'column amount: "-1" is no amount above'),
        (
            "symbol,ts,action,amount\nA,1717421400,dividend,\n",
            {},
            "column amount: (empty) is no amount above",
        ),
        ("symbol,action,ratio\nA,split,2:1\n", {}, "no column for date, which corporate need"),
        (
            "symbol,ts,action,ratio\nA,1717421400,split,2:1\n",
            {"symbols": ("B",)},
            "holds no rows of these symbols",
        ),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, options: dict[str, Any], expected: str) -> None:
    """File, row, column and value; and what says when a session opens."""
    with pytest.raises(EngineError) as caught:
        load(tmp_path, {"c.csv": text}, **options)
    assert expected in str(caught.value)
    assert not (tmp_path / "out.arrow").exists()


def test_actions_alone_do_not_say_what_a_tick_is(tmp_path: Path) -> None:
    """A log of actions only must not make up increments for an instrument that other logs have."""
    text = "symbol,ts,action,ratio\nA,1717421400,split,2:1\n"
    with pytest.raises(EngineError, match="nothing says what its increments are"):
        load(tmp_path, {"c.csv": text}, UnitsWanted())
