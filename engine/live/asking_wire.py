"""What the session and the process that asks Claude for it say to each other, as frames of bytes.

    session ──► Begin, then any number of Ask, then Close (or the end of the stream)
    asker   ──► Ready, then Answered for each Ask, in the order in which they ended, then Closed

A frame is a length, four bytes, big-endian, and MessagePack. The stream is a pair of sockets that nobody else
has; the key goes through it and stands on no command line.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.live.asking_client import AskingConfig
from engine.model.errors import InternalError
from engine.model.kinds import AnswerData

_LENGTH = 4
MOST_BYTES = 256 << 20  # more than any question or answer has: the stream is out of step


class Begin(msgspec.Struct, tag=True):
    """How to ask, and with which key."""

    config: AskingConfig
    key: str


class Ask(msgspec.Struct, tag=True):
    """A question of the loop."""

    ticket: int
    request: bytes  # canonical
    loop_time_ns: int


class Close(msgspec.Struct, tag=True):
    """No more questions; what is open is to be delivered as failed."""


class Ready(msgspec.Struct, tag=True):
    """The library is there: the next question is asked at once."""


class Answered(msgspec.Struct, tag=True):
    """What came of a question."""

    data: AnswerData
    wire: bytes | None


class Closed(msgspec.Struct, tag=True):
    """The last word; `failure`: of the edge itself, "" when there was none."""

    failure: str = ""


_encode = msgspec.msgpack.Encoder().encode
_to_asker = msgspec.msgpack.Decoder(Begin | Ask | Close).decode
_to_session = msgspec.msgpack.Decoder(Ready | Answered | Closed).decode


def frame(message: Begin | Ask | Close | Ready | Answered | Closed) -> bytes:
    """A message as it travels."""
    body = _encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes as they came; every frame's body that is whole now. Raises InternalError."""
        self._bytes += data
        while len(self._bytes) >= _LENGTH:
            size = int.from_bytes(self._bytes[:_LENGTH], "big")
            if size > MOST_BYTES:
                raise InternalError(f"a frame of {size:,} bytes between the session and its asker")
            if len(self._bytes) < _LENGTH + size:
                return
            body = bytes(self._bytes[_LENGTH : _LENGTH + size])
            del self._bytes[: _LENGTH + size]
            yield body


def of_session(body: bytes) -> Begin | Ask | Close:
    """A frame that the session sent."""
    message: Begin | Ask | Close = _to_asker(body)
    return message


def of_asker(body: bytes) -> Ready | Answered | Closed:
    """A frame that the asker sent."""
    message: Ready | Answered | Closed = _to_session(body)
    return message
