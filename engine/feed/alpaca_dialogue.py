"""Our side of an Alpaca stream: who we are, then one request a channel, then nothing but books.

    welcome ──► auth ──authenticated──► subscribe, one channel ──its lists──► the next ──► … streaming

The keys go out as soon as the venue greets, since it waits ten seconds. Channels are asked for one after the
other: a refusal names no request, so there must be only one that it can mean. Every answer holds all lists of
the connection as they are now, and what is missing there was not granted.

Messages are JSON text, or MessagePack when the handshake asked for that (header Content-Type). They are made
when they are sent: nothing here holds a revealed key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from engine.feed.alpaca_messages import LIST_OF_CHANNEL
from engine.feed.dialogue import Message, Phase
from engine.feed.parser import Notice

SYMBOLS_PER_MESSAGE = 1_000
ALL = "*"


class Secret(Protocol):
    """A key that shows itself on demand only."""

    def reveal(self) -> str:
        """The key's text."""


class _Request(msgspec.Struct, frozen=True):
    action: str
    channel: str
    symbols: tuple[str, ...]
    first: bool = True  # not one that only brings a book again; who wants that one, watches over it


class AlpacaDialogue:
    """One life of one connection. `wanted`: channels, as users name them, with their symbols."""

    def __init__(
        self, wanted: Mapping[str, Sequence[str]], key: Secret, secret: Secret, *, packed: bool = True
    ) -> None:
        self.phase = Phase.AUTHENTICATING
        self._key, self._secret = key, secret
        self._packed = packed
        self._greeted = False
        self._wanted = {channel: tuple(symbols) for channel, symbols in wanted.items()}
        self._waiting = deque(
            _Request("subscribe", channel, symbols[start : start + SYMBOLS_PER_MESSAGE])
            for channel, symbols in self._wanted.items()
            for start in range(0, len(symbols), SYMBOLS_PER_MESSAGE)
        )
        self._asked: deque[_Request] = deque()  # sent and not answered, oldest first
        self._lists: dict[str, set[str]] = {}  # of the answer that is being heard
        self._missing: dict[str, list[str]] = {}  # not granted, and not refused in words either
        self._refused: list[str] = []

    def opened(self) -> list[Message]:
        """Nothing: the venue greets first."""
        return []

    def heard(self, notice: Notice) -> list[Message]:
        """What to send because of a notice of this connection's parser."""
        if notice.event == "welcome" and self.phase is Phase.AUTHENTICATING and not self._greeted:
            self._greeted = True
            return [self._auth()]
        if notice.event == "authenticated" and self.phase is Phase.AUTHENTICATING:
            self.phase = Phase.SUBSCRIBING
            return self._next()
        if notice.event == "subscribed":
            if notice.channel:
                self._lists[notice.channel] = set(notice.symbols)
                return []
            granted, self._lists = self._lists, {}
            return self._answered(granted)
        if notice.event == "rejected" and self._asked:
            request = self._asked.popleft()
            if request.first:
                what = _in_words({request.channel: request.symbols})
                self._refused.append(f"{what}: {notice.detail}" + (f", {notice.hint}" if notice.hint else ""))
            return self._next()
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """Leave the books of these symbols and ask for them anew: the venue begins with all of a book."""
        books = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol in self._wanted.get("book", ()))
        if not books or self.phase is not Phase.STREAMING:
            return []
        actions = ("unsubscribe", "subscribe")
        return [self._ask(_Request(action, "book", books, first=False)) for action in actions]

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:  # noqa: ARG002  it would be refused again
        """Nothing: what is refused here is a matter of plans, keys and spelling."""
        return []

    def ping(self) -> list[Message]:
        """Nothing: the WebSocket's own ping is answered."""
        return []

    def unanswered(self) -> str:
        """What was asked for and is not there: not answered yet, not granted, or refused; in words."""
        if self.phase is Phase.AUTHENTICATING:
            return "authentication"
        open_ = {channel: list(symbols) for channel, symbols in self._missing.items()}
        for request in (*self._asked, *self._waiting):
            if request.first:
                open_.setdefault(request.channel, []).extend(request.symbols)
        words = [f"not granted: {_in_words(open_)}"] if open_ else []
        return "; ".join([*words, *(f"refused: {refusal}" for refusal in self._refused)])

    def _answered(self, granted: Mapping[str, set[str]]) -> list[Message]:
        if not self._asked:
            return []  # the venue repeats its lists; nobody asked
        request = self._asked.popleft()
        if request.action == "subscribe":
            there = granted.get(request.channel, set())
            missing = [] if ALL in there else [name for name in request.symbols if name not in there]
            before = self._missing.pop(request.channel, [])
            missing += [name for name in before if name not in request.symbols]
            if missing:
                self._missing[request.channel] = missing
        return self._next()

    def _next(self) -> list[Message]:
        if self._asked:
            return []
        if self._waiting:
            return [self._ask(self._waiting.popleft())]
        self.phase = Phase.STREAMING
        return []

    def _ask(self, request: _Request) -> Message:
        self._asked.append(request)
        return self._encoded(
            {"action": request.action, LIST_OF_CHANNEL[request.channel]: list(request.symbols)}
        )

    def _auth(self) -> Message:
        return self._encoded({"action": "auth", "key": self._key.reveal(), "secret": self._secret.reveal()})

    def _encoded(self, message: dict[str, object]) -> Message:
        return msgspec.msgpack.encode(message) if self._packed else msgspec.json.encode(message).decode()


def _in_words(symbols: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{channel} {' '.join(names)}" for channel, names in symbols.items())
