"""Orders on an instrument that has only bars: which bar, at which price, in which order, told when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.config import Account, Latency, Rules
from engine.execution.orders import Reason
from engine.model.kinds import Flag
from engine.model.units import MILLISECOND_NS
from tests.helpers.logs import Message
from tests.reference.scenario import BARS, Deeds, bar, clock, play, run, settings, whole

MS = MILLISECOND_NS
ZERO = bar(0, 100, 103, 98, 101)  # what is known when a timer at 60 s decides: that runs before the next
FIRST = bar(60, 100, 103, 98, 101)
CASH = settings(account=Account(type="cash", capital="1000"))


def after(first: Message, *bars: Message, deeds: Deeds, config: Any = None, **more: Any) -> list[str]:
    """What becomes of orders when these bars follow."""
    return play([ZERO, first, *bars], deeds, config or settings(), [BARS], **more)


# --- which bar, at which price ---


@pytest.mark.parametrize(
    ("size", "ticks", "price"),
    [(5, 0, 104), (5, 1, 105), (5, 3, 107), (-5, 0, 104), (-5, 2, 102)],
)
def test_a_market_order_fills_at_the_next_open_and_pays_the_slippage(
    size: int, ticks: int, price: int
) -> None:
    """Decided at the close of 101, filled at the open of 104 and so many ticks, told when that bar is."""
    expected = [f"120 fill #1 5@{price} bar"]
    deeds = {60: lambda ctx, it: ctx.market(it, size)}
    second = bar(120, 104, 106, 103, 105)
    assert after(FIRST, second, deeds=deeds, config=settings(slippage_ticks=ticks)) == expected


def test_the_size_of_a_bar_limits_nothing() -> None:
    """A volume of 1, an order of 1,000,000: a bar displays no size."""
    deeds = {60: lambda ctx, it: ctx.market(it, 1_000_000)}
    second = bar(120, 104, 106, 103, 105, volume=1)
    assert after(FIRST, second, deeds=deeds) == ["120 fill #1 1000000@105 bar"]


@pytest.mark.parametrize(
    ("decided", "filled"),
    [
        (59, "120 fill #1 1@105 bar"),
        (60, "120 fill #1 1@105 bar"),
        (60.001, "180 fill #1 1@111 bar"),
        (119, "180 fill #1 1@111 bar"),
        (120, "180 fill #1 1@111 bar"),
    ],
)
def test_an_order_fills_in_the_first_bar_that_begins_no_earlier_than_its_decision(
    decided: float, filled: str
) -> None:
    """Not in the one that is being made: its open was before the decision."""
    bars = [ZERO, FIRST, bar(120, 104, 106, 103, 105), bar(180, 110, 111, 109, 110)]
    assert play(bars, {decided: lambda ctx, it: ctx.market(it, 1)}, settings(), [BARS]) == [filled]


def test_at_one_close_the_bar_of_another_instrument_that_is_still_to_come_is_not_the_next_one() -> None:
    """XY's bar is told first; the order in AB does not fill in AB's bar of the same minute."""
    other = whole("bar", key="AB.binance", symbol="AB")
    bars = [
        ZERO,
        bar(0, 200, 203, 198, 201, instrument=2),
        bar(60, 100, 103, 98, 101),
        bar(60, 200, 203, 198, 201, instrument=2),
        bar(120, 110, 113, 108, 111),
        bar(120, 210, 213, 208, 211, instrument=2),
        bar(180, 120, 123, 118, 121),
        bar(180, 220, 223, 218, 221, instrument=2),
    ]
    deeds = {61: lambda ctx, _it: ctx.market(ctx.instrument("AB"), 1)}
    assert play(bars, deeds, settings(slippage_ticks=0), [BARS, other]) == ["180 fill #1 1@220 bar"]
    deeds = {60: lambda ctx, _it: ctx.market(ctx.instrument("AB"), 1)}
    assert play(bars, deeds, settings(slippage_ticks=0), [BARS, other]) == ["120 fill #1 1@210 bar"]


def test_bars_that_closed_together_are_a_nanosecond_apart_and_still_closed_together() -> None:
    """An import sets equal times 1 ns apart: what is decided 7 ns after the close is decided at it."""
    deeds = {60 + 7e-9: lambda ctx, it: ctx.market(it, 1)}
    late = [bar(120 + 3e-9, 104, 106, 103, 105, start=60)]
    assert after(FIRST, *late, deeds=deeds, config=settings(slippage_ticks=0)) == ["120 fill #1 1@104 bar"]


def test_bars_of_two_lengths_may_be_in_one_log() -> None:
    """The bar of 5 minutes that ends with the order's first minute began before it: it fills nothing."""
    bars = [
        bar(180, 100, 101, 99, 100),
        bar(240, 100, 101, 99, 100),
        bar(300, 100, 101, 90, 100, start=0, interval=300),
        bar(300, 100, 101, 99, 100),
        bar(360, 98, 99, 97, 98),
    ]
    deeds = {240: lambda ctx, it: ctx.limit(it, 1, 95), 241: lambda ctx, it: ctx.market(it, 1)}
    assert play(bars, deeds, settings(slippage_ticks=0), [BARS]) == ["360 fill #2 1@98 bar"]


