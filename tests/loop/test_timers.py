"""Timers and the agenda: due work runs at its own time, in its order, and only when a row reaches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engine.config import Latency
from engine.model.errors import StrategyError
from engine.model.kinds import Kind
from engine.model.units import MILLISECOND_NS, SECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import START, Message, Row, at
from tests.reference.drive import run_engine, run_twin
from tests.reference.markets import ALL, RandomMarket
from tests.reference.scenario import TRADES, book, clock, settings, trades
from tests.reference.traders import RandomTrader

MS = MILLISECOND_NS


class Clockwork(Strategy):
    """Sets timers by a function, and notes what it is called for and when (seconds)."""

    def __init__(
        self, begin: Callable[[Any], object], on: Callable[[Any, str], object] | None = None
    ) -> None:
        super().__init__()
        self.begin, self.on = begin, on
        self.seen: list[tuple[float, str]] = []

    def on_start(self, ctx: Any) -> None:
        """Set the timers."""
        self.begin(ctx)

    def on_trade(self, ctx: Any, trade: Any) -> None:
        """Note it."""
        self.seen.append(((ctx.now - START) / SECOND_NS, f"trade {trade.price:g}"))

    def on_order(self, ctx: Any, update: Any) -> None:
        """Note it."""
        self.seen.append(((ctx.now - START) / SECOND_NS, f"{update.state} #{update.order}"))

    def on_timer(self, ctx: Any, name: str) -> None:
        """Note it."""
        self.seen.append(((ctx.now - START) / SECOND_NS, name))
        if self.on is not None:
            self.on(ctx, name)


def seen(
    messages: list[Message],
    begin: Callable[[Any], object],
    on: Callable[[Any, str], object] | None = None,
    latency: Latency = Latency(0, 0, 0),  # noqa: B008  frozen
) -> list[tuple[float, str]]:
    """What the strategy saw, in both gears and by the twin."""
    notes = []
    for chunk in (1, 1024):
        strategy = Clockwork(begin, on)
        run_engine(messages, strategy, settings(latency=latency), [TRADES], chunk=chunk)
        notes.append(strategy.seen)
    strategy = Clockwork(begin, on)
    run_twin(messages, strategy, settings(latency=latency), [TRADES])
    assert notes[0] == notes[1] == strategy.seen
    return strategy.seen


PRINTS = [trades(i, (1, 100 + i, 1)) for i in range(1, 5)]


def test_a_timer_between_messages_runs_at_its_own_time() -> None:
    """Due at 1.5: before the message of 2, and ctx.now is 1.5."""
    assert seen(PRINTS, lambda ctx: ctx.at(at(1.5), "half"))[:3] == [
        (1, "trade 101"),
        (1.5, "half"),
        (2, "trade 102"),
    ]


def test_a_timer_at_a_messages_time_runs_before_it() -> None:
    """Due at or before t runs before the message of t."""
    assert seen(PRINTS[:2], lambda ctx: ctx.at(at(2), "two")) == [
        (1, "trade 101"),
        (2, "two"),
        (2, "trade 102"),
    ]


def test_timers_of_one_instant_run_in_the_order_they_were_set() -> None:
    """Also when one repeats and the other does not."""

    def begin(ctx: Any) -> None:
        ctx.at(at(2.5), "a")
        ctx.at(at(2.5), "b")
        ctx.at(at(2.5), "c")

    assert [name for _, name in seen(PRINTS, begin)] == [
        "trade 101", "trade 102", "a", "b", "c", "trade 103", "trade 104",
    ]  # fmt: skip


def test_every_repeats_at_its_own_times_through_silence() -> None:
    """Nothing arrives between 1 and 4: the pulses of the silence come all, each at its time."""
    messages = [PRINTS[0], PRINTS[3]]
    start = messages[0].ts - START - SECOND_NS  # on_start is at the last definition, 999 ns before START

    def begin(ctx: Any) -> None:
        assert ctx.now == START - 999 + start
        ctx.every("1s", "pulse")

    pulses = [(t, what) for t, what in seen(messages, begin) if what == "pulse"]
    assert pulses == [((i * SECOND_NS - 999) / SECOND_NS, "pulse") for i in (1, 2, 3, 4)]


def test_a_time_that_has_passed_is_due_at_once() -> None:
    """After the handler has returned, before the next message."""
    assert seen(PRINTS[:1], lambda ctx: ctx.at(5, "past"))[0][1] == "past"


def test_a_timer_may_set_a_timer_for_now() -> None:
    """It runs right after."""
    notes = seen(
        PRINTS[:2],
        lambda ctx: ctx.at(at(1.5), "first"),
        lambda ctx, name: ctx.at(ctx.now, "second") if name == "first" else None,
    )
    assert notes == [(1, "trade 101"), (1.5, "first"), (1.5, "second"), (2, "trade 102")]


def test_cancelled_timers_do_not_run() -> None:
    """All of a name, repeating ones included, also from within one of them."""

    def begin(ctx: Any) -> None:
        ctx.every("1s", "pulse")
        ctx.at(at(1.5), "stop")
        ctx.at(at(3.5), "never")

    def on(ctx: Any, name: str) -> None:
        if name == "stop":
            ctx.cancel_timer("pulse")
            ctx.cancel_timer("never")

    assert [name for _, name in seen(PRINTS, begin, on)] == [
        "pulse", "trade 101", "stop", "trade 102", "trade 103", "trade 104",
    ]  # fmt: skip


@pytest.mark.parametrize("interval", [0, -5, "0"])
def test_an_interval_must_be_positive(interval: int | str) -> None:
    """Else nothing else would ever happen."""
    with pytest.raises(StrategyError, match="the interval must be positive"):
        run_engine(PRINTS, Clockwork(lambda ctx: ctx.every(interval, "x")), settings(), [TRADES])


def test_arrival_then_report_then_timer_at_one_instant() -> None:
    """All due at 2: the arrival of #2, the reports on #1, the timer."""

    def begin(ctx: Any) -> None:
        for seconds in (1.98, 1.99, 2):
            ctx.at(at(seconds), str(seconds))

    def on(ctx: Any, name: str) -> None:
        if name != "2":
            ctx.limit(ctx.instruments[0], 1, 90)

    notes = seen(PRINTS, begin, on, Latency(0, 10 * MS, 10 * MS))
    assert notes[1:6] == [
        (1.98, "1.98"),
        (1.99, "1.99"),
        (2, "accepted #1"),
        (2, "2"),
        (2, "trade 102"),
    ]


