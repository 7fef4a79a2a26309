"""`engine log info | check | recover | seal | head` as a user calls them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from engine.cli.main import main
from engine.model.kinds import Flag, Kind, StatusData
from tests.helpers.logs import Message, Row, at, engine_row, make_log, market, read_rows, trade

GAP = engine_row(100, Kind.STATUS, StatusData("gap", "trade", first=5, last=9))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the place where the user stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["log", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_info_says_what_a_person_wants_to_know(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Venue, note, span, instruments, rows and messages per kind, gaps and size are all there."""
    make_log(folder / "a.arrow", [*market(300, seed=81), GAP], sealed=True)
    code, out, err = _run(capsys, "info", "a.arrow")
    assert (code, err) == (0, "")
    assert out.startswith("a.arrow\n")
    for text in (
        "made by a test",
        "binance",
        ", sealed",
        "(1 min 40 s)",
        "BTCUSDT.binance",
        "2024-06-01T00:01:40.000000000Z",
        "5–9",
        "end of test data",
    ):
        assert text in out


def test_info_counts_rows_and_messages(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The figures of --json are those of the file, sealed or not."""
    messages = [*market(300, seed=82), GAP]
    make_log(folder / "a.arrow", messages)
    make_log(folder / "b.arrow", messages, sealed=True)
    code, out, _ = _run(capsys, "info", "a.arrow", "b.arrow", "--json")
    logs = msgspec.json.decode(out)["logs"]
    assert code == 0
    rows = read_rows(folder / "a.arrow")
    books = [m for m in messages if m.rows[0].kind == Kind.BOOK]
    for log in logs:
        assert log["rows"] == len(rows)
        assert log["messages"] == len(messages) + 4
        assert log["kinds"]["BOOK"] == {"rows": sum(len(m.rows) for m in books), "messages": len(books)}
        assert sum(kind["rows"] for kind in log["kinds"].values()) == len(rows)
        assert [i["rows"] for i in log["instruments"]] == [
            sum(row[6] == number and row[3] != Kind.INSTRUMENT for row in rows) for number in (1, 2)
        ]
        assert (log["gap_count"], log["gaps"][0]["first"], log["ended"]) == (1, 5, "end of test data")
    assert [log["sealed"] for log in logs] == [False, True]
    assert logs[0]["chain"] == logs[1]["chain"]


def test_info_counts_flags(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows by flag, over all batches; LAST aside, and what no row has."""
    odd = [Flag.REJECTED_TICK | Flag.UNUSUAL | Flag.EXTREME, Flag.UNUSUAL, Flag.DUPLICATE, Flag.OUT_OF_ORDER]
    make_log(
        folder / "a.arrow",
        [
            Message(at(n), (Row(Kind.TRADE, instrument=1, price=1, size=1, flags=int(flags)),))
            for n, flags in enumerate([*odd, Flag(0), *odd], 1)
        ],
    )
    code, out, _ = _run(capsys, "info", "a.arrow", "--json")
    counts = {"DUPLICATE": 2, "OUT_OF_ORDER": 2, "REJECTED_TICK": 2, "UNUSUAL": 4, "EXTREME": 2}
    assert (code, msgspec.json.decode(out)["flags"]) == (0, counts)
    _, out, _ = _run(capsys, "info", "a.arrow")
    lines = [line.split() for line in out.splitlines()]
    assert [["flag", "rows"], *([name, str(n)] for name, n in counts.items())] == [
        line for line in lines if line and line[0] in {"flag", *counts}
    ]
    make_log(folder / "b.arrow", [trade(1)])
    _, out, _ = _run(capsys, "info", "b.arrow")
    assert "flag " not in out


def test_info_of_a_torn_log_says_where_it_ends(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unsealed log with a torn tail is shown up to there, and the tail is said; that is no failure."""
    path = make_log(folder / "a.arrow", [trade(1)], end=False)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff")
    code, out, _ = _run(capsys, "info", "a.arrow")
    assert code == 0
    assert "4 bytes from byte" in out
    assert "no END row" in out


def test_check_of_good_logs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Good files are called good, one line each, with their chain."""
    make_log(folder / "a.arrow", market(50, seed=83))
    make_log(folder / "b.arrow", market(50, seed=83), sealed=True)
    code, out, err = _run(capsys, "check", "*.arrow")
    assert (code, err) == (0, "")
    assert out.count(": good. ") == 2


@pytest.mark.parametrize("at", [300, -100], ids=["header", "end"])
def test_check_of_a_damaged_log_is_exit_code_3(
    folder: Path, capsys: pytest.CaptureFixture[str], at: int
) -> None:
    """Damage anywhere, header included, is named with its byte; --json has it as a field."""
    path = make_log(folder / "a.arrow", market(50, seed=84), sealed=True)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    code, out, _ = _run(capsys, "check", "a.arrow", "--json")
    report = msgspec.json.decode(out)
    assert code == 3
    assert report["damage"]
    assert report["damage_offset"] >= 8
    code, out, _ = _run(capsys, "check", "a.arrow")
    assert code == 3
    assert f"DAMAGED at byte {report['damage_offset']:,}" in out


def test_check_of_rows_that_break_rules_is_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes as written, but rows that no writer should have written: each named with its seq."""
    make_log(folder / "a.arrow", [trade(2), trade(1, side=3), trade(3, instrument=9)])
    code, out, _ = _run(capsys, "check", "a.arrow", "--json")
    broken = [(rule["seq"], rule["rule"]) for rule in msgspec.json.decode(out)["broken_rules"]]
    assert code == 1
    assert broken == [
        (4, "ts does not grow from message to message"),
        (4, "side is neither -1, 0 nor 1"),
        (5, "instrument 9 is used before it is defined"),
    ]


def test_recover_then_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged log is saved beside itself, and the copy is good."""
    path = make_log(folder / "a.arrow", market(50, seed=85))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, out, _ = _run(capsys, "recover", "a.arrow")
    assert code == 0
    assert "a.recovered.arrow: " in out
    assert "a.arrow is as it was" in out
    assert "whole batches" in out
    assert path.read_bytes() == content
    assert _run(capsys, "check", "a.recovered.arrow")[0] == 0
    code, _, err = _run(capsys, "recover", "a.arrow")
    assert code == 2
    assert "exists already\nhint: name another file with --out" in err


def test_seal_says_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first time it seals, the second time it says that it is sealed."""
    make_log(folder / "a.arrow", market(50, seed=86))
    code, out, _ = _run(capsys, "seal", "a.arrow")
    assert code == 0
    assert "a.arrow: sealed. " in out
    code, out, _ = _run(capsys, "seal", "a.arrow", "--json")
    assert code == 0
    assert msgspec.json.decode(out)["already_sealed"] is True


def test_head_shows_decimals_and_symbols(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are decoded by the definitions in force; --from starts at a seq."""
    make_log(folder / "a.arrow", [trade(1, price=6_000_012, size=1500), trade(2, instrument=2, size=1500)])
    code, out, _ = _run(capsys, "head", "a.arrow", "-n", "5")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:4] == ["seq", "time", "(UTC)", "kind"]
    assert "60000.12  0.01500" in lines[4]
    code, out, _ = _run(capsys, "head", "a.arrow", "-n", "1", "--from", "4", "--json")
    (row,) = msgspec.json.decode(out)["rows"]
    assert (row["seq"], row["instrument"], row["price"], row["size"], row["side"]) == (
        4,
        "ETHUSDT.binance",
        "60000.00",
        "0.1500",
        "buy",
    )


@pytest.mark.parametrize("command", ["info", "check", "recover", "seal", "head"])
def test_a_file_that_is_no_log_is_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Every command names the file and what it is, without a traceback."""
    (folder / "x.arrow").write_text("time,price\n")
    code, out, err = _run(capsys, command, "x.arrow")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "x.arrow: not an Arrow file, not a log" in err
    assert "hint: " in err
    assert "Traceback" not in err
