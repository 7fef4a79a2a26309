"""How many bars a second does vectorbt take, which has no strategy and no loop over events?

Started by `bench.bars` in an environment that has vectorbt and nothing of ours:

    python bench/with_vectorbt.py FOLDER [ROWS]

Prints one JSON object. Over W4 the position is long while the mean of the last 20 closes is above that of the
last 100, else short, from the next bar's open on. `seconds` holds the averages, the signals and the simulated
portfolio with its orders counted, all of it on whole columns. What Numba compiles is compiled ahead on the
first rows (`compile_seconds`; vectorbt keeps it, so it is long only the first time).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import vectorbt as vbt

LOT = 0.01
FAST, SLOW = 20, 100
CAPITAL = 1_000_000.0
ROWS_OF_WARM_UP = 2_000


def cross(opened: Any, close: Any) -> tuple[Any, int]:
    """The portfolio, and how many orders it has."""
    quick = vbt.MA.run(close, FAST).ma.to_numpy()
    calm = vbt.MA.run(close, SLOW).ma.to_numpy()
    above = quick > calm
    buys, sells = np.zeros(len(close), bool), np.zeros(len(close), bool)
    buys[SLOW:] = above[SLOW - 1 : -1]  # decided at a close, done at the next open
    sells[SLOW:] = ~above[SLOW - 1 : -1]
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries=buys,
        short_entries=sells,
        upon_opposite_entry="reverse",
        size=LOT,
        price=opened,
        fees=0.0001,
        init_cash=CAPITAL,
    )
    return portfolio, int(portfolio.orders.count())


def main() -> None:
    """Load, compile on the first rows, run, print."""
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    bars = pq.read_table(Path(sys.argv[1]) / "w4_bars.parquet", columns=["open", "close"])
    opened, close = (bars[name].to_numpy()[: rows or None] for name in ("open", "close"))
    began = time.perf_counter()
    cross(opened[:ROWS_OF_WARM_UP].copy(), close[:ROWS_OF_WARM_UP].copy())
    compiling = time.perf_counter() - began
    began = time.perf_counter()
    portfolio, orders = cross(opened, close)
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "events": len(close),
                "seconds": seconds,
                "compile_seconds": compiling,
                "orders": orders,
                "position": float(portfolio.assets().iloc[-1]),
                "balance_after_fee": float(portfolio.cash().iloc[-1]) - CAPITAL,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
