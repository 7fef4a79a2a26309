"""What all parsers share: numbered sequences, and names for what is wrong with bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed.parser import Sequence, malformed_of
from engine.model.kinds import Flag

DUPLICATE, LATE = int(Flag.DUPLICATE), int(Flag.OUT_OF_ORDER)


@pytest.mark.parametrize(
    ("numbers", "judgement"),
    [
        ([7], (0, None)),
        ([7, 8], (0, None)),
        ([7, 8, 8], (DUPLICATE, None)),
        ([7, 8, 7], (DUPLICATE, None)),
        ([7, 10], (0, (8, 9))),
        ([7, 10, 8], (LATE, None)),
        ([7, 10, 8, 8], (DUPLICATE, None)),
        ([7, 10, 8, 9, 9], (DUPLICATE, None)),
        ([7, 12, 9, 8], (LATE, None)),
        ([7, 12, 9, 10], (LATE, None)),
        ([7, 5], (LATE, None)),
        ([7, 5, 5], (DUPLICATE, None)),
        ([7, 5, 6], (LATE, None)),
        ([0], (0, None)),
        ([0, 1], (0, None)),
        ([0, 0], (DUPLICATE, None)),
    ],
)
def test_the_last_number_is_judged(numbers: list[int], judgement: tuple[int, object]) -> None:
    """New, after a gap, late into a hole, or seen before."""
    sequence = Sequence()
    for number in numbers[:-1]:
        sequence.take(number)
    assert sequence.judge(numbers[-1]) == judgement


@given(st.lists(st.integers(0, 40), max_size=60))
def test_a_number_is_a_duplicate_exactly_when_it_was_seen(numbers: list[int]) -> None:
    """The holes are remembered exactly: a set of all numbers seen says the same."""
    sequence, seen = Sequence(), set[int]()
    for number in numbers:
        flags, gap = sequence.judge(number)
        assert bool(flags & DUPLICATE) == (number in seen)
        assert bool(flags & LATE) == (number not in seen and bool(seen) and number < max(seen))
        missing = (max(seen) + 1, number - 1) if seen and number > max(seen) + 1 else None
        assert gap == missing
        sequence.take(number)
        seen.add(number)


def test_the_oldest_holes_are_forgotten() -> None:
    """Memory is bounded: beyond HOLES gaps, what would fill the oldest counts as a duplicate."""
    sequence = Sequence()
    for number in range(0, 4 * Sequence.HOLES, 2):
        sequence.take(number)
    assert len(sequence.holes) == Sequence.HOLES
    assert sequence.judge(1) == (DUPLICATE, None)
    assert sequence.judge(4 * Sequence.HOLES - 3) == (LATE, None)


class _Pair(msgspec.Struct):
    name: str
    sizes: list[int]


@pytest.mark.parametrize(
    ("document", "error", "field", "value", "byte"),
    [
        (b"", "the JSON ends too early", "", "", 0),
        (b'{"name":"a"', "the JSON ends too early", "", "", 11),
        (b'{"name" 1}', "JSON is malformed: expected ':'", "", "", 8),
        (b"5", "Expected `object`, got `int`", "data", "5", -1),
        (b'{"name":5,"sizes":[]}', "Expected `str`, got `int`", "data.name", "5", -1),
        (b'{"name":"a"}', "Object missing required field `sizes`", "data.sizes", "", -1),
        (b'{"name":"a","sizes":[1,"x"]}', "Expected `int`, got `str`", "data.sizes[1]", "x", -1),
        (b'{"name":"\xff","sizes":[]}', "not UTF-8", "", r"b'\xff'", 9),
    ],
)
def test_a_refusal_names_byte_field_and_value(
    document: bytes, error: str, field: str, value: str, byte: int
) -> None:
    """What a decoder says becomes the columns of a MALFORMED row's data."""
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)) as caught:
        msgspec.json.decode(document, type=_Pair)
    data = malformed_of(caught.value, document, "data.").data
    assert (data.error, data.field, data.value, data.byte) == (error, field, value, byte)


def test_a_long_value_is_cut() -> None:
    """A row's data stays short; the wire has the rest."""
    document = msgspec.json.encode({"name": ["x" * 10_000], "sizes": []})
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(document, type=_Pair)
    value = malformed_of(caught.value, document).data.value
    assert len(value) == 120
    assert value.endswith("…")
