"""What all commands share in showing things."""

from __future__ import annotations

import pytest

from engine.cli.common import gap_span

HALF_PAST = 1_717_234_200_123_456_789


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        (0, 512, "0 to 512"),
        (9_999_999_999_999_999, 10_000_000_000_000_000, "9999999999999999 to 10000000000000000"),
        (HALF_PAST, HALF_PAST + 2_000_000_000, "09:30:00.123Z to 09:30:02.123Z"),
    ],
)
def test_a_gap_has_ids_or_times(first: int, last: int, shown: str) -> None:
    """Nanoseconds since 1970 are a time of day; anything that a venue counts is far below."""
    assert gap_span(first, last, " to ") == shown
