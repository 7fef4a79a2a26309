"""What a local venue adds to the WebSocket library's connection, and its answers to plain HTTP.

The library reads requests without a body alone and closes the connection on others, unanswered: a client
that posts an order would learn nothing. Here a request's head is held back until it is whole, what announces
a body is taken out of it, and the body is thrown away. Such a request can only be answered. Frames follow the
head of a request for a WebSocket alone: whatever follows another one (a body, a line too many, the next
request) is thrown away too, and the first request is answered.

Pings, and pongs that nobody asked for, are told to whoever counts a client's messages. A pong without content
is one that nobody asked for: the pings from here have some.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Response

from engine.serve.rest import Reply

_MOST_HEAD_BYTES = 64 << 10
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"\r?\ncontent-length[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r?\nupgrade[ \t]*:[^\r\n]*websocket", re.IGNORECASE)
_CHUNKS = re.compile(rb"\r?\ntransfer-encoding[ \t]*:[^\r\n]*", re.IGNORECASE)


class VenueConnection(ServerConnection):
    """The library's connection, which also takes requests with a body.

    Attributes:
        has_body: whether the request came with one; it is not kept.
        on_control: called for each ping, and for each pong that nobody asked for.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.has_body = False
        self.on_control: Callable[[], object] = lambda: None
        self._head: bytearray | None = bytearray()  # None: it was whole, and the library has it
        self._deaf = False  # whatever comes after the head is thrown away

    def data_received(self, data: bytes) -> None:
        """Bytes of the client's: a head that is not whole yet, a body to be thrown away, or frames."""
        if self._head is None:
            if not self._deaf:
                super().data_received(data)
            return
        begin = max(len(self._head) - 3, 0)  # the head's end may have come in two pieces
        self._head += data
        end = _HEAD_END.search(self._head, begin)
        if end is None and len(self._head) <= _MOST_HEAD_BYTES:
            return
        received, self._head = bytes(self._head), None
        if end is not None:
            head = received[: end.end()]
            lengths = {length.strip() for length in _LENGTH.findall(head)}
            if lengths - {b"0"} or _CHUNKS.search(head):
                self.has_body = True
                head = _CHUNKS.sub(b"", _LENGTH.sub(b"", head))
            self._deaf = self.has_body or not _UPGRADE.search(head)
            received = head if self._deaf else received
        super().data_received(received)

    def process_event(self, event: Any) -> None:
        """One frame of the client's, or its request."""
        super().process_event(event)
        if isinstance(event, Frame) and (
            event.opcode is Opcode.PING or (event.opcode is Opcode.PONG and not event.data)
        ):
            self.on_control()


def response(reply: Reply) -> Response:
    """An answer as the library sends it; the connection ends with it."""
    headers = Headers([*reply.headers, ("Content-Length", str(len(reply.body))), ("Connection", "close")])
    return Response(reply.status, _phrase(reply.status), headers, reply.body)


def quiet_logger() -> logging.Logger:
    """Clients that hang up in the middle of a handshake are no news; anything graver is."""
    logger = logging.getLogger("engine.serve")
    logger.setLevel(logging.CRITICAL)
    return logger


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
