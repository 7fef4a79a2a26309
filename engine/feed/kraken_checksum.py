"""Kraken's book checksum: CRC-32 over the ten best levels of each side, as the digits that were sent.

A level's token is its price and then its size, each without its point and without zeros at the beginning:
45285.2 and 0.00100000 give "452852" "100000". Zeros at the end count, hence the digits must be those of the
wire (or as many as the pair's precision says), never those of a float. Tokens of the asks, best first, come
before those of the bids, best first; a side with fewer than ten levels gives what it has.

The same function holds for WebSocket v1 and v2; there the digits come in strings, here as bare numbers.

Source: Kraken's guides "Book checksum (WebSocket v1)" and "(WebSocket v2)".
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

LEVELS = 10  # of each side, whatever depth is subscribed


def digits(text: str) -> bytes:
    """A decimal text as it goes into the checksum."""
    return text.replace(".", "").lstrip("0").encode()


def side(tokens: Sequence[bytes]) -> bytes:
    """What a side contributes; `tokens` of its levels, best first."""
    return b"".join(tokens[:LEVELS])


def checksum(asks: bytes, bids: bytes) -> int:
    """The checksum of two sides (see `side`), as the venue sends it: unsigned."""
    return crc32(bids, crc32(asks))
