"""`engine record`: venues' market data, and news, into log files, for as long as one lets it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import emit, json_option, relative
from engine.cli.feeds import feed_options, listening_of
from engine.cli.options import prepare_kernels
from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.live.recorder import Recorder, Summary

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
STATUS_LINE_S = 0.5


@click.command()
@click.option("--for", "duration", default="", help="Stop after this long: 60s, 10m, 8h.")
@click.option("--to", "folder", default="recordings", show_default=True, type=click.Path(path_type=Path))
@click.option("--rotate", default="daily", show_default=True, help="A new file: daily, 1h, 1GB.")
@click.option("--flush-ms", default=20.0, show_default=True, type=click.FloatRange(0, 10_000))
@click.option("--fsync", is_flag=True, help="Every flush reaches the disk, not only the system.")
@click.option("--no-seal", is_flag=True, help="Leave finished files as they were written.")
@feed_options
@json_option
def record(**options: Any) -> int:
    """Record venues' market data into a log, and feeds beside them, or feeds alone.

    Everything that arrives is written, with the frames as they came; connects, gaps and resyncs are rows.
    Ctrl-C ends the recording cleanly.
    """
    listening = listening_of(options)
    if listening is None:
        raise UsageError(
            "there is nothing to record",
            hint="name --symbols BTCUSDT,ETHUSDT, or --feed news:URL, or both",
        )
    from engine.live.recorder import Recorder, RecorderConfig

    config = RecorderConfig(
        taps=listening.taps,
        feeds=listening.feeds,
        folder=options["folder"],
        rotate=options["rotate"],
        flush_ms=options["flush_ms"],
        fsync=options["fsync"],
        seal=not options["no_seal"],
        duration_s=seconds_of(options["duration"]) if options["duration"] else 0.0,
    )
    if options["quality"] != "off":
        prepare_kernels()
    recorder = Recorder(config)
    summary, sealed = _run(recorder, quiet=options["as_json"])
    result = _result(summary, sealed=sealed)
    emit(result, as_json=options["as_json"], text=lambda: _text(result, sealed=sealed))
    return 0


def seconds_of(text: str) -> float:
    """Seconds of "60s", "10m", "8h", "1d", "500ms"; UsageError for anything else, zero and less included."""
    body = text.strip().lower()
    number = body.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        seconds = float(number) * _UNITS_S[body[len(number) :]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f'--for "{text}" is not a length of time', hint="write 60s, 10m, 8h or 1d")
    return seconds


def _run(recorder: Recorder, *, quiet: bool) -> tuple[Summary, bool]:
    import asyncio
    import signal
    import sys

    async def session() -> tuple[Summary, bool]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, recorder.stop, signal.Signals(number).name)
        line = asyncio.ensure_future(_status_line(recorder)) if sys.stderr.isatty() and not quiet else None
        try:
            summary = await recorder.record()
        finally:
            if line is not None:
                line.cancel()
                sys.stderr.write("\r\x1b[K")
            # From here on Ctrl-C means what it always does: sealing goes on without us.
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return summary, await recorder.sealed()

    return asyncio.run(session())


async def _status_line(recorder: Recorder) -> None:
    """One line on the terminal, rewritten twice a second."""
    import asyncio
    import shutil
    import sys

    before = recorder.tally.messages
    while True:
        await asyncio.sleep(STATUS_LINE_S)
        tally = recorder.tally
        rate = (tally.messages - before) / STATUS_LINE_S
        before = tally.messages
        prices = "  ".join(f"{symbol} {price}" for symbol, price in sorted(tally.last_prices.items()))
        words = (
            f"{recorder.seconds:,.0f} s  {tally.rows:,} rows  {rate:,.0f} messages/s  "
            f"{tally.events['gap']} gaps  {tally.disconnects} disconnects  "
            f"{recorder.bytes_written / 1e6:,.1f} MB  {prices}"
        )
        sys.stderr.write("\r\x1b[K" + words[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()


def _result(summary: Summary, *, sealed: bool) -> dict[str, Any]:
    return {
        "reason": summary.reason,
        "files": [relative(path) for path in summary.files],
        "sealed": sealed,
        "rows": summary.rows,
        "messages": summary.messages,
        "frames": summary.frames,
        "seconds": summary.seconds,
        "messages_per_second": round(summary.messages / summary.seconds, 1) if summary.seconds else 0.0,
        "bytes": sum(Path(path).stat().st_size for path in summary.files),
        "kinds": summary.kinds,
        "events": summary.events,
        "gaps": summary.gaps,
        "disconnects": summary.disconnects,
        "last_prices": summary.last_prices,
        "lag_p50_ms": summary.lag_p50_ns / 1e6,
        "lag_p99_ms": summary.lag_p99_ns / 1e6,
        "most_waiting_bytes": summary.most_waiting_bytes,
    }


def _text(result: dict[str, Any], *, sealed: bool) -> str:
    if not result["files"]:
        return f"nothing was recorded (ended by {result['reason']})"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in result["kinds"].items())
    silences = result["events"].get("silence", 0)
    malformed = result["kinds"].get("malformed", 0)
    lines = [
        f"{result['messages']:,} messages in {result['seconds']:,.1f} s, ended by {result['reason']}",
        f"  rows     {result['rows']:,}: {kinds}",
        (
            f"  trouble  {result['gaps']} gaps, {result['disconnects']} disconnects, "
            f"{silences} silences, {malformed} malformed"
        ),
        (
            f"  lag      {result['lag_p50_ms']:.1f} ms p50, {result['lag_p99_ms']:.1f} ms p99 from receipt "
            f"to file; {result['most_waiting_bytes'] / 1e3:,.0f} KB unread at most"
        ),
        *(f"  file     {path}" for path in result["files"]),
        f"  size     {result['bytes'] / 1e6:,.2f} MB{', sealed' if sealed else ', not sealed'}",
        f"next: engine log info {result['files'][-1]}",
    ]
    return "\n".join(lines)