# --- limits ---


@pytest.mark.parametrize(
    ("size", "limit", "second", "expected"),
    [
        (1, 99, (104, 106, 99, 105), []),  # touched, not broken
        (1, 99, (104, 106, 98, 105), ["120 fill #1 1@99 bar"]),
        (1, 99, (97, 106, 96, 105), ["120 fill #1 1@97 bar"]),  # the open is better
        (1, 99, (99, 106, 99, 105), []),
        (1, 99, (99, 106, 98, 105), ["120 fill #1 1@99 bar"]),
        (-1, 103, (101, 103, 99, 100), []),
        (-1, 103, (101, 104, 99, 100), ["120 fill #1 1@103 bar"]),
        (-1, 103, (106, 107, 99, 100), ["120 fill #1 1@106 bar"]),
    ],
)
def test_a_limit_needs_a_strict_break_and_fills_at_its_price_or_at_a_better_open(
    size: int, limit: int, second: tuple[int, int, int, int], expected: list[str]
) -> None:
    """A price that was only touched may have been touched behind everybody else; no slippage on limits."""
    deeds = {60: lambda ctx, it: ctx.limit(it, size, limit)}
    assert after(FIRST, bar(120, *second), deeds=deeds, config=settings(slippage_ticks=2)) == expected


def test_a_limit_that_rests_is_a_maker_at_its_price_and_at_a_gap() -> None:
    """Broken in its second bar at 95; the other one opens through: both pay the maker's fee, none slips."""
    deeds = {60: lambda ctx, it: (ctx.limit(it, 1, 95), ctx.limit(it, 1, 90))}
    bars = [bar(120, 100, 101, 96, 97), bar(180, 97, 98, 94, 95), bar(240, 88, 89, 87, 88)]
    outcome, _ = run([ZERO, FIRST, *bars], deeds, settings(), [BARS])
    fills = [(d.ts, d.price, d.maker) for d in outcome.journal if d.kind == "fill"]
    assert [(price, maker) for _, price, maker in fills] == [(95, 1), (88, 1)]


def test_a_limit_that_the_open_is_better_than_takes_on_arrival() -> None:
    """At the first open it is a taker; a market order is one always."""
    deeds = {60: lambda ctx, it: (ctx.limit(it, 1, 105), ctx.market(it, 1))}
    outcome, _ = run([ZERO, FIRST, bar(120, 104, 106, 103, 105)], deeds, settings(), [BARS])
    fills = [(d.price, d.maker) for d in outcome.journal if d.kind == "fill"]
    assert fills == [(104, 0), (105, 0)]


@pytest.mark.parametrize(
    ("tif", "limit", "expected"),
    [
        ("ioc", 105, ["120 fill #1 3@104 bar"]),
        ("ioc", 104, ["120 cancelled #1 ioc_remainder"]),
        ("ioc", 103, ["120 cancelled #1 ioc_remainder"]),  # the low of 100 is no arrival
        ("fok", 105, ["120 fill #1 3@104 bar"]),
        ("fok", 104, ["120 expired #1 fok_unfillable"]),
    ],
)
def test_immediate_orders_are_settled_by_the_open(tif: str, limit: int, expected: list[str]) -> None:
    """What the bar did later is too late for them."""
    deeds = {60: lambda ctx, it: ctx.limit(it, 3, limit, tif=tif)}
    assert after(FIRST, bar(120, 104, 106, 100, 105), deeds=deeds) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (105, ["120 rejected #1 post_only_would_match"]),
        (104, ["120 rejected #1 post_only_would_match"]),
        (103, ["120 fill #1 1@103 bar"]),
        (99, []),
    ],
)
def test_post_only_is_rejected_when_the_open_is_at_or_beyond_its_limit(
    limit: int, expected: list[str]
) -> None:
    """The open is what it meets on arrival; from there on it rests like any other."""
    deeds = {60: lambda ctx, it: ctx.limit(it, 1, limit, post_only=True)}
    assert after(FIRST, bar(120, 104, 106, 100, 105), deeds=deeds) == expected


