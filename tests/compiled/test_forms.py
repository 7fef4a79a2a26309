"""Both forms of a strategy decide the same, see the same and end with the same fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.config import Account, Fees, Latency, Risk, Rules, RunConfig
from engine.loop.random import SeededRandom
from engine.model.kinds import InstrumentData
from engine.model.units import MILLISECOND_NS
from engine.strategy.api import Strategy
from tests.compiled.harness import Bench, load
from tests.compiled.traders import Everything, Plans
from tests.helpers.logs import Message
from tests.loop.test_definitions import definition, scaled, widened
from tests.reference.drive import Outcome, first_difference, run_engine
from tests.reference.markets import ALL, BOOKED, QUOTED, RandomMarket

MS = MILLISECOND_NS
WIDE = Risk(collar_millionths=30_000)
CONFIGS = {
    "zero latency": RunConfig(latency=Latency(0, 0, 0), risk=WIDE),
    "default latency": RunConfig(),
    "slow answers": RunConfig(
        latency=Latency(2 * MS, 1 * MS, 5 * MS), fees=Fees(-100_000, 350_001), risk=WIDE
    ),
    "fees of what is received": RunConfig(
        fees=Fees(1_000_000, 1_000_000, buy=33_333, asset="received"), slippage_drawn=True, slippage_ticks=3
    ),
    "position cap": RunConfig(risk=Risk(position_cap="0.02", collar_millionths=20_000), seed=5),
    "venue clock": RunConfig(latency=Latency(0, 2 * MS, 3 * MS), risk=WIDE, clock="venue"),
    "cash": RunConfig(account=Account("cash", "2.5"), risk=Risk(collar_millionths=0)),
}


DRAWING = """import engine

@engine.compiled
class Drawing(engine.Strategy):
    def on_start(self, ctx):
        self.numbers = [0] * 20
        self.i = 0

    def on_timer(self, ctx, name):
"""


def fields_of(strategy: Any) -> str:
    """All fields as text, objects' too."""
    if hasattr(strategy, "__dict__") or hasattr(type(strategy), "__slots__"):
        names = sorted(getattr(strategy, "__dict__", None) or type(strategy).__slots__)
        return f"<{', '.join(f'{name}={fields_of(getattr(strategy, name))}' for name in names)}>"
    if isinstance(strategy, list | tuple):
        return f"[{', '.join(map(fields_of, strategy))}]"
    if isinstance(strategy, dict):
        return f"{{{', '.join(f'{key}: {fields_of(value)}' for key, value in strategy.items())}}}"
    return repr(strategy)


def both(
    make: Callable[[], Strategy],
    messages: Sequence[Message],
    config: RunConfig,
    instruments: Sequence[InstrumentData] = ALL,
    *,
    batch_rows: int = 65_536,
) -> Outcome:
    """Run both forms; they agree in all that can be seen. What they came to."""
    slow, quick = make(), make()
    expected = run_engine(messages, slow, config, instruments, interpreted=True)
    outcome = run_engine(messages, quick, config, instruments, batch_rows=batch_rows)
    assert outcome.runner.memory.get("strategy") != 0, "it ran compiled"
    assert expected.runner.memory.get("strategy") == 0, "it ran interpreted"
    assert not (difference := first_difference(outcome.journal, expected.journal)), difference
    assert not (difference := first_difference(outcome.lines, expected.lines)), difference
    assert outcome.words == expected.words
    assert outcome.hash == expected.hash
    assert fields_of(quick) == fields_of(slow)
    for name in ("fills_by_reason", "ends_by_reason", "orders", "turnover", "round_trips", "won"):
        assert getattr(outcome.runner.ledger, name) == getattr(expected.runner.ledger, name)
    assert (outcome.runner.keeper.equity_curve() == expected.runner.keeper.equity_curve()).all()
    return outcome


