"""The loop and its slow twin decide the same of stops, pairs, brackets, amendments and orders with an end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from engine.config import QUEUES, STOP_SOURCES, Account, Fees, Latency, Risk, Rules, RunConfig
from engine.model.kinds import InstrumentData
from engine.profiles import load_profile
from tests.reference.decisions import Decision
from tests.reference.markets import AGGREGATED, ALL, BOOKED, ELSEWHERE, QUOTED, TRADED, RandomMarket
from tests.reference.traders import Planner
from tests.simulation.test_agreement import (
    AGES,
    LATENCIES,
    MS,
    SHORT,
    SWITCHES,
    WIDE,
    ZERO,
    compare,
    switched,
)

CASH = Account("cash", "4.5")
CONFIGS = {
    "zero latency": RunConfig(latency=ZERO, risk=WIDE),
    "default latency": RunConfig(),
    "slow answers": RunConfig(latency=SHORT, fees=Fees(maker=-100_000, taker=350_001), risk=WIDE),
    "fast answers": RunConfig(latency=Latency(7 * MS, 0, 1 * MS), risk=Risk(collar_millionths=0)),
    "long ways": RunConfig(latency=Latency(20 * MS, 60 * MS, 90 * MS), risk=WIDE),
    "position cap": RunConfig(latency=SHORT, risk=Risk(position_cap="0.02", collar_millionths=20_000)),
    "cash": RunConfig(
        latency=SHORT, account=CASH, fees=Fees(maker=1_500_000), risk=Risk(collar_millionths=0)
    ),
    "cash at once": RunConfig(latency=ZERO, account=CASH, slippage_ticks=3, risk=WIDE),
}
BOOKS = (BOOKED, QUOTED, TRADED)


def check(
    seed: int,
    config: RunConfig,
    count: int,
    instruments: Sequence[InstrumentData],
    *,
    activity: float = 0.3,
    patient: bool = False,
    batch_rows: int = 65_536,
) -> list[Decision]:
    """A planner on a random market with marks and sessions."""
    ages = AGES if config.clock == "venue" else ()
    return compare(
        RandomMarket(seed, instruments, ages=ages, extras=True).messages(count),
        lambda: Planner(seed, activity=activity, patient=patient),
        config,
        instruments,
        batch_rows=batch_rows,
        label=f"seed {seed}",
    )


@pytest.mark.parametrize("seed", range(1, 4), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_plans_agree_on_a_book(name: str, seed: int) -> None:
    """One book with gaps: what waits, what is linked and what is amended meet one another."""
    assert len(check(seed, CONFIGS[name], 400, (BOOKED,), patient=seed % 2 == 0)) > 100


@pytest.mark.parametrize("source", STOP_SOURCES)
@pytest.mark.parametrize("data", [BOOKED, QUOTED, TRADED, AGGREGATED], ids=lambda data: data.symbol)
def test_plans_agree_on_every_kind_of_data_and_every_source_of_triggers(
    data: InstrumentData, source: str
) -> None:
    """A book, quotes, trades, aggregates, each with last trades, bid and ask, and marks as what triggers."""
    config = RunConfig(latency=SHORT, risk=WIDE, rules=Rules(stop_source=source))
    decisions = check(21, config, 400, (data,))
    assert any(d.kind == "triggered" for d in decisions)


@pytest.mark.parametrize("switch", SWITCHES)
def test_plans_agree_with_every_rule_turned_over(switch: str) -> None:
    """One at a time, on three instruments."""
    for seed in (31, 32):
        config = RunConfig(latency=ZERO if seed % 2 else SHORT, risk=WIDE, rules=switched(switch))
        check(seed, config, 300, BOOKS, patient=seed % 2 == 0)


@pytest.mark.parametrize("latency", LATENCIES)
def test_plans_agree_under_the_venues_own_clock(latency: str) -> None:
    """Two venues, stamps ahead and behind, marks that the venue knows before the strategy does."""
    for seed, source in enumerate(STOP_SOURCES, 41):
        rules = Rules(stop_source=source)
        check(seed, own_clock(LATENCIES[latency], rules), 300, (ELSEWHERE, QUOTED, BOOKED))


@pytest.mark.parametrize("batch_rows", [1, 7])
def test_plans_agree_in_small_batches(batch_rows: int) -> None:
    """Busy and rare traders; what waits for a price must not be run past."""
    for activity in (0.03, 0.3):
        check(51, CONFIGS["slow answers"], 300, BOOKS, activity=activity, batch_rows=batch_rows)
        check(52, own_clock(SHORT), 300, BOOKS, activity=activity, batch_rows=batch_rows)


def test_every_end_of_a_plan_occurs() -> None:
    """The random runs reach every kind of decision, and every reason that plans have."""
    seen: set[str] = set()
    for seed in range(61, 65):
        for name in ("zero latency", "slow answers", "cash"):
            config = msgspec.structs.replace(CONFIGS[name], rules=load_profile("binance-spot").rules)
            if seed % 2:
                config = CONFIGS[name]
            for d in check(seed, config, 400, (BOOKED,), patient=seed < 63):
                seen |= {d.kind, d.reason}
    wanted = {
        *("triggered", "amended", "amend_rejected", "time", "linked", "parent", "would_trigger"),
        *("time_passed", "no_session", "entry_refused", "linked_size", "legs_crossed"),
        *("collar_at_trigger", "post_only_would_match", "reduce_only", "cash"),
    }
    assert wanted <= seen, wanted - seen


def own_clock(
    latency: Latency,
    rules: Rules = Rules(),  # noqa: B008  frozen
    account: Account = Account(),  # noqa: B008  frozen
) -> RunConfig:
    """A configuration with the venue's own clock."""
    shift = {"binance": -2 * MS, "kraken": 1 * MS}
    return RunConfig(
        latency=latency,
        risk=WIDE,
        rules=rules,
        account=account,
        clock="venue",
        venue_shift_ns=shift,
        lookahead_ns=100 * MS,
    )


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5000, 5100), ids=lambda s: f"seed{s}")
def test_plans_agree_on_many_seeds(seed: int) -> None:
    """Random sets of rules, accounts, latencies, clocks, instruments and batches."""
    chance = random.Random(seed)
    for _ in range(8):
        chosen = [name for name in SWITCHES if chance.random() < 0.3]
        queue, source = chance.choice(QUEUES), chance.choice(STOP_SOURCES)
        rules = msgspec.structs.replace(switched(*chosen, queue=queue), stop_source=source)
        latency = chance.choice([*LATENCIES.values(), CONFIGS["long ways"].latency])
        account = chance.choice((Account(), CASH))
        cap = chance.choice(("", "", "0.02"))
        risk = Risk(position_cap=cap, collar_millionths=chance.choice((0, 10_000, 30_000)))
        config = RunConfig(latency=latency, account=account, risk=risk, rules=rules)
        if chance.random() < 0.4:
            config = own_clock(latency, rules, account)
        instruments = chance.choice(((BOOKED,), (BOOKED,), BOOKS, ALL, (ELSEWHERE, QUOTED, BOOKED)))
        check(
            seed,
            config,
            400,
            instruments,
            activity=chance.choice((0.03, 0.3, 0.6)),
            patient=chance.random() < 0.5,
            batch_rows=chance.choice((1, 7, 64, 65_536)),
        )
