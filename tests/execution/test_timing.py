"""When things happen: latencies, first in first out, and what is due at one instant."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import Latency, RunConfig
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.reference.drive import run_engine, run_twin
from tests.reference.scenario import DEPTH, book, clock, describe, play, run, settings, trades

MS = MILLISECOND_NS
BOOK = book(0, bids={99: 5}, asks={101: 3, 102: 4})


class TakesEveryTrade(Strategy):
    """Buys one at each trade."""

    def on_trade(self, ctx: Any, trade: Any) -> None:
        """Buy."""
        ctx.market(trade.instrument, 1)


def waits(feed: int, entry: int, response: int) -> RunConfig:
    """Three latencies in ms."""
    return settings(latency=Latency(feed * MS, entry * MS, response * MS))


@pytest.mark.parametrize(
    ("config", "matched_and_heard"),
    [
        (waits(0, 0, 0), ("1", "1")),
        (waits(20, 20, 20), ("1.04", "1.04")),
        (waits(10, 30, 25), ("1.04", "1.055")),
        (waits(30, 0, 10), ("1.03", "1.03")),
        (waits(0, 5, 7), ("1.005", "1.012")),
    ],
)
def test_an_order_at_t_matches_at_t_feed_entry_and_is_heard_after_response_less_feed(
    config: RunConfig, matched_and_heard: tuple[str, str]
) -> None:
    """Match at t + feed + entry; the report at match + max(0, response - feed). The book tells when."""
    matched, heard = matched_and_heard
    # The ask of 101 is there until just before the order matches: only then does it pay 102.
    before = book(float(matched) - 1e-6, asks={101: 0})
    deeds = {1: lambda ctx, it: ctx.market(it, 2)}
    market = [BOOK, before] if float(matched) > 1 else [BOOK]
    price = 102 if float(matched) > 1 else 101
    assert play(market, deeds, config) == [f"{heard} fill #1 2@{price} taker"]


def test_defaults_are_twenty_milliseconds_each() -> None:
    """Zero has to be asked for."""
    assert RunConfig().latency == Latency(20 * MS, 20 * MS, 20 * MS)


def test_the_message_at_the_arrivals_own_time_comes_after_it() -> None:
    """What is due at t runs before the message with time t."""
    market = [BOOK, book(1.04, asks={101: 0})]
    deeds = {1: lambda ctx, it: ctx.market(it, 2)}
    assert play(market, deeds, waits(20, 20, 20)) == ["1.04 fill #1 2@101 taker"]


def test_with_zero_latency_an_order_matches_within_the_message_that_caused_it() -> None:
    """After the message's delivery, before the next one."""
    market = [BOOK, trades(1, (1, 101, 1)), book(1 + 1e-9, asks={101: 0}), trades(2, (1, 102, 1))]
    outcome = run_engine(market, TakesEveryTrade(), settings(), [DEPTH])
    assert [describe(d) for d in outcome.journal if d.kind == "fill"] == [
        "1 fill #1 1@101 taker",
        "2 fill #2 1@102 taker",
    ]
    assert outcome.journal == run_twin(market, TakesEveryTrade(), settings(), [DEPTH]).journal


def test_requests_are_first_in_first_out() -> None:
    """Sent at one instant, they arrive in the order of the calls: an order, its cancel, another order."""
    deeds = {1: lambda ctx, it: [ctx.limit(it, 1, 99), ctx.cancel(1), ctx.market(it, 3), ctx.market(it, 1)]}
    assert play([BOOK, clock(2)], deeds, waits(5, 5, 50)) == [
        "1.055 cancelled #1 requested",
        "1.055 fill #2 3@101 taker",
        "1.055 fill #3 1@102 taker",
    ]


def test_a_cancel_that_comes_too_late_changes_nothing() -> None:
    """Filled at 1.01, heard at 1.06: a cancel sent between is sent, and finds nothing."""
    deeds = {1: lambda ctx, it: ctx.market(it, 1), 1.03: lambda ctx, _: ctx.cancel(1)}
    assert play([BOOK, clock(2)], deeds, waits(5, 5, 55), commands=True) == [
        "1 submit #1",
        "1.03 cancel #1",
        "1.06 accepted #1",
        "1.06 fill #1 1@101 taker",
    ]


def test_an_order_fills_while_its_cancel_travels() -> None:
    """The trade at 1.05 comes before the cancel that arrives at 1.06."""
    deeds = {0.5: lambda ctx, it: ctx.limit(it, 2, 99), 1.02: lambda ctx, _: ctx.cancel(1)}
    market = [BOOK, trades(1.05, (-1, 98, 1)), trades(1.07, (-1, 98, 1))]
    assert play(market, deeds, waits(20, 20, 20)) == [
        "1.05 fill #1 1@99 through",
        "1.06 cancelled #1 requested",
    ]


def test_a_second_cancel_is_not_sent() -> None:
    """One is on its way."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 2, 99), 2: lambda ctx, _: [ctx.cancel(1), ctx.cancel(1)]}
    lines = play([BOOK], deeds, commands=True)
    assert lines == ["1 submit #1", "1 accepted #1", "2 cancel #1", "2 cancelled #1 requested"]


def test_the_report_of_a_refusal_comes_at_once() -> None:
    """Nothing travels: it is heard at the time of the decision, after the handler has returned."""
    deeds = {1: lambda ctx, it: ctx.limit(it, 1.5, 99)}
    outcome, script = run([BOOK], deeds, waits(20, 20, 20))
    assert [d.kind for d in outcome.journal] == ["refused"]
    assert script.heard == ["1 #1 refused 0"]


def test_arrivals_of_one_instant_come_before_reports_and_those_before_timers() -> None:
    """Due together at 1.02: the arrival of #2, the report on #1, then the timer that cancels what is left."""
    config = waits(10, 0, 20)
    deeds = {
        1: lambda ctx, it: ctx.limit(it, 1, 90),
        1.01: lambda ctx, it: ctx.limit(it, 1, 91),
        1.02: lambda ctx, _: ctx.log(*[(o.order, o.state) for o in ctx.orders()]),
    }
    outcome, _ = run([BOOK], deeds, config)
    assert [text for _, text in outcome.lines] == ["(1, 'working') (2, 'submitted')"]
    assert [(d.kind, d.order) for d in outcome.journal] == [
        ("submit", 1),
        ("submit", 2),
        ("accepted", 1),
        ("accepted", 2),
    ]
