"""The limits before an order leaves: in their order, and each with words that name limit and value."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account
from engine.model.kinds import InstrumentData
from engine.strategy.api import Strategy
from tests.helpers.logs import Message
from tests.reference.drive import run_engine
from tests.reference.scenario import (
    QUOTES,
    Deed,
    book,
    clock,
    play,
    quote,
    run,
    settings,
    trades,
    whole,
)

BOOK = book(0, bids={99: 5}, asks={101: 30})
STRICT = whole(
    "trade",
    "book",
    size_decimals=1,
    size_increment="0.5",
    price_increment="2",
    min_size="1.5",
    max_size="8",
    min_notional="200",
)
STRICT_BOOK = book(0, bids={98: 50}, asks={102: 300})


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (
            lambda ctx, it: ctx.market(it, 2.2),
            "size_increment: size 2.2: 2.0 and 2.5 are the nearest",
        ),
        (
            lambda ctx, it: ctx.limit(it, 2, 101.0),
            "price_increment: price 101.0: 100 and 102 are the nearest",
        ),
        (
            lambda ctx, it: ctx.limit(it, -2.2, 101.0),
            "size_increment: size -2.2: 2.0 and 2.5 are the nearest",
        ),
        (lambda ctx, it: ctx.limit(it, 2, -4), "price_increment: -4 is not a positive multiple of 2"),
        (lambda ctx, it: ctx.limit(it, 2, float("nan")), "not_finite: price nan: not a finite number"),
        (lambda ctx, it: ctx.market(it, float("inf")), "not_finite: size inf: not a finite number"),
        (lambda ctx, it: ctx.market(it, 0), "min_size: 0 is below 1.5"),
        (lambda ctx, it: ctx.limit(it, 1, 98), "min_size: 1 is below 1.5"),
        (lambda ctx, it: ctx.market(it, -8.5), "max_size: 8.5 is above 8"),
        (lambda ctx, it: ctx.limit(it, 2, 98), "min_notional: 196 USD is below 200 USD"),
    ],
)
def test_a_refusal_names_the_limit_and_the_value(deed: Deed, words: str) -> None:
    """Off the increments with both neighbours, too small, too large, worth too little."""
    outcome, script = run([STRICT_BOOK], {1: deed}, instruments=[STRICT])
    assert [d.kind for d in outcome.journal] == ["refused"]
    assert script.words == {1: words}
    assert outcome.words == {1: words}


@pytest.mark.parametrize("size", [1.5, 2.0, 8.0])
def test_sizes_on_the_limits_pass(size: float) -> None:
    """The smallest and the largest themselves are allowed."""
    assert play(
        [STRICT_BOOK],
        {1: lambda ctx, it: ctx.limit(it, size, 100 if size > 2 else 134)},
        instruments=[STRICT],
    ) in (
        [],
        [f"1 fill #1 {round(size * 10)}@102 taker"],
    )


@pytest.mark.parametrize("noise", [0.0, 2e-16, -2e-16, 5e-8])
def test_float_noise_is_no_refusal(noise: float) -> None:
    """Within a millionth of an increment, or 2 ulp, a value is the increment."""
    assert play([STRICT_BOOK], {1: lambda ctx, it: ctx.market(it, 2.0 + noise)}, instruments=[STRICT]) == [
        "1 fill #1 20@102 taker"
    ]


# Mid is 100: 0.5 % of it rounds down to 0 whole ticks, 2 % to 2.


@pytest.mark.parametrize(
    ("size", "price", "refused"),
    [
        (1, 102, False),
        (1, 103, True),
        (1, 10, False),  # passive: as far as you like
        (-1, 98, False),
        (-1, 97, True),
        (-1, 900, False),
    ],
)
def test_the_collar_is_on_the_aggressive_side_only(*, size: int, price: int, refused: bool) -> None:
    """2 % around the mid of 100."""
    outcome, script = run([BOOK], {1: lambda ctx, it: ctx.limit(it, size, price)}, settings(collar=20_000))
    assert (outcome.journal[0].reason == "price_collar") == refused
    if refused:
        deed = "buying" if size > 0 else "selling"
        assert script.words[1] == f"price_collar: {deed} at {price} is more than 2 % beyond 100"


@pytest.mark.parametrize(
    ("market", "highest"),
    [
        ([book(0, bids={90: 1}, asks={110: 1})], 102),  # mid 100
        ([trades(0, (1, 200, 1)), book(0.5, bids={90: 1})], 204),  # one side only: the last trade
        ([book(0, bids={50: 1})], 51),  # nothing else: the side there is
        ([quote(0, 99, 5, 101, 5)], 102),  # quotes before any book
        ([trades(0, (1, 200, 1)), quote(0.5, 99, 5, 101, 5)], 102),  # and before the last trade
        ([quote(0, 99, 5, 101, 0)], 100),  # a side without size is none
        ([quote(0, 99, 5, 101, 5), book(0.5, bids={198: 1}, asks={202: 1})], 204),  # the book's mid first
    ],
)
def test_the_collar_measures_from_mid_else_last_else_the_one_side(
    market: list[Message], highest: int
) -> None:
    """2 % around each, and one more tick is refused."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 1, highest, post_only=True),
        2: lambda ctx, it: ctx.limit(it, 1, highest + 1, post_only=True),
    }
    outcome, _ = run(market, deeds, settings(collar=20_000))
    assert next(d.kind for d in outcome.journal if d.order == 1) == "submit"
    assert [d.reason for d in outcome.journal if d.order == 2] == ["price_collar"]


