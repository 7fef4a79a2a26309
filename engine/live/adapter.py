"""What the live side needs to know of a venue; each venue is one module in `engine.live.adapters`.

An adapter is text and plain functions over the sans-IO parts in `engine.feed`: which symbols and channels
there are, which connections bring them (`lines`), what is asked over REST beforehand (`definitions`), which
parser reads the frames and which dialogue our side speaks. Sockets, timers and rows are the tap's.

`--url` puts another address in the place of all of a venue's own (stream and REST alike), so that everything
runs against a local venue: same host, same port, whatever scheme was written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from engine.feed.dialogue import Dialogue
from engine.feed.parser import Parser
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData, SourceData

Instruments = Mapping[str, tuple[int, InstrumentData]]  # by symbol: number in the log, definition
_SCHEMES = {"ws": ("ws", "http"), "http": ("ws", "http"), "wss": ("wss", "https"), "https": ("wss", "https")}


class Line(msgspec.Struct, frozen=True):
    """One connection of a venue: where it goes and what it brings."""

    url: str
    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    streams: tuple[str, ...]  # in the venue's own words, for the "subscribed" row
    headers: dict[str, str] = {}  # of the handshake; nothing secret


class Definitions(msgspec.Struct, frozen=True):
    """What the venue says of the symbols, and the REST answers that said it (source, body; in order)."""

    instruments: dict[str, InstrumentData]
    answers: tuple[tuple[SourceData, bytes], ...] = ()
    weight_per_minute: int = 0  # of REST requests, where the venue weighs them; 0: not said


Get = Callable[[str], Awaitable[bytes]]  # a path under the REST address; raises Refused (engine.live.rest)


class Adapter(Protocol):
    """One venue at one address."""

    name: str  # the venue's, as in SOURCE and INSTRUMENT rows
    rest_base: str
    channels: tuple[str, ...]  # what it has, as users name them
    usual_channels: tuple[str, ...]  # when the user names none
    overlapping: bool  # frames carry numbers, so that an old and a new connection can run side by side
    address_gap_s: float  # between handshakes and messages of all its connections; 0: each has its own pace
    life_s: float  # renew a connection after this long; 0: never

    def checked_symbols(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Symbols as the venue spells them, each once; UsageError for what cannot be one."""

    def lines(self, symbols: Sequence[str], channels: Sequence[str]) -> tuple[Line, ...]:
        """The connections that bring all of it, within the venue's limits."""

    async def definitions(self, get: Get, symbols: Sequence[str], channels: Sequence[str]) -> Definitions:
        """Ask what the symbols are. Raises Refused, VenueError, and UsageError for an unknown symbol."""

    def parser(self, instruments: Instruments, source: int, channels: Sequence[str]) -> Parser:
        """A parser for one line; `source` is the line's number in the log."""

    def dialogue(self, line: Line) -> Dialogue:
        """Our side of a new life of a line."""


@runtime_checkable
class BooksByRest(Protocol):
    """An adapter whose venue gives a wanted book over REST; elsewhere the stream does (Dialogue.again)."""

    def snapshot_path(self, symbol: str, levels: int) -> str:
        """The REST path of a book snapshot."""


class Backfill(msgspec.Struct, frozen=True):
    """How the missing trades of one channel are asked for."""

    channel: str
    endpoint: str  # as in the SOURCE row of its answers
    limit: int  # the most that one answer has
    by_id: bool = True  # from an id on; else the latest only
    words: str = ""  # why no more can be had, where it is the latest only
    headers: Callable[[], dict[str, str]] = dict  # a call, since a key must not be shown


@runtime_checkable
class FillsGaps(Protocol):
    """An adapter whose venue gives missing trades a second time; its parsers are Sequenced."""

    def backfill(self, channel: str) -> Backfill | None:
        """How it is done for a channel. Raises what credentials raise."""

    def backfill_path(self, way: Backfill, symbol: str, first: int, limit: int) -> str:
        """The REST path of `limit` trades from id `first` on, or of the latest ones."""


@runtime_checkable
class FillsPeriods(Protocol):
    """An adapter whose venue numbers nothing, but gives what it sent since a time a second time."""

    period_channel: str  # of which this one of its streams has such a history; "" for none
    period_endpoint: str  # as in the SOURCE row of its answers

    def period_headers(self) -> dict[str, str]:
        """Of a request; they may hold a key. Raises what credentials raise."""

    def period_path(self, symbols: Sequence[str], since: int, token: str) -> str:
        """The REST path of a page of what was sent since `since` (ns); `token`: of a further page."""

    def next_page(self, body: bytes) -> str:
        """The token of the page after this one; "" after the last. `body` has been read as an answer."""


def at(url: str, stream: str, rest: str) -> tuple[str, str]:
    """The stream's and REST's addresses: the venue's own, or both at `url`. UsageError for what is none."""
    if not url:
        return stream, rest
    hint = "write ws://127.0.0.1:8080 or wss://host"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # what is wrong may be a password with a slash in it: nothing of it is repeated
        raise UsageError("--url is not an address", hint=hint) from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"--url at {host} has a user or a password in it", hint="leave it out: addresses stand in logs"
        )
    if parts.scheme not in _SCHEMES or not host:
        raise UsageError(f'--url "{url}" is not an address', hint=hint)
    stream_scheme, rest_scheme = _SCHEMES[parts.scheme]
    tail = f"{parts.netloc}{parts.path}".rstrip("/")
    return f"{stream_scheme}://{tail}", f"{rest_scheme}://{tail}"
