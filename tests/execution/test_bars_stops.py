"""Stops, pairs and brackets on an instrument that has only bars: what one bar may have done to them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account, Rules, RunConfig
from engine.model.kinds import Kind, SessionData, encode_canonical
from tests.helpers.logs import Message, Row, at
from tests.reference.scenario import BARS, Deed, Deeds, bar, clock, play, run, settings

# What is known when a timer at 60 s decides: that runs before the bar that ends then.
ZERO = bar(0, 100, 103, 98, 101)
FIRST = bar(60, 100, 103, 98, 101)
Prices = tuple[int, int, int, int]  # open, high, low, close


def after(*bars: Prices, deeds: Deeds, config: RunConfig | None = None) -> list[str]:
    """What becomes of orders decided at 60 s in the bars that end at 120 s, 180 s and so on."""
    made = [bar(60 * n, *prices) for n, prices in enumerate(bars, 2)]
    return play([ZERO, FIRST, *made], deeds, config or settings(), [BARS], twin=False)


def at_60(deed: Deed) -> Deeds:
    """One deed, at the close of the first bar."""
    return {60: deed}


# --- stops ---


@pytest.mark.parametrize(
    ("size", "stop", "second", "expected"),
    [
        (2, 105, (101, 104, 99, 100), []),
        (2, 105, (101, 105, 99, 100), ["120 triggered #1", "120 fill #1 2@107 bar"]),
        (2, 105, (105, 109, 99, 100), ["120 triggered #1", "120 fill #1 2@105 bar"]),
        (2, 105, (108, 109, 99, 100), ["120 triggered #1", "120 fill #1 2@108 bar"]),
        (-2, 97, (101, 104, 98, 100), []),
        (-2, 97, (101, 104, 97, 100), ["120 triggered #1", "120 fill #1 2@95 bar"]),
        (-2, 97, (90, 104, 88, 100), ["120 triggered #1", "120 fill #1 2@90 bar"]),
    ],
)
def test_a_stop_fills_at_its_trigger_and_the_slippage_or_at_an_open_beyond_it(
    size: int, stop: int, second: Prices, expected: list[str]
) -> None:
    """Two ticks of slippage: 105 becomes 107 and 97 becomes 95; a gap is the open's own price."""
    config = settings(slippage_ticks=2)
    assert after(second, deeds=at_60(lambda ctx, it: ctx.stop(it, size, stop)), config=config) == expected


def test_a_stop_waits_for_as_many_bars_as_it_takes() -> None:
    """Armed in the bar of 120, triggered in the one of 180."""
    bars = [(101, 104, 99, 100), (100, 106, 99, 105)]
    expected = ["180 triggered #1", "180 fill #1 1@106 bar"]
    assert after(*bars, deeds=at_60(lambda ctx, it: ctx.stop(it, 1, 105))) == expected


def test_a_stop_that_must_wait_is_rejected_when_the_open_is_beyond_it() -> None:
    """Where the profile says so."""
    config = settings(rules=Rules(stop_must_wait=True))
    deeds = at_60(lambda ctx, it: ctx.stop(it, 1, 105))
    assert after((108, 109, 99, 100), deeds=deeds, config=config) == ["120 rejected #1 would_trigger"]


@pytest.mark.parametrize(
    ("limit", "bars", "expected"),
    [
        (107, [(101, 109, 99, 108)], ["120 triggered #1", "120 fill #1 1@106 bar"]),  # 105 and a tick
        (105, [(101, 109, 99, 108)], ["120 triggered #1"]),  # the low may have been before
        (
            105,
            [(101, 109, 99, 108), (108, 109, 104, 108)],
            ["120 triggered #1", "180 fill #1 1@105 bar"],
        ),
        (107, [(110, 112, 108, 111)], ["120 triggered #1"]),  # a gap over both
        (107, [(110, 112, 106, 111)], ["120 triggered #1", "120 fill #1 1@107 bar"]),  # and back
        (107, [(106, 112, 99, 111)], ["120 triggered #1", "120 fill #1 1@106 bar"]),
    ],
)
def test_a_stop_limit_takes_at_its_trigger_or_rests(
    limit: int, bars: list[Prices], expected: list[str]
) -> None:
    """A stop at 105: what the bar did after its trigger counts only if the trigger was the open."""
    assert after(*bars, deeds=at_60(lambda ctx, it: ctx.stop(it, 1, 105, limit))) == expected


def test_a_trailing_stop_is_tested_before_it_moves() -> None:
    """5 below 100 is 95; the bar's 110 moves it to 105, which that bar's low of 99 does not trigger.

    The next one opens at 104, beyond 105.
    """
    bars = [(100, 110, 99, 108), (104, 106, 103, 105)]
    expected = ["180 triggered #1", "180 fill #1 1@104 bar"]
    assert after(*bars, deeds=at_60(lambda ctx, it: ctx.trail(it, -1, 5))) == expected


def test_a_trailing_stop_never_moves_back() -> None:
    """Moved to 105 by 110; a lower high leaves it there, and 105 triggers: 104 with the slippage."""
    bars = [(100, 110, 99, 108), (108, 109, 107, 108), (108, 109, 105, 108)]
    expected = ["240 triggered #1", "240 fill #1 1@104 bar"]
    assert after(*bars, deeds=at_60(lambda ctx, it: ctx.trail(it, -1, 5))) == expected


