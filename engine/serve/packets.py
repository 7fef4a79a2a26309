"""WebSocket messages as a server sends them: framed once, unmasked, the same bytes for every client."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from websockets.frames import Frame, Opcode

from engine.serve.garbage import garble

_PIECES = 3


class Packet(NamedTuple):
    """One message and its frame."""

    body: bytes
    frame: bytes
    binary: bool = False

    @classmethod
    def of(cls, body: bytes, *, binary: bool = False) -> Packet:
        """Frame a message."""
        return cls(body, Frame(_opcode(binary=binary), body).serialize(mask=False), binary)

    def garbled(self, chance: Random) -> Packet:
        """What comes in its place when the venue is in trouble."""
        body, binary = garble(self.body, binary=self.binary, chance=chance)
        return Packet.of(body, binary=binary)

    def fragments(self) -> list[bytes]:
        """The message in up to three frames, of which only the last is final."""
        size = max(1, -(-len(self.body) // _PIECES))
        parts = [self.body[at : at + size] for at in range(0, len(self.body), size)] or [b""]
        first, last = _opcode(binary=self.binary), len(parts) - 1
        return [
            Frame(Opcode.CONT if n else first, part, fin=n == last).serialize(mask=False)
            for n, part in enumerate(parts)
        ]


def text_frame(body: bytes) -> bytes:
    """A whole text frame."""
    return Packet.of(body).frame


def _opcode(*, binary: bool) -> Opcode:
    return Opcode.BINARY if binary else Opcode.TEXT
