"""Books by order: an order of ours gets exactly what a first-come queue gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.loop.run import Runner
from engine.loop.source import Numbering, rechunk
from engine.model.units import SECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import START, Message
from tests.reference.drive import ListedJournal, batch_of, first_difference, head_of, loaded, run_twin
from tests.reference.order_flow import MID, STEP_NS, STYLES, OrderFlow, Phantom
from tests.reference.scenario import clock, settings, whole

ORDERS = whole("trade", "orders")
EVENTS = 400


class Placer(Strategy):
    """Sends a list of limit orders, each at its time."""

    def __init__(self, phantoms: list[Phantom], times: list[int]) -> None:
        super().__init__()
        self.phantoms = phantoms
        self.times = times

    def on_start(self, ctx: Any) -> None:
        """Put all on the agenda."""
        for phantom, ts in zip(self.phantoms, self.times, strict=True):
            ctx.at(ts, str(phantom.number))

    def on_timer(self, ctx: Any, name: str) -> None:
        """Send one."""
        phantom = self.phantoms[int(name) - 1]
        ctx.limit(ctx.instruments[0], phantom.side * phantom.size, phantom.price)


def flow_of(seed: int, style: str, *, stamped: bool = True) -> tuple[OrderFlow, Placer]:
    """A market with orders of ours in it, at prices near the best and behind it."""
    flow = OrderFlow(seed, style, stamped=stamped)
    flow.opening()
    times = []
    for _ in range(EVENTS):
        for side in (1, -1):
            waits = any(p.open and p.side == side for p in flow.phantoms)
            if not waits and flow.chance.random() < 0.2:
                reach = [MID - side * away for away in (1, 1, 2, 3)]
                flow.join(side, flow.chance.choice(reach), flow.chance.randrange(1, 25))
                times.append(START + len(flow.ends) * STEP_NS)  # before the next event's first message
        flow.event()
    return flow, Placer(flow.phantoms, times)


def fronts_and_fills(
    flow: OrderFlow, placer: Placer, *, batch_rows: int = 1, **options: Any
) -> tuple[dict[int, dict[int, int]], dict[int, list[tuple[int, int]]], ListedJournal]:
    """What the engine makes of it: each order's front after each event, and what was filled in each."""
    journal = ListedJournal()
    runner = Runner(settings(), loaded(placer), journal, **options)
    numbering = Numbering("test", runner.define)
    head = head_of((ORDERS,))
    ends = {ts: event for event, ts in enumerate(flow.ends)}
    fronts: dict[int, dict[int, int]] = {p.number: {} for p in flow.phantoms}
    messages = [*head, *flow.messages, clock(EVENTS * STEP_NS / SECOND_NS + 1)]

    def batches() -> Iterator[Any]:
        for batch in rechunk(iter([batch_of(messages)]), batch_rows):
            yield from numbering.split(batch)

    for batch in batches():
        runner.feed(batch, 0)
        event = ends.get(int(batch.ts[-1]))
        if event is not None:
            for order in runner.memory.orders[runner.memory.orders["resting"] == 1]:
                fronts[int(order["number"])][event] = int(order["front"])
    runner.finish()
    runner.flush_journal()
    fills: dict[int, list[tuple[int, int]]] = {p.number: [] for p in flow.phantoms}
    for decision in journal.decisions:
        if decision.kind == "fill":
            assert decision.reason in ("queue", "through")
            event = (decision.ts - START) // STEP_NS
            had = fills[decision.order]
            if had and had[-1][0] == event:
                had[-1] = (event, had[-1][1] + decision.size)
            else:
                had.append((event, decision.size))
    return fronts, fills, journal


@pytest.mark.parametrize("seed", range(1, 11), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("style", STYLES)
def test_fronts_and_fills_are_those_of_the_queue(style: str, seed: int) -> None:
    """However a taker is told of, the front is exact to the unit after each event, and so are the fills."""
    flow, placer = flow_of(seed, style)
    fronts, fills, _ = fronts_and_fills(flow, placer)
    for phantom in flow.phantoms:
        assert fronts[phantom.number] == phantom.fronts, f"fronts of order {phantom.number}"
        assert fills[phantom.number] == phantom.fills, f"fills of order {phantom.number}"
    assert sum(len(p.fills) for p in flow.phantoms) > 10


@pytest.mark.parametrize("seed", range(11, 16), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("style", STYLES[:3])
def test_stamps_are_not_needed_where_trades_come_no_later_than_their_book(style: str, seed: int) -> None:
    """The same without a `ts_venue`: what was traded and what has left are matched by their order."""
    flow, placer = flow_of(seed, style, stamped=False)
    fronts, fills, _ = fronts_and_fills(flow, placer)
    assert fills == {p.number: p.fills for p in flow.phantoms}
    assert fronts == {p.number: p.fronts for p in flow.phantoms}


@pytest.mark.parametrize("style", STYLES)
def test_the_twin_decides_the_same(style: str) -> None:
    """Record by record."""
    flow, placer = flow_of(21, style)
    *_, journal = fronts_and_fills(flow, placer, batch_rows=65_536)
    messages: list[Message] = [*flow.messages, clock(EVENTS * STEP_NS / SECOND_NS + 1)]
    twin = run_twin(messages, placer, settings(), (ORDERS,))
    assert not (difference := first_difference(journal.decisions, twin.journal)), difference


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 65_536])
def test_batches_do_not_matter(batch_rows: int) -> None:
    """Cut anywhere, the journal has one hash."""
    flow, placer = flow_of(22, STYLES[1])
    hashes = {fronts_and_fills(flow, placer, batch_rows=rows)[2].hash.head() for rows in (65_536, batch_rows)}
    assert len(hashes) == 1
