"""Fees: each part in numbers, the asset that they are charged in, tiers, venues with fees of their own."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from engine.config import Account, Fees, FeeTier, Latency, RunConfig
from engine.model.errors import UsageError
from engine.model.kinds import InstrumentData
from engine.report.summary import summarise
from tests.helpers.logs import Message
from tests.reference.drive import Outcome, run_engine
from tests.reference.markets import ALL, RandomMarket
from tests.reference.scenario import (
    Script,
    book,
    clock,
    describe,
    play,
    quote,
    run,
    settings,
    trades,
    whole,
)
from tests.reference.traders import RandomTrader

COIN = whole("trade", "book", base="XY")
FINE = whole("trade", "book", base="XY", size_decimals=3, size_increment="0.001")
BOOK = book(0, bids={99: 500}, asks={100: 500})
DEEP = book(0, bids={99: 5_000}, asks={100: 5_000})  # of FINE: five units
FEE_ASSETS = {0: "quote", 1: "base", 2: "named"}


def charged(
    messages: list[Message], deeds: Any, fees: Fees, *instruments: InstrumentData, **more: Any
) -> tuple[list[tuple[int, str]], Outcome]:
    """Fee and asset of each fill, by the engine alone."""
    config = settings(fees=fees, **more)
    outcome = run_engine([*messages, clock(1000)], Script(deeds), config, instruments or (COIN,))
    fills = [d for d in outcome.records if d["kind"] == 6]
    return [(int(d["fee"]), FEE_ASSETS[int(d["fee_asset"])]) for d in fills], outcome


# --- the parts of a fee; 3 are bought at 100 as taker, then 3 sold at 99 ---


@pytest.mark.parametrize(
    ("fees", "buy", "sell"),
    [
        (Fees(0, 1_000_000), 30_000_000, 29_700_000),  # 10 bp of 300.00 and of 297.00
        (Fees(0, 0, buy=200_000), 6_000_000, 0),  # 2 bp of what is bought
        (Fees(0, 0, sell=27_800), 0, 825_660),  # 27.80 a million: 297 * 0.0000278
        (Fees(0, 0, per_unit="0.005"), 1_500_000, 1_500_000),
        (Fees(0, 0, sell_per_unit="0.000166"), 0, 49_800),
        (Fees(0, 0, per_unit="5", sell_per_unit="1", most_per_unit="16"), 1_500_000_000, 1_600_000_000),
        (Fees(0, 0, per_fill="1"), 100_000_000, 100_000_000),
        (Fees(0, -50_000, per_fill="0.01"), -500_000, -485_000),  # a rebate of 0.5 bp, and a cent
        (
            Fees(0, 1_000_000, buy=100_000, sell=200_000, per_unit="0.5", per_fill="0.25"),
            208_000_000,  # 300 * 0.0011 + 1.5 + 0.25
            210_640_000,  # 297 * 0.0012 + 1.5 + 0.25
        ),
    ],
)
def test_a_fee_is_the_sum_of_its_parts(fees: Fees, buy: int, sell: int) -> None:
    """Rate, surcharge of the side, amounts a unit and a fill, in units of 1e-8."""
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 2: lambda ctx, it: ctx.market(it, -3)}
    outcome, _ = run([BOOK], deeds, settings(fees=fees), [COIN])
    assert [d.fee for d in outcome.journal if d.kind == "fill"] == [buy, sell]
    assert outcome.runner.ledger.fees == buy + sell
    assert int(outcome.runner.memory.assets[0]["cash"]) == (100_000 - 3) * 10**8 - buy - sell


def test_each_part_is_rounded_by_itself() -> None:
    """Three tenths of the smallest amount are nothing, whatever stands beside them."""
    fees = Fees(0, 3, per_unit="0.00000003")
    deeds = {1: lambda ctx, it: ctx.market(it, 0.1)}
    # 0.1 at 100 is 10.00: a rate of 3e-9 gives 3 units of 1e-8; 0.1 * 3e-8 is 0.3 units, rounded to 0.
    fills, _ = charged([BOOK], deeds, fees, FINE)
    assert fills == [(3, "quote")]


# --- tiers ---


def test_tiers_follow_what_the_run_has_traded() -> None:
    """From 600 on 5 bp: the second fill brings it to 600, and the third is the first that pays it."""
    fees = Fees(0, 1_000_000, tiers=(FeeTier("600", 0, 500_000), FeeTier("1000", 0, 0)))
    deeds = {n: lambda ctx, it: ctx.market(it, 3) for n in range(1, 6)}
    fills, outcome = charged([BOOK], deeds, fees)
    assert [fee for fee, _ in fills] == [30_000_000, 30_000_000, 15_000_000, 15_000_000, 0]
    assert outcome.runner.memory.of_instrument(0, "taker_rate") == 0


def test_a_jump_over_a_tier_lands_in_the_highest_that_is_reached() -> None:
    """One fill of 1,500: the tiers from 600 and from 1,000 are both behind it."""
    fees = Fees(0, 1_000_000, tiers=(FeeTier("600", 0, 500_000), FeeTier("1000", 0, 200_000)))
    deeds = {1: lambda ctx, it: ctx.market(it, 15), 2: lambda ctx, it: ctx.market(it, 1)}
    fills, _ = charged([BOOK], deeds, fees)
    assert [fee for fee, _ in fills] == [150_000_000, 2_000_000]


# --- what a fee is charged in ---


def test_a_received_fee_is_of_the_base_asset_for_a_buy_and_of_the_quote_for_a_sale() -> None:
    """10 bp: 3 bought cost 0.003 of them, 2 sold at 99 cost 0.198."""
    fees = Fees(0, 1_000_000, asset="received")
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 2: lambda ctx, it: ctx.market(it, -2)}
    fills, outcome = charged([BOOK], deeds, fees)
    assert fills == [(300_000, "base"), (19_800_000, "quote")]
    memory = outcome.runner.memory
    assert memory.of_instrument(0, "position") == 1
    assert memory.of_instrument(0, "fee_base") == memory.of_instrument(0, "venue_fee_base") == 300_000
    assert int(memory.assets[0]["cash"]) == 100_000 * 10**8 - 300 * 10**8 + 198 * 10**8 - 19_800_000


def test_a_received_fee_lowers_the_equity() -> None:
    """3 bought at 100, marked at 99.50: 100,000 - 300 + 3 * 99.5 - 0.003 * 99.5."""
    fees = Fees(0, 1_000_000, asset="received")
    _, outcome = charged([BOOK], {1: lambda ctx, it: ctx.market(it, 3)}, fees)
    assert outcome.runner.context.equity() == pytest.approx(99_998.2015, abs=1e-9)
    summary = summarise(outcome.runner, seconds=1.0, strategy="x")
    assert summary.equity == pytest.approx(99_998.2015, abs=1e-9)
    assert summary.fees == pytest.approx(0.2985)
    assert summary.fees_by_asset == {"XY": 0.003}


def test_in_a_cash_account_all_that_was_bought_cannot_be_sold() -> None:
    """1.000 bought, 0.001 of it is the fee: 1.000 is refused, 0.999 sells."""
    config = settings(fees=Fees(0, 1_000_000, asset="received"), account=Account("cash", "1000"))
    deeds = {
        1: lambda ctx, it: ctx.market(it, 1),
        2: lambda ctx, it: ctx.market(it, -1),
        3: lambda ctx, it: ctx.market(it, -0.999),
    }
    outcome, script = run([DEEP], deeds, config, [FINE])
    assert [describe(d) for d in outcome.journal if d.kind in ("fill", "refused")] == [
        "1 fill #1 1000@100 taker",
        "2 refused #2 cash",
        "3 fill #3 999@99 taker",
    ]
    assert script.words[2] == "cash: selling 1, 0.999 are held and not on sale"
    assert outcome.runner.ledger.round_trips == 1  # what is left is what the fee took


def test_a_fee_finer_than_a_lot_keeps_that_lot_from_being_sold() -> None:
    """0.005 bought: 10 bp of it are 0.000005, so 0.004995 are owned and 0.004 can be sold."""
    config = settings(fees=Fees(0, 1_000_000, asset="received"), account=Account("cash", "1000"))
    deeds = {
        1: lambda ctx, it: ctx.market(it, 0.005),
        2: lambda ctx, it: ctx.market(it, -0.005),
        3: lambda ctx, it: ctx.market(it, -0.004),
    }
    lines = play([BOOK], deeds, config, [FINE])
    assert lines == ["1 fill #1 5@100 taker", "2 refused #2 cash", "3 fill #3 4@99 taker"]


def test_a_buy_with_received_fees_locks_no_fee() -> None:
    """Exactly 300.00 buy three at 100: the fee is not taken of the cash."""
    config = settings(fees=Fees(0, 1_000_000, asset="received"), account=Account("cash", "300"))
    assert play([BOOK], {1: lambda ctx, it: ctx.limit(it, 3, 100)}, config, [COIN]) == [
        "1 fill #1 3@100 taker"
    ]


def test_in_a_cash_account_no_sale_is_made_that_its_fee_eats_up() -> None:
    """0.99 are sold for a fee of 5.00 with nothing else there: the venue cancels it."""
    fees = Fees(0, 0, per_fill="5")
    account = Account("cash", "106")
    deeds = {1: lambda ctx, it: ctx.market(it, 1.01), 2: lambda ctx, it: ctx.market(it, -0.01)}
    lines = play([DEEP], deeds, settings(fees=fees, account=account), [FINE])
    assert lines == ["1 fill #1 1010@100 taker", "2 cancelled #2 insufficient_funds"]


# --- a named asset ---

TRADED = whole("trade", "book", base="XY")
POINTS = whole("quote", key="PT.binance", symbol="PT", base="PT")


def test_a_named_fee_is_worth_its_last_price() -> None:
    """10 bp of 300.00 are 0.30; a PT stands at 4 to 8, mid 6: 0.05 PT."""
    fees = Fees(0, 1_000_000, asset="PT")
    market = [BOOK, quote(0.5, 4, 1, 8, 1, instrument=2)]
    fills, outcome = charged(market, {1: lambda ctx, it: ctx.market(it, 3)}, fees, TRADED, POINTS)
    assert fills == [(5_000_000, "named")]
    memory = outcome.runner.memory
    assert memory.asset_names == ["USD", "PT"]
    assert (
        memory.assets["cash"].tolist()
        == memory.assets["venue_cash"].tolist()
        == [
            99_700 * 10**8,
            -5_000_000,
        ]
    )
    # Owed: 0.05 at 6.
    assert outcome.runner.context.equity() == pytest.approx(99_700 + 3 * 99.5 - 0.3)
    summary = summarise(outcome.runner, seconds=1.0, strategy="x")
    assert summary.fees == pytest.approx(0.3)
    assert summary.fees_by_asset == {"PT": 0.05}
    assert summary.equity == pytest.approx(99_700 + 3 * 99.5 - 0.3)


def test_an_asset_that_is_traded_pays_its_own_fees() -> None:
    """10 bp of 300.00 in XY at its last price, 100 after the print: 0.003 XY, for a sale as well."""
    fees = Fees(0, 1_000_000, asset="XY")
    market = [BOOK, trades(0.5, (1, 100, 1))]
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 2: lambda ctx, it: ctx.market(it, -3)}
    fills, outcome = charged(market, deeds, fees)
    assert fills == [(300_000, "base"), (297_000, "base")]
    assert outcome.runner.memory.of_instrument(0, "fee_base") == 597_000
    assert outcome.runner.ledger.holdings[0].fees_base == 597_000


def test_a_log_that_cannot_value_the_fees_asset_is_an_error_before_the_first_event() -> None:
    """Nothing in it is quoted PT in USD."""
    with pytest.raises(UsageError, match="no instrument of base PT and quote currency USD") as caught:
        charged([BOOK], {}, Fees(asset="PT"), TRADED)
    assert caught.value.hint == "record PTUSD as well, or choose --fee-asset quote"


def test_an_order_before_the_asset_has_a_price_is_refused() -> None:
    """The instrument is there, its first quote is not; afterwards orders pass."""
    market = [BOOK, quote(2, 4, 1, 8, 1, instrument=2)]
    deeds = {1: lambda ctx, it: ctx.market(it, 3), 3: lambda ctx, it: ctx.market(it, 3)}
    script = Script(deeds)
    config = settings(fees=Fees(0, 1_000_000, asset="PT"))
    outcome = run_engine([*market, clock(9)], script, config, (TRADED, POINTS))
    assert [d.kind for d in outcome.journal if d.kind in ("refused", "fill")] == ["refused", "fill"]
    words = "no_fee_price: its fee is charged in PT, and no price of PT.binance has been seen yet"
    assert script.words[1] == words


# --- several venues ---


def test_venues_of_one_run_have_their_own_fees() -> None:
    """10 bp at the one, 40 bp and another asset at the other, tiers by themselves."""
    other = whole("book", key="XY.kraken", symbol="XY", venue="kraken", base="XY")
    fees = {"kraken": Fees(0, 4_000_000, asset="received")}
    market = [BOOK, book(0.5, bids={99: 500}, asks={100: 500}, instrument=2)]
    deeds = {1: lambda ctx, _: [ctx.market(who, 1) for who in ctx.instruments]}
    fills, outcome = charged(market, deeds, Fees(0, 1_000_000), COIN, other, venue_fees=fees)
    assert fills == [(10_000_000, "quote"), (400_000, "base")]
    assert summarise(outcome.runner, seconds=1.0, strategy="x").fee_asset == "quote, kraken received"


# --- what is no table of fees ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asset": "received", "per_fill": "1"}, "per_fill 1 with fees in the received asset"),
        ({"asset": ""}, 'asset "" is none'),
        ({"asset": "B N"}, 'asset "B N" is none'),
        ({"per_unit": "-1"}, 'per_unit: "-1" must be a number from 0 on'),
        ({"per_fill": "x"}, 'per_fill: "x" is no number'),
        ({"sell": -1}, "sell: a surcharge is between 0 and 10,000 basis points"),
        ({"tiers": (FeeTier("0", 0, 0),)}, "the tier from 0 does not lie above 0"),
        ({"tiers": (FeeTier("5", 0, 0), FeeTier("5", 0, 0))}, "the tier from 5 does not lie above 5"),
    ],
)
def test_what_cannot_be_is_said_before_the_run(changes: dict[str, Any], words: str) -> None:
    """Named by its field."""
    with pytest.raises(UsageError, match=words.replace("(", r"\(")):
        charged([BOOK], {}, msgspec.structs.replace(Fees(), **changes))


@pytest.mark.parametrize("account", ["cash", "margin"])
def test_only_research_owes_fees_in_another_asset(account: str) -> None:
    """Nobody gave the account any PT."""
    with pytest.raises(UsageError, match="PT"):
        charged([BOOK], {}, Fees(asset="PT"), TRADED, POINTS, account=Account(account, "1000"))


# --- random runs: nothing is lost ---

PLANS = {
    "received": Fees(700_001, 1_333_333, asset="received"),
    "amounts": Fees(-50_000, 450_000, buy=3, sell=27_800, per_unit="0.00017", per_fill="0.0003"),
    "tiers": Fees(900_000, 1_000_000, tiers=(FeeTier("3", 500_000, 700_000), FeeTier("9", 0, 300_000))),
}


@pytest.mark.parametrize("seed", [61, 62], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("account", ["research", "cash"])
@pytest.mark.parametrize("plan", PLANS)
def test_fees_and_cash_are_the_sums_of_the_journal(plan: str, account: str, seed: int) -> None:
    """Kernel, ledger and journal agree to the last unit, in every asset; the summary checks it once more."""
    config = RunConfig(latency=Latency(0, 0, 0), fees=PLANS[plan], account=Account(account, "50"))
    outcome = run_engine(RandomMarket(seed).messages(500), RandomTrader(seed), config, ALL)
    runner = outcome.runner
    records = outcome.records
    fills = records[records["kind"] == 6]
    assert len(fills) > 20
    for index, holding in runner.ledger.holdings.items():
        own = fills[fills["instrument"] == index]
        in_base = int(own["fee"][own["fee_asset"] == 1].sum())
        assert holding.fees_base == in_base == runner.memory.of_instrument(index, "fee_base")
        assert runner.memory.of_instrument(index, "venue_fee_base") == in_base
        assert holding.fees == int(own["fee"][own["fee_asset"] == 0].sum())
        assert holding.position == int((own["side"].astype(np.int64) * own["size"]).sum())
    summarise(runner, seconds=1.0, strategy="x")  # an InternalError where books differ
    if account == "cash":
        assert (runner.memory.assets["venue_cash"] >= 0).all()


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("plan", PLANS)
def test_fees_do_not_depend_on_batches(plan: str, rows: int) -> None:
    """The same journal, whole or cut."""
    config = RunConfig(latency=Latency(0, 0, 0), fees=PLANS[plan])
    messages = list(RandomMarket(63).messages(300))
    hashes = {
        run_engine(messages, RandomTrader(63), config, ALL, batch_rows=size).hash for size in (65_536, rows)
    }
    assert len(hashes) == 1
