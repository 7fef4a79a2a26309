"""Alpaca's two encodings, the venue's side: JSON text or MessagePack, as a client's Content-Type asks.

A stamp is a whole number of nanoseconds here. In JSON it is RFC 3339 text whose fraction has as many digits
as it needs (trailing zeros are left out, as Go does); in MessagePack it is the Timestamp extension, type -1,
in the shortest of its three forms. Whatever a client sends may come in either encoding's frame type.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.model.units import SECOND_NS

JSON, MSGPACK = "json", "msgpack"
_TIMESTAMP = -1
_32_BITS, _34_BITS = 2**32, 2**34


class Stamp:
    """A moment in nanoseconds since 1970, to be encoded as a moment and not as a number."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __repr__(self) -> str:
        return f"Stamp({rfc3339(self.ns)})"


def rfc3339(ns: int) -> str:
    """`2024-06-01T09:00:00.0004Z`: up to nine digits after the point, no trailing zeros."""
    seconds, fraction = divmod(ns, SECOND_NS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def timestamp_extension(ns: int) -> bytes:
    """The body of MessagePack's Timestamp: 4, 8 or 12 bytes."""
    seconds, fraction = divmod(ns, SECOND_NS)
    if not fraction and 0 <= seconds < _32_BITS:
        return struct.pack(">I", seconds)
    if 0 <= seconds < _34_BITS:
        return struct.pack(">Q", fraction << 34 | seconds)
    return struct.pack(">Iq", fraction, seconds)


def _for_json(value: object) -> str:
    if isinstance(value, Stamp):
        return rfc3339(value.ns)
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


def _for_msgpack(value: object) -> msgspec.msgpack.Ext:
    if isinstance(value, Stamp):
        return msgspec.msgpack.Ext(_TIMESTAMP, timestamp_extension(value.ns))
    raise NotImplementedError(f"{type(value).__name__} has no form in MessagePack")


_encoders = {
    JSON: msgspec.json.Encoder(enc_hook=_for_json).encode,
    MSGPACK: msgspec.msgpack.Encoder(enc_hook=_for_msgpack).encode,
}


def encode(value: Any, encoding: str) -> bytes:
    """A value with stamps in it, in one of the two encodings."""
    return _encoders[encoding](value)


def array(items: Sequence[bytes], encoding: str) -> bytes:
    """Encoded values as one array."""
    if encoding == JSON:
        return b"[%b]" % b",".join(items)
    size = len(items)
    head = bytes((0x90 | size,)) if size < 16 else struct.pack(">BH", 0xDC, size)
    return head + b"".join(items)


def decode(message: str | bytes, encoding: str) -> Any:
    """What a client sent. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.

    A client that asked for MessagePack may still send JSON as text, as the documentation's examples do.
    """
    if isinstance(message, str) or encoding == JSON:
        return msgspec.json.decode(message)
    return msgspec.msgpack.decode(message)


def number(text: str) -> int | float:
    """A decimal text as the number that a venue writes: whole ones without a point."""
    value = float(text)
    return int(value) if value.is_integer() else value