@engine.compiled
class Asking(Everything):
    """The same, with bars made of the trades."""

    def on_start(self, ctx: Any) -> None:
        """Ask for some of each."""
        super().on_start(ctx)
        for who in ctx.instruments:
            if "trade" in who.channels:
                self.digest += ctx.bars(who, "50ms") + ctx.bars(who, "3t")
                self.digest += ctx.bars(who, "0.02v") + ctx.bars(who, "60d")


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 65_536])
@pytest.mark.parametrize("name", CONFIGS)
def test_bars_of_the_log_and_bars_made_of_trades_agree(name: str, batch_rows: int) -> None:
    """Orders on bars, and series of all kinds: whatever the batches, both forms decide and see the same."""
    messages = RandomMarket(7).messages(700)
    outcome = both(lambda: Asking(activity=0.3), messages, CONFIGS[name], batch_rows=batch_rows)
    assert name == "cash" or any(d.reason == "bar" for d in outcome.journal)


@pytest.mark.parametrize("seed", range(1, 4), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_strategy_that_does_everything_agrees(name: str, seed: int) -> None:
    """Five instruments, every kind of data and order, every reading of ctx."""
    messages = RandomMarket(seed).messages(500)
    outcome = both(Everything, messages, CONFIGS[name])
    assert len(outcome.journal) > 100
    assert len(outcome.lines) > 20


@pytest.mark.parametrize("seed", range(41, 43), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("name", CONFIGS)
def test_plans_agree(name: str, seed: int) -> None:
    """Stops, trailing stops, pairs, brackets, amendments and orders with an end, over marks and sessions."""
    messages = RandomMarket(seed, extras=True).messages(500)
    outcome = both(Plans, messages, CONFIGS[name])
    kinds = {d.kind for d in outcome.journal}
    assert {"triggered", "amend_rejected", "fill", "refused"} <= kinds


@pytest.mark.parametrize(("low", "high"), [(-3, 4), (-9, -7), (2**62, 2**62 + 3)])
def test_draws_of_whole_numbers_agree(low: int, high: int, tmp_path: Path) -> None:
    """Below zero, and beyond what a float64 holds; seed 3."""
    text = f"self.numbers[self.i % 20] = ctx.random.integers({low}, {high})\n        self.i += 1"
    strategy: Any = load(tmp_path, DRAWING + f"        {text}\n")
    strategy.on_start(None)
    bench, random = Bench(strategy), SeededRandom(3)
    assert [bench.timer() for _ in range(20)] == [""] * 20
    assert strategy.numbers == [random.integers(low, high) for _ in range(20)]
    assert len(set(strategy.numbers)) > 1


@pytest.mark.parametrize("source", ["bid_ask", "mark"])
def test_plans_agree_on_other_triggers(source: str) -> None:
    """Bid and ask, and marks; busy, on one book, in small batches."""
    config = RunConfig(latency=Latency(0, 2 * MS, 3 * MS), risk=WIDE, rules=Rules(stop_source=source))
    messages = RandomMarket(45, (BOOKED,), extras=True).messages(400)
    both(lambda: Plans(activity=0.6), messages, config, (BOOKED,), batch_rows=7)


@pytest.mark.parametrize("seed", range(11, 13), ids=lambda s: f"seed{s}")
@pytest.mark.parametrize("data", [BOOKED, QUOTED], ids=lambda data: str(data.symbol))
def test_a_patient_one_agrees_on_one_instrument(data: InstrumentData, seed: int) -> None:
    """Resting orders: queues, crossings, resyncs."""
    messages = RandomMarket(seed, (data,)).messages(800)
    outcome = both(lambda: Everything(patient=True), messages, CONFIGS["slow answers"], (data,))
    assert sum(d.maker for d in outcome.journal) > 5


@pytest.mark.parametrize("data", [BOOKED, QUOTED], ids=lambda data: str(data.symbol))
def test_a_definition_that_gains_decimals_is_seen_by_both(data: InstrumentData) -> None:
    """Prices, sizes, orders and targets are counted otherwise from one row on."""
    messages = RandomMarket(31, (data,)).messages(400, end=False)
    changed = definition(messages[199], 1, widened(data))
    both(
        lambda: Everything(activity=0.5),
        [*messages[:200], changed, *map(scaled, messages[200:])],
        CONFIGS["slow answers"],
        (data,),
    )


@pytest.mark.parametrize("batch_rows", [1, 7, 64])
def test_batch_sizes_do_not_matter(batch_rows: int) -> None:
    """A compiled run over small batches gives what the interpreted one gives over one."""
    messages = RandomMarket(21).messages(300)
    both(lambda: Everything(activity=0.1), messages, CONFIGS["slow answers"], batch_rows=batch_rows)
