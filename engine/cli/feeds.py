"""Options of what is listened to beside a venue: `--feed`, for recordings and live sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.model.errors import UsageError

if TYPE_CHECKING:
    from engine.live.poller import PollConfig

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = [
    click.option(
        "--feed",
        "feeds",
        multiple=True,
        metavar="NAME:REST",
        help="Listen to this as well: news:URL, headlines as `engine serve --as news` has them.",
    ),
    click.option(
        "--news-every", default=None, metavar="DURATION", help="How often news are asked for [default: 5s]."
    ),
]


def feed_options(function: F) -> F:
    """Decorate a command with what can be listened to beside a venue."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def feeds_of(options: dict[str, Any]) -> tuple[PollConfig, ...]:
    """The feeds that the options name. UsageError for what cannot be."""
    if not options["feeds"]:
        if options["news_every"] is not None:
            raise UsageError("--news-every is of a news feed", hint="add --feed news:URL")
        return ()
    from engine.live.feeds import Wish, every_of, parse_feeds

    wish = Wish() if options["news_every"] is None else Wish(every_of(options["news_every"]))
    return parse_feeds(options["feeds"], wish)