def test_rules_of_a_profile_hold_on_bars() -> None:
    """Post-only expires, and so does what an immediate order leaves, where the profile says so."""
    rules = Rules(post_only_expires=True, remainder_expires=True)
    deeds = {
        60: lambda ctx, it: (ctx.limit(it, 1, 105, post_only=True), ctx.limit(it, 1, 100, tif="ioc")),
    }
    expected = ["120 expired #1 post_only_would_match", "120 expired #2 ioc_remainder"]
    assert after(FIRST, bar(120, 104, 106, 100, 105), deeds=deeds, config=settings(rules=rules)) == expected


@pytest.mark.parametrize("row_by_row", [False, True])
def test_a_bar_is_one_step_even_where_every_row_is(row_by_row: bool) -> None:  # noqa: FBT001
    """Rows of a bar are one fact."""
    deeds = {60: lambda ctx, it: ctx.limit(it, 1, 101), 120: lambda ctx, it: ctx.market(it, -1)}
    bars = [bar(120, 104, 106, 100, 105), bar(180, 107, 108, 106, 107)]
    config = settings(rules=Rules(row_by_row=row_by_row), slippage_ticks=0)
    assert after(FIRST, *bars, deeds=deeds, config=config) == [
        "120 fill #1 1@101 bar",
        "180 fill #2 1@107 bar",
    ]


def test_reduce_only_is_cut_to_the_position_that_the_open_finds() -> None:
    """Bought 2 at the open: the order after it may sell 2 of 5; with nothing to reduce it is rejected."""
    deeds = {
        60: lambda ctx, it: (ctx.market(it, 2), ctx.limit(it, -5, 103, reduce_only=True)),
        120: lambda ctx, it: ctx.limit(it, -5, 90, reduce_only=True),
    }
    bars = [bar(120, 104, 106, 100, 105), bar(180, 104, 106, 100, 105)]
    expected = ["120 fill #1 2@105 bar", "120 fill #2 2@104 bar", "180 rejected #3 reduce_only"]
    assert after(FIRST, *bars, deeds=deeds) == expected


def test_entries_come_before_limits_whatever_came_first() -> None:
    """The resting limit was there first; the bar opens before it trades through 95."""
    deeds = {
        60: lambda ctx, it: ctx.limit(it, 1, 95),
        120: lambda ctx, it: ctx.market(it, 1),
    }
    bars = [bar(120, 104, 106, 100, 105), bar(180, 104, 106, 90, 105)]
    assert after(FIRST, *bars, deeds=deeds) == ["180 fill #2 1@105 bar", "180 fill #1 1@95 bar"]


def test_a_cancel_that_comes_before_the_next_bar_is_known_wins() -> None:
    """Whether the limit was broken before or after it, the bar does not say."""
    deeds = {
        60: lambda ctx, it: ctx.limit(it, 1, 95),
        121: lambda ctx, _it: ctx.cancel(1),
        60.5: lambda ctx, it: ctx.limit(it, 1, 94),
        61: lambda ctx, _it: ctx.cancel(2),
    }
    bars = [bar(120, 104, 106, 100, 105), bar(180, 104, 106, 90, 105)]
    expected = ["61 cancelled #2 requested", "121 cancelled #1 requested"]
    assert after(FIRST, *bars, deeds=deeds) == expected


# --- what never executes ---


@pytest.mark.parametrize(
    "flags",
    [
        0,
        Flag.REVISED,
        Flag.FINAL | Flag.REVISED,
        Flag.FINAL | Flag.DUPLICATE,
        Flag.FINAL | Flag.OUT_OF_ORDER,
        Flag.FINAL | Flag.BACKFILLED,
        Flag.FINAL | Flag.REJECTED_TICK,
    ],
)
def test_only_final_bars_that_nobody_doubts_execute_and_mark(flags: Flag) -> None:
    """The order waits for the next good one, and the price stays 101 until then."""
    seen: list[float | None] = []
    deeds = {60: lambda ctx, it: ctx.market(it, 1), 121: lambda ctx, it: seen.append(ctx.last(it))}
    bars = [bar(120, 104, 106, 103, 105, flags=flags), bar(180, 110, 111, 109, 110, start=120)]
    assert after(FIRST, *bars, deeds=deeds) == ["180 fill #1 1@111 bar"]
    assert seen == [101.0, 101.0]


