"""Our side of a Coinbase Advanced Trade market data connection.

A message names one channel. The venue closes a connection that subscribes to nothing within five seconds, and
a channel that has been silent for a minute or more, unless heartbeats are subscribed: so these always are,
and first. Market data needs no key.

It acknowledges with all that is subscribed so far, by channel; an error does not say what it is about.
There is no ping but the WebSocket's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.feed.coinbase_messages import HEARTBEATS, VENUE_CHANNEL
from engine.feed.dialogue import Message
from engine.feed.subscribing import Subscribing, text_of


class CoinbaseDialogue(Subscribing):
    """One life of one connection."""

    def opened(self) -> list[Message]:
        """Heartbeats, then a message for each channel."""
        self._asked.add(HEARTBEATS, ("",))
        for channel in self._channels:
            self._asked.add(channel, self._symbols)
        messages: list[Message] = [text_of({"type": "subscribe", "channel": HEARTBEATS})]
        messages += [self.request("subscribe", channel, self._symbols) for channel in self._channels]
        return messages

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """The same request, for these alone."""
        self._asked.add(channel, symbols)
        return [self.request("subscribe", channel, symbols or self._symbols)]

    def request(self, kind: str, channel: str, symbols: Sequence[str]) -> str:
        """All products of a channel in one message."""
        return text_of({"type": kind, "product_ids": list(symbols), "channel": VENUE_CHANNEL[channel]})
