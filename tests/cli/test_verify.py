"""`engine verify`, `diff` and `why` as commands: what they print, and what they say when they cannot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.cli.common import printable_text
from engine.log.journal import read_journal
from tests.helpers.command import Done, call
from tests.helpers.logs import make_log, market
from tests.strategy.write import write_strategy

EVERY_TENTH = """
if trade.id % 10 == 0:
    ctx.limit(trade.instrument, 0.01, ctx.round_price(trade.instrument, trade.price * 1.001), tif="ioc")
"""


class Ran(NamedTuple):
    """A folder and the run in it."""

    cwd: Path
    run: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run in which every order follows from a trade that is easily recognised."""
    cwd = tmp_path_factory.mktemp("ran")
    make_log(cwd / "market.arrow", market(600, seed=14), sealed=True)
    write_strategy(cwd, EVERY_TENTH)
    done = call("backtest", "market.arrow", "--strategy", "mine.py", "--json", cwd=cwd).ok()
    return Ran(cwd, done.json["run_dir"])


@pytest.fixture
def ran(original: Ran, tmp_path: Path) -> Ran:
    """A copy, to be spoilt."""
    shutil.copytree(original.cwd, tmp_path / "copy")
    return Ran(tmp_path / "copy", original.run)


def assert_named(done: Done, message: str, hint: str = "") -> None:
    """Exit 2, message and hint, nothing on stdout, no traceback."""
    assert done.code == 2
    assert message in done.err
    assert hint in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_verify_says_how_many_decisions_are_the_same(original: Ran) -> None:
    """One line with the run, the number and the hash, wherever the user stands."""
    decisions = read_journal(original.cwd / original.run / "journal.arrow").num_rows
    done = call("verify", original.run, cwd=original.cwd).ok()
    assert done.out.startswith(f"{original.run}: the same, {decisions} decisions, hash ")
    elsewhere = call("verify", original.cwd / original.run, cwd=Path("/")).ok()
    assert elsewhere.out.split(": ")[1] == done.out.split(": ")[1]


def test_a_strategy_that_changed_is_noted(ran: Ran) -> None:
    """The decisions differ, and the note says what may be why."""
    strategy = ran.cwd / "mine.py"
    strategy.write_text(strategy.read_text().replace("0.01", "0.02"))
    done = call("verify", ran.run, cwd=ran.cwd)
    assert done.code == 1
    assert "note: strategy ../../mine.py has changed since the run" in done.out
    assert f"{ran.run}: NOT the same" in done.out
    assert "the first difference is decision 1: size" in done.out
    lines = done.out.splitlines()
    assert any(line.startswith("  recorded  #1") and " 0.01 " in line for line in lines)
    assert any(line.startswith("  replayed  #1") and " 0.02 " in line for line in lines)


def test_a_comment_in_the_strategy_changes_no_decision(ran: Ran) -> None:
    """Noted, and the same: exit 0."""
    strategy = ran.cwd / "mine.py"
    strategy.write_text(strategy.read_text() + "# a thought\n")
    done = call("verify", ran.run, "--json", cwd=ran.cwd).ok()
    assert done.json["same"]
    assert done.json["notes"] == ["strategy ../../mine.py has changed since the run"]


def test_an_engine_that_changed_is_noted(ran: Ran) -> None:
    """A run of other code: the note comes first."""
    record = ran.cwd / ran.run / "run.json"
    text = record.read_text()
    at = text.index('"code":"') + 8
    record.write_text(text[:at] + "0" * 32 + text[at + 32 :])
    done = call("verify", ran.run, cwd=ran.cwd).ok()
    assert done.out.startswith("note: the engine's code is not that of the run\n")


