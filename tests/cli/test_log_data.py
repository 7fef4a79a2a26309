"""`engine log import | export | query | rebuild` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.log_data import looks_like_capture
from engine.cli.main import main
from tests.helpers.logs import make_log, trade

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "import-samples"
TRADE = (
    '{"e":"trade","E":1717243200123,"s":"BTCUSDT","t":7,"p":"67512.40000000","q":"0.01200000",'
    '"T":1717243200120,"m":true,"M":true}'
)
CAPTURE = f"1717243200130000000 {TRADE}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `engine log …`."""
    code = main(["log", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def imported(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The report of an import that works."""
    code, out, err = run(capsys, "import", *arguments, "--json")
    assert (code, err) == (0, "")
    report: dict[str, Any] = json.loads(out)
    return report


def test_a_table_is_imported_queried_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    """The way of docs/importing.md, from CSV to an answer and to CSV."""
    report = imported(
        capsys, str(SAMPLES / "trades.csv"), "--to", "a.arrow", "--venue", "binance", "--symbol", "BTCUSDT"
    )
    assert (report["path"], report["rows"], report["files"][0]["kind"]) == ("a.arrow", 8, "trades")
    code, out, _ = run(capsys, "query", "a.arrow", "SELECT max(price) AS top FROM trades", "--json")
    assert (code, json.loads(out)["rows"]) == (0, [["67512.41"]])
    code, out, _ = run(
        capsys, "export", "a.arrow", "--to", "a.csv", "--from", "2024-06-01T12:00:02Z", "--json"
    )
    assert (code, json.loads(out)["rows"]) == (0, 2)
    assert Path("a.csv").read_text().splitlines()[0].startswith("seq,ts,ts_venue,symbol")


def test_an_import_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    """The text names rows, span, files, increments and what to do next; warnings go to stderr."""
    files = [str(SAMPLES / name) for name in ("bars.csv", "quotes.csv")]
    code, out, err = run(capsys, "import", *files, "--to", "rec", "--venue", "x", "--symbol", "A")
    assert code == 0
    assert "rec/2024-06-01.arrow: 24 rows" in out
    assert "3 rows of bars" in out
    assert "(widest decimals seen)" in out
    assert "--interval says it for certain" in err


@pytest.mark.parametrize(
    ("sample", "options", "kind", "rows"),
    [
        ("lobster/EXMP_2024-06-03_34200000_34210000_message_2.csv", (), "lobster", 9),
        ("lobster/EXMP_2024-06-03_34200000_34210000_orderbook_2.csv", ("--by-order",), "lobster by order", 9),
        ("tardis/incremental_book_L2.csv", (), "book", 8),
        ("tardis/quotes.csv", ("--format", "tardis"), "quotes", 2),
        ("tardis/quotes.csv", ("--format", "table", "--venue", "x"), "quotes", 2),
        (
            "hftbacktest/BTCUSDT_20240601.npz",
            ("--venue", "binance", "--symbol", "BTCUSDT"),
            "hftbacktest",
            12,
        ),
    ],
)
def test_files_of_other_makers_are_recognised(
    capsys: pytest.CaptureFixture[str], sample: str, options: tuple[str, ...], kind: str, rows: int
) -> None:
    """By their names or first bytes; --format says it where somebody wants it otherwise."""
    code, out, _ = run(capsys, "import", str(SAMPLES / sample), "--to", "a.arrow", *options, "--json")
    report = json.loads(out)
    assert (code, report["files"][0]["kind"], report["files"][0]["rows"]) == (0, kind, rows)
    assert run(capsys, "check", "a.arrow")[0] == 0


def test_splits_and_sessions_come_with_a_calendar(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside data, and sessions alone."""
    files = [
        str(SAMPLES / name)
        for name in ("corporate/corporate.csv", "lobster/EXMP_2024-06-03_34200000_34210000_message_2.csv")
    ]
    code, out, _ = run(capsys, "import", *files, "--to", "a.arrow", "--calendar", "XNYS")
    assert code == 0
    assert "1 rows of corporate, 2 left out" in out
    assert "9 sessions" in out
    days = ("--from", "2024-07-01", "--until", "2024-07-05")
    report = imported(capsys, "--calendar", "XNYS", *days, "--to", "s.arrow")
    assert (report["sessions"], report["rows"], report["files"]) == (4, 5, [])


def test_a_capture_is_told_from_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A receive time and a frame make a capture; its frames are kept and make its rows again."""
    Path("c.txt").write_text(CAPTURE)
    assert looks_like_capture(Path("c.txt"))
    assert not any(looks_like_capture(path) for path in SAMPLES.glob("*.csv"))
    report = imported(capsys, "c.txt", "--to", "rec")
    assert (report["path"], report["kinds"]["TRADE"]) == ("rec/2024-06-01.arrow", 1)
    code, out, _ = run(
        capsys, "query", report["path"], "SELECT wire FROM messages WHERE kind = 'TRADE'", "--csv"
    )
    assert (code, json.loads(out.splitlines()[1].strip('"').replace('""', '"'))["t"]) == (0, 7)
    code, out, _ = run(capsys, "rebuild", report["path"], "--json")
    assert (code, json.loads(out)["same"], json.loads(out)["frames"]) == (0, True, 1)
    code, out, _ = run(capsys, "rebuild", report["path"])
    assert (code, "every row is as it is in the log" in out) == (0, True)


def test_rebuild_reports_rows_that_are_not_those_of_their_frames(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that disagrees with its wire is a difference, named by seq and column, and exit code 1."""
    make_log(Path("a.arrow"), [trade(1, price=1, wire=TRADE.encode())], sealed=True)
    code, out, _ = run(capsys, "rebuild", "a.arrow", "--json")
    report = json.loads(out)
    assert (code, report["same"]) == (1, False)
    assert set(report["differences"][0]) == {"seq", "column", "was", "is"}
    code, out, _ = run(capsys, "rebuild", "a.arrow")
    assert (code, f"{report['count']} differences: " in out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["import", "t.csv", "c.txt", "--to", "o"], "c.txt is a capture, t.csv is not"),
        (["import", "c.txt", "--to", "o", "--interval", "1m"], "--interval is of no use with captures"),
        (["import", "c.txt", "--to", "t.arrow"], "t.arrow: exists already"),
        (["import", "c.txt", "--to", "c.csv"], "c.csv: an import writes a log"),
        (["import", "t.csv", "--to", "c.csv"], "c.csv: an import writes a log"),
        (["import", "--to", "o"], "no file to import"),
        (["import", "c.txt", "--to", "o", "--calendar", "XNYS"], "--calendar is of no use with captures"),
        (
            ["import", "t.csv", "--to", "o", "--format", "lobster"],
            "t.csv: is not named like a file of LOBSTER",
        ),
        (
            ["import", "t.csv", "--to", "o", "--format", "hftbacktest", "--symbol", "A"],
            "t.csv: cannot be read",
        ),
        (["import", "--calendar", "XNYS", "--to", "o"], '--from: "" is not a day'),
        (["import", "t.csv", "--to", "o", "--column", "prize=p"], "--column prize=p: is not FIELD=NAME"),
        (["import", "t.csv", "--to", "o", "--interval", "1x"], '"1x" is no interval of bars'),
        (["import", "t.csv", "--to", "o", "--feed-latency", "fast"], '--feed-latency: "fast" is no duration'),
        (["import", "none.csv", "--to", "o"], "none.csv: cannot be opened"),
        (["import", "t.csv", "--to", "o"], "t.csv: has no column for the symbol"),
        (["query", "SELECT 1"], "a log and a question are needed"),
        (["query", "t.arrow", "SELECT nope FROM trades"], 'column "nope" not found'),
        (["query", "none.arrow", "SELECT 1"], "none.arrow: no such file"),
        (["query", "t.arrow", "SELECT 1", "--csv", "--json"], "--csv and --json cannot both be"),
        (["export", "t.arrow", "--to", "x.csv", "--from", "noon"], '--from: "noon" is not a time'),
        (["export", "t.arrow", "--to", "x.xls"], "x.xls: cannot tell what to write"),
        (["rebuild", "none.arrow"], "none.arrow: no such file"),
    ],
)
def test_mistakes_are_one_error_without_a_traceback(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    """Exit code 2, nothing on stdout, and the sentence on stderr."""
    Path("t.csv").write_text("time,price,size\n1717243200,1,1\n")
    Path("c.txt").write_text(CAPTURE)
    make_log(Path("t.arrow"), [trade(1)])
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_a_query_shows_fifty_rows_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    """A table is cut at 50; --limit 0, --csv and --json show all."""
    make_log(Path("a.arrow"), [trade(n) for n in range(1, 81)], per_batch=80)
    sql = "SELECT seq FROM trades"
    assert "(50 rows; there are more" in run(capsys, "query", "a.arrow", sql)[1]
    assert "(80 rows)" in run(capsys, "query", "a.arrow", sql, "--limit", "0")[1]
    assert len(run(capsys, "query", "a.arrow", sql, "--csv")[1].splitlines()) == 81
    assert len(json.loads(run(capsys, "query", "a.arrow", sql, "--json")[1])["rows"]) == 80


def test_a_torn_log_is_answered_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """Stderr says what was not used."""
    log = make_log(Path("a.arrow"), [trade(1), trade(2)], end=False)
    log.write_bytes(log.read_bytes()[:-9])
    code, out, err = run(capsys, "query", "a.arrow", "SELECT count(*) FROM trades", "--csv")
    assert (code, out.splitlines()[1]) == (0, "1")
    assert "warning: a.arrow: " in err
