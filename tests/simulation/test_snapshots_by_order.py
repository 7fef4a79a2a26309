"""Books by order go on from a snapshot: who stands where, and what of a trade has been told."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from engine.config import RunConfig
from engine.loop.snapshots.taking import Interval
from engine.model.kinds import Flag, InstrumentData
from engine.model.units import SECOND_NS
from engine.report.states import compare_snapshots
from engine.strategy.api import Strategy
from tests.execution.test_order_queue import EVENTS, ORDERS, flow_of
from tests.helpers.calendars import actions, together
from tests.helpers.logs import Message
from tests.helpers.snapshots import KeptTrader, play
from tests.loop.test_definitions import definition, scaled, widened
from tests.reference.markets import ALL, BOOKED, LOT
from tests.reference.order_flow import STEP_NS, STYLES
from tests.reference.order_markets import BOTH, FAR_ORDERED, ORDERED, RandomOrderMarket
from tests.reference.scenario import clock, settings
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


class Sender(Strategy):
    """Sends a list of limit orders, each at its time."""

    def __init__(self, limits: list[tuple[int, int]], times: list[int]) -> None:
        super().__init__()
        self.limits = limits
        self.times = times

    def on_start(self, ctx: Any) -> None:
        """Put all on the agenda."""
        for number, ts in enumerate(self.times):
            ctx.at(ts, str(number))

    def on_timer(self, ctx: Any, name: str) -> None:
        """Send one."""
        ctx.limit(ctx.instruments[0], *self.limits[int(name)])


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


@pytest.mark.parametrize("style", STYLES)
def test_what_trades_and_rows_have_told_goes_on(style: str) -> None:
    """A trade whose rows come after the snapshot, and the other way round, still moves a front once."""
    flow, placer = flow_of(1, style)
    limits = [(phantom.side * phantom.size, phantom.price) for phantom in flow.phantoms]
    whole = check(
        [*flow.messages, clock(EVENTS * STEP_NS / SECOND_NS + 1)],
        lambda: Sender(limits, placer.times),
        settings(),
        (ORDERS,),
        label=f"{style}, seed 1",
        every=Interval(rows=3),
        step=37,
    )
    assert sum(d.kind == "fill" for d in whole.journal) > 10


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


def test_two_books_by_order_that_differ_are_told_apart_by_their_orders() -> None:
    """One order is a lot larger in one of two logs: it is named, with both sizes and its place."""
    messages = RandomOrderMarket(6, ONE).messages(60)
    place = max(i for i, m in enumerate(messages) if m.rows[0].flags == Flag.BY_ORDER and m.rows[0].size > 0)
    row = messages[place].rows[0]
    larger = Message(messages[place].ts, (replace(row, size=row.size + LOT), *messages[place].rows[1:]))
    logs = (messages[: place + 1], [*messages[:place], larger])
    runs = [play(log, KeptTrader(6, activity=0.0), RunConfig(), ONE, Interval(rows=20)) for log in logs]
    found = compare_snapshots([(runs[0].snapshots[-1], runs[1].snapshots[-1])])
    assert found.engine is not None
    said = [part for part in found.engine.parts if "displayed orders" in part]
    assert len(said) == 1
    assert f"ORDERED.binance displayed orders: 1 differs, {row.id}: " in said[0]
    assert f" {row.size / 100_000:g} at {row.price / 100:g}" in said[0]


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
