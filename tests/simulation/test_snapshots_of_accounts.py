"""Fees, chance, margin, calendars and corporate actions go on from a snapshot as if nothing had been cut."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest

from engine.config import Account, Fees, FeeTier, RunConfig
from engine.loop import charges
from engine.loop.snapshots.taking import Interval
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.report.states import compare_snapshots
from tests.helpers.calendars import actions, sessions, together
from tests.helpers.logs import START, Message
from tests.helpers.snapshots import KeptTrader, Played, play
from tests.loop.test_definitions import definition, scaled, widened
from tests.reference.markets import AGGREGATED, BARRED, BOOKED, ELSEWHERE, QUOTED, TRADED, RandomMarket
from tests.simulation.test_agreement import AGES, LATENCIES, SHORT, WIDE, ZERO
from tests.simulation.test_snapshots import check

BNB = msgspec.structs.replace(TRADED, key="BNB.binance", symbol="BNB", base="BNB")
EURUSDT = msgspec.structs.replace(QUOTED, key="EURUSDT.binance", symbol="EURUSDT", base="EUR")
DOLLARS = (BOOKED, QUOTED, TRADED, BARRED)  # one currency, for a margin account
TIERS = (FeeTier("3", 900_000, 1_500_000), FeeTier("12", -100_000, 700_000), FeeTier("40", 0, 100_000))
RECEIVED = Fees(1_000_000, 2_000_000, tiers=TIERS, buy=11_111, asset="received")
AMOUNTS = Fees(
    -100_000, 450_001, tiers=TIERS, sell=27_801, per_unit="0.5", most_per_unit="0.01", per_fill="0.003"
)
CASES: dict[str, tuple[RunConfig, tuple[InstrumentData, ...]]] = {
    "fees of what is received, tiers": (
        RunConfig(latency=SHORT, risk=WIDE, fees=RECEIVED),
        (BOOKED, QUOTED, TRADED, AGGREGATED, BARRED),
    ),
    "cash, fees of what is received": (
        RunConfig(latency=SHORT, risk=WIDE, fees=RECEIVED, account=Account("cash", "6.5")),
        (BOOKED, QUOTED, TRADED),
    ),
    "a named asset, venues apart": (
        RunConfig(
            latency=SHORT,
            risk=WIDE,
            fees=msgspec.structs.replace(AMOUNTS, asset="BNB"),
            venue_fees={"kraken": Fees(500_000, 800_000, tiers=TIERS[:2])},
        ),
        (BOOKED, QUOTED, ELSEWHERE, BNB),
    ),
    "a named asset that another is quoted in": (
        RunConfig(latency=ZERO, risk=WIDE, fees=Fees(1_000_000, 2_000_000, asset="EUR")),
        (BOOKED, AGGREGATED, EURUSDT),
    ),
    "slippage in ticks by chance": (
        RunConfig(latency=SHORT, risk=WIDE, slippage_ticks=6, slippage_drawn=True, seed=4),
        (QUOTED, TRADED, BARRED, AGGREGATED),
    ),
    "slippage as a share by chance, cash": (
        RunConfig(
            latency=ZERO,
            risk=WIDE,
            account=Account("cash", "8.5"),
            slippage_ticks=0,
            slippage_rate=20_000_000,
            slippage_drawn=True,
            fees=RECEIVED,
            seed=5,
        ),
        (TRADED, BARRED),
    ),
}
MARGIN = Account("margin", "20", leverage_millionths=3_000_000, borrow_rate=900_000_000)


def with_own_clock(config: RunConfig) -> RunConfig:
    """The same with venues that have clocks of their own."""
    shift = {"binance": -2 * MILLISECOND_NS, "kraken": MILLISECOND_NS}
    return msgspec.structs.replace(
        config, clock="venue", venue_shift_ns=shift, lookahead_ns=100 * MILLISECOND_NS
    )


@pytest.mark.parametrize("clock", ["received", "venue"])
@pytest.mark.parametrize("name", CASES)
def test_fees_and_slippage_go_on_from_snapshots(name: str, clock: str) -> None:
    """Balances in every asset, the tier that was reached, prices of fees, and the next number drawn."""
    config, instruments = CASES[name]
    market = RandomMarket(11, instruments, ages=AGES if clock == "venue" else ())
    whole = check(
        market.messages(170),
        lambda: KeptTrader(11, patient=clock == "venue"),
        config if clock == "received" else with_own_clock(config),
        instruments,
        label=f"{name}, {clock}, seed 11",
    )
    assert sum(d.kind == "fill" for d in whole.journal) > 8
    if config.fees.tiers:
        assert whole.runner.memory.fee_plans.tables["tier"][0] > 0, "a tier was reached"


def calendar_run(
    seed: int,
    config: RunConfig,
    instruments: Sequence[InstrumentData],
    *,
    count: int,
    known: bool,
    splits: bool = True,
    step: int = 5,
) -> Played:
    """A run with dividends and splits, over sessions that the log tells of, or over midnights."""
    ages = AGES if config.clock == "venue" else ()
    market = RandomMarket(seed, instruments, ages=ages)
    messages = market.messages(count)
    days = sessions(START + 50 * MILLISECOND_NS, venue="binance" if seed % 2 else "") if known else []
    corporate = actions(messages, instruments, seed, splits=splits)
    everything = together(days, messages[:-1], corporate)
    end = messages[-1]
    return check(
        [*everything, Message(max(end.ts, everything[-1].ts + 1), end.rows)],
        lambda: KeptTrader(seed, activity=0.25, patient=seed % 3 == 0),
        config,
        instruments,
        label=f"seed {seed}",
        step=step,
    )


@pytest.mark.parametrize("clock", ["received", "venue"])
@pytest.mark.parametrize("known", [True, False], ids=["sessions", "midnights"])
def test_margin_borrow_fees_and_actions_go_on_from_snapshots(
    clock: str, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """What is due at a session's end or a midnight, what has been charged, which actions were done."""
    monkeypatch.setattr(charges, "DAY_NS", SECOND_NS)
    kinds: set[str] = set()
    for seed in (21, 22):
        config = RunConfig(latency=SHORT, risk=WIDE, account=MARGIN, fees=AMOUNTS)
        whole = calendar_run(
            seed,
            config if clock == "received" else with_own_clock(config),
            DOLLARS,
            count=130,
            known=known,
        )
        kinds |= {d.reason for d in whole.journal}
    assert {"borrow_fee", "dividend", "split"} <= kinds


