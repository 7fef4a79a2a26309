"""`engine answers …`: the user's view of the answer store."""

from __future__ import annotations

import click

from engine.cli.main import LazyGroup

COMMANDS: dict[str, tuple[str, str, str]] = {
    "list": ("engine.cli.answers_list", "list_", "How many answers, of which prompts, what they cost."),
    "show": ("engine.cli.answers_list", "show", "One answer: question, words, attempts, cost."),
    "import": ("engine.cli.answers_files", "import_", "Add the answers of logs, or of an export."),
    "export": ("engine.cli.answers_files", "export", "All answers as one new file."),
    "verify": ("engine.cli.answers_files", "verify", "Check every file, row and key."),
    "prompts": ("engine.cli.answers_prompts", "prompts", "The prompt files, and what one of them asks."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def answers() -> None:
    """The answer store: list, show, import, export and verify what was asked of Claude.

    An answer that was bought once is kept for ever, and every backtest that asks the same gets the same.
    """
