"""The loop and its slow twin decide the same, on markets and strategies that nobody would think of."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import pytest

from engine.config import QUEUES, Account, Fees, Latency, Risk, Rules, RunConfig
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS
from engine.profiles import load_profile, profile_names
from tests.helpers.logs import Message
from tests.reference.decisions import Decision
from tests.reference.drive import first_difference, run_engine, run_twin
from tests.reference.markets import (
    AGGREGATED,
    ALL,
    BARRED,
    BOOKED,
    ELSEWHERE,
    QUOTED,
    TRADED,
    RandomMarket,
)
from tests.reference.traders import Gambler, RandomTrader

MS = MILLISECOND_NS
ZERO = Latency(0, 0, 0)
SHORT = Latency(2 * MS, 1 * MS, 5 * MS)
WIDE = Risk(collar_millionths=30_000)
CONFIGS = {
    "zero latency": RunConfig(latency=ZERO, risk=WIDE),
    "default latency": RunConfig(),
    "slow answers": RunConfig(latency=SHORT, fees=Fees(maker=-100_000, taker=350_001), risk=WIDE),
    "fast answers": RunConfig(latency=Latency(7 * MS, 0, 1 * MS), risk=Risk(collar_millionths=0)),
    "position cap": RunConfig(latency=SHORT, risk=Risk(position_cap="0.02", collar_millionths=20_000)),
    # Without a collar a market order locks the best ask alone, so that money runs out at the venue.
    "cash": RunConfig(
        latency=SHORT,
        account=Account("cash", "2.5"),
        fees=Fees(maker=1_500_000),
        risk=Risk(collar_millionths=0),
    ),
    "cash, fees of what is received": RunConfig(
        latency=SHORT,
        account=Account("cash", "4.5"),
        fees=Fees(maker=3_333_333, taker=7_777_777, buy=11_111, asset="received"),
        risk=WIDE,
    ),
    "cash, amounts as fees": RunConfig(
        latency=SHORT,
        account=Account("cash", "4.5"),
        fees=Fees(
            -100_000, 450_001, buy=70, sell=27_801, per_unit="0.5", sell_per_unit="0.3", per_fill="0.003"
        ),
        risk=WIDE,
    ),
    "cash at once": RunConfig(latency=ZERO, account=Account("cash", "4.5"), slippage_ticks=3, risk=WIDE),
}


def compare(
    messages: Sequence[Message],
    make: Callable[[], RandomTrader],
    config: RunConfig,
    instruments: Sequence[InstrumentData],
    *,
    batch_rows: int = 65_536,
    chunk: int = 1024,
    label: str = "",
) -> list[Decision]:
    """The engine and the twin over the same messages with equal traders; what they decided."""
    ours, theirs = make(), make()
    outcome = run_engine(messages, ours, config, instruments, batch_rows=batch_rows, chunk=chunk)
    twin = run_twin(messages, theirs, config, instruments)
    assert not (difference := first_difference(outcome.journal, twin.journal)), f"{label}: {difference}"
    assert not (difference := first_difference(ours.trace, theirs.trace)), f"{label}: {difference}"
    assert outcome.lines == twin.lines
    if config.account.type == "cash":
        assert min(purse.cash for purse in twin.venue.purses) >= 0
        assert min(twin.venue.positions) >= 0
        assert outcome.runner.memory.assets["venue_cash"].min() >= 0
    return twin.journal


def check(
    seed: int,
    config: RunConfig,
    count: int,
    *,
    activity: float = 0.3,
    patient: bool = False,
    instruments: Sequence[InstrumentData] = ALL,
    batch_rows: int = 65_536,
    chunk: int = 1024,
) -> list[Decision]:
    """Random trader on a random market."""
    return compare(
        RandomMarket(seed, instruments).messages(count),
        lambda: RandomTrader(seed, activity=activity, patient=patient),
        config,
        instruments,
        batch_rows=batch_rows,
        chunk=chunk,
        label=f"seed {seed}",
    )


@pytest.mark.parametrize("seed", range(1, 5), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_journals_agree_record_by_record(name: str, seed: int) -> None:
    """Five instruments, every kind of data and order: the same decisions, and the same things seen."""
    assert len(check(seed, CONFIGS[name], 400)) > 100


@pytest.mark.parametrize("seed", range(11, 14), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_resting_orders_agree_on_depth(name: str, seed: int) -> None:
    """One book with gaps and partial snapshots, and a patient trader: queues, crossings, resyncs."""
    decisions = check(seed, CONFIGS[name], 600, patient=True, instruments=(BOOKED,))
    assert sum(d.maker for d in decisions) > 5


@pytest.mark.parametrize("seed", range(21, 23), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize(
    ("data", "name"), [(QUOTED, "slow answers"), (TRADED, "cash"), (AGGREGATED, "zero latency")]
)
def test_orders_agree_without_depth(data: InstrumentData, name: str, seed: int) -> None:
    """Quotes, trades or aggregates alone."""
    assert len(check(seed, CONFIGS[name], 500, patient=seed % 2 == 0, instruments=(data,))) > 100


BAR_CONFIGS = {
    **CONFIGS,
    "asked latency": RunConfig(latency=SHORT, bar_latency=True, risk=WIDE),
    "venue clock": RunConfig(latency=SHORT, clock="venue", risk=WIDE),
    "venue clock, asked": RunConfig(latency=SHORT, clock="venue", bar_latency=True, risk=WIDE),
    "rules": RunConfig(
        risk=WIDE, rules=Rules(row_by_row=True, post_only_expires=True, remainder_expires=True)
    ),
}


@pytest.mark.parametrize("seed", range(24, 26), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", BAR_CONFIGS)
def test_orders_on_bars_agree(name: str, seed: int) -> None:
    """Two instruments with bars alone, and one with trades between them."""
    other = msgspec.structs.replace(BARRED, key="BARRED.kraken", symbol="OTHER", venue="kraken")
    instruments = (BARRED, TRADED, other)
    decisions = [
        decision
        for activity in (0.05, 0.3)
        for decision in check(seed, BAR_CONFIGS[name], 500, activity=activity, instruments=instruments)
    ]
    assert any(d.reason == "bar" for d in decisions)


SERIES = ("1ms", "50ms", "1s", "1t", "3t", "20t", "0.01v", "0.1v", "31.5d", "2000d")


@pytest.mark.parametrize(("batch_rows", "chunk"), [(1, 1), (7, 3), (64, 1024), (65_536, 1024)])
@pytest.mark.parametrize("activity", [0.0, 0.03, 0.3])
@pytest.mark.parametrize("name", ["default latency", "zero latency", "venue clock"])
def test_bars_made_of_trades_agree_in_both_gears(
    name: str, activity: float, batch_rows: int, chunk: int
) -> None:
    """The same bars at the same time, whatever is working and however the rows come."""
    messages = RandomMarket(26).messages(300)
    make = partial(RandomTrader, 26, activity=activity, series=SERIES)
    compare(messages, make, BAR_CONFIGS[name], ALL, batch_rows=batch_rows, chunk=chunk)


@pytest.mark.parametrize("seed", range(31, 34), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize(("batch_rows", "chunk"), [(1, 1), (7, 3), (64, 1024)])
def test_a_rare_trader_agrees_in_both_gears(seed: int, batch_rows: int, chunk: int) -> None:
    """Mostly nothing is working, so that events are handed out ahead, in small batches and chunks."""
    config = CONFIGS["slow answers"]
    check(seed, config, 400, activity=0.03, batch_rows=batch_rows, chunk=chunk)


@pytest.mark.parametrize(
    ("data", "capital"),
    [(BOOKED, "4.00000007"), (QUOTED, "20.00000007"), (TRADED, "20.00000007")],
    ids=lambda value: value.symbol if isinstance(value, InstrumentData) else value,
)
def test_all_in_a_cash_account_agrees_and_nothing_goes_negative(data: InstrumentData, capital: str) -> None:
    """Every order is as big as the cash, while the price runs: money ends at the venue, never below zero."""
    config = RunConfig(
        latency=Latency(200 * MS, 300 * MS, 250 * MS),
        account=Account("cash", capital),
        fees=Fees(maker=1_333_333, taker=777_777),
        risk=Risk(collar_millionths=3_000),
        slippage_ticks=2,
    )
    seen: set[str] = set()
    for seed in range(41, 61):
        messages = RandomMarket(seed, (data,)).messages(800)
        make = partial(Gambler, seed, activity=0.4)
        seen |= {d.reason for d in compare(messages, make, config, (data,), label=f"seed {seed}")}
    assert {"insufficient_funds", "taker"} <= seen


def test_every_reason_occurs() -> None:
    """The random runs reach every fill reason and every end that this version knows."""
    seen: set[str] = set()
    for seed in (11, 12, 13, 14):
        for config in CONFIGS.values():
            messages = RandomMarket(seed, (BOOKED, QUOTED)).messages(600)
            trader = RandomTrader(seed, patient=seed < 13)
            seen |= {d.reason for d in run_twin(messages, trader, config, (BOOKED, QUOTED)).journal}
    wanted = {
        *("taker", "crossed", "through", "queue", "resync", "requested", "no_liquidity", "ioc_remainder"),
        *("fok_unfillable", "post_only_would_match", "reduce_only", "empty_side", "halted", "min_size"),
        *("price_increment", "size_increment", "price_collar", "position_cap", "cash"),
    }
    assert wanted <= seen, wanted - seen


SWITCHES = [name for name in Rules.__struct_fields__ if isinstance(getattr(Rules(), name), bool)]


def switched(*names: str, queue: str = "risk_averse", power: int = 3) -> Rules:
    """The default rules but for some that are turned over."""
    changes = {name: not getattr(Rules(), name) for name in names}
    return msgspec.structs.replace(Rules(queue=queue, queue_power=power), **changes)


@pytest.mark.parametrize("seed", range(61, 63), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("power", [1, 3])
@pytest.mark.parametrize("queue", QUEUES)
def test_every_queue_model_agrees(queue: str, power: int, seed: int) -> None:
    """Fronts in float64 come out with the same bits: every fill is the same."""
    config = RunConfig(latency=SHORT, risk=WIDE, rules=Rules(queue=queue, queue_power=power))
    decisions = check(seed, config, 400, patient=True, instruments=(BOOKED, QUOTED))
    assert any(d.reason == "queue" for d in decisions)


@pytest.mark.parametrize("seed", range(71, 73), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("switch", SWITCHES)
def test_every_rule_turned_over_agrees(switch: str, seed: int) -> None:
    """One rule at a time against the others as they are."""
    config = RunConfig(latency=ZERO if seed % 2 else SHORT, risk=WIDE, rules=switched(switch))
    assert len(check(seed, config, 300, patient=seed % 2 == 0)) > 50
    check(seed, config, 300, patient=True, instruments=(BOOKED,))


@pytest.mark.parametrize("seed", range(81, 83), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", profile_names())
def test_the_shipped_profiles_agree(name: str, seed: int) -> None:
    """Their fees and rules together."""
    profile = load_profile(name)
    config = RunConfig(latency=SHORT, risk=WIDE, profile=name, fees=profile.fees, rules=profile.rules)
    assert len(check(seed, config, 300, patient=seed % 2 == 0, instruments=(BOOKED, QUOTED, TRADED))) > 50


# How old stamps are: some are ahead of their receipt, some older than the look-ahead.
AGES = (0, 1_000, 2 * MS, 20 * MS, 50 * MS, -3 * MS, 400 * MS)
LATENCIES = {
    "zero": ZERO,
    "constant": SHORT,
    "feed beyond response": Latency(40 * MS, 3 * MS, 1 * MS),
    "at once": Latency(20 * MS, 0, 20 * MS),
}
ONE_VENUE = (BOOKED, QUOTED)
TWO_VENUES = (ELSEWHERE, QUOTED, BOOKED)


def own_clock(
    latency: Latency,
    rules: Rules = Rules(),  # noqa: B008  frozen
    *,
    lookahead_ns: int = 100 * MS,
) -> RunConfig:
    """A configuration with the venue's own clock."""
    shift = {"binance": -2 * MS, "kraken": 1 * MS}
    return RunConfig(
        latency=latency,
        risk=WIDE,
        rules=rules,
        clock="venue",
        venue_shift_ns=shift,
        lookahead_ns=lookahead_ns,
    )