@pytest.mark.parametrize("data", [BOOKED, QUOTED], ids=lambda data: data.symbol)
def test_a_definition_that_gains_decimals_goes_on_from_snapshots(data: InstrumentData) -> None:
    """Prices of fees and what is due are counted in the new decimals, before and after a snapshot."""
    config = RunConfig(latency=LATENCIES["constant"], risk=WIDE, fees=Fees(2_000_000, asset="BNB"))
    base = msgspec.structs.replace(data, base="BNB")
    messages = RandomMarket(31, (base,)).messages(200)
    changed = definition(messages[99], 1, widened(base))
    check(
        [*messages[:100], changed, *map(scaled, messages[100:])],
        lambda: KeptTrader(31, activity=0.4, patient=True),
        config,
        (base,),
        label="seed 31",
        step=2,
    )


def test_accounts_that_differ_are_told_apart() -> None:
    """Two traders: what of fees, charges and bars is different is said by its name."""
    config = RunConfig(latency=SHORT, risk=WIDE, account=MARGIN, fees=AMOUNTS)
    days = sessions(START + 50 * MILLISECOND_NS)
    messages = together(days, RandomMarket(21, DOLLARS).messages(150, end=False))
    series = (("1s", "3t"), ("20t", "0.1v"))
    runs = [
        play(messages, KeptTrader(seed, series=series[seed]), config, DOLLARS, Interval(rows=50))
        for seed in (0, 1)
    ]
    found = compare_snapshots([(runs[0].snapshots[-1], runs[1].snapshots[-1])])
    assert found.engine is not None
    said = "\n".join(found.engine.parts)
    assert "\nfees of all venues turnover: " in said
    assert re.search(r"^bars 3t of \w+\.binance: only the left run has it$", said, re.MULTILINE)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4000, 4040), ids=lambda s: f"seed{s}")
def test_snapshots_of_accounts_of_many_seeds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case under both clocks, and calendars."""
    monkeypatch.setattr(charges, "DAY_NS", SECOND_NS)
    chance = random.Random(seed)
    for name, (config, instruments) in CASES.items():
        own = chance.random() < 0.5
        chosen = with_own_clock(config) if own else config
        chosen = msgspec.structs.replace(chosen, latency=LATENCIES[chance.choice(list(LATENCIES))])
        check(
            RandomMarket(seed, instruments, ages=AGES if own else ()).messages(250),
            partial(KeptTrader, seed, activity=chance.choice((0.05, 0.3)), patient=chance.random() < 0.5),
            chosen,
            instruments,
            label=f"{name}, seed {seed}",
            step=2,
        )
    for known in (True, False):
        config = RunConfig(latency=SHORT, risk=WIDE, account=MARGIN, fees=AMOUNTS)
        if chance.random() < 0.5:
            config = with_own_clock(config)
        calendar_run(seed, config, DOLLARS, count=200, known=known, step=2)
