"""`engine serve --as binance` and `--as alpaca`: a local venue until Ctrl-C, from a recording or invented."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.cli.common import emit, note, relative, warn
from engine.model.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.serve.alpaca_keys import Keys
    from engine.serve.news_source import Headline
    from engine.serve.source import Source
    from engine.serve.synthetic import SymbolModel
    from engine.serve.venue import Dials, StreamVenue

BINANCE, ALPACA = "binance", "alpaca"
PORTS = {BINANCE: 9443, ALPACA: 9446}
_INVENTED_PAST = {BINANCE: "0s", ALPACA: "2m"}  # a recording is shown from its beginning
_PAST_MAX_NS = 7 * 86_400 * 10**9
_KEY, _SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"  # what Alpaca's own clients read


class MarketOptions(msgspec.Struct, frozen=True):
    """What the command line says of it, as it was written."""

    venue: str
    log: Path | None
    synthetic: bool
    seed: int
    symbols: str | None
    rate: float
    host: str
    port: int | None
    speed: str
    keep_times: bool
    faults: tuple[str, ...]
    fault_seed: int
    past: str | None
    plan: str
    check_keys: bool
    headlines: Path | None
    headline_every: str | None
    exit_at_end: bool


def serve_market(options: MarketOptions, *, as_json: bool) -> None:
    """Serve until a signal, or the recording's end.

    Raises UsageError for what cannot be, InputError and DamagedLog for what cannot be read, VenueError where
    it cannot listen.
    """
    from engine.config import parse_duration
    from engine.serve.faults import parse_faults

    unsaid = _INVENTED_PAST[options.venue] if options.synthetic else "0s"
    past_ns = parse_duration(unsaid if options.past is None else options.past, "--past")
    if past_ns > _PAST_MAX_NS:
        raise UsageError(f"--past {options.past}: at most 7 days", hint="write 10m")
    dials: Dials = {
        "host": options.host,
        "port": PORTS[options.venue] if options.port is None else options.port,
        "speed": _speed(options.speed),
        "keep_times": options.keep_times,
        "faults": parse_faults(options.faults),
        "fault_seed": options.fault_seed,
        "past_s": past_ns / 1e9,
    }
    make = _alpaca if options.venue == ALPACA else _binance
    asyncio.run(_serve(make(options, dials), options, as_json=as_json))


def _binance(options: MarketOptions, dials: Dials) -> StreamVenue[Any]:
    from engine.serve.server import LocalVenue
    from engine.serve.synthetic import DEFAULT_SYMBOLS, model_of

    return LocalVenue(_source(options, DEFAULT_SYMBOLS, model_of), **dials)


def _alpaca(options: MarketOptions, dials: Dials) -> StreamVenue[Any]:
    from engine.serve.alpaca_server import LocalAlpaca
    from engine.serve.alpaca_source import AlpacaSource
    from engine.serve.alpaca_symbols import DEFAULT_ALPACA_SYMBOLS, alpaca_model

    keys = _keys(options)
    market = _source(options, DEFAULT_ALPACA_SYMBOLS, alpaca_model)
    source = AlpacaSource(
        market,
        _headlines(options),
        every_ns=_headline_every(options),
        test_symbol=options.synthetic,
        seed=options.seed,
    )
    return LocalAlpaca(source, keys=keys, seed=options.seed if options.synthetic else None, **dials)


def _source(options: MarketOptions, symbols: tuple[str, ...], model: Callable[[str], SymbolModel]) -> Source:
    from engine.serve.source import RecordingSource
    from engine.serve.synthetic import SyntheticMarket

    if options.synthetic == (options.log is not None):
        both = "a recording and --synthetic" if options.synthetic else "neither a recording nor --synthetic"
        raise UsageError(
            f"engine serve was given {both}", hint="engine serve LOG, or engine serve --synthetic"
        )
    if options.log is None:
        names = symbols
        if options.symbols is not None:
            names = tuple(name.strip() for name in options.symbols.split(",") if name.strip())
        return SyntheticMarket(options.seed, names, rate=options.rate, model=model)
    recording = RecordingSource(options.log)
    if recording.tail:
        warn(f"{relative(options.log)}: {recording.tail}")
    return recording


def _headlines(options: MarketOptions) -> list[Headline]:
    """Those of the file that is named, else the recording's own, else those that come with the engine."""
    from engine.serve.news_source import read_headlines

    if options.headlines is None and options.log is not None:
        try:
            return read_headlines(options.log).items
        except InputError:
            return read_headlines().items  # it has none
    found = read_headlines(options.headlines)
    if found.warning:
        warn(f"{options.headlines}: {found.warning}")
    return found.items


