"""Documentation that cannot rot: commands exist, options exist, links resolve, tables match the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest

import engine
from engine.cli.log import COMMANDS as LOG_COMMANDS
from engine.cli.main import COMMANDS, cli
from engine.config import QUEUES, Rules
from engine.execution.orders import FILL_REASONS
from engine.log.schema import SCHEMA
from engine.model.kinds import FORMAT_VERSION, Flag, Kind
from engine.profiles import load_profile, profile_names

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "engine" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LOG_FORMAT = (ROOT / "docs" / "log-format.md").read_text(encoding="utf-8")


def documented_commands() -> list[tuple[str, str]]:
    """(page, line) of every line that is an `engine …` command by itself, remarks cut off."""
    lines = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            if re.match(r"(    |\$ )engine ", line):
                command = re.split(r"\s{4,}(?!-)|\s#", line.strip().removeprefix("$ "))[0]
                lines.append((str(page.relative_to(ROOT)), command))
    return sorted(set(lines))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that the words after `engine` name, and the words left over."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        assert found is not None, f"no command {rest[0]}"
        command, rest = found, rest[1:]
    return command, rest


def table_rows(page: str, columns: int) -> list[list[str]]:
    """Cells of every Markdown table row with this many columns, backquotes taken off."""
    rows = []
    for line in page.splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == columns and not set(cells[0]) <= {"-"}:
            rows.append(cells)
    return rows


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """Each command of `engine --help` is shown in the README or in docs."""
    assert f"engine {name}" in TEXT


@pytest.mark.parametrize("name", LOG_COMMANDS)
def test_every_log_command_is_documented(name: str) -> None:
    """Each command of `engine log --help` is shown in the README or in docs."""
    assert f"engine log {name}" in TEXT


@pytest.mark.parametrize(("page", "line"), documented_commands())
def test_documented_commands_exist_with_their_options(page: str, line: str) -> None:
    """A command line shown on a page names a command that exists, and only options that it has."""
    command, words = command_of(shlex.split(line)[1:])
    known = {option for parameter in command.params for option in parameter.opts} | {"--debug"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file of the repository and to a heading in it."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


def test_the_column_table_is_the_schema() -> None:
    """docs/log-format.md lists the log's columns, in order and with their types."""
    columns = {field.name: str(field.type) for field in SCHEMA}
    shown = {row[0]: row[1] for row in table_rows(LOG_FORMAT, 3) if row[0] in columns}
    assert list(shown.items()) == list(columns.items())


def test_the_kind_table_is_the_enumeration() -> None:
    """docs/log-format.md lists every kind with its code."""
    shown = {row[0]: row[1] for row in table_rows(LOG_FORMAT, 4) if row[1].isdigit()}
    assert shown == {kind.name: str(kind.value) for kind in Kind}


def test_the_flag_table_is_the_enumeration() -> None:
    """docs/log-format.md lists every flag with its bit."""
    shown = {row[0]: row[1] for row in table_rows(LOG_FORMAT, 3) if row[1].isdigit()}
    assert shown == {flag.name: str(flag.value.bit_length() - 1) for flag in Flag}


def test_orders_names_every_fill_reason() -> None:
    """docs/orders.md explains each reason that a fill can have."""
    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    missing = [reason.name for reason in FILL_REASONS if f"`{reason.name}`" not in page]
    assert missing == []


def test_the_rule_table_is_the_record() -> None:
    """docs/orders.md has every field of Rules with its default, and the profiles that change it."""
    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    plain = msgspec.to_builtins(Rules())
    profiles = {name: msgspec.to_builtins(load_profile(name).rules) for name in profile_names()}
    shown = {row[0]: row[1:] for row in table_rows(page, 4) if row[0] in plain}
    assert list(shown) == list(plain)
    for field, (default, _, changed_by) in shown.items():
        assert default == str(plain[field]).lower()
        changing = [name for name, rules in profiles.items() if rules[field] != plain[field]]
        assert re.findall(r"[a-z][a-z-]+", changed_by) == changing, field


def test_the_profile_table_has_every_profile() -> None:
    """docs/orders.md lists each shipped profile with its fees, in basis points."""
    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    shown = {row[0]: row[2] for row in table_rows(page, 3) if row[0] in profile_names()}
    fees = {name: load_profile(name).fees for name in profile_names()}
    assert shown == {
        name: f"{each.maker / 100_000:g}, {each.taker / 100_000:g}" for name, each in fees.items()
    }


def test_the_queue_models_are_documented() -> None:
    """docs/orders.md has a line for each model that --queue takes."""
    page = (ROOT / "docs" / "orders.md").read_text(encoding="utf-8")
    assert [name for name in QUEUES if f"`{name}`" not in page and f"`{name}:n`" not in page] == []


def test_the_first_screen_has_the_two_commands() -> None:
    """The README names `make demo` and `make test` within its first 25 lines, and the Makefile has both."""
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:25])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}" in first
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_changelog_begins_with_this_version() -> None:
    """The newest entry of the changelog is the package's version, and the format is the first."""
    from engine import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == __version__
    assert FORMAT_VERSION == 1, "a new format: say in CHANGELOG.md and docs/log-format.md what changed"


def test_the_indicator_table_has_every_indicator() -> None:
    """docs/strategies.md has a row for each class that `engine` exports with an `update`."""
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    shown = [name for row in table_rows(page, 4) for name in re.findall(r"\b([A-Z]\w+)\(", row[0])]
    exported = [name for name in engine.__all__ if hasattr(getattr(engine, name), "update")]
    assert sorted(set(shown) & set(engine.__all__)) == exported
