"""Logs by order that were imported: from a file to fills by the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engine.config import RunConfig
from engine.ingest.hftbacktest_files import (
    ADD_ORDER,
    BUY,
    CANCEL_ORDER,
    EVENT,
    EXCHANGE,
    LOCAL,
    MODIFY_ORDER,
    SELL,
    TRADE,
)
from engine.ingest.tabular import import_tables
from engine.ingest.tabular_survey import TableOptions
from engine.ingest.tabular_units import UnitsWanted
from engine.model.units import SECOND_NS
from engine.strategy.api import Strategy
from tests.helpers.logs import START
from tests.loop.logs import backtest
from tests.reference.scenario import settings

MIDNIGHT = START + 2 * 86_400 * SECOND_NS + 4 * 3600 * SECOND_NS  # of 2024-06-03 in New York
NAME = "EXMP_2024-06-03_34200000_57600000_{}_1.csv"


class Buyer(Strategy):
    """One limit order of 40 at 100.00, at the time that it is told."""

    at: int = 0
    size: float = 40.0

    def on_start(self, ctx: Any) -> None:
        """Put it on the agenda."""
        ctx.at(self.at, "buy")

    def on_timer(self, ctx: Any, _name: str) -> None:
        """Send it."""
        ctx.limit(ctx.instruments[0], self.size, 100.0)


def buyer(at: int, size: float = 40.0) -> Buyer:
    """A strategy for a run."""
    made = Buyer()
    made.at, made.size = at, size
    return made


def filled(log: Path, strategy: Buyer, config: RunConfig) -> list[tuple[int, int, str]]:
    """Time, size and reason of each fill."""
    done = backtest([log], strategy, config)
    return [(d.ts, d.size, d.reason) for d in done.journal if d.kind == "fill"]


def test_a_sweep_of_lobster_fills_by_the_queue(tmp_path: Path) -> None:
    """300 of the opening book and an order of 50 stand before us, one of 30 comes behind.

    A sweep of three executions at one nanosecond takes 300, 50 and 25: the last 25 are ours.
    """
    lines = [
        "34200,1,1,50,1000000,1",
        "34202,1,2,30,1000000,1",
        "34203,4,900,300,1000000,1",
        "34203,4,1,50,1000000,1",
        "34203,4,2,25,1000000,1",
    ]
    sizes = (350, 380, 80, 30, 5)
    book = [f"1000200,100,1000000,{size}" for size in sizes]
    for what, rows in (("message", lines), ("orderbook", book)):
        (tmp_path / NAME.format(what)).write_text("\n".join(rows) + "\n", encoding="utf-8")
    path, log = tmp_path / NAME.format("message"), tmp_path / "log.arrow"
    import_tables([(path, path.name)], log, TableOptions(by_order=True), UnitsWanted("0.01", "1"))
    found = filled(log, buyer(MIDNIGHT + 34_201 * SECOND_NS), settings())
    assert found == [(MIDNIGHT + 34_203 * SECOND_NS + 2, 25, "queue")]


def test_an_array_of_hftbacktest_fills_by_the_queue(tmp_path: Path) -> None:
    """Two units stand before us and three come behind; of a sale of 3 one is ours.

    There a trade and what it does to each order are events of one time, one after the other.
    """
    events = [
        (ADD_ORDER, BUY, 0, 100.0, 2.0, 1),
        (ADD_ORDER, SELL, 0, 101.0, 5.0, 2),
        (ADD_ORDER, BUY, 2, 100.0, 3.0, 3),
        (TRADE, SELL, 3, 100.0, 3.0, 0),
        (CANCEL_ORDER, BUY, 3, 100.0, 0.0, 1),
        (MODIFY_ORDER, BUY, 3, 100.0, 2.0, 3),
        (TRADE, SELL, 4, 100.0, 2.0, 0),
        (MODIFY_ORDER, BUY, 4, 100.0, 0.0, 3),
    ]
    rows = [
        (code | side | LOCAL | EXCHANGE, *[START + at * SECOND_NS] * 2, price, size, order, 0, 0.0)
        for code, side, at, price, size, order in events
    ]
    path, log = tmp_path / "events.npz", tmp_path / "log.arrow"
    np.savez(path, data=np.array(rows, dtype=EVENT))
    options = TableOptions(venue="x", symbols=("A",), format="hftbacktest")
    import_tables([(path, path.name)], log, options, UnitsWanted("0.01", "1"))
    found = filled(log, buyer(START + SECOND_NS, 4.0), settings())
    assert [(size, reason) for _, size, reason in found] == [(1, "queue"), (2, "queue")]
