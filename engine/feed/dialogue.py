"""What our side says on a venue's connection: sans-IO, one object for each life of a socket.

    opened() ──► send        frame ──► parser ──notices──► heard(notice) ──► send

The parser looks into frames and says in `notices` what concerns the connection; a dialogue answers with the
next messages, and its `phase` says what the connection is waiting for. It reads no clock and opens nothing:
who drives it (engine.live.connection) gives up when a phase takes too long, and pauses between messages.

A message is a `str` (a text frame) or `bytes` (a binary one). Messages may hold credentials: nobody writes
them down.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from engine.feed.parser import Notice

Message = str | bytes


class Phase(Enum):
    """What a connection is waiting for."""

    AUTHENTICATING = "authenticating"
    SUBSCRIBING = "subscribing"
    STREAMING = "streaming"  # everything that was asked for has been answered


class Dialogue(Protocol):
    """One life of one connection, our side of it."""

    phase: Phase

    def opened(self) -> list[Message]:
        """What to send as soon as the socket is open."""

    def heard(self, notice: Notice) -> list[Message]:
        """What to send because of a notice of this connection's parser; `phase` may be another after it."""

    def again(self, symbols: Sequence[str]) -> list[Message]:
        """What makes the venue send the books of these symbols anew; [] where REST brings them."""

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:
        """What asks once more for a subscription that was refused; [] where that cannot help."""

    def ping(self) -> list[Message]:
        """What makes a silent venue say something; [] where the WebSocket's own ping does."""

    def unanswered(self) -> str:
        """What was asked for and has neither been confirmed nor refused, in words for a row."""


class Spoken:
    """The simplest dialogue: some messages, each answered once; none where the address says it all."""

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._messages = list(messages)
        self._open = len(self._messages)
        self._refused: list[str] = []
        self.phase = Phase.SUBSCRIBING if self._open else Phase.STREAMING

    def opened(self) -> list[Message]:
        """All of them."""
        return list(self._messages)

    def heard(self, notice: Notice) -> list[Message]:
        """Count the answers, and keep the refusals."""
        if notice.event == "rejected":
            self._refused.append(notice.detail)
        if notice.event in {"subscribed", "rejected"} and self._open:
            self._open -= 1
            if not self._open:
                self.phase = Phase.STREAMING
        return []

    def again(self, symbols: Sequence[str]) -> list[Message]:  # noqa: ARG002  REST brings the books
        """Nothing."""
        return []

    def anew(self, channel: str, symbols: Sequence[str]) -> list[Message]:  # noqa: ARG002  no answer says which
        """Nothing."""
        return []

    def ping(self) -> list[Message]:
        """Nothing: the WebSocket has its own."""
        return []

    def unanswered(self) -> str:
        """How many messages, or what was refused."""
        if self._open:
            return f"{self._open} of {len(self._messages)} subscribing messages"
        return f"refused: {'; '.join(self._refused)}" if self._refused else ""
