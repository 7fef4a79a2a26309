"""Which stamps a local venue's time follows."""

from __future__ import annotations

import pytest

from engine.serve.venue_time import VenueTime

HOUR = 3_600

# received and stamped (None: without a stamp), then the venue's time, all in seconds
STORIES: dict[str, list[tuple[int, int | None, int]]] = {
    "stamps a little earlier": [(100, 99, 99), (101, 100, 100), (102, None, 101)],
    "any order within a moment": [(100, 100, 100), (101, 98, 100), (102, 102, 102)],
    "one stamp ahead": [(100, 100, 100), (101, 101 + HOUR, 100), (102, None, 102), (103, 103, 103)],
    "one stamp behind": [(100, 100, 100), (101, 101 - HOUR, 100), (102, 102, 102)],
    "ahead, and its copy": [(100, 100, 100), (101, 101 + HOUR, 100), (102, 101 + HOUR, 100), (103, 103, 103)],
    "two wrong ones that differ": [(100, 100, 100), (101, 500, 100), (102, 900, 100), (103, 103, 103)],
    "the first of all": [(100, 100 + HOUR, 0), (101, 101, 101)],
    "a clock wrong from the beginning": [(100, 100 + HOUR, 0), (101, 101 + HOUR, 101 + HOUR)],
    "a clock set forth": [
        *((100, 100, 100), (101 + HOUR, None, 100)),
        *((102 + HOUR, 102, 100), (103 + HOUR, 103, 103)),
    ],
    "a long silence": [(100, 100, 100), (HOUR, HOUR, HOUR)],
    "a silence, then no stamps": [(100, 100, 100), (500, None, 100), (501, None, 100), (502, None, 502)],
    "few events, without stamps": [(100, None, 100), (130, None, 100), (160, None, 160), (190, None, 190)],
    "set back after two witnesses": [
        *((100, 100, 100), (101, 101 + HOUR, 100), (102, 102 + HOUR, 102 + HOUR)),
        *((103, 103, 102 + HOUR), (104, 104, 104)),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_the_time_follows_stamps_that_others_agree_with(story: str) -> None:
    """After each event of the story the venue's time is the one in its third column."""
    time = VenueTime()
    for received, stamp, expected in STORIES[story]:
        time.tell(received * 1_000_000, None if stamp is None else stamp * 1_000_000)
        assert time.now_us == expected * 1_000_000, (received, stamp)


def test_a_trade_of_quite_another_time_is_of_its_reception() -> None:
    """A message may have a good stamp, and its trade a wrong one."""
    time = VenueTime()
    time.tell(100_000_000, 100_000_000)
    stamps = [at * 1_000_000 for at in (99, 101, 100 + HOUR, 100 - HOUR)]
    assert [time.of_trade(100_000_001, at) for at in stamps] == [*stamps[:2], 100_000_001, 100_000_001]
