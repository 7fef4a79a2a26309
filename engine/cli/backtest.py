"""`engine backtest`: a strategy over recorded logs."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from engine.cli.common import emit, json_option, relative, warn
from engine.cli.options import run_config, run_options, run_strategy
from engine.model.errors import EngineError, InputError, StrategyError


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@run_options
@click.option(
    "--with-commands", is_flag=True, help="Obey the log's COMMAND rows: runs a paper session's log again."
)
@click.option(
    "--interpreted",
    is_flag=True,
    help="Run an @engine.compiled strategy in plain Python, where a debugger can step through it.",
)
@click.option("--batch-rows", default=0, hidden=True, help="Re-cut the input; results do not depend on it.")
@json_option
def backtest(
    logs: tuple[str, ...],
    *,
    with_commands: bool,
    interpreted: bool,
    batch_rows: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a strategy over one or more logs (files or 'globs'), merged by time."""
    from engine.cli.options import prepare_kernels
    from engine.log.segments import expand

    paths = expand(list(logs))
    config = run_config(options, with_commands=with_commands)
    loaded = run_strategy(options)
    prepare_kernels()
    from engine.log.journal_thread import BackgroundJournal
    from engine.loop.backtest import run_backtest
    from engine.report.runs import (
        JOURNAL_FILE,
        RunRecord,
        code_fingerprint,
        environment,
        input_before,
        input_record,
        log_header,
        new_run_folder,
        strategy_record,
        write_run,
        write_summary,
    )
    from engine.report.summary import summarise, table

    headers = [log_header(path) for path in paths]
    began = time.time_ns()
    folder = new_run_folder(Path(options["runs_folder"]), loaded.name, began)
    record = RunRecord(
        id=folder.name,
        mode="backtest",
        began=folder.name[:15],
        config=config,
        strategy=strategy_record(loaded, folder),
        engine=_version(),
        code=code_fingerprint(),
        environment=environment(),
        # Named before the run, so that one that fails can be explained and verified as well.
        inputs=tuple(input_before(path, header, folder) for path, header in zip(paths, headers, strict=True)),
    )
    write_run(folder, record)
    journal = BackgroundJournal(folder / JOURNAL_FILE)
    progress = _Progress()
    watch = time.perf_counter()
    try:
        result = run_backtest(
            paths,
            config,
            loaded,
            journal,
            batch_rows=batch_rows,
            interpreted=interpreted,
            progress=progress.show,
        )
    except InputError as error:
        if not journal.records and not isinstance(error, StrategyError):
            shutil.rmtree(folder)  # there is nothing to run over: no run
        raise
    finally:
        progress.end()
        journal.close()
    seconds = time.perf_counter() - watch
    import msgspec

    record = msgspec.structs.replace(
        record, inputs=tuple(input_record(entry, folder) for entry in result.inputs)
    )
    summary = summarise(result.runner, seconds=seconds, strategy=loaded.name)
    summary.inputs = [relative(path) for path in paths]
    summary.run_dir = relative(folder)
    summary.warnings += result.warnings
    summary.warnings += [
        f"{relative(entry.path)}: {entry.header.note}" for entry in result.inputs if entry.header.note
    ]
    for warning in summary.warnings:
        warn(warning)
    unwritten: EngineError | None = None
    try:
        write_run(folder, record)
        write_summary(folder, summary)
    except EngineError as error:
        unwritten = error  # what the run came to is shown all the same
    emit(summary, as_json=as_json, text=lambda: table(summary))
    if unwritten is not None:
        raise unwritten


def _version() -> str:
    from engine import __version__

    return __version__


class _Progress:
    """Rows done, on stderr, when that is a terminal and the run takes a while."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._began = self._shown = time.perf_counter()

    def show(self, rows: int) -> None:
        """Called once per batch."""
        now = time.perf_counter()
        if not self._terminal or now - self._shown < 0.2:
            return
        self._shown = now
        rate = rows / (now - self._began)
        sys.stderr.write(f"\r{rows:,} rows, {rate:,.0f} rows/s ")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the line clean."""
        if self._terminal and self._shown != self._began:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