def _headline_every(options: MarketOptions) -> int:
    from engine.cli.serve_news import headline_every

    return 0 if options.headline_every is None else headline_every(options.headline_every)


def _keys(options: MarketOptions) -> Keys:
    from engine.serve.alpaca_keys import Keys

    if not options.check_keys:
        return Keys(plan=options.plan)
    key, secret = os.environ.get(_KEY, ""), os.environ.get(_SECRET, "")
    if not (key and secret):
        missing = " and ".join(name for name, value in ((_KEY, key), (_SECRET, secret)) if not value)
        raise UsageError(
            f"--check-keys: {missing} is not set in this environment",
            hint="set both to what clients have to send; any two words will do",
        )
    return Keys(key, secret, plan=options.plan)


def _speed(text: str) -> float:
    from engine.serve.venue import MAX_SPEED

    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"--speed {text} is neither a positive number nor max")
    return speed


def _symbols_of(local: StreamVenue[Any], options: MarketOptions) -> list[str]:
    """By the names that clients have to use."""
    from engine.serve.alpaca_symbols import listing_of

    data = local.source.instruments
    return [listing_of(each).symbol if options.venue == ALPACA else each.symbol for each in data]


def _lines_for_clients(local: StreamVenue[Any], options: MarketOptions) -> list[str]:
    """How alpaca-py is pointed here: the clients of the feeds that have something."""
    from engine.serve.alpaca_symbols import CRYPTO, STOCKS, listing_of

    if options.venue != ALPACA:
        return []
    pair = "key, secret" if options.check_keys else '"any", "any"'
    kinds = {listing_of(data).kind for data in local.source.instruments}
    feeds = ((STOCKS, "Stock", "/v2/iex"), (CRYPTO, "Crypto", "/v1beta3/crypto/us"))
    lines: list[str] = []
    for kind, name, path in feeds:
        if kind in kinds:
            lines.append(f'{name}DataStream({pair}, url_override="{local.ws_url}{path}")')
            lines.append(f'{name}HistoricalDataClient({pair}, url_override="{local.http_url}")')
    return lines


async def _serve(local: StreamVenue[Any], options: MarketOptions, *, as_json: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with local:
        symbols = _symbols_of(local, options)
        clients = _lines_for_clients(local, options)
        result = {
            "ws": local.ws_url,
            "http": local.http_url,
            "port": local.port,
            "as": options.venue,
            "source": local.source.description,
            "symbols": symbols,
            "faults": list(options.faults),
            "fault_seed": local.faults.seed,
            **({"clients": clients} if clients else {}),
        }
        faults = ", ".join(options.faults)
        told = f" · faults: {faults} (seed {local.faults.seed})" if faults else ""
        line = (
            f"{local.ws_url}  {local.http_url}  speaks {options.venue}"
            f" · {local.source.description} · {', '.join(symbols)}{told}"
        )
        emit(result, as_json=as_json, text="\n".join([line, *clients]))
        stop = loop.create_task(stopped.wait())
        end = loop.create_task(local.wait_ended())
        await asyncio.wait((stop, end), return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            end.result()  # a damaged recording is raised here
            if not options.exit_at_end:
                note("everything has been sent; Ctrl-C ends the venue")
                await stop
        end.cancel()
        stop.cancel()
        local.announce_shutdown()
