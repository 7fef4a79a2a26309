"""What a fetch is asked for, how it is cut into files, and what it needs to know of a venue."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import msgspec

from engine.feed.history import Stream
from engine.live.fetch_client import Client
from engine.log.segments import DAY_NS
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS, SECOND_NS, format_time

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FINER = re.compile(r"[.,]\d{3}\d*[1-9]")  # than a millisecond: datetime cuts off the seventh digit
_LAST_YEAR = 2200
_LAST = int(datetime(_LAST_YEAR + 1, 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS  # a log's times end in 2262
_HINT = "write 2024-06-01 or 2024-06-01T12:00:00Z; times are UTC"
_NAMED_SYMBOLS = 3


class Request(msgspec.Struct, frozen=True):
    """What is fetched. Times in ns since 1970 UTC; `end` is not part of it."""

    venue: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    begin: int
    end: int
    interval: str
    base: str
    feed_latency_ns: int = 0
    feed: str = ""  # of venues that have several


class Span(msgspec.Struct, frozen=True):
    """One file of it."""

    stem: str
    begin: int
    end: int
    last: bool


class Reference(msgspec.Struct, frozen=True):
    """What the venue says of the symbols and of itself."""

    definitions: list[InstrumentData]  # in the order of the request
    now: int  # by the venue's clock, when it answered; 0: it did not say
    weight_limit: int = 0


Wanted = tuple[str, str]  # symbol ("": of no instrument) and channel


def of_each_symbol(request: Request) -> list[Wanted]:
    """A stream for every symbol and channel."""
    return [(symbol, channel) for symbol in request.symbols for channel in request.channels]


class HistoryVenue(Protocol):
    """A venue whose history can be fetched."""

    name: str
    own_base: str
    channels: tuple[str, ...]
    usual_channels: tuple[str, ...]
    headers: dict[str, str]  # of every request; may hold keys

    def checked(self, request: Request) -> tuple[Request, list[str]]:
        """The request as the venue can take it, and what is to be said of that. Raises UsageError."""

    async def reference(self, client: Client, request: Request) -> bytes:
        """The answer that says what the symbols are. Raises UsageError for those that do not exist."""

    def read(self, body: bytes, request: Request) -> Reference:
        """What that answer says. Raises Malformed, UsageError."""

    def streams(self, request: Request) -> list[Wanted]:
        """Symbol and channel of each stream, in the order that decides between equal times."""

    def stream(self, request: Request, symbol: str, channel: str, span: Span, carried: str) -> Stream:
        """The stream of one symbol and channel in a span; `carried` is what the one before ended with."""

    def possible_bars(self, request: Request) -> int:
        """How many bars of a symbol the time has room for; 0 where that cannot be said."""

    def weight(self, path: str) -> int:
        """What a request will probably cost."""


def time_of(text: str, option: str) -> int:
    """A day or a time of an option in ns; without a zone it is UTC. UsageError for anything else."""
    given = text.strip()
    try:
        moment = datetime.fromisoformat(f"{given}T00:00:00" if _DAY.fullmatch(given) else given)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except ValueError:
        raise UsageError(f'{option} "{text}" is no time', hint=_HINT) from None
    except OverflowError:  # in UTC it is of no year that there is
        moment = datetime.min.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp()) * SECOND_NS + moment.microsecond * 1_000
    if _FINER.search(given) or whole % MILLISECOND_NS or whole <= 0 or moment.year > _LAST_YEAR:
        raise UsageError(f'{option} "{text}" is not a whole millisecond between 1970 and 2200', hint=_HINT)
    return whole


def check_times(request: Request, now: int) -> None:
    """UsageError for times to come, an end that is not after the beginning, a latency out of all bounds."""
    if request.begin >= request.end:
        raise UsageError(
            f"--from {_short(request.begin)} is not before --to {_short(request.end)}",
            hint="--to itself is not part of what is fetched: for one day, write the next",
        )
    if request.end > now:
        raise UsageError(
            f"--to {_short(request.end)} is in the future: it is {_short(now)}",
            hint="what has not happened cannot be fetched; engine record takes it as it comes",
        )
    if request.end + request.feed_latency_ns > _LAST:
        raise UsageError(
            f"--feed-latency is too long: with it, rows would be of times after {_LAST_YEAR}",
            hint="it is what a message takes from the venue to here: write 20ms",
        )


def spans(request: Request) -> list[Span]:
    """One file for each UTC day; of bars or news alone, which are few, one for everything."""
    if request.channels in {("bar",), ("news",)}:
        return [Span(_stem(request.begin), request.begin, request.end, last=True)]
    found = []
    begin = request.begin
    while begin < request.end:
        end = min((begin // DAY_NS + 1) * DAY_NS, request.end)
        found.append(Span(_stem(begin), begin, end, last=end == request.end))
        begin = end
    return found


def _stem(begin: int) -> str:
    return format_time(begin)[:10]


def folder_name(request: Request) -> str:
    """The name of the folder for what a request brings: the same for the same request."""
    symbols = ["all" if symbol == "*" else quote(symbol, safe="") for symbol in request.symbols]
    shown = "-".join(symbols[:_NAMED_SYMBOLS])
    if len(symbols) > _NAMED_SYMBOLS:
        shown += f"-and-{len(symbols) - _NAMED_SYMBOLS}-more"
    channels = [f"{c}-{request.interval}" if c == "bar" else c for c in request.channels]
    times = (_short(time).replace(":", "") for time in (request.begin, request.end))
    return "-".join((request.venue, shown, *channels, *times)).replace("%", "_")


def _short(time: int) -> str:
    """A time without what is zero in it."""
    text = format_time(time)
    if time % DAY_NS == 0:
        return text[:10]
    return text[:19] + "Z" if time % SECOND_NS == 0 else text[:23] + "Z"
