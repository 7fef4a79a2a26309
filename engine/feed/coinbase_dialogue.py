"""Our side of a Coinbase Advanced Trade market data connection.

A message names one channel. The venue closes a connection that subscribes to nothing within five seconds, and
a channel that has been silent for a minute or more, unless heartbeats are subscribed: so these always are,
and first. Market data needs no key.

It acknowledges with all that is subscribed so far, by channel; an error does not say what it is about.
There is no ping but the WebSocket's own. A book is made good again by leaving it and subscribing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.feed.asked import Asked
from engine.feed.coinbase_messages import HEARTBEATS, VENUE_CHANNEL
from engine.feed.dialogue import Message, Phase
from engine.feed.parser import Notice


class CoinbaseDialogue:
    """One life of one connection."""

    def __init__(self, symbols: Sequence[str], channels: Sequence[str]) -> None:
        self.phase = Phase.SUBSCRIBING
        self._symbols = tuple(symbols)
        self._channels = tuple(channels)
        self._asked = Asked()

    def opened(self) -> list[Message]:
        """Heartbeats, then a message for each channel."""
        self._asked.add(HEARTBEATS, ("",))
        for channel in self._channels:
            self._asked.add(channel, self._symbols)
        messages: list[Message] = [_text({"type": "subscribe", "channel": HEARTBEATS})]
        messages += [self._request("subscribe", channel, self._symbols) for channel in self._channels]
        return messages

    def heard(self, notice: Notice) -> list[Message]:
        """Strike out what has been confirmed."""
        if notice.event == "subscribed":
            self._asked.heard(notice)
            if self._asked.answered:
                self.phase = Phase.STREAMING
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """Leave these books and subscribe to them anew; () for all."""
        symbols = symbols or self._symbols
        self._asked.add("book", symbols)
        return [self._request(kind, "book", symbols) for kind in ("unsubscribe", "subscribe")]

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """The same request, for these alone."""
        self._asked.add(channel, symbols)
        return [self._request("subscribe", channel, symbols or self._symbols)]

    def ping(self) -> list[Message]:
        """The WebSocket's own does."""
        return []

    def unanswered(self) -> str:
        """Channel by channel."""
        return self._asked.words()

    def _request(self, kind: str, channel: str, symbols: Sequence[str]) -> str:
        return _text({"type": kind, "product_ids": list(symbols), "channel": VENUE_CHANNEL[channel]})


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
