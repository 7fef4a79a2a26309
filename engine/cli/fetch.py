"""`engine fetch`: a venue's REST history into logs, resumable."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.common import emit, json_option, note, relative
from engine.model.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.live.fetch import Progress, Report
    from engine.live.fetch_plan import HistoryVenue

_BINANCE = ("binance", "binanceus")
VENUES = (*_BINANCE, "alpaca", "alpaca-sip", "alpaca-crypto", "alpaca-news")


@click.command()
@click.option(
    "--venue", type=click.Choice(VENUES), default="binance", show_default=True, help="Whose history."
)
@click.option(
    "--symbols", required=True, help="As the venue writes them: BTCUSDT,ETHUSDT; of news * for all."
)
@click.option("--from", "begin", required=True, metavar="TIME", help="2024-06-01 or 2024-06-01T12:00:00Z.")
@click.option("--to", "end", required=True, metavar="TIME", help="Up to this time, without it.")
@click.option("--channels", default="", help="trade, aggtrade, quote, bar, news  [default: trade, or news].")
@click.option("--interval", default="1m", show_default=True, help="Of bars.")
@click.option(
    "--to-folder", "folder", default="recordings", show_default=True, type=click.Path(path_type=Path),
    help="Where the fetch's own folder goes.",
)  # fmt: skip
@click.option(
    "--feed-latency", default="0ms", show_default=True, help="Added to the venue's times to make ours."
)
@click.option("--url", default="", help="Another address for the venue, as of `engine serve`.")
@json_option
def fetch(**options: Any) -> int:
    """Fetch a venue's history into sealed logs, one a UTC day (one in all for bars alone).

    Killed at any moment and started again with the same options, it goes on where it was; finished, it does
    nothing. Rows are flagged IMPORTED and can be backtested at once.
    """
    import asyncio

    from engine.config import parse_duration
    from engine.live.fetch import Fetch
    from engine.live.fetch_client import Client, Http, base_of
    from engine.live.fetch_plan import Request, time_of

    channels = _listed(options["channels"].lower())
    base_of(options["url"], "")  # before anything is sent there
    venue = _venue(options["venue"], options["url"], channels)
    channels = channels or venue.usual_channels
    for channel in channels:
        if channel not in venue.channels:
            raise UsageError(
                f'{venue.name} has no history of "{channel}"', hint=f"it has {', '.join(venue.channels)}"
            )
    symbols = _listed(options["symbols"])
    if not symbols:
        raise UsageError("no symbol given", hint="--symbols BTCUSDT,ETHUSDT")
    base = base_of(options["url"], venue.own_base)
    asked = Request(
        venue=venue.name,
        symbols=symbols,
        channels=channels,
        begin=time_of(options["begin"], "--from"),
        end=time_of(options["end"], "--to"),
        interval=options["interval"] if "bar" in channels else "",
        base=base,
        feed_latency_ns=parse_duration(options["feed_latency"], "--feed-latency"),
    )
    request, notes = venue.checked(asked)
    for words in notes:
        note(f"note: {words}")

    async def session(show: Callable[[Progress], None]) -> Report:
        transport = Http(base, venue.headers)
        client = Client(transport, base, weight_of=venue.weight)
        client.on_trouble = lambda words: note(f"note: {words}; trying again for a while")
        try:
            return await Fetch(request, venue, options["folder"], client, notes=notes, show=show).run()
        finally:
            await transport.close()

    try:
        with _progress(quiet=options["as_json"]) as show:
            report = asyncio.run(session(show))
    except KeyboardInterrupt:
        note("what has come is kept: start it again, and it goes on there")
        raise
    report.folder = relative(report.folder)
    report.files = [relative(path) for path in report.files]
    emit(report, as_json=options["as_json"], text=lambda: _text(report))
    return 0


def _venue(name: str, url: str, channels: tuple[str, ...]) -> HistoryVenue:
    """The venue, with the keys that it needs for these channels."""
    from engine.live.credentials import find

    def key(variable: str) -> str:
        secret = find(variable)
        if secret is None:
            return ""
        _check_encrypted(url, variable)
        return secret.reveal()

    if name in _BINANCE:
        from engine.live.fetch_binance import BinanceHistory

        wanted = name == "binance" and (not channels or "trade" in channels)
        return BinanceHistory(name, key=key("BINANCE_API_KEY") if wanted else "")
    from engine.live.fetch_alpaca import AlpacaHistory

    return AlpacaHistory(name, key("APCA_API_KEY_ID"), key("APCA_API_SECRET_KEY"))


def _check_encrypted(url: str, variable: str) -> None:
    """A key is not sent unencrypted to another machine."""
    from urllib.parse import urlsplit

    from engine.live.refusal import is_loopback

    if urlsplit(url).scheme in {"http", "ws"} and not is_loopback(url):
        raise UsageError(
            f"--url: {variable} must not travel without encryption", hint="write https://…, or unset the key"
        )


def _listed(text: str) -> tuple[str, ...]:
    """Words between commas, each once."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr, where that is a terminal."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield lambda _progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("asking …", total=1.0)

        def show(progress: Any) -> None:
            weight = (
                f" weight {progress.used_weight}/{progress.weight_limit}" if progress.weight_limit else ""
            )
            waiting = f" waiting {progress.waiting_s:,.0f} s" if progress.waiting_s >= 1 else ""
            words = f"{progress.span} {progress.stream} {progress.facts:,} rows{weight}{waiting}"
            bars.update(task, completed=progress.share, description=words)

        yield show


def _text(report: Report) -> str:
    logs = f"{len(report.files)} logs" if len(report.files) > 1 else "1 log"
    head = f"{report.folder}: {logs}, {report.rows:,} rows, sealed"
    if report.finished_before:
        head += "; it was finished already, nothing was asked for"
    # Where facts have no numbers that count on, nobody can say whether some are missing.
    numbered = {"trade", "aggtrade"} & set(report.channels) and report.venue in _BINANCE
    found = "1 hole" if report.holes == 1 else f"{report.holes:,} holes"
    holes = f", {found} (engine log info lists them)" if report.holes else ", no holes"
    retries = f", {report.retries:,} of them again" if report.retries else ""
    requests = "1 request" if report.requests == 1 else f"{report.requests:,} requests"
    what = f"{report.facts:,} message{'s' * (report.facts != 1)} of {' and '.join(report.channels)}"
    if not report.facts:
        what, numbered = f"the venue has no {' and no '.join(report.channels)} of that time", set()
    lines = [
        head,
        f"  {report.first[:19]}Z to {report.last[:19]}Z, without the end",
        f"  {', '.join(report.symbols)}: {what}{holes if numbered or report.holes else ''}",
    ]
    for symbol, missing in report.bars_missing.items():
        count = f"{missing:,} of {report.bars_possible:,} bars"
        lines.append(f"  {symbol}: {count} did not come; where nobody traded, the venue may have none")
    if not report.finished_before:
        lines.append(f"  {requests}{retries} in this run")
    if report.facts:
        lines.append(f"next: engine backtest {_all(report)}")
    return "\n".join(lines)


def _all(report: Report) -> str:
    return report.files[0] if len(report.files) == 1 else f"'{report.folder}/*.arrow'"