def check_clock(
    seed: int,
    config: RunConfig,
    instruments: Sequence[InstrumentData],
    *,
    count: int = 300,
    activity: float = 0.3,
    batch_rows: int = 65_536,
) -> list[Decision]:
    """A patient trader on a market all of whose rows are stamped, but for some."""
    return compare(
        RandomMarket(seed, instruments, ages=AGES).messages(count),
        lambda: RandomTrader(seed, activity=activity, patient=True),
        config,
        instruments,
        batch_rows=batch_rows,
        label=f"seed {seed}",
    )


@pytest.mark.parametrize("seed", range(91, 93), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("instruments", [ONE_VENUE, TWO_VENUES], ids=["one venue", "two venues"])
@pytest.mark.parametrize("latency", LATENCIES)
def test_the_venues_own_clock_agrees(
    latency: str, instruments: tuple[InstrumentData, ...], seed: int
) -> None:
    """Rows meet orders when the venue stamped them, and the strategy when they came."""
    decisions = check_clock(seed, own_clock(LATENCIES[latency]), instruments)
    assert sum(d.kind == "fill" for d in decisions) > 5


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 65_536])
@pytest.mark.parametrize("activity", [0.03, 0.3])
@pytest.mark.parametrize("lookahead_ms", [10, 10_000])
def test_batches_do_not_matter_to_the_venues_own_clock(
    lookahead_ms: int, activity: float, batch_rows: int
) -> None:
    """However many rows come at once, all until the look-ahead have come before anything is decided."""
    for latency in (ZERO, SHORT, LATENCIES["feed beyond response"]):
        config = own_clock(latency, lookahead_ns=lookahead_ms * MS)
        check_clock(94, config, TWO_VENUES, activity=activity, batch_rows=batch_rows, count=200)


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("switch", ["row_by_row", "whole_fills", "set_apart_late"])
def test_rules_agree_under_the_venues_own_clock(switch: str, queue: str) -> None:
    """Row by row also in time: a message's rows have stamps of their own."""
    check_clock(95, own_clock(ZERO, switched(switch, queue=queue)), ONE_VENUE, count=200)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2060), ids=lambda s: f"seed{s}")