def test_an_end_row_fires_nothing() -> None:
    """A recording that stops is no time that passes."""
    end = Message(at(9), (Row(Kind.END, source=0),))
    deeds = [(1, "trade 101"), (2, "trade 102")]
    assert seen([*PRINTS[:2], end], lambda ctx: ctx.at(at(5), "later")) == deeds
    assert seen([*PRINTS[:2], end, clock(10)], lambda ctx: ctx.at(at(5), "later")) == [*deeds, (5, "later")]


def test_an_end_row_leaves_orders_where_they_are() -> None:
    """What travels does not arrive because of it."""
    end = Message(at(9), (Row(Kind.END, source=0),))
    strategy = Clockwork(lambda ctx: ctx.at(at(1.5), "buy"), lambda ctx, _: ctx.market(ctx.instruments[0], 1))
    config = settings(latency=Latency(0, SECOND_NS, 0))
    outcome = run_engine([*PRINTS[:2], end], strategy, config, [TRADES])
    assert [d.kind for d in outcome.journal] == ["submit"]
    assert outcome.runner.next_due() == at(2.5)


def test_nothing_fires_when_the_input_ends_without_an_end_row() -> None:
    """The agenda advances when a row reaches it, and by nothing else."""
    assert seen(PRINTS[:1], lambda ctx: ctx.at(at(1.5), "later")) == [(1, "trade 101")]


@pytest.mark.parametrize("seed", [151, 152, 153], ids=lambda s: f"seed{s}")
def test_clock_rows_change_no_decision(seed: int) -> None:
    """Between the same market rows, any number of CLOCK rows: the same work at the same times."""
    messages = RandomMarket(seed).messages(300, end=False)
    messages = [m for m in messages if m.rows[0].kind != Kind.CLOCK]
    dense: list[Message] = []
    for i, message in enumerate(messages):
        if dense and message.ts - dense[-1].ts > 10 and i % 2:
            dense.append(Message((dense[-1].ts + message.ts) // 2, (Row(Kind.CLOCK, source=0),)))
        dense.append(message)
    config = settings(latency=Latency(3 * MS, 2 * MS, 8 * MS), collar=30_000)
    plain, ticking = RandomTrader(seed), RandomTrader(seed)
    a = run_engine(messages, plain, config, ALL)
    b = run_engine(dense, ticking, config, ALL)
    assert len(dense) > len(messages) + 50
    assert a.hash == b.hash
    assert plain.trace == ticking.trace


def test_next_due_is_the_agendas_first() -> None:
    """For whoever writes CLOCK rows."""
    strategy = Clockwork(lambda ctx: [ctx.at(at(7), "b"), ctx.at(at(5), "a")])
    assert run_engine(PRINTS, strategy, settings(), [TRADES]).runner.next_due() == at(5)
    idle = Clockwork(lambda _: None)
    assert run_engine([book(1, bids={1: 1})], idle, settings(), [TRADES]).runner.next_due() is None
