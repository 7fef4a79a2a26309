"""`engine backtest`: a strategy over recorded logs."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.asking import (
    asking_options,
    asking_settings,
    check_asking_options,
    end_answers,
)
from engine.cli.common import emit, json_option, relative, warn
from engine.cli.options import run_config, run_options, run_strategy
from engine.model.errors import EngineError, InputError, MissingAnswer, StrategyError, UsageError

if TYPE_CHECKING:
    from engine.answers.source import StoreSource
    from engine.config import RunConfig
    from engine.log.schema import LogHeader
    from engine.log.snapshots import SnapshotFile
    from engine.loop.backtest import Backtest
    from engine.loop.snapshots.taking import Snapshots
    from engine.report.continuing import Start
    from engine.report.runs import RunRecord
    from engine.report.summary import Summary
    from engine.strategy.loader import LoadedStrategy


@click.command()
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@run_options
@click.option(
    "--with-commands", is_flag=True, help="Obey the log's COMMAND rows: runs a paper session's log again."
)
@click.option(
    "--answers",
    type=click.Choice(["error", "call", "default", "log"]),
    help="To questions that the store has no answer to: an error (engine enrich buys them all); call: Claude "
    "is asked during the run, and the store has the answer from then on; default: the strategy's own at the "
    "deadline. log: answers are the log's own rows, as in the session that wrote it (with --with-commands, "
    "that is meant).  [default: error]",
)
@click.option(
    "--answers-folder",
    default="data/answers",
    show_default=True,
    help="Where the answer store lies (engine answers).",
)
@asking_options
@click.option(
    "--interpreted",
    is_flag=True,
    help="Run an @engine.compiled strategy in plain Python, where a debugger can step through it.",
)
@click.option(
    "--interval",
    is_flag=True,
    help="Run twice, under queue models risk_averse and power3:3, and show both headlines.",
)
@click.option(
    "--snapshot-every",
    default="1000000",
    show_default=True,
    metavar="ROWS|DURATION",
    help="Keep the state after so many rows, or so much of the log's time (15m); 0: never.",
)
@click.option(
    "--from-snapshot",
    default="",
    metavar="RUN[:N|:TIME]",
    help="Begin where RUN kept its state: its last snapshot, the N-th, or the last one by TIME.",
)
@click.option(
    "--changed-strategy",
    is_flag=True,
    help="With --from-snapshot: let another strategy or other parameters go on from there.",
)
@click.option("--batch-rows", default=0, hidden=True, help="Re-cut the input; results do not depend on it.")
@json_option
def backtest(
    logs: tuple[str, ...], *, with_commands: bool, interval: bool, as_json: bool, **options: Any
) -> None:
    """Run a strategy over one or more logs (files or 'globs'), merged by time."""
    from engine.cli.options import prepare_kernels
    from engine.log.segments import expand
    from engine.report.runs import log_header

    check_asking_options(asked=options["answers"] == "call")
    paths = expand(list(logs))
    for path in paths:  # before anything is compiled
        log_header(path)
    if options["from_snapshot"]:
        from engine.cli.starting import start_of

        if interval:
            raise UsageError("--interval runs twice from the beginning", hint="leave out --from-snapshot")
        start, config, loaded = start_of(paths, options, with_commands=with_commands)
        if config.answers == "call":
            raise UsageError(
                "--from-snapshot: the run asked Claude as it went (--answers call), which is not continued",
                hint="run it from the beginning: what it was answered is in the store",
            )
        prepare_kernels()
        _shown(*_one(paths, config, loaded, options, start), as_json=as_json)
        return
    if options["changed_strategy"]:
        raise UsageError("--changed-strategy says how to go on", hint="from where says --from-snapshot RUN")
    config = run_config(options, with_commands=with_commands)
    if interval and options["queue"] is not None:
        raise UsageError("--interval has queue models of its own", hint="leave out --queue, or --interval")
    loaded = run_strategy(options)
    prepare_kernels()
    if not interval:
        _shown(*_one(paths, config, loaded, options), as_json=as_json)
        return
    from engine.report.interval import between, configs, interval_table

    summaries: dict[str, Summary] = {}
    failures = []
    for name, asked in configs(config).items():
        # A strategy has a state: each run begins with a fresh one.
        mine = run_strategy(options) if summaries else loaded
        summaries[name], unwritten = _one(paths, asked, mine, options)
        failures.append(unwritten)
    both = between(summaries)
    failed = next((failure for failure in failures if failure is not None), None)
    _shown(both, failed, as_json=as_json, text=lambda: interval_table(both))


def _shown(
    summary: Summary,
    unwritten: EngineError | None,
    *,
    as_json: bool,
    text: Callable[[], str] | None = None,
) -> None:
    """Print what a run came to, also when its files could not be written; then say so."""
    from engine.report.summary import table

    for warning in summary.warnings:
        warn(warning)
    emit(summary, as_json=as_json, text=text or (lambda: table(summary)))
    if unwritten is not None:
        raise unwritten


def _one(
    paths: list[Path],
    config: RunConfig,
    loaded: LoadedStrategy,
    options: dict[str, Any],
    start: Start | None = None,
) -> tuple[Summary, EngineError | None]:
    """One run; of an answer that it misses, the error names the command that buys it."""
    try:
        return _run_in_folder(paths, config, loaded, options, start)
    except MissingAnswer as error:
        from engine.cli.missing import with_command

        raise with_command(error) from None


def _run_in_folder(
    paths: list[Path],
    config: RunConfig,
    loaded: LoadedStrategy,
    options: dict[str, Any],
    start: Start | None = None,
) -> tuple[Summary, EngineError | None]:
    """One run in a folder of its own: what it came to, and why that could not be written, if so.

    `start`: the snapshot that it begins at; what was decided before stands in its journal as well.
    """
    from engine.answers.source import inherit_answers
    from engine.log.journal_thread import BackgroundJournal
    from engine.log.snapshots import SnapshotFile
    from engine.loop.backtest import run_backtest
    from engine.loop.snapshots.taking import parse_interval
    from engine.report.runs import (
        JOURNAL_FILE,
        SNAPSHOT_FILE,
        RunRecord,
        code_fingerprint,
        environment,
        input_before,
        log_header,
        new_run_folder,
        strategy_record,
        write_run,
    )
    from engine.report.summary import summarise

    headers = [log_header(path) for path in paths]
    with_fees = [text.partition("=")[0] for text in options["venue_fees"]]
    _check_venues({"--venue-shift": config.venue_shift_ns, "--venue-fees": with_fees}, headers)
    answering = _answering(config, loaded, options, start)
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
        snapshot_every=str(parse_interval(options["snapshot_every"])),
        began_at=start.shown if start is not None else "",
    )
    write_run(folder, record)
    journal = BackgroundJournal(folder / JOURNAL_FILE)
    kept = SnapshotFile(folder / SNAPSHOT_FILE)
    snapshots = _snapshots(options["snapshot_every"], loaded, kept, start)
    answers = None if answering is None else answering(folder)
    progress = _Progress()
    watch = time.perf_counter()
    try:
        if start is not None:
            start.copy_to(journal, kept)
            inherit_answers(start.folder, folder)
        result = run_backtest(
            paths,
            config,
            loaded,
            journal,
            batch_rows=options["batch_rows"],
            interpreted=options["interpreted"],
            progress=progress.show,
            snapshots=snapshots,
            answers=answers,
        )
    except InputError as error:
        if not journal.records and not isinstance(error, StrategyError):
            shutil.rmtree(folder)  # there is nothing to run over: no run
        raise
    finally:
        progress.end()
        try:
            journal.close()
        finally:
            kept.close()
            if answers is not None:
                end_answers(answers, folder)
    seconds = time.perf_counter() - watch
    summary = summarise(result.runner, seconds=seconds, strategy=loaded.name)
    summary.state_hash = snapshots.last.engine_hash if snapshots is not None and snapshots.last else ""
    summary.inputs = [relative(path) for path in paths]
    summary.run_dir = relative(folder)
    summary.warnings += result.warnings + ([] if answers is None else answers.warnings)
    summary.warnings += [
        f"{relative(entry.path)}: {entry.header.note}" for entry in result.inputs if entry.header.note
    ]
    return summary, _write(folder, record, result, summary)


def _write(folder: Path, record: RunRecord, result: Backtest, summary: Summary) -> EngineError | None:
    """Write what a run came to; an error is returned, because that is shown all the same."""
    from msgspec.structs import replace

    from engine.report.runs import input_record, write_run, write_summary

    inputs = tuple(input_record(entry, folder) for entry in result.inputs)
    try:
        write_run(folder, replace(record, inputs=inputs))
        write_summary(folder, summary)
    except EngineError as error:
        return error
    return None


def _snapshots(
    every: str, loaded: LoadedStrategy, kept: SnapshotFile, start: Start | None
) -> Snapshots | None:
    """What keeps the run's state, and brings it to where it begins; None: nothing of that is wanted."""
    from engine.loop.snapshots.taking import Snapshots, parse_interval

    interval = parse_interval(every)
    if not interval and start is None:
        return None
    return Snapshots(interval, loaded.strategy, kept.take, start.resume if start is not None else None)


