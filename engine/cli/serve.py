"""`engine serve`: a local venue, from a recording or invented; or a local Messages API, or local news."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.common import emit, json_option, note, relative, warn
from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.serve.server import LocalVenue
    from engine.serve.source import Source

_DEFAULT_PORT = 9443
_MARKETS, _NEWS, _MESSAGES = "binance", "news", "messages"
_WHOSE = {  # options that only some have; all others are everybody's
    **dict.fromkeys(("log", "synthetic", "symbols", "rate", "exit_at_end", "fault_seed"), (_MARKETS,)),
    **dict.fromkeys(("speed", "keep_times"), (_MARKETS, _NEWS)),
    **dict.fromkeys(("headlines", "headline_every", "repeat"), (_NEWS,)),
}
_SHOWN = {"log": "LOG", "headlines": "--from"}
_NOT_SERVED = {
    _MARKETS: ("it serves no headlines", "add --as news"),
    _MESSAGES: ("it serves no market", "it takes --host, --port, --fault, --seed and --json"),
    _NEWS: (
        "it serves no market",
        "it takes --from, --speed, --headline-every, --repeat, --keep-times, and what messages take",
    ),
}


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option(
    "--as", "venue", type=click.Choice([_MARKETS, _MESSAGES, _NEWS]), default="binance", show_default=True,
    help="Whose protocol to speak.",
)  # fmt: skip
@click.option("--synthetic", is_flag=True, help="Serve an invented market instead of a recording.")
@click.option("--seed", type=int, default=7, show_default=True, help="Of the synthetic market, or of faults.")
@click.option("--symbols", default="BTCUSDT,ETHUSDT", show_default=True, help="Of the synthetic market.")
@click.option(
    "--rate", type=float, default=1.0, show_default=True,
    help="Activity of the synthetic market; 1 is about 50 messages a second and symbol.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=None,
    help="0 takes a free one.  [default: 9443, messages: 9444, news: 9445]",
)  # fmt: skip
@click.option(
    "--speed", default="1", show_default=True, help="Times the recorded pace, or max: as clients read."
)
@click.option("--keep-times", is_flag=True, help="Leave the recorded stamps as they are.")
@click.option(
    "--fault", "faults", multiple=True, metavar="FAULT",
    help="Misbehave: NAME[:AMOUNT][:WHEN], any number, also between commas. Markets: disconnect:30s or "
    "disconnect:N (frames), gap[:N], duplicate, reorder, stall[:10s], garbage, slow[:BYTES], 429[:1s], "
    "shutdown[:30s], silence:N, html; WHEN is 0.01, every100, every30s or first3. See docs/serving.md.",
)  # fmt: skip
@click.option(
    "--fault-seed", type=click.IntRange(0), default=0, show_default=True,
    help="The same seed and the same traffic meet the same faults of a market.",
)  # fmt: skip
@click.option(
    "--from", "headlines", type=click.Path(path_type=Path), metavar="LOG|CSV",
    help="News: whose headlines to serve  [default: the invented ones that come with the engine].",
)  # fmt: skip
@click.option(
    "--headline-every",
    default=None,
    metavar="DURATION",
    help="News: one each so often, not in their own pace.",
)
@click.option("--repeat", is_flag=True, help="News: begin again, under new addresses, when all are out.")
@click.option("--exit-at-end", is_flag=True, help="End when the recording has been sent.")
@json_option
@click.pass_context
def serve(  # noqa: PLR0913  one argument per option
    context: click.Context,
    log: Path | None,
    *,
    venue: str,
    synthetic: bool,
    seed: int,
    symbols: str,
    rate: float,
    host: str,
    port: int | None,
    speed: str,
    keep_times: bool,
    faults: tuple[str, ...],
    fault_seed: int,
    headlines: Path | None,
    headline_every: str | None,
    repeat: bool,
    exit_at_end: bool,
    as_json: bool,
) -> None:
    """Be a venue on this machine: streams and REST, for any client that takes another address.

    LOG is a recording; --synthetic invents a market instead. Time runs from the first subscription on.
    With --as messages it is a Messages API instead, which answers by a fixed word list: no market, no key.
    With --as news it is an endpoint that shows headlines, one after the other, to whoever polls.
    """
    _refuse_options_of_others(context, venue)
    if venue == _NEWS:
        from engine.cli.serve_news import NewsOptions, serve_news

        options = NewsOptions(
            host, port, headlines, speed, headline_every, keep_times, repeat, tuple(faults), seed
        )
        serve_news(options, as_json=as_json)
        return
    if venue == _MESSAGES:
        from engine.cli.serve_messages import serve_messages

        serve_messages(host=host, port=port, faults=faults, seed=seed, as_json=as_json)
        return
    from engine.serve.faults import parse_faults
    from engine.serve.server import LocalVenue

    source = _source(log, synthetic=synthetic, seed=seed, symbols=symbols, rate=rate)
    local = LocalVenue(
        source,
        host=host,
        port=_DEFAULT_PORT if port is None else port,
        speed=_speed(speed),
        keep_times=keep_times,
        faults=parse_faults(faults),
        fault_seed=fault_seed,
    )
    asyncio.run(_serve(local, venue, faults, exit_at_end=exit_at_end, as_json=as_json))


def _refuse_options_of_others(context: click.Context, venue: str) -> None:
    """Raises UsageError where an option was given that would silently do nothing."""
    for name, whose in _WHOSE.items():
        given = context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        if given and venue not in whose:
            shown = _SHOWN.get(name) or "--" + name.replace("_", "-")
            words, hint = _NOT_SERVED[venue]
            raise UsageError(f"engine serve --as {venue} was given {shown}: {words}", hint=hint)


def _source(log: Path | None, *, synthetic: bool, seed: int, symbols: str, rate: float) -> Source:
    from engine.serve.source import RecordingSource
    from engine.serve.synthetic import SyntheticMarket

    if synthetic == (log is not None):
        both = "a recording and --synthetic" if synthetic else "neither a recording nor --synthetic"
        raise UsageError(
            f"engine serve was given {both}", hint="engine serve LOG, or engine serve --synthetic"
        )
    if log is None:
        names = [name.strip() for name in symbols.split(",") if name.strip()]
        return SyntheticMarket(seed, names, rate=rate)
    recording = RecordingSource(log)
    if recording.tail:
        warn(f"{relative(log)}: {recording.tail}")
    return recording


def _speed(text: str) -> float:
    from engine.serve.server import MAX_SPEED

    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"--speed {text} is neither a positive number nor max")
    return speed


async def _serve(
    local: LocalVenue, venue: str, faults: tuple[str, ...], *, exit_at_end: bool, as_json: bool
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with local:
        symbols = [data.symbol for data in local.source.instruments]
        result = {
            "ws": local.ws_url,
            "http": local.http_url,
            "port": local.port,
            "as": venue,
            "source": local.source.description,
            "symbols": symbols,
            "faults": list(faults),
            "fault_seed": local.faults.seed,
        }
        told = f" · faults: {', '.join(faults)} (seed {local.faults.seed})" if faults else ""
        line = (
            f"{local.ws_url}  {local.http_url}  speaks {venue}"
            f" · {local.source.description} · {', '.join(symbols)}{told}"
        )
        emit(result, as_json=as_json, text=line)
        stop = loop.create_task(stopped.wait())
        end = loop.create_task(local.wait_ended())
        await asyncio.wait((stop, end), return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            end.result()  # a damaged recording is raised here
            if not exit_at_end:
                note("everything has been sent; Ctrl-C ends the venue")
                await stop
        end.cancel()
        stop.cancel()
        local.announce_shutdown()
