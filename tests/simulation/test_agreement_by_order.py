"""On books by order, too, the loop and its slow twin decide the same, record by record."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from engine.config import QUEUES, Account, Fees, RunConfig
from engine.model.kinds import InstrumentData
from tests.reference.decisions import Decision
from tests.reference.markets import ALL, BOOKED
from tests.reference.order_markets import BOTH, FAR_ORDERED, ORDERED, RandomOrderMarket
from tests.reference.traders import RandomTrader
from tests.simulation.test_agreement import (
    AGES,
    CONFIGS,
    LATENCIES,
    MS,
    SHORT,
    SWITCHES,
    WIDE,
    ZERO,
    compare,
    own_clock,
    switched,
)


def check(
    seed: int,
    config: RunConfig,
    count: int = 500,
    *,
    activity: float = 0.3,
    patient: bool = True,
    instruments: Sequence[InstrumentData] = (ORDERED,),
    batch_rows: int = 65_536,
    chunk: int = 1024,
    ages: Sequence[int] = (),
) -> list[Decision]:
    """A random trader on a random market by order; the engine and the twin have to agree."""
    return compare(
        RandomOrderMarket(seed, instruments, ages=ages).messages(count),
        lambda: RandomTrader(seed, activity=activity, patient=patient),
        config,
        instruments,
        batch_rows=batch_rows,
        chunk=chunk,
        label=f"seed {seed}",
    )


@pytest.mark.parametrize("seed", range(1, 6), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_journals_agree_on_a_book_by_order(name: str, seed: int) -> None:
    """Gaps, snapshots of a part, unknown ids, orders that move: the same decisions, the same things seen."""
    decisions = check(seed, CONFIGS[name])
    assert sum(d.maker for d in decisions) > 3


@pytest.mark.parametrize("seed", range(11, 13), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("patient", [True, False])
def test_books_of_all_kinds_agree_side_by_side(seed: int, *, patient: bool) -> None:
    """By order, by price, both in one log, quotes and trades: each instrument keeps to its own."""
    instruments = (ORDERED, BOTH, *ALL)
    check(seed, CONFIGS["slow answers"], instruments=instruments, patient=patient)


@pytest.mark.parametrize("queue", QUEUES)
def test_the_queue_is_known_whatever_model_is_asked_for(queue: str) -> None:
    """With rows by order `--queue` decides nothing: the journal is that of risk_averse."""
    config = RunConfig(latency=SHORT, risk=WIDE, rules=switched(queue=queue))
    usual = RunConfig(latency=SHORT, risk=WIDE)
    assert check(21, config) == check(21, usual)


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_rule_turned_over_agrees_on_a_book_by_order(switch: str) -> None:
    """One rule at a time, without and with latency."""
    for seed, latency in ((31, ZERO), (32, SHORT)):
        check(seed, RunConfig(latency=latency, risk=WIDE, rules=switched(switch)), 400)


@pytest.mark.parametrize(("batch_rows", "chunk"), [(1, 1), (7, 3), (64, 1024)])
@pytest.mark.parametrize("activity", [0.03, 0.3])
def test_batches_do_not_matter_to_a_book_by_order(activity: float, batch_rows: int, chunk: int) -> None:
    """However the rows are cut, and in both gears."""
    check(41, CONFIGS["slow answers"], activity=activity, batch_rows=batch_rows, chunk=chunk)


@pytest.mark.parametrize("latency", LATENCIES)
def test_the_venues_own_clock_agrees_on_books_by_order(latency: str) -> None:
    """Two books by order: the venue's ahead, the strategy's behind; two venues."""
    config = own_clock(LATENCIES[latency])
    for seed, batch_rows in ((51, 65_536), (52, 7)):
        instruments = (ORDERED, FAR_ORDERED, BOOKED)
        check(seed, config, 300, instruments=instruments, ages=AGES, batch_rows=batch_rows)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3000, 3060), ids=lambda s: f"seed{s}")
def test_books_by_order_agree_on_many_seeds(seed: int) -> None:
    """Random sets of rules, accounts, latencies and clocks."""
    chance = random.Random(seed)
    for _ in range(5):
        rules = switched(*[name for name in SWITCHES if chance.random() < 0.3], queue=chance.choice(QUEUES))
        latency = LATENCIES[chance.choice(list(LATENCIES))]
        account = chance.choice((Account(), Account("cash", "4.5")))
        fees = Fees(maker=chance.choice((-100_000, 1_000_000)))
        config = RunConfig(latency=latency, account=account, risk=WIDE, rules=rules, fees=fees)
        check(seed, config, patient=chance.random() < 0.7)
        own = own_clock(latency, rules, lookahead_ns=chance.choice((10, 100, 10_000)) * MS)
        check(
            seed,
            own,
            ages=AGES,
            instruments=(ORDERED, FAR_ORDERED),
            batch_rows=chance.choice((1, 64, 65_536)),
        )