def test_a_bar_that_the_engine_made_executes_and_marks_nothing() -> None:
    """Source 0 is the engine itself."""
    seen: list[float | None] = []
    deeds = {60: lambda ctx, it: ctx.market(it, 1), 121: lambda ctx, it: seen.append(ctx.last(it))}
    bars = [bar(120, 104, 106, 103, 105, source=0), bar(180, 110, 111, 109, 110)]
    assert after(FIRST, *bars, deeds=deeds) == ["180 fill #1 1@111 bar"]
    assert seen == [101.0, 101.0]


def test_bars_beside_trades_execute_nothing() -> None:
    """An instrument is matched on the finest that its log has: trades here."""
    both = whole("trade", "bar")
    deeds = {60: lambda ctx, it: ctx.limit(it, 1, 95)}
    assert play([ZERO, FIRST, bar(120, 90, 91, 80, 85)], deeds, settings(), [both]) == [
        "60 refused #1 no_reference_price"
    ]


# --- when it is told ---


def test_an_order_before_the_first_bar_has_no_price_to_go_by() -> None:
    """Nothing is known of the instrument."""
    deeds = {1: lambda ctx, it: ctx.market(it, 1)}
    assert play([FIRST], deeds, settings(), [BARS]) == ["1 refused #1 no_reference_price"]
    assert int(Reason.BAR_ONLY) == 41, "the code of older runs"


def test_on_bars_there_is_no_latency_unless_it_was_asked_for() -> None:
    """20 ms each way are the defaults of everything else."""
    slow = settings(latency=Latency(20 * MS, 20 * MS, 30 * MS))
    asked = settings(latency=Latency(20 * MS, 20 * MS, 30 * MS), bar_latency=True)
    deeds = {60: lambda ctx, it: ctx.market(it, 1)}
    bars = [bar(120, 104, 106, 103, 105), bar(180, 110, 111, 109, 110), clock(181)]
    assert after(FIRST, *bars, deeds=deeds, config=slow) == ["120 fill #1 1@105 bar"]
    assert after(FIRST, *bars, deeds=deeds, config=asked) == ["180.01 fill #1 1@111 bar"]


def test_under_the_venues_clock_a_bar_is_known_when_it_is_received() -> None:
    """Its rows carry the time at which it began; nobody knows it before it is over."""
    deeds = {60: lambda ctx, it: (ctx.market(it, 1), ctx.limit(it, 1, 99))}
    bars = [bar(120, 104, 106, 98, 105), bar(180, 110, 111, 109, 110), clock(181)]
    for latency in (Latency(0, 0, 0), Latency(20 * MS, 20 * MS, 30 * MS)):
        config = settings(latency=latency, clock="venue")
        expected = ["120 fill #1 1@105 bar", "120 fill #2 1@99 bar"]
        assert after(FIRST, *bars, deeds=deeds, config=config) == expected
    asked = settings(latency=Latency(20 * MS, 20 * MS, 30 * MS), clock="venue", bar_latency=True)
    assert after(FIRST, *bars, deeds=deeds, config=asked) == ["180.03 fill #1 1@111 bar"]


# --- money ---


@pytest.mark.parametrize(
    ("deed", "opened", "expected"),
    [
        (lambda ctx, it: ctx.market(it, 9), 104, ["120 fill #1 9@105 bar"]),
        (
            lambda ctx, it: ctx.market(it, 9),
            120,
            ["120 fill #1 8@121 bar", "120 cancelled #1 insufficient_funds"],
        ),
        (
            lambda ctx, it: (ctx.limit(it, 9, 99), ctx.market(it, 1)),
            111,
            ["120 cancelled #2 insufficient_funds"],
        ),
        (lambda ctx, it: ctx.market(it, -1), 104, ["60 refused #1 cash"]),
        (lambda ctx, it: ctx.limit(it, 9, 110, tif="fok"), 104, ["120 fill #1 9@104 bar"]),
    ],
)
def test_a_cash_account_pays_for_what_it_can(
    deed: Callable[..., object], opened: int, expected: list[str]
) -> None:
    """1,000 in hand: 9 at 105 are 945; a gap up to 121 leaves 8 of them; 9 at 99 hold back 891."""
    assert after(FIRST, bar(120, opened, 130, 100, 105), deeds={60: deed}, config=CASH) == expected
