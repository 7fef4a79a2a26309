"""Books by order go on from a snapshot: who stands where, and what of a trade has been told."""

from __future__ import annotations

import random
from functools import partial

import pytest

from engine.config import RunConfig
from engine.model.kinds import InstrumentData
from tests.helpers.calendars import actions, together
from tests.helpers.snapshots import KeptTrader
from tests.loop.test_definitions import definition, scaled, widened
from tests.reference.markets import ALL, BOOKED
from tests.reference.order_markets import BOTH, FAR_ORDERED, ORDERED, RandomOrderMarket
from tests.simulation.test_agreement import (
    AGES,
    CONFIGS,
    LATENCIES,
    SHORT,
    SWITCHES,
    WIDE,
    own_clock,
    switched,
)
from tests.simulation.test_snapshots import check

ONE = (ORDERED,)
SEVERAL = (ORDERED, FAR_ORDERED, BOOKED)


@pytest.mark.parametrize("seed", [1, 2], ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", ["zero latency", "slow answers", "cash"])
def test_a_book_by_order_goes_on_from_its_snapshots(name: str, seed: int) -> None:
    """Places in known queues, hidden levels, trades told before their rows: all of it is kept."""
    whole = check(
        RandomOrderMarket(seed, ONE).messages(300),
        lambda: KeptTrader(seed, patient=True),
        CONFIGS[name],
        ONE,
        label=f"{name}, seed {seed}",
    )
    assert sum(d.maker for d in whole.journal) > 3


@pytest.mark.parametrize("latency", ["zero", "feed beyond response"])
def test_two_views_of_a_book_by_order_go_on(latency: str) -> None:
    """By the venues' clock a book is kept twice, as it is and as it is seen."""
    whole = check(
        RandomOrderMarket(3, SEVERAL, ages=AGES).messages(180),
        lambda: KeptTrader(3, patient=True),
        own_clock(LATENCIES[latency]),
        SEVERAL,
        label=f"{latency}, seed 3",
    )
    assert whole.runner.memory.order_tables.tables["count"][:4].min() > 0


@pytest.mark.parametrize("switch", ["row_by_row", "set_apart_late", "whole_through"])
def test_rules_go_on_over_books_by_order(switch: str) -> None:
    """Books of all kinds side by side, one rule turned over."""
    instruments = (ORDERED, BOTH, *ALL)
    check(
        RandomOrderMarket(4, instruments).messages(160),
        lambda: KeptTrader(4, patient=True),
        RunConfig(latency=SHORT, risk=WIDE, rules=switched(switch)),
        instruments,
        label=f"{switch}, seed 4",
    )


def test_decimals_and_splits_go_on_over_a_book_by_order() -> None:
    """Orders displayed and our own are counted in finer units, or forgotten with their prices."""
    messages = RandomOrderMarket(5, ONE).messages(240)
    changed = definition(messages[119], 1, widened(ORDERED))
    finer = [*messages[:120], changed, *map(scaled, messages[120:])]
    acting = together(messages[:-1], actions(messages, ONE, 5))
    for name, log in (("decimals", finer), ("splits", [*acting, messages[-1]])):
        check(
            log,
            lambda: KeptTrader(5, patient=True),
            RunConfig(latency=SHORT, risk=WIDE),
            ONE,
            label=f"{name}, seed 5",
            step=2,
        )


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5000, 5040), ids=lambda s: f"seed{s}")
def test_snapshots_by_order_of_many_seeds(seed: int) -> None:
    """Random rules, latencies and clocks."""
    chance = random.Random(seed)
    for _ in range(4):
        instruments: tuple[InstrumentData, ...] = chance.choice((ONE, SEVERAL, (ORDERED, BOTH, *ALL)))
        rules = switched(*(name for name in SWITCHES if chance.random() < 0.3))
        latency = LATENCIES[chance.choice(list(LATENCIES))]
        own = chance.random() < 0.5
        config = own_clock(latency, rules) if own else RunConfig(latency=latency, risk=WIDE, rules=rules)
        check(
            RandomOrderMarket(seed, instruments, ages=AGES if own else ()).messages(300),
            partial(KeptTrader, seed, activity=chance.choice((0.05, 0.3)), patient=chance.random() < 0.7),
            config,
            instruments,
            label=f"seed {seed}",
            step=2,
        )