def test_rules_agree_on_many_seeds(seed: int) -> None:
    """Random sets of rules, accounts, latencies and clocks."""
    chance = random.Random(seed)
    for _ in range(6):
        chosen = [name for name in SWITCHES if chance.random() < 0.5]
        rules = switched(*chosen, queue=chance.choice(QUEUES), power=chance.choice((1, 2, 3, 5)))
        latency = LATENCIES[chance.choice(list(LATENCIES))]
        account = chance.choice((Account(), Account("cash", "4.5")))
        config = RunConfig(latency=latency, account=account, risk=WIDE, rules=rules)
        check(seed, config, 400, patient=chance.random() < 0.6, instruments=chance.choice((ALL, (BOOKED,))))
        own = own_clock(latency, rules, lookahead_ns=chance.choice((10, 100, 10_000)) * MS)
        instruments = chance.choice((ONE_VENUE, TWO_VENUES, ALL))
        activity = chance.choice((0.03, 0.3))
        check_clock(seed, own, instruments, activity=activity, batch_rows=chance.choice((1, 7, 64, 65_536)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1100), ids=lambda s: f"seed{s}")
def test_journals_agree_on_many_seeds(seed: int) -> None:
    """The same over a hundred seeds, all settings, busy and rare, patient and not."""
    for config in CONFIGS.values():
        for activity in (0.03, 0.3, 0.6):
            check(seed, config, 500, activity=activity)
            check(seed, config, 500, activity=activity, patient=True, instruments=(BOOKED, QUOTED))
