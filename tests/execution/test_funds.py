"""Money: fees and their rounding, the cash account, and amounts that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Account, Fees, Latency, RunConfig
from engine.model.units import MILLISECOND_NS
from tests.reference.drive import Outcome, run_engine
from tests.reference.scenario import (
    DEPTH,
    TRADES,
    Script,
    book,
    clock,
    describe,
    play,
    run,
    settings,
    trades,
    whole,
)

BOOK = book(0, bids={99: 5}, asks={101: 3, 102: 4, 150: 50})


def cash(capital: str, **more: Any) -> RunConfig:
    """A cash account."""
    return settings(account=Account("cash", capital), **more)


def state(outcome: Outcome) -> tuple[int, int, int]:
    """Cash as reported, cash at the venue, position, of a run."""
    memory = outcome.runner.memory
    assets = memory.assets[0]
    return int(assets["cash"]), int(assets["venue_cash"]), memory.of_instrument(0, "position")


# --- fees ---


def test_taker_and_maker_pay_their_own_rates() -> None:
    """10 bp of 303.00 taken is 0.303; 1 bp of 198.00 made is 0.0198."""
    config = settings(fees=Fees(maker=100_000, taker=1_000_000))
    deeds = {1: lambda ctx, it: [ctx.market(it, 3), ctx.limit(it, 2, 99)]}
    outcome, _ = run([BOOK, trades(2, (-1, 98, 2))], deeds, config)
    fills = [(d.maker, d.fee) for d in outcome.journal if d.kind == "fill"]
    assert fills == [(0, 30_300_000), (1, 1_980_000)]
    assert state(outcome)[0] == 100_000 * 10**8 - 50_100_000_000 - 30_300_000 - 1_980_000


def test_a_negative_rate_is_a_rebate() -> None:
    """-0.5 bp on 198.00 made gives back 0.0099."""
    config = settings(fees=Fees(maker=-50_000, taker=0))
    outcome, _ = run([BOOK, trades(2, (-1, 98, 2))], {1: lambda ctx, it: ctx.limit(it, 2, 99)}, config)
    assert [d.fee for d in outcome.journal if d.kind == "fill"] == [-990_000]
    assert outcome.runner.ledger.fees == -990_000


@pytest.mark.parametrize(
    ("rate", "size", "fee"),
    [
        (5, 1, 0),  # 0.5 units of 1e-8: half goes to the even one, 0
        (15, 1, 2),  # 1.5 -> 2
        (25, 1, 2),  # 2.5 -> 2
        (5, 3, 2),  # 1.5 -> 2
        (6, 1, 1),
        (4, 1, 0),
        (-15, 1, -2),
        (-25, 1, -2),
    ],
)
def test_a_fee_is_rounded_once_half_to_even(rate: int, size: int, fee: int) -> None:
    """One unit at 1.00: a rate of 1e-9 is a tenth of the smallest amount of money."""
    market = [book(0, asks={1: 50})]
    config = settings(fees=Fees(maker=0, taker=rate))
    outcome, _ = run(market, {1: lambda ctx, it: ctx.market(it, size)}, config)
    assert [d.fee for d in outcome.journal if d.kind == "fill"] == [fee]


def test_a_notional_with_too_many_decimals_is_rounded_half_to_even() -> None:
    """Six decimals of price and five of size make eleven: 0.000005 * 0.00001 * 1e8 rounds to 0, 15 to 2."""
    fine = whole(
        "trade",
        price_decimals=6,
        size_decimals=5,
        price_increment="0.000001",
        size_increment="0.00001",
    )
    spent = []
    for mantissa in (500, 1_500, 2_500, 1_501):
        outcome, _ = run(
            [trades(0, (1, mantissa, 1))],
            {1: lambda ctx, it: ctx.market(it, 0.00001)},
            settings(slippage_ticks=0),
            [fine],
        )
        spent.append(100_000 * 10**8 - state(outcome)[0])
    assert spent == [0, 2, 2, 2]


# --- the cash account ---


def test_a_buy_that_cash_does_not_cover_is_refused() -> None:
    """500.00: five at 101 are too many, four are not."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 5, 101), 2: lambda ctx, it: ctx.limit(it, 4, 101)}
    assert play([BOOK], deeds, cash("500"), commands=True)[:3] == [
        "1 refused #1 cash",
        "2 submit #2",
        "2 accepted #2",
    ]


