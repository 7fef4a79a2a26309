"""Options of what is listened to: a venue, feeds beside it; for recordings and live sessions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.live.feeds import Listening

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = [
    click.option("--venue", default="binance", show_default=True, help="Where to listen.", metavar="NAME"),
    click.option("--symbols", default="", help="As the venue writes them: BTCUSDT,ETHUSDT."),
    click.option(
        "--channels",
        default=None,
        help="trade, aggtrade, quote, book, bar [default: the venue's usual ones].",
    ),
    click.option(
        "--url",
        "urls",
        multiple=True,
        metavar="[VENUE=]ADDRESS",
        help="Another address for a venue, as of `engine serve`.",
    ),
    click.option(
        "--quality",
        default="warn",
        show_default=True,
        type=click.Choice(["off", "warn", "strict"]),
        help="Flag ticks that cannot be right; strict: reject unusual ones too.",
    ),
    click.option(
        "--feed",
        "feeds",
        multiple=True,
        metavar="NAME:REST",
        help="Listen to this as well: binance:BTCUSDT,ETHUSDT, rss:URL, … (docs/feeds.md); repeatable.",
    ),
    click.option(
        "--feeds",
        "feeds_file",
        type=click.Path(path_type=Path),
        help="A TOML file of [[feed]] tables, instead of --feed.",
    ),
    click.option(
        "--news-every", default=None, metavar="DURATION", help="How often news are asked for [default: 5s]."
    ),
]


def feed_options(function: F) -> F:
    """Decorate a command with what can be listened to."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def listening_of(options: dict[str, Any]) -> Listening | None:
    """What the options name; None when that is nothing. UsageError for what cannot be."""
    if not (options["symbols"] or options["feeds"] or options["feeds_file"]):
        for name, value in (("--news-every", options["news_every"]), ("--url", options["urls"])):
            if value:
                what = "a news feed" if name == "--news-every" else "a venue"
                raise UsageError(f"{name} is of {what}, and none is named", hint="leave it out")
        return None
    from engine.live.feeds import Listening, Wish, every_of, of_venue, parse_feeds, read_feeds
    from engine.live.poller import EVERY_S

    venue = options["venue"]
    named = click.get_current_context().get_parameter_source("venue") is ParameterSource.COMMANDLINE
    if named and not options["symbols"]:
        raise UsageError(f"--venue {venue}: which symbols?", hint="name --symbols, or leave --venue out")
    channels = None if options["channels"] is None else tuple(options["channels"].split(","))
    every_s = EVERY_S if options["news_every"] is None else every_of(options["news_every"])
    wish = Wish(every_s, channels, _urls(options), options["quality"])
    found = Listening()
    if options["symbols"]:
        found = of_venue(venue, options["symbols"].split(","), wish)
    if options["feeds_file"]:
        found = found.and_also(read_feeds(options["feeds_file"], wish))
    found = found.and_also(parse_feeds(options["feeds"], wish))
    _check(options, found, wish.urls)
    return found


def _urls(options: dict[str, Any]) -> dict[str, str]:
    """Addresses by venue. One without a name is of `--venue`, else of the only one among the feeds."""
    from engine.live.feeds import urls_of, venues_named

    bare = [text for text in options["urls"] if "://" in text.partition("=")[0] or "=" not in text]
    named = venues_named(options["feeds"])
    if not bare or options["symbols"] or options["feeds_file"] or not named:
        return urls_of(options["urls"], options["venue"])
    if len(named) > 1:
        raise UsageError(f"--url {bare[0]}: of which venue?", hint=f"write --url {named[0]}={bare[0]}")
    return urls_of(options["urls"], named[0])


def _check(options: dict[str, Any], found: Listening, urls: dict[str, str] | Any) -> None:
    """Nothing that is said goes to nobody."""
    for name in urls:
        if name not in found.venues:
            raise UsageError(f"--url is an address of {name}, which is not listened to", hint="leave it out")
    if options["channels"] is not None and not found.venues:
        raise UsageError("--channels is of a venue, and none is named", hint="leave it out")
    if options["news_every"] is not None and not found.polled:
        raise UsageError("--news-every is of a news feed", hint="add --feed news:URL")
