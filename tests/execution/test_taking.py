"""Orders that take: market, limit, IOC, FOK, post-only, reduce-only, on depth, quotes and trades."""

from __future__ import annotations

import pytest

from engine.model.kinds import InstrumentData
from tests.helpers.logs import Message
from tests.reference.scenario import (
    DEPTH,
    QUOTES,
    TRADES,
    book,
    clock,
    play,
    quote,
    settings,
    trades,
)

ASKS = book(0, bids={99: 5, 98: 6}, asks={101: 3, 102: 4, 104: 10})


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (2, ["1 fill #1 2@101 taker"]),
        (3, ["1 fill #1 3@101 taker"]),
        (5, ["1 fill #1 3@101 taker", "1 fill #1 2@102 taker"]),
        (
            20,
            [
                "1 fill #1 3@101 taker",
                "1 fill #1 4@102 taker",
                "1 fill #1 10@104 taker",
                "1 cancelled #1 no_liquidity",
            ],
        ),
        (-7, ["1 fill #1 5@99 taker", "1 fill #1 2@98 taker"]),
        (-12, ["1 fill #1 5@99 taker", "1 fill #1 6@98 taker", "1 cancelled #1 no_liquidity"]),
    ],
)
def test_market_walks_the_levels_and_what_none_covers_is_cancelled(size: int, expected: list[str]) -> None:
    """Each level at its own price, best first; the rest is cancelled and reported."""
    assert play([ASKS], {1: lambda ctx, it: ctx.market(it, size)}) == expected


def test_market_on_an_empty_side_is_rejected() -> None:
    """Nobody to sell to."""
    bought = [book(0, bids={}, asks={101: 3})]
    assert play(bought, {1: lambda ctx, it: ctx.market(it, -1)}) == ["1 rejected #1 empty_side"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (3, ["1 fill #1 3@101 taker"]),
        (10, ["1 fill #1 4@101 taker", "1 fill #1 6@102 taker"]),
        (-10, ["1 fill #1 5@99 taker", "1 fill #1 5@98 taker"]),
    ],
)
def test_market_on_quotes_fills_the_rest_one_tick_worse(size: int, expected: list[str]) -> None:
    """The displayed size at its price, then the rest one tick worse."""
    market = [quote(0, 99, 5, 101, 4)]
    assert play(market, {1: lambda ctx, it: ctx.market(it, size)}, instruments=[QUOTES]) == expected


def test_market_on_trades_pays_the_slippage_without_a_size_limit() -> None:
    """The last trade is both best prices; a taker pays the ticks that the run states."""
    market = [trades(0, (1, 100, 1))]
    deeds = {1: lambda ctx, it: ctx.market(it, 50), 2: lambda ctx, it: ctx.market(it, -50)}
    expected = ["1 fill #1 50@103 taker", "2 fill #2 50@97 taker"]
    assert play(market, deeds, settings(slippage_ticks=3), [TRADES]) == expected


def test_a_sell_with_slippage_never_fills_below_one_tick() -> None:
    """A price of zero or less is no price."""
    market = [trades(0, (1, 2, 1)), quote(3, 1, 2, 3, 2)]
    deeds = {1: lambda ctx, it: ctx.market(it, -1)}
    assert play(market[:1], deeds, settings(slippage_ticks=9), [TRADES]) == ["1 fill #1 1@1 taker"]
    deeds = {4: lambda ctx, it: ctx.market(it, -5)}
    assert play(market[1:], deeds, instruments=[QUOTES]) == ["4 fill #1 2@1 taker", "4 fill #1 3@1 taker"]


def test_a_limit_on_trades_fills_no_worse_than_its_limit() -> None:
    """Slippage ends at the limit."""
    market = [trades(0, (1, 100, 1))]
    deeds = {1: lambda ctx, it: ctx.limit(it, 5, 101), 2: lambda ctx, it: ctx.limit(it, -5, 100)}
    assert play(market, deeds, settings(slippage_ticks=3), [TRADES]) == [
        "1 fill #1 5@101 taker",
        "2 fill #2 5@100 taker",
    ]


def test_limit_takes_what_is_marketable_and_rests_with_the_rest() -> None:
    """Level by level up to the limit; the rest is in the book and fills as maker later."""
    market = [ASKS, trades(2, (-1, 101, 2)), trades(3, (-1, 102, 9))]
    deeds = {1: lambda ctx, it: ctx.limit(it, 10, 102)}
    assert play(market, deeds) == [
        "1 fill #1 3@101 taker",
        "1 fill #1 4@102 taker",
        "2 fill #1 2@102 through",
        "3 fill #1 1@102 queue",
    ]


@pytest.mark.parametrize(
    ("size", "price", "expected"),
    [
        (5, 102, ["1 fill #1 3@101 taker", "1 fill #1 2@102 taker"]),
        (5, 101, ["1 fill #1 3@101 taker", "1 cancelled #1 ioc_remainder"]),
        (5, 100, ["1 cancelled #1 ioc_remainder"]),
        (-9, 99, ["1 fill #1 5@99 taker", "1 cancelled #1 ioc_remainder"]),
    ],
)
def test_ioc_fills_within_its_limit_and_cancels_the_rest(size: int, price: int, expected: list[str]) -> None:
    """Nothing of it ever rests."""
    assert play([ASKS], {1: lambda ctx, it: ctx.limit(it, size, price, "ioc")}) == expected


