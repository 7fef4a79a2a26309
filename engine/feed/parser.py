"""What every venue's parser promises, and the parts that parsers share.

A parser is bytes in, rows out. It owns no socket and reads no clock: the connection hands it each frame
with the time it was received, and drains `wants` for what the venue must be asked for. Hence a recording,
an imported capture and `rebuild` run the very code that live runs, and rows are a pure function of the
frames, their times, the reference rows and the STATUS rows that say when a connection was lost.

Rules that hold for all venues:

- every frame gives at least one row, and the frame itself stands in `wire` on the message's first row;
- a frame that breaks the protocol gives exactly one MALFORMED row and changes nothing else;
- a message of an unknown type, or of an instrument that is not ours, is a CONTROL row and is counted;
- nothing is dropped: what came twice or late is written with a flag.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from engine.model.kinds import Flag, InstrumentData, Kind, MalformedData, SourceData, encode_canonical
from engine.model.rows import RowBuffer

DUPLICATE = int(Flag.DUPLICATE)
OUT_OF_ORDER = int(Flag.OUT_OF_ORDER)
LAST = int(Flag.LAST)

# What a decoder of untrusted bytes may raise. msgspec checks UTF-8 when it makes a str, not before.
DECODE_FAILURES = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class SnapshotWanted(msgspec.Struct, frozen=True):
    """A book snapshot that the parser needs from the venue. `reason`: "first", "gap", "stale", "failed"."""

    symbol: str
    reason: str = ""


class BackfillWanted(msgspec.Struct, frozen=True):
    """Trades that are missing: first and last id. `channel`: as in the gap row, "trade" or "aggtrade"."""

    symbol: str
    channel: str
    first: int
    last: int


class PeriodWanted(msgspec.Struct, frozen=True):
    """What is missing of a channel where nothing numbers it: since `first`, the venue's time, to `last`."""

    symbols: tuple[str, ...]
    channel: str
    first: int
    last: int

    def joined(self, other: PeriodWanted) -> PeriodWanted:
        """Both as one, and what lies between them."""
        symbols = self.symbols
        if other.symbols != symbols:
            symbols = tuple(dict.fromkeys(symbols + other.symbols))
        return PeriodWanted(symbols, other.channel, min(self.first, other.first), max(self.last, other.last))


Missing = BackfillWanted | PeriodWanted
Want = SnapshotWanted | Missing


class Notice(msgspec.Struct, frozen=True):
    """Something in a frame that concerns the connection itself; what it is, is one of NOTICES.

    `channel` and `symbols` say what was confirmed or refused, as users name them; empty: all that the frame
    answers. `code` is the venue's own. `hint` is for a person: what to do about a refusal. `fatal`: asking
    again in the same way cannot help.
    """

    event: str
    detail: str = ""
    channel: str = ""
    symbols: tuple[str, ...] = ()
    code: int = 0
    hint: str = ""
    fatal: bool = False


NOTICES = (
    "welcome",  # the venue greets: it may be talked to
    "authenticated",
    "subscribed",
    "unsubscribed",
    "rejected",  # a request was refused, the connection lives on
    "failed",  # the connection is of no use as it is: close it, and come again
    "heartbeat",  # the socket lives; says nothing of the data
    "shutdown",  # the venue is about to close the connection
)


class Parser(Protocol):
    """One connection's frames into rows. Implementations are not thread-safe and never block."""

    wants: list[Want]  # filled by the parser, drained by the connection
    notices: list[Notice]  # likewise
    unknown: Counter[str]  # messages kept as CONTROL rows because nobody knows them, by type

    @property
    def instruments(self) -> Mapping[str, tuple[int, InstrumentData]]:
        """The definitions now in force, by symbol, each with its number in the log."""

    def feed(self, frame: bytes, ts: int, rows: RowBuffer) -> None:
        """Append the rows of one frame received at `ts` (ns). Never raises for what the venue sends."""

    def feed_rest(self, source: SourceData, body: bytes, ts: int, rows: RowBuffer, number: int) -> None:
        """Append the rows of a REST answer; `number` is the source's number in the log."""

    def connection_lost(self, symbol: str = "") -> None:
        """Forget that books are in step: of one symbol, or of all. Appends nothing."""

    def define(self, number: int, definition: InstrumentData) -> None:
        """Take an instrument's definition, new or changed, under its number in the log."""

    def synchronised(self, symbol: str) -> bool:
        """Whether the symbol's book is in step with the venue's."""

    def carry_book(self, symbol: str, last: int) -> None:
        """The symbol's book is in step up to update `last`: it was carried over from an earlier file."""


@runtime_checkable
class Sequenced(Protocol):
    """A parser that knows which trades are missing, and takes them from REST answers."""

    def sequence(self, symbol: str, channel: str) -> Sequence:
        """The ids of one channel: what came last, and the holes."""


class Malformed(Exception):
    """Bytes that are not what the protocol says: what is wrong, in which field, with which value."""

    def __init__(self, error: str, *, field: str = "", value: str = "", byte: int = -1) -> None:
        super().__init__(error)
        self.data = MalformedData(error=error, field=field, value=_shown(value), byte=byte)


def append_malformed(problem: Malformed, frame: bytes, ts: int, source: int, rows: RowBuffer) -> None:
    """The one MALFORMED row of a frame that was refused."""
    rows.append(
        ts, Kind.MALFORMED, source=source, flags=LAST, data=encode_canonical(problem.data), wire=frame
    )


