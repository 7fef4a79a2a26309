"""Kraken's older protocol (WebSocket v1), as far as tests read a capture of it: books, with checksums."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec


class OlderBook:
    """A book as the older protocol (v1) sends it: strings, with the checksum in a message's last part."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"a": {}, "b": {}}

    def take(self, part: dict[str, Any]) -> None:
        """One part of a message: "as" and "bs" are a whole side, "a" and "b" what changed."""
        for name, levels in part.items():
            if name == "c":
                continue
            side = self.sides[name[0]]
            if name in {"as", "bs"}:
                side.clear()
            for price, size, *_ in levels:
                if Decimal(size):
                    side[Decimal(price)] = (price, size)
                else:
                    side.pop(Decimal(price), None)

    def best(self, name: str) -> list[tuple[str, str]]:
        """A side, best first, cut to the depth."""
        side = self.sides[name]
        kept = sorted(side, reverse=name == "b")[: self.depth]
        self.sides[name] = {price: side[price] for price in kept}
        return list(self.sides[name].values())


def messages(path: Path) -> Iterator[list[Any]]:
    """The book messages of a capture, "<receive time>: <frame>" a line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            _, _, frame = line.partition(": ")
            if frame.startswith("["):
                message = msgspec.json.decode(frame)
                if message[-2] == "book-1000":
                    yield message
