"""Runs whose logs are gone, damaged or exchanged, and runs that did not finish: what can still be said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from engine.model.kinds import Kind
from tests.helpers.command import call, run_folders
from tests.helpers.logs import Message, Row, at, make_log, market, trade
from tests.strategy.write import write_strategy

BUY = "if trade.id % 10 == 0:\n    ctx.market(trade.instrument, self.size)"


class Ran(NamedTuple):
    """A folder with a log and two runs over it that differ in size."""

    cwd: Path
    run: str
    other: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Two runs over a sealed log."""
    cwd = tmp_path_factory.mktemp("ran")
    make_log(cwd / "market.arrow", market(400, seed=14), sealed=True)
    path = write_strategy(cwd, BUY)
    path.write_text(
        path.read_text().replace("    def on_trade", "    size: float = 0.01\n\n    def on_trade")
    )
    first, second = (
        call("backtest", "market.arrow", "--strategy", "mine.py", *more, "--json", cwd=cwd).ok().json
        for more in ((), ("--set", "size=0.02"))
    )
    return Ran(cwd, first["run_dir"], second["run_dir"])


@pytest.fixture
def ran(original: Ran, tmp_path: Path) -> Ran:
    """A copy, to be spoilt."""
    shutil.copytree(original.cwd, tmp_path / "copy")
    return original._replace(cwd=tmp_path / "copy")


def remove(log: Path) -> None:
    """The log is gone."""
    log.unlink()


def damage(log: Path) -> None:
    """A byte in the middle has changed."""
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 0xFF
    log.write_bytes(content)


SPOILT = {"gone": (remove, "no such file"), "damaged": (damage, "damaged at byte")}


@pytest.mark.parametrize("how", SPOILT)
def test_diff_names_the_difference_without_the_log(how: str, ran: Ran) -> None:
    """Both sides stand in the journals; a note says why the cause is not shown."""
    spoil, words = SPOILT[how]
    spoil(ran.cwd / "market.arrow")
    done = call("diff", ran.run, ran.other, "--json", cwd=ran.cwd)
    assert done.code == 1, done
    found = done.json["divergence"]
    assert (found["decision"], found["causes"]) == (1, [])
    (note,) = found["notes"]
    assert note.startswith("messages cannot be shown: ")
    assert words in note
    assert f"  note: {note}" in call("diff", ran.run, ran.other, cwd=ran.cwd).out


@pytest.mark.parametrize("how", SPOILT)
def test_why_tells_the_story_without_the_log(how: str, ran: Ran) -> None:
    """The decisions are shown, and a note says why their messages are not."""
    spoil, words = SPOILT[how]
    spoil(ran.cwd / "market.arrow")
    story = call("why", ran.run, "1", "--json", cwd=ran.cwd).ok().json
    assert [decision["kind"] for decision in story["decisions"]][:2] == ["submit", "accepted"]
    assert words in story["notes"][0]
    assert f"note: {story['notes'][0]}" in call("why", ran.run, "1", cwd=ran.cwd).ok().out


def test_a_run_without_a_summary_is_not_complete(ran: Ran) -> None:
    """A journal that was cut and has no hash to be held against: the same as far as it goes, and no more."""
    folder = ran.cwd / ran.run
    whole = call("verify", ran.run, "--json", cwd=ran.cwd).ok().json
    assert whole["complete"]
    (folder / "summary.json").unlink()
    without = call("verify", ran.run, "--json", cwd=ran.cwd).ok().json
    assert (without["same"], without["finished"], without["complete"]) == (True, False, True)
    journal = folder / "journal.arrow"
    journal.write_bytes(journal.read_bytes()[:-64])
    cut = call("verify", ran.run, "--json", cwd=ran.cwd).ok().json
    assert (cut["same"], cut["finished"], cut["complete"]) == (True, False, False)
    assert f"{cut['decisions']:,} of {whole['decisions']:,}" in cut["notes"][-1]
    assert "the same as far as it goes" in call("verify", ran.run, cwd=ran.cwd).ok().out


def test_rules_of_another_version_are_noted(ran: Ran) -> None:
    """The run was decided by other rules than this engine's."""
    record = ran.cwd / ran.run / "run.json"
    content = msgspec.json.decode(record.read_bytes())
    content["config"]["behaviour"] = 99
    record.write_bytes(msgspec.json.encode(content))
    notes = call("verify", ran.run, "--json", cwd=ran.cwd).ok().json["notes"]
    assert notes[0].startswith("the run was decided by the rules of version 99, this engine decides")


def test_a_run_that_failed_knows_its_log(tmp_path: Path) -> None:
    """The chain head of a sealed log is in run.json from the beginning; another log is noticed."""
    log = make_log(tmp_path / "market.arrow", market(100, seed=3), sealed=True)
    write_strategy(tmp_path, "raise ValueError('no')")
    assert call("backtest", "market.arrow", "--strategy", "mine.py", cwd=tmp_path).code == 2
    (folder,) = run_folders(tmp_path)
    (entry,) = msgspec.json.decode((folder / "run.json").read_bytes())["inputs"]
    assert len(entry["chain"]) == 64
    assert entry["rows"] > 100
    log.unlink()
    make_log(log, market(100, seed=4), sealed=True)
    notes = call("verify", folder, "--json", cwd=tmp_path).ok().json["notes"]
    assert any("is not the log of the run" in note for note in notes)


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.NEWS, Kind.COMMAND, Kind.SOURCE])
def test_data_that_cannot_be_read(kind: Kind, tmp_path: Path) -> None:
    """Row and kind are named, without a traceback."""
    broken = Message(at(2), (Row(kind, source=1, data=b'{"event": 5, "name'),))
    make_log(tmp_path / "a.arrow", [trade(1, id=1), broken, trade(3, id=2)], sealed=True)
    path = write_strategy(tmp_path)
    path.write_text(path.read_text() + "\n    def on_news(self, ctx, news):\n        pass\n")
    done = call("backtest", "a.arrow", "--strategy", "mine.py", "--with-commands", cwd=tmp_path)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert "row 4 of the run's log 1" in done.err
    assert kind.name in done.err