_BYTE = re.compile(r" \(byte (\d+)\)")
_PATH = re.compile(r" - at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_VALUE_SHOWN = 120  # characters of an offending value that are repeated in `data`; `wire` has the rest


def malformed_of(error: Exception, document: bytes, prefix: str = "", frame: bytes = b"") -> Malformed:
    """Name byte, field and value of a decoder's refusal of `document`.

    `frame` is what the document is a part of, if it is one, and `prefix` its path there ("data."): bytes and
    fields are named as they stand in the frame.
    """
    before = max(frame.find(document), 0)
    if isinstance(error, UnicodeDecodeError):
        return Malformed("not UTF-8", value=repr(bytes(error.object)), byte=before + _bad_utf8(document))
    if isinstance(error, RecursionError):
        return Malformed("nested too deeply")
    text = str(error)
    if "truncated" in text:
        return Malformed("the JSON ends too early", byte=before + len(document))
    if position := _BYTE.search(text):
        return Malformed(_BYTE.sub("", text), byte=before + int(position[1]))
    path = match[1] if (match := _PATH.search(text)) else ""
    value = _value_at(document, path)
    if missing := _MISSING.search(text):
        path, value = f"{path}.{missing[1]}".lstrip("."), ""
    return Malformed(_PATH.sub("", text), field=(prefix + path).rstrip("."), value=value)


def _bad_utf8(document: bytes) -> int:
    try:
        document.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _value_at(document: bytes, path: str) -> str:
    """The offending value as JSON text, found again by its path; "" when that leads nowhere."""
    try:
        value: Any = msgspec.json.decode(document)
        for step in re.findall(r"[^.\[\]]+", path):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    except (*DECODE_FAILURES, LookupError, TypeError, ValueError):
        return ""


def _shown(value: str) -> str:
    # An escaped lone surrogate is no UTF-8 and would make the row unwritable.
    clean = value.encode("utf-8", "replace").decode()
    return clean if len(clean) <= _VALUE_SHOWN else clean[: _VALUE_SHOWN - 1] + "…"


ANEW_NS = 1_000_000_000  # later than the last number by more than what a venue's servers differ
BEHIND_NS = 5_000_000_000  # no server lags for longer


class Growing:
    """Numbers that grow, though not by one, of messages that say no time: the newest one.

    After a lost connection numbers may come from a server that lags; one that stays below for seconds counts
    anew (`ts`: our own time). It may also be known from other messages of the same connection (`forget`).
    """

    __slots__ = ("_behind_since", "_lost_at", "last")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nothing has come."""
        self.last = self._lost_at = -1
        self._behind_since = 0

    def lost(self) -> None:
        """The connection is gone, and with it, perhaps, the numbering."""
        self._lost_at = self.last
        self._behind_since = 0

    def forget(self) -> None:
        """The venue counts anew, as others of its messages show: what came before says nothing."""
        if self.last == self._lost_at:
            self.begin()

    def late(self, number: int) -> int:
        """Flags of a number that is not above the last one."""
        return DUPLICATE if number == self.last else OUT_OF_ORDER

    def begins_anew(self, number: int, ts: int) -> bool:
        """Whether a number that came at `ts` belongs to a new numbering. Remembers since when it seems so."""
        if not number <= self.last == self._lost_at:
            return False
        self._behind_since = self._behind_since or ts
        return ts - self._behind_since > BEHIND_NS


class Sequence:
    """Numbers that should come one after the other: which one is new, late, a repeat, or after a gap.

    Knows the last number and the holes below it, so that a number that fills a hole is late, and one that
    was there already is a duplicate. Holes beyond `HOLES` are forgotten, oldest first; what would fill
    them then counts as a duplicate; `forgotten` is the last number of these.

    A venue may count anew after it was restarted. A number tells that, when nothing above the last one before
    the connection was lost has come since, and it is not above either, but later by the venue's own time.
    """

    HOLES = 256
    __slots__ = ("_lost_at", "first", "forgotten", "holes", "last", "stamp")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """From here on a numbering of its own; nothing has come of it."""
        self.stamp = 0  # the venue's time of the last number, which the caller sets
        self._lost_at = -1
        self.last = -1  # none yet
        self.first = -1
        self.forgotten = -1
        self.holes: list[tuple[int, int]] = []

    def lost(self) -> None:
        """The connection is gone, and with it, perhaps, the numbering."""
        self._lost_at = self.last

    def begins_anew(self, number: int, stamp: int) -> bool:
        """Whether this number, of venue time `stamp`, belongs to a new numbering."""
        return number <= self.last == self._lost_at and stamp > self.stamp + ANEW_NS

    def judge(self, number: int) -> tuple[int, tuple[int, int] | None]:
        """Flags of this number's row, and the first and last number missing before it, if any."""
        if self.last < 0 or number == self.last + 1:
            return 0, None
        if number > self.last:
            return 0, (self.last + 1, number - 1)
        missing = number < self.first or any(low <= number <= high for low, high in self.holes)
        return (OUT_OF_ORDER if missing else DUPLICATE), None

    def take(self, number: int) -> None:
        """The number has been written."""
        if self.last < 0:
            self.first = self.last = number
        elif number > self.last:
            if number > self.last + 1:
                self._open(self.last + 1, number - 1)
            self.last = number
        elif number < self.first:
            if number < self.first - 1:
                self._open(number + 1, self.first - 1)
            self.first = number
        else:
            self._close(number)

    def _open(self, low: int, high: int) -> None:
        self.holes.append((low, high))
        for _, last in self.holes[: -self.HOLES]:
            self.forgotten = max(self.forgotten, last)
        del self.holes[: -self.HOLES]

    def _close(self, number: int) -> None:
        for index, (low, high) in enumerate(self.holes):
            if low <= number <= high:
                rest = [(low, number - 1), (number + 1, high)]
                self.holes[index : index + 1] = [(a, b) for a, b in rest if a <= b]
                return
