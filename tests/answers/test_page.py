"""docs/claude.md and docs/log-format.md say of the store what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest

from engine.answers.files import SCHEMA
from engine.cli.answers import COMMANDS, answers
from engine.model.kinds import ANSWER_OUTCOMES, AnswerData, AttemptData

DOCS = Path(__file__).resolve().parents[2] / "docs"
STORE = (
    (DOCS / "claude.md").read_text(encoding="utf-8").partition("## The answer store")[2].partition("\n## ")[0]
)
OF_THE_STORE = [name for name in COMMANDS if name != "prompts"]  # those are files of their own
ROW = (DOCS / "log-format.md").read_text(encoding="utf-8").partition("### Answers in a log")[2]
ROW = ROW.partition("### Flags")[0]


def first_cells(text: str) -> list[str]:
    """Names in backquotes of each table row's first cell."""
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize("name", OF_THE_STORE)
def test_every_command_of_the_store_is_shown(name: str) -> None:
    """Each command of `engine answers --help` stands in the store's section."""
    assert f"engine answers {name}" in STORE


def test_every_command_of_the_store_takes_a_folder_and_json() -> None:
    """The page says so of all of them."""
    for name in OF_THE_STORE:
        command = answers.get_command(click.Context(answers), name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--answers-folder", "--json"} <= options, name


def test_the_table_of_columns_is_the_schema() -> None:
    """Every column of an answer file, in order."""
    assert first_cells(STORE) == SCHEMA.names


def test_the_table_of_fields_is_the_record() -> None:
    """Every field of an ANSWER row, every outcome, every field of an attempt."""
    assert sorted(first_cells(ROW)) == sorted(field.name for field in msgspec.structs.fields(AnswerData))
    for name in (*ANSWER_OUTCOMES, *(field.name for field in msgspec.structs.fields(AttemptData))):
        assert f"`{name}`" in ROW
