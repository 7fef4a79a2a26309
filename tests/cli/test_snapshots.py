"""`--snapshot-every` and `--from-snapshot`: a run that goes on is the run; what does not fit is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from engine.log.journal import read_journal
from engine.log.seal import seal
from engine.log.snapshots import read_snapshots
from engine.serve.sample import write_sample
from tests.helpers.command import Done, call
from tests.helpers.logs import make_log, market
from tests.strategy.write import write_strategy

COUNTING = """
self.seen = getattr(self, "seen", 0) + 1
self.last[trade.instrument] = trade
if self.seen % 9 == 0:
    number = ctx.limit(trade.instrument, 0.01, ctx.round_price(trade.instrument, trade.price * 0.9999))
    self.mine.append(number)
    ctx.log("sent", number)
if len(self.mine) > 3:
    ctx.cancel(self.mine.pop(0))
if self.seen % 25 == 0:
    ctx.market(trade.instrument, -0.01)
"""
START = "self.last, self.mine = {}, []"
MINE = ("--strategy", "mine.py")
COMPILED = Path(__file__).parents[2] / "strategies" / "grid.py"


class Ran(NamedTuple):
    """A folder, and what the run in it came to."""

    cwd: Path
    result: dict[str, Any]

    @property
    def run(self) -> str:
        """Its folder."""
        return str(self.result["run_dir"])


def backtest(cwd: Path, *arguments: str, log: str = "market.arrow") -> Done:
    """A backtest."""
    return call("backtest", log, *arguments, "--json", cwd=cwd)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run over one sealed log that keeps its state every 150 rows."""
    cwd = tmp_path_factory.mktemp("kept")
    make_log(cwd / "market.arrow", market(900, seed=21), sealed=True)
    write_strategy(cwd, COUNTING, start=START)
    return Ran(cwd, backtest(cwd, *MINE, "--snapshot-every", "150").ok().json)


@pytest.fixture
def ran(original: Ran, tmp_path: Path) -> Ran:
    """A copy, to be spoilt."""
    shutil.copytree(original.cwd, tmp_path / "copy")
    return Ran(tmp_path / "copy", original.result)


DIFFERENT = {"seconds", "events_per_second", "run_dir", "warnings"}


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """All that two runs of one kind have in common."""
    return {name: value for name, value in result.items() if name not in DIFFERENT}


def assert_said(done: Done, *pieces: str) -> None:
    """Exit 2, these words on stderr, no traceback, nothing on stdout."""
    assert done.code == 2, done
    for piece in pieces:
        assert piece in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize("which", ["", ":1", ":3", ":2024-06-01T00:00:10", ":2024-06-01T00:00:15.5+00:00"])
def test_a_run_from_a_snapshot_is_the_run(ran: Ran, which: str) -> None:
    """The same figures, journal hash and last state; its folder verifies, and differs in nothing."""
    rest = backtest(ran.cwd, "--from-snapshot", ran.run + which, *MINE).ok().json
    assert figures(rest) == figures(ran.result)
    tables = [read_journal(ran.cwd / run / "journal.arrow") for run in (ran.run, rest["run_dir"])]
    assert tables[0].equals(tables[1]), "the strategy's lines and words of refusals as well"
    verified = call("verify", rest["run_dir"], "--json", cwd=ran.cwd).ok().json
    assert verified["same"]
    assert verified["complete"]
    assert any("began at snapshot" in note for note in verified["notes"])
    assert "and the same states at" in call("diff", ran.run, rest["run_dir"], cwd=ran.cwd).ok().out


def test_a_run_goes_on_twice(ran: Ran) -> None:
    """A run that began at a snapshot has all snapshots of the run before, and can be taken up again."""
    second = backtest(ran.cwd, "--from-snapshot", f"{ran.run}:2").ok().json["run_dir"]
    third = backtest(ran.cwd, "--from-snapshot", f"{second}:1").ok().json
    assert figures(third) == figures(ran.result)
    kept = [
        [one.hashes for one in read_snapshots(ran.cwd / run / "snapshots.arrow")]
        for run in (ran.run, second, third["run_dir"])
    ]
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) > 5


