"""What can be listened to beside a venue's streams: `--feed NAME:REST`, by name.

The name says who reads the rest: engine.live.polled_feeds has the table of those who do. A feed that is named
is only read here, not reached.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.live.polled_feeds import EVERY_MAX_S, EVERY_MIN_S, POLLED, poll_config
from engine.live.poller import EVERY_S, PollConfig
from engine.model.errors import UsageError
from engine.model.units import MILLISECOND_NS, SECOND_NS


class Wish(msgspec.Struct, frozen=True):
    """What options say of feeds, each for those that it is of."""

    news_every_s: float = EVERY_S


def parse_feeds(texts: Sequence[str], wish: Wish | None = None) -> tuple[PollConfig, ...]:
    """The feeds that a user names. UsageError for a name, an address or an interval that cannot be.

    No address is repeated in an error before it is known what of it may be shown.
    """
    wish = wish or Wish()
    if not EVERY_MIN_S <= wish.news_every_s <= EVERY_MAX_S:
        raise UsageError(f"--news-every {wish.news_every_s:g}s: 100ms to 24h", hint="--news-every 5s")
    forms = ", ".join(polled.form for polled in POLLED.values())
    found: list[PollConfig] = []
    for text in texts:
        name, colon, rest = text.strip().partition(":")
        if name not in POLLED:
            raise UsageError(f'--feed: there is no feed "{name}"', hint=f"write one of {forms}")
        if not colon or not rest.strip():
            raise UsageError(f"--feed {name}: from where?", hint=f"write {POLLED[name].form}")
        said = {"every": f"{round(wish.news_every_s * 1_000)}ms"} if name == "news" else {}
        feed = poll_config(name, rest.strip(), said)
        if any(feed.address == other.address for other in found):
            raise UsageError(f"--feed {name}:{feed.address.shown} is named twice", hint="once is enough")
        found.append(feed)
    return tuple(found)


def every_of(text: str) -> float:
    """Seconds of "5s", as `--news-every` takes them; UsageError for what is no duration."""
    from engine.config import parse_duration

    return parse_duration(text, "--news-every") // MILLISECOND_NS * MILLISECOND_NS / SECOND_NS
