"""Our side of a Kraken WebSocket v2 connection: subscribe, keep it awake, ask for a book anew.

One request a channel, with all symbols of the line; the venue answers once for each symbol. A refusal leaves
the socket open, with a heartbeat a second and nothing of what was refused in it, so what has not been
answered is remembered by channel and symbol. Each request carries the number of its channel, because a
refusal does not always name it (see kraken_messages).

A book is made good again by leaving it and subscribing anew: the venue then sends all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from engine.feed.asked import Asked
from engine.feed.dialogue import Message, Phase
from engine.feed.kraken_messages import REQUEST_OF, VENUE_CHANNEL
from engine.feed.parser import Notice

BAR_MINUTES = 1
_PING = 99  # a number of its own: no request's


class KrakenDialogue:
    """One life of one connection."""

    def __init__(self, symbols: Sequence[str], channels: Sequence[str], depth: int) -> None:
        self.phase = Phase.SUBSCRIBING
        self._symbols = tuple(symbols)
        self._channels = tuple(channels)
        self._depth = depth
        self._asked = Asked()

    def opened(self) -> list[Message]:
        """A request for each channel."""
        for channel in self._channels:
            self._asked.add(channel, ("",) if channel == "instrument" else self._symbols)
        return [self._request("subscribe", channel, self._symbols) for channel in self._channels]

    def heard(self, notice: Notice) -> list[Message]:
        """Strike out what has been answered."""
        if notice.event in {"subscribed", "rejected"}:
            self._asked.heard(notice)
            if self._asked.answered:
                self.phase = Phase.STREAMING
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """Leave these books and subscribe to them anew; () for all, after a refusal that names none."""
        symbols = symbols or self._symbols
        self._asked.add("book", symbols)
        return [self._request(method, "book", symbols) for method in ("unsubscribe", "subscribe")]

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """The same request, for these alone."""
        self._asked.add(channel, symbols or ("",))
        return [self._request("subscribe", channel, symbols or self._symbols)]

    def ping(self) -> list[Message]:
        """The venue's own ping: it answers it, and counts it as a sign of life."""
        return [_text({"method": "ping", "req_id": _PING})]

    def unanswered(self) -> str:
        """Channel by channel."""
        return self._asked.words()

    def _request(self, method: str, channel: str, symbols: Sequence[str]) -> str:
        params: dict[str, Any] = {"channel": VENUE_CHANNEL[channel]}
        if channel != "instrument":
            params["symbol"] = list(symbols)
        if channel == "book":
            params["depth"] = self._depth
        elif channel == "quote":
            params["event_trigger"] = "bbo"
        elif channel == "bar":
            params["interval"] = BAR_MINUTES
        if method == "subscribe":
            params["snapshot"] = True
        return _text({"method": method, "params": params, "req_id": REQUEST_OF[channel]})


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
