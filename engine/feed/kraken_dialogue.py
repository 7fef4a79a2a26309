"""Our side of a Kraken WebSocket v2 connection: subscribe, keep it awake, ask for a book anew.

One request a channel, with all symbols of the line; the venue answers once for each symbol. A refusal leaves
the socket open, with a heartbeat a second and nothing of what was refused in it, so what has not been
answered is remembered by channel and symbol. Each request carries the number of its channel, because a
refusal does not always name it (see kraken_messages).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.feed.dialogue import Message
from engine.feed.kraken_messages import REQUEST_OF, VENUE_CHANNEL
from engine.feed.subscribing import Subscribing, text_of

BAR_MINUTES = 1
_PING = 99  # a number of its own: no request's


class KrakenDialogue(Subscribing):
    """One life of one connection; books have `depth` levels."""

    answers = frozenset({"subscribed", "rejected"})

    def __init__(self, symbols: Sequence[str], channels: Sequence[str], depth: int) -> None:
        super().__init__(symbols, channels)
        self._depth = depth

    def opened(self) -> list[Message]:
        """A request for each channel."""
        for channel in self._channels:
            self._asked.add(channel, ("",) if channel == "instrument" else self._symbols)
        return [self.request("subscribe", channel, self._symbols) for channel in self._channels]

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """The same request, for these alone."""
        self._asked.add(channel, symbols or ("",))
        return [self.request("subscribe", channel, symbols or self._symbols)]

    def ping(self) -> list[Message]:
        """The venue's own ping: it answers it, and counts it as a sign of life."""
        return [text_of({"method": "ping", "req_id": _PING})]

    def request(self, kind: str, channel: str, symbols: Sequence[str]) -> str:
        """All pairs of a channel in one message."""
        params: dict[str, Any] = {"channel": VENUE_CHANNEL[channel]}
        if channel != "instrument":
            params["symbol"] = list(symbols)
        if channel == "book":
            params["depth"] = self._depth
        elif channel == "quote":
            params["event_trigger"] = "bbo"
        elif channel == "bar":
            params["interval"] = BAR_MINUTES
        if kind == "subscribe":
            params["snapshot"] = True
        return text_of({"method": kind, "params": params, "req_id": REQUEST_OF[channel]})
