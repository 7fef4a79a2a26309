"""RFC 3339 stamps: what is remembered of them changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.feed.parser import Malformed
from engine.feed.stamps import Stamps
from engine.model.units import NULL_TIME, parse_time

SECOND = 1_786_923_425_000_000_000  # 2026-08-16T23:37:05Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-08-16T23:37:05Z", SECOND),
        ("2026-08-16T23:37:05.7Z", SECOND + 700_000_000),
        ("2026-08-16T23:37:05.723653Z", SECOND + 723_653_000),
        ("2026-08-16T23:37:05.723653001Z", SECOND + 723_653_001),
        ("2026-08-17T01:37:05.5+02:00", SECOND + 500_000_000),
        ("", NULL_TIME),
        ("1970-01-01T00:00:00Z", NULL_TIME),
        ("0001-01-01T00:00:00Z", NULL_TIME),
    ],
)
def test_stamps(text: str, ns: int) -> None:
    """The same at first sight, when the second is known, and among others."""
    stamps = Stamps()
    assert [stamps.ns(text, "time") for _ in range(2)] == [ns, ns]
    stamps.ns("2026-08-16T23:37:05Z", "time")
    assert stamps.ns(text, "time") == ns


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-08-16T23:37:05",
        "2026-08-16T23:37:05.7",
        "2026-08-16T23:37:05.Z",
        "2026-08-16T23:37:05.-5Z",
        "2026-08-16T23:37:05.1_0Z",
        "2026-08-16T23:37:05.٣Z",
        "2026-08-16T23:37:05.1234567890Z",
        "2026-13-16T23:37:05Z",
        "2300-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_what_is_no_stamp_is_named(text: str) -> None:
    """Whether or not its second is remembered."""
    stamps = Stamps()
    for _ in range(2):
        with pytest.raises(Malformed) as caught:
            stamps.ns(text, "data[0].timestamp")
        assert (caught.value.data.field, caught.value.data.value) == ("data[0].timestamp", text)
        stamps.ns("2026-08-16T23:37:05Z", "time")


@given(st.integers(1, 4 * 10**9), st.integers(0, 9), st.integers(0, 10**9 - 1))
def test_remembering_changes_nothing(second: int, digits: int, fraction: int) -> None:
    """A stamp found by its second is the one that is parsed."""
    whole = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
    text = f"{whole}.{fraction:09}"[: 20 + digits].rstrip(".") + "Z"
    stamps = Stamps()
    stamps.ns(f"{whole}Z", "time")
    assert stamps.ns(text, "time") == parse_time(text)