def test_a_buy_locks_its_fee_too() -> None:
    """404.00 and 1 % of it: 408.03 is not enough, 408.04 is."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 4, 101)}
    fees = Fees(maker=10_000_000, taker=10_000_000)
    assert play([BOOK], deeds, cash("408.03", fees=fees)) == ["1 refused #1 cash"]
    assert play([BOOK], deeds, cash("408.04", fees=fees)) == ["1 fill #1 3@101 taker"]


def test_the_dearer_fee_is_locked_for_an_order_that_may_rest() -> None:
    """A maker pays 2 %, a taker 1 %: 4 at 99 need 403.92."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 4, 99)}
    fees = Fees(maker=20_000_000, taker=10_000_000)
    through = trades(2, (-1, 98, 9))
    assert play([BOOK, through], deeds, cash("403.91", fees=fees)) == ["1 refused #1 cash"]
    outcome, _ = run([BOOK, through], deeds, cash("403.92", fees=fees))
    assert state(outcome) == (0, 0, 4)


def test_open_orders_lock_funds_until_they_end() -> None:
    """396 of 500 are locked by a resting buy; after its cancel they are free again."""
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 4, 99),
        2: lambda ctx, it: ctx.limit(it, 2, 90),
        3: lambda ctx, _: ctx.cancel(1),
        4: lambda ctx, it: ctx.limit(it, 2, 90),
    }
    assert play([BOOK, clock(5)], deeds, cash("500")) == ["2 refused #2 cash", "3 cancelled #1 requested"]


def test_a_sell_needs_what_is_held_and_not_on_sale() -> None:
    """No shorts: 3 held, 2 on sale, so 2 more are refused and 1 is not."""
    deeds = {
        1: lambda ctx, it: ctx.market(it, -1),
        2: lambda ctx, it: ctx.market(it, 3),
        3: lambda ctx, it: ctx.limit(it, -2, 110),
        4: lambda ctx, it: ctx.market(it, -2),
        5: lambda ctx, it: ctx.market(it, -1),
    }
    assert play([BOOK], deeds, cash("500")) == [
        "1 refused #1 cash",
        "2 fill #2 3@101 taker",
        "4 refused #4 cash",
        "5 fill #5 1@99 taker",
    ]


SLOW = Latency(0, 500 * MILLISECOND_NS, 0)
AWAY = book(1.2, asks={101: 0, 102: 0})


def test_a_market_order_takes_only_what_cash_pays_for() -> None:
    """4 were meant at 101; on arrival the ask is 150, and 450.00 buy 3."""
    deeds = {1: lambda ctx, it: ctx.market(it, 4)}
    outcome, _ = run([BOOK, AWAY], deeds, cash("450", latency=SLOW))
    assert [describe(d) for d in outcome.journal[2:]] == [
        "1.5 fill #1 3@150 taker",
        "1.5 cancelled #1 insufficient_funds",
    ]
    assert state(outcome) == (0, 0, 3)


def test_a_market_order_cannot_spend_what_a_resting_order_holds_back() -> None:
    """495 of 800 are held back for 5 at 99: the other 305 buy 2 at 150, and the 5 are paid for later."""
    deeds = {
        0.1: lambda ctx, it: ctx.limit(it, 5, 99),
        1: lambda ctx, it: ctx.market(it, 3),
    }
    market = [BOOK, AWAY, trades(2, (-1, 98, 9))]
    outcome, _ = run(market, deeds, cash("800", latency=SLOW))
    assert [describe(d) for d in outcome.journal if d.kind in ("fill", "cancelled")] == [
        "1.5 fill #2 2@150 taker",
        "1.5 cancelled #2 insufficient_funds",
        "2 fill #1 5@99 through",
    ]
    assert state(outcome) == (5 * 10**8, 5 * 10**8, 7)


def test_a_fok_order_that_cannot_be_paid_whole_fills_nothing() -> None:
    """All or nothing holds for money too."""
    deeds = {
        1: lambda ctx, it: [ctx.market(it, 3), ctx.limit(it, 3, 150, "fok")],
    }
    expected = ["1.5 fill #1 3@150 taker", "1.5 expired #2 insufficient_funds"]
    assert play([BOOK, AWAY], deeds, cash("754", latency=SLOW)) == expected


