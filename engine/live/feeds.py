"""What can be listened to, by name: venues, and feeds beside them. `--feed NAME:REST`, or a TOML file.

The name says who reads the rest: of a venue it is a list of symbols, of what is polled, what its line in
engine.live.polled_feeds says. Something that is named is only read here, not reached.

    --feed binance:BTCUSDT,ETHUSDT        [[feed]]
    --feed kraken:BTC/USD                 name = "binance"
    --feed news:https://…                 symbols = ["BTCUSDT", "ETHUSDT"]
                                          channels = ["trade", "book"]     # else what --channels says
    --feed ccxt:okx:BTC/USDT              url = "ws://127.0.0.1:8080"      # else what --url says
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from engine.feed.quality import DEFAULT_MODE
from engine.live.ccxt_feed import CHANNELS, CcxtConfig
from engine.live.ccxt_library import PREFIX
from engine.live.polled_feeds import POLLED, check_every, poll_config
from engine.live.polled_feeds import every_of as polled_every_of
from engine.live.poller import EVERY_S, PollConfig
from engine.live.tap import TapConfig
from engine.live.venues import VENUES, is_venue
from engine.model.errors import InputError, UsageError


class Wish(msgspec.Struct, frozen=True):
    """What options say of feeds, each for those that it is of."""

    news_every_s: float = EVERY_S
    channels: tuple[str, ...] | None = None  # of venues; None: each its usual ones
    urls: Mapping[str, str] = {}  # venue to another address
    quality: str = DEFAULT_MODE


class Listening(msgspec.Struct, frozen=True):
    """Everything that is to be listened to."""

    taps: tuple[TapConfig, ...] = ()
    feeds: tuple[PollConfig | CcxtConfig, ...] = ()

    @property
    def venues(self) -> tuple[str, ...]:
        """Names of all venues, those that come by a library included."""
        library = (feed.name for feed in self.feeds if isinstance(feed, CcxtConfig))
        return (*(tap.venue for tap in self.taps), *library)

    @property
    def polled(self) -> tuple[PollConfig, ...]:
        """Those that are asked again and again."""
        return tuple(feed for feed in self.feeds if isinstance(feed, PollConfig))

    def and_also(self, other: Listening) -> Listening:
        """Both."""
        return Listening(self.taps + other.taps, self.feeds + other.feeds)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One [[feed]] of a file."""

    name: str
    symbols: tuple[str, ...] = ()
    channels: tuple[str, ...] | None = None
    url: str = ""
    every: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    feed: tuple[_Entry, ...]


def parse_feeds(texts: Sequence[str], wish: Wish | None = None) -> Listening:
    """What a user names. UsageError for a name, an address or an interval that cannot be.

    No address is repeated in an error before it is known what of it may be shown.
    """
    wish = wish or Wish()
    found = Listening()
    for text in texts:
        name, colon, rest = text.strip().partition(":")
        if name == "ccxt":  # the exchange is part of the name
            exchange, colon, rest = rest.partition(":")
            name = f"ccxt:{exchange}"
        _check_name(name)
        if not colon or not rest.strip():
            if is_venue(name):
                raise UsageError(f"--feed {name}: which symbols?", hint=f"write {name}:SYMBOL,SYMBOL")
            raise UsageError(f"--feed {name}: from where?", hint=f"write {POLLED[name].form}")
        found = found.and_also(_one(name, rest.strip(), wish))
    return _checked(found)


def read_feeds(path: Path, wish: Wish | None = None) -> Listening:
    """What a TOML file of [[feed]] tables names. InputError for what it should not hold."""
    wish = wish or Wish()
    try:
        file = msgspec.convert(tomllib.loads(path.read_text()), _File)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}", hint="--feeds names a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise InputError(
            f"{path}: {error}", hint='a table [[feed]] for each, with name = "binance", symbols = ["BTCUSDT"]'
        ) from None
    found = Listening()
    for number, entry in enumerate(file.feed, start=1):
        where = f"{path}: feed {number}"
        try:
            found = found.and_also(_entry(entry, wish))
        except UsageError as error:
            raise InputError(f"{where}: {error.message}", hint=error.hint) from None
    return _checked(found)


