"""The first look at captures, before a log is begun: which instruments and channels are in them.

A log opens with its sources and instruments, so they must be known before the first frame is written. The
scan decodes one frame of each stream, and all frames of instruments that nobody has defined, whose
decimals it must see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from engine.feed.binance_messages import CHANNEL_OF, DepthSnapshot, Message, decode, decode_snapshot
from engine.feed.parser import Malformed
from engine.ingest.capture_lines import Line
from engine.ingest.instruments import Widest
from engine.model.errors import InputError
from engine.model.kinds import CHANNELS


class Scan:
    """What stands in some captures.

    channels: symbol -> channels present. widest: decimals of the instruments that were not known.
    endpoints: (endpoint, symbol) of each REST answer, in order of appearance. url: of the connection.
    """

    def __init__(self, known: Collection[str]) -> None:
        self.channels: dict[str, set[str]] = {}
        self.widest: dict[str, Widest] = {}
        self.endpoints: list[tuple[str, str]] = []
        self.url = ""
        self.frames = 0
        self.first_ts = -1
        self._known = known
        self._done: set[bytes] = set()  # beginnings of frames of which no more need be known
        self._bare: tuple[str, int] | None = None  # the first snapshot that does not say whose it is
        self._bare_widest = Widest()

    def read(self, lines: Iterable[Line], name: str) -> None:
        """Take the lines of one file."""
        for line in lines:
            if line.url and not line.endpoint:
                self.url = self.url or line.url
                continue
            self.frames += 1
            self.first_ts = line.ts if self.first_ts < 0 else min(self.first_ts, line.ts)
            if line.endpoint:
                self._answer(line, name)
            else:
                self._frame(line.frame)

    def settle(self, symbol: str) -> str:
        """The symbol of snapshots that name none: `symbol`, or the only one there is.

        Raises InputError, naming the line, when that leaves it open.
        """
        if self._bare is None:
            return symbol
        name, number = self._bare
        if not symbol and len(self.channels) != 1:
            have = ", ".join(sorted(self.channels)) or "none at all"
            raise InputError(
                f"{name}: line {number}: a book snapshot that does not say of which symbol; "
                f"the capture has {have}",
                hint="say it with --symbol",
            )
        whose = symbol or next(iter(self.channels))
        self.channels.setdefault(whose, set()).add("book")
        if whose not in self._known:
            self.widest.setdefault(whose, Widest()).join(self._bare_widest)
        if ("depth", whose) not in self.endpoints:
            self.endpoints.append(("depth", whose))
        return whose

    def channels_of(self, symbol: str) -> tuple[str, ...]:
        """The channels present, in the order in which users know them."""
        present = self.channels.get(symbol, set())
        return tuple(channel for channel in CHANNELS if channel in present)

    def _answer(self, line: Line, name: str) -> None:
        if line.endpoint == "depth" and not line.symbol:
            self._bare = self._bare or (name, line.number)
            if message := _snapshot(line.frame):
                self._bare_widest.see_all(message)
            return
        if (line.endpoint, line.symbol) not in self.endpoints:
            self.endpoints.append((line.endpoint, line.symbol))
        if line.endpoint == "depth" and (message := _snapshot(line.frame)):
            self._see(line.symbol, message)

    def _frame(self, frame: bytes) -> None:
        prefix = frame[: frame.find(b",")]
        if prefix in self._done:
            return
        try:
            decoded = decode(frame)
        except Malformed:
            return
        message = decoded.message
        if message is None or type(message) not in CHANNEL_OF:
            return
        if isinstance(message, DepthSnapshot):
            symbol = decoded.stream.partition("@")[0].upper()
            if not symbol:
                return
        else:
            symbol = message.symbol  # type: ignore[union-attr]  # CHANNEL_OF holds no other without one
        self._see(symbol, message)
        if symbol in self._known and prefix.startswith(b'{"stream":"'):
            self._done.add(prefix)

    def _see(self, symbol: str, message: Message) -> None:
        self.channels.setdefault(symbol, set()).add(CHANNEL_OF[type(message)])
        if symbol not in self._known:
            self.widest.setdefault(symbol, Widest()).see_all(message)


def _snapshot(body: bytes) -> DepthSnapshot | None:
    try:
        return decode_snapshot(body)
    except Malformed:
        return None
