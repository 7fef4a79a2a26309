"""Kraken's checksum: the published example, and every one of a captured session of the older protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.feed import kraken_checksum
from tests.helpers.kraken import GUIDE_ASKS, GUIDE_BIDS, GUIDE_CHECKSUM, Levels
from tests.helpers.kraken_v1 import OlderBook, messages


def of_levels(bids: Levels, asks: Levels) -> int:
    """The engine's checksum of two sides, best first."""
    sides = [
        kraken_checksum.side([kraken_checksum.digits(p) + kraken_checksum.digits(q) for p, q in levels])
        for levels in (asks, bids)
    ]
    return kraken_checksum.checksum(*sides)


def test_the_published_example() -> None:
    """Ten levels a side give the number that the venue's guide gives."""
    assert of_levels(GUIDE_BIDS, GUIDE_ASKS) == GUIDE_CHECKSUM


def test_only_ten_levels_count() -> None:
    """An eleventh level of a side changes nothing; the tenth does."""
    deeper = [*GUIDE_BIDS, ("1.0", "1.00000000")]
    assert of_levels(deeper, GUIDE_ASKS) == GUIDE_CHECKSUM
    assert of_levels(deeper[:9], GUIDE_ASKS) != GUIDE_CHECKSUM


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("45285.2", b"452852"),
        ("0.00100000", b"100000"),
        ("0.50930100", b"50930100"),
        ("0.00005100", b"5100"),
        ("1000", b"1000"),
        ("0.0000", b""),
        ("10", b"10"),
    ],
)
def test_digits(text: str, digits: bytes) -> None:
    """No point, no zeros at the beginning, all zeros at the end."""
    assert kraken_checksum.digits(text) == digits


def test_every_checksum_of_a_captured_session(real_data: Path) -> None:
    """Ten pairs of 2021, a thousand levels a side: 4,269 of 4,269."""
    books: dict[str, OlderBook] = {}
    checked = wrong = 0
    for _, *parts, _, pair in messages(real_data / "kraken" / "KRAKEN.ws.50.0.gz"):
        book = books.setdefault(pair, OlderBook(1_000))
        for part in parts:
            book.take(part)
        asks, bids = book.best("a"), book.best("b")
        if "c" in parts[-1]:
            checked += 1
            wrong += of_levels(bids, asks) != int(parts[-1]["c"])
    assert (checked, wrong) == (4_269, 0)
    assert len(books) == 10
