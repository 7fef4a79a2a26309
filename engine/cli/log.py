"""`engine log …`: the user's view of log files."""

from __future__ import annotations

import click

from engine.cli.main import LazyGroup

COMMANDS: dict[str, tuple[str, str, str]] = {
    "info": ("engine.cli.log_files", "info", "What is in a log: span, instruments, rows, gaps."),
    "check": ("engine.cli.log_files", "check", "Verify every byte, row and hash of a log."),
    "recover": ("engine.cli.log_files", "recover", "Save every whole batch of a damaged log."),
    "seal": ("engine.cli.log_files", "seal", "Compress and close a finished log."),
    "head": ("engine.cli.log_files", "head", "Print the first rows, decoded."),
    "latency": ("engine.cli.log_latency", "latency", "How old, how even, where silent: each source."),
    "rebuild": ("engine.cli.log_data", "rebuild", "Parse the kept frames again and compare the rows."),
    "import": ("engine.cli.log_data", "import_", "CSV, Parquet or capture files into a log."),
    "export": ("engine.cli.log_data", "export", "A log's rows as Parquet or CSV."),
    "query": ("engine.cli.log_data", "query", "SQL over trades, quotes, book, bars and messages."),
}


@click.command(cls=LazyGroup, table=COMMANDS)
def log() -> None:
    """Look at logs, check, seal, import and query them."""
