"""How many bars a second does backtesting.py take, with a Python strategy?

Started by `bench.bars` in an environment that has backtesting.py and nothing of ours:

    python bench/with_backtesting.py FOLDER [ROWS]

Prints one JSON object. Over W4 the strategy is long while the mean of the last 20 closes is above that of
the last 100, else short; what it orders at a close fills at the next bar's open. `seconds` is `Backtest.run`:
the averages (made of whole columns), the loop over the bars, and its statistics. Making the data frame is not
in it. backtesting.py trades whole units, so a unit is 0.01 coins and prices are of that; and the first bar on
which it calls a strategy is the second that has all averages, so its first order comes one bar late.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

UNIT = 0.01
FAST, SLOW = 20, 100
CAPITAL = 1_000_000.0


def mean(values: Any, count: int) -> Any:
    """The mean of the last `count` values, nan before there are so many."""
    return pd.Series(values).rolling(count).mean()


class Cross(Strategy):  # type: ignore[misc]  # backtesting.py's types are unknown here
    """Always in the market after the first 100 bars, on the side of the quick average."""

    def init(self) -> None:
        """Averages over the whole of the data, shown bar by bar."""
        self.quick = self.I(mean, self.data.Close, FAST)
        self.calm = self.I(mean, self.data.Close, SLOW)
        self.held = 0
        self.sent = 0

    def next(self) -> None:
        """Change sides by one order when the averages have crossed."""
        wanted = 1 if self.quick[-1] > self.calm[-1] else -1
        if wanted == self.held:
            return
        size = abs(wanted - self.held)
        if wanted > 0:
            self.buy(size=size)
        else:
            self.sell(size=size)
        self.held = wanted
        self.sent += 1


def main() -> None:
    """Load, run, print."""
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    bars = pd.read_parquet(Path(sys.argv[1]) / "w4_bars.parquet")
    bars = bars.head(rows) if rows else bars
    data = pd.DataFrame(
        {name.capitalize(): bars[name].to_numpy() * UNIT for name in ("open", "high", "low", "close")},
        index=pd.to_datetime(bars["ts"].to_numpy()),
    )
    warnings.filterwarnings("ignore", "Some trades remain open")
    backtest = Backtest(data, Cross, cash=CAPITAL, commission=0.0001)
    began = time.perf_counter()
    result = backtest.run()
    seconds = time.perf_counter() - began
    done = result["_strategy"]
    balance = done.equity - CAPITAL - done.position.size * float(np.asarray(data["Close"])[-1])
    print(
        json.dumps(
            {
                "events": len(data),
                "seconds": seconds,
                "orders": done.sent,
                "position": done.position.size * UNIT,
                "balance_after_fee": balance,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
