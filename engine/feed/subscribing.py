"""Our side of a connection that is asked for its channels one by one, and answers for each symbol.

What has been asked for and not been answered is remembered by channel and symbol: a refusal leaves the socket
open, and nothing in it says what does not come. A book is made good again by leaving it and subscribing anew:
the venue then sends all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.feed.asked import Asked
from engine.feed.dialogue import Message, Phase
from engine.feed.parser import Notice


class Subscribing(ABC):
    """One life of one connection. Subclasses say how a request is written, and which ones come first."""

    answers = frozenset({"subscribed"})  # notices that strike something out

    def __init__(self, symbols: Sequence[str], channels: Sequence[str]) -> None:
        self.phase = Phase.SUBSCRIBING
        self._symbols = tuple(symbols)
        self._channels = tuple(channels)
        self._asked = Asked()

    @abstractmethod
    def request(self, kind: str, channel: str, symbols: Sequence[str]) -> str:
        """The message that subscribes to a channel of these symbols, or leaves it."""

    def heard(self, notice: Notice) -> list[Message]:
        """Strike out what has been answered."""
        if notice.event in self.answers:
            self._asked.heard(notice)
            if self._asked.answered:
                self.phase = Phase.STREAMING
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """Leave these books and subscribe to them anew; () for all, after a refusal that names none."""
        symbols = symbols or self._symbols
        self._asked.add("book", symbols)
        return [self.request(kind, "book", symbols) for kind in ("unsubscribe", "subscribe")]

    def ping(self) -> list[Message]:
        """Nothing: the WebSocket has its own."""
        return []

    def unanswered(self) -> str:
        """Channel by channel."""
        return self._asked.words()


def text_of(message: dict[str, Any]) -> str:
    """A message as it is sent."""
    return msgspec.json.encode(message).decode()
