"""`engine live`: a strategy on live data, from a venue or from a log that is being recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.asking import asking_config, asking_options, edge_for
from engine.cli.common import emit, json_option, relative, warn
from engine.cli.feeds import feed_options, listening_of
from engine.cli.options import prepare_kernels, run_config, run_options, run_strategy
from engine.model.errors import EngineError, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from engine.live.session import Session
    from engine.report.runs import RunRecord

STATUS_LINE_S = 0.5
SEAL_POLL_S = 0.02


@click.command()
@click.option(
    "--paper", is_flag=True, help="Trade at the simulated venue. Required: real orders are not there yet."
)
@click.option(
    "--tail", type=click.Path(path_type=Path), help="Follow this log instead, while it is recorded."
)
@click.option("--for", "duration", default="", help="Stop after this long: 60s, 10m, 8h.")
@click.option("--fsync", is_flag=True, help="Every flush reaches the disk, not only the system.")
@feed_options
@asking_options
@run_options
@json_option
def live(**options: Any) -> None:
    """Run a strategy on live data, in the loop that a backtest runs.

    Ctrl-C cancels what is open, ends the log and prints what happened; a second one does not wait.
    """
    import time

    from engine.cli.record import seconds_of

    if not options["paper"]:
        raise UsageError("real orders are not possible in this version", hint="add --paper")
    listening = listening_of(options)
    if listening is not None and options["tail"]:
        if options["symbols"]:
            raise UsageError("name --symbols to listen to, or a log to --tail", hint="one of the two")
        raise UsageError(
            "--feed and --tail: a followed log brings its own feeds",
            hint="name --feed where it is recorded: engine record --feed …",
        )
    if not options["tail"] and (listening is None or not listening.venues):
        raise UsageError(
            "name --symbols to listen to, or a log to --tail",
            hint="one of the two, or --feed VENUE:SYMBOLS: what is polled alone cannot be traded",
        )
    duration_s = seconds_of(options["duration"]) if options["duration"] else 0.0
    config = run_config(options, with_commands=True)
    if config.clock == "venue":
        raise UsageError(
            "--clock venue: live, the venue's side of a moment is known only when it has been received, and "
            "no order can meet a row before it is there",
            hint="leave it out; engine backtest --clock venue runs the session's log that way",
        )
    loaded = run_strategy(options)
    asking = asking_config(options, loaded)
    prepare_kernels()
    from engine.live.session import LOG_FILE, Session, SessionConfig
    from engine.log.journal import Journal
    from engine.report.runs import (
        JOURNAL_FILE,
        InputRecord,
        RunRecord,
        code_fingerprint,
        environment,
        new_run_folder,
        strategy_record,
        write_run,
    )

    folder = new_run_folder(Path(options["runs_folder"]), loaded.name, time.time_ns())
    record = RunRecord(
        id=folder.name,
        mode="paper",
        began=folder.name[:15],
        config=config,
        strategy=strategy_record(loaded, folder),
        engine=_version(),
        code=code_fingerprint(),
        environment=environment(),
        # Named before there is any, so that a killed session can be verified as well.
        inputs=(InputRecord(LOG_FILE),),
    )
    write_run(folder, record)
    journal = Journal(folder / JOURNAL_FILE)
    try:
        session = Session(
            SessionConfig(
                folder=folder,
                run=config,
                taps=() if listening is None else listening.taps,
                tail=options["tail"],
                feeds=() if listening is None else listening.feeds,
                duration_s=duration_s,
                fsync=options["fsync"],
            ),
            loaded,
            journal,
            answerer=None if asking is None else edge_for(asking),
        )

        def finish(seconds: float, *, sealed: bool) -> None:
            _finish(session, folder, record, seconds, sealed=sealed, as_json=options["as_json"])

        _run(session, finish, quiet=options["as_json"])
    except BaseException:
        journal.close()
        _discard_if_empty(folder)
        raise


def _discard_if_empty(folder: Path) -> None:
    """A session that never began (no venue, no symbol) leaves no folder behind."""
    import shutil

    from engine.live.session import LOG_FILE

    if not (folder / LOG_FILE).exists():
        shutil.rmtree(folder)


def _finish(
    session: Session, folder: Path, record: RunRecord, seconds: float, *, sealed: bool, as_json: bool
) -> None:
    """Write what the run came to, and print it."""
    import msgspec

    from engine.report.runs import InputRecord, write_run, write_summary
    from engine.report.summary import Summary, summarise, table

    session.runner.journal.close()
    header = session.log_header
    if header is None:
        words = f"stopped by {session.reason} before anything arrived"
        warn(words)
        _discard_if_empty(folder)
        if as_json:
            nothing = Summary(
                strategy=session.runner.loaded.name,
                seconds=round(seconds, 6),
                warnings=[words],
                stopped_by=session.reason,
            )
            emit(nothing, as_json=True)
        return
    entry = InputRecord(session.log_path.name, session.rows, session.chain_head, header.note)
    record = msgspec.structs.replace(record, inputs=(entry,))
    summary = summarise(session.runner, seconds=seconds, strategy=session.runner.loaded.name)
    summary.inputs = [relative(session.log_path)]
    summary.run_dir = relative(folder)
    summary.stopped_by = session.reason
    if not sealed:
        summary.warnings.append(
            f"{relative(session.log_path)} is not sealed: engine log seal {relative(session.log_path)}"
        )
    for warning in summary.warnings:
        warn(warning)
    unwritten: EngineError | None = None
    try:
        write_run(folder, record)
        write_summary(folder, summary)
    except EngineError as error:
        unwritten = error  # what the session came to is shown all the same

    def text() -> str:
        return f"{table(summary)}\n  stopped by   {session.reason}\nnext: engine verify {relative(folder)}"

    emit(summary, as_json=as_json, text=text)
    if failure := unwritten or session.asking_failure:
        raise failure


def _run(session: Session, finish: Callable[..., None], *, quiet: bool) -> None:
    import asyncio
    import signal
    import sys
    import time

    from engine.live.scheduling import shorten_slices

    hurry = asyncio.Event()

    def stop(name: str) -> None:
        if session.ended:
            hurry.set()
        session.stop(name)

    shorten_slices()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, signal.Signals(number).name)
        line = asyncio.ensure_future(_status_line(session)) if sys.stderr.isatty() and not quiet else None
        watch = time.perf_counter()
        try:
            await session.run()
        finally:
            if line is not None:
                line.cancel()
                sys.stderr.write("\r\x1b[K")
        seconds = time.perf_counter() - watch
        # Signals are still ours: however often Ctrl-C is pressed, what the session came to is written.
        finish(seconds, sealed=session.log_header is not None and await _sealed(session.log_path, hurry))

    asyncio.run(work())


async def _sealed(path: Path, hurry: asyncio.Event) -> bool:
    """Seal the log in a process of its own; False when that failed, or goes on without us."""
    import asyncio

    from engine.log.seal import seal_in_background

    process = seal_in_background(path)
    while process.poll() is None and not hurry.is_set():  # noqa: ASYNC110  a process has no event
        await asyncio.sleep(SEAL_POLL_S)
    return process.poll() == 0


async def _status_line(session: Session) -> None:
    """One line on the terminal: time, prices, position, P&L, lag, messages a second, gaps."""
    import asyncio
    import shutil
    import sys

    from engine.model.units import format_time, trim_decimal

    before = 0
    while True:
        await asyncio.sleep(STATUS_LINE_S)
        runner, tally = session.runner, session.tally
        rate = (tally.messages - before) / STATUS_LINE_S
        before = tally.messages
        prices = " ".join(f"{symbol} {price}" for symbol, price in sorted(tally.last_prices.items()))
        held = [
            f"{i.symbol} {trim_decimal(runner.memory.of_instrument(i.index, 'position'), i.size_decimals)}"
            for i in runner.registry.instruments
            if runner.memory.of_instrument(i.index, "position")
        ]
        profit = runner.context.equity() - float(runner.config.account.capital) if runner.started else 0.0
        lag = max(session.lags) / 1e6 if session.lags else 0.0
        session.lags.clear()
        words = (
            f"{format_time(session.sequencer.last)[11:19]}  P&L {profit:+,.2f}  lag {lag:.1f} ms  "
            f"{rate:,.0f} messages/s  {tally.events['gap']} gaps  {', '.join(held) or 'flat'}  {prices}"
        )
        sys.stderr.write("\r\x1b[K" + words[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def _version() -> str:
    from engine import __version__

    return __version__
