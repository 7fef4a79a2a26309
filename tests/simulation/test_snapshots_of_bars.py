"""Orders on bars, and bars made of trades, go on from a snapshot."""

from __future__ import annotations

import random
from functools import partial

import msgspec
import pytest

from tests.helpers.snapshots import KeptTrader
from tests.loop.test_definitions import definition, scaled, widened
from tests.reference.markets import ALL, BARRED, TRADED, RandomMarket
from tests.simulation.test_agreement import AGES, BAR_CONFIGS, SERIES
from tests.simulation.test_snapshots import check

OTHER = msgspec.structs.replace(BARRED, key="BARRED.kraken", symbol="OTHER", venue="kraken")
ON_BARS = (BARRED, TRADED, OTHER)


@pytest.mark.parametrize("name", ["slow answers", "asked latency", "venue clock", "rules", "cash"])
def test_orders_on_bars_go_on_from_snapshots(name: str) -> None:
    """Who waits for the next bar, since when, and stops that bars have armed."""
    venue = BAR_CONFIGS[name].clock == "venue"
    whole = check(
        RandomMarket(1, ON_BARS, ages=AGES if venue else ()).messages(200),
        lambda: KeptTrader(1),
        BAR_CONFIGS[name],
        ON_BARS,
        label=f"{name}, seed 1",
    )
    assert sum(d.reason == "bar" for d in whole.journal) > 3


@pytest.mark.parametrize("name", ["default latency", "venue clock"])
@pytest.mark.parametrize("activity", [0.03, 0.3])
def test_bars_made_of_trades_go_on_from_snapshots(name: str, activity: float) -> None:
    """By time, trades, volume and money: what is open at a snapshot is finished after it."""
    venue = BAR_CONFIGS[name].clock == "venue"
    whole = check(
        RandomMarket(2, ALL, ages=AGES if venue else ()).messages(180),
        lambda: KeptTrader(2, activity=activity, series=SERIES),
        BAR_CONFIGS[name],
        ALL,
        label=f"{name}, seed 2",
    )
    assert whole.runner.context.series.count > 3


def test_series_go_on_in_finer_decimals() -> None:
    """A definition that gains decimals between two snapshots: open bars and steps are counted in them."""
    messages = RandomMarket(4, (TRADED,)).messages(200)
    changed = definition(messages[99], 1, widened(TRADED))
    whole = check(
        [*messages[:100], changed, *map(scaled, messages[100:])],
        lambda: KeptTrader(4, series=SERIES[4:]),
        BAR_CONFIGS["slow answers"],
        (TRADED,),
        label="seed 4",
        step=2,
    )
    assert whole.runner.context.series.count > 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6000, 6040), ids=lambda s: f"seed{s}")
def test_snapshots_of_bars_of_many_seeds(seed: int) -> None:
    """Every configuration, with series and without."""
    chance = random.Random(seed)
    for name, config in BAR_CONFIGS.items():
        instruments = chance.choice((ON_BARS, ALL))
        check(
            RandomMarket(seed, instruments, ages=AGES if config.clock == "venue" else ()).messages(200),
            partial(
                KeptTrader,
                seed,
                activity=chance.choice((0.03, 0.3)),
                patient=chance.random() < 0.3,
                series=SERIES if chance.random() < 0.7 else (),
            ),
            config,
            instruments,
            label=f"{name}, seed {seed}",
            step=3,
        )
