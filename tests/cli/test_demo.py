"""`engine demo`: the whole path in one command, and it cleans up only what it made."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.demo import _text
from engine.log.reader import LogReader
from tests.helpers.command import call, engine


def check(cwd: Path, text: str) -> list[list[str]]:
    """The table is complete, its files are there; the commands that it offers, in words."""
    lines = text.splitlines()
    assert lines[0].split() == ["rows", "orders", "fills", "P&L", "verified", "files"]
    recording, backtest, paper, news = (line.split() for line in lines[1:5])
    assert (recording[0], backtest[0], paper[0], news[0]) == ("recording", "backtest", "paper", "news")
    for row in (backtest, paper, news):
        assert row[-3:-1] == ["the", "same"]
        assert (cwd / row[-1] / "summary.json").exists()
    assert recording[1] == backtest[1], "the backtest ran over every row of the recording"
    with LogReader(cwd / recording[-1]) as reader:
        assert reader.sealed
    assert (cwd / paper[-1] / "log.arrow").exists()
    return [line.split() for line in lines if line.startswith("  engine ")]


def test_the_whole_path(tmp_path: Path) -> None:
    """Recorded, sealed, backtested, paper-traded, verified; one object, the table, and what to try next."""
    done = engine("demo", "--seconds", "2", "--json", cwd=tmp_path).ok()
    steps = [line[:3] for line in done.err.splitlines() if line[1:3] == "/6"]
    assert steps == ["1/6", "2/6", "3/6", "4/6", "5/6", "6/6"]
    result = done.json
    assert result["verified"] == [True, True, True]
    assert result["news"]["questions"]["asked"] > 0
    commands = check(tmp_path, _text(result, result["seconds"]))
    assert len(commands) >= 5
    offered = {command[1]: command[1:] for command in reversed(commands)}
    assert call(*offered["why"], cwd=tmp_path).ok().out.startswith("order 1 of ")
    assert call(*offered["diff"], cwd=tmp_path).code == 1  # another market than the recorded one


@pytest.mark.long
def test_each_demo_starts_anew(tmp_path: Path) -> None:
    """As a user sees it, twice: the second takes away what the first one made, and nothing else."""
    first = engine("demo", "--seconds", "2", cwd=tmp_path).ok()
    check(tmp_path, first.out)
    before = sorted((tmp_path / "demo" / "runs").iterdir())
    (tmp_path / "mine.txt").touch()
    check(tmp_path, engine("demo", "--seconds", "2", "--seed", "8", cwd=tmp_path).ok().out)
    assert not any(folder.exists() for folder in before)
    assert (tmp_path / "mine.txt").exists()


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    """Exit 2, and the folder is as it was."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("mine")
    done = call("demo", cwd=tmp_path)
    assert done.code == 2
    assert "demo: exists, and no demo made it" in done.err
    assert [file.name for file in (tmp_path / "demo").iterdir()] == ["mine.txt"]


def test_a_length_that_is_none(tmp_path: Path) -> None:
    """Shorter than anything could show: exit 2, nothing made."""
    done = call("demo", "--seconds", "1", cwd=tmp_path)
    assert done.code == 2
    assert "--seconds" in done.err
    assert not list(tmp_path.iterdir())
