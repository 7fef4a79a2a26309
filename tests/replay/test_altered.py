"""A journal that was altered in one decision, and runs that differ: the first difference has a name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from engine.execution.journal_kinds import JournalKind
from engine.log.journal import JOURNAL_SCHEMA, STRATEGY_LINE, read_journal
from tests.helpers.command import call
from tests.helpers.logs import make_log, market

BUSY = Path(__file__).parents[1] / "helpers" / "strategies" / "busy.py"
MINE = ("--strategy", "mine.py")


class Folder(NamedTuple):
    """A folder with a log and a run over it."""

    path: Path
    run: str


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run over ten invented seconds."""
    folder = tmp_path_factory.mktemp("original")
    make_log(folder / "market.arrow", market(1_000, seed=5), sealed=True)
    shutil.copy(BUSY, folder / "mine.py")
    result = call("backtest", "market.arrow", *MINE, "--json", cwd=folder).ok().json
    assert result["decisions"] > 100
    return Folder(folder, result["run_dir"])


@pytest.fixture
def copied(original: Folder, tmp_path: Path) -> Folder:
    """A copy of all of it, to be altered."""
    shutil.copytree(original.path, tmp_path / "copy")
    return Folder(tmp_path / "copy", original.run)


def rewrite(folder: Folder, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Let `change` alter the journal's records, and write them back."""
    path = folder.path / folder.run / "journal.arrow"
    records = read_journal(path).to_pylist()
    change(records)
    with pa.ipc.new_stream(str(path), JOURNAL_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(records, schema=JOURNAL_SCHEMA))


def decision(records: list[dict[str, Any]], kind: int, which: int = 3) -> dict[str, Any]:
    """The `which`-th record of a kind."""
    return [record for record in records if record["kind"] == kind][which]


ALTERATIONS: dict[str, tuple[int, str, Callable[[int], int]]] = {
    "a fill's price, by one tick": (JournalKind.FILL, "price", lambda value: value + 1),
    "an order's side": (JournalKind.SUBMIT, "side", lambda value: -value),
    "an order's size, by one lot": (JournalKind.SUBMIT, "size", lambda value: value - 1),
    "a time, by a nanosecond": (JournalKind.ACCEPTED, "ts", lambda value: value + 1),
    "a fee": (JournalKind.FILL, "fee", lambda value: value + 1),
    "a reason": (JournalKind.FILL, "reason", lambda value: value + 1),
}


@pytest.mark.parametrize(("kind", "name", "change"), ALTERATIONS.values(), ids=ALTERATIONS)
def test_one_altered_decision_is_named(
    kind: int, name: str, change: Callable[[int], int], original: Folder, copied: Folder
) -> None:
    """`verify` exits 1, and `diff` names exactly that decision, both sides, and the causing message."""
    altered: dict[str, Any] = {}

    def alter(records: list[dict[str, Any]]) -> None:
        record = decision(records, kind)
        record[name] = change(record[name])
        altered.update(record)

    rewrite(copied, alter)
    verified = call("verify", copied.run, "--json", cwd=copied.path)
    assert verified.code == 1
    found = verified.json
    assert not found["same"]
    assert any("the journal was altered" in note for note in found["notes"])
    assert found["divergence"]["decision"] == altered["number"]
    assert found["divergence"]["fields"] == [name]

    difference = call("diff", original.path / original.run, copied.run, "--json", cwd=copied.path)
    assert difference.code == 1
    divergence = difference.json["divergence"]
    assert divergence["decision"] == altered["number"]
    assert divergence["right"] == altered
    assert divergence["left"] == {**altered, name: divergence["left"][name]}
    assert change(divergence["left"][name]) == altered[name]
    (cause,) = divergence["causes"]
    assert cause["first_seq"] <= altered["cause_seq"] <= cause["last_seq"]
    assert cause["file"] == "market.arrow"

    shown = call("diff", original.path / original.run, copied.run, cwd=copied.path)
    assert shown.code == 1
    assert shown.out.startswith(f"the first difference is decision {altered['number']}: {name}\n")
    assert f"seq {cause['first_seq']}" in shown.out


def test_a_decision_that_was_taken_out(original: Folder, copied: Folder) -> None:
    """The last decision is missing: one side has no such decision."""

    def remove(records: list[dict[str, Any]]) -> None:
        records.remove([record for record in records if record["kind"] != STRATEGY_LINE][-1])

    rewrite(copied, remove)
    removed = call("verify", copied.run, "--json", cwd=copied.path)
    assert removed.code == 1
    divergence = removed.json["divergence"]
    assert divergence["left"] is None
    assert divergence["right"]["number"] == divergence["decision"]
    shown = call("diff", copied.run, original.path / original.run, cwd=copied.path)
    assert shown.code == 1
    assert "(no such decision)" in shown.out.splitlines()[1]


def test_a_decision_that_was_added(copied: Folder) -> None:
    """One too many in the middle: the first that is not where it was is named."""

    def add(records: list[dict[str, Any]]) -> None:
        records.insert(
            records.index(decision(records, JournalKind.SUBMIT)), decision(records, JournalKind.FILL)
        )

    rewrite(copied, add)
    added = call("verify", copied.run, "--json", cwd=copied.path)
    assert added.code == 1
    divergence = added.json["divergence"]
    assert divergence["left"]["kind"] == JournalKind.FILL
    assert divergence["right"]["kind"] == JournalKind.SUBMIT
    assert divergence["right"]["number"] == divergence["decision"]


def test_a_hash_that_was_altered(copied: Folder) -> None:
    """The journal as it was, another hash in summary.json: not the same, and said so."""
    summary = copied.path / copied.run / "summary.json"
    text = summary.read_text()
    digit = text[text.index('"journal_hash":"') + 16]
    other = "0" if digit != "0" else "1"
    summary.write_text(text.replace(f'"journal_hash":"{digit}', f'"journal_hash":"{other}'))
    verified = call("verify", copied.run, "--json", cwd=copied.path)
    assert verified.code == 1
    assert "do not give the hash" in verified.json["notes"][0]
    assert verified.json["divergence"] is None


def test_the_strategys_own_lines_are_outside_the_hash(copied: Folder) -> None:
    """A line that was altered is no difference of decisions."""

    def alter(records: list[dict[str, Any]]) -> None:
        line = next(record for record in records if record["text"])
        line["text"] = "something else"

    rewrite(copied, alter)
    assert call("verify", copied.run, "--json", cwd=copied.path).ok().json["same"]


def test_another_log_under_the_same_name(copied: Folder) -> None:
    """The input was exchanged: the chain head says so, and the decisions differ."""
    log = copied.path / "market.arrow"
    log.unlink()
    make_log(log, market(1_000, seed=6), sealed=True)
    verified = call("verify", copied.run, "--json", cwd=copied.path)
    assert verified.code == 1
    assert any("is not the log of the run" in note for note in verified.json["notes"])


def test_two_different_runs(original: Folder, copied: Folder) -> None:
    """What they were asked, then the first decision that differs, with fields and both sides in words."""
    other = call("backtest", "market.arrow", *MINE, "--set", "size=0.02", "--json", cwd=copied.path).ok().json
    shown = call("diff", copied.run, other["run_dir"], cwd=copied.path)
    assert shown.code == 1
    lines = shown.out.splitlines()
    assert lines[:2] == ["the runs differ in:", "  parameter size: 0.01 / 0.02"]
    assert lines[2].startswith("the engine's state: different from the first snapshot on, at the end")
    assert any(line.startswith("  BTCUSDT.binance open") or "cash" in line for line in lines[3:])
    assert any(line.startswith("the strategy's fields: different from the first") for line in lines)
    assert "  self.size: 0.01 / 0.02" in lines
    first = next(i for i, line in enumerate(lines) if line.startswith("the first difference is decision 1: "))
    lines = lines[first:]
    assert copied.run in lines[1]
    assert " 0.01 " in lines[1]
    assert other["run_dir"] in lines[2]
    assert " 0.02 " in lines[2]
    assert "cause" in lines[3]
    assert original.run == copied.run


def test_a_run_and_itself(original: Folder) -> None:
    """No difference: exit 0."""
    same = call("diff", original.run, original.run, "--json", cwd=original.path)
    assert same.code == 0
    assert same.json["same"]
    assert same.json["divergence"] is None
    assert call("diff", original.run, original.run, cwd=original.path).out == (
        "the same decisions, and the same states at 1 snapshot\n"
    )