def test_without_any_price_nothing_can_be_sent() -> None:
    """There is nothing to measure from."""
    outcome, script = run([clock(0)], {1: lambda ctx, it: ctx.limit(it, 1, 99)})
    assert [d.reason for d in outcome.journal] == ["no_reference_price"]
    assert script.words[1] == "no_reference_price: no price of XY.binance has been seen yet"


# --- position cap ---


@pytest.mark.parametrize(("size", "refused"), [(5, False), (6, True), (-5, False), (-6, True)])
def test_the_cap_bounds_the_position(*, size: int, refused: bool) -> None:
    """5 long or short, not more."""
    outcome, script = run([BOOK], {1: lambda ctx, it: ctx.market(it, size)}, settings(cap="5"))
    assert (outcome.journal[0].reason == "position_cap") == refused
    if refused:
        deed = "buying" if size > 0 else "selling"
        assert script.words[1] == f"position_cap: {deed} 6 with 0 open and a position of 0 passes 5"


def test_the_cap_counts_what_is_open() -> None:
    """3 held and 2 resting: nothing more on that side, the other side is free."""
    deeds = {
        1: lambda ctx, it: ctx.market(it, 3),
        2: lambda ctx, it: ctx.limit(it, 2, 90),
        3: lambda ctx, it: ctx.limit(it, 1, 91),
        4: lambda ctx, _: ctx.cancel(2),
        5: lambda ctx, it: ctx.limit(it, 2, 90),
        6: lambda ctx, it: ctx.limit(it, -8, 120),
    }
    outcome, script = run([BOOK], deeds, settings(cap="5"))
    assert [d.order for d in outcome.journal if d.kind == "refused"] == [3]
    assert script.words[3] == "position_cap: buying 1 with 2 open and a position of 3 passes 5"


def test_orders_that_reduce_pass_the_cap_but_not_together_through_zero() -> None:
    """Five held, the cap at 5: two sells of 5 each end at -5; a third would pass the cap."""
    deeds = {
        1: lambda ctx, it: ctx.market(it, 5),
        2: lambda ctx, it: [ctx.limit(it, -5, 120) for _ in range(3)],
    }
    outcome, _ = run([BOOK], deeds, settings(cap="5"))
    assert [(d.order, d.kind) for d in outcome.journal if d.ts > outcome.journal[0].ts + 10**8] == [
        (2, "submit"),
        (3, "submit"),
        (4, "refused"),
        (2, "accepted"),
        (3, "accepted"),
    ]


# --- what can be traded at all ---


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (whole("trade", status="BREAK"), "not_tradable: XY.binance is BREAK, its log has trade"),
        (whole("news"), "not_tradable: XY.binance is TRADING, its log has news"),
    ],
)
def test_what_is_not_trading_or_not_in_the_log_is_refused(data: InstrumentData, words: str) -> None:
    """A halted instrument, and one whose market the log does not carry."""
    outcome, script = run(
        [trades(0, (1, 100, 1))], {1: lambda ctx, it: ctx.market(it, 1)}, instruments=[data]
    )
    assert [d.reason for d in outcome.journal] == ["not_tradable"]
    assert script.words[1] == words


def test_the_first_limit_that_refuses_wins() -> None:
    """Too large, beyond the collar and over the cap: the size is named."""
    config = settings(collar=1_000, cap="1", account=Account("cash", "1"))
    outcome, _ = run([STRICT_BOOK], {1: lambda ctx, it: ctx.limit(it, 9, 500)}, config, [STRICT])
    assert [d.reason for d in outcome.journal] == ["max_size"]


def test_a_refusal_does_not_stop_the_run() -> None:
    """It is a decision like any other: journaled, delivered, counted."""
    deeds = {1: lambda ctx, it: ctx.market(it, 0), 2: lambda ctx, it: ctx.market(it, 1)}
    outcome, script = run([BOOK], deeds)
    assert script.heard == ["1 #1 refused 0", "2 #2 accepted 0", "2 #2 filled 1"]
    assert outcome.runner.ledger.ends_by_reason == {"refused: min_size": 1}


def test_a_refused_order_cannot_be_cancelled() -> None:
    """It never left; between the decision and its report cancel() does nothing."""
    deeds = {1: lambda ctx, it: ctx.cancel(ctx.market(it, 0))}
    assert play([BOOK], deeds, commands=True) == ["1 refused #1 min_size"]


class Late(Strategy):
    """Tries to trade in on_stop."""

    def on_stop(self, ctx: Any) -> None:
        """Too late."""
        ctx.market(ctx.instruments[0], 1)


def test_on_stop_orders_are_refused() -> None:
    """Trading is halted then."""
    outcome = run_engine([quote(0, 99, 5, 101, 4)], Late(), settings(), [QUOTES])
    assert [(d.kind, d.reason) for d in outcome.journal] == [("refused", "halted")]
    assert outcome.words == {1: "halted: no new orders while trading is halted"}