def test_what_verify_needs_and_does_not_find(ran: Ran) -> None:
    """The log, the strategy, the journal, the run: each is named."""
    strategy, log, folder = ran.cwd / "mine.py", ran.cwd / "market.arrow", ran.cwd / ran.run
    text = strategy.read_text()
    strategy.unlink()
    assert_named(call("verify", ran.run, cwd=ran.cwd), "mine.py: no such strategy file")
    strategy.write_text(text)
    log.rename(ran.cwd / "moved.arrow")
    missing = call("verify", ran.run, cwd=ran.cwd)
    assert_named(missing, "run.json: its input ../../market.arrow is not there", "put the log back")
    (ran.cwd / "moved.arrow").rename(log)
    journal = (folder / "journal.arrow").read_bytes()
    (folder / "journal.arrow").write_bytes(b"not a journal, but long enough to be taken for one")
    assert_named(call("verify", ran.run, cwd=ran.cwd), "journal.arrow: not a journal")
    (folder / "journal.arrow").unlink()
    assert_named(call("verify", ran.run, cwd=ran.cwd), "journal.arrow: no such journal", "runs/<id>")
    (folder / "journal.arrow").write_bytes(journal)
    (folder / "run.json").write_text("{}")
    assert_named(call("verify", ran.run, cwd=ran.cwd), "run.json: ", "another version")
    (folder / "run.json").unlink()
    assert_named(call("verify", ran.run, cwd=ran.cwd), f"{ran.run}: not a run (no run.json in it)")


@pytest.mark.parametrize("command", ["verify", "diff", "why"])
def test_a_folder_that_is_no_run(command: str, ran: Ran) -> None:
    """Named, with what a run's folder looks like."""
    more = {"verify": (), "diff": (ran.run,), "why": ("1",)}[command]
    assert_named(call(command, "nowhere", *more, cwd=ran.cwd), "nowhere", "runs/<id>")


def test_why_leads_from_the_order_to_the_bytes(original: Ran) -> None:
    """The order, what became of it, the message it was decided on, and the frame as it came."""
    done = call("why", original.run, "2", cwd=original.cwd).ok()
    lines = [line.strip() for line in done.out.splitlines()]
    assert lines[0] == f"order 2 of {original.run}"
    story = call("why", original.run, "2", "--json", cwd=original.cwd).ok().json
    submit = story["decisions"][0]
    assert submit["kind"] == "submit"
    assert submit["text"] in lines
    assert "decided on: message; the last message by then:" in lines
    cause = submit["cause"]
    assert cause["first_seq"] == cause["last_seq"] == submit["cause_seq"]
    assert cause["file"] == "market.arrow"
    assert cause["source"] == "binance"
    assert cause["rows"][0].startswith(f"seq {submit['cause_seq']}  TRADE  ")
    assert cause["wire"].startswith('{"e":"trade","t":')
    number = cause["wire"].split(":")[2].split(",")[0]
    assert int(number) % 10 == 0  # the strategy's own rule
    assert f"id {number}" in cause["rows"][0]
    assert f"wire  {cause['wire']}" in lines
    kinds = [decision["kind"] for decision in story["decisions"]]
    assert kinds[:2] == ["submit", "accepted"]
    assert kinds[-1] in {"fill", "cancelled", "expired"}
    assert all(decision["order"] == 2 for decision in story["decisions"])


def test_an_order_that_is_not_there(original: Ran) -> None:
    """Named, with those that are."""
    last = max(read_journal(original.cwd / original.run / "journal.arrow")["order"].to_pylist())
    unknown = call("why", original.run, str(last + 1), cwd=original.cwd)
    assert_named(unknown, f"no order {last + 1}", f"its orders are 1 to {last}")


def test_a_run_without_orders(ran: Ran) -> None:
    """`why` says that it sent none; `verify` has nothing to find different."""
    (ran.cwd / "mine.py").unlink()
    write_strategy(ran.cwd, "pass")
    run = (
        call("backtest", "market.arrow", "--strategy", "mine.py", "--json", cwd=ran.cwd).ok().json["run_dir"]
    )
    assert_named(call("why", run, "1", cwd=ran.cwd), "no order 1", "it sent none")
    assert call("verify", run, "--json", cwd=ran.cwd).ok().json["decisions"] == 0


def test_others_words_cannot_command_a_terminal() -> None:
    """A headline that would turn the line around is shown by its code."""
    assert printable_text("up \u202enwod\nand \x9bm on") == "up \\u202enwod\nand \\x9bm on"
