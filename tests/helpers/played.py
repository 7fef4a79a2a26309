"""A shipped strategy over a log, and what must hold of any run: checked on its journal alone.

run = play("grid", SAMPLE, CONFIG, {"step_bp": 10.0})
run.check_money()
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.config import RunConfig
from engine.loop.backtest import run_backtest
from engine.loop.run import Runner
from engine.model.instruments import Instrument
from engine.model.kinds import InstrumentData
from engine.strategy.api import Strategy
from engine.strategy.loader import load_strategy
from tests.helpers.logs import BTC, Message
from tests.reference.decisions import Decision
from tests.reference.drive import ListedJournal, run_engine

SAMPLE = Path(__file__).parent.parent.parent / "recordings" / "2024-06-01.arrow"
_ENDS = ("refused", "rejected", "cancelled", "expired")
_MONEY = 10**8


@dataclass
class Working:
    """An order that is not final: `cancelling` once its cancel has been sent."""

    instrument: str
    side: int
    price: int
    open: int
    cancelling: bool = False


@dataclass
class Moment:
    """How things stand after one decision. Positions in lots of the last decimal, orders by number."""

    decision: Decision
    positions: dict[str, int]
    orders: dict[int, Working]

    def exposed(self, instrument: str, side: int) -> int:
        """The position in a direction if every open order of that side fills."""
        may = sum(o.open for o in self.orders.values() if (o.instrument, o.side) == (instrument, side))
        return side * self.positions.get(instrument, 0) + may

    def standing(self, instrument: str, side: int) -> list[Working]:
        """Open orders of a side without those being cancelled."""
        return [
            o
            for o in self.orders.values()
            if (o.instrument, o.side) == (instrument, side) and not o.cancelling
        ]


@dataclass
class Played:
    """A finished run."""

    runner: Runner
    strategy: Any
    journal: list[Decision]
    lines: list[str]
    hash: str

    @property
    def fills(self) -> list[Decision]:
        """Executions, in order."""
        return self.of("fill")

    def of(self, kind: str) -> list[Decision]:
        """Decisions of a kind."""
        return [d for d in self.journal if d.kind == kind]

    def instrument(self, key: str) -> Instrument:
        """By its key."""
        return next(i for i in self.runner.registry.instruments if i.key == key)

    def moments(self) -> Iterator[Moment]:
        """The state after each decision, as the strategy knew it. The same objects, changed in place."""
        positions: dict[str, int] = defaultdict(int)
        orders: dict[int, Working] = {}
        for decision in self.journal:
            if decision.kind == "submit":
                orders[decision.order] = Working(
                    decision.instrument, decision.side, decision.price, decision.size
                )
            elif decision.kind == "cancel" and decision.order in orders:
                orders[decision.order].cancelling = True
            elif decision.kind == "fill":
                positions[decision.instrument] += decision.side * decision.size
                orders[decision.order].open -= decision.size
                assert orders[decision.order].open >= 0, f"filled beyond the order: {decision}"
                if not orders[decision.order].open:
                    del orders[decision.order]
            elif decision.kind in _ENDS:
                orders.pop(decision.order, None)
            yield Moment(decision, positions, orders)

    def position(self, key: str) -> float:
        """The final position, from the fills."""
        lots = sum(d.side * d.size for d in self.fills if d.instrument == key)
        return lots / 10.0 ** self.instrument(key).size_decimals

    @property
    def equity(self) -> float:
        """Everything valued, at the last sample, which may be a second before the end."""
        return float(self.runner.keeper.equity_curve()["equity"][-1])

    @property
    def cash(self) -> Decimal:
        """At the end, exactly."""
        return Decimal(int(self.runner.memory.assets[0]["cash"])) / _MONEY

    def check_money(self) -> None:
        """Cash is capital less what was paid, to the last of eight decimals; and there were fills."""
        assert self.fills
        cash = Decimal(self.runner.config.account.capital) * _MONEY
        for fill in self.fills:
            instrument = self.instrument(fill.instrument)
            scale = Decimal(10) ** (instrument.price_decimals + instrument.size_decimals)
            cash -= fill.side * fill.price * fill.size * _MONEY / scale + fill.fee
        assert self.cash == cash / _MONEY


def act(
    name: str,
    messages: Sequence[Message],
    config: RunConfig,
    parameters: Mapping[str, Any] | None = None,
    instruments: Sequence[InstrumentData] = (BTC,),
) -> Played:
    """Run a shipped strategy over messages in memory, in both forms, which agree."""
    runs = []
    for interpreted in (True, False):
        strategy = load_strategy(name, table=dict(parameters or {})).strategy
        type(strategy).__engine_compiled__ = True
        run = run_engine(messages, strategy, config, instruments, interpreted=interpreted)
        runs.append(Played(run.runner, strategy, run.journal, [text for _, text in run.lines], run.hash))
    assert runs[0].hash == runs[1].hash
    assert runs[0].lines == runs[1].lines
    return runs[1]


def play(
    name: str,
    log: Path,
    config: RunConfig | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    compiled: bool | None = None,
    batch_rows: int = 0,
) -> Played:
    """Run a shipped strategy; `compiled` None: as its file says."""
    loaded = load_strategy(name, table=dict(parameters or {}))
    strategy: Strategy = loaded.strategy
    if compiled is not None:
        type(strategy).__engine_compiled__ = compiled
    journal = ListedJournal()
    result = run_backtest([log], config or RunConfig(), loaded, journal, batch_rows=batch_rows)
    head = journal.close()
    return Played(result.runner, strategy, journal.decisions, [text for _, text in journal.lines], head)
