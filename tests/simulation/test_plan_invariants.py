"""What holds of stops, pairs, brackets, amendments and orders with an end; seeds are shown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import currently_in_test_context, given, note, settings
from hypothesis import strategies as st

from engine.config import QUEUES, STOP_SOURCES, Account, Rules, RunConfig
from engine.execution.state import VENUE_ARMED, VENUE_DONE, VENUE_WAITING
from tests.reference.decisions import Decision
from tests.reference.drive import Outcome, run_engine
from tests.reference.markets import BOOKED, ELSEWHERE, QUOTED, TRADED, RandomMarket
from tests.reference.traders import Planner
from tests.simulation.test_agreement import AGES, LATENCIES, SWITCHES, WIDE, switched

INSTRUMENTS = (BOOKED, QUOTED, TRADED, ELSEWHERE)
SEEDS = st.integers(0, 2**32)
CONFIGS = st.builds(
    lambda names, queue, source, clock, latency, account: RunConfig(
        latency=LATENCIES[latency],
        risk=WIDE,
        rules=msgspec.structs.replace(switched(*names, queue=queue), stop_source=source),
        clock=clock,
        account=account,
    ),
    st.sets(st.sampled_from(SWITCHES), max_size=3).map(sorted),
    st.sampled_from(QUEUES),
    st.sampled_from(STOP_SOURCES),
    st.sampled_from(("received", "venue")),
    st.sampled_from(sorted(LATENCIES)),
    st.sampled_from((Account(), Account("cash", "4.5"))),
)


def run_of(seed: int, config: RunConfig, count: int = 250) -> Outcome:
    """A planner's run on four instruments."""
    if currently_in_test_context():  # a test of one seed has it in its name
        note(f"seed {seed} {config}")
    messages = RandomMarket(seed, INSTRUMENTS, ages=AGES, extras=True).messages(count)
    return run_engine(messages, Planner(seed, patient=seed % 2 == 0), config, INSTRUMENTS)


@dataclass
class Known:
    """What the journal has said of one order."""

    sent: Decision
    terms: dict[str, int]
    size: int
    asked: list[int] = field(default_factory=list)  # sizes of amendments on their way
    filled: int = 0
    triggered: bool = False
    ended: bool = False
    stop_amended: bool = False


def terms_of(decision: Decision) -> dict[str, int]:
    """A decision's terms by name."""
    return {name: int(value) for name, value in (term.split("=") for term in decision.terms.split())}


class Story:
    """A journal read from its beginning; nothing in it contradicts what was before."""

    def __init__(self, config: RunConfig) -> None:
        latency = config.latency
        self.orders: dict[int, Known] = {}
        self.pairs: dict[int, int] = defaultdict(int)
        self.brackets: dict[int, int] = defaultdict(int)  # what the exits of an entry have filled
        if config.clock == "venue":
            self.late = latency.response_ns
        else:
            self.late = latency.feed_ns + max(0, latency.response_ns - latency.feed_ns)

    def take(self, d: Decision) -> None:
        """The next decision."""
        if d.kind == "submit":
            self.orders[d.order] = Known(d, terms_of(d), d.size)
        elif d.kind == "refused":
            assert d.order not in self.orders, d
        else:
            known = self.orders[d.order]
            assert not known.ended, d
            getattr(self, d.kind, self.other)(d, known)

    def other(self, d: Decision, known: Known) -> None:
        """An acceptance or a cancel says nothing that is followed here; an end does."""
        known.ended = d.kind in ("cancelled", "rejected", "expired")

    def amend(self, d: Decision, known: Known) -> None:
        """A larger size may come."""
        known.asked.append(d.size)
        known.stop_amended |= bool(d.terms)

    def amended(self, d: Decision, known: Known) -> None:
        """It has come."""
        if d.reason == "requested":
            known.asked.pop(0)
        known.size = d.size

    def amend_rejected(self, d: Decision, known: Known) -> None:
        """It has not; of ours, it never was on its way."""
        if d.reason in VENUE_OBJECTIONS:
            known.asked.pop(0)

    def triggered(self, d: Decision, known: Known) -> None:
        """Once, at the stop that was sent, or at one that came nearer."""
        assert known.sent.order_kind in STOPS, d
        assert not known.triggered, d
        known.triggered = True
        if known.terms.get("stop") and not known.stop_amended:
            nearer = (known.terms["stop"] - d.price) * d.side
            assert nearer == 0 or (nearer > 0 and known.sent.order_kind == "trailing"), d

    def fill(self, d: Decision, known: Known) -> None:
        """Within the order, its pair, what its entry filled, and its time."""
        known.filled += d.size
        assert known.filled <= max([known.size, *known.asked]), d
        assert known.triggered or known.sent.order_kind not in STOPS, d
        if known.terms.get("expires"):
            assert d.ts < known.terms["expires"] + self.late, d
        group, parent = known.terms.get("group", 0), known.terms.get("parent", 0)
        if parent:
            self.brackets[parent] += d.size
            assert self.brackets[parent] <= self.orders[parent].filled, d
        elif group:
            self.pairs[group] += d.size
            assert self.pairs[group] <= self.orders[group].sent.size, d


