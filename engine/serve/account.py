"""What a local venue did, written down by itself: made, sent, and done wrong on purpose.

    made     every message of a stream that somebody has subscribed to, once, whoever got it or did not
    sent     every message handed to a client's socket, once per copy, in the order of that client
    faults   every fault that was committed, with the message that it hit

What was made and not sent to a client was left out, garbled, kept back, or came while the client was away.
A list that grows for ever; it is kept only where a test, or a person, asks for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Sent(NamedTuple):
    """One message handed to a client's socket: which, and the ids it covers (0: it has none).

    `stamp` is the venue's own time of the message, as the venue counts it; it tells messages without ids
    apart.
    """

    client: int
    stream: str
    first: int
    last: int
    stamp: int = 0


class Made(NamedTuple):
    """One message of a stream that somebody has subscribed to. `at_ns` is when, by the venue's clock."""

    stream: str
    first: int
    last: int
    stamp: int
    at_ns: int


class Committed(NamedTuple):
    """One fault at one client (0: at a request). `wire` is what was sent in the place of the message."""

    client: int
    fault: str
    stream: str = ""
    first: int = 0
    last: int = 0
    stamp: int = 0
    wire: bytes = b""


class Account:
    """The three lists."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.sent: list[Sent] = []
        self.faults: list[Committed] = []
