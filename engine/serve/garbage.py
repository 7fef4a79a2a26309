"""Frames that no protocol allows, made of good ones: what a venue in trouble sends.

    cut      the frame ends somewhere in the middle
    noise    bytes of chance in a binary frame
    words    a sentence where a message should be
    types    the right names with values of the wrong types

A garbled frame is never empty of trouble: none of the four can be read as the message that it was made of.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

FORMS = ("cut", "noise", "words", "types")
_NOISE_MOST = 64
_WORDS = b"upstream connect error or disconnect/reset before headers"


def garble(body: bytes, *, binary: bool, chance: Random) -> tuple[bytes, bool]:
    """A garbled form of a message, and whether it goes out as a binary frame."""
    form = chance.choice(FORMS)
    if form == "cut":
        return body[: chance.randrange(max(1, len(body)))], binary
    if form == "noise":
        return b"\xc1" + chance.randbytes(chance.randrange(_NOISE_MOST)), True
    if form == "words":
        return _WORDS, binary
    return _wrong_types(body, binary=binary), binary


def _wrong_types(body: bytes, *, binary: bool) -> bytes:
    """Objects keep their names; every number becomes a text, every text a list, the rest an object."""
    codec: Any = msgspec.msgpack if binary else msgspec.json
    return bytes(codec.encode(_twisted(codec.decode(body))))


def _twisted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _twisted(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_twisted(member) for member in value] or {}
    if isinstance(value, str):
        return [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"~{value}"
    return {}
