"""The cache's checksum: every change of a piece of memory changes it, and no two small changes agree."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pytest

from engine.log.checksum import digests, piece_of

MASK = 2**64 - 1


def of(content: npt.NDArray[np.uint8]) -> int:
    """The checksum of one array."""
    return digests([piece_of(content)])[0]


def twin(content: bytes) -> int:
    """The same in Python, from the module's words."""

    def mixed(lane: int, word: int) -> int:
        lane = (lane + word * 0x6A09E667F3BCC909) & MASK
        return (((lane << 31) | (lane >> 33)) * 0x9E3779B97F4A7C15) & MASK

    lanes = [1, 2, 3, 4, 5, 6, 7, 8]
    whole = len(content) // 8
    words = [int.from_bytes(content[8 * i : 8 * i + 8], "little") for i in range(whole)]
    for i, word in enumerate(words):
        place = i % 8 if i < whole // 8 * 8 else 0
        lanes[place] = mixed(lanes[place], word)
    for byte in content[8 * whole :]:
        lanes[1] = mixed(lanes[1], byte)
    total = len(content)
    for lane in lanes:
        total = mixed(total, lane)
    return mixed(total ^ (total >> 29), 0x9E3779B97F4A7C15)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 128, 1003])
def test_it_is_what_its_python_twin_computes(size: int) -> None:
    """Compiled and interpreted arithmetic agree for every shape of an end."""
    content = random.Random(size).randbytes(size)
    assert of(np.frombuffer(content, np.uint8)) == twin(content)


@pytest.mark.parametrize("seed", [521, 522], ids=lambda s: f"seed{s}")
def test_flipped_bits_and_swapped_words_are_seen(seed: int) -> None:
    """All single bits of a kilobyte give different numbers; so do words that change places."""
    chance = random.Random(seed)
    content = np.frombuffer(chance.randbytes(1003), np.uint8).copy()
    seen = {of(content)}
    for at in range(len(content)):
        for bit in range(8):
            content[at] ^= 1 << bit
            seen.add(of(content))
            content[at] ^= 1 << bit
    assert len(seen) == 1 + 8 * len(content)
    words = content[:1000].view(np.uint64)
    for i in range(1, len(words)):
        words[[0, i]] = words[[i, 0]]
        seen.add(of(content))
        words[[0, i]] = words[[i, 0]]
    assert len(seen) == 8 * len(content) + len(words)


def test_lengths_of_zeros_differ() -> None:
    """A piece that was cut short or filled up with zeros is another piece."""
    assert len({of(np.zeros(size, np.uint8)) for size in range(300)}) == 300


def test_many_pieces_in_one_call() -> None:
    """Each piece has its own number, whatever stands beside it."""
    pieces = [np.frombuffer(random.Random(size).randbytes(size), np.uint8) for size in (5, 0, 640, 77)]
    assert digests([piece_of(piece) for piece in pieces]) == [of(piece) for piece in pieces]
    assert digests([]) == []