def _check_venues(named: dict[str, Iterable[str]], headers: Sequence[LogHeader]) -> None:
    """What is said of a venue that no log is of would silently do nothing; UsageError names the venues."""
    there = sorted({venue for header in headers for venue in header.venues})
    for option, names in named.items():
        for name in names:
            if name not in there and all(header.venues for header in headers):
                raise UsageError(
                    f'{option}: no log is of a venue "{name}"', hint=f"they are of {', '.join(there)}"
                )


def _version() -> str:
    from engine import __version__

    return __version__


def _answering(
    config: RunConfig, loaded: LoadedStrategy, options: dict[str, Any], start: Start | None
) -> Callable[[Path], StoreSource] | None:
    """Makes, of a run's folder, what answers its questions; None: rows of the log do, or it asks nothing."""
    if "on_answer" not in loaded.handlers or config.answers == "log":
        return None
    from engine.answers.source import ContinuedSource, StoreSource
    from engine.cli.answers_list import store_in

    store = store_in(Path(options["answers_folder"]))
    if start is not None:
        return lambda _: ContinuedSource(store, start.folder, start.asked)
    if config.answers != "call":
        return lambda _: StoreSource(store)
    from engine.live.asking_sync import CallingSource

    settings = asking_settings(options)
    return lambda folder: CallingSource(store, settings, folder)


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
