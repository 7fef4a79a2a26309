"""How many events a second does a bare Python loop take, with the same callback and nothing around it?

    python -m bench.bare values|objects w1

`values`   the callback gets positional values, and orders are counted
`objects`  the very strategy of bench/strategies, on the very events of the engine, made by `map` from the
           columns, and a context that does nothing

It is the ceiling for anything that calls Python once an event. Columns are in memory before the clock
starts; turning them into Python numbers is inside.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.common import ROOT, Stopwatch
from bench.workloads import BUYER, workload
from engine.market.indicators import Ema
from engine.model.instruments import Instrument
from engine.model.kinds import Flag
from engine.strategy.api import Trade

ROWS_AT_ONCE = 65_536
BTCUSDT = Instrument(0, "BTCUSDT.binance", "BTCUSDT", "binance", 2, 3, 1, 1)


class ValuesCross:
    """bench/strategies/cross.py with positional values and a counter for a venue."""

    def __init__(self) -> None:
        self.quick, self.calm = Ema(50), Ema(500)
        self.held = 0
        self.orders = 0

    def on_trade(self, price: float, _size: float, _side: int, _ts: int) -> None:
        """The same averages and the same rule."""
        gap = self.quick.update(price) - self.calm.update(price)
        if self.calm.ready:
            wanted = 1 if gap > 0 else -1
            if wanted != self.held:
                self.orders += 1
                self.held = wanted


class CountingContext:
    """What the strategy calls, doing nothing."""

    def __init__(self) -> None:
        self.orders = 0

    def market(self, _instrument: Instrument, _size: float) -> int:
        """One more order."""
        self.orders += 1
        return self.orders


def trades() -> dict[str, np.ndarray[Any, Any]]:
    """W1's columns."""
    table = pq.read_table(workload("w1") / "w1_trades.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def run_values(columns: dict[str, np.ndarray[Any, Any]]) -> int:
    """A method call an event, with four values; returns the orders."""
    strategy = ValuesCross()
    on_trade = strategy.on_trade
    names = ("price", "size", "side", "ts_recv")
    for start in range(0, len(columns["price"]), ROWS_AT_ONCE):
        part = (columns[name][start : start + ROWS_AT_ONCE].tolist() for name in names)
        for price, size, side, ts in zip(*part, strict=True):
            on_trade(price, size, side, ts)
    return strategy.orders


def run_objects(columns: dict[str, np.ndarray[Any, Any]]) -> int:
    """A method call an event, with the engine's own Trade; returns the orders."""
    ctx = CountingContext()
    strategy = _cross()
    strategy.on_start(ctx)
    on_trade = strategy.on_trade
    for start in range(0, len(columns["price"]), ROWS_AT_ONCE):
        part = {name: values[start : start + ROWS_AT_ONCE] for name, values in columns.items()}
        count = len(part["price"])
        events = map(
            Trade,
            [BTCUSDT] * count,
            part["price"].tolist(),
            part["size"].tolist(),
            np.where(part["side"] == BUYER, 1, -1).tolist(),
            part["ts_recv"].tolist(),
            part["ts_event"].tolist(),
            part["trade_id"].tolist(),
            [int(Flag.LAST)] * count,
        )
        for trade in events:
            on_trade(ctx, trade)
    return ctx.orders


def _cross() -> Any:
    path = ROOT / "bench" / "strategies" / "cross.py"
    spec = importlib.util.spec_from_file_location("cross", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Cross()


def main() -> None:
    """Run one form, print one JSON object."""
    columns = trades()
    run = {"values": run_values, "objects": run_objects}[sys.argv[1]]
    with Stopwatch() as watch:
        orders = run(columns)
    events = len(columns["price"])
    print(json.dumps({"events": events, "seconds": watch.seconds, "orders": orders}))


if __name__ == "__main__":
    main()
