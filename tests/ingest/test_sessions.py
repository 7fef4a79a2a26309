"""Sessions from exchange_calendars as rows: which days, which instants, which version said so."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import exchange_calendars
import msgspec
import pytest

from engine.ingest.sessions import Calendar
from engine.ingest.tabular import ImportReport, import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.log.check import check
from engine.model.errors import EngineError
from engine.model.kinds import Flag, Kind, SessionData
from engine.model.units import parse_time
from tests.helpers.tables import CENTS, T0, Row, flags, rows_of


def write(folder: Path, text: str = "", **options: Any) -> tuple[ImportReport, list[Row]]:
    """An import of a table, or of nothing, with a calendar; the report and all rows."""
    paths = []
    if text:
        (folder / "t.csv").write_text(text)
        paths.append((folder / "t.csv", "t.csv"))
    to = folder / "out.arrow"
    report = import_tables(paths, to, TableOptions(**{"venue": "x", "calendar": "XNYS", **options}), CENTS)
    return report, rows_of(to)


def sessions(rows: list[Row]) -> list[SessionData]:
    """The sessions that a log states."""
    return [msgspec.json.decode(r["data"], type=SessionData) for r in rows if r["kind"] == Kind.SESSION]


def test_a_session_says_when_it_opens_and_closes() -> None:
    """The week of a holiday: a short day, none, and a usual one; times are instants in UTC."""
    found = Calendar("XNYS").sessions(date(2024, 7, 2), date(2024, 7, 5), "x")
    version = exchange_calendars.__version__
    assert found == [
        SessionData("XNYS", day, parse_time(opens), parse_time(closes), "x", version, early)
        for day, opens, closes, early in (
            ("2024-07-02", "2024-07-02T13:30:00Z", "2024-07-02T20:00:00Z", False),
            ("2024-07-03", "2024-07-03T13:30:00Z", "2024-07-03T17:00:00Z", True),
            ("2024-07-05", "2024-07-05T13:30:00Z", "2024-07-05T20:00:00Z", False),
        )
    ]


def test_other_names_of_a_calendar_are_known() -> None:
    """NYSE is XNYS; the row says the library's own name."""
    assert Calendar("NYSE").name == "XNYS"


def test_a_weekend_has_no_session() -> None:
    """Nor is that an error of the calendar."""
    assert Calendar("XNYS").sessions(date(2024, 6, 1), date(2024, 6, 2)) == []


def test_an_import_writes_the_sessions_its_data_touch_and_ten_days_more(tmp_path: Path) -> None:
    """At the log's head, before any fact, for the venue of the data."""
    at = [parse_time(f"2024-06-{day}T15:00:00Z") for day in ("03", "04")]
    text = "ts,symbol,price,size\n" + "".join(f"{ts},A,1,1\n" for ts in at)
    report, rows = write(tmp_path, text)
    days = [s.day for s in sessions(rows)]
    assert days == [f"2024-06-{d:02}" for d in (3, 4, 5, 6, 7, 10, 11, 12, 13, 14)]
    assert {s.venue for s in sessions(rows)} == {"x"}
    kinds = [row["kind"] for row in rows]
    assert kinds == [Kind.SOURCE, Kind.INSTRUMENT, *[Kind.SESSION] * 10, Kind.TRADE, Kind.TRADE, Kind.END]
    assert {flags(r) for r in rows if r["kind"] == Kind.SESSION} == {Flag.LAST | Flag.IMPORTED}
    assert [row["ts"] for row in rows] == sorted({row["ts"] for row in rows})
    assert report.sessions == 10
    assert check(tmp_path / "out.arrow").rows == report.rows


def test_data_after_the_close_do_not_touch_that_session(tmp_path: Path) -> None:
    """A trade in the evening is before the next day's session."""
    ts = parse_time("2024-06-03T21:00:00Z")
    _, rows = write(tmp_path, f"ts,symbol,price,size\n{ts},A,1,1\n")
    assert sessions(rows)[0].day == "2024-06-04"


def test_a_session_that_began_the_day_before_is_touched(tmp_path: Path) -> None:
    """Futures in Chicago open in the evening before their session's date."""
    ts = parse_time("2024-06-02T23:00:00Z")
    _, rows = write(tmp_path, f"ts,symbol,price,size\n{ts},A,1,1\n", calendar="CMES")
    first = sessions(rows)[0]
    assert (first.day, first.opens < ts < first.closes) == ("2024-06-03", True)


def test_sessions_alone_are_a_log(tmp_path: Path) -> None:
    """From one day to another, both included; in time before anything of the first day."""
    report, rows = write(tmp_path, since="2024-06-03", until="2024-06-05", venue="")
    assert [s.day for s in sessions(rows)] == ["2024-06-03", "2024-06-04", "2024-06-05"]
    assert [row["kind"] for row in rows] == [*[Kind.SESSION] * 3, Kind.END]
    assert rows[-2]["ts"] + T0 < parse_time("2024-06-03T00:00:00Z")
    assert (report.sessions, report.files, report.instruments) == (3, [], [])
    assert sessions(rows)[0].venue == ""


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("", {"calendar": "XXXX"}, '--calendar "XXXX" is no calendar of exchange_calendars'),
        ("", {"calendar": ""}, "no file to import"),
        ("", {}, '--from: "" is not a day'),
        ("", {"since": "2024-06-03", "until": "June"}, '--until: "June" is not a day'),
        ("", {"since": "2024-06-03", "until": "2024-06-01"}, "2024-06-01 is before 2024-06-03"),
        ("", {"since": "2024-06-01", "until": "2024-06-02"}, "XNYS has no session in that time"),
        (f"ts,symbol,price,size\n{T0},A,1,1\n", {"since": "2024-06-01"}, "--from and --until say which"),
        (f"ts,symbol,price,size\n{T0},A,1,1\n", {"calendar": "XKRX"}, ""),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, options: dict[str, Any], expected: str) -> None:
    """Calendars that are none, days that are none, times without a session."""
    if not expected:
        assert write(tmp_path, text, **options)[0].sessions > 3
        return
    with pytest.raises(EngineError) as caught:
        write(tmp_path, text, **options)
    assert expected in str(caught.value)


def test_without_the_library_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra; nothing else needs it."""
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(EngineError, match=r"is not installed\nhint: install it: pip install"):
        write(tmp_path, since="2024-06-03", until="2024-06-05")
    (tmp_path / "t.csv").write_text(f"ts,symbol,price,size\n{T0},A,1,1\n")
    path = (tmp_path / "t.csv", "t.csv")
    assert import_tables([path], tmp_path / "o.arrow", TableOptions(venue="x"), UnitsWanted()).rows == 4