@pytest.mark.parametrize("every", ["0", "100", "3s", "1000000"])
def test_how_often_the_state_is_kept_changes_no_run(original: Ran, every: str) -> None:
    """The journal's hash is the same; 0 keeps nothing, anything else at least the last state."""
    result = backtest(original.cwd, *MINE, "--snapshot-every", every).ok().json
    assert result["journal_hash"] == original.result["journal_hash"]
    file = original.cwd / result["run_dir"] / "snapshots.arrow"
    assert file.exists() == (every != "0")
    assert result["state_hash"] == (original.result["state_hash"] if every != "0" else "")


@pytest.mark.parametrize("clock", ["received", "venue"])
def test_a_compiled_strategy_goes_on_in_both_forms(tmp_path: Path, clock: str) -> None:
    """Compiled from a compiled run's snapshot, and interpreted from the same one."""
    log = tmp_path / "market.arrow"
    write_sample(log, minutes=1.0)
    seal(log)
    (tmp_path / "grid.py").write_bytes(COMPILED.read_bytes())
    asked = ("--strategy", "grid.py", "--clock", clock, "--snapshot-every", "1000")
    whole = backtest(tmp_path, *asked).ok().json
    assert whole["orders"] > 3
    for form in ((), ("--interpreted",)):
        rest = backtest(tmp_path, "--from-snapshot", f"{whole['run_dir']}:2", *form).ok().json
        assert figures(rest) == figures(whole)


def test_several_logs_go_on_where_each_of_them_was(tmp_path: Path) -> None:
    """Two logs beside each other, one after them that is not sealed: begun, run to the end, or neither."""
    make_log(tmp_path / "a.arrow", market(300, seed=1), sealed=True)
    make_log(tmp_path / "b.arrow", market(400, seed=2), sealed=True)
    make_log(tmp_path / "c.arrow", market(900, seed=3)[500:])
    write_strategy(tmp_path, COUNTING, start=START)
    logs = ("b.arrow", "c.arrow")
    asked = (*logs, *MINE, "--snapshot-every", "200")
    whole = backtest(tmp_path, *asked, log="a.arrow").ok().json
    count = len(list(read_snapshots(tmp_path / whole["run_dir"] / "snapshots.arrow"))) - 1
    assert count >= 5
    for number in range(1, count + 1):
        start = f"{whole['run_dir']}:{number}"
        rest = backtest(tmp_path, *logs, "--from-snapshot", start, log="a.arrow").ok().json
        assert figures(rest) == figures(whole), number


def test_a_killed_run_can_be_taken_up(ran: Ran) -> None:
    """Its snapshots and its journal end somewhere; the last whole snapshot is where it goes on."""
    folder = ran.cwd / ran.run
    (folder / "summary.json").unlink()
    file = folder / "snapshots.arrow"
    file.write_bytes(file.read_bytes()[:-3000])
    rest = backtest(ran.cwd, "--from-snapshot", ran.run).ok().json
    assert figures(rest) == figures(ran.result)


def test_a_changed_strategy_is_refused_unless_it_is_to_be_tried(ran: Ran) -> None:
    """The message says how; what was decided before stays, the rest is the new one's."""
    file = ran.cwd / "mine.py"
    file.write_text(file.read_text().replace("% 25", "% 5"))
    start = ("--from-snapshot", f"{ran.run}:3")
    assert_said(backtest(ran.cwd, *start), "mine.py has changed since the run", "--changed-strategy")
    tried = backtest(ran.cwd, *start, "--changed-strategy").ok().json
    assert tried["journal_hash"] != ran.result["journal_hash"]
    kept = list(read_snapshots(ran.cwd / ran.run / "snapshots.arrow"))[2]
    tables = [
        read_journal(ran.cwd / run / "journal.arrow").slice(0, kept.journal_rows)
        for run in (ran.run, tried["run_dir"])
    ]
    assert tables[0].equals(tables[1])
    record = msgspec.json.decode((ran.cwd / tried["run_dir"] / "run.json").read_bytes())
    assert record["began_at"].endswith("with another strategy")
    shown = call("diff", ran.run, tried["run_dir"], cwd=ran.cwd).out
    assert "the engine's state: the same at row" in shown
    assert "the first difference is decision" in shown


