"""`engine backtest`: its one object, its table, its run's folder, and logs that are not finished."""

from __future__ import annotations

import getpass
import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from engine.log.reader import LogReader
from engine.log.schema import LogHeader
from engine.model.kinds import CommandData, Kind
from tests.helpers.command import Done, call, engine
from tests.helpers.logs import engine_row, make_log, market

BUSY = Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"
SAMPLE = Path(__file__).parents[2] / "recordings" / "2024-06-01.arrow"
REQUIRED = {
    "events": int,
    "messages": int,
    "seconds": float,
    "events_per_second": int,
    "orders": int,
    "fills": int,
    "fees": float,
    "pnl": float,
    "position": dict,
    "journal_hash": str,
    "run_dir": str,
}


class Ran(NamedTuple):
    """A folder and the result of a run in it."""

    cwd: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run of the busy strategy over ten invented seconds."""
    cwd = tmp_path_factory.mktemp("ran")
    make_log(cwd / "market.arrow", market(1_000, seed=9), sealed=True)
    (cwd / "mine.py").write_text(BUSY.read_text())
    return Ran(cwd, run(cwd, "market.arrow").ok().json)


def run(cwd: Path, *arguments: str | Path) -> Done:
    """A backtest of a copy of the busy strategy."""
    (cwd / "mine.py").write_text(BUSY.read_text())
    return call("backtest", *arguments, "--strategy", "mine.py", "--json", cwd=cwd)


def test_with_nothing_else_it_runs_the_default_strategy_on_the_sample(tmp_path: Path) -> None:
    """`engine backtest recordings/2024-06-01.arrow`: a table that has everything, and where the files are."""
    done = call("backtest", SAMPLE, cwd=tmp_path).ok()
    lines = done.out.splitlines()
    assert lines[0].startswith("ema_cross over ")
    names = [line.split("  ")[1] for line in lines[1:]]
    assert names == [
        "P&L",
        "drawdown",
        "Sharpe",
        "round trips",
        "turnover",
        "orders",
        "fills",
        "position",
        "account",
        "latency",
        "venue",
        "span",
        "events",
        "journal",
        "files",
    ]
    for part in (" USDT (", "one-second equity", "one-minute returns", "% won", "fees ", " TAKER)", "rows/s"):
        assert part in done.out
    assert "research, capital 100,000.00 USDT, unlimited" in done.out
    assert "feed 20 ms, entry 20 ms, response 20 ms (assumed)" in done.out
    assert "synthetic market" in done.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert lines[-1].split() == ["files", f"runs/{folder.name}"]


def test_json_is_one_object_with_the_fields_that_stay(ran: Ran) -> None:
    """The fields that scripts may rely on, with their types; the same object in summary.json."""
    for name, kind in REQUIRED.items():
        assert isinstance(ran.result[name], kind), name
    assert ran.result["events"] > 1_000
    assert len(ran.result["journal_hash"]) == 64
    summary = msgspec.json.decode((ran.cwd / ran.result["run_dir"] / "summary.json").read_bytes())
    assert summary == ran.result


def test_the_same_again_is_the_same(ran: Ran) -> None:
    """Two runs in one process: other folders, one hash."""
    again = run(ran.cwd, "market.arrow").ok().json
    assert again["run_dir"] != ran.result["run_dir"]
    assert again["journal_hash"] == ran.result["journal_hash"]


def test_a_run_names_no_host_no_user_and_no_absolute_path(ran: Ran) -> None:
    """Every file of a run can be given away: searched for what says whose machine it was."""
    folder = ran.cwd / ran.result["run_dir"]
    words = [socket.gethostname(), getpass.getuser(), str(Path.home()), str(ran.cwd), tempfile.gettempdir()]
    patterns = [rb"(?<!\w)" + re.escape(word).encode() + rb"(?!\w)" for word in words]
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not [p for p in (*patterns, rb'"/') if re.search(p, content)], file.name
    record = msgspec.json.decode((folder / "run.json").read_bytes())
    assert record["inputs"][0]["path"] == "../../market.arrow"
    assert record["strategy"]["reference"] == "../../mine.py"
    assert list(record["strategy"]["files"]) == ["mine.py"]
    assert record["mode"] == "backtest"
    with LogReader(ran.cwd / "market.arrow") as reader:
        assert record["inputs"][0]["chain"] == reader.header.sealed_chain


def test_parameters_come_from_set_and_from_toml(ran: Ran) -> None:
    """Typed, recorded, and --set is the stronger one."""
    (ran.cwd / "mine.toml").write_text('[parameters]\nsize = 0.02\nbeat = "100ms"\n')
    result = run(ran.cwd, "market.arrow", "--config", "mine.toml", "--set", "beat=150ms").ok().json
    record = msgspec.json.decode((ran.cwd / result["run_dir"] / "run.json").read_bytes())
    assert record["strategy"]["parameters"] == {"size": 0.02, "beat": "150ms", "symbols": []}
    assert result["journal_hash"] != ran.result["journal_hash"]


def test_the_configuration_shows_in_the_result(ran: Ran) -> None:
    """Latency, fees, account, capital and currency are what was asked for."""
    options = ("--latency", "1ms,2ms,3ms", "--taker-fee-bp", "0", "--maker-fee-bp", "0", "--account", "cash")
    more = ("--capital", "5000.50", "--currency", "USDT", "--max-position", "0.5", "--collar", "0")
    result = run(ran.cwd, "market.arrow", *options, *more).ok().json
    assert result["latency_ms"] == {"feed": 1.0, "entry": 2.0, "response": 3.0}
    assert result["fees"] == 0
    assert (result["account"], result["capital"], result["currency"]) == ("cash", 5000.5, "USDT")


def test_several_logs_are_one_run(ran: Ran) -> None:
    """Cut in two and named in a pattern: the hash of the whole; both inputs in run.json."""
    messages = market(1_000, seed=9)
    parts = ran.cwd / "parts"
    parts.mkdir()
    whole = run(ran.cwd, "market.arrow").ok().json
    first = make_log(parts / "2024-06-01.arrow", messages[:400], end=False, sealed=True)
    with LogReader(first) as reader:
        header = LogHeader(
            venues=("binance",),
            segment=2,
            previous_file=first.name,
            previous_chain=reader.header.sealed_chain,
        )
    make_log(parts / "2024-06-01.2.arrow", messages[400:], header=header, with_definitions=True, sealed=True)
    joined = run(ran.cwd, "parts/*.arrow").ok().json
    assert joined["journal_hash"] == whole["journal_hash"]
    assert joined["inputs"] == ["parts/2024-06-01.arrow", "parts/2024-06-01.2.arrow"]


def test_an_unsealed_log_runs_up_to_its_last_good_batch(ran: Ran) -> None:
    """Cut anywhere in its last batch: a warning says how far it went, and the decisions are the same."""
    messages = market(300, seed=10)
    shorter = make_log(ran.cwd / "shorter.arrow", messages[:-1], end=False)
    longer = make_log(ran.cwd / "longer.arrow", messages, end=False)
    content = longer.read_bytes()
    (ran.cwd / "cut.arrow").write_bytes(content[: (shorter.stat().st_size + len(content)) // 2])
    wanted = run(ran.cwd, "shorter.arrow").ok()
    done = run(ran.cwd, "cut.arrow").ok()
    assert done.json["journal_hash"] == wanted.json["journal_hash"]
    assert done.json["events"] == wanted.json["events"]
    (warning,) = done.json["warnings"][:1]
    assert warning.startswith(
        f"cut.arrow: not sealed; it was run up to its last good batch, {done.json['events']:,} rows ("
    )
    assert f"warning: {warning}\n" in done.err
    assert "bytes from byte" not in wanted.json["warnings"][0]
    verified = call("verify", done.json["run_dir"], "--json", cwd=ran.cwd).ok().json
    assert verified["same"]
    assert verified["notes"] == [warning]


def test_commands_of_a_log_are_obeyed_only_when_asked(ran: Ran) -> None:
    """A COMMAND row in the middle: ignored by default, and the end of trading with --with-commands."""
    messages = market(400, seed=12)
    stop = engine_row(3.005, Kind.COMMAND, CommandData("stop", "SIGINT"))
    before = [message for message in messages if message.ts < stop.ts]
    make_log(ran.cwd / "stopped.arrow", [*before, stop, *messages[len(before) :]])
    make_log(ran.cwd / "plain.arrow", messages)
    plain = run(ran.cwd, "plain.arrow").ok().json
    ignored = run(ran.cwd, "stopped.arrow").ok().json
    obeyed = run(ran.cwd, "stopped.arrow", "--with-commands").ok().json
    assert ignored["journal_hash"] == plain["journal_hash"]
    assert 0 < obeyed["orders"] < plain["orders"]


def test_a_backtest_never_imports_pandas(ran: Ran) -> None:
    """Where it is installed, Arrow would import it for a conversion: a quarter of a second for nothing."""
    (ran.cwd / "modules").mkdir()
    (ran.cwd / "modules" / "pandas.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n__version__ = '0'\n"
    )
    path = os.pathsep.join([str(ran.cwd / "modules"), os.environ.get("PYTHONPATH", "")])
    done = engine("backtest", "market.arrow", "--strategy", "mine.py", cwd=ran.cwd, env={"PYTHONPATH": path})
    assert "decisions, hash" in done.ok().out
    assert not (ran.cwd / "modules" / "imported").exists()
