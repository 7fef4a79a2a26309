"""`engine serve --as news`: the local news endpoint until Ctrl-C."""

from __future__ import annotations

from pathlib import Path

import msgspec

from engine.cli.common import emit, warn
from engine.cli.serving import serve_until_signal

DEFAULT_PORT = 9445
_EVERY_MIN_NS, _EVERY_MAX_NS = 10_000_000, 86_400_000_000_000
_SPEED_MAX = 1e6


class NewsOptions(msgspec.Struct, frozen=True):
    """What the command line says of it, as it was written."""

    host: str
    port: int | None
    path: Path | None
    speed: str
    every: str | None
    keep_times: bool
    repeat: bool
    faults: tuple[str, ...]
    seed: int


def serve_news(options: NewsOptions, *, as_json: bool) -> None:
    """Serve until a signal.

    Raises UsageError for what cannot be, InputError for headlines that cannot be read, VenueError where it
    cannot listen.
    """
    from engine.model.errors import UsageError
    from engine.serve.news import LocalNews
    from engine.serve.news_faults import parse_news_faults
    from engine.serve.news_release import Releases
    from engine.serve.news_source import read_headlines

    every_ns = 0
    if options.every is not None:
        every_ns = headline_every(options.every)
        if options.speed != "1":
            raise UsageError("--headline-every and --speed: one pace, not two", hint="leave one of them out")
    faults, edits = parse_news_faults(options.faults)
    speed = _speed(options.speed)
    headlines = read_headlines(options.path)
    if headlines.warning:
        warn(f"{options.path}: {headlines.warning}")
    releases = Releases(
        headlines.items,
        speed=speed,
        every_ns=every_ns,
        keep_times=options.keep_times,
        repeat=options.repeat,
        edits=edits,
        seed=options.seed,
    )
    port = DEFAULT_PORT if options.port is None else options.port
    news = LocalNews(releases, host=options.host, port=port, faults=faults, seed=options.seed)

    def say() -> None:
        line = f"engine record --feed news:{news.url}"
        result = {
            "http": news.url,
            "port": news.port,
            "as": "news",
            "source": headlines.description,
            "faults": list(options.faults),
            "record": line,
        }
        told = f" · faults: {', '.join(options.faults)}" if options.faults else ""
        text = f"{news.url}  speaks news · {headlines.description}{told}\n{line}"
        emit(result, as_json=as_json, text=text)

    serve_until_signal(news, say)


def headline_every(text: str) -> int:
    """Nanoseconds between two headlines. Raises UsageError."""
    from engine.config import parse_duration
    from engine.model.errors import UsageError

    every_ns = parse_duration(text, "--headline-every")
    if not _EVERY_MIN_NS <= every_ns <= _EVERY_MAX_NS:
        raise UsageError(f"--headline-every {text}: 10ms to 24h", hint="write 5s")
    return every_ns


def _speed(text: str) -> float:
    """How many times faster; infinite for max. Raises UsageError."""
    from engine.model.errors import UsageError

    try:
        speed = float("inf") if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if text != "max" and not 1 / _SPEED_MAX <= speed <= _SPEED_MAX:
        raise UsageError(
            f"--speed {text} is neither a number from {1 / _SPEED_MAX:g} to {_SPEED_MAX:g} nor max",
            hint="--speed 60 makes a minute of an hour",
        )
    return speed