@pytest.mark.parametrize(
    ("size", "price", "expected"),
    [
        (7, 102, ["1 fill #1 3@101 taker", "1 fill #1 4@102 taker"]),
        (8, 102, ["1 expired #1 fok_unfillable"]),
        (4, 101, ["1 expired #1 fok_unfillable"]),
        (1, 100, ["1 expired #1 fok_unfillable"]),
        (-11, 98, ["1 fill #1 5@99 taker", "1 fill #1 6@98 taker"]),
        (-12, 98, ["1 expired #1 fok_unfillable"]),
    ],
)
def test_fok_is_all_or_nothing(size: int, price: int, expected: list[str]) -> None:
    """All within its limit, or it expires without a fill."""
    assert play([ASKS], {1: lambda ctx, it: ctx.limit(it, size, price, "fok")}) == expected


def test_fok_counts_only_what_is_left_of_a_level() -> None:
    """What we took of it is not there a second time."""
    deeds = {1: lambda ctx, it: ctx.market(it, 2), 2: lambda ctx, it: ctx.limit(it, 2, 101, "fok")}
    assert play([ASKS], deeds) == ["1 fill #1 2@101 taker", "2 expired #2 fok_unfillable"]


@pytest.mark.parametrize(
    ("data", "first"), [(DEPTH, ASKS), (QUOTES, quote(0, 99, 5, 101, 4)), (TRADES, trades(0, (1, 101, 1)))]
)
def test_post_only_is_rejected_when_it_would_match_on_arrival(data: InstrumentData, first: Message) -> None:
    """At or through the best opposite price: rejected; short of it: it rests."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 1, 101, post_only=True),
        2: lambda ctx, it: ctx.limit(it, 1, 105, post_only=True),
        3: lambda ctx, it: ctx.limit(it, 1, 100, post_only=True),
    }
    assert play([first], deeds, instruments=[data], commands=True) == [
        "1 submit #1",
        "1 rejected #1 post_only_would_match",
        "2 submit #2",
        "2 rejected #2 post_only_would_match",
        "3 submit #3",
        "3 accepted #3",
    ]


def test_reduce_only_is_rejected_when_it_would_not_reduce() -> None:
    """Flat, or on the same side."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 2, 101, reduce_only=True),
        2: lambda ctx, it: ctx.market(it, 2),
        3: lambda ctx, it: ctx.limit(it, 2, 104, reduce_only=True),
    }
    assert play([ASKS], deeds) == [
        "1 rejected #1 reduce_only",
        "2 fill #2 2@101 taker",
        "3 rejected #3 reduce_only",
    ]


def test_reduce_only_is_cut_to_the_position() -> None:
    """Long 2, selling 5 at most: it sells 2 and is filled."""
    deeds = {1: lambda ctx, it: ctx.market(it, 2), 2: lambda ctx, it: ctx.limit(it, -5, 99, reduce_only=True)}
    assert play([ASKS, clock(3)], deeds) == ["1 fill #1 2@101 taker", "2 fill #2 2@99 taker"]


# --- consumption ---


def test_what_we_took_is_not_there_again() -> None:
    """Available = displayed - consumed."""
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 2: lambda ctx, it: ctx.market(it, 1)}
    assert play([ASKS], deeds) == ["1 fill #1 3@101 taker", "2 fill #2 1@102 taker"]


@pytest.mark.parametrize(
    ("then", "available", "why"),
    [
        ({101: 3}, 1, "the same size again changes nothing"),
        ({101: 2}, 1, "shrinks with the displayed decrease: 2 of 3 taken, 1 of 2 left"),
        ({101: 1}, 1, "all that we took has been taken out of what is displayed"),
        ({101: 7}, 5, "an increase is new, the 2 stay consumed"),
        ({101: 0, 102: 0, 104: 0, 103: 1}, 0, "the level is gone"),
    ],
)
def test_consumption_follows_the_displayed_size(then: dict[int, int], available: int, why: str) -> None:
    """After taking 2 of 3 at 101, an update, then an IOC for everything at 101."""
    deeds = {1: lambda ctx, it: ctx.market(it, 2), 3: lambda ctx, it: ctx.limit(it, 50, 101, "ioc")}
    filled = [f"3 fill #2 {available}@101 taker"] if available else []
    assert play([ASKS, book(2, asks=then)], deeds)[1:] == [*filled, "3 cancelled #2 ioc_remainder"], why


def test_consumption_is_forgotten_when_the_level_was_gone() -> None:
    """0 and back: all of it is new."""
    market = [ASKS, book(2, asks={101: 0}), book(3, asks={101: 3})]
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 4: lambda ctx, it: ctx.market(it, 3)}
    assert play(market, deeds) == ["1 fill #1 3@101 taker", "4 fill #2 3@101 taker"]


def test_taking_from_quotes_is_consumption_too_and_a_new_price_is_a_new_level() -> None:
    """The same quote again holds nothing more; away and back does."""
    same = quote(2, 99, 5, 101, 4)
    market = [quote(0, 99, 5, 101, 4), same, quote(4, 99, 5, 103, 4), quote(5, 99, 5, 101, 4)]
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 9, 101, "ioc"),
        3: lambda ctx, it: ctx.limit(it, 9, 101, "ioc"),
        6: lambda ctx, it: ctx.limit(it, 9, 101, "ioc"),
    }
    assert play(market, deeds, instruments=[QUOTES]) == [
        "1 fill #1 4@101 taker",
        "1 cancelled #1 ioc_remainder",
        "3 cancelled #2 ioc_remainder",
        "6 fill #3 4@101 taker",
        "6 cancelled #3 ioc_remainder",
    ]


def test_an_order_never_meets_our_own_resting_order() -> None:
    """Self-trade: what is displayed is others'; ours are not in it."""
    deeds = {1: lambda ctx, it: ctx.limit(it, -4, 100), 2: lambda ctx, it: ctx.market(it, 3)}
    assert play([ASKS], deeds) == ["2 fill #2 3@101 taker"]