def test_a_market_order_locks_the_far_side_of_the_collar() -> None:
    """3 at 101 with a collar of 1 % lock 3 * 102 (1.01 rounds down to 1): 305 are too few, 306 enough."""
    deeds = {1: lambda ctx, it: ctx.market(it, 3)}
    assert play([BOOK], deeds, cash("305", collar=10_000)) == ["1 refused #1 cash"]
    assert play([BOOK], deeds, cash("306", collar=10_000)) == ["1 fill #1 3@101 taker"]


def test_partial_fills_may_not_cost_more_than_was_held_back() -> None:
    """Each part's fee is rounded by itself: three of 0.6 units each round to 1, the lock of 1.8 to 2."""
    market = [
        book(0, bids={1: 1}, asks={9: 1}),
        *(trades(2 + i, (-1, 1, 2 if i == 0 else 1)) for i in range(3)),
    ]
    deeds = {1: lambda ctx, it: ctx.limit(it, 3, 1)}
    fees = Fees(maker=6, taker=0)
    outcome, _ = run(market, deeds, cash("3.00000002", fees=fees))
    assert [describe(d) for d in outcome.journal[2:]] == [
        "2 fill #1 1@1 queue",
        "3 fill #1 1@1 queue",
        "4 cancelled #1 insufficient_funds",
    ]
    assert state(outcome) == (10**8, 10**8, 2)


def test_a_research_account_is_unlimited() -> None:
    """Shorts and debts included."""
    deeds = {1: lambda ctx, it: ctx.market(it, -5), 2: lambda ctx, it: ctx.market(it, 50)}
    config = settings(account=Account("research", "10"))
    outcome, _ = run([BOOK], deeds, config)
    assert state(outcome)[0] == 10 * 10**8 + (5 * 99 - 3 * 101 - 4 * 102 - 43 * 150) * 10**8


# --- what does not fit 64 bits ---


@pytest.mark.parametrize(("size", "kind"), [(10**9, "refused"), (10**8, "fill")])
def test_money_that_does_not_fit_is_refused_and_never_wraps(size: int, kind: str) -> None:
    """10**9 at 101 is 1.01e19 units of 1e-8, more than 2**63; a tenth of it fits."""
    market = [book(0, bids={99: 10**10}, asks={101: 10**10}), clock(2)]
    outcome = run_engine(market, Script({1: lambda ctx, it: ctx.market(it, size)}), settings(), [DEPTH])
    last = outcome.journal[-1]
    assert (last.kind, last.reason) == (kind, "overflow" if kind == "refused" else "taker")
    spent = 0 if kind == "refused" else 101 * size * 10**8
    assert state(outcome)[0] == 100_000 * 10**8 - spent


def test_a_balance_that_would_not_fit_ends_the_order() -> None:
    """Each buy of 10**8 at 101 fits; the fifth would take the cash below -2**62: cancelled, not wrapped."""
    market = [book(0, bids={99: 10**10}, asks={101: 10**10}), clock(20)]
    deeds = {1 + i: lambda ctx, it: ctx.market(it, 10**8) for i in range(6)}
    outcome = run_engine(market, Script(deeds), settings(), [DEPTH])
    ends = [describe(d) for d in outcome.journal if d.kind in ("fill", "cancelled")]
    assert ends == [f"{1 + i} fill #{1 + i} 100000000@101 taker" for i in range(4)] + [
        "5 cancelled #5 overflow",
        "6 cancelled #6 overflow",
    ]
    assert state(outcome)[0] == 100_000 * 10**8 - 4 * 101 * 10**16


def test_a_resting_order_whose_fill_does_not_fit_is_cancelled() -> None:
    """As a maker too."""
    market = [book(0, bids={99: 1}, asks={101: 10**10}), trades(10, (-1, 90, 10**10)), clock(20)]
    deeds = {1 + i: lambda ctx, it: ctx.limit(it, 10**8, 98) for i in range(6)}
    outcome = run_engine(market, Script(deeds), settings(), [DEPTH])
    ends = [(d.kind, d.reason) for d in outcome.journal if d.kind in ("fill", "cancelled")]
    assert ends == [("fill", "through")] * 4 + [("cancelled", "overflow")] * 2


def test_trades_alone_pay_fees_as_well() -> None:
    """A taker on trades: last 100, one tick worse, 10 bp."""
    config = settings(fees=Fees(maker=0, taker=1_000_000))
    outcome, _ = run([trades(0, (1, 100, 1))], {1: lambda ctx, it: ctx.market(it, 2)}, config, [TRADES])
    assert [(d.price, d.fee) for d in outcome.journal if d.kind == "fill"] == [(101, 20_200_000)]
