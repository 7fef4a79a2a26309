"""When a definition takes effect, and what it does to what is already there."""

# ruff: noqa: ARG002, D102  handlers take what they are given, and are documented once for all

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import engine
from engine.config import Account, Fees, Latency, RunConfig
from engine.model.errors import StrategyError
from engine.model.kinds import InstrumentData, Kind, encode_canonical
from engine.report.summary import summarise
from tests.helpers.logs import BTC, Message, Row, at, engine_row, trade
from tests.reference.drive import run_engine

COARSE = msgspec.structs.replace(BTC, size_decimals=1, size_increment="0.1", channels=("trade",))
FINE = msgspec.structs.replace(COARSE, size_decimals=2, size_increment="0.01", version=2)
DEEP = msgspec.structs.replace(COARSE, channels=("trade", "book"), version=2)
SLOW = RunConfig(fees=Fees(0, 0))  # 20 ms each way
NOW = RunConfig(latency=Latency(0, 0, 0), fees=Fees(0, 0))


def definition(seconds: float, data: InstrumentData) -> Message:
    """A definition that comes in the middle of a log."""
    return Message(at(seconds), (Row(Kind.INSTRUMENT, instrument=1, data=encode_canonical(data)),))


class Once(engine.Strategy):
    """Asks once for a position, and notes what it hears."""

    def __init__(self, wish: float = 1.0) -> None:
        super().__init__()
        self.wish = wish
        self.heard: list[Any] = []

    def on_start(self, ctx: Any) -> None:
        self.asked = False

    def on_trade(self, ctx: Any, trade: engine.Trade) -> None:
        if not self.asked:
            self.asked = True
            ctx.target(trade.instrument, self.wish)

    def on_fill(self, ctx: Any, fill: engine.Fill) -> None:
        self.heard.append((fill.size, fill.position))


def test_an_order_on_its_way_when_sizes_gain_decimals_is_still_the_same_order() -> None:
    """A target of 1.0 is filled once, as 1.0, although its units changed while it travelled."""
    strategy = Once()
    messages = [
        trade(0.1, 6_000_000, 50),
        definition(0.103, FINE),
        trade(0.2, 6_000_000, 500),
        trade(1.5, 6_000_000, 500),
    ]
    outcome = run_engine(messages, strategy, SLOW, (COARSE,))
    assert [d.kind for d in outcome.journal] == ["submit", "accepted", "fill"]
    assert strategy.heard == [(1.0, 1.0)]
    summary = summarise(outcome.runner, seconds=1.0, strategy="once")
    assert summary.position == {"BTCUSDT.binance": 1.0}


@pytest.mark.parametrize("clock", [(), (engine_row(1.5, Kind.CLOCK),)], ids=["without", "with a CLOCK row"])
def test_what_is_due_before_a_definition_runs_under_the_one_before(clock: tuple[Message, ...]) -> None:
    """An order that arrives at 1.04 s is matched on trades, though depth is announced at 2 s."""
    messages = [trade(1.0, 6_000_000, 50), *clock, definition(2.0, DEEP), trade(3.0, 6_000_000, 50)]
    outcome = run_engine(messages, Once(), SLOW, (COARSE,))
    assert [(d.kind, d.ts - at(1.0)) for d in outcome.journal] == [
        ("submit", 0),
        ("accepted", 40_000_000),
        ("fill", 40_000_000),
    ]


class Stubborn(engine.Strategy):
    """Answers each refusal with the same order."""

    def on_trade(self, ctx: Any, trade: engine.Trade) -> None:
        ctx.market(trade.instrument, 1.0)

    def on_order(self, ctx: Any, update: engine.OrderUpdate) -> None:
        if update.state == "refused":
            ctx.market(update.instrument, 1.0)


def test_a_strategy_that_answers_each_refusal_at_once_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time would never move again: the run ends, and says why."""
    monkeypatch.setattr("engine.loop.run.CALLS_AT_ONE_INSTANT", 1_000)
    config = msgspec.structs.replace(NOW, account=Account("cash", "1"))
    with pytest.raises(StrategyError, match="1,000 times without time moving"):
        run_engine([trade(1.0, 6_000_000, 50)], Stubborn(), config, (COARSE,))
