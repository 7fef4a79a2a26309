"""Where venues are, and how their streams are subscribed to. Text only: nothing is opened here.

`--url` puts another address in the place of all of a venue's own (stream and REST alike), so that
everything runs against a local venue: same host, same port, whatever scheme was written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote, urlsplit

import msgspec

from engine.feed import binance_reference
from engine.model.errors import UsageError

URL_LENGTH_MAX = 4_096  # longer request lines are refused by many servers
STREAMS_PER_MESSAGE = 200
STREAMS_PER_CONNECTION = 1_024


class Venue(msgspec.Struct, frozen=True):
    """A venue's addresses, without a slash at the end."""

    name: str
    stream_base: str
    rest_base: str
    channels: tuple[str, ...]
    stream_names: Callable[[Sequence[str], Sequence[str]], list[str]]


BINANCE = Venue(
    "binance",
    "wss://stream.binance.com:9443",
    "https://api.binance.com",
    tuple(binance_reference.STREAM_OF),
    binance_reference.stream_names,
)
VENUES = {venue.name: venue for venue in (BINANCE,)}
_SCHEMES = {"ws": ("ws", "http"), "http": ("ws", "http"), "wss": ("wss", "https"), "https": ("wss", "https")}


def venue_of(name: str, url: str = "") -> Venue:
    """A venue by name, at another address if `url` is given; UsageError for what is neither."""
    venue = VENUES.get(name)
    if venue is None:
        raise UsageError(f'unknown venue "{name}"', hint=f"known are {', '.join(VENUES)}")
    if not url:
        return venue
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.netloc:
        raise UsageError(f'--url "{url}" is not an address', hint="write ws://127.0.0.1:8080 or wss://host")
    stream, rest = _SCHEMES[parts.scheme]
    tail = f"{parts.netloc}{parts.path}".rstrip("/")
    return msgspec.structs.replace(venue, stream_base=f"{stream}://{tail}", rest_base=f"{rest}://{tail}")


def checked_symbols(symbols: Sequence[str]) -> tuple[str, ...]:
    """Symbols as the venue spells them, each once; UsageError when there is none."""
    wanted = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols if symbol.strip()))
    if not wanted:
        raise UsageError("no symbol given", hint="--symbols BTCUSDT,ETHUSDT")
    return wanted


def checked_channels(venue: Venue, channels: Sequence[str]) -> tuple[str, ...]:
    """Channels, each once; UsageError for one that the venue does not have."""
    wanted = tuple(dict.fromkeys(channel.strip().lower() for channel in channels if channel.strip()))
    if not wanted:
        raise UsageError("no channel given", hint=f"--channels {','.join(venue.channels[:3])}")
    for channel in wanted:
        if channel not in venue.channels:
            raise UsageError(
                f'{venue.name} has no channel "{channel}"', hint=f"it has {', '.join(venue.channels)}"
            )
    return wanted


def subscription(venue: Venue, streams: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The address that subscribes to streams, and the messages for what does not fit into it."""
    if len(streams) > STREAMS_PER_CONNECTION:
        raise UsageError(
            f"{len(streams)} streams: {venue.name} allows {STREAMS_PER_CONNECTION} on one connection",
            hint="record fewer symbols or channels, or start a second recorder with --to another folder",
        )
    # The venue takes encoded paths, and some symbols are not ASCII; "@" and "/" are its own marks.
    url = f"{venue.stream_base}/stream?streams={quote('/'.join(streams), safe='@/')}"
    if len(url) <= URL_LENGTH_MAX:
        return url, ()
    messages = tuple(
        binance_reference.subscribe_request(streams[start : start + STREAMS_PER_MESSAGE], number + 1).decode()
        for number, start in enumerate(range(0, len(streams), STREAMS_PER_MESSAGE))
    )
    return f"{venue.stream_base}/stream", messages