# --- pairs and brackets ---


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((101, 111, 94, 100), ["120 triggered #2", "120 fill #2 1@94 bar", "120 cancelled #1 linked"]),
        ((101, 111, 96, 100), ["120 fill #1 1@110 bar", "120 cancelled #2 linked"]),
        ((115, 116, 94, 100), ["120 fill #1 1@115 bar", "120 cancelled #2 linked"]),
        ((101, 110, 96, 100), []),
    ],
)
def test_of_stop_and_target_inside_one_bar_the_stop_comes_first(second: Prices, expected: list[str]) -> None:
    """A target of 110 and a stop at 95; the open settles what it can settle."""
    assert after(second, deeds=at_60(lambda ctx, it: ctx.oco(it, -1, 110, 95))) == expected


def test_a_brackets_stop_is_tested_in_the_bar_of_its_entry() -> None:
    """Bought at the open of 101 and a tick; the low of 94 is after the open."""
    deeds = at_60(lambda ctx, it: ctx.bracket(it, 1, None, 110, 95))
    expected = [
        "120 fill #1 1@102 bar",
        "120 triggered #3",
        "120 fill #3 1@94 bar",
        "120 cancelled #2 linked",
    ]
    assert after((101, 112, 94, 100), deeds=deeds) == expected


def test_a_brackets_target_is_tested_in_the_bar_whose_open_filled_its_entry() -> None:
    """The low of 96 leaves the stop alone; 112 is through 110."""
    deeds = at_60(lambda ctx, it: ctx.bracket(it, 1, None, 110, 95))
    expected = ["120 fill #1 1@102 bar", "120 fill #2 1@110 bar", "120 cancelled #3 linked"]
    assert after((101, 112, 96, 100), deeds=deeds) == expected


@pytest.mark.parametrize(
    ("bars", "expected"),
    [
        ([(101, 112, 97, 100)], ["120 fill #1 1@98 bar"]),  # the high may have been before the low
        (
            [(101, 112, 97, 100), (100, 112, 99, 100)],
            ["120 fill #1 1@98 bar", "180 fill #2 1@110 bar", "180 cancelled #3 linked"],
        ),
        (
            [(101, 112, 94, 100)],
            ["120 fill #1 1@98 bar", "120 triggered #3", "120 fill #3 1@94 bar", "120 cancelled #2 linked"],
        ),
    ],
)
def test_of_an_entry_inside_a_bar_the_stop_meets_that_bar_and_the_target_the_next(
    bars: list[Prices], expected: list[str]
) -> None:
    """The entry's limit is 98, the target 110, the stop 95."""
    deeds = at_60(lambda ctx, it: ctx.bracket(it, 1, 98, 110, 95))
    assert after(*bars, deeds=deeds) == expected


def test_a_bracket_whose_entry_is_cancelled_ends_whole() -> None:
    """Its children were never anything."""
    deeds = {60: lambda ctx, it: ctx.bracket(it, 1, 90, 110, 85), 130: lambda ctx, _it: ctx.cancel(1)}
    expected = ["130 cancelled #1 requested", "130 cancelled #2 parent", "130 cancelled #3 parent"]
    assert after((101, 102, 97, 100), deeds=deeds) == expected


# --- amendments, time ---


def test_an_amended_order_meets_the_next_bar_with_its_new_price() -> None:
    """From 90 to 98 at 130 s: the bar that begins at 120 s is too early for it, the one after is not."""
    deeds = {60: lambda ctx, it: ctx.limit(it, 1, 90), 130: lambda ctx, _it: ctx.amend(1, price=98)}
    bars = [(101, 102, 97, 100), (101, 102, 97, 100), (101, 102, 97, 100)]
    assert after(*bars, deeds=deeds) == ["130 amended #1 requested", "240 fill #1 1@98 bar"]


def test_an_order_takes_part_in_the_bar_that_ends_with_its_time() -> None:
    """Until 180 s: filled in the bar from 120 s to 180 s. Until 179 s: expired before that bar is known."""

    def both(ctx: Any, it: Any) -> None:
        for seconds in (180, 179):
            ctx.limit(it, 1, 98, tif="gtd", until=at(seconds))

    bars = [(101, 102, 99, 100), (101, 102, 97, 100)]
    assert after(*bars, deeds={60: both}) == ["179 expired #2 time", "180 fill #1 1@98 bar"]


def test_a_day_order_takes_part_in_the_sessions_last_bar() -> None:
    """The session ends at 180 s, and so does the bar."""
    data = SessionData("XTST", "2024-06-01", at(0), at(180))
    session = Message(at(0), (Row(Kind.SESSION, data=encode_canonical(data)),))
    bars = [ZERO, FIRST, bar(120, 101, 102, 99, 100), bar(180, 101, 102, 97, 100), clock(200)]
    deeds: Deeds = {60: lambda ctx, it: (ctx.limit(it, 1, 98, tif="day"), ctx.limit(it, 1, 90, tif="day"))}
    assert play([session, *bars], deeds, settings(), [BARS], twin=False) == [
        "180 fill #1 1@98 bar",
        "180 expired #2 time",
    ]


def test_both_of_a_pair_are_never_paid_for() -> None:
    """230 in a cash account: the pair holds back 190 once; the stop pays 222 with what that frees."""
    config = settings(account=Account(type="cash", capital="230"))
    deeds = at_60(lambda ctx, it: ctx.oco(it, 2, 95, 110))
    outcome, _ = run([ZERO, FIRST, bar(120, 101, 111, 99, 110)], deeds, config, [BARS], twin=False)
    fills = [(d.order, d.size, d.price) for d in outcome.journal if d.kind == "fill"]
    assert fills == [(2, 2, 111)]