def _entry(entry: _Entry, wish: Wish) -> Listening:
    _check_name(entry.name)
    changes: dict[str, Any] = {}
    if entry.channels is not None:
        changes["channels"] = entry.channels
    if is_venue(entry.name):
        if entry.every:
            raise UsageError(f"{entry.name}: is not polled", hint="leave every out: a venue sends by itself")
        if entry.url:
            changes["urls"] = {**wish.urls, entry.name: entry.url}
        rest = ",".join(entry.symbols)
        if not rest:
            raise UsageError(f"{entry.name}: which symbols?", hint='symbols = ["…", "…"]')
    else:
        rest = _rest_of(entry)
    return _one(entry.name, rest, msgspec.structs.replace(wish, **changes), entry.every)


def _rest_of(entry: _Entry) -> str:
    """What stands behind the name on a command line."""
    symbols = ",".join(entry.symbols)
    if entry.channels is not None:
        raise UsageError(f"{entry.name}: has no channels", hint="leave them out")
    if symbols and entry.url:
        if "url" not in POLLED[entry.name].options:
            raise UsageError(f"{entry.name}: symbols beside a url", hint="leave them out")
        return f"{symbols}#url={entry.url}"
    rest = symbols or entry.url
    if not rest:
        raise UsageError(f"{entry.name}: from where?", hint='url = "https://…"')
    return rest


def of_venue(name: str, symbols: Sequence[str], wish: Wish) -> Listening:
    """A venue's symbols; what cannot be is found when it is made."""
    url, wanted = wish.urls.get(name, ""), tuple(symbols)
    if not name.startswith(PREFIX):
        return Listening(taps=(TapConfig(wanted, name, wish.channels, url, quality=wish.quality),))
    channels = CHANNELS if wish.channels is None else wish.channels
    venue = name.removeprefix(PREFIX)
    return Listening(feeds=(CcxtConfig(venue, wanted, channels, url, quality=wish.quality),))


def _one(name: str, rest: str, wish: Wish, every: str = "") -> Listening:
    """`every`: an interval that was said beside the rest; the options of the rest count before it."""
    if is_venue(name):
        return of_venue(name, rest.split(","), wish)
    if name == "news" and not every:
        check_every(wish.news_every_s, "--news-every")
        every = f"{round(wish.news_every_s * 1_000)}ms"
    return Listening(feeds=(poll_config(name, rest, {"every": every} if every else {}),))


def _check_name(name: str) -> None:
    if name not in POLLED and not is_venue(name):
        forms = [f"{venue}:SYMBOLS" for venue in VENUES] + [polled.form for polled in POLLED.values()]
        raise UsageError(
            f'--feed: there is no feed "{name}"',
            hint=f"write one of {', '.join(forms)}, or {PREFIX}VENUE:SYMBOLS",
        )


def _checked(found: Listening) -> Listening:
    """Nothing twice; what venues share is looked at when they are made."""
    for number, feed in enumerate(found.polled):
        if any(feed.address == other.address for other in found.polled[:number]):
            raise UsageError(f"--feed {feed.name}:{feed.address.shown} is named twice", hint="once is enough")
    return found


def venues_named(texts: Sequence[str]) -> list[str]:
    """The venues of `--feed`s, each once, in order; of what cannot be read, none."""
    found = {}
    for text in texts:
        name, _, rest = text.strip().partition(":")
        if name == "ccxt":
            name = f"{PREFIX}{rest.partition(':')[0]}"
        if is_venue(name):
            found[name] = True
    return list(found)


def urls_of(texts: Sequence[str], venue: str) -> dict[str, str]:
    """Addresses by venue, of `--url ADDRESS` (of `venue`) and `--url VENUE=ADDRESS`."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        if not equals or "://" in name:
            name, address = venue, text
        elif not is_venue(name):
            raise UsageError(
                f'--url {text}: there is no venue "{name}"', hint=f"known are {', '.join(VENUES)}"
            )
        if not address:
            raise UsageError(f"--url {text}: which address?", hint=f"write {name}=ws://127.0.0.1:8080")
        if name in found:
            raise UsageError(f"--url: {name} has two addresses", hint="one for each venue")
        found[name] = address
    return found


def every_of(text: str, option: str = "--news-every") -> float:
    """Seconds of "5s"; UsageError for what is no duration, or none that one can poll at."""
    return polled_every_of(text, option)