def follow(outcome: Outcome, config: RunConfig) -> None:
    """Read a run's journal."""
    story = Story(config)
    for decision in outcome.journal:
        story.take(decision)


STOPS = ("stop", "stop_limit", "trailing")
VENUE_OBJECTIONS = ("post_only_would_match", "insufficient_funds", "unknown_order", "would_trigger")


@settings(max_examples=40, deadline=None)
@given(SEEDS, CONFIGS)
def test_plans_are_kept(seed: int, config: RunConfig) -> None:
    """Never beyond a size, a pair's or what the entry filled; never before the trigger or after an end."""
    follow(run_of(seed, config), config)


@settings(max_examples=25, deadline=None)
@given(SEEDS, CONFIGS)
def test_nothing_is_left_over(seed: int, config: RunConfig) -> None:
    """What is counted, locked, armed and waiting is that of the orders that live, and of no others."""
    memory = run_of(seed, config).runner.memory
    orders = memory.orders
    live = orders[(orders["state"] >= 1) & (orders["state"] <= 3)]
    at_venue = live[live["venue_state"] != VENUE_DONE]
    asset_of = memory.instruments["asset"]
    for asset, record in enumerate(memory.assets):
        assert record["venue_locked"] == sum(
            int(order["venue_locked"]) for order in at_venue if asset_of[order["instrument"]] == asset
        )
        assert record["locked"] == sum(
            int(order["locked"]) for order in live if asset_of[order["instrument"]] == asset
        )
    for index, record in enumerate(memory.instruments):
        mine = live[live["instrument"] == index]
        assert record["open_buy"] == mine["counted"][mine["side"] > 0].sum()
        assert record["open_sell"] == mine["counted"][mine["side"] < 0].sum()
        assert record["stops"] == (mine["venue_state"] == VENUE_ARMED).sum()
        assert record["resting"] == mine["resting"].sum()
    assert memory.get("waiting_orders") == (live["venue_state"] == VENUE_WAITING).sum()
    assert memory.get("link_head") == -1
    assert memory.get("linked_orders") == live["linked"].sum()
    assert memory.get("stop_orders") == (live["kind"] >= 3).sum()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(7000, 7100), ids=lambda s: f"seed{s}")
def test_plans_are_kept_on_many_seeds(seed: int) -> None:
    """Long runs by the default rules and by all of them turned over, in both clocks."""
    for rules in (Rules(), switched(*SWITCHES)):
        for clock in ("received", "venue"):
            more: dict[str, Any] = {"account": Account("cash", "4.5")} if seed % 2 else {}
            config = RunConfig(latency=LATENCIES["constant"], risk=WIDE, rules=rules, clock=clock, **more)
            follow(run_of(seed, config, 800), config)