REFUSED: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("--from-snapshot", "{run}:99"), ("has no snapshot 99", "hint: it has 1 to")),
    (("--from-snapshot", "{run}:soon"), ('"soon" is neither a number nor a time',)),
    (("--from-snapshot", "{run}:2020-01-01"), ("no snapshot is as early as that",)),
    (("--from-snapshot", "runs/none"), ("runs/none: not a run",)),
    (
        ("--from-snapshot", "{run}", "--seed", "3"),
        ("was asked otherwise: seed: 0 / 3", "leave these options"),
    ),
    (("--from-snapshot", "{run}", "--interval"), ("--interval runs twice from the beginning",)),
    (("--changed-strategy",), ("--changed-strategy says how to go on",)),
    (("--snapshot-every", "often"), ('--snapshot-every: "often" is no duration',)),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[said[0] for _, said in REFUSED])
def test_what_cannot_be_is_said(original: Ran, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    """In one sentence, with what to do."""
    assert_said(backtest(original.cwd, *(text.format(run=original.run) for text in arguments)), *said)


def test_another_log_is_refused(ran: Ran) -> None:
    """By the chain of its rows, whatever its name; and another number of logs."""
    log = ran.cwd / "market.arrow"
    shutil.copy(log, ran.cwd / "second.arrow")
    start = ("--from-snapshot", ran.run)
    assert_said(backtest(ran.cwd, "second.arrow", *start), "2 logs; the run of")
    log.unlink()
    make_log(log, market(900, seed=22), sealed=True)
    assert_said(backtest(ran.cwd, *start), "market.arrow: not the log of the run")


def test_an_altered_journal_is_refused(ran: Ran) -> None:
    """A run does not go on from decisions that it did not take."""
    other = backtest(ran.cwd, *MINE, "--seed", "1", "--latency", "1ms").ok().json["run_dir"]
    shutil.copy(ran.cwd / other / "journal.arrow", ran.cwd / ran.run / "journal.arrow")
    assert_said(
        backtest(ran.cwd, "--from-snapshot", ran.run), "not the journal that snapshot", "was taken beside"
    )


def test_a_strategy_that_cannot_be_kept_is_named_when_it_matters(tmp_path: Path) -> None:
    """The run keeps the engine's state; going on from it says which field stands in the way."""
    make_log(tmp_path / "market.arrow", market(300, seed=4), sealed=True)
    write_strategy(tmp_path, "next(self.numbers)", start="self.numbers = iter(range(10_000))")
    run = backtest(tmp_path, *MINE, "--snapshot-every", "100").ok().json["run_dir"]
    done = backtest(tmp_path, "--from-snapshot", run)
    assert_said(done, "lacks the strategy's own state: self.numbers is a range_iterator", "snapshot(self)")
    assert "were not compared: self.numbers" in call("diff", run, run, cwd=tmp_path).ok().out


def test_a_run_without_snapshots_says_how_to_get_some(original: Ran) -> None:
    """With --snapshot-every 0, or too few rows."""
    run = backtest(original.cwd, *MINE, "--snapshot-every", "0").ok().json["run_dir"]
    assert_said(
        backtest(original.cwd, "--from-snapshot", run), "kept no snapshot to begin at", "--snapshot-every"
    )


def test_damage_in_the_snapshots_is_found(ran: Ran) -> None:
    """A byte in the middle: exit 3, with its place."""
    file = ran.cwd / ran.run / "snapshots.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    done = backtest(ran.cwd, "--from-snapshot", ran.run)
    assert done.code == 3
    assert "snapshots.arrow: damaged at byte" in done.err


def test_verify_names_a_state_that_is_another(ran: Ran) -> None:
    """The decisions are the same, a field of the strategy is not: a note says from where on."""
    file = ran.cwd / "mine.py"
    file.write_text(file.read_text().replace("self.seen = getattr", "self.more = self.seen = getattr"))
    verified = call("verify", ran.run, cwd=ran.cwd).ok().out
    assert "note: the strategy's fields: different from the first snapshot on" in verified
    assert "self.more: (none) / " in verified
